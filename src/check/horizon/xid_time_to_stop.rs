//! When does the server run out of transaction identifiers, at the rate at which they are spent?

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::{Values, ids};
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::history::{self, Keep, Series};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// When does the server run out of transaction identifiers?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XidTimeToStop {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The shortest time until the server refuses to write that is fine; 30d when not given.
    #[serde(default = "a_month")]
    at_least: Span,
    /// The day for which the cure is planned, as in 2026-06-28: the server must not stop before its end.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    planned_fix: Option<Day>,
    /// The shortest history that a rate is taken from; 15min when not given.
    #[serde(default = "quarter")]
    history: Span,
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy)]
struct Day(Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.trim().parse::<Date>().map(Day).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is not a day; write year, month and day, as in 2026-06-28"
            ))
        })
    }
}

fn a_month() -> Span {
    Span::secs(30 * 86_400)
}

fn quarter() -> Span {
    Span::secs(900)
}

/// Fewest looks before a rate means anything.
const FEWEST: usize = 3;
/// A week of looks, thinned out in its older half.
const KEEP: Keep = Keep { reach: Span::secs(7 * 86_400), closest: Span::millis(500), most: 240 };
/// The rate is taken over these, and over all there is; the fastest counts.
const WINDOWS: [Span; 2] = [Span::secs(3_600), Span::secs(86_400)];
/// Longer forecasts are shown as "more than ten years".
const FAR: f64 = 10.0 * 365.0 * 86_400.0;

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "xid_time_to_stop",
    summary: "at the present rate, the server does not run out of transaction identifiers within a given time",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(XidTimeToStop),
    build,
};

const DOCS: &str = r"
Shows when the server will refuse to write for lack of transaction identifiers, and that the planned cure comes before.

**How it is measured.** Each look notes the next transaction number (`pg_snapshot_xmax(pg_current_snapshot())`, which spends
none). The rate is the fastest over the last hour, the last day, and all of the history, up to a week. What is left is 2^31
less the age of the oldest database, less the margin at which PostgreSQL stops: 3 million, or 1 million up to version 13.

**Passes** when the time left is long enough, and the projected day is after `planned_fix`. **Fails** when it is too short, when the
projected stop comes before the planned cure, or when writes are refused already. **Unknown** with fewer than 3 looks or less
than 15 min (`history`) between the first and the last; use `xid_age` as a precondition, and this one while something runs.

**Traps.** The rate of a maintenance night is not that of a working day. Ages fall when vacuum succeeds, so that the true end
may be later, never sooner at this rate. History is kept with the run's samples and begins anew when this machine is
restarted. Multixacts run out, too: `xid_age` looks at their age. A read replica spends none: measure the primary.

```yaml
invariants:
  - xid_time_to_stop: { target: old, planned_fix: 2099-06-28, on_violation: alert }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: XidTimeToStop = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_least.0.is_zero() {
        return Err("`at_least` is zero: every server lasts that long".to_owned());
    }
    if check.history.0.is_zero() {
        return Err("`history` is zero: a rate needs some time".to_owned());
    }
    if check.history > KEEP.reach {
        return Err(format!("`history` is longer than the {} that are kept", KEEP.reach));
    }
    Ok(Box::new(check))
}

const SQL: &str = "select datname, pg_catalog.age(datfrozenxid), \
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text \
    from pg_catalog.pg_database order by pg_catalog.age(datfrozenxid) desc, datname limit 1";

/// How many identifiers are left when the server begins to refuse.
fn margin(version: u32) -> u64 {
    if version >= 140_000 { 3_000_000 } else { 1_000_000 }
}

/// What one look saw.
struct Look {
    database: String,
    /// Identifiers until the stop.
    left: u64,
    wall: Timestamp,
}

#[async_trait]
impl Check for XidTimeToStop {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let row = match session.query(SQL).await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let mut row = Values::of(row);
        let (Some(database), Some(age), Some(next)) = (row.text(), row.count(), row.count()) else {
            return Outcome::unknown(format!("{} does not say its next transaction", self.target), expected)
                .help("look into the server's log, then measure again")
                .on(&self.target, identity);
        };
        let end = (1_u64 << 31) - margin(session.identity().version);
        let series = history::add(cx, &history::name_of(KIND.name, &identity), next, KEEP).await;
        let look = Look { database, left: end.saturating_sub(age), wall: cx.world.clock.now().wall };
        let mut outcome = self.judge(&look, &series, expected).fact("age", age).fact("left", look.left);
        outcome.details.extend(series.trouble);
        outcome.on(&self.target, identity)
    }
}

impl XidTimeToStop {
    fn expected(&self) -> String {
        let mut expected = format!("at least {} until writes are refused", self.at_least);
        if let Some(Day(day)) = self.planned_fix {
            expected += &format!(", and not before the cure planned for {day}");
        }
        expected
    }

    fn judge(&self, look: &Look, series: &Series<u64>, expected: String) -> Outcome {
        let act =
            "find what holds the horizon back (horizon_holders), remove it, and vacuum the oldest tables now";
        let left = ids(look.left);
        if look.left == 0 {
            return Outcome::fail("no identifier is left: writes are refused already", expected).help(act);
        }
        let (looks, reach) = (series.samples.len(), series.reach());
        let rate = series.fastest(&WINDOWS, self.history, |next| *next as f64);
        let (Some(rate), true) = (rate, looks >= FEWEST) else {
            let looks = count(looks as u64, "look", "looks");
            return Outcome::unknown(
                format!("only {looks} over {reach} yet: no rate is known ({left} left)"),
                expected,
            )
            .help(format!(
                "measure again: it takes {FEWEST} looks over {}; before a step use xid_age",
                self.history
            ));
        };
        let seconds = if rate > 0.0 { look.left as f64 / rate } else { f64::INFINITY };
        let stop = (seconds < FAR)
            .then(|| look.wall.checked_add(SignedDuration::from_secs_f64(seconds)).ok())
            .flatten();
        let observed = match stop {
            None if rate > 0.0 => format!("more than ten years, at {rate:.1}/s; {left} left"),
            None => format!("no transaction was spent in {reach}; {left} left"),
            Some(stop) => format!(
                "writes are refused in {}, on {}, at {rate:.1}/s; {left} left",
                Span::secs(seconds as u64),
                stop.to_zoned(TimeZone::UTC).date()
            ),
        };
        let planned = self.planned_fix.and_then(|Day(day)| {
            let end = day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some((day, end))
        });
        let mut outcome = match planned {
            // A forecast beyond any calendar is later than any plan.
            Some((day, end)) if look.wall >= end => {
                Outcome::fail(format!("the day planned for the cure, {day}, is over; {observed}"), expected)
                    .help("find out whether it was done; then plan anew, or take `planned_fix` out")
            }
            Some((day, end)) if end_before(stop, seconds, look.wall, end) => Outcome::fail(
                format!("the stop comes before the cure planned for {day}: {observed}"),
                expected,
            )
            .help(format!("bring the cure forward; {act}")),
            _ => Outcome::judge(seconds >= self.at_least.0.as_secs_f64(), observed, expected).help(act),
        };
        outcome = outcome.fact("per_second", rate).fact("looks", looks as u64);
        if seconds.is_finite() {
            outcome = outcome.fact("seconds_to_stop", seconds.round());
        }
        outcome
            .detail(format!("fastest rate of the last hour, the last day and {reach}, from {looks} looks"))
            .detail(format!("the oldest database is {}", look.database))
    }
}

/// Is the stop before `end`? By seconds, since a stop far away has no date.
fn end_before(stop: Option<Timestamp>, seconds: f64, now: Timestamp, end: Timestamp) -> bool {
    match stop {
        Some(stop) => stop < end,
        None => seconds < (end.as_second() - now.as_second()) as f64,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;
    use crate::check::history::Sample;

    const NOON: &str = "2020-05-20T12:00:00Z";

    fn judged(params: Value, left: u64, looks: &[(u64, u64)]) -> Outcome {
        let check: XidTimeToStop = serde_json::from_value(params).unwrap();
        let samples = looks.iter().map(|&(s, value)| Sample { boot_ms: s * 1000, value }).collect();
        let look = Look { database: "matrix".to_owned(), left, wall: NOON.parse().unwrap() };
        check.judge(&look, &Series { samples, trouble: None }, check.expected())
    }

    /// 100 a second.
    const STEADY: [(u64, u64); 3] = [(0, 0), (1800, 180_000), (3600, 360_000)];

    #[test]
    fn the_plan_of_may_2020_fails() {
        // 28 days at 100/s: the stop comes on 17 June, the cure was planned for 28 June.
        let left = 28 * 86_400 * 100;
        let outcome =
            judged(json!({ "target": "db", "at_least": "7d", "planned_fix": "2020-06-28" }), left, &STEADY);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.observed.contains("before the cure planned for 2020-06-28"), "{outcome:?}");
        assert!(outcome.observed.contains("on 2020-06-17"), "{outcome:?}");
        let in_time =
            judged(json!({ "target": "db", "at_least": "7d", "planned_fix": "2020-06-15" }), left, &STEADY);
        assert_eq!(in_time.verdict, Verdict::Pass, "{in_time:?}");
        let too_short = judged(json!({ "target": "db" }), left, &STEADY);
        assert_eq!(too_short.verdict, Verdict::Fail);
        let over = judged(json!({ "target": "db", "planned_fix": "2020-05-19" }), 1 << 30, &STEADY);
        assert!(over.verdict == Verdict::Fail && over.observed.contains("is over"), "{over:?}");
        let today = judged(json!({ "target": "db", "planned_fix": "2020-05-20" }), 1 << 30, &STEADY);
        assert_eq!(today.verdict, Verdict::Pass, "{today:?}");
    }

    #[test]
    fn no_rate_is_no_pass() {
        let plain = || json!({ "target": "db" });
        assert_eq!(judged(plain(), 1 << 30, &[(0, 5)]).verdict, Verdict::Unknown);
        assert_eq!(judged(plain(), 1 << 30, &[(0, 5), (3600, 5)]).verdict, Verdict::Unknown, "two looks");
        assert_eq!(
            judged(plain(), 1 << 30, &[(0, 5), (9, 5), (99, 5)]).verdict,
            Verdict::Unknown,
            "too short"
        );
        assert_eq!(judged(plain(), 0, &[(0, 5)]).verdict, Verdict::Fail, "it has stopped already");
        let idle = judged(plain(), 1 << 30, &[(0, 5), (900, 5), (1800, 5)]);
        assert!(idle.verdict == Verdict::Pass && idle.observed.contains("no transaction"), "{idle:?}");
    }

    #[test]
    fn a_day_must_be_one() {
        for wrong in [json!("soon"), json!("2020-13-01"), json!(20200628)] {
            let params = json!({ "target": "db", "planned_fix": wrong });
            assert!(build(params.as_object().cloned().unwrap()).is_err());
        }
    }
}
