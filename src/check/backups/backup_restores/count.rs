//! Exact rows of every table.

use std::collections::BTreeMap;

use crate::world::pg::{QueryError, Session};

/// Tables by database and name, with their rows.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<(String, String), u64>);

impl Tables {
    /// Adds another database's.
    pub fn add(&mut self, other: Tables) {
        self.0.extend(other.0);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Rows of all.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those of a database.
    pub fn of<'a>(&'a self, database: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let here = self.0.iter().filter(move |((name, _), _)| name == database);
        here.map(|((_, table), rows)| (table.as_str(), *rows))
    }

    /// Rows of one table; `None` when it is not there.
    pub fn rows(&self, database: &str, table: &str) -> Option<u64> {
        self.0.get(&(database.to_owned(), table.to_owned())).copied()
    }
}

/// Counts the session's database, filed under this name.
pub(super) async fn of_database(session: &Session, name: &str) -> Result<Tables, QueryError> {
    let sql = "select format('%I.%I', n.nspname, c.relname) \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where c.relkind = 'r' and c.relpersistence = 'p' \
                 and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast' \
               order by 1";
    let mut tables = Tables::default();
    for row in session.query(sql).await? {
        let Some(table) = row.into_iter().next().flatten() else { continue };
        let rows = session.value(&format!("select count(*) from only {table}")).await?;
        let rows = rows.and_then(|rows| rows.parse().ok());
        let rows = rows.ok_or_else(|| QueryError::local(format!("{table}: no count came back")))?;
        tables.0.insert((name.to_owned(), table), rows);
    }
    Ok(tables)
}
