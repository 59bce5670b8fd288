//! What a comparison covers: which databases and tables, what is excepted, and how strict it is.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::Comparison;
use crate::check::data::manifest::Manifest;

/// A table that may differ, with the reason. Without a further word, everything in it may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// The table or sequence: `name`, `schema.name` or `database.schema.name`; `*` stands for any characters.
    #[schemars(length(min = 1))]
    pub table: String,
    /// Why it may differ. Shown with every result.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// Only these columns may differ or be missing; the others are compared.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Only the contents and columns may differ: the rows are counted, and their number must agree.
    #[serde(default)]
    pub rows: bool,
    /// Between SQLite and PostgreSQL: the same value in another storage class (a number kept as text, text kept as a
    /// blob) is no difference. With `columns`, in these only.
    #[serde(default)]
    pub storage: bool,
    /// Between SQLite and PostgreSQL: what became of SQLite's texts with a NUL byte, which PostgreSQL cannot hold:
    /// `drop_rows` when their rows were left out, `remove` when only the bytes were.
    #[serde(default)]
    #[schemars(regex(pattern = r"^(drop_rows|remove)$"))]
    pub nul: Option<Nul>,
}

/// What became of texts with a NUL byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(with = "String")]
pub enum Nul {
    /// Their rows were left out.
    DropRows,
    /// The bytes were left out.
    Remove,
}

impl Except {
    /// Everything in the table may differ.
    pub fn whole(&self) -> bool {
        self.columns.is_empty() && !self.rows && !self.storage && self.nul.is_none()
    }

    /// Columns that may differ altogether.
    fn names_column(&self, column: &str) -> bool {
        !self.storage && self.columns.iter().any(|name| name.eq_ignore_ascii_case(column))
    }

    /// This column of this table may differ.
    pub fn leaves_out(&self, db: &str, table: &str, column: &str) -> bool {
        self.names_column(column) && is_called(db, table, &self.table)
    }

    /// An error says what makes no sense.
    pub fn sensible(&self) -> Result<(), String> {
        let table = &self.table;
        if self.reason.trim().is_empty() {
            return Err(format!("`except` of table `{table}` needs a reason"));
        }
        if self.rows && (!self.columns.is_empty() || self.storage || self.nul.is_some()) {
            return Err(format!(
                "`except` of table `{table}`: `rows` leaves no contents for its other words to apply to"
            ));
        }
        if self.nul.is_some() && !self.columns.is_empty() && !self.storage {
            return Err(format!(
                "`except` of table `{table}`: `nul` is about the whole table; give `columns` an entry of their own"
            ));
        }
        Ok(())
    }
}

/// What a comparison covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Contents and the catalogue too, not only rows.
    pub contents: bool,
    /// With `contents`: the catalogue alone. Rows, contents and where sequences stand do not matter.
    pub catalogue_only: bool,
    /// The target may have more rows and more tables.
    pub at_least: bool,
    /// Only these databases; all when empty.
    pub databases: Vec<String>,
    /// Only these tables; all when empty.
    pub tables: Vec<String>,
    /// Tables that may differ.
    pub except: Vec<Except>,
    /// PostgreSQL's schema that SQLite's tables are compared with; `public` when not given.
    pub schema: Option<String>,
    /// Columns that get their values from a sequence, by its name: `table.column`, `-table.column` for one that goes down.
    pub sequences: BTreeMap<String, Vec<String>>,
}

/// An exception that applies: its number among them all, and itself.
pub type Applies<'a> = (usize, &'a Except);

impl Rules {
    /// The names of the databases to compare. One that was asked for and that the source does not have is an error.
    pub(super) fn chosen(&self, source: &Manifest, target: &Manifest) -> Result<BTreeSet<String>, String> {
        if self.databases.is_empty() {
            return Ok(source.databases.keys().chain(target.databases.keys()).cloned().collect());
        }
        if let Some(name) = self.databases.iter().find(|name| !source.databases.contains_key(*name)) {
            return Err(format!("the source has no database `{name}`, which `databases` names"));
        }
        Ok(self.databases.iter().cloned().collect())
    }

    /// True when the table is among those to compare.
    pub(in crate::check::data) fn covers(&self, db: &str, table: &str) -> bool {
        covers(&self.tables, db, table)
    }

    /// The first exception of this table of which something is true.
    fn first(&self, db: &str, table: &str, what: impl Fn(&Except) -> bool) -> Option<Applies<'_>> {
        self.except.iter().enumerate().find(|(_, e)| what(e) && is_called(db, table, &e.table))
    }

    /// Whether everything in the table may differ.
    pub(in crate::check::data) fn excepted(&self, db: &str, table: &str) -> Option<Applies<'_>> {
        self.first(db, table, Except::whole)
    }

    /// Whether its contents may differ.
    pub(in crate::check::data) fn only_rows(&self, db: &str, table: &str) -> Option<Applies<'_>> {
        self.first(db, table, |e| e.rows)
    }

    /// Whether this column of it may differ.
    pub(in crate::check::data) fn excepted_column(
        &self,
        db: &str,
        table: &str,
        column: &str,
    ) -> Option<Applies<'_>> {
        self.first(db, table, |e| e.names_column(column))
    }

    /// Whether another storage class in this column counts as the same.
    pub(in crate::check::data) fn storage(&self, db: &str, table: &str, column: &str) -> Option<Applies<'_>> {
        self.first(db, table, |e| {
            e.storage
                && (e.columns.is_empty() || e.columns.iter().any(|name| name.eq_ignore_ascii_case(column)))
        })
    }

    /// What became of its texts with a NUL byte.
    pub(in crate::check::data) fn nul(&self, db: &str, table: &str) -> Option<(usize, &Except, Nul)> {
        let (at, except) = self.first(db, table, |e| e.nul.is_some())?;
        Some((at, except, except.nul?))
    }

    /// Says of each exception that was not needed that it was not; `known` tells whether a name is on either side.
    pub(in crate::check::data) fn not_needed(&self, known: impl Fn(&str) -> bool, seen: &mut Comparison) {
        for (at, except) in self.except.iter().enumerate() {
            let name = &except.table;
            if !known(name) {
                seen.notes.push(format!("`except` names `{name}`, which is on neither side"));
            } else if !seen.used.contains(&at) {
                seen.notes.push(format!(
                    "`except` of `{name}` was not needed: nothing differs there ({})",
                    except.reason
                ));
            }
        }
    }

    /// A name in `tables` that no table has is an error: what was asked for was not compared. In `except` it is a note.
    pub(super) fn check_used(
        &self,
        source: &Manifest,
        target: &Manifest,
        seen: &mut Comparison,
    ) -> Result<(), String> {
        let known = |wanted: &str| {
            [source, target].iter().any(|side| {
                side.databases.iter().any(|(db, database)| {
                    database
                        .relations
                        .keys()
                        .chain(database.sequences.keys())
                        .any(|name| is_called(db, name, wanted))
                })
            })
        };
        for table in &self.tables {
            if !known(table) {
                return Err(format!("there is no table `{table}`, which `tables` names, on either side"));
            }
        }
        self.not_needed(known, seen);
        Ok(())
    }
}

/// True when a list of tables names this one; an empty list names all.
pub fn covers(tables: &[String], db: &str, table: &str) -> bool {
    tables.is_empty() || tables.iter().any(|wanted| is_called(db, table, wanted))
}

/// True when `wanted` means the table: by its name, with its schema, or with its database and schema. `table` is
/// `schema.name` with quotes where SQL needs them; `wanted` may leave them out.
/// `*` in it stands for any characters.
pub fn is_called(db: &str, table: &str, wanted: &str) -> bool {
    let full = format!("{db}.{table}");
    let is =
        |name: &str| name == wanted || (wanted.contains('*') && like(name.as_bytes(), wanted.as_bytes()));
    [table, full.as_str(), last(table)].into_iter().any(|name| is(name) || is(&plain(name)))
}

/// A name without its quotes.
pub fn plain(name: &str) -> String {
    name.replace("\"\"", "\u{0}").replace('"', "").replace('\u{0}', "\"")
}

/// Whether a name is like a pattern in which `*` stands for any characters.
fn like(name: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| like(&name[at..], rest)),
        Some((byte, rest)) => {
            name.split_first().is_some_and(|(first, name)| first == byte && like(name, rest))
        }
    }
}

/// The part after the last dot that is not inside quotes.
pub fn last(table: &str) -> &str {
    let mut quoted = false;
    let mut start = 0;
    for (at, c) in table.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => start = at + 1,
            _ => {}
        }
    }
    &table[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_by_each_of_its_names() {
        for wanted in ["events", "public.events", "synapse.public.events"] {
            assert!(is_called("synapse", "public.events", wanted), "{wanted}");
        }
        for wanted in ["event", "other.events", "blic.events", "other.public.events", ""] {
            assert!(!is_called("synapse", "public.events", wanted), "{wanted}");
        }
        for wanted in ["event*", "*s", "public.*", "synapse.*.e*t*", "*"] {
            assert!(is_called("synapse", "public.events", wanted), "{wanted}");
        }
        for wanted in ["vent*", "event*x", "private.*", "events.*"] {
            assert!(!is_called("synapse", "public.events", wanted), "{wanted}");
        }
        assert!(is_called("s", "public.\"We\"\"ird.; Name\"", "We\"ird.; Name"));
        assert!(!is_called("s", "public.\"We.ird\"", "ird\""));
    }
}
