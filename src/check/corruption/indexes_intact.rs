//! Do the indexes hold what the tables hold, in order? With amcheck's `bt_index_check` and its relatives.

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

/// Do the indexes hold what the tables hold, in order?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexesIntact {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Databases to look at. All of the server when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables whose indexes to look at, as `schema.table` or `table`. A partitioned table stands for its partitions. All
    /// when not given.
    #[serde(default)]
    tables: Vec<String>,
    /// Look at the system's own indexes, too. Default true.
    #[serde(default = "yes")]
    catalogs: Flag,
    /// Read the table as well, and demand that every row of it is in the index. Default true.
    #[serde(default = "yes")]
    heapallindexed: Flag,
    /// Look for duplicates within unique indexes. When not given: where the server can (17 and later).
    #[serde(default)]
    checkunique: Option<Flag>,
    /// Look at GIN indexes, too. When not given: where the server can (18 and later).
    #[serde(default)]
    gin: Option<Flag>,
    /// Check parents against children and find every row again from the root. Blocks writes to the table while it lasts
    /// (ShareLock), and cannot be done on a standby. Default false.
    #[serde(default = "no")]
    parent: Flag,
    /// The longest that all of it may take; what is not reached by then makes the check unknown. Default 1h.
    #[serde(default = "hour")]
    budget: Span,
}

fn yes() -> Flag {
    Flag(true)
}

fn no() -> Flag {
    Flag(false)
}

fn hour() -> Span {
    Span::secs(3600)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "indexes_intact",
    summary: "indexes are in order and hold every row of their tables",
    docs: DOCS,
    timeout: Some(BACKSTOP),
    schema: || schema_for!(IndexesIntact),
    build,
};

const DOCS: &str = r#"
Shows that B-tree indexes are in order and hold every row of their tables, so that a query by index finds what is there.

**How it is measured.** With `bt_index_check` of the extension `amcheck`, in every database, for every B-tree index, the
small ones first, one at a time. With `heapallindexed` the table is read, too. Both take the locks of a reader, also on a standby.
Where the server can, duplicates within unique indexes are looked for (17 and later), and GIN indexes are checked (18 and later).

**Passes** when all were checked and nothing was found. What amcheck cannot check is said: GiST, SP-GiST, BRIN and hash indexes, and
invalid indexes, which a build left behind and no query uses.

**Fails** when amcheck finds an index out of order, without a row of the table, or with a key twice in a unique index, and when
the server cannot read a page.

**Unknown** when `amcheck` is not installed in a database (an administrator does that; the check changes nothing), the role may
not run it, an index is locked, or the `budget` is spent; also when `checkunique` or `gin` is asked of a server that cannot.

**Traps.** `heapallindexed: false` misses damaged line pointers, changed keys and rows that never reached the index. A collation
that changed under the index (another glibc, another ICU) shows here as "item order invariant violated": the data may be whole.
Before 17, duplicates that *are* in a unique index go unseen: use `no_duplicate_keys`. `REINDEX` cures an index only when its
table is sound, and stops at duplicates: run `heap_intact` and `no_duplicate_keys` first. `parent: true` blocks every write to
a table while its index is read: only in a maintenance window.

```yaml
preconditions:
  - indexes_intact: { target: old }
  - indexes_intact: { id: thorough, target: old, databases: [synapse], parent: true, budget: 4h, timeout: 5h }
```
"#;

const EXPECTED: &str = "indexes without damage";

const WORDS: Words = Words {
    one: "index",
    many: "indexes",
    wrong: "damaged",
    fine: "no damage found",
    help: "do not rebuild it yet: run heap_intact and no_duplicate_keys to see whether its table is sound, and find \
           out why it broke",
    nothing: "name the databases and tables that should be there",
};

fn build(params: Map<String, Value>) -> Built {
    let check: IndexesIntact =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    sensible(check.budget)?;
    Ok(Box::new(check))
}

/// What is done in each database.
struct Reading<'a> {
    check: &'a IndexesIntact,
    chosen: &'a Chosen,
    standby: bool,
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
        let Some(btree) = self.btree(&amcheck, room, tally) else { return Ok(Vec::new()) };
        let gin = self.gin(&amcheck, room, tally);
        let (mut tasks, mut invalid, mut others) = (Vec::new(), 0, 0);
        for row in list(session, |size| self.indexes(room, size)).await? {
            let (oid, label) = (number::<u32>(&row, 0)?, cell(&row, 1)?.to_owned());
            let index = format!("{oid}::pg_catalog.oid::pg_catalog.regclass");
            let call = match (cell(&row, 3)?, &gin) {
                _ if cell(&row, 4)? != "t" => {
                    invalid += 1;
                    continue;
                }
                ("btree", _) => btree.replace('#', &index),
                ("gin", Some(gin)) => gin.replace('#', &index),
                _ => {
                    others += 1;
                    continue;
                }
            };
            tasks.push(Task { oid, label, bytes: number(&row, 2)?, sql: format!("select {call}") });
        }
        if invalid > 0 {
            let left = count(invalid, "invalid index was", "invalid indexes were");
            tally.notes.push(format!("database {}: {left} left out; no query uses them", room.name));
        }
        if others > 0 {
            let left = count(others, "index", "indexes");
            let line = format!("{left} of a kind that amcheck cannot check here (not B-tree) left out");
            tally.notes.push(format!("database {}: {line}", room.name));
        }
        Ok(tasks)
    }

    fn judge(&self, rows: &[Row]) -> Result<Option<String>, String> {
        // These functions return nothing, or raise an error; one row says that they ended.
        if rows.len() == 1 { Ok(None) } else { Err("amcheck did not say that it ended".to_owned()) }
    }
}

impl Reading<'_> {
    /// The call for a B-tree; `#` stands for the index.
    fn btree(&self, amcheck: &Amcheck, room: &Room, tally: &mut Tally) -> Option<String> {
        let name = if self.check.parent.0 { "bt_index_parent_check" } else { "bt_index_check" };
        let function = amcheck.callable(name, room, tally)?;
        let mut arguments = vec![format!("{}::bool", self.check.heapallindexed.0)];
        if self.check.parent.0 {
            arguments.push("true::bool".to_owned());
        }
        let can = amcheck.arguments(name).is_some_and(|most| most as usize >= arguments.len() + 2);
        match (self.check.checkunique, can) {
            (Some(Flag(true)), false) => tally.missed(
                format!(
                    "database {}: amcheck {} cannot look for duplicates within unique indexes",
                    room.name, amcheck.version
                ),
                "use no_duplicate_keys, or update the extension where the server is 17 or later",
            ),
            (Some(Flag(false)), _) | (None, false) => {}
            (Some(Flag(true)) | None, true) => arguments.push("true::bool".to_owned()),
        }
        Some(format!("{function}(#, {})", arguments.join(", ")))
    }

    fn gin(&self, amcheck: &Amcheck, room: &Room, tally: &mut Tally) -> Option<String> {
        let there = amcheck.arguments("gin_index_check").is_some();
        match self.check.gin {
            Some(Flag(false)) => return None,
            None if !there => return None,
            _ => {}
        }
        amcheck.callable("gin_index_check", room, tally).map(|function| format!("{function}(#)"))
    }

    fn indexes(&self, room: &Room, size: fn(&str) -> String) -> String {
        let bytes = match self.check.heapallindexed.0 {
            true => format!("{} + {}", size("r"), size("t")),
            false => size("r"),
        };
        format!(
            "select r.oid, s.nspname::text || '.' || r.relname::text || ' on ' || t.relname::text, \
                    {bytes}, a.amname, i.indisvalid and i.indisready and i.indislive \
             from pg_catalog.pg_index i \
             join pg_catalog.pg_class r on r.oid = i.indexrelid \
             join pg_catalog.pg_class t on t.oid = i.indrelid \
             join pg_catalog.pg_namespace s on s.oid = r.relnamespace \
             join pg_catalog.pg_am a on a.oid = r.relam \
             left join pg_catalog.pg_class o on t.relkind = 't' and o.reltoastrelid = t.oid \
             where r.relkind = 'i' and r.relpersistence <> 't' \
               and not ({} and r.relpersistence = 'u') and ({} or not r.relisshared) \
               and {bytes} is not null and {}",
            self.standby,
            room.first,
            self.chosen.condition("coalesce(o.oid, t.oid)")
        )
    }
}

#[async_trait]
impl Check for IndexesIntact {
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
        if standby && self.parent.0 {
            return Outcome::unknown(
                "a standby cannot check parents of an index (it takes no ShareLock)",
                EXPECTED,
            )
            .help("check with `parent: true` on the primary; without it, the standby can be checked, too")
            .on(&self.target, walk.identity);
        }
        if standby {
            walk.tally
                .notes
                .push("unlogged tables are empty on a standby; their indexes were left out".to_owned());
        }
        let chosen = Chosen::new(&self.tables, self.catalogs.0);
        let reading = Reading { check: self, chosen: &chosen, standby };
        let (mut tally, identity) = walk.run(&reading).await;
        chosen.missing(&mut tally);
        tally.outcome(&WORDS, EXPECTED).on(&self.target, identity)
    }
}
