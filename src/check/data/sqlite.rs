//! Takes the manifest of an SQLite file: exact rows without indexes, a digest of every value with its type, the schema,
//! and the file's own check of itself.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::differ::{Bucket, Keyed, MOST_ROWS};
use super::manifest::{Column, Database, Level, Manifest, Object, Relation, RelationKind, Sequence, VERSION};
use super::progress::{Part, Tally};
use super::side::Ask;
use crate::check::Context;
use crate::world::Identity;
use crate::world::sqlite::{self, Cell, identifier};

/// The name under which an SQLite file's only database stands in a manifest.
pub const MAIN: &str = "main";

/// Takes a manifest; the reader looks at the same file again.
pub async fn take(
    name: &str,
    file: &str,
    ask: &Ask,
    cx: &Context,
    tally: &Tally,
) -> Result<(Manifest, Reader), String> {
    let identity = Identity::Sqlite(sqlite::identity(file)?);
    let (asked, told) = (ask.clone(), tally.clone());
    let database = sqlite::read(file, move |reader| describe(reader, &asked, &told)).await?;
    if Identity::Sqlite(sqlite::identity(file)?) != identity {
        return Err(format!("{file} was replaced while it was read"));
    }
    let manifest = Manifest {
        manifest: VERSION,
        target: name.to_owned(),
        at: cx.world.clock.now(),
        identity,
        engine: sqlite::version().to_owned(),
        level: ask.level,
        databases: BTreeMap::from([(MAIN.to_owned(), database)]),
        roles: None,
        notes: Vec::new(),
    };
    Ok((manifest, Reader { file: file.to_owned(), ask: ask.clone() }))
}

/// One text column of one row.
pub(super) fn text(row: &[Option<String>], column: usize) -> String {
    row.get(column).cloned().flatten().unwrap_or_default()
}

/// What is in the file, but for the rows.
pub fn catalogue(reader: &sqlite::Reader, level: Level) -> Result<Database, String> {
    let mut database = Database::default();
    for row in reader.query("select name, type from pragma_table_list where schema = 'main'")? {
        let (name, kind) = (text(&row, 0), text(&row, 1));
        if name.starts_with("sqlite_") {
            continue;
        }
        let kind = match kind.as_str() {
            "view" => RelationKind::View,
            "virtual" => RelationKind::VirtualTable,
            _ => RelationKind::Table,
        };
        let relation = relation(reader, &name, kind, level)?;
        database.relations.insert(name, relation);
    }
    if level >= Level::Catalogue {
        objects(reader, &mut database)?;
        database.facts.insert("encoding".to_owned(), single(reader, "pragma encoding")?);
        database.facts.insert("user_version".to_owned(), single(reader, "pragma user_version")?);
        database.facts.insert("application_id".to_owned(), single(reader, "pragma application_id")?);
    }
    Ok(database)
}

/// What the engine's own check of the file says; `ok` when it finds nothing.
pub fn integrity(reader: &sqlite::Reader) -> Result<Option<String>, String> {
    let said = reader.query("pragma quick_check(1)")?;
    Ok(said.first().map(|row| text(row, 0)))
}

fn describe(reader: &sqlite::Reader, ask: &Ask, tally: &Tally) -> Result<Database, String> {
    let mut database = catalogue(reader, ask.level)?;
    let bytes = bytes(reader)?;
    let checked = ask.level == Level::Contents;
    match ask.level {
        Level::Catalogue => tally.expect(0),
        _ => tally.expect(if checked { 2 * bytes } else { bytes }),
    }
    if ask.level != Level::Catalogue {
        let mut part = tally.begin("tables", bytes);
        let wanted = |(name, relation): &(&String, &mut Relation)| {
            relation.kind.stores_rows() && ask.wants(MAIN, name)
        };
        for (name, relation) in database.relations.iter_mut().filter(wanted) {
            part.turn_to(name);
            let (rows, digest) = match ask.level {
                Level::Rows | Level::Catalogue => (count(reader, name)?, None),
                Level::Contents => contents(reader, name, relation, ask, &mut part)
                    .map(|(rows, digest)| (rows, Some(digest)))?,
            };
            relation.rows = Some(rows);
            relation.digest = digest;
        }
        part.done();
    }
    if checked {
        let part = tally.begin("the file again, to check it", bytes);
        database.integrity = integrity(reader)?;
        part.done();
    }
    if ask.cross {
        super::cross::scan::record(reader, &mut database)?;
    }
    Ok(database)
}

/// Bytes that the file's pages take.
pub fn bytes(reader: &sqlite::Reader) -> Result<u64, String> {
    let number = |sql: &str| single(reader, sql).map(|text| text.parse::<u64>().unwrap_or(0));
    Ok(number("pragma page_count")?.saturating_mul(number("pragma page_size")?))
}

pub(super) fn single(reader: &sqlite::Reader, sql: &str) -> Result<String, String> {
    let rows = reader.query(sql)?;
    rows.first().map(|row| text(row, 0)).ok_or_else(|| format!("no answer to `{sql}`"))
}

pub(super) fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

/// A definition with its white space evened out, since tools copy it with their own.
fn even(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn relation(
    reader: &sqlite::Reader,
    name: &str,
    kind: RelationKind,
    level: Level,
) -> Result<Relation, String> {
    let mut relation = Relation {
        kind,
        rows: None,
        digest: None,
        bytes: 0,
        columns: BTreeMap::new(),
        key: Vec::new(),
        only_where: None,
        core: BTreeMap::new(),
        definition: BTreeMap::new(),
    };
    if kind == RelationKind::VirtualTable {
        // Its module may be unknown here; its rows are in ordinary tables, which are compared.
        return Ok(relation);
    }
    let mut key = BTreeMap::new();
    let columns = format!(
        "select name, type, \"notnull\", dflt_value, pk, hidden from pragma_table_xinfo({})",
        quoted(name)
    );
    for row in reader.query(&columns)? {
        let column = text(&row, 0);
        if let Ok(place @ 1..) = text(&row, 4).parse::<u32>() {
            key.insert(place, column.clone());
        }
        let expression = row.get(3).cloned().flatten();
        let generated = match text(&row, 5).as_str() {
            "2" => "virtual",
            "3" => "stored",
            _ => "",
        };
        relation.columns.insert(
            column,
            Column {
                type_: text(&row, 1),
                not_null: text(&row, 2) == "1",
                generated: generated.to_owned(),
                default: if expression.is_some() { "has a default" } else { "" }.to_owned(),
                expression,
                collation: None,
            },
        );
    }
    relation.key = key.into_values().collect();
    if level >= Level::Catalogue {
        let sql = single(
            reader,
            &format!(
                "select coalesce(sql, '') from sqlite_schema where name = {} and type in ('table','view')",
                quoted(name)
            ),
        )?;
        // A table's own text also says how its columns are ordered, which does not matter; only a view's text counts.
        if kind == RelationKind::View {
            relation.definition.insert("query".to_owned(), even(&sql));
        }
    }
    Ok(relation)
}

fn objects(reader: &sqlite::Reader, database: &mut Database) -> Result<(), String> {
    let sql = "select type, name, tbl_name, sql from sqlite_schema where type in ('index','trigger') and sql is not null";
    for row in reader.query(sql)? {
        let object = Object {
            table: Some(text(&row, 2)),
            core: even(&text(&row, 3)),
            sound: true,
            ..Object::default()
        };
        database.objects.insert(format!("{} {}", text(&row, 0), text(&row, 1)), object);
    }
    // Indexes without a text of their own stand for PRIMARY KEY and UNIQUE.
    for name in database.relations.iter().filter(|(_, r)| r.kind == RelationKind::Table).map(|(name, _)| name)
    {
        let sql = format!(
            "select i.origin, (select group_concat(c.name, ', ') from pragma_index_info(i.name) c) \
             from pragma_index_list({}) i where i.origin <> 'c'",
            quoted(name)
        );
        for row in reader.query(&sql)? {
            let kind = if text(&row, 0) == "pk" { "primary key" } else { "unique constraint" };
            let object = Object { table: Some(name.clone()), sound: true, ..Object::default() };
            database.objects.insert(format!("{kind} ({}) of {name}", text(&row, 1)), object);
        }
        let sql = format!(
            "select \"table\", \"from\", coalesce(\"to\", ''), on_update, on_delete from pragma_foreign_key_list({}) order by id, seq",
            quoted(name)
        );
        for row in reader.query(&sql)? {
            let object = Object {
                table: Some(name.clone()),
                core: format!("on update {}, on delete {}", text(&row, 3), text(&row, 4)),
                sound: true,
                ..Object::default()
            };
            database.objects.insert(
                format!("foreign key {name}.{} to {}.{}", text(&row, 1), text(&row, 0), text(&row, 2)),
                object,
            );
        }
    }
    if !reader.query("select 1 from sqlite_schema where name = 'sqlite_sequence'")?.is_empty() {
        for row in reader.query("select name, seq from sqlite_sequence where name is not null")? {
            let last_value = text(&row, 1)
                .parse()
                .map_err(|_| "sqlite_sequence holds something that is no number".to_owned())?;
            database
                .sequences
                .insert(text(&row, 0), Sequence { last_value, is_called: true, increment: 1, cycles: false });
        }
    }
    Ok(())
}

pub(super) fn count(reader: &sqlite::Reader, table: &str) -> Result<u64, String> {
    let answer = single(reader, &format!("select count(*) from {} not indexed", identifier(table)))?;
    answer.parse().map_err(|_| format!("table {table} gave no count"))
}

/// The columns whose values count, in the order of their names.
fn stored<'a>(table: &str, relation: &'a Relation, ask: &Ask) -> Vec<&'a String> {
    let all = relation.columns.iter().filter(|(_, c)| c.generated.is_empty()).map(|(name, _)| name);
    all.filter(|name| ask.hashes(MAIN, table, name)).collect()
}

/// A hash of some cells: every value with its type and its length, so that no two rows run together.
fn hash(names: &Sha256, cells: &[Cell<'_>]) -> u128 {
    let mut hasher = names.clone();
    for cell in cells {
        let (kind, bytes): (u8, &[u8]) = match cell {
            Cell::Null => (0, &[]),
            Cell::Integer(n) => (1, &n.to_be_bytes()),
            Cell::Real(n) => (2, &n.to_bits().to_be_bytes()),
            Cell::Text(bytes) => (3, bytes),
            Cell::Blob(bytes) => (4, bytes),
        };
        hasher.update([kind]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize()[..16]);
    u128::from_be_bytes(first)
}

fn named(columns: &[&String]) -> Sha256 {
    let mut hasher = Sha256::new();
    for column in columns {
        hasher.update((column.len() as u64).to_be_bytes());
        hasher.update(column.as_bytes());
    }
    hasher
}

fn select(table: &str, columns: &[&String]) -> String {
    let list: Vec<String> = columns.iter().map(|c| identifier(c)).collect();
    let list = if list.is_empty() { "1".to_owned() } else { list.join(", ") };
    format!("select {list} from {} not indexed", identifier(table))
}

fn contents(
    reader: &sqlite::Reader,
    table: &str,
    relation: &Relation,
    ask: &Ask,
    part: &mut Part,
) -> Result<(u64, String), String> {
    let columns = stored(table, relation, ask);
    let names = named(&columns);
    let (mut rows, mut sum) = (0u64, 0u128);
    reader
        .scan(&select(table, &columns), |cells| {
            rows += 1;
            sum = sum.wrapping_add(hash(&names, cells));
            part.passed(cells.iter().map(Cell::bytes).sum());
        })
        .map_err(|e| format!("table {table}: {e}"))?;
    Ok((rows, format!("sqlite1:{sum:032x}")))
}

/// Looks at the rows of a file.
pub struct Reader {
    file: String,
    ask: Ask,
}

impl Reader {
    /// Reads all rows; `each` gets the bucket, the key as text, and the hash.
    async fn each<T: Send + 'static>(
        &self,
        table: &str,
        relation: &Relation,
        n: u32,
        start: T,
        mut each: impl FnMut(&mut T, u32, &dyn Fn() -> String, u128) + Send + 'static,
    ) -> Result<T, String> {
        let (table, relation, ask) = (table.to_owned(), relation.clone(), self.ask.clone());
        sqlite::read(&self.file, move |reader| {
            let columns = stored(&table, &relation, &ask);
            let names = named(&columns);
            let places: Vec<usize> =
                relation.key.iter().filter_map(|k| columns.iter().position(|c| *c == k)).collect();
            let mut state = start;
            reader.scan(&select(&table, &columns), |cells| {
                let row = hash(&names, cells);
                let key: Vec<Cell<'_>> = places.iter().filter_map(|at| cells.get(*at).copied()).collect();
                let of_key = if key.is_empty() { row } else { hash(&Sha256::new(), &key) };
                let show = || {
                    let parts: Vec<String> = relation
                        .key
                        .iter()
                        .zip(&key)
                        .map(|(name, cell)| format!("{name}={}", cell.show()))
                        .collect();
                    parts.join(", ").chars().take(200).collect()
                };
                each(&mut state, (of_key as u32) & (n - 1), &show, row);
            })?;
            Ok(state)
        })
        .await
    }

    /// Count and sum of each of `n` buckets (a power of two).
    pub async fn buckets(
        &self,
        table: &str,
        relation: &Relation,
        n: u32,
    ) -> Result<BTreeMap<u32, Bucket>, String> {
        let sums =
            self.each(table, relation, n, BTreeMap::<u32, (u64, u128)>::new(), |sums, bucket, _, row| {
                let entry = sums.entry(bucket).or_default();
                entry.0 += 1;
                entry.1 = entry.1.wrapping_add(row);
            });
        Ok(sums
            .await?
            .into_iter()
            .map(|(n, (rows, sum))| (n, Bucket { rows, sum: format!("{sum:x}") }))
            .collect())
    }

    /// The rows of some buckets.
    pub async fn rows(
        &self,
        table: &str,
        relation: &Relation,
        n: u32,
        these: &[u32],
    ) -> Result<Vec<Keyed>, String> {
        let these = these.to_vec();
        let found = self
            .each(table, relation, n, Vec::new(), move |found, bucket, key, row| {
                if these.contains(&bucket) && found.len() <= MOST_ROWS {
                    found.push(Keyed { key: key(), hash: format!("{row:x}") });
                }
            })
            .await?;
        if found.len() > MOST_ROWS {
            return Err("too many rows differ to list them".to_owned());
        }
        Ok(found)
    }
}
