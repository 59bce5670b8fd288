//! Questions to a target's database, PostgreSQL or SQLite, in SQL that either understands.

use crate::check::door::{closed, silent};
use crate::check::{Context, Outcome};
use crate::world::pg::{self, Options};
use crate::world::{Identity, sqlite};

/// The first rows of an answer, and who gave it.
pub type Answer = (Vec<Vec<Option<String>>>, Identity);

/// Whom to ask, for which check.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The check's name.
    pub check: &'a str,
    /// The target.
    pub target: &'a str,
    /// What the check wants, for the evidence when it gets no answer.
    pub wanted: &'a str,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// A table that was asked for is not there.
    NoTable(String),
    /// Everything else.
    Other(Box<Outcome>),
}

/// Rows that are kept; more make an answer unknown.
const MOST: usize = 10_000;

impl<'a> Question<'a> {
    /// A question.
    pub fn new(check: &'a str, target: &'a str, wanted: &'a str) -> Self {
        Question { check, target, wanted }
    }

    fn unknown(&self, why: impl std::fmt::Display, help: &str) -> Box<Outcome> {
        Box::new(Outcome::unknown(format!("{}: {why}", self.target), self.wanted).help(help))
    }
}

impl Trouble {
    /// As evidence that nothing was measured; a missing table with this help.
    pub fn outcome(self, question: &Question<'_>, help: &str) -> Box<Outcome> {
        match self {
            Trouble::NoTable(why) => question.unknown(why, help),
            Trouble::Other(outcome) => outcome,
        }
    }
}

/// All rows of one statement that reads. On PostgreSQL it runs in a read-only transaction with the role's own search path.
pub async fn rows(cx: &Context, question: &Question<'_>, sql: &str) -> Result<Answer, Trouble> {
    let mut all = several(cx, question, &[sql]).await?;
    Ok((all.0.pop().unwrap_or_default(), all.1))
}

/// The rows of several statements, all of one moment, and who answered.
pub async fn several(
    cx: &Context,
    question: &Question<'_>,
    statements: &[&str],
) -> Result<(Vec<Vec<Vec<Option<String>>>>, Identity), Trouble> {
    let other = |why: String, help: &str| Trouble::Other(question.unknown(why, help));
    let target = cx.target(question.target).map_err(|why| other(why, "correct the target"))?;
    if let Some(file) = &target.sqlite {
        let statements: Vec<String> = statements.iter().map(|sql| (*sql).to_owned()).collect();
        let identity = sqlite::identity(file).map_err(|why| other(why, "correct the target"))?;
        let read = sqlite::read(file, move |reader| {
            statements.iter().map(|sql| reader.query(sql)).collect::<Result<Vec<_>, String>>()
        });
        let all = read.await.map_err(|why| match why.contains("no such table") {
            true => Trouble::NoTable(why),
            false => other(why, "find out why the file cannot be read, then measure again"),
        })?;
        return Ok((all, Identity::Sqlite(identity)));
    }
    let options = Options {
        application_name: format!("holdpoint {}", question.check),
        own_search_path: true,
        ..Options::default()
    };
    let session = pg::connect(target, &options)
        .await
        .map_err(|error| other(error.message.clone(), closed(error.kind)))?;
    let failed = |error: pg::QueryError| {
        let code = error.sqlstate.as_deref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
        let why = format!("{}{code}", error.message);
        match error.sqlstate.as_deref() {
            Some("42P01" | "3F000") => Trouble::NoTable(why),
            Some("25006") => other(why, "a check only reads: write a query that changes nothing"),
            Some("42601" | "42703") => other(why, "correct the query, then measure again"),
            _ => other(why, silent(&error)),
        }
    };
    // After the first query of a transaction its mode cannot be changed any more.
    session.query("begin isolation level repeatable read read only; select 1").await.map_err(failed)?;
    let mut all = Vec::new();
    for sql in statements {
        // One statement only: a second one could end the transaction.
        session.columns(sql).await.map_err(failed)?;
        let mut rows = Vec::new();
        session
            .query_each(sql, |row| {
                rows.push(row);
                if rows.len() > MOST {
                    std::ops::ControlFlow::Break(())
                } else {
                    std::ops::ControlFlow::Continue(())
                }
            })
            .await
            .map_err(failed)?;
        if rows.len() > MOST {
            return Err(other(format!("more than {MOST} rows came back"), "ask for fewer rows"));
        }
        all.push(rows);
    }
    Ok((all, Identity::Postgres(session.identity().clone())))
}

/// One value: the only column of the only row; `None` for NULL.
pub async fn one(
    cx: &Context,
    question: &Question<'_>,
    sql: &str,
) -> Result<(Option<String>, Identity), Box<Outcome>> {
    let help = "correct the names in the query";
    let (mut rows, identity) =
        rows(cx, question, sql).await.map_err(|trouble| trouble.outcome(question, help))?;
    let wrong = |why: &str| question.unknown(why, "write a query that returns one value");
    match rows.len() {
        0 => Err(wrong("no row came back")),
        1 => match rows.pop().unwrap_or_default().as_slice() {
            [value] => Ok((value.clone(), identity)),
            _ => Err(wrong("more than one column came back")),
        },
        _ => Err(wrong("more than one row came back")),
    }
}
