//! The beginning of a session: the environment's name, what an unclean end of the machine put in doubt, the walk-down.

use super::{Asked, Effect, Exit, Machine, Measured, Mode, Phase, Question};
use crate::base::StepId;
use crate::check::Evidence;
use crate::engine::event::Answer;
use crate::engine::state::{Status, Undo};
use crate::journal::record::{Event, Purpose};
use crate::runbook::model::Work;

impl Machine {
    pub(super) fn start(&mut self, resumed: bool) {
        self.scope_decisions();
        // Nothing was begun yet: nobody has typed the name of a protected environment, however often it was resumed.
        if let Some(name) = self.protected.clone().filter(|_| self.state.steps.is_empty()) {
            let given = self.given.confirm.get(&StepId::from("environment")).cloned();
            return match given {
                Some(text) => self.environment_answer(&Answer::Typed(text)),
                None => {
                    self.ask(Asked::Environment, Question::Environment { name });
                    self.leave_unless_present(Exit::Waiting);
                }
            };
        }
        self.doubt_unproved_effects();
        if resumed {
            self.inherited = self.state.steps.keys().cloned().collect();
            return self.walk_down();
        }
        self.choose();
    }

    /// A decision from the command line is about a step as it stands when it is given. One about a step that is done, or
    /// was not begun, would decide in advance what nobody has seen yet.
    fn scope_decisions(&mut self) {
        let back = matches!(self.mode, Mode::Back { .. });
        let open = |step: &StepId| match self.state.status(step) {
            status if back => {
                let known = matches!(status, Status::InDoubt | Status::NotUndone);
                known && self.state.step(step).undo != Undo::No
            }
            Status::Failed | Status::InDoubt | Status::NotUndone | Status::Reopened => true,
            Status::Running | Status::Ended => true,
            _ => false,
        };
        let early: Vec<StepId> = self.given.decide.keys().filter(|step| !open(step)).cloned().collect();
        for step in early {
            self.given.decide.remove(&step);
            let word = self.state.status(&step).word();
            let what = if back { "undoing it" } else { "it" };
            let text = format!("`{step}` is {word}: there is nothing to decide about {what} yet.");
            self.out.push(Effect::Say(text));
        }
    }

    pub(super) fn environment_answer(&mut self, answer: &Answer) {
        let wanted = self.protected.clone().unwrap_or_default();
        match answer {
            Answer::Typed(text) if *text == wanted => self.choose(),
            Answer::Typed(_) => {
                self.out.push(Effect::Say(format!("That is not the environment's name; it is `{wanted}`.")));
                self.leave(Exit::Waiting, "the environment was not confirmed");
            }
            _ => self.leave(Exit::Waiting, "the environment was not confirmed"),
        }
    }

    /// After an unclean end of the machine, a finished effect that nothing measures any more is in doubt. What is still
    /// measured is measured again by the walk-down, or by the next hold point.
    fn doubt_unproved_effects(&mut self) {
        let position = self.frontier();
        let holding = self.plan.holding(position, self.frontier_begun());
        let measured: Vec<StepId> = holding.into_iter().map(|(_, _, step)| step).collect();
        let unproved: Vec<_> = self
            .plan
            .runbook
            .steps
            .iter()
            .filter(|step| {
                matches!(step.work(), Some(Work::Run(_) | Work::Sql(_))) && step.changes_something()
            })
            .map(|step| step.key())
            .filter(|step| self.state.status(step) == Status::Done && self.state.step(step).shaken)
            .filter(|step| !measured.contains(step))
            .collect();
        for step in unproved {
            let attempt = self.state.step(&step).attempts;
            let why = "the machine was restarted without warning; its effect may not have reached the disk"
                .to_owned();
            self.append(vec![Event::InDoubt { step, attempt, why }]);
        }
    }

    /// What earlier steps left to hold is measured again: finished steps are not believed.
    fn walk_down(&mut self) {
        let position = self.frontier();
        let checks: Vec<_> = self
            .plan
            .holding(position, self.frontier_begun())
            .into_iter()
            .filter(|(_, _, step)| self.state.status(step) == Status::Done)
            // An earlier step may have been reopened since: what a begun step has released is over all the same.
            .filter(|(_, spec, _)| {
                spec.common.until.as_deref().is_none_or(|until| !self.state.touched(&until.into()))
            })
            .map(|(id, spec, _)| (id, spec))
            .collect();
        let next = self.plan.runbook.steps.get(position).map(|s| s.key());
        let deferred =
            next.filter(|step| self.destructive(step) && self.state.status(step) == Status::Pending);
        if checks.is_empty() || self.mode != Mode::Forward || deferred.is_some() {
            // What guards a destructive step is measured for its permit in a moment, and reopened then.
            return self.choose();
        }
        self.phase = Phase::WalkDown;
        let step = self.plan.runbook.steps.get(position).or(self.plan.runbook.steps.last()).map(|s| s.key());
        let step = step.unwrap_or_else(|| StepId::from(""));
        self.measure(Purpose::WalkDown, &step, checks, Vec::new(), None);
    }

    pub(super) fn walked_down(&mut self, measured: &Measured) {
        self.reopen(&measured.evidence);
        self.choose();
    }

    /// Finished steps whose postconditions do not pass any more are finished no longer. True when there was one.
    pub(super) fn reopen(&mut self, evidence: &[Evidence]) -> bool {
        let blockers = self.blockers(evidence, |e| self.is_advisory(e));
        let owners = |check: &str| {
            let mut all = self.plan.runbook.steps.iter().map(|s| s.key());
            all.find(|s| check.starts_with(&format!("{s}.post.")) && self.state.status(s) == Status::Done)
        };
        let mut events: Vec<Event> = Vec::new();
        for blocker in &blockers {
            let Some(step) = owners(&blocker.subject) else { continue };
            let again = events.iter().any(|e| matches!(e, Event::Reopened { step: s, .. } if *s == step));
            if !again {
                let why = format!("{}: {}, wanted {}", blocker.title, blocker.observed, blocker.expected);
                events.push(Event::Reopened { step, why });
            }
        }
        let any = !events.is_empty();
        if any {
            self.append(events);
        }
        any
    }

    /// Index of the first step that is not done.
    pub(super) fn frontier(&self) -> usize {
        let steps = &self.plan.runbook.steps;
        steps.iter().position(|s| self.state.status(&s.key()) != Status::Done).unwrap_or(steps.len())
    }

    /// True when that step was begun at some time, so that what lasted until its beginning is over.
    pub(super) fn frontier_begun(&self) -> bool {
        self.plan.runbook.steps.get(self.frontier()).is_some_and(|step| self.state.touched(&step.key()))
    }
}
