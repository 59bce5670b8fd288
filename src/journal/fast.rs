//! A short cut for reading the most frequent event. Tagged and flattened types are buffered value by value before they are
//! read, which takes most of the time that opening a long journal takes; the same fields as one plain struct are not.
//! What this does not read is read the long way, with the long way's words.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::record::{Event, Purpose};
use crate::base::{CheckId, Moment, StepId};
use crate::check::evidence::{Evidence, Outcome, Seen, Verdict};

#[derive(Deserialize)]
struct Measured {
    purpose: Purpose,
    step: StepId,
    evidence: Flat,
    #[serde(default)]
    advisory: bool,
}

#[derive(Deserialize)]
struct Flat {
    check: CheckId,
    kind: String,
    title: String,
    verdict: Verdict,
    observed: String,
    expected: String,
    help: Option<String>,
    details: Vec<String>,
    facts: BTreeMap<String, serde_json::Value>,
    seen: Vec<Seen>,
    at: Moment,
    took_ms: u64,
}

/// The fields of a `measured` event.
pub fn measured(object: &[u8]) -> Option<Event> {
    let Measured { purpose, step, evidence, advisory } = serde_json::from_slice(object).ok()?;
    let Flat { check, kind, title, verdict, observed, expected, help, details, facts, seen, at, took_ms } =
        evidence;
    let outcome = Outcome { verdict, observed, expected, help, details, facts, seen };
    let evidence = Evidence { check, kind, title, outcome, at, took_ms };
    Some(Event::Measured { purpose, step, evidence, advisory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::verify::samples;

    #[test]
    fn both_ways_read_the_same() {
        let mut full = samples::evidence();
        full.outcome.help = Some("look".into());
        full.outcome.details = vec!["a".into(), "b".into()];
        for (evidence, advisory) in [(samples::evidence(), false), (full, true)] {
            let event = Event::Measured { purpose: Purpose::Guard, step: "s".into(), evidence, advisory };
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(text.contains("advisory"), advisory, "a gate's line is as it always was");
            assert_eq!(measured(text.as_bytes()), Some(event.clone()));
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        }
        assert_eq!(measured(b"{\"purpose\":\"guard\"}"), None);
    }
}
