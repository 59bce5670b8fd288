//! Guards that are made to fail in a rehearsal: brings the trials into its session, and says what came of them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::json;

use super::book::Bound;
use super::error::CliError;
use super::global::Cmd;
use super::outcome::Beside;
use super::rehearse::Ready;
use super::session::{self, Cast, Session};
use crate::base::text::{count, neutral};
use crate::engine::{Exit, Notice, Plan, Reporter};
use crate::journal::RunDir;
use crate::rehearse;
use crate::rehearse::falsify::{Count, Falsifier, Found, Shown};
use crate::report::junit::cases::{Came, Case, Suite};
use crate::report::rehearsed::Trial;
use crate::ui::view::View;
use crate::ui::{Out, PlainReporter};

/// The trials of a session.
pub struct Trials {
    /// Looks in front of each destruction.
    pub falsifier: Arc<Falsifier>,
    stage: Arc<Stage>,
}

/// The session's screen, once there is one.
#[derive(Default)]
struct Stage(OnceLock<(View, PlainReporter)>);

impl Reporter for Stage {
    fn tell(&self, notice: &Notice) {
        if let Some((_, screen)) = self.0.get() {
            screen.tell(notice);
        }
    }
}

impl Trials {
    /// For a session that is about to be driven.
    pub fn new(cmd: &Cmd, session: &Session<'_>) -> Result<Trials, CliError> {
        let stage: Arc<Stage> = Arc::default();
        let cx = session::context(cmd, &session.bound, Some(&session.dir));
        let (known, first) = (stage.clone(), session.bound.runbook.clone());
        let now = move || match known.0.get() {
            Some((view, _)) => {
                let snapshot = view.snapshot();
                (snapshot.runbook, snapshot.state.captured)
            }
            None => (first.clone(), BTreeMap::new()),
        };
        let store = cmd.store()?;
        let falsifier = Falsifier::new(
            cx,
            Arc::new(now),
            &session.dir.path,
            store.root(),
            stage.clone() as Arc<dyn Reporter>,
        );
        Ok(Trials { falsifier: Arc::new(falsifier), stage })
    }

    /// Makes the session's screen known when there is one.
    pub fn enter(&self, cmd: &Cmd, cast: &mut Cast) {
        let (stage, out) = (self.stage.clone(), Out::stderr(&cmd.err_style));
        let then = std::mem::replace(&mut cast.operator, Box::new(|_, nobody| nobody));
        cast.operator = Box::new(move |view, nobody| {
            let _ = stage.0.set((view.clone(), PlainReporter::new(out, view.clone())));
            then(view, nobody)
        });
    }

    /// After the session: undoes what is left, and says what came of the trials. Where something does not come back, the
    /// rehearsal is held.
    pub fn close(&self, cmd: &Cmd, ready: &Ready, exit: Exit, beside: &mut Beside) -> Result<Exit, CliError> {
        let exit = match session::runtime()?.block_on(self.falsifier.settle())? {
            Ok(_) => exit,
            Err(why) => {
                cmd.err(&format!("{}\n", neutral(&why)));
                Exit::Held
            }
        };
        let shown = self.falsifier.shown();
        let count = Count::of(&shown);
        let runbook = &ready.bound.runbook;
        let nothing = !runbook.steps.iter().any(|step| step.destroys.is_some());
        beside.falsified = Some(json!({
            "all": count.whole() || (nothing && shown.is_empty()),
            "fails": count.fails, "still_passes": count.still_passes,
            "unknown": count.unknown, "not_shown": count.not_shown,
            "guards": shown,
        }));
        beside.told.push(("guards".to_owned(), summary(&shown)));
        beside.suites.extend(suites(&runbook.name, &shown));
        let found = shown.iter().filter(|one| one.found == Found::StillPasses);
        beside.findings.extend(found.map(|one| Trial {
            title: format!("guard {}", one.check),
            outcome: Err(format!("it still passes {}", one.line())),
        }));
        Ok(exit)
    }
}

/// Before somebody goes on with a run: what a rehearsal broke on purpose, and was killed before it could undo it, is
/// undone. Where that fails nobody goes on.
pub fn settle(cmd: &Cmd, bound: &Bound, dir: &RunDir) -> Result<(), CliError> {
    let plan = Plan::new(bound.runbook.clone());
    let cx = session::context(cmd, bound, Some(dir));
    match session::runtime()?.block_on(rehearse::settle(&plan, &cx, &dir.path))? {
        Ok(true) => {
            cmd.err("what the rehearsal had broken on purpose when it was interrupted is undone\n");
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(why) => Err(CliError::new(Exit::Held, neutral(&why))
            .hint("bring it back by hand (`falsify.undo` of that check), then go on")),
    }
}

/// What came of it, for people: the count, and each that was not seen to fail.
pub fn summary(shown: &[Shown]) -> Vec<String> {
    if shown.is_empty() {
        return vec!["none was made to fail: no destructive step was reached".to_owned()];
    }
    let all = Count::of(shown);
    let mut first =
        format!("{} made to fail: {} can fail", count(shown.len() as u64, "guard", "guards"), all.fails);
    for (n, words) in [
        (all.still_passes, "STILL PASS"),
        (all.unknown, "unknown, not shown to fail"),
        (all.not_shown, "not shown"),
    ] {
        if n > 0 {
            first.push_str(&format!(", {n} {words}"));
        }
    }
    let others = shown.iter().filter(|one| one.found != Found::Fails);
    let others = others.map(|one| format!("{}: {}: {}", one.check, one.found.word(), one.line()));
    std::iter::once(first).chain(others).collect()
}

/// The same as JUnit suites, one for each destructive step.
pub fn suites(book: &str, shown: &[Shown]) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    for one in shown {
        let undo = if one.undo { ".undo" } else { "" };
        let name = format!("{book}.falsify.{}{undo}", one.step);
        let case = Case {
            name: format!("{} ({})", one.title, one.check),
            came: match one.found {
                Found::Fails => Came::Well,
                Found::StillPasses => {
                    Came::Failure(format!("guard {} still passes {}", one.check, one.line()))
                }
                Found::Unknown | Found::NotShown => {
                    Came::Skipped(format!("{}: {}", one.found.word(), one.line()))
                }
            },
            told: one
                .trials
                .iter()
                .map(|trial| {
                    let verdict = trial.verdict.map_or("not done", crate::check::Verdict::word);
                    format!("{} ({}): {verdict}: {}", trial.what, trial.way, trial.observed)
                })
                .collect(),
            took_ms: one.took_ms,
        };
        match suites.iter_mut().find(|suite| suite.name == name) {
            Some(suite) => suite.cases.push(case),
            None => suites.push(Suite { name, cases: vec![case] }),
        }
    }
    suites
}
