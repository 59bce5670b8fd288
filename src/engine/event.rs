//! What the outside may know, and what it may be asked. The journal's own lines are the spine: a screen, a report and a
//! replay months later read the same events.

use std::time::Duration;

use async_trait::async_trait;

use crate::base::{CheckId, StepId};
use crate::check::Evidence;
use crate::check::context::Progress;
use crate::journal::Line;
use crate::journal::record::{Blast, Blocker, Purpose};
use crate::runbook::model::OnViolation;

/// Something that happened or is going on.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one at a time, never a list of them")]
pub enum Notice {
    /// A line was written to the journal: by us, or by somebody else beside us.
    Journal(Line),
    /// These checks are being measured now; an id and a title each.
    Measuring {
        /// The step they are measured for.
        step: StepId,
        /// Why.
        purpose: Purpose,
        /// The checks.
        checks: Vec<(CheckId, String)>,
    },
    /// One measurement came in (a line in the journal follows for those that go on record).
    Measured {
        /// The step.
        step: StepId,
        /// Why.
        purpose: Purpose,
        /// What it saw.
        evidence: Evidence,
    },
    /// A postcondition does not pass yet, and is waited for.
    Waiting {
        /// What it saw just now; it goes on record only when it is the last measurement.
        evidence: Evidence,
        /// Since it was first measured.
        waited: Duration,
        /// The longest that it is waited for.
        limit: Duration,
    },
    /// How far long work is.
    Progress {
        /// The check that works, if it is one.
        check: Option<CheckId>,
        /// How far.
        progress: Progress,
    },
    /// New output of the running command, made safe to show: whole lines.
    Output {
        /// The step.
        step: StepId,
        /// The text.
        text: String,
    },
    /// The running command was there already: attached to it again.
    Attached {
        /// The step.
        step: StepId,
        /// Bytes of its output so far.
        output: u64,
        /// How many of them, the last ones, follow as notices now.
        shown: u64,
    },
    /// The step's work is under way; sent about once a second.
    Running {
        /// The step.
        step: StepId,
        /// Since it began.
        elapsed: Duration,
        /// Bytes of output so far.
        output: u64,
        /// Its time limit.
        limit: Option<Duration>,
    },
    /// A soak is under way.
    Soaking {
        /// The step.
        step: StepId,
        /// Watched so far: time in which everything that counts held.
        elapsed: Duration,
        /// Wanted.
        wanted: Duration,
    },
    /// A sentence for the operator.
    Message(String),
    /// A warning for the operator.
    Warning(String),
}

/// Receives notices. Must not block for long: work goes on meanwhile.
pub trait Reporter: Send + Sync {
    /// Takes one notice.
    fn tell(&self, notice: &Notice);
}

/// A question to the operator. None has a default answer that does anything.
#[derive(Debug, Clone)]
pub enum Question {
    /// The environment is protected: type its name to begin.
    Environment {
        /// The name.
        name: String,
    },
    /// Begin this step?
    Begin {
        /// The step.
        step: StepId,
    },
    /// Undo this step?
    Undo {
        /// The step.
        step: StepId,
        /// The last step that is to be undone; all when none is named.
        to: Option<StepId>,
    },
    /// A manual step: was it carried out?
    Manual {
        /// The step.
        step: StepId,
        /// The question whose answer is kept, if there is one.
        observe: Option<String>,
    },
    /// What would be destroyed; type the text.
    Confirm {
        /// The step.
        step: StepId,
        /// The text to type.
        text: String,
        /// What goes.
        blast: Blast,
        /// Up to where one can still go back once it is gone, in a sentence.
        horizon: String,
        /// It goes by undoing the step, rather than by its work.
        undo: Option<Undoing>,
    },
    /// The hold point refuses, for all these reasons.
    Held {
        /// The step.
        step: StepId,
        /// It refuses to undo the step, rather than to do it.
        undo: bool,
        /// All of them.
        blockers: Vec<Blocker>,
    },
    /// A step failed or no longer holds.
    Failed {
        /// The step.
        step: StepId,
        /// Why.
        why: String,
        /// Whether it may be run again.
        may_rerun: bool,
        /// Whether a person may declare it done: its postconditions pass.
        may_finish: bool,
    },
    /// A step is not undone: its undoing ended well and did not hold, or nobody knows how it ended.
    NotUndone {
        /// The step.
        step: StepId,
        /// What stands in the way of calling it undone.
        blockers: Vec<Blocker>,
        /// The last step that is to be undone; all when none is named.
        to: Option<StepId>,
    },
    /// Nobody knows how a step ended; or going back did not undo it, which is known, and it may go forward again.
    Doubt {
        /// The step.
        step: StepId,
        /// What is known.
        why: String,
        /// Its postconditions, measured just now.
        evidence: Vec<Evidence>,
        /// Whether it may be run again.
        may_rerun: bool,
        /// Whether a person may declare it done: its postconditions pass, or it has none.
        may_finish: bool,
    },
    /// An invariant no longer holds; the command is paused.
    Paused {
        /// The step.
        step: StepId,
        /// The measurement.
        evidence: Evidence,
    },
    /// Ctrl-C: what about the session, and the running command if there is one?
    Interrupted {
        /// The step whose command runs, if any.
        running: Option<StepId>,
    },
}

/// The way back that somebody is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The last step that is to be undone; all when none is named.
    pub to: Option<StepId>,
}

/// What the operator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes: begin, go on watching, continue the paused command.
    Go,
    /// A typed text: a confirmation, or the name of an environment.
    Typed(String),
    /// The manual step was carried out; with the observation, if one was asked for.
    Carried(Option<String>),
    /// Measure again.
    Measure,
    /// Run the step again, because …
    Again(String),
    /// The step is done, because …
    Finished(String),
    /// Stop the running command.
    Stop,
    /// Put something on record, then ask again.
    Note(String),
    /// Offer the run to the next operator.
    Handoff {
        /// To whom, if named.
        to: Option<String>,
        /// What they should know.
        note: String,
    },
    /// End a run that will not be finished, because …
    Abandon(String),
    /// Leave; a running command goes on; the run can be resumed.
    Quit,
    /// Nobody is there to answer: no terminal.
    Nobody,
}

/// Somebody, or nobody, who can be asked.
#[async_trait]
pub trait Operator: Send + Sync {
    /// True when a person can answer: a terminal on standard input and standard error, and no `CI`.
    fn present(&self) -> bool;
    /// Asks. Without a person the question is printed and the answer is [`Answer::Nobody`].
    async fn ask(&self, question: &Question) -> Answer;
}

/// How a session ends; the process's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done.
    Done,
    /// A step or a check failed.
    Failed,
    /// Wrong usage or an invalid runbook.
    Usage,
    /// A hold point refuses.
    Held,
    /// Waiting for a person: a decision, a confirmation, a handoff, a manual step.
    Waiting,
    /// Somebody else holds the run.
    Busy,
    /// The journal is damaged or cannot be written.
    Journal,
    /// Interrupted; the run can be resumed.
    Interrupted,
    /// The status of a monitoring plugin (0 to 3), for `check --format nagios` alone.
    Plugin(u8),
}

impl Exit {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Held => 3,
            Exit::Waiting => 4,
            Exit::Busy => 5,
            Exit::Journal => 6,
            Exit::Interrupted => 130,
            Exit::Plugin(status) => status,
        }
    }
}

/// What an invariant's violation leads to, as a word.
pub fn action_word(action: OnViolation) -> &'static str {
    match action {
        OnViolation::Pause => "pause",
        OnViolation::Stop => "stop",
        OnViolation::Alert => "alert",
    }
}
