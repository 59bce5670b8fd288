//! The shared terminal: lines that scroll, one live line below them, and questions. While a question is open, nothing else is
//! written; what comes meanwhile is held back and follows after the answer.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::ui::layout::fit;
use crate::ui::screen::{Out, Style};

/// Lines held back while a question is open; older ones are dropped and counted.
const HELD_BACK: usize = 500;

/// What the live line says now; asked at each redraw. Must not write through [`Live`].
pub type Source = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// How often the live line is drawn.
const REDRAW: Duration = Duration::from_millis(250);

/// Goes to the first column and clears the row. The line is never as wide as the screen, so it is one row, and an echoed
/// `^C` stands behind it, not below.
const CLEAR: &str = "\r\x1b[2K";

/// Standard error as a terminal, shared by the reporter and the operator.
pub struct Live {
    screen: Arc<Screen>,
}

struct Screen {
    out: Out,
    style: Style,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    source: Option<Source>,
    drawn: bool,
    ticking: bool,
    turns: usize,
    questions: usize,
    held: VecDeque<String>,
    dropped: usize,
}

impl Live {
    /// Standard error with a style that was detected for it.
    pub fn stderr(style: Style) -> Arc<Live> {
        Arc::new(Live::on(Out::stderr(&style), style))
    }

    /// Any writer.
    pub fn on(out: Out, style: Style) -> Live {
        Live { screen: Arc::new(Screen { out, style, inner: Mutex::default() }) }
    }

    /// The style with the width as it is now.
    pub fn style(&self) -> Style {
        self.screen.style_now()
    }

    /// Writes whole lines above the live line, or later, when a question is open.
    pub fn print(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut inner = self.screen.lock();
        if inner.questions > 0 {
            if inner.held.len() >= HELD_BACK {
                inner.held.pop_front();
                inner.dropped += 1;
            }
            inner.held.push_back(text.to_owned());
            return;
        }
        self.screen.draw(&mut inner, text);
    }

    /// Shows the live line as long as it has something to say.
    pub fn line(&self, source: &Source) {
        let wanted = source().is_some() && self.screen.style.live;
        let mut inner = self.screen.lock();
        if !wanted || inner.questions > 0 {
            inner.source = None;
            self.screen.draw(&mut inner, "");
        } else if inner.source.is_none() {
            inner.source = Some(source.clone());
            self.screen.draw(&mut inner, "");
            if !std::mem::replace(&mut inner.ticking, true) {
                let weak = Arc::downgrade(&self.screen);
                // Without a thread the line is still drawn with every notice.
                let _ = std::thread::Builder::new().name("live line".to_owned()).spawn(move || tick(&weak));
            }
        }
    }

    /// Opens a question: the live line goes, and nothing but [`Live::ask`] writes until the guard is dropped.
    pub fn question(self: &Arc<Self>) -> Open {
        let mut inner = self.screen.lock();
        inner.questions += 1;
        inner.source = None;
        self.screen.draw(&mut inner, "");
        drop(inner);
        Open(self.clone())
    }

    /// Writes a part of a question.
    pub fn ask(&self, text: &str) {
        self.screen.put(text);
    }

    /// True when nobody reads any more.
    pub fn closed(&self) -> bool {
        self.screen.out.closed()
    }

    fn close(&self) {
        let mut inner = self.screen.lock();
        inner.questions = inner.questions.saturating_sub(1);
        if inner.questions > 0 {
            return;
        }
        let dropped = std::mem::take(&mut inner.dropped);
        if dropped > 0 {
            self.screen.put(&format!("  ~ {dropped} earlier messages not shown; the log has all of them\n"));
        }
        for text in std::mem::take(&mut inner.held) {
            self.screen.put(&text);
        }
    }
}

/// Draws the live line again and again, until there is none.
fn tick(screen: &Weak<Screen>) {
    loop {
        std::thread::sleep(REDRAW);
        let Some(screen) = screen.upgrade() else { return };
        let mut inner = screen.lock();
        if inner.source.is_none() || screen.out.closed() {
            inner.ticking = false;
            return;
        }
        screen.draw(&mut inner, "");
    }
}

impl Screen {
    fn style_now(&self) -> Style {
        if self.style.live { self.style.resized(io::stderr()) } else { self.style }
    }

    fn put(&self, text: &str) {
        // The run must not fail because its screen does; the journal has everything.
        let _ = self.out.print(text);
    }

    /// Lines, and the live line below them, in one write.
    fn draw(&self, inner: &mut Inner, lines: &str) {
        let now = inner.source.as_ref().and_then(|source| source());
        let mut text = if inner.drawn { format!("{CLEAR}{lines}") } else { lines.to_owned() };
        inner.drawn = now.is_some();
        if let Some(now) = now {
            inner.turns = (inner.turns + 1) % SPINNER.len();
            let mark = SPINNER.get(inner.turns).copied().unwrap_or(' ');
            let now = if self.style.unicode { now } else { crate::ui::screen::ascii(&now) };
            text.push_str(&format!("{mark} {}", fit(&now, self.style_now().width.saturating_sub(6))));
        }
        if !text.is_empty() {
            self.put(&text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if inner.drawn {
            let _ = self.out.print(CLEAR);
        }
    }
}

/// Shows that something goes on.
const SPINNER: [char; 4] = ['-', '\\', '|', '/'];

/// A question is open as long as this lives.
pub struct Open(Arc<Live>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}
