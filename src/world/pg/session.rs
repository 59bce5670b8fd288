//! One read-only session on a server. Dropping it, or dropping a query's future, cancels on the server.

use std::time::Duration;

use crate::runbook::Target;
use crate::world::identity::PostgresIdentity;

/// What a session is for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shown in pg_stat_activity: `holdpoint data_matches`.
    pub application_name: String,
    /// `statement_timeout`, set on the server; zero means none.
    pub statement_timeout: Duration,
    /// Longest time to get a connection.
    pub connect_timeout: Duration,
    /// Another database of the same server than the target's own.
    pub database: Option<String>,
    /// False only for a step's `sql`: the session may then write.
    pub read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            application_name: "holdpoint".to_owned(),
            statement_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            database: None,
            read_only: true,
        }
    }
}

/// Why there is no session. A sentence that names host, port and database, never a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// What went wrong.
    pub message: String,
    /// SQLSTATE, when the server itself refused.
    pub sqlstate: Option<String>,
}

/// Why a query gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What went wrong, in the server's words where it has any.
    pub message: String,
    /// SQLSTATE, when the server said one.
    pub sqlstate: Option<String>,
    /// True when the connection is gone, so that nobody knows whether the statement took effect.
    pub lost: bool,
}

/// A row as text, as psql shows it; NULL is `None`.
pub type Row = Vec<Option<String>>;

/// A session.
pub struct Session {
    client: tokio_postgres::Client,
    identity: PostgresIdentity,
}

/// Connects to a target. Settings that change how values look are pinned: UTC, ISO dates, `extra_float_digits=3`,
/// `bytea_output=hex`, `lc_monetary=C`, `search_path=pg_catalog`, `lock_timeout=2s`.
pub async fn connect(target: &Target, options: &Options) -> Result<Session, ConnectError> {
    let _ = (target, options);
    Err(ConnectError { message: "not built yet".to_owned(), sqlstate: None })
}

impl Session {
    /// What answered.
    pub fn identity(&self) -> &PostgresIdentity {
        &self.identity
    }

    /// Runs statements with the simple protocol; the rows of the last one that returned any.
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>, QueryError> {
        let _ = (sql, &self.client);
        Err(QueryError { message: "not built yet".to_owned(), sqlstate: None, lost: false })
    }
}
