//! The two checks on PostgreSQL: pass, fail and unknown, each for its reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdpoint::check::measure::measure;
use holdpoint::check::{Context, Evidence, Outcome, Verdict, registry};
use holdpoint::runbook::{CheckSpec, Target};
use holdpoint::world::World;
use serde_json::{Value, json};

use super::target;
use crate::harness::{Cluster, Major, Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    r.add("pg::check_accepts_connections", &[Need::Pg15], accepts);
    r.add("pg::check_accepts_connections_of_a_standby", &[Need::Pg15], standby);
    r.add("pg::check_query", &[Need::Pg15], queries);
    r.add("pg::check_query_cannot_write", &[Need::Pg15], cannot_write);
    r.add("pg::check_query_ends_on_the_server_at_its_time_limit", &[Need::Pg15], time_limit);
    r.add("pg::check_parameters", &[], parameters);
}

fn context(target: Target) -> Context {
    let targets = [("db".to_owned(), target)].into_iter().collect();
    Context { targets: Arc::new(targets), ..Context::local(World::local()) }
}

fn evidence(cx: &Context, kind: &str, mut params: Value) -> Evidence {
    params["target"] = json!("db");
    let spec: CheckSpec = serde_json::from_value(json!({ kind: params })).unwrap();
    block_on(measure("step.pre.it".into(), &spec, cx))
}

fn outcome(cx: &Context, kind: &str, params: Value) -> Outcome {
    evidence(cx, kind, params).outcome
}

#[track_caller]
fn is(outcome: &Outcome, verdict: Verdict, words: &str) {
    assert!(
        outcome.verdict == verdict && outcome.observed.contains(words),
        "wanted {verdict:?} `{words}`: {outcome:#?}"
    );
    assert_eq!(outcome.help.is_some(), verdict != Verdict::Pass, "{outcome:#?}");
}

const ACCEPTS: &str = "pg_accepts_connections";

fn accepts() {
    let cluster = Cluster::start(Major::V15);
    let cx = context(cluster.target("postgres"));
    let passed = outcome(&cx, ACCEPTS, json!({}));
    is(&passed, Verdict::Pass, "no standby");
    assert_eq!(passed.seen.len(), 1);
    is(&outcome(&cx, ACCEPTS, json!({ "database": "template1" })), Verdict::Pass, "answers");
    is(&outcome(&cx, ACCEPTS, json!({ "standby": true })), Verdict::Fail, "no standby");
    is(&outcome(&cx, ACCEPTS, json!({ "database": "none" })), Verdict::Fail, "does not exist");
    let elsewhere = Target { data_directory: Some("/nowhere".into()), ..cluster.target("postgres") };
    is(&outcome(&context(elsewhere), ACCEPTS, json!({})), Verdict::Fail, "another cluster answers");
    let wrong_words = context(target(format!("{} wibble=1", cluster.conninfo("postgres"))));
    is(&outcome(&wrong_words, ACCEPTS, json!({})), Verdict::Unknown, "`wibble` is not supported");

    cluster.psql("create role app login password 'right'");
    cluster.hba("local all postgres trust\nlocal all all scram-sha-256\n");
    cluster.reload();
    let app = |password: &str| {
        let at = cluster.conninfo("postgres").replace("user=postgres", "user=app");
        context(target(format!("{at} password={password}")))
    };
    is(&outcome(&app("wrong"), ACCEPTS, json!({})), Verdict::Unknown, "password authentication failed");
    is(
        &outcome(&app("right"), ACCEPTS, json!({})),
        Verdict::Unknown,
        "may not see the server's data directory",
    );
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let silent =
        context(target(format!("host=127.0.0.1 port={port} user=u connect_timeout=2 sslmode=disable")));
    is(&outcome(&silent, ACCEPTS, json!({})), Verdict::Unknown, "no connection within 2s");

    cluster.stop();
    is(&outcome(&cx, ACCEPTS, json!({})), Verdict::Fail, "no server runs there");
}

fn standby() {
    let cluster = Cluster::start(Major::V15);
    cluster.stop();
    std::fs::write(cluster.data().join("standby.signal"), "").unwrap();
    cluster.restart();
    let cx = context(cluster.target("postgres"));
    is(&outcome(&cx, ACCEPTS, json!({})), Verdict::Fail, "a standby");
    is(&outcome(&cx, ACCEPTS, json!({ "standby": true })), Verdict::Pass, "a standby");
}

fn queries() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create table mine (n int); insert into mine values (1), (2); create table void (n int)");
    cluster.psql("create role app login; grant pg_monitor to app");
    let cx = context(cluster.target("postgres"));
    let ask = |sql: &str, threshold: Value| {
        let mut params = threshold;
        params["sql"] = json!(sql);
        outcome(&cx, "pg_query", params)
    };
    use Verdict::{Fail, Pass, Unknown};
    for (sql, threshold, verdict, words) in [
        ("select count(*) from mine", json!({ "equals": 2 }), Pass, "2"),
        ("select count(*) from mine;", json!({ "equals": "2" }), Pass, "2"),
        ("select count(*) from mine -- all", json!({ "at_least": "3" }), Fail, "2"),
        ("select 2.50", json!({ "at_least": 2.5, "at_most": 2.5 }), Pass, "2.50"),
        ("select true", json!({ "equals": true }), Pass, "t"),
        ("select 'r'", json!({ "matches": ["p", "r"] }), Pass, "r"),
        ("select 'x'", json!({ "matches": ["p", "r"] }), Fail, "x"),
        ("show wal_level", json!({ "equals": "replica" }), Pass, "replica"),
        ("select n from mine", json!({ "rows": 2 }), Pass, "2 rows"),
        ("select n from void", json!({ "rows": 0 }), Pass, "0 rows"),
        ("select n from mine", json!({ "rows": "0" }), Fail, "2 rows"),
        ("select max(n) from void", json!({ "at_most": 5 }), Unknown, "NULL came back"),
        ("select n from void", json!({ "at_most": 5 }), Unknown, "no row came back"),
        ("select n from mine", json!({ "at_most": 5 }), Unknown, "more than one row"),
        ("select 1, 2", json!({ "at_most": 5 }), Unknown, "2 columns"),
        ("select", json!({ "at_most": 5 }), Unknown, "returns no value"),
        ("select 'NaN'::float8", json!({ "at_most": 5 }), Unknown, "NaN"),
        ("select 'NaN'::numeric", json!({ "equals": "NaN" }), Unknown, "NaN"),
        ("select interval '1 day'", json!({ "at_most": 5 }), Unknown, "`1 day` came back"),
        ("select nothing", json!({ "equals": 1 }), Unknown, "SQLSTATE 42703"),
        ("selec 1", json!({ "equals": 1 }), Unknown, "SQLSTATE 42601"),
        ("select 1/0", json!({ "equals": 1 }), Unknown, "SQLSTATE 22012"),
        ("select 1/(3-n) from generate_series(1,3) n", json!({ "rows": 2 }), Unknown, "SQLSTATE 22012"),
    ] {
        let answer = ask(sql, threshold);
        assert!(answer.verdict == verdict && answer.observed.contains(words), "{sql}: {answer:#?}");
        assert_eq!(answer.seen.len(), 1, "{sql}: the identity is on record");
    }
    let app = context(target(cluster.conninfo("postgres").replace("user=postgres", "user=app")));
    let denied = outcome(&app, "pg_query", json!({ "sql": "select count(*) from mine", "equals": 2 }));
    is(&denied, Unknown, "SQLSTATE 42501");
    let other = outcome(
        &cx,
        "pg_query",
        json!({ "sql": "select current_database()", "equals": "template1", "database": "template1" }),
    );
    is(&other, Pass, "template1");
    cluster.stop();
    is(&ask("select 1", json!({ "equals": 1 })), Unknown, "no server runs there");
}

fn cannot_write() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create table t (n int); insert into t values (1); create sequence s");
    let cx = context(cluster.target("postgres"));
    for sql in [
        "delete from t returning n",
        "with d as (delete from t returning n) select count(*) from d",
        "select nextval('s')",
        "update t set n = 1 returning n",
        "select set_config('transaction_read_only', 'off', false)",
        "set transaction read write",
        "commit; delete from t; select 1",
        "select 1; set default_transaction_read_only = off; commit; begin read write; delete from t; select 1",
        "create table u ()",
        "commit",
        "do $$ begin commit; delete from public.t; end $$",
        "call nothing()",
    ] {
        let answer = outcome(&cx, "pg_query", json!({ "sql": sql, "at_least": 0 }));
        assert_eq!(answer.verdict, Verdict::Unknown, "{sql}: {answer:#?}");
        assert_eq!(
            cluster.psql("select count(*), (select last_value || is_called::text from s) from t"),
            "1|1false",
            "{sql}"
        );
    }
    let answer = outcome(&cx, "pg_query", json!({ "sql": "delete from t returning n", "rows": 1 }));
    is(&answer, Verdict::Unknown, "25006");
    assert!(answer.help.unwrap().contains("only reads"));
}

fn time_limit() {
    let cluster = Cluster::start(Major::V15);
    let cx = context(cluster.target("postgres"));
    let began = Instant::now();
    let late = outcome(
        &cx,
        "pg_query",
        json!({ "sql": "select 1 from pg_sleep(600)", "equals": 1, "timeout": "2s" }),
    );
    is(&late, Verdict::Unknown, "no answer within 2s");
    assert!(began.elapsed() < Duration::from_secs(300));
    let busy = || {
        cluster.psql("select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()")
    };
    crate::harness::eventually(Duration::from_secs(5), "the query ends on the server", || busy() == "0");
}

fn parameters() {
    let build = |params: Value| {
        let spec: CheckSpec = serde_json::from_value(json!({ "pg_query": params })).unwrap();
        registry::build(&spec).map(|check| check.targets())
    };
    assert_eq!(build(json!({ "target": "a", "sql": "select 1", "equals": 1 })).unwrap(), ["a"]);
    for (params, words) in [
        (json!({ "target": "a", "sql": "select 1" }), "no threshold is set"),
        (json!({ "target": "a", "sql": " ", "equals": 1 }), "`sql` is empty"),
        (json!({ "target": "a", "sql": "x", "rows": 1, "equals": 1 }), "without the other thresholds"),
        (json!({ "target": "a", "sql": "x", "at_least": 2, "at_most": 1 }), "more than `at_most`"),
        (json!({ "target": "a", "sql": "x", "at_least": "many" }), "`many` is not a number"),
        (json!({ "target": "a", "sql": "x", "at_least": "NaN" }), "`NaN` is not a number"),
        (json!({ "target": "a", "sql": "x", "rows": -1 }), "not a number of rows"),
        (json!({ "target": "a", "sql": "x", "equals": [1] }), "write one value"),
        (json!({ "target": "a", "sql": "x", "matches": [] }), "empty list"),
        (json!({ "target": "a", "sql": "x", "equal": 1 }), "unknown field `equal`"),
        (json!({ "sql": "x", "equals": 1 }), "missing field `target`"),
    ] {
        let why = build(params.clone()).unwrap_err();
        assert!(why.contains(words), "{params}: {why}");
    }
    for kind in ["pg_query", ACCEPTS] {
        let kind = registry::find(kind).unwrap();
        let schema = serde_json::to_value((kind.schema)()).unwrap();
        assert_eq!(schema["properties"]["target"]["format"], "target");
        assert_eq!(schema["additionalProperties"], false);
        assert!(kind.docs.contains("**Unknown**") && kind.docs.contains("```yaml"));
    }
}
