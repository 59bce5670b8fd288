//! The walk-down: everything that should hold now is measured again, before anybody takes anything over.

use super::book::Bound;
use super::error::CliError;
use super::global::Cmd;
use super::session;
use crate::check::{Evidence, measure};
use crate::engine::state::Status;
use crate::engine::{Plan, RunState};
use crate::journal::seat::Fate;
use crate::journal::{RunDir, Seat};
use crate::report::standing::Around;
use crate::runbook::graph::Section;

/// Measures what finished steps left to hold, and the postconditions of the step that stands next if it was begun.
pub fn down(cmd: &Cmd, bound: &Bound, dir: &RunDir, state: &RunState) -> Result<Vec<Evidence>, CliError> {
    let plan = Plan::new(bound.runbook.clone());
    let steps = &bound.runbook.steps;
    let frontier = steps.iter().position(|s| state.status(&s.key()) != Status::Done).unwrap_or(steps.len());
    let status = steps.get(frontier).map(|s| state.status(&s.key())).unwrap_or_default();
    let begun = !matches!(status, Status::Pending | Status::RolledBack);
    let mut checks: Vec<_> =
        plan.holding(frontier, begun).into_iter().map(|(id, spec, _)| (id, spec)).collect();
    if let Some(step) = steps.get(frontier).filter(|_| begun && status != Status::Running) {
        checks.extend(plan.checks(&step.key(), Section::Post));
    }
    let cx = session::context(cmd, bound, Some(dir));
    let runtime = session::runtime()?;
    let borrowed: Vec<_> = checks.iter().map(|(id, spec)| (id.clone(), spec)).collect();
    let evidence = runtime.block_on(measure::measure_all(&borrowed, &cx))?;
    Ok(evidence)
}

/// Whether the holder's process is alive; `None` when nobody can tell (another machine, a hidden process).
pub fn holder_alive(state: &RunState) -> Option<bool> {
    let holder = state.holder.as_ref()?;
    if holder.released {
        return Some(false);
    }
    let seat = Seat::here().ok().filter(|seat| seat.machine == state.machine)?;
    match seat.fate(holder.pid, holder.pid_start, &holder.boot_id) {
        Fate::Alive => Some(true),
        Fate::Dead(_) => Some(false),
        Fate::Unknown(_) => None,
    }
}

/// What the journal does not say and a screen wants to know.
pub fn around(cmd: &Cmd, alive: Option<bool>) -> Around {
    Around {
        now: cmd.now(),
        holder_alive: alive,
        me: Some(cmd.by()),
        signers: super::signing::signers(cmd)(),
        boot: crate::world::host::boot_id(),
    }
}
