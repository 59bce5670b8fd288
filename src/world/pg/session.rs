//! One session on a server. Read-only unless asked otherwise; every setting that changes how values look is pinned.
//!
//! Statements take turns, so that several futures may share a session. Dropping a statement's future (a time limit does
//! just that) sends a cancel request over a connection of its own; the next statement waits until it has taken effect.

mod line;

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection};

use super::error::QueryError;
use super::own::Mark;
use crate::world::identity::PostgresIdentity;
use line::{BETWEEN, Line, Part, begin, rows, run};

pub(super) use line::CancelBy;

/// What a session is for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shown in pg_stat_activity: `holdpoint data_matches`.
    pub application_name: String,
    /// `statement_timeout`, set on the server; zero means none.
    pub statement_timeout: Duration,
    /// `lock_timeout`, set on the server; zero means none.
    pub lock_timeout: Duration,
    /// Longest time to get a session from each host, unless the conninfo has a `connect_timeout` of its own.
    pub connect_timeout: Duration,
    /// Another database of the same server than the target's own.
    pub database: Option<String>,
    /// False only for a step's `sql`: the session may then write.
    pub read_only: bool,
    /// True keeps the role's and the database's own `search_path`, for SQL that an operator wrote.
    pub own_search_path: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            application_name: "holdpoint".to_owned(),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(10),
            database: None,
            read_only: true,
            own_search_path: false,
        }
    }
}

/// A row as text, as psql shows it; NULL is `None`.
pub type Row = Vec<Option<String>>;

/// A session. `Send + Sync`; dropping it ends the connection.
pub struct Session {
    line: Arc<Line>,
    identity: PostgresIdentity,
    local: bool,
}

/// Starts the reader of a fresh connection.
pub(super) fn start<S, T>(client: Client, connection: Connection<S, T>, cancel_by: CancelBy) -> OpenLine
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsStream + Unpin + Send + 'static,
{
    OpenLine(line::start(client, connection, cancel_by))
}

/// A connection that has not been identified yet.
pub(super) struct OpenLine(Arc<Line>);

impl OpenLine {
    pub(super) async fn query(&self, sql: &str) -> Result<Vec<Row>, QueryError> {
        rows(&self.0, sql).await
    }

    pub(super) fn identified(self, identity: PostgresIdentity, local: bool) -> Session {
        Session { line: self.0, identity, local }
    }

    /// From now on this process is known to measure with that process of the server.
    pub(super) fn measures(&self, server: &PostgresIdentity, pid: u32) {
        self.0.measures.get_or_init(|| Mark::new(server, pid));
    }

    /// The connection of a session, to be set up for another use.
    pub(super) fn of(session: &Session) -> OpenLine {
        OpenLine(Arc::clone(&session.line))
    }
}

impl Session {
    /// Another session over the same connection.
    pub(super) fn beside(&self) -> Session {
        Session { line: Arc::clone(&self.line), identity: self.identity.clone(), local: self.local }
    }

    /// From now on every statement stands between two savepoints. A transaction must be open.
    pub(super) async fn nest(&self) -> Result<(), QueryError> {
        self.line.nest().await
    }

    /// From now on no statement of the shared transaction writes.
    pub(super) fn no_more_writes(&self) {
        self.line.no_more_writes();
    }

    /// Hangs up at once, whoever else uses the connection: the server rolls back what is open.
    pub(super) fn hang_up(&self) {
        self.line.hang_up();
    }

    /// What answered.
    pub fn identity(&self) -> &PostgresIdentity {
        &self.identity
    }

    /// True when the server runs on this machine: reached by a socket of it or one of its addresses.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Runs statements with the simple protocol; the rows of the last one that has a result set, which may be none.
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>, QueryError> {
        rows(&self.line, sql).await
    }

    /// One value: the only column of the only row. Anything else is an error.
    pub async fn value(&self, sql: &str) -> Result<Option<String>, QueryError> {
        let rows = self.query(sql).await?;
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) if row.len() == 1 => Ok(row.into_iter().next().flatten()),
            _ => Err(QueryError::local("the answer is not one value")),
        }
    }

    /// Runs statements and gives each row to `each` as it arrives, so that memory stays bounded; the server waits when
    /// `each` is slow. `Break` cancels the statement. Returns the number of rows given.
    pub async fn query_each(
        &self,
        sql: &str,
        mut each: impl FnMut(Row) -> ControlFlow<()> + Send,
    ) -> Result<u64, QueryError> {
        let mut given = 0;
        run(&self.line, sql, |part| match part {
            Part::Row(row) => {
                given += 1;
                each(row)
            }
            _ => ControlFlow::Continue(()),
        })
        .await?;
        Ok(given)
    }

    /// Runs statements for their effect; the number of rows that the last one returned or affected.
    pub async fn execute(&self, sql: &str) -> Result<u64, QueryError> {
        let mut count = 0;
        run(&self.line, sql, |part| {
            if let Part::Done(rows) = part {
                count = rows;
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(count)
    }

    /// The names of the columns that one statement would return, without running it; more than one statement is an
    /// error (42601), and so is a statement that the server cannot plan.
    pub async fn columns(&self, sql: &str) -> Result<Vec<String>, QueryError> {
        let running = begin(&self.line).await;
        let prepared = async {
            self.line.enter().await?;
            let statement = self.line.client.prepare(sql).await?;
            self.line.leave().await?;
            Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect())
        };
        let answer = prepared.await.map_err(|error| QueryError::of(&error, self.line.client.is_closed()));
        running.finished();
        answer
    }

    /// Copies out with `COPY ... TO STDOUT` and gives each piece to `each`, with bounded memory. Bytes in all.
    pub async fn copy_out(&self, sql: &str, mut each: impl FnMut(&[u8]) + Send) -> Result<u64, QueryError> {
        let running = begin(&self.line).await;
        let client = &self.line.client;
        let copied = async {
            self.line.enter().await?;
            let mut stream = pin!(client.copy_out(sql).await?);
            let mut bytes = 0;
            while let Some(piece) = stream.next().await {
                let piece = piece?;
                bytes += piece.len() as u64;
                each(&piece);
            }
            self.line.leave().await?;
            Ok(bytes)
        };
        let answer = copied.await.map_err(|error| QueryError::of(&error, client.is_closed()));
        running.finished();
        answer
    }

    /// Begins a read-only transaction whose snapshot others may use, and returns the snapshot's name. It lasts until
    /// this session ends or runs `commit`.
    pub async fn export_snapshot(&self) -> Result<String, QueryError> {
        if self.line.nests() {
            // Every session of this server that counts is in the one transaction already.
            return Ok(BETWEEN.to_owned());
        }
        self.query("begin isolation level repeatable read read only").await?;
        self.value("select pg_catalog.pg_export_snapshot()")
            .await?
            .ok_or_else(|| QueryError::local("the server exported no snapshot"))
    }

    /// Begins a read-only transaction on a snapshot that another session of the same database exported.
    pub async fn use_snapshot(&self, name: &str) -> Result<(), QueryError> {
        if self.line.nests() {
            return Ok(());
        }
        self.query("begin isolation level repeatable read read only").await?;
        self.query(&format!("set transaction snapshot {}", literal(name))).await.map(drop)
    }

    /// The notices and warnings that the server sent since the last call, oldest first; at most the last 200.
    pub fn take_notices(&self) -> Vec<String> {
        self.line.notices.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// True when the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.line.client.is_closed()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// A string as an SQL literal.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A name as a quoted SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
