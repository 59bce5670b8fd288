//! What `lint` found, with places that editors and CI understand: for programs as JSON; `github` and `sarif` beside it.
//!
//! Columns count UTF-16 units from 1, as editors and SARIF do, and an end is the first place behind what is meant.

use std::ops::Range;

use serde_json::{Value, json};

use crate::base::text::neutral;
use crate::problem::Problem;
use crate::runbook::source::Source;

/// One file and what is wrong with it.
pub struct Found {
    /// The file, by the path that was given.
    pub source: Source,
    /// Its problems, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First line, from 1.
    pub line: usize,
    /// First column, from 1.
    pub column: usize,
    /// Last line.
    pub end_line: usize,
    /// The column behind the last character.
    pub end_column: usize,
}

/// The region of a range of bytes. A range across lines ends with its first line, so that nobody marks half a file.
pub fn region(source: &Source, range: &Range<usize>) -> Region {
    let text = &*source.text;
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(range.start);
    let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |at| start + at);
    let end = floor(range.end).clamp(start, line_end);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[..start].matches('\n').count() + 1;
    let units = |part: &str| part.encode_utf16().count();
    let column = units(&text[line_start..start]) + 1;
    Region { line, column, end_line: line, end_column: column + units(&text[start..end]) }
}

/// The line that a range begins in, secrets covered.
pub fn line<'a>(source: &'a Source, range: &Range<usize>) -> &'a str {
    let text = &*source.text;
    let start = (0..=range.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    text[from..].lines().next().unwrap_or_default()
}

/// A message and what to do next, as one text.
pub fn message(problem: &Problem) -> String {
    let help = problem.help.as_deref().map(|help| format!(". Next: {help}")).unwrap_or_default();
    neutral(&format!("{}{help}", problem.message))
}

/// `lint --format json`: a list of findings.
pub fn json(all: &[Found]) -> String {
    let each = all.iter().flat_map(|found| found.problems.iter().map(|problem| one(&found.source, problem)));
    super::json::visible(&format!("{:#}\n", Value::Array(each.collect())))
}

fn one(source: &Source, problem: &Problem) -> Value {
    let place = problem.places.first().map(|place| source.line_col(place.range.start));
    let region = problem.places.first().map(|place| region(source, &place.range));
    json!({
        "file": source.name, "line": place.map(|p| p.0), "column": place.map(|p| p.1), "code": problem.code,
        "severity": problem.severity, "message": problem.message, "help": problem.help,
        "end_line": region.map(|r| r.end_line),
        "end_column": region.zip(place).map(|(r, p)| p.1 + r.end_column - r.column),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_utf16_units_and_stay_in_the_line() {
        let source = Source::new("a", "x: \u{1f600}é b\r\nnext\n");
        let at = source.text.find('b').unwrap();
        let found = region(&source, &(at..at + 1));
        assert_eq!(found, Region { line: 1, column: 8, end_line: 1, end_column: 9 });
        let all = region(&source, &(0..source.text.len()));
        assert_eq!(all, Region { line: 1, column: 1, end_line: 1, end_column: 9 });
        assert_eq!(region(&source, &(900..901)).line, 3);
        assert_eq!(line(&source, &(at..at + 1)), "x: \u{1f600}é b");
    }
}
