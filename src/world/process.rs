//! Short commands whose output is a measurement, as a port. A step's command does not go through here: it runs under
//! the supervisor and outlives the terminal.

mod local;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

pub use local::{LocalProcesses, PATH, is_probe};

/// A command to run for its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment; nothing is inherited but a fixed PATH, HOME and LC_ALL=C.UTF-8.
    pub env: BTreeMap<String, String>,
    /// Working directory; `/` when not given.
    pub cwd: Option<String>,
    /// The user it runs as; ours when not given.
    pub user: Option<String>,
    /// Then its whole process group is killed.
    pub timeout: Duration,
    /// Bytes of output kept of each stream; the rest is read and counted.
    pub keep: usize,
}

/// What a probe left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// True when our time limit ended it.
    pub timed_out: bool,
    /// First bytes of standard output.
    pub stdout: Vec<u8>,
    /// First bytes of standard error.
    pub stderr: Vec<u8>,
    /// True when more came than was kept.
    pub truncated: bool,
}

/// Runs probes.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Runs a command to its end, with no standard input, and leaves nothing of its process group behind. Dropping the
    /// future kills the group. An error says why it could not start.
    async fn probe(&self, probe: &Probe) -> Result<Probed, String>;

    /// Runs a command that is there for what it does: it sends something, or starts something. As [`Self::probe`], but when
    /// it exits with 0, what it left running goes on: a mail program may deliver in the background, and a program that leaves
    /// its process group does so only after its parent has ended.
    async fn send(&self, probe: &Probe) -> Result<Probed, String> {
        self.probe(probe).await
    }
}
