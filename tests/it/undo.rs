//! Undoing that destroys, with the real program: held until everything holds, asked for by its text, on record with its
//! permit, and after a crash not gone on with unasked.

use crate::guided::Person;
use crate::harness::Registry;
use crate::play::{Play, kill_tree};

pub fn register(r: &mut Registry) {
    r.add("undo::it_is_held_then_asked_for_then_done_under_a_permit", &[], held_asked_done);
    r.add("undo::what_goes_is_not_in_use_and_not_the_run_itself", &[], in_use);
    r.add("undo::what_is_gone_already_is_seen_to_be_gone", &[], gone);
    r.add("undo::what_survives_is_proved_and_what_goes_is_the_right_one", &[], proved);
    r.add("undo::a_killed_engine_finds_the_permitted_undoing_again", &[], engine_killed);
    r.add("undo::after_a_crash_a_person_decides_and_a_new_permit_is_made", &[], all_killed);
    r.add("undo::plan_and_status_say_what_undoing_destroys", &[], told);
}

const BOOK: &str = r#"
holdpoint: 1
name: undo
vars: { place: { default: "@" } }
steps:
  - id: close
    run: "echo close >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger", contains: close } ]
    rollback: { run: "echo undo-close >>\"$place/ledger\"", timeout: 1min }
  - id: copy
    run: |
      echo copy >>"$place/ledger"
      mkdir "$place/copy"
      cp "$place/original" "$place/copy/data"
    timeout: 1min
    postconditions: [ file: { path: "@/copy/data" } ]
    rollback:
      destroys: { what: the copy, paths: ["@/copy"] }
      preconditions: [ file: { path: "@/original", contains: precious } ]
      run: |
        rm -rf "$place/copy/data"
        echo undo-copy >>"$place/ledger"
        while [ -e "$place/hang" ]; do sleep 0.05; done
        rm -rf "$place/copy"
      timeout: 1min
      postconditions: [ file: { path: "@/copy", exists: false } ]
  - id: door
    run: [touch, "@/done"]
    timeout: 1min
    preconditions: [ file: { path: "@/door" } ]
    postconditions: [ file: { path: "@/done" } ]
"#;

const CONFIRM: [&str; 2] = ["--confirm", "copy=the copy"];

/// Copied, and held in front of the last step.
fn copied() -> Play {
    let play = Play::new();
    play.book(BOOK);
    std::fs::write(play.path("original"), "precious\n").unwrap();
    play.ran("alice", "run book.yaml").exits(3);
    assert_eq!(play.ledger(), ["close", "copy"]);
    play
}

fn back(play: &Play) -> String {
    format!("rollback {} --to copy", play.id())
}

fn held_asked_done() {
    let play = copied();
    let back = back(&play);
    let untouched = || {
        assert_eq!(play.ledger(), ["close", "copy"]);
        assert!(play.path("copy/data").exists());
        assert!(play.events("permitted").is_empty() && play.events("rollback_began").is_empty());
    };
    // The original is not what it was: the copy is all there is.
    std::fs::write(play.path("original"), "").unwrap();
    let held = play.with("alice", &back, &CONFIRM).exits(3);
    held.says("precious").says("undoing copy is held");
    untouched();
    assert_eq!(play.events("held").last().unwrap()["undo"], true);
    // An earlier step's postcondition holds it as well, and both are said.
    std::fs::write(play.path("ledger"), "").unwrap();
    play.with("alice", &back, &CONFIRM).exits(3).says("precious").says("ledger");
    std::fs::write(play.path("ledger"), "close\ncopy\n").unwrap();
    std::fs::write(play.path("original"), "precious\n").unwrap();
    // Nobody typed anything, somebody typed something else, somebody typed it about a step that destroys nothing.
    let asked = play.ran("alice", &back).exits(4);
    let asked = asked.says("THIS DESTROYS DATA").says("undoing copy destroys: type the text `the copy`");
    asked.says(&format!("{back} --confirm copy=TEXT"));
    untouched();
    play.with("alice", &back, &["--confirm", "copy=the original"]).exits(3).says("That is not the text");
    untouched();
    play.with("alice", &back, &["--confirm", "close=x"]).exits(2).says("undoing `close` destroys nothing");
    play.with("alice", "resume", &CONFIRM).exits(2).says("`copy` destroys nothing");
    untouched();
    // Now all of it is true.
    play.with("alice", &back, &CONFIRM).exits(0).says("confirms undoing copy").says("under permit 1");
    assert_eq!(play.ledger(), ["close", "copy", "undo-copy"]);
    assert!(!play.path("copy").exists());
    let permitted = play.events("permitted");
    assert_eq!((permitted.len(), &permitted[0]["undo"]), (1, &true.into()));
    assert_eq!(permitted[0]["guards"], serde_json::json!(["copy.undo-pre.file", "close.post.file"]));
    assert_eq!(play.events("rollback_began")[0]["permit"], 1);
    // Forward again, and back again: another permit.
    play.ran("alice", "resume").exits(3);
    play.ran("alice", &format!("rollback {}", play.id())).exits(4);
    assert_eq!(play.events("permitted").len(), 1, "a permit is for one use");
    play.with("alice", &format!("rollback {}", play.id()), &CONFIRM).exits(0);
    assert_eq!(&play.ledger()[3..], ["copy", "undo-copy", "undo-close"]);
    assert_eq!(play.events("rollback_began")[1]["permit"], 2);
    assert_eq!(play.events("rollback_began")[2].get("permit"), None, "undoing `close` destroys nothing");
    play.verified();
}

fn in_use() {
    let play = copied();
    let open = std::fs::File::open(play.path("copy/data")).unwrap();
    play.with("alice", &back(&play), &CONFIRM).exits(3).says("not in use");
    drop(open);
    // Another runbook than the one that the run was started with permits nothing.
    let kept = play.run().join("runbook.yaml");
    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, text.replace("contains: precious", "contains: \"\"")).unwrap();
    play.with("alice", &back(&play), &CONFIRM).exits(6);
    assert_eq!(play.times("undo-copy"), 0);
    std::fs::write(&kept, text).unwrap();
    play.with("alice", &back(&play), &CONFIRM).exits(0);
}

fn gone() {
    let play = copied();
    std::fs::remove_dir_all(play.path("copy")).unwrap();
    play.ran("alice", &back(&play)).exits(4).says("not there").says("there is no");
    play.with("alice", &back(&play), &CONFIRM).exits(0);
    assert_eq!(play.times("undo-copy"), 1);
    assert!(play.events("confirmed")[0]["blast"]["gone"][0]["name"].as_str().unwrap().ends_with("/copy"));
}

/// The original's data is proved by data, and what goes by its identity.
fn proved() {
    let play = Play::new();
    play.book(
        r#"
holdpoint: 1
name: proved
vars: { place: { default: "@" } }
targets: { old: { sqlite: "@/old.db" }, new: { sqlite: "@/new.db" } }
steps:
  - id: before
    record: { target: old, as: before }
  - id: copy
    run: [cp, "@/old.db", "@/new.db"]
    creates: [new]
    timeout: 1min
    postconditions: [ data_matches: { recorded: before, target: new } ]
    rollback:
      destroys: { what: the copy, target: new, survives_in: old }
      preconditions: [ data_matches: { recorded: before, target: old } ]
      run: [rm, -f, "@/new.db"]
      timeout: 1min
  - id: door
    run: [touch, "@/done"]
    timeout: 1min
    preconditions: [ file: { path: "@/door" } ]
    postconditions: [ file: { path: "@/done" } ]
"#,
    );
    let old =
        |sql: &str| rusqlite::Connection::open(play.path("old.db")).unwrap().execute_batch(sql).unwrap();
    old("create table t (a integer primary key); insert into t values (1), (2), (3)");
    play.ran("alice", "run book.yaml").exits(3);
    let back = back(&play);
    // A row that only the copy still has.
    old("delete from t where a = 2");
    let held = play.with("alice", &back, &CONFIRM).exits(3);
    held.says("2 rows").says("copy.undo-pre.data_matches").says("the proof that another copy is");
    old("insert into t values (2)");
    // Another file stands where the copy was.
    std::fs::rename(play.path("new.db"), play.path("aside.db")).unwrap();
    std::fs::copy(play.path("aside.db"), play.path("new.db")).unwrap();
    play.with("alice", &back, &CONFIRM).exits(3).says("is the one this run began with");
    // The copy is the original by another name.
    std::fs::remove_file(play.path("new.db")).unwrap();
    std::os::unix::fs::symlink(play.path("old.db"), play.path("new.db")).unwrap();
    play.with("alice", &back, &CONFIRM).exits(3).says("two objects");
    assert!(play.events("permitted").is_empty() && play.path("old.db").exists());
    std::fs::remove_file(play.path("new.db")).unwrap();
    std::fs::rename(play.path("aside.db"), play.path("new.db")).unwrap();
    play.ran("alice", &back).exits(4).says("database file");
    play.with("alice", &back, &CONFIRM).exits(0).says("under permit 1");
    assert!(play.path("old.db").exists() && !play.path("new.db").exists());
    // Copied anew, and gone before it is undone: seen to be gone, and asked for all the same.
    play.ran("alice", "resume").exits(3);
    std::fs::remove_file(play.path("new.db")).unwrap();
    play.ran("alice", &back).exits(4).says("not there");
    play.with("alice", &back, &CONFIRM).exits(0).says("under permit 2");
    play.verified();
}

fn engine_killed() {
    let play = copied();
    std::fs::write(play.path("hang"), "").unwrap();
    let mut engine = play.beside(play.holdpoint("alice", &back(&play)).args(CONFIRM));
    play.until("undo-copy");
    engine.kill();
    std::fs::remove_file(play.path("hang")).unwrap();
    // It is the same command, under the permit that it was begun with: nothing is asked, nothing begun.
    play.ran("alice", &back(&play)).exits(0).says("copy is undone");
    assert_eq!((play.times("undo-copy"), play.events("permitted").len()), (1, 1));
    play.verified();
}

fn all_killed() {
    let play = copied();
    std::fs::write(play.path("hang"), "").unwrap();
    let mut engine = play.beside(play.holdpoint("alice", &back(&play)).args(CONFIRM));
    play.until("undo-copy");
    engine.kill();
    play.processes().iter().for_each(|(pid, _)| kill_tree(*pid));
    assert!(play.path("copy").exists() && !play.path("copy/data").exists(), "half undone");
    std::fs::remove_file(play.path("hang")).unwrap();
    // Nobody is there to decide, and the confirmation of the first permit is used up.
    play.with("alice", &back(&play), &CONFIRM).exits(3).says("undoing it was begun");
    play.ran("alice", "resume").exits(3).says("undoing it was begun");
    assert_eq!((play.times("undo-copy"), play.events("permitted").len()), (1, 1));
    // At a terminal somebody goes on, and everything is measured and typed again.
    let id = play.id();
    let mut alice =
        Person::at(&play.sandbox, "alice", &["--operator", "alice", "rollback", &id, "--to", "copy"], &[]);
    alice.sees("NOT UNDONE");
    alice.sees("nobody knows how it ended");
    alice.answers("r");
    alice.answers("it is half undone");
    alice.sees("THIS DESTROYS DATA");
    alice.sees("Nothing brings it back.");
    alice.answers("the copy");
    alice.sees("under permit 2");
    assert_eq!(alice.leaves(), 0);
    assert!(!play.path("copy").exists());
    assert_eq!((play.times("undo-copy"), play.events("permitted").len()), (2, 2));
    assert_eq!(play.events("decided")[0]["reason"], "it is half undone");
    play.verified();
}

fn told() {
    let play = copied();
    let plan = play.ran("alice", "plan book.yaml").exits(0);
    plan.says("which DESTROYS the copy").says("copy.undo-pre.file").says("close.post.file");
    let status = play.ran("alice", &format!("status {}", play.id())).exits(0);
    status.says("destroys `the copy`");
    let facts = play.ran("alice", &format!("status {} --json", play.id())).exits(0);
    let facts: serde_json::Value = serde_json::from_str(&facts.stdout).unwrap();
    assert_eq!(facts["horizon"]["destroying"][0]["what"], "the copy");
    // Undeclared, it is refused before it can begin.
    let text = std::fs::read_to_string(play.path("book.yaml")).unwrap();
    let silent = text.replace("rm -rf \"$place/copy\"\n", "pg_dropcluster 15 main\n");
    let silent = silent.replace("      destroys: { what: the copy,", "      # destroys: { what: the copy,");
    play.book(&silent);
    play.ran("alice", "lint book.yaml").exits(2).says("HP053").says("the rollback of `copy`");
    let unguarded = text.replace("      preconditions: [ file: { path: ", "      # [ file: { path: ");
    play.book(&unguarded);
    play.ran("alice", "lint book.yaml").exits(2).says("HP042");
}
