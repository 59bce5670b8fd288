//! From choosing a step to its work: preconditions, and for a destructive step the hard hold point.

use super::{Asked, Effect, Exit, Machine, Measured, Mode, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::plan::Placed;
use crate::engine::state::Status;
use crate::journal::record::Purpose;
use crate::runbook::Work;
use crate::runbook::graph::Section;
use crate::runbook::model::Destroys;

impl Machine {
    /// Goes on with the first step that is not done.
    pub(super) fn choose(&mut self) {
        if self.state.end.is_some() {
            return self.leave(Exit::Done, "ended");
        }
        if let Mode::Back { .. } = self.mode {
            return self.choose_back();
        }
        let Some(step) = self.plan.runbook.steps.get(self.frontier()).map(|s| s.key()) else {
            return self.close();
        };
        match self.state.status(&step) {
            Status::Pending | Status::RolledBack => self.begin(&step),
            Status::Running => self.look(&step, false),
            Status::RollingBack => self.unfinished_undo(&step),
            Status::Ended => self.measure_postconditions(&step),
            Status::InDoubt | Status::NotUndone if self.state.step(&step).undo_in_doubt() => {
                self.unfinished_undo(&step);
            }
            Status::InDoubt | Status::NotUndone | Status::Failed | Status::Reopened => self.review(&step),
            Status::Done => {}
        }
    }

    fn begin(&mut self, step: &StepId) {
        // A step by hand has one question of its own: whether it was carried out.
        let by_hand = matches!(self.plan.step(step).and_then(|s| s.work()), Some(Work::Manual(_)));
        let asked = self.begun.contains(step) || (by_hand && !self.destructive(step));
        if self.present && !asked {
            return self.ask(Asked::Begin(step.clone()), Question::Begin { step: step.clone() });
        }
        self.measure_before(step);
    }

    pub(super) fn begin_answer(&mut self, step: &StepId, answer: &Answer) {
        match answer {
            Answer::Go => {
                self.begun.insert(step.clone());
                self.measure_before(step);
            }
            _ => self.leave(Exit::Waiting, "quit"),
        }
    }

    pub(super) fn destructive(&self, step: &StepId) -> bool {
        self.plan.step(step).is_some_and(|s| s.destroys.is_some())
    }

    /// Measures what stands before a step's work.
    fn measure_before(&mut self, step: &StepId) {
        if self.destructive(step) {
            self.survey(step, false);
        } else {
            let checks = self.plan.checks(step, Section::Pre);
            let needs = self.plan.needs(step, false);
            if checks.is_empty() && needs.is_empty() {
                let blockers = self.window_blockers(step);
                return match blockers.is_empty() {
                    true => self.begin_work(step),
                    false => self.hold(step, false, blockers),
                };
            }
            self.phase = Phase::Preconditions(step.clone());
            self.measure(Purpose::Precondition, step, checks, needs, None);
        }
    }

    pub(super) fn preconditions_measured(&mut self, step: &StepId, measured: &Measured) {
        let mut blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        blockers.extend(self.identity_blockers(&self.plan.needs(step, false)));
        blockers.extend(self.window_blockers(step));
        if !blockers.is_empty() {
            return self.hold(step, false, blockers);
        }
        self.use_waivers(step, &measured.evidence);
        self.begin_work(step);
    }

    pub(super) fn held_answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Measure | Answer::Go => self.choose(),
            _ => self.leave(self.held_exit(), "held"),
        }
    }

    pub(super) fn leave_unless_present(&mut self, exit: Exit) {
        if !self.present {
            self.leave(exit, "waiting for a person");
        }
    }

    /// Measures once, now.
    pub(super) fn measure(
        &mut self,
        purpose: Purpose,
        step: &StepId,
        mut checks: Vec<Placed>,
        prove: Vec<String>,
        goes: Option<Destroys>,
    ) {
        checks.iter_mut().for_each(|(_, spec)| spec.common.wait_up_to = None);
        self.request_measurement(purpose, step, checks, prove, goes);
    }

    /// Measures what the work that has just ended should have left. What says so is waited for; not what somebody has
    /// waived, since the run goes on without it.
    pub(super) fn measure_patiently(&mut self, step: &StepId, mut checks: Vec<Placed>) {
        for (id, spec) in &mut checks {
            if spec.common.wait_up_to.is_some() && self.is_waived(id) {
                spec.common.wait_up_to = None;
            }
        }
        self.request_measurement(Purpose::Postcondition, step, checks, Vec::new(), None);
    }

    fn request_measurement(
        &mut self,
        purpose: Purpose,
        step: &StepId,
        checks: Vec<Placed>,
        prove: Vec<String>,
        goes: Option<Destroys>,
    ) {
        let request = self.request();
        self.awaiting = Some(request);
        self.out.push(Effect::Measure { request, purpose, step: step.clone(), checks, prove, goes });
    }
}
