//! Compares one value from a database with what is wanted.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::text;

/// A value as a runbook writes it: text, a number or true/false. Kept as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar(String);

/// A finite number, written as a number or as text (a variable's value is text).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    text: String,
    exact: Option<i128>,
    near: f64,
}

/// A number of rows, written as a number or as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Threshold<'a> {
    /// So many rows.
    Rows(u64),
    /// One value, for which all that is given must hold.
    Value {
        equals: Option<&'a Scalar>,
        at_least: Option<&'a Number>,
        at_most: Option<&'a Number>,
        matches: Option<&'a [Scalar]>,
    },
}

impl Number {
    fn parse(written: &str) -> Option<Number> {
        let text = written.trim();
        let exact = text.parse::<i128>().ok();
        let near = text.parse::<f64>().ok().filter(|near| near.is_finite())?;
        // `parse` also takes words: inf, nan.
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        digits.then(|| Number { text: text.to_owned(), exact, near })
    }

    fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self.exact, other.exact) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => self.near.partial_cmp(&other.near),
        }
    }
}

impl Scalar {
    fn is(&self, value: &str) -> bool {
        let truth = |text: &str| match text {
            "t" | "true" => Some(true),
            "f" | "false" => Some(false),
            _ => None,
        };
        if self.0 == value {
            return true;
        }
        if let (Some(a), Some(b)) = (truth(&self.0), truth(value)) {
            return a == b;
        }
        matches!((Number::parse(&self.0), Number::parse(value)), (Some(a), Some(b)) if a.compare(&b) == Some(Ordering::Equal))
    }
}

impl<'a> Threshold<'a> {
    /// A threshold for one value; an error when nothing could ever pass it.
    pub(super) fn value(
        equals: Option<&'a Scalar>,
        at_least: Option<&'a Number>,
        at_most: Option<&'a Number>,
        matches: Option<&'a [Scalar]>,
    ) -> Result<Self, String> {
        if matches.is_some_and(<[Scalar]>::is_empty) {
            return Err("`matches` is an empty list; name the values that pass".to_owned());
        }
        if let (Some(low), Some(high)) = (at_least, at_most)
            && low.compare(high) == Some(Ordering::Greater)
        {
            return Err(format!("`at_least` {} is more than `at_most` {}", low.text, high.text));
        }
        Ok(Threshold::Value { equals, at_least, at_most, matches })
    }

    /// Does a value hold? An error when it cannot be compared.
    pub(super) fn holds(&self, value: &str) -> Result<bool, String> {
        let Threshold::Value { equals, at_least, at_most, matches } = self else {
            return Err("rows are counted, not compared".to_owned());
        };
        if value.trim().eq_ignore_ascii_case("nan") {
            return Err("NaN came back, which is no measurement".to_owned());
        }
        let mut holds = equals.is_none_or(|wanted| wanted.is(value))
            && matches.is_none_or(|list| list.iter().any(|wanted| wanted.is(value)));
        if at_least.is_some() || at_most.is_some() {
            let number = Number::parse(value)
                .ok_or_else(|| format!("`{}` came back, which is not a number", short(value)))?;
            let against =
                |limit: &Number, wrong: Ordering| number.compare(limit).is_some_and(|order| order != wrong);
            holds &= at_least.is_none_or(|low| against(low, Ordering::Less));
            holds &= at_most.is_none_or(|high| against(high, Ordering::Greater));
        }
        Ok(holds)
    }
}

impl fmt::Display for Threshold<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (equals, at_least, at_most, matches) = match self {
            Threshold::Rows(rows) => return write!(f, "{}", text::count(*rows, "row", "rows")),
            Threshold::Value { equals, at_least, at_most, matches } => (equals, at_least, at_most, matches),
        };
        let mut words = Vec::new();
        words.extend(equals.map(|wanted| short(&wanted.0)));
        words.extend(at_least.map(|low| format!("at least {}", low.text)));
        words.extend(at_most.map(|high| format!("at most {}", high.text)));
        words.extend(matches.map(|list| {
            let list: Vec<_> = list.iter().map(|wanted| short(&wanted.0)).collect();
            format!("one of {}", list.join(", "))
        }));
        f.write_str(&words.join(", "))
    }
}

/// At most 200 characters, on one line.
pub(super) fn short(value: &str) -> String {
    let line: String =
        value.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }).take(200).collect();
    if value.chars().nth(200).is_some() { format!("{line}…") } else { line }
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => Err(serde::de::Error::custom("write one value: text, a number, or true or false")),
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer).map(Scalar)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        Number::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a number")))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        text.trim().parse().map(Count).map_err(|_| {
            serde::de::Error::custom(format!("`{text}` is not a number of rows; write 0, 1, 2, ..."))
        })
    }
}

macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Scalar, "Scalar", { "type": ["string", "number", "boolean"] });
schema!(Number, "Number", {
    "anyOf": [{ "type": "number" }, { "type": "string", "pattern": r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*$" }],
});
schema!(Count, "RowCount", {
    "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": r"^\s*[0-9]+\s*$" }],
});

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn compares_numbers_as_numbers() {
        let (low, high) = (number("9007199254740993"), number("9007199254740995"));
        let both = Threshold::value(None, Some(&low), Some(&high), None).unwrap();
        for (value, holds) in [
            ("9007199254740992", false),
            ("9007199254740993", true),
            ("9007199254740995", true),
            ("9007199254740996", false),
            (" 9007199254740994 ", true),
            ("-1", false),
        ] {
            assert_eq!(both.holds(value), Ok(holds), "{value}");
        }
        let tenth = number("0.1");
        let low = Threshold::value(None, Some(&tenth), None, None).unwrap();
        assert_eq!(low.holds("0.10000"), Ok(true));
        assert_eq!(low.holds("0.0999"), Ok(false));
        for unknown in ["NaN", "abc", "", "Infinity", "1 day", "0x10", "t"] {
            assert!(low.holds(unknown).is_err(), "{unknown}");
        }
        assert!(Threshold::value(None, Some(&high), Some(&tenth), None).is_err());
    }

    #[test]
    fn equality_is_by_value_where_there_is_one() {
        let is = |wanted: &str, value: &str| Scalar(wanted.to_owned()).is(value);
        assert!(
            is("1", "1.00") && is("true", "t") && is("f", "false") && is("a b", "a b") && is("1e2", "100")
        );
        assert!(!is("1", "1x") && !is("a", "A") && !is("true", "1") && !is("", " ") && !is("t", "f"));
        let (seven, list) = (Scalar("7".into()), [Scalar("a".into()), Scalar("7".into())]);
        assert!(Threshold::value(Some(&seven), None, None, None).unwrap().holds("NaN").is_err());
        let one_of = Threshold::value(None, None, None, Some(&list)).unwrap();
        assert_eq!((one_of.holds("7.0"), one_of.holds("b")), (Ok(true), Ok(false)));
        assert!(Threshold::value(None, None, None, Some(&[])).is_err());
    }
}
