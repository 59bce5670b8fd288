//! A step's work, from "about to" on record to its postconditions.

use super::{Asked, Effect, Ended, Exit, Found, Machine, Measured, Phase, Question};
use crate::base::StepId;
use crate::check::Evidence;
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

    /// Gives the work to whoever does it: a command, a session with a server, or a person. It is on record as begun.
    pub(super) fn set_to_work(&mut self, step: &StepId, cleared: Cleared, attempt: u32) {
        self.void_evidence();
        let undo = cleared.undo();
        if undo {
            self.retried.insert(step.clone());
        }
        match self.plan.work(step, undo) {
            Some(Work::Manual(manual)) => {
                let observe = manual.observe.clone();
                self.ask(
                    Asked::ByHand { step: step.clone(), undo },
                    Question::Manual { step: step.clone(), observe },
                );
                self.leave_unless_present(Exit::Waiting);
            }
            Some(Work::Soak(_)) => self.watch_over(step, undo),
            _ => {
                self.watch_over(step, undo);
                let request = self.request();
                self.awaiting = Some(request);
                self.out.push(Effect::Work { request, cleared, attempt, undo });
            }
        }
    }

    /// From now on the invariants are measured, and the end of the work is waited for.
    fn watch_over(&mut self, step: &StepId, undo: bool) {
        self.phase = Phase::Working { step: step.clone(), undo };
        let invariants = if undo { Vec::new() } else { self.plan.checks(step, Section::Inv) };
        self.watch = super::watch::Watch::new(invariants, self.now);
        if self.soak(step).is_some() {
            self.watch.clock = self.soak_clock(step);
        }
    }

    pub(super) fn manual_answer(&mut self, step: &StepId, answer: Answer) {
        let Answer::Carried(observation) = answer else { return self.leave(Exit::Waiting, "quit") };
        let attempt = self.state.step(step).attempts + 1;
        self.append(vec![Event::Began { step: step.clone(), attempt, permit: None }]);
        self.carried_out(step, false, observation);
    }

    /// Work by hand that was on record as begun before anybody was asked to do it: a destruction, or an undoing.
    pub(super) fn by_hand_answer(&mut self, step: &StepId, undo: bool, answer: Answer) {
        match answer {
            Answer::Carried(observation) => self.carried_out(step, undo, observation),
            _ => self.leave(Exit::Waiting, "quit"),
        }
    }

    fn carried_out(&mut self, step: &StepId, undo: bool, observation: Option<String>) {
        if let Some(text) = observation {
            self.append(vec![Event::Observed { step: step.clone(), text }]);
        }
        self.phase = Phase::Working { step: step.clone(), undo };
        self.work_ended(Ended::how(Ending::Finished));
    }

    /// A step was begun and is not known to have ended: what became of it?
    pub(super) fn look(&mut self, step: &StepId, undo: bool) {
        let state = self.state.step(step);
        let attempt = if undo { state.rollbacks } else { state.attempts };
        let destroys = self.destructive(step);
        match self.plan.step(step).and_then(|s| s.work()) {
            Some(Work::Soak(_)) if !undo => self.watch_over(step, false),
            // A measurement or a person's word is simply taken again: neither changes anything by itself.
            Some(Work::Record(_) | Work::Manual(_)) if !undo && !destroys => {
                let why =
                    "the session ended while it was under way; nothing was left half done by it".to_owned();
                self.append(vec![Event::Ended {
                    step: step.clone(),
                    attempt,
                    ending: Ending::NotStarted { why },
                    output_bytes: 0,
                    left_running: Vec::new(),
                }]);
                self.choose();
            }
            _ => {
                self.phase = Phase::Looking { step: step.clone(), undo };
                let request = self.request();
                self.awaiting = Some(request);
                self.out.push(Effect::Look { request, step: step.clone(), attempt, undo });
            }
        }
    }

    pub(super) fn found(&mut self, found: Found) {
        let Phase::Looking { step, undo } = self.phase.clone() else { return };
        let state = self.state.step(&step);
        let attempt = if undo { state.rollbacks } else { state.attempts };
        match found {
            Found::Running { paused } => {
                // It goes on: what was decided about it in advance was decided before its end was known.
                self.given.decide.remove(&step);
                self.watch_over(&step, undo);
                let request = self.request();
                self.awaiting = Some(request);
                self.out.push(Effect::Attach { request, step: step.clone(), attempt, undo });
                if !undo && (paused || state.paused.is_some()) {
                    self.found_paused(&step);
                }
            }
            Found::Ended(ended) => {
                self.phase = Phase::Working { step, undo };
                self.work_ended(ended);
            }
            Found::NeverStarted => {
                let why = "the session ended before the command was started; nothing ran".to_owned();
                self.phase = Phase::Working { step, undo };
                self.work_ended(Ended::how(Ending::NotStarted { why }));
            }
            Found::Lost { why } => {
                let mut events = if undo { Vec::new() } else { self.unpinned(&step) };
                events.push(Event::InDoubt { step: step.clone(), attempt, why });
                self.append(events);
                if undo { self.unfinished_undo(&step) } else { self.review(&step) }
            }
        }
    }

    /// What the step makes anew is pinned again when it is next seen.
    fn unpinned(&self, step: &StepId) -> Vec<Event> {
        let creates = self.plan.step(step).map(|s| s.creates.clone()).unwrap_or_default();
        let pinned = creates.into_iter().filter(|target| self.state.pins.contains_key(target));
        pinned.map(|target| Event::Unpinned { target, step: step.clone() }).collect()
    }

    pub(super) fn work_ended(&mut self, ended: Ended) {
        let Phase::Working { step, undo } = self.phase.clone() else { return };
        self.void_evidence();
        if matches!(self.overlay, Some(Question::Paused { .. })) {
            self.overlay = None;
            self.open = None;
            self.out.push(Effect::Withdraw);
        }
        if undo {
            return self.undo_ended(&step, ended);
        }
        let attempt = self.state.step(&step).attempts;
        // Its end comes last on record: should the write be torn, the step counts as running, and is looked at again.
        let mut events = match ended.ending {
            Ending::NotStarted { .. } => Vec::new(),
            _ => self.unpinned(&step),
        };
        if let Some((name, target, digest, tables, rows)) = ended.recorded {
            events.push(Event::Recorded { step: step.clone(), name, target, digest, tables, rows });
        }
        let mut lost_capture = None;
        match ended.captured {
            Some(Ok(value)) if ended.ending.success() => {
                let runbook_step = self.plan.step(&step);
                if runbook_step.is_some_and(|s| s.observes) {
                    events.push(Event::Observed { step: step.clone(), text: value.clone() });
                }
                if let Some(name) = runbook_step.and_then(|s| s.capture.clone()) {
                    events.push(Event::Captured { step: step.clone(), name, value });
                }
            }
            Some(Err(why)) if ended.ending.success() => lost_capture = Some(why),
            _ => {}
        }
        events.push(Event::Ended {
            step: step.clone(),
            attempt,
            ending: ended.ending.clone(),
            output_bytes: ended.output_bytes,
            left_running: ended.left_running,
        });
        self.append(events);
        match &ended.ending {
            _ if lost_capture.is_some() => {
                let why = format!("what it printed is no value: {}", lost_capture.unwrap_or_default());
                self.fail(&step, why);
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
                self.fail(&step, why);
            }
        }
    }

    pub(super) fn measure_postconditions(&mut self, step: &StepId) {
        if !self.has_captured(step) {
            let why = "the value that it should have printed is not on record".to_owned();
            return self.fail(step, why);
        }
        let checks = self.plan.checks(step, Section::Post);
        if checks.is_empty() {
            self.append(vec![Event::Done { step: step.clone() }]);
            return self.choose();
        }
        self.phase = Phase::Postconditions(step.clone());
        self.measure_patiently(step, checks);
    }

    pub(super) fn postconditions_measured(&mut self, step: &StepId, measured: &Measured) {
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        if blockers.is_empty() {
            self.use_waivers(step, &measured.evidence);
            self.append(vec![Event::Done { step: step.clone() }]);
            self.choose();
        } else {
            let why = Self::headline(&measured.evidence, &blockers);
            self.fail(step, why);
        }
    }

    /// False for a step whose value later steps are waiting for: without it, it is not done, whatever else passes.
    pub(super) fn has_captured(&self, step: &StepId) -> bool {
        let wants = self.plan.step(step).is_some_and(|s| s.capture.is_some());
        !wants || self.state.step(step).captured
    }

    /// The last look: everything that should hold at the end holds, then the run is complete.
    pub(super) fn close(&mut self) {
        let last = self.plan.runbook.steps.len();
        let standing = self.plan.standing(last).into_iter().map(|(id, spec, _)| (id, spec));
        let mut checks: Vec<_> = standing.collect();
        // What is waived is looked at once more, wherever it stands: it may pass by now.
        let waived = self.state.second.waivers.iter().filter_map(|waiver| self.plan.find(&waiver.check));
        let waived: Vec<_> = waived.filter(|(id, _)| !checks.iter().any(|(known, _)| known == id)).collect();
        checks.extend(waived);
        let fresh: Vec<_> = checks.iter().filter_map(|(id, _)| self.fresh.get(id).cloned()).collect();
        let now = |at| self.now.since(at) <= crate::gate::VALIDITY && !self.now.jumped_since(at);
        let measured = fresh.len() == checks.len() && fresh.iter().all(|evidence| now(&evidence.at));
        let Some(step) = self.plan.runbook.steps.last().map(|s| s.key()) else { return };
        let settled = self.state.second.waivers.is_empty();
        if measured && settled && self.blockers(&fresh, |_| false).is_empty() {
            return self.complete();
        }
        self.phase = Phase::Closing;
        self.measure(Purpose::WalkDown, &step, checks, Vec::new(), None);
    }

    pub(super) fn closed(&mut self, measured: &Measured) {
        // Of what is measured here for its waiver alone, the waiver speaks.
        let standing = self.plan.standing(self.plan.runbook.steps.len());
        let apart = |e: &Evidence| !standing.iter().any(|(id, ..)| *id == e.check);
        let blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e) || apart(e));
        if blockers.is_empty() {
            let unsettled = self.unsettled();
            let step = measured.step.clone();
            return if unsettled.is_empty() { self.complete() } else { self.hold(&step, false, unsettled) };
        }
        // What no longer holds is not done: it is shown, and decided about, where it was done.
        if self.reopen(&measured.evidence) {
            return self.choose();
        }
        let step = measured.step.clone();
        self.hold(&step, false, blockers);
    }

    fn complete(&mut self) {
        let steps =
            self.plan.runbook.steps.iter().filter(|s| self.state.status(&s.key()) == Status::Done).count();
        self.append(vec![Event::Completed { steps: steps as u64 }]);
        self.leave(Exit::Done, "completed");
    }
}
