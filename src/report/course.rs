//! The course of a run, step by step, as facts for reports: what became of each step, every check that stood at it, what
//! the work printed. Made from the journal, so that a report cannot say more than what is on record.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::base::{CheckId, Digest, RunId, StepId};
use crate::check::{Evidence, Verdict};
use crate::engine::RunState;
use crate::engine::state::{End, Status, StepState};
use crate::journal::Line;
use crate::journal::record::{Blocker, Event, Purpose};
use crate::runbook::graph::{self, Section};
use crate::runbook::{CheckSpec, Runbook};
use crate::world::Identity;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Done: its postconditions held.
    Done,
    /// Its work or its postconditions failed, or it no longer holds.
    Failed(String),
    /// Nobody knows how it ended.
    Doubt(String),
    /// Its hold point stayed closed.
    Held(Vec<Blocker>),
    /// The run ended before it.
    NotReached(String),
}

impl Fate {
    /// One word, or two.
    pub fn word(&self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed(_) => "failed",
            Fate::Doubt(_) => "in doubt",
            Fate::Held(_) => "held",
            Fate::NotReached(_) => "not reached",
        }
    }
}

/// A check at a step.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its id.
    pub id: CheckId,
    /// One line for people.
    pub title: String,
    /// What it stood for: `before`, `during`, `after`, `guard`, `at the end`.
    pub role: &'static str,
    /// It gates nothing.
    pub advisory: bool,
    /// What it saw; `None` when it was not measured.
    pub evidence: Option<Evidence>,
}

/// A step.
#[derive(Debug, Clone)]
pub struct Stage {
    /// 1, 2, …
    pub number: usize,
    /// Its id.
    pub id: StepId,
    /// Its title, or its id.
    pub title: String,
    /// `run`, `sql`, `manual`, `record`, `soak`.
    pub work: &'static str,
    /// What it destroys.
    pub destroys: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// How its work ended, in words; `None` when it was not begun.
    pub ending: Option<String>,
    /// The work itself succeeded.
    pub worked: bool,
    /// How long the work took.
    pub took_ms: Option<u64>,
    /// What was observed.
    pub observed: Option<String>,
    /// What it printed; the end of it when it was long.
    pub output: String,
    /// All checks.
    pub cases: Vec<Case>,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Course {
    /// The run.
    pub run: RunId,
    /// The runbook's name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Digest of the runbook.
    pub runbook: Digest,
    /// The environment.
    pub environment: Option<String>,
    /// Version of the program that opened it.
    pub engine: String,
    /// Facts of the host.
    pub facts: BTreeMap<String, String>,
    /// The host.
    pub host: String,
    /// Who, as claimed.
    pub by: String,
    /// When it was opened.
    pub began: Timestamp,
    /// When the last line was written.
    pub ended: Timestamp,
    /// From the first line to the last.
    pub took_ms: u64,
    /// Every step is done and all that should hold holds.
    pub complete: bool,
    /// All steps, in order.
    pub stages: Vec<Stage>,
    /// What was measured at the end, for the run as a whole.
    pub closing: Vec<Case>,
    /// Identities in the order in which they were pinned.
    pub pins: Vec<(String, Identity)>,
    /// The permits: number, step, checks.
    pub permits: Vec<(u64, StepId, Vec<CheckId>)>,
}

/// The course that a journal tells. `output` gives what an attempt of a step printed.
pub fn course(runbook: &Runbook, lines: &[Line], output: &dyn Fn(&StepId, u32) -> String) -> Option<Course> {
    let state = RunState::fold(lines).ok()?;
    let first = lines.first()?;
    let Event::Opened { engine, facts, .. } = &first.event else { return None };
    let seen = Seen::of(lines);
    let mut stages: Vec<Stage> = Vec::with_capacity(runbook.steps.len());
    let mut stopped: Option<String> = None;
    for (nth, step) in runbook.steps.iter().enumerate() {
        let at = state.step(&step.key());
        let fate = fate(&state, &step.key(), &at, stopped.as_deref());
        if fate != Fate::Done && stopped.is_none() {
            stopped = Some(format!("`{}` is {}", step.id, fate.word()));
        }
        stages.push(Stage {
            number: nth + 1,
            id: step.key(),
            title: step.name().to_owned(),
            work: step.work().map_or("", |work| work.word()),
            destroys: step.destroys.as_ref().map(|destroys| destroys.what.clone()),
            fate,
            ending: at.ending.as_ref().map(|ending| ending.describe()),
            worked: at.ending.as_ref().is_some_and(|ending| ending.success()),
            took_ms: took(&at),
            observed: seen.observed.get(&step.key()).cloned(),
            output: if at.attempts > 0 { output(&step.key(), at.attempts) } else { String::new() },
            cases: seen.cases(runbook, nth),
        });
    }
    let mut pins = Vec::new();
    let mut permits = Vec::new();
    for line in lines {
        match &line.event {
            Event::Pinned { target, identity } => pins.push((target.clone(), identity.clone())),
            Event::Permitted { step, undo: false, permit, guards, .. } => {
                permits.push((*permit, step.clone(), guards.clone()));
            }
            _ => {}
        }
    }
    Some(Course {
        run: state.run.clone(),
        name: state.name.clone(),
        title: state.title.clone(),
        runbook: state.runbook.clone(),
        environment: state.environment.clone(),
        engine: engine.clone(),
        facts: facts.clone(),
        host: state.host.clone(),
        by: first.by.clone(),
        began: first.at.wall,
        ended: state.latest.wall,
        took_ms: state.latest.since(&first.at).as_millis() as u64,
        complete: state.end == Some(End::Completed),
        stages,
        closing: seen.closing(),
        pins,
        permits,
    })
}

fn took(at: &StepState) -> Option<u64> {
    let (began, ended) = (at.began?, at.ended?);
    (!ended.jumped_since(&began)).then(|| ended.since(&began).as_millis() as u64)
}

fn fate(state: &RunState, id: &StepId, at: &StepState, stopped: Option<&str>) -> Fate {
    let why = || at.why.clone().unwrap_or_else(|| at.status.word().to_owned());
    match at.status {
        Status::Done => Fate::Done,
        Status::Failed => Fate::Failed(why()),
        Status::Reopened => Fate::Failed(format!("it no longer holds: {}", why())),
        Status::InDoubt => Fate::Doubt(why()),
        Status::NotUndone => Fate::Failed(why()),
        Status::RollingBack => Fate::Doubt("undoing it was begun, and is not complete".to_owned()),
        Status::Running | Status::Ended => {
            Fate::Doubt("it was begun, and is not known to have ended".to_owned())
        }
        Status::Pending | Status::RolledBack => match &state.held {
            Some((step, blockers)) if step == id => Fate::Held(blockers.clone()),
            _ => Fate::NotReached(stopped.unwrap_or("the run ended in front of it").to_owned()),
        },
    }
}

/// What was measured, by step.
#[derive(Default)]
struct Seen {
    measured: BTreeMap<(StepId, &'static str, CheckId), Evidence>,
    order: Vec<(StepId, &'static str, CheckId)>,
    observed: BTreeMap<StepId, String>,
}

const END: &str = "at the end";
const AFTER: &str = "after";

fn role(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Precondition => "before",
        Purpose::Invariant => "during",
        Purpose::Postcondition => AFTER,
        Purpose::Guard => "guard",
        Purpose::WalkDown => END,
    }
}

impl Seen {
    fn of(lines: &[Line]) -> Seen {
        let mut seen = Seen::default();
        for line in lines {
            match &line.event {
                Event::Measured { purpose, step, evidence, .. } => {
                    let key = (step.clone(), role(*purpose), evidence.check.clone());
                    let known = seen.measured.get(&key);
                    // What did not hold while the work ran is not made good by what held later.
                    if *purpose == Purpose::Invariant && known.is_some_and(|e| e.verdict() != Verdict::Pass) {
                        continue;
                    }
                    if known.is_none() {
                        seen.order.push(key.clone());
                    }
                    seen.measured.insert(key, evidence.clone());
                }
                // Of an attempt that failed by its command, nothing of the one before says how it ended.
                Event::Began { step: begun, .. } => {
                    seen.measured.retain(|(step, role, _), _| step != begun || *role != AFTER);
                }
                Event::Observed { step, text } => drop(seen.observed.insert(step.clone(), text.clone())),
                _ => {}
            }
        }
        seen
    }

    /// A step's own checks, measured or not, then what else was measured for its permit.
    fn cases(&self, runbook: &Runbook, nth: usize) -> Vec<Case> {
        let Some(step) = runbook.steps.get(nth) else { return Vec::new() };
        let destroys = step.destroys.is_some();
        let mut own = Vec::new();
        for section in Section::OWN {
            let role = match section {
                Section::Pre if destroys => "guard",
                Section::Pre => "before",
                Section::Inv => "during",
                _ => AFTER,
            };
            own.extend(graph::check_ids(step, section).into_iter().map(|(id, spec)| (id, spec, role)));
        }
        if destroys {
            let known: Vec<CheckId> = own.iter().map(|(id, ..)| id.clone()).collect();
            let others = graph::guards(runbook, nth).into_iter().filter(|(id, _)| !known.contains(id));
            own.splice(0..0, others.map(|(id, spec)| (id, spec, "guard")));
        }
        own.into_iter().map(|(id, spec, role)| self.case(step.key(), id, spec, role)).collect()
    }

    fn case(&self, step: StepId, id: CheckId, spec: &CheckSpec, role: &'static str) -> Case {
        let evidence = self.measured.get(&(step, role, id.clone())).cloned();
        let title = evidence.as_ref().map(|evidence| evidence.title.clone());
        let named = || spec.common.title.clone().unwrap_or_else(|| crate::check::registry::title(spec));
        Case { id, title: title.unwrap_or_else(named), role, advisory: spec.common.advisory, evidence }
    }

    fn closing(&self) -> Vec<Case> {
        let last = self.order.iter().filter(|(_, role, _)| *role == END);
        let case = |key: &(StepId, &'static str, CheckId)| {
            let evidence = self.measured.get(key)?;
            Some(Case {
                id: key.2.clone(),
                title: evidence.title.clone(),
                role: END,
                advisory: false,
                evidence: Some(evidence.clone()),
            })
        };
        last.filter_map(case).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{evidence, lines};

    #[test]
    fn a_new_attempt_has_no_postconditions_until_they_are_measured() {
        let began = |attempt| Event::Began { step: "copy".into(), attempt, permit: None };
        let measured = |purpose, id| {
            let (step, evidence) = ("copy".into(), evidence(id, Verdict::Fail));
            Event::Measured { purpose, step, evidence, advisory: false }
        };
        let first = vec![
            measured(Purpose::Precondition, "copy.pre.a"),
            began(1),
            measured(Purpose::Invariant, "copy.inv.b"),
            measured(Purpose::Postcondition, "copy.post.c"),
        ];
        let known = |events: Vec<Event>| {
            let seen = Seen::of(&lines(events));
            seen.measured.into_keys().map(|(_, _, id)| id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(known(first.clone()), ["copy.post.c", "copy.pre.a", "copy.inv.b"]);
        assert_eq!(known([first, vec![began(2)]].concat()), ["copy.pre.a", "copy.inv.b"]);
    }
}
