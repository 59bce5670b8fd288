//! Reasons that have to do with what things are: the right target, the same object twice, what survives.

use std::collections::BTreeMap;
use std::path::Path;

use super::Request;
use super::rules::{blocker, stale};
use crate::check::{Evidence, Verdict};
use crate::journal::record::{Blast, BlastItem, Blocker};
use crate::world::Identity;

/// Why a measurement does not let work go on: it did not pass, or it passed on another target than the pinned one.
/// Freshness is [`clear`]'s business.
pub fn objection(evidence: &Evidence, pins: &BTreeMap<String, Identity>) -> Option<Blocker> {
    let outcome = &evidence.outcome;
    let (observed, next) = match (evidence.verdict(), elsewhere(evidence, pins)) {
        (_, Some(why)) => (why, "find out what answers at that address now, then measure again"),
        (Verdict::Pass, None) => return None,
        (Verdict::Fail, None) => (outcome.observed.clone(), outcome.help.as_deref().unwrap_or(FIX)),
        (Verdict::Unknown, None) => {
            (format!("unknown: {}", outcome.observed), outcome.help.as_deref().unwrap_or(FIX))
        }
    };
    Some(blocker(evidence.check.as_str(), &evidence.title, observed, outcome.expected.clone(), next))
}

/// Says so when a measurement was taken on another target than the pinned one. No waiver covers that.
pub fn elsewhere(evidence: &Evidence, pins: &BTreeMap<String, Identity>) -> Option<String> {
    evidence.outcome.seen.iter().find_map(|seen| {
        let change = pins.get(&seen.target)?.differs(&seen.identity).into_iter().next()?;
        Some(format!(
            "measured on another `{}`: {} {} instead of {}",
            seen.target, change.fact, change.is, change.was
        ))
    })
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

/// Why a measurement was taken on something else than the pinned and just proved target, if it was.
pub(super) fn foreign(evidence: &Evidence, targets: &[String], request: &Request<'_>) -> Option<String> {
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

pub(super) fn identities(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let next = "find out what answers at that address now; do not go on until it is the right one";
    for name in request.needs {
        let title = format!("Target `{name}` is the one this run began with");
        let (proved, pin) = (request.proved.get(name), request.pins.get(name));
        let doomed = request.destroys().and_then(|destroys| destroys.target.as_ref());
        if proved.is_none() && doomed == Some(name) && request.target_gone() {
            continue;
        }
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
    // Of a part the data have to be held by another server as well; an index has none.
    if let Some(destroys) = request.destroys()
        && let Some(doomed) = destroys.data_of()
        && let Some((goes, _)) = request.proved.get(doomed)
    {
        for (name, (other, _)) in request.proved {
            if name != doomed && goes.same_object(other) {
                blockers.push(blocker(
                    "identity",
                    "What goes and what stays are two objects",
                    format!("`{doomed}` and `{name}` are one: {}", goes.describe()),
                    "two different objects",
                    match destroys.part() {
                        true => "keep the copy on another server; one server is one object",
                        false => "correct the targets' addresses",
                    },
                ));
            }
        }
    }
}

/// What is relied on must not go with what goes: another target below a folder that is removed, or the backups in it.
pub(super) fn survivors(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let Some(destroys) = request.destroys() else { return };
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
