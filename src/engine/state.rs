//! A run's state: a fold over its journal. The same events give the same state, here and on any other machine.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::event::action_word;
use super::second::Second;
use crate::base::{CheckId, Digest, Moment, RunId, StepId};
use crate::check::{Evidence, Verdict};
use crate::journal::Line;
use crate::journal::record::{Blocker, Decision, Ending, Event, LeaseHow};
use crate::journal::scripts::Scripts;
use crate::runbook::model::OnViolation;
use crate::world::Identity;

/// Where a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun, or to be begun again.
    #[default]
    Pending,
    /// Begun, not known to have ended.
    Running,
    /// Its work ended well; its postconditions are still to be measured.
    Ended,
    /// Nobody knows how it ended.
    InDoubt,
    /// Done: its postconditions held.
    Done,
    /// Its work or its postconditions failed.
    Failed,
    /// It was done, and no longer holds.
    Reopened,
    /// It is being undone.
    RollingBack,
    /// Undoing it failed, or left what it should have undone: that is known.
    NotUndone,
    /// It was undone.
    RolledBack,
}

impl Status {
    /// For people: `done`, `in doubt`.
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Ended => "ended, not yet proved",
            Status::InDoubt => "in doubt",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Reopened => "reopened",
            Status::RollingBack => "being undone",
            Status::NotUndone => "not undone",
            Status::RolledBack => "undone",
        }
    }
}

/// How far undoing a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// It was not begun since the step was.
    #[default]
    No,
    /// Begun, and not known to have ended.
    Open,
    /// It ended well; its postconditions are still to be measured.
    Ended,
    /// It failed, which is known.
    Failed,
    /// It ended well, and its postconditions did not pass.
    Unheld,
    /// It is to be run again: that is decided.
    Again,
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StepState {
    /// Where it stands.
    pub status: Status,
    /// How often it was begun.
    pub attempts: u32,
    /// How often undoing it was begun.
    pub rollbacks: u32,
    /// How its work last ended.
    pub ending: Option<Ending>,
    /// Why it failed, is in doubt or was reopened.
    pub why: Option<String>,
    /// When it was last begun.
    pub began: Option<Moment>,
    /// When its work last ended.
    pub ended: Option<Moment>,
    /// Watched so far, for a soak: milliseconds in which everything that counts was seen to hold.
    pub soaked_ms: u64,
    /// How often each invariant that only alerts stopped to hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alerts: BTreeMap<CheckId, u32>,
    /// What it left running.
    pub left_running: Vec<String>,
    /// The value that it captures is on record, from this attempt.
    pub captured: bool,
    /// Its command is paused, because this check did not hold.
    pub paused: Option<CheckId>,
    /// How far undoing it is.
    pub undo: Undo,
    /// How undoing it last ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_ending: Option<Ending>,
    /// It was done when the machine ended without warning, and none of its postconditions was seen to hold since.
    pub shaken: bool,
}

impl StepState {
    /// True when undoing it ended well, as far as its work goes.
    pub fn undo_ended_well(&self) -> bool {
        self.undo_ending.as_ref().is_some_and(Ending::success)
    }

    /// True when undoing it was begun, is not complete, and nobody knows how it ended.
    pub fn undo_in_doubt(&self) -> bool {
        self.undo != Undo::No && matches!(self.undo_ending, None | Some(Ending::Unknown { .. }))
    }
}

/// Who holds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who, as claimed.
    pub operator: String,
    /// `by` of the lease's line: operator and host.
    pub by: String,
    /// How they came to hold it.
    pub how: LeaseHow,
    /// Their process.
    pub pid: u32,
    /// Its start time in ticks since boot.
    pub pid_start: u64,
    /// Boot id of the machine.
    pub boot_id: String,
    /// Since when.
    pub since: Moment,
    /// True when they left cleanly.
    pub released: bool,
}

/// An offer to the next operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Who offers.
    pub by: String,
    /// To whom, if named.
    pub to: Option<String>,
    /// What they should know.
    pub note: String,
    /// When.
    pub at: Moment,
}

/// Something put on record by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Who.
    pub by: String,
    /// When.
    pub at: Moment,
    /// What.
    pub text: String,
}

/// A manifest on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The step that recorded it.
    pub step: StepId,
    /// The target it was taken of.
    pub target: String,
    /// Digest of its file.
    pub digest: Digest,
    /// Tables in it.
    pub tables: u64,
    /// Rows in it.
    pub rows: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All done.
    Completed,
    /// Given up, because …
    Abandoned(String),
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunState {
    /// Its id.
    pub run: RunId,
    /// The runbook's name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Digest of the runbook file.
    pub runbook: Digest,
    /// The environment.
    pub environment: Option<String>,
    /// Variables that are not secret.
    pub vars: BTreeMap<String, String>,
    /// Names of the secret ones.
    pub secrets: Vec<String>,
    /// The files beside the runbook that its steps call, as they were when the run was opened.
    #[serde(skip_serializing_if = "Scripts::is_empty")]
    pub scripts: Scripts,
    /// Digest of the targets' addresses.
    pub targets: Digest,
    /// A rehearsal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    /// Digest of the receipt that it was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Digest>,
    /// Host that it runs on.
    pub host: String,
    /// Machine id of the host.
    pub machine: String,
    /// When it was opened.
    pub opened: Moment,
    /// The fencing token in force.
    pub epoch: u64,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// The open offer.
    pub offer: Option<Offer>,
    /// Identities pinned.
    pub pins: BTreeMap<String, Identity>,
    /// Steps that were touched, in the order of the first touch.
    pub steps: IndexMap<StepId, StepState>,
    /// The last measurement of every check.
    pub last: BTreeMap<CheckId, Evidence>,
    /// Captured variables.
    pub captured: BTreeMap<String, String>,
    /// Recorded manifests by name.
    pub recorded: BTreeMap<String, Recorded>,
    /// Notes and observations.
    pub remarks: Vec<Remark>,
    /// Decisions of people about steps: who, when, what.
    pub decisions: Vec<Remark>,
    /// The blockers of the last refusal, until something moves on.
    pub held: Option<(StepId, Vec<Blocker>)>,
    /// That refusal was about undoing the step, rather than about its work.
    pub held_undo: bool,
    /// The last permit's number.
    pub permits: u64,
    /// How it ended.
    pub end: Option<End>,
    /// What second persons decided.
    pub second: Second,
    /// Sequence number of the last line.
    pub seq: u64,
    /// When the last line was written.
    pub latest: Moment,
}

/// Why a journal gives no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not begin with `opened`")]
pub struct NotOpened;

impl RunState {
    /// The state after these lines.
    pub fn fold(lines: &[Line]) -> Result<RunState, NotOpened> {
        let mut lines = lines.iter();
        let first = lines.next().ok_or(NotOpened)?;
        let mut state = RunState::opened(first)?;
        lines.for_each(|line| state.apply(line));
        Ok(state)
    }

    fn opened(line: &Line) -> Result<RunState, NotOpened> {
        let Event::Opened {
            run,
            name,
            title,
            runbook,
            environment,
            vars,
            secrets,
            targets,
            rehearsal,
            receipt,
            host,
            machine,
            scripts,
            author,
            ..
        } = &line.event
        else {
            return Err(NotOpened);
        };
        Ok(RunState {
            run: run.clone(),
            name: name.clone(),
            title: title.clone(),
            runbook: runbook.clone(),
            environment: environment.clone(),
            vars: vars.clone(),
            secrets: secrets.clone(),
            targets: targets.clone(),
            rehearsal: *rehearsal,
            receipt: receipt.clone(),
            host: host.clone(),
            machine: machine.clone(),
            scripts: scripts.clone(),
            opened: line.at,
            epoch: 0,
            holder: None,
            offer: None,
            pins: BTreeMap::new(),
            steps: IndexMap::new(),
            last: BTreeMap::new(),
            captured: BTreeMap::new(),
            recorded: BTreeMap::new(),
            remarks: Vec::new(),
            decisions: Vec::new(),
            held: None,
            held_undo: false,
            permits: 0,
            end: None,
            second: Second::opened(author.clone(), line.at.wall),
            seq: line.seq,
            latest: line.at,
        })
    }

    /// One more line.
    pub fn apply(&mut self, line: &Line) {
        self.seq = line.seq;
        self.event(&line.event, &line.at, &line.by, line.epoch);
    }

    /// One more event, written at a moment by somebody.
    pub fn event(&mut self, event: &Event, at: &Moment, by: &str, epoch: u64) {
        self.latest = *at;
        self.second.event(event, at, by, &self.pins);
        let remark = |text: String| Remark { by: by.to_owned(), at: *at, text };
        match event {
            Event::Opened { .. } => {}
            Event::Lease { operator, how, pid, pid_start, boot_id, .. } => {
                self.epoch = epoch;
                self.offer = None;
                if self.holder.as_ref().is_some_and(|holder| !holder.released && holder.boot_id != *boot_id) {
                    let done = self.steps.values_mut().filter(|step| step.status == Status::Done);
                    done.for_each(|step| step.shaken = true);
                }
                self.holder = Some(Holder {
                    operator: operator.clone(),
                    by: by.to_owned(),
                    how: *how,
                    pid: *pid,
                    pid_start: *pid_start,
                    boot_id: boot_id.clone(),
                    since: *at,
                    released: false,
                });
            }
            Event::Released { .. } => {
                if let Some(holder) = self.holder.as_mut().filter(|_| epoch == self.epoch) {
                    holder.released = true;
                }
            }
            Event::Pinned { target, identity } => {
                self.pins.insert(target.clone(), identity.clone());
            }
            Event::Unpinned { target, .. } => {
                self.pins.remove(target);
            }
            Event::Measured { evidence, .. } => {
                if evidence.verdict() == Verdict::Pass
                    && let Some((step, _)) = evidence.check.as_str().split_once(".post.")
                    && let Some(state) = self.steps.get_mut(&StepId::from(step))
                {
                    state.shaken = false;
                }
                self.last.insert(evidence.check.clone(), evidence.clone());
            }
            Event::Held { step, undo, blockers } => {
                if *undo {
                    self.did_not_hold(step, blockers);
                }
                self.held = Some((step.clone(), blockers.clone()));
                self.held_undo = *undo;
            }
            Event::Violated { step, check, action } => {
                if action == action_word(OnViolation::Pause) {
                    self.step_mut(step).paused = Some(check.clone());
                } else if action == action_word(OnViolation::Alert) {
                    *self.step_mut(step).alerts.entry(check.clone()).or_default() += 1;
                }
            }
            Event::Continued { step } => self.step_mut(step).paused = None,
            Event::Confirmed { .. } => {}
            Event::Permitted { permit, .. } => self.permits = self.permits.max(*permit),
            Event::Began { step, attempt, .. } => {
                self.held = None;
                // A new attempt has nothing of the one before: no captured value, no time watched, no undoing, and nothing
                // that was measured after it.
                self.forget(step, &["inv", "post", "undo"]);
                *self.step_mut(step) = StepState {
                    status: Status::Running,
                    attempts: *attempt,
                    rollbacks: self.step(step).rollbacks,
                    began: Some(*at),
                    ..StepState::default()
                };
            }
            Event::Ended { step, ending, left_running, .. } => {
                let state = self.step_mut(step);
                state.paused = None;
                state.ended = Some(*at);
                state.ending = Some(ending.clone());
                state.left_running.clone_from(left_running);
                state.paused = None;
                state.status = match ending {
                    _ if ending.success() => Status::Ended,
                    Ending::Unknown { .. } => Status::InDoubt,
                    Ending::NotStarted { .. } => Status::Pending,
                    _ => Status::Failed,
                };
                state.why = (!ending.success()).then(|| ending.describe());
            }
            Event::Done { step } => self.settle(step, Status::Done, None),
            Event::Failed { step, why } => self.settle(step, Status::Failed, Some(why)),
            Event::InDoubt { step, why, .. } => {
                self.settle(step, Status::InDoubt, Some(why));
                let state = self.step_mut(step);
                if state.undo == Undo::Ended {
                    // Looked for once more, and not found: what it said of its end is not believed.
                    (state.undo, state.undo_ending) = (Undo::Open, None);
                }
            }
            Event::Reopened { step, why } => self.settle(step, Status::Reopened, Some(why)),
            Event::Decided { step, reason, by_runbook, undo: true, .. } => {
                let allowed = if *by_runbook { ", as the runbook allows" } else { "" };
                self.decisions.push(remark(format!("undoing {step} is to be run again{allowed}: {reason}")));
                self.step_mut(step).undo = Undo::Again;
                self.settle(step, Status::NotUndone, Some(&"undoing it is to be run again".to_owned()));
            }
            Event::Decided { step, decision, reason, by_runbook, undo: false } => {
                let word = match decision {
                    Decision::Done => "is done",
                    Decision::Again if *by_runbook => "is run again, as the runbook allows",
                    Decision::Again => "is to be run again",
                };
                self.decisions.push(remark(format!("{step} {word}: {reason}")));
                let status = if *decision == Decision::Done { Status::Done } else { Status::Pending };
                self.settle(step, status, None);
                if status == Status::Done {
                    // What an undoing has changed is there again: another one would be the first.
                    self.step_mut(step).undo = Undo::No;
                }
            }
            Event::Recorded { step, name, target, digest, tables, rows } => {
                let recorded = Recorded {
                    step: step.clone(),
                    target: target.clone(),
                    digest: digest.clone(),
                    tables: *tables,
                    rows: *rows,
                };
                self.recorded.insert(name.clone(), recorded);
            }
            Event::Captured { step, name, value } => {
                self.step_mut(step).captured = true;
                self.captured.insert(name.clone(), value.clone());
            }
            Event::Observed { step, text } => self.remarks.push(remark(format!("{step}: {text}"))),
            Event::Soaked { step, elapsed_ms } => self.step_mut(step).soaked_ms = *elapsed_ms,
            Event::Note { text } => self.remarks.push(remark(text.clone())),
            Event::Offered { to, note, .. } => {
                self.offer = Some(Offer { by: by.to_owned(), to: to.clone(), note: note.clone(), at: *at });
            }
            Event::RollbackBegan { step, attempt, .. } => {
                self.held = None;
                self.forget(step, &["undo"]);
                let state = self.step_mut(step);
                state.status = Status::RollingBack;
                state.rollbacks = *attempt;
                state.why = None;
                state.undo = Undo::Open;
                state.undo_ending = None;
            }
            Event::RollbackEnded { step, ending, .. } => {
                let how = ending.describe();
                let (undo, status, why) = match ending {
                    _ if ending.success() => (Undo::Ended, Status::RollingBack, None),
                    Ending::Unknown { .. } => {
                        (Undo::Open, Status::InDoubt, Some(format!("undoing it: {how}")))
                    }
                    _ => (Undo::Failed, Status::NotUndone, Some(format!("undoing it failed: {how}"))),
                };
                self.settle(step, status, why.as_ref());
                let state = self.step_mut(step);
                state.undo = undo;
                state.undo_ending = Some(ending.clone());
            }
            Event::RolledBack { step } => {
                self.settle(step, Status::RolledBack, None);
                let state = self.step_mut(step);
                (state.undo, state.undo_ending) = (Undo::No, None);
            }
            Event::Abandoned { reason } => self.end = Some(End::Abandoned(reason.clone())),
            Event::Completed { .. } => self.end = Some(End::Completed),
            // See `second`.
            Event::ApprovalWanted { .. }
            | Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::ApprovalWithdrawn { .. }
            | Event::Waived { .. }
            | Event::WaiverWithdrawn { .. }
            | Event::WaiverUsed { .. }
            | Event::Notified { .. } => {}
        }
    }

    /// True when a step may have left something that has to be undone: also one that waits to be run again, since what
    /// its earlier attempt did is still there.
    pub fn touched(&self, id: &StepId) -> bool {
        let step = self.step(id);
        match step.status {
            Status::RolledBack => false,
            Status::Pending => match step.ending {
                Some(Ending::NotStarted { .. }) => step.attempts > 1,
                _ => step.attempts > 0,
            },
            _ => true,
        }
    }

    /// A step's state; a default one when it was never touched.
    pub fn step(&self, id: &StepId) -> StepState {
        self.steps.get(id).cloned().unwrap_or_default()
    }

    /// Where a step stands.
    pub fn status(&self, id: &StepId) -> Status {
        self.steps.get(id).map(|s| s.status).unwrap_or_default()
    }

    /// What was last measured for a step in these of its lists was for an earlier attempt.
    fn forget(&mut self, step: &StepId, lists: &[&str]) {
        let of = |check: &CheckId| {
            let rest = check.as_str().strip_prefix(step.as_str()).and_then(|rest| rest.strip_prefix('.'));
            rest.and_then(|rest| rest.split_once('.')).is_some_and(|(list, _)| lists.contains(&list))
        };
        self.last.retain(|check, _| !of(check));
    }

    /// An undoing that ended well is refused by its own postconditions: from then on that is known of it.
    fn did_not_hold(&mut self, step: &StepId, blockers: &[Blocker]) {
        let own = format!("{step}.undo.");
        let first = blockers.iter().find(|blocker| blocker.subject.starts_with(&own));
        let Some(first) = first.filter(|_| self.step(step).undo == Undo::Ended) else { return };
        let why = format!(
            "undoing it ended well and did not hold: {}: {}, wanted {}",
            first.title, first.observed, first.expected
        );
        self.settle(step, Status::NotUndone, Some(&why));
        self.step_mut(step).undo = Undo::Unheld;
    }

    fn step_mut(&mut self, id: &StepId) -> &mut StepState {
        self.steps.entry(id.clone()).or_default()
    }

    fn settle(&mut self, id: &StepId, status: Status, why: Option<&String>) {
        let state = self.step_mut(id);
        state.status = status;
        state.why = why.cloned();
        state.shaken &= status != Status::Done;
    }
}
