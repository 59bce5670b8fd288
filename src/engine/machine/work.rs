//! A step's work, from "about to" on record to its postconditions.

use super::{Asked, Effect, Ended, Exit, Found, Machine, Measured, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::state::Status;
use crate::gate::Cleared;
use crate::journal::record::{Ending, Event, Purpose};
use crate::runbook::graph::Section;
use crate::runbook::model::Work;

impl Machine {
    /// Begins the work of a step that destroys nothing. One that does comes through the gate instead.
    pub(super) fn begin_work(&mut self, step: &StepId) {
        let Some(runbook_step) = self.plan.step(step) else { return };
        let Some(cleared) = Cleared::harmless(runbook_step) else { return };
        if let Some(Work::Manual(manual)) = runbook_step.work() {
            let observe = manual.observe.clone();
            self.ask(Asked::Manual(step.clone()), Question::Manual { step: step.clone(), observe });
            return self.leave_unless_present(Exit::Waiting);
        }
        let attempt = self.state.step(step).attempts + 1;
        self.append(vec![Event::Began { step: step.clone(), attempt, permit: None }]);
        self.set_to_work(step, cleared, attempt);
    }

    pub(super) fn set_to_work(&mut self, step: &StepId, cleared: Cleared, attempt: u32) {
        self.phase = Phase::Working { step: step.clone(), undo: false };
        self.watch = super::watch::Watch::new(self.plan.checks(step, Section::Inv), self.now);
        if !matches!(self.plan.step(step).and_then(|s| s.work()), Some(Work::Soak(_))) {
            self.out.push(Effect::Work { cleared, attempt, undo: false });
        }
    }

    pub(super) fn manual_answer(&mut self, step: &StepId, answer: Answer) {
        let Answer::Carried(observation) = answer else { return self.leave(Exit::Waiting, "quit") };
        let attempt = self.state.step(step).attempts + 1;
        let mut events = vec![Event::Began { step: step.clone(), attempt, permit: None }];
        events.extend(observation.map(|text| Event::Observed { step: step.clone(), text }));
        self.append(events);
        self.phase = Phase::Working { step: step.clone(), undo: false };
        self.work_ended(Ended {
            ending: Ending::Finished,
            output_bytes: 0,
            left_running: Vec::new(),
            captured: None,
            recorded: None,
        });
    }

    /// A step was begun and is not known to have ended: what became of it?
    pub(super) fn look(&mut self, step: &StepId, undo: bool) {
        let state = self.state.step(step);
        match self.plan.step(step).and_then(|s| s.work()) {
            Some(Work::Run(_) | Work::Sql(_)) => {
                self.phase = Phase::Looking { step: step.clone(), undo };
                let attempt = if undo { state.rollbacks } else { state.attempts };
                self.out.push(Effect::Look { step: step.clone(), attempt, undo });
            }
            Some(Work::Soak(_)) => {
                self.phase = Phase::Working { step: step.clone(), undo: false };
                self.watch = super::watch::Watch::new(self.plan.checks(step, Section::Inv), self.now);
            }
            _ => {
                // A measurement or a person's word is simply taken again: neither changes anything by itself.
                let why =
                    "the session ended while it was under way; nothing was left half done by it".to_owned();
                let attempt = state.attempts;
                self.append(vec![Event::Ended {
                    step: step.clone(),
                    attempt,
                    ending: Ending::NotStarted { why },
                    output_bytes: 0,
                    left_running: Vec::new(),
                }]);
                self.choose();
            }
        }
    }

    pub(super) fn found(&mut self, found: Found) {
        let Phase::Looking { step, undo } = self.phase.clone() else { return };
        let state = self.state.step(&step);
        let attempt = if undo { state.rollbacks } else { state.attempts };
        match found {
            Found::Running => {
                self.phase = Phase::Working { step: step.clone(), undo };
                let invariants = if undo { Vec::new() } else { self.plan.checks(&step, Section::Inv) };
                self.watch = super::watch::Watch::new(invariants, self.now);
                if !undo {
                    self.watch.was_paused(state.paused);
                }
                self.out.push(Effect::Attach { step, attempt, undo });
            }
            Found::Ended(ended) => {
                self.phase = Phase::Working { step, undo };
                self.work_ended(ended);
            }
            Found::NeverStarted => {
                let why = "the session ended before the command was started; nothing ran".to_owned();
                let ending = Ending::NotStarted { why };
                let ended = Ended {
                    ending,
                    output_bytes: 0,
                    left_running: Vec::new(),
                    captured: None,
                    recorded: None,
                };
                self.phase = Phase::Working { step, undo };
                self.work_ended(ended);
            }
            Found::Lost { why } => {
                self.append(vec![Event::InDoubt { step: step.clone(), attempt, why }]);
                if undo { self.unfinished_undo(&step) } else { self.review(&step) }
            }
        }
    }

    pub(super) fn work_ended(&mut self, ended: Ended) {
        let Phase::Working { step, undo } = self.phase.clone() else { return };
        if undo {
            return self.undo_ended(&step, ended);
        }
        let attempt = self.state.step(&step).attempts;
        let mut events = vec![Event::Ended {
            step: step.clone(),
            attempt,
            ending: ended.ending.clone(),
            output_bytes: ended.output_bytes,
            left_running: ended.left_running,
        }];
        let creates = self.plan.step(&step).map(|s| s.creates.clone()).unwrap_or_default();
        if !matches!(ended.ending, Ending::NotStarted { .. }) {
            let pinned = creates.into_iter().filter(|target| self.state.pins.contains_key(target));
            events.extend(pinned.map(|target| Event::Unpinned { target, step: step.clone() }));
        }
        if let Some((name, target, digest, tables, rows)) = ended.recorded {
            events.push(Event::Recorded { step: step.clone(), name, target, digest, tables, rows });
        }
        let mut lost_capture = None;
        match ended.captured {
            Some(Ok(value)) => {
                let name = self.plan.step(&step).and_then(|s| s.capture.clone()).unwrap_or_default();
                events.push(Event::Captured { step: step.clone(), name, value });
            }
            Some(Err(why)) if ended.ending.success() => lost_capture = Some(why),
            _ => {}
        }
        self.append(events);
        match &ended.ending {
            _ if lost_capture.is_some() => {
                let why = format!("what it printed is no value: {}", lost_capture.unwrap_or_default());
                self.fail(&step, why, Vec::new());
            }
            ending if ending.success() => self.measure_postconditions(&step),
            Ending::Unknown { why } => {
                let why = why.clone();
                self.append(vec![Event::InDoubt { step: step.clone(), attempt, why }]);
                self.review(&step);
            }
            Ending::NotStarted { .. } if self.inherited.contains(&step) && !self.retried.contains(&step) => {
                self.retried.insert(step);
                self.choose();
            }
            ending => {
                let why = ending.describe();
                self.fail(&step, why, Vec::new());
            }
        }
    }

    pub(super) fn measure_postconditions(&mut self, step: &StepId) {
        let checks = self.plan.checks(step, Section::Post);
        if checks.is_empty() {
            self.append(vec![Event::Done { step: step.clone() }]);
            return self.choose();
        }
        self.phase = Phase::Postconditions(step.clone());
        self.measure(Purpose::Postcondition, step, checks, Vec::new(), false);
    }

    pub(super) fn postconditions_measured(&mut self, step: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        if blockers.is_empty() {
            self.append(vec![Event::Done { step: step.clone() }]);
            self.choose();
        } else {
            let why = Self::headline(&measured.evidence, &blockers);
            self.fail(step, why, blockers);
        }
    }

    /// The last look: everything that should hold at the end holds, then the run is complete.
    pub(super) fn close(&mut self) {
        let last = self.plan.runbook.steps.len();
        let checks: Vec<_> = self.plan.standing(last).into_iter().map(|(id, spec, _)| (id, spec)).collect();
        let fresh = checks.iter().all(|(id, _)| {
            self.fresh.get(id).is_some_and(|e| {
                self.now.since(&e.at) <= crate::gate::VALIDITY && !self.now.jumped_since(&e.at)
            })
        });
        let Some(step) = self.plan.runbook.steps.last().map(|s| s.key()) else { return };
        if fresh {
            return self.complete();
        }
        self.phase = Phase::Closing;
        self.measure(Purpose::WalkDown, &step, checks, Vec::new(), false);
    }

    pub(super) fn closed(&mut self, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        if blockers.is_empty() {
            return self.complete();
        }
        let step = measured.step.clone();
        self.hold(&step, blockers);
    }

    fn complete(&mut self) {
        let steps =
            self.plan.runbook.steps.iter().filter(|s| self.state.status(&s.key()) == Status::Done).count();
        self.append(vec![Event::Completed { steps: steps as u64 }]);
        self.leave(Exit::Done, "completed");
    }
}
