//! Which table of one side belongs to which of the other, and how its rows are to be read. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::form::{Form, Leave};
use crate::check::data::compare::{Nul, Rules, last, plain};
use crate::check::data::manifest::{Database, Relation, RelationKind, Sequence};
use crate::check::data::pg::hash::Hashed;

/// One side: its tables by their names in lower case, without a schema.
#[derive(Debug, Default)]
pub struct Half {
    /// The target's name in the runbook.
    pub target: String,
    /// The database; `main` for SQLite.
    pub db: String,
    /// It is PostgreSQL.
    pub pg: bool,
    /// Its tables.
    pub tables: BTreeMap<String, Table>,
    /// Its sequences: those of PostgreSQL, or what SQLite keeps for AUTOINCREMENT, by the name of the table.
    pub sequences: BTreeMap<String, Sequence>,
    /// Which columns feed on a sequence by a default or by owning it: the sequence, the table, the column.
    pub fed: Vec<(String, String, String)>,
    /// What its own check of itself said.
    pub integrity: Option<String>,
    /// Views and the like, which are not compared.
    pub others: usize,
}

/// What a table is to the other engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its rows are its own.
    Rows,
    /// PostgreSQL: its rows are in its partitions, which go with it.
    Partitioned,
    /// SQLite: its rows are in shadow tables, in a form of its module's.
    Virtual,
    /// SQLite: belongs to a virtual table.
    Shadow,
}

/// A table of one side.
#[derive(Debug)]
pub struct Table {
    /// Its own name there: `public.events`, `events`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its columns by their names in lower case.
    pub columns: BTreeMap<String, Column>,
    /// The columns of its key, in lower case.
    pub key: Vec<String>,
    /// Sets of columns that cannot be the same in two rows; only of a side that was measured now.
    pub unique: Option<Vec<BTreeSet<String>>>,
    /// SQLite: it has no row numbers.
    pub without_rowid: bool,
}

/// A column of one side.
#[derive(Debug)]
pub struct Column {
    /// Its own name.
    pub name: String,
    /// Its type as declared.
    pub type_: String,
    /// May not be NULL.
    pub not_null: bool,
    /// Computed from others, so that it is not compared.
    pub generated: bool,
    /// PostgreSQL: what it is compared as; `None` when nothing in SQLite is like it.
    pub form: Option<Form>,
    /// PostgreSQL, measured now: for its term.
    pub hashed: Option<Hashed>,
}

/// A table to read, on one side or on both.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name in lower case.
    pub key: String,
    /// Its name in PostgreSQL.
    pub pg: Option<String>,
    /// Its name in SQLite.
    pub lite: Option<String>,
    /// PostgreSQL reads its partitions too.
    pub partitioned: bool,
    /// SQLite has it as a virtual table, whose module counts its rows.
    pub module: bool,
    /// SQLite has row numbers for it.
    pub rowid: Option<&'static str>,
    /// The columns that are compared; none when only the rows are counted.
    pub columns: Vec<Shared>,
    /// What became of texts of SQLite with a NUL byte, as declared.
    pub nul: Option<Nul>,
    /// Columns of SQLite that are not compared and may hold such a text.
    pub watched: Vec<String>,
    /// Where among `columns` those are that name a row.
    pub named_by: Vec<usize>,
    /// Those are a key: rows with the same are the same row.
    pub keyed: bool,
    /// Columns that feed on a sequence: their bounds are wanted, whether they are compared or not.
    pub fed: Vec<Fed>,
}

/// A column that feeds on a sequence.
#[derive(Debug, Clone)]
pub struct Fed {
    /// Its name in lower case.
    pub key: String,
    /// Its name in PostgreSQL.
    pub pg: String,
    /// Its name in SQLite, if it is there.
    pub lite: Option<String>,
}

/// A column that both sides have.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Its name in lower case, which its seeds come from.
    pub key: String,
    /// Its name in PostgreSQL.
    pub pg: String,
    /// Its name in SQLite.
    pub lite: String,
    /// What it is compared as.
    pub form: Form,
    /// What was declared for it.
    pub leave: Leave,
    /// The server's term for its hash; empty for a record.
    pub term: String,
}

/// Endings of the tables behind SQLite's own virtual tables: full text and R-tree.
const SHADOWS: [&str; 12] = [
    "content", "segments", "segdir", "stat", "docsize", "data", "idx", "config", "node", "parent", "rowid",
    "pos",
];

/// A name in lower case.
pub fn folded<'a>(names: impl Iterator<Item = &'a str> + Clone, name: &str) -> String {
    let lower = name.to_lowercase();
    // Two names that differ in case only keep it.
    match names.filter(|other| other.to_lowercase() == lower).count() {
        0 | 1 => lower,
        _ => name.to_owned(),
    }
}

fn columns(relation: &Relation) -> BTreeMap<String, Column> {
    let names = relation.columns.keys().map(String::as_str);
    let one = |(name, column): (&String, &crate::check::data::manifest::Column)| {
        let column = Column {
            name: name.clone(),
            type_: column.type_.clone(),
            not_null: column.not_null,
            generated: !column.generated.is_empty(),
            form: None,
            hashed: None,
        };
        (folded(names.clone(), name), column)
    };
    relation.columns.iter().map(one).collect()
}

fn table(name: &str, kind: Kind, relation: &Relation) -> Table {
    let names = relation.columns.keys().map(String::as_str);
    Table {
        name: name.to_owned(),
        kind,
        columns: columns(relation),
        key: relation.key.iter().map(|column| folded(names.clone(), column)).collect(),
        unique: None,
        without_rowid: false,
    }
}

impl Half {
    /// An SQLite file.
    pub fn lite(target: &str, db: &str, database: &Database) -> Half {
        let mut half = Half {
            target: target.to_owned(),
            db: db.to_owned(),
            sequences: database.sequences.clone(),
            integrity: database.integrity.clone(),
            ..Half::default()
        };
        let virtuals: Vec<&String> = database
            .relations
            .iter()
            .filter(|(_, relation)| relation.kind == RelationKind::VirtualTable)
            .map(|(name, _)| name)
            .collect();
        let shadow = |name: &str| {
            virtuals.iter().any(|of| {
                let rest = name.strip_prefix(of.as_str()).and_then(|rest| rest.strip_prefix('_'));
                rest.is_some_and(|rest| SHADOWS.contains(&rest))
            })
        };
        let names = database.relations.keys().map(String::as_str);
        for (name, relation) in &database.relations {
            let kind = match relation.kind {
                RelationKind::VirtualTable => Kind::Virtual,
                RelationKind::Table if shadow(name) => Kind::Shadow,
                kind if kind.stores_rows() => Kind::Rows,
                _ => {
                    half.others += 1;
                    continue;
                }
            };
            half.tables.insert(folded(names.clone(), name), table(name, kind, relation));
        }
        half
    }

    /// A PostgreSQL database: the tables of one schema under their own names, the others under their full ones.
    pub fn postgres(target: &str, db: &str, database: &Database, schema: &str) -> Half {
        let mut half = Half {
            target: target.to_owned(),
            db: db.to_owned(),
            pg: true,
            sequences: database.sequences.clone(),
            ..Half::default()
        };
        let bare = |name: &'_ str| -> String {
            let of = name.strip_suffix(last(name)).map(|of| plain(of.trim_end_matches('.')));
            if of.as_deref() == Some(schema) { plain(last(name)) } else { plain(name) }
        };
        let bares: Vec<String> = database.relations.keys().map(|name| bare(name)).collect();
        for (name, relation) in &database.relations {
            let kind = match relation.kind {
                _ if relation.definition.contains_key("partition bound") => continue,
                RelationKind::Partitioned => Kind::Partitioned,
                RelationKind::Table | RelationKind::UnloggedTable => Kind::Rows,
                _ => {
                    half.others += 1;
                    continue;
                }
            };
            let key = folded(bares.iter().map(String::as_str), &bare(name));
            half.tables.insert(key, table(name, kind, relation));
        }
        half
    }

    /// The table in which something is, by its own name: `public.events`.
    pub fn of(&self, name: &str) -> Option<(&String, &Table)> {
        self.tables.iter().find(|(_, table)| table.name == name)
    }

    /// A name for people.
    pub fn full(&self, name: &str) -> String {
        if self.pg { format!("{}.{name}", self.db) } else { name.to_owned() }
    }
}

/// Both sides, and the rules.
#[derive(Clone, Copy)]
pub struct Two<'a> {
    /// PostgreSQL.
    pub pg: &'a Half,
    /// SQLite.
    pub lite: &'a Half,
    /// The runbook's.
    pub rules: &'a Rules,
}

impl<'a> Two<'a> {
    /// The table's names that `except` and `tables` may use, PostgreSQL's first.
    pub fn names(&self, key: &str) -> Vec<(&'a str, &'a str)> {
        let name = |half: &'a Half| Some((half.db.as_str(), half.tables.get(key)?.name.as_str()));
        [name(self.pg), name(self.lite)].into_iter().flatten().collect()
    }

    /// True when it is to be compared.
    pub fn covers(&self, key: &str) -> bool {
        self.names(key).into_iter().any(|(db, name)| self.rules.covers(db, name))
    }

    /// Every table that is to be compared, with what is to be read of it.
    pub fn plans(&self, contents: bool, declared: &[(String, String)]) -> Vec<Plan> {
        let keys: BTreeSet<&String> = self.pg.tables.keys().chain(self.lite.tables.keys()).collect();
        keys.into_iter()
            .filter(|key| self.covers(key))
            .map(|key| self.plan(key, contents, declared))
            .collect()
    }

    fn plan(&self, key: &str, contents: bool, declared: &[(String, String)]) -> Plan {
        let (pg, lite) = (self.pg.tables.get(key), self.lite.tables.get(key));
        let mut plan = Plan {
            key: key.to_owned(),
            pg: pg.map(|table| table.name.clone()),
            lite: lite.map(|table| table.name.clone()),
            partitioned: pg.is_some_and(|table| table.kind == Kind::Partitioned),
            module: lite.is_some_and(|table| table.kind == Kind::Virtual),
            rowid: lite.and_then(rowid),
            columns: Vec::new(),
            nul: self
                .names(key)
                .into_iter()
                .find_map(|(db, name)| self.rules.nul(db, name))
                .map(|(_, _, nul)| nul),
            watched: Vec::new(),
            named_by: Vec::new(),
            keyed: false,
            fed: Vec::new(),
        };
        for (_, column) in declared.iter().filter(|(of, _)| of == key) {
            let name = |table: Option<&Table>| Some(table?.columns.get(column)?.name.clone());
            if let Some(own) = name(pg) {
                plan.fed.push(Fed { key: column.clone(), pg: own, lite: name(lite) });
            }
        }
        let (Some(pg), Some(lite)) = (pg, lite) else { return plan };
        let only_rows =
            self.names(key).into_iter().any(|(db, name)| self.rules.only_rows(db, name).is_some());
        if !contents || only_rows || lite.kind == Kind::Virtual {
            return plan;
        }
        for (column, is) in &pg.columns {
            let Some(other) = lite.columns.get(column) else { continue };
            let Some(form) = is.form.filter(|_| !is.generated && !other.generated) else { continue };
            let named = self.names(key);
            if named.iter().any(|(db, name)| self.rules.excepted_column(db, name, column).is_some()) {
                continue;
            }
            let storage = named.iter().any(|(db, name)| self.rules.storage(db, name, column).is_some());
            plan.columns.push(Shared {
                key: column.clone(),
                pg: is.name.clone(),
                lite: other.name.clone(),
                form,
                leave: Leave { storage, no_nul: plan.nul == Some(Nul::Remove) },
                term: is.hashed.as_ref().map(|hashed| form.term(hashed, column)).unwrap_or_default(),
            });
        }
        if plan.nul == Some(Nul::DropRows) {
            let others = lite.columns.iter().filter(|(key, _)| !plan.columns.iter().any(|c| c.key == **key));
            plan.watched = others.map(|(_, column)| column.name.clone()).collect();
        }
        let place = |name: &String| plan.columns.iter().position(|shared| shared.key == *name);
        let places = |names: &[String]| names.iter().map(place).collect::<Option<Vec<usize>>>();
        let key_of =
            [&pg.key, &lite.key].into_iter().filter(|key| !key.is_empty()).find_map(|key| places(key));
        plan.keyed = key_of.is_some();
        plan.named_by = key_of.unwrap_or_else(|| plan.telling());
        plan
    }
}

impl Plan {
    /// The first few columns that both sides show in the same way, for a table without a key.
    fn telling(&self) -> Vec<usize> {
        let alike = |form: Form| {
            matches!(form, Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 | Form::Text | Form::Bytes)
        };
        (0..self.columns.len()).filter(|at| alike(self.columns[*at].form)).take(4).collect()
    }
}

/// The name under which a table's row numbers can be had.
fn rowid(table: &Table) -> Option<&'static str> {
    if table.without_rowid || table.kind == Kind::Virtual {
        return None;
    }
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| !table.columns.contains_key(*name))
}
