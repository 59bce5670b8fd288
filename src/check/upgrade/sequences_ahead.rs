//! Will the next value of every sequence be a new one? A copy that carries rows and not sequences (logical replication,
//! a data-only restore) looks right until the first insert.

mod judge;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Cluster, Findings, Words};
use crate::base::{Span, text};
use crate::check::door::{Door, silent};
use crate::check::registry::CheckKind;
use crate::check::sequences::{PAIRS, SEQUENCES, Standing, standings};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{Session, literal};
use judge::{Fed, Sight};

/// Will the next value of every sequence be a new one?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequencesAhead {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Another target: no sequence may stand behind the one of the same name there either. Catches sequences that feed no
    /// column, too.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    source: Option<String>,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Sequences that the application itself puts into a column: the catalogue does not know of them.
    #[serde(default)]
    feeds: Vec<Feeds>,
    /// Sequences that need not be ahead, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A sequence that the application puts into a column.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Feeds {
    /// The sequence: `name` (in schema public) or `schema.name`.
    #[schemars(length(min = 1))]
    sequence: String,
    /// The table: `name` (in schema public) or `schema.name`.
    #[schemars(length(min = 1))]
    table: String,
    /// The column.
    #[schemars(length(min = 1))]
    column: String,
    /// The database; the target's own when not given.
    #[serde(default)]
    database: Option<String>,
}

/// A sequence that need not be ahead.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The sequence: `schema.name` or `database.schema.name`.
    #[schemars(length(min = 1))]
    sequence: String,
    /// Why it need not be ahead. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "sequences_ahead",
    summary: "every sequence that feeds a column will give values that the column does not have yet",
    docs: DOCS,
    timeout: Some(Span::secs(900)),
    schema: || schema_for!(SequencesAhead),
    build,
};

const DOCS: &str = r"
Shows that no sequence is behind the column that it feeds, in any database: the next insert gets a new value.

**How it is measured.** The catalogue names the pairs of sequence and column: `serial` and identity columns, sequences owned
by a column, and every default that calls `nextval`. For each pair the highest value of the column (the lowest, when the
sequence descends) is read with the position of the sequence, in one statement. With `source`, each sequence is also compared
with the one of the same name there.

**Passes** when the next value of each lies beyond the column. **Fails** when one is behind: the sequence, its next value and
the column's highest are named. **Unknown** when a database, a table or a sequence may not be read, when a default computes
something from the sequence's value (`'T-' || nextval(…)`) so that the two cannot be compared, when no sequence feeds a
column, or when all of those columns are empty and there is no `source`.

**Traps.** Logical replication carries no sequences, and neither does `pg_dump --data-only -t`. Some applications fetch values
themselves and put them into a column: the catalogue does not know, so name those in `feeds`, or compare with a `source`.
`nextval('name'::text)` leaves no trace in the catalogue either. Sequences that cycle are shown and not judged. `max()` uses an
index where there is one; a damaged index can mislead it.

```yaml
postconditions:
  - sequences_ahead: { target: new }
  - sequences_ahead:
      id: against-old
      target: new
      source: old
      feeds: [{ sequence: events_stream_seq, table: events, column: stream_ordering }]
      except: [{ sequence: public.tmp_seq, reason: nothing uses it any more }]
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: SequencesAhead = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.source.as_ref() == Some(&it.target) {
        return Err("`source` and `target` are the same target".to_owned());
    }
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.sequence));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for SequencesAhead {
    fn targets(&self) -> Vec<String> {
        std::iter::once(self.target.clone()).chain(self.source.clone()).collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "every sequence beyond what its column holds";
        let door = |target| Door {
            limit: std::time::Duration::from_secs(600),
            ..Door::new(KIND.name, target, expected)
        };
        let cluster = match Cluster::open(door(&self.target), &self.databases, cx).await {
            Ok(cluster) => cluster,
            Err(outcome) => return outcome,
        };
        let source = match &self.source {
            None => None,
            Some(name) => match Cluster::open(door(name), &self.databases, cx).await {
                Ok(source) if source.identity.same_object(&cluster.identity) => {
                    return Outcome::fail(
                        format!("`{name}` and `{}` are one", self.target),
                        "two different servers",
                    )
                    .help("correct the addresses of the targets");
                }
                Ok(source) => Some((name, source)),
                Err(outcome) => return outcome,
            },
        };
        let mut findings = Findings { unasked: cluster.closed.clone(), ..Findings::default() };
        let mut sights = Vec::new();
        for database in &cluster.databases {
            match self.of_database(&cluster, database, cx).await {
                Ok(seen) => sights.extend(seen),
                Err(why) => findings.unasked.push(why),
            }
        }
        let filled = sights.iter().filter(|sight| sight.filled()).count() as u64;
        findings.looked = filled;
        judge::sort(sights, |database, name| self.excepted(database, name), &mut findings);
        if let Some((_, source)) = &source {
            findings.unasked.extend(source.closed.clone());
            for database in &source.databases {
                self.against(source, &cluster, database, cx, &mut findings).await;
            }
        }
        let outcome = findings.conclude(Words {
            expected,
            passed: match &source {
                None => format!("{}, none behind its column", text::count(filled, "sequence", "sequences")),
                Some((name, _)) => format!("no sequence is behind its column or behind {name}"),
            },
            nothing: "no sequence feeds a column that holds a value: there is nothing to compare with",
            help: "set it with `select setval(…)` to the column's highest value, then measure again",
        });
        let outcome = outcome.on(&self.target, cluster.identity);
        match source {
            Some((name, source)) => outcome.on(name, source.identity),
            None => outcome,
        }
    }
}

impl SequencesAhead {
    fn excepted(&self, database: &str, sequence: &str) -> Option<&str> {
        let full = format!("{database}.{sequence}");
        let it = self.except.iter().find(|e| e.sequence == sequence || e.sequence == full)?;
        Some(&it.reason)
    }

    async fn of_database(
        &self,
        cluster: &Cluster<'_>,
        database: &str,
        cx: &Context,
    ) -> Result<Vec<Sight>, String> {
        let at = |error: crate::world::pg::QueryError| {
            format!("database {database}: {} ({})", error.message, silent(&error))
        };
        let session = cluster.enter(database, cx).await?;
        let mut pairs: Vec<Fed> =
            session.query(PAIRS).await.map_err(at)?.iter().map(|row| Fed::read(database, row)).collect();
        let own = session.value("select current_database()").await.map_err(at)?;
        let main = cluster.main.value("select current_database()").await.map_err(at)?;
        for feeds in &self.feeds {
            if feeds.database.as_ref().or(main.as_ref()) == own.as_ref() {
                pairs.push(feeds.find(database, &session).await?);
            }
        }
        let mut seen = Vec::new();
        for fed in pairs {
            let values = match fed.query() {
                None => None,
                Some(sql) => {
                    let rows = session.query(&sql).await.map_err(at)?;
                    let row = rows.first().ok_or_else(|| format!("{}: no answer", fed.name()))?;
                    Some((row.first().cloned().flatten(), Standing::read(&row[1..])?))
                }
            };
            seen.push(Sight { fed, values });
        }
        Ok(seen)
    }

    /// No sequence of the source may be ahead of the target's.
    async fn against(
        &self,
        source: &Cluster<'_>,
        target: &Cluster<'_>,
        database: &str,
        cx: &Context,
        findings: &mut Findings,
    ) {
        let (was, is) = match (source.enter(database, cx).await, target.enter(database, cx).await) {
            (Ok(was), Ok(is)) => (was, is),
            (Err(why), _) | (_, Err(why)) => return findings.unasked.push(why),
        };
        let (was, is) = match (every(&was).await, every(&is).await) {
            (Ok(was), Ok(is)) => (was, is),
            (Err(why), _) | (_, Err(why)) => {
                return findings.unasked.push(format!("database {database}: {why}"));
            }
        };
        for (name, a) in was {
            findings.looked += 1;
            let found = match is.iter().find(|(other, _)| *other == name) {
                None => format!("sequence {database}.{name} is not there"),
                Some((_, b)) if a.cycles || !b.behind(&a) => continue,
                Some((_, b)) => format!(
                    "sequence {database}.{name} gives {} next, and {} in the source",
                    b.next(),
                    a.next()
                ),
            };
            match self.excepted(database, &name) {
                Some(reason) => findings.notes.push(format!("excepted ({reason}): {found}")),
                None => findings.failed.push(found),
            }
        }
    }
}

impl Feeds {
    /// Resolves the names; an error when one of them does not exist.
    async fn find(&self, database: &str, session: &Session) -> Result<Fed, String> {
        let full = |name: &str| if name.contains('.') { name.to_owned() } else { format!("public.{name}") };
        let sql = format!(
            "select format('%I.%I', n.nspname, c.relname), q.seqincrement, q.seqcycle, t.oid::regclass::text, quote_ident(a.attname), \
             true, true, '' from pg_sequence q join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace, \
             pg_class t join pg_attribute a on a.attrelid = t.oid and not a.attisdropped \
             where q.seqrelid = to_regclass({}) and t.oid = to_regclass({}) and a.attname = {}",
            literal(&full(&self.sequence)),
            literal(&full(&self.table)),
            literal(&self.column)
        );
        let rows =
            session.query(&sql).await.map_err(|error| format!("database {database}: {}", error.message))?;
        rows.first().map(|row| Fed::read(database, row)).ok_or_else(|| {
            format!(
                "database {database} has no sequence {} or no column {}.{}, which `feeds` names",
                self.sequence, self.table, self.column
            )
        })
    }
}

async fn every(session: &Session) -> Result<Vec<(String, Standing)>, String> {
    let rows = session.query(SEQUENCES).await.map_err(|error| error.message)?;
    standings(session, &rows).await
}
