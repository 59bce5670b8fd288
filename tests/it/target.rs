//! The right target: an address that now leads to another server, a clone with the same system identifier, a server that
//! was started again behind a measurement, and a copy that is the original. Every one of them answers, holds the same
//! rows, and is refused all the same.

use std::time::Duration;

use crate::harness::{Cluster, Major, Need, Registry, eventually, must};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    let needs = [Need::Pg15, Need::Root];
    r.add("target::another_server_at_the_same_address_is_refused", &needs, || moved(Other::Separate));
    r.add("target::a_clone_with_the_same_system_identifier_is_refused", &needs, || moved(Other::Clone));
    r.add("target::a_restart_between_measurement_and_permit_voids_it", &needs, restarted);
    r.add("target::source_and_destination_may_not_be_one_server", &needs, one_server);
    r.add("target::source_and_destination_may_not_be_one_file", &[], one_file);
    r.add("target::another_file_at_the_same_path_is_refused", &[], another_file);
    r.add("target::a_runbook_changed_under_a_run_is_refused", &[], changed_runbook);
}

enum Other {
    Separate,
    Clone,
}

const ROWS: &str = "create table t (a int primary key); insert into t select generate_series(1, 20)";

/// The door holds a session open while the servers are swapped. The first step's check stands until then only, so that
/// nothing but the place in question looks.
const BOOK: &str = r#"
holdpoint: 1
name: move
vars: { place: { default: "@" } }
targets: { db: { postgres: "CONNINFO" } }
steps:
  - id: look
    run: ["true"]
    changes: false
    timeout: 1min
    postconditions: [ pg_query: { target: db, sql: select count(*) from t, equals: "20" UNTIL } ]
  - id: door
    run: |
      echo door >>"$place/ledger"
      until [ -e "$place/go" ]; do sleep 0.05; done
    changes: false
    timeout: 1min
    postconditions: [ file: { path: "@/go" } ]
WORK
"#;

/// What stands behind the door: the three places where identity is proved.
const CHANGE: &str = r#"
  - id: change
    sql: { target: db, statements: ["insert into t values (21)"] }
    timeout: 1min
    postconditions: [ pg_query: { target: db, sql: select count(*) from t, equals: "21" } ]
"#;
const MEASURE: &str = r#"
  - id: measure
    preconditions: [ pg_query: { target: db, sql: select count(*) from t, equals: "20" } ]
    run: "echo measured >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#;
const PURGE: &str = r#"
  - id: purge
    destroys: { what: the dump, paths: ["@/dump"] }
    preconditions: [ pg_query: { target: db, sql: select count(*) from t, equals: "20" } ]
    run: "echo purged >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#;
const REST: &str = r#"
  - id: rest
    run: "echo rested >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#;

const CONFIRM: [&str; 2] = ["--confirm", "purge=the dump"];

fn moved(other: Other) {
    let first = Cluster::start(Major::V15);
    first.psql(ROWS);
    let second = Cluster::create(Major::V15, "");
    let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", first.port());
    // Now and then the port is the second server's.
    match other {
        Other::Separate => {
            second.restart();
            second.psql(ROWS);
            second.stop();
            second.configure(&format!("port = {}\n", first.port()));
        }
        Other::Clone => {
            first.stop();
            must(std::process::Command::new("rm").arg("-r").arg(second.data()));
            must(std::process::Command::new("cp").arg("-a").arg(first.data()).arg(second.data()));
            first.restart();
        }
    }
    for (place, until, work) in [
        ("a statement", ", until: door", CHANGE),
        ("a precondition", ", until: door", MEASURE),
        ("a hold point", ", until: door", PURGE),
        ("a resume", "", REST),
    ] {
        let play = Play::new();
        play.book(&BOOK.replace("CONNINFO", &conninfo).replace("UNTIL", until).replace("WORK", work));
        std::fs::write(play.path("dump"), "dump").unwrap();
        let confirm: &[&str] = if work == PURGE { &CONFIRM } else { &[] };
        let mut alice = play.beside(play.holdpoint("alice", "run book.yaml").args(confirm));
        play.until("door");
        if work == REST {
            alice.kill();
        }
        first.stop();
        second.restart();
        std::fs::write(play.path("go"), "").unwrap();
        let held = match work {
            REST => play.ran("alice", "resume"),
            _ => alice.ends(Duration::from_secs(20)),
        };
        let fact = if matches!(other, Other::Separate) { "system identifier" } else { "data directory" };
        held.exits(3).says(fact);
        assert_eq!(play.ledger(), ["door"], "{place}");
        assert!(play.events("permitted").is_empty() && play.begun("change") == 0, "{place}");
        assert_eq!(query(&conninfo, "select count(*) from t"), "20", "the wrong server was written to");
        // The right one is there again: nothing else stood in the way.
        second.stop();
        first.restart();
        play.with("alice", "resume", confirm).exits(0);
        assert_eq!(query(&conninfo, "select count(*) from t"), if work == CHANGE { "21" } else { "20" });
        play.verified();
        first.psql("delete from t where a = 21");
    }
}

/// What answers at an address, whoever it is.
fn query(conninfo: &str, sql: &str) -> String {
    let seen = must(std::process::Command::new("psql").args(["-XAtqc", sql, conninfo]));
    String::from_utf8_lossy(&seen.stdout).trim().to_owned()
}

/// The slow guard keeps the measurement open while the server is started again behind the quick one.
fn restarted() {
    let server = Cluster::with(Major::V15, "log_duration = on\nlog_statement = all\n");
    server.psql(ROWS);
    let play = Play::new();
    let slow = "touch \"$place/measured\"; until [ -e \"$place/on\" ]; do sleep 0.05; done";
    // The quick one says what it asks in words that nobody else uses, so that it can be found in the server's log.
    let guard = format!(
        "preconditions:\n      - command: {{ run: {slow:?}, stdout: {{ lacks: x }}, id: slow }}\n      - pg_query: {{ target: db, sql: select count(*) from only t, equals: \"20\" }}"
    );
    let guard = guard.replace(", stdout: { lacks: x }", "");
    let work = PURGE.replace(
        "preconditions: [ pg_query: { target: db, sql: select count(*) from t, equals: \"20\" } ]",
        &guard,
    );
    play.book(
        &BOOK.replace("CONNINFO", &server.conninfo("postgres")).replace("UNTIL", "").replace("WORK", &work),
    );
    std::fs::write(play.path("dump"), "dump").unwrap();
    let mut alice = play.beside(play.holdpoint("alice", "run book.yaml").args(CONFIRM));
    play.until("door");
    std::fs::write(play.path("go"), "").unwrap();
    eventually(Duration::from_secs(20), "the guards are being measured", || play.path("measured").exists());
    eventually(Duration::from_secs(20), "the quick one has its answer", || {
        let log = std::fs::read_to_string(server.log()).unwrap();
        log.split_once("select count(*) from only t").is_some_and(|(_, after)| after.contains("duration: "))
    });
    std::thread::sleep(Duration::from_millis(500));
    server.restart();
    std::fs::write(play.path("on"), "").unwrap();
    alice.ends(Duration::from_secs(20)).exits(3).says("restarted or replaced");
    assert_eq!(play.ledger(), ["door"]);
    assert!(play.events("permitted").is_empty());
    play.with("alice", "resume", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["door", "purged"]);
}

const COPY: &str = r#"
holdpoint: 1
name: same
vars: { place: { default: "@" } }
targets:
  old: OLD
  new: NEW
steps:
  - id: clean-up
    destroys: { what: the old one, target: old, survives_in: new }
    preconditions: [ GUARD: { source: old, target: new } ]
    run: "echo gone >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#;

fn refused_as_one(old: &str, new: &str, play: &Play) {
    for guard in ["data_matches", "rows_match"] {
        play.book(&COPY.replace("OLD", old).replace("NEW", new).replace("GUARD", guard));
        let confirm = ["--confirm", "clean-up=the old one"];
        play.with("alice", "run book.yaml", &confirm).exits(3).says("`old` and `new` are one");
        let id = play.id();
        play.with("alice", "resume", &confirm).exits(3).says("What goes and what stays are two objects");
        assert_eq!(play.ledger(), Vec::<String>::new());
        play.with("alice", &format!("abandon {id}"), &["--reason", "wrong addresses"]).exits(0);
        std::fs::remove_dir_all(play.run()).unwrap();
    }
}

/// The socket and TCP are two addresses of one server.
fn one_server() {
    let server = Cluster::start(Major::V15);
    server.psql(ROWS);
    let target = |conninfo: String| format!("{{ postgres: \"{conninfo}\" }}");
    refused_as_one(
        &target(server.conninfo("postgres")),
        &target(server.conninfo_tcp("postgres")),
        &Play::new(),
    );
}

fn one_file() {
    let play = Play::new();
    let old = play.path("app.db");
    let rows = "create table t (a); insert into t values (1)";
    rusqlite::Connection::open(&old).unwrap().execute_batch(rows).unwrap();
    std::fs::hard_link(&old, play.path("hard.db")).unwrap();
    std::os::unix::fs::symlink(&old, play.path("link.db")).unwrap();
    for name in ["hard.db", "link.db"] {
        refused_as_one("{ sqlite: \"@/app.db\" }", &format!("{{ sqlite: \"@/{name}\" }}"), &play);
    }
}

/// A file put in the place of the pinned one, with the same contents, is another object.
fn another_file() {
    let play = Play::new();
    let db = play.path("app.db");
    let rows = "create table t (a); insert into t values (1)";
    rusqlite::Connection::open(&db).unwrap().execute_batch(rows).unwrap();
    play.book(
        r#"
holdpoint: 1
name: file
targets: { db: { sqlite: "@/app.db" } }
steps:
  - { id: before, record: { target: db, as: before } }
  - id: door
    preconditions: [ file: { path: "@/door" } ]
    record: { target: db, as: after }
"#,
    );
    play.ran("alice", "run book.yaml").exits(3);
    std::fs::write(play.path("door"), "").unwrap();
    let keep = play.path("kept.db");
    std::fs::rename(&db, &keep).unwrap();
    std::fs::copy(&keep, &db).unwrap();
    play.ran("alice", "resume").exits(3).says("inode");
    assert_eq!(play.begun("door"), 0);
    std::fs::rename(&keep, &db).unwrap();
    play.ran("alice", "resume").exits(0);
}

/// The run's own copy of the runbook is what was reviewed: one byte of difference, and nothing goes on.
fn changed_runbook() {
    let play = Play::new();
    play.book(
        r#"
holdpoint: 1
name: changed
vars: { place: { default: "@" } }
steps:
  - id: door
    preconditions: [ file: { path: "@/door" } ]
    run: "echo right >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#,
    );
    play.ran("alice", "run book.yaml").exits(3);
    std::fs::write(play.path("door"), "").unwrap();
    let copy = play.run().join("runbook.yaml");
    let right = std::fs::read_to_string(&copy).unwrap();
    for (from, to) in [("echo right", "echo wrong"), ("\n", "\n# a remark\n")] {
        std::fs::write(&copy, right.replacen(from, to, 1)).unwrap();
        play.ran("alice", "resume").exits(6).says("runbook.yaml");
        assert_eq!(play.ledger(), Vec::<String>::new());
    }
    std::fs::write(&copy, &right).unwrap();
    // The author's own file may change: the run has its copy.
    std::fs::write(play.path("book.yaml"), right.replace("echo right", "echo wrong")).unwrap();
    play.ran("alice", "resume").exits(0);
    assert_eq!(play.ledger(), ["right"]);
}
