//! The handoff: a briefing for the next operator from the journal alone, and the walk-down that shows what changed.

use crate::base::Moment;
use crate::report::standing::Standing;
use crate::report::walkdown::{Changed, Kind, OpenPoint};
use crate::report::{Tone, when};
use crate::ui::ask::trouble;
use crate::ui::page::Page;
use crate::ui::screen::Style;
use crate::ui::{evidence, status};

pub use crate::report::walkdown::{changes, open_points};

/// What the next operator must know before anything else.
pub fn briefing(standing: &Standing, now: &Moment, style: &Style) -> String {
    let mut page = Page::new(style);
    page.rule('=');
    page.say(Tone::Strong, "HANDOFF BRIEFING");
    page.rule('=');
    if let Some(offer) = &standing.offer {
        page.say(Tone::Strong, &format!("{} says, {}:", offer.by, when::ago(now, &offer.at)));
        page.block(2, "|", &offer.note);
        page.blank();
    }
    status::head(&mut page, standing, now);
    if let Some(step) = standing.held_step.as_ref().filter(|_| !standing.blockers.is_empty()) {
        page.heading(&format!("What holds {step}"));
        trouble::blockers(&mut page, &standing.blockers);
    }
    page.heading("Steps");
    status::steps(&mut page, &standing.steps);
    super::second::all(&mut page, &standing.approvals, &standing.waivers, &standing.windows);
    status::remarks(&mut page, "Notes", &standing.remarks, now);
    status::remarks(&mut page, "Decisions", &standing.decisions, now);
    page.heading("Way back");
    page.text(2, &standing.way_back);
    page.finish()
}

/// The walk-down: what changed since it was last seen, the worst first; what is as before only counted.
pub fn walkdown(changes: &[Changed], style: &Style) -> String {
    let mut page = Page::new(style);
    page.rule('-');
    page.say(Tone::Strong, "Walk-down: measured now, against what was last seen");
    if changes.is_empty() {
        page.say(Tone::Doubt, "Nothing was measured: no finished step left anything that has to hold.");
        return page.finish();
    }
    let mut last = None;
    for changed in changes.iter().filter(|changed| changed.kind != Kind::Same) {
        if last != Some(changed.kind) {
            page.blank();
            page.say(tone(changed.kind), &format!("{}:", sentence(changed.kind)));
            last = Some(changed.kind);
        }
        evidence::entry(&mut page, &changed.now);
        if let Some((verdict, seen)) = changed.before.as_ref() {
            page.item(
                if page.columns() < 40 { 4 } else { 11 },
                (Tone::Plain, "before"),
                8,
                &format!("{}: {seen}", verdict.word()),
            );
        }
    }
    let same = changes.iter().filter(|changed| changed.kind == Kind::Same).count();
    page.blank();
    page.say(
        Tone::Plain,
        &match (same, changes.len()) {
            (same, all) if same == all => format!("All {all} are as they were last seen, and pass."),
            (same, all) => format!("{same} of {all} are as they were last seen, and pass."),
        },
    );
    page.finish()
}

fn sentence(kind: Kind) -> String {
    let word = kind.word();
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn tone(kind: Kind) -> Tone {
    match kind {
        Kind::Lost | Kind::StillNotPassing | Kind::NewNotPassing => Tone::Bad,
        Kind::Moved | Kind::New => Tone::Strong,
        Kind::Regained | Kind::Same => Tone::Good,
    }
}

/// The open points as a list: each is acknowledged before the run changes hands.
pub fn points(points: &[OpenPoint], style: &Style) -> String {
    let mut page = Page::new(style);
    page.rule('-');
    page.say(Tone::Strong, "Open points");
    if points.is_empty() {
        page.say(Tone::Good, "None.");
    }
    for (n, point) in points.iter().enumerate() {
        page.item(2, (Tone::Strong, &format!("{}.", n + 1)), 4, &format!("{} ({})", point.text, point.id));
    }
    page.finish()
}
