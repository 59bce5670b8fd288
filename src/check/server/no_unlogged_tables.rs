//! Would a crash empty a table? What is not logged is not in a base backup, not on a standby, and gone after a crash.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Size, Span, text};
use crate::check::door::Door;
use crate::check::registry::CheckKind;
use crate::check::survey::{Cluster, Findings, Words, cell};
use crate::check::{Check, Context, Outcome};

/// Would a crash empty a table?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoUnloggedTables {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables that may be unlogged, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A table that may be unlogged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The table: `schema.name` or `database.schema.name`.
    #[schemars(length(min = 1))]
    table: String,
    /// Why it may be lost. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "no_unlogged_tables",
    summary: "no table is unlogged, and so lost in a crash, in a failover, or in a restored base backup",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(NoUnloggedTables),
    build,
};

const DOCS: &str = r"
Shows that every table survives a crash, a failover and a restored base backup: none is `UNLOGGED` but those declared.

**How it is measured.** The catalogue of every database, tables and sequences. Each unlogged one is named with its size and about how
many rows it has.

**Passes** when no table is unlogged. **Fails** when one is. **Unknown** when a database cannot be entered, or when there is no table
at all.

**Traps.** After a crash an unlogged table is empty, and the server says nothing. On a standby it cannot be read, a failover leaves it
empty, and a base backup holds only its definition; `pg_dump` does read it. Tables are often made unlogged to load them
faster, and forgotten: `alter table … set logged` writes all of it to the log, and locks it meanwhile. The size that a standby shows is
none. On 17 and older, a partitioned table that is declared unlogged passes nothing on to its partitions: each is judged by itself.

```yaml
preconditions:
  - no_unlogged_tables: { target: old }
  - no_unlogged_tables:
      id: before-failover
      target: old
      databases: [app]
      except: [{ table: public.cache, reason: is filled again at start }]
```
";

/// Tables that hold rows, and sequences that no unlogged table owns: kind, unlogged, and of those bytes; rows as estimated.
const TABLES: &str = "select format('%I.%I', n.nspname, c.relname), c.relkind::text, c.relpersistence = 'u', \
    case when c.relpersistence = 'u' then pg_total_relation_size(c.oid) end, c.reltuples::int8 \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'S') and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
    and not (c.relkind = 'S' and exists (select from pg_depend d join pg_class t on t.oid = d.refobjid \
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass \
        and d.deptype in ('a', 'i') and t.relpersistence = 'u')) \
    order by c.relkind = 'S', 4 desc nulls last, 1";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: NoUnloggedTables = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.table));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for NoUnloggedTables {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "no unlogged table";
        let cluster =
            match Cluster::open(Door::new(KIND.name, &self.target, expected), &self.databases, cx).await {
                Ok(cluster) => cluster,
                Err(outcome) => return outcome,
            };
        let mut findings = Findings { unasked: cluster.closed.clone(), ..Findings::default() };
        for database in &cluster.databases {
            if let Err(why) = self.of_database(&cluster, database, cx, &mut findings).await {
                findings.unasked.push(why);
            }
        }
        let passed = format!(
            "{} looked at, none unlogged{}",
            text::count(findings.looked, "table", "tables"),
            if findings.notes.is_empty() { "" } else { " but those excepted" }
        );
        findings
            .conclude(Words {
                expected,
                passed,
                nothing: "there is no table",
                help: "`alter table … set logged` (it locks the table while it is written to the log), or declare it in `except`",
            })
            .on(&self.target, cluster.identity)
    }
}

impl NoUnloggedTables {
    async fn of_database(
        &self,
        cluster: &Cluster<'_>,
        database: &str,
        cx: &Context,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let rows = cluster.rows(database, TABLES, cx).await?;
        for row in rows {
            let (name, sequence) = (cell(&row, 0), cell(&row, 1) == "S");
            findings.looked += u64::from(!sequence);
            if cell(&row, 2) != "t" {
                continue;
            }
            let full = format!("{database}.{name}");
            let found = match sequence {
                true => format!("sequence {full} is unlogged"),
                false => format!("table {full} is unlogged ({})", extent(cell(&row, 3), cell(&row, 4))),
            };
            match self.except.iter().find(|e| e.table == name || e.table == full) {
                Some(except) => findings.notes.push(format!("excepted ({}): {found}", except.reason)),
                None => findings.failed.push(found),
            }
        }
        Ok(())
    }
}

/// `1.20 GiB, about 3,000,000 rows`. The planner's number is below zero when nobody has counted yet, and 0 says as little.
fn extent(bytes: &str, rows: &str) -> String {
    let size = bytes.parse().map_or_else(|_| "of unknown size".to_owned(), |bytes| Size(bytes).to_string());
    match rows.parse::<i64>() {
        Ok(rows) if rows > 0 => format!("{size}, about {}", text::count(rows.unsigned_abs(), "row", "rows")),
        _ => format!("{size}, rows not counted yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_rows_is_told_only_when_there_is_one() {
        assert_eq!(extent("8192", "12"), "8.00 KiB, about 12 rows");
        assert_eq!(extent("8192", "-1"), "8.00 KiB, rows not counted yet");
        assert_eq!(extent("", "0"), "of unknown size, rows not counted yet");
    }
}
