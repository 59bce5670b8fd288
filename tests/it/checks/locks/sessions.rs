use holdpoint::check::{Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::json;

use super::super::{context, is, look, verdict};
use super::{Client, until};
use crate::harness::{Cluster, Major, Need, Registry};

const BLOCKED: &str = "no_blocked_sessions";
const LONG: &str = "no_long_transactions";

pub fn register(r: &mut Registry) {
    verdict(r, BLOCKED, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().flat_map(calm).collect()
    });
    verdict(r, BLOCKED, Verdict::Fail, &[Need::Pg13, Need::Pg15], || {
        [Major::V13, Major::V15].into_iter().flat_map(pile).collect()
    });
    verdict(r, BLOCKED, Verdict::Unknown, &[Need::Pg15], || unseen(BLOCKED));
    verdict(r, LONG, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().map(short).collect()
    });
    verdict(r, LONG, Verdict::Fail, &[Need::Pg15], long);
    verdict(r, LONG, Verdict::Unknown, &[Need::Pg15], || unseen(LONG));
    r.add("check::locks_know_sensible_parameters", &[], parameters);
}

const WAITING: &str = "select count(distinct pid) from pg_locks where not granted";

fn calm(major: Major) -> Vec<Outcome> {
    let cluster = Cluster::start(major);
    cluster.psql("create table t (id int primary key, v text); insert into t values (1, 'a')");
    let cx = context([("db", cluster.target("postgres"))]);
    let nobody = look(&cx, BLOCKED, json!({ "target": "db" }));
    is(&nobody, Verdict::Pass, "nobody waits for a lock");
    // One that waits, for less than is too long.
    let mut holder = Client::open(&cluster, "postgres", "holder");
    holder.send("begin; update t set v = 'b'");
    until(&cluster, "select count(*) from pg_stat_activity where state = 'idle in transaction'", "1");
    let mut waiter = Client::open(&cluster, "postgres", "waiter");
    waiter.send("update t set v = 'c'");
    until(&cluster, WAITING, "1");
    let brief = look(&cx, BLOCKED, json!({ "target": "db" }));
    is(&brief, Verdict::Pass, "1 session waits for a lock, 0 of them for 30s or longer; pid ");
    let allowed = look(&cx, BLOCKED, json!({ "target": "db", "longer_than": "0s", "at_most": 1 }));
    is(&allowed, Verdict::Pass, "1 of them for 0s or longer");
    vec![nobody, brief, allowed]
}

fn pile(major: Major) -> Vec<Outcome> {
    let cluster = Cluster::start(major);
    cluster.psql("create table rooms (id int primary key, v text); insert into rooms values (1, 'a'); create role app login superuser");
    let cx = context([("db", cluster.target("postgres"))]);
    let mut root = Client::open(&cluster, "app", "purge");
    root.send("begin; update rooms set v = 'secret-value' where id = 1");
    until(&cluster, "select count(*) from pg_stat_activity where state = 'idle in transaction'", "1");
    let mut waiters: Vec<Client> =
        (0..5).map(|n| Client::open(&cluster, "postgres", &format!("w{n}"))).collect();
    waiters[0].send("update rooms set v = 'secret-0' where id = 1");
    until(&cluster, WAITING, "1");
    let one = look(&cx, BLOCKED, json!({ "target": "db", "longer_than": "10ms" }));
    is(&one, Verdict::Fail, "1 session waits for a lock, 1 of them for 10ms or longer; pid ");
    for waiter in &mut waiters[1..] {
        waiter.send("update rooms set v = 'secret-n' where id = 1");
    }
    until(&cluster, WAITING, "5");
    let all = look(&cx, BLOCKED, json!({ "target": "db" }));
    is(&all, Verdict::Fail, "5 sessions wait for a lock");
    is(&all, Verdict::Fail, "(app in postgres, application purge) holds up 5 sessions, its transaction for ");
    is(&all, Verdict::Fail, "; idle in transaction, last: update rooms set v = ? where id = ?");
    assert!(!format!("{all:?}").contains("secret-"), "{all:#?}");
    // A prepared transaction blocks without a session.
    drop(waiters);
    drop(root);
    cluster.configure("max_prepared_transactions = 2");
    cluster.stop_mode("immediate");
    cluster.restart();
    cluster.psql("begin; update rooms set v = 'p' where id = 1; prepare transaction 'forgotten'");
    let mut waiter = Client::open(&cluster, "postgres", "w");
    waiter.send("update rooms set v = 'q' where id = 1");
    until(&cluster, WAITING, "1");
    let prepared = look(&cx, BLOCKED, json!({ "target": "db", "longer_than": "0s" }));
    is(&prepared, Verdict::Fail, "a prepared transaction holds up 1 session");
    vec![one, all, prepared]
}

fn short(major: Major) -> Outcome {
    let cluster = Cluster::start(major);
    let cx = context([("db", cluster.target("postgres"))]);
    let mut client = Client::open(&cluster, "postgres", "psql");
    client.send("begin; select 1");
    until(&cluster, "select count(*) from pg_stat_activity where state = 'idle in transaction'", "1");
    let seen = look(&cx, LONG, json!({ "target": "db" }));
    is(&seen, Verdict::Pass, "1 open transaction, the oldest for ");
    seen
}

fn long() -> Vec<Outcome> {
    let cluster = Cluster::with(Major::V15, "max_prepared_transactions = 2");
    cluster.psql("create table t (v text)");
    let cx = context([("db", cluster.target("postgres"))]);
    let measure = |more: serde_json::Value| {
        let mut params = json!({ "target": "db" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look(&cx, LONG, params)
    };
    let mut client = Client::open(&cluster, "postgres", "forgotten");
    client.send("begin; insert into t values ('secret-value')");
    until(
        &cluster,
        "select count(*) from pg_stat_activity where state = 'idle in transaction' and clock_timestamp() - state_change > '1200 ms'",
        "1",
    );
    let idle = measure(json!({ "idle_at_most": "1s" }));
    is(&idle, Verdict::Fail, "1 transaction open for too long: pid ");
    is(&idle, Verdict::Fail, "application forgotten): idle for ");
    is(&idle, Verdict::Fail, "; idle in transaction, last: insert into t values (?)");
    is(
        &measure(json!({ "idle_at_most": "1s", "except": ["forgotten"] })),
        Verdict::Pass,
        "1 open transaction",
    );
    let old = measure(json!({ "at_most": "1s" }));
    is(&old, Verdict::Fail, "open for ");
    drop(client);
    let mut busy = Client::open(&cluster, "postgres", "busy");
    busy.send("select pg_sleep(60)");
    until(
        &cluster,
        "select count(*) from pg_stat_activity where state = 'active' and clock_timestamp() - xact_start > '1100 ms'",
        "1",
    );
    let active = measure(json!({ "at_most": "1s" }));
    is(&active, Verdict::Fail, "; active: select pg_sleep(?)");
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'busy'");
    cluster.psql("begin; insert into t values ('a'); prepare transaction 'left over'");
    until(
        &cluster,
        "select count(*) from pg_prepared_xacts where clock_timestamp() - prepared > '1100 ms'",
        "1",
    );
    let prepared = measure(json!({ "at_most": "1s" }));
    is(&prepared, Verdict::Fail, "prepared transaction left over (postgres in postgres): open for ");
    vec![idle, old, active, prepared]
}

fn unseen(kind: &str) -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create role app login; grant pg_read_all_settings to app");
    let target = Target {
        postgres: Some(cluster.conninfo("postgres").replace("user=postgres", "user=app")),
        ..Target::default()
    };
    let blind = look(&context([("db", target)]), kind, json!({ "target": "db" }));
    is(&blind, Verdict::Unknown, "the role may not see what the sessions of others do");
    let cx = context([("db", cluster.target("postgres"))]);
    let mut seen = vec![blind];
    if kind == LONG {
        let mut silent = Client::open(&cluster, "postgres", "silent");
        silent.send("set track_activities = off; begin; select 1");
        until(&cluster, "select count(*) from pg_stat_activity where state = 'disabled'", "1");
        seen.push(look(&cx, kind, json!({ "target": "db" })));
        is(
            &seen[1],
            Verdict::Unknown,
            "1 session does not tell what happens in it (track_activities is off)",
        );
    }
    cluster.stop();
    seen.push(look(&cx, kind, json!({ "target": "db" })));
    seen
}

fn parameters() {
    let wrong = |kind: &str, params: serde_json::Value| {
        let spec = serde_json::from_value(json!({ kind: params })).unwrap();
        holdpoint::check::registry::build(&spec).map(|check| check.targets()).unwrap_err()
    };
    for (kind, params, words) in [
        (BLOCKED, json!({ "target": "a", "pile_up": 3, "at_most": 3 }), "is not more than"),
        (BLOCKED, json!({ "target": "a", "pile_up": 0 }), "is not more than"),
        (LONG, json!({ "target": "a", "at_most": "0s" }), "zero is no limit"),
        (LONG, json!({ "target": "a", "idle_at_most": "0s" }), "zero is no limit"),
        (LONG, json!({ "target": "a", "at_most": "1s", "idle_at_most": "2s" }), "more than `at_most`"),
        ("client_timeouts", json!({ "target": "a", "roles": [] }), "`roles` is empty"),
        ("client_timeouts", json!({ "target": "a", "roles": ["x"], "lock_timeout": "0s" }), "it means none"),
        (
            "plan_without_index",
            json!({ "target": "a", "index": "i", "statements": [] }),
            "`statements` is empty",
        ),
        ("plan_without_index", json!({ "target": "a", "index": "i", "statements": [" "] }), "is empty"),
        (
            "plan_without_index",
            json!({ "target": "a", "index": "i", "statements": ["select 1"], "max_cost_ratio": 0.5 }),
            "less than 1",
        ),
        ("index_drop_safe", json!({ "target": "a", "index": "i", "min_stats_age": "0s" }), "would pass"),
        ("index_drop_safe", json!({ "target": "a", "index": "i", "replicas": ["a"] }), "named twice"),
    ] {
        let why = wrong(kind, params.clone());
        assert!(why.contains(words), "{params}: {why}");
    }
}
