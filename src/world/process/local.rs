//! This machine's processes. A probe runs in a process group of its own, which is killed when the probe ends, takes too
//! long, or is no longer waited for; one that sends something may leave a part of it running. A child that makes a session
//! of its own (a daemon) leaves the group and escapes; it cannot hold up the answer.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Probe, Probed, Processes};

/// Where programs are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long output is still read after the command itself has ended: a child that escaped may hold the pipe open.
const DRAIN: Duration = Duration::from_millis(300);

/// How long a killed command may take to end. Only one that hangs in the kernel takes longer.
const UNKILLABLE: Duration = Duration::from_secs(5);

/// This machine's processes.
pub struct LocalProcesses;

#[async_trait]
impl Processes for LocalProcesses {
    async fn probe(&self, probe: &Probe) -> Result<Probed, String> {
        run(probe, false).await
    }

    async fn send(&self, probe: &Probe) -> Result<Probed, String> {
        run(probe, true).await
    }
}

/// Runs it to its end. What is left of its group ends with it, unless it ended well and may leave something running.
async fn run(probe: &Probe, leaves: bool) -> Result<Probed, String> {
    let mut command = command(probe)?;
    let (mut child, mut group) = {
        // Nobody sees it before it is known to be ours.
        let mut probes = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().map_err(|e| not_started(probe, &e))?;
        let group = Group::of(child.id());
        probes.extend(group.id.map(Pid::as_raw_pid));
        (child, group)
    };
    let out = Stream::read(child.stdout.take(), probe.keep);
    let err = Stream::read(child.stderr.take(), probe.keep);

    let ended = timeout(probe.timeout, child.wait()).await;
    group.spared = leaves && matches!(&ended, Ok(Ok(status)) if status.success());
    drop(group);
    let (status, timed_out) = match ended {
        Ok(status) => (status, false),
        Err(_) => match timeout(UNKILLABLE, child.wait()).await {
            Ok(status) => (status, true),
            Err(_) => {
                return Err(format!(
                    "`{}` did not end even when killed: it waits for a device",
                    shown(probe)
                ));
            }
        },
    };
    let status = status.map_err(|e| format!("`{}`: its end could not be seen: {e}", shown(probe)))?;
    let ((stdout, cut_out), (stderr, cut_err)) = futures::future::join(out.finish(), err.finish()).await;
    Ok(Probed {
        status: status.code(),
        signal: std::os::unix::process::ExitStatusExt::signal(&status),
        timed_out,
        stdout,
        stderr,
        truncated: cut_out || cut_err,
    })
}

fn shown(probe: &Probe) -> &str {
    probe.argv.first().map_or("", String::as_str)
}

fn not_started(probe: &Probe, error: &std::io::Error) -> String {
    let program = shown(probe);
    match error.kind() {
        // A missing working directory gives the same error as a missing program.
        std::io::ErrorKind::NotFound if probe.cwd.as_ref().is_some_and(|dir| !Path::new(dir).is_dir()) => {
            format!("the directory `{}` does not exist", probe.cwd.as_deref().unwrap_or_default())
        }
        std::io::ErrorKind::NotFound if program.contains('/') => format!("`{program}` does not exist"),
        std::io::ErrorKind::NotFound => format!("no program is called `{program}` in {PATH}"),
        std::io::ErrorKind::PermissionDenied => format!("`{program}` may not be run: permission denied"),
        _ => format!("`{program}` could not be started: {error}"),
    }
}

fn command(probe: &Probe) -> Result<Command, String> {
    let (program, arguments) = probe.argv.split_first().ok_or("there is no command to run")?;
    let own = rustix::process::geteuid().as_raw();
    let mut home = account(|name, uid, _| uid == own && !name.is_empty());
    let mut command = match &probe.user {
        None => Command::new(program),
        Some(user) => {
            home = account(|name, _, _| name == user);
            let uid = home.as_ref().map(|(uid, _)| *uid);
            if uid == Some(own) {
                Command::new(program)
            } else if own == 0 {
                let mut switch = Command::new("runuser");
                switch.args(["-u", user, "--", program]);
                switch
            } else {
                return Err(format!("running as `{user}` needs root"));
            }
        }
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", home.map_or_else(|| "/".to_owned(), |(_, home)| home))
        .env("LC_ALL", "C.UTF-8")
        .envs(&probe.env)
        .current_dir(probe.cwd.as_deref().unwrap_or("/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// User id and home of the first account in /etc/passwd that fits; none for one that only a directory service knows.
fn account(fits: impl Fn(&str, u32, &str) -> bool) -> Option<(u32, String)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, home) = (fields.first()?, fields.get(2)?.parse().ok()?, fields.get(5)?);
        fits(name, uid, home).then(|| (uid, (*home).to_owned()))
    })
}

/// A process group that ends with this value, unless it is spared.
struct Group {
    id: Option<Pid>,
    spared: bool,
}

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Group { id: leader.and_then(|id| Pid::from_raw(id as i32)), spared: false }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.id {
            if !self.spared {
                let _ = kill_process_group(group, Signal::KILL);
            }
            PROBES.lock().unwrap_or_else(PoisonError::into_inner).remove(&group.as_raw_pid());
        }
    }
}

/// The process groups of probes that run now.
static PROBES: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// True for a process of one of our own probes: it measures, and is gone when it has. Whoever looks for those who use what
/// is about to go must not take a guard that reads it just then for one of them.
pub fn is_probe(pid: u32) -> bool {
    let group = Pid::from_raw(pid as i32).and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
    let probes = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
    group.is_some_and(|group| probes.contains(&group.as_raw_pid()))
}

/// One output of a command, read to its end by a task of its own, so that the command never waits for us.
struct Stream {
    kept: Arc<Mutex<(Vec<u8>, bool)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Stream {
    fn read(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, keep: usize) -> Self {
        let kept = Arc::new(Mutex::new((Vec::new(), false)));
        let shared = kept.clone();
        let task = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut piece = vec![0; 65_536];
            while let Ok(n @ 1..) = pipe.read(&mut piece).await {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let room = keep.saturating_sub(kept.0.len()).min(n);
                kept.0.extend_from_slice(&piece[..room]);
                kept.1 |= room < n;
            }
        });
        Stream { kept, task }
    }

    /// What was kept, and whether more came.
    async fn finish(mut self) -> (Vec<u8>, bool) {
        let _ = timeout(DRAIN, &mut self.task).await;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.0), kept.1)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn script(text: &str) -> Probe {
        Probe {
            argv: ["bash", "-c", text].map(str::to_owned).to_vec(),
            env: Default::default(),
            cwd: None,
            user: None,
            timeout: Duration::from_secs(10),
            keep: 100,
        }
    }

    #[tokio::test]
    async fn status_signal_and_bounded_output() {
        let seen =
            LocalProcesses.probe(&script("head -c 1000000 /dev/zero; echo no >&2; exit 3")).await.unwrap();
        assert_eq!((seen.status, seen.signal, seen.stdout.len(), seen.truncated), (Some(3), None, 100, true));
        assert_eq!(seen.stderr, b"no\n");
        let seen = LocalProcesses.probe(&script("kill -9 $$")).await.unwrap();
        assert_eq!((seen.status, seen.signal), (None, Some(9)));
    }

    #[tokio::test]
    async fn nothing_is_inherited_and_nothing_can_be_read() {
        let seen =
            LocalProcesses.probe(&script("env | sort | cut -d= -f1 | tr '\\n' ' '; pwd; cat")).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout), "HOME LC_ALL PATH PWD SHLVL _ /\n");
    }

    #[tokio::test]
    async fn a_group_ends_at_the_limit_and_an_escaped_child_holds_nothing_up() {
        let start = Instant::now();
        let mut probe = script("sleep 301 & sleep 302");
        probe.timeout = Duration::from_millis(200);
        assert!(LocalProcesses.probe(&probe).await.unwrap().timed_out);
        let seen = LocalProcesses.probe(&script("setsid sleep 2 & echo done")).await.unwrap();
        assert_eq!(seen.stdout, b"done\n");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn only_what_was_sent_goes_on_in_the_background() {
        let folder = tempfile::tempdir().unwrap();
        let late = |name: &str, status: u8| {
            let file = folder.path().join(name).display().to_string();
            script(&format!("(sleep 0.4; touch {file}) >/dev/null 2>&1 & exit {status}"))
        };
        let mut slow = late("cut-off", 0);
        slow.argv[2] = slow.argv[2].replace("exit 0", "sleep 60");
        slow.timeout = Duration::from_millis(100);
        assert!(LocalProcesses.send(&slow).await.unwrap().timed_out);
        assert_eq!(LocalProcesses.probe(&late("measured", 0)).await.unwrap().status, Some(0));
        assert_eq!(LocalProcesses.send(&late("failed", 3)).await.unwrap().status, Some(3));
        assert_eq!(LocalProcesses.send(&late("sent", 0)).await.unwrap().status, Some(0));
        let wait = async {
            while !folder.path().join("sent").exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let there: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(there, ["sent"]);
    }

    #[tokio::test]
    async fn what_cannot_start_says_why() {
        let mut probe = script("true");
        probe.argv = vec!["no-such-program".to_owned()];
        assert!(LocalProcesses.probe(&probe).await.unwrap_err().contains("no program is called"));
        probe = script("true");
        probe.cwd = Some("/no/such/place".to_owned());
        assert!(LocalProcesses.probe(&probe).await.unwrap_err().contains("/no/such/place"));
    }
}
