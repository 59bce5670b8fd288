//! How far one can still go back: computed from what was done and what can be undone, never claimed in prose.

use serde::Serialize;

use super::state::{RunState, Status, Undo};
use crate::runbook::{Runbook, Step};

/// The answer, for one moment of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Horizon {
    /// Steps that can be undone, newest first.
    pub undoable: Vec<String>,
    /// What undoing them destroys, each after a typed confirmation.
    pub destroying: Vec<Destroying>,
    /// The step that cannot be undone, beyond which there is no way back; `None` when one can go back to the start.
    pub stops_at: Option<String>,
    /// Why it cannot be undone.
    pub because: Option<String>,
    /// The next step from which on there is no way back, if one is still to come.
    pub last_exit_before: Option<String>,
    /// Steps that are undone already, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<String>,
    /// The step whose undoing was begun and is not complete. It is among the undoable ones, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoing: Option<String>,
}

/// An undoing that destroys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destroying {
    /// The step.
    pub step: String,
    /// What goes: the text to type.
    pub what: String,
}

/// Why a step cannot be undone once it was begun; `None` when it can, or changes nothing.
pub fn irreversible(step: &Step) -> Option<&'static str> {
    if step.undoing().is_some() {
        None
    } else if step.destroys.is_some() {
        Some("it destroys")
    } else if step.changes_something() {
        Some("it has no rollback")
    } else {
        None
    }
}

/// How far one can go back after the steps that `touched` accepts, by position, in the order of the runbook.
fn horizon(runbook: &Runbook, touched: impl Fn(usize, &Step) -> bool) -> Horizon {
    let mut answer = Horizon {
        undoable: Vec::new(),
        destroying: Vec::new(),
        stops_at: None,
        because: None,
        last_exit_before: None,
        undone: Vec::new(),
        undoing: None,
    };
    let mut blocked = false;
    for (at, step) in runbook.steps.iter().enumerate().rev() {
        if touched(at, step) {
            if blocked {
                continue;
            }
            match irreversible(step) {
                Some(why) => {
                    answer.stops_at = Some(step.id.clone());
                    answer.because = Some(why.to_owned());
                    blocked = true;
                }
                None if step.undoing().is_some() => {
                    answer.undoable.push(step.id.clone());
                    answer.destroying.extend(
                        step.destroying(true).map(|destroys| Destroying {
                            step: step.id.clone(),
                            what: destroys.what.clone(),
                        }),
                    );
                }
                None => {}
            }
        } else if irreversible(step).is_some() {
            answer.last_exit_before = Some(step.id.clone());
        }
    }
    answer
}

/// How far one can go back now.
pub fn now(runbook: &Runbook, state: &RunState) -> Horizon {
    let mut answer = horizon(runbook, |_, step| state.touched(&step.key()));
    for step in runbook.steps.iter().rev().filter(|step| step.undoing().is_some()) {
        let at = state.step(&step.key());
        match at.status {
            Status::RolledBack => answer.undone.push(step.id.clone()),
            Status::RollingBack | Status::NotUndone => answer.undoing = Some(step.id.clone()),
            Status::InDoubt if at.undo != Undo::No => answer.undoing = Some(step.id.clone()),
            _ => {}
        }
    }
    answer
}

/// How far one could go back after this step and all before it.
pub fn after(runbook: &Runbook, index: usize) -> Horizon {
    horizon(runbook, |at, _| at <= index)
}

/// How far one could go back before this step was begun, and after it was undone.
pub fn before(runbook: &Runbook, index: usize) -> Horizon {
    horizon(runbook, |at, _| at < index)
}

/// The sentences of [`after`] for every step, in one pass: for `plan`.
pub fn sentences(runbook: &Runbook) -> Vec<String> {
    let mut exits: Vec<Option<&str>> = Vec::with_capacity(runbook.steps.len());
    let mut exit = None;
    for step in runbook.steps.iter().rev() {
        exits.push(exit);
        exit = irreversible(step).map(|_| step.id.as_str()).or(exit);
    }
    let (mut undoable, mut destroying, mut stop): (Vec<&str>, Vec<_>, _) = (Vec::new(), Vec::new(), None);
    let each = runbook.steps.iter().zip(exits.into_iter().rev()).map(|(step, exit)| {
        match irreversible(step) {
            Some(why) => {
                undoable.clear();
                destroying.clear();
                stop = Some((step.id.as_str(), why));
            }
            None if step.undoing().is_some() => {
                undoable.push(&step.id);
                destroying.extend(step.destroying(true).map(|goes| (step.id.as_str(), goes.what.as_str())));
            }
            None => {}
        }
        let text = sentence(stop, undoable.len(), undoable.iter().rev().copied(), exit);
        text + &warning(destroying.iter().rev().copied())
    });
    each.collect()
}

impl Horizon {
    /// One sentence for people.
    pub fn sentence(&self) -> String {
        let because = self.because.as_deref().unwrap_or_default();
        let stop = self.stops_at.as_deref().map(|stop| (stop, because));
        let steps = self.undoable.iter().map(String::as_str);
        let goes = self.destroying.iter().map(|goes| (goes.step.as_str(), goes.what.as_str()));
        let text = match &self.undoing {
            Some(undoing) => self.half_way(undoing, stop),
            None if stop.is_none() && self.undoable.is_empty() && !self.undone.is_empty() => {
                "There is nothing more to undo.".to_owned()
            }
            None => sentence(stop, self.undoable.len(), steps, self.last_exit_before.as_deref()),
        };
        let undone = match self.undone.len() {
            0 => String::new(),
            count => format!("Undone already: {}. ", list(count, self.undone.iter().map(String::as_str))),
        };
        undone + &text + &warning(goes)
    }

    /// In the middle of going back, what is under way and what is still to come.
    fn half_way(&self, undoing: &str, stop: Option<(&str, &str)>) -> String {
        let left: Vec<&str> = self.undoable.iter().map(String::as_str).filter(|id| *id != undoing).collect();
        let names = list(left.len(), left.iter().copied());
        let rest = match (stop, left.len()) {
            (None, 0) => "Then you are back at the start.".to_owned(),
            (None, _) => format!("Still to be undone, back to the start: {names}."),
            (Some((stop, because)), 0) => format!("There is no way back past `{stop}`: {because}."),
            (Some((stop, because)), _) => {
                format!("Still to be undone: {names}. There is no way back past `{stop}`: {because}.")
            }
        };
        format!("Undoing `{undoing}` was begun and is not complete. {rest}")
    }
}

/// What stops the way back and why, how many steps can be undone and which, newest first, and where the way back ends.
fn sentence<'a>(
    stop: Option<(&str, &str)>,
    count: usize,
    steps: impl Iterator<Item = &'a str>,
    exit: Option<&str>,
) -> String {
    let mut text = match (stop, count) {
        (None, 0) => "Nothing has been changed yet; there is nothing to undo.".to_owned(),
        (None, _) => format!("You can still go back to the start, by undoing {}.", list(count, steps)),
        (Some((stop, because)), 0) => format!("There is no way back past `{stop}`: {because}."),
        (Some((stop, because)), _) => {
            format!("You can undo {}, and not past `{stop}`: {because}.", list(count, steps))
        }
    };
    if let Some(next) = exit.filter(|_| stop.is_none()) {
        text.push_str(&format!(" The way back ends when `{next}` begins."));
    }
    text
}

/// What undoing destroys, in sentences of their own.
fn warning<'a>(destroying: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let one = |(step, what)| format!(" Undoing `{step}` destroys `{what}`, and wants that text typed.");
    destroying.take(NAMED).map(one).collect()
}

/// More names than this are only counted.
const NAMED: usize = 24;

fn list<'a>(count: usize, steps: impl Iterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = steps.take(NAMED).map(|step| format!("`{step}`")).collect();
    if count > NAMED {
        quoted.push(format!("{} more", count - NAMED));
    }
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sentences_of_all_steps_are_those_of_each() {
        let step = |nth: usize| match nth % 40 {
            0 => json!({ "id": format!("s{nth}"), "run": ["x"], "changes": false }),
            37 => json!({ "id": format!("s{nth}"), "run": ["x"], "destroys": "x" }),
            39 => json!({ "id": format!("s{nth}"), "run": ["x"] }),
            7 => {
                let destroys = format!("copy {nth}");
                json!({ "id": format!("s{nth}"), "run": ["x"], "rollback": { "run": ["y"], "destroys": destroys } })
            }
            _ => json!({ "id": format!("s{nth}"), "run": ["x"], "rollback": { "run": ["y"] } }),
        };
        for count in [0, 1, 2, 30, 37, 38, 100] {
            let steps: Vec<_> = (0..count).map(step).collect();
            let runbook = json!({ "holdpoint": 1, "name": "r", "steps": steps });
            let runbook: Runbook = serde_json::from_value(runbook).unwrap();
            let each: Vec<String> = (0..count).map(|at| after(&runbook, at).sentence()).collect();
            assert_eq!(sentences(&runbook), each);
        }
    }

    #[test]
    fn an_undoing_that_destroys_is_said() {
        let runbook: Runbook = serde_json::from_value(json!({ "holdpoint": 1, "name": "r", "steps": [
            { "id": "copy", "run": ["x"], "rollback": { "run": ["y"], "destroys": "the copy" } },
        ] }))
        .unwrap();
        let wanted = "You can still go back to the start, by undoing `copy`. Undoing `copy` destroys `the copy`, and wants that text typed.";
        assert_eq!(after(&runbook, 0).sentence(), wanted);
        assert_eq!(before(&runbook, 0).sentence(), "Nothing has been changed yet; there is nothing to undo.");
    }

    #[test]
    fn a_long_list_ends_in_a_count() {
        let names = ["a"; 30];
        assert_eq!(list(2, ["a", "b"].into_iter()), "`a` and `b`");
        assert!(list(30, names.into_iter()).ends_with("`a`, `a` and 6 more"));
    }
}
