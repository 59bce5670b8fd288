//! The decision core: state and one input in, state and effects out. No clock, no disk, no network, no runtime.
//!
//! Effects are performed in the order given, and the first that fails ends the session: an effect that comes after an
//! [`Effect::Append`] therefore never happens unless the record is on disk.
//!
//! Every request to the outside has a number, and its answer carries it. Only the answer to the request that the machine
//! waits for counts: what comes late, twice, or for a question that is no longer open is dropped. At most one question is
//! open at a time; a new one withdraws the one before.
//!
//! ```text
//! choose → preconditions → [guards → confirmation → guards again → permit] → work → postconditions → done → choose
//!              │                       │                                       │            │
//!              └── held                └── held                                └─ failed / in doubt / reopened → review
//! ```

mod back;
mod begin;
mod guard;
mod holds;
mod input;
mod review;
mod second;
mod soak;
mod start;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_overlay;
mod unheld;
mod watch;
mod work;

use std::collections::{BTreeMap, BTreeSet};

pub use input::{Effect, Ended, Found, Input, Measured, Number};

use super::event::{Answer, Exit, Question};
use super::people::Signers;
use super::plan::Plan;
use super::state::RunState;
use crate::base::{CheckId, Digest, Moment, StepId};
use crate::check::Evidence;
use crate::gate::Confirmation;
use crate::journal::Line;
use crate::journal::record::{Blast, Decision, Event, Purpose};
use crate::journal::scripts::Found as ScriptsFound;
use crate::world::Identity;

/// Which way the run is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Forward, step by step.
    Forward,
    /// Back: undo, newest first, this step included; all of them when none is named.
    Back {
        /// The last step to be undone.
        to: Option<StepId>,
    },
}

/// What a person gave on the command line instead of answering a prompt.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Typed confirmations, of undoing when the run is driven back: they confirm, they never waive.
    pub confirm: BTreeMap<StepId, String>,
    /// Decisions about steps that failed or are in doubt, with the reason.
    pub decide: BTreeMap<StepId, (Decision, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Fresh,
    WalkDown,
    Preconditions(StepId),
    Guards { step: StepId, undo: bool, round: u32 },
    Reguard { step: StepId, undo: bool, round: u32 },
    Looking { step: StepId, undo: bool },
    Working { step: StepId, undo: bool },
    Postconditions(StepId),
    Review(StepId),
    Asking(Asked),
    BeforeUndo(StepId),
    Undone(StepId),
    UndoReview(StepId),
    Closing,
    Left,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Environment,
    Begin(StepId),
    Manual(StepId),
    ByHand { step: StepId, undo: bool },
    Confirm { step: StepId, undo: bool },
    Held(StepId),
    Failed(StepId),
    Doubt(StepId),
    Undo(StepId),
    NotUndone(StepId),
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    state: RunState,
    mode: Mode,
    present: bool,
    given: Given,
    protected: Option<String>,
    me: String,
    phase: Phase,
    question: Option<Question>,
    overlay: Option<Question>,
    requests: Number,
    awaiting: Option<Number>,
    open: Option<Number>,
    epoch: u64,
    now: Moment,
    epoch_began: Moment,
    fresh: BTreeMap<CheckId, Evidence>,
    proved: BTreeMap<String, (Identity, Moment)>,
    unproved: BTreeMap<String, String>,
    blast: Option<Blast>,
    confirmed: Option<Confirmation>,
    runbook_now: Digest,
    scripts_now: ScriptsFound,
    inherited: BTreeSet<StepId>,
    retried: BTreeSet<StepId>,
    begun: BTreeSet<StepId>,
    watch: watch::Watch,
    signers: Signers,
    out: Vec<Effect>,
}

impl Machine {
    /// A machine for a session that has just taken the lease. `me` is `operator@host`; `now` is when the epoch began.
    pub fn new(
        plan: Plan,
        state: RunState,
        mode: Mode,
        present: bool,
        given: Given,
        me: &str,
        now: Moment,
    ) -> Self {
        let runbook_now = state.runbook.clone();
        let protected = state
            .environment
            .as_ref()
            .filter(|name| plan.runbook.environments.get(*name).is_some_and(|e| e.protected))
            .cloned();
        let epoch = state.epoch;
        Machine {
            plan,
            state,
            mode,
            present,
            given,
            protected,
            me: me.to_owned(),
            phase: Phase::Fresh,
            question: None,
            overlay: None,
            requests: 0,
            awaiting: None,
            open: None,
            epoch,
            now,
            epoch_began: now,
            fresh: BTreeMap::new(),
            proved: BTreeMap::new(),
            unproved: BTreeMap::new(),
            blast: None,
            confirmed: None,
            runbook_now,
            scripts_now: ScriptsFound::new(),
            inherited: BTreeSet::new(),
            retried: BTreeSet::new(),
            begun: BTreeSet::new(),
            watch: watch::Watch::default(),
            signers: Signers::default(),
            out: Vec::new(),
        }
    }

    /// The run's state as this session knows it.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same runbook with more variables known (a capture): the structure cannot change.
    pub fn rebind(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// One input; the effects that follow from it, in order.
    pub fn step(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        self.now = now;
        if self.phase != Phase::Left {
            self.dispatch(input);
        }
        std::mem::take(&mut self.out)
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::Start { resumed } => self.start(resumed),
            Input::Measured(measured) => self.measured(measured),
            Input::Found(request, found) if self.awaited(request) => self.found(found),
            Input::WorkEnded(request, ended) if self.awaited(request) => self.work_ended(ended),
            Input::Answer(request, answer) if self.open == Some(request) => {
                self.open = None;
                self.answer(answer);
            }
            Input::Found(..) | Input::WorkEnded(..) | Input::Answer(..) => {}
            Input::Tick => self.tick(),
            Input::Interrupt => self.interrupt(),
            Input::Leave => self.leave(Exit::Interrupted, "interrupted"),
            Input::Foreign(lines) => self.foreign(&lines),
        }
    }

    /// The number of the next request.
    fn request(&mut self) -> Number {
        self.requests += 1;
        self.requests
    }

    /// True for the answer that the machine waits for; it waits for it no longer.
    fn awaited(&mut self, request: Number) -> bool {
        self.awaiting.take_if(|awaited| *awaited == request).is_some()
    }

    fn append(&mut self, events: Vec<Event>) {
        for event in &events {
            let epoch = self.state.epoch;
            self.state.event(event, &self.now, &self.me, epoch);
        }
        self.out.push(Effect::Append(events));
    }

    /// Asks what to do next; nothing else is under way.
    fn ask(&mut self, asked: Asked, question: Question) {
        self.phase = Phase::Asking(asked);
        self.awaiting = None;
        self.overlay = None;
        self.question = Some(question.clone());
        self.pose(question);
    }

    /// Asks something while work goes on.
    fn ask_meanwhile(&mut self, question: Question) {
        self.overlay = Some(question.clone());
        self.pose(question);
    }

    /// Puts a question on the screen; it takes the place of one that is open.
    fn pose(&mut self, question: Question) {
        let request = self.request();
        self.open = Some(request);
        self.out.push(Effect::Ask(request, question));
    }

    /// Work begins or has ended: what was measured before is no evidence of how things are now.
    fn void_evidence(&mut self) {
        self.fresh.clear();
        self.proved.clear();
        self.unproved.clear();
        self.blast = None;
        self.confirmed = None;
    }

    fn leave(&mut self, exit: Exit, why: &str) {
        self.append(vec![Event::Released { why: why.to_owned() }]);
        self.phase = Phase::Left;
        self.out.push(Effect::Leave(exit));
    }

    fn foreign(&mut self, lines: &[Line]) {
        for line in lines {
            self.state.apply(line);
        }
        if self.state.epoch != self.epoch {
            // Another driver: nothing may be written any more, and nothing done.
            self.phase = Phase::Left;
            let by = self.state.holder.as_ref().map_or("somebody else", |holder| holder.by.as_str());
            self.out.push(Effect::Say(format!("{by} has taken the run over; this session ends.")));
            self.out.push(Effect::Leave(Exit::Busy));
        } else if self.state.end.is_some() {
            self.out.push(Effect::Say("The run was ended by somebody else.".to_owned()));
            self.leave(Exit::Waiting, "ended elsewhere");
        } else if self.state.offer.is_some() {
            self.out.push(Effect::Say(
                "The run has been offered to the next operator; this session ends.".to_owned(),
            ));
            self.leave(Exit::Waiting, "offered");
        } else {
            self.heard(lines);
        }
    }

    fn interrupt(&mut self) {
        match &self.phase {
            _ if self.overlay.is_some() => {}
            Phase::Working { step, .. } if self.present => {
                let running = Some(step.clone());
                self.ask_meanwhile(Question::Interrupted { running });
            }
            Phase::Asking(_) if self.present => {}
            _ => self.leave(Exit::Interrupted, "interrupted"),
        }
    }

    /// Answers that mean the same at every question; `None` when it was one of them.
    fn common_answer(&mut self, answer: Answer) -> Option<Answer> {
        match answer {
            Answer::Note(text) => {
                self.append(vec![Event::Note { text }]);
                if let Some(question) = self.question.clone() {
                    self.pose(question);
                }
                None
            }
            Answer::Handoff { to, note } => {
                if !self.handed_off(to, note)
                    && let Some(question) = self.question.clone()
                {
                    self.pose(question);
                }
                None
            }
            Answer::Abandon(reason) => {
                self.append(vec![Event::Abandoned { reason }]);
                self.leave(Exit::Failed, "abandoned");
                None
            }
            other => Some(other),
        }
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(question) = self.overlay.take() {
            return self.overlay_answer(question, answer);
        }
        let Phase::Asking(asked) = self.phase.clone() else { return };
        let Some(answer) = self.common_answer(answer) else { return };
        match asked {
            Asked::Environment => self.environment_answer(&answer),
            Asked::Begin(step) => self.begin_answer(&step, &answer),
            Asked::Manual(step) => self.manual_answer(&step, answer),
            Asked::ByHand { step, undo } => self.by_hand_answer(&step, undo, answer),
            Asked::Confirm { step, undo } => self.confirm_answer(&step, undo, answer),
            Asked::Held(_) => self.held_answer(&answer),
            Asked::Failed(step) | Asked::Doubt(step) => self.review_answer(&step, answer),
            Asked::Undo(step) => self.undo_answer(&step, &answer),
            Asked::NotUndone(step) => self.not_undone_answer(&step, answer),
        }
    }

    fn measured(&mut self, measured: Measured) {
        if measured.purpose == Purpose::Invariant {
            return self.invariants_measured(measured);
        }
        if !self.awaited(measured.request) {
            return;
        }
        self.absorb(&measured);
        match self.phase.clone() {
            Phase::WalkDown => self.walked_down(&measured),
            Phase::Preconditions(step) => self.preconditions_measured(&step, &measured),
            Phase::Guards { step, undo, round } => self.guards_measured(&step, undo, round),
            Phase::Reguard { step, undo, round } => self.reguarded(&step, undo, round),
            Phase::Postconditions(step) => self.postconditions_measured(&step, &measured),
            Phase::Review(step) => self.reviewed(&step, &measured),
            Phase::BeforeUndo(step) => self.undo_proved(&step, &measured),
            Phase::Undone(step) => self.undone(&step, &measured),
            Phase::UndoReview(step) => self.undo_reviewed(&step, &measured),
            Phase::Closing => self.closed(&measured),
            _ => {}
        }
    }

    /// Puts measurements on record, and pins targets that are seen for the first time.
    fn absorb(&mut self, measured: &Measured) {
        let mut events = Vec::new();
        let mut pin = |state: &RunState, target: &str, identity: &Identity| {
            let known = state.pins.contains_key(target)
                || events.iter().any(|e| matches!(e, Event::Pinned { target: t, .. } if t == target));
            if !known {
                events.push(Event::Pinned { target: target.to_owned(), identity: identity.clone() });
            }
        };
        for seen in measured.evidence.iter().flat_map(|e| &e.outcome.seen) {
            pin(&self.state, &seen.target, &seen.identity);
        }
        for (target, identity) in &measured.proved {
            if let Ok((identity, _)) = identity {
                pin(&self.state, target, identity);
            }
        }
        for evidence in &measured.evidence {
            self.fresh.insert(evidence.check.clone(), evidence.clone());
            let (purpose, step) = (measured.purpose, measured.step.clone());
            let advisory = self.is_advisory(evidence);
            events.push(Event::Measured { purpose, step, evidence: evidence.clone(), advisory });
        }
        for (target, identity) in &measured.proved {
            match identity {
                Ok(proved) => {
                    self.unproved.remove(target);
                    self.proved.insert(target.clone(), proved.clone());
                }
                Err(why) => {
                    self.proved.remove(target);
                    self.unproved.insert(target.clone(), why.clone());
                }
            }
        }
        if measured.blast.is_some() {
            self.blast.clone_from(&measured.blast);
        }
        self.runbook_now = measured.runbook_now.clone();
        self.scripts_now = measured.scripts_now.clone();
        if !events.is_empty() {
            self.append(events);
        }
    }
}
