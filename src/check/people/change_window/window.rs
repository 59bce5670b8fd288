//! Windows on the time line: pure, on a given moment. A window is as long as it really is, also when the clocks change.

use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::runbook::limits::Weekday as Day;

impl Day {
    const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn of(date: Date) -> Day {
        let nth = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        Day::ALL[nth % 7]
    }

    fn name(self) -> &'static str {
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][self as usize]
    }
}

/// Minutes since midnight.
type Minutes = u16;

const DAY: Minutes = 24 * 60;

/// When a window is open.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Begins.
    pub opens: Minutes,
    /// Ends; not after `opens` means on the day after.
    pub closes: Minutes,
    /// By whose clock.
    pub zone: TimeZone,
    /// The days on which it begins.
    pub days: Vec<Day>,
    /// Dates on which it does not.
    pub not_on: Vec<Date>,
    /// An end that the clocks skip, or that comes twice, is taken so that the window is the shorter.
    pub strict: bool,
}

/// Where a moment stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Inside, with so much left.
    Inside { left: Duration },
    /// Outside.
    Outside { why: String },
}

/// Reads `09:00-15:00`.
pub(crate) fn hours(text: &str) -> Result<(Minutes, Minutes), String> {
    let wrong = || format!("`hours`: `{text}` is no window; write it as in 09:00-15:00");
    let one = |part: &str| {
        let (hour, minute) = part.trim().split_once(':')?;
        let digits = |text: &str, lengths: &[usize]| {
            let plain = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<Minutes>().ok().filter(|_| plain)
        };
        let (hour, minute) = (digits(hour, &[1, 2])?, digits(minute, &[2])?);
        let all = hour * 60 + minute;
        (minute < 60 && all <= DAY).then_some(all)
    };
    let (opens, closes) = text.split_once('-').ok_or_else(wrong)?;
    let (opens, closes) = (one(opens).ok_or_else(wrong)?, one(closes).ok_or_else(wrong)?);
    if opens == closes || opens == DAY {
        return Err(wrong());
    }
    Ok((opens, closes))
}

impl Window {
    /// How long it can be, the clocks being set back included.
    pub(crate) fn longest(&self) -> Duration {
        let minutes = match self.closes > self.opens {
            true => self.closes - self.opens,
            false => DAY - self.opens + self.closes,
        };
        Duration::from_secs(u64::from(minutes) * 60)
    }

    /// The window that begins on a date, whatever day it is.
    fn on(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let at = |date: Date, minutes: Minutes, opens: bool| {
            let date = if minutes >= DAY { date.checked_add(1.day()).ok()? } else { date };
            let minutes = minutes % DAY;
            let time = Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok()?;
            let end = self.zone.to_ambiguous_zoned(date.to_datetime(time));
            let end = match (self.strict, opens) {
                // A time that the clocks skip is taken an hour later; one that comes twice, the first time.
                (false, _) => end.compatible(),
                (true, true) => end.later(),
                (true, false) => end.earlier(),
            };
            Some(end.ok()?.timestamp())
        };
        let last = if self.closes > self.opens { date } else { date.checked_add(1.day()).ok()? };
        let (opens, closes) = (at(date, self.opens, true)?, at(last, self.closes, false)?);
        (opens < closes).then_some((opens, closes))
    }

    fn begins_on(&self, date: Date) -> bool {
        self.days.contains(&Day::of(date)) && !self.not_on.contains(&date)
    }

    /// All windows from the day before `from` on, in order; those that touch are one.
    fn from(&self, from: Date, days: i64) -> Vec<(Timestamp, Timestamp)> {
        let mut all: Vec<(Timestamp, Timestamp)> = Vec::new();
        for n in -1..days {
            let Ok(date) = from.checked_add(n.days()) else { continue };
            let Some((opens, closes)) = self.on(date).filter(|_| self.begins_on(date)) else { continue };
            match all.last_mut() {
                Some(last) if opens <= last.1 => last.1 = last.1.max(closes),
                _ => all.push((opens, closes)),
            }
        }
        all
    }

    fn date(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone()).date()
    }

    /// `Thu 2026-11-19 10:30 GMT`.
    pub(crate) fn local(&self, now: Timestamp) -> String {
        now.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// Where a moment stands.
    pub(crate) fn place(&self, now: Timestamp) -> Place {
        let today = self.date(now);
        // Eight days: where every day has a window that touches the next, it is always open.
        let open = self.from(today, 9).into_iter().find(|(opens, closes)| *opens <= now && now < *closes);
        if let Some((_, closes)) = open {
            let left = closes.as_millisecond() - now.as_millisecond();
            return Place::Inside { left: Duration::from_millis(left.max(0).unsigned_abs()) };
        }
        let why = match Day::of(today) {
            _ if self.not_on.contains(&today) => format!("{today} is left out"),
            day if !self.days.contains(&day) => format!("not on a {}", day.name()),
            _ => {
                let time = |minutes: Minutes| format!("{:02}:{:02}", minutes / 60, minutes % 60);
                format!("outside {}-{}", time(self.opens), time(self.closes))
            }
        };
        Place::Outside { why }
    }

    /// When the next one opens after a moment.
    pub(crate) fn next(&self, now: Timestamp) -> Option<String> {
        self.opening(now).map(|opens| self.local(opens))
    }

    /// The same as a moment.
    pub(crate) fn opening(&self, now: Timestamp) -> Option<Timestamp> {
        self.year(now).into_iter().find(|(opens, _)| *opens > now).map(|(opens, _)| opens)
    }

    /// All of a year, from the day before a moment on.
    pub(crate) fn year(&self, from: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        self.from(self.date(from), 366)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str, zone: &str, days: &[Day]) -> Window {
        let (opens, closes) = hours(text).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        Window { opens, closes, zone, days: days.to_vec(), not_on: Vec::new(), strict: false }
    }

    /// Minutes left, or none outside.
    fn left(window: &Window, now: &str) -> Option<u64> {
        match window.place(now.parse().unwrap()) {
            Place::Inside { left } => Some(left.as_secs() / 60),
            Place::Outside { .. } => None,
        }
    }

    #[test]
    fn both_ends() {
        let day = window("09:00-15:00", "UTC", &[Day::Thu]);
        for (now, minutes) in [
            ("2026-11-19T08:59:59.999Z", None),
            ("2026-11-19T09:00:00Z", Some(360)),
            ("2026-11-19T14:59:00Z", Some(1)),
            ("2026-11-19T15:00:00Z", None),
            ("2026-11-18T10:00:00Z", None),
            ("2026-11-20T10:00:00Z", None),
        ] {
            assert_eq!(left(&day, now), minutes, "{now}");
        }
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_begins_on() {
        // Sunday night into Monday: the week's edge.
        let night = window("22:00-04:00", "UTC", &[Day::Sun]);
        assert_eq!(left(&night, "2026-11-22T23:00:00Z"), Some(300));
        assert_eq!(left(&night, "2026-11-23T03:00:00Z"), Some(60));
        assert_eq!(left(&night, "2026-11-22T03:00:00Z"), None, "Saturday's night");
        assert_eq!(left(&night, "2026-11-23T23:00:00Z"), None, "Monday's night");
        let without = Window { not_on: vec!["2026-11-22".parse().unwrap()], ..night };
        assert_eq!(left(&without, "2026-11-23T03:00:00Z"), None, "it did not begin");
        let until = window("18:00-24:00", "UTC", &[Day::Thu]);
        assert_eq!(left(&until, "2026-11-19T23:00:00Z"), Some(60));
        assert_eq!(left(&until, "2026-11-20T00:00:00Z"), None);
    }

    #[test]
    fn windows_that_touch_are_one() {
        let always = window("00:00-24:00", "Europe/London", &Day::ALL);
        assert!(left(&always, "2026-11-19T23:59:00Z") > Some(7 * 24 * 60));
        let two = window("00:00-24:00", "UTC", &[Day::Sat, Day::Sun]);
        assert_eq!(left(&two, "2026-11-21T12:00:00Z"), Some(36 * 60));
        assert_eq!(left(&two, "2026-11-23T00:00:00Z"), None);
        assert_eq!(
            two.next("2026-11-21T12:00:00Z".parse().unwrap()).as_deref(),
            Some("Sat 2026-11-28 00:00 UTC")
        );
    }

    #[test]
    fn spring_forward() {
        // London, 29 March 2026: 01:00 GMT becomes 02:00 BST.
        let night = window("22:00-04:00", "Europe/London", &[Day::Sat]);
        assert_eq!(left(&night, "2026-03-28T22:00:00Z"), Some(300), "an hour is missing");
        assert_eq!(left(&night, "2026-03-29T02:59:00Z"), Some(1));
        assert_eq!(left(&night, "2026-03-29T03:00:00Z"), None);
        // It would begin in the hour that is missing.
        let skipped = window("01:30-05:00", "Europe/London", &[Day::Sun]);
        assert_eq!(left(&skipped, "2026-03-29T01:29:00Z"), None);
        assert_eq!(left(&skipped, "2026-03-29T01:30:00Z"), Some(150), "02:30 BST");
    }

    #[test]
    fn fall_back() {
        // London, 25 October 2026: 02:00 BST becomes 01:00 GMT.
        let night = window("22:00-04:00", "Europe/London", &[Day::Sat]);
        assert_eq!(left(&night, "2026-10-24T21:00:00Z"), Some(420), "an hour comes twice");
        assert_eq!(left(&night, "2026-10-25T03:59:00Z"), Some(1));
        // 01:30 comes twice: it opens the first time, and closes the first time.
        let twice = window("01:30-03:00", "Europe/London", &[Day::Sun]);
        assert_eq!(left(&twice, "2026-10-25T00:30:00Z"), Some(150));
        let closes = window("00:00-01:30", "Europe/London", &[Day::Sun]);
        assert_eq!(left(&closes, "2026-10-25T00:29:00Z"), Some(1));
        assert_eq!(left(&closes, "2026-10-25T01:00:00Z"), None);
        // The other half of the world, at another time of the year.
        let south = window("22:00-04:00", "Australia/Sydney", &[Day::Sat]);
        assert_eq!(left(&south, "2026-10-03T12:00:00Z"), Some(300), "forward in October");
        assert_eq!(left(&south, "2026-04-04T11:00:00Z"), Some(420), "back in April");
    }
}
