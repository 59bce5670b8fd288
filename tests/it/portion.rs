//! A part of a running server goes: one database, a table, an index. What it holds and who uses it is measured, and its
//! data have to be on another server.

use std::process::Command;

use crate::harness::{Cluster, Major, Need, Registry};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("portion::one_database_of_a_running_server_goes", &[Need::Pg15], database);
    r.add("portion::a_table_goes_when_nobody_holds_it", &[Need::Pg15], table);
    r.add("portion::what_was_compared_has_to_be_what_goes", &[], coverage);
    r.add("portion::an_index_declares_nothing_else", &[], more_than_indexes);
    r.add("portion::an_index_goes_and_comes_back", &[Need::Pg15], index);
}

/// Who declares an index needs no copy of any data, and so drops nothing else.
fn more_than_indexes() {
    let lint = |statement: &str| {
        let play = Play::new();
        let book = INDEX.replace("DB", "service=db").replace("SAME", "service=db");
        play.book(&book.replace("drop index concurrently public.t_id", statement));
        play.ran("ann", "lint book.yaml")
    };
    lint("drop index concurrently public.t_id").exits(0);
    for more in ["drop table public.t", "drop database app", "truncate public.t"] {
        lint(more).exits(2).says("HP053");
    }
}

/// A proof of one database is none of another, nor of the whole server.
fn coverage() {
    let goes = "postgres: service=old";
    let lint = |part: &str, compared: &str| {
        let play = Play::new();
        let book =
            TWO.replace("postgres: \"OLD\"", goes).replace("NEW", "service=new").replace("PART, ", part);
        let book =
            book.replace("DROP", "select 1").replace("LEFT", "t").replace("databases: [app]", compared);
        play.book(&book);
        play.ran("ann", "lint book.yaml")
    };
    for (part, compared) in [
        ("", "databases: [app]"),
        ("", "tables: [public.t]"),
        ("database: app, ", "databases: [other]"),
        ("database: app, ", "tables: [public.t]"),
        ("tables: [public.t, public.u], ", "tables: [public.t]"),
        ("tables: [public.t], ", "databases: [app]"),
        ("database: app, tables: [public.t], ", "databases: [other]"),
        ("database: app, tables: [public.t], ", "databases: [other], tables: [public.t]"),
    ] {
        lint(part, compared).exits(2).says("HP043").says("compares a part of it only");
    }
    for (part, compared) in [
        ("", "except: [{ table: t, reason: rebuilt }]"),
        ("database: app, ", "databases: [other, app]"),
        ("tables: [public.t], ", "tables: [public.u, public.t]"),
        ("database: app, tables: [public.t], ", "databases: [app]"),
    ] {
        lint(part, compared).exits(0);
    }
}

const TWO: &str = r#"
holdpoint: 1
name: part
targets:
  old: { postgres: "OLD" }
  new: { postgres: "NEW" }
steps:
  - id: drop
    destroys: { what: the old one, target: old, PART, survives_in: new }
    preconditions:
      - data_matches: { source: old, target: new, databases: [app] }
    sql: { target: old, statements: ["DROP"] }
    timeout: 1min
    postconditions:
      - pg_query: { target: old, sql: "select 1 from LEFT", rows: 0 }
"#;

const CONFIRM: [&str; 2] = ["--confirm", "drop=the old one"];
const ROWS: &str =
    "create table t as select g id from generate_series(1, 1234) g; create index t_id on t (id)";

fn two(part: &str, drop: &str, left: &str, dbname: &str) -> (Play, Cluster, Cluster) {
    let (play, old, new) = (Play::new(), Cluster::start(Major::V15), Cluster::start(Major::V15));
    for server in [&old, &new] {
        server.psql("create database app");
        server.psql_in("app", ROWS);
    }
    let book = TWO.replace("OLD", &old.conninfo(dbname)).replace("NEW", &new.conninfo(dbname));
    let book = book.replace("PART", part).replace("DROP", drop).replace("LEFT", left);
    play.book(&book);
    (play, old, new)
}

/// The list that was on screen, as the journal has it: kind, name, rows.
fn shown(play: &Play) -> Vec<(String, String, Option<u64>)> {
    let confirmed = play.events("confirmed").pop().expect("confirmed");
    let items = confirmed["blast"]["items"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    items.map(|item| (text(&item["kind"]), text(&item["name"]), item["rows"].as_u64())).collect()
}

/// Ends an application's sessions, and waits until nobody sees them or those of the tests' own queries in `app` any more.
fn leaves(server: &Cluster, application: &str) {
    let its = format!("from pg_stat_activity where application_name = '{application}'");
    server.psql(&format!("select pg_terminate_backend(pid) {its}"));
    let left = format!("select count(*) {its} or datname = 'app'");
    crate::harness::eventually(std::time::Duration::from_secs(10), "they are gone", || {
        server.psql(&left) == "0"
    });
}

fn database() {
    let left = "pg_database where datname = 'app'";
    let (play, old, new) = two("database: app", "drop database app", left, "postgres");
    // Somebody is in it.
    let mut guest = Command::new(Major::V15.bin().join("psql"));
    guest.args(["-XAtqc", "select pg_sleep(600)", &old.conninfo("app")]).env("PGAPPNAME", "bridge");
    let guest = play.beside(&mut guest);
    crate::harness::eventually(std::time::Duration::from_secs(20), "a guest", || {
        old.psql("select count(*) from pg_stat_activity where application_name = 'bridge'").trim() == "1"
    });
    play.with("ann", "run book.yaml", &CONFIRM).exits(3).says("1 client session of bridge in app");
    drop(guest);
    leaves(&old, "bridge");
    // The copy lacks a row.
    new.psql_in("app", "delete from t where id = 7");
    play.with("ann", "resume", &CONFIRM).exits(3).says("data_matches");
    assert_eq!(old.psql_in("app", "select count(*) from t").trim(), "1234");
    new.psql_in("app", "insert into t values (7)");
    play.with("ann", "resume", &CONFIRM).exits(0);
    assert_eq!(shown(&play), [("database".to_owned(), "app".to_owned(), Some(1234))]);
    assert_eq!(old.psql("select count(*) from pg_database where datname = 'app'").trim(), "0");
    assert_eq!(new.psql_in("app", "select count(*) from t").trim(), "1234");
    play.ran("ann", &format!("verify {}", play.id())).exits(0);
}

fn table() {
    let left = "pg_class where relname = 't'";
    let (play, old, _new) = two("database: app, tables: [public.t]", "drop table public.t", left, "app");
    let mut reader = Command::new(Major::V15.bin().join("psql"));
    let hold = "begin; select 1 from t limit 1; select pg_sleep(600)";
    reader.args(["-XAtqc", hold, &old.conninfo("app")]).env("PGAPPNAME", "report");
    let reader = play.beside(&mut reader);
    let sleeping = "select count(*) from pg_locks l join pg_stat_activity a using (pid) \
                    where a.application_name = 'report' and l.relation = 't'::regclass";
    crate::harness::eventually(std::time::Duration::from_secs(20), "a reader", || {
        old.psql_in("app", sleeping).trim() == "1"
    });
    play.with("ann", "run book.yaml", &CONFIRM)
        .exits(3)
        .says("report (pid")
        .says("AccessShareLock on public.t");
    drop(reader);
    leaves(&old, "report");
    play.with("ann", "resume", &CONFIRM).exits(0);
    assert_eq!(shown(&play), [("table".to_owned(), "public.t".to_owned(), Some(1234))]);

    // A second time there is nothing, and a name may be something else.
    play.with("ann", "run book.yaml", &CONFIRM).exits(3).says("nothing was found that would go");
    old.psql_in("app", "create view t as select 1 id");
    play.with("ann", "resume", &CONFIRM)
        .exits(3)
        .says("public.t is a view, and the step says that it is a table");
}

const INDEX: &str = r#"
holdpoint: 1
name: part
targets:
  db: { postgres: "DB" }
  same: { postgres: "SAME" }
steps:
  - id: drop
    destroys: { what: the old one, target: db, indexes: [public.t_id] }
    preconditions:
      - pg_accepts_connections: { target: db }
      - pg_accepts_connections: { id: as-admin, target: same }
    sql: { target: db, statements: ["drop index concurrently public.t_id"] }
    timeout: 1min
    postconditions:
      - pg_query: { target: db, sql: "select 1 from pg_class where relname = 't_id'", rows: 0 }
    rollback:
      sql: { target: db, statements: ["create index concurrently t_id on public.t (id)"] }
      timeout: 1min
      postconditions:
        - pg_query: { target: db, sql: "select indisvalid from pg_index where indexrelid = to_regclass('public.t_id')", equals: "true" }
  - id: watch
    preconditions: [ file: { path: "@/never" } ]
    run: ["true"]
    changes: false
    timeout: 1min
    postconditions: [ pg_accepts_connections: { target: db } ]
"#;

/// An index holds nothing of its own: no other copy is asked for, another name of the server is no fault, and undoing
/// builds it again.
fn index() {
    let (play, db) = (Play::new(), Cluster::start(Major::V15));
    db.psql(ROWS);
    play.book(&INDEX.replace("DB", &db.conninfo("postgres")).replace("SAME", &db.conninfo_tcp("postgres")));
    let indexes = || db.psql("select count(*) from pg_indexes where indexname = 't_id'");
    play.ran("ann", "run book.yaml").exits(4).says("the old one");
    assert_eq!(indexes().trim(), "1");
    play.with("ann", "resume", &CONFIRM).exits(3).says("file");
    assert_eq!(shown(&play), [("index".to_owned(), "public.t_id on public.t".to_owned(), None)]);
    assert_eq!(indexes().trim(), "0");
    play.ran("ann", &format!("rollback {} --to drop", play.id())).exits(0);
    assert_eq!(indexes().trim(), "1");
    // Forward again: it wants its permit, and its confirmation, once more.
    play.ran("ann", "resume").exits(4);
    assert_eq!(indexes().trim(), "1");
    play.with("ann", "resume", &CONFIRM).exits(3);
    assert_eq!(indexes().trim(), "0");
    assert_eq!(play.events("permitted").len(), 2);
    play.ran("ann", &format!("verify {}", play.id())).exits(0);
}
