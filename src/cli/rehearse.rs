//! `rehearse`: a run against staging with nobody there, from the proof of its targets to what it leaves behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args::{Book, RehearseFormat, RehearseOptions};
use super::error::CliError;
use super::faulted::{self, Baseline};
use super::global::Cmd;
use super::outcome::{Before, Beside};
use super::session::{self, Cast, Session};
use super::staging::Staging;
use super::trials::Trials;
use super::{book, outcome, receipts, run, staging};
use crate::base::ids::hex;
use crate::engine::event::Reporter;
use crate::engine::machine::Given;
use crate::engine::state::Status;
use crate::engine::{Exit, RunState, work};
use crate::journal::record::{Event, LeaseHow};
use crate::journal::{Claim, Lease, RunDir, Seat};
use crate::rehearse::Rehearser;
use crate::rehearse::operator::BeforeDestruction;
use crate::report::words::flat;
use crate::supervise;
use crate::ui::Out;
use crate::ui::github::Groups;
use crate::world::host;

/// The longest that a command of an interrupted rehearsal is waited for once it was told to stop.
const STOPPING: Duration = Duration::from_secs(20);

/// A runbook whose targets are proved to be a rehearsal's.
pub struct Ready {
    /// The runbook as it stands in its file.
    pub plain: book::Bound,
    /// As it is rehearsed.
    pub bound: book::Bound,
    /// Where.
    pub environment: String,
    /// What proves the targets.
    pub staging: Staging,
}

/// Reads the runbook, and proves that it may be rehearsed there. Every way to a rehearsal goes through here.
pub fn ready(cmd: &Cmd, book: &Book) -> Result<Ready, CliError> {
    let Some(environment) = book.env.clone() else {
        return Err(CliError::usage("a rehearsal needs an environment to rehearse in")
            .hint("name it with --env; `environments` in the runbook declares them"));
    };
    let plain = book::work(cmd, &book.file, Some(&environment), &book.vars)?;
    if plain.runbook.environments.get(&environment).is_some_and(|place| place.protected) {
        let message = format!("`{environment}` is protected: nothing is rehearsed there");
        return Err(
            CliError::new(Exit::Held, message).hint("rehearse in an environment of its own, such as staging")
        );
    }
    let staging = staging::prove(cmd, &plain, &environment)?;
    Ok(Ready { bound: plain.clone().rehearsed(&environment), plain, environment, staging })
}

/// Opens a rehearsal's run.
pub fn open<'a>(cmd: &'a Cmd, ready: &Ready, book: &Book) -> Result<Session<'a>, CliError> {
    let (environment, given) = (Some(ready.environment.clone()), Given::default());
    let scripts = receipts::scripts(cmd, &ready.plain, book)?;
    let opening = run::Opening { environment, receipt: None, scripts, author: None, given, cast: None };
    run::open(cmd, ready.bound.clone(), opening)
}

/// Why destructions were not confirmed.
pub type Refusals = Arc<Mutex<Vec<String>>>;

/// Who takes part: the operator of a rehearsal, who looks at what would go once more, and with whom others look.
/// `paused` is set when a broken invariant paused a command, and nobody was there to decide.
pub fn cast(
    ready: &Ready,
    others: Vec<Arc<dyn BeforeDestruction>>,
    refusals: &Refusals,
    paused: &Arc<AtomicBool>,
) -> Cast {
    let mut looks: Vec<Arc<dyn BeforeDestruction>> = vec![Arc::new(ready.staging.apart.clone())];
    looks.extend(others);
    let (told, paused) = (refusals.clone(), paused.clone());
    let refused = Arc::new(move |why: &str| {
        told.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_owned());
    });
    Cast {
        operator: Box::new(move |_, nobody| Arc::new(Rehearser::new(nobody, looks, refused).telling(paused))),
        reporters: Vec::new(),
    }
}

/// Rehearses a runbook.
pub fn rehearse(cmd: &Cmd, book: &Book, options: &RehearseOptions) -> Result<Exit, CliError> {
    outcome::ready(options)?;
    let ready = ready(cmd, book)?;
    if options.faults {
        faulted::resettable(&ready)?;
    }
    for weakness in &ready.staging.apart.weaknesses {
        cmd.err(&format!("warning: {}\n", flat(weakness)));
    }
    close_dead_rehearsals(cmd, &ready.bound)?;
    let before = Before::of(&ready.plain, book);
    let refusals = Refusals::default();
    let paused: Arc<AtomicBool> = Arc::default();
    let groups = groups(cmd, options);
    let mut session = open(cmd, &ready, book)?;
    let dir = session.dir.clone();
    let trials = options.falsify.then(|| Trials::new(cmd, &session)).transpose()?;
    let looks = trials.iter().map(|trials| trials.falsifier.clone() as Arc<dyn BeforeDestruction>).collect();
    let mut cast = cast(&ready, looks, &refusals, &paused);
    cast.reporters.extend(groups.iter().map(|groups| groups.clone() as Arc<dyn Reporter>));
    if let Some(trials) = &trials {
        trials.enter(cmd, &mut cast);
    }
    session.cast = Some(cast);
    let baseline = Baseline::default();
    if options.faults {
        baseline.listen(&mut session.journal);
    }
    let driven = session.drive();
    if let Some(groups) = groups {
        groups.end();
    }
    let mut exit = driven?;
    let mut beside = Beside::default();
    if let Some(trials) = &trials {
        exit = trials.close(cmd, &ready, exit, &mut beside)?;
    }
    let refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !refusals.is_empty() {
        exit = Exit::Held;
    } else if exit == Exit::Interrupted && paused.load(Ordering::SeqCst) {
        exit = Exit::Waiting;
    }
    close(cmd, &dir, exit)?;
    if options.faults {
        faulted::after(cmd, book, &ready, options, &baseline, (&dir, exit), &mut beside)?;
    }
    outcome::tell(cmd, options, &before, &ready.staging, &dir, exit, refusals, beside)
}

fn groups(cmd: &Cmd, options: &RehearseOptions) -> Option<Arc<Groups>> {
    if options.format != RehearseFormat::Github {
        return None;
    }
    let token = host::random::<16>().map_or_else(|_| cmd.now().boot_ms.to_string(), |bytes| hex(&bytes));
    Some(Arc::new(Groups::begin(Out::stderr(&cmd.err_style), token)))
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
    // Whoever started it may have been another job. That it is dead is proved, not assumed.
    let own = state.holder.as_ref().is_none_or(|holder| holder.by == cmd.by());
    let how = if own { LeaseHow::Resume } else { LeaseHow::TakeOver };
    let reason = (!own).then(|| why.to_owned());
    let claim = Claim { operator: cmd.by(), how, reason, acknowledged: Vec::new(), signature: None };
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
