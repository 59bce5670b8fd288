//! Many findings, one verdict: a failure counts before what could not be measured, and both before a pass. All of them
//! are told, the first one in the summary.

use super::Outcome;
use crate::base::text::thousands;

/// Most lines of one kind in the evidence.
const MOST: usize = 25;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Findings {
    failed: Vec<String>,
    unsure: Vec<String>,
    notes: Vec<String>,
    help_failed: Option<String>,
    help_unsure: Option<String>,
}

impl Findings {
    /// Something does not hold. The first one's help is shown.
    pub fn fail(&mut self, what: impl Into<String>, help: impl Into<String>) {
        self.failed.push(what.into());
        self.help_failed.get_or_insert_with(|| help.into());
    }

    /// Something could not be measured.
    pub fn unknown(&mut self, what: impl Into<String>, help: impl Into<String>) {
        self.unsure.push(what.into());
        self.help_unsure.get_or_insert_with(|| help.into());
    }

    /// What another measurement said when it could not be made.
    pub fn unknown_as(&mut self, outcome: &Outcome) {
        self.unknown(outcome.observed.clone(), outcome.help.clone().unwrap_or_default());
    }

    /// Something worth knowing that decides nothing.
    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// True when nothing stands against a pass.
    pub fn clean(&self) -> bool {
        self.failed.is_empty() && self.unsure.is_empty()
    }

    /// The verdict; `observed` is what a pass says.
    pub fn outcome(self, observed: impl Into<String>, expected: impl Into<String>) -> Outcome {
        let (mut outcome, rest) = match (self.failed.split_first(), self.unsure.split_first()) {
            (Some((first, others)), _) => (
                Outcome::fail(summary(first, others), expected).help(self.help_failed.unwrap_or_default()),
                self.failed.len() + self.unsure.len(),
            ),
            (None, Some((first, others))) => (
                Outcome::unknown(summary(first, others), expected).help(self.help_unsure.unwrap_or_default()),
                self.unsure.len(),
            ),
            (None, None) => (Outcome::pass(observed, expected), 0),
        };
        if rest > 1 {
            bounded(&mut outcome.details, &self.failed);
            bounded(&mut outcome.details, &self.unsure);
        }
        bounded(&mut outcome.details, &self.notes);
        outcome
    }
}

fn summary(first: &str, others: &[String]) -> String {
    match others.len() {
        0 => first.to_owned(),
        more => format!("{first}; and {more} more"),
    }
}

fn bounded(details: &mut Vec<String>, lines: &[String]) {
    details.extend(lines.iter().take(MOST).cloned());
    if lines.len() > MOST {
        details.push(format!("and {} more", thousands((lines.len() - MOST) as u64)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_failure_counts_before_the_unknown_and_all_is_told() {
        let mut findings = Findings::default();
        findings.note("note");
        assert!(findings.clean());
        findings.unknown("b not seen", "look");
        findings.fail("a is broken", "mend a");
        findings.fail("c is broken", "mend c");
        let outcome = findings.outcome("all well", "all");
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.observed, "a is broken; and 1 more");
        assert_eq!(outcome.help.as_deref(), Some("mend a"));
        assert_eq!(outcome.details, ["a is broken", "c is broken", "b not seen", "note"]);
        let many = (0..100).map(|n| n.to_string()).collect::<Vec<_>>();
        let mut findings = Findings::default();
        many.iter().for_each(|n| findings.unknown(n, "look"));
        let outcome = findings.outcome("all well", "all");
        assert_eq!(outcome.verdict, Verdict::Unknown);
        assert_eq!((outcome.details.len(), outcome.details[25].as_str()), (26, "and 75 more"));
    }
}
