//! What checks saw: for `check`, and wherever a screen shows evidence.

use crate::check::{Evidence, Verdict};
use crate::report::json::Checked;
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
pub fn check(evidence: &[Evidence], style: &Style) -> String {
    let mut page = Page::new(style);
    let (good, bad): (Vec<&Evidence>, Vec<&Evidence>) =
        evidence.iter().partition(|seen| seen.verdict() == Verdict::Pass);
    good.iter().for_each(|seen| entry(&mut page, seen));
    if !good.is_empty() && !bad.is_empty() {
        page.blank();
    }
    bad.iter().for_each(|seen| entry(&mut page, seen));
    page.blank();
    let sum = Checked::of(evidence);
    let text = match (evidence.len(), sum.pass) {
        (0, _) => "Nothing was measured, so nothing is proved.".to_owned(),
        (1, true) => "The check passes.".to_owned(),
        (n, true) => format!("All {n} checks pass."),
        _ => format!(
            "{} of {} checks pass; {} FAIL, {} UNKNOWN.",
            sum.passed,
            evidence.len(),
            sum.failed,
            sum.unknown
        ),
    };
    page.say(if sum.pass { Tone::Good } else { Tone::Bad }, &text);
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixture::{evidence, hostile_evidence, safe};

    #[test]
    fn at_eighty_columns() {
        let seen = [evidence("copy.post.rows", Verdict::Fail), evidence("copy.pre.disk", Verdict::Pass)];
        assert_eq!(
            check(&seen, &Style::PLAIN),
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
        assert_eq!(check(&[], &Style::PLAIN), "Nothing was measured, so nothing is proved.\n");
    }

    #[test]
    fn hostile_evidence_is_harmless() {
        for width in [20, 40, 80] {
            safe(&check(&[hostile_evidence()], &Style { width, ..Style::PLAIN }), width);
        }
    }
}
