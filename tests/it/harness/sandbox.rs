//! A directory of its own for each test, and the built program with a cleared environment, a store of its own, a fixed
//! width, and a time limit, so that no test depends on the machine or hangs.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory that is removed when dropped.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

/// A limit in a test is what a quiet machine never needs. A loaded one gets so many times as long: only a test that fails
/// waits for it.
pub const LOADED: u32 = 10;

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Panics, showing all output, unless it exited with `status`.
    #[track_caller]
    pub fn exits(self, status: i32) -> Ran {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics, showing all output, unless standard output or standard error holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        let both = format!("{}\n{}", self.stdout, self.stderr);
        assert!(
            both.contains(text),
            "`{text}` is not in\nstdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Sandbox {
    /// An empty one.
    pub fn new() -> Sandbox {
        Sandbox { dir: tempfile::Builder::new().prefix("hp-test-").tempdir().unwrap() }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program's store.
    pub fn store(&self) -> PathBuf {
        self.join("store")
    }

    /// Writes a file below it, with its directories.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The built program, ready for arguments.
    pub fn holdpoint(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("TERM", "dumb")
            .env("COLUMNS", "80")
            .env("HOLDPOINT_STORE", self.store())
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end, which takes at most a minute on a quiet machine.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let mut command = self.holdpoint();
        command.args(arguments);
        finish(&mut command, Duration::from_secs(60))
    }
}

/// A name for a process that no other program of tests on this machine gives.
pub fn own_name(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Copies a program so that it can be executed at once. Not by this process: what another test starts at that moment has
/// our descriptors until it executes its own program, and a file that is open for writing cannot be executed.
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    super::must(Command::new("cp").arg(from.as_ref()).arg(to));
}

/// Runs a command to its end. Panics when it takes longer than [`LOADED`] times `limit`, after killing it.
#[track_caller]
pub fn finish(command: &mut Command, limit: Duration) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let limit = limit * LOADED;
    let status = wait(&mut child, limit);
    let ran = Ran {
        status: status.and_then(|status| status.code()),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    };
    assert!(status.is_some(), "{command:?} was still running after {limit:?}: {ran:?}");
    ran
}

fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn drain(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until `holds`, at most [`LOADED`] times `limit`; panics otherwise.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let limit = limit * LOADED;
    let until = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
