//! From PostgreSQL to SQLite, and tables of odd shapes.

use holdpoint::check::Verdict;
use serde_json::json;

use super::super::data::{check, context, told};
use super::{expect, file, params, port, run};
use crate::harness::{Cluster, Major};

/// The other way: what was in PostgreSQL is in the file.
pub fn to_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let (base, new) = (dir.path().join("base.db"), dir.path().join("new.db"));
    run(&base, include_str!("sqlite.sql"));
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

/// Tables whose rows are elsewhere, names in upper case and with quotes, no row numbers, columns that are computed.
pub fn shapes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shapes.db");
    run(
        &path,
        "create table parted (id integer primary key, v text);
         create table \"We\"\"ird; Name\" (\"Se'lect\" integer primary key, \"A b\" text, rowid text);
         create table Mixed (Id integer primary key, Value text);
         create table computed (id integer primary key, twice int as (id * 2));
         create table nokey (a text, b int) ;
         create table norowid (k text primary key, n int) without rowid;
         create view seen as select 1;
         insert into parted values (1, 'a'), (700, 'b'); insert into \"We\"\"ird; Name\" values (1, 'x', 'y');
         insert into Mixed values (1, 'x'); insert into computed (id) values (1); insert into nokey values ('a', 1), ('a', 1), (null, null);
         insert into norowid values ('k', 1)",
    );
    let server = Cluster::start(Major::V15);
    server.psql(
        "create table parted (id int not null primary key, v text) partition by range (id);
         create table parted_1 partition of parted for values from (0) to (500);
         create table parted_2 partition of parted for values from (500) to (1000);
         create table \"We\"\"ird; Name\" (\"Se'lect\" int primary key, \"A b\" text, rowid text);
         create table mixed (id int primary key, value text);
         create table computed (id int primary key, twice int generated always as (id * 2) stored);
         create table nokey (a text, b int);
         create table norowid (k text primary key, n int);
         insert into parted values (1, 'a'), (700, 'b'); insert into \"We\"\"ird; Name\" values (1, 'x', 'y');
         insert into mixed values (1, 'x'); insert into computed (id) values (1); insert into nokey values ('a', 1), ('a', 1), (null, null);
         insert into norowid values ('k', 1)",
    );
    let cx = context(&[("lite", file(&path)), ("pg", server.target("postgres"))]);
    let (there, back) =
        (json!({ "source": "lite", "target": "pg" }), json!({ "source": "pg", "target": "lite" }));
    for params in [&there, &back] {
        for kind in ["data_matches", "rows_match"] {
            expect(&cx, kind, params, Verdict::Pass, &["6 tables, 9 rows"]);
        }
    }
    for (fault, mend, words) in [
        (
            "update parted set v = 'c' where id = 700",
            "update parted set v = 'b' where id = 700",
            "1 row differs: id=700",
        ),
        ("delete from parted_2", "insert into parted values (700, 'b')", "1 row in postgres.public.parted"),
        (
            "update \"We\"\"ird; Name\" set rowid = 'z'",
            "update \"We\"\"ird; Name\" set rowid = 'y'",
            "1 row differs: Se'lect=1",
        ),
        ("update mixed set value = 'X'", "update mixed set value = 'x'", "1 row differs: id=1"),
        (
            "update nokey set b = 2 where ctid = '(0,1)'",
            "update nokey set b = 1 where b = 2",
            "1 row is missing: a=a, b=1",
        ),
        ("update norowid set n = 3", "update norowid set n = 1", "1 row differs: k=k"),
    ] {
        server.psql(fault);
        expect(&cx, "data_matches", &there, Verdict::Fail, &[words]);
        server.psql(mend);
    }
    run(&path, "update norowid set n = 'many'");
    expect(
        &cx,
        "data_matches",
        &there,
        Verdict::Fail,
        &["1 value of another kind in postgres.public.norowid.n (the first: k=k, a text)"],
    );
    let floor = json!({ "source": "lite", "target": "pg", "at_least": true });
    server.psql("insert into mixed values (2, 'y'); create table more (id int)");
    expect(&cx, "rows_match", &floor, Verdict::Pass, &["none has fewer", "more is only in the target"]);
    expect(&cx, "rows_match", &there, Verdict::Fail, &["2 rows in postgres.public.mixed"]);
    server.psql("delete from mixed");
    expect(&cx, "rows_match", &floor, Verdict::Fail, &["0 rows in postgres.public.mixed"]);
}
