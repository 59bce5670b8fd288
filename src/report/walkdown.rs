//! The handoff as facts: what changed since it was last seen, and the points that the next operator must acknowledge.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::CheckId;
use crate::check::{Evidence, Verdict};
use crate::engine::state::{RunState, Status};

/// How one check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It passed, and does no longer.
    Lost,
    /// It did not pass and does not now.
    StillNotPassing,
    /// It was not measured before and does not pass.
    NewNotPassing,
    /// It did not pass, and does now.
    Regained,
    /// It passes as before, and something else was seen.
    Moved,
    /// It was not measured before and passes.
    New,
    /// As before.
    Same,
}

impl Kind {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Lost => "no longer passes",
            Kind::StillNotPassing => "still does not pass",
            Kind::NewNotPassing => "does not pass; not seen before",
            Kind::Regained => "passes again",
            Kind::Moved => "passes, and looks different",
            Kind::New => "passes; not seen before",
            Kind::Same => "as before",
        }
    }
}

/// One check of a walk-down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// How it changed.
    pub kind: Kind,
    /// What was seen before: verdict and observation.
    pub before: Option<(Verdict, String)>,
    /// What is seen now.
    pub now: Evidence,
}

/// A walk-down: every check with how it changed, the worst first, in the order of measuring within a kind.
pub fn changes(before: &BTreeMap<CheckId, Evidence>, now: &[Evidence]) -> Vec<Changed> {
    let mut all: Vec<Changed> = now.iter().map(|now| changed(before.get(&now.check), now)).collect();
    all.sort_by_key(|changed| changed.kind);
    all
}

fn changed(before: Option<&Evidence>, now: &Evidence) -> Changed {
    let passes = now.verdict() == Verdict::Pass;
    let kind = match before.map(|before| (before.verdict() == Verdict::Pass, before)) {
        None if passes => Kind::New,
        None => Kind::NewNotPassing,
        Some((true, _)) if !passes => Kind::Lost,
        Some((false, _)) if !passes => Kind::StillNotPassing,
        Some((false, _)) => Kind::Regained,
        Some((true, before)) if same(before, now) => Kind::Same,
        Some((true, _)) => Kind::Moved,
    };
    Changed {
        kind,
        before: before.map(|before| (before.verdict(), before.outcome.observed.clone())),
        now: now.clone(),
    }
}

/// The same was seen: in the same words, or with the same facts, so that an age that grew is no change.
fn same(before: &Evidence, now: &Evidence) -> bool {
    let (before, now) = (&before.outcome, &now.outcome);
    before.observed == now.observed || (!now.facts.is_empty() && before.facts == now.facts)
}

/// Something that the next operator must acknowledge before the run is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenPoint {
    /// Stable within the run: `step:copy`, `check:copy.post.rows`, `waiver:copy.post.rows`, `offer`, `holder`,
    /// `running:copy`.
    pub id: String,
    /// One sentence.
    pub text: String,
}

/// Every open point, in the order in which they are read: the offer, the holder, steps, processes, waivers,
/// checks.
pub fn open_points(state: &RunState, walkdown: &[Evidence]) -> Vec<OpenPoint> {
    let mut points = Vec::new();
    let mut add = |id: String, text: String| points.push(OpenPoint { id, text });
    if let Some(offer) = &state.offer {
        add("offer".to_owned(), format!("{} says: {}", offer.by, offer.note));
    } else if let Some(holder) = &state.holder {
        let how = if holder.released {
            "left the run without offering it"
        } else {
            "held the run and neither left nor offered it"
        };
        add("holder".to_owned(), format!("{} {how}; there is no handoff note.", holder.by));
    }
    for (step, at) in &state.steps {
        let why = at.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let text = match at.status {
            Status::Failed => format!("{step} failed{why}."),
            Status::InDoubt => format!("{step} is in doubt{why}. Nobody knows how it ended."),
            Status::Reopened => format!("{step} was done and no longer holds{why}."),
            Status::Running => {
                format!("{step} was begun and has not ended on record; its command may still run.")
            }
            Status::Ended => format!("{step} ended, and its postconditions have not been measured."),
            Status::NotUndone => format!("{step} is not undone{why}."),
            Status::RollingBack if at.undo_ended_well() => {
                format!("undoing {step} ended, and its postconditions have not been measured.")
            }
            Status::RollingBack => format!("{step} is being undone, and that has not ended on record."),
            Status::Pending | Status::Done | Status::RolledBack => String::new(),
        };
        if !text.is_empty() {
            add(format!("step:{step}"), text);
        }
        if !at.left_running.is_empty() {
            add(format!("running:{step}"), format!("{step} left running: {}.", at.left_running.join(", ")));
        }
    }
    for waiver in &state.second.waivers {
        let (by, until) = (&waiver.said.by, waiver.until());
        let text = format!("{} is WAIVED by {by} until {until:.0}: {}", waiver.check, waiver.reason());
        add(format!("waiver:{}", waiver.check), text);
    }
    for seen in walkdown.iter().filter(|seen| seen.verdict() != Verdict::Pass) {
        let word = seen.verdict().word();
        add(format!("check:{}", seen.check), format!("{word}: {}: {}", seen.title, seen.outcome.observed));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::Event;
    use crate::report::fixture::{evidence, failed_lines, lines, opened};

    fn ids(points: &[OpenPoint]) -> Vec<&str> {
        points.iter().map(|point| point.id.as_str()).collect()
    }

    #[test]
    fn the_worst_changes_come_first_and_none_is_lost() {
        let before = [
            evidence("a", Verdict::Pass),
            evidence("b", Verdict::Pass),
            evidence("c", Verdict::Fail),
            evidence("d", Verdict::Unknown),
        ];
        let before = before.into_iter().map(|seen| (seen.check.clone(), seen)).collect();
        let mut moved = evidence("b", Verdict::Pass);
        moved.outcome.observed = "90 GiB free".into();
        let now = [
            evidence("new", Verdict::Pass),
            moved,
            evidence("d", Verdict::Pass),
            evidence("c", Verdict::Unknown),
            evidence("a", Verdict::Unknown),
            evidence("odd", Verdict::Fail),
        ];
        let kinds: Vec<_> = changes(&before, &now).into_iter().map(|c| (c.now.check.0, c.kind)).collect();
        let wanted = [
            ("a", Kind::Lost),
            ("c", Kind::StillNotPassing),
            ("odd", Kind::NewNotPassing),
            ("d", Kind::Regained),
            ("b", Kind::Moved),
            ("new", Kind::New),
        ];
        assert_eq!(kinds, wanted.map(|(id, kind)| (id.to_owned(), kind)));
    }

    #[test]
    fn everything_unsettled_is_a_point() {
        let state = RunState::fold(&failed_lines()).unwrap();
        let seen = [evidence("copy.post.up", Verdict::Unknown), evidence("copy.pre.disk", Verdict::Pass)];
        assert_eq!(
            ids(&open_points(&state, &seen)),
            ["holder", "step:copy", "running:copy", "check:copy.post.up"]
        );
    }

    #[test]
    fn a_clean_handoff_has_only_its_note() {
        let mut events = opened();
        events.push(Event::Began { step: "before".into(), attempt: 1, permit: None });
        events.push(Event::Done { step: "before".into() });
        events.push(Event::Offered { to: None, note: "all well".into(), signature: None });
        let state = RunState::fold(&lines(events)).unwrap();
        assert_eq!(ids(&open_points(&state, &[])), ["offer"]);
    }
}
