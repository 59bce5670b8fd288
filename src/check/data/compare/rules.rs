//! What a comparison covers: which databases and tables, what is excepted, and how strict it is.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Comparison;
use crate::check::data::manifest::Manifest;

/// A table that may differ, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// The table: `name`, `schema.name` or `database.schema.name`.
    #[schemars(length(min = 1))]
    pub table: String,
    /// Why it may differ. Shown with every result.
    #[schemars(length(min = 1))]
    pub reason: String,
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
}

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
    pub(super) fn covers(&self, db: &str, table: &str) -> bool {
        covers(&self.tables, db, table)
    }

    /// Why the table may differ, if it may.
    pub(super) fn excepted(&self, db: &str, table: &str) -> Option<&str> {
        self.except.iter().find(|e| is_called(db, table, &e.table)).map(|e| e.reason.as_str())
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
        for except in self.except.iter().filter(|e| !known(&e.table)) {
            seen.notes.push(format!("`except` names `{}`, which is on neither side", except.table));
        }
        Ok(())
    }
}

/// True when a list of tables names this one; an empty list names all.
pub fn covers(tables: &[String], db: &str, table: &str) -> bool {
    tables.is_empty() || tables.iter().any(|wanted| is_called(db, table, wanted))
}

/// True when `wanted` means the table: by its name, with its schema, or with its database and schema. `table` is
/// `schema.name` with quotes where SQL needs them; `wanted` may leave them out.
fn is_called(db: &str, table: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.replace("\"\"", "\u{0}").replace('"', "").replace('\u{0}', "\"");
    let full = format!("{db}.{table}");
    [table, full.as_str()].into_iter().any(|name| name == wanted || plain(name) == wanted)
        || last(table) == wanted
        || plain(last(table)) == wanted
}

/// The part after the last dot that is not inside quotes.
fn last(table: &str) -> &str {
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
        assert!(is_called("s", "public.\"We\"\"ird.; Name\"", "We\"ird.; Name"));
        assert!(!is_called("s", "public.\"We.ird\"", "ird\""));
    }
}
