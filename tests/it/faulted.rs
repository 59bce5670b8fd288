//! `rehearse --faults`: the rehearsal again and again with one fault each, and a planted mistake that it has to find.

use std::time::Duration;

use crate::harness::{Cluster, Major, Need, Ran, Registry, eventually};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("faulted::statements_that_fail", &[Need::Pg15], statements);
    r.add("faulted::no_fault_destroys_without_a_permit", &[], sound);
    r.add("faulted::a_step_that_destroys_when_it_is_killed_is_found", &[], planted);
    r.add("faulted::without_a_reset_it_is_refused", &[], refused);
}

const BOOK: &str = r#"
holdpoint: 1
name: night
vars: { place: { default: "@/staging" } }
targets:
  old: { sqlite: "${place}/old/app.db" }
  new: { sqlite: "${place}/new/app.db" }
environments:
  staging:
    proof: [ file: { path: "@" } ]
    reset: |
      rm -rf "$place"
      mkdir -p "$place/old" "$place/new"
      cp "$place/../seed.db" "$place/old/app.db"
      (sleep 0.5; touch "$place/../late") </dev/null >/dev/null 2>&1 &
steps:
  - id: copy
    run: |
      COPY
    creates: [new]
    timeout: 1min
    postconditions: [ data_matches: { source: old, target: new, until: drop } ]
  - id: drop
    destroys: { what: the old database, target: old, paths: ["${place}/old"], survives_in: new }
    preconditions: [ disk_free: { path: "${place}", at_least: 1MiB } ]
    run: |
      rm -r "$place/old"
    timeout: 1min
    rerun: never
    postconditions: [ file: { path: "${place}/old", exists: false } ]
"#;

const COPY: &str = r#"cp "$place/old/app.db" "$place/new/app.db""#;

fn scene(copy: &str) -> Play {
    let play = Play::new();
    play.book(&BOOK.replace("COPY", copy));
    let rows = "create table t (a integer primary key, b text); insert into t values (1, 'x'), (2, 'y')";
    rusqlite::Connection::open(play.path("seed.db")).unwrap().execute_batch(rows).unwrap();
    for folder in ["old", "new"] {
        std::fs::create_dir_all(play.path("staging").join(folder)).unwrap();
    }
    std::fs::copy(play.path("seed.db"), play.path("staging/old/app.db")).unwrap();
    play
}

fn both(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn sound() {
    let play = scene(COPY);
    let junit = play.path("j.xml");
    let words = "rehearse book.yaml --env staging --faults --faults-limit 14";
    let ran = play.with("ci", words, &["--junit", &junit.display().to_string()]).exits(0);
    for said in [
        "14 faults tried, ",
        "0 showed destruction without a permit",
        "engine killed before record",
        "engine killed after record",
    ] {
        assert!(both(&ran).contains(said), "{said}\n{}", both(&ran));
    }
    assert!(!ran.stderr.contains("stuck"), "{}", ran.stderr);
    let receipts = std::fs::read_dir(play.sandbox.store().join("receipts")).unwrap();
    let receipt = receipts.map(|entry| entry.unwrap().path()).next().unwrap();
    let receipt: serde_json::Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    let faults = &receipt["receipt"]["faults"];
    assert_eq!((&faults["tried"], &faults["violated"]), (&14.into(), &0.into()), "{faults}");
    let text = std::fs::read_to_string(junit).unwrap();
    assert!(text.contains("night.faults") && text.contains("failures=\"0\""), "{text}");
    // Staging is as it was, and nothing of the repetitions is left.
    assert!(play.path("staging/old/app.db").exists());
    eventually(Duration::from_secs(20), "what it leaves in the background", || play.path("late").exists());
    let left = std::fs::read_dir(play.sandbox.store()).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("faults-")));
    assert_eq!(play.runs().len(), 1, "repetitions are no runs of this store");
    // A check that is unknown in front of the destruction keeps it closed.
    let words = "rehearse book.yaml --env staging --faults --faults-of unknown";
    let ran = play.ran("ci", words).exits(0);
    let line = ran
        .stderr
        .lines()
        .find(|l| l.contains("`copy.post.data_matches` is unknown in front of a destruction"));
    assert!(
        line.is_some_and(|line| line.ends_with("came to its end once it was taken up again")),
        "{}",
        ran.stderr
    );
}

/// The copying step moves the old database away for a moment. Killed in that moment it has destroyed without a permit.
fn planted() {
    let copy = r#"mv "$place/old" "$place/away"; cp "$place/away/app.db" "$place/new/app.db"; sleep 3; mv "$place/away" "$place/old""#;
    let play = scene(copy);
    let ran = play.ran("ci", "rehearse book.yaml --env staging --faults --faults-of command").exits(1);
    let wrong = "the command of `copy` is killed half-way: VIOLATED: ";
    let line =
        ran.stderr.lines().find(|line| line.contains(wrong)).unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(line.contains("/staging/old is gone, and `drop` never had a permit"), "{line}");
    assert!(ran.stderr.contains("the runs are kept in "), "{}", ran.stderr);
}

/// Statements of a PostgreSQL target fail before and after they ran.
fn statements() {
    let cluster = Cluster::start(Major::V15);
    let play = Play::new();
    let conninfo = cluster.conninfo("postgres");
    play.book(&format!(
        r#"
holdpoint: 1
name: sql
targets: {{ db: {{ postgres: "{conninfo}" }} }}
environments:
  staging:
    proof: [ pg_accepts_connections: {{ target: db }} ]
    reset: |
      psql -Xq -v ON_ERROR_STOP=1 -d "{conninfo}" -c "drop table if exists t; create table t (a int)"
      touch "@/scratch"
steps:
  - id: fill
    sql: {{ target: db, statements: ["insert into public.t values (1)"] }}
    timeout: 1min
    postconditions: [ pg_query: {{ target: db, sql: "select count(*) from public.t", equals: 1 }} ]
  - id: go
    destroys: {{ what: the scratch file, paths: ["@/scratch"] }}
    preconditions: [ disk_free: {{ path: "@", at_least: 1MiB }} ]
    run: [rm, "@/scratch"]
    timeout: 1min
    postconditions: [ file: {{ path: "@/scratch", exists: false }} ]
"#
    ));
    cluster.psql("create table t (a int)");
    std::fs::write(play.path("scratch"), "").unwrap();
    let ran = play.ran("ci", "rehearse book.yaml --env staging --faults --faults-of command").exits(0);
    for words in [
        "the work of `fill` fails and does not run: stopped: a step failed",
        "the work of `fill` runs and fails: stopped: a step failed",
        "5 faults tried",
    ] {
        assert!(both(&ran).contains(words), "{words}\n{}", both(&ran));
    }
    assert_eq!(cluster.psql("select count(*) from t"), "0", "made anew at the end");
}

fn refused() {
    let play = scene(COPY);
    let text = std::fs::read_to_string(play.path("book.yaml")).unwrap();
    let (head, rest) = text.split_once("    reset: |").unwrap();
    let (_, tail) = rest.split_once("steps:").unwrap();
    play.book(&format!("{head}\nsteps:{tail}"));
    let ran = play.ran("ci", "rehearse book.yaml --env staging --faults").exits(2);
    assert!(ran.stderr.contains("`staging` has no `reset`"), "{}", ran.stderr);
    assert!(play.runs().is_empty());
    play.ran("ci", "rehearse book.yaml --env staging --faults-limit 3").exits(2);
}
