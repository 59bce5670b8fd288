//! From choosing a step to its work: preconditions, and for a destructive step the hard hold point.

use super::{Asked, Effect, Exit, Machine, Measured, Mode, Phase, Question};
use crate::base::StepId;
use crate::engine::event::Answer;
use crate::engine::reverse;
use crate::engine::state::Status;
use crate::gate::{self, Cleared, Confirmation, Proof, Request};
use crate::journal::record::{Blast, Event, Purpose};
use crate::runbook::graph::Section;
use crate::runbook::model::Work;

/// How often guards are measured again because others took longer than evidence is valid.
const ROUNDS: u32 = 4;

impl Machine {
    pub(super) fn start(&mut self, resumed: bool, rebooted: bool) {
        if rebooted {
            self.doubt_unproved_effects();
        }
        // Whoever left without naming it has not named it: asked until something was begun.
        let begun = self.state.steps.values().any(|step| step.attempts > 0);
        if let Some(name) = self.protected.clone().filter(|_| !begun && self.mode == Mode::Forward) {
            let given = self.given.confirm.get(&StepId::from("environment")).cloned();
            return match given {
                Some(text) => self.environment_answer(&Answer::Typed(text)),
                None => {
                    self.ask(Asked::Environment, Question::Environment { name });
                    self.leave_unless_present(Exit::Waiting);
                }
            };
        }
        if resumed {
            self.inherited = self.state.steps.keys().cloned().collect();
            return self.walk_down();
        }
        self.choose();
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

    /// After an unclean end of the machine, a finished effect that nothing measures any more is in doubt.
    fn doubt_unproved_effects(&mut self) {
        let standing: Vec<StepId> =
            self.plan.standing(self.plan.runbook.steps.len()).into_iter().map(|(_, _, step)| step).collect();
        let unproved: Vec<_> = self
            .plan
            .runbook
            .steps
            .iter()
            .filter(|step| {
                matches!(step.work(), Some(Work::Run(_) | Work::Sql(_))) && step.changes_something()
            })
            .map(|step| step.key())
            .filter(|step| self.state.status(step) == Status::Done && !standing.contains(step))
            .filter(|step| !self.plan.checks(step, Section::Post).is_empty())
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
            .map(|(id, spec, _)| (id, spec))
            .collect();
        let next = self.plan.runbook.steps.get(position).map(|s| s.key());
        let deferred = next.filter(|step| self.destructive(step) && self.state.status(step) == Status::Pending);
        if checks.is_empty() || self.mode != Mode::Forward || deferred.is_some() {
            // What guards a destructive step is measured for its permit in a moment, and reopened then.
            return self.choose();
        }
        self.phase = Phase::WalkDown;
        let step = self.plan.runbook.steps.get(position).or(self.plan.runbook.steps.last()).map(|s| s.key());
        let step = step.unwrap_or_else(|| StepId::from(""));
        self.measure(Purpose::WalkDown, &step, checks, Vec::new(), false);
    }

    pub(super) fn walked_down(&mut self, measured: &Measured) {
        self.reopen(&measured.evidence);
        self.choose();
    }

    /// Finished steps whose postconditions do not pass any more are finished no longer.
    fn reopen(&mut self, evidence: &[crate::check::Evidence]) {
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
        if !events.is_empty() {
            self.append(events);
        }
    }

    /// Index of the first step that is not done.
    fn frontier(&self) -> usize {
        let steps = &self.plan.runbook.steps;
        steps.iter().position(|s| self.state.status(&s.key()) != Status::Done).unwrap_or(steps.len())
    }

    /// True when that step was begun at some time, so that what lasted until its beginning is over.
    fn frontier_begun(&self) -> bool {
        let step = self.plan.runbook.steps.get(self.frontier());
        step.is_some_and(|s| !matches!(self.state.status(&s.key()), Status::Pending | Status::RolledBack))
    }

    /// Goes on with the first step that is not done.
    pub(super) fn choose(&mut self) {
        if self.state.end.is_some() {
            return self.leave(Exit::Done, "ended");
        }
        if let Mode::Back { .. } = self.mode {
            return self.choose_back();
        }
        let Some(step) = self.plan.runbook.steps.get(self.frontier()).map(|s| s.key()) else {
            return self.close();
        };
        match self.state.status(&step) {
            Status::Pending | Status::RolledBack => self.begin(&step),
            Status::Running => self.look(&step, false),
            Status::RollingBack => self.unfinished_undo(&step),
            Status::Ended => self.measure_postconditions(&step),
            Status::InDoubt | Status::Failed | Status::Reopened => self.review(&step),
            Status::Done => {}
        }
    }

    fn begin(&mut self, step: &StepId) {
        if self.present && !self.begun.contains(step) {
            return self.ask(Asked::Begin(step.clone()), Question::Begin { step: step.clone() });
        }
        self.measure_before(step);
    }

    pub(super) fn begin_answer(&mut self, step: &StepId, answer: &Answer) {
        match answer {
            Answer::Go => {
                self.begun.insert(step.clone());
                self.measure_before(step);
            }
            _ => self.leave(Exit::Waiting, "quit"),
        }
    }

    pub(super) fn destructive(&self, step: &StepId) -> bool {
        self.plan.step(step).is_some_and(|s| s.destroys.is_some())
    }

    /// Measures what stands before a step's work.
    fn measure_before(&mut self, step: &StepId) {
        if self.destructive(step) {
            self.confirmed = None;
            self.survey(step, 0);
        } else {
            let checks = self.plan.checks(step, Section::Pre);
            let needs = self.plan.needs(step);
            if checks.is_empty() && needs.is_empty() {
                return self.begin_work(step);
            }
            self.phase = Phase::Preconditions(step.clone());
            self.measure(Purpose::Precondition, step, checks, needs, false);
        }
    }

    pub(super) fn preconditions_measured(&mut self, step: &StepId, measured: &Measured) {
        let mut blockers = self.blockers(&measured.evidence, |e| self.is_advisory(e));
        blockers.extend(self.identity_blockers(&self.plan.needs(step)));
        if blockers.is_empty() { self.begin_work(step) } else { self.hold(step, blockers) }
    }

    pub(super) fn held_answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Measure | Answer::Go => self.choose(),
            _ => self.leave(Exit::Held, "held"),
        }
    }

    /// Measures every guard, proves every identity, measures what would go: all of it afresh.
    pub(super) fn survey(&mut self, step: &StepId, round: u32) {
        self.phase = Phase::Guards { step: step.clone(), round };
        self.measure(Purpose::Guard, step, self.plan.guards(step), self.plan.needs(step), true);
    }

    pub(super) fn guards_measured(&mut self, step: &StepId, round: u32) {
        if round < ROUNDS
            && self.remeasure_stale(step, Phase::Guards { step: step.clone(), round: round + 1 })
        {
            return;
        }
        let blockers = self.with_request(step, gate::survey);
        if !blockers.is_empty() {
            let guards: Vec<_> = self.plan.guards(step).into_iter().filter_map(|(id, _)| self.fresh.get(&id).cloned()).collect();
            self.reopen(&guards);
            return self.hold(step, blockers);
        }
        let Some((text, blast)) = self.wanted_text(step).zip(self.blast.clone()) else { return };
        let question = Question::Confirm {
            step: step.clone(),
            text,
            blast,
            horizon: reverse::after(&self.plan.runbook, self.plan.position(step)).sentence(),
        };
        match self.given.confirm.remove(step) {
            Some(text) => {
                self.phase = Phase::Asking(Asked::Confirm(step.clone()));
                self.question = Some(question);
                self.confirm_answer(step, Answer::Typed(text));
            }
            None => {
                self.ask(Asked::Confirm(step.clone()), question);
                self.leave_unless_present(Exit::Waiting);
            }
        }
    }

    fn wanted_text(&self, step: &StepId) -> Option<String> {
        self.plan.step(step)?.destroys.as_ref().map(|d| d.what.clone())
    }

    pub(super) fn confirm_answer(&mut self, step: &StepId, answer: Answer) {
        let wanted = self.wanted_text(step).unwrap_or_default();
        match (answer, self.blast.clone()) {
            (Answer::Typed(text), Some(blast)) if text == wanted => self.confirm(step, text, blast),
            (Answer::Typed(_), _) => {
                self.out.push(Effect::Say(format!(
                    "That is not the text. Nothing was destroyed. It is `{wanted}`."
                )));
                match self.question.clone().filter(|_| self.present) {
                    Some(question) => self.out.push(Effect::Ask(question)),
                    None => self.leave(Exit::Held, "another text was typed"),
                }
            }
            (Answer::Measure, _) => self.survey(step, 0),
            _ => self.leave(Exit::Waiting, "not confirmed"),
        }
    }

    fn confirm(&mut self, step: &StepId, text: String, blast: Blast) {
        self.append(vec![Event::Confirmed { step: step.clone(), text: text.clone(), blast: blast.clone() }]);
        self.confirmed = Some(Confirmation { text, blast, at: self.now });
        self.phase = Phase::Reguard { step: step.clone(), round: 0 };
        let stale = self.stale_guards(step);
        self.measure(Purpose::Guard, step, stale, self.plan.needs(step), true);
    }

    pub(super) fn reguarded(&mut self, step: &StepId, round: u32) {
        if round < ROUNDS
            && self.remeasure_stale(step, Phase::Reguard { step: step.clone(), round: round + 1 })
        {
            return;
        }
        match self.with_request(step, gate::clear) {
            Ok(permit) => {
                let Some(runbook_step) = self.plan.step(step).cloned() else { return };
                let attempt = self.state.step(step).attempts + 1;
                let events = vec![
                    Event::Permitted {
                        step: step.clone(),
                        permit: permit.number(),
                        runbook: permit.runbook().clone(),
                        guards: permit.guards().to_vec(),
                        blast: permit.blast().clone(),
                    },
                    Event::Began { step: step.clone(), attempt, permit: Some(permit.number()) },
                ];
                if let Some(cleared) = Cleared::by(permit, &runbook_step, &self.now) {
                    self.append(events);
                    self.set_to_work(step, cleared, attempt);
                }
            }
            Err(blockers) => {
                self.confirmed = None;
                self.hold(step, blockers);
            }
        }
    }

    fn stale_guards(&self, step: &StepId) -> Vec<crate::engine::plan::Placed> {
        let half = gate::VALIDITY / 2;
        let stale = |id: &crate::base::CheckId| {
            self.fresh.get(id).is_none_or(|e| self.now.since(&e.at) > half || self.now.jumped_since(&e.at))
        };
        self.plan.guards(step).into_iter().filter(|(id, _)| stale(id)).collect()
    }

    /// Measures again what became stale while slower checks were measured; false when nothing did.
    fn remeasure_stale(&mut self, step: &StepId, phase: Phase) -> bool {
        let stale: Vec<_> =
            self.stale_guards(step).into_iter().filter(|(id, _)| self.fresh.contains_key(id)).collect();
        if stale.is_empty() {
            return false;
        }
        self.phase = phase;
        self.measure(Purpose::Guard, step, stale, self.plan.needs(step), true);
        true
    }

    /// Asks the gate with everything this session has measured.
    fn with_request<T>(&self, id: &StepId, decide: impl FnOnce(&Request<'_>) -> T) -> T
    where
        T: Refusal,
    {
        let (Some(step), Some(blast)) = (self.plan.step(id), self.blast.as_ref()) else { return T::refuse() };
        let guards: Vec<_> = self.plan.guards(id).into_iter().map(|(id, _)| id).collect();
        let needs = self.plan.needs(id);
        let proofs = self.plan.proofs(id);
        let unfinished: Vec<_> = self.plan.runbook.steps[..self.plan.position(id)]
            .iter()
            .map(|s| (s.key(), self.state.status(&s.key())))
            .filter(|(_, status)| *status != Status::Done)
            .map(|(id, status)| (id, status.word().to_owned()))
            .collect();
        decide(&Request {
            run: &self.state.run,
            runbook: &self.state.runbook,
            runbook_now: &self.runbook_now,
            step,
            guards: &guards,
            evidence: &self.fresh,
            epoch_began: &self.epoch_began,
            pins: &self.state.pins,
            proved: &self.proved,
            needs: &needs,
            unfinished: &unfinished,
            blast,
            confirmed: self.confirmed.as_ref(),
            proof: proofs.as_deref().map_or(Proof::NotNeeded, Proof::Guards),
            now: &self.now,
            number: self.state.permits + 1,
        })
    }

    pub(super) fn leave_unless_present(&mut self, exit: Exit) {
        if !self.present {
            self.leave(exit, "waiting for a person");
        }
    }

    pub(super) fn measure(
        &mut self,
        purpose: Purpose,
        step: &StepId,
        checks: Vec<crate::engine::plan::Placed>,
        prove: Vec<String>,
        blast: bool,
    ) {
        self.out.push(Effect::Measure { purpose, step: step.clone(), checks, prove, blast });
    }
}

/// What the gate's answer is when there is nothing to ask it with.
trait Refusal {
    fn refuse() -> Self;
}

impl Refusal for Vec<crate::journal::record::Blocker> {
    fn refuse() -> Self {
        vec![nothing_measured()]
    }
}

impl Refusal for Result<gate::Permit, Vec<crate::journal::record::Blocker>> {
    fn refuse() -> Self {
        Err(vec![nothing_measured()])
    }
}

fn nothing_measured() -> crate::journal::record::Blocker {
    crate::journal::record::Blocker {
        subject: "blast radius".to_owned(),
        title: "What would go is known".to_owned(),
        observed: "it was not measured".to_owned(),
        expected: "a measured list".to_owned(),
        next: "measure again".to_owned(),
    }
}
