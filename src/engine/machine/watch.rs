//! While work is under way: invariants, and what the operator says about the running command.
//!
//! Each invariant is measured for itself: one that takes long keeps none that protects a disk waiting. Of one invariant
//! there is never more than one measurement under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::soak::Clock;
use super::{Effect, Exit, Machine, Measured, Number, Phase, Question};
use crate::base::{CheckId, Moment, StepId};
use crate::check::{Evidence, Verdict, measure};
use crate::engine::event::{Answer, action_word};
use crate::engine::plan::Placed;
use crate::gate;
use crate::journal::record::{Event, Purpose};
use crate::runbook::CheckSpec;
use crate::runbook::model::{OnViolation, Work};

/// How often an invariant is measured when it does not say.
const EVERY: Duration = Duration::from_secs(10);
/// How long an invariant may stay unknown before it counts as violated: its first samples may have to be gathered.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same in a soak, of one that has not passed in this session: some rates take a quarter of an hour to be known.
const START_UP: Duration = Duration::from_secs(3600);
/// How often an invariant that keeps passing is put on record.
const ON_RECORD: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct One {
    due: Option<Moment>,
    /// The request that measures it now.
    measuring: Option<Number>,
    /// What is measured now began before somebody asked for a new measurement.
    outdated: bool,
    unknown_since: Option<Moment>,
    last: Option<Verdict>,
    pub(super) seen: Option<Evidence>,
    recorded: Option<Moment>,
    /// That it does not hold is on record.
    pub(super) alerted: bool,
    /// Somebody waived what it says now.
    waived: bool,
}

/// The invariants of the step whose work is under way.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) checks: Vec<Placed>,
    pub(super) each: BTreeMap<CheckId, One>,
    /// Of a soak.
    pub(super) clock: Clock,
    /// The command is paused, and nobody has said that it may go on.
    pub(super) paused: bool,
    stopping: bool,
}

impl One {
    /// It passes, or somebody answers for it.
    pub(super) fn answered(&self) -> bool {
        self.waived || self.last == Some(Verdict::Pass)
    }
}

impl Watch {
    pub(super) fn new(checks: Vec<Placed>, now: Moment) -> Self {
        let due = |id: &CheckId| (id.clone(), One { due: Some(now), ..One::default() });
        Watch { each: checks.iter().map(|(id, _)| due(id)).collect(), checks, ..Watch::default() }
    }

    /// What is to be measured now, and is not being measured already.
    fn due(&self, now: &Moment) -> Vec<Placed> {
        let is_due = |id: &CheckId| {
            self.each.get(id).is_none_or(|one| {
                one.measuring.is_none() && one.due.is_none_or(|due| now.boot_ms >= due.boot_ms)
            })
        };
        self.checks.iter().filter(|(id, _)| is_due(id)).cloned().collect()
    }

    fn spec(&self, id: &CheckId) -> Option<&CheckSpec> {
        self.checks.iter().find(|(i, _)| i == id).map(|(_, spec)| spec)
    }

    /// What its violation leads to; one that is advisory is only shown.
    fn policy(&self, id: &CheckId) -> OnViolation {
        match self.spec(id) {
            Some(spec) if spec.common.advisory => OnViolation::Alert,
            Some(spec) => spec.common.on_violation.unwrap_or_default(),
            None => OnViolation::default(),
        }
    }

    /// True for an invariant that a soak's clock depends on: not one that only alerts.
    pub(super) fn counts(&self, id: &CheckId) -> bool {
        self.policy(id) != OnViolation::Alert
    }

    /// True when every check that counts passed when it was last measured, and there is one.
    pub(super) fn all_hold(&self) -> bool {
        let mut counting = self.checks.iter().map(|(id, _)| id).filter(|id| self.counts(id)).peekable();
        counting.peek().is_some() && counting.all(|id| self.each.get(id).is_some_and(One::answered))
    }
}

impl Machine {
    pub(super) fn tick(&mut self) {
        let Phase::Working { step, undo: false } = self.phase.clone() else { return };
        if self.watch.stopping {
            return;
        }
        let due = self.watch.due(&self.now);
        if due.is_empty() {
            return;
        }
        let request = self.request();
        for (id, _) in &due {
            self.watch.each.entry(id.clone()).or_default().measuring = Some(request);
        }
        let (purpose, prove) = (Purpose::Invariant, Vec::new());
        self.out.push(Effect::Measure { request, purpose, step, checks: due, prove, goes: None });
    }

    /// What some of the invariants that were asked for have shown; the others follow.
    pub(super) fn invariants_measured(&mut self, measured: Measured) {
        let Phase::Working { step, .. } = self.phase.clone() else { return };
        let soak = self.soak(&step);
        let mut bad: Vec<Evidence> = Vec::new();
        let mut seen = Vec::new();
        for evidence in measured.evidence {
            let Some(one) = self.watch.each.get_mut(&evidence.check) else { continue };
            if one.measuring.take_if(|request| *request == measured.request).is_none() {
                continue;
            }
            if std::mem::take(&mut one.outdated) {
                one.due = Some(self.now);
                continue;
            }
            let every = self
                .watch
                .spec(&evidence.check)
                .and_then(|spec| spec.common.every.map(|span| span.0))
                .or(soak.map(|(_, every)| every))
                .unwrap_or(EVERY);
            seen.push((evidence.check.clone(), every));
            if self.one_measured(&step, every, soak.is_some(), &evidence) {
                bad.push(evidence);
            }
        }
        if seen.is_empty() {
            return;
        }
        match soak {
            Some((length, every)) => self.soaked(&step, length, every, bad),
            None => self.judge(&step, bad),
        }
        // The last look comes when the soak is over, not an interval later.
        let left = soak
            .filter(|_| self.watch.all_hold())
            .map(|(length, _)| Duration::from_millis(self.watch.clock.left(length).max(100)));
        for (id, every) in seen {
            let wait = left.map_or(every, |left| every.min(left));
            let boot_ms = self.now.boot_ms + wait.as_millis() as u64;
            if let Some(one) = self.watch.each.get_mut(&id) {
                one.due = Some(Moment { wall: self.now.wall, boot_ms });
            }
        }
    }

    /// Takes what one invariant has shown; true when it is violated.
    fn one_measured(&mut self, step: &StepId, every: Duration, soaking: bool, evidence: &Evidence) -> bool {
        let id = &evidence.check;
        let foreign = gate::objection(evidence, &self.state.pins).is_some();
        let verdict = match evidence.verdict() {
            Verdict::Pass if foreign => Verdict::Fail,
            verdict => verdict,
        };
        let waived = verdict != Verdict::Pass && !self.waived(std::slice::from_ref(evidence)).is_empty();
        let before = self.watch.each.get(id).is_some_and(|one| one.waived);
        if waived && !before {
            self.use_waivers(step, std::slice::from_ref(evidence));
        }
        let starting = soaking && self.watch.clock.starting(id);
        let patience = if starting { START_UP } else { PATIENCE }.max(every * 6);
        let one = self.watch.each.entry(id.clone()).or_default();
        one.waived = waived;
        one.unknown_since =
            if verdict == Verdict::Unknown { one.unknown_since.or(Some(self.now)) } else { None };
        let tired = one.unknown_since.is_some_and(|since| self.now.since(&since) >= patience);
        let recorded_ago = one.recorded.map(|at| self.now.since(&at));
        let changed = one.last != Some(verdict);
        one.last = Some(verdict);
        one.seen = Some(evidence.clone());
        if verdict == Verdict::Pass {
            one.alerted = false;
        }
        let answered = one.answered();
        if changed || recorded_ago.is_none_or(|ago| ago >= ON_RECORD) {
            one.recorded = Some(self.now);
            let (purpose, step) = (Purpose::Invariant, step.clone());
            let advisory = self.is_advisory(evidence);
            self.append(vec![Event::Measured { purpose, step, evidence: evidence.clone(), advisory }]);
        }
        if soaking {
            let limit = self.watch.spec(id).map_or(Duration::ZERO, measure::limit);
            let took = Duration::from_millis(evidence.took_ms).min(limit);
            self.watch.clock.seen(id, answered, &self.now, every * 2 + EVERY + took);
        }
        (verdict == Verdict::Fail || tired) && !waived
    }

    pub(super) fn soak(&self, step: &StepId) -> Option<(Duration, Duration)> {
        match self.plan.step(step).and_then(|s| s.work()) {
            Some(Work::Soak(soak)) => Some((soak.length.0, soak.every.0)),
            _ => None,
        }
    }

    pub(super) fn judge(&mut self, step: &StepId, bad: Vec<Evidence>) {
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
                let pausing: Vec<CheckId> = self.watch.checks.iter().map(|(id, _)| id.clone()).collect();
                let pausing: BTreeSet<CheckId> =
                    pausing.into_iter().filter(|id| self.watch.policy(id) == OnViolation::Pause).collect();
                for (id, one) in &mut self.watch.each {
                    one.due = Some(now);
                    one.alerted = false;
                    // What began before the answer says nothing about what was done since.
                    one.outdated = one.measuring.is_some() && pausing.contains(id);
                }
            }
            _ => self.leave(Exit::Interrupted, "interrupted"),
        }
    }
}
