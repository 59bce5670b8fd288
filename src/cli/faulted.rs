//! `rehearse --faults`: the rehearsal again and again, each time on fresh staging and with one fault; and the process that
//! meets the fault.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::args::{Book, FaultKind, Global, RehearseOptions};
use super::book;
use super::error::CliError;
use super::global::Cmd;
use super::outcome::Beside;
use super::rehearse::{self, Ready};
use super::session::{self, Session};
use crate::base::text::{count, neutral};
use crate::base::{Span, StepId};
use crate::check::Context;
use crate::engine::machine::{Given, Mode};
use crate::engine::{Exit, Plan, faults as engine};
use crate::journal::record::{Event, LeaseHow, Purpose};
use crate::journal::{Claim, Journal, Lease, Line, Point, RunDir, Seat};
use crate::rehearse::faults::{self, Fault, Faults, Tried};
use crate::rehearse::judge;
use crate::report::junit::cases::{Came, Case, Suite};
use crate::report::rehearsed::Trial;
use crate::world::Identity;

/// The longest that fresh staging may take.
const RESET: Duration = Duration::from_secs(3600);
/// The shortest that a repetition is given.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a process is asked whether it has ended.
const PACE: Duration = Duration::from_millis(10);
/// Folders of repetitions begin so.
const FOLDER: &str = "faults-";

/// The process that meets a fault: a rehearsal as any other, until the fault comes. With `go_on` it goes on afterwards,
/// undisturbed, as an unattended run may.
pub fn child(cmd: &Cmd, book: &Book, fault: &str, go_on: bool) -> Result<Exit, CliError> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    let fault: Fault = serde_json::from_str(fault).map_err(CliError::usage)?;
    let ready = rehearse::ready(cmd, book)?;
    let mut session = if go_on { again(cmd, book)? } else { rehearse::open(cmd, &ready)? };
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
    let seat = Seat::here().map_err(CliError::journal)?;
    let claim = Claim {
        operator: cmd.by(),
        how: LeaseHow::Resume,
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    let (lease, taken) = Lease::take(&mut journal, &seat, claim, cmd.now()).map_err(super::lease_error)?;
    taken.foreign.iter().chain(&taken.own).for_each(|line| state.apply(line));
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
    let rounds = Rounds {
        cmd,
        book,
        ready,
        plan: &plan,
        limit: PATIENCE.max(took * 5),
        folder: root.join(format!("{FOLDER}{}", first.run)),
        known: known(&lines),
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

/// What a destructive step took away in the undisturbed rehearsal.
#[derive(Debug, Default)]
struct Known {
    paths: Vec<String>,
    target: bool,
}

fn known(lines: &[Line]) -> BTreeMap<StepId, Known> {
    let mut all: BTreeMap<StepId, Known> = BTreeMap::new();
    for line in lines {
        if let Event::Confirmed { step, undo: false, blast, .. } = &line.event {
            let paths = blast.items.iter().map(|item| item.name.clone()).collect();
            all.insert(step.clone(), Known { paths, target: blast.identity.is_some() });
        }
    }
    all
}

/// What stands on fresh staging, and a destructive step would take away.
#[derive(Debug, Default)]
struct Standing {
    paths: Vec<PathBuf>,
    target: Option<(String, Identity)>,
}

struct Rounds<'a> {
    cmd: &'a Cmd,
    book: &'a Book,
    ready: &'a Ready,
    plan: &'a Plan,
    limit: Duration,
    folder: PathBuf,
    known: BTreeMap<StepId, Known>,
    cx: Context,
    runtime: session::Runtime,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exit(i32),
    Killed,
    Hung,
}

impl Rounds<'_> {
    fn reset(&self) -> Result<(), CliError> {
        let place = self.ready.bound.runbook.environments.get(&self.ready.environment);
        let Some(reset) = place.and_then(|place| place.reset.as_ref()) else { return resettable(self.ready) };
        let done = self.runtime.block_on(crate::rehearse::command(reset, None, RESET, &self.cx))?;
        done.map_err(|why| {
            CliError::new(Exit::Failed, format!("`reset` of `{}` {why}", self.ready.environment))
                .hint("run it by hand; nothing more is tried on staging that is not as it was")
        })
    }

    fn one(&self, nth: usize, fault: Fault) -> Result<Tried, CliError> {
        let began = Instant::now();
        self.reset()?;
        // Fresh staging may be another one: it is proved again.
        super::staging::prove(self.cmd, &self.ready.plain, &self.ready.environment)?;
        let standing = self.standing()?;
        let store = self.folder.join(nth.to_string());
        make(&store)?;
        let first = self.process(&store, &fault, false)?;
        let sub = Cmd::new(Global {
            store: Some(store.display().to_string()),
            operator: self.cmd.global.operator.clone(),
            non_interactive: true,
            json: false,
        });
        let mut wrong = Vec::new();
        let mut last = first;
        let dir =
            sub.store()?.runs().map_err(CliError::journal)?.into_iter().next().map(|summary| summary.dir);
        let Some(dir) = dir else {
            wrong.push(format!("no run was begun: {}", self.said(&store)));
            return Ok(self.tried(fault, "no run".to_owned(), wrong, false, began));
        };
        if session::peek(&dir)?.1.end.is_none() {
            last = self.process(&store, &fault, true)?;
        }
        let (lines, state) = session::peek(&dir)?;
        let complete = lines.iter().any(|line| matches!(line.event, Event::Completed { .. }));
        let reached = match &fault {
            Fault::Killed { .. } => first == End::Killed,
            Fault::Command { step, .. } => {
                lines.iter().any(|line| matches!(&line.event, Event::Began { step: of, .. } if of == step))
            }
            Fault::Unknown { check, .. } => lines.iter().any(|line| {
                matches!(&line.event, Event::Measured { evidence, .. }
                    if evidence.check == *check && evidence.outcome.observed == engine::UNKNOWN)
            }),
        };
        if !matches!(fault, Fault::Killed { .. }) || first != End::Killed {
            wrong.extend(self.in_words(first, &store, "the run"));
        }
        if last != first || !complete {
            wrong.extend(self.in_words(last, &store, "the run, once it was taken up again,"));
        }
        wrong.extend(judge::violations(&lines, self.plan, &dir.path));
        wrong.extend(self.gone(&lines, &standing)?);
        if state.end.is_none() {
            rehearse::end(&sub, &dir, "a fault rehearsal is done with it")?;
        }
        let outcome = match (complete, last) {
            (true, _) if first == last => "came to its end all the same".to_owned(),
            (true, _) => "came to its end once it was taken up again".to_owned(),
            (false, End::Exit(1)) => "stopped: a step failed".to_owned(),
            (false, End::Exit(3)) => "held".to_owned(),
            (false, End::Exit(4)) => "waits for a person".to_owned(),
            (false, _) => "stuck".to_owned(),
        };
        if wrong.is_empty() {
            let _ = std::fs::remove_dir_all(&store);
        }
        Ok(self.tried(fault, outcome, wrong, reached, began))
    }

    fn tried(
        &self,
        fault: Fault,
        outcome: String,
        violations: Vec<String>,
        reached: bool,
        began: Instant,
    ) -> Tried {
        Tried { fault, outcome, violations, reached, took_ms: began.elapsed().as_millis() as u64 }
    }

    /// An end that a run may not have: neither its end nor a reason on record.
    fn in_words(&self, end: End, store: &Path, what: &str) -> Option<String> {
        match end {
            End::Exit(0 | 1 | 3 | 4) => None,
            End::Exit(status) => {
                Some(format!("{what} ended with exit status {status}: {}", self.said(store)))
            }
            End::Killed => Some(format!("{what} was killed: {}", self.said(store))),
            End::Hung => Some(format!("{what} did not end within {}", Span(self.limit))),
        }
    }

    /// The last line that a process said.
    fn said(&self, store: &Path) -> String {
        let text = std::fs::read(store.join("said")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        neutral(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing"))
    }

    fn process(&self, store: &Path, fault: &Fault, go_on: bool) -> Result<End, CliError> {
        let cannot = |error: std::io::Error| {
            CliError::new(Exit::Failed, format!("a repetition cannot start: {error}"))
        };
        let fault = serde_json::to_string(fault).map_err(|error| CliError::new(Exit::Failed, error))?;
        let said =
            std::fs::File::options().create(true).append(true).open(store.join("said")).map_err(cannot)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("__fault").arg(&self.book.file).args([
            "--fault",
            &fault,
            "--env",
            &self.ready.environment,
        ]);
        for (name, value) in &self.book.vars {
            command.arg("--var").arg(format!("{name}={value}"));
        }
        if go_on {
            command.arg("--go-on");
        }
        command.arg("--store").arg(store).arg("--non-interactive");
        if let Some(operator) = &self.cmd.global.operator {
            command.args(["--operator", operator]);
        }
        command.stdin(Stdio::null()).stdout(said.try_clone().map_err(cannot)?).stderr(said);
        let mut child = command.spawn().map_err(cannot)?;
        let until = Instant::now() + self.limit;
        loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => End::Exit(code),
                    (None, _) => End::Killed,
                });
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(End::Hung);
            }
            std::thread::sleep(PACE);
        }
    }

    /// What stands on fresh staging of what destructive steps take away.
    fn standing(&self) -> Result<BTreeMap<StepId, Standing>, CliError> {
        let mut all = BTreeMap::new();
        for step in &self.plan.runbook.steps {
            let (Some(destroys), Some(known)) = (&step.destroys, self.known.get(&step.key())) else {
                continue;
            };
            let paths = known.paths.iter().filter(|path| path.starts_with('/')).map(PathBuf::from);
            let paths = paths.filter(|path| path.exists()).collect();
            let target = match destroys.target.as_ref().filter(|_| known.target) {
                Some(name) => self.identity(name)?.map(|identity| (name.clone(), identity)),
                None => None,
            };
            all.insert(step.key(), Standing { paths, target });
        }
        Ok(all)
    }

    fn identity(&self, name: &str) -> Result<Option<Identity>, CliError> {
        let Some(target) = self.ready.bound.runbook.targets.get(name) else { return Ok(None) };
        Ok(self.runtime.block_on(crate::world::identity(target))?.ok())
    }

    /// What is gone although the step that takes it away never had a permit.
    fn gone(&self, lines: &[Line], standing: &BTreeMap<StepId, Standing>) -> Result<Vec<String>, CliError> {
        let mut gone = Vec::new();
        for (step, was) in standing {
            let had = |line: &Line| matches!(&line.event, Event::Permitted { step: of, undo: false, .. } if of == step);
            if lines.iter().any(had) {
                continue;
            }
            let paths = was.paths.iter().filter(|path| !path.exists());
            gone.extend(
                paths.map(|path| format!("{} is gone, and `{step}` never had a permit", path.display())),
            );
            if let Some((name, identity)) = &was.target
                && !self.identity(name)?.is_some_and(|now| now.same_object(identity))
            {
                gone.push(format!("target `{name}` is not there any more, and `{step}` never had a permit"));
            }
        }
        Ok(gone)
    }
}
