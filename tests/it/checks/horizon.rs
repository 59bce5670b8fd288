//! Clusters whose transactions are really old (pg_resetwal), and what holds them back.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdpoint::check::{Context, Verdict};
use holdpoint::world::World;
use serde_json::json;

use super::clock::Later;
use super::replication::pair::{as_looker, looker};
use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, eventually, must};

pub fn register(r: &mut Registry) {
    verdict(r, "xid_age", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let seen = look(&context([("db", cluster.target("postgres"))]), "xid_age", json!({ "target": "db" }));
        is(&seen, Verdict::Pass, "the oldest of 3 databases");
        vec![seen]
    });
    verdict(r, "xid_age", Verdict::Fail, &[Need::Pg15], || {
        let cluster = aged();
        let cx = context([("db", cluster.target("postgres"))]);
        let seen = look(&cx, "xid_age", json!({ "target": "db" }));
        is(&seen, Verdict::Fail, "is 1.20 G transactions old; ");
        let told = seen.details.join("\n");
        assert!(told.contains("database template0 is 1.20 G") && told.contains("database template1"), "{told}");
        let remarkable = look(&cx, "xid_age", json!({ "target": "db", "at_most": 2_000_000_000 }));
        is(&remarkable, Verdict::Pass, "1.20 G transactions");
        assert!(remarkable.details.iter().any(|line| line.starts_with("remarkable: ")), "{remarkable:#?}");
        vec![seen]
    });
    verdict(r, "xid_age", Verdict::Unknown, &[Need::Pg15], || stopped("xid_age"));
    verdict(r, "xid_time_to_stop", Verdict::Pass, &[Need::Pg15], || vec![spending("1d", None)]);
    verdict(r, "xid_time_to_stop", Verdict::Fail, &[Need::Pg15], || {
        let soon = spending("3650d", None);
        is(&soon, Verdict::Fail, "writes are refused in ");
        let planned = spending("1d", Some("2499-12-31"));
        is(&planned, Verdict::Fail, "the stop comes before the cure planned for 2499-12-31");
        vec![soon, planned]
    });
    verdict(r, "xid_time_to_stop", Verdict::Unknown, &[Need::Pg13], || {
        let cluster = Cluster::start(Major::V13);
        let cx = context([("db", cluster.target("postgres"))]);
        let first = look(&cx, "xid_time_to_stop", json!({ "target": "db" }));
        is(&first, Verdict::Unknown, "only 1 look over 0s yet");
        cluster.stop();
        vec![first, look(&cx, "xid_time_to_stop", json!({ "target": "db" }))]
    });
    verdict(r, "horizon_holders", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", cluster.target("postgres"))]);
        let none = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&none, Verdict::Pass, "nothing holds the horizon back");
        let _sleeper = Sleeper::start(&cluster);
        let young = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&young, Verdict::Pass, "1 holder; the oldest is session");
        vec![none, young]
    });
    verdict(r, "horizon_holders", Verdict::Fail, &[Need::Pg15], || {
        let mut seen = held();
        let cluster = aged();
        let cx = context([("db", cluster.target("postgres"))]);
        let slot = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&slot, Verdict::Fail, "slot forgotten (postgres, inactive) holds back 1.20 G transactions");
        seen.push(slot);
        seen
    });
    verdict(r, "horizon_holders", Verdict::Unknown, &[Need::Pg13], || {
        let cluster = Cluster::start(Major::V13);
        looker(&cluster);
        let cx = context([("db", as_looker(&cluster))]);
        let seen = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&seen, Verdict::Unknown, "may not see what other sessions hold");
        vec![seen]
    });
    verdict(r, "autovacuum_progress", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let seen = look(&context([("db", cluster.target("postgres"))]), "autovacuum_progress", json!({ "target": "db" }));
        is(&seen, Verdict::Pass, "no table of 3 databases is overdue");
        vec![seen]
    });
    verdict(r, "autovacuum_progress", Verdict::Fail, &[Need::Pg15], || vec![stuck().1]);
    verdict(r, "autovacuum_progress", Verdict::Unknown, &[Need::Pg15], || {
        let mut seen = stopped("autovacuum_progress");
        seen.push(stuck().0);
        seen
    });
}

fn stopped(kind: &str) -> Vec<holdpoint::check::Outcome> {
    let cluster = Cluster::create(Major::V15, "");
    vec![look(&context([("db", cluster.target("postgres"))]), kind, json!({ "target": "db" }))]
}

/// A cluster whose databases are 1.2 G transactions old, and stay so: a forgotten logical slot holds the catalogs.
pub fn aged() -> Cluster {
    let cluster = Cluster::with(Major::V15, "wal_level = logical\nautovacuum = off\n");
    cluster.psql("select pg_create_logical_replication_slot('forgotten', 'pgoutput')");
    cluster.stop();
    // The beginning of a file of pg_xact, so that none is missing.
    let next = 1144 * 1_048_576;
    must(Major::V15.command("pg_resetwal").args(["-f", "-x", &next.to_string(), "-D"]).arg(cluster.data()));
    cluster.restart();
    cluster
}

/// Looks while transactions are spent: 300 in 40 minutes of a clock that is put forward.
fn spending(at_least: &str, planned: Option<&str>) -> holdpoint::check::Outcome {
    let cluster = aged();
    let clock = Arc::new(Later::default());
    let cx = Context {
        world: World { clock: clock.clone(), ..World::local() },
        ..context([("db", cluster.target("postgres"))])
    };
    let mut params = json!({ "target": "db", "at_least": at_least });
    if let Some(day) = planned {
        params["planned_fix"] = json!(day);
    }
    // 300,000 times as fast: what a busy server spends.
    let per_look = if planned.is_some() { 20 } else { 300 };
    let mut last = None;
    for nth in 0..3 {
        let seen = look(&cx, "xid_time_to_stop", params.clone());
        assert!(nth == 2 || seen.verdict == Verdict::Unknown, "{seen:#?}");
        last = Some(seen);
        spend(&cluster, per_look);
        clock.pass(if planned.is_some() { Duration::from_secs(1200) } else { Duration::from_secs(600) });
    }
    last.unwrap()
}

fn spend(cluster: &Cluster, transactions: u32) {
    let each = "do $$ begin for n in 1..N loop perform pg_current_xact_id(); commit; end loop; end $$";
    cluster.psql(&each.replace('N', &transactions.to_string()));
}

/// A session in a transaction that has written.
struct Sleeper(Child);

impl Sleeper {
    fn start(cluster: &Cluster) -> Sleeper {
        cluster.psql("create table if not exists w (n int)");
        let mut psql = Command::new("/usr/bin/psql");
        psql.args(["-Xqd", &cluster.conninfo("postgres"), "-c", "insert into w select 1 from pg_sleep(60)"]);
        let child = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sql = "select count(*) = 1 from pg_stat_activity where backend_xmin is not null and wait_event = 'PgSleep'";
        eventually(Duration::from_secs(10), sql, || cluster.psql(sql) == "t");
        Sleeper(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A prepared transaction, a session and a standby's query that are old in transactions and in time.
fn held() -> Vec<holdpoint::check::Outcome> {
    let cluster = Cluster::with(Major::V15, "max_prepared_transactions = 5\n");
    let cx = context([("db", cluster.target("postgres"))]);
    cluster.psql("create table w (n int)");
    cluster.psql("begin; insert into w values (1); prepare transaction 'for''gotten'");
    std::thread::sleep(Duration::from_millis(1200));
    let waits = look(&cx, "horizon_holders", json!({ "target": "db", "max_prepared": "1s" }));
    is(&waits, Verdict::Fail, "prepared transaction for'gotten (postgres, postgres) holds back");
    let help = waits.help.clone().unwrap();
    assert!(help.contains("in database postgres, commit prepared 'for''gotten' or rollback"), "{help}");
    let _sleeper = Sleeper::start(&cluster);
    spend(&cluster, 200);
    let old = look(&cx, "horizon_holders", json!({ "target": "db", "max_age": 100 }));
    is(&old, Verdict::Fail, "and 1 more");
    assert!(old.details.iter().any(|line| line.starts_with("session ") && line.contains("holds back 20")), "{old:#?}");
    vec![waits, old]
}

/// Overdue tables: first seen, and a day later.
fn stuck() -> (holdpoint::check::Outcome, holdpoint::check::Outcome) {
    let cluster = aged();
    let clock = Arc::new(Later::default());
    let folder = tempfile::tempdir().unwrap();
    let cx = Context {
        world: World { clock: clock.clone(), ..World::local() },
        samples: Some(folder.path().join("samples")),
        ..context([("db", cluster.target("postgres"))])
    };
    let first = look(&cx, "autovacuum_progress", json!({ "target": "db" }));
    is(&first, Verdict::Unknown, "overdue (");
    clock.pass(Duration::from_secs(25 * 3600));
    let later = look(&cx, "autovacuum_progress", json!({ "target": "db" }));
    is(&later, Verdict::Fail, "has not moved for 1d 1h");
    (first, later)
}
