//! The machine against random worlds: whatever comes in, in whatever order, nothing is destroyed unproved, nothing runs
//! that is not on record, nothing unsafe is repeated unasked.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

mod patience;
mod scripted;
mod second;
mod soak;
mod unheld;

use super::*;
use crate::check::{Outcome, Seen, Verdict};
use crate::journal::record::{BlastItem, Ending, LeaseHow};
use crate::runbook::Runbook;
use crate::world::identity::PostgresIdentity;

fn runbook() -> Arc<Runbook> {
    let book = json!({
        "holdpoint": 1, "name": "move",
        "targets": { "old": { "postgres": "port=1" }, "new": { "postgres": "port=2" } },
        "steps": [
            { "id": "stop", "run": ["true"], "rollback": { "run": ["true"] }, "postconditions": [
                { "file": { "path": "/stopped" } }, { "file": { "id": "until", "path": "/quiet", "until": "copy" } } ] },
            { "id": "copy", "run": ["true"], "preconditions": [ { "disk_free": { "path": "/", "at_least": "1GiB" } } ],
              "postconditions": [ { "data_matches": { "source": "old", "target": "new" } } ],
              "rollback": { "run": ["true"], "destroys": { "what": "new", "target": "new", "survives_in": "old" },
                "preconditions": [ { "rows_match": { "source": "new", "target": "old", "at_least": true } } ],
                "postconditions": [ { "file": { "path": "/removed" } } ] } },
            { "id": "tell", "run": ["true"], "rerun": "safe", "postconditions": [ { "file": { "path": "/told" } } ],
              "rollback": { "run": ["true"], "preconditions": [ { "file": { "path": "/may" } } ] } },
            { "id": "drop", "run": ["true"], "destroys": { "what": "old", "target": "old", "survives_in": "new" },
              "preconditions": [ { "backup_fresh": { "path": "/b", "max_age": "1d" } } ],
              "postconditions": [ { "file": { "path": "/gone" } } ] },
            { "id": "end", "run": ["true"], "postconditions": [ { "file": { "path": "/ended" } } ] },
        ],
    });
    Arc::new(serde_json::from_value(book).unwrap())
}

fn identity(name: &str, instance: u64) -> Identity {
    Identity::Postgres(PostgresIdentity {
        system_identifier: format!("{name}-{instance}"),
        data_directory: format!("/{name}"),
        port: 1,
        server_start: "2026-01-01".to_owned(),
        timeline: 1,
        in_recovery: false,
        version: 150_000,
        host: "m".to_owned(),
    })
}

/// One random choice of the world.
#[derive(Debug, Clone)]
struct Turn {
    verdict: u8,
    instance: u8,
    wait_ms: u32,
    jump: bool,
    ending: u8,
    answer: u8,
    extra: u8,
    grow: bool,
    serving: bool,
    tampered: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    (0..12u8, 0..40u8, 0..90_000u32, 0..60u8, 0..9u8, 0..14u8, 0..12u8, (0..12u8, 0..20u8, 0..30u8)).prop_map(
        |(verdict, instance, wait_ms, jump, ending, answer, extra, (grow, serving, tampered))| Turn {
            verdict,
            instance,
            wait_ms,
            jump: jump == 0,
            ending,
            answer,
            extra,
            grow: grow == 0,
            serving: serving == 0,
            tampered: tampered == 0,
        },
    )
}

struct World {
    now: Moment,
    rows: u64,
    /// What the last measurement of each check in this session said, kept apart from the machine.
    seen: BTreeMap<CheckId, (Verdict, u64, Vec<Seen>)>,
    /// When, counted in things that happened; and when work last ended.
    when: BTreeMap<CheckId, u64>,
    happened: u64,
    worked: u64,
    /// Inputs of earlier requests, to be sent once more.
    old: Vec<Input>,
    asked: Number,
    jumps: u64,
    shown: Option<Blast>,
    /// What was typed a text for, and nothing was begun since: the step, and whether it was about undoing it.
    typed: Option<(StepId, bool)>,
    /// Work that was begun, and how often somebody allowed a repetition.
    begun: BTreeMap<StepId, u32>,
    allowed: BTreeMap<StepId, u32>,
    /// Steps whose undoing ended well, and nobody decided anything since.
    undone: BTreeSet<StepId>,
    destroyed: u32,
    removed: u32,
}

impl World {
    fn evidence(&mut self, id: CheckId, kind: &str, turn: &Turn) -> Evidence {
        let verdict = match turn.verdict {
            0 => Verdict::Fail,
            1 => Verdict::Unknown,
            _ => Verdict::Pass,
        };
        let mut outcome = match verdict {
            Verdict::Pass => Outcome::pass("seen", "wanted"),
            Verdict::Fail => Outcome::fail("seen", "wanted"),
            Verdict::Unknown => Outcome::unknown("seen", "wanted"),
        };
        if kind == "data_matches" || kind == "rows_match" {
            let other = u64::from(turn.instance == 0);
            outcome = outcome.on("old", identity("old", other)).on("new", identity("new", 0));
        }
        self.seen.insert(id.clone(), (verdict, self.now.boot_ms, outcome.seen.clone()));
        self.when.insert(id.clone(), self.happened);
        Evidence {
            check: id,
            kind: kind.to_owned(),
            title: "t".to_owned(),
            outcome,
            at: self.now,
            took_ms: 1,
        }
    }

    fn blast(&mut self, target: &str, turn: &Turn) -> Blast {
        self.rows += u64::from(turn.grow);
        let item = BlastItem {
            kind: "database".to_owned(),
            name: "synapse".to_owned(),
            bytes: Some(1),
            rows: Some(self.rows),
        };
        Blast {
            items: vec![item],
            identity: Some(identity(target, 0)),
            serving: if turn.serving { vec!["a session".to_owned()] } else { Vec::new() },
            unmeasured: Vec::new(),
            gone: Vec::new(),
            at: self.now,
        }
    }

    /// What the outside makes of one effect.
    fn respond(&mut self, machine: &Machine, effect: Effect, turn: &Turn) -> Option<Input> {
        self.happened += 1;
        match effect {
            Effect::Append(events) => {
                for event in events {
                    match event {
                        Event::Decided { step, undo: true, .. } => drop(self.undone.remove(&step)),
                        Event::Decided { step, decision: Decision::Again, .. } => {
                            self.undone.remove(&step);
                            *self.allowed.entry(step).or_default() += 1;
                        }
                        Event::Ended { step, ending: Ending::NotStarted { .. }, .. } => {
                            *self.allowed.entry(step).or_default() += 1;
                        }
                        Event::RolledBack { step } => {
                            self.undone.remove(&step);
                            *self.allowed.entry(step).or_default() += 1;
                        }
                        Event::Decided { step, .. } | Event::Began { step, .. } => {
                            self.undone.remove(&step);
                        }
                        Event::RollbackEnded { step, ending, .. } => {
                            self.worked = self.happened;
                            if ending.success() {
                                self.undone.insert(step);
                            }
                        }
                        Event::Ended { .. } => self.worked = self.happened,
                        Event::Completed { .. } => self.assert_holds(&WANTED_AT_THE_END),
                        Event::Confirmed { step, undo, blast, text } => {
                            assert_eq!(text, if undo { "new" } else { "old" });
                            self.shown = Some(blast);
                            self.typed = Some((step, undo));
                        }
                        _ => {}
                    }
                }
                None
            }
            Effect::Measure { request, purpose, step, checks, prove, goes } => {
                let evidence =
                    checks.iter().map(|(id, spec)| self.evidence(id.clone(), &spec.kind, turn)).collect();
                let proved = prove
                    .into_iter()
                    .map(|name| {
                        let other = u64::from(turn.instance == 1);
                        (
                            name.clone(),
                            if turn.instance == 2 {
                                Err("gone".to_owned())
                            } else {
                                Ok((identity(&name, other), self.now))
                            },
                        )
                    })
                    .collect();
                let target = goes.and_then(|goes| goes.target);
                let blast = target.map(|target| self.blast(&target, turn));
                let runbook_now = Digest::from(if turn.tampered { "other" } else { "digest" });
                Some(Input::Measured(Measured {
                    request,
                    purpose,
                    step,
                    evidence,
                    proved,
                    blast,
                    runbook_now,
                    scripts_now: Default::default(),
                }))
            }
            Effect::Work { request, cleared, undo, .. } => {
                let step = cleared.step().clone();
                if !cleared.in_time(&self.now) {
                    let ending = Ending::NotStarted { why: "late".to_owned() };
                    return Some(Input::WorkEnded(request, Ended { ending, ..ended(turn) }));
                }
                let typed = self.typed.take();
                if undo {
                    assert!(cleared.undo(), "the work was cleared, and not its undoing");
                    assert!(!self.undone.contains(&step), "{step} was undone again, and nobody decided so");
                    if step.as_str() == "copy" {
                        self.removed += 1;
                        assert_eq!(typed, Some((step.clone(), true)), "nobody typed the text");
                        self.assert_undo_proved(machine, cleared.permit().expect("a permit"));
                    }
                    return Some(Input::WorkEnded(request, ended(turn)));
                }
                assert!(!cleared.undo(), "the undoing was cleared, and not the work");
                *self.begun.entry(step.clone()).or_default() += 1;
                let (begun, allowed) = (self.begun[&step], self.allowed.get(&step).copied().unwrap_or(0));
                assert!(
                    begun <= allowed + 1,
                    "{step} was begun {begun} times, repetitions allowed: {allowed}"
                );
                if step.as_str() == "drop" {
                    self.destroyed += 1;
                    assert_eq!(typed, Some((step.clone(), false)), "nobody typed the text");
                    self.assert_proved(machine, cleared.permit().expect("a permit"));
                }
                Some(Input::WorkEnded(request, ended(turn)))
            }
            Effect::Attach { request, .. } => Some(Input::WorkEnded(request, ended(turn))),
            Effect::Look { request, .. } => Some(Input::Found(
                request,
                match turn.ending {
                    0 => Found::Lost { why: "?".to_owned() },
                    1 => Found::NeverStarted,
                    2 => Found::Running { paused: turn.verdict < 6 },
                    _ => Found::Ended(ended(turn)),
                },
            )),
            Effect::Ask(request, question) => Some(Input::Answer(
                std::mem::replace(&mut self.asked, request).max(request),
                match turn.answer {
                    0 => Answer::Quit,
                    1 => Answer::Typed("wrong".to_owned()),
                    2 => Answer::Again("because".to_owned()),
                    3 => Answer::Finished("because".to_owned()),
                    4 => Answer::Measure,
                    5 => Answer::Note("n".to_owned()),
                    6 => Answer::Stop,
                    7..=9 => Answer::Go,
                    _ => Answer::Typed(match question {
                        Question::Confirm { text, .. } => text,
                        _ => "old".to_owned(),
                    }),
                },
            )),
            Effect::Stop { .. }
            | Effect::Pause
            | Effect::Continue
            | Effect::Say(_)
            | Effect::Soaking { .. }
            | Effect::Withdraw => None,
            Effect::Leave(_) => None,
        }
    }

    /// What should hold holds, measured in this session and after everything that was done.
    fn assert_holds(&self, wanted: &[&str]) {
        for wanted in wanted {
            let id = CheckId::from(*wanted);
            let (verdict, ..) = self.seen.get(&id).unwrap_or_else(|| panic!("{wanted} was not measured"));
            assert_eq!(*verdict, Verdict::Pass, "{wanted}");
            assert!(self.when[&id] > self.worked, "{wanted} was measured before the last work");
        }
    }

    /// The oracle for undoing the copy.
    fn assert_undo_proved(&self, machine: &Machine, permit: &crate::gate::Permit) {
        assert!(permit.undo() && permit.step().as_str() == "copy");
        self.assert_guarded(machine, permit, &["copy.undo-pre.rows_match", "stop.post.file"]);
        assert_eq!(permit.guards().len(), 2, "what lasted until the copy began is over");
        for step in ["tell", "drop", "end"] {
            assert!(!machine.state().touched(&StepId::from(step)), "{step} comes later and is not undone");
        }
    }

    /// The oracle: written apart from the gate, from what the world itself handed out.
    fn assert_proved(&self, machine: &Machine, permit: &crate::gate::Permit) {
        assert!(!permit.undo());
        let wanted = ["stop.post.file", "copy.post.data_matches", "tell.post.file", "drop.pre.backup_fresh"];
        self.assert_guarded(machine, permit, &wanted);
        for step in ["stop", "copy", "tell"] {
            assert_eq!(
                machine.state().status(&StepId::from(step)),
                crate::engine::state::Status::Done,
                "{step} is not done"
            );
        }
    }

    fn assert_guarded(&self, machine: &Machine, permit: &crate::gate::Permit, guards: &[&str]) {
        let state = machine.state();
        for wanted in guards {
            let id = CheckId::from(*wanted);
            assert!(permit.guards().contains(&id), "{wanted} does not guard");
            let (verdict, at, seen) = &self.seen[&id];
            assert_eq!(*verdict, Verdict::Pass, "{wanted}");
            assert!(self.now.boot_ms - at <= 60_000, "{wanted} is stale");
            assert!(self.when[&id] > self.worked, "{wanted} was measured before the last work");
            for seen in seen {
                assert_eq!(
                    state.pins.get(&seen.target),
                    Some(&seen.identity),
                    "{wanted} measured on another target"
                );
            }
        }
        let shown = self.shown.as_ref().expect("a list was shown");
        assert!(self.rows <= shown.items[0].rows.unwrap_or(0), "more would go than was shown");
    }
}

const WANTED_AT_THE_END: [&str; 5] =
    ["stop.post.file", "copy.post.data_matches", "tell.post.file", "drop.post.file", "end.post.file"];

fn ended(turn: &Turn) -> Ended {
    let ending = match turn.ending {
        0 => Ending::Unknown { why: "?".to_owned() },
        1 => Ending::Exited { status: 1 },
        2 => Ending::TimedOut { limit_ms: 1 },
        3 => Ending::NotStarted { why: "?".to_owned() },
        _ => Ending::Exited { status: 0 },
    };
    Ended { ending, output_bytes: 0, left_running: Vec::new(), captured: None, recorded: None }
}

pub(super) fn start_state(now: Moment) -> RunState {
    let opened = Event::Opened {
        format: 1,
        run: "r".into(),
        name: "move".to_owned(),
        title: None,
        runbook: "digest".into(),
        environment: None,
        vars: BTreeMap::new(),
        secrets: Vec::new(),
        targets: "".into(),
        rehearsal: false,
        receipt: None,
        engine: "0".to_owned(),
        facts: Default::default(),
        host: "h".to_owned(),
        machine: "m".to_owned(),
        scripts: Default::default(),
        author: None,
    };
    let line = Line { seq: 1, at: now, by: "a@h".to_owned(), epoch: 0, event: opened, prev: "".into() };
    let mut state = RunState::fold(&[line]).unwrap();
    lease(&mut state, 1, now);
    state
}

fn lease(state: &mut RunState, epoch: u64, now: Moment) {
    let event = Event::Lease {
        operator: "a".to_owned(),
        how: LeaseHow::Start,
        pid: 1,
        pid_start: 1,
        boot_id: "b".to_owned(),
        reason: None,
        acknowledged: Vec::new(),
        signature: None,
    };
    state.event(&event, &now, "a@h", epoch);
}

pub(super) fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap(),
        boot_ms: 1_000_000 + ms,
    }
}

/// Which way the sessions go.
#[derive(Debug, Clone, Copy)]
enum Way {
    Forward,
    /// Every second one goes back.
    Mixed,
    /// The first goes forward and confirms nothing; all others go back, and their turns are changed so.
    ThereAndBack(fn(&mut Turn)),
}

/// Plays turns over as many sessions as they give; returns the world and the last state.
fn play(turns: &[Turn], present: bool, way: Way) -> (World, RunState) {
    let mut world = World {
        now: moment(0),
        rows: 10,
        seen: BTreeMap::new(),
        when: BTreeMap::new(),
        happened: 0,
        worked: 0,
        old: Vec::new(),
        asked: 0,
        jumps: 0,
        shown: None,
        typed: None,
        begun: BTreeMap::new(),
        allowed: BTreeMap::new(),
        undone: BTreeSet::new(),
        destroyed: 0,
        removed: 0,
    };
    let mut state = start_state(world.now);
    let mut turns = turns.iter();
    let mut sessions = 0;
    'sessions: loop {
        sessions += 1;
        let mut given = Given::default();
        let back = match way {
            Way::Forward => false,
            Way::Mixed => sessions % 2 == 0,
            Way::ThereAndBack(_) => sessions > 1,
        };
        if !present && (back || !matches!(way, Way::ThereAndBack(_))) {
            let (step, text) = if back { ("copy", "new") } else { ("drop", "old") };
            given.confirm.insert(step.into(), text.to_owned());
        }
        let mode = if back { Mode::Back { to: None } } else { Mode::Forward };
        lease(&mut state, sessions, world.now);
        world.seen.clear();
        world.old.clear();
        world.typed = None;
        let plan = Plan::new(runbook());
        let mut machine = Machine::new(plan, state.clone(), mode, present, given, "a@h", world.now);
        // What is on record, kept apart from the machine: all that a killed engine leaves.
        let mut record = state.clone();
        let mut killed = false;
        let mut inputs = vec![Input::Start { resumed: sessions > 1 }];
        while let Some(input) = (!inputs.is_empty()).then(|| inputs.remove(0)) {
            let now = world.now;
            let effects = machine.step(input, now);
            let mut recorded = false;
            for effect in effects {
                let Some(turn) = turns.next() else {
                    state = machine.state().clone();
                    break 'sessions;
                };
                let mut turn = turn.clone();
                if let Way::ThereAndBack(spoil) = way
                    && back
                {
                    spoil(&mut turn);
                }
                let turn = &turn;
                match &effect {
                    Effect::Append(events) => {
                        recorded = true;
                        events.iter().for_each(|event| record.event(event, &now, "a@h", sessions));
                    }
                    Effect::Work { .. } => assert!(recorded, "work began before it was on record"),
                    _ => {}
                }
                world.now.boot_ms += u64::from(turn.wait_ms / 4);
                let wall = world.now.wall.as_millisecond() + i64::from(turn.wait_ms / 4);
                let wall = if turn.jump { wall + 540_000 } else { wall };
                world.jumps += u64::from(turn.jump);
                world.now.wall = Timestamp::from_millisecond(wall).unwrap();
                let answer = world.respond(&machine, effect, turn);
                world.old.extend(answer.clone());
                inputs.extend(answer);
                match turn.extra {
                    0 => inputs.push(Input::Interrupt),
                    1 => inputs.push(Input::Tick),
                    2 if turn.ending == 0 => inputs.push(Input::Leave),
                    3 => inputs.push(Input::Answer(world.asked, Answer::Typed("old".to_owned()))),
                    5 | 6 if !world.old.is_empty() => {
                        // Something late, or something that comes twice.
                        let nth = usize::from(turn.answer) * 7 % world.old.len();
                        inputs.push(world.old[nth].clone());
                    }
                    4 if turn.answer == 0 => {
                        // The engine is killed here; the next session folds what was on record.
                        killed = true;
                        inputs.clear();
                        break;
                    }
                    _ => {}
                }
            }
        }
        state = if killed { record } else { machine.state().clone() };
        if state.end.is_some() || sessions > 30 {
            break;
        }
    }
    (world, state)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_inputs_destroys_unproved(
        turns in prop::collection::vec(turn(), 20..400), present in any::<bool>(), back in any::<bool>(),
    ) {
        let (world, state) = play(&turns, present, if back { Way::Mixed } else { Way::Forward });
        let permitted = state.permits as u32;
        prop_assert!(world.destroyed + world.removed <= permitted, "more was destroyed than was permitted");
        if state.end == Some(crate::engine::state::End::Completed) {
            let all = runbook().steps.iter().all(|s| state.status(&s.key()) == crate::engine::state::Status::Done);
            prop_assert!(all, "completed with a step that is not done");
        }
    }
}

fn calm(answer: u8) -> Turn {
    Turn {
        verdict: 5,
        instance: 9,
        wait_ms: 40,
        jump: false,
        ending: 8,
        answer,
        extra: 9,
        grow: false,
        serving: false,
        tampered: false,
    }
}

#[test]
fn a_calm_world_completes() {
    let (world, state) = play(&vec![calm(8); 300], false, Way::Forward);
    assert_eq!(state.end, Some(crate::engine::state::End::Completed), "{:?}", state.held);
    assert_eq!(world.destroyed, 1);
}

#[test]
fn a_calm_world_goes_back_to_the_start() {
    let (world, state) = play(&vec![calm(8); 300], false, Way::ThereAndBack(|_| {}));
    assert_eq!((world.destroyed, world.removed), (0, 1), "{:?}", state.held);
    assert!(
        ["stop", "copy", "tell"].iter().all(|step| !state.touched(&StepId::from(*step))),
        "{:?}",
        state.steps
    );
}

type Spoil = fn(&mut Turn);

const TROUBLE: [(&str, Spoil); 7] = [
    ("a failing check", |t| t.verdict = 0),
    ("an unknown check", |t| t.verdict = 1),
    ("another target measured", |t| t.instance = 0),
    ("another target proved", |t| t.instance = 1),
    ("no identity", |t| t.instance = 2),
    ("something uses it", |t| t.serving = true),
    ("another runbook", |t| t.tampered = true),
];

#[test]
fn each_single_trouble_stops_the_undoing_that_destroys() {
    for (name, spoil) in TROUBLE {
        let (world, state) = play(&vec![calm(8); 300], false, Way::ThereAndBack(spoil));
        assert_eq!(world.removed, 0, "{name}");
        assert!(state.touched(&"copy".into()), "{name}");
    }
}

#[test]
fn each_single_trouble_stops_the_destruction() {
    for (name, spoil) in TROUBLE {
        let mut turn = calm(8);
        spoil(&mut turn);
        let (world, state) = play(&vec![turn; 300], false, Way::Forward);
        assert_eq!(world.destroyed, 0, "{name}");
        assert_eq!(state.end, None, "{name}");
    }
}
