//! What a supervisor writes into its folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{Moment, Span};

/// Version of these files.
pub const FORMAT: u32 = 1;

/// Files of a supervisor: their owner writes, the group of a shared store reads.
pub(super) const MODE: u32 = 0o640;

/// Held locked by a living supervisor.
pub const LOCK: &str = "supervisor.lock";
/// [`SupervisorRecord`].
pub const SUPERVISOR: &str = "supervisor.json";
/// [`CommandRecord`].
pub const COMMAND: &str = "command.json";
/// [`StopRecord`].
pub const STOP: &str = "stop.json";
/// [`ExitRecord`].
pub const EXIT: &str = "exit.json";
/// The command's output.
pub const OUTPUT: &str = "output.log";

/// A larger record is not one of ours.
const LARGEST: u64 = 1 << 20;

/// One process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// Who supervises. Flushed before the command starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The supervisor; its pid is also the session of everything that the command starts.
    #[serde(flatten)]
    pub process: Process,
    /// Boot id of the machine.
    pub boot_id: String,
    /// When.
    pub started: Moment,
    /// What people call the command.
    pub label: String,
    /// Time limit in milliseconds.
    pub limit_ms: Option<u64>,
}

/// Which process the command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The process; its pid is also its process group.
    #[serde(flatten)]
    pub process: Process,
    /// Program and arguments, for people.
    pub argv: String,
    /// When it was started.
    pub started: Moment,
}

/// A wish that the command stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// Why, in words.
    pub why: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// It exited.
    Exited {
        /// Its exit status.
        status: i32,
    },
    /// A signal that did not come from its supervisor killed it.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It reached its time limit: TERM, grace, KILL.
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Somebody asked for it to be stopped: TERM, grace, KILL.
    Stopped {
        /// Why.
        why: String,
    },
    /// It could not be started; nothing ran.
    NotStarted {
        /// Why.
        why: String,
    },
}

impl Ending {
    /// One line for people.
    pub fn describe(&self) -> String {
        match self {
            Ending::Exited { status } => format!("exit status {status}"),
            Ending::Signalled { signal } => format!("killed by signal {signal}"),
            Ending::TimedOut { limit_ms } => {
                format!("stopped at its time limit of {}", Span::millis(*limit_ms))
            }
            Ending::Stopped { why } => format!("stopped: {why}"),
            Ending::NotStarted { why } => format!("not started: {why}"),
        }
    }
}

/// The last word about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// How it ended.
    pub ending: Ending,
    /// What the operating system said, when that is not all of `ending`: `signal 9` after a time limit.
    pub process_ended: Option<String>,
    /// When it started.
    pub started: Moment,
    /// When it had ended.
    pub ended: Moment,
    /// Milliseconds that it was paused.
    pub paused_ms: u64,
    /// Processor time in milliseconds, of it and of the children that it waited for. Unknown for some endings.
    pub cpu_ms: Option<u64>,
    /// Boot id of the machine.
    pub boot_id: String,
    /// Bytes in `output.log`.
    pub output_bytes: u64,
    /// Bytes of output that are not in it.
    pub dropped_bytes: u64,
    /// Why they are not.
    pub dropped_why: Option<String>,
    /// Processes that it left running: `sleep 402 (pid 812)`.
    pub left_running: Vec<String>,
    /// Processes outside its process group that had to be ended with it.
    pub ended_too: Vec<String>,
}

/// Reads a record; `None` when it is not there.
pub(super) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, String> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let mut text = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("{} is damaged: {error}", path.display()))
}

/// Writes a record under another name, and then gives it its own: readers see all of it or nothing. With `flush`, it is on
/// disk when this returns; a reader may see it before.
pub(super) fn write<T: Serialize>(dir: &Path, name: &str, record: &T, flush: bool) -> Result<(), String> {
    let path = dir.join(name);
    put(dir, &path, record, flush).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn put<T: Serialize>(dir: &Path, path: &Path, record: &T, flush: bool) -> io::Result<()> {
    let part = path.with_extension("part");
    // Not truncated: the room that `reserve` took for it must not be given back to a full disk.
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&part)?;
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.set_len(text.len() as u64)?;
    let folder = File::open(dir)?;
    std::fs::rename(&part, path)?;
    if !flush {
        return Ok(());
    }
    // Content and name at the same time: file systems that keep a log make one write of it. A name without the content can
    // come out of a power cut only, and counts as damaged.
    std::thread::scope(|scope| {
        let name = scope.spawn(|| folder.sync_all());
        let content = file.sync_all();
        name.join().map_err(|_| io::Error::other("it could not be flushed"))?.and(content)
    })
}

/// Takes room for a record that must be written later, also when the disk is full by then. A file system that cannot
/// do that is left as it is.
pub(super) fn reserve(dir: &Path, name: &str, bytes: u64) -> Result<(), String> {
    let path = dir.join(name).with_extension("part");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&path);
    let file = file.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::IO)) => {
            Err(format!("cannot write {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
