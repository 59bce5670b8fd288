//! `resume`, `accept`, `handoff`, `rollback`: going on with a run.

use std::collections::BTreeSet;

use super::args::Answers;
use super::error::CliError;
use super::global::Cmd;
use super::session::{self, Session};
use super::{book, signing, walk};
use crate::base::StepId;
use crate::engine::machine::{Given, Mode};
use crate::engine::people::Terms;
use crate::engine::{Exit, RunState};
use crate::journal::record::{Event, LeaseHow};
use crate::journal::second::Signature;
use crate::journal::{Appended, Claim, Journal, Lease, RunDir, Seat};
use crate::report::{commands, json, standing, walkdown};
use crate::ui::{briefing, handover, prompt};

/// Goes on with one's own run.
pub fn resume(
    cmd: &Cmd,
    run: Option<&str>,
    vars: &[(String, String)],
    answers: &Answers,
) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    let (journal, state) = open_unfinished(&dir)?;
    let bound = book::of_run(cmd, &dir.path, &state, Some(vars))?;
    let given = session::given(&bound, answers, &Mode::Forward)?;
    let taking = Taking { how: LeaseHow::Resume, reason: None, acknowledged: Vec::new() };
    take_and_drive(cmd, dir, journal, state, bound, Mode::Forward, given, taking)
}

/// Undoes steps, newest first.
pub fn rollback(
    cmd: &Cmd,
    run: &str,
    to: Option<&str>,
    vars: &[(String, String)],
    answers: &Answers,
) -> Result<Exit, CliError> {
    let dir = cmd.find(Some(run))?;
    let (journal, state) = open_unfinished(&dir)?;
    let bound = book::of_run(cmd, &dir.path, &state, Some(vars))?;
    if let Some(step) = to
        && !bound.runbook.steps.iter().any(|s| s.id == step)
    {
        return Err(CliError::usage(format!("the runbook has no step `{step}`")));
    }
    let mode = Mode::Back { to: to.map(StepId::from) };
    let given = session::given(&bound, answers, &mode)?;
    let taking = Taking { how: LeaseHow::Resume, reason: None, acknowledged: Vec::new() };
    take_and_drive(cmd, dir, journal, state, bound, mode, given, taking)
}

/// Offers the run to the next operator.
pub fn handoff(cmd: &Cmd, run: Option<&str>, note: &str, to: Option<&str>) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    let (mut journal, state) = open_unfinished(&dir)?;
    if note.trim().is_empty() {
        return Err(CliError::usage("the note is empty").hint("say what the next operator should know"));
    }
    if let Some(holder) = state.holder.as_ref().filter(|holder| holder.by != cmd.by()) {
        return Err(CliError::new(
            Exit::Busy,
            format!("{} holds the run, and only they can offer it", holder.by),
        )
        .hint("if they are gone, take over with `holdpoint accept --take-over --reason …`"));
    }
    let mut event = Event::Offered { to: to.map(str::to_owned), note: note.to_owned(), signature: None };
    let runbook = session::readable(cmd, &dir, &state)?.runbook;
    if Terms::of(&runbook, state.environment.as_deref()).signed {
        signing::demanded(cmd, "a handoff")?;
    }
    signing::sign(cmd, &state.run, &journal.head(), &mut event)?;
    let offered = journal.append(&cmd.by(), None, cmd.now(), vec![event]).map_err(super::append_error)?;
    let (_, state) = session::peek(&dir)?;
    let bound = session::readable(cmd, &dir, &state)?;
    let head = journal.head();
    super::session::tell(cmd, &bound, &mut journal, &state.run, &offered.own)?;
    let around = walk::around(cmd, walk::holder_alive(&state));
    if cmd.global.json {
        let offered =
            serde_json::json!({ "run": state.run, "head": head, "accept": commands::accept(&state.run) });
        cmd.print(&format!("{offered:#}\n"));
    } else {
        let standing = standing::standing(&bound.runbook, &state, &around);
        cmd.print(&handover::offered(&standing, &head, &cmd.style));
    }
    Ok(Exit::Done)
}

/// Takes a run over: briefing, walk-down, every open point acknowledged; only then does the lease change hands.
pub fn accept(
    cmd: &Cmd,
    run: Option<&str>,
    acknowledge: &[String],
    take_over: bool,
    vars: &[(String, String)],
    answers: &Answers,
) -> Result<Exit, CliError> {
    let dir = cmd.find(run)?;
    let (journal, state) = open_unfinished(&dir)?;
    may_accept(cmd, &state, take_over)?;
    let bound = book::of_run(cmd, &dir.path, &state, Some(vars))?;
    let given = session::given(&bound, answers, &Mode::Forward)?;
    if Terms::of(&bound.runbook, state.environment.as_deref()).signed {
        signing::demanded(cmd, "taking a run over")?;
    }
    let alive = walk::holder_alive(&state);
    if take_over && alive == Some(true) {
        let holder = state.holder.as_ref().map(|h| h.by.clone()).unwrap_or_default();
        return Err(CliError::new(
            Exit::Busy,
            format!("{holder} is still at work: the session's process lives"),
        )
        .hint("ask for a handoff; a living session is never taken over"));
    }
    let standing = standing::standing(&bound.runbook, &state, &walk::around(cmd, alive));
    if !cmd.global.json {
        cmd.print(&briefing::briefing(&standing, &cmd.now(), &cmd.style));
    }
    let present = prompt::present(cmd.global.non_interactive) && !cmd.global.json;
    let walked = walk::down(cmd, &bound, &dir, &state)?;
    let changes = walkdown::changes(&state.last, &walked);
    let points = walkdown::open_points(&state, &walked);
    if cmd.global.json {
        cmd.print(&json::handoff(&standing, &changes, &points));
    } else {
        cmd.print(&briefing::walkdown(&changes, &cmd.style));
        if !present {
            cmd.print(&briefing::points(&points, &cmd.style));
        }
    }
    let known: BTreeSet<&str> = points.iter().map(|point| point.id.as_str()).collect();
    if let Some(unknown) = acknowledge.iter().find(|id| !known.contains(id.as_str())) {
        return Err(CliError::usage(format!("`{unknown}` is not an open point"))
            .hint(format!("open points: {}", known.iter().copied().collect::<Vec<_>>().join(", "))));
    }
    let mut acknowledged = Vec::new();
    let all = points.len();
    for (n, point) in points.iter().enumerate() {
        if acknowledge.contains(&point.id)
            || (present && handover::acknowledge(point, (n + 1, all), &cmd.err_style))
        {
            acknowledged.push(format!("{}: {}", point.id, point.text));
        } else if present {
            cmd.err("\nNothing was taken over; the run is as it was.\n");
            cmd.err(&handover::next(&cmd.again(&commands::accept(&state.run), true), "", &cmd.err_style));
            return Ok(Exit::Waiting);
        }
    }
    if acknowledged.len() < points.len() {
        if !cmd.global.json {
            cmd.err(&handover::unacknowledged(&points, acknowledge, &state.run, take_over, &cmd.err_style));
        }
        return Ok(Exit::Waiting);
    }
    let how = if take_over { LeaseHow::TakeOver } else { LeaseHow::Accept };
    let secrets = bound.redactor();
    let reason = answers.reason.as_ref().filter(|_| take_over).map(|reason| secrets.text(reason));
    let taking = Taking { how, reason, acknowledged };
    if present || !given.confirm.is_empty() || !given.decide.is_empty() {
        return take_and_drive(cmd, dir, journal, state, bound, Mode::Forward, given, taking);
    }
    take_only(cmd, journal, taking)
}

fn may_accept(cmd: &Cmd, state: &RunState, take_over: bool) -> Result<(), CliError> {
    match &state.offer {
        _ if take_over => Ok(()),
        Some(offer) => match &offer.to {
            Some(name) if *name != cmd.operator && *name != cmd.by() => Err(CliError::new(
                Exit::Busy,
                format!("the run is offered to {name}, not to {}", cmd.operator),
            )),
            _ => Ok(()),
        },
        None => {
            let holder = state.holder.as_ref().map_or("somebody", |h| h.by.as_str());
            Err(CliError::new(Exit::Busy, format!("{holder} holds the run and has not offered it"))
                .hint("ask for `holdpoint handoff`; if they are gone: `accept --take-over --reason …`"))
        }
    }
}

struct Taking {
    how: LeaseHow,
    reason: Option<String>,
    acknowledged: Vec<String>,
}

/// Takes the lease and leaves it at that: without a terminal, accepting is one act and driving another.
fn take_only(cmd: &Cmd, mut journal: Journal, taking: Taking) -> Result<Exit, CliError> {
    let (lease, _) = take(cmd, &mut journal, taking)?;
    lease.release(&mut journal, cmd.now(), "accepted without a terminal").map_err(super::append_error)?;
    let run = journal.dir().run.clone();
    cmd.print(&format!("accepted: {run} is yours\n"));
    cmd.print(&handover::next(&cmd.again(&commands::resume(&run), true), "", &cmd.style));
    Ok(Exit::Done)
}

/// Who takes the lease signs it where they have given a key.
pub fn signed(
    cmd: &Cmd,
    journal: &Journal,
    how: LeaseHow,
    acknowledged: &[String],
) -> Result<Option<Signature>, CliError> {
    let mut event = Event::Lease {
        operator: cmd.by(),
        how,
        pid: 0,
        pid_start: 0,
        boot_id: String::new(),
        reason: None,
        acknowledged: acknowledged.to_vec(),
        signature: None,
    };
    signing::sign(cmd, &journal.dir().run.clone(), &journal.head(), &mut event)?;
    Ok(event.signature().cloned())
}

fn take(cmd: &Cmd, journal: &mut Journal, taking: Taking) -> Result<(Lease, Appended), CliError> {
    let Taking { how, reason, acknowledged } = taking;
    let seat = Seat::here().map_err(CliError::journal)?;
    let signature = signed(cmd, journal, how, &acknowledged)?;
    let claim = Claim { operator: cmd.by(), how, reason, acknowledged, signature };
    Lease::take(journal, &seat, claim, cmd.now()).map_err(super::lease_error)
}

#[allow(clippy::too_many_arguments)]
fn take_and_drive(
    cmd: &Cmd,
    dir: RunDir,
    mut journal: Journal,
    mut state: RunState,
    bound: book::Bound,
    mode: Mode,
    given: Given,
    taking: Taking,
) -> Result<Exit, CliError> {
    let how = taking.how;
    let (lease, taken) = take(cmd, &mut journal, taking)?;
    super::trials::settle(cmd, &bound, &dir)?;
    taken.foreign.iter().chain(&taken.own).for_each(|line| state.apply(line));
    if matches!(how, LeaseHow::Accept | LeaseHow::TakeOver) {
        cmd.err(&format!("accepted: {} is yours\n", state.run));
    }
    let (cast, faults) = (None, Default::default());
    let session =
        Session { cmd, bound, dir, journal, lease, state, mode, given, resumed: true, cast, faults };
    session.drive()
}

/// Opens a run that can still be driven.
fn open_unfinished(dir: &RunDir) -> Result<(Journal, RunState), CliError> {
    let (journal, state) = session::open(dir)?;
    match &state.end {
        None => Ok((journal, state)),
        Some(_) => Err(CliError::usage(format!("run {} has ended", state.run))
            .hint(format!("`{}` shows what happened", commands::log(&state.run)))),
    }
}
