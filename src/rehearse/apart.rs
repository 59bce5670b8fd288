//! Are these the targets of staging, and of nothing protected? Pure: it judges what was looked at before.
//!
//! Invariants: what could not be compared is a blocker, unless a proof of the environment's own is measured instead; and
//! where nothing at all tells staging from anything else, nothing is rehearsed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::operator::{BeforeDestruction, Then};
use super::places::{Place, Side, real};
use crate::engine::event::Question;
use crate::journal::record::{Blast, Blocker};
use crate::world::Identity;

/// How two targets were told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The target in the rehearsal.
    pub target: String,
    /// What it was compared with: `production.old`.
    pub with: String,
    /// How, and what came of it.
    pub how: String,
}

/// Something that must never be touched by a rehearsal.
#[derive(Debug, Clone)]
pub struct Protected {
    /// What it is: `old in production`, `old, pinned by run …`.
    pub what: String,
    /// Which object it is.
    pub identity: Identity,
}

/// What came of the comparison.
#[derive(Debug, Clone, Default)]
pub struct Apart {
    /// Every pair.
    pub compared: Vec<Compared>,
    /// What weakens the proof.
    pub weaknesses: Vec<String>,
    /// What forbids the rehearsal.
    pub blockers: Vec<Blocker>,
    /// What must not be touched.
    pub protected: Vec<Protected>,
    /// Files and directories that must not be touched.
    pub paths: Vec<(String, PathBuf)>,
}

/// Compares the targets of a rehearsal with everything protected. `pinned` is what runs in protected environments worked
/// on; `proofs` says how many proofs of its own the environment has.
pub fn judge(staging: &Place, others: &[Place], pinned: Vec<Protected>, proofs: usize) -> Apart {
    let mut apart = Apart { protected: pinned, ..Apart::default() };
    for side in &staging.targets {
        for known in &apart.protected {
            if let Ok(identity) = &side.identity
                && one(identity, &known.identity)
            {
                let seen = format!("it is {}: {}", known.what, identity.describe());
                apart.blockers.push(blocker(&side.target, seen));
            }
        }
    }
    for other in others {
        for (mine, theirs) in staging.targets.iter().flat_map(|a| other.targets.iter().map(move |b| (a, b))) {
            compare(&mut apart, mine, theirs, other, proofs > 0);
        }
        for theirs in other.paths.iter().filter(|_| other.here) {
            for mine in staging.paths.iter().filter(|mine| within(mine, theirs)) {
                let seen = format!(
                    "{} is, or holds, {} of `{}`",
                    mine.display(),
                    theirs.display(),
                    other.environment
                );
                apart.blockers.push(blocker("paths", seen));
            }
            apart.paths.push((format!("a path of `{}`", other.environment), theirs.clone()));
        }
        for name in other.containers.intersection(&staging.containers).filter(|_| other.here) {
            let seen = format!("{name} would go, which is one of `{}`", other.environment);
            apart.blockers.push(blocker("containers", seen));
        }
        let measured = other.targets.iter().filter_map(|side| Some((side, side.identity.as_ref().ok()?)));
        apart.protected.extend(measured.map(|(side, identity)| Protected {
            what: format!("`{}` of `{}`", side.target, other.environment),
            identity: identity.clone(),
        }));
    }
    if proofs == 0 {
        apart.weaknesses.push(format!(
            "`{}` has no `proof` of its own: only comparison says that it is not production",
            staging.environment
        ));
    }
    if proofs == 0 && others.is_empty() {
        apart.blockers.push(Blocker {
            subject: "environment".to_owned(),
            title: format!("`{}` is known not to be production", staging.environment),
            observed: "no environment of the runbook is protected, and this one has no proof of its own"
                .to_owned(),
            expected: "something that tells them apart".to_owned(),
            next: "declare the real environment with `protected: true`, or give this one a `proof`"
                .to_owned(),
        });
    }
    apart.blockers.dedup();
    apart
}

fn compare(apart: &mut Apart, mine: &Side, theirs: &Side, other: &Place, proved: bool) {
    let with = format!("{}.{}", other.environment, theirs.target);
    let how = match (&mine.identity, &theirs.identity) {
        (Ok(a), Ok(b)) if one(a, b) => {
            let seen = format!("it is `{}` of `{}`: {}", theirs.target, other.environment, a.describe());
            apart.blockers.push(blocker(&mine.target, seen));
            "identities: one object"
        }
        (Ok(_), Ok(_)) => "identities: two objects",
        _ if mine.local && theirs.local && !other.here => "hosts: the other one is on another machine",
        _ => {
            match (&mine.address, &theirs.address) {
                (Some(a), Some(b)) if a.is_disjoint(b) => {
                    "addresses: they differ, and one of them was not measured"
                }
                (Some(a), Some(b)) => {
                    let address = a.intersection(b).cloned().collect::<Vec<_>>().join(", ");
                    let seen = format!(
                        "its address is that of `{}` of `{}`: {address}",
                        theirs.target, other.environment
                    );
                    apart.blockers.push(blocker(&mine.target, seen));
                    "addresses: the same"
                }
                _ if proved => {
                    apart.weaknesses.push(format!(
                        "`{}` could not be compared with `{with}`: its address is not known here",
                        mine.target
                    ));
                    "not compared: an address is not known here"
                }
                _ => {
                    apart.blockers.push(Blocker {
                    expected: format!("an address of `{with}` to compare with"),
                    next: "give the variables of its address a value in `environments`, or give `proof` to the \
                           environment that is rehearsed in"
                        .to_owned(),
                    ..blocker(&mine.target, format!("it cannot be compared with `{with}`: an address is not known here"))
                });
                    "not compared: an address is not known here"
                }
            }
        }
    };
    apart.compared.push(Compared { target: mine.target.clone(), with, how: how.to_owned() });
}

fn blocker(target: &str, observed: String) -> Blocker {
    Blocker {
        subject: target.to_owned(),
        title: format!("Target `{target}` is staging's own"),
        observed,
        expected: "an object that nothing protected works on".to_owned(),
        next: "give the environments values that tell them apart (a host, a port, a path), or name the machines of the \
               protected one with `hosts`"
            .to_owned(),
    }
}

/// One and the same object; also when it is reached in two ways. A server that was started at the same microsecond with
/// the same system identifier is the same one. Where one is stopped, equal directories have to do.
fn one(a: &Identity, b: &Identity) -> bool {
    if a.same_object(b) {
        return true;
    }
    match (a, b) {
        (Identity::Postgres(a), Identity::Postgres(b)) => {
            let running = !a.server_start.is_empty() && !b.server_start.is_empty();
            a.system_identifier == b.system_identifier
                && if running {
                    a.server_start == b.server_start
                } else {
                    a.data_directory == b.data_directory
                }
        }
        _ => false,
    }
}

fn within(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Looks once more in front of a destruction: at what was measured as going.
#[async_trait]
impl BeforeDestruction for Apart {
    async fn look(&self, _: &Question, blast: &Blast) -> Result<Then, String> {
        for known in &self.protected {
            if blast.identity.as_ref().is_some_and(|identity| one(identity, &known.identity)) {
                return Err(format!("what would go is {}", known.what));
            }
        }
        for item in blast.items.iter().filter(|item| item.name.starts_with('/')) {
            let path = real(Path::new(&item.name));
            if let Some((what, theirs)) = self.paths.iter().find(|(_, theirs)| within(&path, theirs)) {
                return Err(format!(
                    "{} would go, which is, or holds, {what}: {}",
                    item.name,
                    theirs.display()
                ));
            }
        }
        Ok(Then::Go)
    }
}

#[cfg(test)]
mod tests;
