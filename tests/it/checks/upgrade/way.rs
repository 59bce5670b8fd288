//! There and back: versions, pg_upgrade itself, and what is left of the old cluster.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::gone;
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, copy_program, eventually, must};

pub fn register(r: &mut Registry) {
    versions(r);
    upgrade(r);
    back(r);
}

fn bin(major: Major) -> String {
    major.bin().display().to_string()
}

fn versions(r: &mut Registry) {
    let check = "minor_versions_in_order";
    let newest = format!("{}/pg_dump", bin(Major::Wheel18));
    verdict(r, check, Verdict::Pass, &[Need::Pg17, Need::Pg18, Need::PgWheel], move || {
        let (old, new) = (Cluster::start(Major::V17), Cluster::start(Major::V18));
        let cx = context([("old", old.target("postgres")), ("new", new.target("postgres"))]);
        let both = look(&cx, check, json!({ "source": "old", "target": "new", "pg_dump": newest }));
        is(&both, Verdict::Pass, "from 17.10 (2026-05-14) to 18.4 (2026-05-14)");
        let program = json!({ "source": "old", "new_bin": bin(Major::Wheel18), "client_tools": false });
        vec![both, look(&cx, check, program)]
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg15, Need::Pg17], move || {
        let (old, new) = (Cluster::start(Major::V17), Cluster::start(Major::V15));
        let cx = context([("new", new.target("postgres")), ("old", old.target("postgres"))]);
        let back = look(&cx, check, json!({ "source": "old", "target": "new", "client_tools": false }));
        is(&back, Verdict::Fail, "is an older major version than 17.10");
        // Debian 12's own pg_dump is of 15.
        let dump =
            json!({ "source": "old", "target": "new", "pg_dump": format!("{}/pg_dump", bin(Major::V15)) });
        let tools = look(&cx, check, dump);
        assert!(tools.details.iter().any(|line| line.contains("older than the source's 17")), "{tools:#?}");
        // The programs of a release that is months older than the running server's.
        let sandbox = Sandbox::new();
        let text = sandbox.write("postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 16.9'\n");
        std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(sandbox.join("bin")).unwrap();
        copy_program(text, &sandbox.join("bin/postgres"));
        let stale = json!({ "source": "new", "new_bin": sandbox.join("bin"), "client_tools": false });
        let wave = look(&cx, check, stale);
        is(&wave, Verdict::Fail, "to 16.9 (2025-05-08): the target's release is the older one");
        vec![back, tools, wave]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg17], move || {
        let old = Cluster::start(Major::V17);
        let cx = context([("old", old.target("postgres")), ("gone", gone())]);
        let absent = look(&cx, check, json!({ "source": "old", "new_bin": "/nonexistent" }));
        is(&absent, Verdict::Unknown, "`/nonexistent/postgres` does not exist");
        let tools = json!({ "source": "old", "new_bin": "/nonexistent", "pg_dump": "/nonexistent/pg_dump" });
        vec![absent, look(&cx, check, tools), look(&cx, check, json!({ "source": "gone", "target": "old" }))]
    });
}

/// An old cluster of 16 that has checksums, as those of 18 have, and a new one.
fn clusters() -> (Cluster, Cluster) {
    let old = Cluster::create(Major::Wheel16, "");
    must(Major::Wheel16.command("pg_checksums").args(["--enable", "--no-sync", "-D"]).arg(old.data()));
    old.restart();
    old.psql("create table t(id int primary key)");
    old.psql("insert into t select generate_series(1, 1000)");
    (old, Cluster::create(Major::Wheel18, ""))
}

fn params(old: &Cluster, new: &Cluster) -> Value {
    json!({ "old_data": old.data(), "old_bin": bin(Major::Wheel16), "new_data": new.data(), "new_bin": bin(Major::Wheel18),
        "superuser": "postgres" })
}

fn ask(params: Value) -> Outcome {
    look(&context([]), "pg_upgrade_check", params)
}

/// Watchers of this cluster, and its server.
fn left_over(cluster: &Cluster) -> usize {
    let data = cluster.data().display().to_string();
    let commands = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let watchers = commands.filter(|line| String::from_utf8_lossy(line).contains(&data)).count();
    watchers + usize::from(cluster.data().join("postmaster.pid").exists())
}

fn upgrade(r: &mut Registry) {
    let check = "pg_upgrade_check";
    verdict(r, check, Verdict::Pass, &[Need::PgWheel], || {
        let (old, new) = clusters();
        let live = ask(params(&old, &new));
        is(&live, Verdict::Pass, "compatible: ");
        old.stop();
        let stopped = ask(params(&old, &new));
        assert!(!old.data().join("postmaster.pid").exists() && !new.data().join("postmaster.pid").exists());
        let mut linked = params(&old, &new);
        linked["mode"] = json!("link");
        vec![live, stopped, ask(linked)]
    });
    verdict(r, check, Verdict::Fail, &[Need::PgWheel], || {
        let bare = Cluster::start(Major::Wheel16);
        let (old, new) = clusters();
        let checksums = ask(params(&bare, &new));
        is(&checksums, Verdict::Fail, "old cluster does not use data checksums but the new one does");
        // A library that was there when its function was made.
        old.psql("create function f() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler'");
        old.psql("update pg_proc set probin = '$libdir/no_such_library' where proname = 'f'");
        let library = ask(params(&old, &new));
        is(&library, Verdict::Fail, "loadable libraries that are missing");
        assert!(library.details.iter().any(|line| line.contains("no_such_library")), "{library:#?}");
        vec![checksums, library]
    });
    verdict(r, check, Verdict::Unknown, &[Need::PgWheel], || {
        let (old, new) = clusters();
        new.restart();
        let running = ask(params(&old, &new));
        is(&running, Verdict::Unknown, "the new cluster runs (pid ");
        new.stop();
        let mut nobody = params(&old, &new);
        nobody["superuser"] = json!("nobody_here");
        let nobody = ask(nobody);
        is(&nobody, Verdict::Unknown, "role \"nobody_here\" does not exist");
        let mut nowhere = params(&old, &new);
        nowhere["new_bin"] = json!("/nonexistent");
        let nowhere = ask(nowhere);
        is(&nowhere, Verdict::Unknown, "there are no programs of PostgreSQL in /nonexistent");
        vec![running, nobody, nowhere]
    });
    r.add("checks::pg_upgrade_that_is_cut_off_leaves_no_server_behind", &[Need::PgWheel], || {
        let (old, new) = clusters();
        old.stop();
        // At different moments of its work.
        for limit in ["150ms", "350ms", "550ms"] {
            let mut short = params(&old, &new);
            short["timeout"] = json!(limit);
            let seen = ask(short);
            assert!(seen.verdict == Verdict::Unknown || limit == "550ms", "{seen:#?}");
            eventually(Duration::from_secs(30), "nothing is left", || left_over(&old) + left_over(&new) == 0);
        }
        old.restart();
        assert_eq!(old.psql("select count(*) from t"), "1000");
    });
}

fn back(r: &mut Registry) {
    let check = "old_cluster_startable";
    fn at(cluster: &Cluster) -> Value {
        json!({ "data_directory": cluster.data(), "bin": bin(Major::Wheel16) })
    }
    verdict(r, check, Verdict::Pass, &[Need::Pg15, Need::PgWheel], move || {
        let old = Cluster::start(Major::Wheel16);
        let cx = context([]);
        let running = look(&cx, check, at(&old));
        is(&running, Verdict::Pass, " runs (pid ");
        old.stop();
        let stopped = look(&cx, check, at(&old));
        is(&stopped, Verdict::Pass, " is complete, shut down");
        // By a target, with the programs found by themselves.
        let own = Cluster::start(Major::V15);
        let target =
            Target { data_directory: Some(own.data().display().to_string()), ..own.target("postgres") };
        let cx = context([("old", target), ("reached", own.target("postgres"))]);
        let reached = look(&cx, check, json!({ "target": "reached" }));
        own.stop();
        vec![running, stopped, reached, look(&cx, check, json!({ "target": "old" }))]
    });
    verdict(r, check, Verdict::Fail, &[Need::PgWheel], move || {
        let cx = context([]);
        let crashed = Cluster::start(Major::Wheel16);
        crashed.stop_mode("immediate");
        let crash = look(&cx, check, at(&crashed));
        is(&crash, Verdict::Fail, "it was not shut down cleanly: its state is \"in production\"");
        let programs = json!({ "data_directory": crashed.data(), "bin": bin(Major::Wheel18) });
        let programs = look(&cx, check, programs);
        is(&programs, Verdict::Fail, "is of version 18, and the cluster of 16");
        let control = crashed.data().join("global/pg_control");
        let mut bytes = std::fs::read(&control).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&control, bytes).unwrap();
        let damaged = look(&cx, check, at(&crashed));
        is(&damaged, Verdict::Fail, "its checksum does not match");
        let empty = Sandbox::new();
        let no_cluster = look(&cx, check, json!({ "data_directory": empty.path() }));
        is(&no_cluster, Verdict::Fail, "is no data directory");
        let nothing = look(&cx, check, json!({ "data_directory": empty.join("gone") }));
        is(&nothing, Verdict::Fail, "there is no ");
        let mut seen = vec![crash, programs, damaged, no_cluster, nothing];
        for mode in ["--link", "--swap"] {
            let (old, new) = clusters();
            old.stop();
            let mut upgrade = Major::Wheel18.command("pg_upgrade");
            upgrade
                .current_dir(new.socket_dir())
                .args([mode, "--no-sync", "-U", "postgres", "-b"])
                .arg(Major::Wheel16.bin());
            must(
                upgrade
                    .arg("-B")
                    .arg(Major::Wheel18.bin())
                    .arg("-d")
                    .arg(old.data())
                    .arg("-D")
                    .arg(new.data()),
            );
            let closed = look(&cx, check, at(&old));
            let lines = format!("{}\n{}", closed.observed, closed.details.join("\n"));
            assert!(lines.contains("renamed pg_control to pg_control.old"), "{closed:#?}");
            assert!(mode == "--swap" || lines.contains("shared by hard links"), "{closed:#?}");
            seen.push(closed);
        }
        seen
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let old = Cluster::start(Major::V15);
        let cx = context([("old", old.target("postgres"))]);
        old.stop();
        // Its target does not say where it lies, and nobody answers.
        let asleep = look(&cx, check, json!({ "target": "old" }));
        is(&asleep, Verdict::Unknown, "does not say where its data is");
        vec![asleep]
    });
}
