//! What is going on right now, in one line: the live line of a terminal, the heartbeat of a plain log.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::base::text::{count, thousands};
use crate::base::{CheckId, Size, Span, StepId};
use crate::check::Verdict;
use crate::check::context::Progress;
use crate::engine::event::Notice;
use crate::journal::record::{Event, Purpose};
use crate::report::words::flat;

/// Follows the notices.
#[derive(Debug, Default)]
pub struct Track {
    measuring: Option<Measuring>,
    meters: Vec<Meter>,
    running: Option<Running>,
    soaking: Option<(StepId, Duration, Duration)>,
    invariants: BTreeMap<CheckId, Verdict>,
    waiting: BTreeMap<CheckId, Waiting>,
}

/// A check that is waited for.
#[derive(Debug)]
struct Waiting {
    title: String,
    observed: String,
    since: Instant,
    limit: Duration,
}

#[derive(Debug)]
struct Measuring {
    step: StepId,
    open: Vec<(CheckId, String)>,
    all: usize,
    since: Instant,
}

#[derive(Debug)]
struct Running {
    step: StepId,
    elapsed: Duration,
    output: u64,
    limit: Option<Duration>,
}

/// How fast a long measurement goes.
#[derive(Debug)]
struct Meter {
    check: Option<CheckId>,
    first: Progress,
    last: Progress,
    began: Instant,
    /// Where it was and when, not long ago, oldest first.
    marks: VecDeque<(Instant, u64)>,
}

/// A speed is shown from then on.
const FOR_A_SPEED: Duration = Duration::from_secs(2);

/// The speed of late is taken over this time, or over a quarter of the whole, if that is longer.
const OF_LATE: Duration = Duration::from_secs(5);

/// An end is foretold from then on.
const FOR_AN_END: Duration = Duration::from_secs(5);

impl Track {
    /// Takes a notice.
    pub fn take(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Measuring { purpose: Purpose::Invariant, .. } => {}
            Notice::Measuring { step, checks, .. } => {
                let all = checks.len();
                self.measuring =
                    Some(Measuring { step: step.clone(), open: checks.clone(), all, since: now });
                self.meters.clear();
                self.waiting.clear();
            }
            Notice::Measured { purpose: Purpose::Invariant, evidence, .. } => {
                self.ended(&evidence.check);
                self.invariants.insert(evidence.check.clone(), evidence.verdict());
            }
            Notice::Measured { evidence, .. } => {
                self.ended(&evidence.check);
                self.waiting.remove(&evidence.check);
                if let Some(measuring) = &mut self.measuring {
                    measuring.open.retain(|(id, _)| *id != evidence.check);
                    if measuring.open.is_empty() {
                        self.measuring = None;
                        self.meters.clear();
                    }
                }
            }
            Notice::Waiting { evidence, waited, limit } => {
                let (title, observed) = (evidence.title.clone(), evidence.outcome.observed.clone());
                let since = now.checked_sub(*waited).unwrap_or(now);
                let waiting = Waiting { title, observed, since, limit: *limit };
                self.waiting.insert(evidence.check.clone(), waiting);
            }
            Notice::Progress { check, progress } => self.progress(check.as_ref(), progress, now),
            Notice::Running { step, elapsed, output, limit } => {
                self.running =
                    Some(Running { step: step.clone(), elapsed: *elapsed, output: *output, limit: *limit });
            }
            Notice::Soaking { step, elapsed, wanted } => {
                self.soaking = Some((step.clone(), *elapsed, *wanted))
            }
            Notice::Journal(line) => match &line.event {
                Event::Began { .. } => {
                    *self = Track::default();
                }
                Event::Ended { .. }
                | Event::RollbackEnded { .. }
                | Event::Released { .. }
                | Event::Completed { .. } => {
                    self.running = None;
                    self.soaking = None;
                    self.invariants.clear();
                }
                Event::Measured { purpose, evidence, .. } if *purpose != Purpose::Invariant => {
                    self.take(
                        &Notice::Measured {
                            step: StepId::from(""),
                            purpose: *purpose,
                            evidence: evidence.clone(),
                        },
                        now,
                    );
                }
                Event::Done { .. } | Event::Failed { .. } | Event::Held { .. } | Event::InDoubt { .. } => {
                    *self = Track::default();
                }
                _ => {}
            },
            Notice::Output { .. } | Notice::Attached { .. } | Notice::Message(_) | Notice::Warning(_) => {}
        }
    }

    fn progress(&mut self, check: Option<&CheckId>, progress: &Progress, now: Instant) {
        // The same work goes on from table to table: what is read changes, how much there is in all does not.
        let goes_on = |last: &Progress| {
            let same = match (last.total, progress.total) {
                // What turns out not to be read is taken off.
                (Some(was), Some(is)) => is <= was,
                (None, None) => last.what == progress.what,
                _ => false,
            };
            same && last.unit == progress.unit && progress.done >= last.done
        };
        match self.meters.iter_mut().find(|meter| meter.check.as_ref() == check) {
            Some(meter) if goes_on(&meter.last) => meter.go_on(progress, now),
            Some(meter) => *meter = Meter::new(check, progress, now),
            None => self.meters.push(Meter::new(check, progress, now)),
        }
    }

    fn ended(&mut self, check: &CheckId) {
        self.meters.retain(|meter| meter.check.as_ref() != Some(check));
    }

    /// True when a check that is waited for shows something else than when it was last told of.
    pub fn is_news(&self, notice: &Notice) -> bool {
        let Notice::Waiting { evidence, .. } = notice else { return true };
        self.waiting.get(&evidence.check).is_none_or(|known| known.observed != evidence.outcome.observed)
    }

    /// What is waited for, in words: of several the one that began to be waited for longest ago, and how many others.
    fn waiting(&self, now: Instant) -> Option<String> {
        let first = self.waiting.values().min_by_key(|waiting| waiting.since)?;
        let waited = now.saturating_duration_since(first.since);
        let more = match self.waiting.len() - 1 {
            0 => String::new(),
            more => format!("; {more} more not yet"),
        };
        Some(format!("{}{more}", not_yet(&first.title, &first.observed, waited, first.limit)))
    }

    /// The one that will take longest, as far as can be told: until then the others do not matter.
    fn slowest(&self, now: Instant) -> Option<&Meter> {
        self.meters.iter().max_by(|a, b| a.left(now).total_cmp(&b.left(now)))
    }

    /// The line; `None` when nothing is going on.
    pub fn line(&self, now: Instant) -> Option<String> {
        let mut parts = Vec::new();
        // First, because the end of a line that is too long is not shown.
        let meter = self.slowest(now);
        if let Some(meter) = meter {
            parts.push(meter.words(now));
        }
        if let Some((step, elapsed, wanted)) = &self.soaking {
            let percent = elapsed
                .as_millis()
                .saturating_mul(100)
                .checked_div(wanted.as_millis())
                .unwrap_or(100)
                .min(100);
            let left = Span::secs(wanted.saturating_sub(*elapsed).as_secs());
            let (elapsed, wanted) = (Span::secs(elapsed.as_secs()), Span(*wanted));
            parts.push(format!("{step} is watched: {elapsed} of {wanted} ({percent}%), {left} left"));
        } else if let Some(running) = &self.running {
            let limit = running.limit.map(|limit| format!(" of at most {}", Span(limit))).unwrap_or_default();
            parts.push(format!("{} runs: {}{limit}", running.step, Span::secs(running.elapsed.as_secs())));
            if running.output > 0 {
                parts.push(format!("output {}", Size(running.output)));
            }
        } else if let Some(waiting) = self.waiting(now) {
            parts.push(waiting);
        } else if let Some(measuring) = &self.measuring {
            let done = measuring.all - measuring.open.len();
            let checks = count(measuring.all as u64, "check", "checks");
            let works =
                |(id, _): &&(CheckId, String)| meter.is_some_and(|meter| meter.check.as_ref() == Some(id));
            let now_open = measuring.open.iter().find(works).or(measuring.open.first());
            let waits = now_open.map(|(_, title)| format!(", now: {title}")).unwrap_or_default();
            let since = Span::secs(now.saturating_duration_since(measuring.since).as_secs());
            parts.push(format!("measuring for {}: {done} of {checks} in {since}{waits}", measuring.step));
        }
        if !self.invariants.is_empty() {
            let bad = self.invariants.values().filter(|verdict| **verdict != Verdict::Pass).count();
            parts.push(match bad {
                0 => count(self.invariants.len() as u64, "invariant passes", "invariants pass"),
                bad => format!(
                    "{bad} of {} NOT PASSING",
                    count(self.invariants.len() as u64, "invariant", "invariants")
                ),
            });
        }
        (!parts.is_empty()).then(|| flat(&parts.join("; ")))
    }
}

/// A check that does not pass yet. How long it was waited for comes first: a narrow screen cuts the end.
pub fn not_yet(title: &str, observed: &str, waited: Duration, limit: Duration) -> String {
    let waited = Span::secs(waited.as_secs());
    format!("not yet, {waited} of {}: {title}: {observed}", Span(limit))
}

impl Meter {
    fn new(check: Option<&CheckId>, progress: &Progress, now: Instant) -> Self {
        let (first, last, marks) = (progress.clone(), progress.clone(), [(now, progress.done)].into());
        Meter { check: check.cloned(), first, last, began: now, marks }
    }

    fn go_on(&mut self, progress: &Progress, now: Instant) {
        self.last = progress.clone();
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let took = since(&self.began);
        if self.marks.back().is_none_or(|(at, _)| since(at) >= took / 64) {
            self.marks.push_back((now, progress.done));
        }
        while self.marks.get(1).is_some_and(|(at, _)| since(at) >= OF_LATE.max(took / 4)) {
            self.marks.pop_front();
        }
    }

    /// Units a second, up to this moment, so that the end moves away when nothing comes any more: since the beginning, or
    /// of late if that is slower. A leap is then not taken for a speed, and a slow table not for a fast one. `None` before
    /// there is something to tell it by.
    fn rate(&self, now: Instant, from: Duration) -> Option<f64> {
        let since = |at: Instant, was: u64| {
            let took = now.saturating_duration_since(at);
            let moved = self.last.done.saturating_sub(was);
            (took >= from && moved > 0).then(|| moved as f64 / took.as_secs_f64())
        };
        let whole = since(self.began, self.first.done)?;
        let late = self.marks.front().and_then(|(at, was)| since(*at, *was));
        Some(late.map_or(whole, |late| late.min(whole)))
    }

    /// Seconds that are left; without end where that cannot be told.
    fn left(&self, now: Instant) -> f64 {
        let left = self.last.total.map(|total| total.saturating_sub(self.last.done));
        match (left, self.rate(now, FOR_AN_END)) {
            (Some(0), _) => 0.0,
            (Some(left), Some(rate)) => left as f64 / rate,
            _ => f64::INFINITY,
        }
    }

    fn words(&self, now: Instant) -> String {
        let Progress { what, done, total, unit } = &self.last;
        let amount = |n: u64| if *unit == "B" { Size(n).to_string() } else { thousands(n) };
        let word = if *unit == "B" { String::new() } else { format!(" {unit}") };
        let mut text = match total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = (u128::from(*done) * 100 / u128::from(total)).min(100);
                let end = match self.left(now) {
                    left if left > 0.0 && left.is_finite() => format!(", about {} left", about(left)),
                    _ => String::new(),
                };
                format!("{percent}%{end}: {what}, {} of {}{word}", amount(*done), amount(total))
            }
            None => format!("{what}, {}{word}", amount(*done)),
        };
        if let Some(rate) = self.rate(now, FOR_A_SPEED) {
            text.push_str(&format!(", {}/s", amount(rate as u64)));
        }
        text
    }
}

/// A time as exact as a guess can be: a figure that changes all the time is not read.
fn about(seconds: f64) -> Span {
    let seconds = (seconds as u64).max(1);
    let step = match seconds {
        0..60 => 1,
        60..600 => 10,
        600..7200 => 60,
        _ => 600,
    };
    Span::secs(
        (seconds / step)
            .saturating_add(u64::from(seconds % step * 2 >= step && step > 1))
            .saturating_mul(step),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_measurements_say_how_long_they_will_take() {
        let (mut track, start) = (Track::default(), Instant::now());
        let progress = |done| {
            let what = "comparing events".into();
            let progress = Progress { what, done, total: Some(1_000_000), unit: "rows" };
            Notice::Progress { check: None, progress }
        };
        let checks = vec![("copy.post.rows".into(), "Rows match".to_owned())];
        track
            .take(&Notice::Measuring { step: "copy".into(), purpose: Purpose::Postcondition, checks }, start);
        track.take(&progress(0), start);
        track.take(&progress(250_000), start + Duration::from_secs(5));
        assert_eq!(
            track.line(start + Duration::from_secs(5)).unwrap(),
            "25%, about 15s left: comparing events, 250,000 of 1,000,000 rows, 50,000/s; measuring for copy: 0 of 1 check in 5s, now: Rows match"
        );
    }

    #[test]
    fn the_speed_is_that_of_all_tables_together() {
        let (mut track, start) = (Track::default(), Instant::now());
        for (seconds, what, done, total) in
            [(0, "events", 0, 1000), (5, "rooms", 200, 900), (10, "users", 400, 800)]
        {
            let progress = Progress { what: what.into(), done, total: Some(total), unit: "rows" };
            track.take(&Notice::Progress { check: None, progress }, start + Duration::from_secs(seconds));
        }
        let line = track.line(start + Duration::from_secs(10)).unwrap();
        assert_eq!(line, "50%, about 10s left: users, 400 of 800 rows, 40/s");
    }

    #[test]
    fn of_two_checks_the_slower_is_shown() {
        let (mut track, start) = (Track::default(), Instant::now());
        let checks = ["fast", "slow"].map(|id| (id.into(), format!("The {id} one"))).to_vec();
        let step = StepId::from("copy");
        track.take(&Notice::Measuring { step: step.clone(), purpose: Purpose::Postcondition, checks }, start);
        for (seconds, check, done) in [(0, "fast", 0), (0, "slow", 0), (10, "slow", 10), (10, "fast", 50)] {
            let progress =
                Progress { what: format!("reading {check}"), done, total: Some(100), unit: "rows" };
            let notice = Notice::Progress { check: Some(check.into()), progress };
            track.take(&notice, start + Duration::from_secs(seconds));
        }
        let line = |track: &Track| track.line(start + Duration::from_secs(10)).unwrap();
        assert_eq!(
            line(&track),
            "10%, about 1min 30s left: reading slow, 10 of 100 rows, 1/s; measuring for copy: 0 of 2 checks in 10s, now: The slow one"
        );
        let evidence = crate::ui::fixture::evidence("slow", Verdict::Pass);
        track.take(&Notice::Measured { step, purpose: Purpose::Postcondition, evidence }, start);
        assert!(line(&track).starts_with("50%, about 10s left: reading fast"), "{}", line(&track));
    }

    #[test]
    fn no_end_is_foretold_from_nothing_and_none_that_stands_still() {
        let (mut track, start) = (Track::default(), Instant::now());
        let total = Some(600 << 30);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut line = |seconds, done: u64| {
            let what = "reading events".to_owned();
            let progress = Progress { what, done: done << 30, total, unit: "B" };
            track.take(&Notice::Progress { check: None, progress }, at(seconds));
            track.line(at(seconds)).unwrap()
        };
        assert_eq!(line(0, 0), "0%: reading events, 0 B of 600 GiB");
        assert_eq!(line(3600, 0), "0%: reading events, 0 B of 600 GiB");
        assert_eq!(line(7200, 60), "10%, about 18h left: reading events, 60.0 GiB of 600 GiB, 8.53 MiB/s");
        // A leap, and then nothing.
        let leap = line(7201, 300);
        assert!(leap.starts_with("50%, about 2h left: "), "{leap}");
        assert!(line(14_400, 300).starts_with("50%, about 4h left: "));
        assert!(line(14_401, 600).starts_with("100%: "));
        assert_eq!(
            track.line(at(1)).unwrap(),
            "100%: reading events, 600 GiB of 600 GiB",
            "a clock that went back"
        );
    }

    #[test]
    fn a_slow_table_after_a_fast_one_moves_the_end_away() {
        let (mut track, start) = (Track::default(), Instant::now());
        let mut line = |seconds, done| {
            let at = start + Duration::from_secs(seconds);
            let progress = Progress { what: "x".into(), done, total: Some(10_000), unit: "rows" };
            track.take(&Notice::Progress { check: None, progress }, at);
            (track.line(at).unwrap(), track.meters[0].marks.len())
        };
        for second in 0..=100 {
            line(second, second * 50);
        }
        assert_eq!(line(100, 5000).0, "50%, about 1min 40s left: x, 5,000 of 10,000 rows, 50/s");
        for second in 101..=160 {
            line(second, 5000 + (second - 100));
        }
        let (slow, marks) = line(160, 5060);
        assert_eq!(slow, "50%, about 1h 22min left: x, 5,060 of 10,000 rows, 1/s");
        assert!(marks < 64, "{marks}");
    }

    #[test]
    fn times_are_rounded_the_more_the_longer_they_are() {
        for (seconds, words) in [
            (0.4, "1s"),
            (59.9, "59s"),
            (66.0, "1min 10s"),
            (3629.0, "1h"),
            (8000.0, "2h 10min"),
            (f64::MAX, ""),
        ] {
            let about = about(seconds).to_string();
            assert!(about == words || words.is_empty(), "{seconds}: {about}");
        }
    }

    #[test]
    fn work_and_its_invariants() {
        let (mut track, now) = (Track::default(), Instant::now());
        assert_eq!(track.line(now), None);
        let (elapsed, limit) = (Duration::from_secs(243), Some(Duration::from_secs(43_200)));
        track.take(&Notice::Running { step: "copy".into(), elapsed, output: 1_536 << 10, limit }, now);
        let evidence = crate::ui::fixture::evidence("copy.inv.disk", Verdict::Pass);
        track.take(&Notice::Measured { step: "copy".into(), purpose: Purpose::Invariant, evidence }, now);
        assert_eq!(
            track.line(now).unwrap(),
            "copy runs: 4min 3s of at most 12h; output 1.50 MiB; 1 invariant passes"
        );
    }

    #[test]
    fn what_is_waited_for_is_said_with_the_time() {
        let (mut track, start) = (Track::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let waiting = |id: &str, observed: &str, seconds| {
            let mut evidence = crate::ui::fixture::evidence(id, Verdict::Unknown);
            (evidence.title, evidence.outcome.observed) = ("it answers".to_owned(), observed.to_owned());
            let (waited, limit) = (Duration::from_secs(seconds), Duration::from_secs(120));
            Notice::Waiting { evidence, waited, limit }
        };
        let first = waiting("start.post.http", "refused", 0);
        assert!(track.is_news(&first));
        track.take(&first, at(0));
        assert_eq!(track.line(at(8)).unwrap(), "not yet, 8s of 2min: it answers: refused");
        assert!(!track.is_news(&waiting("start.post.http", "refused", 9)));
        assert!(track.is_news(&waiting("start.post.http", "HTTP 502", 9)));
        track.take(&waiting("start.post.lag", "5s behind", 9), at(9));
        let both = "not yet, 10s of 2min: it answers: refused; 1 more not yet";
        assert_eq!(track.line(at(10)).unwrap(), both);
        for id in ["start.post.http", "start.post.lag"] {
            let evidence = crate::ui::fixture::evidence(id, Verdict::Pass);
            let (step, purpose) = ("start".into(), Purpose::Postcondition);
            track.take(&Notice::Measured { step, purpose, evidence }, at(12));
        }
        assert_eq!(track.line(at(12)), None);
    }

    #[test]
    fn odd_numbers_do_no_harm() {
        let (mut track, now) = (Track::default(), Instant::now());
        for (done, total) in [(u64::MAX, Some(1)), (0, Some(0)), (5, Some(u64::MAX)), (3, None)] {
            let progress = Progress { what: "x\n\x1b[2J".into(), done, total, unit: "B" };
            track.take(&Notice::Progress { check: None, progress }, now);
            assert!(!track.line(now).unwrap().contains(['\n', '\u{1b}']));
        }
        track
            .take(&Notice::Soaking { step: "s".into(), elapsed: Duration::MAX, wanted: Duration::ZERO }, now);
        assert!(track.line(now).unwrap().contains("100%"));
    }
}
