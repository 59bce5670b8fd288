//! Does a step's work, and watches it. Nothing here starts without a [`Cleared`] token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Notice, Reporter};
use super::machine::{Ended, Found};
use crate::base::{Digest, StepId};
use crate::check::{Context, data};
use crate::gate::Cleared;
use crate::journal::record::Ending;
use crate::runbook::model::{Record, Run, Sql, Work};
use crate::runbook::vars::{self, Values};
use crate::runbook::{Runbook, Step};
use crate::supervise::client::{self, Spec};
use crate::supervise::env;
use crate::world::pg;

/// Longest value that a step may capture, in bytes.
const CAPTURE_LIMIT: usize = 4096;

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
    let Some(step) = job.find().filter(|step| step.key() == *cleared.step()).cloned() else {
        return broken("the clearance is for another step".to_owned());
    };
    let work = if job.undo { step.rollback.as_ref().and_then(|r| r.work()) } else { step.work() };
    match work {
        Some(Work::Run(run)) => command(run, &step, &job).await,
        Some(Work::Sql(sql)) => statements(sql, &step, &job).await,
        Some(Work::Record(record)) => manifest(record, &job).await,
        Some(Work::Manual(_) | Work::Soak(_)) | None => finished(),
    }
}

/// Watches a command that runs already, to its end.
pub async fn attach(job: Job) -> Ended {
    let missed = std::fs::metadata(job.dir().join("output.log")).map(|m| m.len()).unwrap_or(0);
    job.reporter.tell(&Notice::Attached { step: job.step.clone(), missed });
    watch(&job, job.find().and_then(|s| s.timeout).map(|t| t.0)).await
}

/// What became of a step that was begun.
pub fn look(folder: &Path, step: &StepId, attempt: u32, undo: bool, runbook: &Runbook) -> Found {
    let found = runbook.steps.iter().find(|s| s.key() == *step);
    let work = found.and_then(|s| if undo { s.rollback.as_ref().and_then(|r| r.work()) } else { s.work() });
    if !matches!(work, Some(Work::Run(_))) {
        return Found::Lost { why: "the session ended while it was under way; nobody saw how it ended".to_owned() };
    }
    let dir = attempt_dir(folder, step, attempt, undo);
    match client::look(&dir) {
        client::Found::NeverStarted => Found::NeverStarted,
        client::Found::Running { .. } | client::Found::Orphaned { .. } => Found::Running,
        client::Found::Ended(record) => {
            let capture = found.is_some_and(|s| s.capture.is_some() && !undo);
            Found::Ended(ended(record, &dir, capture))
        }
        client::Found::Lost { why } => Found::Lost { why },
    }
}

/// Asks the supervisor to stop the command.
pub fn stop(dir: &Path, why: &str) -> Result<(), String> {
    client::stop(dir, why).map_err(|e| e.to_string())
}

/// Pauses the command.
pub fn pause(dir: &Path) -> Result<(), String> {
    client::pause(dir).map_err(|e| e.to_string())
}

/// Lets it go on.
pub fn go_on(dir: &Path) -> Result<(), String> {
    client::cont(dir).map_err(|e| e.to_string())
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
        Run::Script(text) => client::script(text),
    };
    let spec = Spec {
        argv,
        env: env::for_command(&job.tools.run, &step.id, user.as_deref(), given),
        cwd: cwd.clone(),
        user: user.clone(),
        limit: limit.map(|l| l.0),
        grace: job.tools.grace,
        secrets: job.tools.secrets.clone(),
        label: step.name().to_owned(),
    };
    match client::start(&job.dir(), &spec).await {
        Ok(_) => watch(job, spec.limit).await,
        Err(error) => Ended { ending: Ending::NotStarted { why: error.to_string() }, ..finished() },
    }
}

/// Follows a command's output and waits for its end; tells about both.
async fn watch(job: &Job, limit: Option<Duration>) -> Ended {
    let dir = job.dir();
    let began = job.cx.world.clock.now();
    let mut tail = client::Tail::new(&dir);
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let waiting = client::wait(&dir);
    tokio::pin!(waiting);
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let outcome = loop {
        tokio::select! {
            outcome = &mut waiting => break outcome,
            _ = pace.tick() => tell_output(job, &mut tail),
            _ = beat.tick() => job.reporter.tell(&Notice::Running {
                step: job.step.clone(),
                elapsed: job.cx.world.clock.now().since(&began),
                output: tail.offset(),
                limit,
            }),
        }
    };
    tell_output(job, &mut tail);
    let capture = job.find().is_some_and(|s| s.capture.is_some() && !job.undo);
    match outcome {
        Ok(record) => ended(record, &dir, capture),
        Err(why) => Ended { ending: Ending::Unknown { why }, ..finished() },
    }
}

fn tell_output(job: &Job, tail: &mut client::Tail) {
    for text in tail.next_lines() {
        job.reporter.tell(&Notice::Output { step: job.step.clone(), text });
    }
}

fn ended(record: client::ExitRecord, dir: &Path, capture: bool) -> Ended {
    Ended {
        ending: record.ending,
        output_bytes: record.output_bytes,
        left_running: record.left_running,
        captured: capture.then(|| captured(dir)),
        recorded: None,
    }
}

/// The one line that a command printed.
fn captured(dir: &Path) -> Result<String, String> {
    let bytes = std::fs::read(dir.join("output.log")).map_err(|e| format!("its output cannot be read: {e}"))?;
    if bytes.len() > CAPTURE_LIMIT {
        return Err(format!("it is {} bytes long; at most {CAPTURE_LIMIT} can be captured", bytes.len()));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.trim_end_matches('\n');
    if text.trim().is_empty() {
        return Err("it printed nothing".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it printed more than one line, or control characters".to_owned());
    }
    Ok(text.to_owned())
}

async fn statements(sql: &Sql, step: &Step, job: &Job) -> Ended {
    let target = match job.cx.target(&sql.target) {
        Ok(target) => target,
        Err(why) => return broken(why),
    };
    let options = pg::Options {
        application_name: format!("holdpoint {}", step.id),
        statement_timeout: step.timeout.map_or(Duration::ZERO, |t| t.0),
        read_only: false,
        ..pg::Options::default()
    };
    if target.postgres.is_none() && target.cluster.is_none() {
        return broken(format!("`{}` is not a PostgreSQL target; `sql` steps need one", sql.target));
    }
    let session = match pg::connect(target, &options).await {
        Ok(session) => session,
        Err(error) => return Ended { ending: Ending::NotStarted { why: error.to_string() }, ..finished() },
    };
    for (number, statement) in sql.statements.iter().enumerate() {
        if let Err(error) = session.query(statement).await {
            let why = job.cx.secrets.text(&format!("statement {}: {}", number + 1, error.message));
            return if error.lost {
                Ended { ending: Ending::Unknown { why }, ..finished() }
            } else {
                broken(why)
            };
        }
    }
    finished()
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
    let bytes = manifest.to_bytes();
    let (tables, rows) = manifest.totals();
    if tables == 0 {
        return broken(format!("`{}` holds no table: an empty manifest proves nothing", record.target));
    }
    let path = manifest_path(&job.folder, &record.name);
    match crate::journal::store::write_durably(&path, &bytes) {
        Ok(()) => Ended {
            recorded: Some((record.name.clone(), record.target.clone(), Digest::of(&bytes), tables, rows)),
            ..finished()
        },
        Err(error) => broken(format!("the manifest cannot be written to {}: {error}", path.display())),
    }
}

/// Where a manifest is kept.
pub fn manifest_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("records").join(format!("{name}.json"))
}

fn finished() -> Ended {
    Ended { ending: Ending::Finished, output_bytes: 0, left_running: Vec::new(), captured: None, recorded: None }
}

fn broken(why: String) -> Ended {
    Ended { ending: Ending::Broken { why }, ..finished() }
}
