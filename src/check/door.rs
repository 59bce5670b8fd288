//! How a check comes to a PostgreSQL server: one way to open a session, one way to say why a query gave no answer. What
//! could not be asked is unknown, with the reason and what to do; never a pass, and never a failure either.

use std::time::Duration;

use super::{Context, Outcome};
use crate::world::Identity;
use crate::world::pg::{self, ConnectTrouble, Options, QueryError, Session};

/// Whom to ask, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// The target's name in the runbook.
    pub target: &'a str,
    /// Another database of the same server than the target's own.
    pub database: Option<&'a str>,
    /// The check's name, shown in pg_stat_activity.
    pub check: &'a str,
    /// What the check wants, for the evidence when it cannot be measured.
    pub expected: &'a str,
    /// `statement_timeout` on the server.
    pub limit: Duration,
}

impl<'a> Door<'a> {
    /// To a target's own database, with half a minute for each statement.
    pub fn new(check: &'a str, target: &'a str, expected: &'a str) -> Self {
        Door { target, database: None, check, expected, limit: Duration::from_secs(30) }
    }

    /// Another database of the same server.
    pub fn database(self, database: &'a str) -> Self {
        Door { database: Some(database), ..self }
    }

    /// Another time limit for each statement.
    pub fn limit(self, limit: Duration) -> Self {
        Door { limit, ..self }
    }

    /// A read-only session with pinned settings, and who answered. The error is ready to be returned.
    pub async fn open(&self, cx: &Context) -> Result<(Session, Identity), Outcome> {
        let target = cx.target(self.target).map_err(|why| Outcome::unknown(why, self.expected))?;
        let options = Options {
            application_name: format!("holdpoint {}", self.check),
            statement_timeout: self.limit,
            database: self.database.map(str::to_owned),
            ..Options::default()
        };
        let session = pg::connect(target, &options).await.map_err(|error| {
            Outcome::unknown(format!("{}: {}", self.target, error.message), self.expected)
                .help(closed(error.kind))
        })?;
        let identity = Identity::Postgres(session.identity().clone());
        Ok((session, identity))
    }

    /// Why a query gave no answer, as evidence.
    pub fn unanswered(&self, error: &QueryError) -> Outcome {
        let code = error.sqlstate.as_deref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
        let place = self.database.map(|name| format!(", database {name}")).unwrap_or_default();
        Outcome::unknown(format!("{}{place}: {}{code}", self.target, error.message), self.expected)
            .help(silent(error))
    }
}

/// What to do about a connection that could not be made.
pub fn closed(kind: ConnectTrouble) -> &'static str {
    match kind {
        ConnectTrouble::Refused | ConnectTrouble::NotServing => "start the server, then measure again",
        ConnectTrouble::WrongServer => "find out which cluster listens there before going on",
        ConnectTrouble::Denied => "give the role its password and rights, then measure again",
        ConnectTrouble::Settings => "correct the target, then measure again",
        ConnectTrouble::Timeout | ConnectTrouble::Other => {
            "find out why there is no connection, then measure again"
        }
    }
}

/// What to do about a query without an answer.
pub fn silent(error: &QueryError) -> &'static str {
    match error.sqlstate.as_deref() {
        Some("42501") => "give the role the right to see this (often: grant pg_monitor), then measure again",
        Some("57014") => "find out why the query takes so long, or give the check a longer `timeout`",
        Some("55P03") => "somebody holds a lock on it; measure again when they are done",
        _ if error.lost => "find out what happened to the server, then measure again",
        _ => "look into the server's log, then measure again",
    }
}
