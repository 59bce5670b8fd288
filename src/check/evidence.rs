//! What a check saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{CheckId, Moment};
use crate::world::Identity;

/// The three results of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was measured, and it holds.
    Pass,
    /// It was measured, and it does not hold.
    Fail,
    /// It was not measured: no connection, no right, a timeout, nothing to compare. Blocks like a failure.
    Unknown,
}

impl Verdict {
    /// `pass`, `FAIL`, `UNKNOWN`: readable without colour.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "UNKNOWN",
        }
    }
}

/// A target as it was when something was measured on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name in the runbook.
    pub target: String,
    /// What it was.
    pub identity: Identity,
}

/// What a check returns: everything but its place in the runbook and the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Pass, fail or unknown.
    pub verdict: Verdict,
    /// What was seen, with numbers and units: `0 rows in events`.
    pub observed: String,
    /// What was wanted: `1,000,000 rows, as in old`.
    pub expected: String,
    /// The one safe thing to do next, when it did not pass. Never a way round the check.
    pub help: Option<String>,
    /// More lines for those who want to know: one finding a line.
    pub details: Vec<String>,
    /// Numbers for programs: `{"bytes_available": 1234}`.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// The targets that were measured, as they were.
    pub seen: Vec<Seen>,
}

impl Outcome {
    fn new(verdict: Verdict, observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Outcome {
            verdict,
            observed: observed.into(),
            expected: expected.into(),
            help: None,
            details: Vec::new(),
            facts: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    /// It holds.
    pub fn pass(observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, observed, expected)
    }

    /// It does not hold.
    pub fn fail(observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, observed, expected)
    }

    /// It could not be measured; `why` says what was in the way.
    pub fn unknown(why: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, why, expected)
    }

    /// Pass or fail by a condition.
    pub fn judge(holds: bool, observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(if holds { Verdict::Pass } else { Verdict::Fail }, observed, expected)
    }

    /// The one safe thing to do next; kept only when it did not pass.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if self.verdict != Verdict::Pass {
            self.help = Some(help.into());
        }
        self
    }

    /// One more line.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// One more number for programs.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// A target that was measured, as it was.
    #[must_use]
    pub fn on(mut self, target: &str, identity: Identity) -> Self {
        self.seen.push(Seen { target: target.to_owned(), identity });
        self
    }
}

/// A measurement on record: an outcome with its place, its time, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where the check stands in the runbook.
    pub check: CheckId,
    /// Its name, as in `holdpoint checks`.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// What it saw.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// When the measurement ended. Its age counts from here.
    pub at: Moment,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Evidence {
    /// Its verdict.
    pub fn verdict(&self) -> Verdict {
        self.outcome.verdict
    }
}
