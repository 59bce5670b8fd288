//! How a supervised command stands, as the folder and the kernel tell it. Changes nothing; needs no supervisor.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::proc::{Life, boot_id, describe, family};
use super::record::{
    self, COMMAND, CommandRecord, EXIT, ExitRecord, LOCK, Process, SUPERVISOR, SupervisorRecord,
};
use crate::base::Moment;
use crate::base::redact::Redactor;

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing was started in this folder.
    NeverStarted,
    /// It runs, and its supervisor watches it.
    Running {
        /// The supervisor; not known in its first moment.
        supervisor: Option<Process>,
        /// The command's pid; not known in its first moment.
        command_pid: Option<u32>,
        /// When the supervisor started; not known in its first moment.
        since: Option<Moment>,
        /// Stopped by [`super::pause`] (or by somebody else's signal).
        paused: bool,
    },
    /// It ended, and this is on record.
    Ended(Box<ExitRecord>),
    /// Its supervisor is gone, but it, or something that it started, still runs. It must not be started again, and how
    /// it ends will not be on record. Looked for are the command itself and its session: a daemon that left the session is
    /// seen only as long as there is a supervisor.
    Orphaned {
        /// The command, or the oldest process of it that is left.
        pid: u32,
        /// What runs: `pg_upgradecluster 13 main (pid 812)`.
        processes: Vec<String>,
    },
    /// Nobody knows how it ended. Nothing of it runs, as far as can be seen.
    Lost {
        /// What is known.
        why: String,
    },
    /// We cannot tell: what has to be read cannot be. It may still run.
    Unclear {
        /// What stands in the way.
        why: String,
    },
}

/// How the command of this folder stands. When in doubt it says that something may still run. `redactor` keeps secrets
/// out of the command lines that it reads.
pub fn look(dir: &Path, redactor: &Redactor) -> Found {
    let supervised = match locked(&dir.join(LOCK)) {
        Ok(None) => return no_lock(dir),
        Ok(Some(supervised)) => supervised,
        Err(why) => return Found::Unclear { why },
    };
    // `exit.json` is on disk before the lock goes: who finds the lock free reads the last word, and it stays.
    let damaged = match record::read::<ExitRecord>(dir, EXIT) {
        Ok(Some(exit)) if !supervised => return Found::Ended(Box::new(exit)),
        Ok(Some(_)) => None,
        Ok(None) => None,
        Err(why) => Some(why),
    };
    let supervisor = match record::read::<SupervisorRecord>(dir, SUPERVISOR) {
        Ok(supervisor) => supervisor,
        Err(_) if supervised => None,
        Err(why) => return Found::Unclear { why },
    };
    let command = record::read::<CommandRecord>(dir, COMMAND).ok().flatten();
    if supervised {
        let life = command.as_ref().map(|command| command.process.life());
        return Found::Running {
            supervisor: supervisor.as_ref().map(|supervisor| supervisor.process),
            command_pid: command.map(|command| command.process.pid),
            since: supervisor.map(|supervisor| supervisor.started),
            paused: matches!(life, Some(Life::Alive(stat)) if stat.stopped()),
        };
    }
    match supervisor {
        // It is on disk before anything is started.
        None => Found::NeverStarted,
        Some(supervisor) => without_supervisor(&supervisor, command.as_ref(), damaged, redactor),
    }
}

fn without_supervisor(
    supervisor: &SupervisorRecord,
    command: Option<&CommandRecord>,
    damaged: Option<String>,
    redactor: &Redactor,
) -> Found {
    match boot_id() {
        Ok(boot) if boot == supervisor.boot_id => {}
        Ok(_) => {
            let why = "the machine was restarted while it ran (or this is another machine)".to_owned();
            return Found::Lost { why };
        }
        Err(why) => return Found::Unclear { why },
    }
    let Process { pid, start_ticks } = supervisor.process;
    // The session outlives its leader, and its number is not given to anyone else as long as it does.
    let mut left: Vec<(u32, String)> = family(pid)
        .iter()
        .filter(|stat| stat.process.start_ticks >= start_ticks)
        .map(|stat| (stat.process.pid, describe(stat, redactor)))
        .collect();
    if let Some(command) = command
        && !left.iter().any(|(pid, _)| *pid == command.process.pid)
        && let Life::Alive(_) | Life::Hidden = command.process.life()
    {
        left.insert(0, (command.process.pid, format!("{} (pid {})", command.argv, command.process.pid)));
    }
    let gone = || {
        format!(
            "its supervisor (pid {pid}) was killed; nothing of it runs now, and how it ended is not on record"
        )
    };
    match left.first() {
        Some((pid, _)) => {
            Found::Orphaned { pid: *pid, processes: left.into_iter().map(|(_, name)| name).collect() }
        }
        None => Found::Lost { why: damaged.unwrap_or_else(gone) },
    }
}

fn no_lock(dir: &Path) -> Found {
    // Without a lock there are records only when somebody took it away.
    match record::read::<SupervisorRecord>(dir, SUPERVISOR) {
        Ok(None) => Found::NeverStarted,
        _ => Found::Unclear { why: format!("{} was removed", dir.join(LOCK).display()) },
    }
}

/// Whether somebody holds the lock; `None` when there is no such file.
pub(super) fn locked(path: &Path) -> Result<Option<bool>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("cannot open {}: {error}", path.display())),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(false)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(true)),
        Err(error) => Err(format!("cannot lock {}: {error}", path.display())),
    }
}
