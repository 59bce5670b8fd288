//! The data checks between an SQLite file and a PostgreSQL database: a Synapse-like one, moved by a script of ours.

use std::path::{Path, PathBuf};
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
        let cells: Vec<String> = cells.iter().zip(&types).map(|(cell, (_, type_))| literal(*cell, type_)).collect();
        values.push(format!("({})", cells.join(", ")));
        if values.len() == 300 {
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
    ("row lost", "delete from events where stream_ordering = 77", &["1,519 rows in synapse.public.events", "1 row is missing: event_id=$77:example.org"]),
    ("byte in text", "update events set content = overlay(content placing 'T' from 1) where stream_ordering = 102", &["other contents in synapse.public.events", "1 row differs: event_id=$102:example.org"]),
    ("byte in blob", "update server_keys_json set key_json = set_byte(key_json, 6, 1) where server_name = 's7'", &["1 row differs: server_name=s7, key_id=ed25519:a"]),
    ("bool flipped", "update events set outlier = not outlier where stream_ordering = -3", &["1 row differs: event_id=$-3:example.org"]),
    ("null for empty", "update receipts set data = null where ctid = (select ctid from receipts where data = '' limit 1)", &["other contents in synapse.public.receipts", "row is"]),
    ("last bit of a float", "update room_stats set weight = 0.1::float8 * (1 + 2.3e-16::float8) where room_id = 'a'", &["1 row differs: room_id=a"]),
    ("sequence behind", "select setval('events_stream_seq', 1499)", &["sequence synapse.public.events_stream_seq is behind: it gives 1,500 next", "a number past 1,500"]),
    ("extra table", "create table leftover (id int)", &["an extra table synapse.public.leftover with 0 rows"]),
    ("swapped values", "update events e set content = f.content from events f where (e.stream_ordering, f.stream_ordering) in ((102, 103), (103, 102))", &["2 rows differ: event_id=$102:example.org; event_id=$103:example.org"]),
    ("swapped columns", "alter table devices rename hidden to tmp; alter table devices rename user_id to hidden2; alter table devices rename display_name to user_id; alter table devices rename hidden2 to display_name; alter table devices rename tmp to hidden", &["other contents in synapse.public.devices"]),
    ("missing table", "drop table devices", &["no table public.devices", "a table with 100 rows"]),
    ("duplicate row", "insert into receipts select * from receipts limit 1", &["401 rows in synapse.public.receipts"]),
    ("duplicate for a row", "delete from receipts where ctid = (select ctid from receipts where room_id = 'r1' limit 1); insert into receipts select * from receipts where room_id = 'r2' limit 1", &["other contents in synapse.public.receipts"]),
    ("high half of a number", "update events set depth = depth + 4294967296 where stream_ordering = 9", &["1 row differs: event_id=$9:example.org"]),
    ("sign taken for a bit", "update events set depth = 4294967291 where stream_ordering = -5", &["1 row differs: event_id=$-5:example.org"]),
    ("numeric", "update room_stats set score = 1.51 where room_id = 'a'", &["1 row differs: room_id=a"]),
    ("null for false", "update events set contains_url = false where stream_ordering = 6", &["1 row differs: event_id=$6:example.org"]),
    ("all rows", "truncate event_json", &["0 rows in synapse.public.event_json", "1,520 rows, as in `old`"]),
    ("missing column", "alter table events drop column sender", &["no column sender in synapse.public.events"]),
    ("extra column", "alter table events add column more int", &["an extra column more (integer) in synapse.public.events"]),
    ("no key", "alter table devices drop constraint devices_pkey", &["nothing keeps (user_id, device_id) unique"]),
    ("row of a rebuilt table", "delete from event_search where stream_ordering = 5", &["59 rows in synapse.public.event_search"]),
    ("number given and deleted", "select setval('users_id_seq', 38)", &["users_id_seq is behind: it gives 39 next", "a number past 40"]),
    ("counting down", "select setval('events_backfill_stream_seq', 20, false)", &["events_backfill_stream_seq is behind: it gives 20 next"]),
    ("unknown sequence", "create sequence stray", &["which columns feed on sequence synapse.public.stray is not known"]),
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
    declared(&cx, &server, &old);
    recorded(&server, &old, &cx);
    sources(&cx, &server, &old, dir.path());
}

fn declared(_: &Context, _: &Cluster, _: &Path) {}
fn recorded(_: &Cluster, _: &Path, _: &Context) {}
fn sources(_: &Context, _: &Cluster, _: &Path, _: &Path) {}
fn to_sqlite() {}
