//! What is to be run, as the engine hands it to a supervisor. It holds secrets: it is never written to disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a command may go on after TERM before KILL, when nothing else is said.
pub const GRACE: Duration = Duration::from_secs(10);

/// A command to supervise.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments. The program is looked up in the PATH of `env`.
    pub argv: Vec<String>,
    /// Its whole environment; nothing is inherited. See [`super::env::clean`].
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// The user it runs as; ours when not given. Another one needs root.
    pub user: Option<String>,
    /// Time limit, by a clock that counts suspension. Time spent paused does not count.
    pub limit: Option<Duration>,
    /// Between TERM and KILL. See [`GRACE`].
    pub grace: Duration,
    /// Names and values that the output must not show.
    pub secrets: Vec<(String, String)>,
    /// What people call it: `copy, attempt 2`.
    pub label: String,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Spec").field("label", &self.label).field("env", &names).finish_non_exhaustive()
    }
}

/// The argument list for a bash script: it stops at the first error, also inside a pipe, and an unset variable is one.
/// No start-up file is read.
pub fn script(text: &str) -> Vec<String> {
    ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", text, "holdpoint"].map(str::to_owned).into()
}

/// What the supervisor answers over its socket, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The command runs.
    Started {
        /// Its process.
        pid: u32,
    },
    /// Nothing runs, and nothing ran.
    NotStarted {
        /// Why.
        why: String,
    },
    /// `exit.json` is there.
    Ended,
}
