//! Was this machine's clock stepped, or the machine suspended, since we looked last?

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::history::{self, Keep};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::{clock, host};

/// Was this machine's clock stepped, or the machine suspended, since we looked last?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockSteady {
    /// The largest step, and the longest suspension, that pass; 1 s when not given.
    #[serde(default)]
    at_most: Option<Span>,
    /// How far back it looks; one day when not given.
    #[serde(default)]
    within: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "clock_steady",
    summary: "the clock was not stepped, and the machine not suspended, since it was looked at last",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ClockSteady),
    build,
};

const DOCS: &str = r"
Shows that this machine's clock went on evenly since the last look: it was not set, and the machine was not suspended.

**How it is measured.** The wall clock is compared with the boot clock, which nobody can set; the boot clock, which counts
suspension, with the monotonic one, which does not. How far each pair is apart is kept from look to look, and must not change.

**Passes** when neither has changed by more than `at_most` over the looks of the last `within` (a day). **Fails** when one has: it
says when it was last seen otherwise.

**Unknown** with only one look so far, or after a reboot: a step before the first look cannot be seen.

**Traps.** After a step or a suspension leases, certificates, timers, tokens and replication are to be looked at again; a
measurement made before it is no evidence. A virtual machine that its host froze has lost time on every clock alike: only
`clock_offset` sees that. Steering by chrony or ntpd (at most 500 millionths) stays below a second for half an hour, and is taken off.

```yaml
preconditions:
  - clock_steady: { at_most: 2s }
```
";

/// What a steered clock may drift from the boot clock: ntpd's largest rate.
const STEERING: f64 = 500e-6;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ClockSteady = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_most.is_some_and(|most| most.0.is_zero())
        || check.within.is_some_and(|within| within.0.is_zero())
    {
        return Err("zero is no threshold".to_owned());
    }
    Ok(Box::new(check))
}

/// How far apart the clocks are, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Apart {
    wall: i64,
    suspended: u64,
}

#[async_trait]
impl Check for ClockSteady {
    async fn measure(&self, cx: &Context) -> Outcome {
        let most = self.at_most.unwrap_or(Span::secs(1));
        let within = self.within.unwrap_or(Span::secs(86_400));
        let expected = format!("no step and no suspension of more than {most} within {within}");
        let now = cx.world.clock.now();
        let is = Apart {
            wall: now.wall.as_millisecond() - now.boot_ms as i64,
            suspended: clock::suspended().as_millis() as u64,
        };
        let keep = Keep { reach: within, closest: Span::secs(10), most: 500 };
        let series = history::add(cx, &format!("clock {}", host::machine_id()), is, keep).await;
        let outcome = match series.samples.as_slice() {
            [] | [_] => Outcome::unknown("this is the first look since the machine started", expected)
                .help("look again; between looks of other sessions `holdpoint check --samples` remembers"),
            samples => {
                let limit = most.0.as_millis() as f64;
                let worst = samples.windows(2).filter_map(|pair| match pair {
                    [a, b] => {
                        let passed = b.boot_ms.saturating_sub(a.boot_ms);
                        let step = (b.value.wall - a.value.wall) as f64;
                        let step = step.signum() * (step.abs() - passed as f64 * STEERING).max(0.0);
                        let slept = b.value.suspended.saturating_sub(a.value.suspended) as f64;
                        Some((step, slept, now.boot_ms.saturating_sub(b.boot_ms)))
                    }
                    _ => None,
                });
                let worst = worst.max_by(|a, b| a.0.abs().max(a.1).total_cmp(&b.0.abs().max(b.1)));
                let (step, slept, ago) = worst.unwrap_or((0.0, 0.0, 0));
                let seconds = |ms: f64| format!("{:.1} s", ms.abs() / 1000.0);
                let when = Span(Duration::from_secs(ago / 1000));
                let observed = match (step.abs() > limit, slept > limit) {
                    (false, false) => format!("steady over {} looks", samples.len()),
                    (true, _) if step > 0.0 => {
                        format!("the clock was put forward by {}, seen {when} ago", seconds(step))
                    }
                    (true, _) => format!("the clock was put back by {}, seen {when} ago", seconds(step)),
                    (false, true) => {
                        format!("the machine was suspended for {}, seen {when} ago", seconds(slept))
                    }
                };
                Outcome::judge(step.abs() <= limit && slept <= limit, observed, expected)
                    .help(
                        "look at leases, certificates, timers and replication, and measure everything again",
                    )
                    .fact("step_seconds", step / 1000.0)
                    .fact("suspended_seconds", slept / 1000.0)
            }
        };
        series.trouble.into_iter().fold(outcome, Outcome::detail)
    }
}
