//! The reasons against a destruction, one function a kind. All of them are found at once.

use crate::base::{CheckId, Moment, Span};
use crate::check::{Evidence, Verdict};
use crate::journal::record::{Blast, BlastItem, Blocker};
use crate::world::Identity;
use std::collections::BTreeMap;
use std::path::Path;

use super::{Proof, Request, VALIDITY};

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
    if request.runbook != request.runbook_now {
        blockers.push(blocker(
            "runbook",
            "The runbook is the one that the run was started with",
            format!("its copy in the run's folder has digest {}", request.runbook_now.short()),
            format!("digest {}", request.runbook.short()),
            "put the original copy back, or abandon this run and start a new one",
        ));
    }
    blockers
}

fn blocker(
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
            "add preconditions to the step; the run cannot destroy on trust",
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
                if evidence.verdict() != Verdict::Pass {
                    let next =
                        evidence.outcome.help.as_deref().unwrap_or("put this right, then measure again");
                    let word = if evidence.verdict() == Verdict::Unknown { "unknown: " } else { "" };
                    say(format!("{word}{}", evidence.outcome.observed), next);
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

/// Why a measurement does not let work go on: it did not pass, or it passed on another target than the pinned one.
/// Freshness is [`clear`]'s business.
pub fn objection(evidence: &Evidence, pins: &BTreeMap<String, Identity>) -> Option<Blocker> {
    let outcome = &evidence.outcome;
    let mismatch = outcome.seen.iter().find_map(|seen| {
        let change = pins.get(&seen.target)?.differs(&seen.identity).into_iter().next()?;
        Some(format!(
            "measured on another `{}`: {} {} instead of {}",
            seen.target, change.fact, change.is, change.was
        ))
    });
    let (observed, next) = match (evidence.verdict(), mismatch) {
        (_, Some(why)) => (why, "find out what answers at that address now, then measure again"),
        (Verdict::Pass, None) => return None,
        (Verdict::Fail, None) => (outcome.observed.clone(), outcome.help.as_deref().unwrap_or(FIX)),
        (Verdict::Unknown, None) => {
            (format!("unknown: {}", outcome.observed), outcome.help.as_deref().unwrap_or(FIX))
        }
    };
    Some(blocker(evidence.check.as_str(), &evidence.title, observed, outcome.expected.clone(), next))
}

/// Why a target is not the one that was pinned, one blocker a fact.
pub fn identity_changes(name: &str, pin: &Identity, now: &Identity) -> Vec<Blocker> {
    let title = format!("Target `{name}` is the one this run began with");
    let next = "find out what answers at that address now; do not go on until it is the right one";
    let changes = pin.differs(now).into_iter();
    changes
        .map(|c| {
            blocker("identity", &title, format!("{} {}", c.fact, c.is), format!("{} {}", c.fact, c.was), next)
        })
        .collect()
}

const FIX: &str = "put this right, then measure again";

/// Why a measurement is too old to open a hold point, if it is.
fn stale(at: &Moment, request: &Request<'_>) -> Option<String> {
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

/// Why a measurement was taken on something else than the pinned and just proved target, if it was.
fn foreign(evidence: &Evidence, targets: &[String], request: &Request<'_>) -> Option<String> {
    let seen = |name: &String| evidence.outcome.seen.iter().any(|seen| seen.target == *name);
    if let Some(name) = targets.iter().find(|name| !seen(name)) {
        return Some(format!("it does not say on which `{name}`"));
    }
    for seen in &evidence.outcome.seen {
        let Some(pin) = request.pins.get(&seen.target) else {
            return Some(format!("target `{}` has not been pinned", seen.target));
        };
        if let Some(change) = pin.differs(&seen.identity).first() {
            return Some(format!(
                "on another `{}`: {} {} instead of {}",
                seen.target, change.fact, change.is, change.was
            ));
        }
        if let Some((proved, _)) = request.proved.get(&seen.target)
            && (proved.restarted(&seen.identity) || !proved.differs(&seen.identity).is_empty())
        {
            return Some(format!("`{}` was restarted or replaced since", seen.target));
        }
    }
    None
}

fn identities(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let next = "find out what answers at that address now; do not go on until it is the right one";
    for name in request.needs {
        let title = format!("Target `{name}` is the one this run began with");
        let (proved, pin) = (request.proved.get(name), request.pins.get(name));
        match (proved, pin) {
            (Some((identity, at)), Some(pin)) => {
                for change in pin.differs(identity) {
                    blockers.push(blocker(
                        "identity",
                        &title,
                        format!("{} {}", change.fact, change.is),
                        format!("{} {}", change.fact, change.was),
                        next,
                    ));
                }
                if let Some(why) = stale(at, request) {
                    blockers.push(blocker(
                        "identity",
                        &title,
                        format!("proved, but {why}"),
                        "proved now",
                        "measure again",
                    ));
                }
            }
            (None, _) => blockers.push(blocker(
                "identity",
                &title,
                "its identity could not be proved",
                "a server that answers, or its files",
                next,
            )),
            (_, None) => blockers.push(blocker(
                "identity",
                &title,
                "it was never pinned",
                "pinned by an earlier measurement",
                "measure again",
            )),
        }
    }
    if let Some(destroys) = &request.step.destroys
        && let Some(doomed) = destroys.target.as_ref()
        && let Some((goes, _)) = request.proved.get(doomed)
    {
        for (name, (other, _)) in request.proved {
            if name != doomed && goes.same_object(other) {
                blockers.push(blocker(
                    "identity",
                    "What goes and what stays are two objects",
                    format!("`{doomed}` and `{name}` are one: {}", goes.describe()),
                    "two different objects",
                    "correct the targets' addresses",
                ));
            }
        }
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
    if blast.items.is_empty() {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            "nothing was found that would go",
            "a measured list",
            "check what the step's `destroys` names; perhaps it is gone already",
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

/// What is relied on must not go with what goes: another target below a folder that is removed, or the backups in it.
fn survivors(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let Some(destroys) = &request.step.destroys else { return };
    let title = "What stays does not lie in what goes";
    let mut refuse = |what: String, item: &BlastItem, next: &str| {
        let observed = format!("{what} lies in {} {}, which goes", item.kind, item.name);
        blockers.push(blocker("survivors", title, observed, "it lies elsewhere", next));
    };
    let hosts = [Some(request.machine), request.blast.identity.as_ref().map(Identity::host)];
    let proved = request.proved.iter().map(|(name, (identity, _))| (name, identity));
    let pinned = request.pins.iter().filter(|(name, _)| !request.proved.contains_key(*name));
    for (name, identity) in proved.chain(pinned) {
        let doomed = destroys.target.as_ref() == Some(name);
        let itself = request.blast.identity.as_ref().is_some_and(|goes| goes.same_object(identity));
        if doomed || (itself && destroys.target.is_some()) || !hosts.contains(&Some(identity.host())) {
            continue;
        }
        if let Some(item) = holding(request.blast, identity.place()) {
            let what = format!("target `{name}` ({})", identity.place());
            refuse(what, item, "move it, or declare it as the target that goes");
        }
    }
    for guard in request.guards {
        for place in &guard.keeps {
            if let Some(item) = holding(request.blast, place) {
                let next = "keep it where it survives, and let the check look there";
                refuse(format!("what {} relies on ({place})", guard.id), item, next);
            }
        }
    }
}

/// The item in which a path lies.
fn holding<'a>(blast: &'a Blast, place: &str) -> Option<&'a BlastItem> {
    let place = Path::new(place);
    blast.items.iter().find(|item| item.name.starts_with('/') && place.starts_with(&item.name))
}

fn confirmation(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let wanted = request.step.destroys.as_ref().map(|d| d.what.as_str()).unwrap_or_default();
    let title = "The operator saw what goes and typed its name";
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
