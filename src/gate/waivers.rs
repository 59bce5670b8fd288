//! Waivers: a named person's dated, reasoned decision to go on without one check.
//!
//! Invariants: a waived check is measured all the same; a waiver covers the verdict that it was given for, and no other; what
//! guards a destruction is waived only where the runbook allows it, and only by somebody who does not drive the run. A
//! waiver never makes a pass of what did not pass: nothing is proved by one.

use std::time::Duration;

use super::approvals::Proven;
use super::clock::{Clock, Term};
use crate::base::CheckId;
use crate::check::{Evidence, Verdict};
use crate::journal::second::Person;

/// The longest that a check may be waived for.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// How many waivers a run may have at a time that are not settled. More are no exception any more, but the rule.
pub const MOST: usize = 3;

/// A waiver, with what has to be known to judge it.
#[derive(Debug, Clone)]
pub struct Waived {
    /// The check.
    pub check: CheckId,
    /// Who waived it, as the journal has it.
    pub by: String,
    /// Who that is.
    pub person: Person,
    /// How that is known.
    pub proven: Proven,
    /// Why it was waived.
    pub reason: String,
    /// The verdict that it is for.
    pub verdict: Verdict,
    /// Given when, until when.
    pub term: Term,
    /// The check guards a destruction somewhere in the runbook.
    pub guards: bool,
    /// The runbook lets it be waived although it does.
    pub waivable: bool,
}

impl Waived {
    /// Why it does not count; `None` while it does.
    pub fn objection(&self, operator: &Person, signed: bool, clock: &Clock<'_>) -> Option<String> {
        if self.guards && !self.waivable {
            return Some(
                "the check guards a destruction, and the runbook does not let it be waived".to_owned(),
            );
        }
        match &self.proven {
            Proven::Broken(why) => return Some(format!("its signature does not hold: {why}")),
            Proven::Claimed if signed => {
                return Some("it is not signed, and this environment wants it signed".to_owned());
            }
            _ => {}
        }
        if self.guards && operator.same(&self.person) {
            return Some("who gave it drives the run".to_owned());
        }
        clock.over(&self.term, LONGEST)
    }

    /// Why it does not cover this measurement; `None` when it does.
    pub fn uncovered(&self, evidence: &Evidence) -> Option<String> {
        (evidence.verdict() != self.verdict)
            .then(|| format!("it is for {}, and not for {}", self.verdict.word(), evidence.verdict().word()))
    }

    /// What is said after what was seen, when it does not count for that.
    pub fn refused(&self, why: &str) -> String {
        format!("; the waiver of {} does not count: {why}", self.by)
    }
}
