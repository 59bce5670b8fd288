//! Going back: steps are undone by their own `rollback`, newest first, as far as that is possible.

use super::{Asked, Effect, Ended, Exit, Machine, Mode, Phase, Question};
use crate::base::StepId;
use crate::engine::event::{Answer, Undoing};
use crate::engine::reverse;
use crate::engine::state::{Status, Undo};
use crate::gate::Cleared;
use crate::journal::record::{Blocker, Decision, Event, Purpose};
use crate::runbook::graph::Section;

impl Machine {
    /// The next step to be undone; leaves when there is none.
    pub(super) fn choose_back(&mut self) {
        let Mode::Back { to } = self.mode.clone() else { return };
        let first = to.map_or(0, |step| self.plan.position(&step));
        let steps = &self.plan.runbook.steps;
        let newest =
            (first..steps.len()).rev().map(|i| steps[i].clone()).find(|s| self.state.touched(&s.key()));
        let Some(step) = newest else {
            return self.leave(Exit::Done, "undone");
        };
        let id = step.key();
        let at = self.state.step(&id);
        match at.status {
            Status::Running => {
                let next = format!(
                    "`holdpoint resume {}` finds out what became of it; then go back",
                    self.state.run
                );
                return self.refuse_back(&id, "it was begun and is not known to have ended", next);
            }
            // How it ended is on record: what is left is to measure its postconditions.
            Status::RollingBack if at.undo == Undo::Ended => return self.prove_undone(&id),
            Status::RollingBack => return self.look(&id, true),
            Status::InDoubt if at.undo == Undo::Open => return self.unfinished_undo(&id),
            _ => {}
        }
        if at.undo == Undo::Unheld || (at.undo == Undo::Again && at.undo_ended_well()) {
            return self.review_undo(&id);
        }
        if step.undoing().is_some() {
            match self.given.decide.remove(&id) {
                Some((Decision::Again, reason)) => self.undo_again(&id, reason, false),
                _ => self.ask_or_undo(&id),
            }
        } else if let Some(why) = reverse::irreversible(&step) {
            let next = "go forward, or abandon the run and put things right by hand".to_owned();
            self.refuse_back(&id, why, next);
        } else {
            self.append(vec![Event::RolledBack { step: id }]);
            self.choose();
        }
    }

    /// Where somebody is there, each undoing is asked for. One by hand waits for somebody.
    pub(super) fn ask_or_undo(&mut self, id: &StepId) {
        if (self.present || self.by_hand(id, true)) && !self.begun.contains(id) {
            let to = self.going_back().to;
            self.ask(Asked::Undo(id.clone()), Question::Undo { step: id.clone(), to });
            self.leave_unless_present(Exit::Waiting);
        } else {
            self.undo(id);
        }
    }

    fn refuse_back(&mut self, step: &StepId, why: &str, next: String) {
        let blocker = Blocker {
            subject: step.to_string(),
            title: format!("Step `{step}` can be undone"),
            observed: why.to_owned(),
            expected: "a step that can be undone".to_owned(),
            next,
        };
        let blockers = vec![blocker];
        self.append(vec![Event::Held { step: step.clone(), undo: true, blockers: blockers.clone() }]);
        self.pose(Question::Held { step: step.clone(), undo: true, blockers });
        self.leave(Exit::Held, "held");
    }

    pub(super) fn undo_answer(&mut self, step: &StepId, answer: &Answer) {
        match answer {
            Answer::Go | Answer::Again(_) => {
                self.begun.insert(step.clone());
                self.undo(step);
            }
            _ => self.leave(Exit::Waiting, "quit"),
        }
    }

    /// Where the way back ends, for whoever is asked.
    pub(super) fn going_back(&self) -> Undoing {
        match &self.mode {
            Mode::Back { to } => Undoing { to: to.clone() },
            Mode::Forward => Undoing { to: None },
        }
    }

    /// What stands before an undoing, as before any other work: where it destroys, the hard hold point; else its
    /// preconditions, and the proof of the target that it works on.
    fn undo(&mut self, id: &StepId) {
        if self.plan.destroys(id, true).is_some() {
            return self.survey(id, true);
        }
        let checks = self.plan.checks(id, Section::UndoPre);
        let needs = self.plan.needs(id, true);
        if needs.is_empty() && checks.is_empty() {
            return self.begin_undo(id);
        }
        self.phase = Phase::BeforeUndo(id.clone());
        self.measure(Purpose::Precondition, id, checks, needs, None);
    }

    pub(super) fn undo_proved(&mut self, id: &StepId, measured: &super::Measured) {
        let mut blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        blockers.extend(self.identity_blockers(&self.plan.needs(id, true)));
        if !blockers.is_empty() {
            return self.hold(id, true, blockers);
        }
        self.use_waivers(id, &measured.evidence);
        self.begin_undo(id);
    }

    /// Begins an undoing that destroys nothing. One that does comes through the gate instead.
    fn begin_undo(&mut self, id: &StepId) {
        let Some(step) = self.plan.step(id).cloned() else { return };
        let Some(cleared) = Cleared::rollback(&step) else { return };
        let attempt = self.state.step(id).rollbacks + 1;
        self.append(vec![Event::RollbackBegan { step: id.clone(), attempt, permit: None }]);
        self.set_to_work(id, cleared, attempt);
    }

    pub(super) fn undo_ended(&mut self, id: &StepId, ended: Ended) {
        let attempt = self.state.step(id).rollbacks;
        let ending = ended.ending.clone();
        self.append(vec![Event::RollbackEnded { step: id.clone(), attempt, ending: ending.clone() }]);
        if !ending.success() {
            self.out.push(Effect::Say(format!("Undoing `{id}` failed: {}.", ending.describe())));
            return self.leave(Exit::Failed, "undoing a step failed");
        }
        self.prove_undone(id);
    }

    /// An undoing ended well. Without postconditions, its own word is all there is.
    fn prove_undone(&mut self, id: &StepId) {
        if self.plan.checks(id, Section::Undo).is_empty() {
            self.append(vec![Event::RolledBack { step: id.clone() }]);
            return self.choose();
        }
        self.measure_undone(id);
    }
}
