//! A primary with a standby, its link broken in several ways; slots that hold WAL back; an archiver that fails.

mod archiving;
mod far;
pub mod pair;
mod slots;

use holdpoint::check::Verdict;
use serde_json::json;

use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};
use pair::{Pair, looker, signal};

pub fn register(r: &mut Registry) {
    slots::register(r);
    archiving::register(r);
    far::register(r);
    let killed = "check::standby_stable::fail_after_a_backend_was_killed";
    r.add(killed, &[Need::Pg15], a_backend_was_killed);
    for major in [Major::V13, Major::Wheel18] {
        r.add(&format!("checks::replication_of_{major:?}"), &[major.need()], move || all_well(major));
    }
    verdict(r, "replication_streaming", Verdict::Pass, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, "");
        let synchronous = json!({ "primary": "primary", "standbys": ["beta"], "synchronous": 1 });
        let seen = look(&pair.context(), "replication_streaming", synchronous);
        is(&seen, Verdict::Fail, "0 of the named standbys are synchronous, not 1");
        pair.primary.psql("alter system set synchronous_standby_names = 'beta'");
        pair.primary.reload();
        pair.until_primary("select sync_state = 'sync' from pg_stat_replication");
        let both = json!({
            "primary": "primary", "standbys": ["beta"], "standby_targets": ["standby"], "synchronous": 1
        });
        let seen = look(&pair.context(), "replication_streaming", both);
        is(&seen, Verdict::Pass, "1 standby streams of primary");
        assert_eq!(seen.seen.len(), 2, "{seen:#?}");
        vec![seen]
    });
    verdict(r, "replication_streaming", Verdict::Fail, &[Need::Pg15], broken_links);
    verdict(r, "replication_streaming", Verdict::Unknown, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, "");
        looker(&pair.primary);
        pair.until_standby("select count(*) = 1 from pg_roles where rolname = 'looker'");
        let cx = context([
            ("primary", pair::as_looker(&pair.primary)),
            ("standby", pair::as_looker(&pair.standby)),
            ("well", pair.primary.target("postgres")),
        ]);
        let primary =
            look(&cx, "replication_streaming", json!({ "primary": "primary", "standbys": ["beta"] }));
        is(&primary, Verdict::Unknown, "its state may not be seen");
        let both = json!({ "primary": "well", "standbys": ["beta"], "standby_targets": ["standby"] });
        let standby = look(&cx, "replication_streaming", both.clone());
        is(&standby, Verdict::Unknown, "the WAL receiver of standby may not be seen");
        let stable = look(&cx, "standby_stable", json!({ "target": "standby", "at_least": "1ms" }));
        is(&stable, Verdict::Unknown, "may not be seen");
        pair.standby.stop();
        let gone = look(&cx, "replication_streaming", json!({ "primary": "standby", "standbys": ["x"] }));
        is(&gone, Verdict::Unknown, "standby: PostgreSQL at");
        vec![primary, standby, gone]
    });
    verdict(r, "standby_stable", Verdict::Pass, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, "");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        vec![look(&pair.context(), "standby_stable", json!({ "target": "standby", "at_least": "1s" }))]
    });
    verdict(r, "standby_stable", Verdict::Fail, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, "");
        let cx = pair.context();
        let young = look(&cx, "standby_stable", json!({ "target": "standby" }));
        is(&young, Verdict::Fail, "the server of standby was started only");
        // A crash inside the server: its first process stays, the others are new.
        pair.until_standby("select now() - pg_postmaster_start_time() > interval '3 s'");
        let startup = pair.standby.psql("select pg_postmaster_start_time()");
        let replay = "select pid from pg_stat_activity where backend_type = 'startup'";
        let before = pair.standby.psql(replay);
        signal(
            "KILL",
            &pair.standby.psql("select pid from pg_stat_activity where backend_type = 'checkpointer'"),
        );
        pair.until_standby(&format!("select ({replay}) <> {before}"));
        assert_eq!(startup, pair.standby.psql("select pg_postmaster_start_time()"));
        let crashed = look(&cx, "standby_stable", json!({ "target": "standby", "at_least": up_for(&pair) }));
        is(&crashed, Verdict::Fail, "replay (the startup process) of standby was started only");
        pair.cut();
        let cut = look(&cx, "standby_stable", json!({ "target": "standby", "at_least": "1ms" }));
        is(&cut, Verdict::Fail, "no WAL receiver");
        let primary = look(&cx, "standby_stable", json!({ "target": "primary" }));
        is(&primary, Verdict::Fail, "is no standby");
        vec![young, crashed, cut, primary]
    });
    verdict(r, "standby_stable", Verdict::Unknown, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("standby", cluster.target("postgres"))]);
        cluster.stop();
        vec![look(&cx, "standby_stable", json!({ "target": "standby" }))]
    });
}

/// How long the standby's server has run: what started later in it has run for less, whenever it is asked.
fn up_for(pair: &Pair) -> String {
    let age = "select (extract(epoch from now() - pg_postmaster_start_time()) * 1000)::int || 'ms'";
    pair.standby.psql(age)
}

/// The kernel kills one session of a reader, as for want of memory: the server stays, and all that is in it starts anew.
fn a_backend_was_killed() {
    let pair = Pair::start(Major::V15, "");
    let cx = pair.context();
    let stable = |span: &str| look(&cx, "standby_stable", json!({ "target": "standby", "at_least": span }));
    // So that what is as old as the server can be told from what started with the crash.
    pair.until_standby("select now() - pg_postmaster_start_time() > interval '5 s'");
    is(&stable("1s"), Verdict::Pass, "up and connected for");
    let started = pair.standby.psql("select pg_postmaster_start_time()");
    let mut reader = std::process::Command::new("/usr/bin/psql");
    reader.args(["-XAtqd", &pair.standby.conninfo("postgres"), "-c", "select pg_sleep(600)"]);
    let mut reader = reader.stderr(std::process::Stdio::null()).spawn().unwrap();
    pair.until_standby("select count(*) = 1 from pg_stat_activity where wait_event = 'PgSleep'");
    let replay = "select pid from pg_stat_activity where backend_type = 'startup'";
    let before = pair.standby.psql(replay);
    signal("KILL", &pair.standby.psql("select pid from pg_stat_activity where wait_event = 'PgSleep'"));
    assert!(!reader.wait().unwrap().success());
    pair.until_standby(&format!(
        "select ({replay}) <> {before} and exists (select from pg_stat_wal_receiver where status = 'streaming')"
    ));
    assert_eq!(pair.standby.psql("select pg_postmaster_start_time()"), started, "the server itself stayed");
    // Each try asks for what the server itself has, and its parts have not.
    let mut seen = None;
    crate::harness::eventually(std::time::Duration::from_secs(20), "the restart inside is seen", || {
        let outcome = stable(&up_for(&pair));
        let fails = outcome.verdict == Verdict::Fail;
        seen = Some(outcome);
        fails
    });
    let seen = seen.unwrap();
    is(&seen, Verdict::Fail, "replay (the startup process) of standby was started only");
    assert!(seen.details.iter().any(|line| line.starts_with("the server has run for")), "{seen:#?}");
    let log = std::fs::read_to_string(pair.standby.log()).unwrap();
    assert!(log.contains("was terminated by signal 9"), "which is what a look into the log shows:\n{log}");
}

/// Every check that a healthy pair passes, on an old and a new major version.
fn all_well(major: Major) {
    let pair = Pair::start(major, "max_slot_wal_keep_size = 1GB\n");
    let cx = pair.context();
    let both = json!({ "primary": "primary", "standbys": ["beta"], "standby_targets": ["standby"] });
    for (kind, params) in [
        ("replication_streaming", both),
        ("replication_slots", json!({ "target": "primary", "slots": ["beta"] })),
        ("slot_cap", json!({ "target": "primary" })),
        ("wal_size", json!({ "target": "primary" })),
        ("standby_stable", json!({ "target": "standby", "at_least": "1ms" })),
        ("xid_age", json!({ "target": "standby" })),
        ("horizon_holders", json!({ "target": "standby" })),
        ("autovacuum_progress", json!({ "target": "primary" })),
    ] {
        is(&look(&cx, kind, params), Verdict::Pass, "");
    }
    // A slot that nobody reads: 17 and later say since when, older ones do not.
    pair.primary.psql("select pg_create_physical_replication_slot('unread', true)");
    let params = json!({ "target": "primary" });
    let (wanted, words) = match major {
        Major::V13 => (Verdict::Fail, "slot unread is inactive, and was never seen active"),
        _ => (Verdict::Pass, "2 slots in use"),
    };
    is(&look(&cx, "replication_slots", params), wanted, words);
}

fn broken_links() -> Vec<holdpoint::check::Outcome> {
    let pair = Pair::start(Major::V15, "wal_receiver_status_interval = 1s\n");
    let stranger = Cluster::start(Major::V15);
    let mut cx = pair.context();
    std::sync::Arc::make_mut(&mut cx.targets).insert("stranger".to_owned(), stranger.target("postgres"));
    let streaming = |more: serde_json::Value| {
        let mut params = json!({ "primary": "primary", "standbys": ["beta"] });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look(&cx, "replication_streaming", params)
    };
    let mut seen = Vec::new();
    let mut fails = |outcome: holdpoint::check::Outcome, words: &str| {
        is(&outcome, Verdict::Fail, words);
        seen.push(outcome);
    };
    fails(streaming(json!({ "standbys": ["beta", "gamma"] })), "standby gamma is missing (connected: beta)");
    fails(streaming(json!({ "standby_targets": ["stranger"] })), "stranger is no copy of primary");
    fails(streaming(json!({ "standby_targets": ["primary"] })), "it is a primary itself");
    fails(streaming(json!({ "primary": "standby", "standbys": ["x"] })), "standby is a standby itself");

    pair.standby.psql("select pg_wal_replay_pause()");
    pair.primary.psql("create table w as select repeat('x', 100) from generate_series(1, 20000)");
    pair.until_primary("select pg_wal_lsn_diff(flush_lsn, replay_lsn) > 1000000 from pg_stat_replication");
    let paused = streaming(json!({ "standby_targets": ["standby"], "max_lag": "1MiB" }));
    assert!(paused.details.iter().any(|line| line == "replay is paused on standby"), "{paused:#?}");
    fails(paused, "of WAL still to replay");
    pair.standby.psql("select pg_wal_replay_resume()");
    pair.until_primary("select sent_lsn = replay_lsn from pg_stat_replication");

    // The receiver hangs: the connection stays, and both sides still call it streaming.
    let receiver = pair.standby.psql("select pid from pg_stat_wal_receiver");
    signal("STOP", &receiver);
    std::thread::sleep(std::time::Duration::from_millis(3500));
    let silent = streaming(json!({ "standby_targets": ["standby"], "max_silence": "3s" }));
    signal("CONT", &receiver);
    assert!(silent.details.iter().any(|line| line.starts_with("standby has heard nothing")), "{silent:#?}");
    fails(silent, "beta has not replied for");

    // The link is cut: no row on either side, and the standby looks as if it had caught up.
    pair.cut();
    let caught_up = "select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()";
    assert_eq!(pair.standby.psql(caught_up), "t");
    let cut = streaming(json!({ "standby_targets": ["standby"] }));
    assert!(
        cut.details.iter().any(|line| line.contains("no WAL receiver") && line.contains("means nothing")),
        "{cut:#?}"
    );
    fails(cut, "standby beta is missing (nobody is connected)");
    seen
}
