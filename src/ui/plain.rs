//! The session as plain lines, for CI and pipes: no control codes, one sentence a line however long, and a sign of life
//! every half a minute.

use std::sync::{Arc, Mutex, PoisonError};
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
    /// A reporter that writes here and gives a sign of life even when it is told nothing, as long as it lives.
    pub fn start(out: Out, view: View) -> Arc<Self> {
        let reporter = Arc::new(Self::new(out, view));
        let weak = Arc::downgrade(&reporter);
        let beats = move || {
            while let Some(reporter) = weak.upgrade() {
                reporter.beat(Instant::now(), Timestamp::now());
                drop(reporter);
                std::thread::sleep(Duration::from_secs(2));
            }
        };
        // Without a thread there is still a sign of life with every notice.
        let _ = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beats);
        reporter
    }

    /// A reporter that speaks only when it is told something.
    pub fn new(out: Out, view: View) -> Self {
        let inner =
            Inner { track: Track::default(), valve: Valve::new(LINES_A_SECOND), spoke: Instant::now() };
        PlainReporter { out, style: Style::PLAIN, view, inner: Mutex::new(inner) }
    }

    fn tell_at(&self, notice: &Notice, now: Instant, wall: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let news = inner.track.is_news(notice);
        inner.track.take(notice, now);
        let mut text = String::new();
        match notice {
            Notice::Output { text: output, .. } => {
                let output = self.view.read(|snapshot| snapshot.secrets.text(output));
                text = inner.valve.take(&output, None, now);
            }
            // What has not changed is said by the sign of life.
            Notice::Waiting { .. } if !news => {}
            other => {
                if let Some(words) = notice_words(other, &self.view, true) {
                    text = inner.valve.flush();
                    let at = if let Notice::Journal(line) = other { line.at.wall } else { wall };
                    text.push_str(&words::render(&words, Some(at), &self.style, false));
                }
            }
        }
        self.put(&text, &mut inner, now);
        drop(inner);
        self.beat(now, wall);
    }

    /// A sign of life, when something is going on and nothing was said for long.
    fn beat(&self, now: Instant, wall: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(inner.spoke) < HEARTBEAT {
            return;
        }
        let Some(head) = inner.track.line(now) else { return };
        let words = Words { tone: Tone::Dim, mark: "...", head, more: Vec::new() };
        let text = inner.valve.flush() + &words::render(&words, Some(wall), &self.style, false);
        self.put(&text, &mut inner, now);
    }

    fn put(&self, text: &str, inner: &mut Inner, now: Instant) {
        if !text.is_empty() {
            inner.spoke = now;
            // The run must not fail because its screen does; the journal has everything.
            let _ = self.out.print(text);
        }
    }
}

impl Reporter for PlainReporter {
    fn tell(&self, notice: &Notice) {
        self.tell_at(notice, Instant::now(), Timestamp::now());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::ui::fixture::{EVIL, at, failed_lines, lines, opened, safe, snapshot};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(notices: Vec<(u64, Notice)>) -> String {
        let shared = Shared::default();
        let view = View::new(snapshot(&lines(opened())));
        let reporter = PlainReporter::new(Out::to(Box::new(shared.clone()), &Style::PLAIN), view.clone());
        let start = Instant::now();
        for (seconds, notice) in notices {
            view.tell(&notice);
            reporter.tell_at(&notice, start + Duration::from_secs(seconds), at(seconds).wall);
        }
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn evil() -> crate::check::Evidence {
        let mut evidence = crate::ui::fixture::evidence(EVIL, crate::check::Verdict::Fail);
        (evidence.title, evidence.outcome.observed) = (EVIL.to_owned(), EVIL.to_owned());
        evidence
    }

    fn running(seconds: u64) -> (u64, Notice) {
        let elapsed = Duration::from_secs(seconds);
        (seconds, Notice::Running { step: "copy".into(), elapsed, output: 2048, limit: None })
    }

    #[test]
    fn a_session() {
        let mut notices: Vec<_> =
            failed_lines().into_iter().skip(5).take(1).map(|line| (0, Notice::Journal(line))).collect();
        notices.push((1, Notice::Output { step: "copy".into(), text: "Copying\n".into() }));
        notices.extend((2..65).map(running));
        notices.extend(failed_lines().into_iter().skip(6).take(2).map(|line| (70, Notice::Journal(line))));
        insta::assert_snapshot!("plain-session", told(notices));
    }

    #[test]
    fn long_work_gives_a_sign_of_life_and_no_more() {
        let text = told((0..3600).map(running).collect());
        let beats = text.lines().filter(|line| line.contains("copy runs")).count();
        assert_eq!(beats, 119, "every half a minute, not every second");
    }

    #[test]
    fn a_check_that_is_waited_for_says_what_changes_and_else_a_sign_of_life() {
        let waiting = |seconds: u64| {
            let mut evidence = crate::ui::fixture::evidence("copy.post.http", crate::check::Verdict::Unknown);
            evidence.outcome.observed = if seconds < 60 { "refused" } else { "HTTP 502" }.to_owned();
            let (waited, limit) = (Duration::from_secs(seconds), Duration::from_secs(600));
            (seconds, Notice::Waiting { evidence, waited, limit })
        };
        let text = told((0..120).step_by(10).map(waiting).collect());
        let said: Vec<_> = text
            .lines()
            .filter_map(|line| Some(line.split_once("not yet, ")?.1.split_once(':')?.0))
            .collect();
        assert_eq!(said, ["0s of 10min", "30s of 10min", "1min of 10min", "1min 30s of 10min"], "{text}");
    }

    #[test]
    fn hostile_notices() {
        let text = told(vec![
            (0, Notice::Message(EVIL.into())),
            (0, Notice::Warning(EVIL.into())),
            (0, Notice::Waiting { evidence: evil(), waited: Duration::MAX, limit: Duration::MAX }),
            (0, Notice::Output { step: EVIL.into(), text: EVIL.into() }),
            (0, Notice::Attached { step: EVIL.into(), output: 7, shown: 7 }),
            (
                99,
                Notice::Running {
                    step: EVIL.into(),
                    elapsed: Duration::MAX,
                    output: 1,
                    limit: Some(Duration::MAX),
                },
            ),
        ]);
        assert_eq!(text.lines().filter(|line| line.starts_with("  |")).count(), 4, "{text}");
        safe(&text, usize::MAX);
    }
}
