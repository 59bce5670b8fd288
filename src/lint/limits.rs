//! Rules about limits: approvals where nothing is destroyed, windows that never open, hooks that take too
//! long.

use jiff::Timestamp;

use super::Places;
use crate::base::Span;
use crate::check::people::change_window::limit;
use crate::check::people::change_window::window::Window;
use crate::problem::Problem;
use crate::runbook::limits::ChangeWindow;
use crate::runbook::{Runbook, Step};

/// The longest that a hook may take.
const HOOK: Span = Span::secs(300);
/// Windows are compared over a year from here: whether they meet must not depend on the day of the reading.
const FROM: i64 = 1_767_225_600;

/// Adds what breaks the rules.
pub(super) fn judge(runbook: &Runbook, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let mut environments: Vec<(&str, Window)> = Vec::new();
    for (name, environment) in &runbook.environments {
        let range = || places.environment(name, "change_window");
        if let Some(window) = environment.change_window.as_ref().and_then(|w| read(w, range, problems)) {
            environments.push((name, window));
        }
    }
    for (at, step) in runbook.steps.iter().enumerate() {
        self::step(at, step, &environments, places, problems);
    }
    for (nth, hook) in runbook.notify.iter().enumerate() {
        if hook.timeout.is_some_and(|limit| limit > HOOK) {
            let message = format!("a hook may take at most {HOOK}");
            let help = "what takes longer is started by the hook, and not waited for";
            problems.push(Problem::error("HP083", message, places.hook(nth)).help(help));
        }
    }
}

fn step(
    at: usize,
    step: &Step,
    environments: &[(&str, Window)],
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let destroys = [false, true].into_iter().any(|undo| step.destroying(undo).is_some());
    if step.approvals.is_some() && !destroys {
        let message = format!("`{}` destroys nothing, so there is nothing to approve", step.id);
        let help = "leave it out; approvals are for what a step, or its undoing, destroys";
        problems.push(Problem::error("HP080", message, places.key(at, "approvals")).help(help));
    }
    let Some(written) = &step.change_window else { return };
    let range = || places.key(at, "change_window");
    if !step.changes_something() {
        let message = format!("`{}` changes nothing, so it waits for no change window", step.id);
        problems.push(Problem::error("HP080", message, range()).help("leave it out"));
    }
    let Some(window) = read(written, range, problems) else { return };
    for (name, other) in environments {
        if !limit::meet(&window, other, from()) {
            let message = format!("the window of `{}` and that of `{name}` are never open together", step.id);
            let help = "let them overlap: a step begins only while both are open";
            problems.push(Problem::error("HP081", message, range()).help(help));
        }
    }
}

fn from() -> Timestamp {
    Timestamp::from_second(FROM).unwrap_or_default()
}

/// A window, when it makes sense and opens at some time.
fn read(
    written: &ChangeWindow,
    range: impl Fn() -> std::ops::Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<Window> {
    // What depends on a variable is judged when its value is known.
    if [&written.hours, &written.timezone].iter().any(|text| text.contains("${")) {
        return None;
    }
    match limit::read(written) {
        Err(why) => {
            problems.push(Problem::error("HP081", why, range()));
            None
        }
        Ok(window) if !limit::meet(&window, &window, from()) => {
            let message = "this window never opens";
            problems.push(Problem::error("HP081", message, range()).help("correct its days and hours"));
            None
        }
        Ok(window) => Some(window),
    }
}
