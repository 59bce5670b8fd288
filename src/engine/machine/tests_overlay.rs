//! Questions that come up while a command runs: asked once, never answered by an older answer, and a paused command never
//! stands still with nobody asked.

use std::sync::Arc;

use serde_json::json;

use super::tests::{moment, start_state};
use super::*;
use crate::check::Outcome;
use crate::engine::event::Question;

fn machine(present: bool) -> Machine {
    let book = json!({
        "holdpoint": 1, "name": "move",
        "steps": [
            { "id": "copy", "run": ["true"],
              "invariants": [ { "file": { "path": "/ok", "every": "1s", "on_violation": "pause" } } ] },
            { "id": "look", "manual": { "instructions": "Look." } },
        ],
    });
    let plan = Plan::new(Arc::new(serde_json::from_value(book).unwrap()));
    let state = start_state(moment(0));
    Machine::new(plan, state, Mode::Forward, present, Given::default(), "a@h", moment(0))
}

fn watched(outcome: Outcome, ms: u64) -> Input {
    let check = CheckId::from("copy.inv.file");
    let at = moment(ms);
    let evidence = Evidence { check, kind: "file".into(), title: "t".into(), outcome, at, took_ms: 1 };
    Input::Measured(Measured {
        purpose: Purpose::Invariant,
        step: "copy".into(),
        evidence: vec![evidence],
        proved: BTreeMap::new(),
        blast: None,
        runbook_now: "digest".into(),
    })
}

fn asked(effects: &[Effect]) -> Vec<&Question> {
    let question = |effect| match effect {
        &Effect::Ask(ref question) => Some(question),
        _ => None,
    };
    effects.iter().filter_map(question).collect()
}

fn running() -> Machine {
    let mut machine = machine(true);
    let effects = machine.step(Input::Start { resumed: false, rebooted: false }, moment(1));
    assert!(matches!(asked(&effects)[..], [Question::Begin { .. }]));
    let effects = machine.step(Input::Answer(Answer::Go), moment(2));
    assert!(effects.iter().any(|e| matches!(e, Effect::Work { .. })), "{effects:?}");
    machine
}

fn bad() -> Outcome {
    Outcome::fail("gone", "there")
}

fn exited() -> Input {
    let ending = Ending::Exited { status: 0 };
    Input::WorkEnded(Ended { ending, output_bytes: 0, left_running: vec![], captured: None, recorded: None })
}

#[test]
fn a_paused_command_is_never_left_without_a_question() {
    let mut machine = running();
    let effects = machine.step(watched(bad(), 3), moment(3));
    assert!(effects.iter().any(|e| matches!(e, Effect::Pause)));
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]));
    let effects = machine.step(Input::Answer(Answer::Note("n".into())), moment(4));
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]), "asked again after a note: {effects:?}");
    assert!(asked(&machine.step(Input::Answer(Answer::Measure), moment(5))).is_empty());
    let effects = machine.step(watched(bad(), 6), moment(6));
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]), "still bad: asked again: {effects:?}");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Pause)), "it is paused already");
    machine.step(Input::Answer(Answer::Measure), moment(7));
    let effects = machine.step(watched(Outcome::unknown("?", "there"), 8), moment(8));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Continue)), "unknown is no pass");
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]), "{effects:?}");
    machine.step(Input::Answer(Answer::Measure), moment(9));
    let effects = machine.step(watched(Outcome::pass("there", "there"), 10), moment(10));
    assert!(effects.iter().any(|e| matches!(e, Effect::Continue)), "{effects:?}");
}

#[test]
fn going_on_watching_does_not_continue_what_was_paused_meanwhile() {
    let mut machine = running();
    let effects = machine.step(Input::Interrupt, moment(3));
    assert!(matches!(asked(&effects)[..], [Question::Interrupted { .. }]));
    let effects = machine.step(watched(bad(), 4), moment(4));
    assert!(effects.iter().any(|e| matches!(e, Effect::Pause)));
    assert!(asked(&effects).is_empty(), "one question at a time");
    let effects = machine.step(Input::Answer(Answer::Go), moment(5));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Continue)), "{effects:?}");
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]));
    let effects = machine.step(Input::Answer(Answer::Go), moment(6));
    assert!(effects.iter().any(|e| matches!(e, Effect::Continue)), "{effects:?}");
}

#[test]
fn a_question_behind_an_open_one_is_asked_once() {
    let mut machine = running();
    machine.step(Input::Interrupt, moment(3));
    let effects = machine.step(exited(), moment(4));
    assert!(asked(&effects).is_empty(), "{effects:?}");
    let effects = machine.step(Input::Answer(Answer::Go), moment(5));
    assert!(matches!(asked(&effects)[..], [Question::Manual { .. }]), "{effects:?}");
}

#[test]
fn a_command_found_paused_is_measured_and_goes_on_or_asks() {
    for (outcome, goes_on) in [(Outcome::pass("there", "there"), true), (bad(), false)] {
        let mut first = running();
        first.step(Input::Leave, moment(3));
        let plan = first.plan().clone();
        let state = first.state().clone();
        let mut machine = Machine::new(plan, state, Mode::Forward, true, Given::default(), "a@h", moment(4));
        machine.step(Input::Start { resumed: true, rebooted: false }, moment(4));
        let effects = machine.step(Input::Found(Found::Running { paused: true }), moment(5));
        assert!(effects.iter().any(|e| matches!(e, Effect::Attach { .. })), "{effects:?}");
        let effects = machine.step(watched(outcome, 6), moment(6));
        assert_eq!(effects.iter().any(|e| matches!(e, Effect::Continue)), goes_on, "{effects:?}");
        assert_eq!(matches!(asked(&effects)[..], [Question::Paused { .. }]), !goes_on);
    }
}
