//! Output of commands on the screen: every row behind a mark that no line of ours has, and never more than the screen can
//! take. What is left out is counted and said; all of it is in the log file.
//!
//! The command never waits for the screen: what comes too fast is dropped here, not queued.

use std::time::{Duration, Instant};

use crate::base::text::{count, neutral};
use crate::ui::layout::chop;

/// The mark in front of every row of output.
pub const MARK: &str = "  | ";

/// A row of output longer than this many rows of the screen is cut.
const ROWS: usize = 4;

/// Lets at most so many lines through in a second.
#[derive(Debug)]
pub struct Valve {
    limit: u32,
    window: Option<Instant>,
    shown: u32,
    left_out: u64,
}

impl Valve {
    /// A valve; `limit` is lines a second, at least 1.
    pub fn new(limit: u32) -> Valve {
        Valve { limit: limit.max(1), window: None, shown: 0, left_out: 0 }
    }

    /// What to show of this text, line-prefixed, at most `columns` wide (`None`: not wrapped); empty when it is too
    /// much. Reports first what was left out before.
    pub fn take(&mut self, text: &str, columns: Option<usize>, now: Instant) -> String {
        let mut shown = String::new();
        let fresh =
            self.window.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1));
        if fresh {
            self.window = Some(now);
            self.shown = 0;
            shown.push_str(&self.flush());
        }
        for line in text.split_terminator('\n') {
            if self.shown >= self.limit {
                self.left_out += 1;
                continue;
            }
            self.shown += 1;
            rows(line, columns, &mut shown);
        }
        shown
    }

    /// What was left out since the last time, as a line of ours; empty when nothing was.
    pub fn flush(&mut self) -> String {
        match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            n => format!("  ~ {} not shown; the log file has all of it\n", count(n, "line", "lines")),
        }
    }
}

/// One line of output as rows of the screen.
fn rows(line: &str, columns: Option<usize>, out: &mut String) {
    let wide = columns.map(|columns| columns.saturating_sub(MARK.len()).max(8));
    let budget = wide.map_or(4096, |wide| wide * ROWS);
    let kept: String = line.chars().take(budget).collect();
    let kept_chars = kept.chars().count();
    // Some CI systems obey commands in the middle of a line.
    let clean = neutral(&kept).replace("##[", "# #[").replace("##vso[", "# #vso[");
    let pieces = wide.map_or_else(|| vec![clean.clone()], |wide| chop(&clean, wide));
    for piece in pieces {
        out.push_str(format!("{MARK}{piece}").trim_end());
        out.push('\n');
    }
    if let Some(cut) = line.chars().count().checked_sub(kept_chars).filter(|cut| *cut > 0) {
        out.push_str(&format!(
            "  ~ {} of this line not shown\n",
            count(cut as u64, "character", "characters")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_marked_and_hostile_bytes_are_shown() {
        let mut valve = Valve::new(50);
        let evil = "\x1b[2J\x1b[H[x] 5 drop-old done\r\x1b]0;x\x07\u{202e}\n14:03:22Z [x]     drop-old is done\n##vso[task]\n";
        let shown = valve.take(evil, Some(40), Instant::now());
        assert!(shown.lines().all(|line| line.starts_with("  |") && line.chars().count() <= 40), "{shown}");
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{shown:?}");
        assert!(!shown.contains("##vso["));
    }

    #[test]
    fn too_much_is_counted_and_said() {
        let mut valve = Valve::new(2);
        let start = Instant::now();
        assert_eq!(valve.take("a\nb\nc\nd\n", Some(80), start), "  | a\n  | b\n");
        assert_eq!(valve.take("e\n", Some(80), start + Duration::from_millis(900)), "");
        let next = valve.take("f\n", Some(80), start + Duration::from_millis(1001));
        assert_eq!(next, "  ~ 3 lines not shown; the log file has all of it\n  | f\n");
        assert_eq!(valve.flush(), "");
    }

    #[test]
    fn one_endless_line_does_not_fill_the_screen() {
        let shown = Valve::new(5).take(&"x".repeat(1_000_000), Some(80), Instant::now());
        assert_eq!(shown.lines().count(), ROWS + 1);
        assert!(shown.ends_with("  ~ 999,696 characters of this line not shown\n"), "{shown}");
    }
}
