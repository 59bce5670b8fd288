//! `waive`: a named person goes on without one check, for a while and with a reason; or takes that back.

use clap::Args;
use jiff::Timestamp;

use super::error::CliError;
use super::global::Cmd;
use super::{approve, session, signing};
use crate::base::{CheckId, Span};
use crate::check::Verdict;
use crate::engine::people::{self, Terms};
use crate::engine::second::{Said, Waiver};
use crate::engine::{Exit, Plan, RunState};
use crate::gate::Clock;
use crate::gate::waivers::{LONGEST, MOST};
use crate::journal::record::Event;
use crate::world::host;

/// What is decided about a check.
#[derive(Debug, Args, Clone, Default)]
pub struct Waiving {
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Until when: a date as in 2026-12-01T06:00:00Z, or a span from now as in 4h; at most 30d.
    #[arg(long, value_name = "WHEN", required_unless_present = "withdraw", conflicts_with = "withdraw")]
    pub until: Option<String>,
    /// Take a waiver of this check back.
    #[arg(long)]
    pub withdraw: bool,
}

/// Waives a check, or takes a waiver back.
pub fn waive(cmd: &Cmd, run: &str, check: &str, how: &Waiving) -> Result<Exit, CliError> {
    let dir = cmd.find(Some(run))?;
    let (mut journal, state) = session::open(&dir)?;
    if state.end.is_some() {
        return Err(CliError::usage(format!("run {} has ended", state.run)));
    }
    if how.reason.trim().is_empty() {
        return Err(CliError::usage("the reason is empty"));
    }
    let bound = session::readable(cmd, &dir, &state)?;
    let check = CheckId::from(check);
    let terms = Terms::of(&bound.runbook, state.environment.as_deref());
    if terms.signed {
        signing::demanded(cmd, "a waiver")?;
    }
    let reason = how.reason.clone();
    let mut event = if how.withdraw {
        if state.second.waiver(&check).is_none() {
            return Err(CliError::usage(format!("nobody has waived {check}")));
        }
        Event::WaiverWithdrawn { check: check.clone(), reason, signature: None }
    } else {
        let plan = Plan::new(bound.runbook.clone());
        let spec = plan.find(&check).map(|(_, spec)| spec);
        let Some(spec) = spec else { return Err(unknown(&bound.runbook, &check)) };
        if spec.common.advisory {
            return Err(CliError::usage(format!(
                "{check} is advisory: it stops nothing, with or without it"
            )));
        }
        let (verdict, seen) = last(&state, &check)?;
        many(&state, &check)?;
        let until = until(cmd, how.until.as_deref().unwrap_or_default())?;
        let boot = host::boot_id();
        Event::Waived { check: check.clone(), reason, until, boot, verdict, seen, signature: None }
    };
    signing::sign(cmd, &state.run, &journal.head(), &mut event)?;
    if !how.withdraw {
        refuse(cmd, &state, &bound.runbook, &check, &event)?;
    }
    journal.append(&cmd.by(), None, cmd.now(), vec![event.clone()]).map_err(super::append_error)?;
    if cmd.global.json {
        let value = serde_json::json!({ "run": state.run, "check": check, "event": event });
        cmd.print(&format!("{}\n", crate::report::json::visible(&format!("{value:#}"))));
        return Ok(Exit::Done);
    }
    cmd.print(&match event {
        Event::Waived { until, .. } => format!(
            "waived: {check} of {} until {until:.0}\nIt is measured and shown all the same. The run cannot be complete \
             while it is waived.\n",
            state.run
        ),
        _ => format!("the waiver of {check} of {} is taken back\n", state.run),
    });
    Ok(Exit::Done)
}

/// What the check last said; a check that passes, or that nobody measured, is not waived.
fn last(state: &RunState, check: &CheckId) -> Result<(Verdict, String), CliError> {
    let Some(seen) = state.last.get(check) else {
        return Err(CliError::usage(format!("{check} was not measured in this run yet"))
            .hint("only what was seen not to pass can be decided about"));
    };
    match seen.verdict() {
        Verdict::Pass => Err(CliError::usage(format!("{check} passes: {}", seen.outcome.observed))),
        verdict => Ok((verdict, crate::base::text::neutral(&seen.outcome.observed))),
    }
}

fn many(state: &RunState, check: &CheckId) -> Result<(), CliError> {
    let others: Vec<&str> =
        state.second.waivers.iter().map(|w| w.check.as_str()).filter(|id| *id != check.as_str()).collect();
    if others.len() < MOST {
        return Ok(());
    }
    Err(CliError::new(
        Exit::Held,
        format!("{MOST} checks of this run are waived already: {}", others.join(", ")),
    )
    .hint("put one of them right first; what needs more exceptions than that needs another plan"))
}

/// A date, or a span from now.
fn until(cmd: &Cmd, text: &str) -> Result<Timestamp, CliError> {
    let wrong = |why: String| CliError::usage(format!("--until: {why}"));
    let until = match text.trim().parse::<Timestamp>() {
        Ok(until) => until,
        Err(_) => {
            let span: Span = text.parse().map_err(|_| {
                wrong(format!("`{text}` is neither a date as in 2026-12-01T06:00:00Z nor a span as in 4h"))
            })?;
            if span.0 > LONGEST {
                return Err(wrong(format!("a check is waived for at most {}", Span(LONGEST))));
            }
            approve::later(cmd, span)?
        }
    };
    let ahead = until.as_second() - cmd.now().wall.as_second();
    if ahead <= 0 {
        return Err(wrong(format!("{until:.0} is over")));
    }
    if ahead.unsigned_abs() > LONGEST.as_secs() {
        return Err(wrong(format!("a check is waived for at most {}", Span(LONGEST))));
    }
    Ok(until)
}

/// Why this waiver would not count, if it would not.
fn refuse(
    cmd: &Cmd,
    state: &RunState,
    runbook: &crate::runbook::Runbook,
    check: &CheckId,
    event: &Event,
) -> Result<(), CliError> {
    let signers = signing::signers(cmd)();
    let now = cmd.now();
    let mut then = state.clone();
    let said = Said { by: cmd.by(), at: now, event: event.clone(), used: None, copied: false };
    then.second.waivers = vec![Waiver { check: check.clone(), said }];
    let terms = Terms::of(runbook, state.environment.as_deref());
    let operator = people::operator(state, &signers);
    let boot = host::boot_id();
    let clock = Clock { now: &now, session: &now, boot: &boot, newest: state.second.newest };
    let waived = people::waivers(runbook, &then, &signers);
    match waived.first().and_then(|waived| waived.objection(&operator, terms.signed, &clock)) {
        None => Ok(()),
        Some(why) => Err(CliError::new(Exit::Held, format!("{check} is not waived: {why}"))
            .hint("nothing went on record; put right what the check saw")),
    }
}

fn unknown(runbook: &crate::runbook::Runbook, check: &CheckId) -> CliError {
    use crate::runbook::graph::{Section, check_ids};
    let all = runbook.steps.iter().flat_map(|step| {
        Section::ALL
            .iter()
            .flat_map(|section| check_ids(step, *section))
            .map(|(id, _)| id.0)
            .collect::<Vec<_>>()
    });
    let all: Vec<String> = all.collect();
    let error = CliError::usage(format!("the runbook has no check {check}"));
    match crate::base::text::nearest(check.as_str(), all.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`holdpoint status` lists checks by their ids"),
    }
}
