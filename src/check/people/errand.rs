//! A command that a check sends on its way: a page, a message, a look for what arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Span;
use crate::base::text::neutral;
use crate::check::Context;
use crate::runbook::model::Run;
use crate::world::process::Probe;

/// Bytes of each output that are kept.
const KEEP: usize = 1 << 20;
/// From here on an exit status says that the command did not run: 126 and 127 come from a shell, 128 and above are
/// signals, 255 is a lost connection to many tools.
const NOT_RUN: i32 = 126;

/// A command with what it is given beyond the runbook's own variables.
#[derive(Debug, Clone)]
pub struct Errand<'a> {
    /// What runs.
    pub run: &'a Run,
    /// As whom; ours when not given.
    pub user: Option<&'a str>,
    /// More environment variables.
    pub env: Vec<(&'static str, String)>,
    /// The longest that it may take.
    pub limit: Duration,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Went {
    /// It exited with 0 and printed this.
    Well(String),
    /// It exited with another status: it ran and says that it failed.
    Badly(String),
    /// It did not start, was killed or took too long: nobody knows.
    NotRun(String),
}

/// True when there is something to run.
pub fn runs(run: &Run) -> bool {
    match run {
        Run::Argv(argv) => argv.first().is_some_and(|program| !program.is_empty()),
        Run::Script(script) => !script.trim().is_empty(),
    }
}

/// What runs, in a few words, for people.
pub fn shown(run: &Run) -> String {
    let text = match run {
        Run::Argv(argv) => argv.first().cloned().unwrap_or_default(),
        Run::Script(script) => {
            script.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
        }
    };
    short(&text, 60)
}

/// At most so many characters on one line, safe for a terminal.
pub fn short(text: &str, most: usize) -> String {
    let line = neutral(text.trim()).replace('\n', " ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Errand<'_> {
    /// Runs it to its end, at most for its limit, for what it prints.
    pub async fn look(&self, cx: &Context) -> Went {
        self.go(false, cx).await
    }

    /// Runs it to its end, at most for its limit, for what it sends: it may deliver in the background.
    pub async fn send(&self, cx: &Context) -> Went {
        self.go(true, cx).await
    }

    async fn go(&self, sends: bool, cx: &Context) -> Went {
        let mut env = BTreeMap::new();
        let argv = match self.run {
            Run::Argv(argv) => argv.clone(),
            Run::Script(script) => {
                env = (cx.script_env)(script);
                ["bash", "-euo", "pipefail", "-c", script].map(str::to_owned).to_vec()
            }
        };
        env.extend(self.env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let user = self.user.map(str::to_owned);
        let probe = Probe { argv, env, cwd: None, user, timeout: self.limit, keep: KEEP };
        let processes = &cx.world.processes;
        let seen = if sends { processes.send(&probe).await } else { processes.probe(&probe).await };
        let seen = match seen {
            Ok(seen) => seen,
            Err(why) => return Went::NotRun(why),
        };
        let said = String::from_utf8_lossy(&seen.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let told = last.map(|line| format!(": {}", short(line, 160))).unwrap_or_default();
        match (seen.status, seen.signal) {
            _ if seen.timed_out => Went::NotRun(format!("it was still running after {}", Span(self.limit))),
            (Some(0), _) => Went::Well(String::from_utf8_lossy(&seen.stdout).into_owned()),
            (Some(status), _) if (1..NOT_RUN).contains(&status) => {
                Went::Badly(format!("exit status {status}{told}"))
            }
            (Some(127), _) => Went::NotRun(format!("exit status 127: a program was not found{told}")),
            (Some(status), _) => Went::NotRun(format!("exit status {status}: it could not run{told}")),
            (None, signal) => {
                let number = signal.map_or("?".to_owned(), |n| n.to_string());
                Went::NotRun(format!("ended by signal {number}"))
            }
        }
    }
}
