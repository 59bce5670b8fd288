//! Where a part of a text stands in the YAML file that it was written in.

use std::ops::Range;

use crate::runbook::source::first_line;
use crate::runbook::tree::Node;

/// Where this part of a scalar's text stands in the file; its first line when that cannot be told.
pub(crate) fn place(source: &str, node: &Node, part: Range<usize>) -> Range<usize> {
    let whole = node.range();
    let found = node.text().zip(source.get(whole.clone())).and_then(|(text, raw)| align(raw, text, &part));
    found.map_or_else(
        || first_line(source, whole.clone()),
        |part| whole.start + part.start..whole.start + part.end,
    )
}

/// Walks over the text and its writing side by side. White space may differ: indentation, folded lines.
fn align(raw: &str, text: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let style = raw.chars().next()?;
    let mut at = match style {
        '|' | '>' => raw.find('\n')? + 1,
        '\'' | '"' => 1,
        _ => 0,
    };
    let mut start = None;
    let mut end = at;
    for (byte, c) in text.char_indices() {
        if byte >= part.end {
            break;
        }
        let rest = raw.get(at..)?;
        if c.is_whitespace() {
            let escaped =
                style == '"' && rest.starts_with('\\') && rest[1..].starts_with(['n', 't', 'r', ' ']);
            at += if escaped {
                2
            } else {
                rest.chars().next().filter(|raw| *raw == c).map_or(0, char::len_utf8)
            };
            continue;
        }
        let mut rest = rest.trim_start_matches([' ', '\n', '\t', '\r']);
        while style == '"' && rest.starts_with("\\\n") {
            rest = rest[2..].trim_start_matches([' ', '\t']);
        }
        at = raw.len() - rest.len();
        if byte >= part.start {
            start.get_or_insert(at);
        }
        at += match rest.chars().next()? {
            '\\' if style == '"' => match rest[1..].chars().next()? {
                'x' => 4,
                'u' => 6,
                'U' => 10,
                _ => 2,
            },
            '\'' if style == '\'' && c == '\'' => 2,
            found if found == c => c.len_utf8(),
            _ => return None,
        };
        end = at;
    }
    let start = start?;
    (start <= end && raw.is_char_boundary(start) && raw.is_char_boundary(end)).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_and_text_side_by_side() {
        for (raw, text, wanted) in [
            ("|\n      set -x\n      rm -r /x\n", "set -x\nrm -r /x\n", "rm -r /x"),
            (">-\n  echo a;\n  rm -r\n  /x", "echo a; rm -r /x", "rm -r\n  /x"),
            ("'it''s; rm -r /x'", "it's; rm -r /x", "rm -r /x"),
            ("\"a\\n\\\"b\\\"\\u00e9; rm -r /x\"", "a\n\"b\"é; rm -r /x", "rm -r /x"),
            ("a; rm -r\n   /x", "a; rm -r /x", "rm -r\n   /x"),
            ("|\r\n  rm -r /x\r\n", "rm -r /x\n", "rm -r /x"),
        ] {
            let from = text.find("rm").unwrap();
            let end = text.find("/x").unwrap() + 2;
            let found = align(raw, text, &(from..end)).map(|range| &raw[range]);
            assert_eq!(found, Some(wanted), "{raw}");
        }
    }
}
