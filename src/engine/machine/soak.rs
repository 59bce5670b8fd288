//! A soak's clock: how long everything that counts was seen to hold.
//!
//! Invariants: only time between two passes of every invariant that counts is counted; a failure takes all of it away; the
//! soak ends only when each of them passed when it was last measured.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Ended, Machine};
use crate::base::text::count;
use crate::base::{CheckId, Moment, Span, StepId};
use crate::check::Evidence;
use crate::journal::record::{Ending, Event};
use crate::runbook::graph::Section;
use crate::runbook::model::OnViolation;

/// Counts. All times are milliseconds of the boot clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    each: BTreeMap<CheckId, Seen>,
    /// Times in which one of them was not seen to hold, from the last pass before to the first one after.
    holes: Vec<(u64, u64)>,
    /// Up to here it is counted.
    counted_to: u64,
    held_ms: u64,
    /// What of it is on record.
    recorded_ms: u64,
    /// The operator knows that it stands still.
    still: bool,
}

#[derive(Debug)]
struct Seen {
    /// The last pass; before the first one, when the watch began.
    passed_at: u64,
    /// It passed in this session.
    passed: bool,
    /// Something else than a pass was seen since.
    broken: bool,
}

impl Clock {
    /// A watch over these that begins now, of which this much was counted before.
    pub(super) fn new(ids: impl Iterator<Item = CheckId>, now: &Moment, held_ms: u64) -> Clock {
        let seen = |id| (id, Seen { passed_at: now.boot_ms, passed: false, broken: false });
        Clock {
            each: ids.map(seen).collect(),
            counted_to: now.boot_ms,
            held_ms,
            recorded_ms: held_ms,
            ..Clock::default()
        }
    }

    /// An invariant was measured. Two passes further apart than `gap` leave it unknown what was in between.
    pub(super) fn seen(&mut self, id: &CheckId, passes: bool, now: &Moment, gap: Duration) {
        let Some(seen) = self.each.get_mut(id) else { return };
        if !passes {
            seen.broken = true;
            return;
        }
        let (from, to) = (seen.passed_at, now.boot_ms.max(seen.passed_at));
        let whole = seen.passed && !seen.broken && to - from <= gap.as_millis() as u64;
        *seen = Seen { passed_at: to, passed: true, broken: false };
        if !whole {
            self.holes.push((from, to));
        }
    }

    /// True until an invariant that counts has passed in this session.
    pub(super) fn starting(&self, id: &CheckId) -> bool {
        self.each.get(id).is_some_and(|seen| !seen.passed)
    }

    /// Counts what is known by now: up to the pass that is longest ago, without the holes.
    pub(super) fn count(&mut self) {
        let from = self.counted_to;
        let Some(to) = self.each.values().map(|seen| seen.passed_at).min().filter(|to| *to > from) else {
            return;
        };
        self.holes.sort_unstable();
        let (mut missed, mut behind) = (0, from);
        for (begin, end) in &self.holes {
            let (begin, end) = ((*begin).max(behind), (*end).min(to));
            missed += end.saturating_sub(begin);
            behind = behind.max(end);
        }
        self.holes.retain(|(_, end)| *end > to);
        self.held_ms += to - from - missed;
        self.counted_to = to;
    }

    /// Nothing that was before now counts.
    pub(super) fn restart(&mut self, now: &Moment) {
        self.held_ms = 0;
        self.counted_to = self.counted_to.max(now.boot_ms);
    }

    /// Milliseconds that are still wanted.
    pub(super) fn left(&self, length: Duration) -> u64 {
        (length.as_millis() as u64).saturating_sub(self.held_ms)
    }
}

impl Machine {
    /// The clock of a soak whose watch begins now, in this session.
    pub(super) fn soak_clock(&self, step: &StepId) -> Clock {
        let counting = self.plan.checks(step, Section::Inv).into_iter().map(|(id, _)| id);
        let counting = counting.filter(|id| self.watch.counts(id));
        Clock::new(counting, &self.now, self.state.step(step).soaked_ms)
    }

    /// Some invariants of a soak were measured, and these are violated.
    pub(super) fn soaked(&mut self, step: &StepId, length: Duration, every: Duration, bad: Vec<Evidence>) {
        let (bad, alerts): (Vec<_>, Vec<_>) = bad.into_iter().partition(|e| self.watch.counts(&e.check));
        self.judge(step, alerts);
        self.watch.clock.count();
        if !bad.is_empty() {
            self.starts_again(step, &bad);
        }
        let (wanted_ms, all_hold) = (length.as_millis() as u64, self.watch.all_hold());
        let clock = &mut self.watch.clock;
        let (elapsed_ms, ends) = (clock.held_ms, all_hold && clock.held_ms >= wanted_ms);
        // Each invariant moves it on a little; not each of these moves is worth a line.
        let since = elapsed_ms.saturating_sub(clock.recorded_ms);
        if since > 0 && (ends || since >= every.as_millis() as u64 / 2) {
            clock.recorded_ms = elapsed_ms;
            self.append(vec![Event::Soaked { step: step.clone(), elapsed_ms }]);
        }
        self.out.push(Effect::Soaking { step: step.clone(), elapsed_ms, wanted_ms });
        if let Some(evidence) = bad.iter().find(|e| self.watch.stops(&e.check)) {
            let why = format!("{}: {}", evidence.title, evidence.outcome.observed);
            return self.work_ended(Ended::how(Ending::Stopped { why }));
        }
        if ends {
            self.say_alerts(step);
            return self.work_ended(Ended::how(Ending::Finished));
        }
        self.say_still(step, elapsed_ms, all_hold || !bad.is_empty());
    }

    /// Something failed, or was unknown for too long.
    fn starts_again(&mut self, step: &StepId, bad: &[Evidence]) {
        let mut events = Vec::new();
        for evidence in bad {
            let stops = self.watch.stops(&evidence.check);
            let Some(one) = self.watch.each.get_mut(&evidence.check) else { continue };
            if !std::mem::replace(&mut one.alerted, true) {
                let (step, check) = (step.clone(), evidence.check.clone());
                let action = if stops { "stop" } else { "start again at zero" };
                events.push(Event::Violated { step, check, action: action.to_owned() });
            }
        }
        self.watch.clock.restart(&self.now);
        if std::mem::take(&mut self.watch.clock.recorded_ms) > 0 {
            events.push(Event::Soaked { step: step.clone(), elapsed_ms: 0 });
        }
        if !events.is_empty() {
            self.append(events);
        }
    }

    /// Tells once that the clock stands still, and why; a clock that starts again speaks for itself.
    fn say_still(&mut self, step: &StepId, elapsed_ms: u64, goes: bool) {
        if goes {
            self.watch.clock.still = false;
        } else if elapsed_ms > 0 && !std::mem::replace(&mut self.watch.clock.still, true) {
            let waits = self.watch.unanswered();
            let why = waits.map_or_else(String::new, |e| format!(": {}: {}", e.title, e.outcome.observed));
            let text = format!("The watch of `{step}` stands still at {}{why}", Span::millis(elapsed_ms));
            self.out.push(Effect::Say(text));
        }
    }

    /// What alerted meanwhile did not hold the soak up, and is not forgotten.
    fn say_alerts(&mut self, step: &StepId) {
        let alerts = &self.state.step(step).alerts;
        if alerts.is_empty() {
            return;
        }
        let each = alerts.iter().map(|(id, n)| format!("{id} ({})", count((*n).into(), "time", "times")));
        let each = each.collect::<Vec<_>>().join(", ");
        self.out.push(Effect::Say(format!("While `{step}` was watched, these did not hold: {each}")));
    }
}

impl super::watch::Watch {
    /// True where a violation ends a soak.
    fn stops(&self, id: &CheckId) -> bool {
        let spec = self.checks.iter().find(|(i, _)| i == id).map(|(_, spec)| spec);
        spec.is_some_and(|spec| spec.common.on_violation == Some(OnViolation::Stop))
    }

    /// What keeps the clock from going on, as it was last seen.
    fn unanswered(&self) -> Option<&Evidence> {
        let counting = self.checks.iter().map(|(id, _)| id).filter(|id| self.counts(id));
        let mut open = counting.filter_map(|id| self.each.get(id)).filter(|one| !one.answered());
        open.find_map(|one| one.seen.as_ref())
    }
}
