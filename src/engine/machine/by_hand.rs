//! What a person does by hand: it counts only once that person has said so, destructive or not, forward or back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::tests::{moment, start_state};
use super::*;
use crate::check::Outcome;
use crate::engine::state::Status;
use crate::journal::record::BlastItem;

fn plan() -> Plan {
    let book = json!({
        "holdpoint": 1, "name": "move",
        "steps": [
            { "id": "drop", "manual": { "instructions": "press the red button" },
              "destroys": { "what": "old", "paths": ["/old"] },
              "preconditions": [ { "file": { "path": "/new" } } ],
              "postconditions": [ { "file": { "path": "/old", "exists": false } } ] },
            { "id": "move", "run": ["true"], "rollback": { "manual": { "instructions": "carry it back" } } },
        ],
    });
    Plan::new(Arc::new(serde_json::from_value(book).unwrap()))
}

fn machine(state: RunState, mode: Mode, present: bool) -> Machine {
    let given = Given { confirm: BTreeMap::from([("drop".into(), "old".to_owned())]), ..Given::default() };
    Machine::new(plan(), state, mode, present, given, "a@h", moment(0))
}

/// Answers every measurement with a pass, and every question by `answer`, until there is nothing more to answer.
fn play(machine: &mut Machine, first: Input, answer: impl Fn(&Question) -> Option<Answer>) -> Vec<Effect> {
    let (mut inputs, mut all) = (vec![first], Vec::new());
    while let Some(input) = inputs.pop() {
        for effect in machine.step(input, moment(1)) {
            match &effect {
                Effect::Measure { purpose, step, checks, blast, .. } => {
                    let evidence = checks.iter().map(|(id, spec)| Evidence {
                        check: id.clone(),
                        kind: spec.kind.clone(),
                        title: "t".to_owned(),
                        outcome: Outcome::pass("seen", "wanted"),
                        at: moment(1),
                        took_ms: 1,
                    });
                    let item = BlastItem { kind: "file".into(), name: "/old".into(), bytes: Some(1), rows: None };
                    let goes = Blast {
                        items: vec![item],
                        identity: None,
                        serving: Vec::new(),
                        unmeasured: Vec::new(),
                        at: moment(1),
                    };
                    inputs.push(Input::Measured(Measured {
                        purpose: *purpose,
                        step: step.clone(),
                        evidence: evidence.collect(),
                        proved: BTreeMap::new(),
                        blast: blast.then_some(goes),
                        runbook_now: "digest".into(),
                    }));
                }
                Effect::Ask(question) => inputs.extend(answer(question).map(Input::Answer)),
                _ => {}
            }
            all.push(effect);
        }
    }
    all
}

fn events(effects: &[Effect]) -> Vec<&Event> {
    let appended = effects.iter().filter_map(|e| if let Effect::Append(events) = e { Some(events) } else { None });
    appended.flatten().collect()
}

fn start() -> Input {
    Input::Start { resumed: false, rebooted: false }
}

#[test]
fn a_destructive_step_by_hand_is_asked_for_under_its_permit() {
    let mut machine = machine(start_state(moment(0)), Mode::Forward, true);
    let go = |question: &Question| matches!(question, Question::Begin { step } if step.as_str() == "drop").then_some(Answer::Go);
    let effects = play(&mut machine, start(), go);
    assert!(matches!(effects.last(), Some(Effect::Ask(Question::Manual { .. }))), "{effects:?}");
    assert!(events(&effects).iter().any(|e| matches!(e, Event::Began { permit: Some(1), .. })));
    assert_eq!(machine.state().status(&"drop".into()), Status::Running, "nobody has said that it was carried out");
    let effects = play(&mut machine, Input::Answer(Answer::Carried(None)), |_| None);
    assert!(!events(&effects).iter().any(|e| matches!(e, Event::Began { .. })), "it is begun once");
    assert_eq!(machine.state().status(&"drop".into()), Status::Done);
}

#[test]
fn with_nobody_there_a_confirmed_step_by_hand_is_not_even_begun() {
    let mut machine = machine(start_state(moment(0)), Mode::Forward, false);
    let effects = play(&mut machine, start(), |_| None);
    assert!(matches!(effects.last(), Some(Effect::Leave(Exit::Waiting))), "{effects:?}");
    assert!(!events(&effects).iter().any(|e| matches!(e, Event::Confirmed { .. } | Event::Began { .. })));
}

#[test]
fn a_session_that_ends_meanwhile_leaves_it_in_doubt() {
    let mut first = machine(start_state(moment(0)), Mode::Forward, true);
    play(&mut first, start(), |question| matches!(question, Question::Begin { .. }).then_some(Answer::Go));
    let mut machine = machine(first.state().clone(), Mode::Forward, true);
    let effects = play(&mut machine, Input::Start { resumed: true, rebooted: false }, |_| None);
    assert!(matches!(effects.last(), Some(Effect::Ask(Question::Doubt { .. }))), "{effects:?}");
}

#[test]
fn nothing_is_undone_by_hand_without_a_hand() {
    let mut state = start_state(moment(0));
    for event in [
        Event::Began { step: "move".into(), attempt: 1, permit: None },
        Event::Done { step: "move".into() },
    ] {
        state.event(&event, &moment(0), "a@h", 1);
    }
    let back = Mode::Back { to: Some("move".into()) };
    let mut alone = machine(state.clone(), back.clone(), false);
    let effects = play(&mut alone, start(), |_| None);
    assert!(matches!(effects.last(), Some(Effect::Leave(Exit::Waiting))), "{effects:?}");
    assert_eq!(alone.state().status(&"move".into()), Status::Done);
    let mut present = machine(state, back, true);
    let effects = play(&mut present, start(), |question| matches!(question, Question::Undo { .. }).then_some(Answer::Go));
    assert!(effects.iter().any(|e| matches!(e, Effect::Work { undo: true, .. })), "{effects:?}");
}
