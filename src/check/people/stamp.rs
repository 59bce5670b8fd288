//! A moment that somebody else wrote down: as RFC 3339, as SQL prints it, or as seconds since 1970.

use std::time::Duration;

use jiff::Timestamp;

use super::errand::short;
use crate::check::params::decimal;

/// From here on a number counts milliseconds: as seconds it would be the year 5138.
const MILLIS: f64 = 1e11;

/// Reads a moment. A date without a zone is none: it could mean any of a day's hours.
pub fn read(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(number) = decimal(text) {
        let seconds = if number.abs() >= MILLIS { number / 1000.0 } else { number };
        // Neither a counter nor a flag is a moment.
        if seconds < 1e8 {
            return Err(format!("{} is no moment of our time", short(text, 40)));
        }
        let stamp = Timestamp::from_millisecond((seconds * 1000.0) as i64);
        return stamp.map_err(|_| format!("{} is no moment of our time", short(text, 40)));
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(stamp);
    }
    // PostgreSQL prints `2026-11-20 10:00:00+00`, whole hours only.
    let hours = text.get(text.len().saturating_sub(3)..).filter(|end| end.starts_with(['+', '-']));
    if hours.is_some_and(|end| end[1..].bytes().all(|b| b.is_ascii_digit()))
        && text.contains(':')
        && let Ok(stamp) = format!("{text}:00").parse::<Timestamp>()
    {
        return Ok(stamp);
    }
    if text.parse::<jiff::civil::DateTime>().is_ok() {
        return Err(format!("{} has no time zone: it could be any hour", short(text, 40)));
    }
    Err(format!("`{}` is no moment", short(text, 60)))
}

/// How old a moment is. An error when it lies further in the future than `slack`: then one of the clocks is wrong, and no
/// age is known.
pub fn age(stamp: Timestamp, now: Timestamp, slack: Duration) -> Result<Duration, String> {
    let millis = now.as_millisecond() - stamp.as_millisecond();
    if millis < -i64::try_from(slack.as_millis()).unwrap_or(i64::MAX) {
        let ahead = crate::base::Span(Duration::from_millis(millis.unsigned_abs()));
        return Err(format!("{stamp:.0} lies {ahead} in the future: a clock is wrong"));
    }
    Ok(Duration::from_millis(millis.max(0).unsigned_abs()))
}

/// Without what nobody wants to read: whole seconds from a minute on.
pub fn rounded(age: Duration) -> crate::base::Span {
    crate::base::Span(if age.as_secs() >= 10 { Duration::from_secs(age.as_secs()) } else { age })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_spellings_of_one_moment() {
        for text in [
            "2026-11-20T10:00:00Z",
            " 2026-11-20 10:00:00+00\n",
            "2026-11-20 12:00:00.000+02",
            "2026-11-20 15:30:00+05:30",
            "1795168800",
            "1795168800000",
            "1.7951688e+09",
        ] {
            assert_eq!(read(text).map(|t| t.as_second()), Ok(1_795_168_800), "{text}");
        }
        assert!(read("2026-11-20 10:00:00").unwrap_err().contains("no time zone"));
        for none in ["", "never", "0", "1", "NaN", "-5", "2026-11-20"] {
            assert!(read(none).is_err(), "{none}");
        }
    }

    #[test]
    fn the_future_has_no_age() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let at = |text: &str| age(text.parse().unwrap(), now, Duration::from_secs(60));
        assert_eq!(at("2026-11-20T09:00:00Z"), Ok(Duration::from_secs(3600)));
        assert_eq!(at("2026-11-20T10:00:30Z"), Ok(Duration::ZERO));
        assert!(at("2026-11-20T10:02:00Z").unwrap_err().contains("in the future"));
    }
}
