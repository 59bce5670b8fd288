//! Screens about second persons: what somebody is asked to approve, and what stands on every status.

use super::ask::{begin::LABEL, confirm};
use super::page::Page;
use super::screen::Style;
use crate::base::{Moment, RunId, StepId};
use crate::engine::RunState;
use crate::engine::second::Wanted;
use crate::report::second::{ApprovalLine, WaiverLine, WindowLine};
use crate::report::{Tone, when};
use crate::runbook::Runbook;
use crate::runbook::graph;

/// Exactly what an approval would be for.
pub fn page(
    runbook: &Runbook,
    state: &RunState,
    wanted: &Wanted,
    line: Option<&ApprovalLine>,
    now: &Moment,
    style: &Style,
) -> String {
    let mut page = Page::new(style);
    let content = &wanted.content;
    let undoing = if content.undo { "undoing " } else { "" };
    page.rule('=');
    page.say(Tone::Bad, &format!("TO BE APPROVED: {undoing}{}, which destroys data", content.step));
    let at = graph::position(runbook, content.step.as_str());
    if let Some(step) = at.and_then(|at| runbook.steps.get(at)).filter(|step| step.title.is_some()) {
        page.text(2, step.name());
    }
    let environment = state.environment.as_ref().map(|e| format!(" in {e}")).unwrap_or_default();
    page.text(2, &format!("run {}{environment}", content.run));
    page.rule('=');
    let work = at.and_then(|at| runbook.steps.get(at)).and_then(|step| match content.undo {
        true => step.rollback.as_ref()?.work(),
        false => step.work(),
    });
    if let Some(work) = work {
        page.item(2, (Tone::Strong, "does"), LABEL, "");
        page.block(4, "|", &crate::report::plan::work_text(&work));
    }
    confirm::items(&mut page, &content.blast.items);
    page.blank();
    for (name, identity) in &content.targets {
        page.item(2, (Tone::Strong, name), LABEL.max(name.len() + 2), &identity.describe());
    }
    page.item(2, (Tone::Strong, "host"), LABEL, &state.host);
    page.item(2, (Tone::Plain, "measured"), LABEL, &when::both(now, &content.blast.at));
    page.item(
        2,
        (Tone::Plain, "runbook"),
        LABEL,
        &format!("{}, digest {}", state.name, content.runbook.short()),
    );
    for (n, (path, digest)) in content.scripts.iter().enumerate() {
        let label = if n == 0 { "scripts" } else { "" };
        page.item(2, (Tone::Plain, label), LABEL, &format!("{path}, digest {}", digest.short()));
    }
    for (n, (name, value)) in content.vars.iter().enumerate() {
        page.item(2, (Tone::Plain, if n == 0 { "with" } else { "" }), LABEL, &format!("{name} = {value}"));
    }
    for (n, id) in content.guards.iter().enumerate() {
        let seen = state.last.get(id);
        let seen = seen.map_or("not measured".to_owned(), |seen| {
            format!("{}: {}, {}", seen.verdict().word(), seen.outcome.observed, when::ago(now, &seen.at))
        });
        page.item(2, (Tone::Plain, if n == 0 { "checks" } else { "" }), LABEL, &format!("{id}: {seen}"));
    }
    for waiver in state.second.waivers.iter().filter(|waiver| content.guards.contains(&waiver.check)) {
        let text = format!("{}, by {}: {}", waiver.check, waiver.said.by, waiver.reason());
        page.item(2, (Tone::Doubt, "WAIVED"), LABEL, &text);
    }
    page.item(2, (Tone::Strong, "content"), LABEL, wanted.digest.short());
    page.blank();
    let operator = state.holder.as_ref().map_or("nobody", |holder| holder.by.as_str());
    let people = crate::base::text::count(wanted.count.into(), "person", "people");
    page.say(
        Tone::Plain,
        &format!("{operator} drives the run, and asks for the approval of {people} besides."),
    );
    if let Some(line) = line {
        said(&mut page, line);
    }
    page.say(
        Tone::Plain,
        "Your approval is void as soon as more would go, or anything above is another. Every check is measured again \
         before anything is destroyed.",
    );
    page.blank();
    page.say(Tone::Plain, "To approve it, type this text exactly, then Enter:");
    page.block(2, " ", &content.text);
    page.say(Tone::Plain, "Anything else approves nothing.");
    page.finish()
}

/// The prompt below the page: the page itself stands on standard output.
pub fn question(style: &Style) -> String {
    let mut page = Page::new(style);
    page.blank();
    page.finish()
}

/// What is printed when nobody is there to type.
pub fn unanswered(run: &RunId, step: &StepId, undo: bool, digest: &str, style: &Style) -> String {
    let mut page = Page::new(style);
    page.blank();
    page.item(
        0,
        (Tone::Doubt, "NOT APPROVED"),
        14,
        "A person has to read this, and there is no terminal to ask at.",
    );
    let undo = if undo { " --undo" } else { "" };
    page.item(0, (Tone::Plain, ""), 14, "somebody who has read the page above:");
    page.command(14, &format!("holdpoint approve {run} {step}{undo} --content {digest} --confirm TEXT"));
    page.finish()
}

fn said(page: &mut Page<'_>, line: &ApprovalLine) {
    for by in &line.judged.counted {
        page.item(2, (Tone::Good, "approved"), LABEL, by);
    }
    for (by, why) in &line.judged.void {
        page.item(2, (Tone::Doubt, "void"), LABEL, &format!("{by}: {why}"));
    }
    for (by, why) in &line.judged.rejected {
        page.item(2, (Tone::Bad, "REJECTED"), LABEL, &format!("{by}: {why}"));
    }
}

/// Approvals that are wanted, waivers that are not settled, change windows: nothing where there is none.
pub fn all(page: &mut Page<'_>, approvals: &[ApprovalLine], waivers: &[WaiverLine], windows: &[WindowLine]) {
    if !waivers.is_empty() {
        page.heading("Waived");
        for waiver in waivers {
            page.item(2, (Tone::Doubt, "WAIVED"), LABEL, waiver.check.as_str());
            page.text(2 + LABEL, &format!("by {} until {:.0}: {}", waiver.by, waiver.until, waiver.reason));
            page.text(2 + LABEL, &format!("last seen {}", waiver.seen));
            if let Some(why) = &waiver.void {
                page.item(2 + LABEL, (Tone::Bad, "it does not count:"), 19, why);
            }
        }
        page.text(2, "The run cannot be complete while a check is waived.");
    }
    if !approvals.is_empty() {
        page.heading("Approvals");
        for line in approvals {
            let undoing = if line.undo { "undoing " } else { "" };
            let have = line.judged.counted.len();
            let text = format!(
                "{undoing}{}: {have} of {} (content {})",
                line.step,
                line.wanted,
                line.content.short()
            );
            page.item(2, (Tone::Strong, "wanted"), LABEL, &text);
            said(page, line);
        }
    }
    if !windows.is_empty() {
        page.heading("Change windows");
        for line in windows {
            page.text(2, &format!("{}: {}", line.of, line.words));
            page.text(4, &line.standing);
        }
    }
}
