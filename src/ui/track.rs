//! What is going on right now, in one line: the live line of a terminal, the heartbeat of a plain log.

use std::collections::BTreeMap;
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
    meter: Option<Meter>,
    running: Option<Running>,
    soaking: Option<(StepId, Duration, Duration)>,
    invariants: BTreeMap<CheckId, Verdict>,
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
    first: Progress,
    last: Progress,
    began: Instant,
    at: Instant,
}

impl Track {
    /// Takes a notice.
    pub fn take(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Measuring { purpose: Purpose::Invariant, .. } => {}
            Notice::Measuring { step, checks, .. } => {
                let all = checks.len();
                self.measuring =
                    Some(Measuring { step: step.clone(), open: checks.clone(), all, since: now });
                self.meter = None;
            }
            Notice::Measured { purpose: Purpose::Invariant, evidence, .. } => {
                self.invariants.insert(evidence.check.clone(), evidence.verdict());
            }
            Notice::Measured { evidence, .. } => {
                if let Some(measuring) = &mut self.measuring {
                    measuring.open.retain(|(id, _)| *id != evidence.check);
                    if measuring.open.is_empty() {
                        self.measuring = None;
                        self.meter = None;
                    }
                }
            }
            Notice::Progress(progress) => self.progress(progress, now),
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

    fn progress(&mut self, progress: &Progress, now: Instant) {
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
        match &mut self.meter {
            Some(meter) if goes_on(&meter.last) => {
                meter.last = progress.clone();
                meter.at = now;
            }
            meter => {
                *meter = Some(Meter { first: progress.clone(), last: progress.clone(), began: now, at: now });
            }
        }
    }

    /// The line; `None` when nothing is going on.
    pub fn line(&self, now: Instant) -> Option<String> {
        let mut parts = Vec::new();
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
        } else if let Some(measuring) = &self.measuring {
            let done = measuring.all - measuring.open.len();
            let checks = count(measuring.all as u64, "check", "checks");
            let waits =
                measuring.open.first().map(|(_, title)| format!(", now: {title}")).unwrap_or_default();
            let since = Span::secs(now.saturating_duration_since(measuring.since).as_secs());
            parts.push(format!("measuring for {}: {done} of {checks} in {since}{waits}", measuring.step));
        }
        if let Some(meter) = &self.meter {
            parts.push(meter.words());
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

impl Meter {
    fn words(&self) -> String {
        let Progress { what, done, total, unit } = &self.last;
        let amount = |n: u64| if *unit == "B" { Size(n).to_string() } else { thousands(n) };
        let word = if *unit == "B" { String::new() } else { format!(" {unit}") };
        let mut text = match total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = u128::from(*done) * 100 / u128::from(total);
                format!("{what}: {} of {}{word} ({}%)", amount(*done), amount(total), percent.min(100))
            }
            None => format!("{what}: {}{word}", amount(*done)),
        };
        let took = self.at.saturating_duration_since(self.began).as_secs_f64();
        let moved = done.saturating_sub(self.first.done);
        if took >= 2.0 && moved > 0 {
            let rate = moved as f64 / took;
            text.push_str(&format!(", {}/s", amount(rate as u64)));
            if let Some(left) = total.and_then(|total| total.checked_sub(*done)).filter(|left| *left > 0) {
                text.push_str(&format!(", about {} left", Span::secs((left as f64 / rate) as u64)));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_measurements_say_how_long_they_will_take() {
        let (mut track, start) = (Track::default(), Instant::now());
        let progress = |done| {
            Notice::Progress(Progress {
                what: "comparing events".into(),
                done,
                total: Some(1_000_000),
                unit: "rows",
            })
        };
        let checks = vec![("copy.post.rows".into(), "Rows match".to_owned())];
        track
            .take(&Notice::Measuring { step: "copy".into(), purpose: Purpose::Postcondition, checks }, start);
        track.take(&progress(0), start);
        track.take(&progress(250_000), start + Duration::from_secs(5));
        assert_eq!(
            track.line(start + Duration::from_secs(5)).unwrap(),
            "measuring for copy: 0 of 1 check in 5s, now: Rows match; comparing events: 250,000 of 1,000,000 rows (25%), 50,000/s, about 15s left"
        );
    }

    #[test]
    fn the_speed_is_that_of_all_tables_together() {
        let (mut track, start) = (Track::default(), Instant::now());
        for (seconds, what, done, total) in
            [(0, "events", 0, 1000), (5, "rooms", 200, 900), (10, "users", 400, 800)]
        {
            let progress = Progress { what: what.into(), done, total: Some(total), unit: "rows" };
            track.take(&Notice::Progress(progress), start + Duration::from_secs(seconds));
        }
        let line = track.line(start + Duration::from_secs(10)).unwrap();
        assert_eq!(line, "users: 400 of 800 rows (50%), 40/s, about 10s left");
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
    fn odd_numbers_do_no_harm() {
        let (mut track, now) = (Track::default(), Instant::now());
        for (done, total) in [(u64::MAX, Some(1)), (0, Some(0)), (5, Some(u64::MAX)), (3, None)] {
            track
                .take(&Notice::Progress(Progress { what: "x\n\x1b[2J".into(), done, total, unit: "B" }), now);
            assert!(!track.line(now).unwrap().contains(['\n', '\u{1b}']));
        }
        track
            .take(&Notice::Soaking { step: "s".into(), elapsed: Duration::MAX, wanted: Duration::ZERO }, now);
        assert!(track.line(now).unwrap().contains("100%"));
    }
}
