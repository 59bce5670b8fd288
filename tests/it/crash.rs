//! The engine is killed at every point where it makes something durable, and at many between: whatever it was doing, the
//! run comes to its end with every step done, none skipped, unsafe ones never twice, and nothing destroyed before proof.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Need, Ran, Registry, finish, must};
use crate::play::{Play, kill_tree};

const CONFIRM: [&str; 2] = ["--confirm", "destroy=the old database"];

/// Ten steps: commands that may be repeated and commands that may not, a manifest, a captured value, a soak, and a
/// destruction that two comparisons of all rows guard.
const BOOK: &str = r#"
holdpoint: 1
name: crash
vars: { place: { default: "@" } }
targets:
  old: { sqlite: "${place}/old/app.db" }
  new: { sqlite: "${place}/new/app.db" }
steps:
  - id: close
    run: |
      echo close >>"$place/ledger"
      touch "$place/closed"
    timeout: 1min
    rerun: safe
    postconditions: [ file: { path: "${place}/closed", until: open } ]
  - id: before
    record: { target: old, as: before }
  - id: count
    run: |
      echo count >>"$place/ledger"
    changes: false
    rerun: safe
    timeout: 1min
    postconditions: [ file: { path: "${place}/closed", until: open } ]
  - id: size
    run: [stat, -c, "%s", "${place}/old/app.db"]
    changes: false
    rerun: safe
    timeout: 1min
    capture: bytes
    postconditions: [ file: { path: "${place}/old/app.db", until: destroy } ]
  - id: copy
    run: |
      echo copy >>"$place/ledger"
      mkdir -p "$place/new"
      cp "$place/old/app.db" "$place/new/app.db"
    creates: [new]
    timeout: 1min
    postconditions:
      - data_matches: { source: old, target: new, until: destroy }
      - data_matches: { id: recorded, recorded: before, target: new }
  - id: open
    run: |
      echo open >>"$place/ledger"
      echo open >>"$place/opened"
    timeout: 1min
    postconditions: [ file: { path: "${place}/opened" } ]
  - id: watch
    soak: { for: 200ms, every: 100ms }
    invariants: [ file: { path: "${place}/opened" } ]
  - id: tell
    run: |
      echo tell >>"$place/ledger"
      echo "told $bytes" >"$place/told"
    timeout: 1min
    rerun: safe
    postconditions: [ file: { path: "${place}/told", contains: "told 8192" } ]
  - id: destroy
    destroys: { what: the old database, target: old, paths: ["${place}/old"], survives_in: new }
    run: |
      echo destroy >>"$place/ledger"
      rm -r "$place/old"
    timeout: 1min
    rerun: never
    postconditions: [ file: { path: "${place}/old", exists: false } ]
  - id: finish
    run: |
      echo finish >>"$place/ledger"
      touch "$place/finished"
    timeout: 1min
    postconditions: [ file: { path: "${place}/finished" } ]
"#;

const SAFE: [&str; 4] = ["close", "count", "size", "tell"];
const UNSAFE: [&str; 4] = ["copy", "open", "destroy", "finish"];

pub fn register(r: &mut Registry) {
    let traced = &[Need::Root, Need::Strace];
    r.add("crash::killed_at_every_record", traced, || sweep("fdatasync", 1));
    r.add("crash::killed_between_records", traced, || {
        sweep("fsync", 3);
        sweep("write", 7);
    });
    r.add("crash::killed_again_while_resuming", traced, killed_twice);
    r.add("crash::killed_with_the_command_under_way", &[Need::Strace], command_and_supervisor_killed);
}

fn scene() -> Play {
    let play = Play::new();
    play.book(BOOK);
    std::fs::create_dir(play.path("old")).unwrap();
    let rows = "create table t (a integer primary key, b text);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) insert into t select i, 'x' || i from n";
    rusqlite::Connection::open(play.path("old/app.db")).unwrap().execute_batch(rows).unwrap();
    play
}

/// The program under strace, which kills its main thread's process when it enters the given call for the n-th time.
fn killed_at(play: &Play, words: &str, call: &str, nth: usize) -> Ran {
    let plain = play.holdpoint("alice", words);
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(plain.get_program()).args(plain.get_args()).args(CONFIRM).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.current_dir(play.sandbox.path()).stdin(Stdio::null());
    finish(&mut command, Duration::from_secs(60))
}

/// How often the main thread enters a call in a run that nobody disturbs.
fn calls(call: &str) -> usize {
    let play = scene();
    let trace = play.path("trace");
    let plain = play.holdpoint("alice", "run book.yaml");
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", &format!("trace={call}"), "-o"]).arg(&trace);
    command
        .arg(plain.get_program())
        .args(plain.get_args())
        .args(CONFIRM)
        .env("HOLDPOINT_STORE", play.sandbox.store());
    must(command.current_dir(play.sandbox.path()).stdin(Stdio::null()));
    came_to_its_end(&play, "undisturbed");
    crate::play::lines(&trace).iter().filter(|line| line.starts_with(call)).count()
}

fn sweep(call: &'static str, every: usize) {
    let total = calls(call);
    assert!(total >= 10, "only {total} calls of {call}: the sweep would prove nothing");
    let points = Mutex::new((1..=total).step_by(every));
    let killed = Mutex::new(0);
    let work = || {
        loop {
            let Some(nth) = points.lock().unwrap().next() else { break };
            let play = scene();
            let ran = killed_at(&play, "run book.yaml", call, nth);
            if ran.status != Some(0) {
                *killed.lock().unwrap() += 1;
            }
            go_on(&play, &format!("killed at {call} {nth} of {total}"));
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
    let (killed, tried) = (*killed.lock().unwrap(), total.div_ceil(every));
    assert!(killed * 10 >= tried * 8, "{killed} of {tried} were killed");
}

/// Goes on until the run is complete; everything must have been done right. A supervisor outlives the engine and keeps
/// how its command ended, so that nobody has to decide anything.
#[track_caller]
fn go_on(play: &Play, at: &str) {
    if play.runs().is_empty() {
        // Nothing was on record yet: nothing may have been done.
        assert_eq!(play.ledger(), Vec::<String>::new(), "{at}");
        play.with("alice", "run book.yaml", &CONFIRM).exits(0);
    } else if !complete(play) {
        let resumed = play.with("alice", "resume", &CONFIRM);
        assert_eq!(resumed.status, Some(0), "{at}: {resumed:?}");
    }
    came_to_its_end(play, at);
}

fn complete(play: &Play) -> bool {
    !play.events("completed").is_empty()
}

#[track_caller]
fn came_to_its_end(play: &Play, at: &str) {
    let shown = || {
        format!("{at}: {:?}\n{}", play.ledger(), play.ran("auditor", &format!("log {}", play.id())).stdout)
    };
    assert!(complete(play), "{}", shown());
    for step in UNSAFE {
        assert_eq!(play.times(step), 1, "{step}; {}", shown());
    }
    for step in SAFE.iter().filter(|step| **step != "size") {
        assert!((1..=2).contains(&play.times(step)), "{step}; {}", shown());
    }
    assert!(play.events("decided").iter().all(|line| line["reason"] == "rerun: safe"), "{}", shown());
    assert!(!play.path("old").exists() && play.path("new/app.db").exists(), "{}", shown());
    in_order(play);
    proved_before_destroyed(&play.journal());
    play.verified();
}

/// The steps' first beginnings have the order of the runbook.
#[track_caller]
fn in_order(play: &Play) {
    let mut seen: Vec<String> = Vec::new();
    for line in play.ledger() {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    assert_eq!(seen, ["close", "count", "copy", "open", "tell", "destroy", "finish"]);
}

/// Every beginning of the destruction has its own permit, and every guard of the permit passed under the same lease.
#[track_caller]
pub fn proved_before_destroyed(journal: &[Value]) {
    let mut passed: BTreeMap<(u64, String), u64> = BTreeMap::new();
    let mut permits: BTreeMap<u64, (u64, Vec<String>)> = BTreeMap::new();
    for line in journal {
        let epoch = line["epoch"].as_u64().unwrap();
        match line["what"].as_str().unwrap() {
            "measured" => {
                let evidence = &line["evidence"];
                let check = evidence["check"].as_str().unwrap().to_owned();
                if evidence.to_string().contains("\"verdict\":\"pass\"") {
                    passed.insert((epoch, check), line["seq"].as_u64().unwrap());
                } else {
                    passed.remove(&(epoch, check));
                }
            }
            "permitted" => {
                let guards: Vec<String> = serde_json::from_value(line["guards"].clone()).unwrap();
                assert!(guards.len() >= 4, "{line}");
                for guard in &guards {
                    assert!(passed.contains_key(&(epoch, guard.clone())), "{guard} for {line}");
                }
                permits.insert(line["permit"].as_u64().unwrap(), (epoch, guards));
            }
            "began" if line["step"] == "destroy" => {
                let number = line["permit"].as_u64().unwrap_or_else(|| panic!("without a permit: {line}"));
                let (of, _) = permits.remove(&number).unwrap_or_else(|| panic!("a used permit: {line}"));
                assert_eq!(of, epoch, "{line}");
            }
            _ => {}
        }
    }
}

/// The session that resumes is killed as well, at each of its first records in turn.
fn killed_twice() {
    for (first, second) in [(9, 1), (14, 2), (22, 3), (23, 1), (30, 4), (36, 2), (39, 1), (40, 2), (41, 3)] {
        let play = scene();
        killed_at(&play, "run book.yaml", "fdatasync", first);
        killed_at(&play, "resume", "fdatasync", second);
        go_on(&play, &format!("killed at record {first}, then at record {second} of the next session"));
    }
}

/// Engine, supervisor and command die together while a step's work is half done: nobody can know, so a person decides.
/// A step that may be repeated is repeated without a question.
fn command_and_supervisor_killed() {
    for (step, word) in [("close", None), ("copy", Some("again")), ("open", Some("done"))] {
        let play = scene();
        // The step writes its line and then hangs, the first time.
        let book = BOOK.replace(
            &format!("echo {step} >>\"$place/ledger\"\n"),
            // That it hung is on disk before the line that this test waits for: it is killed at once.
            &format!(
                "first=yes; [ ! -e \"$place/hung\" ] || first=no; touch \"$place/hung\"\n      \
                 echo {step} >>\"$place/ledger\"\n      if [ $first = yes ]; then sleep 77; fi\n"
            ),
        );
        play.book(&book);
        let mut engine = play.beside(play.holdpoint("alice", "run book.yaml").args(CONFIRM));
        play.until(step);
        engine.kill();
        let left = play.processes();
        assert!(left.iter().any(|(_, words)| words.contains("__supervise")), "{left:?}");
        left.iter().for_each(|(pid, _)| kill_tree(*pid));
        let resumed = play.with("alice", "resume", &CONFIRM);
        let Some(word) = word else {
            resumed.exits(0);
            came_to_its_end(&play, "a repeatable step hung");
            continue;
        };
        // What was confirmed in advance is refused at its hold point; asked without, a person has to decide.
        resumed.exits(3).says(&format!("step `{step}` is in doubt"));
        play.ran("alice", "resume").exits(4).says("IN DOUBT");
        assert_eq!((play.times(step), play.begun(step)), (1, 1), "{step}");
        let decision = format!("{step}={word}");
        if word == "done" {
            // Its effect is missing, so nobody's word makes it done.
            play.with("alice", "resume", &["--decide", &decision, "--reason", "I think so"]).exits(4);
            std::fs::write(play.path("opened"), "by hand\n").unwrap();
        }
        play.with("alice", "resume", &["--decide", &decision]).exits(2);
        play.with(
            "alice",
            "resume",
            &["--decide", &decision, "--reason", "looked at it", CONFIRM[0], CONFIRM[1]],
        )
        .exits(0);
        assert_eq!(play.times(step), if word == "again" { 2 } else { 1 });
        assert!(complete(&play));
        proved_before_destroyed(&play.journal());
        play.verified();
    }
}
