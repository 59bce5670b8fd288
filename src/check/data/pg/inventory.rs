//! Reads the catalogue of one database into a manifest's terms.

use std::collections::{BTreeMap, HashMap};

use super::hash::Hashed;
use super::{catalogue, cell};
use crate::check::data::manifest::{
    Column, Database, LargeObjects, Level, Object, Relation, RelationKind, Sequence,
};
use crate::world::pg::Session;
use crate::world::pg::session::literal;

/// A database, its rows not yet counted, and how the rows of its relations are hashed.
pub struct Described {
    /// What goes into the manifest.
    pub database: Database,
    /// Columns to hash, by relation.
    pub hashed: BTreeMap<String, Vec<Hashed>>,
    /// About how many rows the relations have, as far as the server has an idea. For plans only, never for a verdict.
    pub estimates: BTreeMap<String, u64>,
}

/// Sequences that are read with one statement.
const BATCH: usize = 200;

type Rows = Vec<crate::world::pg::session::Row>;

async fn query(session: &Session, what: &str, sql: &str) -> Result<Rows, String> {
    session.query(sql).await.map_err(|e| format!("cannot read {what}: {e}"))
}

/// A JSON list of names; NULL is the empty list.
pub fn names(json: Option<&str>) -> Result<Vec<String>, String> {
    json.map_or(Ok(Vec::new()), |text| {
        serde_json::from_str(text).map_err(|e| format!("a list of names is damaged: {e}"))
    })
}

fn number<T: std::str::FromStr>(row: &[Option<String>], column: usize) -> Result<T, String> {
    let text = cell(row, column)?;
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn optional(row: &[Option<String>], column: usize) -> Option<String> {
    row.get(column).cloned().flatten()
}

/// Reads what `level` needs.
pub async fn read(session: &Session, level: Level) -> Result<Described, String> {
    let mut database = Database::default();
    let mut by_oid = HashMap::new();
    let mut estimates = BTreeMap::new();
    for row in query(session, "relations", catalogue::RELATIONS).await? {
        let name = cell(&row, 1)?.to_owned();
        estimates.insert(name.clone(), number::<f64>(&row, 14)?.max(0.0) as u64);
        by_oid.insert(number::<u32>(&row, 0)?, name.clone());
        database.relations.insert(name, relation(&row)?);
    }
    for row in query(session, "keys", catalogue::KEYS).await? {
        if let Some(relation) =
            by_oid.get(&number(&row, 0)?).and_then(|name| database.relations.get_mut(name))
            && relation.key.is_empty()
        {
            relation.key = names(row.get(1).and_then(|v| v.as_deref()))?;
        }
    }
    let hashed = columns(session, &by_oid, &mut database).await?;
    if level >= Level::Catalogue {
        for row in query(session, "the database's settings", catalogue::FACTS).await? {
            database.facts.insert(cell(&row, 0)?.to_owned(), cell(&row, 1)?.to_owned());
        }
        for sql in catalogue::OBJECTS {
            for row in query(session, "the catalogue", sql).await? {
                let object = Object {
                    table: optional(&row, 2),
                    core: cell(&row, 3)?.to_owned(),
                    definition: optional(&row, 4),
                    version: optional(&row, 5),
                    sound: cell(&row, 6)? == "t",
                };
                database.objects.insert(format!("{} {}", cell(&row, 0)?, cell(&row, 1)?), object);
            }
        }
        sequences(session, level, &mut database).await?;
        database.large_objects = Some(large_objects(session, level).await?);
    }
    Ok(Described { database, hashed, estimates })
}

fn relation(row: &[Option<String>]) -> Result<Relation, String> {
    let populated = cell(row, 4)? == "t";
    let kind = match (cell(row, 2)?, cell(row, 3)?) {
        ("r", "u") => RelationKind::UnloggedTable,
        ("r", _) => RelationKind::Table,
        ("p", _) => RelationKind::Partitioned,
        ("v", _) => RelationKind::View,
        ("m", _) if populated => RelationKind::MaterializedView,
        ("m", _) => RelationKind::UnpopulatedView,
        ("f", _) => RelationKind::ForeignTable,
        (other, _) => return Err(format!("relation kind `{other}` is not known")),
    };
    let facts = |columns: &[(usize, &str)]| -> BTreeMap<String, String> {
        columns
            .iter()
            .filter_map(|(at, name)| optional(row, *at).map(|value| ((*name).to_owned(), value)))
            .collect()
    };
    Ok(Relation {
        kind,
        rows: None,
        digest: None,
        bytes: number(row, 5)?,
        columns: BTreeMap::new(),
        key: Vec::new(),
        only_where: optional(row, 13).filter(|condition| !condition.trim().is_empty()),
        core: facts(&[
            (6, "owner"),
            (7, "row security"),
            (8, "parents"),
            (9, "partition key"),
            (10, "grants"),
        ]),
        definition: facts(&[(11, "partition bound"), (12, "query")]),
    })
}

struct Type {
    builtin: Option<String>,
    kind: char,
    array: bool,
    base: u32,
    name: String,
}

async fn columns(
    session: &Session,
    by_oid: &HashMap<u32, String>,
    database: &mut Database,
) -> Result<BTreeMap<String, Vec<Hashed>>, String> {
    let mut types = HashMap::new();
    for row in query(session, "types", catalogue::TYPES).await? {
        let kind = cell(&row, 2)?.chars().next().unwrap_or('b');
        let of = Type {
            builtin: optional(&row, 1),
            kind,
            array: cell(&row, 3)? == "t",
            base: number(&row, 4)?,
            name: cell(&row, 5)?.to_owned(),
        };
        types.insert(number::<u32>(&row, 0)?, of);
    }
    let mut hashed: BTreeMap<String, Vec<Hashed>> = BTreeMap::new();
    for row in query(session, "columns", catalogue::COLUMNS).await? {
        let Some(table) = by_oid.get(&number(&row, 0)?) else { continue };
        let Some(relation) = database.relations.get_mut(table) else { continue };
        let name = cell(&row, 1)?.to_owned();
        let not_null = cell(&row, 3)? == "t";
        let generated = match cell(&row, 4)? {
            "" => "",
            "v" => "virtual",
            _ => "stored",
        };
        let default = match (cell(&row, 5)?, cell(&row, 6)? == "t") {
            ("a", _) => "identity, always",
            ("d", _) => "identity, by default",
            (_, true) if generated.is_empty() => "has a default",
            _ => "",
        };
        relation.columns.insert(
            name.clone(),
            Column {
                type_: cell(&row, 2)?.to_owned(),
                not_null,
                generated: generated.to_owned(),
                default: default.to_owned(),
                expression: optional(&row, 7),
                collation: optional(&row, 8),
            },
        );
        let mut of = types
            .get(&number::<u32>(&row, 9)?)
            .ok_or_else(|| format!("the type of {table}.{name} is not known"))?;
        let domain = of.kind == 'd';
        while of.kind == 'd' {
            of = types.get(&of.base).ok_or_else(|| format!("the type of {table}.{name} is not known"))?;
        }
        if generated.is_empty() {
            let (builtin, kind, array) = (of.builtin.clone(), of.kind, of.array);
            let below = domain.then(|| of.name.clone());
            hashed.entry(table.clone()).or_default().push(Hashed {
                name,
                builtin,
                kind,
                array,
                below,
                not_null,
            });
        }
    }
    Ok(hashed)
}

async fn sequences(session: &Session, level: Level, database: &mut Database) -> Result<(), String> {
    let rows = query(session, "sequences", catalogue::SEQUENCES).await?;
    if level == Level::Catalogue {
        // That it is there, and how it counts; where it stands is data.
        for row in &rows {
            let (increment, cycles) = (number(row, 1)?, cell(row, 2)? == "t");
            let sequence = Sequence { last_value: 0, is_called: false, increment, cycles };
            database.sequences.insert(cell(row, 0)?.to_owned(), sequence);
        }
        return Ok(());
    }
    for batch in rows.chunks(BATCH) {
        let mut parts = Vec::new();
        for row in batch {
            let name = cell(row, 0)?;
            parts.push(format!(
                "select {}, last_value, is_called, {}::int8, {} from {name}",
                literal(name),
                number::<i64>(row, 1).map(|n| format!("'{n}'"))?,
                if cell(row, 2)? == "t" { "true" } else { "false" }
            ));
        }
        for row in query(session, "sequences", &parts.join(" union all ")).await? {
            database.sequences.insert(
                cell(&row, 0)?.to_owned(),
                Sequence {
                    last_value: number(&row, 1)?,
                    is_called: cell(&row, 2)? == "t",
                    increment: number(&row, 3)?,
                    cycles: cell(&row, 4)? == "t",
                },
            );
        }
    }
    Ok(())
}

async fn large_objects(session: &Session, level: Level) -> Result<LargeObjects, String> {
    let rows = query(session, "large objects", catalogue::LARGE_OBJECTS).await?;
    let count = number(rows.first().ok_or("no answer about large objects")?, 0)?;
    if count == 0 || level == Level::Catalogue {
        return Ok(LargeObjects { count, bytes: 0, digest: None });
    }
    let rows = query(session, "the bytes of large objects", catalogue::LARGE_OBJECT_BYTES).await?;
    let row = rows.first().ok_or("no answer about large objects")?;
    Ok(LargeObjects { count, bytes: number(row, 0)?, digest: optional(row, 1) })
}
