//! A change that can only be undone: made in a transaction that cannot be committed, and measured from within it.
//!
//! While an [`Undone`] lives, every session that is opened for its target in its database shares the one connection and
//! sees the change; nobody else does. A deferred constraint that is broken already makes any COMMIT fail, whoever sends
//! it, and the transaction is read-only once the change is made. When the connection goes, for whatever reason, the
//! server rolls back: a killed process leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use super::error::{ConnectError, QueryError};
use super::session::{Options, Session};
use crate::runbook::Target;

/// The transactions that are open, by their numbers.
static OPEN: LazyLock<Mutex<BTreeMap<u64, (Session, String)>>> = LazyLock::new(Mutex::default);

/// How long the end may take before the connection is cut.
const END: Duration = Duration::from_secs(5);

/// Two rows of one value, where only one may be when the transaction ends.
const NO_COMMIT: &str = "create temporary table holdpoint_no_commit \
    (one int4 constraint holdpoint_no_commit_twice unique deferrable initially deferred) on commit drop; \
    insert into pg_temp.holdpoint_no_commit values (1), (1)";

/// An open transaction with a change in it.
#[derive(Debug)]
pub struct Undone {
    number: u64,
    session: Session,
    target: Target,
    /// What was changed, in words.
    pub what: String,
}

/// Where a change may be made.
pub struct Place<'a> {
    /// The target. It must be proved to be one on which this may be done.
    pub target: &'a Target,
    /// The database; the target's own when not given.
    pub database: Option<&'a str>,
    /// A query that makes statements: the statement, the table that it is about, what it does in words. The first that
    /// has an effect is taken.
    pub makes: &'a str,
    /// Whether a statement has to affect a row to count.
    pub rows: bool,
    /// Whether the check looks at a table; given database and table, as SQL has it.
    pub wants: &'a (dyn Fn(&str, &str) -> bool + Send + Sync),
}

impl Undone {
    /// Makes a change. `None` when there is nothing that could be changed; an error when it cannot be done at all.
    pub async fn begin(place: &Place<'_>) -> Result<Option<Undone>, String> {
        let words = |error: QueryError| error.message;
        let options = Options {
            application_name: "holdpoint rehearse".to_owned(),
            database: place.database.map(str::to_owned),
            read_only: false,
            ..Options::default()
        };
        let session = super::connect(place.target, &options).await.map_err(|error| error.message)?;
        let database = session.value("select current_database()").await.map_err(words)?.unwrap_or_default();
        session.query("begin isolation level repeatable read read write").await.map_err(words)?;
        session.query(NO_COMMIT).await.map_err(words)?;
        session.nest().await.map_err(words)?;
        // Triggers may tell somebody outside, and foreign keys may stand in the way. It takes a superuser; else tables
        // without any are tried first.
        let _ = session.query("set local session_replication_role = replica").await;
        let _ = session.query("set local row_security = off").await;
        let Some(what) = change(&session, &database, place).await.map_err(words)? else {
            session.hang_up();
            return Ok(None);
        };
        let settle = "set local session_replication_role to default";
        let _ = session.query(settle).await;
        session.no_more_writes();
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let shared = (session.beside(), database);
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number, shared);
        let target = Target { within: Some(number), ..place.target.clone() };
        Ok(Some(Undone { number, session, target, what }))
    }

    /// The target as it is within the transaction.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Whether the transaction and its change are still there: a measurement that ended it has not seen the change.
    pub async fn intact(&self) -> Result<(), String> {
        match self.session.value("select count(*) from pg_temp.holdpoint_no_commit").await {
            Ok(Some(two)) if two == "2" => Ok(()),
            Ok(_) => Err("the transaction was changed by the measurement".to_owned()),
            Err(error) => Err(format!("the transaction ended during the measurement: {}", error.message)),
        }
    }

    /// Rolls back and hangs up. Dropping does the same without waiting.
    pub async fn end(self) {
        let _ = tokio::time::timeout(END, self.session.query("rollback")).await;
    }
}

impl Drop for Undone {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.session.hang_up();
    }
}

async fn change(session: &Session, database: &str, place: &Place<'_>) -> Result<Option<String>, QueryError> {
    for row in session.query(place.makes).await? {
        let [Some(statement), table, Some(what)] = row.as_slice() else { continue };
        if table.as_deref().is_some_and(|table| !(place.wants)(database, table)) {
            continue;
        }
        match session.execute(statement).await {
            Ok(rows) if rows > 0 || !place.rows => return Ok(Some(what.clone())),
            Ok(_) => {}
            Err(error) if error.lost => return Err(error),
            // No right to it, or something is in its way: another may do.
            Err(_) => {}
        }
    }
    Ok(None)
}

/// A session within an open transaction; `None` for another database. One that has ended is an error: nothing that was to
/// be measured within it may be measured outside.
pub(super) fn session(number: u64, database: &str) -> Result<Option<Session>, ConnectError> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    match open.get(&number) {
        Some((session, of)) => Ok((of == database).then(|| session.beside())),
        None => Err(ConnectError::settings("the transaction that it was to be measured in has ended")),
    }
}
