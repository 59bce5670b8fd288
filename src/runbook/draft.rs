//! A judged value on its way from the tree to the types of [`super::model`]: texts are borrowed from the tree where
//! nothing was put into them, and maps are lists of lines, so that nothing is hashed or copied on the way.

use std::borrow::Cow;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;

/// A value that the rules have let through.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Draft<'a> {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Draft<'a>>),
    /// A map, in the order of the file.
    Map(Vec<(&'a str, Draft<'a>)>),
}

impl<'de> IntoDeserializer<'de, Error> for Draft<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Draft<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Draft::Null => visitor.visit_unit(),
            Draft::Bool(value) => visitor.visit_bool(value),
            Draft::Int(value) => visitor.visit_i64(value),
            Draft::Float(value) => visitor.visit_f64(value),
            Draft::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Draft::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Draft::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Draft::Map(lines) => {
                let mut lines = MapDeserializer::new(lines.into_iter());
                let value = visitor.visit_map(&mut lines)?;
                lines.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Draft::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Choices are words; none of the format's types has one with contents.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Draft::Text(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            _ => Err(Error::custom("a word was expected")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    use super::super::model::Step;
    use super::*;

    fn draft(value: &Value) -> Draft<'_> {
        match value {
            Value::Null => Draft::Null,
            Value::Bool(value) => Draft::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Draft::Float(number.as_f64().unwrap()), Draft::Int)
            }
            Value::String(text) => Draft::Text(text.as_str().into()),
            Value::Array(items) => Draft::List(items.iter().map(draft).collect()),
            Value::Object(map) => {
                Draft::Map(map.iter().map(|(key, value)| (key.as_str(), draft(value))).collect())
            }
        }
    }

    #[test]
    fn types_come_out_as_they_do_of_json() {
        let value = json!({
            "id": "s", "run": ["a", "b"], "timeout": "2h", "rerun": "safe", "env": { "A": "1" }, "changes": false,
            "destroys": { "what": "x", "paths": ["/y"] },
            "rollback": { "run": "true", "postconditions": [{ "up": null }] },
            "invariants": [{ "free": { "on_violation": "pause", "every": "5s", "at_least": 3, "part": 0.5 } }],
            "postconditions": [{ "file": { "id": "own", "until": "t", "path": "/z", "deep": [{ "er": true }] } }],
        });
        let of_json: Step = serde_json::from_value(value.clone()).unwrap();
        let of_draft = Step::deserialize(draft(&value)).unwrap();
        assert_eq!(format!("{of_json:?}"), format!("{of_draft:?}"));
        assert_eq!(Value::deserialize(draft(&value)).unwrap(), value);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (value, words) in [
            (json!({ "id": "s", "rerun": ["safe"] }), "a word"),
            (json!({ "id": "s", "rerun": "sometimes" }), "unknown variant"),
            (json!({ "id": "s", "odd": 1 }), "unknown field"),
            (json!({ "id": "s", "preconditions": [{ "a": {}, "b": {} }] }), "one key"),
            (json!({ "id": "s", "preconditions": [{}] }), "one key"),
            (json!({ "id": "s", "preconditions": [{ "a": "b" }] }), "parameters of `a`"),
        ] {
            let why = Step::deserialize(draft(&value)).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
