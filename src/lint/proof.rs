//! Which checks prove that data which is about to go is held elsewhere.

use std::collections::HashMap;

use super::{CheckFacts, Facts, Places};
use crate::base::CheckId;
use crate::check::{DataProof, ProofSource};
use crate::problem::Problem;
use crate::runbook::graph::{self, Section};
use crate::runbook::model::Destroys;
use crate::runbook::{CheckSpec, Runbook};

/// The target whose data a proof is about: the one that is compared, or the one whose manifest was recorded.
pub fn subject<'a>(runbook: &'a Runbook, proof: &'a DataProof) -> Option<&'a str> {
    match &proof.of {
        ProofSource::Target(target) => Some(target),
        ProofSource::Recorded(name) => {
            let records = runbook.steps.iter().filter_map(|step| step.record.as_ref());
            records.into_iter().find(|record| record.name == *name).map(|record| record.target.as_str())
        }
    }
}

/// The guards of the destructive step with index `at` that prove another copy of the target it destroys; `None` when no
/// target's data go, so that there is nothing to prove. `facts` as for [`super::lint`].
pub fn proofs(runbook: &Runbook, at: usize, facts: Facts<'_>) -> Option<Vec<CheckId>> {
    let destroys = runbook.steps.get(at)?.destroys.as_ref()?;
    let doomed = destroys.data_of()?;
    let file = is_file(runbook, doomed);
    let proving = graph::guards(runbook, at).into_iter().filter(|(_, spec)| {
        let proof = facts(spec).ok().and_then(|facts| facts.proves);
        proof.is_some_and(|proof| {
            subject(runbook, &proof) == Some(doomed)
                && holds(&proof, destroys)
                && proof.covers(destroys, file)
        })
    });
    Some(proving.map(|(id, _)| id).collect())
}

/// True when the copy is where it has to be.
pub(super) fn holds(proof: &DataProof, destroys: &Destroys) -> bool {
    destroys.target.as_ref() != Some(&proof.held_by)
        && destroys.survives_in.as_ref().is_none_or(|wanted| proof.held_by == *wanted)
}

/// True for a target that is an SQLite file.
pub(super) fn is_file(runbook: &Runbook, target: &str) -> bool {
    runbook.targets.get(target).is_some_and(|target| target.sqlite.is_some())
}

/// A check that proves a copy, and where it stands.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub at: usize,
    pub section: Section,
    pub nth: usize,
    pub spec: &'a CheckSpec,
    pub proof: DataProof,
}

/// All proofs of a runbook, by the target whose data they are about.
#[derive(Debug, Default)]
pub(super) struct Proofs<'a> {
    pub of: HashMap<String, Vec<Known<'a>>>,
    /// Steps with a check that cannot be set up before its variables have values: it may be the proof.
    pub open: Vec<(usize, Section)>,
}

/// Sets every check up once; says which cannot be.
pub(super) fn collect<'a>(
    runbook: &'a Runbook,
    facts: Facts<'_>,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) -> Proofs<'a> {
    let recorded: HashMap<&str, &str> = runbook
        .steps
        .iter()
        .filter_map(|step| step.record.as_ref())
        .map(|record| (record.name.as_str(), record.target.as_str()))
        .collect();
    let mut all = Proofs::default();
    for (at, step) in runbook.steps.iter().enumerate() {
        for section in Section::ALL {
            for (nth, spec) in section.of(step).iter().enumerate() {
                let range = || places.check(at, section, nth, None);
                let proof = match facts(spec) {
                    Ok(CheckFacts { proves: Some(proof), .. }) => proof,
                    Ok(_) => continue,
                    Err(_) if unresolved(spec) => {
                        all.open.push((at, section));
                        continue;
                    }
                    Err(why) => {
                        problems.push(Problem::error("HP054", format!("`{}`: {why}", spec.kind), range()));
                        continue;
                    }
                };
                let of = match &proof.of {
                    ProofSource::Target(target) => Some(target.as_str()),
                    ProofSource::Recorded(name) => recorded.get(name.as_str()).copied(),
                };
                if matches!(&proof.of, ProofSource::Target(target) if *target == proof.held_by) {
                    let message = format!("`{}` compares `{}` with itself", spec.kind, proof.held_by);
                    problems
                        .push(Problem::error("HP055", message, range()).help("name two different targets"));
                    continue;
                }
                if let Some(of) = of {
                    all.of.entry(of.to_owned()).or_default().push(Known { at, section, nth, spec, proof });
                }
            }
        }
    }
    all
}

/// Sets the checks of a file without steps up once; says which cannot be, and which keys mean nothing there.
pub(super) fn alone(runbook: &Runbook, facts: Facts<'_>, places: &Places<'_>, problems: &mut Vec<Problem>) {
    for (nth, spec) in runbook.checks.iter().enumerate() {
        if spec.common.wait_up_to.is_some() {
            problems.push(super::tidy::no_wait(places.alone(nth)));
        }
        match facts(spec) {
            Ok(CheckFacts {
                proves: Some(DataProof { of: ProofSource::Target(of), held_by, .. }), ..
            }) if of == held_by => {
                let message = format!("`{}` compares `{held_by}` with itself", spec.kind);
                problems.push(
                    Problem::error("HP055", message, places.alone(nth)).help("name two different targets"),
                );
            }
            Ok(_) => {}
            Err(_) if unresolved(spec) => {}
            Err(why) => {
                problems.push(Problem::error("HP054", format!("`{}`: {why}", spec.kind), places.alone(nth)));
            }
        }
    }
}

/// True when a parameter still holds a variable without a value.
pub(super) fn unresolved(spec: &CheckSpec) -> bool {
    fn open(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains("${"),
            serde_json::Value::Array(items) => items.iter().any(open),
            serde_json::Value::Object(map) => map.values().any(open),
            _ => false,
        }
    }
    spec.params.values().any(open)
}
