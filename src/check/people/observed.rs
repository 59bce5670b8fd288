//! What a person saw in an earlier manual step, judged.

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::errand::short;
use super::stamp::rounded;
use crate::base::{Moment, Span};
use crate::check::context::Observation;
use crate::check::params::decimal;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// What a person saw in an earlier manual step, judged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// The id of the manual step in which it was observed.
    step: String,
    /// The only answer that passes; capitals do not matter.
    #[serde(default)]
    equals: Option<Word>,
    /// The answers that pass; capitals do not matter.
    #[serde(default)]
    #[schemars(length(min = 1))]
    matches: Option<Vec<Word>>,
    /// The smallest number that passes.
    #[serde(default)]
    at_least: Option<Word>,
    /// The largest number that passes.
    #[serde(default)]
    at_most: Option<Word>,
    /// The oldest that the observation may be; any when not given.
    #[serde(default)]
    max_age: Option<Span>,
}

/// Text; a number or a truth value is the same as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Word(text.trim().to_owned())),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(Word(value.to_string())),
            other => Err(serde::de::Error::custom(format!("{other} is neither text nor a number"))),
        }
    }
}

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ObservedWord".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "observed",
    summary: "what a person saw in an earlier manual step is what it should be",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(Observed),
    build,
};

const DOCS: &str = r#"
Judges what a person saw and typed in an earlier manual step: a reading, a colour, a yes.

**How it is measured.** A step with `manual: { observe: "…" }` puts the answer on record with who gave it and when. The newest
answer since the step was last begun counts; a step that was undone has none. Numbers are compared as numbers; texts
without blanks at their ends, and capitals do not matter. All that is given must hold.

**Passes** when the answer is what `equals` or `matches` says, within `at_least` and `at_most`, and at most `max_age` old. **Fails**
when it is not. **Unknown** when nothing is on record, a number is wanted and the answer is none, outside a run
(`holdpoint check`), or with `max_age` when the machine was restarted or its clock was set since: then nobody knows how old
the answer is.

**Traps.** This is somebody's word, not a measurement: where a machine can look, let it look. Ask for what was seen ("how many
rooms are shown?"), never for a judgement ("is it all right?").

```yaml
preconditions:
  - observed: { step: before, at_least: 12, at_most: 20, max_age: 30min }
  - observed: { id: lamp, step: before, matches: [green, amber] }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: Observed = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let set = check.equals.is_some()
        || check.matches.is_some()
        || check.at_least.is_some()
        || check.at_most.is_some();
    if !set {
        return Err("no threshold is set; write `equals`, `matches`, `at_least` or `at_most`".to_owned());
    }
    if check.matches.as_ref().is_some_and(Vec::is_empty) {
        return Err("`matches` is an empty list; name the answers that pass".to_owned());
    }
    let texts = check.equals.iter().chain(check.matches.iter().flatten());
    if texts.into_iter().any(|text| text.0.is_empty()) {
        return Err("an empty answer proves nothing; name the answer that passes".to_owned());
    }
    let mut limits = Vec::new();
    for (name, limit) in [("at_least", &check.at_least), ("at_most", &check.at_most)] {
        if let Some(limit) = limit {
            let number = decimal(&limit.0);
            limits.push(number.ok_or_else(|| format!("`{name}`: `{}` is not a number", limit.0))?);
        }
    }
    if let [low, high] = limits.as_slice()
        && low > high
    {
        return Err(format!("`at_least` {low} is more than `at_most` {high}"));
    }
    if check.max_age.is_some_and(|age| age.0.is_zero()) {
        return Err("`max_age` is zero: no answer is that young".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for Observed {
    async fn measure(&self, cx: &Context) -> Outcome {
        let again = format!("carry out step `{}` in this run, and answer what it asks for", self.step);
        match cx.records.observation(&self.step) {
            Err(why) => Outcome::unknown(why, self.wanted()).help("measure it in a run"),
            Ok(None) => {
                let why = format!("nothing that was observed in step `{}` is on record", self.step);
                Outcome::unknown(why, self.wanted()).help(again)
            }
            Ok(Some(seen)) => self.judge(&seen, &cx.world.clock.now()).help(again),
        }
    }
}

impl Observed {
    fn wanted(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.equals.as_ref().map(|text| format!("\"{}\"", short(&text.0, 80))));
        parts.extend(self.matches.as_ref().map(|all| {
            let all: Vec<String> = all.iter().map(|text| format!("\"{}\"", short(&text.0, 80))).collect();
            format!("one of {}", all.join(", "))
        }));
        parts.extend(self.at_least.as_ref().map(|low| format!("at least {}", low.0)));
        parts.extend(self.at_most.as_ref().map(|high| format!("at most {}", high.0)));
        parts.extend(self.max_age.map(|age| format!("at most {age} old")));
        parts.join(", ")
    }

    fn judge(&self, seen: &Observation, now: &Moment) -> Outcome {
        let shown = format!("\"{}\"", short(&seen.value, 120));
        let mut age = String::new();
        if !now.jumped_since(&seen.at) {
            age = format!(" {} ago", rounded(now.since(&seen.at)));
        }
        let observed = format!("{shown}, said {}{age}", seen.by);
        let unknown = |why: String| Outcome::unknown(why, self.wanted());
        let value = seen.value.trim();
        if value.is_empty() {
            return unknown(format!("{} gave an empty answer", seen.by));
        }
        let mut holds = self.equals.as_ref().is_none_or(|wanted| same(&wanted.0, value))
            && self.matches.as_ref().is_none_or(|all| all.iter().any(|wanted| same(&wanted.0, value)));
        for (limit, high) in [(&self.at_least, false), (&self.at_most, true)] {
            let Some(limit) = limit.as_ref().and_then(|limit| decimal(&limit.0)) else { continue };
            let Some(number) = decimal(value) else {
                return unknown(format!("{shown} is not a number, said {}", seen.by));
            };
            holds &= if high { number <= limit } else { number >= limit };
        }
        if holds && let Some(max) = self.max_age {
            if now.jumped_since(&seen.at) {
                let why =
                    "the machine was restarted or its clock was set since, so nobody knows how old it is";
                return unknown(format!("{observed}; {why}"));
            }
            let old: Duration = now.since(&seen.at);
            return Outcome::judge(old <= max.0, observed, self.wanted()).fact("value", short(value, 200));
        }
        Outcome::judge(holds, observed, self.wanted()).fact("value", short(value, 200))
    }
}

/// Equal as numbers, or as texts whatever the capitals.
fn same(wanted: &str, value: &str) -> bool {
    match (decimal(wanted), decimal(value)) {
        (Some(a), Some(b)) => a == b,
        _ => wanted.to_lowercase() == value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    fn moment(second: i64, boot_ms: u64) -> Moment {
        Moment { wall: jiff::Timestamp::from_second(1_795_168_800 + second).unwrap(), boot_ms }
    }

    fn verdict(params: Value, value: &str) -> Verdict {
        let check: Observed = serde_json::from_value(params).unwrap();
        let seen =
            Observation { value: value.to_owned(), by: "bob@db1".to_owned(), at: moment(0, 1_000_000) };
        check.judge(&seen, &moment(600, 1_600_000)).verdict
    }

    #[test]
    fn answers() {
        for (params, value, wanted) in [
            (json!({ "step": "s", "equals": "green" }), " Green\n", Verdict::Pass),
            (json!({ "step": "s", "equals": "green" }), "greenish", Verdict::Fail),
            (json!({ "step": "s", "equals": 3 }), "3.0", Verdict::Pass),
            (json!({ "step": "s", "matches": ["a", "b"] }), "B", Verdict::Pass),
            (json!({ "step": "s", "at_least": 3, "at_most": "5" }), "5", Verdict::Pass),
            (json!({ "step": "s", "at_least": 3, "at_most": "5" }), "6", Verdict::Fail),
            (json!({ "step": "s", "at_least": 3 }), "many", Verdict::Unknown),
            (json!({ "step": "s", "at_least": 3 }), "NaN", Verdict::Unknown),
            (json!({ "step": "s", "equals": "x" }), "  ", Verdict::Unknown),
            (json!({ "step": "s", "equals": "x", "max_age": "10min" }), "x", Verdict::Pass),
            (json!({ "step": "s", "equals": "x", "max_age": "9min" }), "x", Verdict::Fail),
        ] {
            assert_eq!(verdict(params.clone(), value), wanted, "{params} {value}");
        }
        let check: Observed =
            serde_json::from_value(json!({ "step": "s", "equals": "x", "max_age": "1h" })).unwrap();
        let seen = Observation { value: "x".into(), by: "bob@db1".into(), at: moment(0, 1_000_000) };
        assert_eq!(check.judge(&seen, &moment(600, 5_000)).verdict, Verdict::Unknown, "another boot");
        assert_eq!(check.judge(&seen, &moment(6000, 1_600_000)).verdict, Verdict::Unknown, "a clock set");
    }

    #[test]
    fn a_threshold_must_be_set() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "step": "s" })).contains("no threshold"));
        assert!(refused(json!({ "step": "s", "max_age": "1h" })).contains("no threshold"));
        assert!(refused(json!({ "step": "s", "matches": [] })).contains("empty list"));
        assert!(refused(json!({ "step": "s", "equals": " " })).contains("empty answer"));
        assert!(refused(json!({ "step": "s", "at_least": "x" })).contains("not a number"));
        assert!(refused(json!({ "step": "s", "at_least": 5, "at_most": 4 })).contains("more than"));
        assert!(refused(json!({ "step": "s", "equals": 1, "max_age": "0s" })).contains("zero"));
    }
}
