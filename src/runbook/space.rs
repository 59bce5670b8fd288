//! What a step takes of a disk, and what it gives back: for the forecast of `plan`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::base::Size;

/// Room on a file system that a step takes or gives back: exactly one of `needs` and `frees`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// A file or directory on the file system in question, from the root. It need not exist yet: its nearest existing
    /// parent counts, links followed.
    #[schemars(regex(pattern = r"^/"))]
    pub path: String,
    /// What it is, in a few words: `the new cluster`.
    #[serde(default)]
    pub what: Option<String>,
    /// Room that the step takes there, counted from its beginning: 20GiB, or { times: 1.2, size_of: TARGET }.
    #[serde(default)]
    pub needs: Option<SpaceAmount>,
    /// Room that is there again once the step has ended.
    #[serde(default)]
    pub frees: Option<SpaceAmount>,
    /// With `needs`: the room is taken until this step has ended. The step itself for temporary files, or a later one; for
    /// good when not given.
    #[serde(default)]
    #[schemars(extend("format" = "step-from"))]
    pub until: Option<String>,
}

/// An amount of room.
#[derive(Debug, Clone, PartialEq)]
pub enum SpaceAmount {
    /// `20GiB`
    Bytes(Size),
    /// `{ times: 1.2, size_of: old }`
    Times(SpaceTimes),
}

/// A multiple of a target's size.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceTimes {
    /// The factor: 1.2 is a fifth more than the target takes.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub times: f64,
    /// The target whose size counts: all databases of a PostgreSQL server, or an SQLite file with its log.
    #[schemars(extend("format" = "target"))]
    pub size_of: String,
}

impl<'de> Deserialize<'de> for SpaceAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = SpaceAmount;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size such as 20GiB, or { times: 1.2, size_of: TARGET }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SpaceAmount, E> {
                text.parse().map(SpaceAmount::Bytes).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SpaceAmount, A::Error> {
                SpaceTimes::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(SpaceAmount::Times)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl JsonSchema for SpaceAmount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SpaceAmount".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let size = generator.subschema_for::<Size>();
        let times = generator.subschema_for::<SpaceTimes>();
        json_schema!({
            "description": "20GiB, or { times: 1.2, size_of: TARGET }.",
            "anyOf": [size, times],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_size_or_a_multiple_of_one() {
        let read = |value| serde_json::from_value::<SpaceAmount>(value).ok();
        assert_eq!(read(json!("20GiB")), Some(SpaceAmount::Bytes(Size(20 << 30))));
        let times = SpaceTimes { times: 2.0, size_of: "old".to_owned() };
        assert_eq!(read(json!({ "times": 2, "size_of": "old" })), Some(SpaceAmount::Times(times)));
        for wrong in [json!(20), json!("20"), json!("10%"), json!({ "times": 2 }), json!(null)] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}
