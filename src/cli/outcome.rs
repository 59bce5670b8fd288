//! What a rehearsal leaves behind: reports, the receipt, the words at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{Book, RehearseFormat, RehearseOptions};
use super::book::Bound;
use super::error::CliError;
use super::global::{Cmd, shown};
use super::staging::Staging;
use super::{receipts, run, session};
use crate::base::{Digest, StepId};
use crate::engine::{Exit, work};
use crate::journal::{RunDir, read};
use crate::rehearse::made;
use crate::rehearse::receipt::{self, NAMESPACE, Script, Signing, Variables};
use crate::report::junit::cases::Suite;
use crate::report::rehearsed::{Manner, Rehearsed, Trial};
use crate::report::words::flat;
use crate::report::{course, github, junit, summary};
use crate::world::{sign, sqlite};

/// The longest output of a step that is read for reports, in bytes.
const OUTPUT: u64 = 128 << 10;

/// What is known of the runbook before it is made ready for the rehearsal.
pub struct Before {
    file: PathBuf,
    manners: BTreeMap<StepId, Manner>,
    lines: BTreeMap<StepId, usize>,
    called: Vec<Script>,
    variables: Variables,
}

impl Before {
    /// Of a runbook as it stands in its file.
    pub fn of(bound: &Bound, book: &Book) -> Before {
        let text = &bound.document.source().text;
        let line = |nth: usize| {
            let place = bound.document.place(&format!("steps[{nth}].id"))?;
            Some(text.get(..place.start)?.matches('\n').count() + 1)
        };
        let steps = bound.runbook.steps.iter().enumerate();
        let values = serde_json::to_string(&run::public_vars(bound)).unwrap_or_default();
        Before {
            file: book.file.clone(),
            manners: made::manners(&bound.runbook),
            lines: steps.filter_map(|(nth, step)| Some((step.key(), line(nth)?))).collect(),
            called: receipts::called(bound, book),
            variables: Variables {
                names: bound.document.names().vars.clone(),
                digest: Digest::of(values.as_bytes()),
            },
        }
    }
}

/// What was tried beside the run.
#[derive(Default)]
pub struct Beside {
    /// Findings: each keeps the rehearsal from passing.
    pub findings: Vec<Trial>,
    /// All of it, for JUnit.
    pub suites: Vec<Suite>,
    /// All of it, for people: a heading, and lines.
    pub told: Vec<(String, Vec<String>)>,
    /// What was shown of guards, for the receipt.
    pub falsified: Option<Value>,
    /// What was shown with faults, for the receipt.
    pub faults: Option<Value>,
}

/// Can everything be written, and signed? Found out before a rehearsal that takes hours.
pub fn ready(options: &RehearseOptions) -> Result<(), CliError> {
    for path in [&options.junit, &options.receipt, &options.summary].into_iter().flatten() {
        let beside = aside(path);
        let tried = match path.is_dir() {
            true => Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)),
            false => std::fs::write(&beside, ""),
        };
        let _ = std::fs::remove_file(&beside);
        tried.map_err(|error| {
            CliError::usage(format!("{} cannot be written: {error}", shown(path)))
                .hint("nothing was begun; name a file in a folder that can be written")
        })?;
    }
    if let Some(key) = key(options) {
        sign::sign(key, NAMESPACE, b"can this key sign?").map_err(|why| {
            CliError::usage(why).hint("nothing was begun; `ssh-keygen -Y sign` has to work with that key")
        })?;
    }
    Ok(())
}

fn key(options: &RehearseOptions) -> Option<&Path> {
    options.sign.as_deref().filter(|key| !key.as_os_str().is_empty())
}

/// Writes everything that was asked for, and says how it went.
#[allow(clippy::too_many_arguments, reason = "all that is known of a rehearsal at its end")]
pub fn tell(
    cmd: &Cmd,
    options: &RehearseOptions,
    before: &Before,
    staging: &Staging,
    dir: &RunDir,
    exit: Exit,
    refusals: Vec<String>,
    beside: Beside,
) -> Result<Exit, CliError> {
    let (lines, state) = session::peek(dir)?;
    let bound = session::readable(cmd, dir, &state)?;
    let output = |step: &StepId, attempt: u32| printed(&dir.path, step, attempt);
    let course = course::course(&bound.runbook, &lines, &output)
        .ok_or_else(|| CliError::journal("the journal does not tell what happened"))?;
    let compared = staging.apart.compared.iter();
    let all = Rehearsed {
        course,
        exit,
        manners: before.manners.clone(),
        compared: compared.map(|one| (one.target.clone(), one.with.clone(), one.how.clone())).collect(),
        weaknesses: staging.apart.weaknesses.clone(),
        refusals,
        trials: beside.findings,
        suites: beside.suites,
        told: beside.told,
        around: around(),
    };
    write(options.junit.as_deref(), &junit::run::rehearsal(&all).map_err(CliError::usage)?)?;
    let summary = summary::markdown(&all);
    write(options.summary.as_deref(), &summary)?;
    if options.format == RehearseFormat::Github {
        let line = |step: &StepId| before.lines.get(step).copied();
        cmd.err(&github::annotations(&all, &before.file.display().to_string(), &line));
        append(cmd, &summary);
    }
    if !cmd.global.json {
        cmd.print(&words(&all));
    }
    if all.passed() {
        let more = (beside.falsified, beside.faults);
        give_receipt(cmd, options, before, staging, dir, &all, more)?;
    } else if let Some(path) = options.receipt.as_ref().filter(|path| path.exists()) {
        let text = format!("there is no receipt: {} is one of another rehearsal\n", shown(path));
        cmd.err(&text);
    }
    Ok(if exit == Exit::Done && !all.passed() { Exit::Failed } else { exit })
}

fn give_receipt(
    cmd: &Cmd,
    options: &RehearseOptions,
    before: &Before,
    staging: &Staging,
    dir: &RunDir,
    all: &Rehearsed,
    more: (Option<Value>, Option<Value>),
) -> Result<(), CliError> {
    let head = read::read(dir).map_err(CliError::journal)?.report.head;
    let facts = BTreeMap::from([("sqlite".to_owned(), sqlite::version().to_owned())]);
    let mut made = made::receipt(
        all,
        made::Around {
            staging: &staging.place,
            apart: &staging.apart,
            proofs: staging.proofs,
            called: before.called.clone(),
            variables: before.variables.clone(),
            head: head.ok_or_else(|| CliError::journal("the journal has no head"))?,
            facts,
        },
    );
    (made.falsified, made.faults) = more;
    let with = |bytes: &[u8]| match key(options) {
        Some(key) => sign::sign(key, NAMESPACE, bytes),
        None => Err(String::new()),
    };
    let signing: Option<Signing<'_>> = key(options).map(|_| &with as _);
    let (text, digest) = receipt::seal(&made, signing).map_err(CliError::usage)?;
    let kept = receipts::keep(cmd, dir.run.as_str(), &text)?;
    write(options.receipt.as_deref(), &text)?;
    if !cmd.global.json {
        let path = options.receipt.as_deref().unwrap_or(&kept);
        let signed = if signing.is_some() { "signed" } else { "not signed" };
        cmd.print(&format!("receipt {} ({signed}): {}\n", digest.short(), shown(path)));
    }
    Ok(())
}

/// The end of what an attempt printed, as it was kept: secrets are out of it.
fn printed(folder: &Path, step: &StepId, attempt: u32) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let path = work::attempt_dir(folder, step, attempt, false).join("output.log");
    let Ok(mut file) = std::fs::File::open(path) else { return String::new() };
    let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    let from = length.saturating_sub(OUTPUT);
    if file.seek(SeekFrom::Start(from)).is_err() || file.take(OUTPUT).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The words at the end.
fn words(all: &Rehearsed) -> String {
    let mut text = format!("\nRehearsal {}\n", flat(&all.headline()));
    let mut say = |label: &str, what: &str| text.push_str(&format!("  {label:<14}{}\n", flat(what)));
    all.refusals.iter().for_each(|why| say("refused", why));
    for (stage, manner) in all.partial() {
        say(stage.id.as_str(), &manner.words());
    }
    for (heading, lines) in &all.told {
        say(heading, lines.first().map_or("", String::as_str));
        lines.iter().skip(1).for_each(|line| say("", line));
    }
    for trial in &all.trials {
        if let Err(found) = &trial.outcome {
            say("finding", &format!("{}: {found}", trial.title));
        }
    }
    all.weaknesses.iter().for_each(|why| say("weak", why));
    let ended = if all.course.complete { "complete" } else { "abandoned: nobody goes on with a rehearsal" };
    say("run", &format!("{} ({ended})", all.course.run));
    text
}

/// The commit and the job, where CI says so.
fn around() -> Vec<(&'static str, String)> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| set(name));
    let github = || {
        let (server, repository, run) =
            (set("GITHUB_SERVER_URL")?, set("GITHUB_REPOSITORY")?, set("GITHUB_RUN_ID")?);
        Some(format!("{server}/{repository}/actions/runs/{run}"))
    };
    let commit = first(&["GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"]);
    let job = first(&["CI_JOB_URL", "BUILD_URL"]).or_else(github);
    [("commit", commit), ("job", job)].into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn append(cmd: &Cmd, summary: &str) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(summary.as_bytes())) {
        cmd.err(&format!("warning: the summary was not written to {}: {error}\n", shown(Path::new(&path))));
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// A file that is there whole or not at all.
fn write(path: Option<&Path>, text: &str) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    let beside = aside(path);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        CliError::usage(format!("{} cannot be written: {error}", shown(path)))
            .hint("the rehearsal itself is on record in the store")
    })
}
