//! `note` and `abandon`: words put on record.

use super::error::CliError;
use super::global::Cmd;
use super::session;
use crate::engine::state::Status;
use crate::engine::{Exit, RunState};
use crate::journal::record::Event;

/// Puts something on record. Anybody may, also while somebody else drives.
pub fn note(cmd: &Cmd, run: &str, text: &str) -> Result<Exit, CliError> {
    if text.trim().is_empty() {
        return Err(CliError::usage("the note is empty"));
    }
    let dir = cmd.find(Some(run))?;
    let (mut journal, _) = session::open(&dir)?;
    let event = Event::Note { text: text.to_owned() };
    journal.append(&cmd.by(), None, cmd.now(), vec![event]).map_err(super::append_error)?;
    Ok(Exit::Done)
}

/// Ends a run that will not be finished. Only its holder can, and not while a command of it runs.
pub fn abandon(cmd: &Cmd, run: &str, reason: &str) -> Result<Exit, CliError> {
    if reason.trim().is_empty() {
        return Err(CliError::usage("the reason is empty"));
    }
    let dir = cmd.find(Some(run))?;
    let (mut journal, mut state) = session::open(&dir)?;
    may_be_abandoned(&state)?;
    let lease = session::lease(cmd, &mut journal, &mut state)?;
    // Another session may have begun something since we looked; from now on none can.
    if let Err(error) = may_be_abandoned(&state) {
        lease.release(&mut journal, cmd.now(), "not abandoned").map_err(super::append_error)?;
        return Err(error);
    }
    let events =
        vec![Event::Abandoned { reason: reason.to_owned() }, Event::Released { why: "abandoned".to_owned() }];
    let ended =
        journal.append(&cmd.by(), Some(lease.epoch()), cmd.now(), events).map_err(super::append_error)?;
    let bound = session::readable(cmd, &dir, &state)?;
    session::tell(cmd, &bound, &mut journal, &state.run, &ended.own)?;
    if cmd.global.json {
        let value = serde_json::json!({ "run": state.run, "abandoned": reason });
        cmd.print(&format!("{value:#}\n"));
    } else {
        cmd.print(&format!("run {} is abandoned; its log stays.\n", state.run));
    }
    Ok(Exit::Done)
}

fn may_be_abandoned(state: &RunState) -> Result<(), CliError> {
    if state.end.is_some() {
        return Err(CliError::usage(format!("run {} has ended already", state.run)));
    }
    let running =
        state.steps.iter().find(|(_, step)| matches!(step.status, Status::Running | Status::RollingBack));
    match running {
        Some((step, _)) => Err(CliError::new(
            Exit::Waiting,
            format!("step `{step}` was begun and is not known to have ended"),
        )
        .hint(format!("`holdpoint resume {}` finds out what became of it; then abandon", state.run))),
        None => Ok(()),
    }
}
