//! The time at the beginning of a line of a log: PostgreSQL's default prefix, ISO 8601, csvlog, JSON, seconds since 1970.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

/// Words behind a time that are no zone.
const LEVELS: [&str; 10] =
    ["LOG", "FATAL", "PANIC", "ERROR", "WARN", "INFO", "DEBUG", "TRACE", "CRIT", "ALERT"];
/// Keys of a line of JSON that hold its time.
const KEYS: [&str; 4] = ["timestamp", "@timestamp", "time", "ts"];

/// What the beginning of a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stamp {
    At(Timestamp),
    /// No time.
    None,
    /// A time in a zone that is not known: why.
    Unclear(String),
}

/// Reads stamps.
pub(super) struct Reader {
    /// The zone of stamps that do not tell theirs.
    given: Option<TimeZone>,
    system: TimeZone,
}

impl Reader {
    pub fn new(zone: Option<&str>) -> Result<Self, String> {
        let given = zone.map(TimeZone::get).transpose();
        let given =
            given.map_err(|_| format!("`{}` is no time zone known here", zone.unwrap_or_default()))?;
        Ok(Reader { given, system: TimeZone::system() })
    }

    /// The time of a line.
    pub fn read(&self, line: &str) -> Stamp {
        if line.starts_with('{') {
            let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else { return Stamp::None };
            let text = KEYS.iter().find_map(|key| fields.get(*key)?.as_str());
            return text.map_or(Stamp::None, |text| self.at_start(text));
        }
        self.at_start(line.trim_start_matches(['[', '<']))
    }

    fn at_start(&self, text: &str) -> Stamp {
        if let Some(at) = seconds(text) {
            return Stamp::At(at);
        }
        let Some((civil, rest)) = civil(text) else { return Stamp::None };
        match zone(rest) {
            Zone::Fixed(offset) => offset.to_timestamp(civil).map_or(Stamp::None, Stamp::At),
            Zone::Named(name) => self.named(civil, name),
            Zone::None => match &self.given {
                Some(zone) => zone.to_ambiguous_timestamp(civil).compatible().map_or(Stamp::None, Stamp::At),
                None => Stamp::Unclear("its time has no zone; give `timezone`".to_owned()),
            },
        }
    }

    /// Abbreviations mean different zones in different places: only those of the zone that was given, or of this machine,
    /// at that time, are believed.
    fn named(&self, civil: DateTime, name: &str) -> Stamp {
        for zone in self.given.iter().chain([&self.system]) {
            let ambiguous = zone.to_ambiguous_timestamp(civil);
            for at in [ambiguous.earlier(), ambiguous.later()].into_iter().flatten() {
                if zone.to_offset_info(at).abbreviation() == name {
                    return Stamp::At(at);
                }
            }
        }
        Stamp::Unclear(format!("its zone {name} is not that of this machine; give `timezone`"))
    }
}

/// `1764490000.123`
fn seconds(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = text.get(..digits).filter(|_| digits == 10)?.parse::<i64>().ok()?;
    let rest = text.get(digits..)?;
    let fraction = rest.strip_prefix('.').map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let behind = rest.get(fraction.map_or(0, |n| n + 1)..)?;
    if !(behind.is_empty() || behind.starts_with([' ', ',', ']', '>', ':'])) {
        return None;
    }
    Timestamp::from_second(whole).ok()
}

/// `2026-11-30 08:21:00.123` or with a `T`, and what follows.
fn civil(text: &str) -> Option<(DateTime, &str)> {
    let head = text.get(..19)?;
    let bytes = head.as_bytes();
    let marks = [(4, '-'), (7, '-'), (13, ':'), (16, ':')];
    let shaped = marks.iter().all(|(at, mark)| bytes[*at] == *mark as u8) && matches!(bytes[10], b' ' | b'T');
    if !shaped {
        return None;
    }
    let number = |from: usize, to: usize| head.get(from..to)?.parse::<i16>().ok().filter(|n| *n >= 0);
    let small = |from: usize, to: usize| i8::try_from(number(from, to)?).ok();
    let mut rest = text.get(19..)?;
    let mut nanos = 0_i32;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if (1..=9).contains(&digits) {
            nanos = fraction.get(..digits)?.parse::<i32>().ok()? * 10_i32.pow(9 - digits as u32);
            rest = fraction.get(digits..)?;
        }
    }
    // A leap second is the second before it.
    let second = small(17, 19)?.min(59);
    let civil = DateTime::new(
        number(0, 4)?,
        small(5, 7)?,
        small(8, 10)?,
        small(11, 13)?,
        small(14, 16)?,
        second,
        nanos,
    );
    Some((civil.ok()?, rest))
}

enum Zone<'a> {
    Fixed(Offset),
    Named(&'a str),
    None,
}

fn zone(rest: &str) -> Zone<'_> {
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    let end = text.find([' ', ',', ']', '>', '"']).unwrap_or(text.len());
    let word = &text[..end];
    if matches!(word, "Z" | "UTC" | "GMT") {
        return Zone::Fixed(Offset::UTC);
    }
    if let Some(offset) = offset(word) {
        return Zone::Fixed(offset);
    }
    let letters = (2..=5).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase());
    if letters && !LEVELS.contains(&word) { Zone::Named(word) } else { Zone::None }
}

/// `+01`, `+0100`, `+01:00`, `-03`
fn offset(word: &str) -> Option<Offset> {
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = word.get(1..)?.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |n: usize| digits.get(n..n + 2).map_or(Some(0), |text| text.parse::<i32>().ok());
    Offset::from_seconds(sign * (part(0)? * 3600 + part(2)? * 60 + part(4)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(zone: Option<&str>, line: &str) -> Option<String> {
        match Reader::new(zone).unwrap().read(line) {
            Stamp::At(at) => Some(at.to_string()),
            _ => None,
        }
    }

    #[test]
    fn times_of_the_usual_logs() {
        let at = Some("2026-11-30T08:21:05.5Z".to_owned());
        for line in [
            "2026-11-30 08:21:05.500 UTC [77] LOG:  x",
            "2026-11-30 09:21:05.500 +01 [77] LOG:  x",
            "[2026-11-30T08:21:05.5Z] x",
            "2026-11-30T10:21:05.500000+02:00 host postgres[1]: x",
            "2026-11-30 08:21:05.500 UTC,\"postgres\",\"db\",77",
            "{\"timestamp\":\"2026-11-30 08:21:05.500 UTC\",\"pid\":77}",
            "2026-11-30 08:21:05.500 GMT",
        ] {
            assert_eq!(read(None, line), at, "{line}");
        }
        assert_eq!(read(None, "1796026865.123 [77] LOG:  x").as_deref(), Some("2026-11-30T08:21:05Z"));
        let berlin = |line: &str| read(Some("Europe/Berlin"), line);
        assert_eq!(berlin("2026-11-30 09:21:05.500 CET [7] LOG:  x"), at);
        assert_eq!(berlin("2026-11-30 09:21:05,500 - synapse.app - INFO - x"), at);
        assert_eq!(berlin("2026-11-30 09:21:05,500 INFO x"), at);
        // The hour that comes twice: the abbreviation tells which.
        assert_eq!(berlin("2026-10-25 02:30:00 CEST x").as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(berlin("2026-10-25 02:30:00 CET x").as_deref(), Some("2026-10-25T01:30:00Z"));
        assert_eq!(berlin("2026-11-30 09:21:05.500 CST [7] LOG:  x"), None, "whose?");
    }

    #[test]
    fn what_has_no_time_or_no_zone_is_not_guessed() {
        for line in [
            "",
            "\tselect 1",
            "Nov 30 08:21:05 host x",
            "2026-13-30 08:21:05 UTC",
            "{\"a\":1}",
            "{",
            "12345678901 x",
        ] {
            assert_eq!(Reader::new(None).unwrap().read(line), Stamp::None, "{line}");
        }
        let unclear = Reader::new(None).unwrap().read("2026-11-30 08:21:05,500 - synapse");
        assert!(matches!(unclear, Stamp::Unclear(_)), "{unclear:?}");
        assert!(Reader::new(Some("Europe/Nowhere")).is_err());
    }
}
