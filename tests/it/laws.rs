//! One short test a law, where the tests of its parts do not show it with the whole program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Need, Registry, eventually, finish};
use crate::play::{Play, kill_tree, lines};

pub fn register(r: &mut Registry) {
    r.add("laws::law_1_only_a_pass_passes", &[], only_a_pass);
    r.add("laws::law_2_nothing_goes_round_the_gate", &[], no_way_round);
    r.add("laws::law_3_all_true_together_and_now", &[], together_and_now);
    r.add("laws::law_4_on_record_before_it_begins", &[], on_record_first);
    r.add("laws::law_5_a_crash_is_an_unknown_outcome", &[], unknown_outcome);
    r.add("laws::law_6_a_resume_proves_again", &[], proves_again);
    r.add("laws::law_7_exit_0_is_no_proof", &[], exit_0);
    r.add("laws::law_8_looking_changes_nothing", &[], looking);
    r.add("laws::law_9_no_message_prints_its_own_bypass", &[], no_bypass_printed);
    r.add("laws::law_10_all_blockers_at_once", &[], all_blockers);
    r.add("laws::law_13_secrets_stay_out", &[], secrets);
    r.add("laws::law_13_output_cannot_imitate_us", &[], hostile_output);
    r.add("laws::law_14_anyone_can_check_the_journal", &[], journal_checked);
    r.add("laws::law_15_a_clock_that_jumped_voids_freshness", &[Need::Faketime], jumped);
}

/// A step that does its work, then a destruction that `GUARD` guards.
const BOOK: &str = r#"
holdpoint: 1
name: law
vars: { place: { default: "@" } }
steps:
  - id: prepare
    run: |
      echo prepare >>"$place/ledger"
      echo yes >"$place/ready"
    timeout: 1min
    postconditions: [ file: { path: "@/ready", contains: "yes" } ]
  - id: purge
    destroys: { what: the dump, paths: ["@/dump"] }
    preconditions: [ GUARD ]
    run: |
      echo purge >>"$place/ledger"
      rm "$place/dump"
    timeout: 1min
    postconditions: [ file: { path: "@/dump", exists: false } ]
"#;
const CONFIRM: [&str; 2] = ["--confirm", "purge=the dump"];
const OPEN: &str = "file: { path: \"@/open\" }";

fn scene(guard: &str) -> Play {
    let play = Play::new();
    play.book(&BOOK.replace("GUARD", guard));
    std::fs::write(play.path("dump"), "five months of messages").unwrap();
    play
}

#[track_caller]
fn nothing_destroyed(play: &Play, what: &str) {
    assert!(play.path("dump").exists() && play.times("purge") == 0, "{what}");
    for run in play.runs() {
        let text = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
        assert!(!text.contains("\"permitted\""), "{what}");
    }
}

fn only_a_pass() {
    for guard in [
        "command: { run: [\"true\"], stdout: { at_least: 0 } }",
        "command: { run: [echo, NaN], stdout: { at_least: 0 } }",
        "command: { run: [echo, \"\"], stdout: { lacks: error } }",
        "command: { run: [/no/such/tool] }",
        "command: { run: [sleep, \"9\"], timeout: 100ms }",
        "command: { run: \"kill -KILL $$\" }",
        "file: { path: \"@/nowhere\" }",
        "backup_fresh: { path: \"@/empty\", max_age: 1d }",
        "pg_accepts_connections: { target: db, timeout: 2s }",
        "pg_query: { target: db, sql: select 1, equals: \"1\", timeout: 2s }",
        "data_matches: { source: none, target: other }",
        "service_running: { unit: no-such-unit.service }",
    ] {
        let play = Play::new();
        let targets = "targets:\n  db: { postgres: \"host=127.0.0.1 port=1 user=x dbname=x\" }\n  none: { sqlite: \"@/none.db\" }\n  other: { sqlite: \"@/other.db\" }\nsteps:";
        for name in ["none.db", "other.db"] {
            rusqlite::Connection::open(play.path(name)).unwrap().execute_batch("create table t (a)").unwrap();
        }
        std::fs::create_dir(play.path("empty")).unwrap();
        std::fs::write(play.path("dump"), "x").unwrap();
        play.book(&BOOK.replace("steps:", targets).replace("GUARD", guard));
        let ran = play.with("alice", "run book.yaml", &CONFIRM);
        assert_eq!(ran.status, Some(3), "{guard}: {ran:?}");
        nothing_destroyed(&play, guard);
        assert_eq!(play.ledger(), ["prepare"]);
    }
    // A threshold that is not set is no threshold.
    for guard in [
        "command: { run: [echo, x], stdout: {} }",
        "disk_free: { path: / }",
        "pg_query: { target: db, sql: select 1 }",
    ] {
        let play = scene(guard);
        let ran = play.with("alice", "run book.yaml", &CONFIRM);
        assert!(matches!(ran.status, Some(2 | 3)), "{guard}: {ran:?}");
        nothing_destroyed(&play, guard);
    }
}

/// Flags, environment variables and modes that other tools have for this, and our own.
fn no_way_round() {
    let play = scene(OPEN);
    play.ran("alice", "run book.yaml").exits(3);
    let words = [
        "resume --force",
        "resume --yes",
        "resume -y",
        "resume --skip purge",
        "resume --no-checks",
        "resume --ignore-checks",
        "resume --dry-run",
        "resume --from purge",
        "resume --confirm purge=yes",
        "resume --confirm purge=",
        "resume --confirm environment=production",
        "resume --decide purge=done --reason x",
        "resume --decide purge=again --reason x",
        "resume --decide prepare=done --reason x",
        "resume --json",
        "resume --var place=/",
        "accept --take-over --reason x",
        "run book.yaml --env production",
    ];
    for words in words {
        play.ran("alice", words);
        play.with("alice", words, &CONFIRM);
        nothing_destroyed(&play, words);
    }
    let yes = [
        "HOLDPOINT_FORCE",
        "HOLDPOINT_YES",
        "HOLDPOINT_CONFIRM",
        "HOLDPOINT_SKIP_CHECKS",
        "HOLDPOINT_REHEARSAL",
    ];
    let others =
        ["FORCE", "YES", "CI", "DEBUG", "HOLDPOINT_ENV", "RUST_TEST", "NONINTERACTIVE", "DEBIAN_FRONTEND"];
    for name in yes.into_iter().chain(others) {
        let mut command = play.holdpoint("alice", "resume");
        finish(command.args(CONFIRM).env(name, "1"), Duration::from_secs(30)).exits(3);
        nothing_destroyed(&play, name);
    }
    // Answers that were not asked for, and programs put in the way.
    let mut shell = Command::new("bash");
    let plain = play.holdpoint("alice", "resume");
    let line = format!("yes 'the dump' | {:?} --operator alice resume", plain.get_program());
    shell.args(["-c", &line]).env("HOLDPOINT_STORE", play.sandbox.store()).current_dir(play.sandbox.path());
    finish(&mut shell, Duration::from_secs(30)).exits(3);
    nothing_destroyed(&play, "yes |");
    // The journal is no way in: what it says of an earlier session opens nothing.
    std::fs::write(play.path("open"), "").unwrap();
    play.ran("alice", "resume").exits(4);
    nothing_destroyed(&play, "not confirmed");
    std::fs::remove_file(play.path("open")).unwrap();
    play.with("alice", "resume", &CONFIRM).exits(3);
    nothing_destroyed(&play, "confirmed, and no longer open");
    std::fs::write(play.path("open"), "").unwrap();
    play.with("alice", "resume", &["--confirm", "purge=the dumps"]).exits(3);
    nothing_destroyed(&play, "another text");
    play.with("alice", "resume", &CONFIRM).exits(0);
    assert_eq!(play.ledger(), ["prepare", "purge"]);
}

/// A guard that passes now and an earlier postcondition that no longer does are not true together.
fn together_and_now() {
    let play = scene(OPEN);
    play.ran("alice", "run book.yaml").exits(3);
    std::fs::write(play.path("open"), "").unwrap();
    std::fs::write(play.path("ready"), "no").unwrap();
    play.with("alice", "resume", &CONFIRM).exits(3).says("prepare.post.file");
    nothing_destroyed(&play, "drifted");
    std::fs::write(play.path("ready"), "yes").unwrap();
    play.with("alice", "resume", &CONFIRM).exits(0);
    let journal = play.journal();
    let permit = journal.iter().find(|line| line["what"] == "permitted").unwrap();
    assert_eq!(permit["guards"].as_array().unwrap().len(), 2, "{permit}");
    let epoch = &permit["epoch"];
    for guard in permit["guards"].as_array().unwrap() {
        let fresh = journal.iter().any(|line| {
            line["what"] == "measured" && line["epoch"] == *epoch && line["evidence"]["check"] == *guard
        });
        assert!(fresh, "{guard} was not measured by the session that destroyed");
    }
}

/// The command itself finds its beginning on disk.
fn on_record_first() {
    let play = Play::new();
    play.book(
        "holdpoint: 1\nname: law\nvars: { place: { default: \"@\" } }\nsteps:\n  - id: all\n    run: |\n      cat \"$place\"/store/runs/*/journal.jsonl | grep -c '\"what\":\"began\"' >\"$place/ledger\"\n    timeout: 1min\n    postconditions: [ file: { path: \"@/ledger\" } ]\n",
    );
    play.ran("alice", "run book.yaml").exits(0);
    assert_eq!(play.ledger(), ["1"]);
}

/// The file is there, and the command that wrote it was killed: that is no end.
fn unknown_outcome() {
    let play = scene(OPEN);
    let book = std::fs::read_to_string(play.path("book.yaml")).unwrap();
    play.book(&book.replace("echo yes >\"$place/ready\"", "echo yes >\"$place/ready\"; sleep 77"));
    let mut alice = play.start("alice", "run book.yaml");
    eventually(Duration::from_secs(10), "the file is there", || lines(&play.path("ready")) == ["yes"]);
    alice.kill();
    play.processes().iter().for_each(|(pid, _)| kill_tree(*pid));
    play.ran("alice", "resume").exits(4).says("IN DOUBT").says("neither done nor failed");
    play.ran("alice", "status").exits(0).says("doubt");
    assert_eq!(play.begun("prepare"), 1);
    play.with("alice", "resume", &["--decide", "prepare=done", "--reason", "the file is complete"]).exits(3);
    assert_eq!(play.ledger(), ["prepare"]);
    assert_eq!(play.events("decided")[0]["reason"], "the file is complete");
}

fn proves_again() {
    let play = Play::new();
    let text = BOOK.replace("GUARD", OPEN);
    let door = "  - id: door\n    preconditions: [ file: { path: \"@/door\" } ]\n    run: \"echo door >>\\\"$place/ledger\\\"\"\n    timeout: 1min\n    postconditions: [ file: { path: \"@/ledger\" } ]\n  - id: purge";
    play.book(&text.replace("  - id: purge", door));
    std::fs::write(play.path("dump"), "x").unwrap();
    play.ran("alice", "run book.yaml").exits(3);
    for name in ["door", "open"] {
        std::fs::write(play.path(name), "").unwrap();
    }
    std::fs::remove_file(play.path("ready")).unwrap();
    play.ran("alice", "resume").exits(3).says("ready");
    assert_eq!(play.ledger(), ["prepare"], "what follows does not begin");
    assert_eq!(play.events("reopened")[0]["step"], "prepare");
    play.ran("alice", "status").exits(0).says("no longer");
    play.with("alice", "resume", &["--decide", "prepare=again", "--reason", "lost", CONFIRM[0], CONFIRM[1]])
        .exits(0);
    assert_eq!(play.ledger(), ["prepare", "prepare", "door", "purge"]);
}

fn exit_0() {
    let play = scene(OPEN);
    let book = std::fs::read_to_string(play.path("book.yaml")).unwrap();
    let line = book.lines().find(|line| line.contains("contains: \"yes\"")).unwrap().to_owned();
    play.book(&book.replace(&format!("{line}\n"), ""));
    std::fs::write(play.path("open"), "").unwrap();
    play.ran("alice", "lint book.yaml").exits(2).says("HP040");
    play.with("alice", "run book.yaml", &CONFIRM).exits(2).says("HP040");
    assert_eq!((play.runs().len(), play.ledger().len()), (0, 0));
    nothing_destroyed(&play, "unverified");
    // It says 0, and what it should have made is not there.
    play.book(&book.replace("echo yes >\"$place/ready\"", "true"));
    play.with("alice", "run book.yaml", &CONFIRM).exits(1);
    nothing_destroyed(&play, "lied");
}

/// Every file below a folder with its contents and times.
fn picture(at: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let text = if meta.is_file() {
                String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
            } else {
                String::new()
            };
            all.insert(
                path.display().to_string(),
                format!("{:?} {:?} {text}", meta.permissions(), meta.modified().unwrap()),
            );
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

fn looking() {
    let play = scene(OPEN);
    let before = picture(play.sandbox.path());
    for (words, status) in [
        ("lint book.yaml", 0),
        ("plan book.yaml", 0),
        ("check book.yaml", 1),
        ("check book.yaml purge", 1),
        ("--json check book.yaml", 1),
    ] {
        play.ran("alice", words).exits(status);
        assert_eq!(picture(play.sandbox.path()), before, "{words}");
    }
    // The same check that the gate would use.
    play.ran("alice", "check book.yaml purge").says("/open");
    play.with("alice", "run book.yaml", &CONFIRM).exits(3);
    let id = play.id();
    let before = picture(play.sandbox.path());
    for words in ["status", "runs", "log", "--json status", "check book.yaml", "plan book.yaml"] {
        play.ran("bob", words);
        assert_eq!(picture(play.sandbox.path()), before, "{words}");
    }
    play.ran("bob", &format!("verify {id}")).exits(0);
    assert_eq!(picture(play.sandbox.path()), before, "verify");
}

/// Whatever is refused, the text names no way to have it all the same.
fn no_bypass_printed() {
    let play = scene(OPEN);
    let mut said = String::new();
    let mut hear = |words: &str, more: &[&str]| {
        let ran = play.with("alice", words, more);
        assert_ne!(ran.status, Some(0), "{words}");
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    };
    hear("run book.yaml", &CONFIRM);
    hear("resume", &[]);
    hear("resume", &["--confirm", "purge=wrong"]);
    hear("run book.yaml", &[]);
    std::fs::write(play.path("ready"), "no").unwrap();
    hear("resume", &CONFIRM);
    for word in [
        "--force",
        "--skip",
        "waive",
        "--yes",
        "--ignore",
        "purge=the dump",
        "\"purge=",
        "bypass",
        "override",
    ] {
        assert!(!said.contains(word), "`{word}` is in:\n{said}");
    }
    nothing_destroyed(&play, "asked often");
    // A check that is only advisory is measured and shown, and cannot be a guard.
    let advisory = scene("file: { path: \"@/open\", advisory: true }");
    advisory.with("alice", "run book.yaml", &CONFIRM).exits(2).says("HP041");
    nothing_destroyed(&advisory, "advisory");
}

fn all_blockers() {
    let play =
        scene("file: { path: \"@/a\" }, file: { path: \"@/b\", id: second }, command: { run: [\"false\"] }");
    play.ran("alice", "run book.yaml").exits(3);
    std::fs::write(play.path("ready"), "no").unwrap();
    std::fs::remove_file(play.path("dump")).unwrap();
    let ran = play.with("alice", "resume", &CONFIRM).exits(3);
    let text = format!("{}{}", ran.stdout, ran.stderr);
    for wanted in
        ["purge.pre.file", "purge.pre.second", "purge.pre.command", "prepare.post.file", "blast radius"]
    {
        assert!(text.contains(&format!("check   {wanted}")), "`{wanted}` is not in:\n{text}");
    }
    let held = play.events("held").pop().unwrap();
    for blocker in held["blockers"].as_array().unwrap() {
        for key in ["observed", "expected", "next"] {
            assert!(!blocker[key].as_str().unwrap().is_empty(), "{blocker}");
        }
    }
}

const CANARY: &str = "kanarien/Vogel+42 ?s";

/// The secret in all forms in which a command might print it.
fn forms() -> Vec<String> {
    let base64 = |text: &str| {
        let mut child = Command::new("base64")
            .arg("-w0")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        CANARY.to_owned(),
        base64(CANARY).trim_end_matches('=').to_owned(),
        "kanarien%2FVogel%2B42%20%3Fs".to_owned(),
        hex,
    ]
}

fn secrets() {
    let play = Play::new();
    play.book(
        r#"
holdpoint: 1
name: secret
vars:
  place: { default: "@" }
  token: { secret: true, env: TOKEN }
steps:
  - id: tell
    run: |
      echo "clear: $token"; printf %s "$token" | base64 -w0; echo
      printf %s "$token" | xxd -p | tr -d '\n'; echo
      t=${token//\//%2F}; t=${t//+/%2B}; t=${t// /%20}; t=${t//\?/%3F}; echo "$t"; [ "$t" != "$token" ]
      for i in 1 2 3 4; do printf %s "${token:$((i*5-5)):5}"; sleep 0.05; done; echo
      echo "$token" >&2
      ps -eo args >"$place/ps"
      [ -n "$token" ] && echo ok >>"$place/ledger"
      sleep 0.5
    timeout: 1min
    changes: false
    postconditions:
      - command: { id: shown, run: "echo \"$token\"; echo \"$token\" >&2; exit 1", advisory: true }
      - command: { id: read, run: "echo \"$token\"", stdout: { lacks: nothing } }
  - id: fail
    run: "echo \"failed with $token\"; exit 1"
    timeout: 1min
    postconditions: [ file: { path: "@/ledger" } ]
"#,
    );
    let with_token = |words: &str| {
        let mut command = play.holdpoint("alice", words);
        command.env("TOKEN", CANARY);
        command
    };
    let mut alice = play.beside(&mut with_token("run book.yaml"));
    let mut seen = String::new();
    let until = Instant::now() + Duration::from_secs(20);
    while !alice.ended() && Instant::now() < until {
        play.processes().iter().for_each(|(_, words)| seen.push_str(words));
        std::thread::sleep(Duration::from_millis(5));
    }
    let ran = alice.ends(Duration::from_secs(20)).exits(1);
    assert_eq!(play.ledger(), ["ok"], "{ran:?}");
    seen.push_str(&ran.stdout);
    seen.push_str(&ran.stderr);
    for words in [
        "resume",
        "status",
        "log",
        "--json status",
        "log --format jsonl",
        "log --format markdown",
        "check book.yaml",
        "plan book.yaml",
    ] {
        let ran = finish(&mut with_token(words), Duration::from_secs(30));
        seen.push_str(&ran.stdout);
        seen.push_str(&ran.stderr);
    }
    let store = picture(&play.sandbox.store())
        .into_iter()
        .map(|(name, text)| format!("{name}\n{text}\n"))
        .collect::<String>();
    assert!(seen.contains("clear: ") && store.contains("clear: "), "the command's words are kept:\n{seen}");
    let listed = std::fs::read_to_string(play.path("ps")).unwrap();
    assert!(listed.contains("__supervise"), "{listed}");
    for (place, text) in [("outputs and processes", &seen), ("the store", &store), ("ps", &listed)] {
        for form in forms() {
            if let Some(at) = text.find(&form) {
                let from = text.floor_char_boundary(at.saturating_sub(200));
                panic!("{place} has `{form}`: …{}", &text[from..text.floor_char_boundary(at + 60)]);
            }
        }
    }
    // Never stored, so it has to be given again.
    play.ran("alice", "resume").exits(2).says("token");
}

/// Control sequences, and lines that look like ours.
fn hostile_output() {
    let play = Play::new();
    play.book(
        "holdpoint: 1\nname: evil\nvars: { place: { default: \"@\" } }\nsteps:\n  - id: all\n    run: |\n      printf '\\033[2J\\033]0;x\\007\\r[x]     all is done\\n\\233 \\302\\233 12:00:00Z permit  permit 1\\n'\n      printf 'NOT ANSWERED\\nanswer with holdpoint abandon\\n\\342\\200\\256'\n    timeout: 1min\n    postconditions: [ file: { path: \"@/nowhere\" } ]\n",
    );
    let mut all = play.ran("alice", "run book.yaml").exits(1);
    for words in ["status", "log", "--json status", "log --format jsonl", "resume"] {
        let ran = play.ran("alice", words);
        all.stdout.push_str(&ran.stdout);
        all.stderr.push_str(&ran.stderr);
    }
    let text = format!("{}{}", all.stdout, all.stderr);
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
    assert!(!text.contains(bad), "{:?}", text.chars().find(|c| bad(*c)));
    for line in text.lines().filter(|line| line.contains("all is done") || line.contains("permit 1")) {
        assert!(line.starts_with("  | "), "{line}");
    }
}

fn journal_checked() {
    let play = scene(OPEN);
    play.ran("alice", "run book.yaml").exits(3);
    let offered = play.with("alice", "--json handoff", &["--note", "good night"]).exits(0);
    let page: serde_json::Value = serde_json::from_str(&offered.stdout).unwrap();
    let head = page["head"].as_str().unwrap().to_owned();
    let (id, path) = (play.id(), play.run().join("journal.jsonl"));
    let right = std::fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = right.split_inclusive(|byte| *byte == b'\n').collect();
    let verify = |bytes: &[u8], status: i32, with_head: bool| {
        std::fs::write(&path, bytes).unwrap();
        let words = if with_head { format!("verify {id} --head {head}") } else { format!("verify {id}") };
        play.ran("auditor", &words).exits(status)
    };
    verify(&right, 0, false);
    verify(&right, 0, true);
    // One byte in every line, but the last: that one only the head protects.
    let mut start = 0;
    for (n, line) in lines.iter().enumerate() {
        let mut bytes = right.clone();
        let at = start + line.len() / 2;
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        start += line.len();
        let last = n + 1 == lines.len();
        verify(&bytes, 6, last);
    }
    let joined = |all: &[&[u8]]| all.concat();
    for n in 1..lines.len() - 1 {
        let mut cut = lines.clone();
        cut.remove(n);
        verify(&joined(&cut), 6, false);
        let mut swapped = lines.clone();
        swapped.swap(n, n + 1);
        verify(&joined(&swapped), 6, false);
        let mut twice = lines.clone();
        twice.insert(n, lines[n]);
        verify(&joined(&twice), 6, false);
    }
    // A cut tail is a whole journal, but for the head; so is an older copy.
    let cut = joined(&lines[..lines.len() - 1]);
    verify(&cut, 0, false);
    verify(&cut, 6, true);
    // A damaged journal drives nothing.
    let mut bytes = right.clone();
    let at = lines[0].len() + lines[1].len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(play.path("open"), "").unwrap();
    for words in ["resume", "accept", "status"] {
        play.with("alice", words, if words == "status" { &[] } else { &CONFIRM }).exits(6);
    }
    nothing_destroyed(&play, "damaged journal");
    std::fs::write(&path, &right).unwrap();
    play.with("alice", "resume", &CONFIRM).exits(0);
    verify(&std::fs::read(&path).unwrap(), 0, true);
}

/// While the slow guard is measured, the wall clock is set back two hours, and forward, and nine minutes.
fn jumped() {
    let library = crate::harness::faketime().unwrap();
    for jump in ["-2h", "+2h", "+9m"] {
        let guard = "command: { run: \"touch \\\"$place/measuring\\\"; until [ -e \\\"$place/go\\\" ]; do sleep 0.05; done\" }, file: { path: \"@/open\" }";
        let play = scene(guard);
        std::fs::write(play.path("open"), "").unwrap();
        let clock = play.sandbox.write("clock", "+0\n");
        let mut command = play.holdpoint("alice", "run book.yaml");
        command.args(CONFIRM).env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock);
        command
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut alice = play.beside(&mut command);
        eventually(Duration::from_secs(20), "the guards are measured", || play.path("measuring").exists());
        std::thread::sleep(Duration::from_millis(500));
        std::fs::write(&clock, format!("{jump}\n")).unwrap();
        std::fs::write(play.path("go"), "").unwrap();
        let ran = alice.ends(Duration::from_secs(30));
        // What was measured before the jump was measured again, or refused; it opened nothing by itself.
        let journal = play.journal();
        let times: Vec<i64> = journal
            .iter()
            .map(|line| line["wall"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second())
            .collect();
        let jumps = times.windows(2).filter(|pair| (pair[1] - pair[0]).abs() > 400).count();
        assert!(jumps >= 1, "the clock did not jump for the program: {times:?}");
        let measured = journal.iter().rfind(|line| line["evidence"]["check"] == "purge.pre.file").unwrap();
        let at = measured["evidence"]["at"]["wall"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        match ran.status {
            Some(3) => nothing_destroyed(&play, jump),
            Some(0) => {
                let after = (at.as_second() - times[0]).abs() > 400;
                assert!(after, "{jump}: evidence from before the jump opened the gate\n{ran:?}")
            }
            _ => panic!("{jump}: {ran:?}"),
        }
    }
}
