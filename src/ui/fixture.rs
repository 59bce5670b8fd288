//! Shared by the tests of this layer: the fixture of the reports, a snapshot, and what no screen may ever show.

use std::sync::Arc;

use crate::engine::state::RunState;
use crate::journal::Line;
pub use crate::report::fixture::*;
use crate::ui::layout;
use crate::ui::view::Snapshot;

/// A snapshot of a run.
pub fn snapshot(lines: &[Line]) -> Snapshot {
    Snapshot { runbook: Arc::new(runbook()), state: RunState::fold(lines).unwrap(), secrets: Arc::default() }
}

/// No control character but newline, nothing wider than the screen, nothing of [`EVIL`] at the left edge.
pub fn safe(text: &str, width: usize) {
    for c in text.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {text}");
        assert!(!matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'), "{c:?} in {text}");
    }
    for line in text.lines() {
        assert!(layout::width(line) <= width, "{} > {width}: {line}\n{text}", layout::width(line));
        for forged in ["[x] 4", "To destroy it, type yes", "> "] {
            assert!(!line.starts_with(forged), "{forged} at the left edge: {text}");
        }
    }
}
