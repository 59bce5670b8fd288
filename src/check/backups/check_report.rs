//! Did a longer check pass lately, by the report that a job of its own wrote?

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Moment, Span, text};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Did a longer check pass lately, by the report that a job of its own wrote?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// A file that `holdpoint check FILE --json --output REPORT` wrote.
    path: String,
    /// The check in it that must have passed, by its id. Without it all of them must.
    #[serde(default)]
    check: Option<String>,
    /// The oldest that the report may be; 30 days when not given, the usual rule for restore tests.
    #[serde(default)]
    max_age: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "check_report",
    summary: "a longer check (a restore test, say) passed lately, by the report that its own job wrote",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(CheckReport),
    build,
};

const DOCS: &str = r"
Shows that a check that takes too long for a maintenance passed when its own job last ran it: the monthly restore test, the
nightly look for damaged indexes.

**How it is measured.** From the file that `holdpoint check restore-test.yaml --json --output REPORT` wrote. Age is counted from the end
of that measurement, by the wall clock, since the machine may have been started again since: put `clock_offset` beside it.

**Passes** when the report is at most `max_age` old and the check (or every check of it) passed. **Fails** when it is older, or
says fail or unknown. **Unknown** when there is no report, it cannot be read, it does not hold that check, or it lies in the future.

**Traps.** A report says how things were: what may have changed since is measured again, not read. Nothing signs the
file; keep it where only the job may write.

```yaml
preconditions:
  - check_report: { path: /var/lib/holdpoint/restore-test.json, check: restore, max_age: 30d }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: CheckReport = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.is_some_and(|age| age.0.is_zero()) {
        return Err("`max_age` is zero: no report is that young".to_owned());
    }
    Ok(Box::new(check))
}

impl CheckReport {
    fn judge(&self, report: &Value, now: &Moment, expected: String) -> Outcome {
        let help = "let its job write a report again";
        let unknown = |why: String| Outcome::unknown(why, expected.clone()).help(help);
        if report["format"] != "holdpoint.check" {
            return unknown(format!("{} is no report of `holdpoint check --json`", self.path));
        }
        let all = report["evidence"].as_array().cloned().unwrap_or_default();
        let wanted: Vec<&Value> = all
            .iter()
            .filter(|one| match &self.check {
                Some(id) => one["check"] == id.as_str(),
                None => one["advisory"] != true,
            })
            .collect();
        if wanted.is_empty() {
            let what =
                self.check.as_ref().map_or("any check that gates".to_owned(), |id| format!("the check {id}"));
            return unknown(format!("the report does not hold {what}"));
        }
        let mut oldest = Span::secs(0);
        for one in &wanted {
            let Ok(at) = serde_json::from_value::<Moment>(one["at"].clone()) else {
                return unknown("the report does not say when it was measured".to_owned());
            };
            let age = now.wall.as_second() - at.wall.as_second();
            if age < -60 {
                return unknown("the report lies in the future".to_owned());
            }
            oldest = Span(oldest.0.max(Span::secs(age.max(0) as u64).0));
        }
        let bad = wanted.iter().find(|one| one["verdict"] != "pass");
        let limit = self.max_age.unwrap_or(MONTH);
        let about = format!("{}, {oldest} old", text::count(wanted.len() as u64, "check", "checks"));
        let outcome = match bad {
            Some(bad) => {
                let said = bad["observed"].as_str().unwrap_or_default();
                let word = bad["verdict"].as_str().unwrap_or("not a verdict");
                Outcome::fail(
                    format!("{}: {word}: {}", bad["check"].as_str().unwrap_or_default(), text::neutral(said)),
                    expected,
                )
                .help("put right what that check found, and let its job run again")
            }
            None => Outcome::judge(oldest.0 <= limit.0, about, expected).help(help),
        };
        outcome.fact("age_seconds", oldest.0.as_secs())
    }
}

const MONTH: Span = Span::secs(30 * 86_400);

#[async_trait]
impl Check for CheckReport {
    async fn measure(&self, cx: &Context) -> Outcome {
        let what = self.check.as_deref().unwrap_or("everything");
        let expected = format!("{what} passed, at most {} ago", self.max_age.unwrap_or(MONTH));
        let unknown =
            |why: String| Outcome::unknown(why, expected.clone()).help("let its job write a report");
        let text = match cx.world.files.read(Path::new(&self.path), 64 << 20).await {
            Ok(text) => text,
            Err(why) => return unknown(why),
        };
        match serde_json::from_slice::<Value>(&text) {
            Ok(report) => self.judge(&report, &cx.world.clock.now(), expected),
            Err(error) => unknown(format!("{} cannot be read: {error}", self.path)),
        }
    }
}
