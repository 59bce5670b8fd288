//! Which time limits does the server set for the sessions of a role?

mod effective;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::effective::{Entry, Limit, effective, server_wide};
use super::words::{blind, detailed, seconds, sees_others, text};
use crate::base::Span;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Session, literal};

/// Which time limits does the server set for the sessions of a role?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientTimeouts {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The roles that the application connects as.
    #[schemars(length(min = 1))]
    roles: Vec<String>,
    /// The database that it connects to. The target's own when not given.
    #[serde(default)]
    database: Option<String>,
    /// The longest `statement_timeout` that passes. Default 10min.
    #[serde(default = "ten_minutes")]
    statement_timeout: Span,
    /// The longest `lock_timeout` that passes. Default 10min.
    #[serde(default = "ten_minutes")]
    lock_timeout: Span,
    /// The longest `idle_in_transaction_session_timeout` that passes. Default 10min.
    #[serde(default = "ten_minutes")]
    idle_in_transaction: Span,
    /// The limits to look at. All three when not given.
    #[serde(default)]
    only: Vec<Limit>,
    /// True when the application sets limits of its own for each session: nobody else can see those, so that the check is
    /// unknown, or fails when a query runs for longer. Default false.
    #[serde(default = "no")]
    per_session: Flag,
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

fn no() -> Flag {
    Flag(false)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "client_timeouts",
    summary: "a role's sessions have time limits for statements, lock waits and idle transactions",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ClientTimeouts),
    build,
};

const DOCS: &str = r#"
Shows that the sessions of an application's role have time limits, so that one bad query, one long wait or one forgotten
transaction ends by itself and not by an operator at night.

**How it is measured.** For each role in one database, the value that a new session starts with: from `ALTER ROLE … IN DATABASE`,
`ALTER ROLE`, `ALTER DATABASE`, `ALTER ROLE ALL`, or the server's configuration, the first that has one. What runs now must agree
with it: the oldest query and the longest idle transaction of the role are looked at.

**Passes** when every limit is set and at most as long as here.

**Fails** when one is 0 (none) or longer, and when a query or an idle transaction of the role lasts longer than its limit: then
its session has set another.

**Unknown** when a role or the database does not exist, the role that measures may not see the sessions of others (`pg_monitor`), the
server's own value cannot be told, or `per_session` says that the application sets its limits itself.

**Traps.** Any session may set its own limit, higher or none; sessions that were open before a change keep the old one; a connection
pool may set its own. A limit for everybody in `postgresql.conf` hits dumps, migrations and VACUUM, too: set it for the
application's role. `lock_timeout` is for each lock, `statement_timeout` for all of a statement.

```yaml
preconditions:
  - client_timeouts: { target: old, roles: [synapse] }
  - client_timeouts:
      id: worker-limits
      target: old
      roles: [synapse_worker]
      database: synapse
      statement_timeout: 2min
      only: [statement_timeout, idle_in_transaction_session_timeout]
```
"#;

/// How much later than its limit a statement may be seen to run: the server needs a moment to end it.
const GRACE: f64 = 5.0;

fn build(params: Map<String, Value>) -> Built {
    let check: ClientTimeouts =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if check.roles.is_empty() {
        return Err("`roles` is empty: name the roles that the application connects as".to_owned());
    }
    if Limit::ALL.iter().any(|limit| check.longest(*limit).0.is_zero()) {
        return Err("zero is no time limit: it means none".to_owned());
    }
    Ok(Box::new(check))
}

/// What was found out about all roles.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    unseen: Vec<String>,
    right: Vec<String>,
}

impl ClientTimeouts {
    fn limits(&self) -> Vec<Limit> {
        if self.only.is_empty() { Limit::ALL.to_vec() } else { self.only.clone() }
    }

    fn longest(&self, limit: Limit) -> Span {
        match limit {
            Limit::StatementTimeout => self.statement_timeout,
            Limit::LockTimeout => self.lock_timeout,
            Limit::IdleInTransactionSessionTimeout => self.idle_in_transaction,
        }
    }

    fn expected(&self) -> String {
        let each: Vec<String> = self
            .limits()
            .into_iter()
            .map(|limit| format!("{} of at most {}", limit.name(), self.longest(limit)))
            .collect();
        format!("{} for {}", each.join(", "), self.roles.join(", "))
    }

    async fn ask(&self, cx: &Context, session: &Session, expected: &str) -> Result<Outcome, QueryError> {
        if !sees_others(session).await? {
            return Ok(blind(expected));
        }
        let database = match &self.database {
            Some(name) => name.clone(),
            None => session.value("select pg_catalog.current_database()").await?.unwrap_or_default(),
        };
        let there = format!("select 1 from pg_catalog.pg_database where datname = {}", literal(&database));
        if session.query(&there).await?.is_empty() {
            return Ok(Outcome::unknown(format!("there is no database {database}"), expected)
                .help("correct the name of the database"));
        }
        let target = cx.target(&self.target).map_err(QueryError::local)?;
        let server = server_wide(session, target).await?;
        let mut found = Found::default();
        for role in &self.roles {
            self.one(session, role, &database, &server, &mut found).await?;
        }
        Ok(self.verdict(found, expected))
    }

    async fn one(
        &self,
        session: &Session,
        role: &str,
        database: &str,
        server: &[(Limit, Result<u64, String>)],
        found: &mut Found,
    ) -> Result<(), QueryError> {
        let (name, place) = (literal(role), literal(database));
        let there = format!("select 1 from pg_catalog.pg_roles where rolname = {name}");
        if session.query(&there).await?.is_empty() {
            found.unseen.push(format!("there is no role {role}"));
            return Ok(());
        }
        let sql = format!(
            "select s.setrole <> 0, s.setdatabase <> 0, pg_catalog.unnest(s.setconfig) \
             from pg_catalog.pg_db_role_setting s \
             where s.setrole in (0, (select oid from pg_catalog.pg_roles where rolname = {name})) \
               and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = {place}))"
        );
        let entries: Vec<Entry> = session.query(&sql).await?.iter().filter_map(Entry::read).collect();
        let running = format!(
            "select pg_catalog.max(extract(epoch from pg_catalog.clock_timestamp() - query_start)) \
                      filter (where state = 'active'), \
                    pg_catalog.max(extract(epoch from pg_catalog.clock_timestamp() - state_change)) \
                      filter (where state like 'idle in transaction%'), \
                    pg_catalog.count(*) \
             from pg_catalog.pg_stat_activity \
             where usename = {name} and datname = {place} and backend_type = 'client backend' \
               and pid <> pg_catalog.pg_backend_pid() and application_name not like 'holdpoint%'"
        );
        let running = session.query(&running).await?;
        let row = running.first().cloned().unwrap_or_default();
        let sessions = text(&row, 2).unwrap_or_default();
        let (query, idle) = (seconds(&row, 0), seconds(&row, 1));
        let told = |span: Option<Span>| span.map_or_else(|| "none".to_owned(), |span| span.to_string());
        found.right.push(format!(
            "role {role} in {database}: {sessions} sessions now, oldest query {}, longest idle transaction {}",
            told(query),
            told(idle)
        ));
        for limit in self.limits() {
            let longest = self.longest(limit);
            let value = match effective(limit, &entries, server) {
                Ok((ms, from)) => Ok((ms, from)),
                Err(why) => Err(why),
            };
            let (word, fits) = match &value {
                Ok((0, from)) => (format!("none ({from})"), Some(false)),
                Ok((ms, from)) => {
                    (format!("{} ({from})", Span::millis(*ms)), Some(*ms <= longest.0.as_millis() as u64))
                }
                Err(why) => (format!("not known: {why}"), None),
            };
            let line = format!("role {role}: {} is {word}", limit.name());
            let seen = match limit {
                Limit::StatementTimeout => query.map(|span| ("a query runs", span)),
                Limit::IdleInTransactionSessionTimeout => idle.map(|span| ("a transaction sits idle", span)),
                Limit::LockTimeout => None,
            };
            if let Some((what, span)) = seen
                && span.0.as_secs_f64() > longest.0.as_secs_f64() + GRACE
            {
                found.wrong.push(format!("role {role}: {what} for {span}; {} is {word}", limit.name()));
            } else if self.per_session.0 {
                found
                    .unseen
                    .push(format!("{line}, and the application sets its own, which nobody else sees"));
            } else {
                match fits {
                    Some(true) => found.right.push(line),
                    Some(false) => found.wrong.push(line),
                    None => found.unseen.push(line),
                }
            }
        }
        Ok(())
    }

    fn verdict(&self, found: Found, expected: &str) -> Outcome {
        let Found { wrong, unseen, right } = found;
        let outcome = if let Some(first) = wrong.first() {
            Outcome::fail(first.clone(), expected).help(
                "set it for the role, as in `alter role NAME set statement_timeout = '10min'`, and let the \
                       application connect anew",
            )
        } else if let Some(first) = unseen.first() {
            let help = if self.per_session.0 {
                "let the application show its own setting, and set the limits for the role, too"
            } else {
                "correct the name, or let a superuser measure"
            };
            Outcome::unknown(first.clone(), expected).help(help)
        } else {
            Outcome::pass(format!("every limit is set for {}", self.roles.join(", ")), expected)
        };
        let lines: Vec<String> = wrong.iter().chain(&unseen).skip(1).chain(&right).cloned().collect();
        detailed(outcome, &lines).fact("wrong", wrong.len()).fact("not_known", unseen.len())
    }
}

#[async_trait]
impl Check for ClientTimeouts {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let outcome = match self.ask(cx, &session, &expected).await {
            Ok(outcome) => outcome,
            Err(error) => door.unanswered(&error),
        };
        outcome.on(&self.target, identity)
    }
}
