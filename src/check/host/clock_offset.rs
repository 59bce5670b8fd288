//! Is this machine's clock right, by a source that is not this machine?

mod sntp;

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::process::Probe;

/// Is this machine's clock right, by a source that is not this machine?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockOffset {
    /// NTP servers to ask, `HOST` or `HOST:PORT`. Without them chrony is asked what it knows from its own.
    #[serde(default)]
    #[schemars(length(min = 1))]
    servers: Option<Vec<String>>,
    /// The largest difference that passes, uncertainty included; 500 ms when not given.
    #[serde(default)]
    at_most: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "clock_offset",
    summary: "this machine's clock is right, by a source that is not this machine",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ClockOffset),
    build,
};

const DOCS: &str = r"
Shows that this machine's clock is right.

**How it is measured.** With `servers` each is asked once by SNTP (RFC 5905): the offset, and how uncertain it is (half of the way
there and back, and what the server says of itself). Without, `chronyc tracking` tells the offset and bounds from chrony's own
sources.

**Passes** when offset and uncertainty together are at most `at_most`. **Fails** when the offset is larger than that even if the
uncertainty is taken off.

**Unknown** when no server answers, a server says that it is not synchronised itself (stratum 16, a warning, a refusal), two
servers disagree by more than they can be wrong, chrony has had no answer for an hour, or the uncertainty is too large to tell.

**Traps.** The kernel's flag for a synchronised clock says that something disciplined it once, not that it is right, and it stays
set when a virtual machine was frozen; so it is not used. A database on this machine has the same clock. After a step by
hand look at leases, certificates, timers and whatever compares times.

```yaml
preconditions:
  - clock_offset: { servers: [ntp1.example.org, ntp2.example.org] }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ClockOffset = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    check.sensible()?;
    Ok(Box::new(check))
}

impl ClockOffset {
    /// Parameters that make sense; for `change_window`, too, which has them.
    pub fn sensible(&self) -> Result<(), String> {
        if self.at_most.is_some_and(|most| most.0.is_zero()) {
            return Err("`at_most` is zero, which no clock is".to_owned());
        }
        if self.servers.as_ref().is_some_and(|servers| servers.iter().all(|name| name.trim().is_empty())) {
            return Err("`servers` names none; leave it out to ask chrony".to_owned());
        }
        Ok(())
    }
}

/// How far a clock is off, and how far that may be wrong, in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Offset {
    source: String,
    /// Positive when this machine is behind.
    seconds: f64,
    uncertain: f64,
}

impl Offset {
    fn words(&self) -> String {
        let way = if self.seconds >= 0.0 { "behind" } else { "ahead of" };
        format!("{:.3} s {way} {} (± {:.3} s)", self.seconds.abs(), self.source, self.uncertain)
    }
}

/// Judges what the sources said. The most certain one counts; the others must not contradict it.
fn judge(mut offsets: Vec<Offset>, most: Span, expected: String) -> Outcome {
    offsets.sort_by(|a, b| a.uncertain.total_cmp(&b.uncertain));
    let Some(best) = offsets.first() else {
        return Outcome::unknown("no source gave an answer", expected).help("name servers that answer");
    };
    let limit = most.0.as_secs_f64();
    for other in offsets.iter().skip(1) {
        if (best.seconds - other.seconds).abs() > best.uncertain + other.uncertain + limit {
            return Outcome::unknown(
                format!("two sources disagree: {}, and {}", best.words(), other.words()),
                expected,
            )
            .help("find out which of the two is wrong, and ask a third");
        }
    }
    let (off, uncertain) = (best.seconds.abs(), best.uncertain);
    let outcome = if off + uncertain <= limit {
        Outcome::pass(best.words(), expected)
    } else if off - uncertain > limit {
        Outcome::fail(best.words(), expected).help(
            "put the clock right, then look at leases, certificates and timers, and measure everything again",
        )
    } else {
        Outcome::unknown(format!("{}: too uncertain to tell", best.words()), expected)
            .help("ask a nearer server, or measure again when the network is quiet")
    };
    let outcome = outcome.fact("offset_seconds", best.seconds).fact("uncertainty_seconds", uncertain);
    offsets.iter().skip(1).fold(outcome, |outcome, other| outcome.detail(other.words()))
}

/// What chrony knows: `chronyc -c tracking`, comma-separated; see its documentation for the fields.
fn chrony(line: &str) -> Result<Offset, String> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let number = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok());
    let (Some(stratum), Some(reference), Some(offset), Some(delay), Some(dispersion), Some(leap)) =
        (number(2), number(3), number(4), number(10), number(11), fields.get(13))
    else {
        return Err("the answer of chronyc cannot be read".to_owned());
    };
    if *leap == "Not synchronised" || stratum == 0.0 || stratum >= 16.0 {
        return Err("chrony is not synchronised".to_owned());
    }
    let age = jiff::Timestamp::now().as_second() as f64 - reference;
    if age.abs() > 3600.0 {
        return Err(format!("chrony has had no answer for {}", Span::secs(age.abs() as u64)));
    }
    // chrony's own bound of the error: dispersion and half of the delay to the reference clock.
    Ok(Offset { source: "chrony's sources".to_owned(), seconds: offset, uncertain: dispersion + delay / 2.0 })
}

#[async_trait]
impl Check for ClockOffset {
    async fn measure(&self, cx: &Context) -> Outcome {
        let most = self.at_most.unwrap_or(Span(Duration::from_millis(500)));
        let expected = format!("at most {most} off");
        if let Some(servers) = &self.servers {
            let asked = servers.iter().map(|server| sntp::ask(server, Duration::from_secs(3)));
            let (mut offsets, mut silent) = (Vec::new(), Vec::new());
            for answer in futures::future::join_all(asked).await {
                match answer {
                    Ok(offset) => offsets.push(offset),
                    Err(why) => silent.push(why),
                }
            }
            if offsets.is_empty() {
                return Outcome::unknown(silent.join("; "), expected)
                    .help("name NTP servers that can be reached from here");
            }
            let outcome = judge(offsets, most, expected);
            return silent.into_iter().fold(outcome, Outcome::detail);
        }
        let argv = ["chronyc", "-c", "tracking"].map(str::to_owned).to_vec();
        let probe = Probe {
            argv,
            env: Default::default(),
            cwd: None,
            user: None,
            timeout: Duration::from_secs(5),
            keep: 4096,
        };
        let help = "start chrony, or name NTP servers to ask with `servers`";
        let done = match cx.world.processes.probe(&probe).await {
            Ok(done) => done,
            Err(why) => {
                return Outcome::unknown(format!("chrony cannot be asked: {why}"), expected).help(help);
            }
        };
        let said = String::from_utf8_lossy(&done.stdout);
        if done.status != Some(0) {
            let why = format!("chrony gives no answer: {}", said.trim());
            return Outcome::unknown(why, expected).help(help);
        }
        match chrony(&said) {
            Ok(offset) => judge(vec![offset], most, expected),
            Err(why) => Outcome::unknown(why, expected).help(help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn offset(seconds: f64, uncertain: f64) -> Offset {
        Offset { source: "x".to_owned(), seconds, uncertain }
    }

    #[test]
    fn uncertainty_never_helps() {
        let verdict = |all: Vec<Offset>| judge(all, Span(Duration::from_millis(500)), String::new()).verdict;
        assert_eq!(verdict(vec![]), Verdict::Unknown);
        assert_eq!(verdict(vec![offset(0.4, 0.05)]), Verdict::Pass);
        assert_eq!(verdict(vec![offset(-540.0, 0.01)]), Verdict::Fail);
        assert_eq!(verdict(vec![offset(0.4, 0.2)]), Verdict::Unknown);
        assert_eq!(verdict(vec![offset(0.6, 0.2)]), Verdict::Unknown);
        assert_eq!(verdict(vec![offset(0.0, 0.01), offset(540.0, 0.02)]), Verdict::Unknown, "who is right?");
        assert_eq!(verdict(vec![offset(540.0, 0.01), offset(540.1, 0.02)]), Verdict::Fail);
    }

    #[test]
    fn chrony_is_believed_only_when_it_is_synchronised_now() {
        let line = |stratum: u32, age: i64, leap: &str| {
            let reference = jiff::Timestamp::now().as_second() - age;
            format!(
                "C0000201,192.0.2.1,{stratum},{reference}.5,0.000012,0.00001,0.00002,-3.1,0.0,0.01,0.002,0.001,64.2,{leap}\n"
            )
        };
        let good = chrony(&line(3, 60, "Normal")).unwrap();
        assert!((good.seconds, good.uncertain) == (0.000_012, 0.002), "{good:?}");
        assert!(chrony(&line(3, 60, "Not synchronised")).is_err());
        assert!(chrony(&line(0, 60, "Normal")).is_err());
        assert!(chrony(&line(3, 7200, "Normal")).unwrap_err().contains("no answer for"));
        assert!(chrony("506 Cannot talk to daemon\n").is_err());
    }
}
