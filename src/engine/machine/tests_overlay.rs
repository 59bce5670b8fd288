//! Questions that come up while a command runs: asked once, never answered by an older answer, and a paused command never
//! stands still with nobody asked.

use std::sync::Arc;

use serde_json::json;

use super::tests::{moment, start_state};
use super::*;
use crate::check::Outcome;
use crate::engine::event::Question;
use crate::journal::record::Ending;

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

/// A machine with the numbers of what it last asked for, and a clock that goes on by itself.
struct Rig {
    machine: Machine,
    ms: u64,
    asked: Number,
    work: Number,
}

impl Rig {
    fn new(machine: Machine) -> Rig {
        Rig { machine, ms: 0, asked: 0, work: 0 }
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.ms += 2_000;
        let effects = self.machine.step(input, moment(self.ms));
        for effect in &effects {
            match effect {
                Effect::Ask(number, _) => self.asked = *number,
                Effect::Work { request, .. } | Effect::Attach { request, .. } => self.work = *request,
                _ => {}
            }
        }
        effects
    }

    fn say(&mut self, answer: Answer) -> Vec<Effect> {
        self.give(Input::Answer(self.asked, answer))
    }

    /// The invariant is due, is measured, and this is what it sees.
    fn watched(&mut self, outcome: Outcome) -> Vec<Effect> {
        let mut effects = self.give(Input::Tick);
        let request = effects.iter().find_map(|effect| match effect {
            Effect::Measure { request, .. } => Some(*request),
            _ => None,
        });
        let at = moment(self.ms);
        let check = CheckId::from("copy.inv.file");
        let evidence = Evidence { check, kind: "file".into(), title: "t".into(), outcome, at, took_ms: 1 };
        let measured = Measured {
            request: request.expect("the invariant is due"),
            purpose: Purpose::Invariant,
            step: "copy".into(),
            evidence: vec![evidence],
            proved: BTreeMap::new(),
            blast: None,
            runbook_now: "digest".into(),
            scripts_now: Default::default(),
        };
        effects.extend(self.give(Input::Measured(measured)));
        effects
    }

    fn exited(&mut self) -> Vec<Effect> {
        let ending = Ending::Exited { status: 0 };
        let ended = Ended { ending, output_bytes: 0, left_running: vec![], captured: None, recorded: None };
        self.give(Input::WorkEnded(self.work, ended))
    }
}

fn asked(effects: &[Effect]) -> Vec<&Question> {
    fn question(effect: &Effect) -> Option<&Question> {
        match effect {
            Effect::Ask(_, question) => Some(question),
            _ => None,
        }
    }
    effects.iter().filter_map(question).collect()
}

fn running() -> Rig {
    let mut rig = Rig::new(machine(true));
    let effects = rig.give(Input::Start { resumed: false });
    assert!(matches!(asked(&effects)[..], [Question::Begin { .. }]));
    let effects = rig.say(Answer::Go);
    assert!(effects.iter().any(|e| matches!(e, Effect::Work { .. })), "{effects:?}");
    rig
}

fn bad() -> Outcome {
    Outcome::fail("gone", "there")
}

#[test]
fn a_paused_command_is_never_left_without_a_question() {
    let mut rig = running();
    let effects = rig.watched(bad());
    assert!(effects.iter().any(|e| matches!(e, Effect::Pause)));
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]));
    let effects = rig.say(Answer::Note("n".into()));
    assert!(
        matches!(asked(&effects)[..], [Question::Paused { .. }]),
        "asked again after a note: {effects:?}"
    );
    assert!(asked(&rig.say(Answer::Measure)).is_empty());
    let effects = rig.watched(bad());
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]), "still bad: asked again: {effects:?}");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Pause)), "it is paused already");
    rig.say(Answer::Measure);
    let effects = rig.watched(Outcome::unknown("?", "there"));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Continue)), "unknown is no pass");
    assert!(matches!(asked(&effects)[..], [Question::Paused { .. }]), "{effects:?}");
    rig.say(Answer::Measure);
    let effects = rig.watched(Outcome::pass("there", "there"));
    assert!(effects.iter().any(|e| matches!(e, Effect::Continue)), "{effects:?}");
}

#[test]
fn an_answer_to_an_older_question_is_no_answer_to_the_next() {
    let mut rig = running();
    rig.give(Input::Interrupt);
    let older = rig.asked;
    let effects = rig.exited();
    assert!(matches!(asked(&effects)[..], [Question::Manual { .. }]), "{effects:?}");
    let effects = rig.give(Input::Answer(older, Answer::Go));
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn a_command_found_paused_is_measured_and_goes_on_or_asks() {
    for (outcome, goes_on) in [(Outcome::pass("there", "there"), true), (bad(), false)] {
        let mut first = running();
        first.give(Input::Leave);
        let plan = first.machine.plan().clone();
        let state = first.machine.state().clone();
        let machine =
            Machine::new(plan, state, Mode::Forward, true, Given::default(), "a@h", moment(first.ms));
        let mut rig = Rig { ms: first.ms, ..Rig::new(machine) };
        let effects = rig.give(Input::Start { resumed: true });
        let look = effects.iter().find_map(|effect| match effect {
            Effect::Look { request, .. } => Some(*request),
            _ => None,
        });
        let effects = rig.give(Input::Found(look.expect("a look"), Found::Running { paused: true }));
        assert!(effects.iter().any(|e| matches!(e, Effect::Attach { .. })), "{effects:?}");
        let effects = rig.watched(outcome);
        assert_eq!(effects.iter().any(|e| matches!(e, Effect::Continue)), goes_on, "{effects:?}");
        assert_eq!(matches!(asked(&effects)[..], [Question::Paused { .. }]), !goes_on);
    }
}
