//! Room for a copy of a whole cluster.

use std::process::Command;

use holdpoint::check::{Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::{MOUNT, solid};
use crate::checks::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, must};
use crate::host::Mounted;

const KIND: &str = "capacity_for_copy";
const SMALL_LOG: &str = "max_wal_size = 32MB\nmin_wal_size = 32MB\nautovacuum = off";

pub fn register(r: &mut Registry) {
    let needs = [MOUNT, &[Need::Pg15]].concat();
    verdict(r, KIND, Verdict::Pass, &needs, pass);
    verdict(r, KIND, Verdict::Fail, &needs, fail);
    verdict(r, KIND, Verdict::Unknown, &needs, unknown);
    for major in [Major::V13, Major::V18] {
        let needs = [MOUNT, &[major.need()]].concat();
        r.add(&format!("checks::capacity_for_copy_asks_{major:?}"), &needs, move || asks(major));
    }
    r.add("checks::capacity_for_copy_is_enough_for_a_restore", &needs, enough);
}

fn ask(cluster: &Cluster, params: Value) -> Outcome {
    let mut all = json!({ "source": "old" });
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    look(&context([("old", cluster.target("postgres"))]), KIND, all)
}

/// The numbers of the file system that a path is on.
fn volume(outcome: &Outcome, at: &std::path::Path) -> Value {
    let all = outcome.facts["file_systems"].as_array().unwrap();
    let mine = |one: &&Value| one["path"].as_str().is_some_and(|path| at.starts_with(path) && path != "/");
    all.iter().find(mine).unwrap_or_else(|| panic!("{} in {outcome:#?}", at.display())).clone()
}

/// A directory of a mount that belongs to the server's user.
fn theirs(mounted: &Mounted, name: &str) -> std::path::PathBuf {
    let dir = mounted.path().join(name);
    must(Command::new("install").args(["-d", "-o", "postgres", "-g", "postgres", "-m", "700"]).arg(&dir));
    dir
}

fn pass() -> Vec<Outcome> {
    let cluster = Cluster::with(Major::V15, SMALL_LOG);
    let (large, fast, image) =
        (Mounted::tmpfs("size=400m"), Mounted::tmpfs("size=200m"), tempfile::tempdir().unwrap());
    let disk = solid(120, image.path());
    let place = theirs(&fast, "space");
    cluster.psql(&format!("create tablespace fast location '{}'", place.display()));
    cluster.psql(
        "create table kept tablespace fast as select g, repeat('x', 200) t from generate_series(1, 50000) g",
    );
    let sizes = |what: &str| -> u64 { cluster.psql(what).parse().unwrap() };
    let seen = ask(
        &cluster,
        json!({ "into": large.path().join("15/main"), "keep_free": "20MiB", "dump_to": disk.path() }),
    );
    is(&seen, Verdict::Pass, "fit on 3 file systems");
    let inside =
        sizes("select sum(pg_tablespace_size(oid))::bigint from pg_tablespace where spcname like 'pg\\_%'");
    let outside = sizes("select pg_tablespace_size('fast')");
    let need = volume(&seen, &large.path())["bytes_needed"].as_u64().unwrap();
    let data = inside as f64 * 1.2 + (32 << 20) as f64;
    assert!((data as u64..data as u64 + (20 << 20)).contains(&need), "data and log, and an index: {seen:#?}");
    let need = volume(&seen, &place)["bytes_needed"].as_u64().unwrap();
    assert!(
        need.abs_diff((outside as f64 * 1.2) as u64) < 1 << 20,
        "the tablespace stays where it is: {seen:#?}"
    );
    let dumped = volume(&seen, &disk.path());
    let (need, there) = (
        dumped["bytes_needed"].as_u64().unwrap(),
        sizes("select sum(pg_database_size(oid))::bigint from pg_database"),
    );
    assert!(need.abs_diff(there) < 1 << 20, "sessions make a few files of their own: {need} {there}");
    assert_eq!((dumped["trusted"].clone(), dumped["kind"].clone()), (json!(true), json!("ext4")));
    assert!(seen.details.iter().any(|line| line.contains("write-ahead log 32.0 MiB")), "{seen:#?}");
    let files = volume(&seen, &large.path())["files_needed"].as_u64().unwrap();
    assert!((2_000..8_000).contains(&files), "a new cluster has about a thousand: {seen:#?}");

    // Stopped, as it is in front of pg_upgrade: its files tell, and the log's size is said.
    let moved = json!({ "source": "old", "method": "pg_upgrade_copy", "into": large.path(), "keep_free": "20MiB",
        "tablespaces_into": large.path(), "wal_room": "64MiB" });
    cluster.stop();
    let data_directory = Some(cluster.data().display().to_string());
    let target = Target { data_directory, ..cluster.target("postgres") };
    let stopped = look(&context([("old", target)]), KIND, moved);
    is(&stopped, Verdict::Pass, "fit on 1 file system");
    assert!(stopped.details.iter().any(|line| line.contains("stopped")), "{stopped:#?}");
    vec![seen, stopped]
}

fn fail() -> Vec<Outcome> {
    let cluster = Cluster::with(Major::V15, SMALL_LOG);
    let large = Mounted::tmpfs("size=400m");
    let fits = json!({ "into": large.path(), "keep_free": "20MiB" });
    is(&ask(&cluster, fits), Verdict::Pass, "");
    // The default keeps more than this file system has.
    let default = ask(&cluster, json!({ "into": large.path() }));
    is(&default, Verdict::Fail, "5.00 GiB to stay free");
    // Two that fit alone do not fit together.
    let small = Mounted::tmpfs("size=80m");
    let alone = json!({ "into": large.path(), "keep_free": "1MiB", "dump_to": small.path() });
    is(&ask(&cluster, alone), Verdict::Pass, "");
    let alone = json!({ "into": small.path(), "keep_free": "1MiB" });
    is(&ask(&cluster, alone), Verdict::Pass, "");
    let both = ask(
        &cluster,
        json!({ "into": small.path(), "keep_free": "1MiB", "dump_to": small.path().join("dumps") }),
    );
    is(&both, Verdict::Fail, "is short of");
    // The log's own small disk, behind a link.
    let log = Mounted::tmpfs("size=30m");
    let new = large.path().join("new");
    std::fs::create_dir(&new).unwrap();
    std::os::unix::fs::symlink(log.path().join("wal"), new.join("pg_wal")).unwrap();
    let linked = ask(&cluster, json!({ "into": new, "keep_free": "1MiB" }));
    is(&linked, Verdict::Fail, &format!("{} is short of", log.path().display()));
    // Bytes are there, files are not.
    let inodes = Mounted::tmpfs("size=400m,nr_inodes=700");
    let few = ask(&cluster, json!({ "into": inodes.path(), "keep_free": "1MiB" }));
    is(&few, Verdict::Fail, "inodes left");
    // A hard link cannot lead to another file system.
    let link = ask(&cluster, json!({ "method": "link", "into": large.path(), "keep_free": "1MiB" }));
    is(&link, Verdict::Fail, "this method needs one");
    vec![default, both, linked, few, link]
}

fn unknown() -> Vec<Outcome> {
    let cluster = Cluster::with(Major::V15, SMALL_LOG);
    let image = tempfile::tempdir().unwrap();
    // A file system of 400 MiB on an image that has nothing but headers so far.
    let sparse = Mounted::ext4("400M", &image.path().join("image"));
    let thin = ask(&cluster, json!({ "into": sparse.path(), "keep_free": "1MiB" }));
    is(&thin, Verdict::Unknown, "(thin) may not be there");
    let trusted = ask(&cluster, json!({ "into": sparse.path(), "keep_free": "1MiB", "trust": ["thin"] }));
    is(&trusted, Verdict::Pass, "");
    let nowhere = ask(&cluster, json!({ "into": "relative/path", "keep_free": "1MiB" }));
    is(&nowhere, Verdict::Unknown, "not an absolute path");

    let large = Mounted::tmpfs("size=400m");
    // Nobody may ask for the size of a database without the right to connect.
    cluster.psql("create role visitor login");
    cluster.psql("revoke connect on database template1 from public");
    let visitor = cluster.conninfo("postgres").replace("user=postgres", "user=visitor");
    let target = Target { postgres: Some(visitor), ..Target::default() };
    let params = json!({ "source": "old", "into": large.path(), "keep_free": "1MiB" });
    let denied = look(&context([("old", target)]), KIND, params);
    is(&denied, Verdict::Unknown, "");
    cluster.stop();
    let gone = ask(&cluster, json!({ "into": large.path(), "keep_free": "1MiB" }));
    is(&gone, Verdict::Unknown, "");
    let data_directory = Some(cluster.data().display().to_string());
    let target = Target { data_directory, ..cluster.target("postgres") };
    let stopped = |more: Value| {
        let mut params = json!({ "source": "old", "into": large.path(), "keep_free": "1MiB" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look(&context([("old", target.clone())]), KIND, params)
    };
    let no_log = stopped(json!({ "method": "pg_upgrade_copy" }));
    is(&no_log, Verdict::Unknown, "max_wal_size");
    let no_indexes = stopped(json!({ "wal_room": "64MiB" }));
    is(&no_indexes, Verdict::Unknown, "building its indexes");
    vec![thin, nowhere, denied, gone, no_log, no_indexes]
}

fn asks(major: Major) {
    let cluster = Cluster::with(major, &format!("{SMALL_LOG}\narchive_mode = on\narchive_command = 'false'"));
    let large = Mounted::tmpfs("size=400m");
    cluster.psql("create table t as select g from generate_series(1, 1000) g");
    cluster.psql("select pg_switch_wal()");
    let waits =
        || cluster.psql("select count(*) from pg_ls_archive_statusdir() where name like '%.ready'") != "0";
    crate::harness::eventually(std::time::Duration::from_secs(20), "a file of the log waits", waits);
    let into = cluster.data().parent().unwrap().join("new");
    for method in ["dump", "pg_upgrade_copy", "link", "swap"] {
        let shared = matches!(method, "link" | "swap");
        let into = if shared { into.clone() } else { large.path() };
        let trust = json!(["ext4", "overlay", "thin", "btrfs", "zfs"]);
        let seen =
            ask(&cluster, json!({ "method": method, "into": into, "keep_free": "1MiB", "trust": trust }));
        is(&seen, Verdict::Pass, "fit on");
        assert!(seen.details.iter().any(|line| line.contains("archiving is on")), "{seen:#?}");
        let queue = seen.details.iter().any(|line| line.contains("write-ahead log 48.0 MiB"));
        assert_eq!(queue, method == "dump", "16 MiB wait for the archiver: {seen:#?}");
    }
}

/// What is said to be needed is enough for the real thing, and not far from it.
fn enough() {
    let (old, new) = (Cluster::with(Major::V15, SMALL_LOG), Cluster::with(Major::V15, SMALL_LOG));
    old.psql("create table t (id int primary key, k text, v text)");
    old.psql(
        "insert into t select g, md5(g::text), repeat(md5(g::text), 3) from generate_series(1, 300000) g",
    );
    old.psql("create index on t (k)");
    let large = Mounted::tmpfs("size=2g");
    let seen = ask(&old, json!({ "into": large.path(), "keep_free": "1MiB" }));
    let need = volume(&seen, &large.path())["bytes_needed"].as_u64().unwrap();
    let copy = format!(
        "pg_dump -d '{}' | psql -Xq -v ON_ERROR_STOP=1 -d '{}'",
        old.conninfo("postgres"),
        new.conninfo("postgres")
    );
    must(Command::new("bash").args(["-o", "pipefail", "-c", &copy]));
    let du = must(Command::new("du").args(["-sb", "--"]).arg(new.data())).stdout;
    let took: u64 = String::from_utf8_lossy(&du).split_whitespace().next().unwrap().parse().unwrap();
    assert!(took <= need && need < took * 2, "needed {need}, took {took}");
}
