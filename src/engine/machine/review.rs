//! Steps that failed, are in doubt, or no longer hold: measure first, then a named person decides.

use super::{Asked, Effect, Exit, Machine, Measured, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::state::{Status, Undo};
use crate::journal::record::{Blocker, Decision, Event, Purpose};
use crate::runbook::graph::Section;
use crate::runbook::model::Rerun;

impl Machine {
    /// A step failed in this session: on record, then a person decides, or the session ends.
    pub(super) fn fail(&mut self, step: &StepId, why: String) {
        self.append(vec![Event::Failed { step: step.clone(), why: why.clone() }]);
        let (may_rerun, may_finish) = (self.may_rerun(step), false);
        self.ask(
            Asked::Failed(step.clone()),
            Question::Failed { step: step.clone(), why, may_rerun, may_finish },
        );
        if !self.present {
            self.leave(Exit::Failed, "failed");
        }
    }

    /// Measures a step's postconditions again before anybody decides anything about it: those that still have to hold.
    pub(super) fn review(&mut self, step: &StepId) {
        self.phase = Phase::Review(step.clone());
        let checks = self.plan.checks(step, Section::Post).into_iter();
        let over = |until: &String| self.touched(&StepId::from(until.as_str()));
        let checks = checks.filter(|(_, spec)| !spec.common.until.as_ref().is_some_and(over)).collect();
        self.measure(Purpose::Postcondition, step, checks, Vec::new(), None);
    }

    /// True for a step that was begun, and not undone since.
    fn touched(&self, step: &StepId) -> bool {
        !matches!(self.state.status(step), Status::Pending | Status::RolledBack)
    }

    pub(super) fn reviewed(&mut self, step: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        let state = self.state.step(step);
        // What is only advisory shows nothing about whether it is done.
        let nothing_measured = measured.evidence.iter().all(|e| self.is_advisory(e));
        let measured_well = blockers.is_empty() && !nothing_measured && self.has_captured(step);
        let ended_well = state.ending.as_ref().is_some_and(|ending| ending.success());
        let open = matches!(state.status, Status::InDoubt | Status::NotUndone);
        if measured_well && ended_well && !open {
            self.use_waivers(step, &measured.evidence);
            self.append(vec![Event::Done { step: step.clone() }]);
            return self.choose();
        }
        // An undoing that ran to its end speaks against a mere word.
        let word_counts = open && !state.undo_ended_well();
        let on_their_word = word_counts && nothing_measured && self.has_captured(step);
        let may_finish = measured_well || on_their_word;
        let given = self.given.decide.remove(step);
        // Who said "done" did not say "again".
        let repeats = given.is_none() && self.repeats_itself(step);
        match given {
            Some((Decision::Done, reason)) if may_finish => {
                self.use_waivers(step, &measured.evidence);
                return self.decide(step, Decision::Done, reason);
            }
            Some((Decision::Again, reason)) if self.may_rerun(step) => {
                return self.decide(step, Decision::Again, reason);
            }
            Some((Decision::Done, _)) => self.out.push(Effect::Say(format!(
                "`{step}` cannot be declared done: what it should have left is not there."
            ))),
            Some((Decision::Again, _)) => {
                self.out.push(Effect::Say(format!("`{step}` says `rerun: never`: it cannot be run again.")));
            }
            None => {}
        }
        if repeats {
            self.retried.insert(step.clone());
            return self.decided(step, Decision::Again, "rerun: safe".to_owned(), true);
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
        if matches!(state.status, Status::InDoubt | Status::NotUndone) {
            let evidence = measured.evidence.clone();
            let question = Question::Doubt { step: step.clone(), why, evidence, may_rerun, may_finish };
            self.ask(Asked::Doubt(step.clone()), question);
            if !self.present {
                let why = Self::open_word(state.status);
                self.answer_confirmed(step, Exit::Waiting, why);
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
        self.hold(step, false, blockers);
    }

    pub(super) fn review_answer(&mut self, step: &StepId, answer: Answer) {
        match answer {
            Answer::Measure | Answer::Go => self.review(step),
            Answer::Again(reason) if self.may_rerun(step) => self.decide(step, Decision::Again, reason),
            Answer::Finished(reason) => {
                // The question may have stood for hours: it is measured again before the word counts.
                self.given.decide.insert(step.clone(), (Decision::Done, reason));
                self.review(step);
            }
            Answer::Again(_) => {
                self.out.push(Effect::Say(format!("`{step}` says `rerun: never`: it cannot be run again.")));
                self.review(step);
            }
            _ => match self.state.status(step) {
                status @ (Status::InDoubt | Status::NotUndone) => {
                    self.leave(Exit::Waiting, Self::open_word(status));
                }
                _ => self.leave(Exit::Failed, "a step has failed"),
            },
        }
    }

    fn open_word(status: Status) -> &'static str {
        if status == Status::NotUndone { "a step is not undone" } else { "a step is in doubt" }
    }

    fn decide(&mut self, step: &StepId, decision: Decision, reason: String) {
        self.decided(step, decision, reason, false);
    }

    fn decided(&mut self, step: &StepId, decision: Decision, reason: String, by_runbook: bool) {
        self.begun.insert(step.clone());
        self.append(vec![Event::Decided { step: step.clone(), decision, reason, by_runbook, undo: false }]);
        self.choose();
    }

    fn may_rerun(&self, step: &StepId) -> bool {
        self.plan.step(step).is_some_and(|s| s.rerun != Rerun::Never)
    }

    /// `rerun: safe` work is repeated without asking: once a session, never work that destroys, and not out of its order,
    /// when later steps have been begun on top of it.
    fn repeats_itself(&self, step: &StepId) -> bool {
        let safe = self.plan.step(step).is_some_and(|s| s.rerun == Rerun::Safe && s.destroys.is_none());
        let later = self.plan.runbook.steps.iter().skip(self.plan.position(step) + 1);
        safe && self.inherited.contains(step)
            && !self.retried.contains(step)
            && self.state.step(step).undo == Undo::No
            && !later.into_iter().any(|s| self.touched(&s.key()))
    }
}
