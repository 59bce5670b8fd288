//! The reasons against a destruction, one function a kind. All of them are found at once.

use crate::base::{CheckId, Moment, Span};
use crate::check::Verdict;
use crate::journal::record::Blocker;

use super::targets::{foreign, identities, survivors};
use super::{Proof, Request, VALIDITY, approvals, elsewhere, window};

/// Subject of the blockers that only somebody's typing takes away.
pub(super) const CONFIRMATION: &str = "confirmation";

/// Everything that stands against it.
pub(super) fn blockers(request: &Request<'_>) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    unfinished(request, &mut blockers);
    guards(request, &mut blockers);
    identities(request, &mut blockers);
    copy(request, &mut blockers);
    blast(request, &mut blockers);
    survivors(request, &mut blockers);
    confirmation(request, &mut blockers);
    windows(request, &mut blockers);
    if request.runbook != request.runbook_now {
        blockers.push(blocker(
            "runbook",
            "The runbook is the one that the run was started with",
            format!("its copy in the run's folder has digest {}", request.runbook_now.short()),
            format!("digest {}", request.runbook.short()),
            "put the original copy back, or abandon this run and start a new one",
        ));
    }
    for (path, is) in request.scripts.changed(request.scripts_now) {
        let was = request.scripts.files.get(path).map(|digest| digest.short()).unwrap_or_default();
        blockers.push(blocker(
            "script",
            "The scripts are those that the run was started with",
            format!("{path} in {}: {is}", request.scripts.folder),
            format!("digest {was}"),
            "put the original file back, or abandon this run and start a new one",
        ));
    }
    approvals::missing(request, &mut blockers);
    blockers
}

pub(super) fn blocker(
    subject: &str,
    title: &str,
    observed: impl Into<String>,
    expected: impl Into<String>,
    next: &str,
) -> Blocker {
    Blocker {
        subject: subject.to_owned(),
        title: title.to_owned(),
        observed: observed.into(),
        expected: expected.into(),
        next: next.to_owned(),
    }
}

fn unfinished(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    for (step, why) in request.unfinished {
        blockers.push(blocker(
            step.as_str(),
            "Every earlier step is done",
            format!("step `{step}` is {why}"),
            "done, with its postconditions passing",
            "resolve that step first",
        ));
    }
}

fn guards(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    if request.guards.is_empty() {
        blockers.push(blocker(
            "guards",
            "Something was measured",
            "no check guards this step",
            "at least one passing check",
            "add preconditions; the run cannot destroy on trust",
        ));
    } else if waived(request).len() == request.guards.len() {
        blockers.push(blocker(
            "guards",
            "Something was measured, and passes",
            "every check that guards this step is waived",
            "at least one passing check",
            "put one of them right; nothing is destroyed on waivers alone",
        ));
    }
    for super::Guard { id, targets, .. } in request.guards {
        match request.evidence.get(id) {
            None => blockers.push(blocker(
                id.as_str(),
                id.as_str(),
                "not measured in this session",
                "a fresh pass",
                "measure again",
            )),
            Some(evidence) => {
                let mut say = |observed: String, next: &str| {
                    blockers.push(blocker(
                        id.as_str(),
                        &evidence.title,
                        observed,
                        evidence.outcome.expected.clone(),
                        next,
                    ));
                };
                if evidence.verdict() != Verdict::Pass && waives(request, id).is_some_and(|why| why.is_none())
                {
                    // Somebody answers for it; it was measured all the same, and is on record as what it is.
                } else if evidence.verdict() != Verdict::Pass {
                    let next =
                        evidence.outcome.help.as_deref().unwrap_or("put this right, then measure again");
                    let word = if evidence.verdict() == Verdict::Unknown { "unknown: " } else { "" };
                    let waiver = request.waivers.iter().find(|waiver| waiver.check == *id);
                    let refused = waiver.zip(waives(request, id).flatten());
                    let refused = refused.map(|(waiver, why)| waiver.refused(&why)).unwrap_or_default();
                    say(format!("{word}{}{refused}", evidence.outcome.observed), next);
                } else if let Some(why) = stale(&evidence.at, request) {
                    say(format!("passed, but {why}"), "measure again");
                } else if let Some(why) = foreign(evidence, targets, request) {
                    say(
                        format!("passed, but {why}"),
                        "find out what answers at that address now, then measure again",
                    );
                }
            }
        }
    }
}

/// The waiver of a guard: none; one that counts; or one that does not, and why.
fn waives(request: &Request<'_>, id: &CheckId) -> Option<Option<String>> {
    let waiver = request.waivers.iter().find(|waiver| waiver.check == *id)?;
    let guard = request.guards.iter().find(|guard| guard.id == *id)?;
    let evidence = request.evidence.get(id)?;
    let approvals = request.approvals;
    let objection = || waiver.objection(&approvals.operator, approvals.signed, &request.clock());
    // What the gate itself knows of the guard decides, whatever the waiver's maker thought.
    let operator = approvals.operator.same(&waiver.person);
    let why = (!guard.waivable)
        .then(|| "the runbook does not let this check be waived".to_owned())
        .or_else(|| operator.then(|| "who gave it drives the run".to_owned()))
        .or_else(objection)
        .or_else(|| waiver.uncovered(evidence))
        .or_else(|| elsewhere(evidence, request.pins))
        .or_else(|| stale(&evidence.at, request));
    Some(why)
}

/// The guards that did not pass, and are waived.
pub(super) fn waived(request: &Request<'_>) -> Vec<CheckId> {
    let failing = |id: &CheckId| request.evidence.get(id).is_some_and(|e| e.verdict() != Verdict::Pass);
    let guards = request.guards.iter().map(|guard| &guard.id);
    guards.filter(|id| failing(id) && waives(request, id) == Some(None)).cloned().collect()
}

fn windows(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    for window in request.windows {
        match window {
            Ok(window) => blockers.extend(window.blocker(&request.clock())),
            Err(why) => blockers.push(blocker(
                window::WINDOW,
                "It is a time at which changes may begin",
                format!("unknown: {why}"),
                "a window that can be read",
                "correct the runbook, or install the time zone database",
            )),
        }
    }
}

/// Why a measurement is too old to open a hold point, if it is.
pub(super) fn stale(at: &Moment, request: &Request<'_>) -> Option<String> {
    let now = request.now;
    if at.boot_ms < request.epoch_began.boot_ms {
        Some("it was measured before this session began".to_owned())
    } else if now.jumped_since(at) {
        Some("the clock has jumped since".to_owned())
    } else if now.since(at) > VALIDITY {
        Some(format!("{} ago; only {} count", Span(now.since(at)), Span(VALIDITY)))
    } else {
        None
    }
}

/// Subject of the blocker that says that no other copy is proved.
pub const COPY: &str = "copy";
/// How its observation begins when there are checks that should prove it; their ids follow.
pub const NOT_SHOWN_BY: &str = "not shown by ";

fn copy(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let Proof::Guards(ids) = request.proof else { return };
    let proved = ids.iter().any(|id| {
        request.guards.iter().any(|guard| guard.id == *id)
            && request.evidence.get(id).is_some_and(|e| e.verdict() == Verdict::Pass)
    });
    if !proved {
        let observed = if ids.is_empty() {
            "no guard compares what goes with what stays".to_owned()
        } else {
            format!("{NOT_SHOWN_BY}{}", ids.iter().map(CheckId::as_str).collect::<Vec<_>>().join(", "))
        };
        blockers.push(blocker(
            COPY,
            "The only other copy is proved",
            observed,
            "a data check that passes now",
            "make the copy complete, then measure again",
        ));
    }
}

fn blast(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let blast = request.blast;
    // What an undoing would remove may be gone already; then that was seen, and is not merely nothing found.
    let all_gone = request.undo && !blast.gone.is_empty();
    if blast.items.is_empty() && !all_gone {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            "nothing was found that would go",
            "a measured list",
            "check what the step's `destroys` names; perhaps it is gone already",
        ));
    }
    let doomed = request.destroys().and_then(|destroys| destroys.target.as_ref());
    if let Some(name) = doomed.filter(|name| request.target_gone() && request.proved.contains_key(*name)) {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            format!("`{name}` was not there, and a moment later it was"),
            "there, and measured, or not there",
            "measure again",
        ));
    }
    for why in &blast.unmeasured {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            format!("unknown: {why}"),
            "everything measured",
            "make it measurable, then measure again",
        ));
    }
    for why in &blast.serving {
        blockers.push(blocker(
            "serving",
            "What would go is not in use",
            why.clone(),
            "nothing uses it",
            "stop what uses it, or correct the target",
        ));
    }
    if let Some(why) = stale(&blast.at, request) {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            format!("measured, but {why}"),
            "measured now",
            "measure again",
        ));
    }
}

fn confirmation(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let title = "The operator saw what goes and typed its name";
    let Some(wanted) = request.destroys().map(|destroys| destroys.what.as_str()) else {
        return blockers.push(blocker(
            "blast radius",
            "What would go is known",
            "nothing is declared to go",
            "`destroys`, with what goes",
            "say in the runbook what goes",
        ));
    };
    match request.confirmed {
        None => blockers.push(blocker(
            CONFIRMATION,
            title,
            "nobody has confirmed",
            format!("the text `{wanted}`"),
            "read the list, then type the text",
        )),
        Some(given) if given.step != request.step.key() => blockers.push(blocker(
            CONFIRMATION,
            title,
            format!("step `{}` was confirmed", given.step),
            format!("the text `{wanted}`, for this step"),
            "read the list, then type the text",
        )),
        Some(given) if given.undo != request.undo => blockers.push(blocker(
            CONFIRMATION,
            title,
            if given.undo { "undoing the step was confirmed" } else { "the step's own work was confirmed" },
            format!("the text `{wanted}`, for {}", if request.undo { "undoing it" } else { "its work" }),
            "read the list, then type the text",
        )),
        Some(given) if given.text != wanted => blockers.push(blocker(
            CONFIRMATION,
            title,
            "another text was typed",
            format!("the text `{wanted}`"),
            "read the list, then type the text",
        )),
        Some(given) => {
            for why in request.blast.grown_since(&given.blast) {
                blockers.push(blocker(
                    CONFIRMATION,
                    "The list is the one that was confirmed",
                    why,
                    "no more than was shown",
                    "read the new list, then type the text again",
                ));
            }
        }
    }
}
