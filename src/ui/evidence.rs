//! What checks saw: for `check`, and wherever a screen shows evidence.

use crate::check::{Evidence, Verdict};
use crate::report::checked::{Checked, Item, Level};
use crate::report::{Tone, words};
use crate::ui::page::Page;
use crate::ui::screen::Style;

/// Columns of the verdict.
const VERDICT: usize = 9;

/// One piece of evidence: verdict and title, what was seen, and for all but a pass what was wanted and what to do.
pub fn entry(page: &mut Page<'_>, evidence: &Evidence) {
    let (tone, mark) = words::verdict(evidence.verdict());
    page.item(2, (tone, mark), VERDICT, &evidence.title);
    let indent = 2 + if page.columns() < 40 { 2 } else { VERDICT };
    page.item(indent, (Tone::Plain, "seen"), 8, &evidence.outcome.observed);
    if evidence.verdict() == Verdict::Pass {
        return;
    }
    page.item(indent, (Tone::Plain, "wanted"), 8, &evidence.outcome.expected);
    if let Some(help) = &evidence.outcome.help {
        page.item(indent, (Tone::Strong, "next"), 8, help);
    }
    for (n, detail) in evidence.outcome.details.iter().take(DETAILS).enumerate() {
        page.item(indent, (Tone::Plain, if n == 0 { "detail" } else { "" }), 8, detail);
    }
    if let Some(more) = evidence.outcome.details.len().checked_sub(DETAILS).filter(|more| *more > 0) {
        page.item(indent, (Tone::Dim, ""), 8, &format!("and {more} more; --json shows all"));
    }
    page.item(indent, (Tone::Dim, "check"), 8, evidence.check.as_str());
}

/// Findings shown of one check.
const DETAILS: usize = 12;

/// The page of `check`: those that did not pass last, where the eye is, and a sum.
pub fn check(checked: &Checked, style: &Style) -> String {
    let mut page = Page::new(style);
    let (good, bad): (Vec<&Item>, Vec<&Item>) =
        checked.items.iter().partition(|item| item.level() == Level::Ok);
    good.iter().for_each(|item| entry(&mut page, &item.evidence));
    if !good.is_empty() && !bad.is_empty() {
        page.blank();
    }
    for item in bad {
        entry(&mut page, &item.evidence);
        if item.advisory {
            let indent = 2 + if page.columns() < 40 { 2 } else { VERDICT };
            page.item(indent, (Tone::Dim, "advisory"), 8, "shown, never a gate");
        }
    }
    page.blank();
    let mut sum = checked.sum();
    sum.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    page.say(if checked.pass { Tone::Good } else { Tone::Bad }, &format!("{sum}."));
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixture::{evidence, hostile_evidence, safe};

    #[test]
    fn at_eighty_columns() {
        let item = |evidence| Item { evidence, advisory: false };
        let seen = vec![
            item(evidence("copy.post.rows", Verdict::Fail)),
            item(evidence("copy.pre.disk", Verdict::Pass)),
        ];
        assert_eq!(
            check(&Checked::of("night", seen, 1), &Style::PLAIN),
            [
                "  pass     Room for the copy",
                "           seen    120 GiB free in /var/lib/postgresql",
                "",
                "  FAIL     Every table of new holds the rows of old",
                "           seen    0 rows in events",
                "           wanted  1,000,000 rows, as in old",
                "           next    copy the table again, then measure again",
                "           detail  events: 0 rows instead of 1,000,000",
                "           check   copy.post.rows",
                "",
                "1 of 2 checks pass; 1 FAIL, 0 UNKNOWN.",
                "",
            ]
            .join("\n")
        );
    }

    #[test]
    fn nothing_measured_is_not_a_pass() {
        let nothing = Checked::of("night", Vec::new(), 1);
        assert_eq!(check(&nothing, &Style::PLAIN), "Nothing was measured, so nothing is proved.\n");
    }

    #[test]
    fn hostile_evidence_is_harmless() {
        for width in [20, 40, 80] {
            let item = Item { evidence: hostile_evidence(), advisory: true };
            let checked = Checked::of("night", vec![item], 1);
            safe(&check(&checked, &Style { width, ..Style::PLAIN }), width);
        }
    }
}
