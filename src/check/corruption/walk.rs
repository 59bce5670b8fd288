//! Looks at many objects of a server, one after the other, database by database, the small ones first, within a time
//! budget. One session at a time: a server in trouble is not given more work than needed.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::tally::Tally;
use crate::base::Span;
use crate::base::text::thousands;
use crate::check::context::Progress;
use crate::check::door::{Door, silent};
use crate::check::{Context, Outcome};
use crate::world::Identity;
use crate::world::pg::{QueryError, Row, Session};

/// A query about one object.
#[derive(Debug)]
pub struct Task {
    /// Its row in `pg_class`.
    pub oid: u32,
    /// The object as people call it: `public.events`.
    pub label: String,
    /// What it takes on disk.
    pub bytes: u64,
    /// The query.
    pub sql: String,
}

/// A database, as a check sees it.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// True for one of them: what all databases share is looked at there.
    pub first: bool,
    /// True for template databases: what lacks there is a remark, not a gap.
    pub template: bool,
}

/// What a check does in each database.
#[async_trait]
pub trait Work: Sync {
    /// The objects to look at. What lacks goes into the tally.
    async fn tasks(&self, room: &Room, session: &Session, tally: &mut Tally)
    -> Result<Vec<Task>, QueryError>;

    /// What an answer shows to be wrong, if anything.
    fn judge(&self, rows: &[Row]) -> Result<Option<String>, String>;
}

/// A walk under way.
pub struct Walk<'a> {
    cx: &'a Context,
    door: Door<'a>,
    budget: Span,
    until: Instant,
    /// Who answered.
    pub identity: Identity,
    /// What was seen.
    pub tally: Tally,
    /// The databases to enter.
    pub rooms: Vec<Room>,
}

const DATABASES: &str = "\
select d.datname, d.datallowconn, pg_catalog.has_database_privilege(d.oid, 'connect'), d.datistemplate
from pg_catalog.pg_database d order by pg_catalog.pg_database_size(d.oid), d.datname";

/// The same for a role that may not ask for sizes.
const UNSIZED: &str = "\
select d.datname, d.datallowconn, pg_catalog.has_database_privilege(d.oid, 'connect'), d.datistemplate
from pg_catalog.pg_database d order by d.datname";

impl<'a> Walk<'a> {
    /// Finds out which databases there are. Without names all are meant.
    pub async fn begin(
        cx: &'a Context,
        door: Door<'a>,
        databases: &[String],
        budget: Span,
    ) -> Result<Walk<'a>, Outcome> {
        // The budget ends a statement from here; the server's own limit is for the case that we are gone.
        let door = door.limit(budget.0 + Duration::from_secs(60));
        let (session, identity) = door.open(cx).await?;
        let rows = match session.query(DATABASES).await {
            Err(error) if error.sqlstate.as_deref() == Some("42501") => session.query(UNSIZED).await,
            other => other,
        };
        let rows = rows.map_err(|error| door.unanswered(&error).on(door.target, identity.clone()))?;
        let mut tally = Tally::default();
        let mut rooms = Vec::new();
        for row in &rows {
            let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
            let (name, template) = (text(0).to_owned(), text(3) == "t");
            let asked = databases.contains(&name);
            if !databases.is_empty() && !asked {
                continue;
            }
            let why = match (text(1) == "t", text(2) == "t") {
                (true, true) => {
                    rooms.push(Room { name, first: false, template: template && !asked });
                    continue;
                }
                (false, _) => "allows no connections",
                (true, false) => "cannot be entered: the role has no right to connect",
            };
            if template && !asked {
                tally.notes.push(format!("database {name} {why}; it was left out"));
            } else {
                tally.missed(
                    format!("database {name} {why}"),
                    "allow the role to connect, then measure again",
                );
            }
        }
        for name in databases {
            if !rows.iter().any(|row| row.first().and_then(Option::as_ref) == Some(name)) {
                tally.missed(format!("there is no database {name}"), "correct the name of the database");
            }
        }
        // What all databases share is looked at where a gap would be told.
        let first = rooms.iter().position(|room| !room.template).unwrap_or_default();
        if let Some(room) = rooms.get_mut(first) {
            room.first = true;
        }
        Ok(Walk { cx, door, budget, until: Instant::now() + budget.0, identity, tally, rooms })
    }

    /// The server's version, such as 150018.
    pub fn version(&self) -> u32 {
        match &self.identity {
            Identity::Postgres(pg) => pg.version,
            Identity::Sqlite(_) => 0,
        }
    }

    /// True on a standby.
    pub fn on_standby(&self) -> bool {
        matches!(&self.identity, Identity::Postgres(pg) if pg.in_recovery)
    }

    /// Does all the work: lists everything first, so that progress has a total.
    pub async fn run(mut self, work: &dyn Work) -> (Tally, Identity) {
        let mut planned = Vec::new();
        for room in self.rooms.clone() {
            let Some(session) = self.enter(&room).await else { continue };
            match work.tasks(&room, &session, &mut self.tally).await {
                Ok(tasks) => {
                    self.tally.rooms += 1;
                    planned.push((room, tasks));
                }
                Err(error) => {
                    self.tally.missed(format!("database {}: {error}", room.name), silent(&error));
                }
            }
        }
        let total = planned.iter().flat_map(|(_, tasks)| tasks).map(|task| task.bytes).sum();
        for (room, mut tasks) in planned {
            if tasks.is_empty() {
                continue;
            }
            let Some(session) = self.enter(&room).await else { continue };
            tasks.sort_by(|a, b| (a.bytes, &a.label).cmp(&(b.bytes, &b.label)));
            for (nth, task) in tasks.iter().enumerate() {
                if !self.one(work, &room, &session, task).await {
                    self.rest(&room, &tasks[nth + 1..]);
                    break;
                }
                self.tally.bytes += task.bytes;
                (self.cx.progress)(Progress {
                    what: format!("looked at {} in {}", task.label, room.name),
                    done: self.tally.bytes,
                    total: Some(total),
                    unit: "B",
                });
            }
        }
        (self.tally, self.identity)
    }

    /// One object. False when this session can do no more.
    async fn one(&mut self, work: &dyn Work, room: &Room, session: &Session, task: &Task) -> bool {
        let label = format!("{} in database {}", task.label, room.name);
        let left = self.until.saturating_duration_since(Instant::now());
        let asked = async {
            match left.is_zero() {
                true => None,
                false => tokio::time::timeout(left, session.query(&task.sql)).await.ok(),
            }
        };
        let error = match asked.await {
            None => {
                let line = format!("{label}: the time budget of {} is spent", self.budget);
                self.tally.missed(line, "give the check a longer `budget`, and a `timeout` to match");
                return false;
            }
            Some(Ok(rows)) => {
                self.tally.looked += 1;
                match work.judge(&rows) {
                    Ok(None) => {}
                    Ok(Some(finding)) => self.tally.finding(format!("{label}: {finding}")),
                    Err(why) => self.tally.missed(format!("{label}: {why}"), "look into the server's log"),
                }
                return true;
            }
            Some(Err(error)) => error,
        };
        let trouble = match Trouble::of(&error) {
            Trouble::Damage if gone(session, task).await => Trouble::Gone,
            trouble => trouble,
        };
        match trouble {
            Trouble::Damage => {
                self.tally.looked += 1;
                self.tally.finding(format!("{label}: {error}"));
            }
            Trouble::Gone => self.tally.notes.push(format!("{label} was dropped meanwhile")),
            Trouble::Unanswered => self.tally.missed(format!("{label}: {error}"), silent(&error)),
        }
        !error.lost && !session.is_closed()
    }

    fn rest(&mut self, room: &Room, tasks: &[Task]) {
        if let Some(last) = tasks.last() {
            let n = thousands(tasks.len() as u64);
            let line = format!("{n} more in database {}, the largest of them {}", room.name, last.label);
            self.tally.missed(line, "give the check a longer `budget`");
        }
    }

    /// A session in a database, prepared so that damage is reported and never hidden or wiped.
    pub async fn enter(&mut self, room: &Room) -> Option<Session> {
        let door = self.door.database(&room.name);
        let (session, identity) = match door.open(self.cx).await {
            Ok(opened) => opened,
            Err(outcome) => {
                let way = outcome.help.clone().unwrap_or_default();
                self.tally.missed(outcome.observed, &way);
                return None;
            }
        };
        if self.identity.restarted(&identity) || !self.identity.differs(&identity).is_empty() {
            let line = format!("database {}: another server answered, or it was started again", room.name);
            self.tally.missed(line, "measure again");
            return None;
        }
        match prepare(&session).await {
            Ok(()) => Some(session),
            Err(error) => {
                self.tally.missed(format!("database {}: {error}", room.name), silent(&error));
                None
            }
        }
    }
}

/// True when the object was dropped: who opens it by its number then gets an internal error too, as from damage. No index
/// is used to look for it, since that may be what is damaged.
async fn gone(session: &Session, task: &Task) -> bool {
    let sql = format!("select pg_catalog.count(*) from pg_catalog.pg_class where oid::text = '{}'", task.oid);
    matches!(session.value(&sql).await, Ok(Some(rows)) if rows == "0")
}

/// Damage must be an error here: not a warning, not a page of zeroes, not rows that a policy hides.
async fn prepare(session: &Session) -> Result<(), QueryError> {
    let hides = "select name from pg_catalog.pg_settings \
                 where name in ('zero_damaged_pages', 'ignore_checksum_failure') and setting <> 'off'";
    for row in session.query(hides).await? {
        if let Some(Some(name)) = row.first() {
            session.query(&format!("set {name} = off")).await?;
        }
    }
    session.query("set row_security = off; set jit = off").await.map(drop)
}

/// What an error about one object means.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The server itself says that what it read is damaged, or that it cannot be read from the disk.
    Damage,
    /// The object is not there any more.
    Gone,
    /// Anything else says nothing about the object.
    Unanswered,
}

impl Trouble {
    fn of(error: &QueryError) -> Trouble {
        match error.sqlstate.as_deref() {
            _ if error.lost => Trouble::Unanswered,
            // Internal errors are what broken lengths and pointers look like from within.
            Some("XX000" | "XX001" | "XX002" | "58030" | "58P01") => Trouble::Damage,
            Some("42P01" | "42704" | "3F000") => Trouble::Gone,
            _ => Trouble::Unanswered,
        }
    }
}

/// Lists relations with their sizes. The statement gets a way to say the size of an alias of `pg_class`: measured, or, when
/// a lock is in the way of that, as last estimated.
pub async fn list(
    session: &Session,
    sql: impl Fn(fn(&str) -> String) -> String,
) -> Result<Vec<Row>, QueryError> {
    let measured = |class: &str| format!("pg_catalog.pg_relation_size({class}.oid)");
    let estimated = |class: &str| {
        format!("({class}.relpages::bigint * pg_catalog.current_setting('block_size')::bigint)")
    };
    match session.query(&sql(measured)).await {
        Err(error) if error.sqlstate.as_deref() == Some("55P03") => session.query(&sql(estimated)).await,
        other => other,
    }
}

/// The text in a column; absent or NULL is an error, never a default.
pub fn cell(row: &Row, column: usize) -> Result<&str, QueryError> {
    row.get(column)
        .and_then(Option::as_deref)
        .ok_or_else(|| QueryError::local(format!("the server left out column {column} of an answer")))
}

/// A number in a column.
pub fn number<T: std::str::FromStr>(row: &Row, column: usize) -> Result<T, QueryError> {
    let text = cell(row, column)?;
    text.parse().map_err(|_| QueryError::local(format!("`{text}` is not a number")))
}

/// The longest that these checks take when a runbook sets no `timeout`: their `budget` ends them long before.
pub const BACKSTOP: Span = Span::secs(7 * 86_400);

/// A time budget that makes sense.
pub fn sensible(budget: Span) -> Result<(), String> {
    if budget.0 < Duration::from_secs(1) {
        return Err("`budget` is shorter than a second: nothing can be measured in it".to_owned());
    }
    if budget.0 > BACKSTOP.0 {
        return Err(format!("`budget` is longer than {BACKSTOP}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_damage_are_damage() {
        let of = |code: &str, lost| {
            Trouble::of(&QueryError { message: String::new(), sqlstate: Some(code.to_owned()), lost })
        };
        assert_eq!(of("XX001", false), Trouble::Damage);
        assert_eq!(of("XX002", false), Trouble::Damage);
        assert_eq!(of("XX000", true), Trouble::Unanswered, "the server went away: nobody knows why");
        assert_eq!(of("42P01", false), Trouble::Gone);
        for code in ["42501", "55P03", "57014", "53200", "0A000"] {
            assert_eq!(of(code, false), Trouble::Unanswered, "{code}");
        }
    }
}
