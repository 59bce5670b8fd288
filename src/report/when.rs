//! Times for people: UTC with a `Z` in logs, an age beside it on screens.
//!
//! Ages come from the boot clock where the two moments belong to one boot; else from the wall clock, and then say so.

use jiff::Timestamp;

use crate::base::{Moment, Span};

/// `2026-11-20 14:03:22Z`.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `14:03:22Z`.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// `just now`; `3min ago`; `about 3min ago` when only the wall clock can tell; `in the future, by the clock` when that is wrong.
pub fn ago(now: &Moment, then: &Moment) -> String {
    if !now.jumped_since(then) {
        return match now.since(then).as_secs() {
            0 => "just now".to_owned(),
            seconds => format!("{} ago", Span::secs(seconds)),
        };
    }
    match now.wall.as_second() - then.wall.as_second() {
        seconds if seconds < 0 => "in the future, by the clock".to_owned(),
        seconds => format!("about {} ago", Span::secs(seconds.unsigned_abs())),
    }
}

/// `2026-11-20 14:03:22Z (3min ago)`.
pub fn both(now: &Moment, then: &Moment) -> String {
    format!("{} ({})", stamp(then.wall), ago(now, then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, boot_ms: u64) -> Moment {
        Moment { wall: Timestamp::from_second(wall).unwrap(), boot_ms }
    }

    #[test]
    fn ages_say_which_clock_they_come_from() {
        let then = at(1_795_183_402, 1_000);
        assert_eq!(stamp(then.wall), "2026-11-20 14:03:22Z");
        assert_eq!(ago(&at(1_795_183_582, 181_000), &then), "3min ago");
        assert_eq!(ago(&at(1_795_183_402, 1_400), &then), "just now");
        assert_eq!(ago(&at(1_795_183_582, 500), &then), "about 3min ago", "another boot");
        assert_eq!(ago(&at(1_795_180_000, 500), &then), "in the future, by the clock");
    }
}
