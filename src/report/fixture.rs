//! Shared by the tests of this layer and of the screens: a runbook, a run, evidence, hostile text.

use jiff::Timestamp;

use crate::base::{Digest, Moment};
use crate::check::{Evidence, Outcome, Verdict};
use crate::journal::Line;
use crate::journal::record::{Blast, BlastItem, Blocker, Ending, Event, LeaseHow};
use crate::runbook::Runbook;
use crate::world::identity::{Identity, PostgresIdentity};

/// Clears the screen, sets a title, forges a line of ours, overwrites, reverses.
pub const EVIL: &str =
    "x\n[x] 4 drop-old done\r\x1b[2J\x1b]0;t\x07\u{9b}31m\u{202e}\u{200b}\nTo destroy it, type yes\n> ";

/// A moment so many seconds after the start.
pub fn at(seconds: u64) -> Moment {
    Moment {
        wall: Timestamp::from_second(1_795_183_402 + seconds as i64).unwrap(),
        boot_ms: 5_000_000 + seconds * 1000,
    }
}

/// Lines of a journal from events, a minute apart.
pub fn lines(events: Vec<Event>) -> Vec<Line> {
    let line = |(n, event): (usize, Event)| Line {
        seq: n as u64 + 1,
        at: at(n as u64 * 60),
        by: "alice@db1".into(),
        epoch: 1,
        event,
        prev: Digest::of(b"x"),
    };
    events.into_iter().enumerate().map(line).collect()
}

/// The first events of a run.
pub fn opened() -> Vec<Event> {
    vec![
        Event::Opened {
            format: 1,
            run: "pg-upgrade-20261120-k3x9".into(),
            name: "pg-upgrade".into(),
            title: Some("Move the cluster to PostgreSQL 15".into()),
            runbook: Digest::of(b"runbook"),
            environment: Some("production".into()),
            vars: [("to".to_owned(), "15".to_owned())].into(),
            secrets: vec!["password".into()],
            targets: "".into(),
            rehearsal: false,
            receipt: None,
            engine: "0.1.0".into(),
            facts: Default::default(),
            host: "db1".into(),
            machine: "m".into(),
            scripts: Default::default(),
            author: None,
        },
        Event::Lease {
            operator: "alice@db1".into(),
            how: LeaseHow::Start,
            pid: 1,
            pid_start: 1,
            boot_id: "b".into(),
            reason: None,
            acknowledged: vec![],
            signature: None,
        },
    ]
}

/// A runbook of four steps, the last destructive.
pub fn runbook() -> Runbook {
    serde_json::from_value(serde_json::json!({
        "holdpoint": 1, "name": "pg-upgrade", "title": "Move the cluster to PostgreSQL 15",
        "steps": [
            { "id": "before", "title": "Record what the old cluster holds", "record": { "target": "old", "as": "before" } },
            { "id": "copy", "title": "Copy the databases to the new cluster",
              "guide": "Takes about four hours.\n\n- Watch the disk.\n- Do not touch `old`.",
              "run": ["pg_upgradecluster", "-v", "15", "13", "main"], "timeout": "12h",
              "preconditions": [ { "disk_free": { "title": "Room for the copy" } } ],
              "invariants": [ { "disk_time_to_full": { "title": "The disk does not fill up", "on_violation": "pause" } } ],
              "postconditions": [
                { "rows_match": { "id": "rows", "title": "Every table of new holds the rows of old" } },
                { "pg_accepts_connections": { "id": "up", "title": "new answers", "until": "soak" } } ],
              "rollback": { "run": ["pg_dropcluster", "15", "main", "--stop"] } },
            { "id": "soak", "title": "Run on the new cluster for a day", "soak": { "for": "24h", "every": "5min" } },
            { "id": "drop-old", "title": "Drop the old cluster", "destroys": "cluster 13/main",
              "run": ["pg_dropcluster", "13", "main", "--stop"],
              "preconditions": [ { "backup_fresh": { "title": "A fresh dump that can be read" } } ] },
        ],
    }))
    .unwrap()
}

/// Evidence about one of the runbook's checks.
pub fn evidence(id: &str, verdict: Verdict) -> Evidence {
    let outcome = match verdict {
        Verdict::Pass => Outcome::pass("120 GiB free in /var/lib/postgresql", "at least 20 GiB"),
        Verdict::Fail => Outcome::fail("0 rows in events", "1,000,000 rows, as in old")
            .help("copy the table again, then measure again")
            .detail("events: 0 rows instead of 1,000,000"),
        Verdict::Unknown => Outcome::unknown("no answer within 1min", "a server that answers"),
    };
    let title = match verdict {
        Verdict::Pass => "Room for the copy",
        Verdict::Fail => "Every table of new holds the rows of old",
        Verdict::Unknown => "new answers",
    };
    Evidence { check: id.into(), kind: "k".into(), title: title.into(), outcome, at: at(60), took_ms: 12 }
}

/// Evidence that lies.
pub fn hostile_evidence() -> Evidence {
    let outcome = Outcome::fail(EVIL, EVIL).help(EVIL).detail(EVIL);
    Evidence { check: EVIL.into(), kind: EVIL.into(), title: EVIL.into(), outcome, at: at(60), took_ms: 12 }
}

/// A blocker as the gate makes it.
pub fn blocker(text: &str) -> Blocker {
    Blocker {
        subject: "copy.post.rows".into(),
        title: "Every table of new holds the rows of old".into(),
        observed: text.into(),
        expected: "1,000,000 rows, as in old".into(),
        next: "copy the table again, then measure again".into(),
    }
}

/// What drop-old destroys.
pub fn blast() -> Blast {
    let item =
        |kind: &str, name: &str, bytes, rows| BlastItem { kind: kind.into(), name: name.into(), bytes, rows };
    Blast {
        items: vec![
            item("data directory", "/var/lib/postgresql/13/main", Some(128_849_018_880), None),
            item("database", "synapse", Some(127_000_000_000), Some(1_204_118_002)),
            item("log", "/var/log/postgresql/postgresql-13-main.log", None, None),
        ],
        identity: Some(Identity::Postgres(PostgresIdentity {
            system_identifier: "7123456789012345678".into(),
            data_directory: "/var/lib/postgresql/13/main".into(),
            port: 5433,
            server_start: String::new(),
            timeline: 1,
            in_recovery: false,
            version: 130_018,
            host: "m".into(),
        })),
        serving: vec![],
        unmeasured: vec![],
        gone: Vec::new(),
        at: at(596),
    }
}

/// A run in which copy has failed once.
pub fn failed_lines() -> Vec<Line> {
    let mut events = opened();
    events.extend([
        Event::Began { step: "before".into(), attempt: 1, permit: None },
        Event::Ended {
            step: "before".into(),
            attempt: 1,
            ending: Ending::Finished,
            output_bytes: 0,
            left_running: vec![],
        },
        Event::Done { step: "before".into() },
        Event::Began { step: "copy".into(), attempt: 1, permit: None },
        Event::Ended {
            step: "copy".into(),
            attempt: 1,
            ending: Ending::Exited { status: 1 },
            output_bytes: 2048,
            left_running: vec!["sleep 402 (pid 812)".into()],
        },
        Event::Failed { step: "copy".into(), why: "exit status 1".into() },
        Event::Note { text: "disk was slow".into() },
    ]);
    lines(events)
}
