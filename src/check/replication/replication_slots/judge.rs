//! Is one slot healthy?

use super::{Remembered, ReplicationSlots, Slot};
use crate::base::{Size, Span};
use crate::check::findings::Findings;
use crate::check::history::Series;

impl ReplicationSlots {
    /// Judges all slots. `limit` is what one may hold back, or why that is not known.
    pub(super) fn judge(
        &self,
        slots: &[Slot],
        limit: Result<u64, &str>,
        series: &Series<Remembered>,
        findings: &mut Findings,
    ) {
        for wanted in self.slots.iter().filter(|name| slots.iter().all(|slot| slot.name != **name)) {
            findings.fail(
                format!("{}: slot {wanted} does not exist", self.target),
                format!("find out who dropped it; what reads from {wanted} may have to be built anew"),
            );
        }
        if slots.is_empty() && self.slots.is_empty() {
            findings.unknown(
                format!("{} has no replication slot: there is nothing to judge", self.target),
                "name the slots that must exist in `slots`, or leave this check out",
            );
        }
        if let (Err(why), false) = (limit, slots.is_empty()) {
            findings.unknown(
                format!("the share that a slot may hold back is not known: {why}"),
                "give `max_retained` as a size, as in 10GiB",
            );
        }
        for slot in slots {
            self.one(slot, limit.ok(), series, findings);
        }
    }

    fn one(&self, slot: &Slot, limit: Option<u64>, series: &Series<Remembered>, findings: &mut Findings) {
        let name = &slot.name;
        let rebuild = format!(
            "what reads from {name} must be built anew; then drop the slot with pg_drop_replication_slot"
        );
        findings.note(line(slot));
        if let Some(why) = &slot.invalid {
            findings.fail(format!("slot {name} is invalid: {why}"), rebuild);
            return;
        }
        if slot.conflicting {
            findings.fail(format!("slot {name} was invalidated by a conflict with recovery"), rebuild);
            return;
        }
        match slot.wal_status.as_deref() {
            Some("lost") => {
                findings.fail(format!("slot {name} is lost: the WAL that it needs is gone"), rebuild);
                return;
            }
            Some("unreserved") => findings.fail(
                format!("slot {name} is unreserved: it is lost at the next checkpoint"),
                format!(
                    "bring the reader of {name} back now, or raise max_slot_wal_keep_size while it catches up"
                ),
            ),
            Some("extended") => self.extended(name, series, findings),
            Some("reserved") => {}
            Some(other) => findings.unknown(
                format!("slot {name} has the status `{other}`, which is not known here"),
                "look it up in the documentation of this PostgreSQL version",
            ),
            None => {
                findings.fail(
                    format!("slot {name} holds no WAL: nobody has ever read from it"),
                    format!("connect its reader, or drop it: select pg_drop_replication_slot('{name}')"),
                );
                return;
            }
        }
        if let (Some(limit), Some(retained)) = (limit, slot.retained)
            && retained > limit
        {
            findings.fail(
                format!("slot {name} holds back {} of WAL", Size(retained)),
                format!(
                    "bring its reader back; if it is gone for good, drop it: select pg_drop_replication_slot('{name}'); \
                     never delete files in pg_wal"
                ),
            );
        }
        if slot.retained.is_none() {
            findings.unknown(
                format!("it is not known how much WAL slot {name} holds back"),
                "measure again in a few seconds",
            );
        }
        if !slot.active && !slot.synced {
            self.inactive(slot, series, findings);
        }
    }

    fn extended(&self, name: &str, series: &Series<Remembered>, findings: &mut Findings) {
        let what = format!("slot {name} holds back more than max_wal_size (extended)");
        let extended = |was: &Remembered| was.get(name).is_some_and(|was| was.extended);
        let other = |was: &Remembered| was.get(name).is_some_and(|was| !was.extended);
        let seen = series.held_for(extended).unwrap_or_default();
        let help = format!("find out why the reader of {name} is behind before the disk is full");
        if seen > self.extended_for {
            findings.fail(format!("{what} for at least {seen}"), help);
        } else if let Some(past) = series.last_seen(other).filter(|past| *past <= self.extended_for) {
            findings.note(format!("{what}, for at most {past}"));
        } else {
            findings.unknown(
                format!("{what}; for how long is not known yet"),
                format!("measure again after {}; meanwhile {help}", self.extended_for),
            );
        }
    }

    fn inactive(&self, slot: &Slot, series: &Series<Remembered>, findings: &mut Findings) {
        let name = &slot.name;
        let active = |was: &Remembered| was.get(name).is_some_and(|was| was.active);
        let said = slot.inactive.map(|seconds| Span::millis((seconds.max(0.0) * 1000.0) as u64));
        let seen = series.last_seen(active);
        // The server's own word is exact, but its clock may have been set; our looks are the witness.
        let at_most = match (said, seen) {
            (Some(said), Some(seen)) => Some(said.min(seen)),
            (said, seen) => said.or(seen),
        };
        let what = match (said, seen) {
            (Some(said), _) => format!("slot {name} became inactive {said} ago"),
            (None, Some(seen)) => format!("slot {name} is inactive, last seen active {seen} ago"),
            (None, None) => format!("slot {name} is inactive, and was never seen active"),
        };
        // A restart of the server makes `inactive_since` young again.
        let quiet = |was: &Remembered| was.get(name).is_some_and(|was| !was.active);
        let watched = series.held_for(quiet).unwrap_or_default();
        if watched <= self.inactive_for && at_most.is_some_and(|at_most| at_most <= self.inactive_for) {
            findings.note(what);
        } else {
            findings.fail(
                what,
                format!(
                    "bring its reader back; if it is gone for good, drop it: select pg_drop_replication_slot('{name}')"
                ),
            );
        }
    }
}

fn line(slot: &Slot) -> String {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string());
    let mut line = format!(
        "{} ({}{}): {}, {}, holds back {}",
        slot.name,
        slot.kind,
        if slot.temporary { ", temporary" } else { "" },
        if slot.active { "active" } else { "inactive" },
        slot.wal_status.as_deref().unwrap_or("no WAL reserved"),
        size(slot.retained)
    );
    match slot.safe {
        Some(safe) if safe >= 0.0 => line += &format!(", lost after {} more", Size(safe as u64)),
        Some(_) => line += ", beyond max_slot_wal_keep_size",
        None => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::Was;
    use super::*;
    use crate::check::history::Sample;
    use crate::check::{Outcome, Verdict};

    fn check() -> ReplicationSlots {
        serde_json::from_value(serde_json::json!({ "target": "db" })).unwrap()
    }

    fn slot() -> Slot {
        Slot {
            name: "beta".to_owned(),
            kind: "physical".to_owned(),
            active: true,
            wal_status: Some("reserved".to_owned()),
            retained: Some(5),
            ..Slot::default()
        }
    }

    /// What was seen of `beta` at these seconds.
    fn seen(looks: &[(u64, bool, bool)]) -> Series<Remembered> {
        let sample = |&(s, active, extended): &(u64, bool, bool)| Sample {
            boot_ms: s * 1000,
            value: Remembered::from([("beta".to_owned(), Was { active, extended })]),
        };
        Series { samples: looks.iter().map(sample).collect(), trouble: None }
    }

    fn judged(slot: Slot, series: &Series<Remembered>) -> Outcome {
        let mut findings = Findings::default();
        check().judge(&[slot], Ok(100), series, &mut findings);
        findings.outcome("fine", "wanted")
    }

    #[test]
    fn what_is_null_or_lost_is_no_zero() {
        let now = seen(&[(0, true, false)]);
        let verdict = |slot: Slot| judged(slot, &now).verdict;
        let status = |word: &str| Slot { wal_status: Some(word.to_owned()), ..slot() };
        assert_eq!(verdict(slot()), Verdict::Pass);
        assert_eq!(verdict(Slot { retained: None, ..status("lost") }), Verdict::Fail);
        assert_eq!(verdict(status("unreserved")), Verdict::Fail);
        assert_eq!(verdict(status("novel")), Verdict::Unknown);
        assert_eq!(verdict(Slot { wal_status: None, retained: None, ..slot() }), Verdict::Fail);
        assert_eq!(verdict(Slot { retained: None, ..slot() }), Verdict::Unknown);
        assert_eq!(verdict(Slot { retained: Some(101), ..slot() }), Verdict::Fail);
        assert_eq!(verdict(Slot { invalid: Some("wal_removed".to_owned()), ..slot() }), Verdict::Fail);
        assert_eq!(verdict(Slot { active: false, synced: true, ..slot() }), Verdict::Pass);
    }

    #[test]
    fn how_long_a_slot_is_inactive_must_be_known() {
        let quiet = || Slot { active: false, ..slot() };
        let never = seen(&[(0, false, false), (90, false, false)]);
        let outcome = judged(quiet(), &never);
        assert_eq!((outcome.verdict, outcome.observed.contains("never seen active")), (Verdict::Fail, true));
        let lately = seen(&[(0, false, false), (500, true, false), (700, false, false)]);
        assert_eq!(judged(quiet(), &lately).verdict, Verdict::Pass);
        let long_ago = seen(&[(0, true, false), (700, false, false)]);
        assert_eq!(judged(quiet(), &long_ago).verdict, Verdict::Fail);
        let said = |seconds| Slot { inactive: Some(seconds), ..quiet() };
        assert_eq!(judged(said(30.0), &never).verdict, Verdict::Pass);
        assert_eq!(judged(said(601.0), &never).verdict, Verdict::Fail);
        let watched = seen(&[(0, false, false), (700, false, false)]);
        assert_eq!(judged(said(30.0), &watched).verdict, Verdict::Fail, "the server was restarted");
    }

    #[test]
    fn how_long_a_slot_is_extended_must_be_known_too() {
        let extended = || Slot { wal_status: Some("extended".to_owned()), ..slot() };
        assert_eq!(judged(extended(), &seen(&[(0, true, true)])).verdict, Verdict::Unknown);
        let burst = seen(&[(0, true, false), (60, true, true)]);
        assert_eq!(judged(extended(), &burst).verdict, Verdict::Pass);
        let long = seen(&[(0, true, true), (300, true, true), (601, true, true)]);
        assert_eq!(judged(extended(), &long).verdict, Verdict::Fail);
    }
}
