//! Why work cannot go on: blockers made from evidence and identities, the same for every kind of hold point.

use super::{Asked, Exit, Machine, Mode, Question};
use crate::base::StepId;
use crate::check::{Evidence, Verdict};
use crate::gate;
use crate::journal::record::{Blocker, Event};

impl Machine {
    /// Blockers from measurements: whatever did not pass, and whatever passed on another target than the pinned one. A waiver
    /// that counts takes one away; one that does not is named in it, so that nobody wonders why it went on yesterday.
    pub(super) fn blockers(
        &self,
        evidence: &[Evidence],
        advisory: impl Fn(&Evidence) -> bool,
    ) -> Vec<Blocker> {
        let answered = self.answered(evidence);
        let gating = evidence.iter().filter(|e| !advisory(e));
        let each = gating.filter_map(|e| {
            let waiver = answered.iter().find(|(seen, _, _)| seen.check == e.check);
            if waiver.is_some_and(|(_, _, why)| why.is_none()) {
                return None;
            }
            let mut blocker = gate::objection(e, &self.state.pins)?;
            if let Some((_, waiver, Some(why))) = waiver.filter(|_| e.verdict() != Verdict::Pass) {
                blocker.observed += &waiver.refused(why);
            }
            Some(blocker)
        });
        each.collect()
    }

    /// Blockers from identities just proved: a target that is not the pinned one, or could not be proved at all.
    pub(super) fn identity_blockers(&self, targets: &[String]) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        for name in targets {
            let unseen = "it was not measured".to_owned();
            let why = self.unproved.get(name).or(Some(&unseen).filter(|_| !self.proved.contains_key(name)));
            if let Some(why) = why {
                blockers.push(Blocker {
                    subject: "identity".to_owned(),
                    title: format!("Target `{name}` is the one this run began with"),
                    observed: format!("unknown: {why}"),
                    expected: "a target that answers".to_owned(),
                    next: "make it reachable, then measure again".to_owned(),
                });
            }
            if let (Some((now, _)), Some(pin)) = (self.proved.get(name), self.state.pins.get(name)) {
                blockers.extend(gate::identity_changes(name, pin, now));
            }
        }
        blockers
    }

    /// Puts a refusal on record and asks what to do; leaves with "held" when nobody is there.
    pub(super) fn hold(&mut self, step: &StepId, undo: bool, blockers: Vec<Blocker>) {
        self.append(vec![Event::Held { step: step.clone(), undo, blockers: blockers.clone() }]);
        let question = Question::Held { step: step.clone(), undo, blockers: blockers.clone() };
        if self.present {
            self.ask(Asked::Held(step.clone()), question);
        } else {
            self.pose(question);
            if Self::only_people(&blockers) {
                return self.leave(Exit::Waiting, "waiting for approval");
            }
            self.answer_confirmed(step, Exit::Held, "held");
        }
    }

    /// Leaves a session that nobody attends; but whoever confirmed a later destruction on the command line is first
    /// told everything that stands against it. On the way back there is nothing later: what is undone next depends on
    /// what is undone first.
    pub(super) fn answer_confirmed(&mut self, at: &StepId, exit: Exit, why: &str) {
        if self.mode != Mode::Forward {
            return self.leave(exit, why);
        }
        let position = self.plan.position(at);
        let later = self
            .given
            .confirm
            .keys()
            .find(|step| self.plan.position(step) > position && self.destructive(step));
        match later.cloned() {
            Some(step) => {
                self.given.confirm.remove(&step);
                self.survey(&step, false);
            }
            None => self.leave(exit, why),
        }
    }

    /// True for evidence of a check that gates nothing.
    pub(super) fn is_advisory(&self, evidence: &Evidence) -> bool {
        self.plan.find(&evidence.check).is_some_and(|(_, spec)| spec.common.advisory)
    }

    /// The first thing that does not pass, in one line.
    pub(super) fn headline(evidence: &[Evidence], blockers: &[Blocker]) -> String {
        let failing = evidence.iter().filter(|e| e.verdict() != Verdict::Pass).count();
        match blockers.first() {
            None => "nothing".to_owned(),
            Some(first) => {
                let more = blockers.len().max(failing).saturating_sub(1);
                let rest = if more == 0 { String::new() } else { format!(" (and {more} more)") };
                format!("{}: {}, wanted {}{rest}", first.title, first.observed, first.expected)
            }
        }
    }
}
