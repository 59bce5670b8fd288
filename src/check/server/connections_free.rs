//! Can the application come back? After a maintenance, all of its processes connect at once.

mod limits;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::text;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::locks::words::{blind, sees_others};
use crate::check::params::{CountOrShare, Percent};
use crate::check::registry::CheckKind;
use crate::check::survey::cell;
use crate::check::{Check, Context, Outcome, Verdict};
use crate::world::pg::{QueryError, Session};
use limits::{Limit, Rank};

/// Can the application come back?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionsFree {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// How many connections must be free, as a number or as a part of all there are for ordinary roles; 20% when not given.
    #[serde(default = "a_fifth")]
    at_least: CountOrShare,
    /// A database whose own limit counts, too.
    #[serde(default)]
    database: Option<String>,
    /// The role that the application connects as: its own limit counts, too, and what it may use of what is reserved.
    #[serde(default)]
    role: Option<String>,
}

fn a_fifth() -> CountOrShare {
    CountOrShare::Share(Percent(20.0))
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "connections_free",
    summary: "enough connections are free for an application that comes back all at once",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ConnectionsFree),
    build,
};

const DOCS: &str = r"
Shows that the server has connections left for ordinary roles.

**How it is measured.** `max_connections`, less `superuser_reserved_connections` and `reserved_connections` (from 16 on), less the
client sessions in `pg_stat_activity` but Holdpoint's own. With `database` or `role`, the connection limits of those, less the
sessions that they have; and whether that role may log in and connect there at all. A role with `pg_use_reserved_connections`
may use what is reserved for it, and a superuser everything.

**Passes** when at least `at_least` (20 %) are free by every limit that counts. **Fails** when fewer are, when the server says that it
has none, or when the role or the database lets nobody in. **Unknown** when the server cannot be asked, the role that measures
may not see the sessions of others (`pg_monitor` may), or a name is not there.

**Traps.** It is true at that moment only. A stopped application needs none; its pools, workers and cron jobs all connect in the
first seconds after the maintenance, often while old sessions still wait to be closed: write their number in `at_least`. A new server
often has the 100 of `initdb`: see `settings_match`. What is free is shared by all databases. Sessions of standbys and backups
have slots of their own (`max_wal_senders`), and so do parallel workers. A pooler in between has limits that the server knows
nothing of. Superusers pass the limits of databases and roles.

```yaml
preconditions:
  - connections_free: { target: new, at_least: 150, database: synapse, role: synapse }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: ConnectionsFree = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.at_least == CountOrShare::Count(0) {
        return Err("`at_least` is 0: a full server has that many free".to_owned());
    }
    Ok(Box::new(it))
}

/// All, reserved for superusers, reserved for some, client sessions.
const SERVER: &str = "select current_setting('max_connections'), current_setting('superuser_reserved_connections'), \
    coalesce(current_setting('reserved_connections', true), 'none'), \
    (select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name not like 'holdpoint %')";

/// What the server says, to those it turns away, when all of its connections are taken.
const FULL: [&str; 2] = ["sorry, too many clients already", "remaining connection slots are reserved"];

#[async_trait]
impl Check for ConnectionsFree {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match self.at_least {
            CountOrShare::Count(n) => {
                format!("at least {} free", text::count(n, "connection", "connections"))
            }
            CountOrShare::Share(share) => format!("at least {share} of the connections free"),
        };
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) if FULL.iter().any(|words| outcome.observed.contains(words)) => {
                // That it lets nobody in is an answer.
                return Outcome { verdict: Verdict::Fail, ..outcome }.help(HELP);
            }
            Err(outcome) => return outcome,
        };
        let outcome = match self.ask(&session, &expected).await {
            Ok(outcome) => outcome,
            Err(error) => door.unanswered(&error),
        };
        outcome.on(&self.target, identity)
    }
}

const HELP: &str = "end sessions that nobody needs (a pooler's old ones, say), or raise the limit, before the application comes back";

impl ConnectionsFree {
    async fn ask(&self, session: &Session, expected: &str) -> Result<Outcome, QueryError> {
        if !sees_others(session).await? {
            return Ok(blind(expected));
        }
        let mut findings = Findings::default();
        let server = session.query(SERVER).await?;
        let row = server.first().map(Vec::as_slice).unwrap_or_default();
        let number = |column: usize| cell(row, column).parse::<u64>().ok();
        // Before 16 there is no second reserve.
        let some = if cell(row, 2) == "none" { Some(0) } else { number(2) };
        let (Some(all), Some(superusers), Some(some), Some(used)) = (number(0), number(1), some, number(3))
        else {
            return Ok(Outcome::unknown("the server does not tell its limits", expected)
                .help("look into the server's log, then measure again"));
        };
        let mut limits = Vec::new();
        let rank = match &self.role {
            None => Rank::Ordinary,
            Some(role) => limits::of_role(session, role, &mut limits, &mut findings).await?,
        };
        if let Some(database) = &self.database {
            limits::of_database(session, database, self.role.as_deref(), rank, &mut limits, &mut findings)
                .await?;
        }
        let (reserved, of) = match rank {
            Rank::Ordinary => (superusers + some, "for ordinary roles"),
            Rank::Reserved => (superusers, "for roles with pg_use_reserved_connections"),
            Rank::Superuser => (0, "for superusers"),
        };
        limits.insert(0, Limit { of: of.to_owned(), all: all.saturating_sub(reserved), used });
        Ok(self.judge(&limits, findings, expected).fact("used", used).fact("max_connections", all))
    }

    fn judge(&self, limits: &[Limit], mut findings: Findings, expected: &str) -> Outcome {
        for limit in limits {
            let enough = match self.at_least {
                CountOrShare::Count(n) => limit.free() >= n,
                CountOrShare::Share(share) => {
                    limit.all > 0 && limit.free() as f64 >= limit.all as f64 * share.0 / 100.0
                }
            };
            match self.at_least {
                _ if enough => findings.note(limit.told()),
                CountOrShare::Count(n) if limit.all < n => findings.fail(
                    format!("{}, and {} can never be", limit.told(), text::thousands(n)),
                    "raise the limit (`max_connections` needs a restart), then measure again",
                ),
                _ => findings.fail(limit.told(), HELP),
            }
        }
        let least = limits.iter().min_by_key(|limit| limit.free());
        let free = least.map(Limit::free);
        let told = least.map(Limit::told).unwrap_or_default();
        findings.outcome(told, expected).fact("free", free)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::limits::own_limit;
    use super::*;

    fn judged(at_least: Value, limits: &[(u64, u64)]) -> Outcome {
        let params = json!({ "target": "db", "at_least": at_least });
        let it: ConnectionsFree = serde_json::from_value(params).unwrap();
        let limits: Vec<Limit> =
            limits.iter().map(|&(all, used)| Limit { of: "of x".to_owned(), all, used }).collect();
        it.judge(&limits, Findings::default(), "wanted")
    }

    #[test]
    fn the_tightest_limit_counts() {
        assert_eq!(judged(json!("20%"), &[(100, 80)]).verdict, Verdict::Pass);
        assert_eq!(judged(json!("20%"), &[(100, 81)]).verdict, Verdict::Fail);
        assert_eq!(judged(json!(50), &[(97, 10), (60, 0)]).observed, "60 of 60 connections of x are free");
        assert_eq!(judged(json!(50), &[(97, 10), (60, 11)]).verdict, Verdict::Fail);
        let never = judged(json!(50), &[(40, 0)]);
        assert_eq!(never.observed, "40 of 40 connections of x are free, and 50 can never be");
        assert_eq!(judged(json!("20%"), &[(0, 0)]).verdict, Verdict::Fail, "nobody is let in");
        assert_eq!(judged(json!("20%"), &[(3, 5)]).verdict, Verdict::Fail, "superusers went over it");
    }

    #[test]
    fn no_limit_and_a_broken_one_differ() {
        let mut findings = Findings::default();
        assert_eq!(own_limit("x".to_owned(), "-1", "3", &mut findings), None);
        assert!(findings.clean());
        assert_eq!(own_limit("x".to_owned(), "-2", "3", &mut findings), None);
        assert!(!findings.clean());
    }
}
