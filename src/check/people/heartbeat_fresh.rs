//! Has something given a sign of life lately? A dead man's switch: silence is the alarm.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::errand::short;
use super::stamp;
use crate::base::Span;
use crate::check::application::ask;
use crate::check::params::{Flag, Ratio};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;
use crate::world::http::{self, Request};

/// Has something given a sign of life lately?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatFresh {
    /// How often it should give a sign of life.
    interval: Span,
    /// After how many intervals of silence it counts as dead; 2 when not given.
    #[serde(default)]
    missed: Option<Ratio>,
    /// A file that each beat writes. Its time counts, or what stands in it with `contents: true`.
    #[serde(default)]
    path: Option<String>,
    /// With `path`: the moment that stands in the file counts, not the file's own time.
    #[serde(default)]
    contents: Option<Flag>,
    /// An address that answers with the moment of the last beat: as its whole text, in a `field` of JSON, or as a `metric`.
    #[serde(default)]
    url: Option<String>,
    /// With `url`: where it stands in JSON, names joined by dots, as in `backup.last_success`.
    #[serde(default)]
    field: Option<String>,
    /// With `url`: the metric whose value it is, with its labels if it has any, as Prometheus prints it.
    #[serde(default)]
    metric: Option<String>,
    /// A target whose database knows the moment of the last beat.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// With `target`: a query that returns that moment, one value with its time zone.
    #[serde(default)]
    sql: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "heartbeat_fresh",
    summary: "something that must give a sign of life every so often has done so lately",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(HeartbeatFresh),
    build,
};

const DOCS: &str = r"
Shows that something which must give a sign of life every so often has done so: a backup job, a watchdog alert that always fires,
a monitor that would tell of everything else.

**How it is measured.** The moment of the last beat is read from one place: a file's time (`path`), what stands in it
(`contents: true`), an address (`url`, with `field` for JSON or `metric` for the text that Prometheus reads), or a database
(`target` and `sql`). A moment is written as `2026-11-20T10:00:00Z`, as SQL prints a `timestamptz`, or as seconds or milliseconds
since 1970.

**Passes** when it is at most `missed` times `interval` ago (2 intervals when not given). **Fails** when it is older, or the file
was never written.

**Unknown** when the place cannot be read, the address does not answer with 200, there is no row, the value is NULL or no moment,
it has no time zone, or it lies in the future by more than a tenth of `interval` (a minute at most): then a clock is wrong, and
no age is known.

**Traps.** Only success may write the beat: one written at the start of a job, or by `touch` in a trap, beats for a job that
fails. A copy (`cp`, `rsync` without `-t`) makes a file young; then put the moment into it. The wall clock of this machine is
believed. What watches the heartbeat all the time is the monitor outside, not this check: it is there so that no work begins
while nobody would hear an alarm.

```yaml
preconditions:
  - heartbeat_fresh: { path: /var/lib/backup/last-success, interval: 24h, missed: 1.5 }
  - heartbeat_fresh: { id: watchdog, url: 'http://127.0.0.1:9090/metrics', metric: watchdog_last_seconds, interval: 5min }
  - heartbeat_fresh: { id: sync, target: old, sql: select max(done_at) from sync_runs, interval: 1h }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: HeartbeatFresh = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let places = [&check.path, &check.url, &check.target].into_iter().flatten().count();
    if places != 1 {
        return Err("give one place to look at: `path`, `url`, or `target` with `sql`".to_owned());
    }
    if check.target.is_some() != check.sql.is_some() {
        return Err("`target` and `sql` belong together".to_owned());
    }
    if check.contents.is_some() && check.path.is_none() {
        return Err("`contents` belongs to `path`".to_owned());
    }
    if (check.field.is_some() || check.metric.is_some()) && check.url.is_none() {
        return Err("`field` and `metric` belong to `url`".to_owned());
    }
    if check.field.is_some() && check.metric.is_some() {
        return Err("`field` and `metric`: one of them".to_owned());
    }
    if check.interval.0.is_zero() {
        return Err("`interval` is zero: nothing beats that fast".to_owned());
    }
    if check.missed.is_some_and(|missed| missed.0 < 1.0) {
        return Err("`missed` is less than 1: it would be dead before its next beat is due".to_owned());
    }
    Ok(Box::new(check))
}

/// The last beat.
enum Beat {
    /// At this moment.
    At(Timestamp),
    /// There never was one.
    Never(String),
}

#[async_trait]
impl Check for HeartbeatFresh {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let (beat, seen) = match self.last(cx).await {
            Ok(found) => found,
            Err(outcome) => return *outcome,
        };
        let outcome = match beat {
            Beat::Never(why) => Outcome::fail(why, wanted).help(ALIVE),
            Beat::At(stamp) => self.judge(stamp, cx.world.clock.now().wall),
        };
        match (seen, &self.target) {
            (Some(identity), Some(target)) => outcome.on(target, identity),
            _ => outcome,
        }
    }
}

const ALIVE: &str = "find out why it gives no sign of life, and let it run once";
const READ: &str = "let the last beat be read from there, then measure again";

impl HeartbeatFresh {
    fn limit(&self) -> Duration {
        self.interval.0.mul_f64(self.missed.map_or(2.0, |missed| missed.0).min(1e6))
    }

    fn wanted(&self) -> String {
        format!("a beat at most {} ago (due every {})", Span(self.limit()), self.interval)
    }

    fn judge(&self, stamp: Timestamp, now: Timestamp) -> Outcome {
        let slack = (self.interval.0 / 10).min(Duration::from_secs(60));
        match stamp::age(stamp, now, slack) {
            Err(why) => Outcome::unknown(format!("the last beat, {why}"), self.wanted())
                .help("set the clocks right, then measure again"),
            Ok(age) => {
                let observed = format!("the last beat was {} ago, at {stamp:.0}", stamp::rounded(age));
                Outcome::judge(age <= self.limit(), observed, self.wanted())
                    .help(ALIVE)
                    .fact("seconds_ago", age.as_secs())
            }
        }
    }

    async fn last(&self, cx: &Context) -> Result<(Beat, Option<Identity>), Box<Outcome>> {
        let unknown = |why: String| Box::new(Outcome::unknown(why, self.wanted()).help(READ));
        let read = |place: &str, text: &str| {
            stamp::read(text).map(Beat::At).map_err(|why| unknown(format!("{place}: {why}")))
        };
        if let (Some(target), Some(sql)) = (&self.target, &self.sql) {
            let answer = ask::one(cx, &ask::Question::new(KIND.name, target, &self.wanted()), sql).await?;
            let (value, identity) = answer;
            let value = value.ok_or_else(|| unknown("NULL came back: no beat is on record".to_owned()))?;
            return Ok((read(target, &value)?, Some(identity)));
        }
        if let Some(url) = &self.url {
            let text = self.fetch(url).await.map_err(unknown)?;
            return Ok((read(&http::shown(url), &text)?, None));
        }
        let path = self.path.as_deref().unwrap_or_default();
        let stat = cx.world.files.stat(Path::new(path)).await.map_err(unknown)?;
        let Some(stat) = stat else {
            return Ok((Beat::Never(format!("{path} is not there: it never gave a sign of life")), None));
        };
        if stat.kind != "file" {
            return Err(unknown(format!("{path} is a {}, not a file", stat.kind)));
        }
        if self.contents == Some(Flag(true)) {
            let bytes = cx.world.files.read(Path::new(path), 64 << 10).await.map_err(unknown)?;
            let text = String::from_utf8_lossy(&bytes);
            return Ok((read(path, text.lines().next().unwrap_or_default())?, None));
        }
        Ok((Beat::At(stat.modified), None))
    }

    /// What stands at an address.
    async fn fetch(&self, url: &str) -> Result<String, String> {
        let place = http::shown(url);
        let request = Request { url: url.to_owned(), keep: 8 << 20, ..Request::default() };
        let answer = http::ask(&request).await.map_err(|e| e.message)?;
        if answer.status != 200 {
            return Err(format!("{place} answered with status {}", answer.status));
        }
        if answer.truncated {
            return Err(format!("{place} answered with more than can be read"));
        }
        let text = answer.text();
        match (&self.field, &self.metric) {
            (Some(field), _) => in_json(&text, field).map_err(|why| format!("{place}: {why}")),
            (None, Some(metric)) => in_metrics(&text, metric).map_err(|why| format!("{place}: {why}")),
            (None, None) => Ok(text.into_owned()),
        }
    }
}

/// The value of a field, by names joined by dots.
fn in_json(text: &str, field: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "the answer is no JSON".to_owned())?;
    let mut here = &value;
    for name in field.split('.') {
        let next = match here {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
            other => other.get(name),
        };
        here = next.ok_or_else(|| format!("the answer has no field `{field}`"))?;
    }
    match here {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("`{field}` is {}, no moment", short(&other.to_string(), 40))),
    }
}

/// The value of the only line of a metric.
fn in_metrics(text: &str, metric: &str) -> Result<String, String> {
    let values = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix(metric)?;
        // `name` is not `name_total`; labels that were not asked for may follow.
        let rest = match rest.strip_prefix('{') {
            Some(labels) if !metric.contains('{') => labels.split_once('}')?.1,
            _ => rest,
        };
        let value = rest.strip_prefix([' ', '\t'])?.split_whitespace().next()?;
        Some(value.to_owned())
    });
    let values: Vec<String> = values.collect();
    match values.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!("there is no metric `{metric}`")),
        several => Err(format!("`{metric}` is there {} times: give its labels, too", several.len())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn silence_of_two_intervals_is_death() {
        let check: HeartbeatFresh =
            serde_json::from_value(json!({ "path": "/x", "interval": "1h" })).unwrap();
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        for (beat, verdict) in [
            ("2026-11-20T09:30:00Z", Verdict::Pass),
            ("2026-11-20T08:00:00Z", Verdict::Pass),
            ("2026-11-20T07:59:59Z", Verdict::Fail),
            ("2026-11-20T10:00:59Z", Verdict::Pass),
            ("2026-11-20T10:05:00Z", Verdict::Unknown),
        ] {
            assert_eq!(check.judge(beat.parse().unwrap(), now).verdict, verdict, "{beat}");
        }
    }

    #[test]
    fn a_field_and_a_metric_are_found() {
        let json = r#"{"jobs": [{"last": "2026-11-20T10:00:00Z"}, {"last": null}], "n": 1.5}"#;
        assert_eq!(in_json(json, "jobs.0.last").as_deref(), Ok("2026-11-20T10:00:00Z"));
        assert!(in_json(json, "jobs.1.last").unwrap_err().contains("null"));
        assert!(
            in_json(json, "jobs.2.last").is_err() && in_json("<html>", "n").unwrap_err().contains("JSON")
        );
        let metrics = "# HELP beat x\nbeat_total 7\nbeat{job=\"a\"} 1.7e+09 1700000000000\nother 3\n";
        assert_eq!(in_metrics(metrics, "beat").as_deref(), Ok("1.7e+09"));
        assert_eq!(in_metrics(metrics, "beat{job=\"a\"}").as_deref(), Ok("1.7e+09"));
        assert!(in_metrics(metrics, "bea").is_err());
        assert!(in_metrics("b{x=\"1\"} 1\nb{x=\"2\"} 2\n", "b").unwrap_err().contains("2 times"));
    }

    #[test]
    fn one_place_only() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        for wrong in [
            json!({ "interval": "1h" }),
            json!({ "interval": "1h", "path": "/x", "url": "http://h/" }),
            json!({ "interval": "1h", "target": "db" }),
            json!({ "interval": "1h", "path": "/x", "field": "a" }),
            json!({ "interval": "1h", "url": "http://h/", "field": "a", "metric": "b" }),
            json!({ "interval": "0s", "path": "/x" }),
            json!({ "interval": "1h", "missed": "0.5", "path": "/x" }),
        ] {
            assert_ne!(refused(wrong.clone()), "", "{wrong}");
        }
        assert_eq!(refused(json!({ "interval": "1h", "missed": 3, "path": "/x", "contents": "true" })), "");
    }
}
