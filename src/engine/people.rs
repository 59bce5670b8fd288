//! What second persons said, made ready for the gate: who each of them is, as far as it is proved.

use std::collections::BTreeMap;

use crate::base::signature::{self, Allowed};
use crate::base::{CheckId, RunId, StepId};
use crate::gate::approvals::{Approvals, Authorship, Given, Proven, Says};
use crate::gate::clock::Term;
use crate::gate::waivers::Waived;
use crate::journal::record::Event;
use crate::journal::second::Person;
use crate::journal::signed;
use crate::runbook::Runbook;
use crate::runbook::graph;

use super::second::{Said, Second};
use super::state::RunState;

/// Whose signatures count: the allowed signers, or why nobody's does.
#[derive(Debug, Clone)]
pub struct Signers(pub Result<Allowed, String>);

impl Default for Signers {
    fn default() -> Self {
        Signers(Err("no file of allowed signers was given".to_owned()))
    }
}

impl Signers {
    /// Who said something, and how that is known. A claimed name and the key's name are one person's names.
    pub fn who(&self, run: &RunId, said: &Said) -> (Person, Proven) {
        let (person, proven, _) = self.judge(run, said);
        (person, proven)
    }

    /// The name and key that signed it, and how that is known.
    pub fn proof(&self, run: &RunId, said: &Said) -> (Option<String>, Proven) {
        let (_, proven, name) = self.judge(run, said);
        (name, proven)
    }

    /// The fingerprint of the key that signed it, whoever that is.
    pub fn key(&self, run: &RunId, said: &Said) -> Result<String, String> {
        let made = said.signature().ok_or("it is not signed")?;
        let (namespace, text) =
            signed::text(run, &said.by, &said.event, &made.head).ok_or("nobody signs such an event")?;
        signature::fingerprint(&text, &made.ssh, namespace).map_err(|error| error.to_string())
    }

    fn judge(&self, run: &RunId, said: &Said) -> (Person, Proven, Option<String>) {
        let mut person = Person::named(&said.by);
        let Some(made) = said.signature() else { return (person, Proven::Claimed, None) };
        if said.copied {
            let why = "the same signature stands on an earlier line: it is a copy".to_owned();
            return (person, Proven::Broken(why), None);
        }
        let signer = match &self.0 {
            Err(why) => Err(why.clone()),
            Ok(allowed) => match signed::text(run, &said.by, &said.event, &made.head) {
                None => Err("nobody signs such an event".to_owned()),
                Some((namespace, text)) => {
                    signature::verify(&text, &made.ssh, namespace, allowed, said.at.wall)
                        .map_err(|error| error.to_string())
                }
            },
        };
        match signer {
            Ok(signer) => {
                let claimed = person.clone();
                let mut owner = Person::default();
                for name in &signer.principals {
                    owner.also(name);
                    person.also(name);
                }
                person.key(&signer.fingerprint);
                if !owner.same(&claimed) {
                    let why = format!("{} signed it, in the name of {}", signer.name(), said.by);
                    return (person, Proven::Broken(why), None);
                }
                let name = format!("{} ({})", signer.name(), signer.fingerprint);
                (person, Proven::Signed, Some(name))
            }
            Err(why) => {
                // Whoever holds a key that nobody is known by may be known by it all the same.
                if let Ok(key) = self.key(run, said) {
                    person.key(&key);
                }
                (person, Proven::Broken(why), None)
            }
        }
    }
}

/// What a run's environment asks of second persons.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// People for each destruction.
    pub approvals: u32,
    /// Only signed words count.
    pub signed: bool,
    /// Who last changed the runbook may not approve.
    pub protected: bool,
}

impl Terms {
    /// Those of the environment that a run was started in.
    pub fn of(runbook: &Runbook, environment: Option<&str>) -> Terms {
        let environment = environment.and_then(|name| runbook.environments.get(name));
        environment.map_or_else(Terms::default, |environment| Terms {
            approvals: environment.approvals.unwrap_or(0),
            signed: environment.signed,
            protected: environment.protected,
        })
    }

    /// How many people must approve a step, or its undoing, that destroys.
    pub fn wanted(&self, runbook: &Runbook, step: &StepId, undo: bool) -> u32 {
        let step = runbook.steps.iter().find(|s| s.id == step.0);
        match step.filter(|step| step.destroying(undo).is_some()) {
            Some(step) => self.approvals.max(step.approvals.unwrap_or(0)),
            None => 0,
        }
    }
}

/// Who drives the run: the holder of the lease in force.
pub fn operator(state: &RunState, signers: &Signers) -> Person {
    let holder = state.holder.as_ref().map_or("", |holder| holder.by.as_str());
    let mut person = match &state.second.holder_signature {
        Some(said) => signers.who(&state.run, said).0,
        None => Person::named(holder),
    };
    person.also(holder);
    person
}

/// What the gate has to know about approvals of a step, or of its undoing.
pub fn approvals(
    runbook: &Runbook,
    state: &RunState,
    signers: &Signers,
    step: &StepId,
    undo: bool,
) -> Approvals {
    let terms = Terms::of(runbook, state.environment.as_deref());
    let author = match (&state.second.author, terms.protected) {
        (_, false) => Authorship::Free,
        (Some(author), true) => match author.person() {
            Some(person) => Authorship::Known(person),
            None => Authorship::Unknown(author.how.clone()),
        },
        (None, true) => Authorship::Unknown("the run was opened without looking for them".to_owned()),
    };
    Approvals {
        wanted: terms.wanted(runbook, step, undo),
        signed: terms.signed,
        operator: operator(state, signers),
        author,
        given: state
            .second
            .about(step, undo)
            .filter_map(|said| given(&state.run, &state.second, signers, said))
            .collect(),
    }
}

fn given(run: &RunId, second: &Second, signers: &Signers, said: &Said) -> Option<Given> {
    let (person, proven) = signers.who(run, said);
    let says = match &said.event {
        Event::Approved { content, text, until, boot, .. } => Says::Approves {
            // The text is of the content; one that differs was not typed in front of it.
            content: second.content(content).filter(|content| content.text == *text).cloned().map(Box::new),
            term: Term { at: said.at, boot: boot.clone(), until: *until },
            used: said.used,
        },
        Event::Rejected { reason, .. } => Says::Rejects { reason: reason.clone() },
        Event::ApprovalWithdrawn { .. } => Says::Withdraws,
        _ => return None,
    };
    Some(Given { by: said.by.clone(), person, proven, says })
}

/// Waivers that are not settled, made ready to be judged.
pub fn waivers(runbook: &Runbook, state: &RunState, signers: &Signers) -> Vec<Waived> {
    if state.second.waivers.is_empty() {
        return Vec::new();
    }
    let guards = guarding(runbook);
    let each = state.second.waivers.iter().filter_map(|waiver| {
        let Event::Waived { reason, until, boot, verdict, .. } = &waiver.said.event else { return None };
        let (person, proven) = signers.who(&state.run, &waiver.said);
        Some(Waived {
            check: waiver.check.clone(),
            by: waiver.said.by.clone(),
            person,
            proven,
            reason: reason.clone(),
            verdict: *verdict,
            term: Term { at: waiver.said.at, boot: boot.clone(), until: *until },
            guards: guards.contains_key(&waiver.check),
            waivable: guards.get(&waiver.check).copied().unwrap_or(true),
        })
    });
    each.collect()
}

/// Every check that guards a destruction somewhere, by a step or by an undoing; and whether it may be waived all the same.
pub fn guarding(runbook: &Runbook) -> BTreeMap<CheckId, bool> {
    let mut all = BTreeMap::new();
    for (at, step) in runbook.steps.iter().enumerate() {
        let work = step.destroying(false).map(|_| graph::guards(runbook, at));
        let undo = step.destroying(true).map(|_| graph::undo_guards(runbook, at));
        for (id, spec) in work.into_iter().chain(undo).flatten() {
            all.insert(id, spec.common.waivable);
        }
    }
    all
}
