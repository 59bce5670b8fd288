//! The data checks between an SQLite file and a PostgreSQL database: a Synapse-like one, moved by a script of ours.

use std::path::Path;
use std::sync::Arc;

use holdpoint::check::data::{self, cross::hash, manifest::Manifest};
use holdpoint::check::{Context, Verdict};
use holdpoint::runbook::Target;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::data::{One, check, context, context_with, told};
use crate::harness::{Cluster, Major, Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    for (major, name) in [
        (Major::V13, "data_cross::hashes_are_those_of_13"),
        (Major::V14, "data_cross::hashes_are_those_of_14"),
        (Major::V15, "data_cross::hashes_are_those_of_15"),
        (Major::V16, "data_cross::hashes_are_those_of_16"),
        (Major::V17, "data_cross::hashes_are_those_of_17"),
        (Major::V18, "data_cross::hashes_are_those_of_18"),
    ] {
        let needs: &'static [Need] = Box::leak(vec![Need::Pg15, major.need()].into_boxed_slice());
        r.add(name, needs, move || hashes(major));
    }
    r.add("data_cross::sqlite_to_15", &[Need::Pg15], || to_postgres(Major::V15, usize::MAX));
    r.add("data_cross::sqlite_to_13", &[Need::Pg15, Need::Pg13], || to_postgres(Major::V13, 8));
    r.add("data_cross::sqlite_to_18", &[Need::Pg15, Need::Pg18], || to_postgres(Major::V18, 8));
    r.add("data_cross::types_to_15", &[Need::Pg15], || types(Major::V15));
    r.add("data_cross::types_to_13", &[Need::Pg15, Need::Pg13], || types(Major::V13));
    r.add("data_cross::types_to_18", &[Need::Pg15, Need::Pg18], || types(Major::V18));
    r.add("data_cross::postgres_to_sqlite", &[Need::Pg15], to_sqlite);
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Thousands of random values hash here as they do on a server.
fn hashes(major: Major) {
    let server = Cluster::start(major);
    assert_eq!(server.psql(hash::PROBE), hash::probed());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..8 {
        let (mut values, mut wanted) = (Vec::new(), Vec::new());
        for at in 0..500u64 {
            let seed = if at % 50 == 0 { 0 } else { dice.next() as i64 };
            let number = (dice.next() >> (dice.next() % 64)) as i64 * if at % 2 == 0 { 1 } else { -1 };
            let bytes: Vec<u8> = (0..dice.next() % 70).map(|_| (dice.next() % 128).max(1) as u8).collect();
            let float = f64::from_bits(dice.next());
            let float = if float.is_finite() { float } else { at as f64 };
            values.push(format!(
                "('{seed}'::int8, '{number}'::int8, '{}'::int4, convert_from('\\x{}', 'UTF8'), '{float:e}'::float8)",
                number as i32,
                hex(&bytes)
            ));
            wanted.push(format!(
                "{}|{}|{}|{}|{}",
                hash::int8(number, seed),
                hash::int4(number as i32, seed),
                hash::bytes(&bytes, seed),
                hash::one(hash::bytes(&bytes, seed)),
                hash::float8(float, seed)
            ));
        }
        let given = server.psql(&format!(
            "select hashint8extended(n, s), hashint4extended(i, s), hashtextextended(t collate \"C\", s), \
             hash_array_extended(array[convert_to(t, 'UTF8')], s), hashfloat8extended(f, s) from (values {}) v(s, n, i, t, f)",
            values.join(", ")
        ));
        assert_eq!(given.lines().collect::<Vec<_>>(), wanted);
    }
}

fn file(path: &Path) -> Target {
    Target { sqlite: Some(path.display().to_string()), ..Target::default() }
}

fn run(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// One value for PostgreSQL.
fn literal(value: ValueRef<'_>, type_: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match (value, type_) {
        (ValueRef::Null, _) => "null".to_owned(),
        (ValueRef::Integer(n), "boolean") => (n != 0).to_string(),
        (ValueRef::Integer(n), _) => n.to_string(),
        (ValueRef::Real(n), _) if n.is_infinite() => quoted(if n > 0.0 { "Infinity" } else { "-Infinity" }),
        (ValueRef::Real(n), _) => quoted(&format!("{n:?}")),
        (ValueRef::Text(text), _) => quoted(std::str::from_utf8(text).unwrap()),
        (ValueRef::Blob(bytes), "uuid") => quoted(&hex(bytes)),
        (ValueRef::Blob(bytes), _) => quoted(&format!("\\x{}", hex(bytes))),
    }
}

/// Copies a table's rows, but for those with a NUL byte in a text.
fn copy(from: &Path, server: &Cluster, database: &str, table: &str) {
    let types = server.psql_in(
        database,
        &format!("select column_name || ' ' || data_type from information_schema.columns where table_name = '{table}' order by ordinal_position"),
    );
    let types: Vec<(&str, &str)> = types.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let names: Vec<String> = types.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    let connection = Connection::open(from).unwrap();
    let mut statement = connection.prepare(&format!("select {names} from {table}")).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut values = Vec::new();
    let flush = |values: &mut Vec<String>| {
        if !values.is_empty() {
            server.psql_in(database, &format!("insert into {table} ({names}) values {}", values.join(", ")));
            values.clear();
        }
    };
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<ValueRef<'_>> = (0..types.len()).map(|at| row.get_ref(at).unwrap()).collect();
        if cells.iter().any(|cell| matches!(cell, ValueRef::Text(text) if text.contains(&0))) {
            continue;
        }
        let cells: Vec<String> =
            cells.iter().zip(&types).map(|(cell, (_, type_))| literal(*cell, type_)).collect();
        values.push(format!("({})", cells.join(", ")));
        if values.iter().map(String::len).sum::<usize>() > 60_000 {
            flush(&mut values);
        }
    }
    flush(&mut values);
}

const TABLES: &[&str] = &[
    "schema_version",
    "applied_schema_deltas",
    "events",
    "event_json",
    "server_keys_json",
    "receipts",
    "room_stats",
    "users",
    "devices",
];

/// Moves all of it.
fn port(from: &Path, server: &Cluster, database: &str) {
    server.psql(&format!("create database {database}"));
    server.psql_in(database, include_str!("data_cross.pg.sql"));
    for table in TABLES {
        copy(from, server, database, table);
    }
    server.psql_in(
        database,
        "delete from applied_schema_deltas where file like '%sqlite_only%'; \
         insert into event_search select event_id, room_id, sender, 'content.body', to_tsvector('simple', 'words ' || stream_ordering), 1, stream_ordering \
             from events where stream_ordering between 1 and 60; \
         insert into port_from_sqlite3 values ('events', 1501, 0); \
         select setval('events_stream_seq', 1500), setval('events_backfill_stream_seq', 21), setval('users_id_seq', 40)",
    );
}

fn params(source: &str, target: &str) -> Value {
    json!({
        "source": source, "target": target,
        "sequences": { "events_stream_seq": ["events.stream_ordering"], "events_backfill_stream_seq": ["-events.stream_ordering"] },
        "except": [
            { "table": "event_search", "rows": true, "reason": "rebuilt: FTS on SQLite, a tsvector on PostgreSQL" },
            { "table": "applied_schema_deltas", "reason": "each engine has deltas of its own" },
            { "table": "port_from_sqlite3", "reason": "the move's own" },
            { "table": "user_id_seq", "reason": "feeds names, not numbers" },
        ],
    })
}

/// A fault: its name, the SQL that makes it in PostgreSQL, and what the evidence must say.
type Fault = (&'static str, &'static str, &'static [&'static str]);

const FAULTS: &[Fault] = &[
    (
        "row lost",
        "delete from events where stream_ordering = 77",
        &["1,519 rows in synapse.public.events", "1 row is missing: event_id=$77:example.org"],
    ),
    (
        "byte in text",
        "update events set content = overlay(content placing 'T' from 1) where stream_ordering = 102",
        &["other contents in synapse.public.events", "1 row differs: event_id=$102:example.org"],
    ),
    (
        "byte in blob",
        "update server_keys_json set key_json = set_byte(key_json, 6, 1) where server_name = 's7'",
        &["1 row differs: server_name=s7, key_id=ed25519:a"],
    ),
    (
        "bool flipped",
        "update events set outlier = not outlier where stream_ordering = -3",
        &["1 row differs: event_id=$-3:example.org"],
    ),
    (
        "null for empty",
        "update receipts set data = null where ctid = (select ctid from receipts where data = '' limit 1)",
        &["other contents in synapse.public.receipts", "row is"],
    ),
    (
        "last bit of a float",
        "update room_stats set weight = 0.1::float8 * (1 + 2.3e-16::float8) where room_id = 'a'",
        &["1 row differs: room_id=a"],
    ),
    (
        "sequence behind",
        "select setval('events_stream_seq', 1499)",
        &["sequence synapse.public.events_stream_seq is behind: it gives 1,500 next", "a number past 1,500"],
    ),
    (
        "extra table",
        "create table leftover (id int)",
        &["an extra table synapse.public.leftover with 0 rows"],
    ),
    (
        "swapped values",
        "update events e set content = f.content from events f where (e.stream_ordering, f.stream_ordering) in ((102, 103), (103, 102))",
        &["2 rows differ: event_id=$102:example.org; event_id=$103:example.org"],
    ),
    (
        "swapped columns",
        "alter table devices rename hidden to tmp; alter table devices rename user_id to hidden2; alter table devices rename display_name to user_id; alter table devices rename hidden2 to display_name; alter table devices rename tmp to hidden",
        &["other contents in synapse.public.devices"],
    ),
    ("missing table", "drop table devices", &["no table synapse.public.devices", "a table with 100 rows"]),
    (
        "duplicate row",
        "insert into receipts select * from receipts limit 1",
        &["401 rows in synapse.public.receipts"],
    ),
    (
        "duplicate for a row",
        "delete from receipts where ctid = (select ctid from receipts where room_id = 'r1' limit 1); insert into receipts select * from receipts where room_id = 'r2' limit 1",
        &["other contents in synapse.public.receipts"],
    ),
    (
        "high half of a number",
        "update events set depth = depth + 4294967296 where stream_ordering = 9",
        &["1 row differs: event_id=$9:example.org"],
    ),
    (
        "sign taken for a bit",
        "update events set depth = 4294967291 where stream_ordering = -5",
        &["1 row differs: event_id=$-5:example.org"],
    ),
    ("numeric", "update room_stats set score = 1.51 where room_id = 'a'", &["1 row differs: room_id=a"]),
    (
        "null for false",
        "update events set contains_url = false where stream_ordering = 6",
        &["1 row differs: event_id=$6:example.org"],
    ),
    ("all rows", "truncate event_json", &["0 rows in synapse.public.event_json", "1,520 rows, as in `old`"]),
    (
        "missing column",
        "alter table events drop column sender",
        &["no column sender in synapse.public.events"],
    ),
    (
        "extra column",
        "alter table events add column more int",
        &["an extra column more (integer) in synapse.public.events"],
    ),
    (
        "no key",
        "alter table devices drop constraint devices_pkey",
        &["nothing keeps (user_id, device_id) unique"],
    ),
    (
        "row of a rebuilt table",
        "delete from event_search where stream_ordering = 5",
        &["59 rows in synapse.public.event_search"],
    ),
    (
        "number given and deleted",
        "select setval('users_id_seq', 38)",
        &["users_id_seq is behind: it gives 39 next", "a number past 40"],
    ),
    (
        "counting down",
        "select setval('events_backfill_stream_seq', 20, false)",
        &["events_backfill_stream_seq is behind: it gives 20 next"],
    ),
    (
        "unknown sequence",
        "create sequence stray",
        &["it is not known which columns feed on sequence synapse.public.stray"],
    ),
];

fn to_postgres(major: Major, faults: usize) {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("homeserver.db");
    run(&old, include_str!("data_cross.sqlite.sql"));
    let server = Cluster::start(major);
    port(&old, &server, "base");
    let fresh = || {
        server.psql("drop database if exists synapse");
        server.psql("create database synapse template base");
    };
    fresh();
    let cx = context(&[("old", file(&old)), ("new", server.target("synapse"))]);
    let all = params("old", "new");
    let same = check(&cx, "data_matches", all.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    let text = told(&same);
    for word in [
        "counts and contents are equal; of 1 table only the counts",
        "rebuilt: FTS on SQLite",
        "each engine has deltas of its own",
        "the move's own",
        "feeds names, not numbers",
        "not compared between SQLite and PostgreSQL",
        "rounded to single precision",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("catalogue are equal"), "{text}");
    let mut wrong = Vec::new();
    for (name, fault, words) in FAULTS.iter().take(faults) {
        fresh();
        server.psql_in("synapse", fault);
        let text = told(&check(&cx, "data_matches", all.clone()));
        if !text.starts_with("FAIL") || !words.iter().all(|word| text.contains(word)) {
            wrong.push(format!("{name}: wanted FAIL with {words:?}\n   got {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if faults < FAULTS.len() {
        return;
    }
    fresh();
    declared(&cx, &server, &all);
    odd_values(&cx, &server, &old, &all);
    recorded(&server, &old, &cx, &all);
    sources(&server, &old, dir.path(), &all);
}

/// Checks that `kind` gives `verdict` and says these words.
fn expect(cx: &Context, kind: &str, params: &Value, verdict: Verdict, words: &[&str]) {
    let found = check(cx, kind, params.clone());
    assert_eq!(found.verdict(), verdict, "wanted {words:?}: {}", told(&found));
    for word in words {
        assert!(told(&found).contains(word), "wanted `{word}`: {}", told(&found));
    }
}

/// The parameters with one more exception.
fn with(params: &Value, except: Value) -> Value {
    let mut params = params.clone();
    params["except"].as_array_mut().unwrap().push(except);
    params
}

/// Differences that are declared pass, are shown with their reason, and cover nothing else.
fn declared(cx: &Context, server: &Cluster, all: &Value) {
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

/// Values that the other engine cannot hold, or holds in another way.
fn odd_values(cx: &Context, server: &Cluster, old: &Path, all: &Value) {
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

/// A record of either side is as good as the side itself, where it can be.
fn recorded(server: &Cluster, old: &Path, cx: &Context, all: &Value) {
    let (lite, pg) = (file(old), server.target("synapse"));
    let recorded = |name: &str, target: &Target, live: (&str, &Target)| {
        let taken = block_on(data::record(name, target, cx)).unwrap();
        let manifest = Manifest::load(&taken.save().unwrap()).unwrap();
        assert_eq!(manifest, taken);
        context_with(&[(live.0, live.1.clone())], Arc::new(One(manifest)))
    };
    let mut params = all.clone();
    params.as_object_mut().unwrap().remove("source");
    params["recorded"] = "before".into();
    let before = recorded("old", &lite, ("new", &pg));
    // What was rounded cannot be seen in a record, and what was excepted is.
    expect(
        &before,
        "data_matches",
        &params,
        Verdict::Unknown,
        &["contents of synapse.public.room_stats could not be compared", "real in"],
    );
    let rounded = with(&params, json!({ "table": "room_stats", "rows": true, "reason": "other types" }));
    expect(
        &before,
        "data_matches",
        &rounded,
        Verdict::Pass,
        &["counts and contents are equal", "recorded at"],
    );
    expect(
        &before,
        "rows_match",
        &json!({ "recorded": "before", "target": "new", "except": all["except"] }),
        Verdict::Pass,
        &["counts are equal"],
    );
    server.psql_in("synapse", "update events set depth = 0 where stream_ordering = 5");
    expect(
        &before,
        "data_matches",
        &rounded,
        Verdict::Fail,
        &["other contents in synapse.public.events", "as in the record `before`"],
    );
    server.psql_in(
        "synapse",
        "update events set depth = 5 where stream_ordering = 5; select setval('events_stream_seq', 5)",
    );
    expect(&before, "data_matches", &rounded, Verdict::Fail, &["events_stream_seq is behind"]);
    server.psql_in("synapse", "select setval('events_stream_seq', 1500)");

    let mut params =
        json!({ "recorded": "before", "target": "old", "databases": ["synapse"], "except": all["except"] });
    let after = recorded("new", &pg, ("old", &lite));
    expect(&after, "data_matches", &params, Verdict::Pass, &["counts and contents are equal"]);
    params.as_object_mut().unwrap().remove("databases");
    expect(
        &after,
        "data_matches",
        &params,
        Verdict::Unknown,
        &["the record has several databases (base, synapse)"],
    );
    params["databases"] = json!(["synapse"]);
    run(old, "update devices set display_name = display_name || '.' where device_id = 'D3'");
    expect(&after, "data_matches", &params, Verdict::Fail, &["other contents in devices"]);
    run(
        old,
        "update devices set display_name = substr(display_name, 1, length(display_name) - 1) where device_id = 'D3'",
    );

    let alone = context(&[("old", lite.clone())]);
    let taken = block_on(data::record("old", &lite, &alone)).unwrap();
    let alone = context_with(&[("new", pg)], Arc::new(One(taken)));
    expect(&alone, "data_matches", &rounded, Verdict::Unknown, &["no target of the other engine was known"]);
}

/// What cannot be read is unknown, and what is written meanwhile does not matter.
fn sources(server: &Cluster, old: &Path, dir: &Path, all: &Value) {
    let path = |name: &str| dir.join(name);
    std::fs::copy(old, path("whole.db")).unwrap();
    let mut bytes = std::fs::read(path("whole.db")).unwrap();
    for at in (8..bytes.len() / 4096).step_by(3) {
        bytes[at * 4096..at * 4096 + 64].fill(0xff);
    }
    std::fs::write(path("corrupt.db"), bytes).unwrap();
    std::fs::write(path("text.db"), "not a database, but long enough to have a header of a hundred bytes or more, as a file would have it").unwrap();
    run(&path("locked.db"), "pragma journal_mode = delete; create table t (id)");
    run(&path("empty.db"), "create table t (id)");
    server.psql("create database empty");
    server.psql_in("empty", "create table t (id text)");
    server.psql("create database latin encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    let names = ["corrupt", "text", "locked", "gone", "empty", "whole"];
    let mut targets: Vec<(&str, Target)> =
        names.iter().map(|n| (*n, file(&path(&format!("{n}.db"))))).collect();
    targets.push(("new", server.target("synapse")));
    targets.push(("nothing", server.target("empty")));
    targets.push(("latin", server.target("latin")));
    targets.push((
        "down",
        Target { postgres: Some("host=/nowhere dbname=x user=postgres".into()), ..Target::default() },
    ));
    let cx = context(&targets);
    let between = |source: &str, target: &str| {
        let mut params = all.clone();
        params["source"] = source.into();
        params["target"] = target.into();
        params
    };
    let writer = Connection::open(path("locked.db")).unwrap();
    writer
        .execute_batch("pragma locking_mode = exclusive; begin exclusive; insert into t values (2)")
        .unwrap();
    for (source, words) in [
        ("text", "`text`: "),
        ("gone", "there is no file"),
        ("locked", "`locked`: database is locked"),
        ("corrupt", "`corrupt`: "),
    ] {
        expect(&cx, "data_matches", &between(source, "new"), Verdict::Unknown, &[words]);
        expect(&cx, "data_matches", &between("new", source), Verdict::Unknown, &[words]);
    }
    drop(writer);
    expect(&cx, "data_matches", &between("whole", "down"), Verdict::Unknown, &["`down`: "]);
    expect(
        &cx,
        "data_matches",
        &between("gone", "down"),
        Verdict::Unknown,
        &["there is no file", "`down`: "],
    );
    expect(&cx, "data_matches", &between("empty", "latin"), Verdict::Unknown, &["its encoding is LATIN1"]);
    for kind in ["data_matches", "rows_match"] {
        let params = json!({ "source": "empty", "target": "nothing" });
        expect(&cx, kind, &params, Verdict::Unknown, &["nothing was compared with nothing"]);
    }
    let whole = json!({ "source": "empty", "target": "nothing", "except": [{ "table": "*", "reason": "all of it" }] });
    expect(&cx, "data_matches", &whole, Verdict::Unknown, &["there is no table to compare"]);

    // Somebody writes: what is not committed is not there, and nobody waits for anybody.
    let writer = Connection::open(path("whole.db")).unwrap();
    writer.execute_batch("begin immediate; delete from events where stream_ordering = 500").unwrap();
    expect(&cx, "data_matches", &between("whole", "new"), Verdict::Pass, &[]);
    writer.execute_batch("commit").unwrap();
    expect(&cx, "data_matches", &between("whole", "new"), Verdict::Fail, &["1 row is extra: event_id=$500:"]);
    drop(writer);
    let slow = json!({ "source": "whole", "target": "new", "timeout": "1ms" });
    expect(&cx, "data_matches", &slow, Verdict::Unknown, &["within 1ms"]);
}

/// The other way: what was in PostgreSQL is in the file.
fn to_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let (base, new) = (dir.path().join("base.db"), dir.path().join("new.db"));
    run(&base, include_str!("data_cross.sqlite.sql"));
    run(&base, "pragma wal_checkpoint(truncate)");
    let server = Cluster::start(Major::V15);
    port(&base, &server, "synapse");
    let cx = context(&[("old", server.target("synapse")), ("new", file(&new))]);
    let all = params("old", "new");
    let fresh = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", new.display()));
        }
        std::fs::copy(&base, &new).unwrap();
    };
    fresh();
    expect(
        &cx,
        "data_matches",
        &all,
        Verdict::Pass,
        &["counts and contents are equal", "events_backfill_stream_seq has nothing like it"],
    );
    let mut wrong = Vec::new();
    for (name, fault, words) in [
        (
            "row lost",
            "delete from events where stream_ordering = 77",
            "1 row is missing: event_id=$77:example.org",
        ),
        (
            "byte in text",
            "update events set content = 'Text 102 ☃' where stream_ordering = 102",
            "1 row differs: event_id=$102:example.org",
        ),
        (
            "text for blob",
            "update server_keys_json set key_json = cast(key_json as text) where server_name = 's7'",
            "value of another kind in server_keys_json.key_json",
        ),
        (
            "blob for text",
            "update devices set display_name = cast(display_name as blob) where device_id = 'D3'",
            "value of another kind in devices.display_name",
        ),
        (
            "bool flipped",
            "update events set outlier = 1 - outlier where stream_ordering = -3",
            "1 row differs: event_id=$-3:example.org",
        ),
        (
            "bool of two",
            "update events set outlier = 2 where stream_ordering = -3",
            "1 value outside its type in events.outlier (the first: rowid -3, an integer)",
        ),
        (
            "null for empty",
            "update receipts set data = null where rowid = 1; update receipts set data = '' where rowid = 2; update receipts set data = null where rowid = 4",
            "other contents in receipts",
        ),
        (
            "last bit",
            "update room_stats set weight = 0.1 * (1 + 2.3e-16) where room_id = 'a'",
            "1 row differs: room_id=a",
        ),
        ("duplicate", "insert into receipts select * from receipts limit 1", "401 rows in receipts"),
        ("missing table", "drop table devices", "no table devices"),
        ("extra table", "create table leftover (id)", "an extra table leftover"),
        ("missing column", "alter table events rename column sender to author", "no column sender in events"),
        (
            "no key",
            "create table d as select * from devices; drop table devices; alter table d rename to devices",
            "nothing keeps (user_id, device_id) unique in devices",
        ),
        ("numbers given again", "update sqlite_sequence set seq = 37", "users gives 38 next for id"),
        (
            "computed",
            "create table r2 as select * from receipts; drop table receipts; alter table r2 rename to receipts; alter table receipts drop column stream_id; alter table receipts add column stream_id as (1)",
            "computed in SQLite only",
        ),
    ] {
        fresh();
        run(&new, fault);
        let text = told(&check(&cx, "data_matches", all.clone()));
        if !text.starts_with("FAIL") || !text.contains(words) {
            wrong.push(format!("{name}: wanted FAIL with {words:?}\n   got {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each type, thousands of random values: what PostgreSQL reads of SQLite's value hashes alike on both sides.
fn types(major: Major) {
    const COLUMNS: &[&str] = &[
        "b boolean",
        "i2 smallint",
        "i4 integer",
        "i8 bigint",
        "o oid",
        "f8 double precision",
        "n numeric",
        "t text",
        "v varchar(90)",
        "c char(40)",
        "raw bytea",
        "u uuid",
        "d date",
        "ts timestamp",
        "tz timestamptz",
        "js json",
        "jb jsonb",
        "m mood",
        "ip inet",
        "nums integer[]",
        "f4 real",
        "late timestamp with time zone",
        "name_ mxid",
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("types.db");
    let untyped: Vec<&str> = COLUMNS.iter().map(|column| column.split(' ').next().unwrap()).collect();
    run(&path, &format!("create table types (id integer primary key, {})", untyped.join(", ")));
    let mut connection = Connection::open(&path).unwrap();
    let writing = connection.transaction().unwrap();
    let mut dice = Dice(0xd1b5_4a32_d192_ed03);
    for id in 0..3000i64 {
        let mut text = |most: u64| -> String {
            let length = dice.next() % most;
            (0..length)
                .map(|_| {
                    ['a', 'Z', '0', ' ', '\'', '"', '\\', '\n', '\u{1}', 'é', '☃', '\u{1f600}']
                        [(dice.next() % 12) as usize]
                })
                .collect()
        };
        let (t, v, c) = (text(80), text(80), text(40));
        let json_text =
            serde_json::to_string(&json!({ "k": t, "é": [1, 2.50, null, v], "zz": { "b": true, "aa": {} } }))
                .unwrap();
        let (a, b) = (dice.next(), dice.next());
        let signed = (a >> (b % 64)) as i64 * if a % 2 == 0 { 1 } else { -1 };
        let float = Some(f64::from_bits(dice.next())).filter(|f| f.is_finite()).unwrap_or(0.5);
        let day = format!("{:04}-{:02}-{:02}", 1 + a % 9998, 1 + a % 12, 1 + b % 28);
        let time = format!("{:02}:{:02}:{:02}.{:06}", a % 24, b % 60, a % 60, b % 1_000_000);
        let number = match a % 4 {
            0 => rusqlite::types::Value::Integer(signed),
            1 => rusqlite::types::Value::Real(signed as f64 / 1024.0),
            2 => rusqlite::types::Value::Text(format!("{signed}.{b:020}00")),
            _ => rusqlite::types::Value::Text(format!("{}e{}", signed % 1000, b % 40)),
        };
        let uuid = match a % 2 {
            0 => rusqlite::types::Value::Blob([a.to_be_bytes(), b.to_be_bytes()].concat()),
            _ => rusqlite::types::Value::Text(format!("{a:016X}{b:016x}")),
        };
        let eight = if a % 5 == 0 {
            rusqlite::types::Value::Integer(signed >> 11)
        } else {
            rusqlite::types::Value::Real(float)
        };
        let marks = vec!["?"; COLUMNS.len()].join(", ");
        let values: Vec<rusqlite::types::Value> = vec![
            ((a % 2) as i64).into(),
            i64::from(signed as i16).into(),
            i64::from(signed as i32).into(),
            signed.into(),
            i64::from(a as u32).into(),
            eight,
            number,
            t.into(),
            v.into(),
            c.into(),
            b.to_le_bytes().to_vec().into(),
            uuid,
            day.clone().into(),
            format!("{day} {time}").into(),
            format!("{day}T{time}{}", ["Z", "+02:00", "-11:30"][(a % 3) as usize]).into(),
            json_text.clone().into(),
            json_text.into(),
            ["calm", "busy"][(a % 2) as usize].to_owned().into(),
            format!("10.{}.0.1", a % 256).into(),
            format!("{{{},{}}}", signed as i16, b % 7).into(),
            f64::from(signed as i32 as f32 / 3.0).into(),
            format!("{day} {}", &time[..5]).into(),
            format!("@u{}", a % 99).into(),
        ];
        let mut values: Vec<rusqlite::types::Value> = values
            .into_iter()
            .map(|value| if dice.next() % 23 == 0 { rusqlite::types::Value::Null } else { value })
            .collect();
        if let rusqlite::types::Value::Text(late) = &mut values[21] {
            late.push_str("+00");
        }
        values.insert(0, id.into());
        writing
            .execute(&format!("insert into types values (?, {marks})"), rusqlite::params_from_iter(values))
            .unwrap();
    }
    writing.commit().unwrap();
    drop(connection);
    let server = Cluster::start(major);
    server.psql(
        "create type mood as enum ('calm', 'busy'); create domain mxid as text check (value like '@%')",
    );
    server.psql(&format!("create table types (id bigint primary key, {})", COLUMNS.join(", ")));
    copy(&path, &server, "postgres", "types");
    let cx = context(&[("lite", file(&path)), ("pg", server.target("postgres"))]);
    expect(
        &cx,
        "data_matches",
        &json!({ "source": "lite", "target": "pg" }),
        Verdict::Pass,
        &["1 table, 3,000 rows"],
    );
    expect(
        &cx,
        "data_matches",
        &json!({ "source": "pg", "target": "lite" }),
        Verdict::Pass,
        &["1 table, 3,000 rows"],
    );
    // And each of them is looked at.
    server.psql("create table kept as select * from types");
    let some = json!({ "source": "lite", "target": "pg", "tables": ["types"] });
    for column in untyped.iter().filter(|_| major == Major::V15) {
        let id = server.psql(&format!(
            "update types t set {column} = (select {column} from kept where {column} is not null and {column}::text <> t.{column}::text limit 1) \
             where id = (select min(id) from kept where {column} is not null) returning id"
        ));
        expect(
            &cx,
            "data_matches",
            &some,
            Verdict::Fail,
            &[&format!("1 row differs: id={id}"), &format!("in the columns: {column}")],
        );
        server.psql(&format!(
            "update types t set {column} = k.{column} from kept k where k.id = t.id and t.id = {id}"
        ));
    }
}
