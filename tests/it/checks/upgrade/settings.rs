//! The configuration of an old and a new server.

use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::{gone, limited};
use crate::harness::{Cluster, Major, Need, Registry, eventually};

/// What people set, in words that every version knows.
const TUNED: &str = "work_mem = '64MB'\nmax_wal_size = '2GB'\nstatement_timeout = '5min'\nwal_level = logical\n\
    archive_mode = on\narchive_command = '/bin/true'\nlog_line_prefix = '%m [%p] '\n";

const RULES: &str = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost app app 10.0.0.0/8 scram-sha-256\n\
    host all all 0.0.0.0/0 reject\n";

fn compare(old: Target, new: Target, more: Value) -> Outcome {
    let cx = context([("old", old), ("new", new)]);
    let mut params = json!({ "source": "old", "target": "new" });
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    look(&cx, "settings_match", params)
}

fn both(old: &Cluster, new: &Cluster, more: Value) -> Outcome {
    compare(old.target("postgres"), new.target("postgres"), more)
}

fn with_rules(major: Major, conf: &str, rules: &str) -> Cluster {
    let cluster = Cluster::create(major, conf);
    cluster.hba(rules);
    cluster.restart();
    cluster
}

pub fn register(r: &mut Registry) {
    let check = "settings_match";
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        // wal_keep_size is new in 13; vacuum_defer_cleanup_age ended with 15.
        let old = with_rules(
            Major::V13,
            &format!("{TUNED}vacuum_defer_cleanup_age = 7\nwal_compression = on\n"),
            RULES,
        );
        let new =
            with_rules(Major::V18, &format!("{TUNED}wal_compression = pglz\nio_method = sync\n"), RULES);
        let across = both(&old, &new, json!({ "hba": true }));
        is(
            &across,
            Verdict::Pass,
            " settings that somebody set are the same, and so are the rules of pg_hba.conf",
        );
        let told = across.details.join("\n");
        for words in [
            "vacuum_defer_cleanup_age was 7, and 18 has no such setting; hot_standby_feedback",
            "set in the target, and unknown to the source: ",
            "io_method = sync",
            "defaults that are others in 18 than in 13: ",
            "password_encryption (was md5, is scram-sha-256)",
            "rightly different, and not judged: ",
            "unix_socket_directories",
        ] {
            assert!(told.contains(words), "{words}: {across:#?}");
        }
        new.psql("alter system set work_mem = '32MB'");
        new.reload();
        let told = "select setting = '32768' from pg_settings where name = 'work_mem'";
        eventually(Duration::from_secs(20), told, || new.psql(told) == "t");
        let excepted = json!({ "except": [{ "name": "work_mem", "reason": "smaller machine" }] });
        let excepted = both(&old, &new, excepted);
        is(&excepted, Verdict::Pass, " settings that somebody set are the same (1 excepted)");
        assert!(
            excepted
                .details
                .iter()
                .any(|line| line == "excepted (smaller machine): work_mem is 32.0 MiB; wanted 64.0 MiB"),
            "{excepted:#?}"
        );
        vec![across, excepted]
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg13, Need::Pg15], || {
        let old = with_rules(Major::V13, TUNED, RULES);
        let bare = with_rules(
            Major::V15,
            "autovacuum = off\nmax_connections = 20\n",
            "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all 0.0.0.0/0 reject\nhost app app 10.0.0.0/8 scram-sha-256\n",
        );
        let lost = both(&old, &bare, json!({ "hba": true }));
        let lines = lost.details.join("\n");
        for line in [
            "autovacuum is off; wanted on, the default of the source",
            "max_connections is 20; wanted 40",
            "work_mem is 4.00 MiB, the default; wanted 64.0 MiB",
            "wal_level is replica, the default; wanted logical",
            // Our own session has others.
            "statement_timeout is 0, the default; wanted 5min",
            "archive_mode is off",
            "archive_command is empty, the default; wanted set (not shown",
            "another order: `host all all 0.0.0.0 0.0.0.0 reject` comes before `host app app 10.0.0.0 255.0.0.0 scram-sha-256`",
        ] {
            assert!(lines.contains(line), "{line}: {lost:#?}");
        }
        assert!(!lines.contains("lock_timeout") && !lines.contains("timezone is"), "{lost:#?}");
        bare.psql("alter system set max_connections = 40");
        bare.reload();
        let pending = "select pending_restart from pg_settings where name = 'max_connections'";
        eventually(Duration::from_secs(20), pending, || bare.psql(pending) == "t");
        let waits = both(&old, &bare, json!({}));
        assert!(
            waits
                .details
                .iter()
                .any(|line| line == "max_connections is 20; wanted 40 (another value waits for a restart)"),
            "{waits:#?}"
        );
        let missing = with_rules(
            Major::V15,
            TUNED,
            "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all 0.0.0.0/0 reject\n",
        );
        let shut_out = both(&old, &missing, json!({ "hba": true }));
        is(
            &shut_out,
            Verdict::Fail,
            "the rule `host app app 10.0.0.0 255.0.0.0 scram-sha-256` of pg_hba.conf is missing",
        );
        missing.hba(&format!("{RULES}host all nonsense\n"));
        let broken = both(&old, &missing, json!({ "hba": true }));
        is(&broken, Verdict::Fail, "line 5 of pg_hba.conf cannot be read");
        vec![
            lost,
            waits,
            shut_out,
            broken,
            compare(old.target("postgres"), old.target("postgres"), json!({})),
        ]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], || {
        let (old, new) = (Cluster::with(Major::V15, TUNED), Cluster::with(Major::V15, TUNED));
        let seen = compare(limited(&old, "postgres"), limited(&new, "postgres"), json!({}));
        is(&seen, Verdict::Pass, "settings that somebody set are the same");
        let rules = compare(limited(&old, "postgres"), limited(&new, "postgres"), json!({ "hba": true }));
        is(&rules, Verdict::Unknown, "the rules of pg_hba.conf cannot be seen: ");
        new.psql("create database app");
        new.psql("alter database app set work_mem = '64MB'");
        let hidden = compare(old.target("postgres"), new.target("app"), json!({}));
        is(
            &hidden,
            Verdict::Unknown,
            "work_mem cannot be seen: on the target, our own role, database or connection",
        );
        // Without the right to see all settings.
        new.psql("create role nobody login");
        let blind = Target {
            postgres: Some(new.conninfo("postgres").replace("user=postgres", "user=nobody")),
            ..Target::default()
        };
        let blind = compare(old.target("postgres"), blind, json!({}));
        is(&blind, Verdict::Unknown, "pg_read_all_settings");
        vec![rules, hidden, blind, compare(gone(), new.target("postgres"), json!({}))]
    });
}
