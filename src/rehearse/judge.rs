//! Judges a run after a fault: did destructive work ever begin without a permit of its own? It is judged by the journal and
//! by what the run's supervisors left on disk, without asking the machine or the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::base::{CheckId, Moment, StepId};
use crate::check::Verdict;
use crate::engine::{Plan, work};
use crate::gate::VALIDITY;
use crate::journal::Line;
use crate::journal::record::Event;
use crate::supervise::record::COMMAND;

/// A permit as the journal has it.
struct Permit {
    step: StepId,
    undo: bool,
    epoch: u64,
    guards: Vec<CheckId>,
}

/// The last measurement of a check.
struct Seen {
    epoch: u64,
    verdict: Verdict,
    at: Moment,
}

/// Everything that is wrong; empty when no destructive work began without its permit.
pub fn violations(lines: &[Line], plan: &Plan, folder: &Path) -> Vec<String> {
    let (mut wrong, cleared) = by_the_journal(lines, plan);
    wrong.extend(by_the_supervisors(plan, folder, &cleared));
    wrong
}

/// Attempts of destructive work that had a permit, beside what is wrong.
type Attempts = BTreeSet<(StepId, bool, u32)>;

fn by_the_journal(lines: &[Line], plan: &Plan) -> (Vec<String>, Attempts) {
    let mut wrong = Vec::new();
    let mut cleared = Attempts::new();
    let mut seen: BTreeMap<CheckId, Seen> = BTreeMap::new();
    let mut permits: BTreeMap<u64, Permit> = BTreeMap::new();
    for line in lines {
        match &line.event {
            Event::Measured { evidence, .. } => {
                let (verdict, at) = (evidence.verdict(), evidence.at);
                seen.insert(evidence.check.clone(), Seen { epoch: line.epoch, verdict, at });
            }
            Event::Permitted { step, undo, permit, guards, .. } => {
                let of =
                    Permit { step: step.clone(), undo: *undo, epoch: line.epoch, guards: guards.clone() };
                if permits.insert(*permit, of).is_some() {
                    wrong.push(format!("line {}: permit {permit} was made twice", line.seq));
                }
            }
            Event::Began { step, attempt, permit } if plan.destroys(step, false).is_some() => {
                began(
                    line,
                    (step, false, *attempt),
                    *permit,
                    plan,
                    &seen,
                    &mut permits,
                    &mut wrong,
                    &mut cleared,
                );
            }
            Event::RollbackBegan { step, attempt, permit } if plan.destroys(step, true).is_some() => {
                began(
                    line,
                    (step, true, *attempt),
                    *permit,
                    plan,
                    &seen,
                    &mut permits,
                    &mut wrong,
                    &mut cleared,
                );
            }
            _ => {}
        }
    }
    (wrong, cleared)
}

#[allow(clippy::too_many_arguments, reason = "one place of a fold over the journal")]
fn began(
    line: &Line,
    (step, undo, attempt): (&StepId, bool, u32),
    permit: Option<u64>,
    plan: &Plan,
    seen: &BTreeMap<CheckId, Seen>,
    permits: &mut BTreeMap<u64, Permit>,
    wrong: &mut Vec<String>,
    cleared: &mut Attempts,
) {
    let at = format!("line {}: `{step}` began", line.seq);
    let Some(number) = permit else {
        return wrong.push(format!("{at} without a permit"));
    };
    // A permit is used up by the beginning that carries its number.
    let Some(permit) = permits.remove(&number) else {
        return wrong.push(format!("{at} with permit {number}, which was never made or was used before"));
    };
    let before = wrong.len();
    if (&permit.step, permit.undo) != (step, undo) {
        wrong.push(format!("{at} with permit {number}, which is for `{}`", permit.step));
    }
    if permit.epoch != line.epoch {
        wrong.push(format!("{at} with permit {number} of an earlier session"));
    }
    for (guard, _) in plan.guards(step, undo) {
        if !permit.guards.contains(&guard) {
            wrong.push(format!("{at} with permit {number}, which does not rest on `{guard}`"));
        }
        match seen.get(&guard) {
            None => wrong.push(format!("{at}, and `{guard}` was never measured")),
            Some(seen) if seen.verdict != Verdict::Pass => {
                wrong.push(format!(
                    "{at}, and `{guard}` was {} when it was last measured",
                    seen.verdict.word()
                ));
            }
            Some(seen) if seen.epoch != line.epoch => {
                wrong.push(format!("{at}, and `{guard}` was last measured in an earlier session"));
            }
            Some(seen) if line.at.since(&seen.at) > VALIDITY => {
                wrong.push(format!("{at}, and `{guard}` was measured too long ago"));
            }
            Some(_) => {}
        }
    }
    if wrong.len() == before {
        cleared.insert((step.clone(), undo, attempt));
    }
}

/// A command that was started has left its record, whatever the journal says.
fn by_the_supervisors(plan: &Plan, folder: &Path, cleared: &Attempts) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder.join("steps")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((step, attempt)) = name.split_once('.') else { continue };
        let (undo, number) = match attempt.strip_prefix("undo-") {
            Some(number) => (true, number),
            None => (false, attempt),
        };
        let step = StepId::from(step);
        let Ok(number) = number.parse::<u32>() else { continue };
        let started = work::attempt_dir(folder, &step, number, undo).join(COMMAND).exists();
        if started && plan.destroys(&step, undo).is_some() && !cleared.contains(&(step.clone(), undo, number))
        {
            wrong.push(format!("attempt {number} of `{step}` was started, and had no valid permit"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::base::Digest;
    use crate::check::{Evidence, Outcome};
    use crate::journal::record::Purpose;
    use crate::runbook::Runbook;

    fn plan() -> Plan {
        let book = json!({
            "holdpoint": 1, "name": "demo",
            "steps": [
                { "id": "copy", "run": ["true"], "postconditions": [ { "file": { "path": "/b" } } ] },
                { "id": "drop", "run": ["true"], "destroys": { "what": "a", "paths": ["/a"] },
                  "preconditions": [ { "file": { "path": "/c" } } ] },
            ],
        });
        let book: Runbook = serde_json::from_value(book).unwrap();
        Plan::new(Arc::new(book))
    }

    fn moment(ms: u64) -> Moment {
        Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: ms }
    }

    fn line(seq: u64, epoch: u64, ms: u64, event: Event) -> Line {
        Line { seq, at: moment(ms), by: "a@b".to_owned(), epoch, event, prev: Digest::from("") }
    }

    fn measured(check: &str, verdict: Verdict, ms: u64) -> Event {
        let outcome = match verdict {
            Verdict::Pass => Outcome::pass("", ""),
            Verdict::Fail => Outcome::fail("", ""),
            Verdict::Unknown => Outcome::unknown("", ""),
        };
        let (kind, title) = ("file".to_owned(), String::new());
        let evidence = Evidence { check: check.into(), kind, title, outcome, at: moment(ms), took_ms: 1 };
        Event::Measured { purpose: Purpose::Guard, step: "drop".into(), evidence, advisory: false }
    }

    fn permitted(guards: &[&str]) -> Event {
        Event::Permitted {
            step: "drop".into(),
            undo: false,
            permit: 1,
            runbook: Digest::from(""),
            guards: guards.iter().map(|id| CheckId::from(*id)).collect(),
            blast: Digest::from(""),
            approvers: Vec::new(),
            waived: Vec::new(),
        }
    }

    fn begins(attempt: u32, permit: Option<u64>) -> Event {
        Event::Began { step: "drop".into(), attempt, permit }
    }

    fn good() -> Vec<Line> {
        vec![
            line(1, 1, 1000, measured("drop.pre.file", Verdict::Pass, 1000)),
            line(2, 1, 1000, measured("copy.post.file", Verdict::Pass, 1000)),
            line(3, 1, 2000, permitted(&["drop.pre.file", "copy.post.file"])),
            line(4, 1, 2000, begins(1, Some(1))),
        ]
    }

    fn judged(lines: &[Line]) -> String {
        let dir = tempfile::tempdir().unwrap();
        violations(lines, &plan(), dir.path()).join("; ")
    }

    #[test]
    fn a_journal_in_order_is_in_order() {
        assert_eq!(judged(&good()), "");
    }

    #[test]
    fn every_planted_violation_is_found() {
        let mut without = good();
        without.remove(2);
        let mut no_number = good();
        no_number[3] = line(4, 1, 2000, begins(1, None));
        let mut unknown = good();
        unknown.insert(2, line(3, 1, 1500, measured("copy.post.file", Verdict::Unknown, 1500)));
        let mut twice = good();
        twice.push(line(5, 1, 3000, begins(2, Some(1))));
        let mut later = good();
        later[3].epoch = 2;
        let mut unmeasured = good();
        unmeasured.remove(0);
        let mut stale = good();
        stale[3] = line(4, 1, 90_000, begins(1, Some(1)));
        let mut narrow = good();
        narrow[2] = line(3, 1, 2000, permitted(&["drop.pre.file"]));
        for (lines, words) in [
            (without, "never made"),
            (no_number, "without a permit"),
            (unknown, "was UNKNOWN"),
            (twice, "was used before"),
            (later, "of an earlier session"),
            (unmeasured, "was never measured"),
            (stale, "too long ago"),
            (narrow, "does not rest on `copy.post.file`"),
        ] {
            assert!(judged(&lines).contains(words), "{words}: {}", judged(&lines));
        }
    }

    #[test]
    fn a_command_that_was_started_needs_its_permit_whatever_the_journal_says() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("steps/drop.2");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::create_dir_all(dir.path().join("steps/copy.1")).unwrap();
        assert_eq!(violations(&good(), &plan(), dir.path()), Vec::<String>::new(), "nothing was started");
        std::fs::write(place.join(COMMAND), "{}").unwrap();
        let said = violations(&good(), &plan(), dir.path());
        assert_eq!(said, ["attempt 2 of `drop` was started, and had no valid permit"]);
    }
}
