//! Postconditions that are waited for, with the real program and a server that comes up later, or never.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Port, Registry, eventually};
use crate::play::{Beside, Play};

pub fn register(r: &mut Registry) {
    r.add("patience::a_server_that_answers_later_is_waited_for", &[], later);
    r.add("patience::one_that_never_answers_fails_and_says_how_long_it_was_waited", &[], never);
    r.add("patience::an_engine_killed_in_the_wait_waits_again", &[], killed);
    r.add("patience::an_undoing_is_waited_for", &[], undone);
    r.add("patience::what_a_fault_rehearsal_makes_unknown_is_not_waited_for", &[], faulted);
    r.add("patience::plan_says_what_is_waited_for", &[], planned);
}

/// A step that starts nothing by itself: the test does, when it has seen that it is waited for. The second postcondition
/// is measured when the first passes, or never will.
fn book(wait: &str) -> (Play, Port) {
    let (play, port) = (Play::new(), Port::free());
    play.book(&format!(
        r#"
holdpoint: 1
name: patience
vars: {{ place: {{ default: "@" }} }}
steps:
  - id: start
    run: "echo start >>\"$place/ledger\""
    timeout: 1min
    postconditions:
      - port_listening: {{ title: the service listens, port: {port}{wait} }}
      - file: {{ title: it is up, path: "@/up" }}
    rollback:
      run: "echo stop >>\"$place/ledger\""
      timeout: 1min
      postconditions: [ file: {{ title: it is down, path: "@/up", exists: false{wait} }} ]
"#,
        port = port.number()
    ));
    (play, port)
}

/// Waits until the program has said that it waits.
#[track_caller]
fn waits(who: &Beside) {
    eventually(Duration::from_secs(30), "it waits", || who.said().contains("not yet, "));
}

/// The service is up from now on.
fn up(play: &Play, port: &Port) -> TcpListener {
    std::fs::write(play.path("up"), "").unwrap();
    TcpListener::bind(("127.0.0.1", port.number())).unwrap()
}

/// What was measured of a check, as it stands in the journal.
fn measured(play: &Play, check: &str) -> Vec<Value> {
    let all = play.events("measured").into_iter().map(|line| line["evidence"].clone());
    all.filter(|evidence| evidence["check"] == check).collect()
}

fn later() {
    let (play, _port) = book("");
    play.ran("alice", "run book.yaml").exits(1).says("the service listens");
    assert!(play.events("done").is_empty(), "without patience it fails at once");

    let (play, port) = book(", wait_up_to: 10min");
    let mut alice = play.start("alice", "run book.yaml");
    waits(&alice);
    assert!(play.events("measured").is_empty(), "what does not pass yet is not on record");
    let _service = up(&play, &port);
    let ran = alice.ends(Duration::from_secs(60)).exits(0);
    let first = ran.stderr.lines().find(|line| line.contains("not yet, ")).unwrap();
    assert!(first.contains("s of 10min: the service listens: "), "{ran:?}");
    let seen = measured(&play, "start.post.port_listening");
    assert_eq!((seen.len(), &seen[0]["verdict"]), (1, &"pass".into()));
    assert!(seen[0]["details"].as_array().unwrap().iter().any(|line| {
        let line = line.as_str().unwrap();
        line.starts_with("measured ") && line.contains(" times in ")
    }));
    assert_eq!(measured(&play, "start.post.file")[0]["verdict"], "pass", "measured when the service was up");
    assert_eq!(play.ledger(), ["start"]);
    play.verified();
}

fn never() {
    let (play, _port) = book(", wait_up_to: 3s");
    let began = Instant::now();
    let ran = play.ran("alice", "run book.yaml").exits(1);
    assert!(began.elapsed() >= Duration::from_secs(3));
    // Three seconds, and what the last measurement took on a busy machine.
    let waited = |text: &str| {
        let (_, rest) = text.split_once("(waited ").unwrap_or_else(|| panic!("{text}"));
        rest.split_once("s)").unwrap().0.parse::<u64>().unwrap()
    };
    assert!((3..30).contains(&waited(&ran.stderr)), "{ran:?}");
    let seen = measured(&play, "start.post.port_listening");
    assert_eq!((seen.len(), &seen[0]["verdict"]), (1, &"fail".into()), "only the last one: {seen:?}");
    // All of it is said, also what was not waited for.
    assert_eq!(measured(&play, "start.post.file")[0]["verdict"], "fail");
    let why = play.events("failed")[0]["why"].as_str().unwrap().to_owned();
    assert_eq!(waited(&why), waited(&ran.stderr), "{why}");
    // Somebody looks again: measured once.
    let again = play.ran("alice", "resume").exits(3);
    assert!(!again.stderr.contains("waited"), "{again:?}");
    play.ran("alice", &format!("status {}", play.id())).says("the service listens");
}

fn killed() {
    let (play, port) = book(", wait_up_to: 10min");
    let mut alice = play.start("alice", "run book.yaml");
    waits(&alice);
    alice.kill();
    assert_eq!(play.events("ended").len(), 1);
    assert!(play.events("measured").is_empty() && play.events("failed").is_empty());
    let mut alice = play.start("alice", "resume");
    waits(&alice);
    // Ctrl-C ends the session as it does during any measurement.
    alice.signal(rustix::process::Signal::INT);
    alice.ends(Duration::from_secs(20)).exits(130);
    let mut alice = play.start("alice", "resume");
    waits(&alice);
    let _service = up(&play, &port);
    alice.ends(Duration::from_secs(60)).exits(0);
    assert_eq!((play.begun("start"), play.events("done").len()), (1, 1));
    play.verified();
}

fn undone() {
    let (play, port) = book(", wait_up_to: 10min");
    let _service = up(&play, &port);
    play.ran("alice", "run book.yaml").exits(0);
    let (play, port) = book(", wait_up_to: 10min");
    let mut alice = play.start("alice", "run book.yaml");
    waits(&alice);
    alice.kill();
    std::fs::write(play.path("up"), "").unwrap();
    let mut alice = play.start("alice", &format!("rollback {}", play.id()));
    waits(&alice);
    std::fs::remove_file(play.path("up")).unwrap();
    alice.ends(Duration::from_secs(60)).exits(0);
    assert_eq!(play.ledger(), ["start", "stop"]);
    assert_eq!(play.events("rolled_back").len(), 1);
    drop(port);
}

fn planned() {
    let (play, _port) = book(", wait_up_to: 90s");
    play.ran("alice", "plan book.yaml").exits(0).says("the service listens (waited for up to 1min 30s)");
}

/// It ends in a minute, although ten are allowed for.
fn faulted() {
    let play = Play::new();
    play.book(
        r#"
holdpoint: 1
name: patience
vars: { place: { default: "@/staging" } }
environments:
  staging:
    proof: [ file: { path: "@" } ]
    reset: |
      rm -rf "$place"
      mkdir -p "$place"
      touch "$place/old"
steps:
  - id: start
    run: [touch, "${place}/up"]
    timeout: 1min
    postconditions: [ file: { path: "${place}/up", wait_up_to: 10min } ]
  - id: drop
    destroys: { what: the old file, paths: ["${place}/old"] }
    preconditions: [ file: { path: "${place}/old" } ]
    run: [rm, "${place}/old"]
    timeout: 1min
    postconditions: [ file: { path: "${place}/old", exists: false } ]
"#,
    );
    std::fs::create_dir(play.path("staging")).unwrap();
    std::fs::write(play.path("staging/old"), "").unwrap();
    let ran = play.ran("ci", "rehearse book.yaml --env staging --faults --faults-of unknown").exits(0);
    assert!(ran.stderr.contains("`start.post.file` is unknown: "), "{ran:?}");
}
