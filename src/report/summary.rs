//! A rehearsal in Markdown, for the summary of a CI job or a change ticket: the result first, then what stood in the way,
//! then the steps.
//!
//! Invariant: foreign text (titles, what checks saw, what commands printed) cannot become markup, HTML or a mention.

use std::time::Duration;

use super::course::{Case, Fate, Stage};
use super::junit::run::bounded;
use super::rehearsed::{Rehearsed, bad};
use super::words::flat;
use crate::base::Span;
use crate::base::text::neutral;

/// The longest output that is shown of a step that failed, in lines.
const LINES: usize = 20;

/// The summary.
pub fn markdown(all: &Rehearsed) -> String {
    let course = &all.course;
    let mark = if all.passed() { "✅" } else { "❌" };
    let mut out = format!("## {mark} Rehearsal of {}: {}\n\n", cell(&course.name), cell(&all.headline()));
    let environment = course.environment.as_deref().unwrap_or_default();
    out.push_str(&format!(
        "In {} on {}, by {}, {}, in {}. Run {}, runbook {}, Holdpoint {}.\n\n",
        cell(environment),
        cell(&course.host),
        cell(&course.by),
        course.began.strftime("%Y-%m-%d %H:%M UTC"),
        span(course.took_ms),
        cell(course.run.as_str()),
        cell(course.runbook.short()),
        cell(&course.engine),
    ));
    for why in &all.refusals {
        out.push_str(&format!("**Refused:** {}\n\n", cell(why)));
    }
    for stage in &course.stages {
        trouble(&mut out, stage);
    }
    for case in course.closing.iter().filter(|case| bad(case)) {
        seen(&mut out, case);
    }
    let findings: Vec<_> = all.trials.iter().filter_map(|t| Some((t, t.outcome.as_ref().err()?))).collect();
    if !findings.is_empty() {
        out.push_str("### Findings\n\n");
        for (trial, found) in findings {
            out.push_str(&format!("- {}: {}\n", cell(&trial.title), cell(found)));
        }
        out.push('\n');
    }
    for (heading, lines) in &all.told {
        out.push_str(&format!("### {}\n\n", cell(heading)));
        lines.iter().for_each(|line| out.push_str(&format!("- {}\n", cell(line))));
        out.push('\n');
    }
    let partial = all.partial();
    if !partial.is_empty() {
        out.push_str("### Not rehearsed in whole\n\n");
        for (stage, manner) in partial {
            out.push_str(&format!(
                "- {} ({}): {}\n",
                cell(&stage.title),
                cell(stage.id.as_str()),
                cell(&manner.words())
            ));
        }
        out.push('\n');
    }
    if !all.weaknesses.is_empty() {
        out.push_str("### What weakens it\n\n");
        all.weaknesses.iter().for_each(|weakness| out.push_str(&format!("- {}\n", cell(weakness))));
        out.push('\n');
    }
    out.push_str("### Steps\n\n| | step | result | checks | time |\n|---:|---|---|---|---:|\n");
    for stage in &course.stages {
        let measured = stage.cases.iter().filter(|case| case.evidence.is_some()).count();
        let passing = measured - stage.cases.iter().filter(|case| bad(case)).count();
        let result = match &stage.fate {
            Fate::Done => all.manner(&stage.id).words(),
            Fate::NotReached(why) => format!("not reached: {why}"),
            Fate::Failed(why) => format!("FAILED: {why}"),
            Fate::Doubt(why) => format!("IN DOUBT: {why}"),
            Fate::Held(blockers) => {
                format!("HELD: {}", crate::base::text::count(blockers.len() as u64, "blocker", "blockers"))
            }
        };
        let destroys =
            stage.destroys.as_ref().map(|what| format!(" (destroys {})", cell(what))).unwrap_or_default();
        out.push_str(&format!(
            "| {} | {}{destroys} | {} | {passing} of {} pass | {} |\n",
            stage.number,
            cell(&stage.title),
            cell(&result),
            stage.cases.len(),
            stage.took_ms.map(span).unwrap_or_default(),
        ));
    }
    out
}

fn trouble(out: &mut String, stage: &Stage) {
    if matches!(stage.fate, Fate::Done | Fate::NotReached(_)) {
        return;
    }
    out.push_str(&format!(
        "### {} {}: {}\n\n",
        cell(stage.id.as_str()),
        stage.fate.word(),
        cell(&stage.title)
    ));
    match &stage.fate {
        Fate::Held(blockers) => {
            for blocker in super::blockers::merged(blockers) {
                out.push_str(&format!(
                    "- **{}**\n  - seen: {}\n  - wanted: {}\n  - next: {}\n",
                    cell(&blocker.title),
                    cell(&blocker.observed),
                    cell(&blocker.expected),
                    cell(&blocker.next)
                ));
            }
            out.push('\n');
        }
        Fate::Failed(why) | Fate::Doubt(why) => {
            out.push_str(&format!("{}\n\n", cell(why)));
            stage.cases.iter().filter(|case| bad(case)).for_each(|case| seen(out, case));
            out.push_str(&fenced(&stage.output));
        }
        Fate::Done | Fate::NotReached(_) => {}
    }
}

fn seen(out: &mut String, case: &Case) {
    let Some(evidence) = &case.evidence else { return };
    let outcome = &evidence.outcome;
    out.push_str(&format!(
        "- **{} {}** ({})\n  - seen: {}\n  - wanted: {}\n",
        evidence.verdict().word(),
        cell(&case.title),
        cell(case.id.as_str()),
        cell(&outcome.observed),
        cell(&outcome.expected)
    ));
    if let Some(help) = &outcome.help {
        out.push_str(&format!("  - next: {}\n", cell(help)));
    }
    out.push('\n');
}

/// The last lines of an output, in a block that it cannot end.
fn fenced(output: &str) -> String {
    let text = neutral(&bounded(output));
    let lines: Vec<&str> = text.lines().collect();
    let lines = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    if lines.is_empty() {
        return String::new();
    }
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{}\n{fence}\n\n", lines.join("\n"))
}

fn span(ms: u64) -> String {
    // Under a second the milliseconds say nothing about a maintenance.
    let whole = Duration::from_millis(ms).as_secs();
    if whole == 0 { "< 1s".to_owned() } else { Span::secs(whole).to_string() }
}

/// Foreign text on one line, in which nothing is markup.
pub fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in flat(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~'
            | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_no_markup() {
        let evil = "a|b <img src=x> @everyone `code` [x](javascript:1) **b** &amp; \u{1b}[2J\n# head";
        let safe = cell(evil);
        for bad in ["<img", "@everyone", "\n", "\u{1b}"] {
            assert!(!safe.contains(bad), "{safe}");
        }
        assert!(safe.contains("a\\|b") && safe.contains("\\[x\\]\\(javascript"), "{safe}");
    }

    #[test]
    fn a_block_cannot_be_ended_from_inside() {
        let block = fenced("one\n```\n````` two\n# head\n");
        assert!(block.starts_with("``````text\n") && block.ends_with("\n``````\n\n"), "{block}");
        assert_eq!(fenced("").len(), 0);
        let long: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(fenced(&long).lines().count(), LINES + 3);
    }
}
