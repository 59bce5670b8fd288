//! The decision core: state and one input in, state and effects out. No clock, no disk, no network, no runtime.
//!
//! Effects are performed in the order given, and the first that fails ends the session: an effect that comes after an
//! [`Effect::Append`] therefore never happens unless the record is on disk.
//!
//! ```text
//! choose → preconditions → [guards → confirmation → guards again → permit] → work → postconditions → done → choose
//!              │                       │                                       │            │
//!              └── held                └── held                                └─ failed / in doubt / reopened → review
//! ```

mod back;
mod begin;
mod holds;
mod review;
#[cfg(test)]
mod tests;
mod watch;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Answer, Exit, Question};
use super::plan::{Placed, Plan};
use super::state::RunState;
use crate::base::{CheckId, Digest, Moment, StepId};
use crate::check::Evidence;
use crate::gate::{Cleared, Confirmation};
use crate::journal::Line;
use crate::journal::record::{Blast, Decision, Ending, Event, Purpose};
use crate::world::Identity;

/// What came of an [`Effect::Measure`].
#[derive(Debug, Clone)]
pub struct Measured {
    /// Why it was measured.
    pub purpose: Purpose,
    /// The step it was measured for.
    pub step: StepId,
    /// What the checks saw.
    pub evidence: Vec<Evidence>,
    /// Identities of the targets asked for, or why one could not be proved.
    pub proved: BTreeMap<String, Result<Identity, String>>,
    /// What would go, when it was asked for.
    pub blast: Option<Blast>,
    /// Digest of the runbook in the run's folder, read again.
    pub runbook_now: Digest,
}

/// How work ended, and what it left.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// Bytes of output kept.
    pub output_bytes: u64,
    /// What it left running.
    pub left_running: Vec<String>,
    /// What it printed, for a step with `capture`; an error says why that is no value.
    pub captured: Option<Result<String, String>>,
    /// The manifest it recorded: name, target, digest, tables, rows.
    pub recorded: Option<(String, String, Digest, u64, u64)>,
}

/// What is found of a command that was begun and is not known to have ended.
#[derive(Debug, Clone)]
pub enum Found {
    /// It still runs.
    Running,
    /// It ended while nobody watched; the supervisor kept how.
    Ended(Ended),
    /// It was never started.
    NeverStarted,
    /// Nobody knows.
    Lost {
        /// What is known.
        why: String,
    },
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// The driver is ready. `resumed`: not the first session of this run. `rebooted`: the machine was restarted while
    /// somebody held the run.
    Start {
        /// Not the first session.
        resumed: bool,
        /// Unclean end of the machine.
        rebooted: bool,
    },
    /// A measurement is complete.
    Measured(Measured),
    /// What was found of a command.
    Found(Found),
    /// Work ended.
    WorkEnded(Ended),
    /// The operator answered.
    Answer(Answer),
    /// Time passed; comes several times a second while work is under way.
    Tick,
    /// SIGINT.
    Interrupt,
    /// SIGTERM or SIGHUP: leave now, without asking; a running command goes on.
    Leave,
    /// Somebody else wrote to the journal.
    Foreign(Vec<Line>),
}

/// Something to be done outside, in order.
#[derive(Debug)]
pub enum Effect {
    /// Put on record, durably, before anything that follows.
    Append(Vec<Event>),
    /// Measure checks, prove identities, and, for a destructive step, what would go.
    Measure {
        /// Why.
        purpose: Purpose,
        /// For which step.
        step: StepId,
        /// The checks.
        checks: Vec<Placed>,
        /// Targets whose identity is to be proved.
        prove: Vec<String>,
        /// Whether what would go is to be measured.
        blast: bool,
    },
    /// Find out what became of a step's command.
    Look {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// The undoing of it, rather than the step.
        undo: bool,
    },
    /// Do the step's work. The token cannot be made without the gate.
    Work {
        /// Clearance.
        cleared: Cleared,
        /// Which attempt.
        attempt: u32,
        /// Undo the step, rather than do it.
        undo: bool,
    },
    /// Watch a command that runs already.
    Attach {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// The undoing of it.
        undo: bool,
    },
    /// Stop the running command: TERM, grace, KILL.
    Stop {
        /// Why.
        why: String,
    },
    /// Pause the running command.
    Pause,
    /// Let it go on.
    Continue,
    /// Ask the operator.
    Ask(Question),
    /// Tell the operator.
    Say(String),
    /// How far a soak is, in milliseconds: watched, wanted.
    Soaking {
        /// The step.
        step: StepId,
        /// Watched.
        elapsed_ms: u64,
        /// Wanted.
        wanted_ms: u64,
    },
    /// End the session.
    Leave(Exit),
}

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
    /// Typed confirmations: they confirm, they never waive.
    pub confirm: BTreeMap<StepId, String>,
    /// Decisions about steps that failed or are in doubt, with the reason.
    pub decide: BTreeMap<StepId, (Decision, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Fresh,
    WalkDown,
    Preconditions(StepId),
    Guards { step: StepId, round: u32 },
    Reguard { step: StepId, round: u32 },
    Looking { step: StepId, undo: bool },
    Working { step: StepId, undo: bool },
    Postconditions(StepId),
    Review(StepId),
    Asking(Asked),
    Undone(StepId),
    Closing,
    Left,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Environment,
    Begin(StepId),
    Manual(StepId),
    Confirm(StepId),
    Held(StepId),
    Failed(StepId),
    Doubt(StepId),
    Undo(StepId),
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
    overlay: bool,
    now: Moment,
    epoch_began: Moment,
    fresh: BTreeMap<CheckId, Evidence>,
    proved: BTreeMap<String, (Identity, Moment)>,
    unproved: BTreeMap<String, String>,
    blast: Option<Blast>,
    confirmed: Option<Confirmation>,
    runbook_now: Digest,
    inherited: BTreeSet<StepId>,
    retried: BTreeSet<StepId>,
    begun: BTreeSet<StepId>,
    watch: watch::Watch,
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
            overlay: false,
            now,
            epoch_began: now,
            fresh: BTreeMap::new(),
            proved: BTreeMap::new(),
            unproved: BTreeMap::new(),
            blast: None,
            confirmed: None,
            runbook_now,
            inherited: BTreeSet::new(),
            retried: BTreeSet::new(),
            begun: BTreeSet::new(),
            watch: watch::Watch::default(),
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
            Input::Start { resumed, rebooted } => self.start(resumed, rebooted),
            Input::Measured(measured) => self.measured(measured),
            Input::Found(found) => self.found(found),
            Input::WorkEnded(ended) => self.work_ended(ended),
            Input::Answer(answer) => self.answer(answer),
            Input::Tick => self.tick(),
            Input::Interrupt => self.interrupt(),
            Input::Leave => self.leave(Exit::Interrupted, "interrupted"),
            Input::Foreign(lines) => self.foreign(&lines),
        }
    }

    fn append(&mut self, events: Vec<Event>) {
        for event in &events {
            let epoch = self.state.epoch;
            self.state.event(event, &self.now, &self.me, epoch);
        }
        self.out.push(Effect::Append(events));
    }

    fn ask(&mut self, asked: Asked, question: Question) {
        self.phase = Phase::Asking(asked);
        self.question = Some(question.clone());
        self.out.push(Effect::Ask(question));
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
        if self.state.end.is_some() {
            self.out.push(Effect::Say("The run was ended by somebody else.".to_owned()));
            self.leave(Exit::Waiting, "ended elsewhere");
        } else if self.state.offer.is_some() {
            self.out.push(Effect::Say(
                "The run has been offered to the next operator; this session ends.".to_owned(),
            ));
            self.leave(Exit::Waiting, "offered");
        }
    }

    fn interrupt(&mut self) {
        match &self.phase {
            Phase::Working { step, .. } if self.present && !self.overlay => {
                self.overlay = true;
                let running = Some(step.clone());
                self.out.push(Effect::Ask(Question::Interrupted { running }));
            }
            Phase::Asking(_) if self.present => {}
            _ if self.overlay => {}
            _ => self.leave(Exit::Interrupted, "interrupted"),
        }
    }

    /// Answers that mean the same at every question; `None` when it was one of them.
    fn common_answer(&mut self, answer: Answer) -> Option<Answer> {
        match answer {
            Answer::Note(text) => {
                self.append(vec![Event::Note { text }]);
                if let Some(question) = self.question.clone() {
                    self.out.push(Effect::Ask(question));
                }
                None
            }
            Answer::Handoff { to, note } => {
                self.append(vec![Event::Offered { to, note }]);
                self.leave(Exit::Waiting, "offered");
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
        if self.overlay {
            return self.overlay_answer(answer);
        }
        let Phase::Asking(asked) = self.phase.clone() else { return };
        let Some(answer) = self.common_answer(answer) else { return };
        match asked {
            Asked::Environment => self.environment_answer(&answer),
            Asked::Begin(step) => self.begin_answer(&step, &answer),
            Asked::Manual(step) => self.manual_answer(&step, answer),
            Asked::Confirm(step) => self.confirm_answer(&step, answer),
            Asked::Held(_) => self.held_answer(&answer),
            Asked::Failed(step) | Asked::Doubt(step) => self.review_answer(&step, answer),
            Asked::Undo(step) => self.undo_answer(&step, &answer),
        }
    }

    fn measured(&mut self, measured: Measured) {
        if measured.purpose == Purpose::Invariant {
            return self.invariants_measured(measured);
        }
        self.absorb(&measured);
        match self.phase.clone() {
            Phase::WalkDown => self.walked_down(&measured),
            Phase::Preconditions(step) => self.preconditions_measured(&step, &measured),
            Phase::Guards { step, round } => self.guards_measured(&step, round),
            Phase::Reguard { step, round } => self.reguarded(&step, round),
            Phase::Postconditions(step) => self.postconditions_measured(&step, &measured),
            Phase::Review(step) => self.reviewed(&step, &measured),
            Phase::Undone(step) => self.undone(&step, &measured),
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
            if let Ok(identity) = identity {
                pin(&self.state, target, identity);
            }
        }
        for evidence in &measured.evidence {
            self.fresh.insert(evidence.check.clone(), evidence.clone());
            let (purpose, step) = (measured.purpose, measured.step.clone());
            events.push(Event::Measured { purpose, step, evidence: evidence.clone() });
        }
        for (target, identity) in &measured.proved {
            match identity {
                Ok(identity) => {
                    self.unproved.remove(target);
                    self.proved.insert(target.clone(), (identity.clone(), self.now));
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
        if !events.is_empty() {
            self.append(events);
        }
    }
}
