//! What a server holds and who is connected to it.

use super::error::QueryError;
use super::session::{Session, literal};

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// False when nobody may connect, as to `template0`.
    pub allows_connections: bool,
    /// Bytes on disk; `None` when our role may not know.
    pub bytes: Option<u64>,
}

impl Session {
    /// Every database of the server, templates included, by name.
    pub async fn databases(&self) -> Result<Vec<Database>, QueryError> {
        let sql = "select datname, datallowconn, \
                   case when pg_catalog.has_database_privilege(oid, 'connect') \
                          or pg_catalog.pg_has_role('pg_read_all_stats', 'usage') \
                        then pg_catalog.pg_database_size(oid) end \
                   from pg_catalog.pg_database order by datname collate \"C\"";
        let rows = self.query(sql).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let mut values = row.into_iter();
                let mut next = || values.next().flatten();
                Database {
                    name: next().unwrap_or_default(),
                    allows_connections: next().as_deref() == Some("t"),
                    bytes: next().and_then(|bytes| bytes.parse().ok()),
                }
            })
            .collect())
    }

    /// Sessions of others, one line for each program and database: `2 client sessions of synapse in matrix`.
    /// Holdpoint's own do not count; replication does.
    pub async fn clients(&self) -> Result<Vec<String>, QueryError> {
        self.clients_in(None).await
    }

    /// The same of one database.
    pub(super) async fn clients_in(&self, database: Option<&str>) -> Result<Vec<String>, QueryError> {
        let only = database.map_or(String::new(), |name| format!(" and datname = {}", literal(name)));
        let sql = format!(
            "select coalesce(nullif(application_name, ''), usename, 'a client that we may not see'), datname, \
                          count(*) \
                   from pg_catalog.pg_stat_activity \
                   where pid <> pg_catalog.pg_backend_pid() \
                     and coalesce(backend_type, 'client backend') in ('client backend', 'walsender') \
                     and coalesce(application_name, '') not like 'holdpoint%'{only} \
                   group by 1, 2 order by 1, 2"
        );
        let rows = self.query(&sql).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let mut values = row.into_iter();
                let mut next = || values.next().flatten();
                let who = next().unwrap_or_default();
                let place = next().map_or_else(|| "for replication".to_owned(), |name| format!("in {name}"));
                let count = next().and_then(|n| n.parse().ok()).unwrap_or(1);
                format!(
                    "{} of {who} {place}",
                    crate::base::text::count(count, "client session", "client sessions")
                )
            })
            .collect())
    }
}
