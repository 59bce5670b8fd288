//! Does a receipt show the rehearsal that an environment asks for? Pure: every mismatch, at once.
//!
//! Invariant: what cannot be compared is a mismatch. There is no option that leaves one out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::receipt::{Receipt, Script};
use crate::base::{Digest, Span};
use crate::journal::record::Blocker;
use crate::runbook::model::Demand;
use crate::world::Identity;

/// What is to be run now.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The runbook's name.
    pub name: String,
    /// Digest of the runbook file.
    pub runbook: Digest,
    /// Local files that its steps call, as they are now.
    pub called: Vec<Script>,
    /// Version of this program.
    pub engine: String,
    /// The steps, in order.
    pub steps: Vec<String>,
    /// The targets as they are now; or why one could not be measured.
    pub targets: BTreeMap<String, Result<Identity, String>>,
    /// Targets that its steps make: they need not be there yet.
    pub made: BTreeSet<String>,
    /// Names of the variables.
    pub variables: Vec<String>,
    /// Now.
    pub now: Timestamp,
}

/// Everything that does not match; nothing when the receipt will do. `signer` is who signed it, or why nobody counts.
pub fn judge(
    demand: &Demand,
    wanted: &Wanted,
    receipt: &Receipt,
    signer: &Result<String, String>,
) -> Vec<Blocker> {
    let again = format!("rehearse it again in `{}`: holdpoint rehearse … --env {0}", demand.environment);
    let mut all = Vec::new();
    let mut differ = |subject: &str, title: &str, seen: String, wanted: String, next: &str| {
        all.push(Blocker {
            subject: format!("receipt: {subject}"),
            title: title.to_owned(),
            observed: seen,
            expected: wanted,
            next: next.to_owned(),
        });
    };
    if receipt.name != wanted.name || receipt.runbook != wanted.runbook {
        let of = |name: &str, digest: &Digest| format!("{name}, digest {}", digest.short());
        differ(
            "runbook",
            "This very runbook was rehearsed",
            of(&receipt.name, &receipt.runbook),
            of(&wanted.name, &wanted.runbook),
            &again,
        );
    }
    scripts(wanted, receipt, &mut |seen, want| {
        differ("scripts", "The scripts that it calls are the rehearsed ones", seen, want, &again);
    });
    if line(&receipt.engine) != line(&wanted.engine) {
        let want = format!("Holdpoint {}", line(&wanted.engine));
        let next = "rehearse it again with this version, or run it with the rehearsed one";
        differ(
            "engine",
            "It was rehearsed with this program",
            format!("Holdpoint {}", receipt.engine),
            want,
            next,
        );
    }
    if receipt.environment != demand.environment {
        let (seen, want) = (receipt.environment.clone(), demand.environment.clone());
        differ("environment", "It was rehearsed in the right environment", seen, want, &again);
    }
    let names = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    if names(&receipt.variables.names) != names(&wanted.variables) {
        let (seen, want) = (receipt.variables.names.join(", "), wanted.variables.join(", "));
        differ("variables", "It was rehearsed with the same variables", seen, want, &again);
    }
    age(demand, wanted, receipt, &mut |seen| {
        differ("age", "The rehearsal is recent", seen, format!("at most {} ago", demand.max_age), &again);
    });
    targets(wanted, receipt, &mut |name, seen, want, next| {
        let title = format!("Target `{name}` is of the rehearsed kind and major version");
        differ(&format!("target {name}"), &title, seen, want, next);
    });
    steps(demand, wanted, receipt, &mut |step, seen, want| {
        let next = "give the step a `rehearse` stand-in and rehearse it again; or have the runbook's reviewers allow it in \
                    `rehearsal.not_rehearsed`";
        differ(&format!("step {step}"), &format!("Step `{step}` was rehearsed in whole"), seen, want, next);
    });
    if !receipt.whole
        && receipt.not_whole.is_empty()
        && receipt.steps.iter().all(|step| whole(&step.rehearsed))
    {
        let seen = "it says that it is not, and not why".to_owned();
        differ("whole", "The rehearsal was whole", seen, "whole".to_owned(), &again);
    }
    if demand.signed
        && let Err(why) = signer
    {
        let next =
            "have it signed by somebody whom the allowed signers file names: holdpoint rehearse … --sign KEY";
        let want = "a signature by an allowed signer".to_owned();
        differ("signature", "The receipt is signed", why.clone(), want, next);
    }
    if demand.falsified {
        let shown =
            receipt.falsified.as_ref().and_then(|shown| shown.get("all")).and_then(|all| all.as_bool());
        if shown != Some(true) {
            let seen = if receipt.falsified.is_some() { "not of every guard" } else { "it was not tried" };
            let want = "each guard of a destructive step was seen to fail".to_owned();
            let next = "rehearse it again with --falsify";
            differ("falsified", "Its guards can fail", seen.to_owned(), want, next);
        }
    }
    all
}

/// A rehearsal by another major or minor version shows nothing about this one.
fn line(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn scripts(wanted: &Wanted, receipt: &Receipt, differ: &mut dyn FnMut(String, String)) {
    let of = |scripts: &[Script]| -> BTreeMap<String, Option<Digest>> {
        scripts.iter().map(|script| (script.path.clone(), script.digest.clone())).collect()
    };
    let (then, now) = (of(&receipt.called), of(&wanted.called));
    let words = |digest: Option<&Option<Digest>>| match digest {
        None => "not called".to_owned(),
        Some(None) => "could not be read".to_owned(),
        Some(Some(digest)) => format!("digest {}", digest.short()),
    };
    let paths: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    for path in paths {
        let (a, b) = (then.get(path), now.get(path));
        // Two that could not be read are not known to be one.
        if a != b || matches!(a, Some(None)) {
            differ(format!("{path}: {}", words(a)), format!("{path}: {}", words(b)));
        }
    }
}

fn age(demand: &Demand, wanted: &Wanted, receipt: &Receipt, differ: &mut dyn FnMut(String)) {
    let seconds = wanted.now.as_second() - receipt.ended.as_second();
    if seconds < 0 {
        return differ(format!("it ended at {:.0}, which is still to come", receipt.ended));
    }
    let ago = Span::secs(seconds.unsigned_abs());
    if ago.0 > demand.max_age.0 {
        differ(format!("it ended {ago} ago"));
    }
}

/// Kind and, of PostgreSQL, the major version.
fn major(identity: &Identity) -> String {
    match identity {
        Identity::Postgres(pg) => format!("PostgreSQL {}", pg.version / 10_000),
        Identity::Sqlite(_) => "SQLite".to_owned(),
    }
}

fn targets(wanted: &Wanted, receipt: &Receipt, differ: &mut dyn FnMut(&str, String, String, &str)) {
    let again = "rehearse it on a target like this one";
    for (name, now) in &wanted.targets {
        let Some(then) = receipt.targets.iter().find(|target| target.name == *name) else {
            differ(name, "it was not in the rehearsal".to_owned(), "rehearsed".to_owned(), again);
            continue;
        };
        match (now, then.before.as_ref(), then.pinned.as_ref()) {
            (Ok(now), Some(before), _) if major(now) == major(before) => {}
            (Ok(now), Some(before), _) => differ(name, major(before), major(now), again),
            // It is there already, and was made in the rehearsal.
            (Ok(now), None, Some(pinned)) if major(now) == major(pinned) => {}
            (Ok(now), None, pinned) => {
                let then = pinned.map_or_else(|| "it was never there".to_owned(), major);
                differ(name, then, major(now), again);
            }
            (Err(_), None, _) => {}
            // The rehearsal began with what an earlier one had left.
            (Err(_), Some(_), _) if wanted.made.contains(name) => {}
            (Err(why), Some(before), _) => {
                let next = "make it reachable: a run begins on what was rehearsed";
                differ(name, format!("{}; now it is unknown: {why}", major(before)), major(before), next);
            }
        }
    }
}

fn whole(rehearsed: &str) -> bool {
    matches!(rehearsed, "whole" | "stand_in")
}

fn steps(demand: &Demand, wanted: &Wanted, receipt: &Receipt, differ: &mut dyn FnMut(&str, String, String)) {
    for id in &wanted.steps {
        let step = receipt.steps.iter().find(|step| step.id.as_str() == id);
        let allowed = demand.not_rehearsed.contains(id);
        match step {
            Some(step) if whole(&step.rehearsed) || allowed => {}
            Some(step) => {
                let seen = step.how.clone().unwrap_or_else(|| step.rehearsed.clone());
                differ(id, seen, "rehearsed in whole, or allowed in `not_rehearsed`".to_owned());
            }
            None => differ(id, "it was not in the rehearsal".to_owned(), "rehearsed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
