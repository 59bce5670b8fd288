//! Second persons and limits in a session: approvals that are waited for, waivers, change windows.

use super::{Asked, Effect, Exit, Machine, Phase};
use crate::base::{CheckId, StepId};
use crate::check::Evidence;
use crate::engine::people::{self, Signers};
use crate::gate::{self, APPROVAL, Clock, REJECTION, Window};
use crate::journal::Line;
use crate::journal::record::{Blocker, Event};
use crate::journal::second::Content;

impl Machine {
    /// Whose signatures count from now on. The driver reads it again before it matters: somebody may have been removed.
    pub fn set_signers(&mut self, signers: Signers) {
        self.signers = signers;
    }

    /// The step at which this session stands.
    pub fn waits_at(&self) -> Option<StepId> {
        self.plan.runbook.steps.get(self.frontier()).map(|step| step.key())
    }

    /// This session's clock, with what is known about it.
    pub(super) fn clock(&self) -> Clock<'_> {
        Clock {
            now: &self.now,
            session: &self.epoch_began,
            boot: self.boot(),
            newest: self.state.second.newest,
        }
    }

    pub(super) fn boot(&self) -> &str {
        self.state.holder.as_ref().map_or("", |holder| &holder.boot_id)
    }

    /// Windows that have to be open before a step begins. An undoing waits for none: what was half changed must not be
    /// kept so because it is late.
    pub(super) fn windows(&self, step: &StepId, undo: bool) -> Vec<Result<Window, String>> {
        let changes = self.plan.step(step).is_some_and(|s| s.changes_something());
        if undo || !changes {
            return Vec::new();
        }
        self.plan.windows(self.state.environment.as_deref(), step)
    }

    /// Why a step that changes something may not begin at this time.
    pub(super) fn window_blockers(&self, step: &StepId) -> Vec<Blocker> {
        let clock = self.clock();
        let each = self.windows(step, false).into_iter();
        each.filter_map(|window| match window {
            Ok(window) => window.blocker(&clock),
            Err(why) => Some(Blocker {
                subject: gate::window::WINDOW.to_owned(),
                title: "It is a time at which changes may begin".to_owned(),
                observed: format!("unknown: {why}"),
                expected: "a window that can be read".to_owned(),
                next: "correct the runbook, or install the time zone database".to_owned(),
            }),
        })
        .collect()
    }

    /// What the people who are asked would approve: on record before anybody approves it, and once for what is the same.
    pub(super) fn want_approval(&mut self, step: &StepId, undo: bool, count: u32, content: Content) {
        let known = self.state.second.wanted(step, undo).is_some_and(|wanted| {
            wanted.count == count
                && gate::approvals::drift(&wanted.content, &content).is_empty()
                && gate::approvals::drift(&content, &wanted.content).is_empty()
        });
        if !known {
            self.append(vec![Event::ApprovalWanted { count, content: Box::new(content) }]);
        }
    }

    /// True when people alone stand in the way: then it is waited for them.
    pub fn only_people(blockers: &[Blocker]) -> bool {
        let people = |b: &Blocker| b.subject == APPROVAL || b.subject == REJECTION;
        !blockers.is_empty() && blockers.iter().all(people)
    }

    /// Somebody else decided something while this session waits at a hold point: it looks again.
    pub(super) fn heard(&mut self, lines: &[Line]) {
        let decision = |line: &&Line| {
            matches!(
                line.event,
                Event::Approved { .. }
                    | Event::Rejected { .. }
                    | Event::ApprovalWithdrawn { .. }
                    | Event::Waived { .. }
                    | Event::WaiverWithdrawn { .. }
            )
        };
        let Some(line) = lines.iter().find(decision) else { return };
        let waits = match &self.phase {
            Phase::Asking(Asked::Held(_) | Asked::NotUndone(_)) => true,
            Phase::Asking(Asked::Confirm { .. }) => !matches!(line.event, Event::Waived { .. }),
            // Where a command is paused, its invariants are judged anew by the next measurement.
            _ => false,
        };
        if !waits {
            return;
        }
        self.out.push(Effect::Withdraw);
        self.out
            .push(Effect::Say(format!("{} has decided something; everything is measured again.", line.by)));
        self.open = None;
        self.question = None;
        match self.phase.clone() {
            Phase::Asking(Asked::Confirm { step, undo }) => self.survey(&step, undo),
            _ => self.choose(),
        }
    }

    /// A handoff from inside the session cannot be signed there; where it has to be, it is refused.
    pub(super) fn handed_off(&mut self, to: Option<String>, note: String) -> bool {
        if people::Terms::of(&self.plan.runbook, self.state.environment.as_deref()).signed {
            let text = format!(
                "In this environment a handoff is signed: `holdpoint handoff {} --note TEXT --sign KEY`.",
                self.state.run
            );
            self.out.push(Effect::Say(text));
            return false;
        }
        self.append(vec![Event::Offered { to, note, signature: None }]);
        self.leave(Exit::Waiting, "offered");
        true
    }

    /// Measurements that somebody answers for: the waiver, and why it does not count, if it does not.
    pub(super) fn answered<'e>(
        &self,
        evidence: &'e [Evidence],
    ) -> Vec<(&'e Evidence, gate::Waived, Option<String>)> {
        if self.state.second.waivers.is_empty() {
            return Vec::new();
        }
        let waivers = people::waivers(&self.plan.runbook, &self.state, &self.signers);
        let operator = people::operator(&self.state, &self.signers);
        let signed = people::Terms::of(&self.plan.runbook, self.state.environment.as_deref()).signed;
        let each = evidence.iter().filter_map(|seen| {
            let waiver = waivers.iter().find(|waiver| waiver.check == seen.check)?;
            let why = waiver
                .objection(&operator, signed, &self.clock())
                .or_else(|| waiver.uncovered(seen))
                .or_else(|| gate::elsewhere(seen, &self.state.pins));
            Some((seen, waiver.clone(), why))
        });
        each.collect()
    }

    /// Measurements that are no reason to stop, because somebody answers for them.
    pub(super) fn waived<'e>(&self, evidence: &'e [Evidence]) -> Vec<(&'e Evidence, gate::Waived)> {
        let answered = self.answered(evidence).into_iter();
        answered.filter(|(_, _, why)| why.is_none()).map(|(seen, waiver, _)| (seen, waiver)).collect()
    }

    /// True while somebody answers for a check. What it will show is not known yet, and may not be covered.
    pub(super) fn is_waived(&self, check: &CheckId) -> bool {
        let waivers = people::waivers(&self.plan.runbook, &self.state, &self.signers);
        let operator = people::operator(&self.state, &self.signers);
        let signed = people::Terms::of(&self.plan.runbook, self.state.environment.as_deref()).signed;
        let counts = |waiver: &gate::Waived| waiver.objection(&operator, signed, &self.clock()).is_none();
        waivers.iter().any(|waiver| waiver.check == *check && counts(waiver))
    }

    /// Puts on record which checks work goes on without.
    pub(super) fn use_waivers(&mut self, step: &StepId, evidence: &[Evidence]) {
        let used = self.waived(evidence).into_iter().map(|(seen, waiver)| Event::WaiverUsed {
            step: step.clone(),
            check: seen.check.clone(),
            waived_by: waiver.by,
            reason: waiver.reason,
            until: waiver.term.until,
        });
        let used: Vec<Event> = used.collect();
        if !used.is_empty() {
            self.append(used);
        }
    }

    /// A run is not complete while something in it is waived: one blocker a waiver.
    pub(super) fn unsettled(&self) -> Vec<Blocker> {
        let each = self.state.second.waivers.iter().map(|waiver| {
            let last = self.state.last.get(&waiver.check);
            let seen = last.map_or("not measured".to_owned(), |seen| {
                format!("{}: {}", seen.verdict().word(), seen.outcome.observed)
            });
            Blocker {
                subject: waiver.check.to_string(),
                title: "No check is waived at the end".to_owned(),
                observed: format!(
                    "{seen}; waived by {} until {:.0}: {}",
                    waiver.said.by,
                    waiver.until(),
                    waiver.reason()
                ),
                expected: "it passes, or the waiver is withdrawn".to_owned(),
                next: "put it right, then resume: a check that passes needs no waiver".to_owned(),
            }
        });
        each.collect()
    }

    /// How a session ends that leaves a hold point: held, or waiting where people alone stand in the way.
    pub(super) fn held_exit(&self) -> Exit {
        let waits = self.state.held.as_ref().is_some_and(|(_, blockers)| Self::only_people(blockers));
        if waits { Exit::Waiting } else { Exit::Held }
    }
}
