//! How far one can still go back: computed from what was done and what can be undone, never claimed in prose.

use serde::Serialize;

use super::state::RunState;
use crate::runbook::{Runbook, Step};

/// The answer, for one moment of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Horizon {
    /// Steps that can be undone, newest first.
    pub undoable: Vec<String>,
    /// The step that cannot be undone, beyond which there is no way back; `None` when one can go back to the start.
    pub stops_at: Option<String>,
    /// Why it cannot be undone.
    pub because: Option<String>,
    /// The next step from which on there is no way back, if one is still to come.
    pub last_exit_before: Option<String>,
}

/// Why a step cannot be undone once it was begun; `None` when it can, or changes nothing.
pub fn irreversible(step: &Step) -> Option<&'static str> {
    if step.destroys.is_some() {
        Some("it destroys")
    } else if step.changes_something() && step.rollback.is_none() {
        Some("it has no rollback")
    } else {
        None
    }
}

/// How far one can go back after the steps that `touched` accepts, in the order of the runbook.
pub fn horizon(runbook: &Runbook, touched: impl Fn(&Step) -> bool) -> Horizon {
    let mut answer = Horizon { undoable: Vec::new(), stops_at: None, because: None, last_exit_before: None };
    let mut blocked = false;
    for step in runbook.steps.iter().rev() {
        if touched(step) {
            if blocked {
                continue;
            }
            match irreversible(step) {
                Some(why) => {
                    answer.stops_at = Some(step.id.clone());
                    answer.because = Some(why.to_owned());
                    blocked = true;
                }
                None if step.rollback.is_some() => answer.undoable.push(step.id.clone()),
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
    horizon(runbook, |step| state.touched(&step.key()))
}

/// How far one could go back after this step and all before it: for `plan`.
pub fn after(runbook: &Runbook, index: usize) -> Horizon {
    horizon(runbook, |step| runbook.steps.iter().position(|s| s.id == step.id).is_some_and(|i| i <= index))
}

impl Horizon {
    /// One sentence for people.
    pub fn sentence(&self) -> String {
        let mut text = match (&self.stops_at, self.undoable.as_slice()) {
            (None, []) => "Nothing has been changed yet; there is nothing to undo.".to_owned(),
            (None, steps) => format!("You can still go back to the start, by undoing {}.", list(steps)),
            (Some(stop), []) => {
                format!(
                    "There is no way back past `{stop}`: {}.",
                    self.because.as_deref().unwrap_or_default()
                )
            }
            (Some(stop), steps) => format!(
                "You can undo {}, and not past `{stop}`: {}.",
                list(steps),
                self.because.as_deref().unwrap_or_default()
            ),
        };
        if let Some(next) = self.last_exit_before.as_ref().filter(|_| self.stops_at.is_none()) {
            text.push_str(&format!(" The way back ends when `{next}` begins."));
        }
        text
    }
}

fn list(steps: &[String]) -> String {
    let quoted: Vec<String> = steps.iter().map(|s| format!("`{s}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
