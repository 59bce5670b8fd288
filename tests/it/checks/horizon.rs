//! Clusters whose transactions are really old (pg_resetwal), and what holds them back.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdpoint::check::{Context, Verdict};
use holdpoint::runbook::Target;
use holdpoint::world::{World, pg};
use serde_json::json;

use super::clock::Later;
use super::replication::pair::{Pair, as_looker, looker};
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
        assert!(
            told.contains("database template0 is 1.20 G") && told.contains("database template1"),
            "{told}"
        );
        let remarkable = look(&cx, "xid_age", json!({ "target": "db", "at_most": 2_000_000_000 }));
        is(&remarkable, Verdict::Pass, "1.20 G transactions");
        assert!(remarkable.details.iter().any(|line| line.starts_with("remarkable: ")), "{remarkable:#?}");
        let multixacts = aged_multixacts();
        let cx = context([("db", multixacts.target("postgres"))]);
        let shared = look(&cx, "xid_age", json!({ "target": "db" }));
        is(&shared, Verdict::Fail, "is 1.20 G multixacts old; ");
        vec![seen, shared]
    });
    verdict(r, "xid_age", Verdict::Unknown, &[Need::Pg15], || stopped("xid_age"));
    verdict(r, "xid_time_to_stop", Verdict::Pass, &[Need::Pg15], || {
        let (seen, ..) = spending(json!({ "at_least": "3650d" }), 300, Duration::from_secs(600));
        is(&seen, Verdict::Pass, "more than ten years, at 0.5/s; 945 M left");
        vec![seen]
    });
    verdict(r, "xid_time_to_stop", Verdict::Fail, &[Need::Pg15], || {
        // Thousands a second, by the true clock, and the default limit of 30 days.
        let (soon, cx, _cluster) = spending(json!({ "history": "1s" }), 20_000, Duration::from_millis(1));
        is(&soon, Verdict::Fail, "writes are refused in ");
        let planned =
            json!({ "target": "db", "at_least": "1s", "history": "1s", "planned_fix": "2499-12-31" });
        let planned = look(&cx, "xid_time_to_stop", planned);
        is(&planned, Verdict::Fail, "the stop comes before the cure planned for 2499-12-31");
        // The server has stopped in truth: 2 million are left.
        let cluster = aged_by(2046);
        let mut psql = Command::new("/usr/bin/psql");
        psql.args(["-Xqd", &cluster.conninfo("postgres"), "-c", "create table w (n int)"]);
        let refused = psql.stderr(Stdio::null()).status().unwrap();
        assert!(!refused.success(), "it still writes");
        let cx = context([("db", cluster.target("postgres"))]);
        let stopped = look(&cx, "xid_time_to_stop", json!({ "target": "db" }));
        is(&stopped, Verdict::Fail, "writes are refused already");
        is(&look(&cx, "xid_age", json!({ "target": "db" })), Verdict::Fail, "2.15 G");
        // Multixacts end before transactions do.
        let cluster = aged_multixacts();
        let shared = sharing(&cluster, cluster.target("postgres"), json!({ "at_least": "36500d" }));
        is(&shared, Verdict::Fail, " multixacts/s; 94");
        assert!(
            shared.details.iter().any(|line| line.starts_with("4.29 G members of multixacts left")),
            "{shared:#?}"
        );
        vec![soon, planned, stopped, shared]
    });
    verdict(r, "xid_time_to_stop", Verdict::Unknown, &[Need::Pg13, Need::Pg18], || {
        let cluster = Cluster::start(Major::V13);
        let cx = context([("db", cluster.target("postgres"))]);
        let first = look(&cx, "xid_time_to_stop", json!({ "target": "db" }));
        is(&first, Verdict::Unknown, "only 1 look over 0s yet");
        cluster.stop();
        // Multixacts are spent, and their members may not be seen.
        let newer = Cluster::start(Major::V18);
        looker(&newer);
        let hidden = sharing(&newer, as_looker(&newer), json!({}));
        is(&hidden, Verdict::Unknown, "the room of their members cannot be seen: ");
        let granted = "grant execute on function pg_ls_dir(text) to looker";
        newer.psql(granted);
        let seen = sharing(&newer, as_looker(&newer), json!({}));
        is(&seen, Verdict::Pass, "/s; 2.1");
        vec![first, look(&cx, "xid_time_to_stop", json!({ "target": "db" })), hidden]
    });
    verdict(r, "horizon_holders", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", cluster.target("postgres"))]);
        let none = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&none, Verdict::Pass, "nothing holds the horizon back");
        let _sleeper = Sleeper::start(&cluster);
        let young = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&young, Verdict::Pass, "1 holder; the oldest is session");
        vec![none, young, beside()]
    });
    verdict(r, "horizon_holders", Verdict::Fail, &[Need::Pg15], || {
        let mut seen = held();
        let cluster = aged();
        let cx = context([("db", cluster.target("postgres"))]);
        let slot = look(&cx, "horizon_holders", json!({ "target": "db" }));
        is(&slot, Verdict::Fail, "slot forgotten (postgres, inactive) holds back 1.20 G transactions");
        seen.push(slot);
        seen.push(fed_back());
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
        let seen = look(
            &context([("db", cluster.target("postgres"))]),
            "autovacuum_progress",
            json!({ "target": "db" }),
        );
        is(&seen, Verdict::Pass, "no table of 3 databases is overdue");
        vec![seen]
    });
    verdict(r, "autovacuum_progress", Verdict::Fail, &[Need::Pg15], || vec![stuck().1]);
    verdict(r, "autovacuum_progress", Verdict::Unknown, &[Need::Pg15], || {
        let mut seen = stopped("autovacuum_progress");
        seen.push(stuck().0);
        let cluster = Cluster::start(Major::V15);
        looker(&cluster);
        cluster.psql("create database closed");
        cluster.psql("revoke connect on database closed from public");
        let cx = context([("db", as_looker(&cluster))]);
        let closed = look(&cx, "autovacuum_progress", json!({ "target": "db" }));
        is(&closed, Verdict::Unknown, "permission denied for database \"closed\"");
        seen.push(closed);
        seen
    });
}

fn stopped(kind: &str) -> Vec<holdpoint::check::Outcome> {
    let cluster = Cluster::create(Major::V15, "");
    vec![look(&context([("db", cluster.target("postgres"))]), kind, json!({ "target": "db" }))]
}

/// A cluster whose multixacts are 1.2 G old: a prepared transaction that locked a row holds them.
fn aged_multixacts() -> Cluster {
    let cluster = Cluster::with(Major::V15, "max_prepared_transactions = 5\nautovacuum = off\n");
    cluster.psql("create table w as select 1 as n");
    cluster.psql("begin; select from w for share; prepare transaction 'shared'");
    cluster.stop();
    // The beginning of a file of pg_multixact/offsets, so that none is missing.
    let next = format!("{},1", 18_311 * 65_536);
    must(Major::V15.command("pg_resetwal").args(["-f", "-m", &next, "-D"]).arg(cluster.data()));
    cluster.restart();
    cluster
}

/// A cluster whose databases are 1.2 G transactions old, and stay so: a forgotten logical slot holds the catalogs.
fn aged() -> Cluster {
    aged_by(1144)
}

/// The same by so many files of `pg_xact`, of 1,048,576 transactions each.
fn aged_by(files: u64) -> Cluster {
    let cluster = Cluster::with(Major::V15, "wal_level = logical\nautovacuum = off\n");
    cluster.psql("select pg_create_logical_replication_slot('forgotten', 'pgoutput')");
    cluster.stop();
    // The beginning of a file, so that none is missing.
    let next = (files * 1_048_576).to_string();
    must(Major::V15.command("pg_resetwal").args(["-f", "-x", &next, "-D"]).arg(cluster.data()));
    cluster.restart();
    cluster
}

/// Looks three times while transactions are spent, and while a clock is put forward.
fn spending(
    params: serde_json::Value,
    transactions: u32,
    pause: Duration,
) -> (holdpoint::check::Outcome, Context, Cluster) {
    let cluster = aged();
    let clock = Arc::new(Later::default());
    let cx = Context {
        world: World { clock: clock.clone(), ..World::local() },
        ..context([("db", cluster.target("postgres"))])
    };
    let mut all = json!({ "target": "db" });
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    for _ in 0..2 {
        is(&look(&cx, "xid_time_to_stop", all.clone()), Verdict::Unknown, "no rate is known (94");
        spend(&cluster, transactions);
        std::thread::sleep(Duration::from_millis(500));
        clock.pass(pause);
    }
    (look(&cx, "xid_time_to_stop", all), cx, cluster)
}

/// Looks three times, a minute apart by its clock, while transactions share locks on a row.
fn sharing(cluster: &Cluster, target: Target, params: serde_json::Value) -> holdpoint::check::Outcome {
    let clock = Arc::new(Later::default());
    let folder = tempfile::tempdir().unwrap();
    let cx = Context {
        world: World { clock: clock.clone(), ..World::local() },
        samples: Some(folder.path().join("samples")),
        ..context([("db", target)])
    };
    let mut all = json!({ "target": "db", "history": "1min" });
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    cluster.psql("create table if not exists m (n int)");
    cluster.psql("insert into m values (1)");
    for _ in 0..2 {
        is(&look(&cx, "xid_time_to_stop", all.clone()), Verdict::Unknown, "no rate is known (");
        // A transaction within another one counts as a second holder of the lock.
        cluster.psql(
            "do $$ begin for i in 1..500 loop perform from m for share; \
             begin perform from m for no key update; exception when others then raise; end; commit; end loop; end $$",
        );
        cluster.psql("checkpoint");
        clock.pass(Duration::from_secs(60));
    }
    look(&cx, "xid_time_to_stop", all)
}

fn spend(cluster: &Cluster, transactions: u32) {
    let each = "do $$ begin for n in 1..N loop perform pg_current_xact_id(); commit; end loop; end $$";
    cluster.psql(&each.replace('N', &transactions.to_string()));
}

/// A session in a transaction that does not end.
struct Sleeper(Child);

impl Sleeper {
    fn start(cluster: &Cluster) -> Sleeper {
        cluster.psql("create table if not exists w (n int)");
        Sleeper::with(cluster, "insert into w select 1 from pg_sleep(600)")
    }

    /// One that only reads.
    fn reading(cluster: &Cluster) -> Sleeper {
        Sleeper::with(cluster, "select count(*) from w, pg_sleep(600)")
    }

    fn with(cluster: &Cluster, sql: &str) -> Sleeper {
        let mut psql = Command::new("/usr/bin/psql");
        psql.args(["-Xqd", &cluster.conninfo("postgres"), "-c", sql]);
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
    let cluster = Cluster::with(Major::V15, "max_prepared_transactions = 5\nautovacuum = off\n");
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
    assert!(
        old.details.iter().any(|line| line.starts_with("session ") && line.contains("holds back 20")),
        "{old:#?}"
    );
    vec![waits, old]
}

/// A comparison of this process holds a snapshot beside the check; then a program that only has its name does, too.
fn beside() -> holdpoint::check::Outcome {
    const NAME: &str = "holdpoint data_matches";
    let cluster = Cluster::with(Major::V15, "autovacuum = off\n");
    cluster.psql("create table w (n int)");
    let target = cluster.target("postgres");
    let cx = context([("db", target.clone())]);
    let ask = || look(&cx, "horizon_holders", json!({ "target": "db", "max_age": 100 }));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = pg::Options { application_name: NAME.to_owned(), ..pg::Options::default() };
    let session = runtime.block_on(async {
        let session = pg::connect(&target, &options).await.unwrap();
        session.export_snapshot().await.unwrap();
        session
    });
    spend(&cluster, 200);
    let own = ask();
    is(&own, Verdict::Pass, "nothing but measurements of Holdpoint holds the horizon back");
    let told = own.details.join("\n");
    assert!(told.contains("holds back 20") && told.contains(NAME), "it is told all the same: {told}");
    let named = format!("set application_name = '{NAME}'; select count(*) from w, pg_sleep(600)");
    let _other = Sleeper::with(&cluster, &named);
    spend(&cluster, 200);
    let both = ask();
    is(&both, Verdict::Fail, "holds back 20");
    assert_eq!(both.facts["holders"], 1, "a name is no proof: {both:?}");
    drop(session);
    own
}

/// A long query on a standby that tells its primary what it still needs.
fn fed_back() -> holdpoint::check::Outcome {
    let pair = Pair::start(
        Major::V15,
        "hot_standby_feedback = on\nwal_receiver_status_interval = 1s\nautovacuum = off\n",
    );
    pair.primary.psql("create table w (n int)");
    pair.until_primary("select sent_lsn = replay_lsn from pg_stat_replication");
    let _sleeper = Sleeper::reading(&pair.standby);
    pair.until_primary("select xmin is not null from pg_replication_slots");
    spend(&pair.primary, 200);
    pair.primary.psql("insert into w values (1)");
    pair.until_standby("select count(*) = 1 from w");
    let cx = pair.context();
    let query = look(&cx, "horizon_holders", json!({ "target": "standby", "max_age": 100 }));
    is(&query, Verdict::Fail, "session ");
    let seen = look(&cx, "horizon_holders", json!({ "target": "primary", "max_age": 100 }));
    is(&seen, Verdict::Fail, "slot beta (active) holds back 20");
    assert!(seen.help.as_deref().is_some_and(|help| help.contains("long query")), "{seen:#?}");
    seen
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
