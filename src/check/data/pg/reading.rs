//! How far the server is with the table that it reads at the moment. The statement that reads it is left alone: one scan,
//! one answer at its end. Two things show from outside how far it is:
//!
//! - **What its process has read**, as the kernel of this machine counts it ([`Backend`]). It costs the server nothing.
//!   Pages that were in its shared buffers are not in it, so that it falls short rather than goes ahead; long values that
//!   are read twice may bring it to the table's end too soon, where it waits. It is not to be had from a server on another
//!   machine or in a container, by a user who may not look at the server's processes, or since version 18 with
//!   `io_method = worker`, which is the default: there, other processes read for everybody.
//! - **Where the scan stands.** PostgreSQL lets scans of a large table (more than a quarter of the shared buffers) begin
//!   where another one is just then, so that both read the same pages. So a scan that begins beside ours, for one row,
//!   begins where ours is: one page a second, in a session of its own. As long as anybody else works on the table, it may
//!   be his scan that is seen, and nothing is taken from it. The share of the table's own pages stands for the share of all
//!   of it, its long values included.
//!
//! Where neither is to be had, a table moves nothing until it is done. To read it in ranges of `ctid` instead, a statement
//! each, would show it everywhere from version 14 on. But such scans do not keep to a small ring of the shared buffers:
//! after one of 160 MB through 16 MB of them, none of the pages was left that other work had there, on 15 as on 18, where
//! a whole scan left them all. They know no parallel workers up to version 18 either.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::{cell, open};
use crate::check::data::progress::Part;
use crate::check::data::side::Ask;
use crate::runbook::Target;
use crate::world::pg::session::{Row, literal};
use crate::world::pg::{Backend, Session};

/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(500);

/// How often the server is asked, the first time after this: a table that is done sooner costs no session.
const ASK: Duration = Duration::from_secs(1);

/// A second session of a database, for all that read its tables, made when it is first needed.
pub struct Scout<'a> {
    target: &'a Target,
    ask: &'a Ask,
    /// Which database.
    pub database: &'a str,
    session: Mutex<Asked>,
}

enum Asked {
    NotYet,
    Open(Session),
    /// It could not be had, or broke.
    InVain,
}

impl<'a> Scout<'a> {
    /// Nothing is asked yet.
    pub fn new(target: &'a Target, ask: &'a Ask, database: &'a str) -> Self {
        Scout { target, ask, database, session: Mutex::new(Asked::NotYet) }
    }

    async fn enter(&self) -> Option<Session> {
        let session = open(self.target, self.ask, Some(self.database)).await.ok()?;
        session.query("set statement_timeout = '1s'; set lock_timeout = '100ms'").await.ok()?;
        Some(session)
    }

    /// Where the scan of `table` by the process `pid` stands. An error ends it for all tables: nobody waits for it.
    async fn look(&self, table: &str, pid: u32) -> Option<Place> {
        let mut asked = self.session.lock().await;
        if matches!(*asked, Asked::NotYet) {
            *asked = self.enter().await.map_or(Asked::InVain, Asked::Open);
        }
        let Asked::Open(session) = &*asked else { return None };
        match session.query(&place(table, pid)).await {
            Ok(rows) => rows.first().and_then(Place::of),
            Err(_) => {
                *asked = Asked::InVain;
                None
            }
        }
    }
}

/// Where a scan of a table would begin now, how many pages it has, and whether that tells of ours: scans of smaller tables
/// begin at the beginning, and somebody else may be there.
fn place(table: &str, pid: u32) -> String {
    let name = literal(table);
    format!(
        "select (select ctid from only {table} limit 1), pages, current_setting('synchronize_seqscans') = 'on' \
         and pages > (select setting::int8 / 4 from pg_settings where name = 'shared_buffers') \
         and not exists (select from pg_locks l where l.locktype = 'relation' and l.relation = {name}::regclass \
            and l.database = (select oid from pg_database where datname = current_database()) \
            and l.pid not in (pg_backend_pid(), {pid}) \
            and l.pid not in (select a.pid from pg_stat_activity a where a.leader_pid = {pid} \
                or a.state like 'idle%' or a.backend_type = 'autovacuum worker')) \
         from (select pg_relation_size({name}::regclass) / current_setting('block_size')::int8 as pages) x"
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    page: u64,
    pages: u64,
}

impl Place {
    fn of(row: &Row) -> Option<Place> {
        let page = cell(row, 0).ok()?.strip_prefix('(')?.split_once(',')?.0.parse().ok()?;
        let pages = cell(row, 1).ok()?.parse().ok().filter(|pages| *pages > 0)?;
        (cell(row, 2) == Ok("t")).then_some(Place { page, pages })
    }
}

/// A scan goes once round the table, from where it began. What it read before it was first seen does not count.
#[derive(Debug, Default)]
struct Round {
    first: Option<Place>,
    passed: u64,
}

impl Round {
    /// Bytes of `bytes` that have been read.
    fn at(&mut self, place: Place, bytes: u64) -> u64 {
        let first = *self.first.get_or_insert(place);
        let passed = (place.page.min(first.pages) + first.pages - first.page.min(first.pages)) % first.pages;
        // Workers hand pages in out of order: a step back looks like nearly a whole round ahead.
        if passed > self.passed && passed - self.passed < first.pages / 2 {
            self.passed = passed;
        }
        (u128::from(bytes) * u128::from(self.passed) / u128::from(first.pages)) as u64
    }
}

/// Watches a session that reads one table after the other.
pub struct Reading<'a> {
    scout: &'a Scout<'a>,
    backend: Option<Backend>,
    pid: Option<u32>,
}

impl<'a> Reading<'a> {
    /// Finds out how this session can be watched.
    pub async fn of(session: &Session, scout: &'a Scout<'a>) -> Self {
        let backend = Backend::of(session).await;
        let pid = session.value("select pg_backend_pid()").await.ok().flatten();
        Reading { scout, backend, pid: pid.and_then(|pid| pid.parse().ok()) }
    }

    /// Does the work, which reads `table`, and meanwhile says how far it is. No task of its own: it ends with the work, and
    /// is dropped with it.
    pub async fn watch<T>(
        &mut self,
        part: &mut Part,
        table: &str,
        bytes: u64,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.looks(part, table, bytes) => match never {},
        }
    }

    async fn looks(&mut self, part: &mut Part, table: &str, bytes: u64) -> Infallible {
        if let Some(backend) = &mut self.backend {
            backend.begin();
            loop {
                sleep(LOOK).await;
                part.reached(backend.read().unwrap_or(0));
            }
        }
        let mut round = Round::default();
        loop {
            sleep(ASK).await;
            let place = match self.pid {
                Some(pid) => self.scout.look(table, pid).await,
                None => None,
            };
            match place {
                Some(place) => part.reached(round.at(place, bytes)),
                None => part.unseen(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ctid: Option<&str>, pages: &str, tells: &str) -> Row {
        vec![ctid.map(str::to_owned), Some(pages.to_owned()), Some(tells.to_owned())]
    }

    #[test]
    fn understands_the_answer() {
        assert_eq!(Place::of(&row(Some("(77,3)"), "100", "t")), Some(Place { page: 77, pages: 100 }));
        assert_eq!(
            Place::of(&row(Some("(77,3)"), "100", "f")),
            None,
            "it tells of nothing, or of somebody else"
        );
        assert_eq!(Place::of(&row(None, "100", "t")), None, "no row");
        assert_eq!(Place::of(&row(Some("(0,1)"), "0", "t")), None);
        assert_eq!(Place::of(&row(Some("77"), "100", "t")), None);
    }

    #[test]
    fn a_round_ends_where_it_began_and_goes_forward_only() {
        let mut round = Round::default();
        let at = |page| Place { page, pages: 1000 };
        let bytes: Vec<u64> =
            [900, 950, 940, 999, 300, 850, 700, 5000, 899].map(|page| round.at(at(page), 10_000)).to_vec();
        assert_eq!(bytes, [0, 500, 500, 990, 4000, 4000, 8000, 8000, 9990]);
    }

    #[test]
    fn the_question_names_the_table_and_quotes_it() {
        let sql = place("public.\"it's\"", 7);
        assert!(
            sql.contains("from only public.\"it's\" limit 1") && sql.contains("'public.\"it''s\"'::regclass"),
            "{sql}"
        );
    }
}
