//! `status` and `runs`: where it stands, for somebody who has just come in.

use crate::base::Moment;
use crate::engine::state::{Remark, Status};
use crate::journal::record::LeaseHow;
use crate::report::standing::{HolderLine, RunRow, Standing, StepLine};
use crate::report::{Tone, when};
use crate::ui::ask::trouble;
use crate::ui::layout::{pad, width};
use crate::ui::page::Page;
use crate::ui::screen::Style;

/// Columns of the labels.
const LABEL: usize = 10;

/// The mark of a step: `[x]`, `[ ]`, `[>]`, `[!]`, `[?]`, `[<]`.
pub fn mark(status: Status) -> (Tone, &'static str) {
    match status {
        Status::Pending => (Tone::Plain, "[ ]"),
        Status::Running | Status::Ended => (Tone::Strong, "[>]"),
        Status::InDoubt => (Tone::Doubt, "[?]"),
        Status::Done => (Tone::Good, "[x]"),
        Status::Failed | Status::Reopened | Status::NotUndone => (Tone::Bad, "[!]"),
        Status::RollingBack | Status::RolledBack => (Tone::Plain, "[<]"),
    }
}

/// The page of `status`.
pub fn status(standing: &Standing, now: &Moment, style: &Style) -> String {
    let mut page = Page::new(style);
    head(&mut page, standing, now);
    if let Some(offer) = &standing.offer {
        let whom = offer.to.as_deref().unwrap_or("the next operator");
        let text = format!("to {whom}, {}: {}", when::both(now, &offer.at), offer.note);
        page.item(2, (Tone::Strong, "offered"), LABEL, &text);
    }
    page.blank();
    steps(&mut page, &standing.steps);
    if let Some(step) = standing.held_step.as_ref().filter(|_| !standing.blockers.is_empty()) {
        page.heading(&format!("What holds {step}"));
        trouble::blockers(&mut page, &standing.blockers);
    }
    super::second::all(&mut page, &standing.approvals, &standing.waivers, &standing.windows);
    not_passing(&mut page, standing);
    remarks(&mut page, "Notes", &standing.remarks, now);
    remarks(&mut page, "Decisions", &standing.decisions, now);
    tail(&mut page, standing);
    page.finish()
}

/// Name, place, holder, summary.
pub fn head(page: &mut Page<'_>, standing: &Standing, now: &Moment) {
    page.say(Tone::Strong, &format!("Run {}", standing.run));
    let environment = standing.environment.as_ref().map(|e| format!(", {e}")).unwrap_or_default();
    page.item(2, (Tone::Plain, "work"), LABEL, standing.title.as_deref().unwrap_or(&standing.name));
    let rehearsal = if standing.rehearsal { ", a REHEARSAL" } else { "" };
    page.item(2, (Tone::Plain, "where"), LABEL, &format!("{}{environment}{rehearsal}", standing.host));
    page.item(2, (Tone::Plain, "opened"), LABEL, &when::stamp(standing.opened));
    match &standing.holder {
        Some(holder) => page.item(2, (Tone::Plain, "held by"), LABEL, &holder_words(holder, now)),
        None => page.item(2, (Tone::Plain, "held by"), LABEL, "nobody"),
    }
    page.blank();
    page.say(Tone::Strong, &standing.summary);
}

fn holder_words(holder: &HolderLine, now: &Moment) -> String {
    let since = when::both(now, &holder.since);
    if holder.released {
        return format!("nobody; {}, who held it since {since}, has left", holder.by);
    }
    let how = match holder.how {
        LeaseHow::Start | LeaseHow::Resume => "",
        LeaseHow::Accept => ", by handoff",
        LeaseHow::TakeOver => ", taken over",
    };
    let alive = match holder.alive {
        Some(true) => "",
        Some(false) => "; their session is gone",
        None => "; whether their session is alive cannot be seen from here",
    };
    format!("{} since {since}{how}{alive}", holder.by)
}

/// Every step with its mark.
pub fn steps(page: &mut Page<'_>, steps: &[StepLine]) {
    let ids = steps.iter().map(|step| width(step.id.as_str())).max().unwrap_or(0).clamp(4, 24);
    let digits = steps.len().to_string().len();
    for step in steps {
        let (tone, mark) = mark(step.status);
        let head = format!("{mark} {:>digits$} {}", step.number, pad(step.id.as_str(), ids));
        page.item(2, (tone, head.trim_end()), head.chars().count() + 2, &step.title);
        let indent = 6 + digits + 1;
        if !matches!(step.status, Status::Pending) {
            page.text(indent, &step.words);
        }
        for left in &step.left_running {
            page.text(indent, &format!("left running: {left}"));
        }
        if let Some(destroys) = step.destroys.as_ref().filter(|_| step.status != Status::Done) {
            page.item(indent, (Tone::Bad, "DESTROYS"), LABEL, destroys);
        }
    }
}

fn not_passing(page: &mut Page<'_>, standing: &Standing) {
    let held: Vec<&str> = standing.blockers.iter().map(|blocker| blocker.subject.as_str()).collect();
    let rest: Vec<_> = standing.not_passing.iter().filter(|(id, ..)| !held.contains(&id.as_str())).collect();
    if rest.is_empty() {
        return;
    }
    page.heading("Last measured and not passing");
    for (id, verdict, seen) in rest {
        let (tone, mark) = crate::report::words::verdict(*verdict);
        page.item(2, (tone, mark), LABEL - 1, &format!("{id}: {seen}"));
    }
}

/// Notes or decisions, each with its author and time.
pub fn remarks(page: &mut Page<'_>, title: &str, remarks: &[Remark], now: &Moment) {
    if remarks.is_empty() {
        return;
    }
    page.heading(title);
    for remark in remarks {
        page.text(2, &format!("{}, {}:", remark.by, when::both(now, &remark.at)));
        page.text(4, &remark.text);
    }
}

/// The way back and the one safe next act.
pub fn tail(page: &mut Page<'_>, standing: &Standing) {
    page.heading("Way back");
    page.text(2, &standing.way_back);
    page.heading("Next");
    page.text(2, &standing.next.why);
    if let Some(command) = &standing.next.command {
        page.command(4, command);
    }
}

/// The table of `runs`, newest first as given; below it the runs that cannot be read.
pub fn runs(rows: &[RunRow], unreadable: &[(String, String)], now: &Moment, style: &Style) -> String {
    let mut page = Page::new(style);
    if rows.is_empty() && unreadable.is_empty() {
        page.say(Tone::Plain, "No runs here. A run begins with: holdpoint run FILE");
    }
    for row in rows {
        page.blank();
        let tone = match row.phase {
            "completed" => Tone::Good,
            "failed" | "held" => Tone::Bad,
            "in_doubt" | "waiting" | "offered" => Tone::Doubt,
            _ => Tone::Plain,
        };
        page.row(
            0,
            &[
                (Tone::Strong, format!("run {}", row.run)),
                (tone, format!("  {}", row.phase.replace('_', " "))),
            ],
        );
        page.text(2, &row.summary);
        let environment = row.environment.as_ref().map(|e| format!("{e}, ")).unwrap_or_default();
        let holder = row.holder.as_deref().unwrap_or("nobody");
        let rehearsal = if row.rehearsal { "REHEARSAL, " } else { "" };
        page.text(
            2,
            &format!("{rehearsal}{environment}held by {holder}, last event {}", when::both(now, &row.latest)),
        );
    }
    for (run, why) in unreadable {
        page.blank();
        page.row(0, &[(Tone::Strong, format!("run {run}")), (Tone::Bad, "  CANNOT BE READ".to_owned())]);
        page.text(2, why);
    }
    page.finish()
}
