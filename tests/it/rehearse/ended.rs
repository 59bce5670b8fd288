//! A rehearsal that is stopped, killed, or runs beside another leaves nothing behind.

use std::time::Duration;

use rustix::process::Signal;

use super::Stage;
use crate::harness::{Registry, eventually};
use crate::play::Beside;

pub fn register(r: &mut Registry) {
    r.add("rehearse::stopped_by_its_job", &[], stopped);
    r.add("rehearse::a_paused_command_needs_a_person", &[], paused);
    r.add("rehearse::killed_and_beside_another", &[], killed);
}

const LONG: &str = "set -euo pipefail\necho begun >>\"$1/../ledger\"\nsleep 600\n";

fn long() -> Stage {
    let stage = Stage::new();
    stage.0.sandbox.write("copy.sh", LONG);
    stage
}

fn begun(stage: &Stage) -> Beside {
    let beside = stage.0.beside(&mut stage.command("rehearse book.yaml --env staging", &[]));
    stage.0.until("begun");
    beside
}

/// Nothing of it runs any more.
#[track_caller]
fn quiet(stage: &Stage) {
    eventually(Duration::from_secs(20), "nothing is left", || {
        !stage
            .0
            .processes()
            .iter()
            .any(|(_, words)| words.contains("copy.sh") || words.contains("__supervise"))
    });
}

fn stopped() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = long();
        let mut beside = begun(&stage);
        beside.signal(signal);
        let ran = beside.ends(Duration::from_secs(40)).exits(130);
        ran.says("Rehearsal interrupted").says("`copy` is in doubt");
        quiet(&stage);
        let last = stage.0.journal();
        let whats: Vec<_> = last.iter().rev().take(3).map(|line| line["what"].as_str().unwrap()).collect();
        assert_eq!(whats, ["released", "abandoned", "in_doubt"]);
        stage.0.verified();
        assert!(stage.there("staging/old.db") && !stage.there("staging/new.db"));
    }
}

fn paused() {
    let stage = Stage::with(&super::BOOK.replace(
        "    creates: [new]\n",
        "    creates: [new]\n    invariants: [{ file: { path: \"@/stop\", exists: false, on_violation: pause, every: 1s } }]\n",
    ));
    stage.0.sandbox.write("copy.sh", LONG);
    let mut beside = begun(&stage);
    stage.0.sandbox.write("stop", "");
    beside.ends(Duration::from_secs(40)).exits(4).says("needs a person");
    quiet(&stage);
}

fn killed() {
    let stage = long();
    let mut first = begun(&stage);
    // Two at once would each see what the other does.
    stage.rehearsed(&[]).exits(5).says("is under way");
    first.kill();
    let killed = stage.0.id();
    // The next one ends it, command and all, and begins.
    stage.0.sandbox.write("copy.sh", super::COPY);
    stage.rehearsed(&["--operator", "another-job"]).exits(0);
    quiet(&stage);
    stage.ran("status", &[&killed]).exits(0).says("its session was killed");
    assert_eq!(stage.0.runs().len(), 2);
}
