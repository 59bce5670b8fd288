//! The runbook as it is rehearsed: what stands in for a person takes the person's place, soaks are as short as the author
//! allows, and the environment's proofs are guards of the first step and of every destructive one.
//!
//! Invariant: nothing is taken out. Every check of the runbook is still there, and so is every confirmation.

use crate::base::Span;
use crate::runbook::{CheckSpec, Runbook, Step};

/// How a step is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// As it is.
    Whole,
    /// A command stands in for the person.
    StandIn,
    /// It is a person's work, and nothing stands in for them.
    Not,
    /// Watched for a shorter time.
    Shortened {
        /// In the runbook.
        wanted: Span,
        /// In the rehearsal.
        watched: Span,
    },
}

/// How this step is rehearsed; the step as it stands in the file.
pub fn how(step: &Step) -> How {
    if step.manual.is_some() {
        return if step.rehearse.is_some() { How::StandIn } else { How::Not };
    }
    match &step.soak {
        Some(soak) => match soak.rehearse_for {
            Some(watched) if watched.0 < soak.length.0 => How::Shortened { wanted: soak.length, watched },
            _ => How::Whole,
        },
        None => How::Whole,
    }
}

/// The runbook as it is rehearsed in this environment.
pub fn rehearsed(runbook: &Runbook, environment: Option<&str>) -> Runbook {
    let mut runbook = runbook.clone();
    let proof: Vec<CheckSpec> = environment
        .and_then(|name| runbook.environments.get(name))
        .map(|environment| environment.proof.clone())
        .unwrap_or_default();
    for (nth, step) in runbook.steps.iter_mut().enumerate() {
        if let (Some(manual), Some(run)) = (&step.manual, &step.rehearse) {
            step.observes = manual.observe.is_some();
            step.run = Some(run.clone());
            step.manual = None;
        }
        if let (How::Shortened { watched, .. }, Some(soak)) = (how(step), step.soak.as_mut()) {
            soak.length = watched;
        }
        if nth == 0 || step.destroys.is_some() {
            step.preconditions.extend(proof.iter().enumerate().map(|(nth, check)| named(check, nth)));
        }
    }
    runbook
}

/// A proof among a step's own checks has a name that no check of the author's has.
fn named(check: &CheckSpec, nth: usize) -> CheckSpec {
    let mut check = check.clone();
    let name = check.common.id.clone().unwrap_or_else(|| check.kind.clone());
    check.common.id = Some(format!("proof-{}-{name}", nth + 1));
    check
}
