//! What is shown on the way back and after it: nothing of an earlier attempt, and how far the undoing is.

use serde_json::Value;

use crate::harness::{Ran, Registry};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("back::a_failed_attempt_shows_nothing_of_the_one_before", &[], another_attempt);
    r.add("back::half_way_back_is_not_at_the_beginning", &[], half_way);
}

/// The first attempt leaves nothing; the second one's command fails.
fn another_attempt() {
    let play = Play::new();
    play.book(
        r#"
holdpoint: 1
name: back
vars: { place: { default: "@" } }
steps:
  - id: one
    run: "[ ! -e \"$place/undone\" ] || exit 7"
    timeout: 1min
    postconditions: [ file: { title: the copy is there, path: "@/copy" } ]
    rollback: { run: [touch, "@/undone"], timeout: 1min }
"#,
    );
    let failed = "its postcondition does not pass";
    play.ran("alice", "run book.yaml").exits(1).says(failed);
    play.ran("alice", &format!("rollback {}", play.id())).exits(0);
    let again = play.ran("alice", "resume").exits(1).says("exit status 7");
    assert!(!again.stderr.contains(failed), "{again:?}");
    let again = again.says("not measured: the command failed");
    assert!(!again.stderr.contains("measured 0s ago"), "{again:?}");
    let status = play.ran("alice", &format!("status {}", play.id())).exits(0);
    assert!(!status.stdout.contains("not passing"), "{status:?}");
    // Looked at again, it is measured for this attempt.
    play.ran("alice", "resume").exits(3).says("the copy is there");
    play.ran("alice", &format!("status {}", play.id())).exits(0).says("the copy is there");
}

/// An undoing that leaves what it should remove, and one that fails: neither page says that one stands at the beginning.
fn half_way() {
    half_way_by("[ ! -e @/may ] || rm @/two", |play, back| play.ran("alice", back).exits(3));
    half_way_by("[ -e @/may ] && rm @/two", |play, back| {
        play.ran("alice", back).exits(1);
        play.ran("alice", "resume").exits(4)
    });
}

fn half_way_by(undo: &str, page: impl Fn(&Play, &str) -> Ran) {
    let play = Play::new();
    let step = |id: &str, undo: &str| {
        format!(
            "  - id: {id}\n    run: [touch, \"@/{id}\"]\n    timeout: 1min\n    \
             postconditions: [ file: {{ path: \"@/{id}\" }} ]\n    \
             rollback: {{ run: \"{undo}\", timeout: 1min, postconditions: [ file: {{ path: \"@/{id}\", exists: false }} ] }}\n"
        )
    };
    let (one, two, three) = (step("one", "rm @/one"), step("two", undo), step("three", "rm @/three"));
    let door = "  - { id: door, run: [\"true\"], timeout: 1min, preconditions: [ file: { path: \"@/door\" } ], \
                postconditions: [ file: { path: / } ] }\n";
    play.book(&format!("holdpoint: 1\nname: back\nsteps:\n{one}{two}{three}{door}"));
    play.ran("alice", "run book.yaml").exits(3).says("can still go back to the start");
    let back = format!("rollback {}", play.id());
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let way = "Undone already: `three`. Undoing `two` was begun and is not complete. \
               Still to be undone, back to the start: `one`.";
    let shown = page(&play, &back);
    assert!(flat(&shown.stderr).contains(way), "{shown:?}");
    assert!(!flat(&shown.stderr).contains("can still go back"), "{shown:?}");
    let status = play.ran("alice", &format!("status {}", play.id())).exits(0);
    assert!(flat(&status.stdout).contains(way), "{status:?}");
    let json = play.ran("alice", &format!("status {} --json", play.id())).exits(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["horizon"]["undone"], serde_json::json!(["three"]));
    assert_eq!(json["horizon"]["undoing"], "two");

    // By hand, or by the rollback that may do it now.
    std::fs::write(play.path("may"), "").unwrap();
    if shown.status == Some(3) {
        std::fs::remove_file(play.path("two")).unwrap();
    }
    play.ran("alice", &back).exits(0);
    let status = play.ran("alice", &format!("status {}", play.id())).exits(0);
    let all = "Undone already: `three`, `two` and `one`. There is nothing more to undo.";
    assert!(flat(&status.stdout).contains(all), "{status:?}");
}
