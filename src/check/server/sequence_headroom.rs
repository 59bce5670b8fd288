//! How long until a sequence has no further value, or its column cannot hold the next one? Inserts then fail all at once.

mod judge;

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Span, text};
use crate::check::door::{Door, silent};
use crate::check::params::Percent;
use crate::check::registry::CheckKind;
use crate::check::sequences::{PAIRS, REFERENCES, standings};
use crate::check::survey::{Cluster, Findings, Words, cell};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Session;
use judge::{Column, Run};

/// How long until a sequence has no further value, or its column cannot hold the next one?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceHeadroom {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// The largest part of its values that a sequence may have used up; 75% when not given.
    #[serde(default = "three_quarters")]
    at_most: Percent,
    /// Sequences that may run out, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A sequence that may run out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The sequence: `schema.name` or `database.schema.name`.
    #[schemars(length(min = 1))]
    sequence: String,
    /// Why it may run out. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

fn three_quarters() -> Percent {
    Percent(75.0)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "sequence_headroom",
    summary: "no sequence, and no column that it feeds, is near the end of what it can hold",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(SequenceHeadroom),
    build,
};

const DOCS: &str = r"
Shows that every sequence has values left, and that the columns it feeds can hold them: an `integer` column ends at 2,147,483,647,
whatever its sequence could still give.

**How it is measured.** In every database: where each sequence stands, its bounds, and the columns that it feeds (`serial`,
identity, defaults that call `nextval`), with the foreign keys that refer to those columns. What ends first counts: the
sequence's own `MAXVALUE` (or `MINVALUE` when it descends), its column, or a narrower column that refers to it. The part used up is
counted from zero, or from the sequence's bound where that lies on the near side of zero or where it starts beyond it.

**Passes** when every sequence has used up at most `at_most` (75 %). **Fails** when one has used up more; it is named with the column
that ends first. **Unknown** when a database cannot be entered, a sequence may not be read, or no sequence is
left to judge.

Told, and no failure: sequences that cycle before their column ends.

**Traps.** The dangerous ones are `bigint` sequences before `integer` columns: by themselves they are hardly used. A column that was
made `bigint` may have a foreign key elsewhere that is still `integer`. Values that the application fetches and puts into a column
by itself leave no trace in the catalogue: only the sequence's own end is judged then. A value that rows already have is another
matter: `sequences_ahead`. Changing the type of a column rewrites the table and locks it: begin long before the end.

```yaml
preconditions:
  - sequence_headroom: { target: old }
  - sequence_headroom:
      id: early
      target: old
      at_most: 50%
      except: [{ sequence: public.batch_seq, reason: is set back every month }]
```
";

/// Name, step, cycles, smallest, largest, first, whether it may be read.
const BOUNDS: &str = "select format('%I.%I', n.nspname, c.relname), q.seqincrement, q.seqcycle, q.seqmin, q.seqmax, q.seqstart, \
    has_sequence_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') \
    and not (c.relpersistence = 'u' and pg_is_in_recovery()) from pg_sequence q \
    join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace \
    where c.relpersistence <> 't' order by 1";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: SequenceHeadroom = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.at_most.0 >= 100.0 {
        return Err("`at_most: 100%` is the end itself: inserts fail there".to_owned());
    }
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.sequence));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for SequenceHeadroom {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("at most {} of every sequence used up", self.at_most);
        let door = Door::new(KIND.name, &self.target, &expected).limit(Duration::from_secs(120));
        let cluster = match Cluster::open(door, &self.databases, cx).await {
            Ok(cluster) => cluster,
            Err(outcome) => return outcome,
        };
        let mut findings = Findings { unasked: cluster.closed.clone(), ..Findings::default() };
        let mut runs = Vec::new();
        for database in &cluster.databases {
            match cluster.enter(database, cx).await {
                Ok(session) => match of_database(database, &session, &mut findings.unasked).await {
                    Ok(seen) => runs.extend(seen),
                    Err(why) => findings.unasked.push(format!("database {database}: {why}")),
                },
                Err(why) => findings.unasked.push(why),
            }
        }
        let fullest = judge::sort(&runs, self.at_most, |run| self.excepted(run), &mut findings);
        let standing = fullest.map(Run::standing).unwrap_or_default();
        let passed =
            format!("the fullest of {}: {standing}", text::count(findings.looked, "sequence", "sequences"));
        let most = fullest.map(Run::percent);
        let mut outcome = findings.conclude(Words {
            expected: &expected,
            passed,
            nothing: "there is no sequence to judge",
            help: "plan now: make the column (and what refers to it) bigint, or give the sequence a wider range; both before it \
                   ends",
        });
        if let Some(most) = most {
            outcome = outcome.fact("fullest_percent", (most * 10.0).round() / 10.0);
        }
        outcome.on(&self.target, cluster.identity)
    }
}

impl SequenceHeadroom {
    fn excepted(&self, run: &Run) -> Option<&str> {
        let full = format!("{}.{}", run.database, run.sequence);
        let it = self.except.iter().find(|e| e.sequence == run.sequence || e.sequence == full)?;
        Some(&it.reason)
    }
}

/// Every sequence of a database; those that may not be read are told.
async fn of_database(
    database: &str,
    session: &Session,
    unasked: &mut Vec<String>,
) -> Result<Vec<Run>, String> {
    let at = |error: crate::world::pg::QueryError| format!("{} ({})", error.message, silent(&error));
    let (open, hidden): (Vec<_>, Vec<_>) =
        session.query(BOUNDS).await.map_err(at)?.into_iter().partition(|row| cell(row, 6) == "t");
    unasked.extend(hidden.iter().map(|row| format!("sequence {database}.{} may not be read", cell(row, 0))));
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = session.query(PAIRS).await.map_err(at)?;
    let references = session.query(REFERENCES).await.map_err(at)?;
    let standings = standings(session, &open).await?;
    let mut runs = Vec::new();
    for row in &open {
        let name = cell(row, 0);
        let (_, standing) = standings
            .iter()
            .find(|(other, _)| other == name)
            .ok_or_else(|| format!("sequence {name} is gone; measure again"))?;
        let number = |column| {
            cell(row, column).parse::<i64>().map_err(|_| format!("sequence {name} does not tell its bounds"))
        };
        let mut columns = Vec::new();
        for pair in pairs.iter().filter(|pair| cell(pair, 0) == name) {
            // A value that goes through an expression says nothing about the column.
            if cell(pair, 6) == "t" {
                columns.extend(Column::read(&pair[3..5], &pair[7..]));
            }
            let refers = |row: &&crate::world::pg::Row| row[..2] == pair[3..5];
            columns.extend(
                references.iter().filter(refers).filter_map(|row| Column::read(&row[2..4], &row[4..])),
            );
        }
        runs.push(Run {
            database: database.to_owned(),
            sequence: name.to_owned(),
            standing: *standing,
            smallest: number(3)?,
            largest: number(4)?,
            start: number(5)?,
            columns,
        });
    }
    Ok(runs)
}
