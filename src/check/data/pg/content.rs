//! Counts and hashes the rows of one database's tables: heap scans, the largest table first, by up to two sessions that
//! share one snapshot.

use std::sync::Mutex;
use std::sync::PoisonError;

use super::hash::{self, Hashed};
use super::inventory::Described;
use super::reading::{Reading, Scout};
use super::{cell, open};
use crate::check::data::manifest::{Database, Level, Relation};
use crate::check::data::progress::Tally;
use crate::check::data::side::Ask;
use crate::runbook::Target;
use crate::world::pg::Session;

/// A second session is worth its connection from this size of a database on.
const SECOND_SESSION: u64 = 64 << 20;

/// The settings for reading rows: no damaged index can hide one. Set after the catalogue was read, which needs its
/// indexes.
///
/// Parallel workers cost some 15 ms of processor time each, and 25 to 100 more to compile, and give none back; and both
/// sides are read by two sessions anyway: so only tables whose reading would take long get any.
const SCANS: &str = "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; \
    set min_parallel_table_scan_size = '8GB'; set jit_above_cost = 0; set jit_optimize_above_cost = 0";

/// Compiling and optimising the expression gives back 5 to 7 ns a value, and costs 25 to 60 ms in each process that takes
/// part: it pays from 5 to 9 million values on.
const COMPILE: u64 = 10_000_000;

/// Putting the hash functions themselves in line gives back 1 to 4 ns more a value, for 40 ms more.
const INLINE: u64 = 60_000_000;

/// Bytes that a value takes, with its part of what the row itself takes: a guess where the server has none.
const VALUE: u64 = 32;

/// The settings for compiling an expression over so many values. The planner's costs know nothing of how long a hash
/// takes, so it is decided here. Whether it compiles at all is the server's default: whoever switched it off had a reason.
pub fn compiling(values: u64) -> &'static str {
    match values {
        ..COMPILE => "set jit to off",
        COMPILE..INLINE => "set jit to default; set jit_inline_above_cost = -1",
        INLINE.. => "set jit to default; set jit_inline_above_cost = 0",
    }
}

/// What a second session needs.
pub struct Helpers<'a> {
    /// Where.
    pub target: &'a Target,
    /// Why.
    pub ask: &'a Ask,
    /// Which database.
    pub database: &'a str,
    /// The snapshot to share.
    pub snapshot: Option<&'a str>,
}

/// The table and the rows of it that count, for a FROM clause.
pub fn from(table: &str, relation: &Relation) -> String {
    format!("from only {table} {}", relation.only_where.as_deref().unwrap_or_default())
}

struct Job {
    table: String,
    sql: String,
    shape: Option<String>,
    bytes: u64,
}

fn job(table: &str, relation: &Relation, columns: &[Hashed], rows: u64, level: Level) -> Job {
    let expression = hash::row(columns).filter(|_| level == Level::Contents);
    let sum = expression.as_ref().map(|e| format!(", coalesce(sum({e}), 0)")).unwrap_or_default();
    let values = match (&expression, rows) {
        (None, _) => 0,
        // Never analysed, as after an upgrade.
        (Some(_), 0) => relation.bytes / VALUE,
        (Some(_), rows) => rows.saturating_mul(columns.len() as u64),
    };
    Job {
        table: table.to_owned(),
        sql: format!("{}; select count(*){sum} {}", compiling(values), from(table, relation)),
        shape: expression.map(|_| hash::shape(columns)),
        bytes: relation.bytes,
    }
}

/// Fills in rows and digests. The database goes back into `described`; `expected` bytes were announced for it.
pub async fn measure(
    session: &Session,
    helpers: &Helpers<'_>,
    described: &mut Described,
    expected: u64,
    tally: &Tally,
) -> Result<(), String> {
    let Described { database, hashed, estimates } = described;
    let mut jobs: Vec<Job> = database
        .relations
        .iter()
        .filter(|(name, relation)| relation.kind.stores_rows() && helpers.ask.wants(helpers.database, name))
        .map(|(name, relation)| {
            let columns = hashed.get(name).map_or(&[][..], Vec::as_slice);
            job(name, relation, columns, estimates.get(name).copied().unwrap_or(0), helpers.ask.level)
        })
        .collect();
    jobs.sort_by_key(|job| job.bytes);
    let bytes: u64 = jobs.iter().map(|job| job.bytes).sum();
    tally.settle(expected, bytes);
    let largest = jobs.last().map_or(0, |job| job.bytes);
    let second = match helpers.snapshot {
        Some(snapshot) if bytes >= SECOND_SESSION && bytes - largest >= SECOND_SESSION / 4 => {
            let second = open(helpers.target, helpers.ask, Some(helpers.database)).await?;
            second.use_snapshot(snapshot).await.map_err(|e| e.to_string())?;
            Some(second)
        }
        _ => None,
    };
    let queue = Mutex::new(jobs);
    let scout = Scout::new(helpers.target, helpers.ask, helpers.database);
    let one = work(session, &queue, &scout, tally);
    let results = match &second {
        Some(second) => futures::try_join!(one, work(second, &queue, &scout, tally))
            .map(|(a, b)| a.into_iter().chain(b).collect()),
        None => one.await,
    };
    let left = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.forget(left.iter().map(|job| job.bytes).sum());
    fill(database, results?);
    Ok(())
}

struct Counted {
    table: String,
    rows: u64,
    digest: Option<String>,
}

async fn work(
    session: &Session,
    queue: &Mutex<Vec<Job>>,
    scout: &Scout<'_>,
    tally: &Tally,
) -> Result<Vec<Counted>, String> {
    session.query(SCANS).await.map_err(|e| e.to_string())?;
    let mut reading = Reading::of(session, scout).await;
    let mut done = Vec::new();
    loop {
        let Some(job) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return Ok(done) };
        let at = |e: String| format!("table {}: {e}", job.table);
        let mut part = tally.begin(&format!("{}.{}", scout.database, job.table), job.bytes);
        let asked = session.query(&job.sql);
        let rows = reading.watch(&mut part, &job.table, job.bytes, asked).await;
        let rows = rows.map_err(|e| at(e.to_string()))?;
        let [row] = rows.as_slice() else { return Err(at("the server gave no count".to_owned())) };
        let count =
            cell(row, 0).map_err(at)?.parse().map_err(|_| at("the count is not a number".to_owned()))?;
        let digest = match &job.shape {
            Some(shape) => Some(format!("{}:{shape}:{}", hash::FORMAT, cell(row, 1).map_err(at)?)),
            None => None,
        };
        part.done();
        done.push(Counted { table: job.table, rows: count, digest });
    }
}

fn fill(database: &mut Database, results: Vec<Counted>) {
    for counted in results {
        if let Some(relation) = database.relations.get_mut(&counted.table) {
            relation.rows = Some(counted.rows);
            relation.digest = counted.digest;
        }
    }
}
