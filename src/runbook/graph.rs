//! Which checks stand in front of which step. Pure: made from the model alone, the same answer each time.
//!
//! Invariants: an earlier postcondition stands unless its `until` names a step that has begun by then (a later step of
//! the runbook, before the one asked about). An `until` that names nothing, or nothing later, releases nothing.

use std::collections::{HashMap, HashSet};

use super::model::{CheckSpec, Runbook, Step};
use super::rules::Quick;
use crate::base::{CheckId, StepId};

/// The lists of checks that a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// `preconditions`.
    Pre,
    /// `invariants`.
    Inv,
    /// `postconditions`.
    Post,
    /// `rollback.preconditions`.
    UndoPre,
    /// `rollback.postconditions`.
    Undo,
}

impl Section {
    /// The three lists of the step itself, in the order they are measured.
    pub const OWN: [Section; 3] = [Section::Pre, Section::Inv, Section::Post];
    /// All lists, those of the step's rollback last.
    pub const ALL: [Section; 5] =
        [Section::Pre, Section::Inv, Section::Post, Section::UndoPre, Section::Undo];

    /// The word in a check's id.
    pub fn word(self) -> &'static str {
        match self {
            Section::Pre => "pre",
            Section::Inv => "inv",
            Section::Post => "post",
            Section::UndoPre => "undo-pre",
            Section::Undo => "undo",
        }
    }

    /// The key in the runbook, as a path inside the step.
    pub fn key(self) -> &'static str {
        match self {
            Section::Pre => "preconditions",
            Section::Inv => "invariants",
            Section::Post => "postconditions",
            Section::UndoPre => "rollback.preconditions",
            Section::Undo => "rollback.postconditions",
        }
    }

    /// The checks of this list, in the order of the file.
    pub fn of(self, step: &Step) -> &[CheckSpec] {
        match self {
            Section::Pre => &step.preconditions,
            Section::Inv => &step.invariants,
            Section::Post => &step.postconditions,
            Section::UndoPre => step.rollback.as_ref().map_or(&[], |undo| &undo.preconditions),
            Section::Undo => step.rollback.as_ref().map_or(&[], |undo| &undo.postconditions),
        }
    }
}

/// The checks of one list with their ids: `copy.post.data_matches`, or `copy.post.` and the author's own `id`.
pub fn check_ids(step: &Step, section: Section) -> Vec<(CheckId, &CheckSpec)> {
    named(section.of(step), &format!("{}.{}.", step.id, section.word()))
}

/// The checks of a file that has no steps, with their ids: the check's name, or the author's own `id`.
pub fn file_checks(runbook: &Runbook) -> Vec<(CheckId, &CheckSpec)> {
    named(&runbook.checks, "")
}

/// Ids are unique within the list; the loader refuses two equal names, so the suffix `-2` is for safety only.
fn named<'c>(checks: &'c [CheckSpec], before: &str) -> Vec<(CheckId, &'c CheckSpec)> {
    let mut taken: HashSet<String> = HashSet::new();
    let named = checks.iter().map(|spec| {
        let name = spec.common.id.as_deref().unwrap_or(&spec.kind);
        let base = format!("{before}{name}");
        let mut id = base.clone();
        let mut n = 2;
        // One alone cannot be like another.
        while checks.len() > 1 && !taken.insert(id.clone()) {
            id = format!("{base}-{n}");
            n += 1;
        }
        (CheckId(id), spec)
    });
    named.collect()
}

/// The postconditions of earlier steps that still have to hold when the step with index `at` begins, in the order of
/// the file, each with the step that left it; advisory ones included. With `at` = the number of steps: what holds at the end.
pub fn standing(runbook: &Runbook, at: usize) -> Vec<(CheckId, &CheckSpec, StepId)> {
    let index = positions(runbook);
    let index = &index;
    // Most of a long runbook's postconditions are released by the next step: those need no name.
    let leaves = |(left_at, step): &(usize, &Step)| {
        step.postconditions.iter().any(|spec| !released(spec, *left_at, at, index))
    };
    let earlier = runbook.steps.iter().enumerate().take(at).filter(leaves);
    let each = earlier.flat_map(|(left_at, step)| {
        check_ids(step, Section::Post)
            .into_iter()
            .filter(move |(_, spec)| !released(spec, left_at, at, index))
            .map(|(id, spec)| (id, spec, step.key()))
    });
    each.collect()
}

/// Every check that must pass before the step with index `at` may begin: its own preconditions, then the earlier
/// postconditions that stand. Advisory checks are not among them.
pub fn guards(runbook: &Runbook, at: usize) -> Vec<(CheckId, &CheckSpec)> {
    let own = runbook.steps.get(at).map(|step| check_ids(step, Section::Pre)).unwrap_or_default();
    own.into_iter()
        .chain(standing(runbook, at).into_iter().map(|(id, spec, _)| (id, spec)))
        .filter(|(_, spec)| !spec.common.advisory)
        .collect()
}

/// Every check that must pass before the undoing of the step with index `at` may destroy: the rollback's preconditions,
/// then what earlier steps left to hold while the step's work stands. What was to hold only until the step began is over,
/// as it is for the step's own work once that has begun. Advisory checks are not among them.
pub fn undo_guards(runbook: &Runbook, at: usize) -> Vec<(CheckId, &CheckSpec)> {
    let Some(step) = runbook.steps.get(at) else { return Vec::new() };
    let over = |spec: &CheckSpec| spec.common.until.as_deref() == Some(step.id.as_str());
    let standing = standing(runbook, at).into_iter().filter(|(_, spec, _)| !over(spec));
    check_ids(step, Section::UndoPre)
        .into_iter()
        .chain(standing.map(|(id, spec, _)| (id, spec)))
        .filter(|(_, spec)| !spec.common.advisory)
        .collect()
}

/// Where a step stands, by its id.
pub fn position(runbook: &Runbook, id: &str) -> Option<usize> {
    runbook.steps.iter().position(|step| step.id == id)
}

/// Positions of steps by their ids.
pub type Positions<'a> = HashMap<&'a str, usize, Quick>;

/// Where every step stands, by its id; the first when an id is there twice.
pub fn positions(runbook: &Runbook) -> Positions<'_> {
    let mut index = HashMap::with_capacity_and_hasher(runbook.steps.len(), Quick::default());
    for (at, step) in runbook.steps.iter().enumerate() {
        index.entry(step.id.as_str()).or_insert(at);
    }
    index
}

/// True when a postcondition that step `left_at` left need no longer hold before step `at` begins. One that lasts `until`
/// step `at` itself still has to: it is released by the beginning, and so guards it.
pub fn released(spec: &CheckSpec, left_at: usize, at: usize, index: &Positions<'_>) -> bool {
    let until = spec.common.until.as_deref().and_then(|id| index.get(id).copied());
    until.is_some_and(|until| until > left_at && until < at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runbook() -> Runbook {
        let check = |body: serde_json::Value| body;
        serde_json::from_value(serde_json::json!({
            "holdpoint": 1, "name": "demo",
            "steps": [
                { "id": "copy", "run": ["true"], "postconditions": [
                    check(serde_json::json!({ "same": {} })),
                    check(serde_json::json!({ "up": { "until": "stop" } })),
                    check(serde_json::json!({ "seen": { "advisory": true } })),
                    check(serde_json::json!({ "odd": { "until": "copy" } })),
                    check(serde_json::json!({ "file": { "until": "nowhere" } })),
                ]},
                { "id": "stop", "run": ["true"], "preconditions": [ { "fresh": null } ] },
                { "id": "drop", "run": ["true"], "preconditions": [ { "fresh": { "id": "again" } } ] },
            ],
        }))
        .unwrap()
    }

    fn ids<'a>(all: impl IntoIterator<Item = &'a CheckId>) -> Vec<&'a str> {
        all.into_iter().map(CheckId::as_str).collect()
    }

    #[test]
    fn until_releases_when_its_step_begins_and_never_earlier() {
        let runbook = runbook();
        assert!(standing(&runbook, 0).is_empty());
        let at_stop: Vec<_> = standing(&runbook, 1).into_iter().map(|(id, _, _)| id).collect();
        let all = ["copy.post.same", "copy.post.up", "copy.post.seen", "copy.post.odd", "copy.post.file"];
        assert_eq!(ids(&at_stop), all, "what lasts until `stop` still holds in front of it");
        assert_eq!(standing(&runbook, 2).len(), 4);
        let at_end = standing(&runbook, 3);
        assert_eq!(at_end.len(), 4);
        assert!(at_end.iter().all(|s| s.2.as_str() == "copy"));
    }

    #[test]
    fn a_broken_until_never_releases() {
        let runbook = runbook();
        let all: Vec<_> = standing(&runbook, 2).into_iter().map(|(id, _, _)| id).collect();
        assert!(ids(&all).contains(&"copy.post.odd"), "names its own step");
        assert!(ids(&all).contains(&"copy.post.file"), "names no step");
    }

    #[test]
    fn guards_are_own_preconditions_and_what_stands_without_advisory() {
        let runbook = runbook();
        let guards: Vec<_> = guards(&runbook, 2).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids(&guards), ["drop.pre.again", "copy.post.same", "copy.post.odd", "copy.post.file"]);
    }

    #[test]
    fn an_undoing_is_guarded_by_its_own_and_by_what_outlasts_the_steps_beginning() {
        let mut runbook = runbook();
        runbook.steps[1].rollback = serde_json::from_value(serde_json::json!({
            "run": ["true"], "preconditions": [ { "whole": {} }, { "shown": { "advisory": true } } ],
        }))
        .unwrap();
        let guards: Vec<_> = undo_guards(&runbook, 1).into_iter().map(|(id, _)| id).collect();
        let wanted = ["stop.undo-pre.whole", "copy.post.same", "copy.post.odd", "copy.post.file"];
        assert_eq!(ids(&guards), wanted, "`up` lasted until `stop` began, and `stop` has begun");
        assert!(undo_guards(&runbook, 9).is_empty());
    }

    #[test]
    fn equal_names_get_numbers() {
        let step: Step = serde_json::from_value(serde_json::json!({
            "id": "s", "run": ["true"], "preconditions": [ { "a": {} }, { "a": {} }, { "b": { "id": "a" } } ],
        }))
        .unwrap();
        let named: Vec<_> = check_ids(&step, Section::Pre).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids(&named), ["s.pre.a", "s.pre.a-2", "s.pre.a-3"]);
        assert!(check_ids(&step, Section::Undo).is_empty());
    }
}
