//! The data checks on SQLite files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdpoint::check::data::{self, manifest::Manifest};
use holdpoint::check::{Context, Verdict};
use holdpoint::runbook::Target;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::data::{One, check, context, context_with, told};
use crate::harness::block_on;

fn target(path: &Path) -> Target {
    Target { sqlite: Some(path.display().to_string()), ..Target::default() }
}

fn build(path: &Path, order: &str) {
    let sql = "
        create table events (id integer primary key autoincrement, room text not null, body, score real, raw blob,
            up text generated always as (upper(room)) virtual);
        create table \"We\"\"ird; Ta.ble\" (\"a b\" text, n int);
        create table rooms (room text primary key, n int) without rowid;
        create table empty (id integer primary key, room text references rooms (room) on delete cascade);
        create index events_room on events (room);
        create unique index rooms_n on rooms (n, room) where n > 5;
        create view recent as select * from events where id > 10;
        create trigger touched after update on rooms begin select 1; end;
        with recursive g(n) as (select 1 union all select n + 1 from g where n < 1000)
        insert into events (id, room, body, score, raw) select n, 'r' || (n % 7), case n % 3 when 0 then null when 1 then '' else n end,
            n / 3.0, char(n % 100) from g ORDER;
        insert into \"We\"\"ird; Ta.ble\" select room, id % 4 from events ORDER;
        insert into rooms select room, count(*) from events group by room ORDER;";
    let order_by = if order.is_empty() { String::new() } else { format!("order by {order}") };
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(&sql.replace("ORDER", &order_by)).unwrap();
}

const FAULTS: &[(&str, &str, &[&str])] = &[
    ("missing row", "delete from events where id = 7", &["999 rows in events", "1 row is missing: id=7"]),
    ("all rows", "delete from events", &["0 rows in events", "1,000 rows, as in `old`"]),
    (
        "changed byte",
        "update events set room = 'R' || substr(room, 2) where id = 9",
        &["other contents in events", "1 row differs: id=9"],
    ),
    ("null for empty", "update events set body = null where body = '' and id = 10", &["id=10"]),
    ("text for a number", "update events set body = cast(body as text) where id = 11", &["id=11"]),
    ("last bit", "update events set score = score * (1 + 2.3e-16) where id = 20", &["id=20"]),
    ("blob for text", "update events set raw = cast(raw as blob) where id = 21", &["id=21"]),
    ("swapped", "update events set body = 13 - body where id in (5, 8)", &["2 rows differ: id=5; id=8"]),
    (
        "duplicate",
        "insert into \"We\"\"ird; Ta.ble\" select * from \"We\"\"ird; Ta.ble\" limit 1",
        &["1,001 rows"],
    ),
    ("missing table", "drop table rooms", &["no table rooms"]),
    ("extra table", "create table leftover (id)", &["an extra table leftover"]),
    ("missing index", "drop index events_room", &["no index events_room"]),
    (
        "other index",
        "drop index rooms_n; create unique index rooms_n on rooms (n, room) where n > 6",
        &["index rooms_n is another"],
    ),
    ("missing view", "drop view recent", &["no view recent"]),
    ("missing trigger", "drop trigger touched", &["no trigger touched"]),
    ("missing column", "alter table rooms rename column n to m", &["no column n in rooms"]),
    ("extra column", "alter table empty add column more int", &["an extra column more"]),
    ("sequence behind", "update sqlite_sequence set seq = 5", &["sequence events is behind, at 5"]),
    ("missing sequence", "delete from sqlite_sequence", &["no sequence events"]),
];

pub fn faults() {
    let dir = tempfile::tempdir().unwrap();
    let (old, base, new) = (dir.path().join("old.db"), dir.path().join("base.db"), dir.path().join("new.db"));
    build(&old, "");
    build(&base, "random()");
    let cx = context(&[("old", target(&old)), ("new", target(&new))]);
    let params = json!({ "source": "old", "target": "new" });
    std::fs::copy(&base, &new).unwrap();
    for kind in ["data_matches", "rows_match"] {
        let same = check(&cx, kind, params.clone());
        assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    }
    let mut wrong = Vec::new();
    for (name, fault, words) in FAULTS {
        std::fs::copy(&base, &new).unwrap();
        Connection::open(&new).unwrap().execute_batch(fault).unwrap();
        let text = told(&check(&cx, "data_matches", params.clone()));
        if !text.starts_with("FAIL") || !words.iter().all(|word| text.contains(word)) {
            wrong.push(format!("{name}: wanted FAIL with {words:?}\n   got {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    declared(&base, &new, &cx);
    damaged(&base, &new, &cx, &params);
    recorded(&base, &new, &cx);
    leaves_no_trace(&base, &new, &cx, &params);
}

/// Columns and contents that may differ, and nothing beside them.
fn declared(base: &Path, new: &Path, cx: &Context) {
    std::fs::copy(base, new).unwrap();
    let except = |except: Value| {
        told(&check(cx, "data_matches", json!({ "source": "old", "target": "new", "except": [except] })))
    };
    let columns = json!({ "table": "ev*", "columns": ["score"], "reason": "computed anew" });
    let rows = json!({ "table": "events", "rows": true, "reason": "computed anew" });
    Connection::open(new).unwrap().execute_batch("update events set score = 0 where id = 20").unwrap();
    for (except, words) in [
        (except(columns.clone()), "excepted (computed anew): column score of events not compared"),
        (except(rows.clone()), "of 1 table only the counts"),
        (except(rows.clone()), "excepted (computed anew): other contents in events"),
    ] {
        assert!(except.starts_with("pass") && except.contains(words), "{except}");
    }
    Connection::open(new).unwrap().execute_batch("update events set room = 'x' where id = 21").unwrap();
    let found = except(columns);
    assert!(found.starts_with("FAIL") && found.contains("1 row differs: id=21"), "{found}");
    Connection::open(new).unwrap().execute_batch("delete from events where id = 22").unwrap();
    assert!(except(rows).starts_with("FAIL"));
    let other = except(json!({ "table": "rooms", "reason": "written to" }));
    assert!(
        other.contains("`except` of `rooms` was not needed: nothing differs there (written to)"),
        "{other}"
    );
}

/// A damaged index hides nothing, and is itself found.
fn damaged(base: &Path, new: &Path, cx: &Context, params: &Value) {
    std::fs::copy(base, new).unwrap();
    let connection = Connection::open(new).unwrap();
    connection.execute_batch("pragma writable_schema = on; update sqlite_schema set rootpage = (select rootpage from sqlite_schema where name = 'rooms_n') where name = 'events_room'").unwrap();
    drop(connection);
    let found = check(cx, "data_matches", params.clone());
    assert_ne!(found.verdict(), Verdict::Pass, "{}", told(&found));
}

fn recorded(base: &Path, new: &Path, cx: &Context) {
    std::fs::copy(base, new).unwrap();
    let taken = block_on(data::record("new", &target(new), cx)).unwrap();
    let manifest = Manifest::load(&taken.save().unwrap()).unwrap();
    assert_eq!(manifest, taken);
    let cx = context_with(&[("new", target(new))], Arc::new(One(manifest)));
    let params = json!({ "recorded": "before", "target": "new" });
    let same = check(&cx, "data_matches", params.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    Connection::open(new).unwrap().execute_batch("update rooms set n = n + 1 where room = 'r1'").unwrap();
    let changed = check(&cx, "data_matches", params);
    assert_eq!(changed.verdict(), Verdict::Fail, "{}", told(&changed));
    assert!(told(&changed).contains("as in the record `before`"), "{}", told(&changed));
}

/// A file in WAL mode that nobody has open stays alone; one that somebody writes to is read with its WAL.
fn leaves_no_trace(base: &Path, new: &Path, cx: &Context, params: &Value) {
    std::fs::copy(base, new).unwrap();
    let connection = Connection::open(new).unwrap();
    connection.execute_batch("pragma journal_mode = wal").unwrap();
    drop(connection);
    let names = || -> Vec<PathBuf> {
        let mut names: Vec<_> =
            std::fs::read_dir(new.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = (names(), std::fs::read(new).unwrap());
    let same = check(cx, "data_matches", params.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    assert!(before == (names(), std::fs::read(new).unwrap()), "the measurement changed files: {:?}", names());
    let writer = Connection::open(new).unwrap();
    writer.execute_batch("delete from events where id = 500").unwrap();
    let found = check(cx, "rows_match", params.clone());
    assert!(told(&found).contains("999 rows in events"), "{}", told(&found));
    let extent = block_on(holdpoint::world::sqlite::extent(&new.display().to_string())).unwrap();
    let suffixes: Vec<_> =
        extent.files.iter().map(|(path, _)| path.extension().unwrap().to_owned()).collect();
    assert_eq!(suffixes, ["db", "db-wal", "db-shm"]);
    assert!(extent.files.iter().all(|(_, bytes)| *bytes > 0));
    assert!(extent.tables.contains(&("events".to_owned(), 999)) && extent.tables.len() == 4, "{extent:?}");
    drop(writer);
}

pub fn unknowns() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["a.db", "b.db"] {
        Connection::open(path(name)).unwrap().execute_batch("create table t (id)").unwrap();
    }
    std::fs::write(path("text.db"), "not a database, but long enough to have a header of a hundred bytes or more, as a file would have it").unwrap();
    std::fs::write(path("empty.db"), "").unwrap();
    std::fs::hard_link(path("a.db"), path("hard.db")).unwrap();
    std::os::unix::fs::symlink(path("a.db"), path("soft.db")).unwrap();
    let names = ["a", "b", "text", "empty", "hard", "soft", "gone"];
    let targets: Vec<(&str, Target)> =
        names.iter().map(|n| (*n, target(&path(&format!("{n}.db"))))).collect();
    let cx = context(&targets);
    for (other, words) in [
        ("b", "nothing was compared"),
        ("text", "not an SQLite"),
        ("empty", "not an SQLite"),
        ("gone", "there is no file"),
    ] {
        let evidence = check(&cx, "data_matches", json!({ "source": "a", "target": other }));
        assert_eq!(evidence.verdict(), Verdict::Unknown, "{}", told(&evidence));
        assert!(told(&evidence).contains(words), "{other}: {}", told(&evidence));
    }
    assert!(!path("gone.db").exists());
    for other in ["a", "hard", "soft"] {
        let evidence = check(&cx, "rows_match", json!({ "source": "a", "target": other }));
        assert_eq!(evidence.verdict(), Verdict::Fail, "{}", told(&evidence));
        assert!(told(&evidence).contains("are one"), "{}", told(&evidence));
    }
    let missing = check(&cx, "data_matches", json!({ "target": "a" }));
    assert_eq!(missing.verdict(), Verdict::Unknown, "{}", told(&missing));
    let writer = Connection::open(path("b.db")).unwrap();
    writer.execute_batch("insert into t values (1); pragma locking_mode = exclusive; begin exclusive; insert into t values (2)").unwrap();
    let busy = check(&cx, "rows_match", json!({ "source": "a", "target": "b" }));
    assert_eq!(busy.verdict(), Verdict::Unknown, "{}", told(&busy));
}
