//! Whether the tables that were read are the ones that were listed. A snapshot does not hold everything still: a table can
//! be dropped, emptied by TRUNCATE or replaced while its database is read. Who reads it by its name then gets an error, or
//! rows that are not those of the snapshot (PostgreSQL's manual, "Concurrency Control", "Caveats"). Whoever finds that here
//! begins again.

use std::collections::BTreeMap;

use super::{cell, open};
use crate::check::data::side::Ask;
use crate::runbook::Target;
use crate::world::pg::Session;

/// How often a database is read before it is given up as one whose tables do not hold still.
pub const ATTEMPTS: usize = 3;

/// Everything that has a name and may be read: name, oid, file, and whether it is an index.
const TABLES: &str = "select format('%I.%I', n.nspname, c.relname), c.oid, c.relfilenode, c.relkind in ('i', 'I') \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where c.oid >= 16384 and c.relpersistence <> 't' and n.nspname !~ '^pg_(toast|temp)'";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    oid: String,
    file: String,
    index: bool,
}

/// The tables, sequences and indexes of a database at one moment.
#[derive(Debug, Default)]
pub struct Tables(BTreeMap<String, Entry>);

impl Tables {
    /// Those that the session sees: in a snapshot, those of the snapshot.
    pub async fn of(session: &Session) -> Result<Tables, String> {
        let rows = session.query(TABLES).await.map_err(|e| format!("cannot read relations: {e}"))?;
        let mut tables = BTreeMap::new();
        for row in &rows {
            let (oid, file) = (cell(row, 1)?.to_owned(), cell(row, 2)?.to_owned());
            tables.insert(cell(row, 0)?.to_owned(), Entry { oid, file, index: cell(row, 3)? == "t" });
        }
        Ok(Tables(tables))
    }

    /// What happened to one of them since, so that what was read cannot be relied on. Where reading failed and this cannot
    /// be found out, its own error has to do: `None`.
    pub async fn shifted(
        &self,
        target: &Target,
        ask: &Ask,
        database: &str,
        failed: bool,
    ) -> Result<Option<String>, String> {
        let now = async { Tables::of(&open(target, ask, Some(database)).await?).await };
        match now.await {
            Ok(now) => Ok(self.shift(&now, failed)),
            Err(_) if failed => Ok(None),
            Err(why) => Err(format!("whether its tables held still is not known: {why}")),
        }
    }

    /// As [`Tables::shifted`]. A table that is gone was read before it went, unless reading failed; one that is new was
    /// not there in the snapshot.
    fn shift(&self, now: &Tables, failed: bool) -> Option<String> {
        self.0.iter().find_map(|(name, was)| match now.0.get(name) {
            None if failed && was.index => Some(format!("index {name} was dropped")),
            None if failed => Some(format!("{name} was dropped")),
            Some(is) if is != was && (failed || !is.index) => Some(format!("{name} was emptied or replaced")),
            _ => None,
        })
    }
}

/// The remark that a database was read more than once.
pub fn read_anew(database: &str, what: &str) -> String {
    format!("database {database} was read anew: {what} while it was read")
}

/// The reason to give up.
pub fn restless(what: &str, error: Option<String>) -> String {
    let error = error.map(|e| format!("{e}: ")).unwrap_or_default();
    format!(
        "{error}{what} while it was read, at the last of {ATTEMPTS} attempts; measure when no table comes or goes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(entries: &[(&str, &str, &str, bool)]) -> Tables {
        let entry = |&(name, oid, file, index): &(&str, &str, &str, bool)| {
            (name.to_owned(), Entry { oid: oid.to_owned(), file: file.to_owned(), index })
        };
        Tables(entries.iter().map(entry).collect())
    }

    #[test]
    fn what_was_read_stands_unless_a_table_was_another_by_the_end() {
        let was = tables(&[("public.t", "1", "1", false), ("public.t_key", "2", "2", true)]);
        let shift = |now: &[(&str, &str, &str, bool)], failed| was.shift(&tables(now), failed);
        let (t, key) = (("public.t", "1", "1", false), ("public.t_key", "2", "2", true));
        assert_eq!(
            shift(&[t, key, ("public.new", "3", "3", false)], true),
            None,
            "a new one was not asked for"
        );
        assert_eq!(shift(&[key], false), None, "read before it went");
        assert_eq!(shift(&[key], true).unwrap(), "public.t was dropped");
        assert_eq!(shift(&[t], true).unwrap(), "index public.t_key was dropped");
        for failed in [false, true] {
            let emptied = shift(&[("public.t", "1", "9", false), key], failed).unwrap();
            assert_eq!(emptied, "public.t was emptied or replaced");
            let replaced = shift(&[("public.t", "9", "9", false), key], failed).unwrap();
            assert_eq!(replaced, "public.t was emptied or replaced");
        }
        assert_eq!(
            shift(&[t, ("public.t_key", "2", "9", true)], false),
            None,
            "an index is not what is read"
        );
    }
}
