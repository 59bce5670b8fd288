//! The one choke point. [`clear`] is a pure function and the only maker of a [`Permit`]; the executor cannot be asked to
//! do a step's work without a [`Cleared`] token, and for a step that destroys only a permit makes one.
//!
//! No flag, variable, environment or mode reaches this module: it sees evidence, identities, the list of what goes, and
//! the text that was typed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{CheckId, Digest, Moment, RunId, Span, StepId};
use crate::check::{Evidence, Verdict};
use crate::journal::record::{Blast, Blocker};
use crate::runbook::Step;
use crate::world::Identity;

/// How long evidence opens a hold point, from the end of its measurement.
pub const VALIDITY: Duration = Duration::from_secs(60);

/// How much more than confirmed may go before the list counts as grown: one WAL segment or one per cent. Rows and
/// items have no such allowance.
const SLACK_BYTES: u64 = 16 << 20;

/// Everything that a decision rests on. All of it is measured, none of it claimed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Digest of the runbook as it was when the run was opened.
    pub runbook: &'a Digest,
    /// Digest of the runbook as the run's folder holds it now.
    pub runbook_now: &'a Digest,
    /// The step that wants to destroy.
    pub step: &'a Step,
    /// Every check that must pass: own preconditions, and earlier postconditions that still have to hold.
    pub guards: &'a [CheckId],
    /// Measurements of this epoch.
    pub evidence: &'a BTreeMap<CheckId, Evidence>,
    /// When this epoch began: older evidence does not count.
    pub epoch_began: &'a Moment,
    /// Identities pinned.
    pub pins: &'a BTreeMap<String, Identity>,
    /// Identities as just proved, of every target that the step or a guard names.
    pub proved: &'a BTreeMap<String, (Identity, Moment)>,
    /// Targets whose identity must be proved for this step.
    pub needs: &'a [String],
    /// Steps before this one that are not done, with a word each on why.
    pub unfinished: &'a [(StepId, String)],
    /// What would go, just measured.
    pub blast: &'a Blast,
    /// What was shown and typed; `None` when nobody confirmed.
    pub confirmed: Option<&'a Confirmation>,
    /// The guard that proves the copy that survives, when the runbook names one; its id.
    pub proof: Proof<'a>,
    /// Now.
    pub now: &'a Moment,
    /// Number for the permit, unique in the run.
    pub number: u64,
}

/// Which guards prove that the data is held elsewhere.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// These guards compare what goes with what stays; one must pass.
    Guards(&'a [CheckId]),
    /// Nothing with data goes (files only, no target).
    NotNeeded,
}

/// What the operator saw and typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    /// The text.
    pub text: String,
    /// The list that was on screen.
    pub blast: Blast,
    /// When it was typed.
    pub at: Moment,
}

/// Clearance to do one destructive step once. Cannot be copied, kept in a file, or made outside this module.
#[derive(Debug)]
pub struct Permit {
    run: RunId,
    step: StepId,
    number: u64,
    runbook: Digest,
    guards: Vec<CheckId>,
    blast: Digest,
    made: Moment,
    /// When its oldest evidence was measured: it ends [`VALIDITY`] after that, not after its own making.
    oldest: Moment,
}

impl Permit {
    /// Its number in the run.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn in_time(&self, now: &Moment) -> bool {
        let still = |then: &Moment| now.since(then) <= VALIDITY && !now.jumped_since(then);
        still(&self.made) && still(&self.oldest)
    }

    /// The step it is for.
    pub fn step(&self) -> &StepId {
        &self.step
    }

    /// The run it is for.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Digest of the runbook it is for.
    pub fn runbook(&self) -> &Digest {
        &self.runbook
    }

    /// The checks it rests on.
    pub fn guards(&self) -> &[CheckId] {
        &self.guards
    }

    /// Digest of the list of what goes.
    pub fn blast(&self) -> &Digest {
        &self.blast
    }
}

/// A token without which the executor does no step's work. There are two ways to one: a step that destroys nothing, or
/// a permit.
#[derive(Debug)]
pub struct Cleared {
    step: StepId,
    permit: Option<Permit>,
}

impl Cleared {
    /// For a step that destroys nothing; `None` for one that does.
    pub fn harmless(step: &Step) -> Option<Cleared> {
        step.destroys.is_none().then(|| Cleared { step: step.key(), permit: None })
    }

    /// For undoing a step: a rollback restores, and its own text cannot be marked destructive.
    pub fn rollback(step: &Step) -> Option<Cleared> {
        step.rollback.is_some().then(|| Cleared { step: step.key(), permit: None })
    }

    /// For a destructive step: uses the permit up. `None` when it is another step's, or no longer valid.
    pub fn by(permit: Permit, step: &Step, now: &Moment) -> Option<Cleared> {
        (permit.step == step.key() && permit.in_time(now)).then(|| Cleared { step: step.key(), permit: Some(permit) })
    }

    /// Whether the work may still begin: writing the record may have taken longer than the evidence is valid. Asked by
    /// the executor with its own clock, as the last thing before the work.
    pub fn in_time(&self, now: &Moment) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.in_time(now))
    }

    /// The step it is for.
    pub fn step(&self) -> &StepId {
        &self.step
    }

    /// The permit, for a destructive step.
    pub fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}

/// Decides about a destructive step: a permit, or all the reasons against one at once.
pub fn clear(request: &Request<'_>) -> Result<Permit, Vec<Blocker>> {
    let mut blockers = Vec::new();
    unfinished(request, &mut blockers);
    guards(request, &mut blockers);
    identities(request, &mut blockers);
    copy(request, &mut blockers);
    blast(request, &mut blockers);
    confirmation(request, &mut blockers);
    if request.runbook != request.runbook_now {
        blockers.push(blocker(
            "runbook",
            "The runbook is the one that the run was started with",
            format!("its copy in the run's folder has digest {}", request.runbook_now.short()),
            format!("digest {}", request.runbook.short()),
            "put the original copy back, or abandon this run and start a new one",
        ));
    }
    if !blockers.is_empty() {
        return Err(blockers);
    }
    Ok(Permit {
        run: request.run.clone(),
        step: request.step.key(),
        number: request.number,
        runbook: request.runbook.clone(),
        guards: request.guards.to_vec(),
        blast: request.blast.digest(),
        made: *request.now,
        oldest: oldest(request),
    })
}

/// When the oldest thing was measured that a permit would rest on.
fn oldest(request: &Request<'_>) -> Moment {
    let evidence = request.guards.iter().filter_map(|id| request.evidence.get(id)).map(|e| e.at);
    let identities = request.needs.iter().filter_map(|name| request.proved.get(name)).map(|(_, at)| *at);
    evidence.chain(identities).chain([request.blast.at]).min_by_key(|at| at.boot_ms).unwrap_or(*request.now)
}

/// The reasons that need no confirmation to be seen: shown before anybody is asked to type anything.
pub fn survey(request: &Request<'_>) -> Vec<Blocker> {
    match clear(request) {
        Ok(_) => Vec::new(),
        Err(blockers) => blockers.into_iter().filter(|b| b.subject != "confirmation").collect(),
    }
}

fn blocker(
    subject: &str,
    title: &str,
    observed: impl Into<String>,
    expected: impl Into<String>,
    next: &str,
) -> Blocker {
    Blocker {
        subject: subject.to_owned(),
        title: title.to_owned(),
        observed: observed.into(),
        expected: expected.into(),
        next: next.to_owned(),
    }
}

fn unfinished(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    for (step, why) in request.unfinished {
        blockers.push(blocker(
            step.as_str(),
            "Every earlier step is done",
            format!("step `{step}` is {why}"),
            "done, with its postconditions passing",
            "resolve that step first",
        ));
    }
}

fn guards(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    if request.guards.is_empty() {
        blockers.push(blocker(
            "guards",
            "Something was measured",
            "no check guards this step",
            "at least one passing check",
            "add preconditions to the step; the run cannot destroy on trust",
        ));
    }
    for id in request.guards {
        match request.evidence.get(id) {
            None => blockers.push(blocker(
                id.as_str(),
                id.as_str(),
                "not measured in this session",
                "a fresh pass",
                "measure again",
            )),
            Some(evidence) => {
                let mut say = |observed: String, next: &str| {
                    blockers.push(blocker(
                        id.as_str(),
                        &evidence.title,
                        observed,
                        evidence.outcome.expected.clone(),
                        next,
                    ));
                };
                if evidence.verdict() != Verdict::Pass {
                    let next =
                        evidence.outcome.help.as_deref().unwrap_or("put this right, then measure again");
                    let word = if evidence.verdict() == Verdict::Unknown { "unknown: " } else { "" };
                    say(format!("{word}{}", evidence.outcome.observed), next);
                } else if let Some(why) = stale(&evidence.at, request) {
                    say(format!("passed, but {why}"), "measure again");
                } else if let Some(why) = foreign(evidence, request) {
                    say(
                        format!("passed, but {why}"),
                        "find out what answers at that address now, then measure again",
                    );
                }
            }
        }
    }
}

/// Why a measurement does not let work go on: it did not pass, or it passed on another target than the pinned one.
/// Freshness is [`clear`]'s business.
pub fn objection(evidence: &Evidence, pins: &BTreeMap<String, Identity>) -> Option<Blocker> {
    let outcome = &evidence.outcome;
    let mismatch = outcome.seen.iter().find_map(|seen| {
        let change = pins.get(&seen.target)?.differs(&seen.identity).into_iter().next()?;
        Some(format!(
            "measured on another `{}`: {} {} instead of {}",
            seen.target, change.fact, change.is, change.was
        ))
    });
    let (observed, next) = match (evidence.verdict(), mismatch) {
        (_, Some(why)) => (why, "find out what answers at that address now, then measure again"),
        (Verdict::Pass, None) => return None,
        (Verdict::Fail, None) => (outcome.observed.clone(), outcome.help.as_deref().unwrap_or(FIX)),
        (Verdict::Unknown, None) => {
            (format!("unknown: {}", outcome.observed), outcome.help.as_deref().unwrap_or(FIX))
        }
    };
    Some(blocker(evidence.check.as_str(), &evidence.title, observed, outcome.expected.clone(), next))
}

/// Why a target is not the one that was pinned, one blocker a fact.
pub fn identity_changes(name: &str, pin: &Identity, now: &Identity) -> Vec<Blocker> {
    let title = format!("Target `{name}` is the one this run began with");
    let next = "find out what answers at that address now; do not go on until it is the right one";
    let changes = pin.differs(now).into_iter();
    changes
        .map(|c| {
            blocker("identity", &title, format!("{} {}", c.fact, c.is), format!("{} {}", c.fact, c.was), next)
        })
        .collect()
}

const FIX: &str = "put this right, then measure again";

/// Why a measurement is too old to open a hold point, if it is.
fn stale(at: &Moment, request: &Request<'_>) -> Option<String> {
    let now = request.now;
    if at.boot_ms < request.epoch_began.boot_ms {
        Some("it was measured before this session began".to_owned())
    } else if now.jumped_since(at) {
        Some("the clock has jumped since".to_owned())
    } else if now.since(at) > VALIDITY {
        Some(format!("{} ago; only {} count", Span(now.since(at)), Span(VALIDITY)))
    } else {
        None
    }
}

/// Why a measurement was taken on something else than the pinned and just proved target, if it was.
fn foreign(evidence: &Evidence, request: &Request<'_>) -> Option<String> {
    for seen in &evidence.outcome.seen {
        let Some(pin) = request.pins.get(&seen.target) else {
            return Some(format!("target `{}` has not been pinned", seen.target));
        };
        if let Some(change) = pin.differs(&seen.identity).first() {
            return Some(format!(
                "on another `{}`: {} {} instead of {}",
                seen.target, change.fact, change.is, change.was
            ));
        }
        if let Some((proved, _)) = request.proved.get(&seen.target)
            && (proved.restarted(&seen.identity) || !proved.differs(&seen.identity).is_empty())
        {
            return Some(format!("`{}` was restarted or replaced since", seen.target));
        }
    }
    None
}

fn identities(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let next = "find out what answers at that address now; do not go on until it is the right one";
    for name in request.needs {
        let title = format!("Target `{name}` is the one this run began with");
        let (proved, pin) = (request.proved.get(name), request.pins.get(name));
        match (proved, pin) {
            (Some((identity, at)), Some(pin)) => {
                for change in pin.differs(identity) {
                    blockers.push(blocker(
                        "identity",
                        &title,
                        format!("{} {}", change.fact, change.is),
                        format!("{} {}", change.fact, change.was),
                        next,
                    ));
                }
                if let Some(why) = stale(at, request) {
                    blockers.push(blocker(
                        "identity",
                        &title,
                        format!("proved, but {why}"),
                        "proved now",
                        "measure again",
                    ));
                }
            }
            (None, _) => blockers.push(blocker(
                "identity",
                &title,
                "its identity could not be proved",
                "a server that answers, or its files",
                next,
            )),
            (_, None) => blockers.push(blocker(
                "identity",
                &title,
                "it was never pinned",
                "pinned by an earlier measurement",
                "measure again",
            )),
        }
    }
    if let Some(destroys) = &request.step.destroys
        && let Some(doomed) = destroys.target.as_ref()
        && let Some((goes, _)) = request.proved.get(doomed)
    {
        for (name, (other, _)) in request.proved {
            if name != doomed && goes.same_object(other) {
                blockers.push(blocker(
                    "identity",
                    "What goes and what stays are two objects",
                    format!("`{doomed}` and `{name}` are one: {}", goes.describe()),
                    "two different objects",
                    "correct the targets' addresses",
                ));
            }
        }
    }
}

/// Subject of the blocker that says that no other copy is proved.
pub const COPY: &str = "copy";
/// How its observation begins when there are checks that should prove it; their ids follow.
pub const NOT_SHOWN_BY: &str = "not shown by ";

fn copy(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let Proof::Guards(ids) = request.proof else { return };
    let proved = ids.iter().any(|id| {
        request.guards.contains(id) && request.evidence.get(id).is_some_and(|e| e.verdict() == Verdict::Pass)
    });
    if !proved {
        let observed = if ids.is_empty() {
            "no guard compares what goes with what stays".to_owned()
        } else {
            format!("{NOT_SHOWN_BY}{}", ids.iter().map(CheckId::as_str).collect::<Vec<_>>().join(", "))
        };
        blockers.push(blocker(
            COPY,
            "The only other copy is proved",
            observed,
            "a data check that passes now",
            "make the copy complete, then measure again",
        ));
    }
}

fn blast(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let blast = request.blast;
    if blast.items.is_empty() {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            "nothing was found that would go",
            "a measured list",
            "check what the step's `destroys` names; perhaps it is gone already",
        ));
    }
    for why in &blast.unmeasured {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            format!("unknown: {why}"),
            "everything measured",
            "make it measurable, then measure again",
        ));
    }
    for why in &blast.serving {
        blockers.push(blocker(
            "serving",
            "What would go is not in use",
            why.clone(),
            "nothing uses it",
            "stop what uses it, or correct the target",
        ));
    }
    if let Some(why) = stale(&blast.at, request) {
        blockers.push(blocker(
            "blast radius",
            "What would go is known",
            format!("measured, but {why}"),
            "measured now",
            "measure again",
        ));
    }
}

fn confirmation(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let wanted = request.step.destroys.as_ref().map(|d| d.what.as_str()).unwrap_or_default();
    let title = "The operator saw what goes and typed its name";
    match request.confirmed {
        None => blockers.push(blocker(
            "confirmation",
            title,
            "nobody has confirmed",
            format!("the text `{wanted}`"),
            "read the list, then type the text",
        )),
        Some(given) if given.text != wanted => blockers.push(blocker(
            "confirmation",
            title,
            "another text was typed",
            format!("the text `{wanted}`"),
            "read the list, then type the text",
        )),
        Some(given) => {
            for why in request.blast.grown_since(&given.blast) {
                blockers.push(blocker(
                    "confirmation",
                    "The list is the one that was confirmed",
                    why,
                    "no more than was shown",
                    "read the new list, then type the text again",
                ));
            }
        }
    }
}

impl Blast {
    /// Digest of what goes: kinds, names and rows, not the moment.
    pub fn digest(&self) -> Digest {
        let lines: Vec<String> = self
            .items
            .iter()
            .map(|i| format!("{}\t{}\t{:?}\t{:?}\n", i.kind, i.name, i.bytes, i.rows))
            .collect();
        Digest::of(lines.concat().as_bytes())
    }

    /// How this list is more than the one shown, in words; empty when it is not.
    pub fn grown_since(&self, shown: &Blast) -> Vec<String> {
        let mut grown = Vec::new();
        for item in &self.items {
            let before = shown.items.iter().find(|s| s.kind == item.kind && s.name == item.name);
            match before {
                None => grown.push(format!("new since: {} {}", item.kind, item.name)),
                Some(before) => {
                    if item.rows > before.rows {
                        grown.push(format!("{} {} has more rows than shown", item.kind, item.name));
                    }
                    let (is, was) = (item.bytes.unwrap_or(0), before.bytes.unwrap_or(0));
                    if is > was.saturating_add((was / 100).max(SLACK_BYTES)) {
                        grown.push(format!("{} {} is larger than shown", item.kind, item.name));
                    }
                }
            }
        }
        if let (Some(now), Some(then)) = (&self.identity, &shown.identity)
            && !then.differs(now).is_empty()
        {
            grown.push("it is another object than the one shown".to_owned());
        }
        grown
    }
}
