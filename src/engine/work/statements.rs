//! `sql` steps: statements on a server, each in a transaction of its own; or all of them in one, which is kept only when
//! it affects as many rows as were meant.

use std::time::Duration;

use super::{Job, broken, finished};
use crate::engine::machine::Ended;
use crate::journal::record::Ending;
use crate::runbook::Step;
use crate::runbook::model::{Affects, Sql};
use crate::world::pg::{self, QueryError, Session};

/// Which transaction this is. Asked again after each statement: one that ended it would be past recall.
const TRANSACTION: &str = "select pg_catalog.txid_current()::text";

/// Rows inserted, updated and deleted in this transaction, by triggers and foreign keys too; NULL when the server does not
/// count them, or there is no table to count them of.
const AFFECTED: &str = "select case when pg_catalog.current_setting('track_counts')::bool \
    then sum(n_tup_ins + n_tup_upd + n_tup_del)::text end \
    from pg_catalog.pg_stat_xact_user_tables where schemaname !~ '^pg_temp_'";

/// Why it did not come to its end.
enum Trouble {
    /// The server's word, or the loss of it, at a place.
    Query(String, QueryError),
    /// Ours; the server has been told to roll back.
    Refused(String),
}

/// Runs a step's statements.
pub(super) async fn execute(sql: &Sql, step: &Step, job: &Job) -> Ended {
    let target = match job.cx.target(&sql.target) {
        Ok(target) => target,
        Err(why) => return broken(why),
    };
    let options = pg::Options {
        application_name: format!("holdpoint {}", step.id),
        statement_timeout: step.timeout.map_or(Duration::ZERO, |t| t.0),
        read_only: false,
        own_search_path: true,
        ..pg::Options::default()
    };
    if target.postgres.is_none() && target.cluster.is_none() {
        return broken(format!("`{}` is not a PostgreSQL target; `sql` steps need one", sql.target));
    }
    let session = match pg::connect(target, &options).await {
        Ok(session) => session,
        Err(error) => return Ended { ending: Ending::NotStarted { why: error.to_string() }, ..finished() },
    };
    let came = match &sql.affects {
        None => one_by_one(&session, &sql.statements).await,
        Some(affects) => together(&session, &sql.statements, affects).await,
    };
    match came {
        Ok(()) => finished(),
        Err(Trouble::Refused(why)) => broken(why),
        Err(Trouble::Query(at, error)) => {
            let why = job.cx.secrets.text(&format!("{at}: {}", error.message));
            match error.lost {
                true => Ended { ending: Ending::Unknown { why }, ..finished() },
                false => broken(why),
            }
        }
    }
}

fn at(number: usize) -> impl FnOnce(QueryError) -> Trouble {
    move |error| Trouble::Query(format!("statement {}", number + 1), error)
}

async fn one_by_one(session: &Session, statements: &[String]) -> Result<(), Trouble> {
    for (number, statement) in statements.iter().enumerate() {
        session.query(statement).await.map_err(at(number))?;
    }
    Ok(())
}

async fn together(session: &Session, statements: &[String], affects: &Affects) -> Result<(), Trouble> {
    let ask = async |sql: &str| {
        session.value(sql).await.map_err(|error| Trouble::Query("the transaction".to_owned(), error))
    };
    session.query("begin").await.map_err(|error| Trouble::Query("begin".to_owned(), error))?;
    let transaction = ask(TRANSACTION).await?;
    for (number, statement) in statements.iter().enumerate() {
        session.query(statement).await.map_err(at(number))?;
        if ask(TRANSACTION).await? != transaction {
            return Err(Trouble::Refused(format!(
                "statement {} ended the transaction in which the rows are counted: what came before it may be kept, and \
                 nothing more was done",
                number + 1
            )));
        }
    }
    let affected: Option<u64> = ask(AFFECTED).await?.and_then(|rows| rows.parse().ok());
    let refusal = match affected {
        Some(rows) if affects.allows(rows) => None,
        Some(rows) => Some(format!("{rows} rows would have been affected, and {affects} are meant")),
        None => Some("the server did not count the rows affected (is track_counts off?)".to_owned()),
    };
    let end = if refusal.is_some() { "rollback" } else { "commit" };
    session.query(end).await.map_err(|error| Trouble::Query(end.to_owned(), error))?;
    refusal.map_or(Ok(()), |why| Err(Trouble::Refused(format!("{why}: rolled back, nothing was changed"))))
}
