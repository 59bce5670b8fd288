//! What can be on record. One event a line; new kinds may be added in a minor version, existing ones never change
//! their meaning. The format's version stands in the first line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::scripts::Scripts;
use super::second::{Author, Content, Signature};
use crate::base::{CheckId, Digest, Moment, RunId, StepId};
use crate::check::{Evidence, Verdict};
use crate::world::Identity;

/// The journal format that this program writes.
pub const FORMAT: u32 = 1;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// 1, 2, 3, …: the order of events; clocks do not decide it.
    pub seq: u64,
    /// Wall clock, UTC, and boot clock.
    #[serde(flatten)]
    pub at: Moment,
    /// Who: `alice@db1`.
    pub by: String,
    /// The fencing token of the lease under which this was written; 0 for people who do not drive (a note).
    pub epoch: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// SHA-256 of the line before, without its newline; of the run's id for the first line.
    pub prev: Digest,
}

/// How the lease was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseHow {
    /// The run was started.
    Start,
    /// The same operator goes on.
    Resume,
    /// An offered run was accepted.
    Accept,
    /// The holder was gone without an offer, which was proved; somebody took over with a reason.
    TakeOver,
}

/// How work ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// The command exited.
    Exited {
        /// Its exit status.
        status: i32,
    },
    /// The command was killed by a signal that did not come from us.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The time limit was reached; TERM, grace, KILL.
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// It was stopped by an invariant or by the operator.
    Stopped {
        /// Why.
        why: String,
    },
    /// It could not be started at all; nothing ran.
    NotStarted {
        /// Why.
        why: String,
    },
    /// Work without a command (sql, manual, record, soak) is finished.
    Finished,
    /// Work without a command failed.
    Broken {
        /// Why.
        why: String,
    },
    /// Nobody knows: the machine or the supervisor died, or a connection broke with a statement under way.
    Unknown {
        /// What is known.
        why: String,
    },
}

impl Ending {
    /// True when the work itself says that it succeeded. That alone proves nothing.
    pub fn success(&self) -> bool {
        matches!(self, Ending::Exited { status: 0 } | Ending::Finished)
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        match self {
            Ending::Exited { status } => format!("exit status {status}"),
            Ending::Signalled { signal } => format!("killed by signal {signal}"),
            Ending::TimedOut { limit_ms } => {
                format!("stopped at its time limit of {}", crate::base::Span::millis(*limit_ms))
            }
            Ending::Stopped { why } => format!("stopped: {why}"),
            Ending::NotStarted { why } => format!("not started: {why}"),
            Ending::Finished => "finished".to_owned(),
            Ending::Broken { why } => format!("failed: {why}"),
            Ending::Unknown { why } => format!("outcome unknown: {why}"),
        }
    }
}

/// A person's decision about a step in doubt, failed or reopened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is done; only accepted while its postconditions pass.
    Done,
    /// Run it again.
    Again,
}

/// Why something was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Before a step.
    Precondition,
    /// While a step runs.
    Invariant,
    /// After a step.
    Postcondition,
    /// For a permit.
    Guard,
    /// At a resume or a handoff.
    WalkDown,
}

/// One reason why a hold point does not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The check, or a word such as `identity`, `confirmation`, `copy`.
    pub subject: String,
    /// One line for people.
    pub title: String,
    /// What was seen.
    pub observed: String,
    /// What was wanted.
    pub expected: String,
    /// The one safe next command or act.
    pub next: String,
}

/// One thing that would be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlastItem {
    /// `data directory`, `tablespace`, `WAL`, `configuration`, `log`, `database`, `table`, `materialized view`, `index`,
    /// `file`, `directory`.
    pub kind: String,
    /// Path or name.
    pub name: String,
    /// Its size in bytes, when it could be measured.
    pub bytes: Option<u64>,
    /// Rows in it, when it holds rows and they could be counted.
    pub rows: Option<u64>,
}

/// Something named as what would go that is not there: measured, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The target's name, or the path.
    pub name: String,
    /// What was seen: `there is no /srv/new.db`.
    pub why: String,
}

/// What a destructive step would destroy: measured, not claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blast {
    /// Everything that would go, in a stable order.
    pub items: Vec<BlastItem>,
    /// The target that would go, as it is.
    pub identity: Option<Identity>,
    /// Reasons to think that it is in use: `12 client sessions`, `postgres (pid 4711) has files open in it`.
    pub serving: Vec<String>,
    /// What could not be measured; each blocks.
    pub unmeasured: Vec<String>,
    /// What was named and is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Gone>,
    /// When.
    pub at: Moment,
}

/// What happened. The `what` of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Event {
    /// The run begins. Always the first line.
    Opened {
        /// Journal format.
        format: u32,
        /// The run.
        run: RunId,
        /// The runbook's name.
        name: String,
        /// Its title.
        title: Option<String>,
        /// Digest of the runbook file, which is kept beside the journal.
        runbook: Digest,
        /// The environment chosen.
        environment: Option<String>,
        /// Variables that are not secret.
        vars: BTreeMap<String, String>,
        /// Names of the secret ones.
        secrets: Vec<String>,
        /// Digest of the targets' addresses, secrets left out: tells whether two runs work on the same.
        #[serde(default = "no_digest", skip_serializing_if = "is_no_digest")]
        targets: Digest,
        /// A rehearsal: nobody is there, and nothing of it is production's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rehearsal: bool,
        /// Digest of the rehearsal's receipt that the environment asked for before the run could start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<Digest>,
        /// Version of this program.
        engine: String,
        /// Facts of the host: system, kernel, memory, processors.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        facts: BTreeMap<String, String>,
        /// Host name.
        host: String,
        /// Machine id of the host.
        machine: String,
        /// The files beside the runbook that its steps call.
        #[serde(default, skip_serializing_if = "Scripts::is_empty")]
        scripts: Scripts,
        /// Who last changed the runbook; looked for where they may not approve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<Author>,
    },
    /// Somebody holds the run from now on; the line's `epoch` is the new fencing token.
    Lease {
        /// Who, as claimed.
        operator: String,
        /// How.
        how: LeaseHow,
        /// Process that drives.
        pid: u32,
        /// Its start time in clock ticks since boot, which tells a reused pid from the old one.
        pid_start: u64,
        /// Boot id of the machine.
        boot_id: String,
        /// For a takeover: why, and how the holder's death was proved.
        reason: Option<String>,
        /// For an acceptance: the open points that were acknowledged.
        acknowledged: Vec<String>,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// The driver left cleanly.
    Released {
        /// Why: `quit`, `held`, `waiting`, `interrupted`.
        why: String,
    },
    /// A target was seen for the first time; from now on it must be this one.
    Pinned {
        /// Its name.
        target: String,
        /// What it is.
        identity: Identity,
    },
    /// A step made a target anew; it is pinned again when it is next seen.
    Unpinned {
        /// Its name.
        target: String,
        /// The step.
        step: StepId,
    },
    /// A check was measured.
    Measured {
        /// Why.
        purpose: Purpose,
        /// The step it was measured for.
        step: StepId,
        /// What it saw.
        evidence: Evidence,
        /// It is shown and gates nothing. Absent when false, and in journals of earlier releases.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        advisory: bool,
    },
    /// A hold point did not open.
    Held {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// All reasons.
        blockers: Vec<Blocker>,
    },
    /// The operator saw what would be destroyed and typed the text.
    Confirmed {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// The text.
        text: String,
        /// What was shown.
        blast: Blast,
    },
    /// A permit was made. It is used by the `began` (or `rollback_began`) that carries its number.
    Permitted {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// The permit's number: unique in the run.
        permit: u64,
        /// Digest of the runbook.
        runbook: Digest,
        /// The checks that it rests on.
        guards: Vec<CheckId>,
        /// Digest of the list of what goes.
        blast: Digest,
        /// Who approved it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvers: Vec<String>,
        /// Checks among the guards that did not pass, and were waived.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waived: Vec<CheckId>,
    },
    /// About to do the step's work. On disk before it begins.
    Began {
        /// The step.
        step: StepId,
        /// 1, 2, …
        attempt: u32,
        /// The permit, for a destructive step.
        permit: Option<u64>,
    },
    /// The work ended.
    Ended {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// How.
        ending: Ending,
        /// Bytes of output kept.
        output_bytes: u64,
        /// Processes that it left running: `sleep 402 (pid 812)`.
        left_running: Vec<String>,
    },
    /// The postconditions hold.
    Done {
        /// The step.
        step: StepId,
    },
    /// The step failed: its work or its postconditions.
    Failed {
        /// The step.
        step: StepId,
        /// Why, in one line.
        why: String,
    },
    /// Started, not known to have ended: neither done nor failed.
    InDoubt {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// What is known.
        why: String,
    },
    /// A finished step no longer holds.
    Reopened {
        /// The step.
        step: StepId,
        /// What drifted.
        why: String,
    },
    /// A named person decided about a step.
    Decided {
        /// The step.
        step: StepId,
        /// What.
        decision: Decision,
        /// Why.
        reason: String,
        /// Nobody was asked: the runbook allows it, by `rerun: safe`, whoever drives.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_runbook: bool,
        /// It is about undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
    },
    /// A manifest was recorded; the file stands beside the journal.
    Recorded {
        /// The step.
        step: StepId,
        /// The name that checks use.
        name: String,
        /// The target.
        target: String,
        /// Digest of the manifest's file.
        digest: Digest,
        /// Tables in it.
        tables: u64,
        /// Rows in it.
        rows: u64,
    },
    /// A step's output became a variable.
    Captured {
        /// The step.
        step: StepId,
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// What a person observed in a manual step.
    Observed {
        /// The step.
        step: StepId,
        /// In their words.
        text: String,
    },
    /// A soak was watched this far, and what counts held.
    Soaked {
        /// The step.
        step: StepId,
        /// Milliseconds so far; zero after a failure.
        elapsed_ms: u64,
    },
    /// An invariant no longer held while a step ran.
    Violated {
        /// The step.
        step: StepId,
        /// The check.
        check: CheckId,
        /// What was done: `alert`, `pause`, `stop`.
        action: String,
    },
    /// A paused command goes on.
    Continued {
        /// The step.
        step: StepId,
    },
    /// Somebody put something on record.
    Note {
        /// In their words.
        text: String,
    },
    /// The run is offered to the next operator.
    Offered {
        /// To whom, if named.
        to: Option<String>,
        /// What they should know.
        note: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// A step is about to be undone.
    RollbackBegan {
        /// The step.
        step: StepId,
        /// 1, 2, …
        attempt: u32,
        /// The permit, for an undoing that destroys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<u64>,
    },
    /// Undoing it ended.
    RollbackEnded {
        /// The step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// How.
        ending: Ending,
    },
    /// The step is undone.
    RolledBack {
        /// The step.
        step: StepId,
    },
    /// The run will not be finished.
    Abandoned {
        /// Why.
        reason: String,
    },
    /// Every step is done and everything that should hold holds.
    Completed {
        /// Steps in the run.
        steps: u64,
    },
    /// All that a hold point lacks is the approval of other people.
    ApprovalWanted {
        /// How many people.
        count: u32,
        /// What for.
        content: Box<Content>,
    },
    /// Somebody else saw what would be destroyed, and approves.
    Approved {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// Digest of what they were shown.
        content: Digest,
        /// The text that they typed.
        text: String,
        /// It counts no longer than this.
        until: Timestamp,
        /// Boot id of the machine whose clocks the line shows.
        boot: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// Somebody else saw what would be destroyed, and says no.
    Rejected {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// Digest of what they were shown.
        content: Digest,
        /// Why.
        reason: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// Somebody takes back what they said about a step: an approval or a rejection.
    ApprovalWithdrawn {
        /// The step.
        step: StepId,
        /// About undoing the step, rather than about its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// Why.
        reason: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// Somebody decides that work goes on without a check, for a while.
    Waived {
        /// The check.
        check: CheckId,
        /// Why.
        reason: String,
        /// It counts no longer than this.
        until: Timestamp,
        /// Boot id of the machine whose clocks the line shows.
        boot: String,
        /// What the check said when it was waived; another verdict is not waived.
        verdict: Verdict,
        /// What it had seen.
        seen: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// A waiver is taken back.
    WaiverWithdrawn {
        /// The check.
        check: CheckId,
        /// Why.
        reason: String,
        /// By their key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    /// Work goes on although a check did not pass, because it is waived.
    WaiverUsed {
        /// The step that goes on.
        step: StepId,
        /// The check.
        check: CheckId,
        /// Who waived it.
        waived_by: String,
        /// Why.
        reason: String,
        /// Until when.
        until: Timestamp,
    },
    /// A hook was run to tell somebody.
    Notified {
        /// Number of the line that it told about.
        of: u64,
        /// About what: `failed`, `held`, …
        on: String,
        /// The program.
        program: String,
        /// How it ended, in one line.
        outcome: String,
        /// True when it exited with 0 in time.
        delivered: bool,
    },
}

fn no_digest() -> Digest {
    Digest::from("")
}

fn is_no_digest(digest: &Digest) -> bool {
    digest.as_str().is_empty()
}

/// The wall-clock time of a line, for people.
pub fn wall(line: &Line) -> Timestamp {
    line.at.wall
}
