//! Guards that can fail. In front of each destructive step, when all of its guards have just passed, each of them is made
//! to fail in a way that is undone: only then is its pass worth something.
//!
//! Invariants: it happens on targets that were proved to be staging's, and nowhere else. A change in a transaction cannot
//! be committed; an author's own way is on record on disk before it begins, and is undone whatever happens. A guard that
//! could not be shown to fail is said to be so, and never counted as shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::author;
use super::operator::{BeforeDestruction, Then};
use super::scratch::Scratch;
use crate::base::{CheckId, StepId};
use crate::check::falsify::{Broken, broken, pushed};
use crate::check::{Context, Evidence, Verdict, measure, registry};
use crate::engine::{Notice, Plan, Question, Reporter};
use crate::journal::record::Blast;
use crate::runbook::{CheckSpec, Runbook, Target};
use crate::world::pg::undone::{Place, Undone};
use crate::world::pg::{self, Options};
use crate::world::sqlite::copy;

/// What came of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was seen to fail.
    Fails,
    /// It passed although it had to fail: it guards nothing.
    StillPasses,
    /// It was unknown where it had to fail.
    Unknown,
    /// There is no way to make it fail, or staging holds nothing that it could object to.
    NotShown,
}

impl Found {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Found::Fails => "can fail",
            Found::StillPasses => "STILL PASSES",
            Found::Unknown => "unknown, not shown to fail",
            Found::NotShown => "not shown",
        }
    }
}

/// One attempt to make a guard fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The way: `the author's`, `rolled back`, `private copy`, `threshold`.
    pub way: String,
    /// What was done.
    pub what: String,
    /// What the check said; `None` when it could not be done.
    pub verdict: Option<Verdict>,
    /// What it saw, or why it could not be done.
    pub observed: String,
    /// It had to fail.
    pub sure: bool,
}

/// What is known of a guard's ability to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The destructive step.
    pub step: StepId,
    /// Of its undoing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
    /// The guard.
    pub check: CheckId,
    /// What it shows.
    pub title: String,
    /// The result.
    pub found: Found,
    /// What was tried.
    pub trials: Vec<Trial>,
    /// Milliseconds.
    pub took_ms: u64,
}

impl Shown {
    /// One line: what it was made to fail with, or why it was not.
    pub fn line(&self) -> String {
        let named = |verdict: Verdict| self.trials.iter().find(|trial| trial.verdict == Some(verdict));
        match self.found {
            Found::Fails => {
                let by: Vec<String> = self
                    .trials
                    .iter()
                    .filter(|trial| trial.verdict == Some(Verdict::Fail))
                    .map(|trial| format!("{} ({})", trial.what, trial.way))
                    .collect();
                by.join("; ")
            }
            Found::StillPasses => {
                let sure = self.trials.iter().find(|t| t.sure && t.verdict == Some(Verdict::Pass));
                format!("with {}: {}", sure.map_or("", |t| &t.what), sure.map_or("", |t| &t.observed))
            }
            Found::Unknown => named(Verdict::Unknown)
                .map(|trial| format!("with {}: {}", trial.what, trial.observed))
                .unwrap_or_default(),
            Found::NotShown => match self.trials.last() {
                Some(trial) => format!("with {}: {}", trial.what, trial.observed),
                None => "there is no way to make it fail; give it a `falsify` of its own".to_owned(),
            },
        }
    }
}

/// How many guards were shown to be able to fail, for a receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Seen to fail.
    pub fails: u64,
    /// Passed although they had to fail.
    pub still_passes: u64,
    /// Unknown where they had to fail.
    pub unknown: u64,
    /// Without a way, or nothing to object to.
    pub not_shown: u64,
}

impl Count {
    /// Counts.
    pub fn of(shown: &[Shown]) -> Count {
        let mut count = Count::default();
        for one in shown {
            *match one.found {
                Found::Fails => &mut count.fails,
                Found::StillPasses => &mut count.still_passes,
                Found::Unknown => &mut count.unknown,
                Found::NotShown => &mut count.not_shown,
            } += 1;
        }
        count
    }

    /// True when every guard was seen to fail, and there was one.
    pub fn whole(&self) -> bool {
        self.fails > 0 && (self.still_passes, self.unknown, self.not_shown) == (0, 0, 0)
    }
}

/// The runbook as it stands by now, and what was captured.
pub type Now = dyn Fn() -> (Arc<Runbook>, BTreeMap<String, String>) + Send + Sync;

/// Makes guards fail.
pub struct Falsifier {
    cx: Context,
    now: Arc<Now>,
    folder: PathBuf,
    reporter: Arc<dyn Reporter>,
    shown: Mutex<Vec<Shown>>,
    done: Mutex<BTreeSet<(StepId, bool)>>,
    scratch: Scratch,
}

#[async_trait]
impl BeforeDestruction for Falsifier {
    async fn look(&self, question: &Question, _: &Blast) -> Result<Then, String> {
        let Question::Confirm { step, undo, .. } = question else { return Ok(Then::Go) };
        let tried = self.try_all(step, undo.is_some()).await?;
        Ok(if tried { Then::MeasureAgain } else { Then::Go })
    }
}

impl Falsifier {
    /// One for a run, whose folder it is. `scratch` is a folder for private copies.
    pub fn new(
        cx: Context,
        now: Arc<Now>,
        folder: &Path,
        scratch: &Path,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        let mut cx = cx;
        // A page or a message is no trial.
        cx.outside.may_send = false;
        Falsifier {
            cx,
            now,
            folder: folder.to_owned(),
            reporter,
            shown: Mutex::default(),
            done: Mutex::default(),
            scratch: Scratch::at(scratch),
        }
    }

    /// What was shown so far.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Undoes what the session left broken when it ended in the middle.
    pub async fn settle(&self) -> Result<bool, String> {
        let (plan, cx) = self.present();
        author::settle(&plan, &cx, &self.folder).await
    }

    fn present(&self) -> (Plan, Context) {
        let (runbook, captured) = (self.now)();
        let mut cx = self.cx.clone();
        cx.targets = Arc::new(runbook.targets.clone());
        let known = cx.script_env.clone();
        cx.script_env = Arc::new(move |script| {
            let mut env = known(script);
            env.extend(captured.clone());
            env
        });
        (Plan::new(runbook), cx)
    }

    /// Tries every guard of a destructive step, once. True when something was tried: then everything has to be measured
    /// again. An error when something could not be undone: nothing may be destroyed then.
    async fn try_all(&self, step: &StepId, undo: bool) -> Result<bool, String> {
        if !self.done.lock().unwrap_or_else(PoisonError::into_inner).insert((step.clone(), undo)) {
            return Ok(false);
        }
        let (plan, cx) = self.present();
        let at_work = At { cx: &cx, folder: &self.folder, scratch: &self.scratch, step };
        self.say(format!("{step}: each guard is made to fail; what is done for that is undone"));
        for (id, spec) in plan.guards(step, undo) {
            let began = cx.world.clock.now();
            let title = spec.common.title.clone().unwrap_or_else(|| registry::title(&spec));
            let (trials, undone) = at_work.guard(&id, &spec).await;
            let shown = Shown {
                step: step.clone(),
                undo,
                check: id,
                title: cx.secrets.text(&title),
                found: conclude(&trials),
                trials,
                took_ms: cx.world.clock.now().since(&began).as_millis() as u64,
            };
            self.say(format!("{}: {}: {}", shown.check, shown.found.word(), shown.line()));
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
            undone?;
        }
        Ok(true)
    }

    fn say(&self, text: String) {
        self.reporter.tell(&Notice::Message(text));
    }
}

/// What it takes to try one guard.
struct At<'a> {
    cx: &'a Context,
    folder: &'a Path,
    scratch: &'a Scratch,
    step: &'a StepId,
}

impl At<'_> {
    /// What was tried, and whether it is undone.
    async fn guard(&self, id: &CheckId, spec: &CheckSpec) -> (Vec<Trial>, Result<(), String>) {
        if let Some(own) = &spec.common.falsify {
            let (trial, undone) = author::falsify(own, self.step, id, spec, self.cx, self.folder).await;
            return (vec![trial], undone);
        }
        (self.ours(id, spec).await, Ok(()))
    }

    async fn ours(&self, id: &CheckId, spec: &CheckSpec) -> Vec<Trial> {
        let mut trials = Vec::new();
        for change in broken(spec) {
            trials.push(self.change(id, spec, change).await);
        }
        let decided = |trial: &Trial| match trial.verdict {
            Some(Verdict::Pass) => trial.sure,
            other => other.is_some(),
        };
        if trials.iter().any(decided) {
            return trials;
        }
        for push in pushed(spec) {
            let evidence = measure::measure(id.clone(), &push.spec, self.cx).await;
            let trial = trial("threshold", &push.words, push.sure, &evidence);
            let fails = trial.verdict == Some(Verdict::Fail);
            trials.push(trial);
            if fails {
                break;
            }
        }
        trials
    }

    /// Changes something where it cannot last, and measures.
    async fn change(&self, id: &CheckId, spec: &CheckSpec, change: Broken) -> Trial {
        let not = |way: &str, why: String| Trial {
            way: way.to_owned(),
            what: "a change that is undone".to_owned(),
            verdict: None,
            observed: why,
            sure: change.sure,
        };
        let Ok(target) = self.cx.target(&change.target).cloned() else {
            return not("rolled back", format!("no target is called `{}`", change.target));
        };
        match &target.sqlite {
            Some(file) => {
                self.copied(id, spec, &change, file).await.unwrap_or_else(|why| not("private copy", why))
            }
            None => self
                .rolled_back(id, spec, &change, &target)
                .await
                .unwrap_or_else(|why| not("rolled back", why)),
        }
    }

    async fn rolled_back(
        &self,
        id: &CheckId,
        spec: &CheckSpec,
        change: &Broken,
        target: &Target,
    ) -> Result<Trial, String> {
        let mut why = "there is nothing in it that could be changed".to_owned();
        let wants = |database: &str, table: &str| change.wants(database, table);
        for database in databases(target, change).await? {
            let place = Place {
                target,
                database: database.as_deref(),
                makes: change.makes,
                rows: change.rows,
                wants: &wants,
            };
            let undone = match Undone::begin(&place).await {
                Ok(Some(undone)) => undone,
                Ok(None) => continue,
                Err(error) => {
                    why = error;
                    continue;
                }
            };
            let evidence = self.measured(id, spec, &change.target, undone.target()).await;
            let mut trial = trial("rolled back", &undone.what, change.sure, &evidence);
            if let Err(error) = undone.intact().await {
                trial.verdict = Some(Verdict::Unknown);
                trial.observed = error;
            }
            undone.end().await;
            return Ok(trial);
        }
        Err(why)
    }

    async fn copied(
        &self,
        id: &CheckId,
        spec: &CheckSpec,
        change: &Broken,
        file: &str,
    ) -> Result<Trial, String> {
        let lite = change.lite.clone().ok_or("there is no way to change it in a copy")?;
        let copy = self.scratch.file()?;
        self.scratch.room_for(file)?;
        let what = copy::changed(file, &copy.0, lite, change.filter()).await?;
        let what = what.ok_or("there is nothing in it that could be changed")?;
        let there = Target { sqlite: Some(copy.0.display().to_string()), ..Target::default() };
        let evidence = self.measured(id, spec, &change.target, there).await;
        Ok(trial("private copy", &what, change.sure, &evidence))
    }

    /// Measures with one target in the place of another.
    async fn measured(&self, id: &CheckId, spec: &CheckSpec, name: &str, target: Target) -> Evidence {
        let mut targets: IndexMap<String, Target> = (*self.cx.targets).clone();
        targets.insert(name.to_owned(), target);
        let cx = Context { targets: Arc::new(targets), ..self.cx.clone() };
        measure::measure(id.clone(), spec, &cx).await
    }
}

/// The databases in which a change may be made, the likeliest first; `None` is the target's own.
async fn databases(target: &Target, change: &Broken) -> Result<Vec<Option<String>>, String> {
    if !change.databases.is_empty() {
        return Ok(change.databases.iter().cloned().map(Some).collect());
    }
    let session = pg::connect(target, &Options::default()).await.map_err(|error| error.message)?;
    let others = "select datname from pg_database where datallowconn and not datistemplate \
        and datname <> current_database() order by datname";
    let rows = session.query(others).await.map_err(|error| error.message)?;
    let others = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).map(Some);
    Ok(std::iter::once(None).chain(others).collect())
}

pub(super) fn trial(way: &str, what: &str, sure: bool, evidence: &Evidence) -> Trial {
    Trial {
        way: way.to_owned(),
        what: what.to_owned(),
        verdict: Some(evidence.verdict()),
        observed: evidence.outcome.observed.clone(),
        sure,
    }
}

/// What trials come to. Of changes each has to be noticed; of thresholds one that fails is enough.
fn conclude(trials: &[Trial]) -> Found {
    let any = |what: &dyn Fn(&&Trial) -> bool| trials.iter().any(|trial| what(&trial));
    let changes = |trial: &&Trial| trial.way != "threshold";
    let sure_pass = |trial: &&Trial| trial.sure && trial.verdict == Some(Verdict::Pass);
    let unknown = |trial: &&Trial| trial.verdict == Some(Verdict::Unknown);
    let fails = |trial: &&Trial| trial.verdict == Some(Verdict::Fail);
    if any(&|t| changes(t) && sure_pass(t)) {
        Found::StillPasses
    } else if any(&|t| changes(t) && unknown(t)) {
        Found::Unknown
    } else if any(&fails) {
        Found::Fails
    } else if any(&sure_pass) {
        Found::StillPasses
    } else if any(&unknown) {
        Found::Unknown
    } else {
        Found::NotShown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(way: &str, verdict: Option<Verdict>, sure: bool) -> Trial {
        Trial { way: way.to_owned(), what: "x".to_owned(), verdict, observed: "y".to_owned(), sure }
    }

    #[test]
    fn only_a_failure_shows_that_it_can_fail() {
        use Verdict::{Fail, Pass, Unknown};
        let table: [(&[Trial], Found); 9] = [
            (&[], Found::NotShown),
            (&[tried("rolled back", None, true)], Found::NotShown),
            (&[tried("rolled back", Some(Fail), true)], Found::Fails),
            (
                &[tried("rolled back", Some(Fail), true), tried("rolled back", Some(Pass), true)],
                Found::StillPasses,
            ),
            (
                &[tried("rolled back", Some(Fail), true), tried("rolled back", Some(Unknown), true)],
                Found::Unknown,
            ),
            (&[tried("threshold", Some(Pass), true), tried("threshold", Some(Fail), true)], Found::Fails),
            (&[tried("threshold", Some(Pass), true)], Found::StillPasses),
            (&[tried("threshold", Some(Pass), false)], Found::NotShown),
            (&[tried("threshold", Some(Unknown), true)], Found::Unknown),
        ];
        for (trials, found) in table {
            assert_eq!(conclude(trials), found, "{trials:?}");
        }
    }
}
