//! An archiver that works, one that fails, and none.

use std::time::Duration;

use holdpoint::check::Verdict;
use serde_json::json;

use super::super::{context, is, look, verdict};
use super::pair::{as_looker, looker};
use crate::harness::{Cluster, Major, Need, Registry, eventually};

pub fn register(r: &mut Registry) {
    verdict(r, "wal_archiving", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::with(Major::V15, "archive_mode = on\narchive_command = 'cp %p ../%f'\n");
        let cx = context([("db", cluster.target("postgres"))]);
        let untried = look(&cx, "wal_archiving", json!({ "target": "db" }));
        is(&untried, Verdict::Unknown, "db has archived nothing yet, and has not tried");
        archive(&cluster, "archived_count > 0");
        let seen = look(&cx, "wal_archiving", json!({ "target": "db" }));
        is(&seen, Verdict::Pass, "was archived");
        vec![seen]
    });
    for major in [Major::V13, Major::V15] {
        let scene = move || {
            let cluster = Cluster::with(major, "archive_mode = on\narchive_command = '/bin/false'\n");
            let cx = context([("db", cluster.target("postgres"))]);
            archive(&cluster, "failed_count > 0");
            let failing = look(&cx, "wal_archiving", json!({ "target": "db" }));
            is(&failing, Verdict::Fail, "nothing was ever archived");
            std::thread::sleep(Duration::from_millis(1100));
            let few = json!({ "target": "db", "max_waiting": 0, "max_wait": "1s" });
            let waiting = look(&cx, "wal_archiving", few);
            assert!(
                waiting.details.iter().any(|line| line.contains("the oldest of 1 file waits for")),
                "{waiting:#?}"
            );
            cluster.psql("alter system set archive_command = ''");
            cluster.reload();
            let unset = look(&cx, "wal_archiving", json!({ "target": "db" }));
            is(&unset, Verdict::Fail, "no archive_command is set");
            vec![failing, waiting, unset]
        };
        match major {
            Major::V15 => verdict(r, "wal_archiving", Verdict::Fail, &[Need::Pg15], scene),
            _ => r.add("checks::archiving_fails_on_13", &[Need::Pg13], move || drop(scene())),
        }
    }
    verdict(r, "wal_archiving", Verdict::Unknown, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        looker(&cluster);
        let cx = context([("db", cluster.target("postgres")), ("looker", as_looker(&cluster))]);
        let off = look(&cx, "wal_archiving", json!({ "target": "db" }));
        is(&off, Verdict::Unknown, "archive_mode is off");
        let hidden = look(&cx, "wal_archiving", json!({ "target": "looker" }));
        is(&hidden, Verdict::Unknown, "SQLSTATE 42501");
        vec![off, hidden]
    });
}

/// Ends a file of WAL and waits until the archiver has dealt with it.
fn archive(cluster: &Cluster, until: &str) {
    cluster.psql("create table w (n int)");
    cluster.psql("select pg_switch_wal()");
    let sql = format!("select {until} from pg_stat_archiver");
    eventually(Duration::from_secs(20), &sql, || cluster.psql(&sql) == "t");
}
