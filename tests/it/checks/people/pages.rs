//! A page goes out, somebody else says its code. The pager is a script that writes the code into a file, where a thread
//! finds it and runs `holdpoint ack` as another operator.

use std::path::Path;
use std::time::Duration;

use holdpoint::check::context::Outside;
use holdpoint::check::{Context, Outcome, Verdict};
use serde_json::{Value, json};

use crate::checks::{context, is, look, verdict};
use crate::harness::{Registry, Sandbox, eventually};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    verdict(r, "page_acknowledged", Verdict::Pass, &[], acknowledged);
    verdict(r, "page_acknowledged", Verdict::Fail, &[], not_acknowledged);
    verdict(r, "page_acknowledged", Verdict::Unknown, &[], not_sent);
    r.add("check::page_acknowledged::fail_two_measurements_send_one", &[], one_for_two);
    r.add("people::a_run_waits_for_a_page_and_goes_on", &[], a_run_waits);
    r.add("people::a_page_that_reaches_nobody_holds_the_run", &[], a_run_is_held);
    r.add("people::a_dry_run_sends_nothing", &[], dry);
    r.add("people::a_hold_point_does_not_wait_for_a_person_twice", &[], a_hold_point_does_not_wait_again);
}

/// Where a page arrives.
fn inbox(here: &Sandbox) -> String {
    format!("printf '%s\\n' \"$HOLDPOINT_PAGE_CODE\" >>'{}'", here.join("inbox").display())
}

fn codes(here: &Path) -> Vec<String> {
    crate::play::lines(&here.join("inbox"))
}

/// A store of its own, and the permission to send in the name of alice.
fn sending(here: &Sandbox) -> Context {
    here.run(&["runs"]);
    let pages = here.store().join("pages");
    let outside = Outside { may_send: true, pages: Some(pages), by: "alice@db1".to_owned() };
    Context { outside, ..context([]) }
}

/// Measures while somebody acknowledges the page number `nth`.
fn answered(here: &Sandbox, cx: &Context, params: Value, nth: usize, who: &str) -> Outcome {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually(Duration::from_secs(20), "the page", || codes(here.path()).len() >= nth);
            here.run(&["--operator", who, "ack", &codes(here.path())[nth - 1]]);
        });
        look(cx, "page_acknowledged", params)
    })
}

fn acknowledged() -> Vec<Outcome> {
    let here = Sandbox::new();
    let cx = sending(&here);
    let params = json!({ "send": inbox(&here), "within": "20s" });
    let first = answered(&here, &cx, params.clone(), 1, "bob");
    is(&first, Verdict::Pass, "bob@");
    is(&first, Verdict::Pass, "acknowledged it");
    // It counts for a week: nobody is woken again. Also where nothing may be sent.
    let again = look(&cx, "page_acknowledged", params.clone());
    is(&again, Verdict::Pass, " ago");
    let quiet = Outside { may_send: false, ..cx.outside.clone() };
    let looked = look(&Context { outside: quiet, ..cx.clone() }, "page_acknowledged", params.clone());
    assert_eq!(codes(here.path()).len(), 1);
    // Another way needs a page of its own; here its sender may acknowledge it themselves.
    let other = json!({ "send": format!("true; {}", inbox(&here)), "within": "20s", "by_other": false });
    let own = answered(&here, &cx, other, 2, "alice");
    is(&own, Verdict::Pass, "alice@");
    // A pager that has only taken it when it exits, and delivers in the background.
    let slow = format!("(sleep 0.5; {}) </dev/null >/dev/null 2>&1 &", inbox(&here));
    let late = answered(&here, &cx, json!({ "send": slow, "within": "20s" }), 3, "bob");
    is(&late, Verdict::Pass, "bob@");
    // The code is nowhere in the store.
    let code = codes(here.path()).remove(0);
    for entry in std::fs::read_dir(here.store().join("pages")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(&format!("\"{code}\"")), "{text}");
    }
    here.run(&["--operator", "eve", "ack", &code]).exits(0).says("bob@").says("already");
    vec![first, again, looked, own, late]
}

fn not_acknowledged() -> Vec<Outcome> {
    let here = Sandbox::new();
    let cx = sending(&here);
    let params = json!({ "send": inbox(&here), "within": "600ms" });
    let silent = look(&cx, "page_acknowledged", params.clone());
    is(&silent, Verdict::Fail, "not acknowledged within 600ms");
    // Where nothing may be sent, the page that reached nobody is still what is known.
    let quiet = Outside { may_send: false, ..cx.outside.clone() };
    let looked = look(&Context { outside: quiet, ..cx.clone() }, "page_acknowledged", params.clone());
    is(&looked, Verdict::Fail, "was not acknowledged");
    assert_eq!(codes(here.path()).len(), 1, "looking sends nothing");
    // Too late is too late, and the next measurement sends another one.
    here.run(&["--operator", "bob", "ack", &codes(here.path())[0]]).exits(0).says("later than");
    let late = look(&cx, "page_acknowledged", params);
    assert_eq!(codes(here.path()).len(), 2);
    // The sender's own word does not count; the command says so.
    here.run(&["--operator", "alice", "ack", &codes(here.path())[1]]).exits(4).says("somebody else");
    here.run(&["--operator", "bob", "ack", "no-such"]).exits(2).says("no page carried this code");
    let broken = json!({ "send": "echo no credit left >&2; exit 3", "within": "20s" });
    let refused = look(&cx, "page_acknowledged", broken);
    is(&refused, Verdict::Fail, "exit status 3: no credit left");
    // A sender that repeats the code does not get it into the evidence.
    let loud = json!({ "send": "echo \"cannot send $HOLDPOINT_PAGE_TEXT\" >&2; exit 1", "within": "20s" });
    let loud = look(&cx, "page_acknowledged", loud);
    is(&loud, Verdict::Fail, "holdpoint ack [code]");
    vec![silent, looked, late, refused, loud]
}

fn not_sent() -> Vec<Outcome> {
    let here = Sandbox::new();
    let cx = sending(&here);
    let quiet = Context { outside: Outside { may_send: false, ..cx.outside.clone() }, ..cx.clone() };
    let params = json!({ "send": inbox(&here), "within": "1h" });
    let none = look(&quiet, "page_acknowledged", params.clone());
    is(&none, Verdict::Unknown, "`holdpoint check FILE --page`");
    let nowhere = look(&context([]), "page_acknowledged", params.clone());
    let missing = look(&cx, "page_acknowledged", json!({ "send": ["no-such-pager"], "within": "1h" }));
    is(&missing, Verdict::Unknown, "no program is called");
    // One that waits: seen, and not sent again.
    let impatient = json!({ "send": inbox(&here), "within": "1h", "timeout": "3s" });
    let waits = look(&cx, "page_acknowledged", impatient.clone());
    is(&waits, Verdict::Unknown, "no answer within");
    let still = look(&quiet, "page_acknowledged", params.clone());
    is(&still, Verdict::Unknown, "still waits");
    look(&cx, "page_acknowledged", impatient);
    assert_eq!(codes(here.path()).len(), 1, "a page that waits is not sent twice");
    // And then it is acknowledged.
    here.run(&["--operator", "bob", "ack", &codes(here.path())[0]]).exits(0);
    is(&look(&quiet, "page_acknowledged", params.clone()), Verdict::Pass, "bob@");
    let file =
        std::fs::read_dir(here.store().join("pages")).unwrap().map(|e| e.unwrap().path()).next().unwrap();
    std::fs::write(&file, "{").unwrap();
    let damaged = look(&cx, "page_acknowledged", params);
    is(&damaged, Verdict::Unknown, "damaged");
    vec![none, nowhere, missing, waits, still, damaged]
}

fn one_for_two() {
    let here = Sandbox::new();
    let cx = sending(&here);
    let params = json!({ "send": inbox(&here), "within": "4s" });
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| look(&cx, "page_acknowledged", params.clone())));
        for one in both {
            is(&one.join().unwrap(), Verdict::Fail, "not acknowledged");
        }
    });
    assert_eq!(codes(here.path()).len(), 1);
}

/// A runbook that begins its only step once a page was acknowledged.
fn book(within: &str) -> String {
    format!(
        "holdpoint: 1\nname: night\nvars: {{ place: {{ default: \"@\" }} }}\nsteps:\n  - id: work\n    preconditions:\n      - page_acknowledged:\n\
         \x20         send: printf '%s\\n' \"$HOLDPOINT_PAGE_CODE\" >>\"$place/inbox\"\n          within: {within}\n    run: echo work >>\"$place/ledger\"\n\
         \x20   timeout: 1min\n    postconditions: [ file: {{ path: \"@/ledger\" }} ]\n"
    )
}

/// Every byte that the run and the store keep.
fn kept(play: &Play) -> String {
    let mut all = std::fs::read_to_string(play.run().join("journal.jsonl")).unwrap();
    for entry in std::fs::read_dir(play.sandbox.store().join("pages")).unwrap() {
        all.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    all
}

fn a_run_waits() {
    let play = Play::new();
    play.book(&book("1min"));
    let mut alice = play.start("alice", "run book.yaml");
    let here = play.sandbox.path().to_owned();
    eventually(Duration::from_secs(20), "the page", || codes(&here).len() == 1);
    let code = codes(&here).remove(0);
    play.ran("alice", &format!("ack {code}")).exits(4).says("alice@");
    std::thread::sleep(Duration::from_millis(600));
    assert!(!alice.ended() && play.times("work") == 0, "{}", alice.said());
    play.ran("bob", &format!("ack {code}")).exits(0).says("acknowledged: alice@");
    let ran = alice.ends(Duration::from_secs(20)).exits(0);
    assert_eq!(play.ledger(), ["work"]);
    assert_eq!(codes(&here).len(), 1, "one page for all measurements");
    let measured = play.events("measured").remove(0);
    assert!(measured["evidence"]["observed"].as_str().unwrap().contains("bob@"), "{measured}");
    let all = format!("{}{}{}", kept(&play), ran.stdout, ran.stderr);
    assert!(!all.contains(&format!("\"{code}\"")) && !all.contains(&format!("ack {code}")), "{all}");
    play.verified();
}

fn a_run_is_held() {
    let play = Play::new();
    play.book(&book("10s"));
    let here = play.sandbox.path().to_owned();
    play.ran("alice", "run book.yaml").exits(3).says("not acknowledged within 10s");
    assert_eq!((codes(&here).len(), play.ledger().len()), (1, 0));
    // Going on sends another one, which is answered.
    let mut alice = play.start("alice", "resume");
    eventually(Duration::from_secs(20), "the second page", || codes(&here).len() == 2);
    play.ran("bob", &format!("ack {}", codes(&here)[1])).exits(0);
    alice.ends(Duration::from_secs(20)).exits(0);
    assert_eq!(play.ledger(), ["work"]);
}

fn dry() {
    let play = Play::new();
    play.book(&book("1s"));
    play.ran("alice", "plan book.yaml").exits(0);
    play.ran("alice", "check book.yaml work").exits(1).says("--page");
    assert!(!play.sandbox.store().exists(), "not even a store was made");
    assert_eq!(codes(play.sandbox.path()).len(), 0);
    play.ran("alice", "check book.yaml work --page").exits(1).says("not acknowledged within 1s");
    assert_eq!(codes(play.sandbox.path()).len(), 1);
    // The last page reached nobody: that is known without sending another.
    play.ran("alice", "check book.yaml work").exits(1).says("was not acknowledged");
    assert_eq!(codes(play.sandbox.path()).len(), 1);
    play.ran("bob", "ack 1234567").exits(2);
    play.ran("bob", "--json ack nothing").exits(2);
}

/// What a person took once does not hold up the next measurement of a hold point.
fn a_hold_point_does_not_wait_again() {
    let play = Play::new();
    std::fs::write(play.path("old"), "").unwrap();
    let text = book("1min").replace("    run: echo work >>\"$place/ledger\"\n", "      - file: { path: \"@/old\" }\n    run: [rm, \"@/old\"]\n    destroys: { what: the old file, paths: [\"@/old\"] }\n");
    play.book(&text.replace("file: { path: \"@/ledger\" } ]", "file: { path: \"@/old\", exists: false } ]"));
    let mut alice =
        play.beside(play.holdpoint("alice", "run book.yaml").args(["--confirm", "work=the old file"]));
    let here = play.sandbox.path().to_owned();
    eventually(Duration::from_secs(20), "the page", || codes(&here).len() == 1);
    // The person takes fifteen seconds, once.
    std::thread::sleep(Duration::from_secs(15));
    let answered = std::time::Instant::now();
    play.ran("bob", &format!("ack {}", codes(&here)[0])).exits(0);
    alice.ends(Duration::from_secs(30)).exits(0);
    assert!(answered.elapsed() < Duration::from_secs(14), "{:?}", answered.elapsed());
    assert_eq!(codes(&here).len(), 1);
    assert!(!play.path("old").exists());
}
