//! The journal with real faults: full disks, read-only disks, flushes that fail, kills, races, paused drivers.
//!
//! Other processes are this test binary again, which then reads commands from its standard input (see `child`).

#[path = "journal/child.rs"]
mod actor;
#[path = "journal/crash.rs"]
mod crash;
#[path = "journal/disk.rs"]
mod disk;
#[path = "journal/golden.rs"]
mod golden;
#[path = "journal/people.rs"]
mod people;

pub use actor::child;

use holdpoint::base::{Digest, Moment, RunId};
use holdpoint::journal::record::{Ending, LeaseHow};
use holdpoint::journal::{Claim, Event, Journal, RunDir, Seat, Store, verify};
use holdpoint::world::clock::{Clock as _, SystemClock};

use crate::harness::Registry;

/// Adds this file's tests.
pub fn register(r: &mut Registry) {
    golden::register(r);
    people::register(r);
    crash::register(r);
    disk::register(r);
}

fn now() -> Moment {
    SystemClock.now()
}

/// A run in a store below `root` that nobody holds yet.
fn begin(root: &std::path::Path, name: &str) -> RunDir {
    let store = Store::at(&root.join("store")).unwrap();
    let dir = store.create_run("demo", b"holdpoint: 1\n", &now(), Some(&RunId::from(name))).unwrap();
    Journal::create(&dir, "alice@db1", now(), opened(&dir)).unwrap();
    dir
}

fn opened(dir: &RunDir) -> Event {
    Event::Opened {
        format: 1,
        run: dir.run.clone(),
        name: "demo".into(),
        title: None,
        runbook: Digest::of(b"holdpoint: 1\n"),
        environment: None,
        vars: [].into(),
        secrets: vec![],
        targets: "".into(),
        rehearsal: false,
        receipt: None,
        engine: "0.1.0".into(),
        facts: Default::default(),
        host: "db1".into(),
        machine: Seat::here().unwrap().machine,
        scripts: Default::default(),
        author: None,
    }
}

fn claim(operator: &str, how: LeaseHow) -> Claim {
    let reason = (how == LeaseHow::TakeOver).then(|| "the pager went off".to_owned());
    Claim { operator: operator.into(), how, reason, acknowledged: vec![], signature: None }
}

fn note(text: impl Into<String>) -> Vec<Event> {
    vec![Event::Note { text: text.into() }]
}

fn began() -> Vec<Event> {
    vec![Event::Began { step: "copy".into(), attempt: 1, permit: None }]
}

fn ended() -> Vec<Event> {
    let ending = Ending::Exited { status: 1 };
    vec![Event::Ended { step: "copy".into(), attempt: 1, ending, output_bytes: 7, left_running: vec![] }]
}

/// Proves that the journal of a run is whole, apart from a tear if one is allowed.
fn assert_whole(dir: &RunDir, tear: bool) -> verify::Report {
    let report = verify::verify(&std::fs::read(dir.journal()).unwrap(), &dir.run);
    assert!(report.whole(), "{:?}", report.problems);
    assert!(tear || report.torn.is_none(), "{:?}", report.torn);
    report
}
