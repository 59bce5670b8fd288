//! Runs one check, or several side by side, with a time limit each, and makes evidence of what they saw. A check that
//! panics, hangs or cannot be built is unknown, never a pass.

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use super::{Context, Evidence, Outcome, registry};
use crate::base::{CheckId, Span};
use crate::runbook::CheckSpec;

/// The longest a measurement takes when its check sets no `timeout` and its kind has no longer default of its own.
pub const DEFAULT_TIMEOUT: Span = Span::secs(60);

/// The longest that a measurement of this check takes.
pub fn limit(spec: &CheckSpec) -> Duration {
    let kind = registry::find(&spec.kind);
    spec.common.timeout.or_else(|| kind.and_then(|kind| kind.timeout)).unwrap_or(DEFAULT_TIMEOUT).0
}

/// Measures one check.
pub async fn measure(id: CheckId, spec: &CheckSpec, cx: &Context) -> Evidence {
    let own = cx.of(&id);
    let cx = own.as_ref().unwrap_or(cx);
    let started = cx.world.clock.now();
    let limit = Span(limit(spec));
    let outcome = match awaited(spec, cx) {
        Some((name, step)) => {
            let observed = format!("`{name}` is not known yet: step `{step}` captures it");
            Outcome::unknown(observed, "a value to compare with")
                .help(format!("nothing yet: it is measured again when `{step}` is done"))
        }
        None => within(limit, spec, cx).await,
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

/// What a check sees, within its time.
async fn within(limit: Span, spec: &CheckSpec, cx: &Context) -> Outcome {
    let check = match registry::build(spec) {
        Ok(check) => check,
        Err(why) => {
            return Outcome::unknown(format!("the check could not be set up: {why}"), "a valid check")
                .help("correct the check in the runbook");
        }
    };
    let measured = std::panic::AssertUnwindSafe(check.measure(cx)).catch_unwind();
    match tokio::time::timeout(limit.0, measured).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            Outcome::unknown("the check itself broke down (a defect in Holdpoint)", "a measurement")
        }
        Err(_) => Outcome::unknown(format!("no answer within {limit}"), "a measurement in time")
            .help("find out why it takes so long, or give the check a longer `timeout`"),
    }
}

/// Parameters that are scripts: there `${name}` is the shell's, and stays.
const SCRIPTS: [&str; 3] = ["run", "send", "receive"];

/// A variable that still stands in a check's parameters, and the step that captures it. What would be compared with its
/// name would fail, and say nothing.
fn awaited<'c>(spec: &CheckSpec, cx: &'c Context) -> Option<(&'c str, &'c str)> {
    fn names(value: &Value, name: &str) -> bool {
        match value {
            Value::String(text) => text.contains(name),
            Value::Array(items) => items.iter().any(|item| names(item, name)),
            Value::Object(map) => map.values().any(|inner| names(inner, name)),
            _ => false,
        }
    }
    let script = |key: &str, value: &Value| value.is_string() && SCRIPTS.contains(&key);
    let each = cx.captures.iter().find(|(name, _)| {
        let name = format!("${{{name}}}");
        spec.params.iter().any(|(key, value)| !script(key, value) && names(value, &name))
    });
    each.map(|(name, step)| (name.as_str(), step.as_str()))
}

/// Measures several checks at the same time; the answers come in the order of the questions.
pub async fn measure_all(checks: &[(CheckId, &CheckSpec)], cx: &Context) -> Vec<Evidence> {
    side_by_side(checks.iter().map(|(id, spec)| measure(id.clone(), spec, cx))).await
}

/// How many measurements begin at once.
const WAVE: usize = 16;
/// When none has ended for this long, as many more begin as are under way.
const PATIENCE: Duration = Duration::from_millis(5);

/// Does all of it at the same time; results come in the order of the questions. Quick ones by the thousand take turns,
/// so that they need no thread each; slow ones wait for nobody.
pub async fn side_by_side<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting = all.into_iter().enumerate().peekable();
    let mut running = FuturesUnordered::new();
    let mut done = Vec::new();
    let mut room = WAVE;
    loop {
        while running.len() < room
            && let Some((nth, one)) = waiting.next()
        {
            running.push(async move { (nth, one.await) });
        }
        tokio::select! {
            biased;
            next = running.next() => match next {
                Some(ended) => done.push(ended),
                None => break,
            },
            () = tokio::time::sleep(PATIENCE), if waiting.peek().is_some() => room += running.len(),
        }
    }
    done.sort_unstable_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, one)| one).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn what_is_captured_later_is_said_to_be_unknown_yet() {
        let spec = |params: Value| -> CheckSpec {
            serde_json::from_value(serde_json::json!({ "command": params })).unwrap()
        };
        let cx = Context {
            captures: std::sync::Arc::new([("last".to_owned(), "stop-old".to_owned())].into()),
            ..Context::local(crate::world::World::local())
        };
        let asks = spec(serde_json::json!({ "run": ["echo", "x"], "stdout": { "equals": "${last}" } }));
        let seen = measure("drop.pre.command".into(), &asks, &cx).await;
        assert_eq!(seen.outcome.observed, "`last` is not known yet: step `stop-old` captures it");
        assert_eq!(seen.outcome.verdict, super::super::Verdict::Unknown, "it was compared with nothing");
        assert!(!seen.outcome.expected.contains("${"), "{seen:?}");
        // In a script it is the shell's own, and a captured value stands in the place of its name.
        for params in [
            serde_json::json!({ "run": "last=x; echo ${last}", "stdout": { "equals": "x" } }),
            serde_json::json!({ "run": ["echo", "x"], "stdout": { "equals": "x" } }),
        ] {
            let seen = measure("drop.pre.command".into(), &spec(params), &cx).await;
            assert_eq!(seen.outcome.verdict, super::super::Verdict::Pass, "{seen:?}");
        }
    }

    #[tokio::test]
    async fn slow_ones_do_not_wait_for_each_other_and_quick_ones_take_turns() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let one = |nth: usize, pause: Duration| {
            let (running, most) = (&running, &most);
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                if pause.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(pause).await;
                }
                running.fetch_sub(1, Ordering::Relaxed);
                nth
            }
        };
        let all: Vec<usize> = (0..1000).collect();
        let quick = side_by_side(all.iter().map(|nth| one(*nth, Duration::ZERO))).await;
        assert_eq!((&quick, most.swap(0, Ordering::Relaxed)), (&all, WAVE));
        let began = Instant::now();
        let slow = Duration::from_millis(500);
        assert_eq!(side_by_side(all.iter().map(|nth| one(*nth, slow))).await, all);
        assert!(began.elapsed() < 3 * slow, "{:?}", began.elapsed());
        assert!(side_by_side(std::iter::empty::<std::future::Ready<()>>()).await.is_empty());
    }
}
