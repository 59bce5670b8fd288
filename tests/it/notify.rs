//! Hooks that tell others: what they are given, and that none of them stops or delays the work.

use std::time::{Duration, Instant};

use crate::harness::Registry;
use crate::play::{Play, lines};

pub fn register(r: &mut Registry) {
    r.add("notify::each_occasion_is_told_once", &[], occasions);
    r.add("notify::a_hook_that_hangs_or_fails_stops_nothing", &[], broken);
    r.add("notify::a_hook_may_deliver_in_the_background", &[], background);
    r.add("notify::no_secret_and_no_control_sequence_is_told", &[], secrets);
}

fn book(notify: &str, steps: &str) -> String {
    format!(
        "holdpoint: 1\nname: told\nvars: {{ place: {{ default: \"@\" }} }}\nnotify:\n{notify}steps:\n{steps}"
    )
}

const TELL: &str = r#"  - on: [failed, in_doubt, held, waiting, handoff, completed, abandoned]
    run: [sh, -c, 'echo "$HOLDPOINT_EVENT_KIND $1 $(env | cut -d= -f1 | sort | tr "\n" " ")" >>"$2"', sh, "${event.step}|${event.summary}", "${place}/told"]
"#;

const STEPS: &str = r#"  - id: one
    run: "echo one >>\"$place/ledger\"; test -e \"$place/good\""
    timeout: 1min
    preconditions: [ file: { path: "@/ready" } ]
    postconditions: [ file: { path: "@/ledger", contains: one } ]
  - id: two
    manual: { instructions: Look. }
    changes: false
"#;

fn occasions() {
    let play = Play::new();
    play.book(&book(TELL, STEPS));
    let told = || lines(&play.path("told"));
    play.ran("alice", "run book.yaml").exits(3);
    let id = play.id();
    assert_eq!(told().len(), 1, "{:?}", told());
    assert!(told()[0].starts_with(&format!("held one|{id}: held before one: ")), "{:?}", told());
    // A clean environment: nothing of ours but what is told.
    assert!(told()[0].contains("there HOLDPOINT_EVENT_KIND HOLDPOINT_EVENT_RUN"), "{:?}", told());
    assert!(told()[0].contains("HOLDPOINT_EVENT_SUMMARY HOME LC_ALL "), "{:?}", told());
    std::fs::write(play.path("ready"), "").unwrap();
    play.ran("alice", "resume").exits(1);
    assert_eq!(told().len(), 2);
    assert!(told()[1].starts_with(&format!("failed one|{id}: one FAILED: exit status 1")), "{:?}", told());
    // The failure is not told again by who looks at it again, but that it holds is.
    std::fs::write(play.path("good"), "").unwrap();
    play.with("alice", "resume --decide one=again", &["--reason", "made"]).exits(4);
    assert!(told()[2].starts_with(&format!("waiting two|{id} waits for a person at two")), "{:?}", told());
    play.with("alice", "handoff", &["--note", "look at two"]).exits(0);
    assert!(told()[3].starts_with("handoff |"), "{:?}", told());
    assert!(told()[3].contains("offers the run to the next operator: look at two"));
    assert_eq!(told().len(), 4);
    let on: Vec<_> = play.events("notified").into_iter().map(|line| line["on"].clone()).collect();
    assert_eq!(on, ["held", "failed", "waiting", "handoff"]);
    assert!(play.events("notified").iter().all(|line| line["delivered"] == true));
    play.ran("x", "log").exits(0).says("told about `held`");
    play.ran("bob", "accept --acknowledge offer").exits(0);
    play.with("bob", &format!("abandon {id}"), &["--reason", "enough"]).exits(0);
    assert!(told()[4].starts_with("abandoned |"), "{:?}", told());
    play.ran("x", &format!("status {id}")).exits(0).says("Abandoned");
    play.verified();
}

fn broken() {
    let hooks = r#"  - { on: [completed], run: [sh, -c, "echo $$ >@/pid; sleep 300 & sleep 301"], timeout: 2s }
  - { on: [completed], run: [no-such-program] }
  - { on: [completed], run: [sh, -c, "echo the pager is off >&2; exit 7"] }
"#;
    let steps = "  - { id: one, run: [touch, \"@/made\"], timeout: 1min, postconditions: [ file: { path: \"@/made\" } ] }\n";
    let play = Play::new();
    play.book(&book(hooks, steps));
    let began = Instant::now();
    let ran = play.ran("alice", "run book.yaml").exits(0);
    assert!(began.elapsed() < Duration::from_secs(290), "it is not waited for longer than its limit");
    ran.says("COULD NOT BE TOLD").says("killed: it took longer than 2").says("the pager is off");
    let outcomes = play.events("notified");
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|line| line["delivered"] == false), "{outcomes:?}");
    assert!(outcomes.iter().any(|line| line["outcome"].as_str().unwrap().starts_with("not started")));
    // The whole group is gone, the child in the background as well.
    let group = lines(&play.path("pid"))[0].parse().unwrap();
    let group = rustix::process::Pid::from_raw(group).unwrap();
    crate::harness::eventually(Duration::from_secs(5), "the end of its group", || {
        rustix::process::test_kill_process_group(group).is_err()
    });
    play.verified();
}

fn background() {
    let hook = "  - { on: [completed], run: [sh, -c, \"(sleep 0.5; echo late >>@/told) </dev/null >/dev/null 2>&1 &\"] }\n";
    let steps = "  - { id: one, run: [touch, \"@/made\"], timeout: 1min, postconditions: [ file: { path: \"@/made\" } ] }\n";
    let play = Play::new();
    play.book(&book(hook, steps));
    play.ran("alice", "run book.yaml").exits(0);
    assert_eq!(play.events("notified")[0]["delivered"], true);
    let told = || lines(&play.path("told"));
    crate::harness::eventually(Duration::from_secs(20), "it is told", || told() == ["late"]);
}

fn secrets() {
    let steps = r#"  - id: one
    run: "printf 'x\\033[2J %s\\n' \"$password\" >&2; exit 3"
    timeout: 1min
    postconditions: [ command: { run: [sh, -c, "printf 'bad \\033[31m %s' \"$0\"; exit 1", "hunter2-hunter2"] } ]
"#;
    let text = book(TELL, steps).replace("vars: {", "vars: { password: { secret: true, env: PASSWORD },");
    let text = text.replace("exit 3\"", "exit 0\"");
    let play = Play::new();
    play.book(&text);
    let mut command = play.holdpoint("alice", "run book.yaml");
    command.env("PASSWORD", "hunter2-hunter2");
    crate::harness::finish(&mut command, Duration::from_secs(60)).exits(1);
    let told = lines(&play.path("told")).join("\n");
    assert!(told.contains("failed one|"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains('\u{1b}'), "{told}");
    // A secret in an argument would be seen by everybody; an event has no such thing.
    let lint = |item: &str| {
        let bad = text.replace("\"${event.step}|${event.summary}\"", item);
        play.sandbox.write("bad.yaml", &bad);
        play.ran("x", "lint bad.yaml")
    };
    lint("\"${password}\"").exits(2).says("HP029");
    lint("\"${event.sumary}\"").exits(2).says("HP027").says("event.summary");
    lint("\"${event.kind}\"").exits(0);
}
