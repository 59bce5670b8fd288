//! The page in front of destruction: what goes, measured; what it is; that nothing brings it back; the text to type.

use super::begin::LABEL;
use crate::base::text::thousands;
use crate::base::{Moment, Size, StepId};
use crate::journal::record::{Blast, BlastItem};
use crate::report::{Tone, goes, when};
use crate::ui::layout::{fit, pad, pad_left, width};
use crate::ui::page::Page;
use crate::ui::view::Snapshot;

/// Type the text.
pub fn confirm(
    page: &mut Page<'_>,
    snapshot: &Snapshot,
    (id, undo): (&StepId, bool),
    (text, blast, horizon): (&str, &Blast, &str),
    now: &Moment,
) {
    page.blank();
    page.rule('=');
    let undoing = if undo { "undoing " } else { "" };
    page.say(Tone::Bad, &format!("THIS DESTROYS DATA: {undoing}{}", snapshot.place(id)));
    if let Some((_, step)) = snapshot.step(id).filter(|(_, step)| step.title.is_some()) {
        page.text(2, step.name());
    }
    let environment = snapshot.state.environment.as_ref().map(|e| format!(" in {e}")).unwrap_or_default();
    page.text(2, &format!("run {}{environment}", snapshot.state.run));
    page.rule('=');
    items(page, &blast.items);
    page.blank();
    for gone in &blast.gone {
        page.item(2, (Tone::Plain, "not there"), LABEL, &format!("{}: {}", gone.name, gone.why));
    }
    match &blast.identity {
        None if undo && blast.items.is_empty() => {}
        Some(identity) => page.item(2, (Tone::Strong, "it is"), LABEL, &identity.describe()),
        None => {
            let only = match blast.items.iter().all(|item| item.kind == "container") {
                true => "containers only; their volumes stay",
                false => "no database",
            };
            page.item(2, (Tone::Plain, "it is"), LABEL, only);
        }
    }
    page.item(2, (Tone::Strong, "host"), LABEL, &snapshot.state.host);
    for why in &blast.serving {
        page.item(2, (Tone::Bad, "IN USE"), LABEL, why);
    }
    for why in &blast.unmeasured {
        page.item(2, (Tone::Doubt, "UNKNOWN"), LABEL, why);
    }
    page.item(2, (Tone::Plain, "measured"), LABEL, &when::both(now, &blast.at));
    for waiver in &snapshot.state.second.waivers {
        let text = format!("{}, by {}: {}", waiver.check, waiver.said.by, waiver.reason());
        page.item(2, (Tone::Doubt, "WAIVED"), LABEL, &text);
    }
    page.blank();
    let again = !undo && snapshot.step(id).is_some_and(|(_, step)| step.undoing().is_some());
    page.say(
        Tone::Bad,
        match (undo, again) {
            (true, _) => "Nothing brings it back.",
            (false, false) => "There is no undo.",
            // An index: its table still holds all that was in it.
            (false, true) => "Undoing the step builds it anew, and takes its time.",
        },
    );
    page.text(2, horizon);
    page.blank();
    page.say(Tone::Plain, "To destroy it, type this text exactly, then Enter:");
    page.block(2, " ", text);
    page.say(Tone::Plain, "Anything else destroys nothing.");
}

/// What goes, as a table; below each other on a narrow screen.
pub fn items(page: &mut Page<'_>, items: &[BlastItem]) {
    let items = &goes::listed(items);
    page.blank();
    if items.is_empty() {
        page.say(Tone::Doubt, "Nothing was found that would go.");
        return;
    }
    let columns = page.columns();
    if columns < 60 {
        page.say(Tone::Strong, "What goes:");
        for item in items {
            page.text(2, &format!("{} {}", item.kind, item.name));
            page.text(6, &format!("{}, {} rows", size(item), rows(item)));
        }
        return;
    }
    let kinds = items.iter().map(|item| width(&item.kind)).max().unwrap_or(0).clamp(4, 18);
    let counts = items.iter().map(|item| rows(item).len()).max().unwrap_or(0).clamp(4, 20);
    let names = columns - 2 - kinds - 2 - 10 - 2 - counts - 1;
    let line = |kind: &str, name: &str, size: &str, rows: &str| {
        format!(
            "{}  {} {}  {}",
            pad(&fit(kind, kinds), kinds),
            pad(name, names),
            pad_left(size, 9),
            pad_left(rows, counts)
        )
    };
    page.row(2, &[(Tone::Strong, line("what", "name", "size", "rows"))]);
    for item in items {
        let (size, rows) = (size(item), rows(item));
        if width(&item.name) <= names {
            page.row(2, &[(Tone::Plain, line(&item.kind, &item.name, &size, &rows))]);
        } else {
            page.item(2, (Tone::Plain, &fit(&item.kind, kinds)), kinds + 2, &item.name);
            page.row(2, &[(Tone::Plain, line("", "", &size, &rows))]);
        }
    }
}

fn size(item: &BlastItem) -> String {
    item.bytes.map(|bytes| Size(bytes).to_string()).unwrap_or_else(|| "unknown".to_owned())
}

fn rows(item: &BlastItem) -> String {
    item.rows.map(thousands).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::screen::Style;

    #[test]
    fn tables_without_a_row_do_not_hide_those_that_go() {
        let table = |name: &str, rows| BlastItem {
            kind: "table".to_owned(),
            name: name.to_owned(),
            bytes: None,
            rows: Some(rows),
        };
        let all = [table("access_tokens", 0), table("events", 1_204), table("pushers", 0)];
        for width in [40, 80] {
            let style = Style { width, ..Style::PLAIN };
            let mut page = Page::new(&style);
            items(&mut page, &all);
            let text = page.finish();
            assert!(text.contains("events") && text.contains("2 without a row"), "{text}");
            assert!(!text.contains("pushers"), "{text}");
        }
    }
}
