//! A rehearsal as its reports show it: the run's course, and what the engine cannot know: how each step was rehearsed,
//! how the targets were proved, what a rehearsal refused by itself.

use std::collections::BTreeMap;

use super::course::{Case, Course, Fate, Stage};
use super::junit::cases::Suite;
use crate::base::StepId;
use crate::check::Verdict;
use crate::engine::Exit;

/// How a step was rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As it is.
    Whole,
    /// A command stood in for the person.
    StandIn,
    /// Watched for a shorter time: in words.
    Shortened(String),
    /// Not at all: it is a person's work, and nothing stands in for them.
    Not,
}

impl Manner {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Manner::Whole => "rehearsed".to_owned(),
            Manner::StandIn => "rehearsed by its stand-in".to_owned(),
            Manner::Shortened(how) => format!("shortened: {how}"),
            Manner::Not => "NOT REHEARSED: a person's work, and nothing stands in for them".to_owned(),
        }
    }

    /// True when all of the step was rehearsed.
    pub fn whole(&self) -> bool {
        matches!(self, Manner::Whole | Manner::StandIn)
    }
}

/// More that was tried beside the run, for reports: each is a case.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What was tried, in one line.
    pub title: String,
    /// It went as it should; or what was found instead.
    pub outcome: Result<String, String>,
}

/// A rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// The run.
    pub course: Course,
    /// How it ended.
    pub exit: Exit,
    /// How each step was rehearsed.
    pub manners: BTreeMap<StepId, Manner>,
    /// How targets were compared with protected ones: target, other, how.
    pub compared: Vec<(String, String, String)>,
    /// What weakens the proof that this was staging.
    pub weaknesses: Vec<String>,
    /// Why a destruction was not confirmed.
    pub refusals: Vec<String>,
    /// What else was tried.
    pub trials: Vec<Trial>,
    /// More suites for JUnit: what was tried, case by case.
    pub suites: Vec<Suite>,
    /// What was tried, for people: a heading, and lines.
    pub told: Vec<(String, Vec<String>)>,
    /// The commit and the job, where CI says so.
    pub around: Vec<(&'static str, String)>,
}

impl Rehearsed {
    /// How a step was rehearsed.
    pub fn manner(&self, id: &StepId) -> Manner {
        self.manners.get(id).cloned().unwrap_or(Manner::Whole)
    }

    /// Everything went as it should.
    pub fn passed(&self) -> bool {
        self.exit == Exit::Done
            && self.course.complete
            && self.trials.iter().all(|trial| trial.outcome.is_ok())
    }

    /// Steps that were not rehearsed, or only in part.
    pub fn partial(&self) -> Vec<(&Stage, Manner)> {
        let all = self.course.stages.iter().map(|stage| (stage, self.manner(&stage.id)));
        all.filter(|(_, manner)| !manner.whole()).collect()
    }

    /// The result in one line.
    pub fn headline(&self) -> String {
        let (done, all) = (
            self.course.stages.iter().filter(|stage| stage.fate == Fate::Done).count(),
            self.course.stages.len(),
        );
        if self.passed() {
            return match self.partial().len() {
                0 => format!("passed: {all} of {all} steps"),
                n => format!("passed: {all} of {all} steps, {n} of them not rehearsed in whole"),
            };
        }
        let first = self.course.stages.iter().find(|stage| stage.fate != Fate::Done);
        let at = first.map(|stage| format!(", `{}` is {}", stage.id, stage.fate.word())).unwrap_or_default();
        let word = match self.exit {
            Exit::Held => "held",
            Exit::Waiting => "needs a person",
            Exit::Interrupted => "interrupted",
            _ => "failed",
        };
        format!("{word}: {done} of {all} steps are done{at}")
    }
}

/// A check that stands in the way, or would.
pub fn bad(case: &Case) -> bool {
    !case.advisory && case.evidence.as_ref().is_some_and(|evidence| evidence.verdict() != Verdict::Pass)
}
