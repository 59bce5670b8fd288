//! Differences that are declared, and values that the other engine cannot hold.

use std::path::Path;

use holdpoint::check::{Context, Verdict};
use serde_json::{Value, json};

use super::super::data::context;
use super::{TABLES, expect, run, with};
use crate::harness::{Cluster, Major};

/// Differences that are declared pass, are shown with their reason, and cover nothing else.
pub fn declared(cx: &Context, server: &Cluster, all: &Value) {
    let fresh = || {
        server.psql("drop database if exists synapse");
        server.psql("create database synapse template base");
    };
    let pass =
        |except: Value, words: &[&str]| expect(cx, "data_matches", &with(all, except), Verdict::Pass, words);
    let fail =
        |except: Value, words: &[&str]| expect(cx, "data_matches", &with(all, except), Verdict::Fail, words);
    fresh();
    pass(
        json!({ "table": "devices", "reason": "nothing of it" }),
        &["`except` of `devices` was not needed: nothing differs there (nothing of it)"],
    );
    pass(json!({ "table": "gone", "reason": "r" }), &["`except` names `gone`, which is on neither side"]);
    server.psql_in("synapse", "update events set depth = depth + 1 where stream_ordering = 5");
    pass(
        json!({ "table": "ev*s", "reason": "a pattern" }),
        &["excepted (a pattern): other contents in synapse.public.events"],
    );
    pass(
        json!({ "table": "public.events", "columns": ["depth"], "reason": "counted anew" }),
        &["excepted (counted anew): column depth of synapse.public.events not compared"],
    );
    pass(json!({ "table": "events", "rows": true, "reason": "r" }), &["of 2 tables only the counts"]);
    fail(
        json!({ "table": "events", "columns": ["sender"], "reason": "r" }),
        &["1 row differs: event_id=$5:"],
    );
    server.psql_in("synapse", "update events set sender = 'other' where stream_ordering = 6");
    fail(json!({ "table": "events", "columns": ["depth"], "reason": "r" }), &["1 row differs: event_id=$6:"]);
    server.psql_in("synapse", "delete from events where stream_ordering = 6");
    fail(json!({ "table": "events", "columns": ["depth"], "reason": "r" }), &["1,519 rows in"]);
    fail(json!({ "table": "events", "rows": true, "reason": "r" }), &["1,519 rows in"]);
    fresh();
    server.psql_in("synapse", "alter table events drop column sender, add column more text");
    pass(
        json!({ "table": "events", "columns": ["sender", "more"], "reason": "r" }),
        &["excepted (r): no column sender"],
    );
    // Other schemas and databases.
    fresh();
    server.psql_in("synapse", "create schema app");
    for table in TABLES.iter().chain(&["event_search", "stream_positions", "port_from_sqlite3"]) {
        server.psql_in("synapse", &format!("alter table {table} set schema app"));
    }
    let mut other = all.clone();
    expect(cx, "data_matches", &other, Verdict::Unknown, &["no table in schema public"]);
    other["schema"] = "app".into();
    other["databases"] = json!(["synapse"]);
    expect(cx, "data_matches", &other, Verdict::Pass, &["10 tables"]);
    other["databases"] = json!(["synapse", "postgres"]);
    expect(cx, "data_matches", &other, Verdict::Unknown, &["one database is compared at a time"]);
    fresh();
    for (name, wrong, words) in [
        (
            "sequences",
            json!({ "nowhere": ["events.depth"] }),
            "`nowhere`, which database synapse does not have",
        ),
        ("sequences", json!({ "user_id_seq": ["events.nothing"] }), "`events.nothing`, which is no column"),
        ("sequences", json!({ "user_id_seq": ["events.sender"] }), "holds no whole numbers"),
        ("tables", json!(["nowhere"]), "there is no table `nowhere`"),
    ] {
        let mut params = all.clone();
        params[name] = wrong;
        expect(cx, "data_matches", &params, Verdict::Unknown, &[words]);
    }
    let mut some = all.clone();
    some["tables"] = json!(["devices", "users"]);
    expect(cx, "data_matches", &some, Verdict::Pass, &["2 tables, 135 rows"]);
}

/// The same between two servers.
pub fn alike() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    for server in [&old, &new] {
        server.psql("create table t (id int primary key, a text, b bytea); insert into t select g, 'a' || g, 'x' from generate_series(1, 50) g");
    }
    new.psql("update t set a = 'other' where id = 7");
    let cx = context(&[("old", old.target("postgres")), ("new", new.target("postgres"))]);
    let but = |except: Value| json!({ "source": "old", "target": "new", "except": [except] });
    let columns = but(json!({ "table": "t", "columns": ["a"], "reason": "r" }));
    expect(
        &cx,
        "data_matches",
        &columns,
        Verdict::Pass,
        &["excepted (r): column a of postgres.public.t not compared"],
    );
    let rows = but(json!({ "table": "public.t*", "rows": true, "reason": "r" }));
    expect(&cx, "data_matches", &rows, Verdict::Pass, &["excepted (r): other contents in postgres.public.t"]);
    new.psql("update t set b = 'y' where id = 8");
    expect(&cx, "data_matches", &columns, Verdict::Fail, &["1 row differs: id=8"]);
}

/// Values that the other engine cannot hold, or holds in another way.
pub fn odd_values(cx: &Context, server: &Cluster, old: &Path, all: &Value) {
    server.psql("drop database synapse");
    server.psql("create database synapse template base");
    let moved = |sql: &str, pg: &str| {
        run(old, sql);
        server.psql_in("synapse", pg);
    };
    let fail = |words: &[&str]| expect(cx, "data_matches", all, Verdict::Fail, words);
    let declared =
        |except: Value, words: &[&str]| expect(cx, "data_matches", &with(all, except), Verdict::Pass, words);
    // A text with a NUL byte: its row is left out by the move.
    moved(
        "insert into stream_positions values ('a' || char(0), 'x', 1), ('b', 'x', 2)",
        "insert into stream_positions values ('b', 'x', 2)",
    );
    fail(&[
        "1 row in synapse.public.stream_positions",
        "1 value with a NUL byte in synapse.public.stream_positions.stream_name (the first: rowid 1, a text)",
    ]);
    let dropped = json!({ "table": "stream_positions", "nul": "drop_rows", "reason": "the move drops them" });
    declared(
        dropped.clone(),
        &[
            "excepted (the move drops them): 1 row of synapse.public.stream_positions with a NUL byte in a text, left out",
        ],
    );
    expect(
        cx,
        "rows_match",
        &json!({ "source": "old", "target": "new", "except": [
        { "table": "applied_schema_deltas", "reason": "r" }, { "table": "port_from_sqlite3", "reason": "r" }, dropped ] }),
        Verdict::Pass,
        &["counts are equal"],
    );
    moved("select 1", "insert into stream_positions values ('a', 'x', 1)");
    declared(
        json!({ "table": "stream_positions", "nul": "remove", "reason": "removed" }),
        &["excepted (removed): 1 value in synapse.public.stream_positions.stream_name"],
    );
    moved("delete from stream_positions", "truncate stream_positions");
    // Values in another storage class than their column's.
    moved(
        "insert into stream_positions values ('é', 'x', 'seven'), (x'c3a9', 'x', 1), (x'ff', 'x', 2), ('d', 'x', 1.5)",
        "insert into stream_positions values ('é', 'x', 7), ('é', 'x', 1), ('c', 'x', 2), ('d', 'x', 1)",
    );
    fail(&[
        "2 values of another kind in synapse.public.stream_positions.stream_id (the first: rowid 1, a text)",
        "2 values of another kind in synapse.public.stream_positions.stream_name (the first: rowid 2, a blob)",
        "values that PostgreSQL's bigint can hold",
    ]);
    moved(
        "delete from stream_positions where rowid <> 2",
        "delete from stream_positions where stream_id <> 1 or stream_name = 'd'",
    );
    declared(
        json!({ "table": "stream_positions", "columns": ["stream_name"], "storage": true, "reason": "blobs of Python 2" }),
        &["excepted (blobs of Python 2): 1 value in synapse.public.stream_positions.stream_name"],
    );
    moved(
        "delete from stream_positions; insert into stream_positions values (cast(x'c328' as text), 'x', 1)",
        "delete from stream_positions; insert into stream_positions values ('c(', 'x', 1)",
    );
    fail(&["1 value not in UTF-8"]);
    moved("delete from stream_positions", "truncate stream_positions");
    moved("update users set is_guest = 70000 where id = 3", "update users set is_guest = 4464 where id = 3");
    fail(&[
        "1 value outside its type in synapse.public.users.is_guest (the first: rowid 3, an integer)",
        "values that PostgreSQL's smallint can hold",
        "1 row differs: id=3",
    ]);
    moved("update users set is_guest = 1 where id = 3", "update users set is_guest = 1 where id = 3");
    // The sign of zero, which SQLite keeps in a column without a number's affinity only.
    moved(
        "select 1",
        "update room_stats set weight = '-0' where room_id = 'c'; update room_stats set weight = null where false",
    );
    fail(&["1 row differs: room_id=c"]);
    moved("select 1", "update room_stats set weight = null where room_id = 'c'");
    expect(cx, "data_matches", all, Verdict::Pass, &[]);
}
