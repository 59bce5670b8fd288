//! Runs one check, or several side by side, with a time limit each, and makes evidence of what they saw. A check that
//! panics, hangs or cannot be built is unknown, never a pass.

use std::time::Duration;

use futures::FutureExt as _;

use super::{Context, Evidence, Outcome, registry};
use crate::base::{CheckId, Span};
use crate::runbook::CheckSpec;

/// The longest a measurement takes when its check sets no `timeout` and its kind has no longer default of its own.
pub const DEFAULT_TIMEOUT: Span = Span::secs(60);

/// Measures one check.
pub async fn measure(id: CheckId, spec: &CheckSpec, cx: &Context) -> Evidence {
    let started = cx.world.clock.now();
    let kind = registry::find(&spec.kind);
    let limit = spec
        .common
        .timeout
        .or_else(|| kind.and_then(|kind| kind.timeout))
        .unwrap_or(DEFAULT_TIMEOUT);
    let outcome = match registry::build(spec) {
        Err(why) => Outcome::unknown(format!("the check could not be set up: {why}"), "a valid check"),
        Ok(check) => {
            let measured = std::panic::AssertUnwindSafe(check.measure(cx)).catch_unwind();
            match tokio::time::timeout(limit.0, measured).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Outcome::unknown("the check itself broke down (a defect in Holdpoint)", "a measurement"),
                Err(_) => Outcome::unknown(format!("no answer within {limit}"), "a measurement in time")
                    .help("find out why it takes so long, or give the check a longer `timeout`"),
            }
        }
    };
    let at = cx.world.clock.now();
    let took = at.since(&started).max(Duration::ZERO);
    Evidence {
        check: id,
        kind: spec.kind.clone(),
        title: cx.secrets.text(&spec.common.title.clone().unwrap_or_else(|| registry::title(spec))),
        outcome: redacted(outcome, cx),
        at,
        took_ms: took.as_millis() as u64,
    }
}

/// Measures several checks at the same time; the answers come in the order of the questions.
pub async fn measure_all(checks: &[(CheckId, &CheckSpec)], cx: &Context) -> Vec<Evidence> {
    futures::future::join_all(checks.iter().map(|(id, spec)| measure(id.clone(), spec, cx))).await
}

fn redacted(mut outcome: Outcome, cx: &Context) -> Outcome {
    let clean = |text: &mut String| *text = cx.secrets.text(text);
    clean(&mut outcome.observed);
    clean(&mut outcome.expected);
    if let Some(help) = outcome.help.as_mut() {
        clean(help);
    }
    outcome.details.iter_mut().for_each(clean);
    for value in outcome.facts.values_mut() {
        if let serde_json::Value::String(text) = value {
            *text = cx.secrets.text(text);
        }
    }
    outcome
}
