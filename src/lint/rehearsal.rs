//! What environments say about rehearsals: where, which proofs, how long a watch is.

use std::ops::Range;

use super::{Facts, Places};
use crate::base::text::nearest;
use crate::problem::Problem;
use crate::runbook::{CheckSpec, Runbook};

/// Judges what stands under `environments`, and watches that a rehearsal shortens.
pub(super) fn judge(runbook: &Runbook, facts: Facts<'_>, places: &Places<'_>, problems: &mut Vec<Problem>) {
    for (name, environment) in &runbook.environments {
        let at = |path: &str| places.doc.place(&format!("environments.{name}.{path}")).unwrap_or(0..0);
        for (nth, check) in environment.proof.iter().enumerate() {
            proof(check, facts, at(&format!("proof[{nth}]")), problems);
        }
        let Some(demand) = &environment.rehearsal else { continue };
        let range = at("rehearsal.environment");
        let place = &demand.environment;
        match runbook.environments.get(place) {
            None => {
                let message = format!("no environment is called `{place}`");
                let near = nearest(place, runbook.environments.keys().map(String::as_str));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare `{place}` under `environments`"),
                };
                problems.push(Problem::error("HP033", message, range).help(help));
            }
            Some(_) if place == name => {
                let message = format!("`{name}` is to be rehearsed in itself");
                let help = "name an environment of its own, such as staging";
                problems.push(Problem::error("HP085", message, range).help(help));
            }
            Some(there) if there.protected => {
                let message = format!("`{place}` is protected: nothing is rehearsed there");
                let help = "name an environment of its own, such as staging";
                problems.push(Problem::error("HP085", message, range).help(help));
            }
            Some(_) => {}
        }
    }
    for (at, step) in runbook.steps.iter().enumerate() {
        if let Some(soak) = &step.soak
            && soak.rehearse_for.is_some_and(|short| short.0 >= soak.length.0)
        {
            let message = format!("`rehearse_for` does not shorten the watch of `{}`", step.id);
            let range = places.key(at, "soak.rehearse_for");
            problems.push(
                Problem::error("HP051", message, range).help("make it shorter than `for`, or leave it out"),
            );
        }
    }
}

fn proof(check: &CheckSpec, facts: Facts<'_>, range: Range<usize>, problems: &mut Vec<Problem>) {
    let common = &check.common;
    let idle = [
        ("until", "HP046", common.until.is_some()),
        ("on_violation", "HP047", common.on_violation.is_some()),
        ("every", "HP047", common.every.is_some()),
        ("wait_up_to", "HP077", common.wait_up_to.is_some()),
        ("advisory", "HP041", common.advisory),
        ("waivable", "HP051", common.waivable),
    ];
    for (key, code, _) in idle.into_iter().filter(|(_, _, given)| *given) {
        let message = format!("`{key}` has no meaning for a proof: it has to pass");
        problems.push(Problem::error(code, message, range.clone()).help("leave it out"));
    }
    match facts(check) {
        Err(why) if !super::proof::unresolved(check) => {
            problems.push(Problem::error("HP054", format!("`{}`: {why}", check.kind), range));
        }
        Ok(facts) if facts.recorded.is_some() => {
            let message =
                format!("`{}` compares with a record, and there is none before the first step", check.kind);
            problems.push(Problem::error("HP026", message, range).help("prove the place by something else"));
        }
        _ => {}
    }
}
