//! The walk-down: everything that should hold now is measured again, before anybody takes anything over.

use super::book::Bound;
use super::error::CliError;
use super::global::Cmd;
use super::session;
use crate::check::{Evidence, measure};
use crate::engine::state::Status;
use crate::engine::{Plan, RunState};
use crate::journal::store::RunDir;
use crate::report::standing::Around;
use crate::runbook::graph::Section;
use crate::world::host;

/// Measures what finished steps left to hold, and the postconditions of the step that stands next if it was begun.
pub fn down(cmd: &Cmd, bound: &Bound, dir: &RunDir, state: &RunState) -> Result<Vec<Evidence>, CliError> {
    let plan = Plan::new(bound.runbook.clone());
    let steps = &bound.runbook.steps;
    let frontier = steps.iter().position(|s| state.status(&s.key()) != Status::Done).unwrap_or(steps.len());
    let mut checks: Vec<_> = plan.standing(frontier).into_iter().map(|(id, spec, _)| (id, spec)).collect();
    if let Some(step) = steps.get(frontier)
        && !matches!(state.status(&step.key()), Status::Pending | Status::Running | Status::RolledBack)
    {
        checks.extend(plan.checks(&step.key(), Section::Post));
    }
    let cx = session::context(cmd, bound, Some(dir));
    let runtime = session::runtime()?;
    let borrowed: Vec<_> = checks.iter().map(|(id, spec)| (id.clone(), spec)).collect();
    let evidence = runtime.block_on(measure::measure_all(&borrowed, &cx));
    runtime.shutdown_background();
    Ok(evidence)
}

/// Whether the holder's process is alive; `None` when it ran on another machine or left cleanly.
pub fn holder_alive(state: &RunState) -> Option<bool> {
    let holder = state.holder.as_ref()?;
    if holder.released {
        return Some(false);
    }
    if host::machine_id().ok()? != state.machine {
        return None;
    }
    if host::boot_id().ok()? != holder.boot_id {
        return Some(false);
    }
    Some(host::start_ticks(holder.pid) == Some(holder.pid_start))
}

/// What the journal does not say and a screen wants to know.
pub fn around(cmd: &Cmd, _: &RunState, alive: Option<bool>) -> Around {
    Around { now: cmd.now(), holder_alive: alive, me: Some(cmd.by()) }
}
