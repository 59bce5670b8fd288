//! Repetitions of a rehearsal: fresh staging, the process that meets the fault, the one that goes on, the judgement.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::base::text::neutral;
use crate::base::{Span, StepId};
use crate::check::Context;
use crate::check::containers::going;
use crate::cli::args::{Book, Global};
use crate::cli::error::CliError;
use crate::cli::global::Cmd;
use crate::cli::rehearse::{self, Ready};
use crate::cli::{session, staging};
use crate::engine::{Exit, Plan, faults as engine};
use crate::journal::Line;
use crate::journal::record::Event;
use crate::rehearse::faults::{Fault, Tried};
use crate::rehearse::judge;
use crate::runbook::model::Destroys;
use crate::world::Identity;

/// The longest that fresh staging may take.
const RESET: Duration = Duration::from_secs(3600);
/// How often a process is asked whether it has ended.
const PACE: Duration = Duration::from_millis(10);

/// What a destructive step took away in the undisturbed rehearsal.
#[derive(Debug, Default)]
pub(super) struct Known {
    paths: Vec<String>,
    target: bool,
}

pub(super) fn known(lines: &[Line]) -> BTreeMap<StepId, Known> {
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
    /// The databases, tables and indexes that are there, where only a part of the target goes.
    parts: Vec<String>,
}

/// Repetitions of a rehearsal.
pub(super) struct Rounds<'a> {
    pub(super) cmd: &'a Cmd,
    pub(super) book: &'a Book,
    pub(super) ready: &'a Ready,
    pub(super) plan: &'a Plan,
    pub(super) limit: Duration,
    pub(super) folder: PathBuf,
    pub(super) known: BTreeMap<StepId, Known>,
    pub(super) cx: Context,
    pub(super) runtime: session::Runtime,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exit(i32),
    Killed,
    Hung,
}

impl Rounds<'_> {
    /// Makes staging anew.
    pub(super) fn reset(&self) -> Result<(), CliError> {
        let place = self.ready.bound.runbook.environments.get(&self.ready.environment);
        let Some(reset) = place.and_then(|place| place.reset.as_ref()) else {
            return super::resettable(self.ready);
        };
        let done = self.runtime.block_on(crate::rehearse::command(reset, None, RESET, &self.cx))?;
        done.map_err(|why| {
            CliError::new(Exit::Failed, format!("`reset` of `{}` {why}", self.ready.environment))
                .hint("run it by hand; nothing more is tried on staging that is not as it was")
        })
    }

    /// Repeats it with one fault.
    pub(super) fn one(&self, nth: usize, fault: Fault) -> Result<Tried, CliError> {
        let began = Instant::now();
        self.reset()?;
        // Fresh staging may be another one: it is proved again.
        staging::prove(self.cmd, &self.ready.plain, &self.ready.environment)?;
        let standing = self.standing()?;
        let store = self.folder.join(nth.to_string());
        super::make(&store)?;
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
            let parts = self.parts(destroys)?;
            all.insert(step.key(), Standing { paths, target, parts });
        }
        Ok(all)
    }

    /// What is there of the part of a target, and of the containers, that a step takes away; nothing when the server does
    /// not say.
    fn parts(&self, destroys: &Destroys) -> Result<Vec<String>, CliError> {
        let mut parts = self.portion(destroys)?;
        if let Some(of) = &destroys.containers {
            let going = self.runtime.block_on(going(of, &self.cx))?;
            parts.extend(going.containers.into_iter().map(|one| format!("container {}", one.name)));
        }
        Ok(parts)
    }

    fn portion(&self, destroys: &Destroys) -> Result<Vec<String>, CliError> {
        let name = destroys.target.as_ref().filter(|_| destroys.part());
        let Some(target) = name.and_then(|name| self.ready.bound.runbook.targets.get(name)) else {
            return Ok(Vec::new());
        };
        let portion = self.runtime.block_on(crate::world::pg::portion(target, destroys))?;
        let parts = portion.map(|portion| portion.extent.parts).unwrap_or_default();
        Ok(parts.into_iter().map(|part| format!("{} {}", part.kind, part.name)).collect())
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
            if !was.parts.is_empty() {
                let step_now = self.plan.runbook.steps.iter().find(|one| one.key() == *step);
                let now = match step_now.and_then(|step| step.destroys.as_ref()) {
                    Some(goes) => self.parts(goes)?,
                    None => Vec::new(),
                };
                let lost = was.parts.iter().filter(|part| !now.contains(part));
                gone.extend(lost.map(|part| format!("{part} is gone, and `{step}` never had a permit")));
            }
            if let Some((name, identity)) = &was.target
                && !self.identity(name)?.is_some_and(|now| now.same_object(identity))
            {
                gone.push(format!("target `{name}` is not there any more, and `{step}` never had a permit"));
            }
        }
        Ok(gone)
    }
}
