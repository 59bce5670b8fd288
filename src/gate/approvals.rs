//! Approvals by other people: for exactly what a permit would rest on, by somebody who neither drives the run nor, where
//! the environment is protected, last changed the runbook.
//!
//! Invariants: what is more than approved, or other, voids an approval; one person counts once, under whatever names and
//! keys; a rejection stands until who rejected lifts it.

use std::time::Duration;

use super::clock::{Clock, Term};
use super::rules::{CONFIRMATION, blocker};
use super::{Request, identity_changes};
use crate::journal::record::Blocker;
use crate::journal::second::{Content, Person};

/// Subject of the blocker that says that approvals are missing: what a second person takes away.
pub const APPROVAL: &str = "approval";
/// Subject of the blocker that says that somebody rejected it.
pub const REJECTION: &str = "rejection";
/// The longest that an approval may be given for.
pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// What the run asks for, and what people said.
#[derive(Debug, Clone, Default)]
pub struct Approvals {
    /// How many people must approve.
    pub wanted: u32,
    /// Only signed ones count.
    pub signed: bool,
    /// Who drives.
    pub operator: Person,
    /// Who may not approve because they wrote the runbook.
    pub author: Authorship,
    /// What was said, in order.
    pub given: Vec<Given>,
}

/// Who last changed the runbook, where that matters.
#[derive(Debug, Clone, Default)]
pub enum Authorship {
    /// It does not matter here.
    #[default]
    Free,
    /// Nobody knows, because …
    Unknown(String),
    /// Them.
    Known(Person),
}

/// What somebody said.
#[derive(Debug, Clone)]
pub struct Given {
    /// Who, as the journal has it.
    pub by: String,
    /// Who that is.
    pub person: Person,
    /// How that is known.
    pub proven: Proven,
    /// What.
    pub says: Says,
}

/// How it is known who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proven {
    /// They say so.
    Claimed,
    /// Their key signed it.
    Signed,
    /// There is a signature, and it does not hold, because …
    Broken(String),
}

/// What can be said about a destruction.
#[derive(Debug, Clone)]
pub enum Says {
    /// Yes.
    Approves {
        /// To this; `None` for something that is not on record.
        content: Option<Box<Content>>,
        /// Given when, until when.
        term: Term,
        /// The attempt that used it up.
        used: Option<u32>,
    },
    /// No.
    Rejects {
        /// Why.
        reason: String,
    },
    /// What I said before is taken back.
    Withdraws,
}

/// What all of it comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Judged {
    /// Approvals that count, one a person.
    pub counted: Vec<String>,
    /// Approvals that do not: whose, and why.
    pub void: Vec<(String, String)>,
    /// Rejections that stand: whose, and why.
    pub rejected: Vec<(String, String)>,
}

impl Approvals {
    /// Judges what was said. With `now`, what a permit would rest on, an approval for anything less is void.
    pub fn judge(&self, now: Option<&Content>, clock: &Clock<'_>) -> Judged {
        let mut judged = Judged::default();
        let mut people: Vec<&Person> = Vec::new();
        for given in self.standing() {
            match &given.says {
                Says::Rejects { reason } => judged.rejected.push((given.by.clone(), reason.clone())),
                Says::Withdraws => {}
                Says::Approves { content, term, used } => {
                    let why = match (content, used) {
                        (_, Some(attempt)) => Some(format!("it was used by attempt {attempt}")),
                        (None, _) => Some("it is for something that was never on record".to_owned()),
                        (Some(content), None) => self
                            .refuses(&given.person, &given.proven)
                            .or_else(|| clock.over(term, LONGEST))
                            .or_else(|| now.and_then(|now| drift(content, now).into_iter().next())),
                    };
                    match why {
                        Some(why) => judged.void.push((given.by.clone(), why)),
                        None if people.iter().any(|person| person.same(&given.person)) => {
                            let why = "the same person has approved already".to_owned();
                            judged.void.push((given.by.clone(), why));
                        }
                        None => {
                            people.push(&given.person);
                            let how = if given.proven == Proven::Signed { ", signed" } else { "" };
                            judged.counted.push(format!("{}{how}", given.by));
                        }
                    }
                }
            }
        }
        judged
    }

    /// Why this person's approval does not count here, whatever it is for.
    pub fn refuses(&self, person: &Person, proven: &Proven) -> Option<String> {
        match (proven, &self.author) {
            (Proven::Broken(why), _) => return Some(format!("its signature does not hold: {why}")),
            (Proven::Claimed, _) if self.signed => {
                return Some("it is not signed, and this environment wants it signed".to_owned());
            }
            (Proven::Claimed, Authorship::Unknown(why)) => {
                return Some(format!(
                    "nobody knows who last changed the runbook ({why}), so only a signed one counts"
                ));
            }
            (_, Authorship::Known(author)) if author.same(person) => {
                return Some("they last changed the runbook".to_owned());
            }
            _ => {}
        }
        self.operator.same(person).then(|| "they drive the run".to_owned())
    }

    /// What of it stands: each person's last word.
    fn standing(&self) -> Vec<&Given> {
        let mut standing: Vec<&Given> = Vec::new();
        for given in &self.given {
            let yes = |given: &Given| matches!(given.says, Says::Approves { .. });
            let proved = |before: &Given| before.proven == Proven::Claimed || given.proven == Proven::Signed;
            let broken = matches!(given.proven, Proven::Broken(_));
            // A no takes a yes away whoever can be believed; a no that was signed is lifted by that key alone.
            let lifts = |before: &Given| match (yes(before), yes(given)) {
                (true, false) => true,
                _ => !broken && (proved(before) || matches!(before.proven, Proven::Broken(_))),
            };
            standing.retain(|before| !(before.person.same(&given.person) && lifts(before)));
            if !matches!(given.says, Says::Withdraws) {
                standing.push(given);
            }
        }
        standing
    }
}

/// What a permit would rest on, as an approval has it.
pub fn content(request: &Request<'_>) -> Content {
    let targets = request.needs.iter().filter_map(|name| {
        let (identity, _) = request.proved.get(name)?;
        Some((name.clone(), identity.clone()))
    });
    Content {
        run: request.run.clone(),
        step: request.step.key(),
        undo: request.undo,
        text: request.destroys().map(|destroys| destroys.what.clone()).unwrap_or_default(),
        runbook: request.runbook.clone(),
        scripts: request.scripts.files.clone(),
        vars: request.vars.clone(),
        targets: targets.collect(),
        guards: request.guards.iter().map(|guard| guard.id.clone()).collect(),
        waived: super::rules::waived(request),
        blast: request.blast.clone(),
    }
}

/// How things are other than approved, or more; empty when they are not.
pub fn drift(approved: &Content, now: &Content) -> Vec<String> {
    let mut all = Vec::new();
    let mut other = |differs: bool, what: &str| {
        if differs {
            all.push(format!("it is for {what}"));
        }
    };
    other(approved.run != now.run, "another run");
    other(approved.step != now.step, "another step");
    other(approved.undo != now.undo, if approved.undo { "undoing the step" } else { "the step's work" });
    other(approved.text != now.text, "something else that goes");
    other(approved.runbook != now.runbook, "another runbook");
    let paths = approved.scripts.keys().chain(now.scripts.keys());
    if let Some(path) = paths.into_iter().find(|path| approved.scripts.get(*path) != now.scripts.get(*path)) {
        all.push(format!("it is for another script `{path}`"));
    }
    let names = approved.vars.keys().chain(now.vars.keys());
    if let Some(name) = names.into_iter().find(|name| approved.vars.get(*name) != now.vars.get(*name)) {
        all.push(format!("since then the variable `{name}` has another value"));
    }
    for (name, identity) in &now.targets {
        match approved.targets.get(name) {
            None => all.push(format!("it does not name the target `{name}`")),
            Some(then) => all.extend(identity_changes(name, then, identity).into_iter().map(|change| {
                format!("since then `{name}` is another: {} instead of {}", change.observed, change.expected)
            })),
        }
    }
    if let Some(guard) = now.guards.iter().find(|guard| !approved.guards.contains(guard)) {
        all.push(format!("it does not name the check {guard}"));
    }
    if let Some(guard) = now.waived.iter().find(|guard| !approved.waived.contains(guard)) {
        all.push(format!("since then {guard} does not pass, and is waived"));
    }
    if let Some(guard) = approved.guards.iter().find(|guard| !now.guards.contains(guard)) {
        all.push(format!("since then {guard} guards it no longer"));
    }
    if let Some(name) = approved.targets.keys().find(|name| !now.targets.contains_key(*name)) {
        all.push(format!("since then the target `{name}` is gone"));
    }
    all.extend(now.blast.grown_since(&approved.blast).into_iter().map(|why| format!("since then: {why}")));
    all
}

/// Blockers of approvals that are missing, and of rejections.
pub(super) fn missing(request: &Request<'_>, blockers: &mut Vec<Blocker>) {
    let approvals = request.approvals;
    let now = content(request);
    let judged = approvals.judge(Some(&now), &request.clock());
    for (by, reason) in &judged.rejected {
        blockers.push(blocker(
            REJECTION,
            "Nobody else says no",
            format!("{by} rejects it: {reason}"),
            "no rejection that stands",
            &format!("talk to {by}, who alone can withdraw it"),
        ));
    }
    let have = judged.counted.len();
    if have >= approvals.wanted as usize {
        return;
    }
    let void = judged.void.iter().map(|(by, why)| format!("; that of {by} does not count: {why}"));
    let author = match approvals.author {
        Authorship::Free => "",
        _ => ", and not the runbook's last author",
    };
    let signed = if approvals.signed { ", signed" } else { "" };
    let undo = if request.undo { " --undo" } else { "" };
    // They are asked to approve what would really happen: that is known once nothing else stands in the way.
    let others = blockers.iter().any(|b| b.subject != CONFIRMATION && b.subject != REJECTION);
    let next = match others {
        true => "put everything else right first; then other people are asked".to_owned(),
        false => {
            let (run, step) = (request.run, request.step.key());
            format!("ask somebody else to read it: `holdpoint approve {run} {step}{undo}`")
        }
    };
    let count = crate::base::text::count(approvals.wanted.into(), "person", "people");
    blockers.push(blocker(
        APPROVAL,
        "Other people approve what goes",
        format!("{have} of {} approve{}", approvals.wanted, void.collect::<String>()),
        format!("{count} other than the operator{author}{signed}"),
        &next,
    ));
}
