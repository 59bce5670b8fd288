//! `rehearse --faults`: the rehearsal again and again, each time on fresh staging and with one fault; and the process that
//! meets the fault.

mod rounds;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::args::{Book, FaultKind, RehearseOptions};
use super::book;
use super::error::CliError;
use super::global::Cmd;
use super::outcome::Beside;
use super::rehearse::{self, Ready};
use super::session::{self, Session};
use crate::base::StepId;
use crate::base::text::{count, neutral};
use crate::engine::machine::{Given, Mode};
use crate::engine::{Exit, Plan};
use crate::journal::record::Purpose;
use crate::journal::{Journal, Point, RunDir};
use crate::rehearse::faults::{self, Fault, Faults, Tried};
use crate::report::junit::cases::{Came, Case, Suite};
use crate::report::rehearsed::Trial;

/// The shortest that a repetition is given.
const PATIENCE: Duration = Duration::from_secs(120);
/// Folders of repetitions begin so.
const FOLDER: &str = "faults-";

/// The process that meets a fault: a rehearsal as any other, until the fault comes. With `go_on` it goes on afterwards,
/// undisturbed, as an unattended run may.
pub fn child(cmd: &Cmd, book: &Book, fault: &str, go_on: bool) -> Result<Exit, CliError> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    let fault: Fault = serde_json::from_str(fault).map_err(CliError::usage)?;
    let ready = rehearse::ready(cmd, book)?;
    let mut session = if go_on { again(cmd, book)? } else { rehearse::open(cmd, &ready, book)? };
    session.cast = Some(rehearse::cast(&ready, Vec::new(), &Default::default(), &Default::default()));
    if !go_on {
        meet(&mut session, fault);
    }
    session.drive()
}

/// The session of an earlier process, taken up again.
fn again<'a>(cmd: &'a Cmd, book: &Book) -> Result<Session<'a>, CliError> {
    let dir = cmd.find(None)?;
    let (mut journal, mut state) = session::open(&dir)?;
    let secret = |(name, _): &&(String, String)| state.secrets.contains(name);
    let secrets: Vec<_> = book.vars.iter().filter(secret).cloned().collect();
    let bound = book::of_run(cmd, &dir.path, &state, Some(&secrets))?;
    let lease = session::lease(cmd, &mut journal, &mut state)?;
    let (mode, given, faults) = (Mode::Forward, Given::default(), Default::default());
    Ok(Session { cmd, bound, dir, journal, lease, state, mode, given, resumed: true, cast: None, faults })
}

/// Brings the fault about.
fn meet(session: &mut Session<'_>, fault: Fault) {
    match fault {
        Fault::Killed { append, flushed, .. } => {
            let wanted = if flushed { Point::Flushed } else { Point::Written };
            let written = AtomicU64::new(0);
            session.journal.watched(move |point, _| {
                let before = u64::from(point == Point::Written);
                let nth = written.fetch_add(before, Ordering::Relaxed) + before;
                if nth == append && point == wanted {
                    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
                }
            });
        }
        Fault::Command { step, how } => {
            session.faults.command = Some(Arc::new(move |of: &StepId| (*of == step).then(|| how.fault())));
        }
        Fault::Unknown { check, in_front } => {
            session.faults.unknown =
                Some(Arc::new(move |of, purpose| *of == check && (!in_front || purpose == Purpose::Guard)));
        }
    }
}

/// What the undisturbed rehearsal wrote, append by append.
#[derive(Clone, Default)]
pub struct Baseline(Arc<Mutex<Vec<String>>>);

impl Baseline {
    /// Listens to a journal.
    pub fn listen(&self, journal: &mut Journal) {
        let kept = self.0.clone();
        journal.watched(move |point, lines| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(faults::at(point, lines));
        });
    }
}

/// Faults that are tried when nothing is said.
const FAULTS: usize = 200;

/// Tries faults after a rehearsal, if it came to its end.
pub fn after(
    cmd: &Cmd,
    book: &Book,
    ready: &Ready,
    options: &RehearseOptions,
    baseline: &Baseline,
    (dir, exit): (&RunDir, Exit),
    beside: &mut Beside,
) -> Result<(), CliError> {
    if exit != Exit::Done {
        let why = "none was tried: the rehearsal itself did not come to its end".to_owned();
        beside.told.push(("faults".to_owned(), vec![why]));
        return Ok(());
    }
    let tried = all(cmd, book, ready, options, baseline, dir)?;
    let violated = tried.violated().count();
    beside.faults = Some(json!({
        "tried": tried.tried.len(), "reached": tried.reached(), "left_out": tried.left_out, "violated": violated,
    }));
    beside.told.push(("faults".to_owned(), summary(&tried)));
    beside.suites.push(suite(&ready.bound.runbook.name, &tried));
    beside.findings.extend(
        tried
            .violated()
            .map(|one| Trial { title: one.fault.words(), outcome: Err(one.violations.join("; ")) }),
    );
    Ok(())
}

/// Without a way to fresh staging nothing can be repeated.
pub fn resettable(ready: &Ready) -> Result<(), CliError> {
    match ready.bound.runbook.environments.get(&ready.environment).and_then(|place| place.reset.as_ref()) {
        Some(_) => Ok(()),
        None => Err(CliError::usage(format!(
            "`{}` has no `reset`: each fault needs staging as it was before the rehearsal",
            ready.environment
        ))
        .hint("give the environment a `reset`, a command that makes staging anew")),
    }
}

/// Repeats the rehearsal with one fault each.
fn all(
    cmd: &Cmd,
    book: &Book,
    ready: &Ready,
    options: &RehearseOptions,
    baseline: &Baseline,
    first: &RunDir,
) -> Result<Faults, CliError> {
    let (lines, _) = session::peek(first)?;
    let plan = Plan::new(ready.bound.runbook.clone());
    let appends = baseline.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut wanted = faults::all(&plan, &lines, &appends);
    let every = wanted.len();
    wanted.retain(|fault| options.faults_of.is_empty() || options.faults_of.contains(&kind(fault)));
    let chosen = faults::choose(wanted, options.faults_limit.unwrap_or(FAULTS)).0;
    let left_out = (every - chosen.len()) as u64;
    let took =
        lines.last().zip(lines.first()).map_or(Duration::ZERO, |(last, first)| last.at.since(&first.at));
    let root = cmd.store()?.root().to_owned();
    let rounds = rounds::Rounds {
        cmd,
        book,
        ready,
        plan: &plan,
        limit: PATIENCE.max(took * 5),
        folder: root.join(format!("{FOLDER}{}", first.run)),
        known: rounds::known(&lines),
        cx: session::context(cmd, &ready.bound, None),
        runtime: session::runtime()?,
    };
    make(&rounds.folder)?;
    let began = Instant::now();
    let mut done = Faults { tried: Vec::new(), left_out };
    cmd.err(&format!(
        "\n{} to be tried, {left_out} left out\n",
        count(chosen.len() as u64, "fault is", "faults are")
    ));
    let all = chosen.len();
    for (nth, fault) in chosen.into_iter().enumerate() {
        if options.faults_within.is_some_and(|within| began.elapsed() > within.0) {
            done.left_out += (all - nth) as u64;
            cmd.err(&format!("the time is over; {} more left out\n", all - nth));
            break;
        }
        let tried = rounds.one(nth + 1, fault)?;
        cmd.err(&format!("fault {} of {all}: {}\n", nth + 1, line(&tried)));
        done.tried.push(tried);
    }
    if done.violated().next().is_none() {
        let _ = std::fs::remove_dir_all(&rounds.folder);
    } else {
        cmd.err(&format!("the runs are kept in {}\n", rounds.folder.display()));
    }
    rounds.reset()?;
    Ok(done)
}

fn kind(fault: &Fault) -> FaultKind {
    match fault {
        Fault::Killed { .. } => FaultKind::Killed,
        Fault::Command { .. } => FaultKind::Command,
        Fault::Unknown { .. } => FaultKind::Unknown,
    }
}

fn line(tried: &Tried) -> String {
    let words = tried.fault.words();
    match tried.violations.as_slice() {
        [] if !tried.reached => format!("{words}: not reached"),
        [] => format!("{words}: {}", tried.outcome),
        wrong => format!("{words}: VIOLATED: {}", neutral(&wrong.join("; "))),
    }
}

/// What came of it, for people.
fn summary(done: &Faults) -> Vec<String> {
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for tried in done.tried.iter().filter(|tried| tried.reached) {
        *outcomes.entry(&tried.outcome).or_default() += 1;
    }
    let first = format!(
        "{} tried, {} left out, {} not reached, {} showed destruction without a permit or a run that is stuck",
        count(done.tried.len() as u64, "fault", "faults"),
        done.left_out,
        done.tried.len() - done.reached(),
        done.violated().count(),
    );
    std::iter::once(first).chain(outcomes.into_iter().map(|(outcome, n)| format!("{n} {outcome}"))).collect()
}

/// The same as a JUnit suite, a case for each fault.
fn suite(book: &str, done: &Faults) -> Suite {
    let case = |tried: &Tried| Case {
        name: tried.fault.words(),
        came: match tried.violations.first() {
            Some(first) => Came::Failure(first.clone()),
            None if !tried.reached => Came::Skipped("the run ended before it".to_owned()),
            None => Came::Well,
        },
        told: std::iter::once(tried.outcome.clone()).chain(tried.violations.clone()).collect(),
        took_ms: tried.took_ms,
    };
    Suite { name: format!("{book}.faults"), cases: done.tried.iter().map(case).collect() }
}

fn make(folder: &Path) -> Result<(), CliError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| CliError::journal(format!("cannot make {}: {error}", folder.display())))
}
