//! What checks of whole servers share: all databases one after the other, and how what was found in each of them becomes one
//! verdict.

use crate::base::text::thousands;
use crate::check::door::{Door, silent};
use crate::check::{Context, Outcome};
use crate::world::Identity;
use crate::world::pg::session::Row;
use crate::world::pg::{QueryError, Session};

/// Lines that evidence keeps.
const LINES: usize = 50;

/// Every database that somebody may have put something into.
const DATABASES: &str = "select datname, datallowconn, datistemplate, has_database_privilege(oid, 'connect'), datconnlimit = -2 \
    from pg_database where datname <> 'template0' order by datname collate \"C\"";

/// A server whose databases are entered one by one.
pub struct Cluster<'a> {
    door: Door<'a>,
    /// A session in the target's own database.
    pub main: Session,
    /// Who answered.
    pub identity: Identity,
    /// `server_version_num`.
    pub version: u32,
    /// The databases to look into.
    pub databases: Vec<String>,
    /// Databases that nobody can look into, with the reason.
    pub closed: Vec<String>,
}

impl<'a> Cluster<'a> {
    /// Connects, and finds the databases: those named, or all of them.
    pub async fn open(door: Door<'a>, only: &[String], cx: &Context) -> Result<Cluster<'a>, Outcome> {
        let (main, identity) = door.open(cx).await?;
        let rows = main
            .query(DATABASES)
            .await
            .map_err(|error| door.unanswered(&error).on(door.target, identity.clone()))?;
        let (mut databases, mut closed) = (Vec::new(), Vec::new());
        for row in rows {
            let is = |column: usize| row.get(column).and_then(Option::as_deref) == Some("t");
            let name = row.first().cloned().flatten().unwrap_or_default();
            if !only.is_empty() && !only.contains(&name) {
                continue;
            }
            let why = match () {
                () if is(4) => "it is invalid: dropping it was interrupted",
                // A template that nobody may enter holds what it held; `template0` is one.
                () if !is(1) && is(2) && only.is_empty() => continue,
                () if !is(1) => "it allows no connections",
                () if !is(3) => "no right to connect",
                () => {
                    databases.push(name);
                    continue;
                }
            };
            closed.push(format!("database {name} cannot be entered: {why}"));
        }
        let seen = |name: &String| {
            databases.contains(name) || closed.iter().any(|c| c.starts_with(&format!("database {name} ")))
        };
        if let Some(missing) = only.iter().find(|name| !seen(name)) {
            return Err(Outcome::unknown(
                format!("{} has no database {missing}, which `databases` names", door.target),
                door.expected,
            )
            .help("correct the name, or find out where the database is")
            .on(door.target, identity));
        }
        let version = main.identity().version;
        Ok(Cluster { door, main, identity, version, databases, closed })
    }

    /// A session in one of the databases, on the server that answered first.
    pub async fn enter(&self, database: &str, cx: &Context) -> Result<Session, String> {
        let door: Door<'_> = self.door;
        let (session, _) = door.database(database).open(cx).await.map_err(|outcome| outcome.observed)?;
        let (a, b) = (self.main.identity(), session.identity());
        if (&a.system_identifier, &a.data_directory, &a.server_start)
            != (&b.system_identifier, &b.data_directory, &b.server_start)
        {
            return Err(format!("database {database}: another server answered than at first"));
        }
        // A row that a policy would hide is an error instead.
        session
            .query("set row_security = off")
            .await
            .map_err(|error| format!("database {database}: {}", error.message))?;
        Ok(session)
    }

    /// The rows of one query in one of the databases.
    pub async fn rows(&self, database: &str, sql: &str, cx: &Context) -> Result<Vec<Row>, String> {
        let session = self.enter(database, cx).await?;
        let unanswered =
            |error: QueryError| format!("database {database}: {} ({})", error.message, silent(&error));
        session.query(sql).await.map_err(unanswered)
    }
}

/// What was found, database by database.
#[derive(Debug, Default)]
pub struct Findings {
    /// What does not hold, worst first.
    pub failed: Vec<String>,
    /// What could not be measured, with the reason.
    pub unasked: Vec<String>,
    /// What people should know and what is no reason to fail.
    pub notes: Vec<String>,
    /// Things that were looked at.
    pub looked: u64,
}

/// The words of a verdict.
pub struct Words<'a> {
    /// What was wanted.
    pub expected: &'a str,
    /// What was seen when everything holds.
    pub passed: String,
    /// What to say when there was nothing to look at.
    pub nothing: &'a str,
    /// What to do when something does not hold.
    pub help: &'a str,
}

impl Findings {
    /// One verdict. A failure counts even when something else could not be measured; both are told.
    pub fn conclude(self, words: Words<'_>) -> Outcome {
        let Findings { failed, unasked, notes, looked } = self;
        let headline = |lines: &[String]| match lines {
            [] => String::new(),
            [one] => one.clone(),
            [first, others @ ..] => format!("{first}, and {} more", thousands(others.len() as u64)),
        };
        let mut outcome = if !failed.is_empty() {
            Outcome::fail(headline(&failed), words.expected).help(words.help)
        } else if !unasked.is_empty() {
            Outcome::unknown(headline(&unasked), words.expected)
                .help("remove what is in the way, then measure again; until then nothing is known of it")
        } else if looked == 0 {
            Outcome::unknown(words.nothing, words.expected)
                .help("make sure that the target is the right one; nothing was measured")
        } else {
            Outcome::pass(words.passed, words.expected)
        };
        outcome = outcome.fact("looked_at", looked).fact("failed", failed.len() as u64);
        let single = failed.len() + unasked.len() <= 1;
        let lines = failed
            .into_iter()
            .chain(unasked.into_iter().map(|why| format!("not measured: {why}")))
            .skip(usize::from(single))
            .chain(notes);
        bounded(outcome, lines.collect())
    }
}

/// Adds lines, and says how many more there are.
pub fn bounded(outcome: Outcome, lines: Vec<String>) -> Outcome {
    let all = lines.len();
    let outcome = lines.into_iter().take(LINES).fold(outcome, Outcome::detail);
    match all.saturating_sub(LINES) {
        0 => outcome,
        more => outcome.detail(format!("and {} more", thousands(more as u64))),
    }
}

/// What a cell holds; a missing one is empty.
pub fn cell(row: &[Option<String>], column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

/// `15.18`, from `server_version_num`.
pub fn version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
