//! The author's own way to make a check fail: a command that breaks what it measures, and one that brings it back.
//!
//! What is about to be broken is on disk before it is. However the session ends, [`settle`] finds it there and undoes it:
//! at the end of the rehearsal, and before anybody goes on with the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::falsify::{Trial, trial};
use crate::base::{CheckId, Span, StepId};
use crate::check::{Context, Evidence, Verdict, measure};
use crate::engine::Plan;
use crate::journal::disk;
use crate::runbook::CheckSpec;
use crate::runbook::model::{Falsify, Run};
use crate::world::process::Probe;

/// In the run's folder, while something is broken.
const RECORD: &str = "falsify.json";
/// The longest that a command may take when the check sets no limit.
const LIMIT: Duration = Duration::from_secs(600);
/// How long a check may take to pass again once it was undone, when it does not say more itself.
const AGAIN: Duration = Duration::from_secs(60);
/// Output that is kept.
const KEEP: usize = 4 << 10;

/// What is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    step: StepId,
    check: CheckId,
}

fn record(folder: &Path) -> PathBuf {
    folder.join(RECORD)
}

/// Breaks, measures, and undoes. The second part is an error when the check did not come back.
pub(super) async fn falsify(
    own: &Falsify,
    step: &StepId,
    id: &CheckId,
    spec: &CheckSpec,
    cx: &Context,
    folder: &Path,
) -> (Trial, Result<(), String>) {
    let what = "its `falsify`";
    let not = |observed: String| Trial {
        way: "the author's".to_owned(),
        what: what.to_owned(),
        verdict: None,
        observed,
        sure: true,
    };
    if let Err(why) = put(folder, &Record { step: step.clone(), check: id.clone() }) {
        return (not(format!("it cannot be put on record, so it was not done: {why}")), Ok(()));
    }
    let broke = one_of(&own.run, own, cx).await;
    let trial = match broke {
        Ok(()) => trial("the author's", what, true, &measure::measure(id.clone(), spec, cx).await),
        Err(why) => not(format!("`falsify.run` {why}")),
    };
    (trial, bring_back(own, id, spec, cx, folder).await)
}

/// Undoes what an earlier session left broken, if anything. An error says what is still broken.
pub async fn settle(plan: &Plan, cx: &Context, folder: &Path) -> Result<bool, String> {
    let path = record(folder);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let left: Record =
        serde_json::from_slice(&bytes).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
    let guards = plan.guards(&left.step, false).into_iter().chain(plan.guards(&left.step, true));
    let found = guards.into_iter().find(|(id, _)| *id == left.check);
    let Some((id, spec)) = found else {
        return Err(format!("`{}` was broken on purpose, and the runbook no longer has it", left.check));
    };
    let own = spec.common.falsify.clone();
    let own = own.ok_or_else(|| format!("`{id}` was broken on purpose, and has no `falsify.undo` now"))?;
    bring_back(&own, &id, &spec, cx, folder).await.map(|()| true)
}

/// Undoes, and measures until the check passes again.
async fn bring_back(
    own: &Falsify,
    id: &CheckId,
    spec: &CheckSpec,
    cx: &Context,
    folder: &Path,
) -> Result<(), String> {
    let undone = one_of(&own.undo, own, cx).await;
    let again = spec.common.wait_up_to.map_or(AGAIN, |wait| AGAIN.max(wait.0));
    let began = cx.world.clock.now();
    let mut pause = Duration::from_millis(200);
    let last: Evidence = loop {
        let evidence = measure::measure(id.clone(), spec, cx).await;
        let waited = cx.world.clock.now().since(&began);
        if evidence.verdict() == Verdict::Pass || undone.is_err() || waited > again {
            break evidence;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    };
    let why = match (undone, last.verdict()) {
        (Ok(()), Verdict::Pass) => {
            let path = record(folder);
            return std::fs::remove_file(&path).map_err(|e| format!("cannot remove {}: {e}", path.display()));
        }
        (Err(why), _) => format!("`falsify.undo` {why}"),
        (Ok(()), verdict) => {
            format!("it is {} after `falsify.undo`: {}", verdict.word(), last.outcome.observed)
        }
    };
    Err(format!("`{id}` was broken on purpose and did not come back: {why}"))
}

/// On disk before anything is broken.
fn put(folder: &Path, record: &Record) -> Result<(), String> {
    let path = self::record(folder);
    let text = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    disk::write_new(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    disk::sync_dir(folder).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Runs one of the two to its end.
async fn one_of(run: &Run, own: &Falsify, cx: &Context) -> Result<(), String> {
    command(run, own.user.clone(), own.timeout.unwrap_or(Span(LIMIT)).0, cx).await
}

/// Runs a command of a rehearsal's own; the error is the rest of a sentence that begins with its name.
pub async fn command(run: &Run, user: Option<String>, timeout: Duration, cx: &Context) -> Result<(), String> {
    let (argv, env) = match run {
        Run::Argv(argv) => (argv.clone(), Default::default()),
        Run::Script(script) => {
            let argv = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", script];
            (argv.map(str::to_owned).to_vec(), (cx.script_env)(script))
        }
    };
    let probe = Probe { argv, env, cwd: None, user, timeout, keep: KEEP };
    let ended = cx.world.processes.send(&probe).await.map_err(|why| format!("did not start: {why}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = crate::base::text::neutral(&cx.secrets.text(said.lines().last().unwrap_or_default()));
    match (ended.status, ended.signal) {
        _ if ended.timed_out => Err(format!("took longer than {}", Span(timeout))),
        (Some(0), _) => Ok(()),
        (Some(status), _) => Err(format!("ended with exit status {status}: {said}")),
        (None, signal) => Err(format!("was killed by signal {}", signal.unwrap_or_default())),
    }
}
