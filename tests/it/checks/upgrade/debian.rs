//! The way there and back by the names that Debian gives to clusters, with its own tools, in a throw-away Debian.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::is;
use crate::harness::{Debian, Need, Registry};

pub fn register(r: &mut Registry) {
    let needs = [Need::Debian11, Need::Pg15, Need::PgCommon];
    r.add("checks::the_way_back_of_debians_clusters", &needs, there_and_back);
}

/// Measures inside, as root or somebody else, with the targets `main` and `copy`: clusters of 13.
fn ask(debian: &Debian, user: &str, kind: &str, params: Value) -> Outcome {
    let target = |name: &str| json!({ "postgres": "user=postgres dbname=postgres", "cluster": name });
    let site = json!({
        "holdpoint": 1, "name": "debian", "targets": { "main": target("13/main"), "copy": target("13/copy") },
        "checks": [{ kind: params }]
    });
    std::fs::write(debian.path("/srv/site.yaml"), site.to_string()).unwrap();
    let mut command = debian.command("runuser");
    command.args(["-u", user, "--", "holdpoint", "check", "/srv/site.yaml", "--json"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    serde_json::from_value(answer["evidence"][0].clone()).unwrap()
}

fn there_and_back() {
    let debian = Debian::new();
    debian.sh("for name in main copy; do
             pg_createcluster 13 $name --locale C.UTF-8
             echo 'fsync = off' >/etc/postgresql/13/$name/conf.d/test.conf
             pg_ctlcluster 13 $name start
         done
         pg_createcluster 15 main --locale C.UTF-8");
    for name in ["13/main", "13/copy"] {
        let table = "create table t (n int); insert into t select generate_series(1, 1000)";
        debian.sql(name, "postgres", table);
    }
    by_names(&debian);
    let startable =
        |user: &str, name: &str| ask(&debian, user, "old_cluster_startable", json!({ "target": name }));
    let running = startable("postgres", "main");
    is(&running, Verdict::Pass, "PostgreSQL 13 in /var/lib/postgresql/13/main runs (pid ");
    assert_eq!(running.seen.len(), 1, "{running:#?}");
    debian.sh("pg_ctlcluster 13 main stop");
    is(&startable("root", "main"), Verdict::Pass, "13/main is complete, shut down");
    // With the old one stopped, pg_upgrade starts it for a moment, by the configuration that Debian keeps elsewhere.
    let names = json!({ "old_cluster": "13/main", "new_cluster": "15/main" });
    is(&ask(&debian, "root", "pg_upgrade_check", names), Verdict::Pass, "compatible");
    assert_eq!(debian.clusters(), ["13/copy online", "13/main down", "15/main down"], "all is as it was");
    is(&startable("root", "main"), Verdict::Pass, "13/main is complete, shut down");

    // By links: both clusters have the same files, and the old one must not be started again.
    debian.sh("pg_dropcluster 15 main");
    debian.sh("pg_upgradecluster --method=upgrade --link -v 15 13 main && pg_ctlcluster 15 main start
         pg_upgradecluster --method=upgrade -v 15 13 copy");
    assert_eq!(debian.clusters(), ["13/copy down", "13/main down", "15/copy online", "15/main online"]);
    for user in ["root", "postgres"] {
        let linked = startable(user, "main");
        is(&linked, Verdict::Fail, "");
        let lines = format!("{}\n{}", linked.observed, linked.details.join("\n"));
        assert!(lines.contains("renamed pg_control to pg_control.old"), "{linked:#?}");
        assert!(lines.contains("shared by hard links"), "{linked:#?}");
        // By a copy it is whole, and starts.
        is(&startable(user, "copy"), Verdict::Pass, "13/copy is complete, shut down");
    }
    debian.sh("pg_ctlcluster 15 copy stop && pg_ctlcluster 13 copy start");
    assert_eq!(debian.sql("13/copy", "postgres", "select count(*) from t"), "1000");
}

/// pg_upgrade_check finds configuration, data and programs by the names.
fn by_names(debian: &Debian) {
    let check = |user: &str, old: &str, new: &str| {
        ask(debian, user, "pg_upgrade_check", json!({ "old_cluster": old, "new_cluster": new }))
    };
    for user in ["root", "postgres"] {
        is(&check(user, "13/main", "15/main"), Verdict::Pass, "compatible");
    }
    assert_eq!(debian.clusters(), ["13/copy online", "13/main online", "15/main down"], "all is as it was");
    let gone = check("root", "13/main", "15/copy");
    is(&gone, Verdict::Unknown, "15/copy");
    let handler = "returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler'";
    debian.sql("13/main", "postgres", &format!("create function f() {handler}"));
    debian.sql(
        "13/main",
        "postgres",
        "update pg_proc set probin = '$libdir/no_such_library' where proname = 'f'",
    );
    let library = check("root", "13/main", "15/main");
    is(&library, Verdict::Fail, "loadable libraries that are missing");
    assert!(library.details.iter().any(|line| line.contains("no_such_library")), "{library:#?}");
    debian.sql("13/main", "postgres", "drop function f()");
    debian.sh("pg_ctlcluster 15 main start");
    is(&check("root", "13/main", "15/main"), Verdict::Unknown, "the new cluster runs (pid ");
    debian.sh("pg_ctlcluster 15 main stop");
}
