//! How long until a file system is full, at the rate at which it fills now? Made for invariants: every measurement adds
//! one sample of its own, and the fastest of several recent rates counts.
//!
//! The first samples say `unknown`, since no rate is known yet; only an already full disk fails at once.

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::disk_free::remarks;
use super::samples::{self, Sample, fastest};
use crate::base::{Size, Span};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::files::Space;

/// Samples and seconds of history before a rate means anything.
pub(super) const FEWEST_SAMPLES: usize = 3;
pub(super) const SHORTEST_HISTORY: Span = Span::secs(30);
/// Longer forecasts are shown as "more than".
pub(super) const FAR: u64 = 365 * 86_400;

/// How long until a file system is full?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskTimeToFull {
    /// A file or directory on the file system that is written.
    path: String,
    /// The shortest time to full that is fine: longer than somebody needs to notice and act.
    at_least: Span,
    /// What must stay available: below it the check fails at any rate, and "full" means reaching it. When not given,
    /// 5 % of the file system, at most 1 GiB.
    #[serde(default)]
    headroom: Option<Size>,
    /// How far back samples count; 10min when not given.
    #[serde(default)]
    window: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "disk_time_to_full",
    summary: "at the present rate, the file system does not fill within a given time",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(DiskTimeToFull),
    build,
};

const DOCS: &str = r"
Shows that a file system does not fill up soon. Made for `invariants`, where it is measured every few seconds.

**How it is measured.** Each measurement takes one sample of `f_bavail` (bytes for ordinary users) and of free inodes, with the
boot clock. The rate is the fastest of those seen over the last 30 s, a quarter of the window, and the whole window.
Time to full = (available − headroom) / rate.

**Passes** when the time to full is long enough, or nothing grows. **Fails** when it is too short, when less than `headroom` is
available at all, or when the file system has become read-only. **Unknown** with fewer than 3 samples or less than 30 s of
history; as an invariant it waits for the next sample, as a precondition it blocks, so use `disk_free` there.

**Traps.** Growth is not linear: PostgreSQL recycles WAL, so a disk may stand still and then fill at once; index builds need
temporary room in bursts. A short command ends before there is a rate: guard it with `disk_free`.

```yaml
invariants:
  - disk_time_to_full: { path: /var/lib/postgresql, at_least: 30min, headroom: 2GiB, on_violation: pause }
```
";

fn build(params: serde_json::Map<String, serde_json::Value>) -> Result<Box<dyn Check>, String> {
    let check: DiskTimeToFull =
        serde_json::from_value(serde_json::Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_least.0.is_zero() {
        return Err("`at_least` is zero: every disk lasts that long".to_owned());
    }
    if check.window.is_some_and(|window| window < SHORTEST_HISTORY) {
        return Err(format!("`window` must be at least {SHORTEST_HISTORY}"));
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for DiskTimeToFull {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("at least {} until the file system is full", self.at_least);
        let space = match cx.world.files.space(Path::new(&self.path)).await {
            Ok(space) => space,
            Err(why) => {
                return Outcome::unknown(format!("the file system could not be measured: {why}"), expected)
                    .help("correct the path, or run this as a user who may look there, then measure again");
            }
        };
        let now = Sample {
            boot_ms: cx.world.clock.now().boot_ms,
            available: space.available,
            inodes: space.inodes_available,
            total: space.total,
            position: 0,
        };
        let window = self.window.unwrap_or(Span::secs(600));
        let (history, trouble) = samples::add(cx, &format!("disk-{:x}", space.device), now, window).await;
        let mut outcome = self.judge(&space, &history, window, expected);
        outcome.details.extend(remarks(&space, Path::new(&self.path)));
        outcome.details.extend(trouble);
        outcome
    }
}

impl DiskTimeToFull {
    fn headroom(&self, space: &Space) -> u64 {
        self.headroom.map_or((space.total / 20).min(1 << 30), |size| size.0)
    }

    fn judge(&self, space: &Space, history: &[Sample], window: Span, expected: String) -> Outcome {
        let headroom = self.headroom(space);
        let at = space.path.display();
        let watched = match (history.first(), history.last()) {
            (Some(first), Some(last)) => Span::millis(last.boot_ms.saturating_sub(first.boot_ms)),
            _ => Span::secs(0),
        };
        let facts = |outcome: Outcome| {
            outcome
                .fact("bytes_available", space.available)
                .fact("headroom", headroom)
                .fact("samples", history.len() as u64)
                .fact("history_ms", watched.0.as_millis() as u64)
        };
        let act = format!(
            "pause what is writing to {at}, then free room or move it; `df -h {at}` shows where it stands"
        );
        if space.read_only {
            return facts(Outcome::fail(
                format!("{at} is mounted read-only"),
                "a file system that can be written",
            ))
            .help("find out why (dmesg shows disk errors) before anything else");
        }
        if space.available <= headroom {
            let observed = format!("only {} available", Size(space.available));
            let wanted = format!("more than {} of headroom, and {expected}", Size(headroom));
            return facts(Outcome::fail(observed, wanted)).help(act);
        }
        if space.inodes > 0 && space.inodes_available == 0 {
            return facts(Outcome::fail("no inodes left: no file can be made", expected)).help(act);
        }
        if history.len() < FEWEST_SAMPLES || watched < SHORTEST_HISTORY {
            let n = crate::base::text::count(history.len() as u64, "sample", "samples");
            return facts(Outcome::unknown(
                format!("only {n} over {watched} yet: no rate is known"),
                expected,
            ))
            .help(format!(
                "wait: it takes {FEWEST_SAMPLES} samples over {SHORTEST_HISTORY}; before a step use disk_free"
            ));
        }
        let bytes = fastest(history, window, |sample| sample.available);
        let inodes = if space.inodes > 0 { fastest(history, window, |sample| sample.inodes) } else { 0.0 };
        let left = |room: u64, rate: f64| if rate > 0.0 { room as f64 / rate } else { f64::INFINITY };
        let seconds = left(space.available - headroom, bytes);
        let by_inodes = left(space.inodes_available, inodes);
        let soonest = seconds.min(by_inodes);
        let enough = soonest >= self.at_least.0.as_secs_f64();
        let available = Size(space.available);
        let observed = match () {
            () if soonest.is_infinite() => format!("no growth in {watched}, {available} available"),
            () if by_inodes < seconds => {
                format!(
                    "out of inodes in {}, at {inodes:.0} a second; {available} available",
                    forecast(by_inodes)
                )
            }
            () => format!(
                "full in {}, at {}/s; {available} available",
                forecast(seconds),
                Size(bytes.round() as u64)
            ),
        };
        let mut outcome = facts(Outcome::judge(enough, observed, expected))
            .help(act)
            .fact("bytes_per_second", bytes.round());
        if soonest.is_finite() {
            outcome = outcome.fact("seconds_to_full", soonest.round());
        }
        outcome.detail(format!("fastest rate of the last {watched}, from {} samples", history.len()))
    }
}

pub(super) fn forecast(seconds: f64) -> String {
    if seconds > FAR as f64 { "more than a year".to_owned() } else { Span::secs(seconds as u64).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn space(available: u64) -> Space {
        Space {
            path: "/data".into(),
            total: 100 << 30,
            available,
            free: available,
            inodes: 0,
            inodes_available: 0,
            read_only: false,
            device: 1,
            kind: None,
        }
    }

    /// Samples every ten seconds.
    fn history(available: &[u64]) -> Vec<Sample> {
        let sample = |(i, &available): (usize, &u64)| Sample {
            boot_ms: 1_000 + i as u64 * 10_000,
            available,
            inodes: 0,
            total: 100 << 30,
            position: 0,
        };
        available.iter().enumerate().map(sample).collect()
    }

    fn judge(available: &[u64]) -> Outcome {
        let check = DiskTimeToFull {
            path: "/data".to_owned(),
            at_least: Span::secs(1800),
            headroom: None,
            window: None,
        };
        let last = available.last().copied().unwrap_or_default();
        check.judge(&space(last), &history(available), Span::secs(600), "wanted".to_owned())
    }

    const G: u64 = 1 << 30;

    #[test]
    fn first_samples_are_unknown_unless_it_is_full_already() {
        assert_eq!(judge(&[50 * G]).verdict, Verdict::Unknown);
        assert_eq!(judge(&[50 * G, 49 * G, 48 * G]).verdict, Verdict::Unknown, "20 s are too short");
        assert_eq!(judge(&[G]).verdict, Verdict::Fail, "headroom is 1 GiB");
    }

    #[test]
    fn standing_still_passes_and_says_so() {
        let outcome = judge(&[12 * G; 13]);
        assert_eq!(
            (outcome.verdict, outcome.observed.as_str()),
            (Verdict::Pass, "no growth in 2min, 12.0 GiB available")
        );
        assert_eq!(judge(&[10 * G, 11 * G, 12 * G, 12 * G]).verdict, Verdict::Pass, "it gets emptier");
    }

    #[test]
    fn a_burst_after_calm_is_seen() {
        let mut calm = vec![41 * G; 50];
        calm.extend([40 * G, 39 * G, 38 * G]);
        let outcome = judge(&calm);
        // 3 GiB in 30 s: 37 GiB above headroom last 370 s, although the whole window says 50 minutes.
        assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
        assert!(outcome.observed.starts_with("full in 6min 1"), "{outcome:?}");
    }

    #[test]
    fn slow_growth_passes() {
        let slow: Vec<u64> = (0..20).map(|i| 50 * G - i * (1 << 20)).collect();
        let outcome = judge(&slow);
        assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
        assert!(outcome.observed.contains("available"));
    }
}
