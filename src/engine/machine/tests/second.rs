//! Second persons and limits in single sessions, told step by step.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::*;
use super::lease;
use super::scripted::{OK, Play, began, over, pass};
use crate::base::CheckId;
use crate::check::Verdict;
use crate::engine::event::{Answer, Exit, Question};
use crate::journal::Line;
use crate::journal::record::Event;

/// One step that destroys a file, guarded by one check, in an environment that wants one approval.
fn dropping() -> Value {
    json!([{ "id": "drop", "run": ["true"], "destroys": { "what": "the old", "paths": ["/old"] },
        "preconditions": [ { "file": { "path": "/backup", "waivable": true } },
            { "disk_free": { "path": "/", "at_least": "1GiB" } } ],
        "postconditions": [ { "file": { "path": "/gone" } } ] }])
}

fn session(steps: Value, environment: Value, present: bool) -> Play {
    session_with(steps, environment, present, super::start_state(super::moment(0)))
}

fn session_with(steps: Value, environment: Value, present: bool, state: RunState) -> Play {
    let runbook = json!({
        "holdpoint": 1, "name": "move", "environments": { "here": environment }, "steps": steps,
    });
    let runbook = std::sync::Arc::new(serde_json::from_value(runbook).unwrap());
    let state = RunState { environment: Some("here".to_owned()), ..state };
    let plan = Plan::new(runbook);
    let given = Given::default();
    Play::of(Machine::new(plan, state, Mode::Forward, present, given, "a@h", super::moment(0)))
}

/// A line by somebody else.
fn line(play: &Play, by: &str, event: Event) -> Line {
    Line { seq: 99, at: play.now, by: by.to_owned(), epoch: 0, event, prev: "".into() }
}

fn hour(play: &Play) -> Timestamp {
    Timestamp::from_millisecond(play.now.wall.as_millisecond() + 3_600_000).unwrap()
}

fn yes(play: &Play) -> Event {
    let wanted = play.machine.state().second.wanted(&"drop".into(), false).expect("it is on record").clone();
    Event::Approved {
        step: "drop".into(),
        undo: false,
        content: wanted.digest,
        text: "the old".to_owned(),
        until: hour(play),
        boot: "b".to_owned(),
        signature: None,
    }
}

/// A waiver of a check by somebody else.
pub(super) fn waived_check(play: &Play, check: &str, verdict: Verdict) -> Line {
    line(play, "bob@h", waived(play, check, verdict))
}

fn waived(play: &Play, check: &str, verdict: Verdict) -> Event {
    Event::Waived {
        check: check.into(),
        reason: "the mirror has it".to_owned(),
        until: hour(play),
        boot: "b".to_owned(),
        verdict,
        seen: "seen".to_owned(),
        signature: None,
    }
}

#[track_caller]
fn subjects(play: &Play) -> Vec<String> {
    match play.asked().1 {
        Question::Held { blockers, .. } => blockers.into_iter().map(|b| b.subject).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_point_waits_for_another_person_and_goes_on_by_itself() {
    let mut play = session(dropping(), json!({ "approvals": 1 }), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(pass);
    assert_eq!(subjects(&play), ["approval"]);
    let mine = line(&play, "A@elsewhere", yes(&play));
    play.give(Input::Foreign(vec![mine]));
    play.measured(pass);
    assert_eq!(subjects(&play), ["approval"], "the operator under another host");
    let wanted = play.log.iter().filter(|e| matches!(e, Event::ApprovalWanted { .. })).count();
    assert_eq!(wanted, 1, "the same is wanted once");
    let bobs = line(&play, "bob@h", yes(&play));
    play.give(Input::Foreign(vec![bobs]));
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Confirm { .. }), "{:?}", play.asked());
    play.answer(Answer::Typed("the old".to_owned()));
    play.measured(pass);
    assert_eq!(play.works(), 1);
    let approvers = play.log.iter().find_map(|e| match e {
        Event::Permitted { approvers, .. } => Some(approvers.clone()),
        _ => None,
    });
    assert_eq!(approvers, Some(vec!["bob@h".to_owned()]));
}

#[test]
fn nobody_there_leaves_with_waiting_and_the_answer_is_found_by_the_next_session() {
    let mut play = session(dropping(), json!({ "approvals": 1 }), false);
    play.start(false);
    play.measured(pass);
    assert_eq!(play.left(), Some(Exit::Waiting));
    let mut state = play.machine.state().clone();
    let bobs = line(&play, "bob@h", yes(&play));
    state.apply(&bobs);
    lease(&mut state, 2, play.now);
    let mut next = session_with(dropping(), json!({ "approvals": 1 }), true, state.clone());
    next.start(true);
    next.answer(Answer::Go);
    next.measured(pass);
    assert!(matches!(next.asked().1, Question::Confirm { .. }), "{:?}", next.asked());
    // The same when bob drives: then his approval is that of the operator.
    let event = Event::Lease {
        operator: "bob@h".to_owned(),
        how: crate::journal::record::LeaseHow::Accept,
        pid: 1,
        pid_start: 1,
        boot_id: "b".to_owned(),
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    state.event(&event, &play.now, "bob@h", 3);
    let mut bob = session_with(dropping(), json!({ "approvals": 1 }), true, state);
    bob.start(true);
    bob.answer(Answer::Go);
    bob.measured(pass);
    assert_eq!(subjects(&bob), ["approval"]);
}

#[test]
fn an_approval_is_used_by_the_attempt_that_it_cleared() {
    let mut play = session(dropping(), json!({ "approvals": 1 }), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(pass);
    let bobs = line(&play, "bob@h", yes(&play));
    play.give(Input::Foreign(vec![bobs]));
    play.measured(pass);
    play.answer(Answer::Typed("the old".to_owned()));
    play.measured(pass);
    play.ends(crate::journal::record::Ending::Exited { status: 1 });
    play.answer(Answer::Again("the path was wrong".to_owned()));
    play.measured(pass);
    assert_eq!(subjects(&play), ["approval"], "another attempt wants another approval");
}

#[test]
fn a_rejection_while_the_operator_is_asked_closes_the_hold_point() {
    let mut play = session(dropping(), json!({ "approvals": 1 }), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(pass);
    let bobs = line(&play, "bob@h", yes(&play));
    let Event::Approved { content, .. } = yes(&play) else { panic!() };
    play.give(Input::Foreign(vec![bobs]));
    play.measured(pass);
    let no = Event::Rejected {
        step: "drop".into(),
        undo: false,
        content,
        reason: "not tonight".to_owned(),
        signature: None,
    };
    let carols = line(&play, "carol@h", no);
    play.give(Input::Foreign(vec![carols]));
    play.measured(pass);
    assert_eq!(subjects(&play), ["rejection"]);
    play.answer(Answer::Quit);
    assert_eq!((play.left(), play.works()), (Some(Exit::Waiting), 0));
}

fn two() -> Value {
    json!([
        { "id": "one", "run": ["true"], "preconditions": [ { "file": { "path": "/ready" } } ],
          "postconditions": [ { "file": { "path": "/made" } } ] },
        { "id": "two", "run": ["true"], "postconditions": [ { "file": { "path": "/two" } } ] },
    ])
}

fn failing(id: &'static str) -> impl Fn(&str) -> Verdict {
    move |check| if check == id { Verdict::Fail } else { Verdict::Pass }
}

#[test]
fn a_waived_check_is_measured_shown_and_keeps_the_run_from_being_complete() {
    let bad = || failing("one.pre.file");
    let mut play = session(two(), json!({}), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(bad());
    assert_eq!(subjects(&play), ["one.pre.file"]);
    let said = line(&play, "a@h", waived(&play, "one.pre.file", Verdict::Fail));
    play.give(Input::Foreign(vec![said]));
    play.measured(bad());
    assert_eq!(play.works(), 1, "{:?}", play.out.last());
    assert!(
        play.log
            .iter()
            .any(|e| matches!(e, Event::WaiverUsed { check, .. } if check.as_str() == "one.pre.file"))
    );
    play.ends(OK);
    play.measured(bad());
    play.answer(Answer::Go);
    play.ends(OK);
    play.measured(bad());
    // The end: what is waived is measured once more, and stands in the way.
    play.measured(bad());
    assert_eq!(subjects(&play), ["one.pre.file"]);
    assert_eq!(play.machine.state().end, None);
    play.answer(Answer::Measure);
    play.measured(pass);
    assert_eq!(play.left(), Some(Exit::Done), "it passes by itself, and needs no waiver any more");
    assert!(play.machine.state().second.waivers.is_empty());
}

#[test]
fn a_waiver_that_is_taken_back_lets_the_run_end_where_nothing_relies_on_the_check() {
    let bad = || failing("one.pre.file");
    let mut play = session(two(), json!({}), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(bad());
    let said = line(&play, "a@h", waived(&play, "one.pre.file", Verdict::Fail));
    play.give(Input::Foreign(vec![said]));
    play.measured(bad());
    play.ends(OK);
    play.measured(bad());
    play.answer(Answer::Go);
    play.ends(OK);
    play.measured(bad());
    play.measured(bad());
    let back = Event::WaiverWithdrawn {
        check: "one.pre.file".into(),
        reason: "it was for the night".to_owned(),
        signature: None,
    };
    let back = line(&play, "bob@h", back);
    play.give(Input::Foreign(vec![back]));
    assert_eq!(play.left(), Some(Exit::Done));
}

#[test]
fn a_waiver_covers_what_it_was_given_for_and_no_longer() {
    let bad = || failing("one.pre.file");
    let unknown = |check: &str| if check == "one.pre.file" { Verdict::Unknown } else { Verdict::Pass };
    let held = |judge: &dyn Fn(&str) -> Verdict, event: &dyn Fn(&Play) -> Event, later: u64| {
        let mut play = session(two(), json!({}), true);
        play.start(false);
        play.answer(Answer::Go);
        play.measured(bad());
        let said = line(&play, "a@h", event(&play));
        play.give(Input::Foreign(vec![said]));
        play.now.boot_ms += later;
        play.now.wall = Timestamp::from_millisecond(play.now.wall.as_millisecond() + later as i64).unwrap();
        play.measured(judge);
        play.works() == 0
    };
    let yes = |play: &Play| waived(play, "one.pre.file", Verdict::Fail);
    assert!(!held(&bad(), &yes, 0));
    assert!(held(&unknown, &yes, 0), "a failure was waived, and nobody knows now");
    assert!(held(&bad(), &yes, 3_600_001), "it has expired, and an expired waiver is none");
    assert!(held(&bad(), &|play| waived(play, "one.post.file", Verdict::Fail), 0), "another check");
}

#[test]
fn what_guards_a_destruction_is_not_waived_by_who_drives() {
    let bad = || failing("drop.pre.file");
    let mut play = session(dropping(), json!({}), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(bad());
    for (who, check, wanted) in [
        ("a@h", "drop.pre.file", "the operator"),
        ("bob@h", "drop.pre.disk_free", "another check, which cannot be waived"),
    ] {
        let said = line(&play, who, waived(&play, check, Verdict::Fail));
        play.give(Input::Foreign(vec![said]));
        play.measured(bad());
        assert_eq!(subjects(&play), ["drop.pre.file"], "{wanted}");
    }
    let said = line(&play, "bob@h", waived(&play, "drop.pre.file", Verdict::Fail));
    play.give(Input::Foreign(vec![said]));
    play.measured(bad());
    assert!(matches!(play.asked().1, Question::Confirm { .. }));
    play.answer(Answer::Typed("the old".to_owned()));
    play.measured(bad());
    let permit = play.log.iter().find_map(|e| match e {
        Event::Permitted { waived, .. } => Some(waived.clone()),
        _ => None,
    });
    assert_eq!(permit, Some(vec![CheckId::from("drop.pre.file")]));
}

#[test]
fn no_change_begins_outside_its_window_and_what_runs_is_left_alone() {
    // The tests' clock stands on Tuesday, 14 November 2023, 22:13 UTC.
    let closed = json!({ "change_window": { "days": ["wed"], "hours": "09:00-15:00", "timezone": "UTC" } });
    let mut play = session(two(), closed.clone(), false);
    play.start(false);
    play.measured(pass);
    assert_eq!((play.left(), play.works()), (Some(Exit::Held), 0));
    assert_eq!(subjects(&play), ["change window"]);
    // One without preconditions is held as well; one that changes nothing is not.
    let bare = json!([{ "id": "one", "run": ["true"] }]);
    let mut play = session(bare, closed.clone(), false);
    play.start(false);
    assert_eq!((play.left(), play.works()), (Some(Exit::Held), 0));
    let looks = json!([{ "id": "one", "run": ["true"], "changes": false }]);
    let mut play = session(looks, closed.clone(), false);
    play.start(false);
    assert_eq!(play.works(), 1);
    // By hand: nobody is asked to do it now.
    let hand = json!([{ "id": "one", "manual": { "instructions": "x" } }]);
    let mut play = session(hand, closed.clone(), true);
    play.start(false);
    assert_eq!(subjects(&play), ["change window"]);
    // What runs already is attached to.
    let mut state = super::start_state(super::moment(0));
    state.event(&began("one", 1), &super::moment(0), "a@h", 1);
    lease(&mut state, 2, super::moment(0));
    let mut play = session_with(two(), closed.clone(), false, state);
    play.start(true);
    let look =
        play.last("look", |e| if let Effect::Look { request, .. } = e { Some(*request) } else { None });
    play.give(Input::Found(look, Found::Running { paused: false }));
    assert!(play.out.iter().any(|e| matches!(e, Effect::Attach { .. })));
    // A destruction is held by the gate.
    let mut play = session(dropping(), closed, false);
    play.start(false);
    play.measured(pass);
    assert_eq!((play.left(), subjects(&play)), (Some(Exit::Held), vec!["change window".to_owned()]));
}

#[test]
fn an_undoing_waits_for_no_window() {
    let steps = json!([{ "id": "one", "run": ["true"], "rollback": { "run": ["true"] } }]);
    let closed = json!({ "change_window": { "days": ["wed"], "hours": "09:00-15:00", "timezone": "UTC" } });
    let mut state = super::start_state(super::moment(0));
    for event in [began("one", 1), over("one", OK), Event::Done { step: "one".into() }] {
        state.event(&event, &super::moment(0), "a@h", 1);
    }
    lease(&mut state, 2, super::moment(0));
    let mut play = session_with(steps, closed, false, state);
    play.machine.mode = Mode::Back { to: None };
    play.start(true);
    assert_eq!(play.works(), 1);
}

#[test]
fn where_handoffs_are_signed_none_is_made_inside_a_session() {
    let mut play = session(two(), json!({ "signed": true }), true);
    play.start(false);
    play.answer(Answer::Handoff { to: None, note: "over to you".to_owned() });
    assert!(play.machine.state().offer.is_none() && play.left().is_none());
    assert!(matches!(play.asked().1, Question::Begin { .. }), "it is asked again");
}

#[test]
fn a_waived_invariant_neither_pauses_nor_stops_and_is_said_once() {
    let steps = json!([{ "id": "one", "run": ["true"],
        "invariants": [ { "file": { "path": "/quiet", "on_violation": "pause" } } ] }]);
    let mut play = session(steps, json!({}), true);
    play.start(false);
    play.answer(Answer::Go);
    let bad = || failing("one.inv.file");
    play.give(Input::Tick);
    play.measured(bad());
    assert!(matches!(play.asked().1, Question::Paused { .. }));
    let said = line(&play, "bob@h", waived(&play, "one.inv.file", Verdict::Fail));
    play.give(Input::Foreign(vec![said]));
    play.answer(Answer::Measure);
    for _ in 0..2 {
        play.now.boot_ms += 20_000;
        play.now.wall = Timestamp::from_millisecond(play.now.wall.as_millisecond() + 20_000).unwrap();
        play.give(Input::Tick);
        play.measured(bad());
    }
    assert!(play.out.iter().any(|e| matches!(e, Effect::Continue)), "the command goes on");
    let used = play.log.iter().filter(|e| matches!(e, Event::WaiverUsed { .. })).count();
    assert_eq!((used, play.machine.watch.paused), (1, false));
}
