//! Soaks: what is counted, what stands still, what starts again.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::scripted::{Play, pass};
use crate::base::{CheckId, Moment};
use crate::check::Verdict::{self, Fail, Pass, Unknown};
use crate::engine::event::Answer;
use crate::engine::machine::soak::Clock;
use crate::engine::machine::*;
use crate::engine::state::Status;
use crate::journal::record::Event;

const S: u64 = 1_000;

fn watch(invariants: Value) -> Play {
    watch_from(invariants, Vec::new())
}

/// A soak of a minute, measured every 5 s; after these events, in a new session.
fn watch_from(invariants: Value, events: Vec<Event>) -> Play {
    let steps = json!([{ "id": "soak", "soak": { "for": "1min", "every": "5s" }, "invariants": invariants }]);
    let resumed = !events.is_empty();
    let mut play = Play::after(steps, events);
    play.start(resumed);
    play
}

impl Play {
    /// Everything that is due is measured, and so much time goes by.
    fn look(&mut self, judge: impl Fn(&str) -> Verdict) {
        self.give(Input::Tick);
        self.measured(judge);
        self.now.boot_ms += 5 * S - 1;
    }

    fn held(&self) -> u64 {
        self.machine.state().step(&"soak".into()).soaked_ms
    }

    fn done(&self) -> bool {
        self.machine.state().status(&"soak".into()) == Status::Done
    }

    fn violations(&self) -> Vec<(String, String)> {
        let of = |event: &Event| match event {
            Event::Violated { check, action, .. } => Some((check.to_string(), action.clone())),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    fn said(&self, what: &str) -> usize {
        self.out.iter().filter(|e| matches!(e, Effect::Say(text) if text.contains(what))).count()
    }
}

fn two() -> Value {
    json!([{ "file": { "path": "/x" } }, { "file": { "id": "shown", "path": "/y", "on_violation": "alert" } }])
}

#[test]
fn an_alert_is_told_and_counted_and_does_not_touch_the_clock() {
    let mut play = watch(two());
    for n in 0..13 {
        assert!(!play.done());
        play.look(|id| if id.ends_with("shown") && n % 4 > 1 { Fail } else { Pass });
    }
    assert!(play.done(), "{} of a minute", play.held());
    let alert = ("soak.inv.shown".to_owned(), "alert".to_owned());
    assert_eq!(play.violations(), vec![alert; 3]);
    assert_eq!(play.said("soak.inv.shown (3 times)"), 1);
    // What it says last does not matter, and what nobody knows neither.
    let mut play = watch(two());
    (0..13).for_each(|_| play.look(|id| if id.ends_with("shown") { Unknown } else { Pass }));
    assert!(play.done());
    // Where nothing counts, no time does.
    let mut play = watch(json!([{ "file": { "path": "/x", "on_violation": "alert" } }]));
    (0..20).for_each(|_| play.look(pass));
    assert!(!play.done());
}

#[test]
fn a_failure_takes_everything_away() {
    let mut play = watch(two());
    (0..8).for_each(|_| play.look(pass));
    assert_eq!(play.held() / S, 35);
    play.look(|_| Fail);
    assert_eq!(play.held(), 0);
    assert_eq!(play.violations()[1], ("soak.inv.file".to_owned(), "start again at zero".to_owned()));
    (0..12).for_each(|_| play.look(pass));
    assert!(!play.done() && play.held() / S == 55, "{}", play.held());
    play.look(pass);
    assert!(play.done());
    // Told to, the step fails instead.
    let mut play = watch(json!([{ "file": { "path": "/x", "on_violation": "stop" } }]));
    play.look(pass);
    play.look(|_| Unknown);
    assert!(play.violations().is_empty(), "not measured once is no failure");
    play.look(|_| Fail);
    assert_eq!(play.machine.state().status(&"soak".into()), Status::Failed);
}

#[test]
fn while_it_is_unknown_the_clock_stands_still_for_a_bounded_time() {
    let mut play = watch(two());
    (0..8).for_each(|_| play.look(pass));
    play.look(|_| Unknown);
    assert_eq!((play.held() / S, play.violations().len(), play.said("stands still at 35s")), (35, 0, 1));
    // From the last pass to the next nobody knows: the end is two intervals later.
    (0..5).for_each(|_| play.look(pass));
    assert!(!play.done() && play.held() / S == 55, "{}", play.held());
    play.look(|_| Unknown);
    play.look(|_| Unknown);
    assert!(!play.done() && play.said("stands still") == 2);
    play.look(pass);
    assert!(!play.done(), "an interval is missing, and it has only passed once");
    play.look(pass);
    assert!(play.done());
    // A minute, or six intervals.
    let mut play = watch(two());
    (0..8).for_each(|_| play.look(pass));
    (0..12).for_each(|_| play.look(|_| Unknown));
    assert_eq!((play.held() / S, play.violations().len()), (35, 0));
    play.look(|_| Unknown);
    assert_eq!(play.held(), 0);
    assert_eq!(play.violations().len(), 2, "both count as violated");
}

#[test]
fn a_soak_does_not_end_on_an_unknown_measurement() {
    let mut play = watch(json!([
        { "file": { "path": "/x" } }, { "file": { "id": "seldom", "path": "/y", "every": "30s" } }
    ]));
    for n in 0..12 {
        // At half a minute it is measured and unknown.
        play.look(|id| if id.ends_with("seldom") && n > 5 { Unknown } else { Pass });
    }
    assert!(!play.done() && play.held() < 60 * S);
    (0..12).for_each(|_| play.look(pass));
    assert!(!play.done(), "{}", play.held());
}

#[test]
fn a_rate_that_needs_a_second_look_has_not_failed() {
    let rate =
        |from: u64| move |now: u64, id: &str| if id.ends_with("rate") && now < from { Unknown } else { Pass };
    let both = json!([{ "file": { "path": "/x" } }, { "file": { "id": "rate", "path": "/y" } }]);
    let mut play = watch(both.clone());
    for n in 0..36 {
        let judge = rate(20);
        play.look(|id| judge(n, id));
        assert!(!play.done() || n >= 32, "the clock starts when both have passed");
    }
    assert!(play.done() && play.violations().is_empty(), "{:?}", play.violations());
    // After a crash what was counted is kept meanwhile.
    let began = Event::Began { step: "soak".into(), attempt: 1, permit: None };
    let soaked = Event::Soaked { step: "soak".into(), elapsed_ms: 50 * S };
    let mut play = watch_from(both, vec![began, soaked]);
    for n in 0..22 {
        let judge = rate(20);
        play.look(|id| judge(n, id));
        assert_eq!((play.done(), play.held() / S >= 50), (false, true), "{n}");
    }
    play.look(pass);
    assert!(play.done());
}

#[test]
fn one_that_takes_long_keeps_nobody_waiting() {
    let mut play = watch(json!([{ "file": { "path": "/x" } }, { "file": { "id": "slow", "path": "/y" } }]));
    play.give(Input::Tick);
    let measured = |play: &Play| -> Vec<(Number, Vec<CheckId>)> {
        let each = play.out.iter().filter_map(|effect| match effect {
            Effect::Measure { request, checks, .. } => {
                Some((*request, checks.iter().map(|(id, _)| id.clone()).collect()))
            }
            _ => None,
        });
        each.collect()
    };
    let (first, both) = measured(&play)[0].clone();
    assert_eq!(both.len(), 2);
    // The quick one answers, time and again; of the slow one there is still only one measurement.
    for n in 1..5 {
        play.only(&["soak.inv.file"], pass);
        play.now.boot_ms += 5 * S;
        play.give(Input::Tick);
        let all = measured(&play);
        assert_eq!((all.len(), &all[n].1[..]), (n + 1, &["soak.inv.file".into()][..]));
    }
    assert_eq!(play.held(), 0, "nobody knows of the slow one yet");
    play.answered(first, &["soak.inv.slow"], pass);
    play.give(Input::Tick);
    assert_eq!(measured(&play).len(), 5, "it is not due again yet");
    play.answered(first, &["soak.inv.slow"], |_| Fail);
    assert!(play.violations().is_empty(), "a second answer to one request is none");
}

#[test]
fn a_measurement_that_began_before_it_was_asked_for_again_does_not_answer() {
    let steps = json!([{ "id": "one", "run": ["true"], "invariants": [
        { "file": { "path": "/x", "on_violation": "pause" } }, { "file": { "id": "stops", "path": "/y" } } ] }]);
    let mut play = Play::present(steps);
    play.start(false);
    play.answer(Answer::Go);
    let both = ["one.inv.file", "one.inv.stops"];
    let request = |play: &Play| {
        play.last(
            "measurement",
            |e| if let Effect::Measure { request, .. } = e { Some(*request) } else { None },
        )
    };
    play.give(Input::Tick);
    play.only(&both, |id| if id.ends_with("stops") { Pass } else { Fail });
    play.now.boot_ms += 10 * S;
    play.give(Input::Tick);
    let under_way = request(&play);
    let (question, _) = play.asked();
    play.answer(Answer::Measure);
    play.answered(under_way, &both[..1], |_| Fail);
    assert_eq!(play.asked().0, question, "it says nothing about what was done since");
    // What protects otherwise is not waited for a second time.
    play.give(Input::Tick);
    assert!(request(&play) > under_way);
    play.only(&both[..1], pass);
    assert!(play.out.iter().any(|e| matches!(e, Effect::Continue)), "{:?}", play.log);
    play.answered(under_way, &both[1..], |_| Fail);
    assert!(play.out.iter().any(|e| matches!(e, Effect::Stop { .. })), "{:?}", play.log);
}

/// What happens to one of the invariants after so many milliseconds.
#[derive(Debug, Clone, Copy)]
struct Look {
    who: usize,
    wait_ms: u64,
    says: u8,
}

const GAP: u64 = 50;

/// Milliseconds that every invariant was seen to hold for, millisecond by millisecond: an independent count.
fn by_hand(looks: &[Look], who: usize) -> u64 {
    let (mut now, mut zero) = (0, 0);
    let mut passes: Vec<Vec<(u64, bool)>> = vec![Vec::new(); who];
    let mut whole = vec![true; who];
    for look in looks {
        now += look.wait_ms;
        match look.says {
            0 => {
                zero = now;
                whole[look.who] = false;
            }
            1 => whole[look.who] = false,
            _ => {
                let ok = whole[look.who];
                passes[look.who].push((now, ok));
                whole[look.who] = true;
            }
        }
    }
    let holds = |at: u64, passes: &[(u64, bool)]| {
        passes.windows(2).any(|two| two[0].0 <= at && at < two[1].0 && two[1].1 && two[1].0 - two[0].0 <= GAP)
    };
    (zero..now).filter(|at| passes.iter().all(|passes| holds(*at, passes))).count() as u64
}

proptest! {
    #[test]
    fn the_clock_counts_what_all_of_them_were_seen_to_hold(
        looks in prop::collection::vec(
            (0..3usize, 0..30u64, 0..12u8).prop_map(|(who, wait_ms, says)| Look { who, wait_ms, says }), 0..60)
    ) {
        let ids: Vec<CheckId> = ["a", "b", "c"].into_iter().map(CheckId::from).collect();
        let mut now = Moment { boot_ms: 0, ..super::moment(0) };
        let mut clock = Clock::new(ids.iter().cloned(), &now, 0);
        for look in &looks {
            now.boot_ms += look.wait_ms;
            let gap = std::time::Duration::from_millis(GAP);
            clock.seen(&ids[look.who], look.says > 1, &now, gap);
            clock.count();
            if look.says == 0 {
                clock.restart(&now);
            }
        }
        let minute = std::time::Duration::from_secs(60);
        prop_assert_eq!(60 * S - clock.left(minute), by_hand(&looks, 3));
    }
}
