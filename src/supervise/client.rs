//! The engine's side: starts a supervisor, waits for it, and asks it to stop, to pause, to continue.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::SUBCOMMAND;
use super::look::{Found, locked, look};
use super::proc::shown;
use super::record::{self, LOCK, STOP, SUPERVISOR, StopRecord, SupervisorRecord};
use super::spec::{Answer, Spec};
use crate::base::redact::{Redactor, SHORTEST};

/// This very program, also after an upgrade has put another one in its place.
const OURSELVES: &str = "/proc/self/exe";

/// A supervisor that has not answered by then is stuck, most likely in a disk that does not answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How often a supervisor that somebody else started is looked at: at first, and later.
const POLL: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// Something was started in this folder before. It is never done twice.
    #[error("{} was used for another start", .dir.display())]
    AlreadyUsed {
        /// The folder.
        dir: PathBuf,
    },
    /// Nothing runs, and nothing ran.
    #[error("{why}")]
    NotStarted {
        /// Why.
        why: String,
    },
    /// The supervisor did not say. Ask [`look()`] before anything else; the command may run.
    #[error("whether it was started is not known: {why}")]
    Unknown {
        /// What is known.
        why: String,
    },
}

fn not_started(why: impl Into<String>) -> StartError {
    StartError::NotStarted { why: why.into() }
}

/// A command that was started from here. Dropping it changes nothing for the command.
#[derive(Debug)]
pub struct Handle {
    dir: PathBuf,
    command_pid: u32,
    redactor: Redactor,
    supervisor: BufReader<UnixStream>,
    // Kept so that it is waited for when it ends, by the runtime.
    _child: tokio::process::Child,
}

impl Handle {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The command's pid, which is also its process group.
    pub fn command_pid(&self) -> u32 {
        self.command_pid
    }

    /// Until the command has ended, as [`wait()`] does, but at once. May be cancelled and called again.
    pub async fn wait(&mut self) -> Found {
        // Anything that comes now, the end of the stream included, is a reason to look.
        let _ = self.supervisor.fill_buf().await;
        wait(&self.dir, &self.redactor).await
    }
}

/// Starts a command under a supervisor of its own, which keeps its records in `dir`. The folder is made here, for its owner
/// only, or for the group as well where the folder around it is so; it must not have been used before.
///
/// Cancelled in the middle, it leaves open whether the command runs: ask [`look()`].
pub async fn start(dir: &Path, spec: &Spec) -> Result<Handle, StartError> {
    start_with(Path::new(OURSELVES), dir, spec).await
}

/// As [`start`], with the program to be used as supervisor.
pub async fn start_with(program: &Path, dir: &Path, spec: &Spec) -> Result<Handle, StartError> {
    refuse_secret_arguments(spec)?;
    let (dir, around) = make(dir)?;
    let order =
        serde_json::to_vec(spec).map_err(|error| not_started(format!("cannot pass it on: {error}")))?;
    let (mut stream, theirs) =
        channel().map_err(|error| not_started(format!("cannot make a socket: {error}")))?;
    // The command is dropped with this statement, and with it our copy of the supervisor's end.
    let child = tokio::process::Command::new(program)
        .arg0("holdpoint")
        .arg(SUBCOMMAND)
        .arg(&dir)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| not_started(format!("cannot start {} as supervisor: {error}", program.display())))?;
    // While it comes up. Without the order it starts nothing.
    if let Some(around) = around {
        around.sync_all().map_err(|error| not_started(format!("cannot flush {}: {error}", dir.display())))?;
    }
    let redactor = Redactor::new(spec.secrets.iter().cloned());
    let (answer, supervisor) = tokio::time::timeout(ANSWER, async {
        let sent = async {
            stream.write_all(&order).await?;
            stream.shutdown().await
        };
        let sent = sent.await;
        let mut supervisor = BufReader::new(stream);
        let mut line = String::new();
        let read = supervisor.read_line(&mut line).await;
        (sent.and(read).map(|_| line), supervisor)
    })
    .await
    .map_err(|_| StartError::Unknown { why: format!("no answer in {} seconds", ANSWER.as_secs()) })?;
    match answer.as_deref().map(serde_json::from_str) {
        Ok(Ok(Answer::Started { pid })) => {
            Ok(Handle { dir, command_pid: pid, redactor, supervisor, _child: child })
        }
        Ok(Ok(Answer::NotStarted { why })) => Err(not_started(redactor.text(&why))),
        _ => Err(match look(&dir, &redactor) {
            Found::NeverStarted => not_started("its supervisor ended before it could start it"),
            _ => StartError::Unknown {
                why: "its supervisor ended, or said something else than expected".to_owned(),
            },
        }),
    }
}

/// Our end, and the supervisor's.
fn channel() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// Every user of the machine can read argument lists.
fn refuse_secret_arguments(spec: &Spec) -> Result<(), StartError> {
    for (i, argument) in spec.argv.iter().enumerate() {
        let mut strong = spec.secrets.iter().filter(|(_, value)| value.len() >= SHORTEST);
        if let Some((name, _)) = strong.find(|(_, value)| argument.contains(value.as_str())) {
            return Err(not_started(format!(
                "argument {} would show the secret `{name}` to every user of this machine; pass it in `env` instead",
                i + 1
            )));
        }
    }
    Ok(())
}

/// Makes the folder. Gives its full path, and the folder around it, which is still to be flushed if this one is new.
fn make(dir: &Path) -> Result<(PathBuf, Option<File>), StartError> {
    let fail = |error: io::Error| not_started(format!("cannot make {}: {error}", dir.display()));
    let around = match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {
            let around = File::open(dir.join("..")).map_err(fail)?;
            let mode = around.metadata().map_err(fail)?.permissions().mode();
            if mode & 0o070 == 0o070 {
                let shared = Permissions::from_mode(0o770 | (mode & 0o2000));
                std::fs::set_permissions(dir, shared).map_err(fail)?;
            }
            Some(around)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(dir).map_err(fail)?;
            if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
                return Err(not_started(format!("{} is not a folder of ours", dir.display())));
            }
            if std::fs::symlink_metadata(dir.join(LOCK)).is_ok() {
                return Err(StartError::AlreadyUsed { dir: dir.to_owned() });
            }
            None
        }
        Err(error) => return Err(fail(error)),
    };
    Ok((dir.canonicalize().map_err(fail)?, around))
}

/// Until nobody supervises the command of this folder any more, whoever started it. Never gives [`Found::Running`].
/// [`Found::Orphaned`] comes at once, though the command runs.
pub async fn wait(dir: &Path, redactor: &Redactor) -> Found {
    let [mut pause, longest] = POLL;
    loop {
        match look(dir, redactor) {
            Found::Running { .. } => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            found => return found,
        }
    }
}

/// Asks the supervisor to stop the command: TERM, grace, KILL, to all that it started. Returns at once; see [`wait()`].
pub fn stop(dir: &Path, why: &str) -> Result<(), String> {
    // On a full disk the reason is lost, but not the wish.
    let _ = record::write(dir, STOP, &StopRecord { why: shown(why) }, false);
    signal(dir, Signal::TERM)
}

/// Asks the supervisor to pause the command and all that it started. The time limit waits too.
pub fn pause(dir: &Path) -> Result<(), String> {
    signal(dir, Signal::USR1)
}

/// Asks the supervisor to let a paused command go on.
pub fn cont(dir: &Path) -> Result<(), String> {
    signal(dir, Signal::USR2)
}

fn signal(dir: &Path, signal: Signal) -> Result<(), String> {
    let nobody = || "nobody supervises it now".to_owned();
    if locked(&dir.join(LOCK))? != Some(true) {
        return Err(nobody());
    }
    let supervisor = record::read::<SupervisorRecord>(dir, SUPERVISOR)?.ok_or_else(nobody)?.process;
    supervisor.signal(signal).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("its supervisor (pid {}) belongs to another user; try again with sudo", supervisor.pid)
        }
        _ => nobody(),
    })
}
