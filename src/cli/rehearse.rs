//! `rehearse`: a run against staging with nobody there, from the proof of its targets to what it leaves behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args::{Book, RehearseOptions};
use super::error::CliError;
use super::faulted::{self, Baseline, Bounds};
use super::global::Cmd;
use super::session::{self, Cast, Session};
use super::trials::Trials;
use super::{book, run};
use crate::base::text::neutral;
use crate::engine::machine::Given;
use crate::engine::state::Status;
use crate::engine::{Exit, RunState, work};
use crate::journal::record::{Event, LeaseHow};
use crate::journal::{Claim, Lease, RunDir, Seat};
use crate::rehearse::Rehearser;
use crate::rehearse::operator::BeforeDestruction;
use crate::report::junit::cases;
use crate::supervise;

/// The longest that a command of an interrupted rehearsal is waited for once it was told to stop.
const STOPPING: Duration = Duration::from_secs(20);

/// Faults that are tried when nothing is said.
const FAULTS: usize = 200;

/// A runbook whose targets are proved to be a rehearsal's.
pub struct Ready {
    /// The runbook as it is rehearsed.
    pub bound: book::Bound,
    /// Where.
    pub environment: String,
}

/// Reads the runbook, and proves that it may be rehearsed there. Every way to a rehearsal goes through here.
pub fn ready(cmd: &Cmd, book: &Book) -> Result<Ready, CliError> {
    let Some(environment) = book.env.clone() else {
        return Err(CliError::usage("a rehearsal needs an environment to rehearse in")
            .hint("name it with --env; `environments` in the runbook declares them"));
    };
    let bound = book::work(cmd, &book.file, Some(&environment), &book.vars)?;
    if bound.runbook.environments.get(&environment).is_some_and(|place| place.protected) {
        return Err(CliError::new(
            Exit::Held,
            format!("`{environment}` is protected: nothing is rehearsed there"),
        )
        .hint("rehearse in an environment of its own, such as staging"));
    }
    let ready = Ready { bound: bound.rehearsed(&environment), environment };
    proved(cmd, &ready)?;
    Ok(ready)
}

/// Proves again that the targets are staging's: fresh staging may be another one.
pub fn proved(_cmd: &Cmd, _ready: &Ready) -> Result<(), CliError> {
    Ok(())
}

/// Opens a rehearsal's run.
pub fn open<'a>(cmd: &'a Cmd, ready: &Ready) -> Result<Session<'a>, CliError> {
    let environment = Some(ready.environment.clone());
    let opening = run::Opening { environment, receipt: None, given: Given::default(), cast: None };
    run::open(cmd, ready.bound.clone(), opening)
}

/// Why destructions were not confirmed.
pub type Refusals = Arc<Mutex<Vec<String>>>;

/// Who takes part in a rehearsal, beside those who look.
pub fn cast(_ready: &Ready, looks: Vec<Arc<dyn BeforeDestruction>>, refusals: &Refusals) -> Cast {
    let told = refusals.clone();
    let refused = Arc::new(move |why: &str| {
        told.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_owned());
    });
    Cast {
        operator: Box::new(move |_, nobody| Arc::new(Rehearser::new(nobody, looks, refused))),
        reporters: Vec::new(),
    }
}

/// Rehearses a runbook.
pub fn rehearse(cmd: &Cmd, book: &Book, options: &RehearseOptions) -> Result<Exit, CliError> {
    let ready = ready(cmd, book)?;
    if options.faults {
        faulted::resettable(&ready)?;
    }
    close_dead_rehearsals(cmd, &ready.bound)?;
    let refusals = Refusals::default();
    let mut session = open(cmd, &ready)?;
    let dir = session.dir.clone();
    let trials = options.falsify.then(|| Trials::new(cmd, &session)).transpose()?;
    let looks = trials.iter().map(|trials| trials.falsifier.clone() as Arc<dyn BeforeDestruction>).collect();
    let mut cast = cast(&ready, looks, &refusals);
    if let Some(trials) = &trials {
        let (enter, operator) = (trials.enter(cmd), cast.operator);
        cast.operator = Box::new(move |view, nobody| {
            enter(view);
            operator(view, nobody)
        });
    }
    session.cast = Some(cast);
    let baseline = Baseline::default();
    if options.faults {
        baseline.listen(&mut session.journal);
    }
    let mut exit = session.drive()?;
    for why in refusals.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        cmd.err(&format!("refused: {}\n", neutral(why)));
        exit = Exit::Held;
    }
    let completed = exit == Exit::Done;
    if let Some(trials) = &trials {
        exit = trials.close(cmd, exit)?;
    }
    close(cmd, &dir, if completed { Exit::Done } else { exit })?;
    let mut suites = Vec::new();
    if let Some(trials) = &trials {
        suites.extend(super::trials::suites(&ready.bound.runbook.name, &trials.falsifier.shown()));
    }
    if options.faults {
        if !completed {
            cmd.err("\nno faults are tried: the rehearsal itself did not come to its end\n");
        } else {
            let bounds = Bounds {
                only: options.faults_of.clone(),
                limit: options.faults_limit.unwrap_or(FAULTS),
                within: options.faults_within,
            };
            let tried = faulted::all(cmd, book, &ready, &bounds, &baseline, &dir)?;
            cmd.err(&faulted::summary(&tried));
            suites.push(faulted::suite(&ready.bound.runbook.name, &tried));
            if tried.violated().next().is_some() {
                exit = Exit::Failed;
            }
        }
    }
    if let Some(path) = &options.junit {
        let text = cases::file(&ready.bound.runbook.name, &suites).map_err(CliError::journal)?;
        std::fs::write(path, text)
            .map_err(|error| CliError::journal(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(exit)
}

/// An unfinished rehearsal of the same work whose session is gone was killed: it is ended, so that the next may begin. One
/// that lives is somebody else's.
fn close_dead_rehearsals(cmd: &Cmd, bound: &book::Bound) -> Result<(), CliError> {
    let targets = run::targets_digest(bound);
    for summary in cmd.store()?.runs().map_err(CliError::journal)? {
        let Ok((_, state)) = session::peek(&summary.dir) else { continue };
        let same = state.rehearsal && state.name == bound.runbook.name && state.targets == targets;
        if !same || state.end.is_some() {
            continue;
        }
        if super::walk::holder_alive(&state) != Some(false) {
            let holder = state.holder.as_ref().map_or("somebody", |holder| holder.by.as_str());
            let message = format!("rehearsal {} on the same targets is under way, by {holder}", state.run);
            return Err(CliError::new(Exit::Busy, message).hint(format!(
                "wait for its end (`holdpoint watch {}`): two at once would each see what the other does",
                state.run
            )));
        }
        end(cmd, &summary.dir, "its session was killed; the next rehearsal begins")?;
    }
    Ok(())
}

/// Ends a rehearsal that did not complete: nobody will go on with it.
fn close(cmd: &Cmd, dir: &RunDir, exit: Exit) -> Result<(), CliError> {
    let why = match exit {
        Exit::Done => return Ok(()),
        // Whoever holds the run now, or a journal that cannot be written: nothing more is ours to say.
        Exit::Busy | Exit::Journal => return Ok(()),
        Exit::Failed => "the rehearsal failed",
        Exit::Held => "the rehearsal was held",
        Exit::Interrupted => "the rehearsal was interrupted",
        _ => "the rehearsal needed a person",
    };
    end(cmd, dir, why)
}

/// Stops what still runs of a rehearsal, and abandons it.
pub fn end(cmd: &Cmd, dir: &RunDir, why: &str) -> Result<(), CliError> {
    let (mut journal, mut state) = session::open(dir)?;
    if state.end.is_some() {
        return Ok(());
    }
    let seat = Seat::here().map_err(CliError::journal)?;
    let claim = Claim { operator: cmd.by(), how: LeaseHow::Resume, reason: None, acknowledged: Vec::new() };
    let (lease, taken) = Lease::take(&mut journal, &seat, claim, cmd.now()).map_err(super::lease_error)?;
    taken.foreign.iter().chain(&taken.own).for_each(|line| state.apply(line));
    let mut events = Vec::new();
    for (step, attempt) in under_way(&state) {
        let place = work::attempt_dir(&dir.path, &step, attempt, false);
        let end = stop(&place, why);
        events.push(Event::InDoubt { step, attempt, why: end });
    }
    events.push(Event::Abandoned { reason: why.to_owned() });
    events.push(Event::Released { why: "abandoned".to_owned() });
    journal.append(&cmd.by(), Some(lease.epoch()), cmd.now(), events).map_err(super::append_error)?;
    Ok(())
}

fn under_way(state: &RunState) -> Vec<(crate::base::StepId, u32)> {
    let running = state.steps.iter().filter(|(_, step)| step.status == Status::Running);
    running.map(|(id, step)| (id.clone(), step.attempts)).collect()
}

/// Stops a command, if there is one; says what became of it.
fn stop(place: &std::path::Path, why: &str) -> String {
    let secrets = crate::base::redact::Redactor::default();
    let runs = |found: &supervise::Found| {
        matches!(found, supervise::Found::Running { .. } | supervise::Found::Orphaned { .. })
    };
    let mut found = supervise::look(place, &secrets);
    if !runs(&found) {
        return format!("{why}; nothing of it runs any more");
    }
    let asked = work::stop(place, why);
    let until = Instant::now() + STOPPING;
    while runs(&found) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        found = supervise::look(place, &secrets);
    }
    match (runs(&found), asked) {
        (false, _) => format!("{why}; its command was stopped"),
        (true, Ok(())) => format!("{why}; its command was told to stop, and still runs"),
        (true, Err(error)) => format!("{why}; its command runs and could not be told to stop: {error}"),
    }
}
