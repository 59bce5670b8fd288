//! A manifest: what a target held, table by table, at one moment. Both sides of a comparison are one of these, measured
//! now or recorded earlier. Plain data; [`super::compare`] judges.
//!
//! Every fact has a `core`, which means the same in every major version, and may have a `definition`, which the server
//! words as it likes and which counts only between servers of one major version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Moment;
use crate::world::Identity;

/// The format that this program writes. A newer one is refused in words.
pub const VERSION: u32 = 1;

/// What a target held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version, [`VERSION`].
    pub manifest: u32,
    /// The target's name in the runbook.
    pub target: String,
    /// When the measurement ended.
    pub at: Moment,
    /// What was measured.
    pub identity: Identity,
    /// Version of the engine, for people: `15.13`.
    pub engine: String,
    /// What the figures cover.
    pub level: Level,
    /// The databases, by name.
    pub databases: BTreeMap<String, Database>,
    /// Roles and memberships of a whole PostgreSQL cluster; `None` when only some databases were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeMap<String, Role>>,
    /// Remarks of the measurement, one a line: what was left out, and why that is right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How much was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Tables and their exact rows.
    Rows,
    /// The catalogue alone: no row was read.
    Catalogue,
    /// Rows, contents and the catalogue.
    Contents,
}

/// One database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Encoding and locale, and other facts of the database itself, by name.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// Tables, views and the like, by `schema.name`.
    #[serde(default)]
    pub relations: BTreeMap<String, Relation>,
    /// Sequences, by `schema.name`.
    #[serde(default)]
    pub sequences: BTreeMap<String, Sequence>,
    /// Everything else that has a name, by kind and name: `index public.events_pkey`.
    #[serde(default)]
    pub objects: BTreeMap<String, Object>,
    /// Large objects; `None` where the engine has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjects>,
    /// What the engine's own check of the file said; `ok` when it found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// Digests in the form that SQLite and PostgreSQL share, by table; recorded where the runbook has targets of both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cross: BTreeMap<String, Cross>,
}

/// What a table is to the other engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cross {
    /// Digest of its rows: `x1:…`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Rows of a virtual table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How each column was hashed: PostgreSQL's form, or the storage classes that SQLite has in it.
    pub columns: BTreeMap<String, Vec<String>>,
    /// The lowest and the highest whole number in a column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, (i64, i64)>,
}

/// A table or something like it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// What it is.
    pub kind: RelationKind,
    /// Exact number of rows it stores itself; `None` for what stores none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Digest of its rows, independent of their order: `pg3:…` or `sqlite1:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Bytes on disk, for progress and for people; never compared.
    #[serde(default)]
    pub bytes: u64,
    /// The columns, by name.
    #[serde(default)]
    pub columns: BTreeMap<String, Column>,
    /// The columns of a key whose values tell rows apart; empty when there is none.
    #[serde(default)]
    pub key: Vec<String>,
    /// Only these rows count: the condition under which an extension's configuration table is dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_where: Option<String>,
    /// Other facts, equal on both sides: parents, row security, owner.
    #[serde(default)]
    pub core: BTreeMap<String, String>,
    /// Facts in the server's wording: the text of a view, the bounds of a partition.
    #[serde(default)]
    pub definition: BTreeMap<String, String>,
}

/// Kinds of relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// Stores rows and survives a crash.
    Table,
    /// Stores rows that a crash empties.
    UnloggedTable,
    /// A partitioned table: its rows are in its partitions.
    Partitioned,
    /// A query with a name.
    View,
    /// A stored query result.
    MaterializedView,
    /// A stored query result that was never computed.
    UnpopulatedView,
    /// Rows are elsewhere.
    ForeignTable,
    /// Rows are in other tables of the same file.
    VirtualTable,
}

impl RelationKind {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            RelationKind::Table => "table",
            RelationKind::UnloggedTable => "unlogged table",
            RelationKind::Partitioned => "partitioned table",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::UnpopulatedView => "unpopulated materialized view",
            RelationKind::ForeignTable => "foreign table",
            RelationKind::VirtualTable => "virtual table",
        }
    }

    /// True when it stores rows that can be counted.
    pub fn stores_rows(self) -> bool {
        matches!(self, RelationKind::Table | RelationKind::UnloggedTable | RelationKind::MaterializedView)
    }

    /// True when its rows are derived from others, so that computing them again may rightly change them.
    pub fn derived(self) -> bool {
        self == RelationKind::MaterializedView
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Type with length or precision: `character varying(20)`.
    #[serde(rename = "type")]
    pub type_: String,
    /// May not be NULL.
    pub not_null: bool,
    /// Computed from others: `stored` or `virtual`; empty when not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generated: String,
    /// Has a default or is an identity column: `default`, `always`, `by default`; empty when not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default: String,
    /// The default or the generating expression, in the server's wording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Collation, when it is not the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Last value given out, or the first one to be given when `is_called` is false.
    pub last_value: i64,
    /// Whether `last_value` has been given out.
    pub is_called: bool,
    /// Step; negative for a descending sequence.
    pub increment: i64,
    /// Starts again at its end, so that "behind" means nothing.
    pub cycles: bool,
}

impl Sequence {
    /// The next value that it will give.
    pub fn next(&self) -> i128 {
        i128::from(self.last_value) + if self.is_called { i128::from(self.increment) } else { 0 }
    }

    /// True when it would give a value that `other` has given already.
    pub fn behind(&self, other: &Sequence) -> bool {
        match other.increment {
            _ if other.cycles => false,
            ..0 => self.next() > other.next(),
            _ => self.next() < other.next(),
        }
    }
}

/// Something with a name that is not a relation or a sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The table it belongs to, as `schema.name`, when it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What means the same in every major version.
    pub core: String,
    /// The server's wording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Version, of an extension. The target may have a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// False when it is there but does not work: an invalid index, a constraint that was never validated, a disabled
    /// trigger.
    pub sound: bool,
}

/// Large objects of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Bytes stored in them.
    pub bytes: u64,
    /// Digest of numbers, pages and bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A role of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Attributes in alphabetical order: `createdb, login`.
    pub attributes: String,
    /// Whether it has a password; `None` when we were not allowed to see that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<bool>,
    /// Roles it is a member of, in alphabetical order.
    #[serde(default)]
    pub member_of: Vec<String>,
}

impl Manifest {
    /// Rows in all tables.
    pub fn rows(&self) -> u64 {
        self.stored().filter_map(|(_, _, r)| r.rows).sum()
    }

    /// Everything that stores rows: database, name, relation.
    pub fn stored(&self) -> impl Iterator<Item = (&str, &str, &Relation)> {
        self.databases.iter().flat_map(|(db, database)| {
            database
                .relations
                .iter()
                .filter(|(_, r)| r.kind.stores_rows())
                .map(move |(name, r)| (db.as_str(), name.as_str(), r))
        })
    }

    /// The major version of the engine; SQLite files are all of one.
    pub fn major(&self) -> u32 {
        match &self.identity {
            Identity::Postgres(pg) => pg.version / 10_000,
            Identity::Sqlite(_) => 3,
        }
    }

    /// As JSON, for the run's folder.
    pub fn save(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec_pretty(self).map_err(|e| format!("the manifest cannot be written as JSON: {e}"))
    }

    /// From JSON; an error says why the text is not a manifest that this program can read.
    pub fn load(bytes: &[u8]) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Version {
            manifest: u32,
        }
        let damaged = |e: serde_json::Error| format!("the manifest is damaged: {e}");
        let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
        if version.manifest != VERSION {
            return Err(format!(
                "the manifest has format {}, and this program reads format {VERSION}; use the version that recorded it",
                version.manifest
            ));
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(last_value: i64, is_called: bool, increment: i64) -> Sequence {
        Sequence { last_value, is_called, increment, cycles: false }
    }

    #[test]
    fn a_sequence_is_behind_when_it_would_repeat_a_value() {
        let used = sequence(100, true, 1);
        assert!(sequence(99, true, 1).behind(&used));
        assert!(sequence(100, false, 1).behind(&used), "100 would be given twice");
        assert!(!sequence(101, false, 1).behind(&used));
        assert!(!sequence(500, true, 1).behind(&used));
        let down = sequence(-100, true, -1);
        assert!(sequence(-99, true, -1).behind(&down));
        assert!(!sequence(-101, true, -1).behind(&down));
        assert!(!sequence(i64::MAX, true, 1).behind(&sequence(i64::MAX, true, 1)), "no overflow");
    }

    #[test]
    fn what_is_not_a_manifest_is_refused_with_a_reason() {
        assert!(Manifest::load(b"").unwrap_err().contains("damaged"));
        assert!(Manifest::load(b"{\"manifest\": 7}").unwrap_err().contains("format 7"));
        assert!(Manifest::load(b"{\"manifest\": 1}").unwrap_err().contains("damaged"));
    }
}
