//! May an index go? Only when nobody uses it, on any server, for long enough, and nothing else hangs on it.

mod node;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::node::Node;
use super::index::hidden::Finding;
use super::index::{Index, Method, Statements};
use super::plan_without_index::{NO_WAY, many, sensible, ten};
use super::words::detailed;
use crate::base::text::count;
use crate::base::{Size, Span};
use crate::check::door::{Door, silent};
use crate::check::params::{Count, Ratio};
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;
use crate::world::pg::{QueryError, Session};

/// May an index go?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexDropSafe {
    /// The primary.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// All of its physical replicas. More that are connected make the check unknown.
    #[serde(default)]
    replicas: Vec<Replica>,
    /// Another database of the same server than the target's own.
    #[serde(default)]
    database: Option<String>,
    /// The index, as `schema.index` or `index`.
    #[schemars(length(min = 1))]
    index: String,
    /// For how long each server must have been counting: longer than the rarest job. Default 35d, which covers what
    /// runs once a month.
    #[serde(default = "a_month")]
    min_stats_age: Span,
    /// Statements that must stay quick without the index, with real values in place of parameters. They are planned, never
    /// executed.
    #[serde(default)]
    statements: Vec<String>,
    /// How many times the planner's cost of such a statement may grow. Default 10.
    #[serde(default = "ten")]
    max_cost_ratio: Ratio,
    /// A table of more rows must not be read from end to end by them where it was not before. Default 100000.
    #[serde(default = "many")]
    max_seq_rows: Count,
    /// `hypopg` (default), or `rolled_back` to allow the other way where hypopg is not installed: see
    /// `plan_without_index`.
    #[serde(default)]
    method: Method,
}

/// The name of a target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Replica(String);

impl JsonSchema for Replica {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Replica".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "target", "description": "The name of a target: a replica." })
    }
}

fn a_month() -> Span {
    Span::secs(35 * 86_400)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "index_drop_safe",
    summary: "nobody uses an index, on any server, for long enough, and nothing else hangs on it",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(IndexDropSafe),
    build,
};

const DOCS: &str = r#"
Shows that an index may go: nobody has used it for long enough, on the primary and on every replica, and nothing else hangs on it.

**How it is measured.** On each server: how often the index was scanned (`pg_stat_all_indexes`; from 16 on also when last), and since
when that is counted: the later of the last reset of the statistics and the last crash, which empties them
(`pg_stat_bgwriter.stats_reset` moves with it). On the primary: what hangs on the index in the catalogues. For each of
`statements`: its plan without the index, as in `plan_without_index`.

**Passes** only when all of this holds: no scan on any server, or from 16 on none for `min_stats_age`; each server has been counting
for `min_stats_age`; the index is not unique, no primary key, exclusion constraint, replica identity, cluster order or part of a
partitioned table's index, and no constraint rests on it; no foreign key would be left without an index; every statement has
a plan that is good enough. The statement that makes the index again is among the details: keep it.

**Fails** when one of them does not hold; all of them are told.

**Unknown** when a server cannot be reached, is no replica of the primary, has not counted for long enough or does not say since when,
or when more standbys are connected than are named.

**Traps.** "Never scanned, never reset" may mean "crashed an hour ago". Each server counts for itself: the reports that run on the
replica show only there. The checks of a unique index on insert are not counted as scans, and the look-ups of a foreign key only
once a row of the parent is deleted; the planner may scan an index to find its largest value, and that counts. A standby that is down counts nothing and is not connected: name it, then it is missed.
How old the index is, is not known: a young one has not been used yet. Drop with `drop index concurrently` and a `lock_timeout`,
watch for a day, and have room and time to build it again (`disk_free`).

```yaml
preconditions:
  - index_drop_safe:
      target: old
      replicas: [new]
      database: synapse
      index: event_push_actions_rm_tokens
      statements:
        - delete from event_push_actions where room_id = '!a:b' and event_id = '$c'
```
"#;

fn build(params: Map<String, Value>) -> Built {
    let check: IndexDropSafe =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if check.min_stats_age.0.is_zero() {
        return Err("`min_stats_age` is zero: counters that were just emptied would pass".to_owned());
    }
    sensible(&check.statements, check.max_cost_ratio)?;
    let mut names: Vec<&str> = check.replicas.iter().map(|replica| replica.0.as_str()).collect();
    names.push(&check.target);
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("a target is named twice among `target` and `replicas`".to_owned());
    }
    Ok(Box::new(check))
}

/// What speaks against it, what is not known, and the rest.
#[derive(Default)]
struct Case {
    against: Vec<String>,
    unknown: Vec<String>,
    notes: Vec<String>,
    way: Option<String>,
}

impl Case {
    fn unknown(&mut self, line: String, way: &str) {
        self.unknown.push(line);
        self.way.get_or_insert_with(|| way.to_owned());
    }
}

impl IndexDropSafe {
    fn expected(&self) -> String {
        let where_ = match self.replicas.len() {
            0 => String::new(),
            1 => " and on 1 replica".to_owned(),
            n => format!(" and on {n} replicas"),
        };
        format!(
            "{} unused for {} on {}{where_}, with nothing hanging on it",
            self.index, self.min_stats_age, self.target
        )
    }

    /// The primary's part: the index, its statistics, the plans.
    async fn primary(
        &self,
        cx: &Context,
        session: &Session,
        case: &mut Case,
    ) -> Result<Option<(Index, Node, String)>, QueryError> {
        if session.identity().in_recovery {
            case.unknown(format!("{} is a standby, not the primary", self.target), "correct the target");
            return Ok(None);
        }
        let index = match Index::find(session, &self.index).await? {
            Ok(index) => index,
            Err(why) => {
                case.unknown(why, "correct the name of the index");
                return Ok(None);
            }
        };
        case.against.extend(index.roles.iter().cloned());
        for key in &index.foreign_keys {
            case.against.push(format!(
                "the foreign key {} would have no index: each deletion from {} would read all of {}",
                key.name, key.parent, index.table
            ));
        }
        if index.expressions {
            case.notes.push(
                "its expressions have statistics that the planner uses even when the index is not scanned"
                    .to_owned(),
            );
        }
        if !index.valid {
            case.notes.push("the index is invalid: no query uses it".to_owned());
        }
        let node = Node::ask(session, &self.target, index.oid).await?;
        let database = session.value("select pg_catalog.current_database()").await?.unwrap_or_default();
        if !self.statements.is_empty() && !index.partitioned {
            self.plans(cx, session, &index, case).await?;
        }
        Ok(Some((index, node, database)))
    }

    async fn plans(
        &self,
        cx: &Context,
        session: &Session,
        index: &Index,
        case: &mut Case,
    ) -> Result<(), QueryError> {
        if index.rows.is_none_or(|rows| rows == 0) {
            let why = format!("{} is empty or was never analysed: its plans tell nothing", index.table);
            case.unknown(why, "run `analyze` on it, then measure again");
            return Ok(());
        }
        let statements = Statements {
            all: &self.statements,
            max_cost_ratio: self.max_cost_ratio,
            max_seq_rows: self.max_seq_rows,
            method: self.method,
        };
        for finding in statements.compare(cx, &self.target, KIND.name, session, index).await? {
            match finding {
                Finding::Fine(line) => case.notes.push(line),
                Finding::Worse(line) | Finding::Uses(line) => case.against.push(line),
                Finding::Unplanned(line) => case.unknown(line, NO_WAY),
            }
        }
        Ok(())
    }

    /// What one replica says, or why it says nothing.
    async fn replica(
        &self,
        cx: &Context,
        name: &str,
        primary: &Identity,
        index: &Index,
        database: &str,
    ) -> Result<(Node, Identity), (String, String)> {
        let door = Door::new(KIND.name, name, "").database(database);
        let (session, identity) =
            door.open(cx).await.map_err(|outcome| (outcome.observed, outcome.help.unwrap_or_default()))?;
        let related = match (primary, &identity) {
            (Identity::Postgres(a), Identity::Postgres(b)) => {
                b.in_recovery && a.system_identifier == b.system_identifier
            }
            _ => false,
        };
        if !related || primary.same_object(&identity) {
            let why = format!("{name} is no physical replica of {}: {}", self.target, identity.describe());
            return Err((why, "name the replicas of this primary".to_owned()));
        }
        let node = Node::ask(&session, name, index.oid)
            .await
            .map_err(|error| (format!("{name}: {error}"), silent(&error).to_owned()))?;
        Ok((node, identity))
    }

    fn outcome(&self, case: Case, index: Option<&Index>, nodes: &[Node]) -> Outcome {
        let Case { against, unknown, notes, way } = case;
        let expected = self.expected();
        let outcome = if let Some(first) = against.first() {
            let more = match against.len() {
                1 => String::new(),
                n => format!(" (and {} more against it)", n - 1),
            };
            Outcome::fail(format!("keep {}: {first}{more}", self.index), expected)
                .help("keep the index; what speaks against dropping it is in the details")
        } else if let Some(first) = unknown.first() {
            Outcome::unknown(first.clone(), expected).help(way.unwrap_or_default())
        } else {
            let each: Vec<String> = nodes.iter().map(Node::summary).collect();
            Outcome::pass(each.join("; "), expected)
        };
        let mut lines: Vec<String> = Vec::new();
        if against.len() + unknown.len() > 1 {
            lines.extend(against.iter().map(|line| format!("against: {line}")));
            lines.extend(unknown.iter().map(|line| format!("not known: {line}")));
        }
        lines.extend(nodes.iter().map(Node::summary));
        lines.extend(notes);
        let mut outcome = detailed(outcome, &lines);
        if let Some(index) = index {
            outcome = outcome
                .detail(format!(
                    "{} ({}) is made again by: {}",
                    index.name,
                    Size(index.bytes),
                    index.definition
                ))
                .fact("index_bytes", index.bytes)
                .fact("definition", index.definition.clone());
        }
        outcome.fact("servers", nodes.len()).fact("against", against.len()).fact("not_known", unknown.len())
    }
}

#[async_trait]
impl Check for IndexDropSafe {
    fn targets(&self) -> Vec<String> {
        std::iter::once(&self.target).chain(self.replicas.iter().map(|replica| &replica.0)).cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let mut door = Door::new(KIND.name, &self.target, &expected);
        door.database = self.database.as_deref();
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let mut case = Case::default();
        let (index, node, database) = match self.primary(cx, &session, &mut case).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.outcome(case, None, &[]).on(&self.target, identity),
            Err(error) => {
                return door.unanswered(&error).on(&self.target, identity);
            }
        };
        let asked = self.replicas.iter().map(|one| self.replica(cx, &one.0, &identity, &index, &database));
        let answers = futures::future::join_all(asked).await;
        let (mut nodes, mut seen) = (vec![node], vec![(self.target.clone(), identity)]);
        for (replica, answer) in self.replicas.iter().zip(answers) {
            match answer {
                Ok((_, identity)) if seen.iter().any(|(_, other)| other.same_object(&identity)) => {
                    case.unknown(
                        format!("{} is a server that was named already", replica.0),
                        "correct the replicas",
                    );
                }
                Ok((node, identity)) => {
                    nodes.push(node);
                    seen.push((replica.0.clone(), identity));
                }
                Err((why, way)) => case.unknown(why, &way),
            }
        }
        for node in &nodes {
            match node.judge(self.min_stats_age) {
                Ok(()) => {}
                Err(node::Objection::Used(line)) => case.against.push(line),
                Err(node::Objection::Vague(line, way)) => case.unknown(line, way),
            }
            case.notes.extend(node.idle_slots.iter().map(|slot| {
                format!("{}: the slot {slot} has no standby now; is there one that is not named?", node.name)
            }));
        }
        let connected: u64 = nodes.iter().map(|node| node.standbys).sum();
        if connected > self.replicas.len() as u64 {
            let there = count(connected, "standby is", "standbys are");
            let line = format!("{there} connected, and {} named", self.replicas.len());
            case.unknown(line, "name every replica in `replicas`: each counts for itself");
        }
        let outcome = self.outcome(case, Some(&index), &nodes);
        seen.into_iter().fold(outcome, |outcome, (name, identity)| outcome.on(&name, identity))
    }
}
