//! The data checks between an SQLite file and a PostgreSQL database: a Synapse-like one, moved by a script of ours.

mod back;
mod declared;
mod faults;
mod hashes;
mod sources;

use std::path::Path;

use holdpoint::check::{Context, Verdict};
use holdpoint::runbook::Target;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use self::faults::FAULTS;
use super::data::{check, context, told};
use crate::harness::{Cluster, Major, Need, Registry};

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
        r.add(name, needs, move || hashes::hashes(major));
    }
    r.add("data_cross::sqlite_to_15", &[Need::Pg15], || to_postgres(Major::V15, usize::MAX));
    r.add("data_cross::sqlite_to_13", &[Need::Pg15, Need::Pg13], || to_postgres(Major::V13, 8));
    r.add("data_cross::sqlite_to_18", &[Need::Pg15, Need::Pg18], || to_postgres(Major::V18, 8));
    r.add("data_cross::columns_between_servers", &[Need::Pg15], declared::alike);
    r.add("data_cross::types_to_15", &[Need::Pg15], || hashes::types(Major::V15));
    r.add("data_cross::types_to_13", &[Need::Pg15, Need::Pg13], || hashes::types(Major::V13));
    r.add("data_cross::types_to_18", &[Need::Pg15, Need::Pg18], || hashes::types(Major::V18));
    r.add("data_cross::postgres_to_sqlite", &[Need::Pg15], back::to_sqlite);
    r.add("data_cross::shapes", &[Need::Pg15], back::shapes);
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
    server.psql_in(database, include_str!("data_cross/pg.sql"));
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

fn to_postgres(major: Major, faults: usize) {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("homeserver.db");
    run(&old, include_str!("data_cross/sqlite.sql"));
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
    declared::declared(&cx, &server, &all);
    declared::odd_values(&cx, &server, &old, &all);
    sources::recorded(&server, &old, &cx, &all);
    sources::sources(&server, &old, dir.path(), &all);
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
