//! What a command must have printed. An empty output proves nothing, and a number must be one.

use std::cmp::Ordering;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::base::text::neutral;
use crate::check::Outcome;
use crate::check::params::decimal;

/// The longest piece of output shown in one line.
const LONGEST: usize = 200;

/// What standard output must be. All that are given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Demand {
    /// Exactly this text, blanks at both ends left out.
    #[serde(default)]
    equals: Option<Word>,
    /// This text occurs.
    #[serde(default)]
    contains: Option<Word>,
    /// This text does not occur.
    #[serde(default)]
    lacks: Option<Word>,
    /// Exactly one of these texts.
    #[serde(default)]
    one_of: Option<Vec<Word>>,
    /// A single number, not smaller than this.
    #[serde(default)]
    at_least: Option<Word>,
    /// A single number, not larger than this.
    #[serde(default)]
    at_most: Option<Word>,
}

/// Text; a number or a truth value is the same as its text.
#[derive(Debug, Clone)]
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Word(text)),
            value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
                Ok(Word(value.to_string()))
            }
            other => Err(serde::de::Error::custom(format!("{other} is neither text nor a number"))),
        }
    }
}

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.equals.as_ref().map(|text| format!("{:?}", text.0)));
        parts.extend(self.contains.as_ref().map(|text| format!("{:?} in its output", text.0)));
        parts.extend(self.lacks.as_ref().map(|text| format!("no {:?} in its output", text.0)));
        parts.extend(self.one_of.as_ref().map(|all| {
            let all: Vec<String> = all.iter().map(|text| format!("{:?}", text.0)).collect();
            format!("one of {}", all.join(", "))
        }));
        parts.extend(self.at_least.as_ref().map(|number| format!("at least {}", number.0)));
        parts.extend(self.at_most.as_ref().map(|number| format!("at most {}", number.0)));
        f.write_str(&parts.join(", "))
    }
}

impl Demand {
    /// Says what is wrong with the demand itself.
    pub(super) fn validate(&self) -> Result<(), String> {
        let texts = [("equals", &self.equals), ("contains", &self.contains), ("lacks", &self.lacks)];
        let numbers = [("at_least", &self.at_least), ("at_most", &self.at_most)];
        if texts.iter().chain(&numbers).all(|(_, given)| given.is_none()) && self.one_of.is_none() {
            return Err(
                "`stdout` asks for nothing; give it equals, contains, lacks, one_of, at_least or at_most"
                    .to_owned(),
            );
        }
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| text.0.trim().is_empty()) {
                return Err(format!(
                    "`stdout.{name}` is empty, and an empty output proves nothing; let the command print a word or a number"
                ));
            }
        }
        if self
            .one_of
            .as_ref()
            .is_some_and(|all| all.is_empty() || all.iter().any(|text| text.0.trim().is_empty()))
        {
            return Err("`stdout.one_of` needs texts that are not empty".to_owned());
        }
        for (name, number) in numbers {
            if let Some(number) = number
                && decimal(&number.0).is_none()
            {
                return Err(format!("`stdout.{name}`: {:?} is not a number", number.0));
            }
        }
        Ok(())
    }

    /// Judges what was printed, blanks at both ends already cut.
    pub(super) fn judge(&self, said: &str, truncated: bool, wanted: String) -> Outcome {
        if said.is_empty() {
            return Outcome::unknown("it printed nothing, so there is nothing to compare", wanted);
        }
        let shown = format!("{:?}", short(said));
        let mut failed = Vec::new();
        if let Some(text) = &self.equals
            && said != text.0.trim()
        {
            failed.push(format!("it printed {shown}"));
        }
        if let Some(all) = &self.one_of
            && !all.iter().any(|text| said == text.0.trim())
        {
            failed.push(format!("it printed {shown}"));
        }
        if let Some(text) = &self.contains
            && !said.contains(&text.0)
        {
            if truncated {
                return Outcome::unknown(
                    format!("it printed too much to look for {:?} in all of it", text.0),
                    wanted,
                );
            }
            failed.push(format!("no {:?} in {shown}", text.0));
        }
        if let Some(text) = &self.lacks {
            match said.contains(&text.0) {
                true => failed.push(format!("{:?} in {shown}", text.0)),
                false if truncated => {
                    return Outcome::unknown(format!("it printed too much to rule out {:?}", text.0), wanted);
                }
                false => {}
            }
        }
        if self.at_least.is_some() || self.at_most.is_some() {
            if decimal(said).is_none() {
                return Outcome::unknown(format!("it printed {shown}, which is not a number"), wanted);
            }
            let low =
                self.at_least.as_ref().is_some_and(|least| against(said, least).is_none_or(Ordering::is_lt));
            let high =
                self.at_most.as_ref().is_some_and(|most| against(said, most).is_none_or(Ordering::is_gt));
            if low || high {
                failed.push(format!("it printed {said}"));
            }
        }
        failed.dedup();
        match failed.is_empty() {
            true => Outcome::pass(format!("it printed {shown}"), wanted),
            false => Outcome::fail(failed.join("; "), wanted),
        }
    }
}

/// How what was printed stands to a limit. Whole numbers are compared exactly, beyond 2^53 too.
fn against(said: &str, limit: &Word) -> Option<Ordering> {
    match (said.parse::<i128>(), limit.0.parse::<i128>()) {
        (Ok(said), Ok(limit)) => Some(said.cmp(&limit)),
        _ => decimal(said)?.partial_cmp(&decimal(&limit.0)?),
    }
}

/// At most 200 characters on one line, made safe for a terminal.
pub(super) fn short(text: &str) -> String {
    let line = neutral(text).replace('\n', " ⏎ ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::Verdict;

    fn verdict(demand: Value, said: &str) -> Verdict {
        let demand: Demand = serde_json::from_value(demand).unwrap();
        demand.validate().unwrap();
        demand.judge(said, false, String::new()).verdict
    }

    #[test]
    fn numbers_must_be_numbers() {
        assert_eq!(verdict(json!({ "at_least": 3 }), "3"), Verdict::Pass);
        assert_eq!(verdict(json!({ "at_least": "3" }), "2.99"), Verdict::Fail);
        assert_eq!(verdict(json!({ "at_most": 5 }), "6"), Verdict::Fail);
        assert_eq!(
            verdict(json!({ "at_most": "9007199254740992" }), "9007199254740993"),
            Verdict::Fail,
            "beyond 2^53"
        );
        for said in ["NaN", "inf", "3 rows", "three", "0x3", "3\n4"] {
            assert_eq!(verdict(json!({ "at_least": 1 }), said), Verdict::Unknown, "{said}");
        }
    }

    #[test]
    fn texts() {
        assert_eq!(verdict(json!({ "equals": 0 }), "0"), Verdict::Pass);
        assert_eq!(verdict(json!({ "equals": "0" }), "00"), Verdict::Fail);
        assert_eq!(verdict(json!({ "one_of": ["a", "b"] }), "b"), Verdict::Pass);
        assert_eq!(verdict(json!({ "one_of": ["a", "b"] }), "c"), Verdict::Fail);
        assert_eq!(verdict(json!({ "contains": "ok", "lacks": "error" }), "ok, 1 error"), Verdict::Fail);
        assert_eq!(verdict(json!({ "contains": "ok", "lacks": "error" }), "ok"), Verdict::Pass);
        assert_eq!(verdict(json!({ "contains": "ok" }), ""), Verdict::Unknown);
        let cut: Demand = serde_json::from_value(json!({ "lacks": "error" })).unwrap();
        assert_eq!(cut.judge("fine", true, String::new()).verdict, Verdict::Unknown, "the rest was not seen");
    }
}
