//! The write-ahead log's own small disk, with slots that nobody reads.

use std::process::Command;
use std::time::Duration;

use holdpoint::check::{Context, Outcome, Verdict};
use serde_json::json;

use super::{MOUNT, ticking};
use crate::checks::{is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, eventually, must};
use crate::host::Mounted;

const KIND: &str = "wal_time_to_full";

pub fn register(r: &mut Registry) {
    let needs = [MOUNT, &[Need::Pg15]].concat();
    verdict(r, KIND, Verdict::Pass, &needs, pass);
    verdict(r, KIND, Verdict::Fail, &needs, || [fails(Major::V15), archiver()].concat());
    verdict(r, KIND, Verdict::Unknown, &needs, unknown);
    for major in [Major::V13, Major::V18] {
        let needs = [MOUNT, &[major.need()]].concat();
        r.add(&format!("checks::wal_time_to_full_asks_{major:?}"), &needs, move || drop(fails(major)));
    }
}

/// A cluster whose log is on a small disk of its own.
fn cluster(major: Major, more: &str) -> (Cluster, Mounted) {
    let cluster = Cluster::create(
        major,
        &format!("max_wal_size = 64MB\nmin_wal_size = 32MB\nautovacuum = off\n{more}"),
    );
    let disk = Mounted::tmpfs("size=300m");
    let log = disk.path().join("wal");
    must(Command::new("cp").arg("-a").arg(cluster.data().join("pg_wal")).arg(&log));
    must(Command::new("rm").arg("-r").arg(cluster.data().join("pg_wal")));
    std::os::unix::fs::symlink(&log, cluster.data().join("pg_wal")).unwrap();
    cluster.restart();
    (cluster, disk)
}

fn watching(cluster: &Cluster) -> Context {
    let mut cx = ticking();
    cx.targets = crate::checks::context([("db", cluster.target("postgres"))]).targets;
    cx
}

fn ask(cx: &Context) -> Outcome {
    look(cx, KIND, json!({ "target": "db", "headroom": "16MiB" }))
}

/// Writes one file of the log, and removes what nothing holds.
fn write(cluster: &Cluster) {
    cluster.psql("select pg_logical_emit_message(false, 'x', 'y')");
    cluster.psql("select pg_switch_wal()");
    cluster.psql("checkpoint");
}

fn pass() -> Vec<Outcome> {
    let (cluster, _disk) = cluster(Major::V15, "");
    let cx = watching(&cluster);
    write(&cluster);
    for _ in 0..4 {
        ask(&cx);
    }
    let calm = ask(&cx);
    is(&calm, Verdict::Pass, "no growth in");
    // A slot that nobody reads, and that gives up before the disk is full.
    cluster.psql("alter system set max_slot_wal_keep_size = '64MB'");
    cluster.reload();
    cluster.psql("select pg_create_physical_replication_slot('capped', true)");
    for _ in 0..3 {
        write(&cluster);
        ask(&cx);
    }
    cluster.psql("select pg_switch_wal()");
    // The files that come first are new ones; the disk stands still once they are recycled.
    let mut settled = watching(&cluster);
    settled.samples = None;
    let room = json!({ "target": "db", "headroom": "16MiB", "window": "30s" });
    (0..5).for_each(|_| drop(look(&settled, KIND, room.clone())));
    let capped = look(&settled, KIND, room);
    is(&capped, Verdict::Pass, "the slots' limit is reached before the disk is full");
    vec![calm, capped]
}

fn fails(major: Major) -> Vec<Outcome> {
    let (cluster, disk) = cluster(major, "");
    let cx = watching(&cluster);
    cluster.psql("select pg_create_physical_replication_slot('gone', true)");
    let mut seen = Vec::new();
    for _ in 0..5 {
        write(&cluster);
        seen = vec![ask(&cx)];
    }
    is(&seen[0], Verdict::Fail, "slot gone holds the log");
    assert!(seen[0].help.as_deref().unwrap().contains("delete nothing in pg_wal"), "{seen:#?}");
    assert!(seen[0].details.iter().any(|line| line.contains("without a limit")), "{seen:#?}");
    assert!(
        seen[0].details.iter().any(|line| line.contains(&disk.path().display().to_string())),
        "{seen:#?}"
    );
    assert!(seen[0].facts["wal_bytes_per_second"].as_f64().unwrap() > 100_000.0, "{seen:#?}");
    seen
}

/// No slot, but an archiver that gets nowhere: it keeps every file as well.
fn archiver() -> Vec<Outcome> {
    let (cluster, _disk) = cluster(Major::V15, "archive_mode = on\narchive_command = 'false'");
    let cx = watching(&cluster);
    write(&cluster);
    let failing = || cluster.psql("select failed_count > 0 from pg_stat_archiver") == "t";
    eventually(Duration::from_secs(20), "the archiver has failed", failing);
    let mut seen = Vec::new();
    for _ in 0..4 {
        write(&cluster);
        seen = vec![ask(&cx)];
    }
    is(&seen[0], Verdict::Fail, "the archiver (it failed with 0000000100000000000000");
    assert!(seen[0].help.as_deref().unwrap().contains("archive_command"), "{seen:#?}");
    seen
}

fn unknown() -> Vec<Outcome> {
    let (cluster, _disk) = cluster(Major::V15, "");
    let cx = watching(&cluster);
    let first = ask(&cx);
    is(&first, Verdict::Unknown, "only 1 sample");
    assert_eq!(first.seen.len(), 1);
    cluster.stop();
    let gone = ask(&cx);
    vec![first, gone]
}
