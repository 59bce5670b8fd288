//! What a durable event costs, against a bare write and flush of the same bytes on the same disk in the same minute; and
//! how fast a long journal is opened and verified.
//!
//! `cargo bench --bench journal`; HOLDPOINT_BENCH_DIR names a folder on the disk to measure.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use holdpoint::base::{CheckId, Digest, Moment, RunId};
use holdpoint::check::{Evidence, Outcome};
use holdpoint::journal::record::{LeaseHow, Purpose};
use holdpoint::journal::{Claim, Event, Journal, Lease, RunDir, Seat, Store, chain, verify};
use holdpoint::world::clock::{Clock as _, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

fn main() {
    let root =
        std::env::var("HOLDPOINT_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let tmp = tempfile::tempdir_in(root).unwrap();
    let store = Store::at(&tmp.path().join("store")).unwrap();
    let dir = store.create_run("bench", b"x", &now(), Some(&RunId::from("bench-1"))).unwrap();
    let (mut journal, _) = Journal::create(&dir, "me@here", now(), opened(&dir)).unwrap();
    durable(&mut journal, &tmp);
    long(&dir);
}

/// One event, durable, against `write` and `fdatasync` of as many bytes. Alternating, so that a disk's moods hit both.
fn durable(journal: &mut Journal, tmp: &tempfile::TempDir) {
    let claim = Claim {
        operator: "me@here".into(),
        how: LeaseHow::Start,
        reason: None,
        acknowledged: vec![],
        signature: None,
    };
    let (lease, appended) = Lease::take(journal, &Seat::here().unwrap(), claim, now()).unwrap();
    let mut line = appended.own[0].clone();
    line.event = measured();
    let bytes = chain::encode(&line).unwrap() + "\n";
    let mut raw = OpenOptions::new().create(true).append(true).open(tmp.path().join("raw")).unwrap();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..3000 {
        let mut one = |bare: &mut Vec<Duration>| {
            let start = Instant::now();
            raw.write_all(bytes.as_bytes()).unwrap();
            raw.sync_data().unwrap();
            bare.push(start.elapsed());
        };
        if round % 2 == 0 {
            one(&mut bare);
        }
        let event = vec![measured()];
        let start = Instant::now();
        black_box(journal.append("me@here", Some(lease.epoch()), now(), event).unwrap());
        ours.push(start.elapsed());
        if round % 2 == 1 {
            one(&mut bare);
        }
    }
    let (bare, ours) = (median(bare), median(ours));
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!(
        "durable event of {} bytes: {ours:?}; bare write + fdatasync: {bare:?}; ratio {ratio:.2} (goal 1.20)",
        bytes.len()
    );
}

/// A journal of 100,000 events.
fn long(dir: &RunDir) {
    const EVENTS: u64 = 100_000;
    let mut text = Vec::new();
    let mut prev = chain::first_prev(&dir.run);
    for seq in 1..=EVENTS {
        let (epoch, event) = match seq {
            1 => (0, opened(dir)),
            2 => (1, lease()),
            _ => (1, measured()),
        };
        let line = holdpoint::journal::Line { seq, at: now(), by: "me@here".into(), epoch, event, prev };
        let encoded = chain::encode(&line).unwrap();
        prev = chain::line_hash(encoded.as_bytes());
        text.extend_from_slice(encoded.as_bytes());
        text.push(b'\n');
    }
    fs::write(dir.journal(), &text).unwrap();
    let mib = text.len() as f64 / f64::from(1 << 20);
    let (open, cpu) = best(5, || assert_eq!(Journal::open(dir).unwrap().1.len() as u64, EVENTS));
    println!(
        "open {EVENTS} events ({mib:.0} MiB), verified, decoded, flushed: {open:?} (goal 500ms); cpu {cpu:?}"
    );
    let hash = best(5, || {
        black_box(Sha256::digest(&text));
    });
    let check = best(5, || assert!(verify::verify(&text, &dir.run).whole()));
    for (what, hash, check) in [("time", hash.0, check.0), ("cpu", hash.1, check.1)] {
        let ratio = check.as_secs_f64() / hash.as_secs_f64();
        println!("verify, {what}: {check:?}; sha256 of the same bytes in one go: {hash:?}; ratio {ratio:.2}");
    }
}

/// The best of some rounds, on the wall and in processor time: on a busy machine only the second says much.
fn best(rounds: u32, mut act: impl FnMut()) -> (Duration, Duration) {
    let cpu = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let times: Vec<_> = (0..rounds)
        .map(|_| {
            let (start, used) = (Instant::now(), cpu());
            act();
            (start.elapsed(), cpu() - used)
        })
        .collect();
    (times.iter().map(|t| t.0).min().unwrap(), times.iter().map(|t| t.1).min().unwrap())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn now() -> Moment {
    SystemClock.now()
}

fn opened(dir: &RunDir) -> Event {
    Event::Opened {
        format: 1,
        run: dir.run.clone(),
        name: "bench".into(),
        title: None,
        runbook: Digest::of(b"x"),
        environment: None,
        vars: [].into(),
        secrets: vec![],
        targets: "".into(),
        rehearsal: false,
        receipt: None,
        engine: "0.1.0".into(),
        facts: Default::default(),
        host: "here".into(),
        machine: Seat::here().unwrap().machine,
        scripts: Default::default(),
        author: None,
    }
}

fn lease() -> Event {
    Event::Lease {
        operator: "me@here".into(),
        how: LeaseHow::Start,
        pid: 1,
        pid_start: 1,
        boot_id: "b".into(),
        reason: None,
        acknowledged: vec![],
        signature: None,
    }
}

fn measured() -> Event {
    let outcome = Outcome::pass("12 tables, 1,000,123 rows", "12 tables, 1,000,123 rows, as in old")
        .fact("rows", 1_000_123);
    Event::Measured {
        purpose: Purpose::Guard,
        step: "drop-old".into(),
        evidence: Evidence {
            check: CheckId::from("copy.post.data_matches"),
            kind: "data_matches".into(),
            title: "the data of old and new match".into(),
            outcome,
            at: now(),
            took_ms: 1834,
        },
        advisory: false,
    }
}
