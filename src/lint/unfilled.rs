//! Places that `holdpoint new` left for a person to fill in: a value that begins with `TODO`. An error, so that a draft
//! cannot be run. Prose may say what it likes.

use crate::problem::Problem;
use crate::runbook::load::Document;
use crate::runbook::source::first_line;
use crate::runbook::tree::Node;

/// Keys whose values are read by people only.
const PROSE: [&str; 6] = ["about", "guide", "help", "instructions", "observe", "title"];

/// Adds what is still to be filled in.
pub(super) fn judge(doc: &Document, problems: &mut Vec<Problem>) {
    walk(doc.root(), "", &doc.source().text, problems);
}

fn walk(node: &Node, key: &str, text: &str, problems: &mut Vec<Problem>) {
    for entry in node.entries().iter().filter(|entry| !PROSE.contains(&&*entry.key.text)) {
        walk(&entry.value, &entry.key.text, text, problems);
    }
    for item in node.items() {
        walk(item, key, text, problems);
    }
    let Some(rest) = node.text().and_then(|value| value.strip_prefix("TODO")) else { return };
    if !rest.is_empty() && !rest.starts_with([':', ' ', '\n']) {
        return;
    }
    let what = rest.trim_start_matches(':').trim().lines().next().unwrap_or_default();
    let what = if what.is_empty() { String::new() } else { format!(": {what}") };
    let message = format!("`{key}` is still to be filled in{what}");
    let help = "write what holds at your site in its place; until then nothing can be run";
    problems.push(Problem::error("HP075", message, first_line(text, node.range())).help(help));
}
