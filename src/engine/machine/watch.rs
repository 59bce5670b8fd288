//! While work is under way: invariants, soaking, and what the operator says about the running command.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Ended, Exit, Machine, Measured, Phase, Question};
use crate::base::{CheckId, Moment, StepId};
use crate::check::{Evidence, Verdict};
use crate::engine::event::{Answer, action_word};
use crate::engine::plan::Placed;
use crate::gate;
use crate::journal::record::{Ending, Event, Purpose};
use crate::runbook::model::{OnViolation, Work};

/// How often an invariant is measured when it does not say.
const EVERY: Duration = Duration::from_secs(10);
/// How long an invariant may stay unknown before it counts as violated: its first samples may have to be gathered.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often an invariant that keeps passing is put on record.
const ON_RECORD: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct One {
    due: Option<Moment>,
    unknown_since: Option<Moment>,
    last: Option<Verdict>,
    recorded: Option<Moment>,
    alerted: bool,
}

/// The invariants of the step whose work is under way.
#[derive(Debug, Default)]
pub(super) struct Watch {
    checks: Vec<Placed>,
    each: BTreeMap<CheckId, One>,
    measuring: bool,
    paused: Option<CheckId>,
    stopping: bool,
    good_since: Option<Moment>,
}

impl Watch {
    pub(super) fn new(checks: Vec<Placed>, now: Moment) -> Self {
        let due = |id: &CheckId| (id.clone(), One { due: Some(now), ..One::default() });
        Watch { each: checks.iter().map(|(id, _)| due(id)).collect(), checks, ..Watch::default() }
    }

    fn due(&self, now: &Moment) -> Vec<Placed> {
        let is_due = |id: &CheckId| {
            self.each.get(id).and_then(|one| one.due).is_none_or(|due| now.boot_ms >= due.boot_ms)
        };
        self.checks.iter().filter(|(id, _)| is_due(id)).cloned().collect()
    }

    /// An earlier session left the command paused: it goes on once that invariant passes.
    pub(super) fn was_paused(&mut self, by: Option<CheckId>) {
        self.paused = by;
    }

    /// True when what paused the command passes, as just measured.
    fn over(&self) -> bool {
        let last = self.paused.as_ref().and_then(|id| self.each.get(id)).and_then(|one| one.last);
        last == Some(Verdict::Pass)
    }

    fn policy(&self, id: &CheckId) -> OnViolation {
        let spec = self.checks.iter().find(|(i, _)| i == id);
        spec.and_then(|(_, spec)| spec.common.on_violation).unwrap_or_default()
    }
}

impl Machine {
    pub(super) fn tick(&mut self) {
        let Phase::Working { step, undo: false } = self.phase.clone() else { return };
        if self.watch.measuring || self.watch.stopping {
            return;
        }
        let due = self.watch.due(&self.now);
        if !due.is_empty() {
            self.watch.measuring = true;
            self.measure(Purpose::Invariant, &step, due, Vec::new(), false);
        }
    }

    fn soak(&self, step: &StepId) -> Option<(Duration, Duration)> {
        match self.plan.step(step).and_then(|s| s.work()) {
            Some(Work::Soak(soak)) => Some((soak.length.0, soak.every.0)),
            _ => None,
        }
    }

    pub(super) fn invariants_measured(&mut self, measured: Measured) {
        let Phase::Working { step, .. } = self.phase.clone() else { return };
        if step != measured.step {
            return;
        }
        self.watch.measuring = false;
        let soak = self.soak(&step);
        let mut bad: Vec<Evidence> = Vec::new();
        let mut unsure = false;
        for evidence in measured.evidence {
            let spec_every = self.watch.checks.iter().find(|(id, _)| *id == evidence.check);
            let every = spec_every
                .and_then(|(_, spec)| spec.common.every.map(|s| s.0))
                .or(soak.map(|(_, every)| every))
                .unwrap_or(EVERY);
            let foreign = gate::objection(&evidence, &self.state.pins).is_some();
            let verdict = if foreign && evidence.verdict() == Verdict::Pass {
                Verdict::Fail
            } else {
                evidence.verdict()
            };
            let one = self.watch.each.entry(evidence.check.clone()).or_default();
            let next = self.now.boot_ms + every.as_millis() as u64;
            one.due = Some(Moment { wall: self.now.wall, boot_ms: next });
            one.unknown_since =
                if verdict == Verdict::Unknown { one.unknown_since.or(Some(self.now)) } else { None };
            let tired =
                one.unknown_since.is_some_and(|since| self.now.since(&since) >= PATIENCE.max(every * 6));
            let recorded_ago = one.recorded.map(|at| self.now.since(&at));
            let changed = one.last != Some(verdict);
            one.last = Some(verdict);
            if verdict == Verdict::Pass {
                one.alerted = false;
            }
            if changed || recorded_ago.is_none_or(|ago| ago >= ON_RECORD) {
                one.recorded = Some(self.now);
                let (purpose, step) = (Purpose::Invariant, step.clone());
                self.append(vec![Event::Measured { purpose, step, evidence: evidence.clone() }]);
            }
            self.fresh.insert(evidence.check.clone(), evidence.clone());
            unsure |= verdict == Verdict::Unknown;
            if verdict == Verdict::Fail || tired || (soak.is_some() && verdict == Verdict::Unknown) {
                bad.push(evidence);
            }
        }
        match soak {
            Some((length, every)) => self.soaked(&step, length, every, bad, unsure),
            None => self.judge(&step, bad),
        }
    }

    fn judge(&mut self, step: &StepId, bad: Vec<Evidence>) {
        for evidence in &bad {
            let id = evidence.check.clone();
            let policy = self.watch.policy(&id);
            let one = self.watch.each.entry(id.clone()).or_default();
            if one.alerted {
                continue;
            }
            one.alerted = true;
            let action = action_word(policy).to_owned();
            self.append(vec![Event::Violated { step: step.clone(), check: id.clone(), action }]);
            match policy {
                OnViolation::Alert => {}
                OnViolation::Stop => {
                    self.watch.stopping = true;
                    let why = format!("{}: {}", evidence.title, evidence.outcome.observed);
                    self.out.push(Effect::Stop { why });
                    return;
                }
                OnViolation::Pause => {
                    self.watch.paused = Some(id);
                    self.out.push(Effect::Pause);
                    let question = Question::Paused { step: step.clone(), evidence: evidence.clone() };
                    self.out.push(Effect::Ask(question));
                    if self.present {
                        self.overlay = true;
                    } else {
                        self.leave(Exit::Waiting, "an invariant paused the command");
                    }
                    return;
                }
            }
        }
        if self.watch.over() && !self.overlay {
            self.go_on(step);
        }
    }

    fn go_on(&mut self, step: &StepId) {
        if self.watch.paused.take().is_some() {
            self.append(vec![Event::Continued { step: step.clone() }]);
            self.out.push(Effect::Continue);
        }
    }

    fn soaked(&mut self, step: &StepId, length: Duration, every: Duration, bad: Vec<Evidence>, unsure: bool) {
        let wanted_ms = length.as_millis() as u64;
        let so_far = self.state.step(step).soaked_ms;
        if bad.is_empty() && !unsure {
            // Only time that was watched counts: a gap longer than two intervals was not.
            let since = self.watch.good_since.map_or(Duration::ZERO, |good| self.now.since(&good));
            let add = if since > every * 2 + EVERY { Duration::ZERO } else { since };
            self.watch.good_since = Some(self.now);
            let elapsed_ms = so_far + add.as_millis() as u64;
            if add > Duration::ZERO {
                self.append(vec![Event::Soaked { step: step.clone(), elapsed_ms }]);
            }
            self.out.push(Effect::Soaking { step: step.clone(), elapsed_ms, wanted_ms });
            if elapsed_ms >= wanted_ms {
                let ending = Ending::Finished;
                self.work_ended(Ended {
                    ending,
                    output_bytes: 0,
                    left_running: Vec::new(),
                    captured: None,
                    recorded: None,
                });
            }
            return;
        }
        self.watch.good_since = None;
        let mut events = Vec::new();
        for evidence in &bad {
            let one = self.watch.each.entry(evidence.check.clone()).or_default();
            if !one.alerted {
                one.alerted = true;
                let (step, check) = (step.clone(), evidence.check.clone());
                events.push(Event::Violated { step, check, action: "start again at zero".to_owned() });
            }
        }
        if so_far > 0 {
            events.push(Event::Soaked { step: step.clone(), elapsed_ms: 0 });
        }
        if !events.is_empty() {
            self.append(events);
        }
        self.out.push(Effect::Soaking { step: step.clone(), elapsed_ms: 0, wanted_ms });
        let stop = bad.iter().find(|e| {
            let (_, spec) = match self.watch.checks.iter().find(|(id, _)| *id == e.check) {
                Some(placed) => placed,
                None => return false,
            };
            spec.common.on_violation == Some(OnViolation::Stop)
        });
        if let Some(evidence) = stop {
            let why = format!("{}: {}", evidence.title, evidence.outcome.observed);
            let ending = Ending::Stopped { why };
            self.work_ended(Ended {
                ending,
                output_bytes: 0,
                left_running: Vec::new(),
                captured: None,
                recorded: None,
            });
        }
    }

    /// Answers to a question that was asked while work goes on.
    pub(super) fn overlay_answer(&mut self, answer: Answer) {
        self.overlay = false;
        let working = match &self.phase {
            Phase::Working { step, .. } => Some(step.clone()),
            _ => None,
        };
        match answer {
            Answer::Stop => {
                if let Some(step) = working {
                    if self.soak(&step).is_some() {
                        return self.leave(Exit::Interrupted, "interrupted");
                    }
                    self.watch.stopping = true;
                    self.out.push(Effect::Stop { why: format!("stopped by {}", self.me) });
                }
            }
            Answer::Go => {
                if let Some(step) = working {
                    self.go_on(&step);
                }
            }
            Answer::Note(text) => self.append(vec![Event::Note { text }]),
            Answer::Handoff { to, note } => {
                self.append(vec![Event::Offered { to, note }]);
                self.leave(Exit::Waiting, "offered");
            }
            Answer::Measure => {
                let now = self.now;
                self.watch.each.values_mut().for_each(|one| one.due = Some(now));
            }
            _ => self.leave(Exit::Interrupted, "interrupted"),
        }
        self.reask();
    }

    /// A question that came up while the overlay was on screen is asked now.
    fn reask(&mut self) {
        if let (Phase::Asking(_), Some(question)) = (&self.phase, self.question.clone()) {
            self.out.push(Effect::Ask(question));
        }
    }
}
