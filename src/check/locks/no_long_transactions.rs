//! Is a transaction open for longer than it should be?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::words::{Who, blind, detailed, seconds, sees_others, text};
use crate::base::Span;
use crate::base::text::{count, neutral};
use crate::check::door::Door;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Row, Session};

/// Is a transaction open for longer than it should be?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoLongTransactions {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The longest that a transaction may be open. Default 15min.
    #[serde(default = "quarter")]
    at_most: Span,
    /// The longest that a session may sit idle within a transaction. Default 5min, or `at_most` when that is less.
    #[serde(default)]
    idle_at_most: Option<Span>,
    /// Application names whose transactions may last: a nightly dump, say. They are still shown.
    #[serde(default)]
    except: Vec<String>,
}

fn quarter() -> Span {
    Span::secs(15 * 60)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "no_long_transactions",
    summary: "no transaction is open for long, prepared ones included, and none sits idle",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(NoLongTransactions),
    build,
};

const DOCS: &str = r#"
Shows that no transaction is open for long, that none sits idle, and that no prepared transaction was forgotten. Such a transaction
keeps its locks, keeps vacuum from cleaning up, and makes a schema change wait, with everybody behind it.

**How it is measured.** `pg_stat_activity` of the whole server: since when each transaction runs, and since when its session sits
idle in it; `pg_prepared_xacts`. Autovacuum, replication and Holdpoint's own sessions are not counted.

**Passes** when no transaction is older than `at_most` and none is idle for longer than `idle_at_most`.

**Fails** otherwise; the oldest is named: process, role, application, what it does or did last (values replaced by `?`).

**Unknown** when the role may not see what the sessions of others do (`pg_monitor`), a session does not tell
(`track_activities`), or an age is negative, as after a step of the server's clock.

**Traps.** The age of a transaction is not that of its query. A prepared transaction belongs to no session and outlives restarts;
`except` does not excuse one. On a standby, look there: its queries do not show on the primary, and with
`hot_standby_feedback` they hold back vacuum there.

```yaml
preconditions:
  - no_long_transactions: { target: old }
  - no_long_transactions: { id: before-ddl, target: old, at_most: 1min, idle_at_most: 10s, except: [pg_dump] }
```
"#;

const OPEN: &str = "\
select a.pid, a.usename, a.application_name, a.datname, a.state, a.query,
       extract(epoch from pg_catalog.clock_timestamp() - a.xact_start),
       extract(epoch from pg_catalog.clock_timestamp() - a.state_change),
       a.backend_type
from pg_catalog.pg_stat_activity a
where a.xact_start is not null and a.pid <> pg_catalog.pg_backend_pid()
  and a.backend_type not in ('autovacuum worker', 'autovacuum launcher', 'walsender', 'parallel worker', 'startup')
order by a.xact_start";

/// Sessions whose `track_activities` is off: nobody sees their transactions.
const SILENT: &str = "select pg_catalog.count(*) from pg_catalog.pg_stat_activity where state = 'disabled'";

const PREPARED: &str = "\
select gid, owner, null, database, 'prepared', null,
       extract(epoch from pg_catalog.clock_timestamp() - prepared)
from pg_catalog.pg_prepared_xacts order by prepared";

fn build(params: Map<String, Value>) -> Built {
    let check: NoLongTransactions =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if check.at_most.0.is_zero() || check.idle_at_most.is_some_and(|idle| idle.0.is_zero()) {
        return Err("zero is no limit: every open transaction is older than that".to_owned());
    }
    if check.idle_at_most.is_some_and(|idle| idle > check.at_most) {
        return Err("`idle_at_most` is more than `at_most`, which ends it before".to_owned());
    }
    Ok(Box::new(check))
}

/// What one open transaction means.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// Too old, or idle for too long.
    Long(String),
    /// Excused.
    Excused(String),
    /// Its age is not known.
    Ageless(String),
    /// Well within the limits.
    Fine(Span),
}

impl NoLongTransactions {
    fn idle_limit(&self) -> Span {
        self.idle_at_most.unwrap_or_else(|| self.at_most.min(Span::secs(300)))
    }

    fn judge(&self, row: &Row) -> Finding {
        let who = Who {
            pid: text(row, 0).unwrap_or_default(),
            user: text(row, 1),
            application: text(row, 2),
            database: text(row, 3),
            state: text(row, 4),
            query: text(row, 5),
        };
        let idle_state = who.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"));
        let (age, idle) = (seconds(row, 6), idle_state.then(|| seconds(row, 7)));
        let (Some(age), Some(idle)) = (age, idle.unwrap_or(Some(Span::secs(0)))) else {
            return Finding::Ageless(who.name());
        };
        let long = match (age > self.at_most, idle > self.idle_limit()) {
            (false, false) => return Finding::Fine(age),
            (_, true) => format!("{}: idle for {idle}, open for {age}; {}", who.name(), who.does()),
            (true, false) => format!("{}: open for {age}; {}", who.name(), who.does()),
        };
        if who.application.is_some_and(|name| self.except.contains(&name)) {
            Finding::Excused(long)
        } else {
            Finding::Long(long)
        }
    }

    async fn ask(&self, session: &Session, expected: &str) -> Result<Outcome, QueryError> {
        if !sees_others(session).await? {
            return Ok(blind(expected));
        }
        let silent = session.value(SILENT).await?.and_then(|n| n.parse::<u64>().ok());
        if silent != Some(0) {
            let who = silent
                .map_or_else(|| "some sessions do".to_owned(), |n| count(n, "session does", "sessions do"));
            let why = format!("{who} not tell what happens in it (track_activities is off)");
            return Ok(Outcome::unknown(why, expected)
                .help("let an administrator turn track_activities on, then measure again"));
        }
        let rows = session.query(OPEN).await?;
        let own = |row: &&Row| text(row, 2).is_some_and(|name| name.starts_with("holdpoint"));
        let holdpoint = rows.iter().filter(own).count() as u64;
        let (mut long, mut excused, mut ageless, mut oldest) = (Vec::new(), Vec::new(), Vec::new(), None);
        for row in rows.iter().filter(|row| !own(row)) {
            match self.judge(row) {
                Finding::Long(line) => long.push(line),
                Finding::Excused(line) => excused.push(format!("excused: {line}")),
                Finding::Ageless(who) => ageless.push(who),
                Finding::Fine(age) => oldest = oldest.max(Some(age)),
            }
        }
        let prepared = session.query(PREPARED).await?;
        for row in &prepared {
            let name = neutral(&text(row, 0).unwrap_or_default());
            let owner = text(row, 1).unwrap_or_default();
            let place = text(row, 3).unwrap_or_default();
            let line = format!("prepared transaction {name} ({owner} in {place})");
            match seconds(row, 6) {
                None => ageless.push(line),
                Some(age) if age > self.at_most => long.push(format!("{line}: open for {age}")),
                Some(age) => oldest = oldest.max(Some(age)),
            }
        }
        let open = rows.len() as u64 - holdpoint + prepared.len() as u64;
        let of = count(open, "open transaction", "open transactions");
        let outcome = if let Some(first) = long.first() {
            let number = count(long.len() as u64, "transaction", "transactions");
            Outcome::fail(format!("{number} open for too long: {first}"), expected)
                .help("ask whoever owns it to end it, then measure again")
        } else if let Some(first) = ageless.first() {
            Outcome::unknown(format!("the age of a transaction is not known: {first}"), expected)
                .help("see whether the server's clock was set, then measure again")
        } else {
            let oldest = oldest.map(|age| format!(", the oldest for {age}")).unwrap_or_default();
            Outcome::pass(format!("{of}{oldest}"), expected)
        };
        let mut lines = if long.len() > 1 { long.clone() } else { Vec::new() };
        lines.extend(excused);
        if holdpoint > 0 {
            lines.push(count(holdpoint, "transaction of Holdpoint's own", "transactions of Holdpoint's own"));
        }
        Ok(detailed(outcome, &lines).fact("open", open).fact("too_long", long.len()))
    }
}

#[async_trait]
impl Check for NoLongTransactions {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "no transaction open for more than {}, none idle for more than {}",
            self.at_most,
            self.idle_limit()
        );
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let outcome = match self.ask(&session, &expected).await {
            Ok(outcome) => outcome,
            Err(error) => door.unanswered(&error),
        };
        outcome.on(&self.target, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_and_idleness_are_judged_apart() {
        let check: NoLongTransactions =
            serde_json::from_value(serde_json::json!({ "target": "a", "except": ["pg_dump"] })).unwrap();
        let judge = |application: &str, state: &str, age: &str, idle: &str| {
            let row = ["7", "u", application, "d", state, "select 1", age, idle, "client backend"];
            check.judge(&row.iter().map(|value| Some((*value).to_owned())).collect())
        };
        assert_eq!(judge("psql", "active", "899", "899"), Finding::Fine(Span::secs(899)));
        assert!(matches!(judge("psql", "active", "901", "1"), Finding::Long(_)));
        assert!(matches!(judge("psql", "idle in transaction", "302", "301"), Finding::Long(_)));
        assert_eq!(judge("psql", "idle in transaction", "302", "20"), Finding::Fine(Span::secs(302)));
        assert!(matches!(judge("psql", "idle in transaction (aborted)", "302", "301"), Finding::Long(_)));
        assert!(matches!(judge("pg_dump", "active", "9000", "1"), Finding::Excused(_)));
        assert!(matches!(judge("psql", "active", "-9", "1"), Finding::Ageless(_)));
    }
}
