//! The machine in single situations, each told step by step.

use serde_json::{Value, json};

use super::{identity, lease, moment};
use crate::base::{CheckId, Moment, StepId};
use crate::check::{Evidence, Outcome, Verdict};
use crate::engine::event::{Answer, Exit, Question, Undoing};
use crate::engine::machine::*;
use crate::engine::plan::Plan;
use crate::engine::state::{RunState, Status, Undo};
use crate::journal::Line;
use crate::journal::record::{Blast, BlastItem, Decision, Ending, Event, LeaseHow, Purpose};

/// A session told by hand.
pub(super) struct Play {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    pub(super) out: Vec<Effect>,
    pub(super) log: Vec<Event>,
}

fn book(steps: Value) -> Value {
    json!({
        "holdpoint": 1, "name": "move",
        "environments": { "production": { "protected": true } },
        "targets": { "old": { "postgres": "port=1" }, "new": { "postgres": "port=2" } },
        "steps": steps,
    })
}

impl Play {
    pub(super) fn new(steps: Value, state: RunState, present: bool) -> Play {
        Play::with(steps, state, present, Mode::Forward, Given::default())
    }

    fn with(steps: Value, state: RunState, present: bool, mode: Mode, given: Given) -> Play {
        let runbook = std::sync::Arc::new(serde_json::from_value(book(steps)).unwrap());
        Play::of(Machine::new(Plan::new(runbook), state, mode, present, given, "a@h", moment(0)))
    }

    /// A session without a terminal, after these events.
    pub(super) fn after(steps: Value, events: Vec<Event>) -> Play {
        Play::new(steps, after(events), false)
    }

    /// A session with somebody at the terminal.
    pub(super) fn present(steps: Value) -> Play {
        Play::new(steps, opened(None), true)
    }

    pub(super) fn of(machine: Machine) -> Play {
        Play { machine, now: moment(1), out: Vec::new(), log: Vec::new() }
    }

    pub(super) fn give(&mut self, input: Input) {
        self.now = Moment { boot_ms: self.now.boot_ms + 1, ..self.now };
        let effects = self.machine.step(input, self.now);
        for effect in effects {
            if let Effect::Append(events) = &effect {
                self.log.extend(events.clone());
            }
            self.out.push(effect);
        }
    }

    pub(super) fn start(&mut self, resumed: bool) {
        self.give(Input::Start { resumed });
    }

    /// The last effect of a kind; panics without one.
    #[track_caller]
    pub(super) fn last<T>(&self, what: &str, pick: impl Fn(&Effect) -> Option<T>) -> T {
        self.out.iter().rev().find_map(pick).unwrap_or_else(|| panic!("no {what} in {:#?}", self.out))
    }

    #[track_caller]
    pub(super) fn asked(&self) -> (Number, Question) {
        self.last("question", |effect| match effect {
            Effect::Ask(request, question) => Some((*request, question.clone())),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn answer(&mut self, answer: Answer) {
        let (request, _) = self.asked();
        self.give(Input::Answer(request, answer));
    }

    /// Answers the last measurement: every check gets the verdict that `judge` says.
    #[track_caller]
    pub(super) fn measured(&mut self, judge: impl Fn(&str) -> Verdict) {
        self.answers(None, None, judge);
    }

    /// The same for these checks only.
    #[track_caller]
    pub(super) fn only(&mut self, ids: &[&str], judge: impl Fn(&str) -> Verdict) {
        self.answers(None, Some(ids), judge);
    }

    /// The same for an earlier measurement.
    #[track_caller]
    pub(super) fn answered(&mut self, request: Number, ids: &[&str], judge: impl Fn(&str) -> Verdict) {
        self.answers(Some(request), Some(ids), judge);
    }

    #[track_caller]
    fn answers(&mut self, of: Option<Number>, ids: Option<&[&str]>, judge: impl Fn(&str) -> Verdict) {
        let (request, purpose, step, checks, prove, goes) = self.last("measurement", |effect| match effect {
            Effect::Measure { request, purpose, step, checks, prove, goes }
                if of.is_none_or(|of| of == *request) =>
            {
                Some((*request, *purpose, step.clone(), checks.clone(), prove.clone(), goes.clone()))
            }
            _ => None,
        });
        let now = self.now;
        let asked = checks.into_iter().filter(|(id, _)| ids.is_none_or(|ids| ids.contains(&id.as_str())));
        let evidence = asked.map(|(id, spec)| evidence(id, &spec.kind, &judge, now)).collect();
        let proved = prove.into_iter().map(|name| (name.clone(), Ok((identity(&name, 0), now)))).collect();
        let item =
            BlastItem { kind: "database".to_owned(), name: "x".to_owned(), bytes: Some(1), rows: Some(1) };
        let blast = goes.map(|goes| Blast {
            items: vec![item],
            identity: goes.target.map(|target| identity(&target, 0)),
            serving: Vec::new(),
            unmeasured: Vec::new(),
            gone: Vec::new(),
            at: now,
        });
        let (runbook_now, scripts_now) = ("digest".into(), Default::default());
        self.give(Input::Measured(Measured {
            request,
            purpose,
            step,
            evidence,
            proved,
            blast,
            runbook_now,
            scripts_now,
        }));
    }

    #[track_caller]
    fn work(&self) -> Number {
        self.last("work", |effect| match effect {
            Effect::Work { request, .. } | Effect::Attach { request, .. } => Some(*request),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn ends(&mut self, ending: Ending) {
        let request = self.work();
        self.give(Input::WorkEnded(request, Ended::how(ending)));
    }

    pub(super) fn left(&self) -> Option<Exit> {
        self.out.iter().find_map(|effect| match effect {
            Effect::Leave(exit) => Some(*exit),
            _ => None,
        })
    }

    pub(super) fn works(&self) -> usize {
        self.out.iter().filter(|effect| matches!(effect, Effect::Work { .. })).count()
    }

    fn status(&self, step: &str) -> Status {
        self.machine.state().status(&StepId::from(step))
    }
}

fn evidence(id: CheckId, kind: &str, judge: &impl Fn(&str) -> Verdict, at: Moment) -> Evidence {
    let mut outcome = match judge(id.as_str()) {
        Verdict::Pass => Outcome::pass("seen", "wanted"),
        Verdict::Fail => Outcome::fail("seen", "wanted"),
        Verdict::Unknown => Outcome::unknown("seen", "wanted"),
    };
    if kind == "data_matches" || kind == "rows_match" {
        outcome = outcome.on("old", identity("old", 0)).on("new", identity("new", 0));
    }
    Evidence { check: id, kind: kind.to_owned(), title: "t".to_owned(), outcome, at, took_ms: 1 }
}

pub(super) fn pass(_: &str) -> Verdict {
    Verdict::Pass
}

fn opened(environment: Option<&str>) -> RunState {
    let state = super::start_state(moment(0));
    RunState { environment: environment.map(str::to_owned), ..state }
}

/// The state after these events.
pub(super) fn after(events: Vec<Event>) -> RunState {
    let mut state = opened(None);
    for event in events {
        state.event(&event, &moment(0), "a@h", 1);
    }
    lease(&mut state, 2, moment(0));
    state
}

pub(super) fn began(step: &str, attempt: u32) -> Event {
    Event::Began { step: step.into(), attempt, permit: None }
}

pub(super) fn over(step: &str, ending: Ending) -> Event {
    Event::Ended { step: step.into(), attempt: 1, ending, output_bytes: 0, left_running: Vec::new() }
}

fn well(step: &str) -> Vec<Event> {
    vec![began(step, 1), over(step, Ending::Exited { status: 0 }), Event::Done { step: step.into() }]
}

pub(super) const OK: Ending = Ending::Exited { status: 0 };

#[test]
fn the_name_of_a_protected_environment_is_wanted_until_something_began() {
    let steps = json!([{ "id": "one", "run": ["true"] }]);
    for resumed in [false, true] {
        let mut play = Play::new(steps.clone(), opened(Some("production")), false);
        play.start(resumed);
        assert!(matches!(play.asked().1, Question::Environment { .. }), "resumed: {resumed}");
        assert_eq!((play.left(), play.works()), (Some(Exit::Waiting), 0));
    }
    let mut play = Play::new(steps, opened(Some("production")), true);
    play.start(true);
    play.answer(Answer::Typed("production".to_owned()));
    assert!(matches!(play.asked().1, Question::Begin { .. }));
}

#[test]
fn an_answer_to_a_closed_question_does_nothing() {
    let steps = json!([{ "id": "one", "run": ["true"] }, { "id": "two", "run": ["true"] }]);
    let mut play = Play::new(steps, opened(None), true);
    play.start(false);
    let (first, _) = play.asked();
    play.answer(Answer::Go);
    play.give(Input::Interrupt);
    let (interrupted, _) = play.asked();
    play.ends(OK);
    assert!(matches!(play.asked().1, Question::Begin { step } if step.as_str() == "two"));
    for stale in [first, interrupted] {
        play.give(Input::Answer(stale, Answer::Go));
        play.give(Input::Answer(stale, Answer::Quit));
    }
    assert_eq!((play.works(), play.left()), (1, None));
    play.answer(Answer::Go);
    assert_eq!(play.works(), 2);
}

#[test]
fn going_on_watching_does_not_continue_a_paused_command() {
    let invariant = json!({ "file": { "path": "/x", "on_violation": "pause" } });
    let mut play =
        Play::new(json!([{ "id": "one", "run": ["true"], "invariants": [invariant] }]), opened(None), true);
    play.start(false);
    play.answer(Answer::Go);
    play.give(Input::Tick);
    play.give(Input::Interrupt);
    let (interrupted, _) = play.asked();
    play.measured(|_| Verdict::Fail);
    assert!(matches!(play.asked().1, Question::Paused { .. }));
    play.give(Input::Answer(interrupted, Answer::Go));
    let continued = |play: &Play| play.log.iter().any(|e| matches!(e, Event::Continued { .. }));
    assert!(!continued(&play), "the answer was to another question");
    // A note, and another measurement that fails, leave the question open.
    play.answer(Answer::Note("n".to_owned()));
    assert!(matches!(play.asked().1, Question::Paused { .. }));
    let (before, _) = play.asked();
    play.answer(Answer::Measure);
    play.give(Input::Tick);
    play.measured(|_| Verdict::Fail);
    assert!(play.asked().0 > before, "asked again");
    play.answer(Answer::Go);
    assert!(continued(&play));
}

#[test]
fn a_paused_command_goes_on_in_another_session() {
    let invariant = json!({ "file": { "path": "/x", "on_violation": "pause" } });
    let steps = json!([{ "id": "one", "run": ["true"], "invariants": [invariant] }]);
    let violated = |action: &str| Event::Violated {
        step: "one".into(),
        check: "one.inv.file".into(),
        action: action.to_owned(),
    };
    let mut play = Play::new(steps, after(vec![began("one", 1), violated("pause")]), false);
    play.start(true);
    let look =
        play.last("look", |e| if let Effect::Look { request, .. } = e { Some(*request) } else { None });
    play.give(Input::Found(look, Found::Running { paused: false }));
    play.give(Input::Tick);
    play.measured(pass);
    assert!(play.out.iter().any(|e| matches!(e, Effect::Continue)), "{:#?}", play.out);
}

#[test]
fn what_was_measured_before_the_last_work_does_not_complete_a_run() {
    let steps = json!([
        { "id": "one", "run": ["true"], "postconditions": [{ "file": { "path": "/x" } }] },
        { "id": "two", "run": ["true"], "postconditions": [{ "file": { "path": "/y" } }] },
    ]);
    let mut play = Play::new(steps, opened(None), false);
    play.start(false);
    play.ends(OK);
    play.measured(pass);
    play.ends(OK);
    play.measured(pass);
    assert_eq!(play.left(), None, "the first step's postcondition was measured before the second step");
    play.measured(|id| if id == "one.post.file" { Verdict::Fail } else { Verdict::Pass });
    assert_eq!(play.status("one"), Status::Reopened);
    assert!(play.machine.state().end.is_none());
}

#[test]
fn a_decision_in_advance_decides_nothing() {
    let steps = json!([{ "id": "one", "run": ["true"], "postconditions": [{ "file": { "path": "/x" } }] }]);
    let mut given = Given::default();
    given.decide.insert("one".into(), (Decision::Done, "I trust it".to_owned()));
    let mut play = Play::with(steps, opened(None), false, Mode::Forward, given);
    play.start(false);
    play.ends(Ending::Unknown { why: "?".to_owned() });
    play.measured(pass);
    assert_eq!((play.status("one"), play.left()), (Status::InDoubt, Some(Exit::Waiting)));
}

#[test]
fn a_refused_word_that_it_is_done_runs_nothing_again() {
    let steps = json!([
        { "id": "one", "run": ["true"], "rerun": "safe", "postconditions": [{ "file": { "path": "/x" } }] },
    ]);
    let failed = Event::Failed { step: "one".into(), why: "/x is not there".to_owned() };
    let state = || after(vec![began("one", 1), over("one", OK), failed.clone()]);
    let mut given = Given::default();
    given.decide.insert("one".into(), (Decision::Done, "I trust it".to_owned()));
    let mut play = Play::with(steps.clone(), state(), false, Mode::Forward, given);
    play.start(true);
    play.measured(|_| Verdict::Fail);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)), "{:?}", play.log);
    // Without that word it is repeated, as the runbook allows.
    let mut play = Play::new(steps, state(), false);
    play.start(true);
    play.measured(|_| Verdict::Fail);
    assert_eq!(play.works(), 1, "{:?}", play.log);
}

#[test]
fn a_word_that_it_is_done_is_checked_when_it_comes() {
    let steps = json!([{ "id": "one", "run": ["true"], "postconditions": [{ "file": { "path": "/x" } }] }]);
    let state = after(vec![began("one", 1), over("one", Ending::Unknown { why: "?".to_owned() })]);
    let mut play = Play::new(steps, state, true);
    play.start(true);
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Doubt { may_finish: true, .. }));
    play.answer(Answer::Finished("looked".to_owned()));
    play.measured(|_| Verdict::Fail);
    assert_eq!(play.status("one"), Status::InDoubt, "meanwhile it had changed");
}

#[test]
fn without_its_captured_value_a_step_is_not_done() {
    let steps = json!([{ "id": "one", "run": ["true"], "capture": "v", "postconditions": [{ "file": { "path": "/x" } }] }]);
    let failed = Event::Failed { step: "one".into(), why: "no value".to_owned() };
    let mut play = Play::new(steps.clone(), after(vec![began("one", 1), over("one", OK), failed]), true);
    play.start(true);
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Failed { may_finish: false, .. }), "{:?}", play.asked().1);
    // Nor when the write of its end was torn before the value.
    let mut play = Play::new(steps, after(vec![began("one", 1), over("one", OK)]), false);
    play.start(true);
    assert_eq!((play.status("one"), play.left()), (Status::Failed, Some(Exit::Failed)));
}

#[test]
fn the_end_of_work_is_the_last_of_its_records() {
    let steps = json!([{ "id": "one", "run": ["true"], "creates": ["new"], "capture": "v" }]);
    let pinned = Event::Pinned { target: "new".to_owned(), identity: identity("new", 0) };
    let mut play = Play::new(steps, after(vec![pinned]), false);
    play.start(false);
    let request = play.work();
    let ended = Ended { captured: Some(Ok("5".to_owned())), ..Ended::how(OK) };
    play.give(Input::WorkEnded(request, ended));
    let kinds: Vec<u8> = play
        .log
        .iter()
        .filter_map(|e| match e {
            Event::Unpinned { .. } => Some(1),
            Event::Captured { .. } => Some(2),
            Event::Ended { .. } => Some(3),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [1, 2, 3]);
}

#[test]
fn a_soak_ends_only_when_every_invariant_holds() {
    let steps = json!([{ "id": "soak", "soak": { "for": "10s", "every": "5s" }, "invariants": [
        { "file": { "id": "often", "path": "/x" } },
        { "file": { "id": "seldom", "path": "/y", "every": "1h" } },
        { "file": { "id": "shown", "path": "/z", "advisory": true } },
    ] }]);
    let mut play = Play::new(steps.clone(), opened(None), false);
    play.start(false);
    for _ in 0..6 {
        play.give(Input::Tick);
        play.measured(|id| if id.ends_with("often") { Verdict::Pass } else { Verdict::Fail });
        play.now.boot_ms += 5_000;
    }
    assert_eq!(
        play.machine.state().step(&"soak".into()).soaked_ms,
        0,
        "`seldom` failed when it was last measured"
    );
    let mut play = Play::new(steps, opened(None), false);
    play.start(false);
    for _ in 0..6 {
        play.give(Input::Tick);
        play.measured(|id| if id.ends_with("shown") { Verdict::Fail } else { Verdict::Pass });
        play.now.boot_ms += 5_000;
    }
    assert_eq!(play.status("soak"), Status::Done, "an advisory check is only shown");
}

#[test]
fn a_soak_that_is_run_again_begins_at_zero() {
    let mut events = well("soak");
    events.insert(1, Event::Soaked { step: "soak".into(), elapsed_ms: 3_600_000 });
    events.push(Event::Reopened { step: "soak".into(), why: "?".to_owned() });
    events.push(began("soak", 2));
    assert_eq!(after(events).step(&"soak".into()).soaked_ms, 0);
}

fn boot(state: &mut RunState, id: &str, epoch: u64) {
    let event = Event::Lease {
        operator: "b".to_owned(),
        how: LeaseHow::TakeOver,
        pid: 9,
        pid_start: 9,
        boot_id: id.to_owned(),
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    state.event(&event, &moment(0), "b@h", epoch);
}

#[test]
fn a_reboot_is_not_forgotten_by_another_session_in_between() {
    let steps = json!([
        { "id": "one", "run": ["true"], "rerun": "safe", "postconditions": [{ "file": { "path": "/x", "until": "two" } }] },
        { "id": "two", "run": ["true"], "postconditions": [{ "file": { "path": "/y" } }] },
        { "id": "three", "run": ["true"] },
    ]);
    let mut state = after([well("one"), well("two")].concat());
    boot(&mut state, "after", 3);
    state.event(&Event::Released { why: "accepted".to_owned() }, &moment(0), "b@h", 3);
    boot(&mut state, "after", 4);
    let mut play = Play::new(steps, state, false);
    play.start(true);
    assert_eq!((play.status("one"), play.status("two")), (Status::InDoubt, Status::Done), "{:?}", play.log);
    play.measured(pass);
    play.measured(pass);
    assert_eq!(
        (play.works(), play.left()),
        (0, Some(Exit::Waiting)),
        "`rerun: safe` is not repeated below later work"
    );
}

#[test]
fn what_a_begun_step_has_released_stays_so_when_an_earlier_one_is_reopened() {
    let steps = json!([
        { "id": "one", "run": ["true"], "postconditions": [
            { "file": { "path": "/x" } }, { "file": { "id": "until", "path": "/y", "until": "three" } } ] },
        { "id": "two", "run": ["true"], "postconditions": [{ "file": { "path": "/z" } }] },
        { "id": "three", "run": ["true"], "postconditions": [{ "file": { "path": "/z" } }] },
        { "id": "four", "run": ["true"], "postconditions": [{ "file": { "path": "/z" } }] },
    ]);
    let gone = |id: &str| if id == "one.post.until" { Verdict::Fail } else { Verdict::Pass };
    let reopened = vec![Event::Reopened { step: "two".into(), why: "?".to_owned() }];
    let begun = after([well("one"), well("two"), well("three"), reopened.clone()].concat());
    let mut play = Play::new(steps.clone(), begun, false);
    play.start(true);
    play.measured(gone);
    assert_eq!(play.status("one"), Status::Done, "`three` has begun: {:?}", play.log);
    let pending = after([well("one"), well("two"), reopened].concat());
    let mut play = Play::new(steps.clone(), pending, false);
    play.start(true);
    play.measured(gone);
    assert_eq!(play.status("one"), Status::Reopened, "`three` has not begun");
    let again = vec![
        Event::Failed { step: "three".into(), why: "?".to_owned() },
        Event::Decided {
            step: "three".into(),
            decision: Decision::Again,
            reason: "?".to_owned(),
            by_runbook: false,
            undo: false,
        },
    ];
    let again = after([well("one"), well("two"), vec![began("three", 1)], again].concat());
    let mut play = Play::new(steps, again, false);
    play.start(true);
    play.measured(gone);
    assert_eq!(play.status("one"), Status::Done, "`three` has begun once: {:?}", play.log);
}

#[test]
fn work_by_hand_is_not_done_by_asking_for_it() {
    let steps =
        json!([{ "id": "one", "run": ["true"], "rollback": { "manual": { "instructions": "undo it" } } }]);
    let back = Mode::Back { to: None };
    let mut play = Play::with(steps.clone(), after(well("one")), false, back.clone(), Given::default());
    play.start(true);
    assert_eq!((play.status("one"), play.left()), (Status::Done, Some(Exit::Waiting)));
    let mut play = Play::with(steps, after(well("one")), true, back, Given::default());
    play.start(true);
    play.answer(Answer::Go);
    assert!(matches!(play.asked().1, Question::Manual { .. }));
    assert_eq!(play.status("one"), Status::RollingBack);
    play.answer(Answer::Carried(None));
    assert_eq!((play.status("one"), play.left()), (Status::RolledBack, Some(Exit::Done)));
}

#[test]
fn a_destruction_by_hand_is_done_by_a_person() {
    let steps = json!([{ "id": "drop", "manual": { "instructions": "remove the disk" },
        "destroys": { "what": "old", "paths": ["/x"] }, "preconditions": [{ "file": { "path": "/x" } }] }]);
    let mut given = Given::default();
    given.confirm.insert("drop".into(), "old".to_owned());
    let mut play = Play::with(steps.clone(), opened(None), false, Mode::Forward, given);
    play.start(false);
    play.measured(pass);
    assert_eq!((play.status("drop"), play.left()), (Status::Pending, Some(Exit::Waiting)), "nobody is there");
    let mut play = Play::new(steps, opened(None), true);
    play.start(false);
    play.answer(Answer::Go);
    play.measured(pass);
    play.answer(Answer::Typed("old".to_owned()));
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Manual { .. }));
    assert_eq!(play.status("drop"), Status::Running);
    play.answer(Answer::Carried(None));
    assert_eq!(play.status("drop"), Status::Done);
}

#[test]
fn undoing_that_nobody_saw_the_end_of_is_not_repeated_unasked() {
    for work in [
        json!({ "run": ["true"] }),
        json!({ "manual": { "instructions": "x" } }),
        json!({ "sql": { "target": "new", "statements": ["select 1"] } }),
    ] {
        let mut step = work.clone();
        step["id"] = "one".into();
        step["rollback"] = json!({ "run": ["true"] });
        let mut events = well("one");
        events.push(Event::RollbackBegan { step: "one".into(), attempt: 1, permit: None });
        let mut play = Play::with(
            json!([step.clone()]),
            after(events.clone()),
            false,
            Mode::Back { to: None },
            Given::default(),
        );
        play.start(true);
        let look = play.last("look", |e| {
            if let Effect::Look { request, undo: true, .. } = e { Some(*request) } else { None }
        });
        play.give(Input::Found(look, Found::Lost { why: "?".to_owned() }));
        assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)), "{work}");
        events.push(Event::InDoubt { step: "one".into(), attempt: 1, why: "?".to_owned() });
        assert_eq!(after(events.clone()).step(&"one".into()).undo, Undo::Open);
        for mode in [Mode::Back { to: None }, Mode::Forward] {
            let mut play =
                Play::with(json!([step.clone()]), after(events.clone()), false, mode, Given::default());
            play.start(true);
            assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)), "{work}");
        }
    }
}

#[test]
fn what_is_undone_is_proved_to_be_the_right_one() {
    let steps = json!([{ "id": "one", "sql": { "target": "new", "statements": ["select 1"] },
        "rollback": { "sql": { "target": "new", "statements": ["select 2"] } } }]);
    let mut events = well("one");
    events.push(Event::Pinned { target: "new".to_owned(), identity: identity("new", 7) });
    let mut play = Play::with(steps, after(events), false, Mode::Back { to: None }, Given::default());
    play.start(true);
    play.measured(pass);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)));
}

/// A step whose undoing destroys, done by a command; `more` goes into its rollback.
fn removable(more: Value) -> Value {
    let mut rollback = json!({ "run": ["true"],
        "destroys": { "what": "the copy", "target": "new", "survives_in": "old" },
        "preconditions": [{ "rows_match": { "source": "new", "target": "old", "at_least": true } }] });
    for (key, value) in more.as_object().unwrap() {
        rollback[key] = value.clone();
    }
    json!([
        { "id": "stop", "run": ["true"], "changes": false, "postconditions": [
            { "file": { "path": "/x" } }, { "file": { "id": "until", "path": "/y", "until": "copy" } } ] },
        { "id": "copy", "run": ["true"], "rollback": rollback },
    ])
}

pub(super) fn back(steps: Value, events: Vec<Event>, present: bool, typed: Option<&str>) -> Play {
    let mut given = Given::default();
    if let Some(text) = typed {
        given.confirm.insert("copy".into(), text.to_owned());
    }
    let mut play = Play::with(steps, after(events), present, Mode::Back { to: Some("copy".into()) }, given);
    play.start(true);
    play
}

fn both() -> Vec<Event> {
    [well("stop"), well("copy")].concat()
}

fn seen(play: &Play, wanted: impl Fn(&Event) -> bool) -> bool {
    play.log.iter().any(wanted)
}

#[test]
fn an_undoing_that_destroys_goes_through_the_gate() {
    let mut play = back(removable(json!({})), both(), false, Some("the copy"));
    let measured = play.last("guards", |effect| match effect {
        Effect::Measure { purpose: Purpose::Guard, checks, prove, goes: Some(goes), .. } => {
            let ids: Vec<String> = checks.iter().map(|(id, _)| id.to_string()).collect();
            Some((ids, prove.clone(), goes.target.clone()))
        }
        _ => None,
    });
    assert_eq!(measured.0, ["copy.undo-pre.rows_match", "stop.post.file"]);
    assert_eq!((measured.1, measured.2), (vec!["new".to_owned(), "old".to_owned()], Some("new".to_owned())));
    play.measured(pass);
    assert_eq!(play.works(), 0, "measured once more before the permit");
    play.measured(pass);
    assert!(seen(&play, |e| matches!(e, Event::Confirmed { undo: true, .. })));
    assert!(seen(&play, |e| matches!(e, Event::Permitted { undo: true, permit: 1, .. })));
    assert!(seen(&play, |e| matches!(e, Event::RollbackBegan { permit: Some(1), .. })));
    let undo = play.last("work", |effect| match effect {
        Effect::Work { cleared, undo, .. } => Some(*undo && cleared.undo() && cleared.permit().is_some()),
        _ => None,
    });
    assert!(undo);
    play.ends(OK);
    assert_eq!((play.status("copy"), play.left()), (Status::RolledBack, Some(Exit::Done)));
    assert_eq!(play.status("stop"), Status::Done, "`--to copy` ends there");
}

#[test]
fn an_undoing_is_held_for_every_reason_at_once_and_nothing_is_reopened() {
    let mut play = back(removable(json!({})), both(), false, Some("the copy"));
    play.measured(|_| Verdict::Unknown);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)));
    let held = play.log.iter().find_map(|e| match e {
        Event::Held { undo: true, blockers, .. } => Some(blockers.clone()),
        _ => None,
    });
    let subjects: Vec<String> = held.expect("held").into_iter().map(|b| b.subject).collect();
    for wanted in ["copy.undo-pre.rows_match", "stop.post.file", "copy"] {
        assert!(subjects.iter().any(|s| s == wanted), "{wanted} is not in {subjects:?}");
    }
    assert_eq!(play.status("stop"), Status::Done);
    assert!(!seen(&play, |e| matches!(e, Event::Confirmed { .. } | Event::RollbackBegan { .. })));
}

#[test]
fn an_undoing_waits_for_its_text_and_takes_no_other() {
    let mut play = back(removable(json!({})), both(), false, None);
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Confirm { undo: Some(Undoing { to: Some(_) }), .. }));
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Waiting)));
    let mut play = back(removable(json!({})), both(), false, Some("the other"));
    play.measured(pass);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)));
    assert!(!seen(&play, |e| matches!(e, Event::Confirmed { .. })));
    // What fails between the typing and the permit holds as well.
    let mut play = back(removable(json!({})), both(), true, None);
    play.answer(Answer::Go);
    play.measured(pass);
    play.now.boot_ms += 31_000;
    play.answer(Answer::Typed("the copy".to_owned()));
    play.measured(|_| Verdict::Fail);
    assert!(matches!(play.asked().1, Question::Held { undo: true, .. }));
    assert_eq!(play.works(), 0);
    // Measured again, it wants the text again.
    play.answer(Answer::Measure);
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Confirm { .. }));
    assert_eq!(play.works(), 0);
}

#[test]
fn a_permitted_undoing_that_nobody_saw_the_end_of_wants_another_permit() {
    let mut events = both();
    events.push(Event::Permitted {
        step: "copy".into(),
        undo: true,
        permit: 1,
        runbook: "digest".into(),
        guards: Vec::new(),
        blast: "".into(),
        approvers: Vec::new(),
        waived: Vec::new(),
    });
    events.push(Event::RollbackBegan { step: "copy".into(), attempt: 1, permit: Some(1) });
    let lost = |play: &mut Play| {
        let look =
            play.last("look", |e| if let Effect::Look { request, .. } = e { Some(*request) } else { None });
        play.give(Input::Found(look, Found::Lost { why: "?".to_owned() }));
    };
    let mut play = back(removable(json!({})), events.clone(), false, Some("the copy"));
    lost(&mut play);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)), "a person decides");
    let mut play = back(removable(json!({})), events, true, None);
    lost(&mut play);
    assert!(matches!(play.asked().1, Question::NotUndone { .. }));
    play.answer(Answer::Again("it is half gone".to_owned()));
    play.measured(pass);
    play.answer(Answer::Typed("the copy".to_owned()));
    play.measured(pass);
    assert!(seen(&play, |e| matches!(e, Event::Decided { undo: true, by_runbook: false, .. })));
    assert!(seen(&play, |e| matches!(e, Event::RollbackBegan { attempt: 2, permit: Some(2), .. })));
    play.ends(OK);
    assert_eq!(play.status("copy"), Status::RolledBack);
}

#[test]
fn an_undoing_by_hand_that_destroys_wants_somebody_there_and_the_text() {
    let steps = || {
        let mut steps = removable(json!({ "manual": { "instructions": "remove the disk" } }));
        steps[1]["rollback"].as_object_mut().unwrap().remove("run");
        steps
    };
    let play = back(steps(), both(), false, Some("the copy"));
    assert_eq!((play.status("copy"), play.left()), (Status::Done, Some(Exit::Waiting)), "nobody is there");
    let mut play = back(steps(), both(), true, None);
    play.answer(Answer::Go);
    play.measured(pass);
    play.answer(Answer::Typed("the copy".to_owned()));
    play.measured(pass);
    assert!(matches!(play.asked().1, Question::Manual { .. }));
    assert_eq!(play.status("copy"), Status::RollingBack);
    play.answer(Answer::Carried(None));
    assert_eq!(play.status("copy"), Status::RolledBack);
}

#[test]
fn an_undoing_that_destroys_nothing_has_preconditions_too() {
    let steps = json!([{ "id": "copy", "run": ["true"], "rollback": { "run": ["true"], "preconditions": [
        { "file": { "path": "/x" } }, { "file": { "id": "shown", "path": "/y", "advisory": true } } ] } }]);
    let mut play = back(steps.clone(), well("copy"), false, None);
    play.measured(|id| if id.ends_with("shown") { Verdict::Fail } else { Verdict::Pass });
    assert_eq!(play.works(), 1, "what is advisory does not hold it");
    assert!(seen(&play, |e| matches!(e, Event::RollbackBegan { permit: None, .. })));
    let mut play = back(steps, well("copy"), false, None);
    play.measured(|_| Verdict::Unknown);
    assert_eq!((play.works(), play.left()), (0, Some(Exit::Held)));
}

#[test]
fn a_session_that_lost_the_lease_does_nothing_more() {
    let mut play = Play::new(json!([{ "id": "one", "run": ["true"] }]), opened(None), true);
    play.start(false);
    play.answer(Answer::Go);
    play.give(Input::Interrupt);
    let mut state = play.machine.state().clone();
    boot(&mut state, "b", 9);
    let event = Event::Lease {
        operator: "b".to_owned(),
        how: LeaseHow::TakeOver,
        pid: 9,
        pid_start: 9,
        boot_id: "b".to_owned(),
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    let line = Line { seq: 99, at: play.now, by: "b@h".to_owned(), epoch: 9, event, prev: "".into() };
    play.give(Input::Foreign(vec![line]));
    assert_eq!(play.left(), Some(Exit::Busy));
    play.answer(Answer::Stop);
    assert!(!play.out.iter().any(|e| matches!(e, Effect::Stop { .. })));
}

#[test]
fn a_late_measurement_is_not_taken_for_the_new_one() {
    let steps = json!([{ "id": "one", "run": ["true"], "invariants": [{ "file": { "path": "/x", "on_violation": "stop" } }],
        "postconditions": [{ "file": { "path": "/y" } }] }]);
    let mut play = Play::new(steps, opened(None), true);
    play.start(false);
    play.answer(Answer::Go);
    play.give(Input::Tick);
    let (request, checks) = play.last("measurement", |effect| match effect {
        Effect::Measure { request, checks, .. } => Some((*request, checks.clone())),
        _ => None,
    });
    play.ends(Ending::Exited { status: 1 });
    play.answer(Answer::Again("why".to_owned()));
    play.give(Input::Tick);
    let now = play.now;
    let evidence = checks
        .into_iter()
        .map(|(id, spec)| evidence(id, &spec.kind, &|_: &str| Verdict::Fail, now))
        .collect();
    play.give(Input::Measured(Measured {
        request,
        purpose: Purpose::Invariant,
        step: "one".into(),
        evidence,
        proved: Default::default(),
        blast: None,
        runbook_now: "digest".into(),
        scripts_now: Default::default(),
    }));
    assert!(
        !play.out.iter().any(|e| matches!(e, Effect::Stop { .. })),
        "it was measured for the first attempt"
    );
}
