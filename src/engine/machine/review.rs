//! Steps that failed, are in doubt, or no longer hold: measure first, then a named person decides.

use super::{Asked, Effect, Exit, Machine, Measured, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::state::Status;
use crate::journal::record::{Blocker, Decision, Event, Purpose};
use crate::runbook::graph::Section;
use crate::runbook::model::Rerun;

impl Machine {
    /// A step failed in this session: on record, then a person decides, or the session ends.
    pub(super) fn fail(&mut self, step: &StepId, why: String) {
        self.append(vec![Event::Failed { step: step.clone(), why: why.clone() }]);
        let (may_rerun, may_finish) = (self.may_rerun(step), false);
        self.ask(Asked::Failed(step.clone()), Question::Failed { step: step.clone(), why, may_rerun, may_finish });
        if !self.present {
            self.leave(Exit::Failed, "failed");
        }
    }

    /// Measures a step's postconditions again before anybody decides anything about it.
    pub(super) fn review(&mut self, step: &StepId) {
        self.phase = Phase::Review(step.clone());
        let checks = self.plan.checks(step, Section::Post);
        self.measure(Purpose::Postcondition, step, checks, Vec::new(), false);
    }

    pub(super) fn reviewed(&mut self, step: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        let state = self.state.step(step);
        let measured_well = blockers.is_empty() && !measured.evidence.is_empty();
        let ended_well = state.ending.as_ref().is_some_and(|ending| ending.success());
        if measured_well && ended_well && state.status != Status::InDoubt {
            self.append(vec![Event::Done { step: step.clone() }]);
            return self.choose();
        }
        let may_finish = measured_well || (state.status == Status::InDoubt && measured.evidence.is_empty());
        match self.given.decide.remove(step) {
            Some((Decision::Done, reason)) if may_finish => return self.decide(step, Decision::Done, reason),
            Some((Decision::Again, reason)) if self.may_rerun(step) => {
                return self.decide(step, Decision::Again, reason);
            }
            Some((Decision::Done, _)) => self.out.push(Effect::Say(format!(
                "`{step}` cannot be declared done: its postconditions do not pass."
            ))),
            Some((Decision::Again, _)) => {
                self.out.push(Effect::Say(format!("`{step}` says `rerun: never`: it cannot be run again.")));
            }
            None => {}
        }
        if self.repeats_itself(step) {
            self.retried.insert(step.clone());
            return self.decide(step, Decision::Again, "rerun: safe".to_owned());
        }
        self.ask_about(step, measured, blockers, may_finish);
    }

    fn ask_about(
        &mut self,
        step: &StepId,
        measured: &Measured,
        mut blockers: Vec<Blocker>,
        may_finish: bool,
    ) {
        let state = self.state.step(step);
        let may_rerun = self.may_rerun(step);
        let why = state.why.clone().unwrap_or_else(|| state.status.word().to_owned());
        if state.status == Status::InDoubt {
            let evidence = measured.evidence.clone();
            let question = Question::Doubt { step: step.clone(), why, evidence, may_rerun, may_finish };
            self.ask(Asked::Doubt(step.clone()), question);
            if !self.present {
                self.answer_confirmed(step, Exit::Waiting, "a step is in doubt");
            }
            return;
        }
        if self.present {
            let question = Question::Failed { step: step.clone(), why, may_rerun, may_finish };
            return self.ask(Asked::Failed(step.clone()), question);
        }
        if blockers.is_empty() {
            blockers.push(Blocker {
                subject: step.to_string(),
                title: format!("Step `{step}` is done"),
                observed: why,
                expected: "done, with its postconditions passing".to_owned(),
                next: if may_finish {
                    "its postconditions pass now: a person decides whether it is done".to_owned()
                } else {
                    "put the cause right, then a person decides to run it again".to_owned()
                },
            });
        }
        self.hold(step, blockers);
    }

    pub(super) fn review_answer(&mut self, step: &StepId, answer: Answer) {
        match answer {
            Answer::Measure | Answer::Go => self.review(step),
            Answer::Again(reason) if self.may_rerun(step) => self.decide(step, Decision::Again, reason),
            Answer::Finished(reason) if self.provable(step) => self.decide(step, Decision::Done, reason),
            Answer::Finished(_) => {
                self.out.push(Effect::Say(
                    "It cannot be declared done: its postconditions do not pass.".to_owned(),
                ));
                self.review(step);
            }
            Answer::Again(_) => {
                self.out.push(Effect::Say(format!("`{step}` says `rerun: never`: it cannot be run again.")));
                self.review(step);
            }
            _ if self.state.status(step) == Status::InDoubt => {
                self.leave(Exit::Waiting, "a step is in doubt")
            }
            _ => self.leave(Exit::Failed, "a step has failed"),
        }
    }

    fn decide(&mut self, step: &StepId, decision: Decision, reason: String) {
        self.begun.insert(step.clone());
        self.append(vec![Event::Decided { step: step.clone(), decision, reason }]);
        self.choose();
    }

    /// True when a person may say that it is done: what can be measured passes, in this session.
    fn provable(&self, step: &StepId) -> bool {
        let checks = self.plan.checks(step, Section::Post);
        let gating: Vec<_> = checks.iter().filter(|(_, spec)| !spec.common.advisory).collect();
        let evidence: Vec<_> = gating.iter().filter_map(|(id, _)| self.fresh.get(id).cloned()).collect();
        let complete = evidence.len() == gating.len() && self.blockers(&evidence, |_| false).is_empty();
        complete && (!gating.is_empty() || self.state.status(step) == Status::InDoubt)
    }

    fn may_rerun(&self, step: &StepId) -> bool {
        self.plan.step(step).is_some_and(|s| s.rerun != Rerun::Never)
    }

    /// `rerun: safe` work is repeated without asking: once a session, and never work that destroys.
    fn repeats_itself(&self, step: &StepId) -> bool {
        let safe = self.plan.step(step).is_some_and(|s| s.rerun == Rerun::Safe && s.destroys.is_none());
        safe && self.inherited.contains(step) && !self.retried.contains(step)
    }
}
