//! Undoings that ended well and did not hold, that failed, and that nobody saw the end of.

use serde_json::{Value, json};

use super::scripted::{OK, Play, after, pass};
use crate::check::Verdict;
use crate::engine::event::{Answer, Exit, Question};
use crate::engine::machine::*;
use crate::engine::plan::Plan;
use crate::engine::state::{Status, Undo};
use crate::journal::record::{Blocker, Decision, Ending, Event};

fn steps(more: &Value) -> Value {
    let mut rollback = json!({ "run": ["true"], "postconditions": [{ "file": { "path": "/gone" } }] });
    for (key, value) in more.as_object().unwrap() {
        rollback[key] = value.clone();
    }
    json!([{ "id": "one", "run": ["true"], "postconditions": [{ "file": { "path": "/there" } }], "rollback": rollback }])
}

fn began(attempt: u32) -> Event {
    Event::RollbackBegan { step: "one".into(), attempt, permit: None }
}

fn ended(ending: Ending) -> Event {
    Event::RollbackEnded { step: "one".into(), attempt: 1, ending }
}

fn held() -> Event {
    let blocker = Blocker {
        subject: "one.undo.file".to_owned(),
        title: "it is gone".to_owned(),
        observed: "it is there".to_owned(),
        expected: "nothing there".to_owned(),
        next: "?".to_owned(),
    };
    Event::Held { step: "one".into(), undo: true, blockers: vec![blocker] }
}

fn events(more: Vec<Event>) -> Vec<Event> {
    let step = || "one".into();
    let done = vec![
        Event::Began { step: step(), attempt: 1, permit: None },
        Event::Ended { step: step(), attempt: 1, ending: OK, output_bytes: 0, left_running: Vec::new() },
        Event::Done { step: step() },
    ];
    [done, more].concat()
}

fn unheld() -> Vec<Event> {
    events(vec![began(1), ended(OK), held()])
}

/// A session that goes back, or forward, with a decision from the command line.
fn play(steps: Value, events: Vec<Event>, present: bool, back: bool, decided: bool) -> Play {
    let book = json!({ "holdpoint": 1, "name": "x", "targets": { "new": { "postgres": "port=2" } }, "steps": steps });
    let plan = Plan::new(std::sync::Arc::new(serde_json::from_value(book).unwrap()));
    let mut given = Given::default();
    if decided {
        given.decide.insert("one".into(), (Decision::Again, "room was made".to_owned()));
    }
    given.confirm.insert("one".into(), "the copy".to_owned());
    let mode = if back { Mode::Back { to: None } } else { Mode::Forward };
    let state = after(events);
    let mut play = Play::of(Machine::new(plan, state, mode, present, given, "a@h", super::moment(0)));
    play.start(true);
    play
}

fn fail(_: &str) -> Verdict {
    Verdict::Fail
}

fn status(play: &Play) -> (Status, Undo) {
    let at = play.machine.state().step(&"one".into());
    (at.status, at.undo)
}

fn decisions(play: &Play) -> Vec<(bool, bool)> {
    let one = |event: &Event| match event {
        Event::Decided { undo, by_runbook, .. } => Some((*undo, *by_runbook)),
        _ => None,
    };
    play.log.iter().filter_map(one).collect()
}

fn looks(play: &Play) -> usize {
    play.out.iter().filter(|effect| matches!(effect, Effect::Look { .. })).count()
}

#[test]
fn what_did_not_hold_is_measured_first_and_runs_again_by_a_decision_alone() {
    let plain = || steps(&json!({}));
    let mut asked = play(plain(), unheld(), false, true, false);
    asked.measured(fail);
    assert!(matches!(asked.asked().1, Question::NotUndone { .. }));
    assert_eq!((asked.works(), looks(&asked), asked.left()), (0, 0, Some(Exit::Held)));
    assert!(!asked.log.iter().any(|e| matches!(e, Event::RollbackEnded { .. })), "it did not end twice");
    // Put right by hand: nothing runs, whatever was decided.
    for decided in [false, true] {
        let mut well = play(plain(), unheld(), false, true, decided);
        well.measured(pass);
        assert_eq!((well.works(), well.left()), (0, Some(Exit::Done)));
        assert_eq!((status(&well), decisions(&well)), ((Status::RolledBack, Undo::No), vec![]));
    }
    let mut again = play(plain(), unheld(), false, true, true);
    assert_eq!(again.works(), 0, "measured first");
    again.measured(fail);
    assert_eq!((again.works(), decisions(&again)), (1, vec![(true, false)]));
    assert!(again.log.iter().any(|e| matches!(e, Event::RollbackBegan { attempt: 2, .. })));
    again.ends(OK);
    again.measured(pass);
    assert_eq!((status(&again), again.left()), ((Status::RolledBack, Undo::No), Some(Exit::Done)));
    // A decision is for one repetition.
    let mut twice = play(plain(), unheld(), false, true, true);
    twice.measured(fail);
    twice.ends(OK);
    twice.measured(fail);
    assert_eq!((twice.works(), twice.left()), (1, Some(Exit::Held)));
    assert_eq!(status(&twice), (Status::NotUndone, Undo::Unheld));
}

#[test]
fn what_is_safe_to_repeat_is_repeated_once_when_somebody_goes_back_again() {
    let safe = || steps(&json!({ "rerun": "safe" }));
    let mut first = play(safe(), events(vec![]), false, true, false);
    first.ends(OK);
    first.measured(fail);
    assert_eq!((first.works(), first.left()), (1, Some(Exit::Held)), "not in the session that began it");
    let mut again = play(safe(), unheld(), false, true, false);
    again.measured(fail);
    assert_eq!((again.works(), decisions(&again)), (1, vec![(true, true)]));
    again.ends(OK);
    again.measured(fail);
    assert_eq!((again.works(), again.left()), (1, Some(Exit::Held)), "once in a session");
    // At a terminal the undoing is asked for, as any other.
    let mut present = play(safe(), unheld(), true, true, false);
    present.measured(fail);
    assert!(matches!(present.asked().1, Question::Undo { .. }));
    assert_eq!(present.works(), 0);
    // Whoever leaves there has decided, and is not believed: it is measured again.
    let mut later = play(safe(), [unheld(), present.log.clone()].concat(), false, true, false);
    assert_eq!((later.works(), status(&later).1), (0, Undo::Again));
    later.measured(pass);
    assert_eq!((later.works(), status(&later).0), (0, Status::RolledBack));
}

#[test]
fn at_a_terminal_a_reason_is_asked_for_and_it_is_measured_before_the_word_counts() {
    let mut play = play(steps(&json!({})), unheld(), true, true, false);
    play.measured(fail);
    play.answer(Answer::Again("room was made".to_owned()));
    assert_eq!(play.works(), 0);
    play.measured(fail);
    assert_eq!((play.works(), decisions(&play)), (1, vec![(true, false)]));
    play.ends(OK);
    play.measured(fail);
    play.answer(Answer::Again("now it was".to_owned()));
    play.measured(pass);
    assert_eq!((play.works(), play.left()), (1, Some(Exit::Done)), "it passes by now");
}

#[test]
fn one_that_destroys_wants_a_decision_its_text_and_a_new_permit() {
    let destroying = |rerun| {
        steps(&json!({ "rerun": rerun, "destroys": { "what": "the copy", "paths": ["/gone"] },
            "preconditions": [{ "file": { "path": "/kept" } }] }))
    };
    for rerun in ["ask", "safe"] {
        let mut asked = play(destroying(rerun), unheld(), false, true, false);
        asked.measured(fail);
        assert_eq!((asked.works(), asked.left()), (0, Some(Exit::Held)), "{rerun}");
        assert!(!asked.log.iter().any(|e| matches!(e, Event::Confirmed { .. })), "{rerun}");
    }
    let mut held = play(destroying("ask"), unheld(), false, true, true);
    held.measured(fail);
    held.measured(fail);
    assert_eq!((held.works(), held.left()), (0, Some(Exit::Held)), "its guard does not pass");
    let mut done = play(destroying("ask"), unheld(), false, true, true);
    done.measured(fail);
    assert_eq!((done.works(), decisions(&done)), (0, vec![(true, false)]));
    done.measured(pass);
    done.measured(pass);
    assert_eq!(done.works(), 1);
    assert!(done.log.iter().any(|e| matches!(e, Event::Permitted { undo: true, .. })));
    assert!(done.log.iter().any(|e| matches!(e, Event::RollbackBegan { permit: Some(_), .. })));
}

#[test]
fn what_is_on_record_is_known_and_only_the_rest_is_in_doubt() {
    let at = |more| {
        let at = after(events(more)).step(&"one".into());
        (at.status, at.undo, at.why)
    };
    let failed = Ending::Exited { status: 1 };
    let why = Some("undoing it failed: exit status 1".to_owned());
    assert_eq!(at(vec![began(1), ended(failed.clone())]), (Status::NotUndone, Undo::Failed, why));
    let (status, undo, why) = at(vec![began(1), ended(OK), held()]);
    assert_eq!((status, undo), (Status::NotUndone, Undo::Unheld));
    let wanted = "undoing it ended well and did not hold: it is gone: it is there, wanted nothing there";
    assert_eq!(why.as_deref(), Some(wanted));
    // The release before wrote the same ending again each time it was measured.
    assert_eq!(at(vec![began(1), ended(OK), held(), ended(OK), held()]).1, Undo::Unheld);
    assert_eq!(at(vec![began(1), ended(OK), held(), ended(OK)]).0, Status::RollingBack);
    let unknown = Ending::Unknown { why: "?".to_owned() };
    assert_eq!(at(vec![began(1), ended(unknown)]).0, Status::InDoubt);
    // A second attempt is in doubt, however the first one ended.
    assert!(after(events(vec![began(1), ended(failed), began(2)])).step(&"one".into()).undo_in_doubt());
    // What holds it for another reason says nothing about how it ended.
    let Event::Held { step, undo, mut blockers } = held() else { unreachable!() };
    blockers[0].subject = "one".to_owned();
    let other = Event::Held { step, undo, blockers };
    assert_eq!(at(vec![began(1), ended(OK), other]).1, Undo::Ended);
}

#[test]
fn an_undoing_whose_end_is_on_record_is_measured_and_not_looked_for() {
    let sql = || {
        let mut steps = steps(&json!({ "sql": { "target": "new", "statements": ["select 1"] } }));
        steps[0]["rollback"].as_object_mut().unwrap().remove("run");
        steps
    };
    let mut play = play(sql(), events(vec![began(1), ended(OK)]), false, true, false);
    play.measured(pass);
    assert_eq!((looks(&play), status(&play).0), (0, Status::RolledBack));
    // The release before looked for it all the same, and where it found nothing that is in doubt.
    let doubt = Event::InDoubt { step: "one".into(), attempt: 1, why: "?".to_owned() };
    let doubted = self::play(sql(), events(vec![began(1), ended(OK), doubt]), false, true, false);
    assert_eq!((doubted.works(), doubted.left()), (0, Some(Exit::Held)));
    // Without postconditions its end is all there is to know.
    let mut bare = sql();
    bare[0]["rollback"].as_object_mut().unwrap().remove("postconditions");
    let bare = self::play(bare, events(vec![began(1), ended(OK)]), false, true, false);
    assert_eq!((looks(&bare), status(&bare).0), (0, Status::RolledBack));
}

#[test]
fn after_a_failed_undoing_a_person_may_go_forward_and_after_a_doubtful_one_not() {
    let failed = || events(vec![began(1), ended(Ending::Exited { status: 1 })]);
    for known in [failed(), unheld()] {
        let mut asked = play(steps(&json!({})), known.clone(), false, false, false);
        asked.measured(pass);
        assert!(matches!(asked.asked().1, Question::Doubt { may_rerun: true, may_finish: true, .. }));
        assert_eq!((asked.works(), asked.left()), (0, Some(Exit::Waiting)), "a person decides");
        assert!(!asked.log.iter().any(|e| matches!(e, Event::Done { .. })), "it is not done by itself");
        let mut again = play(steps(&json!({})), known, false, false, true);
        again.measured(fail);
        assert_eq!((again.works(), decisions(&again)), (1, vec![(false, false)]));
    }
    let doubt =
        || events(vec![began(1), Event::InDoubt { step: "one".into(), attempt: 1, why: "?".to_owned() }]);
    let forward = play(steps(&json!({})), doubt(), false, false, true);
    assert_eq!((forward.works(), forward.left()), (0, Some(Exit::Held)));
    // A decision to undo it again does not open the way forward.
    let back = play(steps(&json!({})), doubt(), false, true, true);
    assert_eq!((back.works(), decisions(&back)), (1, vec![(true, false)]));
    let decided: Vec<Event> =
        back.log.iter().filter(|e| matches!(e, Event::Decided { .. })).cloned().collect();
    let forward = play(steps(&json!({})), [doubt(), decided].concat(), false, false, true);
    assert_eq!((forward.works(), forward.left()), (0, Some(Exit::Held)));
}

#[test]
fn a_failed_undoing_runs_again_when_somebody_goes_back_again() {
    let failed = events(vec![began(1), ended(Ending::Exited { status: 1 })]);
    let again = play(steps(&json!({})), failed.clone(), false, true, false);
    assert_eq!((again.works(), decisions(&again)), (1, vec![]));
    let decided = play(steps(&json!({})), failed, false, true, true);
    assert_eq!(
        (decided.works(), decisions(&decided)),
        (1, vec![(true, false)]),
        "what was said is on record"
    );
    // Nothing is decided about it in advance.
    for early in [events(vec![]), events(vec![began(1), ended(OK)])] {
        let early = play(steps(&json!({})), early, false, true, true);
        assert!(
            early.out.iter().any(|e| matches!(e, Effect::Say(text) if text.contains("nothing to decide")))
        );
        assert_eq!(decisions(&early), vec![]);
    }
}
