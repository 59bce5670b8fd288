//! The live session on a terminal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::base::{CheckId, Size};
use crate::engine::event::{Notice, Reporter};
use crate::journal::Line;
use crate::journal::record::{Event, Purpose};
use crate::report::{Tone, when};
use crate::runbook::Runbook;
use crate::runbook::graph::{self, Section};
use crate::ui::live::{Live, Source};
use crate::ui::output::Valve;
use crate::ui::track::{self, Track};
use crate::ui::view::View;
use crate::ui::words::{self, Words};

/// Lines of output shown in a second.
pub const LINES_A_SECOND: u32 = 20;

/// Shows a session on a terminal.
pub struct TerminalReporter {
    live: Arc<Live>,
    view: View,
    track: Arc<Mutex<Track>>,
    valve: Mutex<Valve>,
    source: Source,
}

impl TerminalReporter {
    /// A reporter that shares its terminal with an operator.
    pub fn new(live: Arc<Live>, view: View) -> Self {
        let track = Arc::new(Mutex::new(Track::default()));
        let followed = track.clone();
        let source: Source = Arc::new(move || locked(&followed).line(Instant::now()));
        TerminalReporter { live, view, track, valve: Mutex::new(Valve::new(LINES_A_SECOND)), source }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter for TerminalReporter {
    fn tell(&self, notice: &Notice) {
        let now = Instant::now();
        // Not held while writing: the live line asks for it at each redraw.
        let news = {
            let mut track = locked(&self.track);
            let news = track.is_news(notice);
            track.take(notice, now);
            news
        };
        let mut valve = locked(&self.valve);
        let style = self.live.style();
        match notice {
            Notice::Output { text, .. } => {
                let text = self.view.read(|snapshot| snapshot.secrets.text(text));
                self.live.print(&valve.take(&text, Some(style.width), now));
            }
            // The live line says it already, where there is one.
            Notice::Waiting { .. } if style.live || !news => {}
            other => {
                if let Some(words) = notice_words(other, &self.view, true) {
                    self.live.print(&valve.flush());
                    let at = if let Notice::Journal(line) = other { line.at.wall } else { Timestamp::now() };
                    self.live.print(&words::render(&words, Some(at), &style, true));
                }
            }
        }
        self.live.line(&self.source);
    }
}

/// What is said about a notice; `None` when the live line or the heartbeat is enough. With `asked`, what a question shows in
/// full right after or has shown right before is only named.
pub fn notice_words(notice: &Notice, view: &View, asked: bool) -> Option<Words> {
    let plain = |tone, mark, text: &str| Words { tone, mark, head: words_of(view, text), more: Vec::new() };
    match notice {
        Notice::Journal(line) => journal(line, view, asked),
        Notice::Message(text) => Some(plain(Tone::Plain, "", text)),
        Notice::Warning(text) => Some(plain(Tone::Doubt, "WARNING", text)),
        Notice::Attached { step, output, shown } => {
            let follows = match (*output, *shown) {
                (0, _) => "; it has printed nothing yet".to_owned(),
                (all, part) if part >= all => format!("; its output so far ({}):", Size(all)),
                (all, _) => format!("; the end of its output so far ({}):", Size(all)),
            };
            Some(plain(Tone::Strong, "[>]", &format!("{step} still runs: attached to it again{follows}")))
        }
        Notice::Waiting { evidence, waited, limit } => {
            let text = track::not_yet(&evidence.title, &evidence.outcome.observed, *waited, *limit);
            Some(plain(Tone::Dim, "...", &text))
        }
        Notice::Measuring { .. }
        | Notice::Measured { .. }
        | Notice::Progress { .. }
        | Notice::Output { .. }
        | Notice::Running { .. }
        | Notice::Soaking { .. } => None,
    }
}

fn words_of(view: &View, text: &str) -> String {
    crate::report::words::flat(&view.read(|snapshot| snapshot.secrets.text(text)))
}

/// True for a check that is shown and gates nothing: no question follows it.
fn advisory(runbook: &Runbook, check: &CheckId) -> bool {
    let mut placed = runbook
        .steps
        .iter()
        .flat_map(|step| Section::ALL.iter().flat_map(move |section| graph::check_ids(step, *section)));
    placed.any(|(id, spec)| id == *check && spec.common.advisory)
}

fn journal(line: &Line, view: &View, asked: bool) -> Option<Words> {
    let mut words = words::line(line);
    match &line.event {
        Event::Soaked { elapsed_ms, .. } if *elapsed_ms > 0 => return None,
        Event::Held { .. } | Event::Confirmed { .. } if asked => words.more.clear(),
        // A question that shows it in full follows; while a command runs, none need follow.
        Event::Measured { purpose, evidence, .. }
            if asked
                && *purpose != Purpose::Invariant
                && !view.read(|snapshot| advisory(&snapshot.runbook, &evidence.check)) =>
        {
            words.more.clear();
        }
        Event::Failed { step, why } if asked => {
            // The evidence that says it stands right above.
            let told =
                view.read(|snapshot| snapshot.state.last.values().any(|seen| why.starts_with(&seen.title)));
            if told {
                words.head = crate::report::words::flat(&format!("{step} FAILED"));
            }
        }
        Event::Permitted { .. } => words.more.retain(|(label, _)| matches!(*label, "approved" | "WAIVED")),
        Event::Began { step, .. } => view.read(|snapshot| {
            if let Some((n, found)) = snapshot.step(step) {
                words.head.push_str(&format!(" (step {n} of {})", snapshot.runbook.steps.len()));
                if found.title.is_some() {
                    words.more.push(("title", crate::report::words::flat(found.name())));
                }
                if let Some(destroys) = &found.destroys {
                    words.more.push(("DESTROYS", crate::report::words::flat(&destroys.what)));
                }
            }
        }),
        Event::Offered { .. } => words.more.push(("at", when::stamp(line.at.wall))),
        _ => {}
    }
    Some(words)
}
