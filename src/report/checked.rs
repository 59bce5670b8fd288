//! What `check` found, as facts: every form of output (for people, JSON, JUnit, Nagios, Prometheus) is made from this one,
//! so that no two of them can tell different stories.

use serde::Serialize;

use crate::check::{Evidence, Verdict};

/// One check's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What it saw.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// Shown, never a gate: when it does not pass that is a warning.
    pub advisory: bool,
}

/// All results of one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// The runbook's or the file's name.
    pub name: String,
    /// True when every check that gates passes, and there was one.
    pub pass: bool,
    /// How many passed, advisory ones included.
    pub passed: usize,
    /// How many failed, advisory ones included.
    pub failed: usize,
    /// How many could not be measured, advisory ones included.
    pub unknown: usize,
    /// How many that did not pass are advisory.
    pub warnings: usize,
    /// Milliseconds from the first question to the last answer.
    pub took_ms: u64,
    /// All of them, in the order of the file.
    #[serde(rename = "evidence")]
    pub items: Vec<Item>,
}

/// How bad it is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every check passes.
    Ok,
    /// Only advisory checks do not pass.
    Warning,
    /// Something could not be measured, or nothing was.
    Unknown,
    /// Something fails.
    Critical,
}

impl Level {
    /// As monitoring plugins say it.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Unknown => "UNKNOWN",
            Level::Critical => "CRITICAL",
        }
    }

    /// The exit status of a monitoring plugin.
    pub fn status(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Warning => 1,
            Level::Critical => 2,
            Level::Unknown => 3,
        }
    }
}

impl Item {
    /// How bad this one is.
    pub fn level(&self) -> Level {
        match (self.evidence.verdict(), self.advisory) {
            (Verdict::Pass, _) => Level::Ok,
            (_, true) => Level::Warning,
            (Verdict::Fail, false) => Level::Critical,
            (Verdict::Unknown, false) => Level::Unknown,
        }
    }
}

impl Checked {
    /// Counts the verdicts. No checks at all, or advisory ones only, are not a pass.
    pub fn of(name: &str, items: Vec<Item>, took_ms: u64) -> Self {
        let count = |wanted| items.iter().filter(|item| item.evidence.verdict() == wanted).count();
        let (passed, failed, unknown) = (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::Unknown));
        let warnings = items.iter().filter(|item| item.level() == Level::Warning).count();
        let mut gates = items.iter().filter(|item| !item.advisory).peekable();
        let pass = gates.peek().is_some() && gates.all(|item| item.level() == Level::Ok);
        Checked { name: name.to_owned(), pass, passed, failed, unknown, warnings, took_ms, items }
    }

    /// The worst of all. Nothing measured is unknown.
    pub fn level(&self) -> Level {
        let worst = self.items.iter().map(Item::level).max().unwrap_or(Level::Unknown);
        if self.pass || worst > Level::Warning { worst } else { Level::Unknown }
    }

    /// Worst first, else in the order of the file.
    pub fn worst_first(&self) -> Vec<&Item> {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.level()));
        items
    }

    /// `2 of 3 checks pass; 1 FAIL, 0 UNKNOWN`.
    pub fn sum(&self) -> String {
        let mut text = match (self.items.len(), self.passed) {
            (0, _) => return "nothing was measured, so nothing is proved".to_owned(),
            (1, 1) => "the check passes".to_owned(),
            (n, passed) if n == passed => format!("all {n} checks pass"),
            (n, passed) => {
                format!("{passed} of {n} checks pass; {} FAIL, {} UNKNOWN", self.failed, self.unknown)
            }
        };
        if self.warnings > 0 {
            text.push_str(&format!("; {} of them advisory", self.warnings));
        } else if !self.pass && self.passed == self.items.len() {
            text.push_str(", but all are advisory: nothing is proved");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::evidence as seen;
    use super::*;

    fn checked(items: &[(Verdict, bool)]) -> Checked {
        let item = |(n, (verdict, advisory)): (usize, &(Verdict, bool))| Item {
            evidence: seen(&format!("c{n}"), *verdict),
            advisory: *advisory,
        };
        Checked::of("x", items.iter().enumerate().map(item).collect(), 1)
    }

    #[test]
    fn only_a_pass_of_something_that_gates_is_a_pass() {
        use Verdict::{Fail, Pass, Unknown};
        for (items, pass, level) in [
            (&[][..], false, Level::Unknown),
            (&[(Pass, true)], false, Level::Unknown),
            (&[(Pass, false)], true, Level::Ok),
            (&[(Pass, false), (Fail, true)], true, Level::Warning),
            (&[(Pass, false), (Unknown, true)], true, Level::Warning),
            (&[(Fail, true)], false, Level::Unknown),
            (&[(Pass, false), (Unknown, false)], false, Level::Unknown),
            (&[(Fail, false), (Unknown, false), (Pass, false)], false, Level::Critical),
        ] {
            let checked = checked(items);
            assert_eq!((checked.pass, checked.level()), (pass, level), "{items:?}");
        }
    }

    #[test]
    fn sums() {
        use Verdict::{Fail, Pass};
        assert_eq!(checked(&[]).sum(), "nothing was measured, so nothing is proved");
        assert_eq!(checked(&[(Pass, false)]).sum(), "the check passes");
        assert_eq!(
            checked(&[(Pass, true), (Pass, true)]).sum(),
            "all 2 checks pass, but all are advisory: nothing is proved"
        );
        assert_eq!(
            checked(&[(Pass, false), (Fail, true)]).sum(),
            "1 of 2 checks pass; 1 FAIL, 0 UNKNOWN; 1 of them advisory"
        );
    }
}
