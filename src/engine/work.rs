//! Does a step's work, and watches it. Nothing here starts without a [`Cleared`] token.

mod statements;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Notice, Reporter};
use super::faults::{CommandFault, Faults};
use super::machine::{Ended, Found};
use crate::base::{Digest, Moment, RunId, StepId};
use crate::check::{Context, data};
use crate::gate::Cleared;
use crate::journal::record::Ending;
use crate::runbook::model::{Record, Run, Work};
use crate::runbook::vars::{self, Values};
use crate::runbook::{Runbook, Step};
use crate::supervise::{self, ExitRecord, Spec, Tail};

/// Longest value that a step may capture, in bytes.
const CAPTURE_LIMIT: usize = 4096;

/// How much of earlier output is shown to somebody who comes back: bytes at most, lines at most.
const RECENT_BYTES: u64 = 8 << 10;
const RECENT_LINES: usize = 10;

/// What commands get.
#[derive(Clone)]
pub struct Tools {
    /// The run's id.
    pub run: String,
    /// The runbook's variables.
    pub values: Arc<Values>,
    /// Variables captured so far.
    pub captured: BTreeMap<String, String>,
    /// Secret values, to be kept out of stored output.
    pub secrets: Vec<(String, String)>,
    /// Time between TERM and KILL.
    pub grace: Duration,
    /// Faults of a rehearsal; none otherwise.
    pub faults: Faults,
}

/// One piece of work.
#[derive(Clone)]
pub struct Job {
    /// The step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: u32,
    /// Undo it, rather than do it.
    pub undo: bool,
    /// When it was begun, by an earlier session, too.
    pub began: Option<Moment>,
    /// The run's folder.
    pub folder: PathBuf,
    /// The runbook.
    pub runbook: Arc<Runbook>,
    /// What measuring may use.
    pub cx: Context,
    /// What commands get.
    pub tools: Tools,
    /// Whom to tell.
    pub reporter: Arc<dyn Reporter>,
}

impl Job {
    /// The folder of this attempt: output, exit status, supervisor.
    pub fn dir(&self) -> PathBuf {
        attempt_dir(&self.folder, &self.step, self.attempt, self.undo)
    }

    /// What is done.
    pub fn work(&self) -> Option<Work<'_>> {
        let step = self.find()?;
        if self.undo { step.rollback.as_ref()?.work() } else { step.work() }
    }

    fn find(&self) -> Option<&Step> {
        self.runbook.steps.iter().find(|s| s.id == self.step.0)
    }
}

/// Where an attempt's output and exit status are kept.
pub fn attempt_dir(folder: &Path, step: &StepId, attempt: u32, undo: bool) -> PathBuf {
    let word = if undo { "undo-" } else { "" };
    folder.join("steps").join(format!("{step}.{word}{attempt}"))
}

/// Does the work that was cleared.
pub async fn perform(cleared: Cleared, job: Job) -> Ended {
    let run = RunId::from(job.tools.run.as_str());
    let Some(step) = job.find().filter(|step| cleared.covers(&run, step, job.undo)).cloned() else {
        let why = "it is not what was cleared; nothing ran".to_owned();
        return Ended::how(Ending::NotStarted { why });
    };
    if !cleared.in_time(&job.cx.world.clock.now()) {
        let why = "its permit was no longer valid when it could begin; nothing ran".to_owned();
        return Ended { ending: Ending::NotStarted { why }, ..finished() };
    }
    match job.work() {
        Some(Work::Run(run)) => command(run, &step, &job).await,
        Some(Work::Sql(sql)) => match job.tools.faults.of(&job.step) {
            None => statements::execute(sql, &step, &job).await,
            Some(CommandFault::After) => {
                statements::execute(sql, &step, &job).await;
                broken("a fault rehearsal: the statements ran, and fail".to_owned())
            }
            Some(_) => broken("a fault rehearsal: the statements fail and did not run".to_owned()),
        },
        Some(Work::Record(record)) => manifest(record, &job).await,
        // A person's work, and watching, have no executor: the machine never asks for them.
        Some(Work::Manual(_) | Work::Soak(_)) | None => {
            Ended::how(Ending::NotStarted { why: "there is nothing that could be run".to_owned() })
        }
    }
}

/// Watches a command that runs already, to its end.
pub async fn attach(job: Job) -> Ended {
    let (output, from) = recent(&job.dir());
    job.reporter.tell(&Notice::Attached { step: job.step.clone(), output, shown: output - from });
    watch(&job, job.find().and_then(|s| s.timeout).map(|t| t.0), None, from).await
}

/// Bytes of output so far, and where its last lines begin: what came while nobody watched may be long.
fn recent(dir: &Path) -> (u64, u64) {
    use std::os::unix::fs::FileExt as _;
    let Ok(file) = std::fs::File::open(dir.join(supervise::record::OUTPUT)) else { return (0, 0) };
    let end = file.metadata().map(|m| m.len()).unwrap_or(0);
    let start = end.saturating_sub(RECENT_BYTES);
    let mut bytes = vec![0; (end - start) as usize];
    let n = file.read_at(&mut bytes, start).unwrap_or(0);
    bytes.truncate(n);
    let breaks: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).collect();
    // The last line's own break is not one before it.
    let before = breaks.len().saturating_sub(usize::from(bytes.last() == Some(&b'\n')));
    match before.checked_sub(RECENT_LINES) {
        Some(skip) => (end, start + breaks.get(skip).map_or(0, |at| *at as u64 + 1)),
        // Fewer lines than that: from the beginning, or from the first whole line.
        None if start == 0 => (end, 0),
        None => (end, start + breaks.first().map_or(0, |at| *at as u64 + 1)),
    }
}

/// What became of a step that was begun.
pub fn look(job: &Job) -> Found {
    if !matches!(job.work(), Some(Work::Run(_))) {
        return Found::Lost {
            why: "the session ended while it was under way; nobody saw how it ended".to_owned(),
        };
    }
    let dir = job.dir();
    match supervise::look(&dir, &job.cx.secrets) {
        supervise::Found::NeverStarted => Found::NeverStarted,
        // What may still run is watched, never started a second time.
        supervise::Found::Running { paused, .. } => Found::Running { paused },
        supervise::Found::Orphaned { .. } | supervise::Found::Unclear { .. } => {
            Found::Running { paused: false }
        }
        supervise::Found::Ended(record) => {
            missed(job);
            Found::Ended(ended(*record, &dir, captures(job)))
        }
        supervise::Found::Lost { why } => {
            missed(job);
            Found::Lost { why }
        }
    }
}

/// The end of the output of a command that ended while nobody watched.
fn missed(job: &Job) {
    let dir = job.dir();
    let (output, from) = recent(&dir);
    if output == 0 {
        return;
    }
    let what = if from == 0 { "its output" } else { "the end of its output" };
    job.reporter.tell(&Notice::Message(format!("{} ran while nobody watched; {what}:", job.step)));
    let mut tail = Tail::open(&dir, from).ok();
    tell_output(job, &mut tail);
    if let Some(text) = tail.as_mut().and_then(Tail::finish) {
        job.reporter.tell(&Notice::Output { step: job.step.clone(), text });
    }
}

fn captures(job: &Job) -> bool {
    job.find().is_some_and(|s| (s.capture.is_some() || s.observes) && !job.undo)
}

/// Asks the supervisor to stop the command.
pub fn stop(dir: &Path, why: &str) -> Result<(), String> {
    supervise::stop(dir, why)
}

/// Pauses the command.
pub fn pause(dir: &Path) -> Result<(), String> {
    supervise::pause(dir)
}

/// Lets it go on.
pub fn go_on(dir: &Path) -> Result<(), String> {
    supervise::cont(dir)
}

async fn command(run: &Run, step: &Step, job: &Job) -> Ended {
    let undo = step.rollback.as_ref().filter(|_| job.undo);
    let (extra, cwd, user, limit) = match undo {
        Some(undo) => (&undo.env, &undo.cwd, &undo.user, undo.timeout),
        None => (&step.env, &step.cwd, &step.user, step.timeout),
    };
    let text = match run {
        Run::Script(text) => text.as_str(),
        Run::Argv(_) => "",
    };
    let mut given = vars::script_env(&job.tools.values, text);
    given.extend(job.tools.captured.clone());
    given.extend(extra.clone());
    let argv = match run {
        Run::Argv(argv) => argv.clone(),
        Run::Script(text) => supervise::script(text),
    };
    let not_started = |why: String| Ended { ending: Ending::NotStarted { why }, ..finished() };
    if let Some(why) = still_running(job) {
        return not_started(why);
    }
    let env = match supervise::env::clean(user.as_deref(), &job.tools.run, &step.id, &given) {
        Ok(env) => env,
        Err(why) => return not_started(why),
    };
    let spec = Spec {
        argv: job.tools.faults.argv(&job.step, argv),
        env,
        cwd: cwd.as_deref().unwrap_or("/").into(),
        user: user.clone(),
        limit: limit.map(|l| l.0),
        grace: job.tools.grace,
        secrets: job.tools.secrets.clone(),
        label: step.name().to_owned(),
    };
    match supervise::start(&job.dir(), &spec).await {
        Ok(handle) => watch(job, spec.limit, Some(handle), 0).await,
        Err(error @ supervise::StartError::NotStarted { .. }) => not_started(error.to_string()),
        // Whether anything runs is read from its folder, not guessed.
        Err(_) => watch(job, spec.limit, None, 0).await,
    }
}

/// A command of this step that may still run is never joined by a second one. Looked at is every attempt that left a
/// folder, whatever its number.
fn still_running(job: &Job) -> Option<String> {
    let (own, steps) = (job.dir(), job.folder.join("steps"));
    let entries = match std::fs::read_dir(&steps) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            return Some(format!("earlier attempts may still run: cannot read {}: {error}", steps.display()));
        }
    };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|dir| *dir != own) {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((step, attempt)) = name.split_once('.') else { continue };
        if step != job.step.as_str() {
            continue;
        }
        let what = match attempt.strip_prefix("undo-") {
            Some(attempt) => format!("attempt {attempt} to undo it"),
            None => format!("attempt {attempt}"),
        };
        match supervise::look(&dir, &job.cx.secrets) {
            supervise::Found::Running { .. } => return Some(format!("{what} still runs")),
            supervise::Found::Orphaned { processes, .. } => {
                return Some(format!("{what} still runs: {}", processes.join(", ")));
            }
            supervise::Found::Unclear { why } => return Some(format!("{what} may still run: {why}")),
            _ => {}
        }
    }
    None
}

/// Follows a command's output and waits for its end; tells about both.
async fn watch(job: &Job, limit: Option<Duration>, handle: Option<supervise::Handle>, from: u64) -> Ended {
    let dir = job.dir();
    let now = job.cx.world.clock.now();
    let began = job.began.filter(|began| !now.jumped_since(began)).unwrap_or(now);
    let mut tail = Tail::open(&dir, from).ok();
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let waiting = until_gone(handle, &dir, &job.cx.secrets);
    tokio::pin!(waiting);
    let found = loop {
        tokio::select! {
            found = &mut waiting => break found,
            _ = pace.tick() => tell_output(job, &mut tail),
            _ = beat.tick() => job.reporter.tell(&Notice::Running {
                step: job.step.clone(),
                elapsed: job.cx.world.clock.now().since(&began),
                output: tail.as_ref().map_or(0, Tail::offset),
                limit,
            }),
        }
    };
    tell_output(job, &mut tail);
    if let Some(text) = tail.as_mut().and_then(Tail::finish) {
        job.reporter.tell(&Notice::Output { step: job.step.clone(), text });
    }
    match found {
        supervise::Found::Ended(record) => ended(*record, &dir, captures(job)),
        supervise::Found::NeverStarted => Ended {
            ending: Ending::NotStarted { why: "its supervisor never came up; nothing ran".to_owned() },
            ..finished()
        },
        supervise::Found::Lost { why } | supervise::Found::Unclear { why } => {
            Ended { ending: Ending::Unknown { why }, ..finished() }
        }
        _ => Ended {
            ending: Ending::Unknown { why: "its supervisor kept no record".to_owned() },
            ..finished()
        },
    }
}

/// Until nothing of the command runs any more. A command that lost its supervisor is waited for, too.
async fn until_gone(
    handle: Option<supervise::Handle>,
    dir: &Path,
    secrets: &crate::base::redact::Redactor,
) -> supervise::Found {
    let mut found = match handle {
        Some(mut handle) => handle.wait().await,
        None => supervise::wait(dir, secrets).await,
    };
    while matches!(found, supervise::Found::Orphaned { .. }) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        found = supervise::wait(dir, secrets).await;
    }
    found
}

fn tell_output(job: &Job, tail: &mut Option<Tail>) {
    for text in tail.as_mut().and_then(|tail| tail.lines().ok()).unwrap_or_default() {
        job.reporter.tell(&Notice::Output { step: job.step.clone(), text });
    }
}

fn ended(record: ExitRecord, dir: &Path, capture: bool) -> Ended {
    use supervise::record::Ending as Was;
    let ending = match record.ending {
        Was::Exited { status } => Ending::Exited { status },
        Was::Signalled { signal } => Ending::Signalled { signal },
        Was::TimedOut { limit_ms } => Ending::TimedOut { limit_ms },
        Was::Stopped { why } => Ending::Stopped { why },
        Was::NotStarted { why } => Ending::NotStarted { why },
    };
    Ended {
        ending,
        output_bytes: record.output_bytes,
        left_running: record.left_running,
        captured: capture.then(|| captured(dir)),
        recorded: None,
    }
}

/// The one line that a command printed.
fn captured(dir: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let cannot = |e: std::io::Error| format!("its output cannot be read: {e}");
    let file = std::fs::File::open(dir.join("output.log")).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(CAPTURE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > CAPTURE_LIMIT {
        return Err(format!("it is longer than {CAPTURE_LIMIT} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.trim_end_matches('\n');
    if text.trim().is_empty() {
        return Err("it printed nothing".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it printed more than one line, or control characters".to_owned());
    }
    if text.contains("[secret ") {
        return Err("it printed a secret, and a secret is never stored".to_owned());
    }
    Ok(text.to_owned())
}

async fn manifest(record: &Record, job: &Job) -> Ended {
    let target = match job.cx.target(&record.target) {
        Ok(target) => target.clone(),
        Err(why) => return broken(why),
    };
    let manifest = match data::record(&record.target, &target, &job.cx).await {
        Ok(manifest) => manifest,
        Err(why) => return broken(why),
    };
    let bytes = match manifest.save() {
        Ok(bytes) => bytes,
        Err(why) => return broken(why),
    };
    let (tables, rows) = (manifest.stored().count() as u64, manifest.rows());
    if tables == 0 {
        return broken(format!("`{}` holds no table: an empty manifest proves nothing", record.target));
    }
    let path = manifest_path(&job.folder, &record.name);
    match replace_durably(&path, &bytes) {
        Ok(()) => Ended {
            recorded: Some((record.name.clone(), record.target.clone(), Digest::of(&bytes), tables, rows)),
            ..finished()
        },
        Err(error) => broken(format!("the manifest cannot be written to {}: {error}", path.display())),
    }
}

/// Puts a whole file in place, on disk, before it counts; an earlier one of the same name is replaced at once.
fn replace_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    crate::journal::disk::write_new(&part, bytes)?;
    std::fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), crate::journal::disk::sync_dir)
}

/// Where a manifest is kept.
pub fn manifest_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("records").join(format!("{name}.json"))
}

fn finished() -> Ended {
    Ended {
        ending: Ending::Finished,
        output_bytes: 0,
        left_running: Vec::new(),
        captured: None,
        recorded: None,
    }
}

fn broken(why: String) -> Ended {
    Ended { ending: Ending::Broken { why }, ..finished() }
}
