//! Questions in the ordinary course of a run: begin a run, begin a step, a step by hand.

use crate::base::{Moment, StepId};
use crate::report::{Tone, plan, when};
use crate::runbook::Step;
use crate::runbook::graph::{self, Section};
use crate::runbook::model::{Run, Work};
use crate::ui::page::Page;
use crate::ui::view::Snapshot;

/// Columns of the labels.
pub const LABEL: usize = 10;

/// The top of every step's page: where am I.
pub fn top(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId, tone: Tone, word: &str) {
    page.blank();
    page.rule('-');
    let place = match snapshot.step(id) {
        Some((n, _)) => format!("Step {n} of {}: {id}", snapshot.runbook.steps.len()),
        None => format!("Step {id}"),
    };
    let word = if word.is_empty() { String::new() } else { format!("   {word}") };
    page.row(0, &[(Tone::Strong, place), (tone, word)]);
    if let Some((_, step)) = snapshot.step(id).filter(|(_, step)| step.title.is_some()) {
        page.text(2, step.name());
    }
    let environment = snapshot.state.environment.as_ref().map(|e| format!(" in {e}")).unwrap_or_default();
    let run = if snapshot.state.rehearsal { "rehearsal" } else { "run" };
    page.text(2, &format!("{run} {}{environment}, on {}", snapshot.state.run, snapshot.state.host));
    page.rule('-');
}

/// A protected environment.
pub fn environment(page: &mut Page<'_>, snapshot: &Snapshot, name: &str) {
    page.blank();
    page.rule('-');
    page.say(Tone::Strong, &format!("{name} is a protected environment."));
    page.rule('-');
    let steps = &snapshot.runbook.steps;
    let title = snapshot.runbook.title.as_deref().unwrap_or(&snapshot.runbook.name);
    page.item(2, (Tone::Plain, "work"), LABEL, title);
    page.item(2, (Tone::Plain, "run"), LABEL, snapshot.state.run.as_str());
    page.item(2, (Tone::Plain, "host"), LABEL, &snapshot.state.host);
    page.item(2, (Tone::Plain, "steps"), LABEL, &steps.len().to_string());
    for step in steps {
        if let Some(destroys) = &step.destroys {
            page.item(2, (Tone::Bad, "DESTROYS"), LABEL, &format!("{} (in {})", destroys.what, step.id));
        }
    }
    page.blank();
    page.say(Tone::Plain, "To begin, type the environment's name exactly:");
    page.block(2, " ", name);
}

/// Begin this step?
pub fn begin(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId, now: &Moment) {
    let destructive = snapshot.step(id).is_some_and(|(_, step)| step.destroys.is_some());
    top(page, snapshot, id, Tone::Bad, if destructive { "DESTROYS" } else { "" });
    let Some((number, step)) = snapshot.step(id) else { return };
    if let Some(destroys) = &step.destroys {
        page.item(2, (Tone::Bad, "DESTROYS"), LABEL, &destroys.what);
        page.item(2, (Tone::Plain, ""), LABEL, "What goes is measured and shown before anything is asked.");
    }
    work(page, step);
    if let Some(guide) = &step.guide {
        page.blank();
        page.guide(2, guide);
        page.blank();
    }
    let at = snapshot.state.step(id);
    if let Some(began) = at.began {
        let how = at.ending.map(|e| format!(": {}", e.describe())).unwrap_or_default();
        page.item(2, (Tone::Plain, "earlier"), LABEL, &format!("begun {}{how}", when::both(now, &began)));
    }
    checks(page, snapshot, number - 1, step);
    onward(page, snapshot, number, step);
}

/// What comes next, and how far one can go back.
fn onward(page: &mut Page<'_>, snapshot: &Snapshot, number: usize, step: &Step) {
    next(page, snapshot, number);
    let horizon = snapshot.horizon();
    let mut text = horizon.sentence();
    let note = crate::engine::reverse::irreversible(step);
    if let Some(why) = note.filter(|_| horizon.stops_at.is_none()) {
        // The sentence ends with the same warning, without the reason.
        text = text.split(" The way back ends when").next().unwrap_or_default().to_owned();
        page.item(2, (Tone::Plain, "way back"), LABEL, &text);
        page.item(2, (Tone::Doubt, "NOTE"), LABEL, &format!("Past this step there is no way back: {why}."));
        return;
    }
    page.item(2, (Tone::Plain, "way back"), LABEL, &text);
}

/// What the step does: the command itself, who runs it, its limit.
fn work(page: &mut Page<'_>, step: &Step) {
    let Some(work) = step.work() else { return };
    does(page, &work);
    let terms = plan::terms(step);
    if !terms.is_empty() {
        page.item(2, (Tone::Plain, ""), LABEL, &terms.join(", "));
    }
}

fn does(page: &mut Page<'_>, work: &Work<'_>) {
    let text = plan::work_text(work);
    match work {
        Work::Run(Run::Argv(_)) => {
            page.item(2, (Tone::Plain, "runs"), LABEL, "this command:");
            page.block(4, "$", &text);
        }
        Work::Run(Run::Script(_)) => {
            page.item(2, (Tone::Plain, "runs"), LABEL, "this bash script:");
            page.block(4, "|", &text);
        }
        Work::Sql(_) => {
            page.item(2, (Tone::Plain, "runs"), LABEL, "these SQL statements:");
            page.block(4, "|", &text);
        }
        Work::Manual(_) => {
            page.item(2, (Tone::Plain, "by hand"), LABEL, "you do this yourself:");
            page.guide(4, &text);
        }
        Work::Record(_) | Work::Soak(_) => page.item(2, (Tone::Plain, "does"), LABEL, &text),
    }
}

fn checks(page: &mut Page<'_>, snapshot: &Snapshot, at: usize, step: &Step) {
    if step.destroys.is_some() {
        let guards = graph::guards(&snapshot.runbook, at).len() as u64;
        let text = format!(
            "{} must pass together, just before",
            crate::base::text::count(guards, "check", "checks")
        );
        page.item(2, (Tone::Plain, "before"), LABEL, &text);
    }
    for (section, label) in [(Section::Pre, "before"), (Section::Inv, "during"), (Section::Post, "after")] {
        if section == Section::Pre && step.destroys.is_some() {
            continue;
        }
        for (n, (id, spec)) in graph::check_ids(step, section).into_iter().enumerate() {
            let seen = snapshot.state.last.get(&id).filter(|_| section == Section::Pre);
            let mark = seen.map(|seen| format!("{} ", seen.verdict().word())).unwrap_or_default();
            let label = if n == 0 { label } else { "" };
            page.item(2, (Tone::Plain, label), LABEL, &format!("{mark}{}", plan::title(spec)));
        }
    }
    if step.postconditions.is_empty() && step.changes_something() {
        page.item(2, (Tone::Doubt, "after"), LABEL, "nothing is measured; its exit status proves nothing");
    }
}

fn next(page: &mut Page<'_>, snapshot: &Snapshot, number: usize) {
    let text = match snapshot.runbook.steps.get(number) {
        Some(next) => {
            let destroys =
                next.destroys.as_ref().map(|d| format!("; DESTROYS {}", d.what)).unwrap_or_default();
            format!("step {}, {}: {}{destroys}", number + 1, next.id, next.name())
        }
        None => "nothing; this is the last step".to_owned(),
    };
    page.item(2, (Tone::Plain, "then"), LABEL, &text);
}

/// Undo this step?
pub fn undo(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId) {
    top(page, snapshot, id, Tone::Doubt, "to be undone");
    let Some((number, step)) = snapshot.step(id) else { return };
    let Some(rollback) = &step.rollback else { return };
    if let Some(guide) = &rollback.guide {
        page.guide(2, guide);
        page.blank();
    }
    if let Some(work) = rollback.work() {
        does(page, &work);
    }
    if let Some(destroys) = &rollback.destroys {
        page.item(2, (Tone::Bad, "DESTROYS"), LABEL, &destroys.what);
        page.item(2, (Tone::Plain, ""), LABEL, "What goes is measured and shown before anything is asked.");
        let guards = graph::undo_guards(&snapshot.runbook, number - 1).len() as u64;
        let checks = crate::base::text::count(guards, "check", "checks");
        page.item(2, (Tone::Plain, "before"), LABEL, &format!("{checks} must pass together, just before"));
    } else {
        list(page, step, Section::UndoPre, "before");
    }
    list(page, step, Section::Undo, "after");
    page.say(Tone::Plain, &snapshot.horizon().sentence());
}

fn list(page: &mut Page<'_>, step: &Step, section: Section, label: &str) {
    for (n, (_, spec)) in graph::check_ids(step, section).into_iter().enumerate() {
        page.item(2, (Tone::Plain, if n == 0 { label } else { "" }), LABEL, &plan::title(spec));
    }
}

/// A step by hand: was it carried out?
pub fn manual(page: &mut Page<'_>, snapshot: &Snapshot, id: &StepId, observe: Option<&str>) {
    top(page, snapshot, id, Tone::Plain, "by hand");
    let Some((number, step)) = snapshot.step(id) else { return };
    page.say(Tone::Plain, "Do this yourself, then say so here:");
    page.blank();
    let undo = snapshot.state.status(id) == crate::engine::state::Status::RollingBack;
    let rollback = step.rollback.as_ref().filter(|_| undo).and_then(|rollback| rollback.manual.as_ref());
    if let Some(manual) = rollback.or(step.manual.as_ref()) {
        page.guide(2, &manual.instructions);
        page.blank();
    }
    if let Some(guide) = &step.guide {
        page.guide(2, guide);
        page.blank();
    }
    if let Some(question) = observe {
        page.item(2, (Tone::Strong, "you tell"), LABEL, question);
    }
    for (n, (_, spec)) in graph::check_ids(step, Section::Post).into_iter().enumerate() {
        page.item(2, (Tone::Plain, if n == 0 { "after" } else { "" }), LABEL, &plan::title(spec));
    }
    onward(page, snapshot, number, step);
}
