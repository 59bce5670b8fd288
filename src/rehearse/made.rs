//! The receipt of a rehearsal, made of what its run has on record.

use std::collections::BTreeMap;

use super::apart::Apart;
use super::places::Place;
use super::receipt::{Guarded, Receipt, Rehearsed as Target, Script, Step, Variables};
use super::standin::{How, how};
use crate::base::{Digest, StepId};
use crate::report::rehearsed::{Manner, Rehearsed};
use crate::runbook::Runbook;

/// What the run's journal does not say.
#[derive(Debug)]
pub struct Around<'a> {
    /// The targets before the first step.
    pub staging: &'a Place,
    /// How they were compared.
    pub apart: &'a Apart,
    /// Proofs of the environment's own.
    pub proofs: usize,
    /// Scripts, as they were when it began.
    pub called: Vec<Script>,
    /// Variables.
    pub variables: Variables,
    /// Head of the journal.
    pub head: Digest,
    /// More facts of the host.
    pub facts: BTreeMap<String, String>,
}

/// How each step of the runbook, as it stands in the file, is rehearsed.
pub fn manners(runbook: &Runbook) -> BTreeMap<StepId, Manner> {
    let manner = |step: &crate::runbook::Step| match how(step) {
        How::Whole => Manner::Whole,
        How::StandIn => Manner::StandIn,
        How::Not => Manner::Not,
        How::Shortened { wanted, watched } => {
            Manner::Shortened(format!("watched for {watched} instead of {wanted}"))
        }
    };
    runbook.steps.iter().map(|step| (step.key(), manner(step))).collect()
}

fn word(manner: &Manner) -> &'static str {
    match manner {
        Manner::Whole => "whole",
        Manner::StandIn => "stand_in",
        Manner::Shortened(_) => "shortened",
        Manner::Not => "not",
    }
}

/// The receipt.
pub fn receipt(all: &Rehearsed, around: Around<'_>) -> Receipt {
    let course = &all.course;
    let steps = course.stages.iter().map(|stage| {
        let manner = all.manner(&stage.id);
        Step {
            id: stage.id.clone(),
            rehearsed: word(&manner).to_owned(),
            how: (!manner.whole()).then(|| manner.words()),
            took_ms: stage.took_ms,
        }
    });
    let targets = around.staging.targets.iter().map(|side| {
        let last = course.pins.iter().rev().find(|(name, _)| *name == side.target);
        Target {
            name: side.target.clone(),
            before: side.identity.as_ref().ok().cloned(),
            pinned: last.map(|(_, identity)| identity.clone()),
        }
    });
    let not_whole: Vec<String> =
        all.partial().iter().map(|(stage, manner)| format!("{}: {}", stage.id, manner.words())).collect();
    let mut facts = course.facts.clone();
    facts.extend(around.facts);
    Receipt {
        name: course.name.clone(),
        runbook: course.runbook.clone(),
        called: around.called,
        engine: course.engine.clone(),
        environment: course.environment.clone().unwrap_or_default(),
        variables: around.variables,
        targets: targets.collect(),
        facts,
        host: course.host.clone(),
        steps: steps.collect(),
        guards: course
            .permits
            .iter()
            .map(|(_, step, checks)| Guarded { step: step.clone(), checks: checks.clone() })
            .collect(),
        compared: around.apart.compared.clone(),
        proofs: around.proofs as u64,
        weaknesses: all.weaknesses.clone(),
        began: course.began,
        ended: course.ended,
        took_ms: course.took_ms,
        by: course.by.clone(),
        run: course.run.clone(),
        head: around.head,
        falsified: None,
        faults: None,
        whole: all.passed() && not_whole.is_empty(),
        not_whole,
    }
}
