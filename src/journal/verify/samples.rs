//! A small journal with many kinds of events, for tests.

use crate::base::{CheckId, Digest, Moment, RunId};
use crate::check::{Evidence, Outcome};
use crate::journal::chain;
use crate::journal::record::{Blast, BlastItem, Blocker, Ending, Event, LeaseHow, Line, Purpose};

/// The run that the sample belongs to.
pub fn run() -> RunId {
    RunId::from("demo-20260301-ab12")
}

/// A moment in the sample's life.
pub fn at(second: i64) -> Moment {
    let wall = jiff::Timestamp::from_second(1_772_352_000 + second).unwrap();
    Moment { wall, boot_ms: 5_000_000 + second as u64 * 1000 }
}

pub fn opened(run: &RunId) -> Event {
    Event::Opened {
        format: 1,
        run: run.clone(),
        name: "demo".into(),
        title: Some("Move a \u{201c}cluster\u{201d}".into()),
        runbook: Digest::of(b"runbook"),
        environment: None,
        vars: [("to".to_owned(), "15".to_owned())].into(),
        secrets: vec!["password".into()],
        targets: "".into(),
        rehearsal: false,
        receipt: None,
        engine: "0.1.0".into(),
        facts: Default::default(),
        host: "db1".into(),
        machine: "3d1219c7c4c5404aaa1f6d2a48adfda4".into(),
        scripts: Default::default(),
        author: None,
    }
}

pub fn lease(operator: &str, how: LeaseHow) -> Event {
    Event::Lease {
        operator: operator.into(),
        how,
        pid: 4711,
        pid_start: 1234,
        boot_id: "b00t".into(),
        reason: None,
        acknowledged: vec!["note of alice".into()],
        signature: None,
    }
}

pub fn evidence() -> Evidence {
    Evidence {
        check: CheckId::from("copy.post.data_matches"),
        kind: "data_matches".into(),
        title: "the data match".into(),
        outcome: Outcome::pass("2 tables, 10 rows", "2 tables, 10 rows").fact("rows", 10).fact("ratio", 0.1),
        at: at(4),
        took_ms: 120,
    }
}

/// (author, epoch, event): everything but its place in the chain.
pub fn events() -> Vec<(&'static str, u64, Event)> {
    let step = || "copy".into();
    vec![
        ("alice@db1", 0, opened(&run())),
        ("alice@db1", 1, lease("alice@db1", LeaseHow::Start)),
        ("alice@db1", 1, Event::Began { step: step(), attempt: 1, permit: None }),
        ("bob@db1", 0, Event::Note { text: "line\nbreak, \u{1b}[2J and \"quotes\"".into() }),
        (
            "alice@db1",
            1,
            Event::Ended {
                step: step(),
                attempt: 1,
                ending: Ending::Exited { status: 0 },
                output_bytes: 12,
                left_running: vec![],
            },
        ),
        (
            "alice@db1",
            1,
            Event::Measured {
                purpose: Purpose::Postcondition,
                step: step(),
                evidence: evidence(),
                advisory: false,
            },
        ),
        ("alice@db1", 1, Event::Done { step: step() }),
        (
            "alice@db1",
            1,
            Event::Held {
                step: "drop".into(),
                undo: false,
                blockers: vec![Blocker {
                    subject: "copy".into(),
                    title: "t".into(),
                    observed: "o".into(),
                    expected: "e".into(),
                    next: "n".into(),
                }],
            },
        ),
        ("alice@db1", 0, Event::Offered { to: None, note: "copy is through".into(), signature: None }),
        ("bob@db1", 2, lease("bob@db1", LeaseHow::Accept)),
        (
            "bob@db1",
            2,
            Event::Confirmed {
                step: "drop".into(),
                undo: false,
                text: "cluster 13/main".into(),
                blast: Blast {
                    items: vec![BlastItem {
                        kind: "file".into(),
                        name: "/x".into(),
                        bytes: Some(1),
                        rows: None,
                    }],
                    identity: None,
                    serving: vec![],
                    unmeasured: vec![],
                    gone: Vec::new(),
                    at: at(10),
                },
            },
        ),
        ("bob@db1", 2, Event::Released { why: "quit".into() }),
    ]
}

/// The sample, linked.
pub fn lines() -> Vec<Line> {
    link(&run(), events())
}

/// Links events into a chain.
pub fn link(run: &RunId, events: Vec<(&'static str, u64, Event)>) -> Vec<Line> {
    let mut prev = chain::first_prev(run);
    let mut lines = Vec::new();
    for (n, (by, epoch, event)) in events.into_iter().enumerate() {
        let line = Line { seq: n as u64 + 1, at: at(n as i64), by: by.into(), epoch, event, prev };
        prev = chain::line_hash(chain::encode(&line).unwrap().as_bytes());
        lines.push(line);
    }
    lines
}

/// As the bytes of a file.
pub fn bytes(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| (chain::encode(line).unwrap() + "\n").into_bytes()).collect()
}
