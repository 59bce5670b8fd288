//! The tables that an author named, or all of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::tally::Tally;
use super::walk::cell;
use crate::world::pg::{QueryError, Session, literal};

/// Which tables are meant.
#[derive(Debug)]
pub struct Chosen {
    names: Vec<String>,
    catalogs: bool,
    seen: Mutex<BTreeSet<String>>,
}

impl Chosen {
    /// Those of these names (`schema.table`, or `table` in any schema); without names all, with or without the system's.
    pub fn new(names: &[String], catalogs: bool) -> Self {
        Chosen { names: names.to_vec(), catalogs, seen: Mutex::default() }
    }

    /// Remembers which of the names this database has.
    pub async fn look_up(&self, session: &Session) -> Result<(), QueryError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "select distinct w from pg_catalog.unnest({}) w, pg_catalog.pg_class c, pg_catalog.pg_namespace n \
             where n.oid = c.relnamespace and c.relkind in ('r', 'p', 'm') \
               and w in (c.relname::text, n.nspname::text || '.' || c.relname::text)",
            array(&self.names)
        );
        for row in session.query(&sql).await? {
            let name = cell(&row, 0)?.to_owned();
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
        Ok(())
    }

    /// A condition on a table, given as an expression for its oid. Naming a partitioned table names its partitions.
    pub fn condition(&self, table: &str) -> String {
        if self.names.is_empty() {
            return match self.catalogs {
                true => "true".to_owned(),
                false => format!(
                    "not exists (select from pg_catalog.pg_class c, pg_catalog.pg_namespace n \
                     where c.oid = {table} and n.oid = c.relnamespace \
                       and n.nspname in ('pg_catalog', 'information_schema', 'pg_toast'))"
                ),
            };
        }
        let names = array(&self.names);
        format!(
            "exists (select from pg_catalog.pg_class c, pg_catalog.pg_namespace n \
             where n.oid = c.relnamespace \
               and (c.oid = {table} or c.oid in (select relid from pg_catalog.pg_partition_ancestors({table}))) \
               and (c.relname::text = any ({names}) or n.nspname::text || '.' || c.relname::text = any ({names})))"
        )
    }

    /// Names that no database has are gaps.
    pub fn missing(&self, tally: &mut Tally) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for name in self.names.iter().filter(|name| !seen.contains(*name)) {
            tally.missed(format!("there is no table {name}"), "correct the name of the table");
        }
    }
}

fn array(names: &[String]) -> String {
    let all: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!("array[{}]::text[]", all.join(", "))
}
