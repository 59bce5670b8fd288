//! What is shown on the way back and after it: nothing of an earlier attempt.

use crate::harness::Registry;
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("back::a_failed_attempt_shows_nothing_of_the_one_before", &[], another_attempt);
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
