//! While work is under way: invariants, soaking, and what the operator says about the running command.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Ended, Exit, Machine, Measured, Number, Phase, Question};
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
    seen: Option<Evidence>,
    recorded: Option<Moment>,
    alerted: bool,
    /// Somebody waived what it says now.
    waived: bool,
}

/// The invariants of the step whose work is under way.
#[derive(Debug, Default)]
pub(super) struct Watch {
    checks: Vec<Placed>,
    each: BTreeMap<CheckId, One>,
    measuring: Option<Number>,
    /// The command is paused, and nobody has said that it may go on.
    pub(super) paused: bool,
    stopping: bool,
    good_since: Option<Moment>,
}

impl One {
    /// It passes, or somebody answers for it.
    fn answered(&self) -> bool {
        self.waived || self.last == Some(Verdict::Pass)
    }
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

    /// What its violation leads to; one that is advisory is only shown.
    fn policy(&self, id: &CheckId) -> OnViolation {
        let spec = self.checks.iter().find(|(i, _)| i == id).map(|(_, spec)| spec);
        match spec {
            Some(spec) if spec.common.advisory => OnViolation::Alert,
            Some(spec) => spec.common.on_violation.unwrap_or_default(),
            None => OnViolation::default(),
        }
    }

    /// True when every check that counts passed when it was last measured.
    fn all_hold(&self) -> bool {
        let counts = self.checks.iter().filter(|(_, spec)| !spec.common.advisory);
        counts.into_iter().all(|(id, _)| self.each.get(id).is_some_and(One::answered))
    }

    fn advisory(&self, id: &CheckId) -> bool {
        self.checks.iter().any(|(i, spec)| i == id && spec.common.advisory)
    }
}

impl Machine {
    pub(super) fn tick(&mut self) {
        let Phase::Working { step, undo: false } = self.phase.clone() else { return };
        if self.watch.measuring.is_some() || self.watch.stopping {
            return;
        }
        let due = self.watch.due(&self.now);
        if !due.is_empty() {
            let request = self.request();
            self.watch.measuring = Some(request);
            let (purpose, prove) = (Purpose::Invariant, Vec::new());
            self.out.push(Effect::Measure { request, purpose, step, checks: due, prove, goes: None });
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
        if self.watch.measuring.take_if(|request| *request == measured.request).is_none() {
            return;
        }
        let soak = self.soak(&step);
        let mut bad: Vec<Evidence> = Vec::new();
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
            let waived = verdict != Verdict::Pass && !self.waived(std::slice::from_ref(&evidence)).is_empty();
            let before = self.watch.each.get(&evidence.check).is_some_and(|one| one.waived);
            if waived && !before {
                self.use_waivers(&step, std::slice::from_ref(&evidence));
            }
            let one = self.watch.each.entry(evidence.check.clone()).or_default();
            one.waived = waived;
            // The last look comes when the soak is over, not an interval later.
            let left = soak.map(|(length, _)| {
                (length.as_millis() as u64).saturating_sub(self.state.step(&step).soaked_ms)
            });
            let wait = left.map_or(every, |left| every.min(Duration::from_millis(left.max(100))));
            let next = self.now.boot_ms + wait.as_millis() as u64;
            one.due = Some(Moment { wall: self.now.wall, boot_ms: next });
            one.unknown_since =
                if verdict == Verdict::Unknown { one.unknown_since.or(Some(self.now)) } else { None };
            let tired =
                one.unknown_since.is_some_and(|since| self.now.since(&since) >= PATIENCE.max(every * 6));
            let recorded_ago = one.recorded.map(|at| self.now.since(&at));
            let changed = one.last != Some(verdict);
            one.last = Some(verdict);
            one.seen = Some(evidence.clone());
            if verdict == Verdict::Pass {
                one.alerted = false;
            }
            if changed || recorded_ago.is_none_or(|ago| ago >= ON_RECORD) {
                one.recorded = Some(self.now);
                let (purpose, step) = (Purpose::Invariant, step.clone());
                self.append(vec![Event::Measured { purpose, step, evidence: evidence.clone() }]);
            }
            let soaking = soak.is_some() && !self.watch.advisory(&evidence.check);
            let bad_now = verdict == Verdict::Fail || tired || (soaking && verdict == Verdict::Unknown);
            if bad_now && !waived {
                bad.push(evidence);
            }
        }
        match soak {
            Some((length, every)) => self.soaked(&step, length, every, bad),
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
                    if !std::mem::replace(&mut self.watch.paused, true) {
                        self.out.push(Effect::Pause);
                    }
                }
            }
        }
        self.consider_pause(step);
    }

    /// A paused command goes on when all that pauses it passes again; else a person decides. Unknown is no pass.
    fn consider_pause(&mut self, step: &StepId) {
        if !self.watch.paused || matches!(self.overlay, Some(Question::Paused { .. })) {
            return;
        }
        let answered = |id: &CheckId| self.watch.each.get(id).is_some_and(One::answered);
        let pausing = self
            .watch
            .checks
            .iter()
            .map(|(id, _)| id)
            .filter(|id| self.watch.policy(id) == OnViolation::Pause);
        let Some(bad) = pausing.into_iter().find(|id| !answered(id)) else {
            return self.go_on(step);
        };
        // What was not measured yet is measured first.
        let Some(evidence) = self.watch.each.get(bad).and_then(|one| one.seen.clone()) else { return };
        self.ask_meanwhile(Question::Paused { step: step.clone(), evidence });
        if !self.present {
            self.leave(Exit::Waiting, "an invariant paused the command");
        }
    }

    /// A command that was found paused: its invariants are measured before it may go on.
    pub(super) fn found_paused(&mut self, step: &StepId) {
        self.watch.paused = true;
        let pauses = self.watch.checks.iter().any(|(id, _)| self.watch.policy(id) == OnViolation::Pause);
        if pauses {
            let text = format!("The command of `{step}` is paused; what paused it is measured again.");
            self.out.push(Effect::Say(text));
        } else {
            // Nothing of ours stopped it: somebody's signal did, and it would stand still for ever.
            self.watch.paused = false;
            self.out.push(Effect::Say(format!(
                "The command of `{step}` is stopped by somebody's signal; `kill -CONT` lets it go on."
            )));
        }
    }

    fn go_on(&mut self, step: &StepId) {
        if std::mem::take(&mut self.watch.paused) {
            self.append(vec![Event::Continued { step: step.clone() }]);
            self.out.push(Effect::Continue);
        }
    }

    fn soaked(&mut self, step: &StepId, length: Duration, every: Duration, bad: Vec<Evidence>) {
        let wanted_ms = length.as_millis() as u64;
        let so_far = self.state.step(step).soaked_ms;
        if self.watch.all_hold() {
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
                self.work_ended(Ended::how(Ending::Finished));
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
            self.work_ended(Ended::how(Ending::Stopped { why }));
        }
    }

    /// Answers to a question that was asked while work goes on. An answer means what it says beside that very question:
    /// "go on watching" does not continue a paused command.
    pub(super) fn overlay_answer(&mut self, question: Question, answer: Answer) {
        let working = match &self.phase {
            Phase::Working { step, .. } => Some(step.clone()),
            _ => None,
        };
        match answer {
            Answer::Stop => {
                let Some(step) = working else { return };
                if self.soak(&step).is_some() {
                    return self.leave(Exit::Interrupted, "interrupted");
                }
                self.watch.stopping = true;
                // On record before it happens; and whoever lost the lease meanwhile stops nothing.
                self.append(vec![Event::Note { text: format!("stops the command of {step}") }]);
                self.out.push(Effect::Stop { why: format!("by {}", self.me) });
            }
            Answer::Go => {
                match (working, question) {
                    (Some(step), Question::Paused { .. }) => self.go_on(&step),
                    // Going on watching is no word about a command that an invariant paused meanwhile.
                    (Some(step), _) => self.consider_pause(&step),
                    (None, _) => {}
                }
            }
            Answer::Note(text) => {
                self.append(vec![Event::Note { text }]);
                self.ask_meanwhile(question);
            }
            Answer::Handoff { to, note } => {
                if !self.handed_off(to, note) {
                    self.ask_meanwhile(question);
                }
            }
            Answer::Measure => {
                // What fails again is asked about again.
                let now = self.now;
                for one in self.watch.each.values_mut() {
                    one.due = Some(now);
                    one.alerted = false;
                }
            }
            _ => self.leave(Exit::Interrupted, "interrupted"),
        }
    }
}
