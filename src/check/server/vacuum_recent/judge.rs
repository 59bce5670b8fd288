//! What the counters of one table say, and whether they can be believed: pure.

use super::VacuumRecent;
use crate::base::{Span, text};
use crate::check::params::Percent;

/// A table as the counters show it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Seconds since the last vacuum, when one is known.
    pub vacuum: Option<f64>,
    /// Seconds since the last analyze, when one is known.
    pub analyze: Option<f64>,
    /// Living rows.
    pub live: u64,
    /// Dead rows.
    pub dead: u64,
    /// Rows changed since the last analyze.
    pub changed: u64,
}

/// What stands against a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It does not hold.
    Fails(String),
    /// Nobody knows.
    Unknown(String),
}

impl VacuumRecent {
    /// What stands against a pass of one table, for vacuum and for analyze.
    pub fn judge(&self, seen: &Counters) -> Vec<Trouble> {
        // A vacuum or an analyze counts dead rows anew. Without either, the number begins with the counters.
        let counted = seen.vacuum.is_some() || seen.analyze.is_some();
        let all = seen.live + seen.dead;
        [
            self.one("vacuumed", seen.vacuum, (seen.dead, all, self.dead_rows), counted, "dead"),
            self.one(
                "analyzed",
                seen.analyze,
                (seen.changed, all, self.changed_rows),
                seen.analyze.is_some(),
                "changed",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn one(
        &self,
        done: &str,
        last: Option<f64>,
        (part, all, most): (u64, u64, Percent),
        counted: bool,
        word: &str,
    ) -> Option<Trouble> {
        let when = match last {
            Some(age) if age < 0.0 => {
                return Some(Trouble::Unknown(format!(
                    "was last {done} in the future: a clock was set back"
                )));
            }
            Some(age) if age <= self.within.0.as_secs_f64() => return None,
            Some(age) => format!("was last {done} {} ago", Span::secs(age as u64)),
            None => format!("was not {done} since the counters began"),
        };
        // More rows may be dead or changed than there are.
        let share =
            if all == 0 { if part == 0 { 0.0 } else { 100.0 } } else { part as f64 / all as f64 * 100.0 };
        let shown =
            format!("{} of {} rows are {word} ({share:.1} %)", text::thousands(part), text::thousands(all));
        match (share > most.0, counted) {
            (true, _) => Some(Trouble::Fails(format!("{when}, and {shown}"))),
            (false, true) => None,
            (false, false) => Some(Trouble::Unknown(format!(
                "{when}, which a crash, a reset or an upgrade may have emptied: how many rows are {word} is not known"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: f64 = 86_400.0;

    fn judged(seen: Counters) -> Vec<Trouble> {
        let it: VacuumRecent = serde_json::from_value(json!({ "target": "db" })).unwrap();
        it.judge(&seen)
    }

    #[test]
    fn recent_or_little_to_do_is_enough() {
        let fresh = Counters { vacuum: Some(DAY), analyze: Some(DAY), live: 10, dead: 90, changed: 90 };
        assert_eq!(judged(fresh), []);
        let old =
            Counters { vacuum: Some(9.0 * DAY), analyze: Some(9.0 * DAY), live: 90, dead: 10, changed: 10 };
        assert_eq!(judged(old), []);
        let full = judged(Counters { dead: 11, changed: 12, ..old });
        assert!(matches!(&full[..], [Trouble::Fails(_), Trouble::Fails(_)]), "{full:?}");
        let more = judged(Counters { live: 0, dead: 0, changed: 5, ..old });
        assert!(matches!(&more[..], [Trouble::Fails(_)]), "{more:?}");
    }

    #[test]
    fn an_empty_counter_is_not_a_clean_table() {
        let lost = judged(Counters { live: 0, dead: 0, ..Counters::default() });
        assert!(matches!(&lost[..], [Trouble::Unknown(_), Trouble::Unknown(_)]), "{lost:?}");
        // What was counted since is real.
        let real = judged(Counters { live: 10, dead: 90, changed: 90, ..Counters::default() });
        assert!(matches!(&real[..], [Trouble::Fails(_), Trouble::Fails(_)]), "{real:?}");
        // A vacuum says nothing of what changed since the last analyze, an analyze counts the dead.
        let vacuumed = judged(Counters { vacuum: Some(DAY), live: 100, ..Counters::default() });
        assert!(matches!(&vacuumed[..], [Trouble::Unknown(_)]), "{vacuumed:?}");
        assert_eq!(judged(Counters { analyze: Some(DAY), live: 100, ..Counters::default() }), []);
        let future =
            judged(Counters { vacuum: Some(-5.0), analyze: Some(DAY), live: 100, ..Counters::default() });
        assert!(matches!(&future[..], [Trouble::Unknown(_)]), "{future:?}");
    }
}
