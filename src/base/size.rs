//! Byte sizes as people write them: `20GiB`, `500MB`, `4096B`. A unit is always required, so that `500` cannot be
//! read as megabytes by one person and as bytes by the program.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, 0 to 2^64 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        if unit.is_empty() && !number.is_empty() {
            return Err(format!("`{text}` has no unit; write `{text}MiB` or `{text}GiB`"));
        }
        let factor = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, factor)| *factor)
            .ok_or_else(|| {
                format!("`{text}` is not a size; write a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")
            })?;
        let bytes = match number.split_once('.') {
            None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)),
            Some(_) => number
                .parse::<f64>()
                .ok()
                .map(|n| n * factor as f64)
                .filter(|bytes| *bytes < u64::MAX as f64)
                .map(|bytes| bytes.round() as u64),
        };
        bytes.map(Size).ok_or_else(|| format!("`{text}` is not a size that fits in 64 bits"))
    }
}

impl fmt::Display for Size {
    /// Binary units with three significant digits, as `df -h` users expect: `1.50 GiB`, `12.0 MiB`, `512 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1023.5 && unit + 1 < NAMES.len() {
            value /= 1024.0;
            unit += 1;
        }
        let decimals = match (unit, value) {
            (0, _) => 0,
            (_, v) if v >= 99.95 => 0,
            (_, v) if v >= 9.995 => 1,
            _ => 2,
        };
        write!(f, "{value:.decimals$} {}", NAMES[unit])
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Size {
    /// Exact bytes, so that a written size reads back as the same number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}B", self.0))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "size",
            "description": "A size with its unit: 20GiB, 500MB, 4096B. Binary (KiB) and decimal (kB) units differ.",
            "examples": ["20GiB", "500MB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_bare_numbers() {
        assert_eq!("20GiB".parse(), Ok(Size(20 << 30)));
        assert_eq!("1.5 MB".parse(), Ok(Size(1_500_000)));
        assert_eq!("0B".parse(), Ok(Size(0)));
        for wrong in ["500", "", "GiB", "-1GiB", "1XB", "99999999999999TiB", "1..2MB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong} must not be a size");
        }
    }

    #[test]
    fn shows_three_significant_digits() {
        assert_eq!(Size(512).to_string(), "512 B");
        assert_eq!(Size(1_536 << 20).to_string(), "1.50 GiB");
        assert_eq!(Size(250 << 20).to_string(), "250 MiB");
        assert_eq!(Size((1 << 20) - 1).to_string(), "1.00 MiB");
    }
}
