//! How long until the file system of a server's write-ahead log is full? Where a slot or a stuck archiver keeps the log,
//! it grows by all that is written, which the disk does not show at first: recycled files take the first gigabytes.

mod hold;

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::disk_free::remarks;
use super::disk_time_to_full::{FAR, FEWEST_SAMPLES, SHORTEST_HISTORY, forecast};
use super::samples::{self, Sample, fastest};
use crate::base::{Size, Span};
use crate::check::door::Door;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::files::Space;
use hold::Hold;

/// How long until the file system of a server's write-ahead log is full?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WalTimeToFull {
    /// The server. Its files must be on this machine.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The shortest time to full that is fine; 7d when not given.
    #[serde(default)]
    at_least: Option<Span>,
    /// What must stay available: below it the check fails at any rate, and "full" means reaching it. When not given,
    /// 5 % of the file system, at most 1 GiB.
    #[serde(default)]
    headroom: Option<Size>,
    /// How far back samples count; 1h when not given.
    #[serde(default)]
    window: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "wal_time_to_full",
    summary: "the file system of the write-ahead log does not fill within a given time",
    docs: include_str!("wal_time_to_full.md"),
    timeout: None,
    schema: || schema_for!(WalTimeToFull),
    build,
};

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: WalTimeToFull = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_least.is_some_and(|span| span.0.is_zero()) {
        return Err("`at_least` is zero: every disk lasts that long".to_owned());
    }
    if check.window.is_some_and(|window| window < SHORTEST_HISTORY) {
        return Err(format!("`window` must be at least {SHORTEST_HISTORY}"));
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for WalTimeToFull {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let door = Door::new(KIND.name, &self.target, &wanted);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let pg = session.identity().clone();
        let outcome = if session.is_local() {
            match hold::ask(&session).await {
                Err(error) => door.unanswered(&error),
                Ok(hold) => {
                    let series = format!("wal-{}-{}", pg.system_identifier, pg.timeline);
                    self.with_room(cx, &Path::new(&pg.data_directory).join("pg_wal"), &series, &hold).await
                }
            }
        } else {
            Outcome::unknown(
                format!(
                    "{} is on another machine: its file systems cannot be measured from here",
                    self.target
                ),
                wanted.clone(),
            )
            .help("run Holdpoint on the server's own machine")
        };
        outcome.on(&self.target, identity)
    }
}

impl WalTimeToFull {
    fn at_least(&self) -> Span {
        self.at_least.unwrap_or(Span::secs(7 * 86_400))
    }

    fn wanted(&self) -> String {
        format!("at least {} until the write-ahead log's file system is full", self.at_least())
    }

    async fn with_room(&self, cx: &Context, wal: &Path, series: &str, hold: &Hold) -> Outcome {
        let space = match cx.world.files.space(wal).await {
            Ok(space) => space,
            Err(why) => {
                return Outcome::unknown(
                    format!("the file system could not be measured: {why}"),
                    self.wanted(),
                )
                .help("run this as root or as the server's user, then measure again");
            }
        };
        let now = Sample {
            boot_ms: cx.world.clock.now().boot_ms,
            available: space.available,
            inodes: space.inodes_available,
            total: space.total,
            position: hold.position,
        };
        let window = self.window.unwrap_or(Span::secs(3600));
        let (history, trouble) = samples::add(cx, series, now, window).await;
        let mut outcome = self.judge(&space, hold, &history, window);
        outcome.details.extend(hold.lines());
        outcome.details.extend(remarks(&space, wal));
        outcome.details.extend(trouble);
        outcome
    }

    fn judge(&self, space: &Space, hold: &Hold, history: &[Sample], window: Span) -> Outcome {
        let wanted = self.wanted();
        let headroom = self.headroom.map_or((space.total / 20).min(1 << 30), |size| size.0);
        let watched = match (history.first(), history.last()) {
            (Some(first), Some(last)) => Span::millis(last.boot_ms.saturating_sub(first.boot_ms)),
            _ => Span::secs(0),
        };
        let facts = |outcome: Outcome| {
            outcome
                .help(hold.help())
                .fact("bytes_available", space.available)
                .fact("headroom", headroom)
                .fact("bytes_held", hold.held())
                .fact("samples", history.len() as u64)
                .fact("history_ms", watched.0.as_millis() as u64)
        };
        if space.read_only {
            let observed = format!("{} is mounted read-only", space.path.display());
            return facts(Outcome::fail(observed, "a file system that can be written"))
                .help("find out why (dmesg shows disk errors) before anything else");
        }
        let room = space.available.saturating_sub(headroom);
        if room == 0 {
            let observed = format!("only {} available for the write-ahead log", Size(space.available));
            return facts(Outcome::fail(
                observed,
                format!("more than {} of headroom, and {wanted}", Size(headroom)),
            ));
        }
        if history.len() < FEWEST_SAMPLES || watched < SHORTEST_HISTORY {
            let n = crate::base::text::count(history.len() as u64, "sample", "samples");
            return facts(Outcome::unknown(format!("only {n} over {watched} yet: no rate is known"), wanted))
                .help(format!(
                    "wait: it takes {FEWEST_SAMPLES} samples over {SHORTEST_HISTORY}; this is for invariants"
                ));
        }
        let written = fastest(history, window, |sample| u64::MAX - sample.position);
        let lost = fastest(history, window, |sample| sample.available);
        // What is held grows by all that is written, up to the slots' limit if nothing else holds it.
        let (by_hold, bounded) = match hold.grows_by() {
            None => (f64::INFINITY, false),
            Some(most) if most <= room => (f64::INFINITY, true),
            Some(_) => (left(room, written), false),
        };
        let by_disk = left(room, lost);
        let soonest = by_hold.min(by_disk);
        let available = Size(space.available);
        let observed = match () {
            () if soonest.is_infinite() && bounded => {
                format!("the slots' limit is reached before the disk is full; {available} available")
            }
            () if soonest.is_infinite() => format!("no growth in {watched}, {available} available"),
            () if by_hold <= by_disk => format!(
                "full in {}: {} holds the log, and {}/s are written; {available} available",
                forecast(by_hold),
                hold.who(),
                Size(written.round() as u64)
            ),
            () => format!(
                "full in {}, at {}/s; {available} available",
                forecast(by_disk),
                Size(lost.round() as u64)
            ),
        };
        let enough = soonest >= self.at_least().0.as_secs_f64();
        let mut outcome = facts(Outcome::judge(enough, observed, wanted))
            .fact("wal_bytes_per_second", written.round())
            .fact("disk_bytes_per_second", lost.round());
        if soonest.is_finite() && soonest < FAR as f64 {
            outcome = outcome.fact("seconds_to_full", soonest.round());
        }
        outcome.detail(format!("fastest rate of the last {watched}, from {} samples", history.len()))
    }
}

fn left(room: u64, rate: f64) -> f64 {
    if rate > 0.0 { room as f64 / rate } else { f64::INFINITY }
}
