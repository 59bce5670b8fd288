//! What second persons decided, and what limits there are, as facts: for `status`, the briefing, and programs.

use jiff::Timestamp;
use serde::Serialize;

use super::standing::Around;
use crate::base::{CheckId, Digest, Moment, StepId};
use crate::engine::people::{self, Terms};
use crate::engine::state::{RunState, Status};
use crate::gate::approvals::Judged;
use crate::gate::{Clock, Window, window};
use crate::runbook::Runbook;

/// Approvals of one step, or of its undoing.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalLine {
    /// The step.
    pub step: StepId,
    /// About undoing it.
    pub undo: bool,
    /// How many people are wanted.
    pub wanted: u32,
    /// What for: digest of the newest content on record.
    pub content: Digest,
    /// Since when.
    pub since: Moment,
    /// What people said comes to. That what would go has not grown since, only the hold point knows.
    #[serde(flatten)]
    pub judged: Judged,
}

/// A waiver that is not settled.
#[derive(Debug, Clone, Serialize)]
pub struct WaiverLine {
    /// The check.
    pub check: CheckId,
    /// Who waived it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
    /// Why it does not count; `None` while it does.
    pub void: Option<String>,
    /// What the check last said.
    pub seen: String,
}

/// A change window.
#[derive(Debug, Clone, Serialize)]
pub struct WindowLine {
    /// Whose it is: `production`, or `step drop-old`.
    pub of: String,
    /// As written.
    pub words: String,
    /// `open until …`, `closed (…); it opens …`.
    pub standing: String,
}

fn clock<'a>(state: &RunState, around: &'a Around) -> Clock<'a> {
    Clock { now: &around.now, session: &around.now, boot: &around.boot, newest: state.second.newest }
}

/// Approvals that are wanted of steps that are still to come, or to be undone.
pub fn approvals(runbook: &Runbook, state: &RunState, around: &Around) -> Vec<ApprovalLine> {
    let mut lines: Vec<ApprovalLine> = Vec::new();
    for wanted in state.second.wanted.iter().rev() {
        let (step, undo) = (&wanted.content.step, wanted.content.undo);
        let over = match state.status(step) {
            Status::Done => !undo,
            Status::RolledBack => undo,
            _ => false,
        };
        if over || state.end.is_some() || lines.iter().any(|line| line.step == *step && line.undo == undo) {
            continue;
        }
        let approvals = people::approvals(runbook, state, &around.signers, step, undo);
        lines.push(ApprovalLine {
            step: step.clone(),
            undo,
            wanted: wanted.count,
            content: wanted.digest.clone(),
            since: wanted.at,
            judged: approvals.judge(Some(&wanted.content), &clock(state, around)),
        });
    }
    lines.reverse();
    lines
}

/// Waivers that are not settled.
pub fn waivers(runbook: &Runbook, state: &RunState, around: &Around) -> Vec<WaiverLine> {
    let signed = Terms::of(runbook, state.environment.as_deref()).signed;
    let operator = people::operator(state, &around.signers);
    let each = people::waivers(runbook, state, &around.signers).into_iter().map(|waived| {
        let last = state.last.get(&waived.check);
        let void = waived
            .objection(&operator, signed, &clock(state, around))
            .or_else(|| last.and_then(|last| waived.uncovered(last)));
        WaiverLine {
            void,
            seen: last.map_or("not measured".to_owned(), |last| {
                format!("{}: {}", last.verdict().word(), last.outcome.observed)
            }),
            check: waived.check,
            by: waived.by,
            reason: waived.reason,
            until: waived.term.until,
        }
    });
    each.collect()
}

/// The windows that matter now: the environment's, and that of the step that stands next.
pub fn windows(runbook: &Runbook, state: &RunState, around: &Around) -> Vec<WindowLine> {
    if state.end.is_some() {
        return Vec::new();
    }
    let name = state.environment.as_deref();
    let place =
        name.and_then(|name| runbook.environments.get(name)?.change_window.as_ref().map(|w| (name, w)));
    let next = runbook.steps.iter().find(|step| state.status(&step.key()) != Status::Done);
    let step = next.and_then(|step| Some((format!("step {}", step.id), step.change_window.as_ref()?)));
    let all = place.map(|(name, window)| (name.to_owned(), window)).into_iter().chain(step);
    let line = |(of, written)| {
        let standing = match Window::read(written) {
            Ok(window) => window.standing(&clock(state, around)),
            Err(why) => format!("closed (unknown: {why})"),
        };
        WindowLine { of, words: window::words(written), standing }
    };
    all.map(line).collect()
}
