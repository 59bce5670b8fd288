//! The two sides of a comparison: a target measured now, or a manifest recorded earlier. Both live sides are measured at
//! the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compare::Except;
use super::cross::lite::Session;
use super::cross::plan::Plan;
use super::differ::{Bucket, Keyed};
use super::manifest::{Level, Manifest, Relation};
use super::pg::cross::Live;
use super::progress::Tally;
use super::{pg, sqlite};
use crate::check::Context;
use crate::runbook::Target;
use crate::world::Identity;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Ask {
    /// For whom: `data_matches`.
    pub purpose: &'static str,
    /// How much.
    pub level: Level,
    /// Only these databases of a cluster; all when empty.
    pub databases: Vec<String>,
    /// Only the rows of these tables are read; all when empty.
    pub tables: Vec<String>,
    /// What may differ: columns of it are left out of the hashes.
    pub except: Vec<Except>,
    /// Also hash so that a target of the other engine can be compared with it later.
    pub cross: bool,
}

impl Ask {
    /// True when the rows of a table are to be read.
    pub fn wants(&self, db: &str, table: &str) -> bool {
        super::compare::covers(&self.tables, db, table)
    }

    /// True when a column counts.
    pub fn hashes(&self, db: &str, table: &str, column: &str) -> bool {
        !self.except.iter().any(|except| except.leaves_out(db, table, column))
    }
}

/// Looks at rows of a side that was measured now.
pub enum Reader {
    /// A PostgreSQL cluster.
    Postgres(pg::Reader),
    /// An SQLite file.
    Sqlite(sqlite::Reader),
    /// A table of a PostgreSQL database beside one of an SQLite file.
    CrossPostgres(Arc<Live>, Box<Plan>),
    /// A table of an SQLite file beside one of a PostgreSQL database.
    CrossSqlite(Arc<Session>, Box<Plan>),
}

impl Reader {
    /// Count and sum of each bucket of a table.
    pub async fn buckets(
        &self,
        db: &str,
        table: &str,
        relation: &Relation,
        n: u32,
    ) -> Result<BTreeMap<u32, Bucket>, String> {
        match self {
            Reader::Postgres(reader) => reader.buckets(db, table, relation, n).await,
            Reader::Sqlite(reader) => reader.buckets(table, relation, n).await,
            Reader::CrossPostgres(live, plan) => live.buckets(plan, n).await,
            Reader::CrossSqlite(session, plan) => session.buckets(plan, n).await,
        }
    }

    /// The rows of some buckets.
    pub async fn rows(
        &self,
        db: &str,
        table: &str,
        relation: &Relation,
        n: u32,
        these: &[u32],
    ) -> Result<Vec<Keyed>, String> {
        match self {
            Reader::Postgres(reader) => reader.rows(db, table, relation, n, these).await,
            Reader::Sqlite(reader) => reader.rows(table, relation, n, these).await,
            Reader::CrossPostgres(live, plan) => live.rows(plan, n, these).await,
            Reader::CrossSqlite(session, plan) => session.rows(plan, n, these).await,
        }
    }
}

/// A side, measured.
pub struct Side {
    /// What it holds.
    pub manifest: Manifest,
    /// For a closer look; `None` for a recorded manifest, which has no rows any more.
    pub reader: Option<Reader>,
}

/// Measures a target. The error names it.
pub async fn of(name: &str, target: &Target, ask: &Ask, cx: &Context, tally: &Tally) -> Result<Side, String> {
    let measured = match engine(target) {
        Err(e) => Err(e),
        Ok(Engine::Postgres) => pg::take(name, target, ask, cx, tally)
            .await
            .map(|taken| Side { manifest: taken.manifest, reader: Some(Reader::Postgres(taken.reader)) }),
        Ok(Engine::Sqlite(file)) => sqlite::take(name, file, ask, cx, tally)
            .await
            .map(|(manifest, reader)| Side { manifest, reader: Some(Reader::Sqlite(reader)) }),
    };
    measured.map_err(|e| format!("`{name}`: {e}"))
}

/// What a target is, before anything is measured on it. The error names it.
pub async fn identify(name: &str, cx: &Context) -> Result<Identity, String> {
    let target = cx.target(name)?;
    let identity = match engine(target) {
        Err(e) => Err(e),
        Ok(Engine::Postgres) => pg::identify(target).await,
        Ok(Engine::Sqlite(file)) => crate::world::sqlite::identity(file).map(Identity::Sqlite),
    };
    identity.map_err(|e| format!("`{name}`: {e}"))
}

enum Engine<'a> {
    Postgres,
    Sqlite(&'a str),
}

fn engine(target: &Target) -> Result<Engine<'_>, String> {
    match (&target.postgres, &target.sqlite, &target.ssh) {
        (_, _, Some(_)) => Err("targets on other hosts are not supported yet".to_owned()),
        (Some(_), None, None) => Ok(Engine::Postgres),
        (None, Some(file), None) => Ok(Engine::Sqlite(file)),
        (None, None, None) => Err("it is neither `postgres` nor `sqlite`".to_owned()),
        (Some(_), Some(_), None) => {
            Err("it is both `postgres` and `sqlite`; it must be one of them".to_owned())
        }
    }
}

/// A manifest recorded earlier.
pub fn recorded(name: &str, cx: &Context) -> Result<Side, String> {
    cx.records.manifest(name).map(|manifest| Side { manifest, reader: None })
}
