//! Does the planner know its tables? Right after an upgrade it often knows nothing, and a healthy server looks dead.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Cluster, Findings, Words, cell};
use crate::base::{Span, text};
use crate::check::door::{Door, silent};
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Does the planner know its tables?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatisticsPresent {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables with fewer rows need no statistics. 10,000 when not given.
    #[serde(default)]
    min_rows: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "statistics_present",
    summary: "every table of some size has planner statistics",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(StatisticsPresent),
    build,
};

const DOCS: &str = r"
Shows that the planner has statistics of every table of some size, in every database.

**How it is measured.** A table has statistics when `pg_stats` describes its columns and its number of rows is known
(`reltuples`). Tables that lack them and could hold `min_rows` rows are counted up to that number, so that small ones do not matter.

**Passes** when every table and materialized view with at least `min_rows` rows has statistics. **Fails** when one has none, and
names the largest. **Unknown** when a database cannot be entered, when the role may not read a table (`pg_stats` shows only
what one may read), or when no table has that many rows.

Told, and no failure: partitioned tables without statistics of the whole, which autovacuum never makes.

**Traps.** `pg_upgrade` to 17 or older, and every dump and restore, leaves no statistics: run `vacuumdb --all --analyze-in-stages`.
To 18, `pg_upgrade` carries them over, extended statistics (`CREATE STATISTICS`) not. Autovacuum makes them in time, when it is on,
but the service comes back before. Present is not fresh: they may be old.

```yaml
postconditions:
  - statistics_present: { target: new }
```
";

/// The smallest row takes a line pointer and a header.
const SMALLEST_ROW: u64 = 28;

/// Rows of tables that need no statistics, when the runbook names no number.
const MIN_ROWS: u64 = 10_000;

/// Name, quoted for SQL, kind, bytes of its heap, rows as far as known, has statistics, may be read, extended statistics without
/// data.
const TABLES: &str = "select format('%I.%I', n.nspname, c.relname), c.relkind::text, \
    case when c.relkind <> 'p' then pg_relation_size(c.oid) else 0 end, c.reltuples::int8, \
    exists (select from pg_stats s where s.schemaname = n.nspname and s.tablename = c.relname and s.inherited = (c.relkind = 'p')), \
    has_table_privilege(c.oid, 'select') and not row_security_active(c.oid) \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'm', 'p') and c.relpersistence <> 't' and c.relispopulated and c.oid >= 16384 \
    and n.nspname !~ '^pg_(toast|temp)' \
    and exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
        and coalesce(a.attstattarget, -1) <> 0) order by 3 desc, 1";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: StatisticsPresent = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.min_rows == Some(Count(0)) {
        return Err("`min_rows: 0` makes no sense: an empty table has no statistics".to_owned());
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for StatisticsPresent {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let rows = self.rows();
        let expected = format!("statistics of every table with {} rows or more", text::thousands(rows));
        let door = Door::new(KIND.name, &self.target, &expected);
        let cluster = match Cluster::open(door, &self.databases, cx).await {
            Ok(cluster) => cluster,
            Err(outcome) => return outcome,
        };
        let mut findings = Findings { unasked: cluster.closed.clone(), ..Findings::default() };
        for database in &cluster.databases {
            if let Err(why) = self.look(&cluster, database, cx, &mut findings).await {
                findings.unasked.push(why);
            }
        }
        let known = text::count(findings.looked, "table has", "tables have");
        let nothing =
            format!("no table has {} rows or more: there is nothing to measure", text::thousands(rows));
        findings
            .conclude(Words {
                expected: &expected,
                passed: format!("{known} that many rows, and all have statistics"),
                nothing: &nothing,
                help: "run `vacuumdb --all --analyze-in-stages` on the server, then measure again",
            })
            .on(&self.target, cluster.identity)
    }
}

impl StatisticsPresent {
    fn rows(&self) -> u64 {
        self.min_rows.map_or(MIN_ROWS, |rows| rows.0)
    }

    async fn look(
        &self,
        cluster: &Cluster<'_>,
        database: &str,
        cx: &Context,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let session = cluster.enter(database, cx).await?;
        let at = |error: crate::world::pg::QueryError| {
            format!("database {database}: {} ({})", error.message, silent(&error))
        };
        let min_rows = self.rows();
        for row in session.query(TABLES).await.map_err(at)? {
            let (name, kind) = (cell(&row, 0), cell(&row, 1));
            let has = cell(&row, 4) == "t";
            let full = format!("{database}.{name}");
            if kind == "p" {
                if !has {
                    findings.notes.push(format!(
                        "{full} is partitioned and has no statistics of the whole (no failure; ANALYZE makes them)"
                    ));
                }
                continue;
            }
            let number = |column| cell(&row, column).parse::<i64>().unwrap_or(-1);
            let (bytes, known) = (number(2).max(0) as u64, number(3));
            if has && known > 0 {
                findings.looked += u64::from(known as u64 >= min_rows);
                continue;
            }
            if bytes < min_rows.saturating_mul(SMALLEST_ROW) {
                continue;
            }
            if cell(&row, 5) != "t" {
                findings
                    .unasked
                    .push(format!("{full}: no right to read it, so its statistics cannot be seen"));
                continue;
            }
            let sql = format!("select count(*) from (select from only {name} limit {min_rows}) x");
            let counted = session.value(&sql).await.map_err(at)?.and_then(|n| n.parse::<u64>().ok());
            if counted.ok_or_else(|| format!("{full}: the server gave no count"))? < min_rows {
                continue;
            }
            findings.looked += 1;
            findings.failed.push(format!("{full} ({}) has no statistics", crate::base::Size(bytes)));
        }
        Ok(())
    }
}
