//! Where a long runbook can be cut, so that its steps are read side by side and a reader that keeps all it reads stays
//! small.
//!
//! Invariants: the pieces are the text, from its first byte to its last. A cut stands only in front of a line that begins
//! a step, or the first key after the steps. Whoever reads them must find that each piece is a whole text by itself: then
//! no quote, bracket or block is open at a cut, and the pieces together mean what the text means. What is not written in
//! the usual way is not cut.

use std::ops::Range;

/// Texts from this size on are cut.
pub(super) const LARGE: usize = 256 << 10;
/// Pieces are at least so large.
const PIECE: usize = 64 << 10;

/// A text in pieces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// From the beginning to the line `steps:`, that line included.
    pub head: Range<usize>,
    /// Lists of steps.
    pub steps: Vec<Range<usize>>,
    /// The keys after the steps; may be empty.
    pub tail: Range<usize>,
    /// Where the first step's dash stands.
    pub dash: usize,
}

/// Cuts a text; `None` when it is not written in the usual way: keys at the beginning of lines, `steps:` alone on its
/// line, and each step begun by a dash in the same column.
pub(super) fn cut(text: &str) -> Option<Pieces> {
    let mut lines = Lines { text, at: 0 };
    let head = lines.find(|line| {
        let rest = text[line.clone()].strip_prefix("steps:");
        rest.is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with('#'))
    })?;
    let head = 0..head.end;
    let mut indent = None;
    let (mut steps, mut start) = (Vec::new(), head.end);
    let mut tail = text.len()..text.len();
    for line in &mut lines {
        let content = &text[line.clone()];
        let column = content.len() - content.trim_start_matches(' ').len();
        let content = content[column..].trim_end();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if column == 0 && (content.starts_with("---") || content.starts_with("...")) {
            return None;
        }
        let begins = content.starts_with("- ") || content == "-";
        let indent = match indent {
            Some(indent) => indent,
            None if begins => {
                indent = Some((column, line.start + column));
                continue;
            }
            None => return None,
        };
        match column {
            _ if column > indent.0 => {}
            _ if column == indent.0 && begins => {
                if line.start >= start + PIECE {
                    steps.push(start..line.start);
                    start = line.start;
                }
            }
            0 => {
                tail = line.start..text.len();
                break;
            }
            _ => return None,
        }
    }
    // In what follows, a marker would begin another document, and a bracket a map of another kind.
    let rest = &text[tail.clone()];
    let marker = lines.any(|line| text[line.clone()].starts_with("---") || text[line].starts_with("..."));
    if marker || rest.starts_with(['{', '[', '?', '"', '\'', '%', '&', '!', '*', '|', '>']) {
        return None;
    }
    steps.push(start..tail.start);
    Some(Pieces { head, steps, tail, dash: indent?.1 })
}

/// The lines of a text, each with its end.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.at += length;
        Some(self.at - length..self.at)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Steps of about 100 bytes, with what may stand between and in them.
    pub fn large(indent: &str, tail: &str) -> String {
        let mut text =
            String::from("# a runbook\nholdpoint: 1\nvars: { a: { default: b } }\nsteps: # here\n\n");
        for n in 0..5000 {
            let more = match n % 5 {
                0 => format!("{indent}  guide: |+\n{indent}    - id: none\n\n{indent}    text\n\n"),
                1 => format!("{indent}  title: \"over\n{indent}    two lines\" # and a comment\n"),
                2 => format!("{indent}  run: [a,\n{indent}    \"b: [\"]\n\n# between\n"),
                3 => format!("{indent}  env:\n{indent}  # in a map\n"),
                _ => format!("{indent}  checks:\n{indent}  - file: {{ path: /x }}\n{indent}  - up:\n"),
            };
            text += &format!("{indent}- id: step-{n}\n{more}");
        }
        text + tail
    }

    #[test]
    fn pieces_are_the_whole_text() {
        for indent in ["", "  ", "      "] {
            for tail in ["", "after: { all: that }\nmore: |\n  - x\n", "# the end\n"] {
                let text = large(indent, tail);
                let pieces = cut(&text).expect("the usual way to write");
                assert!(pieces.steps.len() > 3, "{} pieces", pieces.steps.len());
                let mut end = 0;
                for range in [&pieces.head].into_iter().chain(&pieces.steps).chain([&pieces.tail]) {
                    assert_eq!(range.start, end, "no byte is left out");
                    end = range.end;
                }
                assert_eq!(end, text.len());
                assert_eq!(text[pieces.head].lines().last(), Some("steps: # here"));
                assert_eq!(&text[pieces.dash..pieces.dash + 6], "- id: ");
                let first =
                    |range: &Range<usize>| text[range.clone()].trim_start().starts_with("- id: step-");
                assert!(pieces.steps.iter().all(first));
                assert_eq!(text[pieces.tail].starts_with("after"), tail.starts_with("after"));
            }
        }
    }

    #[test]
    fn what_is_written_otherwise_is_not_cut() {
        for text in [
            "",
            "a: b\n",
            "steps: [\n  { id: a },\n]\n",
            "steps:\n",
            "steps:\n  id: a\n",
            " steps:\n  - id: a\n",
            "steps:\n  - id: a\n - id: b\n",
            "steps:\n    - id: a\n  b: c\n",
            "steps:\n  - id: a\n---\nb: c\n",
            "steps:\n  - id: a\nb: c\n...\n",
            "steps:\n  - id: a\n{ b: c }\n",
            "steps:\n  - id: a\n? b\n: c\n",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }
}
