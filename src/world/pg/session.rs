//! One session on a server. Read-only unless asked otherwise; every setting that changes how values look is pinned.
//!
//! Statements take turns, so that several futures may share a session. Dropping a statement's future (a time limit does
//! just that) sends a cancel request over a connection of its own; the next statement waits until it has taken effect.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::QueryError;
use super::own::Mark;
use crate::world::identity::PostgresIdentity;

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

/// How many notices a session keeps; older ones go first.
const NOTICES: usize = 200;

/// How long a cancel request may take, and how long the server may take to obey it.
const CANCEL: Duration = Duration::from_secs(5);

/// How long a server may take between the two signals of a cancel.
const SECOND_SIGNAL: Duration = Duration::from_millis(100);

/// A session. `Send + Sync`; dropping it ends the connection.
pub struct Session {
    line: Arc<Line>,
    identity: PostgresIdentity,
    local: bool,
}

/// The connection itself, shared with the task that cancels.
struct Line {
    client: Client,
    cancel: CancelToken,
    cancel_by: CancelBy,
    turn: Arc<tokio::sync::Mutex<()>>,
    notices: Arc<Mutex<VecDeque<String>>>,
    runtime: Handle,
    reader: AbortHandle,
    /// Set while everything happens in one transaction that several sessions share: see [`super::undone`].
    nested: Nested,
    /// Set when it is known which process of which server answers, and it only reads.
    measures: OnceLock<Mark>,
}

/// Statements of a shared transaction. Each stands between two savepoints, so that one that fails does not end it.
#[derive(Default)]
struct Nested {
    on: AtomicBool,
    /// The last statement did not come to a good end: the next one goes back to the savepoint first.
    dirty: AtomicBool,
    /// Nothing is written any more. It has to be said before every statement: what is said after a savepoint ends with it.
    read_only: AtomicBool,
}

/// Name of the savepoint between two statements.
const BETWEEN: &str = "holdpoint_between";

/// How a cancel request reaches the server: as the connection did.
pub(super) enum CancelBy {
    /// Over TCP, with TLS when the connection has it.
    Tls(MakeRustlsConnect),
    /// Over this socket.
    Socket(PathBuf),
}

impl Line {
    fn nests(&self) -> bool {
        self.nested.on.load(Ordering::Relaxed)
    }

    /// Before a statement of a shared transaction: what is left of one that failed or was broken off goes.
    async fn enter(&self) -> Result<(), tokio_postgres::Error> {
        if !self.nests() {
            return Ok(());
        }
        let mut first = String::new();
        if self.nested.dirty.swap(true, Ordering::Relaxed) {
            first.push_str(&format!("rollback to savepoint {BETWEEN};"));
        }
        if self.nested.read_only.load(Ordering::Relaxed) {
            first.push_str("set transaction read only");
        }
        self.client.batch_execute(&first).await
    }

    /// After a statement that came to a good end: what it set stays.
    async fn leave(&self) -> Result<(), tokio_postgres::Error> {
        if self.nests() {
            let next = format!("release savepoint {BETWEEN}; savepoint {BETWEEN}");
            self.client.batch_execute(&next).await?;
            self.nested.dirty.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn send_cancel(&self) {
        // The server never says whether it worked; what matters is that the statement ends.
        let _ = match &self.cancel_by {
            CancelBy::Tls(tls) => self.cancel.cancel_query(tls.clone()).await,
            CancelBy::Socket(path) => match UnixStream::connect(path).await {
                Ok(mut stream) => {
                    let sent = self.cancel.cancel_query_raw(&mut stream, NoTls).await;
                    // The server hangs up when it has sent all of its signals.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    sent
                }
                Err(_) => Ok(()),
            },
        };
    }

    /// Comes back when no cancel is on its way any more. A cancel is two signals, to the process and to its group
    /// (`signal_child` in the postmaster): on a busy machine the second may come when the statement has ended already, and would
    /// hit the next one of this session. An empty statement ends after the cancelled one, and takes what comes meanwhile.
    async fn settled(&self) {
        let _ = self.client.batch_execute("").await;
        // Over TCP the end of the cancel's own connection is not to be seen.
        if let CancelBy::Tls(_) = self.cancel_by {
            sleep(SECOND_SIGNAL).await;
            let _ = self.client.batch_execute("").await;
        }
    }
}

/// What comes back from a statement, in order.
enum Part {
    /// A result set begins.
    Begin,
    /// A row of it.
    Row(Row),
    /// A statement ended; rows returned or affected.
    Done(u64),
}

/// A statement on its way. Dropped before its end, it is cancelled on the server.
struct Running {
    line: Arc<Line>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Running {
    fn finished(mut self) {
        self.turn = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let line = Arc::clone(&self.line);
        line.clone().runtime.spawn(async move {
            let asked = timeout(CANCEL, line.send_cancel()).await;
            let idle = timeout(CANCEL, line.settled()).await;
            if asked.is_err() || idle.is_err() {
                line.reader.abort();
            }
            drop(turn);
        });
    }
}

/// Starts the reader of a fresh connection.
pub(super) fn start<S, T>(client: Client, mut connection: Connection<S, T>, cancel_by: CancelBy) -> OpenLine
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsStream + Unpin + Send + 'static,
{
    let notices = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&notices);
    let reader = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() >= NOTICES {
                        kept.pop_front();
                    }
                    kept.push_back(super::error::sentence(&notice));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    });
    OpenLine(Arc::new(Line {
        cancel: client.cancel_token(),
        client,
        cancel_by,
        turn: Arc::default(),
        notices,
        runtime: Handle::current(),
        reader: reader.abort_handle(),
        nested: Nested::default(),
        measures: OnceLock::new(),
    }))
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
        self.query(&format!("savepoint {BETWEEN}")).await?;
        self.line.nested.on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// From now on no statement of the shared transaction writes.
    pub(super) fn no_more_writes(&self) {
        self.line.nested.read_only.store(true, Ordering::Relaxed);
    }

    /// Hangs up at once, whoever else uses the connection: the server rolls back what is open.
    pub(super) fn hang_up(&self) {
        self.line.reader.abort();
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

async fn begin(line: &Arc<Line>) -> Running {
    let turn = Arc::clone(&line.turn).lock_owned().await;
    Running { line: Arc::clone(line), turn: Some(turn) }
}

async fn rows(line: &Arc<Line>, sql: &str) -> Result<Vec<Row>, QueryError> {
    let mut rows = Vec::new();
    run(line, sql, |part| {
        match part {
            Part::Begin => rows.clear(),
            Part::Row(row) => rows.push(row),
            Part::Done(_) => {}
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(rows)
}

async fn run(
    line: &Arc<Line>,
    sql: &str,
    mut sink: impl FnMut(Part) -> ControlFlow<()> + Send,
) -> Result<(), QueryError> {
    let running = begin(line).await;
    let broken = |error: &tokio_postgres::Error| QueryError::of(error, line.client.is_closed());
    if let Err(error) = line.enter().await {
        running.finished();
        return Err(broken(&error));
    }
    let sql = if line.nests() { without_begin(sql) } else { sql };
    let mut stream = match line.client.simple_query_raw(sql).await {
        Ok(stream) => pin!(stream),
        Err(error) => {
            running.finished();
            return Err(broken(&error));
        }
    };
    loop {
        let flow = match stream.next().await {
            None => break,
            Some(Err(error)) => {
                running.finished();
                if error.as_db_error().is_none() {
                    // The two sides no longer agree on where they are (`copy from stdin` wants data): hang up, so
                    // that the server does not wait for us.
                    line.reader.abort();
                    return Err(QueryError::of(&error, true));
                }
                return Err(broken(&error));
            }
            Some(Ok(SimpleQueryMessage::RowDescription(_))) => sink(Part::Begin),
            Some(Ok(SimpleQueryMessage::Row(row))) => {
                let mut values = Row::with_capacity(row.len());
                for column in 0..row.len() {
                    match row.try_get(column) {
                        Ok(value) => values.push(value.map(str::to_owned)),
                        Err(error) => return Err(broken(&error)),
                    }
                }
                sink(Part::Row(values))
            }
            Some(Ok(SimpleQueryMessage::CommandComplete(count))) => sink(Part::Done(count)),
            Some(Ok(_)) => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            // `running` is dropped unfinished: the server is told to stop.
            return Ok(());
        }
    }
    let left = line.leave().await.map_err(|error| broken(&error));
    running.finished();
    left
}

/// What a check of ours sends after a `begin` of its own: the transaction is there already.
fn without_begin(sql: &str) -> &str {
    match sql.split_once(';') {
        Some((first, rest)) if first.trim_start().starts_with("begin") => rest,
        None if sql.trim_start().starts_with("begin") => "",
        _ => sql,
    }
}
