//! What the machine takes and gives.

use std::collections::BTreeMap;

use crate::base::{Digest, Moment, StepId};
use crate::check::Evidence;
use crate::engine::event::{Answer, Exit, Question};
use crate::engine::plan::Placed;
use crate::gate::Cleared;
use crate::journal::Line;
use crate::journal::record::{Blast, Ending, Event, Purpose};
use crate::journal::scripts;
use crate::runbook::model::Destroys;
use crate::world::Identity;

/// Number of a request to the outside: 1, 2, … within a session.
pub type Number = u64;

/// What came of an [`Effect::Measure`].
#[derive(Debug, Clone)]
pub struct Measured {
    /// Number of the request that this answers.
    pub request: Number,
    /// Why it was measured.
    pub purpose: Purpose,
    /// The step it was measured for.
    pub step: StepId,
    /// What the checks saw.
    pub evidence: Vec<Evidence>,
    /// Identities of the targets asked for, and when each was proved; or why one could not be.
    pub proved: BTreeMap<String, Result<(Identity, Moment), String>>,
    /// What would go, when it was asked for.
    pub blast: Option<Blast>,
    /// Digest of the runbook in the run's folder, read again.
    pub runbook_now: Digest,
    /// The scripts that its steps call, read again.
    pub scripts_now: scripts::Found,
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
    Running {
        /// It is stopped by a signal: paused, not ended.
        paused: bool,
    },
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
#[derive(Debug, Clone)]
pub enum Input {
    /// The driver is ready.
    Start {
        /// Not the first session of this run.
        resumed: bool,
    },
    /// A measurement is complete.
    Measured(Measured),
    /// What was found of a command.
    Found(Number, Found),
    /// Work ended.
    WorkEnded(Number, Ended),
    /// The operator answered.
    Answer(Number, Answer),
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
    /// Measure checks, prove identities, and, in front of destruction, what would go.
    Measure {
        /// Number of the request; its answer carries it.
        request: Number,
        /// Why.
        purpose: Purpose,
        /// For which step.
        step: StepId,
        /// The checks. One that says `wait_up_to` is measured again until it passes or that time is over.
        checks: Vec<Placed>,
        /// Targets whose identity is to be proved.
        prove: Vec<String>,
        /// What would go, when that is to be measured.
        goes: Option<Destroys>,
    },
    /// Find out what became of a step's command.
    Look {
        /// Number of the request; its answer carries it.
        request: Number,
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// The undoing of it, rather than the step.
        undo: bool,
    },
    /// Do the step's work. The token cannot be made without the gate.
    Work {
        /// Number of the request; its answer carries it.
        request: Number,
        /// Clearance.
        cleared: Cleared,
        /// Which attempt.
        attempt: u32,
        /// Undo the step, rather than do it.
        undo: bool,
    },
    /// Watch a command that runs already.
    Attach {
        /// Number of the request; its answer carries it.
        request: Number,
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
    Ask(Number, Question),
    /// The open question is moot: take it off the screen, and drop what is typed.
    Withdraw,
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

impl Ended {
    /// Work that left nothing but its ending.
    pub fn how(ending: Ending) -> Self {
        Ended { ending, output_bytes: 0, left_running: Vec::new(), captured: None, recorded: None }
    }
}

impl Effect {
    /// Its name, for a developer's log.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Append(_) => "append",
            Effect::Measure { .. } => "measure",
            Effect::Look { .. } => "look",
            Effect::Work { .. } => "work",
            Effect::Attach { .. } => "attach",
            Effect::Stop { .. } => "stop",
            Effect::Pause => "pause",
            Effect::Continue => "continue",
            Effect::Ask(..) => "ask",
            Effect::Withdraw => "withdraw",
            Effect::Say(_) => "say",
            Effect::Soaking { .. } => "soaking",
            Effect::Leave(_) => "leave",
        }
    }
}
