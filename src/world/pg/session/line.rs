//! The connection of a session: statements take turns on it, and one that is dropped is cancelled on the server.

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

use super::Row;
use crate::world::pg::error::{QueryError, sentence};
use crate::world::pg::own::Mark;

/// How many notices a session keeps; older ones go first.
const NOTICES: usize = 200;

/// How long a cancel request may take, and how long the server may take to obey it.
const CANCEL: Duration = Duration::from_secs(5);

/// How long a server may take between the two signals of a cancel.
const SECOND_SIGNAL: Duration = Duration::from_millis(100);

/// The connection itself, shared with the task that cancels.
pub(super) struct Line {
    pub(super) client: Client,
    cancel: CancelToken,
    cancel_by: CancelBy,
    turn: Arc<tokio::sync::Mutex<()>>,
    pub(super) notices: Arc<Mutex<VecDeque<String>>>,
    runtime: Handle,
    reader: AbortHandle,
    /// Set while everything happens in one transaction that several sessions share: see [`crate::world::pg::undone`].
    nested: Nested,
    /// Set when it is known which process of which server answers, and it only reads.
    pub(super) measures: OnceLock<Mark>,
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
pub(super) const BETWEEN: &str = "holdpoint_between";

/// How a cancel request reaches the server: as the connection did.
pub(in crate::world::pg) enum CancelBy {
    /// Over TCP, with TLS when the connection has it.
    Tls(MakeRustlsConnect),
    /// Over this socket.
    Socket(PathBuf),
}

impl Line {
    /// From now on every statement stands between two savepoints. A transaction must be open.
    pub(super) async fn nest(self: &Arc<Line>) -> Result<(), QueryError> {
        rows(self, &format!("savepoint {BETWEEN}")).await?;
        self.nested.on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// From now on no statement of the shared transaction writes.
    pub(super) fn no_more_writes(&self) {
        self.nested.read_only.store(true, Ordering::Relaxed);
    }

    /// Hangs up at once.
    pub(super) fn hang_up(&self) {
        self.reader.abort();
    }

    /// True while several sessions share a transaction on it.
    pub(super) fn nests(&self) -> bool {
        self.nested.on.load(Ordering::Relaxed)
    }

    /// Before a statement of a shared transaction: what is left of one that failed or was broken off goes.
    pub(super) async fn enter(&self) -> Result<(), tokio_postgres::Error> {
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
    pub(super) async fn leave(&self) -> Result<(), tokio_postgres::Error> {
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
pub(super) enum Part {
    /// A result set begins.
    Begin,
    /// A row of it.
    Row(Row),
    /// A statement ended; rows returned or affected.
    Done(u64),
}

/// A statement on its way. Dropped before its end, it is cancelled on the server.
pub(super) struct Running {
    line: Arc<Line>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Running {
    pub(super) fn finished(mut self) {
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
pub(super) fn start<S, T>(client: Client, mut connection: Connection<S, T>, cancel_by: CancelBy) -> Arc<Line>
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
                    kept.push_back(sentence(&notice));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    });
    Arc::new(Line {
        cancel: client.cancel_token(),
        client,
        cancel_by,
        turn: Arc::default(),
        notices,
        runtime: Handle::current(),
        reader: reader.abort_handle(),
        nested: Nested::default(),
        measures: OnceLock::new(),
    })
}

/// Waits for its turn.
pub(super) async fn begin(line: &Arc<Line>) -> Running {
    let turn = Arc::clone(&line.turn).lock_owned().await;
    Running { line: Arc::clone(line), turn: Some(turn) }
}

/// The rows of the last statement that has a result set.
pub(super) async fn rows(line: &Arc<Line>, sql: &str) -> Result<Vec<Row>, QueryError> {
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

/// Runs statements; the sink says whether to go on.
pub(super) async fn run(
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
