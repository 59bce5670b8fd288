//! Events on the screen: the words of [`crate::report::words`], with a time, a mark and hanging indents.

use jiff::Timestamp;

pub use crate::report::words::{Tone, Words, event, evidence, line};

use crate::report::when;
use crate::ui::layout::{pad, wrap};
use crate::ui::screen::Style;

/// Columns for the mark.
const MARK: usize = 8;

/// One event as lines of the live session: time, mark, words; further lines hang below. `wrapped` is false for logs and
/// pipes, where one sentence is one line, whatever its length.
pub fn render(words: &Words, at: Option<Timestamp>, style: &Style, wrapped: bool) -> String {
    let time = at.map(|at| format!("{} ", when::clock(at))).unwrap_or_default();
    let narrow = wrapped && style.width < 50;
    let hang = if narrow { 4 } else { time.len() + MARK };
    let columns = if wrapped { style.width.saturating_sub(hang).max(12) } else { usize::MAX };
    let mark = style.paint(words.tone, words.mark);
    let gap = " ".repeat(MARK.saturating_sub(words.mark.len()));
    let mut text = String::new();
    let mut put = |edge: String, line: &str| {
        text.push_str(format!("{edge}{line}").trim_end());
        text.push('\n');
    };
    let head = wrap(&words.head, columns);
    let mut head = head.iter();
    if narrow {
        put(format!("{}{mark}", style.paint(Tone::Dim, &time)), "");
    } else {
        let first = head.next().map(String::as_str).unwrap_or_default();
        put(format!("{}{mark}{gap}", style.paint(Tone::Dim, &time)), first);
    }
    head.for_each(|line| put(" ".repeat(hang), line));
    for (label, body) in &words.more {
        let column = if wrapped && style.width < 60 { 2 } else { MARK + 1 };
        let label = if column > 2 { pad(label, column) } else { format!("{label}: ") };
        let indent = hang + column;
        let columns = if wrapped { style.width.saturating_sub(indent).max(10) } else { usize::MAX };
        let room = if column > 2 { columns } else { columns.saturating_sub(label.len() - column).max(6) };
        for (n, line) in crate::ui::layout::wrap_after(body, room, columns).iter().enumerate() {
            let edge = if n == 0 { format!("{}{label}", " ".repeat(hang)) } else { " ".repeat(indent) };
            put(edge, line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::{Blocker, Event};

    fn held() -> Words {
        event(
            &Event::Held {
                step: "drop-old".into(),
                undo: false,
                blockers: vec![Blocker {
                    subject: "copy.post.rows_match".into(),
                    title: "Every table of new holds the rows of old".into(),
                    observed: "0 rows in events".into(),
                    expected: "1,000,000 rows, as in old".into(),
                    next: "copy the table again, then measure again".into(),
                }],
            },
            "alice@db1",
        )
    }

    #[test]
    fn a_refusal_at_eighty_columns() {
        let at = "2026-11-20T14:03:22Z".parse().unwrap();
        assert_eq!(
            render(&held(), Some(at), &Style::PLAIN, true),
            "\
14:03:22Z HELD    the hold point before drop-old stays closed: 1 blocker
                  blocker  Every table of new holds the rows of old
                           (copy.post.rows_match)
                  seen     0 rows in events
                  wanted   1,000,000 rows, as in old
                  next     copy the table again, then measure again
"
        );
    }

    #[test]
    fn narrow_screens_survive() {
        for width in [20, 30, 40] {
            let style = Style { width, ..Style::PLAIN };
            let text = render(&held(), Some(Timestamp::UNIX_EPOCH), &style, true);
            assert!(text.lines().all(|line| line.len() <= width), "{text}");
        }
    }
}
