//! Does any unique index hold for rows that are there twice? Counts in the tables themselves, never through an index.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::chosen::Chosen;
use super::tally::{Tally, Words, cut};
use super::walk::{BACKSTOP, Room, Task, Walk, Work, cell, list, number, sensible};
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Row, Session};

/// Is every key of every unique index there only once?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoDuplicateKeys {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Databases to look at. All of the server when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables to look at, as `schema.table` or `table`. A partitioned table stands for its partitions. All when not given.
    #[serde(default)]
    tables: Vec<String>,
    /// Look at the system's own tables, too. Default true.
    #[serde(default = "yes")]
    catalogs: Flag,
    /// The longest that all of it may take; what is not reached by then makes the check unknown. Default 1h.
    #[serde(default = "hour")]
    budget: Span,
}

fn yes() -> Flag {
    Flag(true)
}

fn hour() -> Span {
    Span::secs(3600)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "no_duplicate_keys",
    summary: "what a unique index promises is true of the rows themselves",
    docs: DOCS,
    timeout: Some(BACKSTOP),
    schema: || schema_for!(NoDuplicateKeys),
    build,
};

const DOCS: &str = r#"
Shows that what unique indexes promise is true of the rows themselves: no key is there twice.

**How it is measured.** One statement for each valid unique index, primary keys included: its keys are grouped and counted, read
from the table with all index scans off, since a damaged index gives the answer that it believes. Expressions, partial indexes,
collations and `NULLS NOT DISTINCT` are honoured. The small tables come first, one at a time, in every database.

**Passes** when every unique index was looked at and no key was found twice.

**Fails** when a key is there more than once: table, index, number of keys and the first of them are named.

**Unknown** when a table may not be read (the system's own need a superuser; or set `catalogs: false`), is locked, or the `budget`
is spent, and when there is no unique index at all.

**Traps.** Run it on the *source*, before the dump: a dump with duplicates is written without an error, and its restore leaves
the table without the constraint, or empty. With index scans allowed the answer can be 0 while the true answer is 5. Grouping a
large table sorts on disk (`temp_file_limit`, free space). TOAST tables are left out: `heap_intact` follows their values.
Expressions of indexes run functions with the rights of the role that measures.

```yaml
preconditions:
  - no_duplicate_keys: { target: old }
  - no_duplicate_keys: { id: ours, target: old, databases: [synapse], catalogs: false, budget: 6h, timeout: 7h }
```
"#;

const EXPECTED: &str = "every key of every unique index only once";

const WORDS: Words = Words {
    one: "unique index",
    many: "unique indexes",
    wrong: "with duplicate keys",
    fine: "no key twice",
    help: "decide row by row which ones are right, with the application's own tools; do not dump, upgrade or reindex \
           before",
    nothing: "name databases and tables with unique indexes: nothing was compared with nothing",
};

fn build(params: Map<String, Value>) -> Built {
    let check: NoDuplicateKeys =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    sensible(check.budget)?;
    Ok(Box::new(check))
}

/// A unique index, in words of SQL.
#[derive(Debug, Default)]
struct Promise {
    table: String,
    /// Partial indexes: which rows they cover.
    predicate: Option<String>,
    nulls_not_distinct: bool,
    /// Key columns or expressions, each with its collation.
    keys: Vec<(String, Option<String>)>,
}

impl Promise {
    /// Duplicated keys, the rows that have them, and the first three keys.
    fn statement(&self) -> String {
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(key, collation)| match collation {
                Some(collation) => format!("(({key}) collate {collation})"),
                None => format!("({key})"),
            })
            .collect();
        let mut conditions: Vec<String> = self.predicate.iter().map(|p| format!("({p})")).collect();
        if !self.nulls_not_distinct {
            conditions.extend(self.keys.iter().map(|(key, _)| format!("({key}) is not null")));
        }
        let filter = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") };
        let number = |each: fn(usize) -> String| (1..=keys.len()).map(each).collect::<Vec<_>>().join(", ");
        let columns: Vec<String> =
            keys.iter().enumerate().map(|(n, key)| format!("{key} as k{}", n + 1)).collect();
        format!(
            "select pg_catalog.count(*), pg_catalog.sum(n), \
                    pg_catalog.to_json(pg_catalog.array_agg(pg_catalog.concat_ws(', ', {})) \
                                       filter (where nth <= 3))::text \
             from (select {}, pg_catalog.count(*) as n, pg_catalog.row_number() over () as nth \
                   from only {} where {filter} group by {} having pg_catalog.count(*) > 1) d",
            number(|n| format!("pg_catalog.left(k{n}::text, 100)")),
            columns.join(", "),
            self.table,
            number(|n| n.to_string())
        )
    }
}

/// What is done in each database.
struct Counting<'a> {
    chosen: &'a Chosen,
    standby: bool,
    version: u32,
}

#[async_trait]
impl Work for Counting<'_> {
    async fn tasks(
        &self,
        room: &Room,
        session: &Session,
        tally: &mut Tally,
    ) -> Result<Vec<Task>, QueryError> {
        self.chosen.look_up(session).await?;
        let mut tasks = Vec::new();
        let mut invalid = 0_u64;
        let mut current: Option<(u32, Task, Promise)> = None;
        for row in list(session, |size| self.promises(room, size)).await? {
            let oid = number::<u32>(&row, 0)?;
            if cell(&row, 5)? != "t" {
                invalid += u64::from(cell(&row, 8)? == "1");
                continue;
            }
            let key = (cell(&row, 9)?.to_owned(), row.get(10).cloned().flatten());
            match &mut current {
                Some((same, _, promise)) if *same == oid => promise.keys.push(key),
                _ => {
                    tasks.extend(current.take().map(finished));
                    let promise = Promise {
                        table: cell(&row, 2)?.to_owned(),
                        predicate: row.get(6).cloned().flatten(),
                        nulls_not_distinct: cell(&row, 7)? == "t",
                        keys: vec![key],
                    };
                    let label = cell(&row, 1)?.to_owned();
                    let task = Task { oid, label, bytes: number(&row, 3)?, sql: String::new() };
                    current = Some((oid, task, promise));
                }
            }
        }
        tasks.extend(current.take().map(finished));
        if invalid > 0 {
            let what = count(invalid, "unique index is", "unique indexes are");
            tally
                .notes
                .push(format!("database {}: {what} invalid and promises nothing; left out", room.name));
        }
        Ok(tasks)
    }

    fn judge(&self, rows: &[Row]) -> Result<Option<String>, String> {
        let row = rows.first().ok_or("no row came back where one must")?;
        let keys: u64 = number(row, 0).map_err(|error| error.message)?;
        if keys == 0 {
            return Ok(None);
        }
        let all: u64 = number(row, 1).map_err(|error| error.message)?;
        let first = cell(row, 2).map_err(|error| error.message)?;
        let first: Vec<String> = serde_json::from_str(first).map_err(|error| error.to_string())?;
        let (keys, all) = (count(keys, "key", "keys"), count(all, "row", "rows"));
        let first: Vec<String> = first.iter().map(|key| format!("({})", cut(key))).collect();
        Ok(Some(format!("{keys} in {all}, as {}", first.join(", "))))
    }
}

fn finished((_, mut task, promise): (u32, Task, Promise)) -> Task {
    task.sql = format!(
        "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; {}",
        promise.statement()
    );
    task
}

impl Counting<'_> {
    /// One row for each key column.
    fn promises(&self, room: &Room, size: fn(&str) -> String) -> String {
        let bytes = size("t");
        let nulls = if self.version >= 150_000 { "i.indnullsnotdistinct" } else { "false" };
        format!(
            "select i.indexrelid, s.nspname::text || '.' || t.relname::text || ' (index ' || r.relname::text || ')', \
                    pg_catalog.format('%I.%I', s.nspname, t.relname), {bytes}, t.relkind, \
                    i.indisvalid and i.indisready and i.indislive, \
                    pg_catalog.pg_get_expr(i.indpred, i.indrelid), {nulls}, k, \
                    pg_catalog.pg_get_indexdef(i.indexrelid, k, false), \
                    case when c.oid is not null then pg_catalog.format('%I.%I', cs.nspname, c.collname) end \
             from pg_catalog.pg_index i \
             join pg_catalog.pg_class r on r.oid = i.indexrelid \
             join pg_catalog.pg_class t on t.oid = i.indrelid \
             join pg_catalog.pg_namespace s on s.oid = t.relnamespace \
             cross join lateral pg_catalog.generate_series(1, i.indnkeyatts) k \
             left join pg_catalog.pg_collation c on c.oid = (i.indcollation::oid[])[k - 1] \
             left join pg_catalog.pg_namespace cs on cs.oid = c.collnamespace \
             where i.indisunique and t.relkind in ('r', 'm') and t.relpersistence <> 't' \
               and not ({} and t.relpersistence = 'u') and ({} or not t.relisshared) \
               and {bytes} is not null and {} \
             order by i.indexrelid, k",
            self.standby,
            room.first,
            self.chosen.condition("t.oid")
        )
    }
}

#[async_trait]
impl Check for NoDuplicateKeys {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let door = Door::new(KIND.name, &self.target, EXPECTED);
        let mut walk = match Walk::begin(cx, door, &self.databases, self.budget).await {
            Ok(walk) => walk,
            Err(outcome) => return outcome,
        };
        let standby = walk.on_standby();
        if standby {
            walk.tally.notes.push("unlogged tables are empty on a standby, and were left out".to_owned());
        }
        let chosen = Chosen::new(&self.tables, self.catalogs.0);
        let counting = Counting { chosen: &chosen, standby, version: walk.version() };
        let (mut tally, identity) = walk.run(&counting).await;
        chosen.missing(&mut tally);
        tally.outcome(&WORDS, EXPECTED).on(&self.target, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_asked_of_the_rows_it_covers() {
        let mut promise = Promise {
            table: "public.t".to_owned(),
            keys: vec![("a".to_owned(), None), ("lower(b)".to_owned(), Some("pg_catalog.\"C\"".to_owned()))],
            ..Promise::default()
        };
        let sql = promise.statement();
        assert!(sql.contains("from only public.t where (a) is not null and (lower(b)) is not null"), "{sql}");
        assert!(sql.contains("select (a) as k1, ((lower(b)) collate pg_catalog.\"C\") as k2, "), "{sql}");
        assert!(sql.contains(" group by 1, 2 having"), "{sql}");
        promise.nulls_not_distinct = true;
        assert!(promise.statement().contains(" where true group by"));
        promise.predicate = Some("(a > 3)".to_owned());
        assert!(promise.statement().contains(" where ((a > 3)) group by"));
    }
}
