//! `run`: a new run, from the runbook to its first step.

use std::path::Path;

use super::args::{Answers, Book, ReceiptOptions};
use super::book::{self, Bound};
use super::error::CliError;
use super::global::Cmd;
use super::session::{Cast, Session};
use super::{receipts, session};
use crate::base::Digest;
use crate::engine::machine::{Given, Mode};
use crate::engine::people::Terms;
use crate::engine::{Exit, RunState};
use crate::journal::record::{Event, FORMAT, LeaseHow};
use crate::journal::scripts::Scripts;
use crate::journal::second::Author;
use crate::journal::{Claim, Journal, Lease, Seat, Store};
use crate::rehearse::places;
use crate::runbook::Runbook;
use crate::world::host;

/// Starts a run and drives it.
pub fn run(cmd: &Cmd, book: &Book, answers: &Answers, rehearsed: &ReceiptOptions) -> Result<Exit, CliError> {
    let bound = book::work(cmd, &book.file, book.env.as_deref(), &book.vars)?;
    let given = session::given(&bound, answers, &Mode::Forward)?;
    if let Some((name, place)) =
        book.env.as_ref().and_then(|name| Some((name, bound.runbook.environments.get(name)?)))
    {
        refuse_other_host(name, &place.hosts)?;
    }
    let receipt = receipts::demanded(cmd, &bound, book, rehearsed)?;
    super::staging::refuse_round_about(cmd, &bound, book.env.as_deref())?;
    let author = author(cmd, &bound, book)?;
    let (environment, scripts) = (book.env.clone(), receipts::scripts(cmd, &bound, book)?);
    let opening = Opening { environment, receipt, scripts, author, given, cast: None };
    open(cmd, bound, opening)?.drive()
}

/// How a run is opened.
pub struct Opening {
    /// Where.
    pub environment: Option<String>,
    /// Digest of the receipt that was asked for.
    pub receipt: Option<Digest>,
    /// The files beside the runbook that its steps call.
    pub scripts: Scripts,
    /// Who last changed the runbook, where that matters.
    pub author: Option<Author>,
    /// Answers from the command line.
    pub given: Given,
    /// Who takes part in a rehearsal.
    pub cast: Option<Cast>,
}

/// Opens a new run, and takes its lease.
pub fn open<'a>(cmd: &'a Cmd, bound: Bound, opening: Opening) -> Result<Session<'a>, CliError> {
    let store = cmd.store()?;
    let seat = Seat::here().map_err(CliError::journal)?;
    if let Some(warning) = store.durability_warning() {
        cmd.err(&format!("warning: {warning}\n"));
    }
    let targets = targets_digest(&bound);
    refuse_doomed_store(&store, &bound.runbook)?;
    // Held until the run is there for everybody to see: of two people who start at once, one is told of the other's run.
    let exclusive = store.exclusive().map_err(CliError::journal)?;
    refuse_second_run(&store, &bound.runbook.name, &targets)?;
    let dir =
        store.create_run(&bound.runbook.name, &bound.bytes, &cmd.now(), None).map_err(CliError::journal)?;
    let opened = Event::Opened {
        format: FORMAT,
        run: dir.run.clone(),
        name: bound.runbook.name.clone(),
        title: bound.runbook.title.clone(),
        runbook: bound.digest(),
        environment: opening.environment,
        vars: public_vars(&bound),
        secrets: bound.values.secrets.iter().cloned().collect(),
        targets,
        rehearsal: bound.rehearsed_in.is_some(),
        receipt: opening.receipt,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        facts: host::facts(),
        host: seat.host.clone(),
        machine: seat.machine.clone(),
        scripts: opening.scripts,
        author: opening.author,
    };
    let (mut journal, first) =
        Journal::create(&dir, &cmd.by(), cmd.now(), opened).map_err(CliError::journal)?;
    let mut state = RunState::fold(&[first]).map_err(CliError::journal)?;
    let signature = super::resume::signed(cmd, &journal, LeaseHow::Start, &[])?;
    let (operator, how, acknowledged) = (cmd.by(), LeaseHow::Start, Vec::new());
    let claim = Claim { operator, how, reason: None, acknowledged, signature };
    let (lease, taken) = Lease::take(&mut journal, &seat, claim, cmd.now()).map_err(super::lease_error)?;
    taken.own.iter().for_each(|line| state.apply(line));
    drop(exclusive);
    cmd.err(&format!("run {}\n", dir.run));
    let (mode, given, cast, faults) = (Mode::Forward, opening.given, opening.cast, Default::default());
    Ok(Session { cmd, bound, dir, journal, lease, state, mode, given, resumed: false, cast, faults })
}

/// Who last changed the runbook, where they may not approve what it destroys.
fn author(cmd: &Cmd, bound: &book::Bound, book: &Book) -> Result<Option<Author>, CliError> {
    let terms = Terms::of(&bound.runbook, book.env.as_deref());
    let approved = bound.runbook.steps.iter().any(|step| {
        [false, true].into_iter().any(|undo| terms.wanted(&bound.runbook, &step.key(), undo) > 0)
    });
    if !terms.protected || !approved {
        return Ok(None);
    }
    let author = super::origin::author(&book.file, &*cmd.world.processes)?;
    if author.names.is_empty() {
        let how = &author.how;
        cmd.err(&format!(
            "warning: nobody knows who last changed the runbook ({how}); only signed approvals will count\n"
        ));
    }
    Ok(Some(author))
}

/// The variables that may be on record.
pub fn public_vars(bound: &Bound) -> std::collections::BTreeMap<String, String> {
    let public = bound.values.values.iter().filter(|(name, _)| !bound.values.secrets.contains(*name));
    public.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Digest of what the runbook's targets are, secrets left out.
pub fn targets_digest(bound: &Bound) -> Digest {
    let text = serde_json::to_string(&bound.runbook.targets).unwrap_or_default();
    Digest::of(bound.redactor().text(&text).as_bytes())
}

/// Where an environment names its hosts, local addresses mean something on those alone.
pub fn refuse_other_host(environment: &str, hosts: &[String]) -> Result<(), CliError> {
    let (name, machine) = (host::hostname(), host::machine_id());
    if places::is_here(hosts, &name, &machine) {
        return Ok(());
    }
    Err(CliError::new(
        Exit::Held,
        format!("`{environment}` is worked on from {}; this is {name} (machine {machine})", hosts.join(", ")),
    )
    .hint("log in there, or choose this machine's environment with --env"))
}

/// An operator who starts again instead of resuming would leave the first run's failed step behind.
fn refuse_second_run(store: &Store, name: &str, targets: &Digest) -> Result<(), CliError> {
    for summary in store.runs().map_err(CliError::journal)? {
        let state = match session::peek(&summary.dir) {
            Ok((_, state)) => state,
            // A folder without a journal is of a run that never began.
            Err(_) if !summary.dir.journal().exists() => continue,
            Err(error) if summary.dir.run.as_str().starts_with(&format!("{name}-")) => {
                let message =
                    format!("nobody can tell whether run {} is finished: {}", summary.dir.run, error.message);
                return Err(CliError::journal(message).hint(format!(
                    "find out what became of it (`holdpoint log {}`); once nothing of it is under way, move its folder \
                     out of the store",
                    summary.dir.run
                )));
            }
            Err(_) => continue,
        };
        if state.end.is_none() && state.name == name && state.targets == *targets {
            let holder = state.holder.as_ref().map_or("nobody", |holder| holder.by.as_str());
            return Err(CliError::new(
                Exit::Held,
                format!(
                    "run {} of this runbook on the same targets is not finished (last held by {holder})",
                    state.run
                ),
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

/// A store in what the runbook destroys, or in one of its targets, could not tell afterwards what happened. What only the
/// target itself can tell (tablespaces, a cluster's directory) is measured again in front of the destruction.
fn refuse_doomed_store(store: &Store, runbook: &Runbook) -> Result<(), CliError> {
    let root = store.root().canonicalize().unwrap_or_else(|_| store.root().to_owned());
    let doomed = runbook.steps.iter().flat_map(|step| {
        let paths = step.destroys.as_ref().map(|destroys| destroys.paths.clone()).unwrap_or_default();
        paths.into_iter().map(|path| (format!("step `{}` destroys", step.id), path))
    });
    let targets = runbook.targets.iter().filter_map(|(name, target)| {
        target.data_directory.clone().map(|path| (format!("is the data directory of target `{name}`"), path))
    });
    for (what, path) in doomed.chain(targets) {
        let real = Path::new(&path).canonicalize().unwrap_or_else(|_| Path::new(&path).to_owned());
        if root.starts_with(&real) {
            return Err(CliError::usage(format!(
                "the store {} lies in {path}, which {what}",
                root.display()
            ))
            .hint("keep the store elsewhere: `--store DIR`"));
        }
    }
    Ok(())
}
