//! What is waited for: a postcondition, right after the work; and nothing at any other time.

use serde_json::{Value, json};

use super::super::*;
use super::scripted::{OK, Play, after, back, began, over, pass};
use super::second::waived_check;
use crate::base::Span;
use crate::check::Verdict;
use crate::engine::event::Answer;
use crate::journal::record::Event;

/// A start that returns early, and a destruction that what it left guards.
fn start() -> Value {
    json!([
        { "id": "copy", "run": ["true"],
          "postconditions": [ { "file": { "path": "/up", "wait_up_to": "2min", "waivable": true } }, { "file": { "id": "now", "path": "/" } } ],
          "rollback": { "run": ["true"], "postconditions": [ { "file": { "path": "/down", "wait_up_to": "1min" } } ] } },
        { "id": "drop", "run": ["true"], "destroys": { "what": "the old", "paths": ["/old"] } },
    ])
}

/// How long each check of the last measurement is waited for.
#[track_caller]
fn patience(play: &Play) -> Vec<(String, Option<Span>)> {
    play.last("measurement", |effect| match effect {
        Effect::Measure { checks, .. } => {
            Some(checks.iter().map(|(id, spec)| (id.to_string(), spec.common.wait_up_to)).collect())
        }
        _ => None,
    })
}

fn waits(all: &[(&str, u64)]) -> Vec<(String, Option<Span>)> {
    let one = |(id, seconds): &(&str, u64)| ((*id).to_owned(), (*seconds > 0).then(|| Span::secs(*seconds)));
    all.iter().map(one).collect()
}

const FRESH: [(&str, u64); 2] = [("copy.post.file", 120), ("copy.post.now", 0)];
const ONCE: [(&str, u64); 2] = [("copy.post.file", 0), ("copy.post.now", 0)];

#[test]
fn a_postcondition_is_waited_for_after_the_work_and_never_again() {
    let mut play = Play::new(start(), after(Vec::new()), true);
    play.start(false);
    play.answer(Answer::Go);
    play.ends(OK);
    assert_eq!(patience(&play), waits(&FRESH));
    play.measured(|_| Verdict::Fail);
    play.answer(Answer::Measure);
    assert_eq!(patience(&play), waits(&ONCE), "somebody is there, and asks how it is now");
    play.measured(pass);
    play.answer(Answer::Go);
    assert_eq!(patience(&play), waits(&ONCE), "a guard of a destruction is a question");
}

#[test]
fn after_a_crash_in_the_wait_it_is_waited_for_again() {
    let mut play = Play::new(start(), after(vec![began("copy", 1), over("copy", OK)]), false);
    play.start(true);
    assert_eq!(patience(&play), waits(&FRESH));
    // What was done once is walked down without waiting.
    let done = vec![began("copy", 1), over("copy", OK), Event::Done { step: "copy".into() }];
    let mut play = Play::new(start(), after(done), false);
    play.start(true);
    assert_eq!(patience(&play), waits(&ONCE));
}

#[test]
fn an_undoing_is_waited_for_too() {
    let events = vec![began("copy", 1), over("copy", OK), Event::Done { step: "copy".into() }];
    let mut play = back(start(), events, false, None);
    play.ends(OK);
    assert_eq!(patience(&play), waits(&[("copy.undo.file", 60)]));
}

#[test]
fn what_is_waived_is_measured_and_not_waited_for() {
    let mut play = Play::new(start(), after(vec![began("copy", 1)]), false);
    let waiver = waived_check(&play, "copy.post.file", Verdict::Fail);
    play.give(Input::Foreign(vec![waiver]));
    play.start(true);
    let request = play.last("look", |effect| match effect {
        Effect::Look { request, .. } => Some(*request),
        _ => None,
    });
    play.give(Input::Found(request, Found::Ended(Ended::how(OK))));
    assert_eq!(patience(&play), waits(&ONCE));
}
