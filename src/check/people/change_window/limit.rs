//! A change window as a runbook writes it, for the limits of environments and steps. There a moment that could be inside or
//! outside, because the clocks change just then, is outside.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::window::{Window, hours};
use crate::runbook::limits::ChangeWindow;

/// Reads one. An error says what is wrong with it.
pub(crate) fn read(written: &ChangeWindow) -> Result<Window, String> {
    let (opens, closes) = hours(&written.hours)?;
    let zone = TimeZone::get(&written.timezone).map_err(|_| {
        format!(
            "`timezone`: `{}` is not in this machine's time zone database; write one as in Europe/London",
            written.timezone
        )
    })?;
    if written.days.is_empty() {
        return Err("`days` is empty: it would never open".to_owned());
    }
    let dates = written.except.iter().map(|text| {
        let date: Result<Date, _> = text.trim().parse();
        date.map_err(|_| format!("`except`: `{text}` is no date; write it as in 2026-12-24"))
    });
    let not_on = dates.collect::<Result<_, String>>()?;
    let days = written.days.clone();
    Ok(Window { opens, closes, zone, days, not_on, strict: true })
}

/// True when there is a moment in the year after `from` at which both are open.
pub(crate) fn meet(one: &Window, other: &Window, from: Timestamp) -> bool {
    let (ours, theirs) = (one.year(from), other.year(from));
    let mut theirs = theirs.iter().peekable();
    ours.iter().any(|(opens, closes)| {
        while theirs.next_if(|(_, c)| c <= opens).is_some() {}
        theirs.peek().is_some_and(|(o, _)| o < closes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(day: &str, hours: &str) -> Window {
        let written = serde_json::json!({ "days": [day], "hours": hours, "timezone": "UTC" });
        read(&serde_json::from_value(written).unwrap()).unwrap()
    }

    #[test]
    fn windows_that_never_meet_are_found() {
        let from = "2026-01-01T00:00:00Z".parse().unwrap();
        let meet = |one: (&str, &str), other: (&str, &str)| {
            let (one, other) = (window(one.0, one.1), window(other.0, other.1));
            assert_eq!(super::meet(&one, &other, from), super::meet(&other, &one, from));
            super::meet(&one, &other, from)
        };
        assert!(meet(("mon", "09:00-15:00"), ("mon", "14:00-20:00")));
        assert!(!meet(("mon", "09:00-15:00"), ("mon", "15:00-20:00")));
        assert!(!meet(("mon", "09:00-15:00"), ("tue", "09:00-15:00")));
        assert!(meet(("mon", "22:00-04:00"), ("tue", "03:00-05:00")));
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |change: serde_json::Value| {
            let mut written =
                serde_json::json!({ "days": ["mon"], "hours": "09:00-15:00", "timezone": "UTC" });
            written.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            read(&serde_json::from_value(written).unwrap()).err().unwrap_or_default()
        };
        assert_eq!(refused(serde_json::json!({})), "");
        assert!(refused(serde_json::json!({ "days": [] })).contains("never open"));
        assert!(refused(serde_json::json!({ "hours": "09:00-09:00" })).contains("no window"));
        assert!(refused(serde_json::json!({ "timezone": "Europe/Londn" })).contains("Europe/Londn"));
        assert!(refused(serde_json::json!({ "except": ["24.12."] })).contains("no date"));
    }
}
