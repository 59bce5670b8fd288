//! Parameter types that several checks share. Variables are replaced as text, so every number may also be written as
//! text: `at_least: "3"` and `at_least: 3` are the same.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::{Size, text};

/// A whole number, 0 to 2^64 - 1, written as a number or as its digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

/// A factor greater than zero: `1.3`, `"1.3"` or `130%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

/// A part of a whole in percent, more than 0 and at most 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// Yes or no: `true`, `false`, or the same as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

/// An amount of space.
#[derive(Debug, Clone, PartialEq)]
pub enum Amount {
    /// `20GiB`
    Bytes(Size),
    /// `15%` of the file system
    Share(Percent),
    /// `{ times: 1.3, size_of: old }`
    Times {
        /// The factor.
        times: Ratio,
        /// The target whose size it multiplies.
        size_of: String,
    },
}

/// A number of things, or a part of all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CountOrShare {
    /// `5000`
    Count(u64),
    /// `5%`
    Share(Percent),
}

fn words(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// Digits only: no sign, no decimal point.
pub fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A decimal number: no NaN, no infinity, no other spelling.
pub fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

fn percent(text: &str) -> Option<Percent> {
    decimal(text.strip_suffix('%')?.trim_end()).filter(|n| *n > 0.0 && *n <= 100.0).map(Percent)
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        words(&value).and_then(|text| whole(&text)).map(Count).ok_or_else(|| {
            D::Error::custom(format!("{value} is not a whole number; write digits only, as in 3"))
        })
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = |text: String| match text.strip_suffix('%') {
            Some(number) => decimal(number.trim_end()).map(|n| n / 100.0),
            None => decimal(&text),
        };
        words(&value)
            .and_then(read)
            .filter(|ratio| *ratio > 0.0)
            .map(Ratio)
            .ok_or_else(|| D::Error::custom(format!("{value} is not a factor above zero; write 1.3 or 130%")))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let wrong =
            || D::Error::custom(format!("{value} is not a share; write more than 0% and at most 100%"));
        words(&value).and_then(|text| percent(&text)).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(yes) => Ok(Flag(yes)),
            Value::String(text) if text == "true" => Ok(Flag(true)),
            Value::String(text) if text == "false" => Ok(Flag(false)),
            other => Err(D::Error::custom(format!("{other} is neither true nor false"))),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Times {
    /// The factor: 1.3 leaves a margin of 30 % over the target's size.
    times: Ratio,
    /// The target whose size counts: all databases of a PostgreSQL server, or an SQLite file with its log.
    #[schemars(extend("format" = "target"))]
    size_of: String,
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            value @ Value::Object(_) => {
                let Times { times, size_of } = serde_json::from_value(value).map_err(D::Error::custom)?;
                Ok(Amount::Times { times, size_of })
            }
            Value::String(text) if text.contains('%') => {
                percent(text.trim()).map(Amount::Share).ok_or_else(|| {
                    D::Error::custom(format!("`{text}` is not a share; write more than 0% and at most 100%"))
                })
            }
            Value::String(text) => match text.parse::<Size>().map_err(D::Error::custom)? {
                Size(0) => Err(D::Error::custom("zero is no threshold: any disk has that much")),
                size => Ok(Amount::Bytes(size)),
            },
            other => Err(D::Error::custom(format!(
                "{other} is not an amount of space; write 20GiB, 15% or {{ times: 1.3, size_of: TARGET }}"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for CountOrShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = |text: String| {
            whole(&text).map(CountOrShare::Count).or_else(|| percent(&text).map(CountOrShare::Share))
        };
        words(&value).and_then(read).ok_or_else(|| {
            D::Error::custom(format!("{value} is neither a whole number nor a share; write 5000 or 5%"))
        })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::thousands(self.0))
    }
}

macro_rules! schema {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(Count, "Count", |_generator| json_schema!({
    "description": "A whole number.",
    "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }],
}));
schema!(Ratio, "Ratio", |_generator| json_schema!({
    "description": "A factor above zero: 1.3 or 130%.",
    "anyOf": [
        { "type": "number", "exclusiveMinimum": 0 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%?$" },
    ],
}));
schema!(Percent, "Percent", |_generator| json_schema!({
    "description": "A share of the whole: 15%.", "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$",
}));
schema!(Flag, "Flag", |_generator| json_schema!({
    "description": "true or false.",
    "anyOf": [{ "type": "boolean" }, { "type": "string", "enum": ["true", "false"] }],
}));
schema!(CountOrShare, "CountOrShare", |_generator| json_schema!({
    "description": "A whole number, or a share of all: 5000 or 5%.",
    "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%?$" }],
}));
schema!(Amount, "Amount", |generator| {
    let times = generator.subschema_for::<Times>();
    json_schema!({
        "description": "20GiB, 15% of the file system, or { times: 1.3, size_of: TARGET }.",
        "anyOf": [{ "type": "string" }, times],
    })
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Option<T> {
        serde_json::from_value(value).ok()
    }

    #[test]
    fn numbers_may_be_text_and_nothing_else_passes_for_one() {
        assert_eq!(read(json!(3)), Some(Count(3)));
        assert_eq!(read(json!("3")), Some(Count(3)));
        for wrong in [json!(-1), json!(1.5), json!("1e3"), json!(""), json!(true), json!(null)] {
            assert_eq!(read::<Count>(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(read(json!("130%")), Some(Ratio(1.3)));
        assert_eq!(read(json!("1.3")), Some(Ratio(1.3)));
        for wrong in [json!(0), json!("NaN"), json!("inf"), json!(-1), json!("")] {
            assert_eq!(read::<Ratio>(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(read(json!("false")), Some(Flag(false)));
        assert_eq!(read::<Flag>(json!("no")), None);
    }

    #[test]
    fn amounts_need_a_unit_and_are_never_nothing() {
        assert_eq!(read(json!("20GiB")), Some(Amount::Bytes(Size(20 << 30))));
        assert_eq!(read(json!("15%")), Some(Amount::Share(Percent(15.0))));
        let times = Amount::Times { times: Ratio(1.3), size_of: "old".to_owned() };
        assert_eq!(read(json!({ "times": "1.3", "size_of": "old" })), Some(times));
        for wrong in [
            json!(20),
            json!("20"),
            json!("0B"),
            json!("0%"),
            json!("101%"),
            json!({ "times": 2 }),
            json!(null),
        ] {
            assert_eq!(read::<Amount>(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(read(json!("5 %")), Some(CountOrShare::Share(Percent(5.0))));
        assert_eq!(read(json!("5000")), Some(CountOrShare::Count(5000)));
    }
}
