//! Whether the wall clock may be believed, and whether something that was said with a date still counts. Ages come from
//! the boot clock where both ends were read in one boot; else the dates have to do, and only while the clock is trusted.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::{Moment, Span};

/// How far the clocks of two machines may differ before one of them counts as wrong.
const APART: Duration = Duration::from_secs(60);

/// A reading of the clock with what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Clock<'a> {
    /// Now.
    pub now: &'a Moment,
    /// When the session began, on the same machine and boot.
    pub session: &'a Moment,
    /// Boot id of the machine.
    pub boot: &'a str,
    /// The latest date in the journal.
    pub newest: Timestamp,
}

/// Something that was said until a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// When it was said.
    pub at: Moment,
    /// Boot id of the machine on which it was said.
    pub boot: String,
    /// Until when it counts.
    pub until: Timestamp,
}

impl Clock<'_> {
    /// Why nobody knows what time it is; `None` when the clock may be believed.
    pub fn doubt(&self) -> Option<String> {
        if self.now.jumped_since(self.session) {
            return Some("this machine's clock has jumped since the session began".to_owned());
        }
        let behind = self.newest.as_millisecond() - self.now.wall.as_millisecond();
        (behind > APART.as_millis() as i64).then(|| {
            format!(
                "this machine's clock says {:.0}, and the journal has a line of {:.0}",
                self.now.wall, self.newest
            )
        })
    }

    /// Why something no longer counts; `None` while it does. `longest` is how long such a thing may be said for.
    pub fn over(&self, term: &Term, longest: Duration) -> Option<String> {
        let (now, said) = (self.now.wall.as_millisecond(), term.at.wall.as_millisecond());
        let (until, longest) = (term.until.as_millisecond(), longest.as_millis() as i64);
        if now >= until {
            return Some(format!("it has expired: it was given until {:.0}", term.until));
        }
        if let Some(why) = self.doubt() {
            return Some(format!("nobody can tell whether it has expired: {why}"));
        }
        if until - said > longest || until - now > longest + APART.as_millis() as i64 {
            let longest = Span::millis(longest.unsigned_abs());
            return Some(format!(
                "it was given until {:.0}, and none lasts longer than {longest}",
                term.until
            ));
        }
        if term.boot != self.boot {
            // Another machine, or an earlier boot of this one: only the dates can be compared.
            let ahead = said - now > APART.as_millis() as i64;
            return ahead.then(|| format!("it is dated {:.0}, which is still to come", term.at.wall));
        }
        if self.now.jumped_since(&term.at) {
            return Some("this machine's clock has jumped since it was given".to_owned());
        }
        let age = self.now.since(&term.at).as_millis() as i64;
        (age >= until - said).then(|| format!("it has expired: it was given until {:.0}", term.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: i64, boot_s: u64) -> Moment {
        Moment { wall: Timestamp::from_second(1_800_000_000 + wall_s).unwrap(), boot_ms: boot_s * 1000 }
    }

    /// Given for an hour at 0, looked at now; `None` while it counts.
    fn over(now: Moment, session: Moment, boot: &str, newest: i64) -> Option<String> {
        let term = Term { at: at(0, 500), boot: "b".to_owned(), until: at(3600, 0).wall };
        let clock = Clock { now: &now, session: &session, boot, newest: at(newest, 0).wall };
        clock.over(&term, Duration::from_secs(8 * 3600))
    }

    #[test]
    fn what_was_said_in_this_boot_ages_by_the_boot_clock() {
        let session = at(-100, 400);
        assert_eq!(over(at(3599, 4099), session, "b", 0), None);
        assert!(over(at(3600, 4100), session, "b", 0).unwrap().contains("expired"));
        assert!(over(at(60, 1_100), session, "b", 0).unwrap().contains("jumped"), "set back while it aged");
        assert!(over(at(1800, 600), session, "b", 0).unwrap().contains("jumped"), "set forward");
        // The session began after the jump; the approval was given before it.
        assert!(over(at(60, 1_100), at(0, 1_040), "b", 0).unwrap().contains("jumped since it was given"));
    }

    #[test]
    fn what_was_said_elsewhere_has_its_dates_alone() {
        let session = at(10, 70_000);
        assert_eq!(over(at(60, 70_050), session, "other", 0), None);
        assert!(over(at(3600, 73_590), session, "other", 0).unwrap().contains("expired"));
        assert!(
            over(at(-200, 69_790), at(-300, 69_690), "other", 0).unwrap().contains("the journal has a line")
        );
        assert!(over(at(60, 70_050), session, "other", 600).unwrap().contains("the journal has a line"));
        let term = Term { at: at(300, 1), boot: "b".to_owned(), until: at(3600, 0).wall };
        let now = at(60, 70_050);
        let clock = Clock { now: &now, session: &session, boot: "other", newest: at(0, 0).wall };
        let why = clock.over(&term, Duration::from_secs(8 * 3600)).unwrap();
        assert!(why.contains("still to come"), "{why}");
    }

    #[test]
    fn nothing_lasts_for_ever() {
        let session = at(0, 0);
        let now = at(60, 60);
        let clock = Clock { now: &now, session: &session, boot: "b", newest: at(0, 0).wall };
        for until in [9 * 3600, 365 * 86_400] {
            let term = Term { at: at(10, 10), boot: "b".to_owned(), until: at(until, 0).wall };
            assert!(clock.over(&term, Duration::from_secs(8 * 3600)).unwrap().contains("none lasts longer"));
        }
    }
}
