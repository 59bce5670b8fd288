//! Two people and one run: exactly one drives, a handoff leaves a running command alone, and whoever lost the lease can
//! do nothing more, however alive the process is.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Registry, eventually};
use crate::play::{Beside, Play};

/// A long command that waits for a file, then a short one.
const BOOK: &str = r#"
holdpoint: 1
name: shift
vars: { place: { default: "@" } }
steps:
  - id: long
    run: |
      echo long >>"$place/ledger"
      until [ -e "$place/go" ]; do sleep 0.05; done
      echo ended >>"$place/ledger"
    timeout: 1min
    postconditions: [ file: { path: "${place}/ledger", contains: ended } ]
  - id: short
    run: |
      echo short >>"$place/ledger"
    timeout: 1min
    postconditions: [ file: { path: "${place}/ledger", contains: short } ]
"#;

pub fn register(r: &mut Registry) {
    r.add("operators::of_two_who_resume_at_once_one_drives", &[], two_resume_at_once);
    r.add("operators::a_handoff_leaves_the_running_command_alone", &[], handoff_under_way);
    r.add("operators::a_run_that_is_not_offered_is_nobody_elses", &[], not_offered);
    r.add("operators::an_offer_to_carol_is_not_for_bob", &[], offered_to_carol);
    r.add("operators::only_the_dead_are_taken_over_from", &[], take_over);
    r.add("operators::a_driver_that_wakes_up_after_a_handoff_does_nothing", &[], woken_after_handoff);
    r.add("operators::a_driver_that_wakes_up_may_not_end_a_step", &[], woken_with_a_finished_command);
    r.add("operators::a_second_run_is_refused_and_the_first_named", &[], second_run);
    r.add("operators::two_who_start_at_once_start_one_run", &[], two_start_at_once);
}

fn scene() -> Play {
    let play = Play::new();
    play.book(BOOK);
    play
}

/// Alice drives, and the long command is under way.
fn under_way(play: &Play) -> Beside {
    let alice = play.start("alice", "run book.yaml");
    play.until("long");
    alice
}

const SOON: Duration = Duration::from_secs(15);

fn let_it_end(play: &Play) {
    std::fs::write(play.path("go"), "").unwrap();
}

fn two_resume_at_once() {
    for round in 0..10 {
        let play = scene();
        // The run waits before its first step.
        play.book(&BOOK.replace("steps:\n", "steps:\n  - { id: look, manual: { instructions: Look. } }\n").replacen(
            "- { id: look, manual: { instructions: Look. } }",
            "- id: door\n    preconditions: [ file: { path: \"@/door\" } ]\n    record: { target: db, as: before }",
            1,
        ).replace("steps:", "targets: { db: { sqlite: \"@/app.db\" } }\nsteps:"));
        rusqlite::Connection::open(play.path("app.db"))
            .unwrap()
            .execute_batch("create table t (a); insert into t values (1)")
            .unwrap();
        play.ran("alice", "run book.yaml").exits(3);
        std::fs::write(play.path("door"), "").unwrap();
        let mut both = [play.start("alice", "resume"), play.start("alice", "resume")];
        play.until("long");
        eventually(SOON, "one of them is refused", || both.iter_mut().any(Beside::ended));
        let refused = usize::from(both[1].ended());
        let winner = both[1 - refused].pid();
        both[refused].ends(SOON).exits(5).says("alice@").says(&format!("pid {winner}"));
        let_it_end(&play);
        both[1 - refused].ends(SOON).exits(0);
        assert_eq!(play.ledger(), ["long", "ended", "short"], "round {round}");
        assert_eq!(play.events("lease").len(), 2, "round {round}");
        play.verified();
    }
}

fn handoff_under_way() {
    let play = scene();
    let mut alice = under_way(&play);
    let offered = play.with("alice", "handoff", &["--note", "watch the disk, it fills"]).exits(0);
    let id = play.id();
    assert!(offered.stdout.contains(&format!("holdpoint accept {id}")), "{offered:?}");
    alice.ends(SOON).exits(4).says("offered");
    assert_eq!(play.ledger(), ["long"], "the command goes on");

    // Every open point has to be acknowledged; without a terminal, by name.
    let seen = play
        .ran("bob", "accept")
        .exits(4)
        .says("watch the disk, it fills")
        .says("(offer)")
        .says("(step:long)");
    assert!(seen.stderr.contains("--acknowledge ID"), "{seen:?}");
    play.ran("bob", "accept --acknowledge offer").exits(4);
    assert_eq!(play.events("lease").len(), 1, "looking is not taking");
    play.ran("bob", "accept --acknowledge nonsense").exits(2);
    play.ran("bob", &format!("accept {}", acknowledged(&play, "bob", ""))).exits(0);

    let mut bob = play.start("bob", "resume");
    eventually(SOON, "bob watches the command", || bob.said().contains("long"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(play.times("long"), 1);
    let_it_end(&play);
    bob.ends(SOON).exits(0);
    assert_eq!(play.ledger(), ["long", "ended", "short"]);
    assert_eq!(play.begun("long"), 1);
    let lease = play.events("lease").into_iter().find(|line| line["how"] == "accept").unwrap();
    assert!(lease["acknowledged"].to_string().contains("watch the disk"), "{lease}");
    play.ran("alice", "resume").exits(2);
    play.verified();
}

/// The options that acknowledge every open point, as the page for programs names them.
fn acknowledged(play: &Play, who: &str, how: &str) -> String {
    let page = play.ran(who, &format!("--json accept {how}")).exits(4);
    let page: serde_json::Value =
        serde_json::from_str(&page.stdout).unwrap_or_else(|e| panic!("{e}: {page:?}"));
    let points = page["open_points"].as_array().unwrap();
    assert!(!points.is_empty(), "{page}");
    points.iter().map(|point| format!(" --acknowledge {}", point["id"].as_str().unwrap())).collect()
}

fn not_offered() {
    let play = scene();
    let mut alice = under_way(&play);
    for words in ["accept", "resume"] {
        play.ran("bob", words).exits(5).says("alice@");
    }
    play.with("bob", "handoff", &["--note", "mine"]).exits(5).says("alice@");
    let id = play.id();
    play.with("bob", &format!("abandon {id}"), &["--reason", "no"]);
    play.ran("bob", &format!("rollback {id}"));
    assert_eq!(play.events("abandoned").len() + play.events("rollback_began").len(), 0);
    let before = play.journal();
    play.ran("bob", "status").exits(0).says("alice@");
    assert_eq!(play.journal(), before, "looking leaves no trace");
    // Anybody may put something on record, and the driver is not disturbed.
    play.with("bob", &format!("note {id}"), &["the fan is loud"]).exits(0);
    eventually(SOON, "alice sees the note", || alice.said().contains("the fan is loud"));
    let_it_end(&play);
    alice.ends(SOON).exits(0);
    assert_eq!(play.ledger(), ["long", "ended", "short"]);
    let note = &play.events("note")[0];
    assert!(note["by"].as_str().unwrap().starts_with("bob@") && note["epoch"] == 0, "{note}");
    play.verified();
}

/// A run that stands still and belongs to alice.
fn standing_still(play: &Play) {
    let mut alice = under_way(play);
    alice.kill();
    let_it_end(play);
    play.until("ended");
}

fn offered_to_carol() {
    let play = scene();
    standing_still(&play);
    play.ran("bob", "resume").exits(5).says("alice@");
    play.ran("bob", "accept").exits(5).says("not offered");
    play.with("alice", "handoff --to carol", &["--note", "for carol"]).exits(0);
    play.ran("bob", "accept").exits(5).says("carol");
    play.ran("bob", "accept --acknowledge note").exits(5).says("carol");
    assert_eq!(play.events("lease").len(), 1);
    let seen = play.ran("carol", "accept").exits(4);
    assert!(seen.stdout.contains("for carol"), "{seen:?}");
    play.with("alice", "handoff", &["--note", "   "]).exits(2);
}

fn take_over() {
    let play = scene();
    let mut alice = under_way(&play);
    play.ran("bob", "accept --take-over").exits(2);
    play.with("bob", "accept --take-over", &["--reason", "she sleeps"]).exits(5).says("alice@");
    // Stopped is not dead.
    alice.signal(Signal::STOP);
    play.with("bob", "accept --take-over", &["--reason", "she sleeps"]).exits(5).says("alice@");
    alice.signal(Signal::CONT);
    alice.kill();
    play.ran("bob", "resume").exits(5).says("alice@");
    play.ran("bob", "accept").exits(5);
    play.with("bob", "accept --take-over", &["--reason", "she is ill"]).exits(4);
    let points = acknowledged(&play, "bob", "--take-over --reason x");
    play.with("bob", &format!("accept --take-over {points}"), &["--reason", "she is ill"]).exits(0);
    let lease = play.events("lease").pop().unwrap();
    assert_eq!(lease["how"], "take_over");
    let reason = lease["reason"].as_str().unwrap();
    assert!(reason.contains("she is ill") && reason.contains("alice@"), "{reason}");
    play.ran("alice", "resume").exits(5).says("bob@");
    let mut bob = play.start("bob", "resume");
    let_it_end(&play);
    bob.ends(SOON).exits(0);
    assert_eq!(play.ledger(), ["long", "ended", "short"]);
    play.verified();
}

/// Bob takes an offered run over while alice's process is stopped.
fn handed_over(play: &Play, alice: &Beside) {
    alice.signal(Signal::STOP);
    play.with("alice", "handoff", &["--note", "good night"]).exits(0);
    play.ran("bob", &format!("accept {}", acknowledged(play, "bob", ""))).exits(0);
}

fn woken_after_handoff() {
    let play = scene();
    let mut alice = under_way(&play);
    handed_over(&play, &alice);
    let length = play.journal().len();
    alice.signal(Signal::CONT);
    // The command still runs: she must not sit there as if the run was hers.
    alice.ends(SOON).exits(5).says("bob@");
    assert_eq!(play.journal().len(), length, "she wrote nothing");
    let mut bob = play.start("bob", "resume");
    let_it_end(&play);
    bob.ends(SOON).exits(0);
    assert_eq!(play.ledger(), ["long", "ended", "short"]);
    play.verified();
}

/// While she was stopped, the command ended: what she saw of it is no longer hers to record, and what follows not hers
/// to begin.
fn woken_with_a_finished_command() {
    let play = scene();
    let mut alice = under_way(&play);
    handed_over(&play, &alice);
    let_it_end(&play);
    play.until("ended");
    std::thread::sleep(Duration::from_millis(300));
    let length = play.journal().len();
    alice.signal(Signal::CONT);
    alice.ends(SOON).exits(5).says("bob@");
    assert_eq!(play.journal().len(), length, "she wrote nothing");
    assert_eq!(play.ledger(), ["long", "ended"]);
    play.ran("bob", "resume").exits(0);
    assert_eq!(play.ledger(), ["long", "ended", "short"]);
    play.verified();
}

fn second_run() {
    let play = scene();
    standing_still(&play);
    let id = play.id();
    play.ran("bob", "run book.yaml").exits(3).says(&id).says("alice@");
    assert_eq!(play.runs().len(), 1);
    play.with("alice", &format!("abandon {id}"), &["--reason", "start again"]).exits(4);
    play.ran("alice", "resume").exits(0);
    std::fs::remove_file(play.path("ledger")).unwrap();
    play.ran("bob", "run book.yaml").exits(0);
    assert_eq!(play.runs().len(), 2);
}

fn two_start_at_once() {
    for _ in 0..5 {
        let play = scene();
        let mut both = [play.start("alice", "run book.yaml"), play.start("bob", "run book.yaml")];
        play.until("long");
        eventually(SOON, "one of them is refused", || both.iter_mut().any(Beside::ended));
        let refused = usize::from(both[1].ended());
        both[refused].ends(SOON).exits(3);
        let_it_end(&play);
        both[1 - refused].ends(SOON).exits(0);
        assert_eq!(play.ledger(), ["long", "ended", "short"]);
    }
}
