//! Are the tables themselves sound? Reads every page with amcheck's `verify_heapam`.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::amcheck::Amcheck;
use super::chosen::Chosen;
use super::tally::{Tally, Words};
use super::walk::{BACKSTOP, Room, Task, Walk, Work, cell, list, number, sensible};
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Row, Session};

/// Are the tables themselves sound?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeapIntact {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Databases to look at. All of the server when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables to look at, as `schema.table` or `table`, with their TOAST tables. A partitioned table stands for its
    /// partitions. All when not given.
    #[serde(default)]
    tables: Vec<String>,
    /// Look at the system's own tables, too. Default true.
    #[serde(default = "yes")]
    catalogs: Flag,
    /// Follow every value that is stored out of line into its TOAST table. Default true.
    #[serde(default = "yes")]
    toast_values: Flag,
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
    name: "heap_intact",
    summary: "every page of every table can be read and makes sense",
    docs: DOCS,
    timeout: Some(BACKSTOP),
    schema: || schema_for!(HeapIntact),
    build,
};

const DOCS: &str = r#"
Shows that every page of every table can be read and makes sense: line pointers, tuple headers, transaction ids, values that
are stored out of line.

**How it is measured.** With `verify_heapam` of the extension `amcheck` (PostgreSQL 14 and later), in every database, for every
table, materialized view and TOAST table, the small ones first, one at a time. It takes the lock of a reader. On servers with
data checksums, reading each page proves its checksum, too. Works on a standby.

**Passes** when all were read and nothing was found. A template database that lacks the extension is left out, and said so.

**Fails** when `verify_heapam` reports something, or the server cannot read a page (bad checksum, I/O error, missing file).

**Unknown** when `amcheck` is not installed in a database (an administrator does that; the check changes nothing), the role may
not run it, the server is older than 14, a table is locked or not stored as a heap, or the `budget` is spent.

**Traps.** Without data checksums a flipped bit *inside a value* is seen by no one: not by this check, and not by a dump. Only a
comparison of contents with a sound copy (`data_matches`) can. Rows lost by a damaged line pointer are missing from a dump without
any error, and so are duplicates: use `indexes_intact` and `no_duplicate_keys` beside this check. A physical copy, a standby
included, carries damage along: check it, too. Unlogged tables are empty on a standby and are left out there.

```yaml
preconditions:
  - heap_intact: { target: old }
  - heap_intact: { id: the-big-one, target: old, databases: [synapse], tables: [public.events], budget: 6h, timeout: 7h }
```
"#;

const EXPECTED: &str = "tables without damage";

const WORDS: Words = Words {
    one: "table",
    many: "tables",
    wrong: "damaged",
    fine: "no damage found",
    help: "write nothing more to it: keep a copy of the cluster's files as they are now, then compare with a \
           standby or a backup from before the damage",
    nothing: "name the databases and tables that should be there",
};

fn build(params: Map<String, Value>) -> Built {
    let check: HeapIntact =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    sensible(check.budget)?;
    Ok(Box::new(check))
}

/// What is done in each database.
struct Reading<'a> {
    chosen: &'a Chosen,
    standby: bool,
    toast_values: bool,
}

#[async_trait]
impl Work for Reading<'_> {
    async fn tasks(
        &self,
        room: &Room,
        session: &Session,
        tally: &mut Tally,
    ) -> Result<Vec<Task>, QueryError> {
        self.chosen.look_up(session).await?;
        let Some(amcheck) = Amcheck::find(room, session, tally).await? else { return Ok(Vec::new()) };
        let Some(function) = amcheck.callable("verify_heapam", room, tally) else { return Ok(Vec::new()) };
        let mut tasks = Vec::new();
        for row in list(session, |size| self.tables(room, size)).await? {
            let (oid, label) = (number::<u32>(&row, 0)?, cell(&row, 1)?.to_owned());
            if cell(&row, 3)? != "heap" {
                let line =
                    format!("{label} in database {}: stored as {}, not as a heap", room.name, cell(&row, 3)?);
                tally.missed(
                    line,
                    "check it with the means of its own storage, and name the other `tables` here",
                );
                continue;
            }
            let sql = format!(
                "select pg_catalog.count(*) over (), blkno, offnum, attnum, msg from {function}(\
                 {oid}::pg_catalog.oid::pg_catalog.regclass, false::bool, {}::bool, 'none'::text, null::bigint, \
                 null::bigint) limit 3",
                self.toast_values
            );
            tasks.push(Task { oid, label, bytes: number(&row, 2)?, sql });
        }
        Ok(tasks)
    }

    fn judge(&self, rows: &[Row]) -> Result<Option<String>, String> {
        let Some(first) = rows.first() else { return Ok(None) };
        let all: u64 = number(first, 0).map_err(|error| error.message)?;
        let findings: Vec<String> = rows.iter().map(finding).collect();
        Ok(Some(format!("{}: {}", count(all, "finding", "findings"), findings.join("; "))))
    }
}

impl Reading<'_> {
    fn tables(&self, room: &Room, size: fn(&str) -> String) -> String {
        let bytes = size("r");
        format!(
            "select r.oid, \
                    case when o.oid is null then s.nspname::text || '.' || r.relname::text \
                         else 'the TOAST table of ' || os.nspname::text || '.' || o.relname::text end, \
                    {bytes}, a.amname \
             from pg_catalog.pg_class r \
             join pg_catalog.pg_namespace s on s.oid = r.relnamespace \
             join pg_catalog.pg_am a on a.oid = r.relam \
             left join pg_catalog.pg_class o on r.relkind = 't' and o.reltoastrelid = r.oid \
             left join pg_catalog.pg_namespace os on os.oid = o.relnamespace \
             where r.relkind in ('r', 'm', 't') and r.relpersistence <> 't' \
               and not ({} and r.relpersistence = 'u') and ({} or not r.relisshared) \
               and {bytes} is not null and {}",
            self.standby,
            room.first,
            self.chosen.condition("coalesce(o.oid, r.oid)")
        )
    }
}

fn finding(row: &Row) -> String {
    let part = |at: usize| row.get(at).and_then(Option::as_deref);
    let message = part(4).unwrap_or("damage without a message");
    match (part(1), part(2), part(3)) {
        (Some(block), Some(line), Some(column)) => {
            format!("block {block}, line {line}, column {column}: {message}")
        }
        (Some(block), Some(line), None) => format!("block {block}, line {line}: {message}"),
        (Some(block), ..) => format!("block {block}: {message}"),
        _ => message.to_owned(),
    }
}

#[async_trait]
impl Check for HeapIntact {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let door = Door::new(KIND.name, &self.target, EXPECTED);
        let mut walk = match Walk::begin(cx, door, &self.databases, self.budget).await {
            Ok(walk) => walk,
            Err(outcome) => return outcome,
        };
        if walk.version() < 140_000 {
            let why =
                format!("PostgreSQL {} cannot look into tables; 14 and later can", walk.version() / 10_000);
            return Outcome::unknown(why, EXPECTED)
                .help("use indexes_intact and no_duplicate_keys, and compare contents after the upgrade")
                .on(&self.target, walk.identity);
        }
        let standby = walk.on_standby();
        if standby {
            walk.tally.notes.push("unlogged tables are empty on a standby, and were left out".to_owned());
        }
        let chosen = Chosen::new(&self.tables, self.catalogs.0);
        let reading = Reading { chosen: &chosen, standby, toast_values: self.toast_values.0 };
        let (mut tally, identity) = walk.run(&reading).await;
        chosen.missing(&mut tally);
        tally.outcome(&WORDS, EXPECTED).on(&self.target, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_their_place() {
        let row = |values: [&str; 5]| -> Row {
            values.iter().map(|value| (!value.is_empty()).then(|| (*value).to_owned())).collect()
        };
        let chosen = Chosen::new(&[], true);
        let reading = Reading { chosen: &chosen, standby: false, toast_values: true };
        assert_eq!(reading.judge(&[]), Ok(None));
        let two = [row(["2", "3", "5", "", "odd"]), row(["2", "", "", "", ""])];
        assert_eq!(
            reading.judge(&two).unwrap().unwrap(),
            "2 findings: block 3, line 5: odd; damage without a message"
        );
        assert!(reading.judge(&[row(["many", "", "", "", ""])]).is_err());
    }
}
