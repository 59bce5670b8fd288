//! Undoings that are not complete: one that ended well and did not hold, one that nobody saw the end of. Measure first;
//! it runs again where the runbook calls that safe, or a named person decides so.

use super::{Asked, Exit, Machine, Measured, Mode, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::state::Undo;
use crate::journal::record::{Blocker, Decision, Event, Purpose};
use crate::runbook::graph::Section;
use crate::runbook::model::Repeat;

impl Machine {
    /// Measures what an undoing that has just ended should have left; what says so is waited for.
    pub(super) fn measure_undone(&mut self, id: &StepId) {
        self.phase = Phase::Undone(id.clone());
        self.measure_patiently(id, self.plan.checks(id, Section::Undo));
    }

    pub(super) fn undone(&mut self, id: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        if blockers.is_empty() { self.rolled_back(id, measured) } else { self.not_undone(id, blockers) }
    }

    fn rolled_back(&mut self, id: &StepId, measured: &Measured) {
        self.use_waivers(id, &measured.evidence);
        self.append(vec![Event::RolledBack { step: id.clone() }]);
        self.choose();
    }

    /// It did not hold when it was last measured. Somebody may have put that right since: then nothing runs.
    pub(super) fn review_undo(&mut self, id: &StepId) {
        self.phase = Phase::UndoReview(id.clone());
        self.measure(Purpose::Postcondition, id, self.plan.checks(id, Section::Undo), Vec::new(), None);
    }

    pub(super) fn undo_reviewed(&mut self, id: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        if blockers.is_empty() {
            return self.rolled_back(id, measured);
        }
        let given = self.given.decide.remove(id);
        if self.state.step(id).undo == Undo::Again {
            return self.ask_or_undo(id);
        }
        match given {
            Some((Decision::Again, reason)) => self.undo_again(id, reason, false),
            _ if self.undo_repeats_itself(id) => self.undo_again(id, "rerun: safe".to_owned(), true),
            _ => self.not_undone(id, blockers),
        }
    }

    /// It is decided that the undoing runs again. What stands before it is measured, shown and asked for as the first time.
    pub(super) fn undo_again(&mut self, id: &StepId, reason: String, by_runbook: bool) {
        if self.present && !by_runbook {
            self.begun.insert(id.clone());
        }
        let (step, decision, undo) = (id.clone(), Decision::Again, true);
        self.append(vec![Event::Decided { step, decision, reason, by_runbook, undo }]);
        self.ask_or_undo(id);
    }

    /// `rerun: safe` undoes again without a decision: once a session, never what destroys, and not what was first begun in
    /// this session.
    fn undo_repeats_itself(&self, id: &StepId) -> bool {
        let rollback = self.plan.step(id).and_then(|step| step.undoing());
        rollback.is_some_and(|rollback| rollback.rerun == Repeat::Safe && rollback.destroys.is_none())
            && self.inherited.contains(id)
            && !self.retried.contains(id)
    }

    /// Puts on record why the step is not undone, and asks; leaves when nobody is there.
    fn not_undone(&mut self, id: &StepId, blockers: Vec<Blocker>) {
        self.append(vec![Event::Held { step: id.clone(), undo: true, blockers: blockers.clone() }]);
        let to = self.going_back().to;
        let question = Question::NotUndone { step: id.clone(), blockers, to };
        if self.present {
            self.ask(Asked::NotUndone(id.clone()), question);
        } else {
            self.pose(question);
            self.leave(Exit::Held, "held");
        }
    }

    pub(super) fn not_undone_answer(&mut self, id: &StepId, answer: Answer) {
        match answer {
            Answer::Measure | Answer::Go => self.choose(),
            Answer::Again(reason) => {
                // The question may have stood for hours: it is measured again before the word counts.
                self.given.decide.insert(id.clone(), (Decision::Again, reason));
                self.choose();
            }
            _ => self.leave(Exit::Held, "held"),
        }
    }

    /// Undoing a step was begun, and nobody knows how it ended, or what it left.
    pub(super) fn unfinished_undo(&mut self, id: &StepId) {
        let back = matches!(self.mode, Mode::Back { .. });
        if back && let Some((Decision::Again, reason)) = self.given.decide.remove(id) {
            return self.undo_again(id, reason, false);
        }
        if back && self.undo_repeats_itself(id) {
            return self.undo_again(id, "rerun: safe".to_owned(), true);
        }
        let at = self.state.step(id);
        let known = match &at.undo_ending {
            Some(ending) if ending.success() => {
                format!("it ended: {}; its postconditions were not measured", ending.describe())
            }
            _ => at.why.unwrap_or_else(|| "it is not known to have ended".to_owned()),
        };
        let blocker = Blocker {
            subject: id.to_string(),
            title: format!("Step `{id}` is either done or undone"),
            observed: format!("undoing it was begun: {known}"),
            expected: "done, or undone".to_owned(),
            next: match back {
                true => "find out how far it came; then a person decides to undo it again".to_owned(),
                false => format!("go on with `holdpoint rollback {}`", self.state.run),
            },
        };
        if back { self.not_undone(id, vec![blocker]) } else { self.hold(id, true, vec![blocker]) }
    }
}
