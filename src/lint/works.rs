//! Every text of a runbook that runs: where it stands, and what reading it finds.

use std::ops::Range;

use super::read::files::Files;
use super::read::{Finding, LATER, Reader, UNKNOWN, Word, place};
use crate::runbook::load::Document;
use crate::runbook::subst::{Piece, pieces};
use crate::runbook::tree::Node;
use crate::runbook::vars::Values;

/// One text, or argument list, that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'d> {
    /// The node: a script, a list of arguments, or one statement.
    pub node: &'d Node,
    /// A statement.
    pub sql: bool,
    /// A statement whose number of rows is bounded by `affects`.
    pub bounded: bool,
    /// Part of the rollback.
    pub undo: bool,
    /// The command of a check.
    pub check: bool,
    /// The map with its `cwd` and `env`.
    of: &'d Node,
}

/// Everything of a step that runs.
pub(super) fn of_step<'d>(step: &'d Node) -> Vec<Text<'d>> {
    let mut all = Vec::new();
    let mut work = |of: Option<&'static str>, run: &'static str, undo: bool| {
        let Some(of) = of.map_or(Some(step), |key| step.get(key)) else { return };
        if let Some(node) = of.get(run) {
            all.push((node, false, undo, false, of));
        }
        if run == "run" {
            let statements =
                of.get("sql").and_then(|sql| sql.get("statements")).map(Node::items).unwrap_or_default();
            all.extend(statements.iter().map(|node| (node, true, undo, false, of)));
        }
    };
    work(None, "run", false);
    work(None, "rehearse", false);
    work(Some("rollback"), "run", true);
    // Checks whose own commands run.
    const CHECKS: [&str; 3] = ["command", "round_trip", "backlog_drained"];
    for (of, undo) in [(Some(step), false), (step.get("rollback"), true)] {
        let Some(of) = of else { continue };
        for section in ["preconditions", "invariants", "postconditions"] {
            let list = of.get(section).map(Node::items).unwrap_or_default().iter();
            let entries = list.filter_map(|check| check.entries().first());
            for check in entries.filter(|entry| CHECKS.contains(&&*entry.key.text)).map(|entry| &entry.value)
            {
                let runs = ["run", "send", "receive"].into_iter().filter_map(|key| check.get(key));
                all.extend(runs.map(|node| (node, false, undo, true, check)));
            }
        }
    }
    let piece = |(node, sql, undo, check, of): (&'d Node, bool, bool, bool, &'d Node)| {
        let bounded = sql && of.at("sql.affects").is_some();
        Text { node, sql, bounded, undo, check, of }
    };
    all.into_iter().map(piece).collect()
}

/// What is known of values, and who gives files.
pub(super) struct Around<'a> {
    pub doc: &'a Document,
    pub values: &'a Values,
    pub files: &'a dyn Files,
}

/// What was found in a text, and its files.
pub(super) struct Read {
    pub found: Vec<Finding>,
    pub called: Vec<String>,
    text: String,
    /// Where each argument begins in `text`.
    starts: Vec<usize>,
}

impl Around<'_> {
    /// The value of a runbook's variable, as far as it is known and no secret.
    fn value(&self, name: &str) -> String {
        let names = self.doc.names();
        if self.values.is_secret(name) {
            return UNKNOWN.to_string();
        }
        match self.values.get(name) {
            Some(value) => value.replace(['\u{e001}', '\u{e002}'], "\u{e000}"),
            None if names.has_var(name) && !names.captured.contains_key(name) => LATER.to_string(),
            None => UNKNOWN.to_string(),
        }
    }

    /// A text with its values.
    fn filled(&self, text: &str) -> String {
        let each = pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) | Piece::Wrong(text) => text.replace(['\u{e001}', '\u{e002}'], "\u{e000}"),
            Piece::Name(name) => self.value(name),
        });
        each.collect()
    }

    /// Reads one text.
    pub fn read(&self, piece: &Text<'_>) -> Read {
        let cwd = piece.of.get_text("cwd").map(|cwd| self.filled(cwd));
        let env = piece.of.get("env");
        let variables = |name: &str| match env.and_then(|env| env.get_text(name)) {
            Some(value) => self.filled(value),
            None => self.value(name),
        };
        let mut reader = Reader::new(self.files, cwd.as_deref(), &variables);
        let (mut text, mut starts) = (String::new(), Vec::new());
        match piece.node.text() {
            Some(statement) if piece.sql => {
                let filled = self.filled(statement);
                reader.statements(&filled, filled == statement);
                text.push_str(statement);
                starts.push(0);
            }
            Some(script) => {
                reader.step_script(script);
                text.push_str(script);
                starts.push(0);
            }
            None => {
                let mut words = Vec::new();
                for item in piece.node.items() {
                    let written = item.text().unwrap_or_default();
                    if !starts.is_empty() {
                        text.push(' ');
                    }
                    let start = text.len();
                    starts.push(start);
                    text.push_str(written);
                    let filled = self.filled(written);
                    let verbatim = (filled == written).then_some(start);
                    words.push(Word { text: filled, at: start..text.len(), verbatim, ..Word::default() });
                }
                reader.argv(&words);
            }
        }
        Read { found: reader.found, called: reader.called, text, starts }
    }
}

impl Read {
    /// The text of a finding, blanks evened out: what `harmless` names.
    pub fn text(&self, finding: &Finding) -> String {
        let text = self.text.get(finding.range.clone()).unwrap_or(&self.text);
        even(text)
    }

    /// Where a finding stands in the file.
    pub fn place(&self, source: &str, node: &Node, finding: &Finding) -> Range<usize> {
        let range = &finding.range;
        if node.text().is_some() {
            return place::place(source, node, range.clone());
        }
        let of = |byte: usize| {
            let nth = self.starts.partition_point(|start| *start <= byte).saturating_sub(1);
            node.items().get(nth).zip(self.starts.get(nth)).map(|(item, start)| (item, byte - start))
        };
        let begin = of(range.start);
        let end = of(range.end.saturating_sub(1).max(range.start));
        let (Some((first, from)), Some((last, to))) = (begin, end) else { return node.range() };
        // One argument: its part. Several: from the first to the last.
        if std::ptr::eq(first, last) {
            return place::place(source, first, from..to + 1);
        }
        let start = place::place(source, first, from..first.text().map_or(from + 1, str::len)).start;
        start..last.range().end.max(start)
    }
}

/// A text with single blanks.
pub(super) fn even(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
