//! The hard hold point: guards, the list of what goes, the typed confirmation, guards again, the permit. The same for a
//! step that destroys and for an undoing that does.

use super::{Asked, Effect, Exit, Machine, Phase, Question};
use crate::base::{CheckId, StepId};
use crate::engine::event::Answer;
use crate::engine::people;
use crate::engine::plan::{Placed, Plan};
use crate::engine::reverse;
use crate::engine::state::Status;
use crate::gate::{self, Cleared, Confirmation, Guard, Permit, Proof, Request};
use crate::journal::record::{Blast, Blocker, Event, Purpose};
use crate::runbook::model::Work;

/// How often guards are measured again because others took longer than evidence is valid.
const ROUNDS: u32 = 4;

impl Machine {
    /// Measures every guard, proves every identity, measures what would go: all of it afresh.
    pub(super) fn survey(&mut self, step: &StepId, undo: bool) {
        self.confirmed = None;
        let guards = self.plan.guards(step, undo);
        self.measure_guards(step, undo, guards, Phase::Guards { step: step.clone(), undo, round: 0 });
    }

    fn measure_guards(&mut self, step: &StepId, undo: bool, guards: Vec<Placed>, phase: Phase) {
        self.phase = phase;
        let goes = self.plan.destroys(step, undo).cloned();
        self.measure(Purpose::Guard, step, guards, self.plan.needs(step, undo), goes);
    }

    pub(super) fn guards_measured(&mut self, step: &StepId, undo: bool, round: u32) {
        if round < ROUNDS
            && self.remeasure_stale(step, undo, Phase::Guards { step: step.clone(), undo, round: round + 1 })
        {
            return;
        }
        let blockers = self.with_request(step, undo, gate::survey);
        if !blockers.is_empty() {
            // What does not hold on the way back is decided about when the run goes forward again.
            if !undo {
                let guards = self.plan.guards(step, undo).into_iter();
                let seen: Vec<_> = guards.filter_map(|(id, _)| self.fresh.get(&id).cloned()).collect();
                self.reopen(&seen);
            }
            if Self::only_people(&blockers) {
                let (count, content) =
                    self.with_request(step, undo, |r| Some((r.approvals.wanted, gate::content(r)))).unzip();
                if let Some((count, content)) = count.zip(content) {
                    self.want_approval(step, undo, count, content);
                }
            }
            return self.hold(step, undo, blockers);
        }
        let Some((text, blast)) = self.wanted_text(step, undo).zip(self.blast.clone()) else { return };
        let at = self.plan.position(step);
        let horizon = if undo {
            reverse::before(&self.plan.runbook, at)
        } else {
            reverse::after(&self.plan.runbook, at)
        };
        let question = Question::Confirm {
            step: step.clone(),
            text,
            blast,
            horizon: horizon.sentence(),
            undo: undo.then(|| self.going_back()),
        };
        match self.given.confirm.remove(step) {
            // Work by hand needs somebody there, whatever was given in advance.
            Some(text) if self.present || !self.by_hand(step, undo) => {
                self.phase = Phase::Asking(Asked::Confirm { step: step.clone(), undo });
                self.question = Some(question);
                self.confirm_answer(step, undo, Answer::Typed(text));
            }
            _ => {
                self.ask(Asked::Confirm { step: step.clone(), undo }, question);
                self.leave_unless_present(Exit::Waiting);
            }
        }
    }

    fn wanted_text(&self, step: &StepId, undo: bool) -> Option<String> {
        self.plan.destroys(step, undo).map(|destroys| destroys.what.clone())
    }

    pub(super) fn confirm_answer(&mut self, step: &StepId, undo: bool, answer: Answer) {
        let Some(wanted) = self.wanted_text(step, undo) else {
            return self.leave(Exit::Waiting, "not confirmed");
        };
        match (answer, self.blast.clone()) {
            (Answer::Typed(text), Some(blast)) if text == wanted => self.confirm(step, undo, text, blast),
            (Answer::Typed(_), _) => {
                self.out.push(Effect::Say(format!(
                    "That is not the text. Nothing was destroyed. It is `{wanted}`."
                )));
                match self.question.clone().filter(|_| self.present) {
                    Some(question) => self.pose(question),
                    None => self.leave(Exit::Held, "another text was typed"),
                }
            }
            (Answer::Measure, _) => self.survey(step, undo),
            _ => self.leave(Exit::Waiting, "not confirmed"),
        }
    }

    fn confirm(&mut self, step: &StepId, undo: bool, text: String, blast: Blast) {
        self.append(vec![Event::Confirmed {
            step: step.clone(),
            undo,
            text: text.clone(),
            blast: blast.clone(),
        }]);
        self.confirmed = Some(Confirmation { step: step.clone(), undo, text, blast, at: self.now });
        let stale = self.due_guards(step, undo);
        self.measure_guards(step, undo, stale, Phase::Reguard { step: step.clone(), undo, round: 0 });
    }

    pub(super) fn reguarded(&mut self, step: &StepId, undo: bool, round: u32) {
        if round < ROUNDS
            && self.remeasure_stale(step, undo, Phase::Reguard { step: step.clone(), undo, round: round + 1 })
        {
            return;
        }
        match self.with_request(step, undo, gate::clear) {
            Ok(permit) => self.permitted(step, permit),
            Err(blockers) => {
                self.confirmed = None;
                self.hold(step, undo, blockers);
            }
        }
    }

    fn permitted(&mut self, step: &StepId, permit: Permit) {
        let Some(runbook_step) = self.plan.step(step).cloned() else { return };
        let undo = permit.undo();
        let state = self.state.step(step);
        let attempt = if undo { state.rollbacks } else { state.attempts } + 1;
        let number = Some(permit.number());
        let events = vec![
            Event::Permitted {
                step: step.clone(),
                undo,
                permit: permit.number(),
                runbook: permit.runbook().clone(),
                guards: permit.guards().to_vec(),
                blast: permit.blast().clone(),
                approvers: permit.approvers().to_vec(),
                waived: permit.waived().to_vec(),
            },
            if undo {
                Event::RollbackBegan { step: step.clone(), attempt, permit: number }
            } else {
                Event::Began { step: step.clone(), attempt, permit: number }
            },
        ];
        match Cleared::by(permit, &runbook_step, &self.now) {
            Some(cleared) => {
                let seen: Vec<_> = self.fresh.values().cloned().collect();
                let guards = cleared.permit().map(|permit| permit.waived().to_vec()).unwrap_or_default();
                let waived: Vec<_> = seen.into_iter().filter(|seen| guards.contains(&seen.check)).collect();
                self.use_waivers(step, &waived);
                self.append(events);
                self.set_to_work(step, cleared, attempt);
            }
            None => self.survey(step, undo),
        }
    }

    /// True for work, or undoing, that a person does.
    pub(super) fn by_hand(&self, step: &StepId, undo: bool) -> bool {
        matches!(self.plan.work(step, undo), Some(Work::Manual(_)))
    }

    /// Guards whose evidence is missing, or will soon be too old. When one of them takes long, the others would be too old by
    /// the time it is done: then all are measured, and whoever measures begins the quick ones later.
    fn due_guards(&self, step: &StepId, undo: bool) -> Vec<Placed> {
        let half = gate::VALIDITY / 2;
        let stale = |id: &CheckId| {
            self.fresh.get(id).is_none_or(|e| self.now.since(&e.at) > half || self.now.jumped_since(&e.at))
        };
        let slow = |id: &CheckId| {
            self.fresh.get(id).is_some_and(|e| std::time::Duration::from_millis(e.took_ms) > half)
        };
        let mut guards = self.plan.guards(step, undo);
        if !guards.iter().any(|(id, _)| stale(id) && slow(id)) {
            guards.retain(|(id, _)| stale(id));
        }
        guards
    }

    /// Measures again what became stale while slower checks were measured; false when nothing did.
    fn remeasure_stale(&mut self, step: &StepId, undo: bool, phase: Phase) -> bool {
        let due = self.due_guards(step, undo);
        // What was measured just now and is not there gives no evidence, however often it is measured.
        if !due.iter().any(|(id, _)| self.fresh.contains_key(id)) {
            return false;
        }
        self.measure_guards(step, undo, due, phase);
        true
    }

    /// Asks the gate with everything this session has measured.
    fn with_request<T>(&self, id: &StepId, undo: bool, decide: impl FnOnce(&Request<'_>) -> T) -> T
    where
        T: Refusal,
    {
        let (Some(step), Some(blast)) = (self.plan.step(id), self.blast.as_ref()) else { return T::refuse() };
        let guards: Vec<Guard> = self.plan.guards(id, undo).into_iter().map(Plan::guard).collect();
        let needs = self.plan.needs(id, undo);
        let proofs = self.plan.proofs(id, undo);
        let approvals = people::approvals(&self.plan.runbook, &self.state, &self.signers, id, undo);
        let waivers = people::waivers(&self.plan.runbook, &self.state, &self.signers);
        let windows = self.windows(id, undo);
        let mut vars = self.state.vars.clone();
        vars.extend(self.state.captured.clone());
        // An undoing relies on no step's work: what has to hold for it is among its guards.
        let before = if undo { 0 } else { self.plan.position(id) };
        let unfinished: Vec<_> = self.plan.runbook.steps[..before]
            .iter()
            .map(|s| (s.key(), self.state.status(&s.key())))
            .filter(|(_, status)| *status != Status::Done)
            .map(|(id, status)| (id, status.word().to_owned()))
            .collect();
        decide(&Request {
            run: &self.state.run,
            runbook: &self.state.runbook,
            runbook_now: &self.runbook_now,
            scripts: &self.state.scripts,
            scripts_now: &self.scripts_now,
            step,
            undo,
            guards: &guards,
            evidence: &self.fresh,
            epoch_began: &self.epoch_began,
            pins: &self.state.pins,
            proved: &self.proved,
            needs: &needs,
            unfinished: &unfinished,
            blast,
            machine: &self.state.machine,
            vars: &vars,
            approvals: &approvals,
            waivers: &waivers,
            windows: &windows,
            boot: self.boot(),
            newest: self.state.second.newest,
            confirmed: self.confirmed.as_ref(),
            proof: proofs.as_deref().map_or(Proof::NotNeeded, Proof::Guards),
            now: &self.now,
            number: self.state.permits + 1,
        })
    }
}

/// What the gate's answer is when there is nothing to ask it with.
trait Refusal {
    fn refuse() -> Self;
}

impl Refusal for Vec<Blocker> {
    fn refuse() -> Self {
        vec![nothing_measured()]
    }
}

impl<T> Refusal for Option<T> {
    fn refuse() -> Self {
        None
    }
}

impl Refusal for Result<Permit, Vec<Blocker>> {
    fn refuse() -> Self {
        Err(vec![nothing_measured()])
    }
}

fn nothing_measured() -> Blocker {
    Blocker {
        subject: "blast radius".to_owned(),
        title: "What would go is known".to_owned(),
        observed: "it was not measured".to_owned(),
        expected: "a measured list".to_owned(),
        next: "measure again".to_owned(),
    }
}
