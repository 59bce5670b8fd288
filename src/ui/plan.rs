//! `plan`: what would happen, what guards each destruction, how far one could go back.

use crate::report::Tone;
use crate::report::plan::{Plan, PlanCheck, PlanStep};
use crate::ui::page::Page;
use crate::ui::screen::Style;

/// Columns of the labels.
const LABEL: usize = 10;

/// The page of `plan`.
pub fn plan(plan: &Plan, style: &Style) -> String {
    let mut page = Page::new(style);
    page.say(Tone::Strong, &format!("Plan of {}", plan.name));
    if let Some(title) = &plan.title {
        page.text(2, title);
    }
    let destructive = plan.steps.iter().filter(|step| step.destroys.is_some()).count();
    let steps = crate::base::text::count(plan.steps.len() as u64, "step", "steps");
    let destroy = match destructive {
        0 => "none of them destroys anything".to_owned(),
        1 => "1 of them DESTROYS".to_owned(),
        n => format!("{n} of them DESTROY"),
    };
    let nothing = if plan.room.is_some() {
        "Nothing was run; only room was measured."
    } else {
        "Nothing was run or measured."
    };
    page.say(Tone::Plain, &format!("{steps}, {destroy}. {nothing}"));
    plan.steps.iter().for_each(|step| self::step(&mut page, step));
    if let Some(room) = &plan.room {
        super::room::room(&mut page, room);
    }
    page.heading("Way back");
    for step in &plan.steps {
        page.item(2, (Tone::Plain, &format!("after {}", step.id)), 18, &way_back(step));
    }
    match &plan.no_way_back_from {
        Some(step) => {
            page.say(Tone::Doubt, &format!("From the moment {step} begins there is no complete way back."))
        }
        None => page.say(Tone::Good, "One can go back to the start from everywhere."),
    }
    if !plan.remarks.is_empty() {
        page.heading("Remarks");
        plan.remarks.iter().for_each(|remark| page.item(2, (Tone::Doubt, "-"), 2, remark));
    }
    page.finish()
}

/// The sentence without what the table says below it anyway.
fn way_back(step: &PlanStep) -> String {
    let short = |text: &str, from: &str| text.split(from).next().unwrap_or_default().to_owned();
    short(&short(&step.way_back, " The way back ends when"), " Undoing `")
}

fn step(page: &mut Page<'_>, step: &PlanStep) {
    page.blank();
    page.item(0, (Tone::Strong, &format!("{}. {}", step.number, step.id)), 20, &step.title);
    if let Some(what) = &step.destroys {
        page.item(4, (Tone::Bad, "DESTROYS"), LABEL, what);
    }
    if step.approvals > 0 {
        let people = crate::base::text::count(step.approvals.into(), "person", "people");
        page.item(4, (Tone::Strong, "approval"), LABEL, &format!("by {people} other than the operator"));
    }
    for window in &step.windows {
        page.item(4, (Tone::Plain, "only"), LABEL, window);
    }
    match step.kind {
        "run" | "sql" => {
            page.item(4, (Tone::Plain, step.kind), LABEL, &step.terms.join(", "));
            page.block(6, "|", &step.work);
        }
        "manual" => {
            page.item(4, (Tone::Plain, "by hand"), LABEL, &step.terms.join(", "));
            page.guide(6, &step.work);
        }
        kind => page.item(4, (Tone::Plain, kind), LABEL, &step.work),
    }
    for (n, text) in step.harmless.iter().enumerate() {
        page.item(4, (Tone::Doubt, if n == 0 { "harmless" } else { "" }), LABEL, text);
    }
    let before = if step.destroys.is_some() { "guards" } else { "before" };
    if step.destroys.is_some() {
        let text = match step.guards.len() {
            0 => "NO CHECK GUARDS THIS STEP".to_owned(),
            n => format!(
                "{} must pass together, just before:",
                crate::base::text::count(n as u64, "check", "checks")
            ),
        };
        page.item(4, (Tone::Strong, before), LABEL, &text);
        step.guards.iter().for_each(|check| page.item(6, (Tone::Plain, "-"), 2, &line(check, true)));
    } else {
        checks(page, before, &step.guards);
    }
    checks(page, "during", &step.invariants);
    checks(page, "after", &step.postconditions);
    checks(page, "lapses", &step.lapses);
    match (&step.undo, step.irreversible) {
        (Some(undo), None) => {
            page.item(4, (Tone::Plain, "undo"), LABEL, "by:");
            page.block(6, "|", undo);
            undoing(page, step);
        }
        (_, Some(why)) => page.item(4, (Tone::Doubt, "undo"), LABEL, &format!("cannot be undone: {why}")),
        (None, None) => page.item(4, (Tone::Plain, "undo"), LABEL, "not needed: it changes nothing"),
    }
}

/// What stands before and after the undoing of a step.
fn undoing(page: &mut Page<'_>, step: &PlanStep) {
    if let Some(what) = &step.undo_destroys {
        page.item(4, (Tone::Bad, ""), LABEL, &format!("which DESTROYS {what}, once that text is typed"));
        let checks = crate::base::text::count(step.undo_guards.len() as u64, "check", "checks");
        page.item(4, (Tone::Strong, ""), LABEL, &format!("{checks} must pass together, just before:"));
        step.undo_guards.iter().for_each(|check| page.item(6, (Tone::Plain, "-"), 2, &line(check, true)));
    } else {
        checks(page, "  before", &step.undo_guards);
    }
    checks(page, "  after", &step.undo_postconditions);
}

fn checks(page: &mut Page<'_>, label: &str, checks: &[PlanCheck]) {
    for (n, check) in checks.iter().enumerate() {
        page.item(4, (Tone::Plain, if n == 0 { label } else { "" }), LABEL, &line(check, false));
    }
}

fn line(check: &PlanCheck, place: bool) -> String {
    let mut text = check.title.clone();
    if place {
        text.push_str(&format!(" [{}]", check.id));
    }
    if !check.terms.is_empty() {
        text.push_str(&format!(" ({})", check.terms));
    }
    text
}
