//! Slots: in use, abandoned, capped and lost; and the WAL that piles up behind them.

use std::sync::Arc;
use std::time::Duration;

use holdpoint::check::{Context, Verdict};
use holdpoint::world::World;
use serde_json::json;

use super::super::clock::Later;
use super::super::{context, is, look, verdict};
use super::pair::{Pair, as_looker, looker, signal};
use crate::harness::{Cluster, Major, Need, Registry, eventually};

/// Small, so that limits are near.
const SMALL: &str = "max_wal_size = 32MB\nmin_wal_size = 32MB\n";

pub fn register(r: &mut Registry) {
    verdict(r, "replication_slots", Verdict::Pass, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, "");
        let cx = pair.context();
        let first = look(&cx, "replication_slots", json!({ "target": "primary", "slots": ["beta"] }));
        is(&first, Verdict::Pass, "1 slot in use");
        // Its reader is away for a moment: the look before shows for how long at most.
        pair.standby.stop();
        eventually(Duration::from_secs(10), "the slot is free", || {
            pair.primary.psql("select active from pg_replication_slots") == "f"
        });
        let away = look(&cx, "replication_slots", json!({ "target": "primary" }));
        assert!(away.details.iter().any(|line| line.contains("inactive, last seen active")), "{away:#?}");
        vec![first, away]
    });
    verdict(r, "replication_slots", Verdict::Fail, &[Need::Pg15], lost);
    r.add("checks::a_slot_of_18_is_invalid", &[Need::PgWheel], invalid);
    verdict(r, "replication_slots", Verdict::Unknown, &[Need::Pg15], || {
        let pair = Pair::start(Major::V15, SMALL);
        // The receiver hangs: its slot is active, and holds back more and more.
        let receiver = pair.standby.psql("select pid from pg_stat_wal_receiver");
        signal("STOP", &receiver);
        fill(&pair.primary, 5);
        let later = Arc::new(Later::default());
        let cx = Context { world: World { clock: later.clone(), ..World::local() }, ..pair.context() };
        let params = json!({ "target": "primary" });
        let extended = look(&cx, "replication_slots", params.clone());
        later.pass(Duration::from_secs(660));
        let long = look(&cx, "replication_slots", params.clone());
        let small = look(&cx, "replication_slots", json!({ "target": "primary", "max_retained": "48MiB" }));
        signal("CONT", &receiver);
        is(&extended, Verdict::Unknown, "(extended); for how long is not known yet");
        is(&long, Verdict::Fail, "(extended) for at least 11min");
        assert!(small.details.iter().any(|line| line.starts_with("slot beta holds back 8")), "{small:#?}");
        let none = look(&pair.context(), "replication_slots", json!({ "target": "standby" }));
        is(&none, Verdict::Unknown, "has no replication slot");
        pair.primary.stop();
        let gone = look(&cx, "replication_slots", params);
        vec![extended, none, gone]
    });
    verdict(r, "slot_cap", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::with(Major::V15, "max_slot_wal_keep_size = 96MB\n");
        let cx = context([("db", cluster.target("postgres"))]);
        let share = look(&cx, "slot_cap", json!({ "target": "db" }));
        is(&share, Verdict::Pass, "max_slot_wal_keep_size is 96.0 MiB (0 slots now)");
        assert!(share.details.iter().any(|line| line.starts_with("the WAL's file system")), "{share:#?}");
        assert!(share.details.iter().any(|line| line.contains("less than max_wal_size")), "{share:#?}");
        let size = look(&cx, "slot_cap", json!({ "target": "db", "at_most": "96MiB" }));
        let large = look(&cx, "slot_cap", json!({ "target": "db", "at_most": "95MiB" }));
        is(&large, Verdict::Fail, "96.0 MiB");
        vec![share, size]
    });
    verdict(r, "slot_cap", Verdict::Fail, &[Need::Pg13], || {
        let cluster = Cluster::start(Major::V13);
        cluster.psql("select pg_create_physical_replication_slot('unread', true)");
        let cx = context([("db", cluster.target("postgres"))]);
        let seen = look(&cx, "slot_cap", json!({ "target": "db" }));
        is(&seen, Verdict::Fail, "is -1: a slot may hold WAL back without end (1 slot now)");
        vec![seen]
    });
    verdict(r, "slot_cap", Verdict::Unknown, &[Need::Pg15], || {
        let cluster = Cluster::create(Major::V15, "");
        let cx = context([("db", cluster.target("postgres"))]);
        vec![look(&cx, "slot_cap", json!({ "target": "db" }))]
    });
    verdict(r, "wal_size", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        vec![look(&context([("db", cluster.target("postgres"))]), "wal_size", json!({ "target": "db" }))]
    });
    verdict(r, "wal_size", Verdict::Fail, &[Need::Pg15], || {
        let cluster = Cluster::with(Major::V15, SMALL);
        cluster.psql("select pg_create_physical_replication_slot('unread', true)");
        fill(&cluster, 8);
        let cx = context([("db", cluster.target("postgres"))]);
        let seen = look(&cx, "wal_size", json!({ "target": "db", "at_most": "3" }));
        is(&seen, Verdict::Fail, "times max_wal_size (32.0 MiB)");
        assert!(seen.details.iter().any(|line| line.starts_with("slot unread holds back 1")), "{seen:#?}");
        vec![seen]
    });
    verdict(r, "wal_size", Verdict::Unknown, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        looker(&cluster);
        let seen = look(&context([("db", as_looker(&cluster))]), "wal_size", json!({ "target": "db" }));
        is(&seen, Verdict::Unknown, "SQLSTATE 42501");
        vec![seen]
    });
}

/// On 17 and later the server says why a slot is of no use any more.
fn invalid() {
    let cluster = Cluster::with(Major::Wheel18, &format!("{SMALL}max_slot_wal_keep_size = 48MB\n"));
    cluster.psql("select pg_create_physical_replication_slot('gone', true)");
    let cx = context([("db", cluster.target("postgres"))]);
    let young = look(&cx, "replication_slots", json!({ "target": "db" }));
    is(&young, Verdict::Pass, "1 slot");
    let away = look(&cx, "replication_slots", json!({ "target": "db", "inactive_for": "1ms" }));
    is(&away, Verdict::Fail, "slot gone became inactive");
    fill(&cluster, 5);
    cluster.psql("checkpoint");
    let invalid = look(&cx, "replication_slots", json!({ "target": "db" }));
    is(&invalid, Verdict::Fail, "slot gone is invalid: wal_removed");
}

/// So many files of WAL of 16 MiB.
fn fill(cluster: &Cluster, files: u32) {
    cluster.psql("create table if not exists w (n int)");
    for n in 0..files {
        cluster.psql(&format!("insert into w values ({n})"));
        cluster.psql("select pg_switch_wal()");
    }
}

/// From abandoned to lost, with a cap; the server lives.
fn lost() -> Vec<holdpoint::check::Outcome> {
    // No checkpoint but our own, which takes an unreserved slot's WAL away.
    let conf = "max_wal_size = 1GB\ncheckpoint_timeout = 1h\nmax_slot_wal_keep_size = 48MB\n";
    let cluster = Cluster::with(Major::V15, conf);
    cluster.psql("select pg_create_physical_replication_slot('gone', true)");
    let cx = context([("db", cluster.target("postgres"))]);
    let slots = || look(&cx, "replication_slots", json!({ "target": "db" }));
    let abandoned = slots();
    is(&abandoned, Verdict::Fail, "slot gone is inactive, and was never seen active");
    let named = look(&cx, "replication_slots", json!({ "target": "db", "slots": ["gone", "beta"] }));
    is(&named, Verdict::Fail, "db: slot beta does not exist");
    cluster.psql("select pg_create_physical_replication_slot('never')");
    let never = slots();
    assert!(never.details.iter().any(|line| line.contains("slot never holds no WAL")), "{never:#?}");
    cluster.psql("select pg_drop_replication_slot('never')");
    fill(&cluster, 4);
    let unreserved = slots();
    is(&unreserved, Verdict::Fail, "slot gone is unreserved");
    cluster.psql("checkpoint");
    fill(&cluster, 1);
    cluster.psql("checkpoint");
    let lost = slots();
    is(&lost, Verdict::Fail, "slot gone is lost");
    assert_eq!(lost.facts["retained_bytes gone"], serde_json::Value::Null, "{lost:#?}");
    vec![abandoned, named, never, unreserved, lost]
}
