//! Second persons with the real program: approvals that are waited for, drift that voids them, replays and edits that are
//! refused, signatures by real keys, waivers, and change windows.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::guided::Person;
use crate::harness::{Need, Ran, Registry, eventually, must};
use crate::play::Play;

const SSH: &[Need] = &[Need::SshKeygen];

pub fn register(r: &mut Registry) {
    r.add("persons::one_waits_and_the_other_approves_at_two_terminals", &[], two_terminals);
    r.add("persons::an_approval_without_a_terminal_names_what_was_read", &[], unattended);
    r.add("persons::what_changes_after_an_approval_voids_it", &[], drift);
    r.add("persons::a_rejection_survives_and_is_lifted_by_who_gave_it", &[], rejection);
    r.add("persons::nobody_approves_for_themselves", &[], themselves);
    r.add("persons::an_approval_is_for_who_does_not_drive", &[], handed_over);
    r.add("persons::who_last_changed_the_runbook_is_known_from_git", &[], author);
    r.add("persons::a_signed_environment_wants_keys", SSH, signed);
    r.add("persons::a_changed_or_copied_signature_counts_for_nothing", SSH, forged);
    r.add("persons::a_waived_check_stays_in_sight_until_it_is_settled", &[], waived);
    r.add("persons::what_may_not_be_waived_is_not", &[], not_waived);
    r.add("persons::a_waiver_that_has_expired_is_named_where_the_run_holds", &[], expired_waiver);
    r.add("persons::outside_its_window_no_change_begins", &[], window);
}

/// A step that makes something, one that destroys.
pub const BOOK: &str = r#"
holdpoint: 1
name: second
vars: { place: { default: "@" } }
environments:
  two: { approvals: 1 }
  keys: { approvals: 1, signed: true }
  guarded: { approvals: 1, protected: true }
steps:
  - id: make
    run: "echo make >>\"$place/ledger\""
    timeout: 1min
    preconditions: [ file: { path: "@/ready" } ]
    postconditions: [ file: { path: "@/ledger", contains: make } ]
  - id: drop
    title: Remove the old files
    destroys: { what: the old files, paths: ["@/old"] }
    run: "echo drop >>\"$place/ledger\"; rm -r \"$place/old\""
    timeout: 1min
    preconditions:
      - file: { id: backup, path: "@/backup", waivable: true }
      - file: { id: mirror, path: "@/mirror" }
    postconditions: [ file: { path: "@/old", exists: false } ]
"#;

const CONFIRM: [&str; 2] = ["--confirm", "drop=the old files"];

fn scene() -> Play {
    let play = Play::new();
    play.book(BOOK);
    std::fs::create_dir(play.path("old")).unwrap();
    for name in ["old/a", "backup", "mirror", "ready"] {
        std::fs::write(play.path(name), "x\n").unwrap();
    }
    play
}

/// The same where no environment asks for anything.
fn plain() -> Play {
    let play = scene();
    let (before, rest) = BOOK.split_once("environments:").unwrap();
    play.book(&format!("{before}steps:{}", rest.split_once("steps:").unwrap().1));
    play
}

/// Alice's run waits for an approval.
fn waiting(environment: &str) -> Play {
    let play = scene();
    let run = play.with("alice", &format!("run book.yaml --env {environment}"), &CONFIRM).exits(4);
    run.says("Other people approve what goes").says("WAITING");
    play
}

/// The digest of what is to be approved now.
fn content(play: &Play) -> String {
    let status = play.ran("x", &format!("--json status {}", play.id())).exits(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status["approvals"][0]["content"].as_str().unwrap()[..12].to_owned()
}

fn approve(play: &Play, who: &str, more: &[&str]) -> crate::harness::Ran {
    let content = content(play);
    let mut words = vec!["--content", &content, "--confirm", "the old files"];
    words.extend(more);
    play.with(who, &format!("approve {} drop", play.id()), &words)
}

fn resume(play: &Play) -> crate::harness::Ran {
    play.with("alice", "resume", &CONFIRM)
}

fn two_terminals() {
    let play = scene();
    let mut alice = Person::at(&play.sandbox, "alice", &["run", "book.yaml", "--env", "two"], &[]);
    alice.answers("g");
    alice.sees("Step 2 of 2");
    alice.answers("g");
    alice.sees("0 of 1 approve");
    alice.sees("> ");
    let id = play.id();

    let mut bob = Person::at(&play.sandbox, "bob", &["approve", &id, "drop"], &[]);
    bob.sees("TO BE APPROVED");
    bob.sees("rm -r");
    bob.sees("/old");
    bob.sees("alice@");
    bob.answers("yes");
    bob.sees("Nothing was approved");
    assert_eq!(bob.leaves(), 3);
    assert!(play.events("approved").is_empty());

    let mut bob = Person::at(&play.sandbox, "bob", &["approve", &id, "drop"], &[]);
    bob.answers("the old files");
    bob.sees("goes on by itself");
    assert_eq!(bob.leaves(), 0);

    alice.sees("bob@");
    alice.sees("THIS DESTROYS DATA");
    alice.answers("the old files");
    alice.sees("approved bob@");
    alice.sees("the run is complete");
    assert_eq!(alice.leaves(), 0);
    assert_eq!(play.ledger(), ["make", "drop"]);
    assert_eq!(play.events("permitted")[0]["approvers"][0].as_str().unwrap().split('@').next(), Some("bob"));
    play.verified();
}

fn unattended() {
    let play = waiting("two");
    let id = play.id();
    let page = play.ran("bob", &format!("approve {id} drop")).exits(4);
    page.says("TO BE APPROVED").says("the old files").says("--content");
    let content = content(&play);
    let try_with = |words: &[&str]| play.with("bob", &format!("approve {id} drop"), words);
    try_with(&["--confirm", "the old files"]).exits(2);
    try_with(&["--content", "0123456789ab", "--confirm", "the old files"]).exits(3).says("another");
    try_with(&["--content", &content, "--confirm", "the old file"]).exits(3);
    try_with(&["--content", &content, "--confirm", "the old files", "--valid", "8d"]).exits(2);
    play.ran("bob", &format!("approve {id} make")).exits(2).says("destroys nothing");
    play.ran("bob", &format!("approve {id} dro")).exits(2).says("did you mean `drop`");
    play.ran("bob", &format!("approve {id} drop --undo")).exits(2);
    play.ran("bob", &format!("approve {id} drop --reject")).exits(2);
    assert!(play.events("approved").is_empty());
    try_with(&["--content", &content, "--confirm", "the old files"]).exits(0).says("counted so far: bob@");
    resume(&play).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);
    play.ran("bob", &format!("approve {id} drop")).exits(2).says("has ended");
    play.verified();
}

fn drift() {
    let play = waiting("two");
    approve(&play, "bob", &[]).exits(0);
    std::fs::write(play.path("old/b"), vec![0; 40 << 20]).unwrap();
    let held = resume(&play).exits(4);
    held.says("that of bob@").says("larger than shown");
    assert_eq!(play.ledger(), ["make"]);
    assert_eq!(play.events("approval_wanted").len(), 2, "what is wanted now is on record");
    play.ran("x", "status").exits(0).says("larger than shown");
    approve(&play, "bob", &[]).exits(0);
    // Less than approved is covered.
    std::fs::remove_file(play.path("old/b")).unwrap();
    resume(&play).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);
    play.verified();
}

fn rejection() {
    let play = waiting("two");
    let id = play.id();
    approve(&play, "bob", &[]).exits(0);
    play.with("carol", &format!("approve {id} drop --reject"), &["--reason", "the mirror is old"]).exits(0);
    resume(&play).exits(4).says("carol@").says("the mirror is old");
    play.with("bob", &format!("approve {id} drop --withdraw"), &["--reason", "for carol"]).exits(0);
    resume(&play).exits(4).says("carol@");
    approve(&play, "bob", &[]).exits(0);
    play.with("dave", &format!("approve {id} drop --withdraw"), &["--reason", "x"]).exits(2);
    assert_eq!(play.ledger(), ["make"]);
    play.ran("x", "log").exits(0).says("the mirror is old");
    play.with("carol", &format!("approve {id} drop --withdraw"), &["--reason", "made anew"]).exits(0);
    resume(&play).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);
    play.verified();
}

fn themselves() {
    let play = waiting("two");
    for who in ["alice", "ALICE"] {
        approve(&play, who, &[]).exits(3).says("they drive the run");
    }
    assert!(play.events("approved").is_empty());
    // Written by hand into the journal, it counts as little: the gate judges, and not the command.
    let mut line = play.journal().last().unwrap().clone();
    let wanted = play.events("approval_wanted")[0]["content"].clone();
    let content: holdpoint::journal::second::Content = serde_json::from_value(wanted).unwrap();
    let until = "2099-01-01T00:00:00Z";
    line = serde_json::json!({
        "seq": line["seq"].as_u64().unwrap() + 1, "wall": line["wall"], "boot_ms": line["boot_ms"],
        "by": "bob@h", "epoch": 0, "what": "approved", "step": "drop", "content": content.digest(),
        "text": "the old files", "until": until, "boot": "x",
    });
    forge(&play, line);
    resume(&play).exits(4).says("none lasts longer");
    assert_eq!(play.ledger(), ["make"]);
}

/// Adds a line to the journal, with its hash, as somebody could who may write to the folder.
fn forge(play: &Play, mut line: Value) {
    let path = play.run().join("journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let prev = holdpoint::base::Digest::of(text.lines().last().unwrap().as_bytes());
    line["prev"] = Value::String(prev.0);
    // Fields stand in the order of every line.
    let line: holdpoint::journal::Line = serde_json::from_value(line).unwrap();
    let line = holdpoint::journal::chain::encode(&line).unwrap();
    std::fs::write(&path, format!("{text}{line}\n")).unwrap();
}

fn handed_over() {
    let play = waiting("two");
    approve(&play, "bob", &[]).exits(0);
    play.with("alice", "handoff", &["--note", "yours", "--to", "bob"]).exits(0);
    play.ran("bob", "accept --acknowledge offer").exits(0);
    play.with("bob", "resume", &CONFIRM).exits(4).says("they drive the run");
    assert_eq!(play.ledger(), ["make"]);
    // Now alice is the second person.
    approve(&play, "alice", &[]).exits(0);
    play.with("bob", "resume", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);
    play.verified();
}

fn author() {
    let git = |play: &Play, words: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(play.sandbox.path()).args(["-c", "user.name=Bob Example"]);
        command.args(["-c", "user.email=7+bob@users.noreply.example.org"]).args(words);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        must(&mut command);
    };
    let start = |play: &Play| {
        let words = "run book.yaml --env guarded --confirm environment=guarded";
        play.with("alice", words, &CONFIRM).exits(4)
    };
    let play = scene();
    git(&play, &["init", "-q"]);
    git(&play, &["add", "book.yaml"]);
    git(&play, &["commit", "-q", "-m", "x"]);
    start(&play);
    let opened = &play.events("opened")[0]["author"];
    assert_eq!(opened["names"][0], "Bob Example", "{opened}");
    approve(&play, "bob", &[]).exits(3).says("they last changed the runbook");
    approve(&play, "carol", &[]).exits(0);
    play.with("alice", "resume", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);

    // Changed since its commit: git does not know, and what root owns says nothing about a person.
    let play = scene();
    git(&play, &["init", "-q"]);
    git(&play, &["add", "book.yaml"]);
    git(&play, &["commit", "-q", "-m", "x"]);
    let book = std::fs::read_to_string(play.path("book.yaml")).unwrap();
    std::fs::write(play.path("book.yaml"), book.replace("Remove", "Remove all")).unwrap();
    start(&play);
    let opened = play.events("opened")[0]["author"].clone();
    if crate::harness::is_root() {
        assert_eq!(opened["names"].as_array().map(Vec::len), Some(0), "{opened}");
        approve(&play, "carol", &[]).exits(3).says("nobody knows who last changed the runbook");
    } else {
        assert!(opened["how"].as_str().unwrap().contains("owner"), "{opened}");
    }
}

/// Keys of some people, and the file that says whose they are.
fn keys(play: &Play, people: &[&str]) {
    let mut allowed = String::new();
    for who in people {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"]).arg(play.path(who));
        must(&mut command);
        let public = std::fs::read_to_string(play.path(&format!("{who}.pub"))).unwrap();
        allowed.push_str(&format!("{who}@example.org {public}"));
    }
    std::fs::create_dir_all(play.sandbox.store()).unwrap();
    let path = play.sandbox.store().join("allowed_signers");
    std::fs::write(&path, allowed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, mode).unwrap();
}

fn signed() {
    let play = scene();
    keys(&play, &["alice", "bob"]);
    play.with("alice", "run book.yaml --env keys --sign alice", &CONFIRM).exits(4);
    approve(&play, "bob", &[]).exits(2).says("--sign KEY");
    // Alice under another name, with her own key; and a key that is nobody's.
    approve(&play, "mallory", &["--sign", "alice"]).exits(3).says("alice@example.org");
    // A key that the file gives two names is one person all the same.
    let path = play.sandbox.store().join("allowed_signers");
    let all = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, all.replace("alice@example.org ", "alice@example.org,mallory ")).unwrap();
    approve(&play, "mallory", &["--sign", "alice"]).exits(3).says("they drive the run");
    std::fs::write(&path, all).unwrap();
    must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(play.path("stray")));
    approve(&play, "bob", &["--sign", "stray"]).exits(3).says("SHA256:");
    assert!(play.events("approved").is_empty());
    approve(&play, "bob", &["--sign", "bob"]).exits(0).says("bob@").says("signed");
    // Bob is removed: what he signed counts no longer.
    let path = play.sandbox.store().join("allowed_signers");
    let all = std::fs::read_to_string(&path).unwrap();
    let without: String = all.lines().filter(|l| !l.starts_with("bob")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&path, without).unwrap();
    play.with("alice", "resume --sign alice", &CONFIRM).exits(4).says("is not allowed");
    std::fs::write(&path, &all).unwrap();
    // A file that anybody may change says nothing.
    let mode = |bits| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(bits);
        std::fs::set_permissions(&path, mode).unwrap();
    };
    mode(0o666);
    play.with("alice", "resume --sign alice", &CONFIRM).exits(4).says("may change it");
    mode(0o644);

    // A handoff's both sides are signed, too.
    play.with("alice", "handoff", &["--note", "yours"]).exits(2).says("a handoff is signed");
    play.with("alice", "handoff --sign bob", &["--note", "yours"]).exits(3).says("bob@example.org");
    assert!(play.events("offered").is_empty());
    play.with("alice", "handoff --sign alice", &["--note", "yours"]).exits(0);
    play.ran("bob", "accept --acknowledge offer").exits(2).says("taking a run over is signed");
    play.ran("bob", "accept --acknowledge offer --sign bob").exits(0);
    play.with("bob", "resume --sign bob", &CONFIRM).exits(4).says("they drive the run");
    approve(&play, "alice", &["--sign", "alice"]).exits(0);
    play.with("bob", "resume --sign bob", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);

    let id = play.id();
    let signers = path.display().to_string();
    let told = play.with("x", &format!("verify {id}"), &["--signers", &signers]).exits(0);
    told.says("signed by alice@example.org").says("signed by bob@example.org");
    play.with("x", &format!("verify {id}"), &["--signers", "/nowhere"]).exits(6).says("DOES NOT HOLD");
}

fn forged() {
    let play = scene();
    keys(&play, &["alice", "bob"]);
    play.with("alice", "run book.yaml --env keys --sign alice", &CONFIRM).exits(4);
    approve(&play, "bob", &["--sign", "bob"]).exits(0);
    let path = play.run().join("journal.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let real = play.events("approved")[0].clone();
    let last = play.journal().last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(last, real["seq"].as_u64().unwrap());
    let before: String = whole.lines().take(last as usize - 1).map(|line| format!("{line}\n")).collect();
    // One field of the approval after the other, in a journal whose chain is whole.
    let later = real["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() + Duration::from_secs(60);
    let other = holdpoint::base::Digest::of(b"other").0;
    for (field, value) in [
        ("step", Value::from("make")),
        ("undo", Value::from(true)),
        ("content", Value::from(other.clone())),
        ("text", Value::from("the old file")),
        ("until", Value::from(later.to_string())),
        ("boot", Value::from("another")),
        ("by", Value::from("carol@h")),
        ("signature", Value::Null),
        ("signature.head", Value::from(other)),
        ("signature.ssh", Value::from(real["signature"]["ssh"].as_str().unwrap().replacen('A', "B", 1))),
    ] {
        std::fs::write(&path, &before).unwrap();
        let mut line = real.clone();
        match field.split_once('.') {
            Some((outer, inner)) => line[outer][inner] = value,
            None => line[field] = value,
        }
        forge(&play, line);
        let ran = play.with("alice", "resume --sign alice", &CONFIRM);
        assert_eq!((ran.status, play.ledger()), (Some(4), vec!["make".to_owned()]), "{field}: {ran:?}");
    }
    // The very same approval, taken back, and put on record a second time.
    std::fs::write(&path, &whole).unwrap();
    let withdraw = format!("approve {} drop --withdraw --sign bob", play.id());
    play.with("bob", &withdraw, &["--reason", "no"]).exits(0);
    let mut again = real.clone();
    again["seq"] = Value::from(last + 2);
    forge(&play, again);
    play.with("alice", "resume --sign alice", &CONFIRM)
        .exits(4)
        .says("the same signature stands on an earlier line");
    play.ran("x", &format!("verify {}", play.id())).exits(6).says("it is a copy");
    // In another run of the same runbook.
    let id = play.id();
    play.with("alice", &format!("abandon {id}"), &["--reason", "x"]);
    std::fs::rename(play.run(), play.path("first")).unwrap();
    play.with("alice", "run book.yaml --env keys --sign alice", &CONFIRM).exits(4);
    let mut foreign = real;
    foreign["seq"] = Value::from(play.journal().last().unwrap()["seq"].as_u64().unwrap() + 1);
    forge(&play, foreign);
    play.with("alice", "resume --sign alice", &CONFIRM).exits(4).says("never on record");
    assert_eq!(play.times("drop"), 0);
}

fn waived() {
    let play = plain();
    std::fs::remove_file(play.path("ready")).unwrap();
    play.ran("alice", "run book.yaml").exits(3).says("ready");
    let id = play.id();
    let waive = |who: &str, check: &str, more: &[&str]| {
        let mut words = vec!["--reason", "it is on tape"];
        words.extend(more);
        play.with(who, &format!("waive {id} {check}"), &words)
    };
    waive("alice", "make.pre.fil", &["--until", "4h"]).exits(2).says("did you mean make.pre.file");
    waive("alice", "make.pre.file", &["--until", "soon"]).exits(2);
    waive("alice", "make.pre.file", &["--until", "31d"]).exits(2).says("30d");
    waive("alice", "make.pre.file", &["--until", "2020-01-01T00:00:00Z"]).exits(2).says("is over");
    waive("alice", "make.post.file", &["--until", "4h"]).exits(2).says("not measured");
    waive("alice", "make.pre.file", &["--until", "4h"]).exits(0);
    // The destruction is confirmed already: it is held because the backup is gone.
    std::fs::remove_file(play.path("backup")).unwrap();
    let held = resume(&play).exits(3);
    let held = held.says("make goes on WITHOUT make.pre.file").says("it is on tape").says("/backup");
    assert!(!held.stdout.contains("holdpoint waive") && !held.stderr.contains("holdpoint waive"), "{held:?}");
    assert_eq!(play.ledger(), ["make"]);
    play.ran("x", "status").exits(0).says("WAIVED").says("make.pre.file").says("it is on tape");

    waive("alice", "drop.pre.backup", &["--until", "4h"]).exits(3).says("drives the run");
    waive("bob", "drop.pre.backup", &["--until", "4h"]).exits(0);
    let end = resume(&play).exits(3);
    end.says("No check is waived at the end").says("drop.pre.backup");
    assert_eq!(play.ledger(), ["make", "drop"]);
    assert_eq!(play.events("permitted")[0]["waived"][0], "drop.pre.backup");
    assert!(play.events("completed").is_empty());

    // Who takes the run over has it as a point to acknowledge.
    play.with("alice", "handoff", &["--note", "two waivers are open"]).exits(0);
    let page = play.ran("bob", "--json accept").exits(4);
    let page: Value = serde_json::from_str(&page.stdout).unwrap();
    let points: Vec<&str> =
        page["open_points"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert!(
        points.contains(&"waiver:make.pre.file") && points.contains(&"waiver:drop.pre.backup"),
        "{points:?}"
    );
    let all: String = points.iter().map(|id| format!(" --acknowledge {id}")).collect();
    play.ran("bob", &format!("accept{all}")).exits(0);

    // One passes by itself; the other is taken back.
    std::fs::write(play.path("ready"), "x").unwrap();
    play.ran("bob", "resume").exits(3);
    let open = |play: &Play| {
        let status = play.ran("x", "--json status").exits(0);
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        status["waivers"].as_array().unwrap().len()
    };
    assert_eq!(open(&play), 1);
    play.with("bob", &format!("waive {id} drop.pre.backup --withdraw"), &["--reason", "done"]).exits(0);
    play.ran("bob", "resume").exits(0);
    assert_eq!(play.events("completed").len(), 1);
    play.verified();
}

fn expired_waiver() {
    let play = plain();
    std::fs::remove_file(play.path("ready")).unwrap();
    play.ran("alice", "run book.yaml").exits(3).says("ready");
    let words = ["--reason", "it is on tape", "--until", "1s"];
    play.with("bob", &format!("waive {} make.pre.file", play.id()), &words).exits(0);
    let until = play.events("waived")[0]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    eventually(Duration::from_secs(60), "the waiver is over", || jiff::Timestamp::now() > until);
    let held = play.ran("alice", "resume").exits(3);
    let page = one_line(&held);
    let by = play.events("waived")[0]["by"].as_str().unwrap().to_owned();
    let named = format!("the waiver of {by} does not count: it has expired: it was given until {until:.0}");
    assert!(page.contains(&named), "{held:?}");
    assert_eq!(play.times("make"), 0);
    // It is on record, and so everybody who asks is told.
    let status = play.ran("x", "status").exits(0);
    assert!(one_line(&status).contains(&named), "{status:?}");
}

/// What was printed, as it was before it was wrapped.
fn one_line(ran: &Ran) -> String {
    let words = ran.stdout.split_whitespace().chain(ran.stderr.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

fn not_waived() {
    let play = plain();
    std::fs::remove_file(play.path("mirror")).unwrap();
    play.with("alice", "run book.yaml", &CONFIRM).exits(3).says("mirror");
    let id = play.id();
    let until = ["--reason", "x", "--until", "4h"];
    play.with("bob", &format!("waive {id} drop.pre.mirror"), &until)
        .exits(3)
        .says("does not let it be waived");
    play.with("bob", &format!("waive {id} drop.pre.backup"), &until).exits(2).says("passes");
    // Written into the journal by hand, it opens nothing.
    let last = play.journal().last().unwrap().clone();
    let line = serde_json::json!({
        "seq": last["seq"].as_u64().unwrap() + 1, "wall": last["wall"], "boot_ms": last["boot_ms"],
        "by": "bob@h", "epoch": 0, "what": "waived", "check": "drop.pre.mirror", "reason": "x",
        "until": "2099-01-01T00:00:00Z", "boot": "x", "verdict": "fail", "seen": "x",
    });
    forge(&play, line);
    let held = resume(&play).exits(3);
    assert!(one_line(&held).contains("the waiver of bob@h does not count"), "{held:?}");
    assert_eq!(play.ledger(), ["make"]);
}

fn window() {
    // Two days of the week that are not today, wherever the day may turn while this runs.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let today = now.weekday().to_monday_zero_offset() as usize;
    let day = names[(today + 3) % 7];
    let play = scene();
    // The protected place asks for approvals on the same files: then nothing begins outside of it.
    let book = BOOK.replace("  guarded: { approvals: 1, protected: true }\n", "");
    let windowed = book.replace(
        "two: { approvals: 1 }",
        &format!(
            "two: {{ change_window: {{ days: [{day}], hours: \"09:00-15:00\", timezone: Europe/London }} }}"
        ),
    );
    play.book(&windowed);
    play.ran("x", "plan book.yaml --env two").exits(0).says(&format!("{day} 09:00-15:00 Europe/London"));
    let held = play.ran("alice", "run book.yaml --env two").exits(3);
    held.says("It is a time at which changes may begin").says("wait: it opens").says("UTC)");
    assert!(play.ledger().is_empty());
    play.ran("x", "status").exits(0).says("Change windows").says("closed (").says("it opens");
    play.verified();
    // On all days it goes on.
    let play = scene();
    let always = format!(
        "two: {{ change_window: {{ days: [{}], hours: \"00:00-24:00\", timezone: UTC }} }}",
        names.join(", ")
    );
    play.book(&book.replace("two: { approvals: 1 }", &always));
    play.with("alice", "run book.yaml --env two", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["make", "drop"]);
}
