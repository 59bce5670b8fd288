//! What keeps vacuum from cleaning up?

mod holders;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::ids;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use holders::{Holder, Kind};

/// What keeps vacuum from cleaning up?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HorizonHolders {
    /// The server. Prepared transactions, slots and sessions of all its databases count.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The largest age in transactions that anything may hold; 50000000 when not given.
    #[serde(default = "fifty_million")]
    max_age: Count,
    /// The longest that a prepared transaction may wait; 1h when not given.
    #[serde(default = "an_hour")]
    max_prepared: Span,
}

fn fifty_million() -> Count {
    Count(50_000_000)
}

fn an_hour() -> Span {
    Span::secs(3600)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "horizon_holders",
    summary: "nothing keeps vacuum from cleaning up: no forgotten prepared transaction, slot, session or standby",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(HorizonHolders),
    build,
};

const DOCS: &str = r"
Shows that nothing old holds the transaction horizon back. While something does, vacuum removes and freezes nothing newer:
tables swell, and one day the server refuses to write.

**How it is measured.** Four kinds of holders, each with its age in transactions: prepared transactions
(`pg_prepared_xacts`), replication slots (`xmin` and `catalog_xmin`), sessions (`backend_xid` and `backend_xmin`), and standbys
with `hot_standby_feedback` (`pg_stat_replication.backend_xmin`; with a slot, the slot shows it).

**Passes** when none is older than `max_age`, and no prepared transaction has waited longer than `max_prepared`. **Fails** when one
is, and names it with what to do about it. **Unknown** when the server cannot be asked, or the role may not see other sessions
(`pg_monitor` may) and nothing else fails.

**Traps.** A prepared transaction survives restarts and belongs to no session; it can be ended only in its own database. A
session that is `idle in transaction` holds locks, too. When a standby holds the horizon, the cause is a long query there. A
logical slot holds only the system catalogs (`catalog_xmin`), which swell just the same. Vacuum's own transactions do not
hold anything back and are not shown.

**Holdpoint's own measurements** need a snapshot, too: a comparison beside this check may hold the horizon for hours. Sessions that
this very process opened to measure are told, and not held against you: they are known by the process number that the server
gave, and by their name. Everything else counts: another Holdpoint, a program that only calls itself so, a step's own work, and
what a measurement on a standby holds here by `hot_standby_feedback`.

```yaml
preconditions:
  - horizon_holders: { target: old, max_age: 10000000 }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: HorizonHolders = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.0 == 0 {
        return Err("`max_age` is 0: every open transaction is older".to_owned());
    }
    if check.max_prepared.0.is_zero() {
        return Err("`max_prepared` is zero; give a prepared transaction the time to be committed".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for HorizonHolders {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "nothing holds more than {} transactions back, no prepared transaction waits longer than {}",
            ids(self.max_age.0),
            self.max_prepared
        );
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let (found, sees_all) = match holders::ask(&session).await {
            Ok(found) => found,
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let mut findings = Findings::default();
        self.judge(&found, sees_all, &mut findings);
        let others: Vec<&Holder> = found.iter().filter(|holder| !holder.own).collect();
        let observed = match others.first() {
            None if others.len() < found.len() => {
                "nothing but measurements of Holdpoint holds the horizon back".to_owned()
            }
            None => "nothing holds the horizon back".to_owned(),
            Some(oldest) => format!(
                "{}; the oldest is {}",
                count(others.len() as u64, "holder", "holders"),
                oldest.describe()
            ),
        };
        let oldest = others.iter().filter_map(|holder| holder.age).max();
        findings
            .outcome(observed, &expected)
            .fact("holders", others.len() as u64)
            .fact("oldest", oldest)
            .on(&self.target, identity)
    }
}

impl HorizonHolders {
    /// Judges the holders, oldest first.
    fn judge(&self, found: &[Holder], sees_all: bool, findings: &mut Findings) {
        for holder in found {
            if holder.own {
                findings.note(format!("{}: a measurement of this run, beside this one", holder.describe()));
                continue;
            }
            let old = holder.age.is_some_and(|age| age > self.max_age.0);
            let waits = holder.kind == Kind::Prepared
                && holder.seconds.is_some_and(|seconds| seconds > self.max_prepared.0.as_secs_f64());
            if old || waits {
                findings.fail(holder.describe(), holder.help());
            } else if holder.age.is_none() {
                findings.unknown(format!("the age of {} is not known", holder.name()), "measure again");
            } else {
                findings.note(holder.describe());
            }
        }
        if !sees_all {
            findings.unknown(
                format!("{}: the role may not see what other sessions hold", self.target),
                "give the role pg_monitor, then measure again",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn judged(found: &[Holder], sees_all: bool) -> Outcome {
        let check: HorizonHolders = serde_json::from_value(serde_json::json!({ "target": "db" })).unwrap();
        let mut findings = Findings::default();
        check.judge(found, sees_all, &mut findings);
        findings.outcome("nothing", "wanted")
    }

    fn holder(kind: Kind, age: Option<u64>, seconds: f64) -> Holder {
        Holder {
            kind,
            who: "it".to_owned(),
            place: Some("matrix".to_owned()),
            state: None,
            age,
            seconds: Some(seconds),
            own: false,
        }
    }

    #[test]
    fn age_counts_for_all_and_time_only_for_prepared_ones() {
        let verdict = |holder: Holder| judged(&[holder], true).verdict;
        assert_eq!(judged(&[], true).verdict, Verdict::Pass);
        assert_eq!(judged(&[], false).verdict, Verdict::Unknown);
        assert_eq!(verdict(holder(Kind::Session, Some(50_000_000), 9e9)), Verdict::Pass);
        assert_eq!(verdict(holder(Kind::Session, Some(50_000_001), 1.0)), Verdict::Fail);
        assert_eq!(verdict(holder(Kind::Prepared, Some(3), 3601.0)), Verdict::Fail);
        assert_eq!(verdict(holder(Kind::Prepared, Some(3), 3599.0)), Verdict::Pass);
        assert_eq!(verdict(holder(Kind::Slot, None, 0.0)), Verdict::Unknown);
        let both = judged(&[holder(Kind::Prepared, Some(3), 7200.0)], false);
        assert_eq!(both.verdict, Verdict::Fail, "what is seen counts before what is not");
        let own = Holder { own: true, ..holder(Kind::Session, Some(60_000_000), 9e9) };
        let beside = judged(&[own], true);
        assert_eq!(beside.verdict, Verdict::Pass);
        assert!(beside.details[0].contains("a measurement of this run"), "it is told: {beside:?}");
        assert!(both.help.as_deref().unwrap_or_default().contains("in database matrix"), "{both:?}");
    }
}
