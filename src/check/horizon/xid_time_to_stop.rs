//! When does the server run out of transaction identifiers, or of multixacts, at the rate at which they are spent?

mod course;
mod spent;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::ids;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::history::{self, Keep, Series};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use course::Course;
use spent::{Left, Spent};

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
    /// `false`: multixacts (rows locked by several at once) and their members are not judged. `true` when not given.
    #[serde(default = "yes")]
    multixacts: Flag,
}

fn yes() -> Flag {
    Flag(true)
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
    summary: "at the present rate, the server does not run out of transaction identifiers or multixacts within a given time",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(XidTimeToStop),
    build,
};

const DOCS: &str = r"
Shows when the server will refuse to write for lack of transaction identifiers or of multixacts (which it needs where several
lock one row: foreign keys do), and that the planned cure comes before.

**How it is measured.** Each look notes the next transaction number (`pg_snapshot_xmax(pg_current_snapshot())`, which spends
none) and the next multixact (from `mxid_age(datminmxid)`). The rate is the fastest over the last hour, the last day, and all of the
history, up to a week. What is left is 2^31 less the age of the oldest database, less the margin at which PostgreSQL stops: 3
million, or up to version 13 1 million transactions and 100 multixacts. The members of multixacts have room of their own, 2^32 of them
up to version 18: how much is used is seen in the files in `pg_multixact/members`, and how many a multixact has, in what two
checkpoints noted (`pg_control_checkpoint()`).

**Passes** when the time left is long enough for each of the three, and the projected day is after `planned_fix`. **Fails** when it is
too short, when the projected stop comes before the planned cure, or when writes are refused already. **Unknown** with fewer than 3
looks or less than 15 min (`history`) between the first and the last; use `xid_age` as a precondition, and this one while
something runs. Also unknown while multixacts are spent and their members cannot be seen: the role needs `execute` on
`pg_ls_dir(text)`, which superusers have, and a checkpoint must have come between two looks. With `multixacts: false` neither is judged.

**Traps.** The rate of a maintenance night is not that of a working day. Ages fall when vacuum succeeds, so that the true end
may be later, never sooner at this rate. History is kept with the run's samples and begins anew when this machine is
restarted. Members can run out long before multixacts do, and without a sign in any age. A read replica spends none: measure the
primary.

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
        let look = match spent::look(&session).await {
            Ok(Some(look)) => look,
            Ok(None) => {
                return Outcome::unknown(
                    format!("{} does not say its next transaction", self.target),
                    expected,
                )
                .help("look into the server's log, then measure again")
                .on(&self.target, identity);
            }
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let series = history::add(cx, &history::name_of(KIND.name, &identity), look.spent, KEEP).await;
        let now = cx.world.clock.now().wall;
        let mut outcome = self.judge(&look.left, &series, now, expected);
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

    fn judge(&self, left: &Left, series: &Series<Spent>, now: Timestamp, expected: String) -> Outcome {
        let courses = course::courses(left, series, self.history, self.multixacts.0);
        let soonest = courses
            .iter()
            .filter_map(|course| Some((course.seconds()?, course)))
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        let ended = courses.iter().find(|course| course.left == Some(0));
        let unknown = courses.iter().find_map(|course| Some((course, course.rate.as_ref().err()?)));
        let outcome = match (ended, soonest, unknown) {
            (Some(course), ..) => {
                Outcome::fail(format!("no {} is left: writes are refused already", course.what.0), expected)
                    .help(ACT)
            }
            // What is known to end too soon does so whatever the others do.
            (None, Some((seconds, course)), unknown) => {
                let known = self.forecast(seconds, course, series.reach(), now, &expected);
                match unknown {
                    Some((course, why)) if known.verdict == Verdict::Pass => {
                        self.not_known(course, why, expected)
                    }
                    _ => known,
                }
            }
            (None, None, Some((course, why))) => self.not_known(course, why, expected),
            (None, None, None) => Outcome::unknown("nothing was measured", expected).help("measure again"),
        };
        let mut outcome =
            outcome.fact("left", left.xids).fact("age", left.age).fact("looks", series.samples.len() as u64);
        if let Some(rate) = courses.first().and_then(|course| course.rate.as_ref().ok()) {
            outcome = outcome.fact("per_second", *rate);
        }
        if let Some(seconds) = soonest.map(|(seconds, _)| seconds).filter(|seconds| seconds.is_finite()) {
            outcome = outcome.fact("seconds_to_stop", seconds.round());
        }
        for course in &courses {
            if let Ok(rate) = course.rate {
                outcome = outcome.detail(format!(
                    "{} {} left, spent at {rate:.1}/s",
                    ids(course.left.unwrap_or_default()),
                    course.what.1
                ));
            }
        }
        if !self.multixacts.0 {
            outcome = outcome.detail("multixacts were not judged");
        }
        outcome
            .detail(format!(
                "fastest rate of the last hour, the last day and {}, from {}",
                series.reach(),
                count(series.samples.len() as u64, "look", "looks")
            ))
            .detail(format!("the oldest database is {}", left.database))
    }

    fn not_known(&self, course: &Course, (why, help): &(String, String), expected: String) -> Outcome {
        let left = course.left.map(|left| format!(" ({} left)", ids(left))).unwrap_or_default();
        Outcome::unknown(format!("{why}{left}"), expected).help(help)
    }

    /// Judges what ends first.
    fn forecast(
        &self,
        seconds: f64,
        course: &Course,
        reach: Span,
        now: Timestamp,
        expected: &str,
    ) -> Outcome {
        let left = ids(course.left.unwrap_or_default());
        let rate = *course.rate.as_ref().unwrap_or(&0.0);
        let stop =
            (seconds < FAR).then(|| now.checked_add(SignedDuration::from_secs_f64(seconds)).ok()).flatten();
        let of = if course.what.0 == "identifier" { String::new() } else { format!(" {}", course.what.1) };
        let observed = match stop {
            None if rate > 0.0 => format!("more than ten years, at {rate:.1}{of}/s; {left} left"),
            None => format!("no transaction was spent in {reach}; {left} left"),
            Some(stop) => format!(
                "writes are refused in {}, on {}, at {rate:.1}{of}/s; {left} left",
                Span::secs(seconds as u64),
                stop.to_zoned(TimeZone::UTC).date()
            ),
        };
        let planned = self.planned_fix.and_then(|Day(day)| {
            let end = day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some((day, end))
        });
        match planned {
            // A forecast beyond any calendar is later than any plan.
            Some((day, end)) if now >= end => {
                Outcome::fail(format!("the day planned for the cure, {day}, is over; {observed}"), expected)
                    .help("find out whether it was done; then plan anew, or take `planned_fix` out")
            }
            Some((day, end)) if end_before(stop, seconds, now, end) => Outcome::fail(
                format!("the stop comes before the cure planned for {day}: {observed}"),
                expected,
            )
            .help(format!("bring the cure forward; {ACT}")),
            _ => Outcome::judge(seconds >= self.at_least.0.as_secs_f64(), observed, expected).help(ACT),
        }
    }
}

const ACT: &str =
    "find what holds the horizon back (horizon_holders), remove it, and vacuum the oldest tables now";

/// Is the stop before `end`? By seconds, since a stop far away has no date.
fn end_before(stop: Option<Timestamp>, seconds: f64, now: Timestamp, end: Timestamp) -> bool {
    match stop {
        Some(stop) => stop < end,
        None => seconds < (end.as_second() - now.as_second()) as f64,
    }
}

#[cfg(test)]
mod tests;
