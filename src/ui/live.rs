//! The shared terminal: lines that scroll, one live line below them, and questions. While a question is open, nothing else is
//! written; what comes meanwhile is held back and follows after the answer.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::ui::layout::fit;
use crate::ui::screen::{Out, Style};

/// Lines held back while a question is open; older ones are dropped and counted.
const HELD_BACK: usize = 500;

/// What the live line says now; asked at each redraw. Must not write through [`Live`].
pub type Source = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Standard error as a terminal, shared by the reporter and the operator.
pub struct Live {
    out: Out,
    style: Style,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    bar: Option<ProgressBar>,
    questions: usize,
    held: VecDeque<String>,
    dropped: usize,
}

impl Live {
    /// Standard error with a style that was detected for it.
    pub fn stderr(style: Style) -> Arc<Live> {
        Arc::new(Live::on(Out::stderr(&style), style))
    }

    /// Any writer; the live line, if the style has one, goes to standard error.
    pub fn on(out: Out, style: Style) -> Live {
        Live { out, style, inner: Mutex::default() }
    }

    /// The style with the width as it is now.
    pub fn style(&self) -> Style {
        if self.style.live { self.style.resized(io::stderr()) } else { self.style }
    }

    /// Writes whole lines above the live line, or later, when a question is open.
    pub fn print(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut inner = self.lock();
        if inner.questions > 0 {
            if inner.held.len() >= HELD_BACK {
                inner.held.pop_front();
                inner.dropped += 1;
            }
            inner.held.push_back(text.to_owned());
            return;
        }
        match inner.bar.clone() {
            Some(bar) => bar.suspend(|| self.put(text)),
            None => self.put(text),
        }
    }

    /// Shows the live line as long as it has something to say.
    pub fn line(&self, source: &Source) {
        let wanted = source().is_some() && self.style.live;
        let mut inner = self.lock();
        match wanted && inner.questions == 0 {
            false => {
                if let Some(bar) = inner.bar.take() {
                    bar.finish_and_clear();
                }
            }
            true => {
                inner.bar.get_or_insert_with(|| spinner(source.clone(), self.style));
            }
        }
    }

    /// Opens a question: the live line goes, and nothing but [`Live::ask`] writes until the guard is dropped.
    pub fn question(self: &Arc<Self>) -> Open {
        let mut inner = self.lock();
        inner.questions += 1;
        if let Some(bar) = inner.bar.take() {
            bar.finish_and_clear();
        }
        drop(inner);
        Open(self.clone())
    }

    /// Writes a part of a question.
    pub fn ask(&self, text: &str) {
        self.put(text);
    }

    /// True when nobody reads any more.
    pub fn closed(&self) -> bool {
        self.out.closed()
    }

    fn put(&self, text: &str) {
        // The run must not fail because its screen does; the journal has everything.
        let _ = self.out.print(text);
    }

    fn close(&self) {
        let mut inner = self.lock();
        inner.questions = inner.questions.saturating_sub(1);
        if inner.questions > 0 {
            return;
        }
        let dropped = std::mem::take(&mut inner.dropped);
        if dropped > 0 {
            self.put(&format!("  ~ {dropped} earlier messages not shown; the log has all of them\n"));
        }
        for text in std::mem::take(&mut inner.held) {
            self.put(&text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question is open as long as this lives.
pub struct Open(Arc<Live>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn spinner(source: Source, style: Style) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    let template =
        ProgressStyle::with_template("{spinner} {now}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let now = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let text = source().unwrap_or_default();
        let text = if style.unicode { text } else { crate::ui::screen::ascii(&text) };
        let _ = out.write_str(&fit(&text, style.resized(io::stderr()).width.saturating_sub(4)));
    };
    bar.set_style(template.with_key("now", now).tick_chars("-\\|/ "));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
