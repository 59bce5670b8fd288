//! The one choke point. [`clear`] is a pure function and the only maker of a [`Permit`]; the executor cannot be asked to
//! do a step's work, or to undo it, without a [`Cleared`] token, and where that destroys only a permit makes one.
//!
//! ```
//! // A permit is used up by the step that it clears.
//! fn once(permit: holdpoint::gate::Permit, step: &holdpoint::runbook::Step, now: &holdpoint::base::Moment) {
//!     let _ = (permit.number(), holdpoint::gate::Cleared::by(permit, step, now));
//! }
//! ```
//!
//! ```compile_fail
//! // A permit has no other maker: its fields are private and it has no constructor.
//! let permit = holdpoint::gate::Permit { number: 1 };
//! ```
//!
//! ```compile_fail
//! // It cannot be used twice.
//! fn twice(permit: holdpoint::gate::Permit, step: &holdpoint::runbook::Step, now: &holdpoint::base::Moment) {
//!     let first = holdpoint::gate::Cleared::by(permit, step, now);
//!     let second = holdpoint::gate::Cleared::by(permit, step, now);
//! }
//! ```
//!
//! ```compile_fail
//! // Nor can it be copied.
//! fn copied(permit: &holdpoint::gate::Permit) -> holdpoint::gate::Permit {
//!     permit.clone()
//! }
//! ```
//!
//! ```compile_fail
//! // No token is made by hand, for an undoing neither.
//! let cleared = holdpoint::gate::Cleared { step: "copy".into(), what: holdpoint::gate::Clearance::Undo };
//! ```
//!
//! ```compile_fail
//! // A token is not copied, so that one permit cannot clear both the work and its undoing.
//! fn both(cleared: &holdpoint::gate::Cleared) -> holdpoint::gate::Cleared {
//!     cleared.clone()
//! }
//! ```
//!
//! No flag, variable, environment or mode reaches this module: it sees evidence, identities, the list of what goes, and
//! the text that was typed.

pub mod approvals;
pub mod clock;
mod grown;
mod rules;
mod targets;
#[cfg(test)]
mod tests;
pub mod waivers;
pub mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{CheckId, Digest, Moment, RunId, StepId};
use crate::check::Evidence;
use crate::journal::record::{Blast, Blocker};
use crate::journal::scripts::{Found, Scripts};
use crate::runbook::Step;
use crate::runbook::model::Destroys;
use crate::world::Identity;

pub use approvals::{APPROVAL, Approvals, REJECTION, content};
pub use clock::Clock;
pub use rules::{COPY, NOT_SHOWN_BY};
pub use targets::{elsewhere, identity_changes, objection};
pub use waivers::Waived;
pub use window::Window;

/// How long evidence opens a hold point, from the end of its measurement.
pub const VALIDITY: Duration = Duration::from_secs(60);

/// Everything that a decision rests on. All of it is measured, none of it claimed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Digest of the runbook as it was when the run was opened.
    pub runbook: &'a Digest,
    /// Digest of the runbook as the run's folder holds it now.
    pub runbook_now: &'a Digest,
    /// The scripts beside the runbook, as they were when the run was opened.
    pub scripts: &'a Scripts,
    /// The same files as they are now.
    pub scripts_now: &'a Found,
    /// The step that wants to destroy.
    pub step: &'a Step,
    /// Its undoing wants to, rather than its work.
    pub undo: bool,
    /// Every check that must pass: own preconditions, and earlier postconditions that still have to hold.
    pub guards: &'a [Guard],
    /// Measurements of this epoch.
    pub evidence: &'a BTreeMap<CheckId, Evidence>,
    /// When this epoch began: older evidence does not count.
    pub epoch_began: &'a Moment,
    /// Identities pinned.
    pub pins: &'a BTreeMap<String, Identity>,
    /// Identities as just proved, of every target that the step or a guard names.
    pub proved: &'a BTreeMap<String, (Identity, Moment)>,
    /// Targets whose identity must be proved for this step.
    pub needs: &'a [String],
    /// Steps before this one that are not done, with a word each on why.
    pub unfinished: &'a [(StepId, String)],
    /// What would go, just measured.
    pub blast: &'a Blast,
    /// Machine id of the host that paths are on.
    pub machine: &'a str,
    /// Variables that are not secret, captured ones included.
    pub vars: &'a BTreeMap<String, String>,
    /// Approvals that are wanted, and what people said.
    pub approvals: &'a Approvals,
    /// Checks that somebody waived.
    pub waivers: &'a [Waived],
    /// Change windows, all of which must be open; a text for one that cannot be read.
    pub windows: &'a [Result<Window, String>],
    /// Boot id of this machine.
    pub boot: &'a str,
    /// The latest date in the journal.
    pub newest: jiff::Timestamp,
    /// What was shown and typed; `None` when nobody confirmed.
    pub confirmed: Option<&'a Confirmation>,
    /// The guard that proves the copy that survives, when the runbook names one; its id.
    pub proof: Proof<'a>,
    /// Now.
    pub now: &'a Moment,
    /// Number for the permit, unique in the run.
    pub number: u64,
}

impl Request<'_> {
    /// What the step, or its undoing, declares to destroy.
    fn destroys(&self) -> Option<&Destroys> {
        self.step.destroying(self.undo)
    }

    /// The clock, with what is known about it.
    pub fn clock(&self) -> Clock<'_> {
        Clock { now: self.now, session: self.epoch_began, boot: self.boot, newest: self.newest }
    }

    /// True when the target that would go was looked for and is not there. Only an undoing may find that: one that was
    /// broken off goes on so, and one of work that failed early has nothing to remove.
    fn target_gone(&self) -> bool {
        let target = self.destroys().and_then(|destroys| destroys.target.as_ref());
        self.undo && target.is_some_and(|target| self.blast.gone.iter().any(|gone| gone.name == *target))
    }
}

/// A check that guards a destructive step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Its id.
    pub id: CheckId,
    /// Targets that it measures: a pass counts only when it says on what it was seen.
    pub targets: Vec<String>,
    /// Files or folders that it vouches for, such as the backups: they must not lie in what goes.
    pub keeps: Vec<String>,
    /// A second person may waive it.
    pub waivable: bool,
}

/// Which guards prove that the data is held elsewhere.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// These guards compare what goes with what stays; one must pass.
    Guards(&'a [CheckId]),
    /// Nothing with data goes (files only, no target).
    NotNeeded,
}

/// What the operator saw and typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    /// The step that it is about.
    pub step: StepId,
    /// About undoing the step, rather than about its work.
    pub undo: bool,
    /// The text.
    pub text: String,
    /// The list that was on screen.
    pub blast: Blast,
    /// When it was typed.
    pub at: Moment,
}

/// Clearance to do one destructive step, or one destructive undoing, once. Cannot be copied, kept in a file, or made
/// outside this module.
#[derive(Debug)]
pub struct Permit {
    run: RunId,
    step: StepId,
    undo: bool,
    number: u64,
    runbook: Digest,
    guards: Vec<CheckId>,
    blast: Digest,
    approvers: Vec<String>,
    waived: Vec<CheckId>,
    made: Moment,
    /// When its oldest evidence was measured: it ends [`VALIDITY`] after that, not after its own making.
    oldest: Moment,
}

impl Permit {
    /// Its number in the run.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn in_time(&self, now: &Moment) -> bool {
        let still = |then: &Moment| now.since(then) <= VALIDITY && !now.jumped_since(then);
        still(&self.made) && still(&self.oldest)
    }

    /// The step it is for.
    pub fn step(&self) -> &StepId {
        &self.step
    }

    /// True when it is for undoing the step, rather than for its work.
    pub fn undo(&self) -> bool {
        self.undo
    }

    /// The run it is for.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Digest of the runbook it is for.
    pub fn runbook(&self) -> &Digest {
        &self.runbook
    }

    /// The checks it rests on.
    pub fn guards(&self) -> &[CheckId] {
        &self.guards
    }

    /// Who approved it.
    pub fn approvers(&self) -> &[String] {
        &self.approvers
    }

    /// The guards that did not pass, and are waived.
    pub fn waived(&self) -> &[CheckId] {
        &self.waived
    }

    /// Digest of the list of what goes.
    pub fn blast(&self) -> &Digest {
        &self.blast
    }
}

/// A token without which the executor does no step's work, and undoes none. There are three ways to one: work that
/// destroys nothing, an undoing that destroys nothing, and a permit for either where it destroys. It says which of them
/// it is, so that one cannot stand in for another.
#[derive(Debug)]
pub struct Cleared {
    step: StepId,
    what: Clearance,
}

#[derive(Debug)]
enum Clearance {
    Harmless,
    Destroy(Box<Permit>),
    Undo,
}

impl Cleared {
    /// For a step that destroys nothing; `None` for one that does.
    pub fn harmless(step: &Step) -> Option<Cleared> {
        step.destroys.is_none().then(|| Cleared { step: step.key(), what: Clearance::Harmless })
    }

    /// For undoing a step where that destroys nothing. It clears the step's `rollback`, and never its work. `None` for a
    /// step that nothing undoes, since it destroys data; for one without a rollback; and for a rollback that destroys.
    pub fn rollback(step: &Step) -> Option<Cleared> {
        let can = step.undoing().is_some() && step.destroying(true).is_none();
        can.then(|| Cleared { step: step.key(), what: Clearance::Undo })
    }

    /// For a destructive step, or a destructive undoing: uses the permit up. `None` when it is another step's, for
    /// something that destroys nothing, or no longer valid.
    pub fn by(permit: Permit, step: &Step, now: &Moment) -> Option<Cleared> {
        let destroys = step.destroying(permit.undo).is_some();
        let valid = destroys && permit.step == step.key() && permit.in_time(now);
        valid.then(|| Cleared { step: step.key(), what: Clearance::Destroy(Box::new(permit)) })
    }

    /// Whether it clears this step of this run: its work, or with `undo` its rollback. The executor asks with the step
    /// that it is about to do, so that neither another step nor a step that meanwhile destroys can be slipped in.
    pub fn covers(&self, run: &RunId, step: &Step, undo: bool) -> bool {
        self.step == step.key()
            && match &self.what {
                Clearance::Harmless => !undo && step.destroys.is_none(),
                Clearance::Destroy(permit) => {
                    undo == permit.undo && step.destroying(undo).is_some() && permit.run == *run
                }
                Clearance::Undo => undo && Cleared::rollback(step).is_some(),
            }
    }

    /// Whether the work may still begin: writing the record may have taken longer than the evidence is valid. Asked by
    /// the executor with its own clock, as the last thing before the work.
    pub fn in_time(&self, now: &Moment) -> bool {
        self.permit().is_none_or(|permit| permit.in_time(now))
    }

    /// The step it is for.
    pub fn step(&self) -> &StepId {
        &self.step
    }

    /// True when it clears the undoing of the step, rather than its work.
    pub fn undo(&self) -> bool {
        match &self.what {
            Clearance::Harmless => false,
            Clearance::Destroy(permit) => permit.undo,
            Clearance::Undo => true,
        }
    }

    /// The permit, where it destroys.
    pub fn permit(&self) -> Option<&Permit> {
        match &self.what {
            Clearance::Destroy(permit) => Some(permit),
            Clearance::Harmless | Clearance::Undo => None,
        }
    }
}

/// Decides about a destructive step, or a destructive undoing: a permit, or all the reasons against one at once.
pub fn clear(request: &Request<'_>) -> Result<Permit, Vec<Blocker>> {
    let blockers = rules::blockers(request);
    if !blockers.is_empty() {
        return Err(blockers);
    }
    Ok(Permit {
        run: request.run.clone(),
        step: request.step.key(),
        undo: request.undo,
        number: request.number,
        runbook: request.runbook.clone(),
        guards: request.guards.iter().map(|guard| guard.id.clone()).collect(),
        blast: request.blast.digest(),
        approvers: request.approvals.judge(Some(&content(request)), &request.clock()).counted,
        waived: rules::waived(request),
        made: *request.now,
        oldest: oldest(request),
    })
}

/// When the oldest thing was measured that a permit would rest on.
fn oldest(request: &Request<'_>) -> Moment {
    let evidence = request.guards.iter().filter_map(|guard| request.evidence.get(&guard.id)).map(|e| e.at);
    let identities = request.needs.iter().filter_map(|name| request.proved.get(name)).map(|(_, at)| *at);
    evidence.chain(identities).chain([request.blast.at]).min_by_key(|at| at.boot_ms).unwrap_or(*request.now)
}

/// The reasons that need no confirmation to be seen: shown before anybody is asked to type anything.
pub fn survey(request: &Request<'_>) -> Vec<Blocker> {
    rules::blockers(request).into_iter().filter(|blocker| blocker.subject != rules::CONFIRMATION).collect()
}
