//! May work that is risky begin now, with enough of the window left?

pub(crate) mod limit;
pub(crate) mod window;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::host::clock_offset::ClockOffset;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use crate::runbook::limits::Weekday;
use window::{Place, Window};

/// May work that is risky begin now, with enough of the window left?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWindow {
    /// From when to when, by the clock of `timezone`: `09:00-15:00`. One that ends before it begins goes past midnight, and
    /// belongs to the day on which it begins.
    #[schemars(regex(pattern = r"^[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}$"))]
    hours: String,
    /// The time zone, as in `Europe/London`.
    timezone: String,
    /// The days on which it begins: mon, tue, wed, thu, fri, sat, sun. Monday to Thursday when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    days: Option<Vec<Weekday>>,
    /// How much of it must still be left: the work, and time to watch it with people awake; 4h when not given.
    #[serde(default)]
    left: Option<Span>,
    /// Dates on which it does not begin, as in `2026-12-24`: holidays, and the days before them.
    #[serde(default)]
    not_on: Vec<String>,
    /// How it is known that this machine's clock is right, with the parameters of `clock_offset`: `{ servers: [HOST] }`, or
    /// `{}` to ask chrony. The clock is believed unasked when not given.
    #[serde(default)]
    clock: Option<ClockOffset>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "change_window",
    summary: "it is a time at which risky work may begin, and enough of it is left",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ChangeWindow),
    build,
};

const DOCS: &str = r#"
Shows that risky work may begin now: the day and the hour are right, and enough time is left in which people are awake.

**How it is measured.** This machine's clock is read and turned into the local time of `timezone`, by the rules of the system's
time zone database. On a day on which the clocks change, the window is as long as it really is; a start that the clocks skip
begins an hour later. Windows that touch (`00:00-24:00` on several days) are one. With `clock` the clock itself is measured
first, as `clock_offset` does it.

**Passes** when now is inside a window and at least `left` of it remains. **Fails** outside, or when less remains; it says when
the next one begins. **Unknown** where the time zone is not known, on a machine without it in its database; with `clock` also when
the clock is wrong, or nobody can tell.

**Traps.** `left` is for the work *and* for watching it: an index that was dropped at 17:00 was missed at 23:30, and found at
eight in the morning. The wall clock of this machine decides, and without `clock` this check does not know whether it is right. The
kernel's own flag (`NTPSynchronized`) is not asked: it says that something set the clock once, and not that it is right now.
Holidays are not known, they are listed. Without a time zone database (the package tzdata) no zone is known, and the runbook
is refused.

```yaml
preconditions:
  - change_window:
      hours: "09:00-15:00"
      timezone: Europe/London
      days: [mon, tue, wed, thu]
      left: 4h
      clock: { servers: [ntp1.example.org] }
  - change_window: { id: night, hours: "22:00-04:00", timezone: UTC, left: 2h, not_on: ["2026-12-23", "2026-12-24"] }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ChangeWindow = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    check.window()?;
    if let Some(clock) = &check.clock {
        clock.sensible().map_err(|why| format!("`clock`: {why}"))?;
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for ChangeWindow {
    async fn measure(&self, cx: &Context) -> Outcome {
        let window = match self.window() {
            Ok(window) => window,
            Err(why) => return Outcome::unknown(why, "a window").help("correct the check"),
        };
        let Some(clock) = &self.clock else { return self.judge(&window, cx.world.clock.now().wall) };
        let clock = clock.measure(cx).await;
        let mut outcome = self.judge(&window, cx.world.clock.now().wall);
        if clock.verdict != Verdict::Pass {
            let word = if clock.verdict == Verdict::Fail { "is wrong" } else { "may be wrong" };
            outcome = Outcome::unknown(
                format!("the time is not known: this machine's clock {word}: {}", clock.observed),
                format!("{}, by a clock that is {}", outcome.expected, clock.expected),
            )
            .help(clock.help.unwrap_or_default());
        } else {
            outcome = outcome.detail(format!("the clock: {}", clock.observed));
        }
        outcome.details.extend(clock.details);
        outcome.facts.extend(clock.facts);
        outcome
    }
}

impl ChangeWindow {
    fn left(&self) -> Span {
        self.left.unwrap_or(Span::secs(4 * 3600))
    }

    fn window(&self) -> Result<Window, String> {
        let zone = TimeZone::get(&self.timezone).map_err(|_| {
            format!(
                "`timezone`: `{}` is not in this machine's time zone database; write one as in Europe/London",
                self.timezone
            )
        })?;
        let days = match &self.days {
            None => vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu],
            Some(days) if days.is_empty() => return Err("`days` is empty: it would never begin".to_owned()),
            Some(days) => days.clone(),
        };
        let dates = self.not_on.iter().map(|text| {
            let date: Result<Date, _> = text.trim().parse();
            date.map_err(|_| format!("`not_on`: `{text}` is no date; write it as in 2026-12-24"))
        });
        let (opens, closes) = window::hours(&self.hours)?;
        let window = Window {
            opens,
            closes,
            zone,
            days,
            not_on: dates.collect::<Result<_, String>>()?,
            strict: false,
        };
        if window.days.len() < 7 && self.left().0 > window.longest() {
            return Err(format!("`left` is {}, and the window is never that long", self.left()));
        }
        Ok(window)
    }

    fn judge(&self, window: &Window, now: Timestamp) -> Outcome {
        let days: Vec<&str> = window.days.iter().map(|day| day.word()).collect();
        let expected = format!(
            "{} {} {}, with {} left",
            days.join(" "),
            self.hours.replace(' ', ""),
            self.timezone,
            self.left()
        );
        let local = window.local(now);
        let next = |next: Option<String>| {
            next.map_or("no window opens in the next year; correct `days` and `not_on`".to_owned(), |next| {
                format!("wait: the next window opens {next}")
            })
        };
        match window.place(now) {
            Place::Inside { left } if left >= self.left().0 => {
                Outcome::pass(format!("{local}, {} left", Span(left)), expected)
                    .fact("seconds_left", left.as_secs())
            }
            Place::Inside { left } => Outcome::fail(format!("{local}: only {} left", Span(left)), expected)
                .help(next(window.next(now)))
                .fact("seconds_left", left.as_secs()),
            Place::Outside { why } => {
                Outcome::fail(format!("{local}: {why}"), expected).help(next(window.next(now)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(params: Value) -> String {
        match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let zone = |zone: &str| refused(json!({ "hours": "09:00-15:00", "timezone": zone }));
        assert!(zone("Europe/Londn").contains("time zone database"));
        assert_eq!(zone("Europe/London"), "");
        assert!(refused(json!({ "hours": "09:00-15:00" })).contains("timezone"));
        for hours in ["9-15", "25:00-26:00", "09:00-09:00", "24:00-09:00", "09:60-10:00"] {
            assert!(refused(json!({ "hours": hours, "timezone": "UTC" })).contains("hours"), "{hours}");
        }
        let more = |key: &str, value: Value| {
            refused(json!({ "hours": "09:00-15:00", "timezone": "UTC", key: value }))
        };
        assert!(more("left", json!("6h30min")).contains("never that long"));
        assert!(more("days", json!([])).contains("never begin"));
        assert!(more("days", json!(["monday"])).contains("monday"));
        assert!(more("not_on", json!(["24.12."])).contains("no date"));
    }

    #[test]
    fn says_what_time_it_is_there_and_what_to_wait_for() {
        let params = json!({ "hours": "09:00-15:00", "timezone": "Europe/London", "not_on": ["2026-11-23"] });
        let check: ChangeWindow = serde_json::from_value(params).unwrap();
        let at = |text: &str| check.judge(&check.window().unwrap(), text.parse().unwrap());
        let good = at("2026-11-19T10:30:00Z");
        assert_eq!(good.observed, "Thu 2026-11-19 10:30 GMT, 4h 30min left");
        let late = at("2026-11-19T11:30:00Z");
        assert!(late.observed.ends_with("only 3h 30min left"), "{late:?}");
        // Friday is no day of it, and the Monday after is left out.
        assert_eq!(late.help.as_deref(), Some("wait: the next window opens Tue 2026-11-24 09:00 GMT"));
        assert!(at("2026-11-20T10:00:00Z").observed.contains("not on a Friday"));
        assert!(at("2026-11-23T10:00:00Z").observed.contains("2026-11-23 is left out"));
        assert!(at("2026-11-19T08:59:59Z").observed.contains("09:00-15:00"));
    }
}
