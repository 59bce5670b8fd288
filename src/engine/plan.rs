//! A runbook made ready for the machine: which checks and targets each step needs, and what proves the copy that a
//! destructive step relies on. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{CheckId, StepId};
use crate::check::{DataProof, ProofSource, registry};
use crate::gate::{Guard, Window};
use crate::runbook::graph::{self, Section};
use crate::runbook::model::{Destroys, Work};
use crate::runbook::{CheckSpec, Runbook, Step};

/// A check with its place.
pub type Placed = (CheckId, CheckSpec);

/// A runbook, ready.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The runbook, variables replaced.
    pub runbook: Arc<Runbook>,
    index: BTreeMap<StepId, usize>,
    recorded_of: BTreeMap<String, String>,
    /// Windows of environments, and of steps, read once: a time zone comes from the disk.
    environments: BTreeMap<String, Result<Window, String>>,
    windows: BTreeMap<StepId, Result<Window, String>>,
}

impl Plan {
    /// Makes a runbook ready.
    pub fn new(runbook: Arc<Runbook>) -> Self {
        let index = runbook.steps.iter().enumerate().map(|(i, step)| (step.key(), i)).collect();
        let recorded_of = runbook
            .steps
            .iter()
            .filter_map(|step| step.record.as_ref())
            .map(|record| (record.name.clone(), record.target.clone()))
            .collect();
        let environments = runbook.environments.iter().filter_map(|(name, environment)| {
            Some((name.clone(), Window::read(environment.change_window.as_ref()?)))
        });
        let environments = environments.collect();
        let windows = runbook
            .steps
            .iter()
            .filter_map(|step| Some((step.key(), Window::read(step.change_window.as_ref()?))));
        let windows = windows.collect();
        Plan { runbook, index, recorded_of, environments, windows }
    }

    /// The windows that have to be open before a step begins: the environment's, and the step's own.
    pub fn windows(&self, environment: Option<&str>, step: &StepId) -> Vec<Result<Window, String>> {
        let place = environment.and_then(|name| self.environments.get(name));
        place.into_iter().chain(self.windows.get(step)).cloned().collect()
    }

    /// Position of a step; the number of steps for one that does not exist.
    pub fn position(&self, id: &StepId) -> usize {
        self.index.get(id).copied().unwrap_or(self.runbook.steps.len())
    }

    /// A step.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.index.get(id).and_then(|i| self.runbook.steps.get(*i))
    }

    /// One list of a step's checks; advisory ones included.
    pub fn checks(&self, id: &StepId, section: Section) -> Vec<Placed> {
        self.step(id).map(|step| owned(graph::check_ids(step, section))).unwrap_or_default()
    }

    /// A check by its id.
    pub fn find(&self, id: &CheckId) -> Option<Placed> {
        let (step, _) = id.as_str().split_once('.')?;
        let step = self.step(&StepId::from(step))?;
        let mut all = Section::ALL.iter().flat_map(|section| graph::check_ids(step, *section));
        all.find(|(known, _)| known == id).map(|(id, spec)| (id, spec.clone()))
    }

    /// What must pass for a destructive step, or for undoing it where that destroys: own preconditions and everything
    /// that still has to hold.
    pub fn guards(&self, id: &StepId, undo: bool) -> Vec<Placed> {
        let at = self.position(id);
        owned(if undo { graph::undo_guards(&self.runbook, at) } else { graph::guards(&self.runbook, at) })
    }

    /// What the step's work destroys, or its undoing.
    pub fn destroys(&self, id: &StepId, undo: bool) -> Option<&Destroys> {
        self.step(id).and_then(|step| step.destroying(undo))
    }

    /// Postconditions that still have to hold when the step at `position` begins, without those that gate nothing.
    pub fn standing(&self, position: usize) -> Vec<(CheckId, CheckSpec, StepId)> {
        graph::standing(&self.runbook, position)
            .into_iter()
            .filter(|(_, spec, _)| !spec.common.advisory)
            .map(|(id, spec, step)| (id, spec.clone(), step))
            .collect()
    }

    /// The same when the step at `position` may have begun already: what lasted until its beginning is over then.
    pub fn holding(&self, position: usize, begun: bool) -> Vec<(CheckId, CheckSpec, StepId)> {
        let next = self.runbook.steps.get(position).map(|step| step.id.as_str());
        let mut standing = self.standing(position);
        standing.retain(|(_, spec, _)| {
            !begun || spec.common.until.is_none() || spec.common.until.as_deref() != next
        });
        standing
    }

    /// The step's work, or that of its undoing.
    pub fn work(&self, id: &StepId, undo: bool) -> Option<Work<'_>> {
        let step = self.step(id)?;
        if undo { step.rollback.as_ref()?.work() } else { step.work() }
    }

    /// Targets whose identity is proved before the step's work, or before its undoing: those it works on and, where it
    /// destroys, what goes, what stays, and those of its guards.
    pub fn needs(&self, id: &StepId, undo: bool) -> Vec<String> {
        let mut names = Vec::new();
        match self.work(id, undo) {
            Some(Work::Sql(sql)) => names.push(sql.target.clone()),
            Some(Work::Record(record)) => names.push(record.target.clone()),
            _ => {}
        }
        if let Some(destroys) = self.destroys(id, undo) {
            names.extend(destroys.target.clone());
            names.extend(destroys.survives_in.clone());
            for (_, spec) in self.guards(id, undo) {
                names.extend(registry::build(&spec).map(|check| check.targets()).unwrap_or_default());
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// A check as the gate needs it.
    pub fn guard((id, spec): Placed) -> Guard {
        let check = registry::build(&spec).ok();
        let targets = check.as_ref().map(|check| check.targets()).unwrap_or_default();
        let keeps = check.as_ref().map(|check| check.keeps()).unwrap_or_default();
        Guard { id, targets, keeps, waivable: spec.common.waivable }
    }

    /// The guards that prove the copy that stays; `None` when there is none to prove. A step that destroys a target
    /// relies on a copy of its data. An undoing removes a copy: where it names what the data survives in, that has to
    /// be proved to hold what was recorded, or what another target holds; else its other guards have to do.
    pub fn proofs(&self, id: &StepId, undo: bool) -> Option<Vec<CheckId>> {
        let destroys = self.destroys(id, undo)?;
        if undo {
            let survivor = destroys.survives_in.as_ref()?;
            return Some(self.proving(id, undo, |proof| proof.held_by == *survivor));
        }
        let doomed = destroys.data_of()?;
        let file = self.runbook.targets.get(doomed).is_some_and(|target| target.sqlite.is_some());
        let serves = |proof: &DataProof| {
            let of = match &proof.of {
                ProofSource::Target(name) => Some(name),
                ProofSource::Recorded(name) => self.recorded_of.get(name),
            };
            let held = &proof.held_by;
            of == Some(doomed)
                && held != doomed
                && destroys.survives_in.as_ref().is_none_or(|name| name == held)
                && proof.covers(destroys, file)
        };
        Some(self.proving(id, undo, serves))
    }

    /// The guards that prove something about data that serves.
    fn proving(&self, id: &StepId, undo: bool, serves: impl Fn(&DataProof) -> bool) -> Vec<CheckId> {
        let proving = self.guards(id, undo).into_iter().filter(|(_, spec)| {
            registry::build(spec).ok().and_then(|check| check.proves()).is_some_and(|proof| serves(&proof))
        });
        proving.map(|(id, _)| id).collect()
    }
}

fn owned(checks: Vec<(CheckId, &CheckSpec)>) -> Vec<Placed> {
    checks.into_iter().map(|(id, spec)| (id, spec.clone())).collect()
}
