//! Scripts beside the runbook that its steps call: what is called must be what the run was started with.

use std::time::Duration;

use crate::harness::{Registry, eventually};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("scripts::one_that_changed_after_a_crash_is_not_run", &[], crashed);
    r.add("scripts::one_that_changed_is_found_by_whoever_takes_over_or_goes_back", &[], others);
    r.add("scripts::one_that_the_run_itself_changes_destroys_nothing", &[], meanwhile);
    r.add("scripts::an_approval_names_them", &[], approved);
    r.add("scripts::a_run_that_calls_none_keeps_none", &[], none);
}

/// Two steps: the second calls a script, which calls another.
const BOOK: &str = r#"
holdpoint: 1
name: scripts
vars: { place: { default: "@" } }
steps:
  - id: wait
    run: |
      echo begun >>"$place/ledger"
      for i in $(seq 600); do [ -e "$place/go" ] && break; sleep 0.1; done
      echo wait >>"$place/ledger"
    timeout: 2min
    postconditions: [ file: { path: "@/ledger", contains: wait } ]
    rollback: { run: "echo undo >>\"$place/ledger\"", timeout: 1min }
  - id: call
    run: [bash, "@/call.sh"]
    timeout: 1min
    preconditions: [ file: { path: "@/door" } ]
    postconditions: [ file: { path: "@/ledger", contains: call } ]
"#;

const CALL: &str = "bash @/more.sh\n";
const MORE: &str = "echo call >>@/ledger\n";

fn write(play: &Play, name: &str, text: &str) {
    let text = text.replace('@', &play.sandbox.path().display().to_string());
    std::fs::write(play.path(name), text).unwrap();
}

fn scene() -> Play {
    let play = Play::new();
    play.book(BOOK);
    write(&play, "call.sh", CALL);
    write(&play, "more.sh", MORE);
    play
}

/// A run that stands in front of the second step.
fn held() -> Play {
    let play = scene();
    write(&play, "go", "");
    play.ran("alice", "run book.yaml").exits(3);
    play
}

fn crashed() {
    let play = scene();
    let mut alice = play.start("alice", "run book.yaml");
    play.until("begun");
    alice.kill();
    let kept = &play.events("opened")[0]["scripts"]["files"];
    assert!(kept["call.sh"].is_string() && kept["more.sh"].is_string(), "{kept}");
    // Whoever changes what a script calls has changed the script.
    write(&play, "more.sh", &format!("{MORE}echo other >>@/ledger\n"));
    write(&play, "door", "");
    play.ran("alice", "resume").exits(6).says("more.sh").says("original bytes");
    play.ran("alice", &format!("status {}", play.id())).exits(0).says("more.sh is not the script");
    std::fs::remove_file(play.path("more.sh")).unwrap();
    play.ran("alice", "resume").exits(6).says("it cannot be read");
    assert_eq!(play.ledger(), ["begun"], "nothing ran");
    // The same bytes, written anew, are the same script.
    write(&play, "more.sh", MORE);
    write(&play, "call.sh", CALL);
    write(&play, "go", "");
    play.ran("alice", "resume").exits(0);
    assert_eq!(play.ledger(), ["begun", "wait", "call"]);
    play.verified();
}

fn others() {
    let play = held();
    let id = play.id();
    play.ran("alice", &format!("handoff {id} --note over")).exits(0);
    write(&play, "call.sh", "true\n");
    play.ran("bob", "accept --acknowledge offer").exits(6).says("call.sh");
    play.ran("alice", &format!("rollback {id}")).exits(6).says("call.sh");
    write(&play, "call.sh", CALL);
    play.ran("bob", "accept --acknowledge offer").exits(0);
    play.ran("bob", &format!("rollback {id}")).exits(0);
    assert_eq!(play.ledger(), ["begun", "wait", "undo"]);
}

/// A destruction by a script that an earlier step of the same session changes.
const DESTROY: &str = r#"
holdpoint: 1
name: scripts
vars: { place: { default: "@" } }
environments: { two: { approvals: 1 } }
steps:
  - id: make
    run: "echo make >>\"$place/ledger\"; [ ! -e \"$place/spoil\" ] || echo '# more' >>\"$place/drop.sh\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger", contains: make } ]
  - id: drop
    destroys: { what: the old files, paths: ["@/old"] }
    run: [bash, "@/drop.sh"]
    timeout: 1min
    preconditions: [ file: { path: "@/backup" } ]
    postconditions: [ file: { path: "@/old", exists: false } ]
"#;
const DROP: &str = "rm -r @/old\n";
const CONFIRM: [&str; 2] = ["--confirm", "drop=the old files"];

fn doomed() -> Play {
    let play = Play::new();
    play.book(DESTROY);
    write(&play, "drop.sh", DROP);
    write(&play, "backup", "x");
    std::fs::create_dir(play.path("old")).unwrap();
    write(&play, "old/a", "x");
    play
}

fn meanwhile() {
    let play = doomed();
    write(&play, "spoil", "");
    let held = play.with("alice", "run book.yaml", &CONFIRM).exits(3);
    held.says("The scripts are those that the run was started with").says("drop.sh");
    assert!(play.path("old").exists() && play.events("permitted").is_empty());
    play.with("alice", "resume", &CONFIRM).exits(6);
    write(&play, "drop.sh", DROP);
    play.with("alice", "resume", &CONFIRM).exits(0);
    assert!(!play.path("old").exists());
}

fn approved() {
    let play = doomed();
    play.with("alice", "run book.yaml --env two", &CONFIRM).exits(4);
    let content = &play.events("approval_wanted")[0]["content"];
    assert!(content["scripts"]["drop.sh"].is_string(), "{content}");
    let id = play.id();
    play.ran("bob", &format!("approve {id} drop")).exits(4).says("drop.sh, digest");
    // What was approved is not what would run.
    let page = play.ran("bob", &format!("approve {id} drop")).stdout;
    let digest = page.lines().find_map(|line| line.trim().strip_prefix("content")).unwrap().trim().to_owned();
    let yes = ["--content", &digest, "--confirm", "the old files"];
    play.with("bob", &format!("approve {id} drop"), &yes).exits(0);
    write(&play, "drop.sh", &format!("{DROP}rm -r @/backup\n"));
    play.with("alice", "resume", &CONFIRM).exits(6).says("drop.sh");
    assert!(play.path("old").exists());
    write(&play, "drop.sh", DROP);
    play.with("alice", "resume", &CONFIRM).exits(0);
    assert!(!play.path("old").exists() && play.path("backup").exists());
}

/// The record of such a run is as an earlier release writes it.
fn none() {
    let play = scene();
    // Nothing is called, so nothing is kept.
    let (first, _) = BOOK.split_once("  - id: call").unwrap();
    play.book(first);
    write(&play, "go", "");
    let mut alice = play.start("alice", "run book.yaml");
    eventually(Duration::from_secs(20), "it is over", || alice.ended());
    alice.ends(Duration::from_secs(5)).exits(0);
    assert!(play.events("opened")[0].get("scripts").is_none());
    play.verified();
}
