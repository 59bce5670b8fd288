//! Going back: steps are undone by their own `rollback`, newest first, as far as that is possible.

use super::{Asked, Effect, Ended, Exit, Machine, Mode, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::reverse;
use crate::engine::state::Status;
use crate::gate::Cleared;
use crate::journal::record::{Blocker, Event};
use crate::runbook::graph::Section;

impl Machine {
    /// The next step to be undone; leaves when there is none.
    pub(super) fn choose_back(&mut self) {
        let Mode::Back { to } = self.mode.clone() else { return };
        let first = to.map_or(0, |step| self.plan.position(&step));
        let touched = |status: Status| !matches!(status, Status::Pending | Status::RolledBack);
        let steps = &self.plan.runbook.steps;
        let newest = (first..steps.len())
            .rev()
            .map(|i| steps[i].clone())
            .find(|s| touched(self.state.status(&s.key())));
        let Some(step) = newest else {
            return self.leave(Exit::Done, "undone");
        };
        let id = step.key();
        match self.state.status(&id) {
            Status::Running => {
                let next = "wait for it, or stop it from the session that runs it; then go back".to_owned();
                return self.refuse_back(&id, "it is running", next);
            }
            Status::RollingBack => return self.look(&id, true),
            _ => {}
        }
        if step.rollback.is_some() && step.destroys.is_none() {
            if self.present && !self.begun.contains(&id) {
                self.ask(Asked::Undo(id.clone()), Question::Undo { step: id });
            } else {
                self.undo(&id);
            }
        } else if let Some(why) = reverse::irreversible(&step) {
            let next = "go forward, or abandon the run and put things right by hand".to_owned();
            self.refuse_back(&id, why, next);
        } else {
            self.append(vec![Event::RolledBack { step: id }]);
            self.choose();
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
        self.append(vec![Event::Held { step: step.clone(), blockers: vec![blocker.clone()] }]);
        self.out.push(Effect::Ask(Question::Held { step: step.clone(), blockers: vec![blocker] }));
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

    fn undo(&mut self, id: &StepId) {
        let Some(step) = self.plan.step(id).cloned() else { return };
        let Some(cleared) = Cleared::rollback(&step) else { return };
        let attempt = self.state.step(id).rollbacks + 1;
        self.append(vec![Event::RollbackBegan { step: id.clone(), attempt }]);
        self.phase = Phase::Working { step: id.clone(), undo: true };
        self.out.push(Effect::Work { cleared, attempt, undo: true });
    }

    pub(super) fn undo_ended(&mut self, id: &StepId, ended: Ended) {
        let attempt = self.state.step(id).rollbacks;
        let ending = ended.ending.clone();
        self.append(vec![Event::RollbackEnded { step: id.clone(), attempt, ending: ending.clone() }]);
        if !ending.success() {
            self.out.push(Effect::Say(format!("Undoing `{id}` failed: {}.", ending.describe())));
            return self.leave(Exit::Failed, "undoing a step failed");
        }
        let checks = self.plan.checks(id, Section::Undo);
        if checks.is_empty() {
            self.append(vec![Event::RolledBack { step: id.clone() }]);
            return self.choose();
        }
        self.phase = Phase::Undone(id.clone());
        self.measure(crate::journal::record::Purpose::Postcondition, id, checks, Vec::new(), false);
    }

    pub(super) fn undone(&mut self, id: &StepId, measured: &super::Measured) {
        let blockers = self.blockers(&measured.evidence, |_| false);
        if blockers.is_empty() {
            self.append(vec![Event::RolledBack { step: id.clone() }]);
            self.choose();
        } else {
            self.hold(id, blockers);
        }
    }

    /// Undoing a step was begun, and nobody knows how it ended.
    pub(super) fn unfinished_undo(&mut self, id: &StepId) {
        let why = self.state.step(id).why.unwrap_or_else(|| "it is not known to have ended".to_owned());
        if matches!(self.mode, Mode::Back { .. }) && self.present {
            self.out.push(Effect::Say(format!("Undoing `{id}` was begun: {why}.")));
            return self.ask(Asked::Undo(id.clone()), Question::Undo { step: id.clone() });
        }
        let blocker = Blocker {
            subject: id.to_string(),
            title: format!("Step `{id}` is either done or undone"),
            observed: format!("undoing it was begun: {why}"),
            expected: "done, or undone".to_owned(),
            next: format!("go on with `holdpoint rollback {}`", self.state.run),
        };
        self.hold(id, vec![blocker]);
    }
}
