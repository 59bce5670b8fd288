//! Is it staging? Targets are measured and compared with everything protected, before a rehearsal begins.

use super::error::CliError;
use super::global::Cmd;
use super::{book, run, session};
use crate::engine::Exit;
use crate::journal::record::Event;
use crate::rehearse::apart::{self, Apart, Protected};
use crate::rehearse::places::{self, Place};
use crate::runbook::model::Environment;
use crate::runbook::vars;
use crate::ui::refusal;
use crate::world::host;

/// What is known of the place before the first step.
pub struct Staging {
    /// Its targets.
    pub place: Place,
    /// How they were compared.
    pub apart: Apart,
    /// Proofs of its own.
    pub proofs: usize,
}

/// Proves that the targets are staging's: they are measured and compared with everything protected.
pub fn prove(cmd: &Cmd, bound: &book::Bound, environment: &str) -> Result<Staging, CliError> {
    let all = &bound.runbook.environments;
    let hosts = all.get(environment).map(|place| place.hosts.clone()).unwrap_or_default();
    run::refuse_other_host(environment, &hosts)?;
    let (pinned, unread) = pinned(cmd)?;
    let (staging, others) = places(bound, environment, |place| place.protected)?;
    let proofs = all.get(environment).map_or(0, |place| place.proof.len());
    let mut apart = apart::judge(&staging, &others, pinned, proofs);
    apart.weaknesses.extend(unread);
    // An address as it is written may hold a password.
    let secrets = bound.redactor();
    for blocker in &mut apart.blockers {
        blocker.observed = secrets.text(&blocker.observed);
    }
    if apart.blockers.is_empty() {
        return Ok(Staging { place: staging, apart, proofs });
    }
    cmd.err(&refusal::refusal("The rehearsal does not begin", &apart.blockers, &cmd.err_style));
    Err(CliError::new(
        Exit::Held,
        format!("the targets of `{environment}` are not proved to be staging's own"),
    ))
}

/// This environment's targets, and those of the environments that are asked for, measured as far as they can be.
fn places(
    bound: &book::Bound,
    environment: &str,
    asked: impl Fn(&Environment) -> bool,
) -> Result<(Place, Vec<Place>), CliError> {
    let (hostname, machine) = (host::hostname(), host::machine_id());
    let mut books = Vec::new();
    for (name, place) in bound.runbook.environments.iter().filter(|(_, place)| asked(place)) {
        let mut values = vars::known(&bound.document, name);
        // A password is needed to ask who is there; nothing else of this process is that environment's.
        let secrets = bound.values.secrets.iter();
        values.values.extend(secrets.filter_map(|s| Some((s.clone(), bound.values.get(s)?.to_owned()))));
        let book = bound.document.bind_partly(&values).map_err(|problems| {
            let why = problems.into_iter().next().map(|problem| problem.message).unwrap_or_default();
            CliError::new(
                Exit::Held,
                format!("what `{name}` works on cannot be compared with: {}", bound.redactor().text(&why)),
            )
            .hint(format!("give the variables of `{name}` values that can be used"))
        })?;
        books.push((name.clone(), book, places::is_here(&place.hosts, &hostname, &machine)));
    }
    session::runtime()?.block_on(async {
        let others = books.iter().map(|(name, book, here)| places::look(name, book, *here));
        futures::join!(places::look(environment, &bound.runbook, true), futures::future::join_all(others))
    })
}

/// Refuses a run outside of a protected environment on that environment's targets, where that one asks for more (a
/// rehearsal, approvals, signatures, a window): another name, or none, must not go round that.
pub fn refuse_round_about(cmd: &Cmd, bound: &book::Bound, environment: Option<&str>) -> Result<(), CliError> {
    let all = &bound.runbook.environments;
    let chosen = environment.and_then(|name| all.get(name)).cloned().unwrap_or_default();
    let asks = |place: &Environment| {
        place.protected
            && ((place.rehearsal.is_some() && chosen.rehearsal.is_none())
                || place.approvals > chosen.approvals
                || (place.signed && !chosen.signed)
                || (place.change_window.is_some() && chosen.change_window.is_none()))
    };
    if !all.values().any(asks) {
        return Ok(());
    }
    let (mine, others) = places(bound, environment.unwrap_or("no environment"), asks)?;
    // As if it had a proof of its own: what cannot be compared is no reason here, only what is one and the same.
    let found = apart::judge(&mine, &others, Vec::new(), 1).blockers;
    let Some(first) = found.first() else { return Ok(()) };
    let names: Vec<String> = others.iter().map(|other| format!("`{}`", other.environment)).collect();
    let seen = bound.redactor().text(&first.observed);
    let place = environment.map_or("without an environment".to_owned(), |name| format!("in `{name}`"));
    cmd.err(&format!("{}: {}\n", first.subject, crate::report::words::flat(&seen)));
    Err(CliError::new(Exit::Held, format!("this run, {place}, would work on what {} works on", names.join(", "))).hint(
        "start it there (--env), with what that environment asks for; where another machine has the same addresses, name \
         the machines of each with `hosts`",
    ))
}

/// What runs in protected environments worked on, as this store has it on record; and what of it cannot be read.
fn pinned(cmd: &Cmd) -> Result<(Vec<Protected>, Vec<String>), CliError> {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for summary in cmd.store()?.runs().map_err(CliError::journal)? {
        if !summary.dir.journal().exists() {
            continue;
        }
        let read = session::peek(&summary.dir).and_then(|(lines, state)| {
            let bound = session::readable(cmd, &summary.dir, &state)?;
            Ok((lines, state, bound))
        });
        let Ok((lines, state, bound)) = read else {
            unread.push(format!(
                "run {} cannot be read: what it worked on was not compared with",
                summary.dir.run
            ));
            continue;
        };
        let Some(environment) = state.environment.filter(|_| !state.rehearsal) else { continue };
        if !bound.runbook.environments.get(&environment).is_some_and(|place| place.protected) {
            continue;
        }
        let pins = lines.into_iter().filter_map(|line| match line.event {
            Event::Pinned { target, identity } => Some((target, identity)),
            _ => None,
        });
        all.extend(pins.map(|(target, identity)| Protected {
            what: format!("`{target}` of run {} in `{environment}`", state.run),
            identity,
        }));
    }
    Ok((all, unread))
}
