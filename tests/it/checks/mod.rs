//! Every check in real situations: one that passes, one that fails, one that cannot be measured. A family that lacks one
//! of the three for a check does not pass [`every_check_has_its_three_verdicts`].

mod application;
mod backups;
mod clock;
mod containers;
mod corruption;
mod data;
mod horizon;
mod host;
mod locks;
mod network;
mod own;
mod people;
mod replication;
mod server;
mod storage;
mod upgrade;

use std::sync::Arc;

use holdpoint::check::measure::measure;
use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::runbook::{CheckSpec, Target};
use holdpoint::world::World;
use serde_json::{Value, json};

use crate::harness::{Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    for family in [
        data::register,
        upgrade::register,
        storage::register,
        containers::register,
        backups::register,
        replication::register,
        server::register,
        horizon::register,
        corruption::register,
        locks::register,
        host::register,
        network::register,
        people::register,
        application::register,
        own::register,
    ] {
        family(r);
    }
    let names = r.names();
    r.add("check::every_check_has_its_three_verdicts", &[], move || {
        every_check_has_its_three_verdicts(&names)
    });
}

/// Words with which a check's page says that no test makes it fail for real, and why.
const NOT_SHOWN: &str = "**No failing case was made for real.**";

fn every_check_has_its_three_verdicts(names: &[String]) {
    let mut missing = Vec::new();
    for kind in holdpoint::check::registry::all() {
        for verdict in ["pass", "fail", "unknown"] {
            let test = format!("check::{}::{verdict}", kind.name);
            let there = names.iter().any(|name| *name == test || name.starts_with(&format!("{test}_")));
            let excused = verdict == "fail" && kind.docs.contains(NOT_SHOWN);
            if !there && !excused {
                missing.push(test);
            }
        }
    }
    assert!(missing.is_empty(), "no test shows:\n{}", missing.join("\n"));
}

/// A context with these targets.
pub fn context<'a>(targets: impl IntoIterator<Item = (&'a str, Target)>) -> Context {
    let targets = targets.into_iter().map(|(name, target)| (name.to_owned(), target)).collect();
    Context { targets: Arc::new(targets), ..Context::local(World::local()) }
}

/// Measures a check once.
pub fn look(cx: &Context, kind: &str, params: Value) -> Outcome {
    let spec: CheckSpec = serde_json::from_value(json!({ kind: params })).unwrap();
    block_on(measure("step.pre.it".into(), &spec, cx)).outcome
}

/// Asserts what a good outcome is: the verdict, words in what was observed, both sides told, and help unless it passes.
#[track_caller]
pub fn is(outcome: &Outcome, verdict: Verdict, words: &str) {
    assert!(
        outcome.verdict == verdict && outcome.observed.contains(words),
        "wanted {verdict:?} `{words}`: {outcome:#?}"
    );
    assert!(!outcome.observed.trim().is_empty() && !outcome.expected.trim().is_empty(), "{outcome:#?}");
    let helps = outcome.help.is_some() || verdict == Verdict::Pass;
    assert!(helps, "help is missing: {outcome:#?}");
}

/// Registers `check::KIND::pass`, `::fail` or `::unknown`: a real situation in which the check gives this verdict. The
/// function measures and returns what the check said, once or several times; at least one outcome, all of that verdict.
pub fn verdict(
    r: &mut Registry,
    kind: &'static str,
    verdict: Verdict,
    needs: &[Need],
    scene: impl FnOnce() -> Vec<Outcome> + Send + 'static,
) {
    let word = verdict.word().to_lowercase();
    r.add(&format!("check::{kind}::{word}"), needs, move || {
        let seen = scene();
        assert!(!seen.is_empty(), "nothing was measured");
        for outcome in &seen {
            is(outcome, verdict, "");
        }
    });
}
