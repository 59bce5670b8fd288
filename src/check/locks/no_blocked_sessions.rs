//! Does anybody wait for a lock, and for whom?

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::words::{Who, blind, detailed, seconds, sees_others, text};
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::Count;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Row, Session};

/// Does anybody wait for a lock?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoBlockedSessions {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// How long a session may wait before it counts as blocked. Default 30s.
    #[serde(default = "half_a_minute")]
    longer_than: Span,
    /// How many sessions may be blocked for longer than that. Default 0.
    #[serde(default = "none")]
    at_most: Count,
    /// How many sessions waiting at the same time are too many, however short they wait. Default 5, or one more than
    /// `at_most`.
    #[serde(default)]
    pile_up: Option<Count>,
}

fn half_a_minute() -> Span {
    Span::secs(30)
}

fn none() -> Count {
    Count(0)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "no_blocked_sessions",
    summary: "nobody waits long for a lock, and no queue builds up behind one",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(NoBlockedSessions),
    build,
};

const DOCS: &str = r#"
Shows that nobody waits long for a lock, and that no queue builds up behind one. Best as an invariant of a step that changes a
schema, and of the soak after it.

**How it is measured.** Sessions that wait for a lock (`pg_locks`), how long (`waitstart`; on PostgreSQL 13, which does not tell it,
since their query began), and whom they wait for (`pg_blocking_pids`), through chains of waiting sessions to the one at the root. The
root is named: process, role, application, what it does or did last (values replaced by `?`), and since when its transaction runs.

**Passes** when at most `at_most` sessions wait for `longer_than`, and fewer than `pile_up` wait at all.

**Fails** otherwise.

**Unknown** when the role may not see what the sessions of others do (`pg_monitor`), or the length of a wait is not known.

**Traps.** The root blocker often is "active" without any wait event, or "idle in transaction", and the graphs of incoming requests
look normal. A prepared transaction blocks without any session. A request for a strong lock that waits behind one long reader
blocks every later reader: set `lock_timeout` for schema changes. One look is one moment: `pg_blocking_pids` takes a lock of its
own for each, so look no more often than every 10 s. An autovacuum that waits is not counted.

```yaml
invariants:
  - no_blocked_sessions: { target: new, on_violation: alert }
postconditions:
  - no_blocked_sessions: { id: calm, target: new, longer_than: 5s, pile_up: 3 }
```
"#;

const WAITING: &str = "\
select a.pid, a.usename, a.application_name, a.datname, a.state, a.query,
       extract(epoch from pg_catalog.clock_timestamp() - {since}),
       pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(a.pid), ' '), l.mode,
       case when l.relation is not null and a.datname = pg_catalog.current_database()
            then l.relation::pg_catalog.regclass::text else l.locktype end
from pg_catalog.pg_stat_activity a
join pg_catalog.pg_locks l on l.pid = a.pid and not l.granted
where a.pid <> pg_catalog.pg_backend_pid() and a.backend_type <> 'autovacuum worker'
order by 7 desc nulls first, a.pid";

const ROOTS: &str = "\
select pid, usename, application_name, datname, state, query,
       extract(epoch from pg_catalog.clock_timestamp() - xact_start), backend_type
from pg_catalog.pg_stat_activity where pid in ";

fn build(params: Map<String, Value>) -> Built {
    let check: NoBlockedSessions =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if let Some(pile_up) = check.pile_up
        && pile_up <= check.at_most
    {
        return Err(format!(
            "`pile_up: {pile_up}` is not more than `at_most: {}`: write how many are too many",
            check.at_most
        ));
    }
    Ok(Box::new(check))
}

/// A session that waits.
#[derive(Debug)]
struct Blocked {
    who: Who,
    waits: Option<Span>,
    by: Vec<i32>,
    what: String,
}

/// Those at the root of the waiting: each with how many wait for it, directly or not. Process 0 stands for a prepared
/// transaction.
fn roots(blocked: &BTreeMap<i32, Vec<i32>>) -> BTreeMap<i32, u64> {
    let mut found: BTreeMap<i32, u64> = BTreeMap::new();
    for pid in blocked.keys() {
        let (mut seen, mut open) = (BTreeSet::from([*pid]), vec![*pid]);
        let mut own = BTreeSet::new();
        while let Some(next) = open.pop() {
            match blocked.get(&next) {
                Some(by) => open.extend(by.iter().filter(|by| seen.insert(**by))),
                None => {
                    own.insert(next);
                }
            }
        }
        own.iter().for_each(|root| *found.entry(*root).or_default() += 1);
    }
    found
}

impl NoBlockedSessions {
    fn pile_up(&self) -> u64 {
        self.pile_up.map_or(5.max(self.at_most.0 + 1), |count| count.0)
    }

    async fn ask(&self, session: &Session, expected: &str) -> Result<Outcome, QueryError> {
        if !sees_others(session).await? {
            return Ok(blind(expected));
        }
        let since = if session.identity().version >= 140_000 { "l.waitstart" } else { "a.query_start" };
        let rows = session.query(&WAITING.replace("{since}", since)).await?;
        let blocked: Vec<Blocked> = rows.iter().map(read).collect();
        let graph = blocked
            .iter()
            .filter_map(|one| Some((one.who.pid.parse::<i32>().ok()?, one.by.clone())))
            .collect::<BTreeMap<_, _>>();
        let roots = roots(&graph);
        let mut lines = self.root_lines(session, &roots).await?;
        let worst = lines.first().cloned();
        for one in &blocked {
            let waits = one.waits.map_or_else(|| "an unknown time".to_owned(), |span| span.to_string());
            lines.push(format!("{} waits {waits} for {}; {}", one.who.name(), one.what, one.who.does()));
        }
        let long =
            blocked.iter().filter(|one| one.waits.is_some_and(|span| span >= self.longer_than)).count();
        let vague = blocked.iter().filter(|one| one.waits.is_none()).count();
        let (all, long, vague) = (blocked.len() as u64, long as u64, vague as u64);
        let behind = worst.map(|root| format!("; {root}")).unwrap_or_default();
        let waiting = count(all, "session waits", "sessions wait");
        let observed = match all {
            0 => "nobody waits for a lock".to_owned(),
            _ => format!("{waiting} for a lock, {long} of them for {} or longer{behind}", self.longer_than),
        };
        let outcome = if long > self.at_most.0 || all >= self.pile_up() {
            Outcome::fail(observed, expected).help(
                "look at what the session at the root does; it ends, or it is ended by whoever owns it, before \
                 anything else is begun",
            )
        } else if vague > 0 && long + vague > self.at_most.0 {
            Outcome::unknown(format!("{observed}; how long {vague} of them wait is not known"), expected)
                .help("measure again")
        } else {
            Outcome::pass(observed, expected)
        };
        let longest = blocked.iter().filter_map(|one| one.waits).max();
        let outcome = detailed(outcome, &lines).fact("waiting", all).fact("blocked", long);
        Ok(match longest {
            Some(span) => outcome.fact("longest_wait_ms", span.0.as_millis() as u64),
            None => outcome,
        })
    }

    /// One line for each root, the one that most wait for first.
    async fn root_lines(
        &self,
        session: &Session,
        roots: &BTreeMap<i32, u64>,
    ) -> Result<Vec<String>, QueryError> {
        let pids: Vec<String> = roots.keys().filter(|pid| **pid != 0).map(ToString::to_string).collect();
        let known = match pids.is_empty() {
            true => Vec::new(),
            false => session.query(&format!("{ROOTS}({})", pids.join(", "))).await?,
        };
        let mut order: Vec<(&i32, &u64)> = roots.iter().collect();
        order.sort_by_key(|(pid, n)| (std::cmp::Reverse(**n), **pid));
        let line = |(pid, n): (&i32, &u64)| {
            let behind = count(*n, "session", "sessions");
            if *pid == 0 {
                return format!("a prepared transaction holds up {behind}");
            }
            let Some(row) =
                known.iter().find(|row| text(row, 0).as_deref() == Some(pid.to_string().as_str()))
            else {
                return format!("pid {pid}, gone meanwhile, held up {behind}");
            };
            let who = person(row);
            let since =
                seconds(row, 6).map(|span| format!(", its transaction for {span}")).unwrap_or_default();
            format!("{} holds up {behind}{since}; {}", who.name(), who.does())
        };
        Ok(order.into_iter().map(line).collect())
    }
}

fn person(row: &Row) -> Who {
    Who {
        pid: text(row, 0).unwrap_or_default(),
        user: text(row, 1),
        application: text(row, 2),
        database: text(row, 3),
        state: text(row, 4),
        query: text(row, 5),
    }
}

fn read(row: &Row) -> Blocked {
    let by = text(row, 7).unwrap_or_default();
    let what = format!(
        "{} on {}",
        text(row, 8).unwrap_or_else(|| "a lock".to_owned()),
        text(row, 9).unwrap_or_else(|| "something".to_owned())
    );
    let by = by.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    Blocked { who: person(row), waits: seconds(row, 6), by, what }
}

#[async_trait]
impl Check for NoBlockedSessions {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "at most {} blocked for {} or longer, fewer than {} waiting",
            count(self.at_most.0, "session", "sessions"),
            self.longer_than,
            self.pile_up()
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
    fn the_root_is_who_waits_for_nobody() {
        let waits =
            |pairs: &[(i32, &[i32])]| roots(&pairs.iter().map(|(pid, by)| (*pid, by.to_vec())).collect());
        assert_eq!(waits(&[]), BTreeMap::new());
        assert_eq!(waits(&[(2, &[1]), (3, &[1, 2]), (4, &[3])]), BTreeMap::from([(1, 3)]));
        assert_eq!(waits(&[(2, &[1]), (3, &[9, 2])]), BTreeMap::from([(1, 2), (9, 1)]));
        assert_eq!(waits(&[(2, &[0])]), BTreeMap::from([(0, 1)]), "a prepared transaction");
        assert_eq!(waits(&[(2, &[3]), (3, &[2])]), BTreeMap::new(), "a deadlock ends");
    }
}
