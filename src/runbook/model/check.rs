//! A check as written: its name, its own parameters, and the keys that every check takes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Run;
use crate::base::Span;

/// What an invariant does when it no longer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnViolation {
    /// Pauses the command (SIGSTOP to its group) and asks.
    Pause,
    /// Stops the command: TERM, grace, KILL; the step has failed.
    #[default]
    Stop,
    /// Only says so.
    Alert,
}

/// Keys that every check takes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCommon {
    /// A name of your own, unique in the step; needed when a step has the same check twice.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub id: Option<String>,
    /// What it shows, in one line.
    #[serde(default)]
    pub title: Option<String>,
    /// The longest the measurement may take; then the verdict is unknown.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Postconditions only: need not hold once this step has begun.
    #[serde(default)]
    #[schemars(extend("format" = "step"))]
    pub until: Option<String>,
    /// Postconditions only: how long it may take, after the step's work has ended, until it passes. Until then it is
    /// measured again every few seconds; 1s to 1h.
    #[serde(default)]
    pub wait_up_to: Option<Span>,
    /// May a second person waive it although it guards a destructive step?
    #[serde(default)]
    pub waivable: bool,
    /// Shown, never a gate. Not allowed on a guard of a destructive step.
    #[serde(default)]
    pub advisory: bool,
    /// Invariants only: what happens when it no longer holds.
    #[serde(default)]
    pub on_violation: Option<OnViolation>,
    /// Invariants only: how often it is measured; 10s when not given.
    #[serde(default)]
    pub every: Option<Span>,
    /// How a rehearsal breaks what the check measures, to show that it can fail, and how that is undone.
    #[serde(default)]
    pub falsify: Option<Falsify>,
}

/// Breaks what a check measures, on staging and nowhere else: then the check has to fail. Undone in any case, and it has
/// to pass again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Falsify {
    /// What breaks it. A list is argv, a string is a bash script.
    pub run: Run,
    /// What brings it back, also when `run` got half-way or nowhere.
    pub undo: Run,
    /// The longest that each of them may take; 10min when not given.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The user that they run as.
    #[serde(default)]
    pub user: Option<String>,
}

/// The names of [`CheckCommon`]'s keys.
pub const COMMON_KEYS: [&str; 10] = [
    "id",
    "title",
    "timeout",
    "until",
    "wait_up_to",
    "waivable",
    "advisory",
    "on_violation",
    "every",
    "falsify",
];

/// A check as written: a map with one key, its name; inside stand its own parameters and the common ones.
#[derive(Debug, Clone)]
pub struct CheckSpec {
    /// The check's name, as in `holdpoint checks`.
    pub kind: String,
    /// Keys that every check takes.
    pub common: CheckCommon,
    /// Its own parameters, variables already replaced.
    pub params: Map<String, Value>,
}

impl<'de> Deserialize<'de> for CheckSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = CheckSpec;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(ONE_KEY)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CheckSpec, A::Error> {
                let Some(kind) = map.next_key::<String>()? else { return Err(A::Error::custom(ONE_KEY)) };
                let (common, params) = map.next_value_seed(Body(&kind))?;
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(CheckSpec { kind, common, params }),
                    Some(_) => Err(A::Error::custom(ONE_KEY)),
                }
            }
        }
        deserializer.deserialize_map(Named)
    }
}

const ONE_KEY: &str = "a check is a map with one key, its name";

/// The parameters of the check with this name, sorted into common ones and its own.
struct Body<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = (CheckCommon, Map<String, Value>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = (CheckCommon, Map<String, Value>);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the parameters of `{}`, a map", self.0)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Default::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut common, mut params) = (CheckCommon::default(), Map::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => common.id = map.next_value()?,
                "title" => common.title = map.next_value()?,
                "timeout" => common.timeout = map.next_value()?,
                "until" => common.until = map.next_value()?,
                "wait_up_to" => common.wait_up_to = map.next_value()?,
                "waivable" => common.waivable = map.next_value()?,
                "advisory" => common.advisory = map.next_value()?,
                "on_violation" => common.on_violation = map.next_value()?,
                "every" => common.every = map.next_value()?,
                "falsify" => common.falsify = map.next_value()?,
                _ => {
                    params.insert(key, map.next_value()?);
                }
            }
        }
        Ok((common, params))
    }
}

impl JsonSchema for CheckSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Check".into()
    }

    /// A placeholder: [`super::schema`] replaces it by the catalogue's checks with their parameters.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "minProperties": 1, "maxProperties": 1 })
    }
}
