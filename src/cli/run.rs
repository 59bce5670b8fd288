//! `run`: a new run, from the runbook to its first step.

use super::args::{Answers, Book};
use super::error::CliError;
use super::global::Cmd;
use super::session::Session;
use super::{book, session};
use crate::base::Digest;
use crate::engine::machine::Mode;
use crate::engine::{Exit, RunState};
use crate::journal::record::{Event, FORMAT, LeaseHow};
use crate::journal::{Claim, Journal, Lease, Seat, Store};

/// Starts a run and drives it.
pub fn run(cmd: &Cmd, book: &Book, answers: &Answers) -> Result<Exit, CliError> {
    let bound = book::bind(cmd, &book.file, book.env.as_deref(), &book.vars)?;
    let given = session::given(&bound, answers)?;
    let store = cmd.store()?;
    let seat = Seat::here().map_err(CliError::journal)?;
    if let Some(warning) = store.durability_warning() {
        cmd.err(&format!("warning: {warning}\n"));
    }
    let targets = targets_digest(&bound);
    let exclusive = store.exclusive().map_err(CliError::journal)?;
    refuse_second_run(&store, &bound.runbook.name, &targets)?;
    let dir = store.create_run(&bound.runbook.name, &bound.bytes, &cmd.now(), None).map_err(CliError::journal)?;
    let opened = Event::Opened {
        format: FORMAT,
        run: dir.run.clone(),
        name: bound.runbook.name.clone(),
        title: bound.runbook.title.clone(),
        runbook: bound.digest(),
        environment: book.env.clone(),
        vars: public_vars(&bound),
        secrets: bound.values.secrets.iter().cloned().collect(),
        targets,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        host: seat.host.clone(),
        machine: seat.machine.clone(),
    };
    let (mut journal, first) = Journal::create(&dir, &cmd.by(), cmd.now(), opened).map_err(CliError::journal)?;
    let mut state = RunState::fold(&[first]).map_err(CliError::journal)?;
    let claim = Claim { operator: cmd.by(), how: LeaseHow::Start, reason: None, acknowledged: Vec::new() };
    let (lease, taken) = Lease::take(&mut journal, &seat, claim, cmd.now()).map_err(super::lease_error)?;
    taken.own.iter().for_each(|line| state.apply(line));
    drop(exclusive);
    cmd.err(&format!("run {}\n", dir.run));
    let session = Session {
        cmd,
        bound,
        dir,
        journal,
        lease,
        state,
        mode: Mode::Forward,
        given,
        resumed: false,
        rebooted: false,
    };
    session.drive()
}

fn public_vars(bound: &book::Bound) -> std::collections::BTreeMap<String, String> {
    let public = bound.values.values.iter().filter(|(name, _)| !bound.values.secrets.contains(*name));
    public.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Digest of what the runbook's targets are, secrets left out.
fn targets_digest(bound: &book::Bound) -> Digest {
    let text = serde_json::to_string(&bound.runbook.targets).unwrap_or_default();
    Digest::of(bound.redactor().text(&text).as_bytes())
}

/// An operator who starts again instead of resuming would leave the first run's failed step behind.
fn refuse_second_run(
    store: &Store, name: &str, targets: &Digest,
) -> Result<(), CliError> {
    for summary in store.runs().map_err(CliError::journal)? {
        let Ok((_, state)) = session::peek(&summary.dir) else { continue };
        if state.end.is_none() && state.name == name && state.targets == *targets {
            let holder = state.holder.as_ref().map_or("nobody", |holder| holder.by.as_str());
            return Err(CliError::new(
                Exit::Held,
                format!("run {} of this runbook on the same targets is not finished (last held by {holder})", state.run),
            )
            .hint(format!(
                "go on with it: `holdpoint status {0}`, then `resume` or `accept`; or end it: \
                 `holdpoint abandon {0} --reason …`",
                state.run
            )));
        }
    }
    Ok(())
}

