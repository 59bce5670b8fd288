//! The session as plain lines, for CI and pipes: no control codes, one sentence a line however long, and a sign of life
//! every half a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::engine::event::{Notice, Reporter};
use crate::report::Tone;
use crate::ui::output::Valve;
use crate::ui::screen::{Out, Style};
use crate::ui::terminal::notice_words;
use crate::ui::track::Track;
use crate::ui::view::View;
use crate::ui::words::{self, Words};

/// The longest silence while something is going on.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// Lines of output shown in a second. A log can take more than an eye.
const LINES_A_SECOND: u32 = 200;

/// Shows a session as plain lines.
pub struct PlainReporter {
    out: Out,
    style: Style,
    view: View,
    inner: Mutex<Inner>,
}

struct Inner {
    track: Track,
    valve: Valve,
    spoke: Instant,
}

impl PlainReporter {
    /// A reporter that writes here.
    pub fn new(out: Out, view: View) -> Self {
        let inner = Inner { track: Track::default(), valve: Valve::new(LINES_A_SECOND), spoke: Instant::now() };
        PlainReporter { out, style: Style::PLAIN, view, inner: Mutex::new(inner) }
    }

    fn tell_at(&self, notice: &Notice, now: Instant, wall: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.track.take(notice, now);
        let mut text = String::new();
        match notice {
            Notice::Output { text: output, .. } => {
                let output = self.view.read(|snapshot| snapshot.secrets.text(output));
                text = inner.valve.take(&output, None, now);
            }
            other => {
                if let Some(words) = notice_words(other, &self.view, false) {
                    text = inner.valve.flush();
                    let at = if let Notice::Journal(line) = other { line.at.wall } else { wall };
                    text.push_str(&words::render(&words, Some(at), &self.style, false));
                } else if now.saturating_duration_since(inner.spoke) >= HEARTBEAT
                    && let Some(head) = inner.track.line(now)
                {
                    text = inner.valve.flush();
                    let words = Words { tone: Tone::Dim, mark: "...", head, more: Vec::new() };
                    text.push_str(&words::render(&words, Some(wall), &self.style, false));
                }
            }
        }
        if !text.is_empty() {
            inner.spoke = now;
            // The run must not fail because its screen does; the journal has everything.
            let _ = self.out.print(&text);
        }
    }
}

impl Reporter for PlainReporter {
    fn tell(&self, notice: &Notice) {
        self.tell_at(notice, Instant::now(), Timestamp::now());
    }
}
