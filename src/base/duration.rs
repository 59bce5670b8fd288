//! Lengths of time as people write them: `90s`, `30min`, `12h`, `7d`, `1h30min`. A day is 24 hours.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, 0 to about 584 million years, with millisecond precision in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    /// Whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Span(Duration::from_secs(seconds))
    }

    /// Milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Span(Duration::from_millis(millis))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a duration; write a number and ms, s, min, h or d, as in 90s or 1h30min")
        };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(|| format!("`{text}` has no unit; write `{rest}s`, `{rest}min` or `{rest}h`"))?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let factor = UNITS
                .iter()
                .find(|(name, _)| *name == &rest[..letters])
                .map(|(_, f)| *f)
                .ok_or_else(wrong)?;
            rest = rest[letters..].trim_start();
            total = number.checked_mul(factor).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        }
        Ok(Span(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    /// The two largest units: `2d 3h`, `1h 30min`, `45s`, `120ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let s = ms / 1000;
        let pair = |f: &mut fmt::Formatter<'_>, a: u64, ua: &str, b: u64, ub: &str| match b {
            0 => write!(f, "{a}{ua}"),
            _ => write!(f, "{a}{ua} {b}{ub}"),
        };
        match s {
            0 if ms == 0 => f.write_str("0s"),
            0 => write!(f, "{ms}ms"),
            1..60 if !ms.is_multiple_of(1000) && s < 10 => write!(f, "{:.1}s", ms as f64 / 1000.0),
            1..60 => write!(f, "{s}s"),
            60..3600 => pair(f, s / 60, "min", s % 60, "s"),
            3600..86400 => pair(f, s / 3600, "h", s % 3600 / 60, "min"),
            _ => pair(f, s / 86400, "d", s % 86400 / 3600, "h"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "duration",
            "description": "A length of time with its unit: 90s, 30min, 12h, 7d, 1h30min. A day is 24 hours.",
            "examples": ["90s", "30min", "12h", "7d"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_bare_numbers() {
        assert_eq!("90s".parse(), Ok(Span::secs(90)));
        assert_eq!("1h30min".parse(), Ok(Span::secs(5400)));
        assert_eq!("7d".parse(), Ok(Span::secs(7 * 86_400)));
        assert_eq!("250ms".parse(), Ok(Span::millis(250)));
        for wrong in ["90", "", "h", "1.5h", "-3s", "3 weeks", "99999999999999999d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong} must not be a duration");
        }
    }

    #[test]
    fn shows_two_units() {
        assert_eq!(Span::secs(5400).to_string(), "1h 30min");
        assert_eq!(Span::secs(60).to_string(), "1min");
        assert_eq!(Span::millis(1200).to_string(), "1.2s");
        assert_eq!(Span::secs(90_000).to_string(), "1d 1h");
    }
}
