//! Dates and times that SQLite keeps as text, in the form in which PostgreSQL writes them (ISO, UTC).

use jiff::civil::{DateTime, date as civil};
use jiff::tz::{Offset, TimeZone};

/// `2024-02-29`.
pub fn date(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    day(text).map(|_| text.to_owned())
}

/// `2024-02-29 12:00:00.5`, with `T` as well; no offset.
pub fn local(text: &[u8]) -> Option<String> {
    let (moment, rest) = moment(std::str::from_utf8(text).ok()?)?;
    rest.is_empty().then(|| write(moment))
}

/// The same with `Z` or an offset, as UTC. Without one it is not known which moment is meant.
pub fn utc(text: &[u8]) -> Option<String> {
    let (moment, rest) = moment(std::str::from_utf8(text).ok()?)?;
    let offset = offset(rest)?;
    let stamp = moment.to_zoned(TimeZone::fixed(offset)).ok()?.timestamp();
    Some(write(Offset::UTC.to_datetime(stamp)))
}

fn digits(text: &str, count: usize) -> Option<i32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn day(text: &str) -> Option<jiff::civil::Date> {
    let (year, month, day) = (text.get(..4)?, text.get(4..8)?, text.get(8..)?);
    let month = month.strip_prefix('-')?.strip_suffix('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    if year == 0 {
        return None;
    }
    jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// A moment, and what comes after it.
fn moment(text: &str) -> Option<(DateTime, &str)> {
    let day = day(text.get(..10)?)?;
    let time = text.get(10..)?.strip_prefix([' ', 'T'])?;
    let hour = digits(time.get(..2)?, 2)?;
    let minute = digits(time.get(2..5)?.strip_prefix(':')?, 2)?;
    let mut rest = time.get(5..)?;
    let (mut second, mut nanos) = (0, 0);
    if let Some(more) = rest.strip_prefix(':') {
        second = digits(more.get(..2)?, 2)?;
        rest = more.get(2..)?;
        if let Some(more) = rest.strip_prefix('.') {
            let end = more.find(|c: char| !c.is_ascii_digit()).unwrap_or(more.len());
            let fraction = more.get(..end).filter(|f| (1..=6).contains(&f.len()))?;
            nanos = format!("{fraction:0<9}").parse().ok()?;
            rest = more.get(end..)?;
        }
    }
    let small = |n: i32| i8::try_from(n).ok();
    if second > 59 {
        return None;
    }
    let time = jiff::civil::Time::new(small(hour)?, small(minute)?, small(second)?, nanos).ok()?;
    Some((day.to_datetime(time), rest))
}

fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let rest = text.get(1..)?.replace(':', "");
    let (hours, minutes) = match rest.len() {
        2 => (digits(&rest, 2)?, 0),
        4 => (digits(rest.get(..2)?, 2)?, digits(rest.get(2..)?, 2)?),
        _ => return None,
    };
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn write(moment: DateTime) -> String {
    let micros = moment.subsec_nanosecond() / 1000;
    let fraction = format!(".{micros:06}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let day = civil(moment.year(), moment.month(), moment.day());
    format!("{day} {:02}:{:02}:{:02}{fraction}", moment.hour(), moment.minute(), moment.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_postgres_writes_it() {
        assert_eq!(date(b"2024-02-29").as_deref(), Some("2024-02-29"));
        assert_eq!(local(b"2024-02-29T12:00:00.500").as_deref(), Some("2024-02-29 12:00:00.5"));
        assert_eq!(local(b"2024-02-29 12:00").as_deref(), Some("2024-02-29 12:00:00"));
        assert_eq!(utc(b"2024-03-01 01:30:00+02:00").as_deref(), Some("2024-02-29 23:30:00"));
        assert_eq!(utc(b"2024-03-01T01:30:00.000001Z").as_deref(), Some("2024-03-01 01:30:00.000001"));
        for wrong in ["2023-02-29", "2024-2-9", "20240229", "0000-01-01", "2024-02-29 ", "today", ""] {
            assert_eq!(date(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(local(b"2024-02-29 12:00:00Z"), None, "which clock?");
        assert_eq!(utc(b"2024-02-29 12:00:00"), None, "which clock?");
        assert_eq!(local(b"2024-02-29 12:00:00.1234567"), None, "more than microseconds");
        assert_eq!(local(b"2024-02-29 12:00:60"), None);
    }
}
