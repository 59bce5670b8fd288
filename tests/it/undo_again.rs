//! An undoing that ended well and did not hold, and one that failed, with the real program: what is known is said, it is
//! measured first, and it runs again only where that is safe or decided.

use serde_json::Value;

use crate::guided::Person;
use crate::harness::{Ran, Registry};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("undo::what_did_not_hold_runs_again_by_a_decision", &[], decided);
    r.add("undo::what_was_put_right_by_hand_is_seen_to_be_undone", &[], by_hand);
    r.add("undo::what_is_safe_to_repeat_is_undone_again_unasked", &[], safe);
    r.add("undo::again_where_it_destroys_wants_another_permit", &[], destroying);
    r.add("undo::at_a_terminal_undoing_again_asks_for_a_reason", &[], at_a_terminal);
    r.add("undo::a_failed_undoing_is_no_doubt_and_both_ways_are_named", &[], failed);
}

/// Two steps; the second one's undoing writes that it ran, then does `undo`.
fn played(undo: &str, more: &str) -> Play {
    let play = Play::new();
    play.book(&format!(
        r#"
holdpoint: 1
name: again
steps:
  - id: one
    run: [touch, "@/one"]
    timeout: 1min
    postconditions: [ file: {{ path: "@/one" }} ]
    rollback: {{ run: [rm, "@/one"], timeout: 1min, postconditions: [ file: {{ path: "@/one", exists: false }} ] }}
  - id: two
    run: [touch, "@/two"]
    timeout: 1min
    postconditions: [ file: {{ path: "@/two" }} ]
    rollback:
      run: "echo undo-two >>@/ledger; {undo}"
      timeout: 1min
      postconditions: [ file: {{ title: two is gone, path: "@/two", exists: false }} ]
{more}
  - id: door
    run: ["true"]
    timeout: 1min
    preconditions: [ file: {{ path: "@/door" }} ]
    postconditions: [ file: {{ path: / }} ]
"#
    ));
    play.ran("alice", "run book.yaml").exits(3);
    play
}

const LEAVES_IT: &str = "[ ! -e @/room ] || rm @/two";

/// Undone once, and it did not hold.
fn unheld(more: &str) -> Play {
    let play = played(LEAVES_IT, more);
    play.ran("alice", &back(&play)).exits(3).says("NOT UNDONE").says("two is gone");
    assert_eq!(play.times("undo-two"), 1);
    play
}

fn back(play: &Play) -> String {
    format!("rollback {} --to two", play.id())
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn status(play: &Play) -> Value {
    let status = play.ran("alice", &format!("status {} --json", play.id())).exits(0);
    serde_json::from_str(&status.stdout).unwrap()
}

fn silent(ran: &Ran, text: &str) {
    assert!(!flat(&format!("{} {}", ran.stdout, ran.stderr)).contains(text), "{text:?} in {ran:?}");
}

fn decided() {
    let play = unheld("");
    let back = back(&play);
    // Measured again, and not run again, however often.
    let held = play.ran("alice", &back).exits(3);
    held.says(&format!("{back} --decide two=again")).says("--reason TEXT");
    assert_eq!((play.times("undo-two"), play.events("rollback_ended").len()), (1, 1));
    let facts = status(&play);
    assert_eq!((&facts["phase"], &facts["steps"][1]["status"]), (&"failed".into(), &"not_undone".into()));
    let undoing = serde_json::json!({ "state": "unheld", "attempts": 1, "ended": "exit status 0" });
    assert_eq!(facts["steps"][1]["undoing"], undoing);
    assert!(facts["next"]["command"].as_str().unwrap().starts_with("holdpoint rollback"), "{facts:#}");
    let words = facts["steps"][1]["words"].as_str().unwrap();
    assert!(words.starts_with("not undone: undoing it ended well and did not hold: two is gone"), "{words}");
    // Who decides says why, and that it is undone is measured and not declared.
    play.with("alice", &back, &["--decide", "two=again"]).exits(2).says("--reason");
    let done = play.with("alice", &back, &["--decide", "two=done", "--reason", "I looked"]).exits(2);
    done.says("`done` is no decision about undoing `two`");
    assert_eq!(play.times("undo-two"), 1);
    let decide = ["--decide", "two=again", "--reason", "room was made"];
    // It still does not hold: run once more, and no oftener.
    play.with("alice", &back, &decide).exits(3);
    assert_eq!(play.times("undo-two"), 2);
    std::fs::write(play.path("room"), "").unwrap();
    let again = play.with("alice", &back, &decide).exits(0).says("decides that two is undone again");
    again.says("room was made").says("two is undone");
    assert!(!play.path("two").exists());
    assert_eq!(play.times("undo-two"), 3);
    let decided = play.events("decided");
    assert_eq!((decided.len(), &decided[1]["undo"]), (2, &true.into()));
    assert_eq!(status(&play)["decisions"].as_array().unwrap().len(), 2);
    play.verified();
}

fn by_hand() {
    let play = unheld("");
    std::fs::remove_file(play.path("two")).unwrap();
    let decide = ["--decide", "two=again", "--reason", "to be sure"];
    play.with("alice", &back(&play), &decide).exits(0).says("two is undone");
    assert_eq!((play.times("undo-two"), play.events("decided").len()), (1, 0), "nothing runs");
    play.verified();
}

fn safe() {
    let play = unheld("      rerun: safe");
    std::fs::write(play.path("room"), "").unwrap();
    let again = play.ran("alice", &back(&play)).exits(0);
    again.says("two is undone again by").says("nobody was asked");
    assert_eq!(play.times("undo-two"), 2);
    assert_eq!(play.events("decided")[0]["by_runbook"], true);
    play.verified();
}

fn destroying() {
    let more = "      destroys: { what: the copy, paths: [\"@/two\"] }\n      \
                preconditions: [ file: { path: \"@/one\" } ]";
    let play = played(LEAVES_IT, more);
    let back = back(&play);
    let confirm = ["--confirm", "two=the copy"];
    let decide = ["--decide", "two=again", "--reason", "room was made"];
    play.with("alice", &back, &confirm).exits(3).says("under permit 1").says("NOT UNDONE");
    std::fs::write(play.path("room"), "").unwrap();
    // Neither the text nor the decision alone.
    play.with("alice", &back, &confirm).exits(3);
    play.with("alice", &back, &decide).exits(4).says("THIS DESTROYS DATA");
    assert_eq!((play.times("undo-two"), play.events("permitted").len()), (1, 1));
    // The decision stands; what stands in front of the undoing is measured anew.
    std::fs::rename(play.path("one"), play.path("aside")).unwrap();
    play.with("alice", &back, &confirm).exits(3).says("undoing two is held");
    assert_eq!(play.times("undo-two"), 1);
    std::fs::rename(play.path("aside"), play.path("one")).unwrap();
    play.with("alice", &back, &confirm).exits(0).says("under permit 2");
    assert_eq!((play.times("undo-two"), play.events("permitted").len()), (2, 2));
    play.verified();
}

fn at_a_terminal() {
    let play = unheld("");
    let id = play.id();
    let words = ["--operator", "alice", "rollback", &id, "--to", "two"];
    let mut alice = Person::at(&play.sandbox, "alice", &words, &[]);
    alice.sees("NOT UNDONE");
    alice.sees("exit status 0");
    alice.sees("run its undoing again; asks why");
    std::fs::write(play.path("room"), "").unwrap();
    alice.answers("r");
    alice.answers("room was made");
    alice.sees("two is undone again");
    alice.sees("undoing two begins, attempt 2");
    assert_eq!(alice.leaves(), 0);
    assert!(!play.path("two").exists());
    let decided = play.events("decided");
    assert_eq!((decided.len(), &decided[0]["reason"]), (1, &"room was made".into()));
    play.verified();
}

fn failed() {
    let play = played("[ -e @/room ] && rm @/two", "");
    play.ran("alice", &format!("rollback {}", play.id())).exits(1);
    let resumed = play.ran("alice", "resume").exits(4);
    let resumed = resumed.says("NOT UNDONE").says("undoing it failed: exit status 1");
    let resumed =
        resumed.says(&format!("holdpoint rollback {}", play.id())).says("--decide two=again --reason TEXT");
    silent(&resumed, "Nobody knows");
    silent(&resumed, "IN DOUBT");
    let facts = status(&play);
    assert_eq!(facts["phase"], "failed");
    assert_eq!(facts["summary"], "1 of 3 steps done. two is not undone: undoing it failed: exit status 1.");
    assert_eq!(facts["steps"][1]["undoing"]["state"], "failed");
    let shown = play.ran("alice", &format!("status {}", play.id())).exits(0);
    let shown = shown.says("not undone");
    silent(&shown, "Nobody knows");
    // Back again runs it again; forward wants a decision.
    std::fs::write(play.path("room"), "").unwrap();
    play.ran("alice", &back(&play)).exits(0).says("two is undone");
    assert_eq!(play.times("undo-two"), 2);
    let play = played("[ -e @/room ] && rm @/two", "");
    play.ran("alice", &back(&play)).exits(1);
    play.ran("alice", "resume --decide two=again --reason onward").exits(3).says("two is done");
    assert_eq!(play.begun("two"), 2);
    play.verified();
}
