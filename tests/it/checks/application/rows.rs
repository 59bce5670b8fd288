//! Floors of rows: after an upgrade, after a restore of an old backup, on an empty database.

use std::sync::Arc;

use holdpoint::check::data::manifest::Manifest;
use holdpoint::check::{Context, Verdict, data};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use crate::checks::{context, is, look, verdict};
use crate::data::One;
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, block_on};

pub fn register(r: &mut Registry) {
    verdict(r, "rows_at_least", Verdict::Pass, &[Need::Pg13], || {
        let (cluster, cx) = scene(Major::V13);
        let recorded = recorded(&cx);
        let all = floor(&recorded, json!({ "recorded": "before" }));
        is(&all, Verdict::Pass, "2,005 rows in 3 tables");
        assert_eq!(all.seen.len(), 1);
        // Clean-up deletes one in a thousand.
        cluster.psql("delete from events where id = 1");
        let most = floor(&recorded, json!({ "recorded": "before", "tables": ["events"] }));
        is(&most, Verdict::Pass, "999 rows in 1 table");
        let ends = floor(
            &cx,
            json!({
                "tables": ["public.events"], "at_least": "900",
                "newest": { "column": "made", "max_age": "1h" }, "oldest": { "column": "ts", "min_age": "30d" },
            }),
        );
        is(&ends, Verdict::Pass, "the newest row of public.events is");
        is(&ends, Verdict::Pass, "the oldest row of public.events is 41d");
        vec![all, most, ends]
    });
    verdict(r, "rows_at_least", Verdict::Fail, &[Need::Pg18], || {
        let (cluster, cx) = scene(Major::V18);
        let recorded = recorded(&cx);
        cluster.psql("delete from events where id <= 2; drop table users");
        let fewer = floor(&recorded, json!({ "recorded": "before" }));
        is(&fewer, Verdict::Fail, "at least");
        assert!(
            fewer
                .details
                .iter()
                .any(|line| line.contains("998 rows in postgres.public.events, at least 999")),
            "{fewer:?}"
        );
        assert!(
            fewer.details.iter().any(|line| line.contains("no table postgres.public.users")),
            "{fewer:?}"
        );
        let missing = floor(&cx, json!({ "tables": ["users"], "at_least": 1 }));
        is(&missing, Verdict::Fail, "there is no table users");
        let few = floor(&cx, json!({ "tables": ["events"], "at_least": 5000 }));
        is(&few, Verdict::Fail, "998 rows in postgres.public.events, at least 5,000 wanted");
        // Last month's backup: all rows are there, and none is recent.
        cluster.psql("update events set made = made - interval '40 days', ts = ts - 40 * 86400000::bigint");
        let newest = |column: &str| {
            floor(
                &cx,
                json!({ "tables": ["events"], "at_least": 1, "newest": { "column": column, "max_age": "1d" } }),
            )
        };
        let stale = newest("made");
        is(&stale, Verdict::Fail, "the newest row of events is 40d");
        let millis = newest("ts");
        is(&millis, Verdict::Fail, "the newest row of events is 40d");
        // A fresh database that filled up quickly: nothing old is in it.
        cluster.psql("update events set made = now()");
        let young =
            floor(&cx, json!({ "tables": ["events"], "oldest": { "column": "made", "min_age": "30d" } }));
        is(&young, Verdict::Fail, "the oldest row of events is");
        vec![fewer, missing, few, stale, millis, young]
    });
    verdict(r, "rows_at_least", Verdict::Unknown, &[Need::Pg15], || {
        let (cluster, cx) = scene(Major::V15);
        let nothing = floor(&cx, json!({ "recorded": "before" }));
        is(&nothing, Verdict::Unknown, "no manifest `before`");
        let recorded = recorded(&cx);
        let empty = floor(&recorded, json!({ "recorded": "before", "tables": ["empty"] }));
        is(&empty, Verdict::Unknown, "nothing to compare with");
        let typo = floor(&recorded, json!({ "recorded": "before", "tables": ["evnts"] }));
        is(&typo, Verdict::Unknown, "no table `evnts` in the record");
        let column = |column: &str| {
            floor(&cx, json!({ "tables": ["events"], "newest": { "column": column, "max_age": "1d" } }))
        };
        let local = column("plain");
        is(&local, Verdict::Unknown, "no time zone");
        let typo_column = column("mad");
        is(&typo_column, Verdict::Unknown, "42703");
        let no_moment = column("id");
        is(&no_moment, Verdict::Unknown, "no moment");
        let none =
            floor(&cx, json!({ "tables": ["empty"], "newest": { "column": "made", "max_age": "1d" } }));
        is(&none, Verdict::Unknown, "no row has a value");
        cluster.psql("update events set made = now() + interval '1 hour' where id = 5");
        let future = column("made");
        is(&future, Verdict::Unknown, "in the future");
        // A role that may not read it.
        cluster.psql("create role someone login; grant connect on database postgres to someone");
        let other = cluster.conninfo("postgres").replace("user=postgres", "user=someone");
        let denied = context([("db", Target { postgres: Some(other), ..Target::default() })]);
        let denied = floor(&denied, json!({ "tables": ["events"], "at_least": 1 }));
        cluster.stop();
        let gone = floor(&recorded, json!({ "recorded": "before" }));
        vec![nothing, empty, typo, local, typo_column, no_moment, none, future, denied, gone]
    });
    r.add("check::rows_at_least::fail_in_a_file", &[], || {
        let here = Sandbox::new();
        let file = here.join("app.db");
        let db = rusqlite::Connection::open(&file).unwrap();
        db.execute_batch("create table events (ts integer); insert into events select 1795168800000")
            .unwrap();
        let cx = context([("db", Target { sqlite: Some(file.display().to_string()), ..Target::default() })]);
        is(&floor(&cx, json!({ "tables": ["events"], "at_least": 1 })), Verdict::Pass, "1 row in 1 table");
        is(
            &floor(&cx, json!({ "tables": ["events"], "at_least": 2 })),
            Verdict::Fail,
            "1 row in main.events",
        );
        db.execute_batch("update events set ts = 1600000000000").unwrap();
        let newest = json!({ "tables": ["events"], "newest": { "column": "ts", "max_age": "1d" } });
        is(&floor(&cx, newest), Verdict::Fail, "the newest row of events");
    });
}

fn floor(cx: &Context, mut params: Value) -> holdpoint::check::Outcome {
    params["target"] = json!("db");
    look(cx, "rows_at_least", params)
}

/// A thousand events, the newest of now, the oldest 41 days old, and some users.
fn scene(major: Major) -> (Cluster, Context) {
    let cluster = Cluster::start(major);
    cluster.psql(
        "create table events (id int primary key, made timestamptz, plain timestamp, ts bigint); \
         insert into events select n, now() - (1000 - n) * interval '1 hour', now(), \
           ((extract(epoch from now()) - (1000 - n) * 3600) * 1000)::bigint from generate_series(1, 1000) n; \
         create table users (id int primary key); insert into users select generate_series(1, 1000); \
         create table rooms (id int); insert into rooms select generate_series(1, 5); \
         create table empty (made timestamptz)",
    );
    let cx = context([("db", cluster.target("postgres"))]);
    (cluster, cx)
}

/// The same with a record of what is there now.
fn recorded(cx: &Context) -> Context {
    let manifest: Manifest = block_on(data::record("db", cx.target("db").unwrap(), cx)).unwrap();
    Context { records: Arc::new(One(manifest)), ..cx.clone() }
}
