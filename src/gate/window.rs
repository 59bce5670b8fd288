//! Change windows: outside of one no step begins that changes something.
//!
//! Invariants: a moment that could be inside or outside, because the clocks are set back or forward just then, is outside;
//! a clock that cannot be believed is outside.

use jiff::Timestamp;

use super::clock::Clock;
use super::rules::blocker;
use crate::check::people::change_window::limit;
use crate::check::people::change_window::window::{Place, Window as Line};
use crate::journal::record::Blocker;
use crate::runbook::limits::ChangeWindow;

/// Subject of the blocker of a window that is not open.
pub const WINDOW: &str = "change window";

/// A window that can be looked at.
#[derive(Debug, Clone)]
pub struct Window {
    line: Line,
    words: String,
}

impl Window {
    /// Reads one. An error says what is wrong with it.
    pub fn read(written: &ChangeWindow) -> Result<Window, String> {
        let line = limit::read(written)?;
        Ok(Window { line, words: words(written) })
    }

    /// `mon tue 09:00-15:00 Europe/London`.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Why no change may begin; `None` when one may.
    pub fn blocker(&self, clock: &Clock<'_>) -> Option<Blocker> {
        let refuse = |observed: String, next: &str| {
            Some(blocker(
                WINDOW,
                "It is a time at which changes may begin",
                observed,
                self.words.clone(),
                next,
            ))
        };
        if let Some(why) = clock.doubt() {
            let next = "find out what time it is, put the clock right, then resume";
            return refuse(format!("unknown: {why}"), next);
        }
        let now = clock.now.wall;
        match self.line.place(now) {
            Place::Inside { .. } => None,
            Place::Outside { why } => {
                let next = match self.line.opening(now) {
                    Some(at) => format!("wait: it opens {}", self.both(at)),
                    None => "it does not open within a year; correct the runbook".to_owned(),
                };
                refuse(format!("{}: {why}", self.line.local(now)), &next)
            }
        }
    }

    /// Where it stands, in one line: `open until …`, `closed; it opens …`.
    pub fn standing(&self, clock: &Clock<'_>) -> String {
        match (self.blocker(clock), self.line.place(clock.now.wall)) {
            (Some(blocker), _) => {
                let next = blocker.next.strip_prefix("wait: ").unwrap_or(&blocker.next);
                format!("closed ({}); {next}", blocker.observed)
            }
            (None, Place::Inside { left }) => {
                let at =
                    Timestamp::from_millisecond(clock.now.wall.as_millisecond() + left.as_millis() as i64);
                format!("open until {}", at.map_or_else(|_| "the end of time".to_owned(), |at| self.both(at)))
            }
            (None, Place::Outside { .. }) => "closed".to_owned(),
        }
    }

    fn both(&self, at: Timestamp) -> String {
        format!("{} ({} UTC)", self.line.local(at), at.strftime("%Y-%m-%d %H:%M"))
    }
}

/// A window in one line.
pub fn words(written: &ChangeWindow) -> String {
    let days: Vec<&str> = written.days.iter().map(|day| day.word()).collect();
    let except = match written.except.as_slice() {
        [] => String::new(),
        dates => format!(", except {}", dates.join(", ")),
    };
    format!("{} {} {}{except}", days.join(" "), written.hours.replace(' ', ""), written.timezone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Moment;

    fn window(json: serde_json::Value) -> Window {
        Window::read(&serde_json::from_value(json).unwrap()).unwrap()
    }

    fn at(text: &str) -> Moment {
        Moment { wall: text.parse().unwrap(), boot_ms: 1_000_000 }
    }

    fn open(window: &Window, text: &str) -> bool {
        let now = at(text);
        let clock = Clock { now: &now, session: &now, boot: "b", newest: Timestamp::MIN };
        window.blocker(&clock).is_none()
    }

    #[test]
    fn real_zones_around_the_days_on_which_clocks_change() {
        let all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let of = |hours: &str, zone: &str| {
            window(serde_json::json!({ "days": all, "hours": hours, "timezone": zone }))
        };
        // London, 29 March 2026: at 01:00Z it becomes 02:00 BST. 25 October 2026: at 01:00Z it becomes 01:00 GMT.
        // New York, 1 November 2026: at 06:00Z it becomes 01:00 EST. Lord Howe goes back half an hour, 5 April, 15:00Z.
        for (hours, zone, moment, wanted, why) in [
            ("09:00-15:00", "Europe/London", "2026-01-15T09:00:00Z", true, "winter"),
            ("09:00-15:00", "Europe/London", "2026-07-15T08:00:00Z", true, "summer: an hour earlier"),
            ("09:00-15:00", "Europe/London", "2026-07-15T07:59:59Z", false, "not yet"),
            ("09:00-15:00", "Europe/London", "2026-07-15T14:00:00Z", false, "the end is outside"),
            ("01:30-05:00", "Europe/London", "2026-03-29T00:45:00Z", false, "01:30 never comes"),
            ("01:30-05:00", "Europe/London", "2026-03-29T01:29:00Z", false, "02:29 BST"),
            ("01:30-05:00", "Europe/London", "2026-03-29T01:30:00Z", true, "02:30 BST"),
            ("00:15-01:30", "Europe/London", "2026-03-29T00:29:00Z", true, "before the gap"),
            (
                "00:15-01:30",
                "Europe/London",
                "2026-03-29T00:31:00Z",
                false,
                "it closes in the gap: at its earliest",
            ),
            ("01:30-03:00", "Europe/London", "2026-10-25T00:45:00Z", false, "01:45 BST: comes twice"),
            ("01:30-03:00", "Europe/London", "2026-10-25T01:29:00Z", false, "01:29 GMT"),
            ("01:30-03:00", "Europe/London", "2026-10-25T01:30:00Z", true, "01:30 GMT, the second time"),
            ("00:15-01:30", "Europe/London", "2026-10-25T00:29:00Z", true, "01:29 BST, the first time"),
            (
                "00:15-01:30",
                "Europe/London",
                "2026-10-25T01:15:00Z",
                false,
                "01:15 GMT: closed the first time",
            ),
            ("01:15-02:00", "America/New_York", "2026-11-01T05:30:00Z", false, "01:30 EDT"),
            ("01:15-02:00", "America/New_York", "2026-11-01T06:30:00Z", true, "01:30 EST"),
            ("01:40-04:00", "Australia/Lord_Howe", "2026-04-04T14:50:00Z", false, "01:50 +11: comes twice"),
            ("01:40-04:00", "Australia/Lord_Howe", "2026-04-04T15:10:00Z", true, "01:40 +10:30"),
            ("22:00-04:00", "Pacific/Chatham", "2026-11-19T09:00:00Z", true, "quarter-hour offsets"),
        ] {
            assert_eq!(open(&of(hours, zone), moment), wanted, "{hours} {zone} {moment}: {why}");
        }
    }

    #[test]
    fn says_when_it_opens_by_both_clocks() {
        let window = window(serde_json::json!({
            "days": ["mon", "tue"], "hours": "09:00-15:00", "timezone": "Europe/London", "except": ["2026-07-20"],
        }));
        let now = at("2026-07-17T10:00:00Z");
        let clock = Clock { now: &now, session: &now, boot: "b", newest: Timestamp::MIN };
        let blocker = window.blocker(&clock).unwrap();
        assert_eq!(blocker.observed, "Fri 2026-07-17 11:00 BST: not on a Friday");
        assert_eq!(blocker.next, "wait: it opens Tue 2026-07-21 09:00 BST (2026-07-21 08:00 UTC)");
        assert_eq!(blocker.expected, "mon tue 09:00-15:00 Europe/London, except 2026-07-20");
        let inside = at("2026-07-21T08:00:00Z");
        let clock = Clock { now: &inside, ..clock };
        // The session began four days before by the wall clock, and just now by the boot clock.
        assert!(window.blocker(&clock).unwrap().observed.contains("jumped"));
        let clock = Clock { now: &inside, session: &inside, ..clock };
        assert_eq!(window.standing(&clock), "open until Tue 2026-07-21 15:00 BST (2026-07-21 14:00 UTC)");
        let behind = Clock { newest: "2026-07-22T08:00:00Z".parse().unwrap(), ..clock };
        assert!(window.blocker(&behind).unwrap().observed.contains("the journal has a line"));
    }
}
