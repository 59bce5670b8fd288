//! Keys that take a string or something longer.

/// Reads a string or something longer, by a visitor, so that an error keeps its place.
macro_rules! string_or {
    ($type:ty, $expecting:literal, $from_str:expr, seq: $seq:ty => $from_seq:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> serde::de::Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        Ok($from_str(text.to_owned()))
                    }
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<$type, A::Error> {
                        <$seq>::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map($from_seq)
                    }
                }
                deserializer.deserialize_any(V)
            }
        }
    };
    ($type:ty, $expecting:literal, $from_str:expr, map: $map:ty => $from_map:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> serde::de::Visitor<'de> for V {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        Ok($from_str(text.to_owned()))
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$map>::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map($from_map)
                    }
                }
                deserializer.deserialize_any(V)
            }
        }
    };
}

pub(super) use string_or;
