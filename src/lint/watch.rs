//! Watches that cannot show what they promise: measured less often than they last, or longer than anybody watches.
//!
//! Where a variable gives one of the two lengths it is a warning: a rehearsal may make a soak short on purpose.

use super::Places;
use crate::base::Span;
use crate::problem::{Problem, Severity};
use crate::runbook::graph::Section;
use crate::runbook::{Step, Work};

/// Longer than this nobody keeps a session open.
const LONG: Span = Span::secs(31 * 24 * 60 * 60);
/// What stands for a duration whose variable has no value yet (`runbook::scalar`).
const STAND_IN: Span = Span::secs(60 * 60);

/// A length of time, and whether it stands in the file itself.
#[derive(Clone, Copy)]
struct Length {
    span: Span,
    written: bool,
}

/// Adds what breaks the rules.
pub(super) fn judge(at: usize, step: &Step, places: &Places<'_>, problems: &mut Vec<Problem>) {
    let node = places.doc.step(at);
    // A stand-in says nothing; with all values this is judged again.
    let known = |path: &str, span: Span| {
        let text = node.and_then(|node| node.at(path)).and_then(|node| node.text());
        let written = !text.is_some_and(|text| text.contains("${"));
        (written || span != STAND_IN).then_some(Length { span, written })
    };
    let (lasts, what) = match step.work() {
        Some(Work::Soak(soak)) => {
            let lasts = known("soak.for", soak.length);
            if let Some(Length { span, .. }) = lasts.filter(|lasts| lasts.span > LONG) {
                let message = format!("`{}` lasts {span}, and only time that is watched counts", step.id);
                let help = "make it shorter, and watch on with `holdpoint check` and a file of checks";
                problems.push(Problem::warning("HP072", message, places.key(at, "soak.for")).help(help));
            }
            if let (Some(lasts), Some(every)) = (lasts, known("soak.every", soak.every))
                && every.span > lasts.span
            {
                let message = format!(
                    "measured every {}, the {} of `{}` show nothing",
                    every.span, lasts.span, step.id
                );
                let place = places.key(at, "soak.every");
                let problem = seldom(message, place, every.written && lasts.written);
                problems.push(problem.also(places.key(at, "soak.for"), "it lasts no longer"));
            }
            (lasts, "soak.for")
        }
        Some(Work::Run(_)) => (step.timeout.and_then(|limit| known("timeout", limit)), "timeout"),
        _ => return,
    };
    let Some(lasts) = lasts else { return };
    for (nth, check) in step.invariants.iter().enumerate() {
        let path = format!("invariants[{nth}].{}.every", check.kind);
        let Some(every) = check.common.every.and_then(|every| known(&path, every)) else { continue };
        if every.span > lasts.span {
            let message = format!(
                "`{}` is measured every {}, and `{}` lasts {}",
                check.kind, every.span, step.id, lasts.span
            );
            let place = places.check(at, Section::Inv, nth, Some("every"));
            let problem = seldom(message, place, every.written && lasts.written);
            problems.push(problem.also(places.key(at, what), "no longer than this"));
        }
    }
}

fn seldom(message: String, place: std::ops::Range<usize>, certain: bool) -> Problem {
    let severity = if certain { Severity::Error } else { Severity::Warning };
    let help = "measure several times: `every` much shorter than that";
    Problem { severity, ..Problem::error("HP071", message, place).help(help) }
}
