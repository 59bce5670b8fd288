//! Questions when something is not as it should be.

use super::begin::{LABEL, top};
use crate::base::{Moment, Span, StepId};
use crate::check::{Evidence, Verdict};
use crate::engine::state::{Status, StepState};
use crate::journal::record::Blocker;
use crate::report::{Tone, commands, when, words};
use crate::runbook::graph::{self, Section};
use crate::runbook::model::Work;
use crate::ui::evidence;
use crate::ui::page::Page;
use crate::ui::view::Snapshot;

/// All blockers, each with what was seen, what was wanted, and what to do.
pub fn blockers(page: &mut Page<'_>, all: &[Blocker]) {
    for (n, blocker) in crate::report::blockers::merged(all).iter().enumerate() {
        page.blank();
        page.item(2, (Tone::Bad, &format!("{}.", n + 1)), 4, &blocker.title);
        page.item(6, (Tone::Plain, "seen"), 8, &blocker.observed);
        page.item(6, (Tone::Plain, "wanted"), 8, &blocker.expected);
        page.item(6, (Tone::Strong, "next"), 8, &blocker.next);
        page.item(6, (Tone::Dim, "check"), 8, &blocker.subject);
    }
}

/// The hold point refuses.
pub fn held(page: &mut Page<'_>, snapshot: &Snapshot, (id, undo): (&StepId, bool), all: &[Blocker]) {
    top(page, snapshot, id, Tone::Bad, if undo { "HELD, to be undone" } else { "HELD" });
    let n = crate::report::blockers::merged(all).len() as u64;
    let n = crate::base::text::count(n, "thing stands", "things stand");
    page.say(Tone::Plain, &format!("The hold point stays closed. {n} in the way:"));
    blockers(page, all);
    page.blank();
    page.item(2, (Tone::Plain, "way back"), LABEL, &snapshot.horizon().sentence());
}

/// A step is not undone, and its undoing ended, or nobody knows how it did.
pub fn not_undone(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId, all: &[Blocker]) {
    top(page, snapshot, id, Tone::Bad, "NOT UNDONE");
    let at = snapshot.state.step(id);
    let known = match at.undo_ended_well() {
        true => "Its undoing ended well, and its postconditions do not pass. It is not run again unasked.",
        false => "Its undoing was begun, and nobody knows how it ended. It is not run again unasked.",
    };
    page.say(Tone::Plain, known);
    undoing(page, &at);
    blockers(page, all);
    if let Some(guide) = snapshot.step(id).and_then(|(_, step)| step.undoing()?.guide.as_ref()) {
        page.blank();
        page.say(Tone::Strong, "From the runbook:");
        page.guide(2, guide);
    }
    page.blank();
    page.item(2, (Tone::Plain, "way back"), LABEL, &snapshot.horizon().sentence());
}

/// How an undoing ended, and which attempt it was.
fn undoing(page: &mut Page<'_>, at: &StepState) {
    let ended = at.undo_ending.as_ref().map_or_else(|| "not known".to_owned(), |ending| ending.describe());
    let attempt = if at.rollbacks > 1 { format!(" (attempt {})", at.rollbacks) } else { String::new() };
    page.item(2, (Tone::Plain, "undoing"), LABEL, &format!("{ended}{attempt}"));
}

/// True for a step that going back did not undo, which is known.
pub fn came_back(snapshot: &Snapshot, id: &StepId) -> bool {
    snapshot.state.status(id) == Status::NotUndone
}

/// A step failed or no longer holds.
pub fn failed(
    page: &mut Page<'_>,
    snapshot: &Snapshot,
    id: &StepId,
    (why, may_rerun, may_finish): (&str, bool, bool),
    now: &Moment,
) {
    top(page, snapshot, id, Tone::Bad, "FAILED");
    let at = snapshot.state.step(id);
    let Some((_, step)) = snapshot.step(id) else { return };
    let checks = graph::check_ids(step, Section::Post);
    let all = checks.len();
    let seen: Vec<&Evidence> =
        checks.into_iter().filter_map(|(id, _)| snapshot.state.last.get(&id)).collect();
    let unmeasured = seen.is_empty() && all > 0;
    let bad: Vec<&Evidence> = seen.into_iter().filter(|seen| seen.verdict() != Verdict::Pass).collect();
    // What the evidence below says in full is not said twice.
    let told = bad.iter().any(|seen| why.starts_with(&seen.title));
    if !told {
        page.item(2, (Tone::Bad, "why"), LABEL, why);
    }
    if let Some(ending) = at.ending.as_ref().filter(|ending| !why.contains(&ending.describe())) {
        let when = at.ended.map(|ended| format!(", {}", when::ago(now, &ended))).unwrap_or_default();
        page.item(2, (Tone::Plain, "work"), LABEL, &format!("{}{when}", ending.describe()));
    }
    for left in &at.left_running {
        page.item(2, (Tone::Doubt, "running"), LABEL, &format!("it left {left}"));
    }
    if unmeasured && at.ending.as_ref().is_some_and(|ending| !ending.success()) {
        let what = if matches!(step.work(), Some(Work::Run(_))) { "command" } else { "work" };
        page.item(2, (Tone::Plain, "proof"), LABEL, &format!("not measured: the {what} failed"));
    }
    if !bad.is_empty() {
        let age = bad.first().map(|seen| when::ago(now, &seen.at)).unwrap_or_default();
        let word = match all {
            1 => "its postcondition does not pass".to_owned(),
            all => format!("{} of {all} postconditions do not pass", bad.len()),
        };
        page.item(2, (Tone::Bad, "proof"), LABEL, &format!("{word}, measured {age}:"));
        page.blank();
        bad.into_iter().for_each(|seen| evidence::entry(page, seen));
    }
    if let Some(guide) = &step.guide {
        page.blank();
        page.say(Tone::Strong, "From the runbook:");
        page.guide(2, guide);
    }
    page.blank();
    page.item(2, (Tone::Plain, "way back"), LABEL, &snapshot.horizon().sentence());
    if step.undoing().is_some() {
        page.item(
            2,
            (Tone::Plain, "undo"),
            LABEL,
            &format!("possible: quit, then {}", commands::rollback(&snapshot.state.run, None)),
        );
    }
    unable(page, may_rerun, may_finish);
}

/// Nobody knows how a step ended.
pub fn doubt(
    page: &mut Page<'_>,
    snapshot: &Snapshot,
    id: &StepId,
    (why, seen, may_rerun, may_finish): (&str, &[Evidence], bool, bool),
) {
    if came_back(snapshot, id) {
        top(page, snapshot, id, Tone::Bad, "NOT UNDONE");
        let text = "The step was to be undone, and is not. How far it is undone, its undoing does not tell.";
        page.say(Tone::Plain, text);
        page.item(2, (Tone::Bad, "why"), LABEL, why);
        undoing(page, &snapshot.state.step(id));
    } else {
        top(page, snapshot, id, Tone::Doubt, "IN DOUBT");
        page.say(
            Tone::Plain,
            "The step was begun. Nobody knows how it ended: it is neither done nor failed.",
        );
        page.item(2, (Tone::Doubt, "known"), LABEL, why);
    }
    page.blank();
    if seen.is_empty() {
        page.say(
            Tone::Doubt,
            "It has no postconditions: nothing can show whether it is done. Look for yourself.",
        );
    } else {
        page.say(Tone::Plain, "Its postconditions, measured just now:");
        seen.iter().for_each(|seen| evidence::entry(page, seen));
    }
    page.blank();
    page.say(Tone::Plain, "You decide, with a reason, and both go on record under your name.");
    page.item(2, (Tone::Plain, "way back"), LABEL, &snapshot.horizon().sentence());
    if came_back(snapshot, id) {
        let next = format!("quit, then {}", commands::rollback(&snapshot.state.run, None));
        page.item(2, (Tone::Strong, "go back"), LABEL, &next);
    }
    unable(page, may_rerun, may_finish);
}

fn unable(page: &mut Page<'_>, may_rerun: bool, may_finish: bool) {
    if !may_finish {
        page.item(2, (Tone::Plain, "done?"), LABEL, "not while its postconditions do not pass");
    }
    if !may_rerun {
        page.item(2, (Tone::Plain, "again?"), LABEL, "the runbook does not allow this step to be run again");
    }
}

/// An invariant no longer holds, and the command is paused.
pub fn paused(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId, seen: &Evidence) {
    top(page, snapshot, id, Tone::Bad, "PAUSED");
    page.say(
        Tone::Plain,
        "Something that must hold while this step runs does not. Its command is paused, not ended:",
    );
    page.blank();
    evidence::entry(page, seen);
}

/// Ctrl-C.
pub fn interrupted(page: &mut Page<'_>, snapshot: &Snapshot, running: Option<&StepId>, now: &Moment) {
    page.blank();
    page.rule('-');
    page.say(Tone::Strong, "Ctrl-C. Nothing was stopped.");
    page.rule('-');
    match running {
        None => page.say(Tone::Plain, "No command is running."),
        Some(id) => {
            let since = snapshot.state.step(id).began.filter(|began| !now.jumped_since(began));
            let since = since
                .map(|began| match now.since(&began).as_secs() {
                    0 => ", since this moment".to_owned(),
                    seconds => format!(", for {}", Span::secs(seconds)),
                })
                .unwrap_or_default();
            page.say(
                Tone::Plain,
                &words::flat(&format!("The command of {} is running{since}.", snapshot.place(id))),
            );
            page.say(Tone::Plain, "It does not depend on this terminal.");
        }
    }
}
