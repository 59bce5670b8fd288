//! Do the named standbys stream, seen from both ends?

mod primary;
mod standby;

use async_trait::async_trait;
use futures::future::join_all;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::text::count;
use crate::base::{Size, Span};
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::params::{Count, Flag};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Do the named standbys stream, seen from both ends?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicationStreaming {
    /// The server that the standbys stream from: the primary, or with `cascade` a standby.
    #[schemars(extend("format" = "target"))]
    primary: String,
    /// Every standby that must stream, by its `application_name` (`cluster_name` of the standby unless its
    /// `primary_conninfo` says another).
    #[schemars(length(min = 1))]
    standbys: Vec<String>,
    /// Targets that are standbys, to be asked themselves, too: what the primary believes is only half of it.
    #[serde(default)]
    standby_targets: Vec<TargetName>,
    /// Most WAL that a standby may still have to replay; 64MiB when not given.
    #[serde(default = "max_lag")]
    max_lag: Size,
    /// The longest that replay may be behind; 60s when not given.
    #[serde(default = "a_minute")]
    max_delay: Span,
    /// The longest that nothing may have been heard from the other side; 60s when not given. On an idle link messages
    /// come every 10 to 30 s with default settings.
    #[serde(default = "a_minute")]
    max_silence: Span,
    /// How many of the named standbys must be synchronous (`sync` or `quorum`); not asked when not given.
    #[serde(default)]
    synchronous: Option<Count>,
    /// True when the server named as `primary` is meant to be a standby that passes its WAL on. It must then be one, and
    /// stream itself. False when not given.
    #[serde(default = "no")]
    cascade: Flag,
}

fn no() -> Flag {
    Flag(false)
}

/// The name of a target.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TargetName(pub String);

impl JsonSchema for TargetName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "target", "description": "The name of a target." })
    }
}

fn max_lag() -> Size {
    Size(64 << 20)
}

fn a_minute() -> Span {
    Span::secs(60)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "replication_streaming",
    summary: "every named standby streams from this primary, with little lag, seen from both ends",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ReplicationStreaming),
    build,
};

const DOCS: &str = r"
Shows that every standby you name streams from this primary and keeps up.

**How it is measured.** On the primary, `pg_stat_replication` must have a row for each name in `standbys`, with state
`streaming`, a recent reply, and little WAL left to replay (`replay_lsn` against the current position, and `replay_lag`). On
each of `standby_targets`, the server must be in recovery, have the primary's system identifier, and have a WAL receiver that
streams and heard from its sender lately; its connection must be one that the primary shows. With `cascade` the server that they
stream from is looked at as a standby, too: a standby whose own link is cut still passes on all that it has.

**Passes** when all of that holds for every name and every target. **Fails** when one is missing, does not stream, is silent,
lags, has its replay paused, or is a standby of something else (also of another standby of this primary); with `synchronous`,
when too few are; with `cascade`, when the server in the middle is no standby or does not stream. **Unknown** when a
server cannot be asked, or the role may not see the columns (`pg_monitor` may); NULL is never zero.

**Traps.** No row is no lag in most tools, and a dead standby in truth: name the standbys. A standby that lost its link says
`pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()`, as if it had caught up. `replay_lag` is NULL when nothing happens, and
`now() - pg_last_xact_replay_timestamp()` grows on an idle primary. The reply's time is the standby's clock: when it runs ahead
of the primary's, the age of a reply is unknown. Several rows of one name must all hold. Behind a cascade, ask each server that
passes WAL on: the lag of `gamma` counts from what `beta` has received, and not from the primary. Standbys that are all
called `walreceiver` (no `cluster_name`, no `application_name`) cannot be told apart: name them. A server on another machine is
asked by SQL alone; nothing here needs its files.

```yaml
postconditions:
  - replication_streaming: { primary: old, standbys: [beta], standby_targets: [new] }
  - replication_streaming: { id: second-hand, primary: new, standbys: [gamma], cascade: true }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ReplicationStreaming =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.standbys.is_empty() {
        return Err("`standbys` is empty: name every standby that must stream".to_owned());
    }
    if check.standbys.iter().any(|name| name.trim().is_empty()) {
        return Err("`standbys` holds an empty name".to_owned());
    }
    for (nth, name) in check.standbys.iter().enumerate() {
        if check.standbys.iter().take(nth).any(|earlier| earlier == name) {
            return Err(format!("`standbys` names {name} twice"));
        }
    }
    for (name, zero) in [
        ("max_lag", check.max_lag.0 == 0),
        ("max_delay", check.max_delay.0.is_zero()),
        ("max_silence", check.max_silence.0.is_zero()),
    ] {
        if zero {
            return Err(format!("`{name}` is zero, which no standby can keep"));
        }
    }
    match check.synchronous {
        Some(Count(0)) => Err("`synchronous` is 0, which every server keeps; leave it out".to_owned()),
        Some(many) if many.0 > check.standbys.len() as u64 => {
            Err(format!("`synchronous` wants {many}, and `standbys` names only {}", check.standbys.len()))
        }
        _ => Ok(Box::new(check)),
    }
}

#[async_trait]
impl Check for ReplicationStreaming {
    fn targets(&self) -> Vec<String> {
        let standbys = self.standby_targets.iter().map(|target| target.0.clone());
        std::iter::once(self.primary.clone()).chain(standbys).collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let door = self.door(&self.primary, &expected);
        let middle = async { if self.cascade.0 { Some(standby::ask(&door, cx).await) } else { None } };
        let (upstream, middle, own) = futures::join!(
            primary::ask(&door, cx),
            middle,
            join_all(self.standby_targets.iter().map(|target| async move {
                let expected = self.expected();
                (target.0.as_str(), standby::ask(&self.door(&target.0, &expected), cx).await)
            }))
        );
        let mut findings = Findings::default();
        let mut seen = Vec::new();
        let mut facts = Vec::new();
        let upstream = match upstream {
            Err(outcome) => {
                findings.unknown_as(&outcome);
                None
            }
            Ok((view, identity)) => {
                primary::judge(self, &view, &mut findings, &mut facts);
                seen.push((self.primary.clone(), identity));
                Some(view)
            }
        };
        match middle {
            Some(Ok((view, _))) => standby::judge(self, &self.primary, &view, None, &mut findings),
            // That it cannot be asked is told once.
            Some(Err(outcome)) if upstream.is_some() => findings.unknown_as(&outcome),
            Some(Err(_)) | None => {}
        }
        for (target, answer) in own {
            match answer {
                Err(outcome) => findings.unknown_as(&outcome),
                Ok((view, identity)) => {
                    standby::judge(self, target, &view, upstream.as_ref(), &mut findings);
                    seen.push((target.to_owned(), identity));
                }
            }
        }
        let mut streams = format!(
            "{} of {}",
            count(self.standbys.len() as u64, "standby streams", "standbys stream"),
            self.primary
        );
        if let Some(most) = facts.iter().filter_map(|(_, lag)| *lag).max() {
            streams += &format!(", {} behind at most", Size(most));
        }
        if !self.standby_targets.is_empty() {
            let asked: Vec<_> = self.standby_targets.iter().map(|target| target.0.as_str()).collect();
            streams +=
                &format!("; {} {} the same", asked.join(", "), if asked.len() == 1 { "says" } else { "say" });
        }
        let mut outcome = findings.outcome(streams, &expected);
        for (name, lag) in facts {
            outcome = outcome.fact(&format!("lag_bytes {name}"), lag);
        }
        for (target, identity) in seen {
            outcome = outcome.on(&target, identity);
        }
        outcome
    }
}

impl ReplicationStreaming {
    fn door<'a>(&self, target: &'a str, expected: &'a str) -> Door<'a> {
        Door::new(KIND.name, target, expected)
    }

    fn expected(&self) -> String {
        let mut expected = format!(
            "{} streaming, at most {} and {} behind",
            self.standbys.join(", "),
            self.max_lag,
            self.max_delay
        );
        if self.cascade.0 {
            expected += &format!(", from {}, itself a standby that streams", self.primary);
        }
        if let Some(many) = self.synchronous {
            expected += &format!(", {many} of them synchronous");
        }
        expected
    }
}

#[cfg(test)]
mod tests;
