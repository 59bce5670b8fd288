//! SQLite beside PostgreSQL: the proof that what one of them held the other holds, though their types, catalogues and
//! hashes differ.
//!
//! PostgreSQL hashes its rows itself, in SQL; an SQLite file is scanned in one read transaction, and each value is hashed
//! here as the server would ([`hash`]), in the form that PostgreSQL's type asks for ([`form`]). No rows travel, and
//! memory stays bounded. Invariants: a value that has no counterpart is a difference that names its row; what was not
//! compared is said; what is excepted is shown with its reason.

pub mod count;
mod decimal;
mod feeds;
pub mod form;
pub mod hash;
mod json;
mod judge;
pub mod lite;
mod moment;
pub mod plan;
mod recorded;
pub mod scan;
pub mod seeds;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::count::Count;
use self::feeds::Read;
use self::judge::Judge;
use self::plan::{Half, Plan, Two};
use super::compare::{Comparison, Rules};
use super::differ;
use super::manifest::{Manifest, Relation, RelationKind};
use super::pg::cross::Live;
use super::pg::{ATTEMPTS, restless};
use super::progress::Tally;
use super::side::{Ask, Reader};
use crate::check::Context;
use crate::runbook::Target;
use crate::world::{Identity, sqlite};

/// What came of it.
pub struct Crossed {
    /// The comparison.
    pub seen: Comparison,
    /// What the source was.
    pub source: Identity,
    /// What the target was.
    pub target: Identity,
    /// Remarks of the measurement.
    pub notes: Vec<String>,
}

/// Where the source's data comes from.
pub enum Source<'a> {
    /// A target.
    Target(&'a str),
    /// A record.
    Recorded(Box<Manifest>),
}

/// A side under measurement.
enum Side {
    Pg(Arc<Live>),
    Lite(Arc<lite::Session>, Identity),
    Record(Box<Manifest>),
}

/// How long and how far to look at tables that differ.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// Tables that are looked at row by row.
    pub tables: usize,
    /// The longest look at one.
    pub longest: Duration,
}

/// Measures both sides and compares; an error says what was in the way.
pub async fn measure(
    source: Source<'_>,
    target: &str,
    ask: &Ask,
    rules: &Rules,
    cx: &Context,
    looks: Looks,
) -> Result<Crossed, String> {
    if rules.databases.len() > 1 {
        return Err(
            "between SQLite and PostgreSQL one database is compared at a time; `databases` names more"
                .to_owned(),
        );
    }
    let mut again = Vec::new();
    loop {
        let was = async {
            match &source {
                Source::Target(name) => open(name, ask, cx).await.map(|side| ((*name).to_owned(), side)),
                Source::Recorded(manifest) => Ok((manifest.target.clone(), Side::Record(manifest.clone()))),
            }
        };
        let (was, is) = futures::future::join(was, open(target, ask, cx)).await;
        let ((name, was), is) = super::verdict::both(was, is)?;
        let read = read((&name, &was), (target, &is), ask, rules, cx, looks).await;
        let mut shifts = Vec::new();
        for (name, side) in [(name.as_str(), &was), (target, &is)] {
            if let Some(what) = side.shifted(read.is_err()).await.map_err(|e| format!("`{name}`: {e}"))? {
                shifts.push(format!("`{name}`: {what}"));
            }
        }
        match shifts.into_iter().next() {
            Some(what) if again.len() + 1 < ATTEMPTS => {
                again.push(format!("all was read anew: {what} while it was read"));
            }
            Some(what) => return Err(restless(&what, read.err())),
            None => {
                let mut crossed = read?;
                crossed.notes.extend(again);
                return Ok(crossed);
            }
        }
    }
}

/// Reads both sides, by name, and compares.
async fn read(
    (source, was): (&str, &Side),
    (target, is): (&str, &Side),
    ask: &Ask,
    rules: &Rules,
    cx: &Context,
    looks: Looks,
) -> Result<Crossed, String> {
    let live = if matches!(was, Side::Record(_)) { 1 } else { 2 };
    let tally = Tally::new(cx).sides(live);
    let pg_is_target = matches!(is, Side::Pg(_));
    let schema = rules.schema.as_deref().unwrap_or("public");
    let (a, b) =
        futures::future::join(was.describe(source, ask, schema), is.describe(target, ask, schema)).await;
    let (a, b) = super::verdict::both(a, b)?;
    let (pg, lite) = if pg_is_target { (&b, &a) } else { (&a, &b) };
    let two = Two { pg, lite, rules };
    let feeds = if rules.contents { feeds::feeds(&two)? } else { Vec::new() };
    let fed: Vec<(String, String)> =
        feeds.iter().map(|feed| (feed.table.clone(), feed.column.clone())).collect();
    let plans = two.plans(rules.contents, &fed);
    let (of_source, of_target) =
        futures::future::join(was.count(source, &plans, &a, &tally), is.count(target, &plans, &b, &tally))
            .await;
    let (of_source, of_target) = super::verdict::both(of_source, of_target)?;
    let (of_pg, of_lite) = if pg_is_target { (&of_target, &of_source) } else { (&of_source, &of_target) };
    let read = Read { plans: &plans, pg: of_pg, lite: of_lite };
    let mut seen =
        Judge { two, read, pg_is_target, seen: Comparison::default(), null: Vec::new() }.compare(&feeds)?;
    if rules.contents {
        closer(&mut seen, was, is, &plans, (&of_source, &of_target), looks).await;
    }
    let mut notes = Vec::new();
    for (name, side) in [(source, was), (target, is)] {
        side.finish(name, &mut notes).await?;
    }
    Ok(Crossed { seen, source: was.identity(), target: is.identity(), notes })
}

async fn open(name: &str, ask: &Ask, cx: &Context) -> Result<Side, String> {
    let target: &Target = cx.target(name)?;
    let side = match (&target.postgres, &target.sqlite) {
        (Some(_), None) => Live::open(target, ask).await.map(|live| Side::Pg(Arc::new(live))),
        (None, Some(file)) => sqlite::identity(file)
            .map(|identity| Side::Lite(Arc::new(lite::Session::open(file)), Identity::Sqlite(identity))),
        _ => Err("it must be either `postgres` or `sqlite`".to_owned()),
    };
    side.map_err(|e| format!("`{name}`: {e}"))
}

impl Side {
    async fn describe(&self, name: &str, ask: &Ask, schema: &str) -> Result<Half, String> {
        let half = match self {
            Side::Pg(live) => live.describe(name, schema).await,
            Side::Lite(session, _) => session.describe(name, ask.level).await,
            Side::Record(manifest) => recorded::describe(manifest, ask, schema),
        };
        half.map_err(|e| format!("`{name}`: {e}"))
    }

    async fn count(
        &self,
        name: &str,
        plans: &[Plan],
        half: &Half,
        tally: &Tally,
    ) -> Result<Vec<Option<Count>>, String> {
        let counted = match self {
            Side::Pg(live) => {
                tally.expect(live.bytes(plans));
                live.count(plans, tally).await
            }
            Side::Lite(session, _) => {
                let bytes = session.bytes().await.map_err(|e| format!("`{name}`: {e}"))?;
                tally.expect(bytes);
                session.count(plans, bytes, tally).await
            }
            Side::Record(manifest) => recorded::count(manifest, plans, half),
        };
        counted.map_err(|e| format!("`{name}`: {e}"))
    }

    fn identity(&self) -> Identity {
        match self {
            Side::Pg(live) => live.identity.clone(),
            Side::Lite(_, identity) => identity.clone(),
            Side::Record(manifest) => manifest.identity.clone(),
        }
    }

    /// What happened to a table on a side that can be written to while it is read.
    async fn shifted(&self, failed: bool) -> Result<Option<String>, String> {
        match self {
            Side::Pg(live) => live.shifted(failed).await,
            Side::Lite(..) | Side::Record(_) => Ok(None),
        }
    }

    fn reader(&self, plan: &Plan) -> Option<Reader> {
        match self {
            Side::Pg(live) => Some(Reader::CrossPostgres(Arc::clone(live), Box::new(plan.clone()))),
            Side::Lite(session, _) => Some(Reader::CrossSqlite(Arc::clone(session), Box::new(plan.clone()))),
            Side::Record(_) => None,
        }
    }

    /// Makes sure that what was read was one state of one object.
    async fn finish(&self, name: &str, notes: &mut Vec<String>) -> Result<(), String> {
        let named = |e: String| format!("`{name}`: {e}");
        match self {
            Side::Pg(live) => {
                notes.extend(live.notes.iter().cloned());
                if live.written().await.map_err(named)? == Some(true) {
                    notes.push(written(name));
                }
            }
            Side::Lite(session, identity) => {
                session.finish().await.map_err(named)?;
                if let Identity::Sqlite(file) = identity
                    && sqlite::identity(&file.path).map_err(named)? != *file
                {
                    return Err(named(format!("{} was replaced while it was read", file.path)));
                }
            }
            Side::Record(manifest) => notes.extend(manifest.notes.iter().cloned()),
        }
        Ok(())
    }
}

fn written(name: &str) -> String {
    format!("`{name}` was written to during the measurement; the figures are those of its beginning")
}

/// Finds out which rows differ, where both sides are there to be asked.
async fn closer(
    seen: &mut Comparison,
    was: &Side,
    is: &Side,
    plans: &[Plan],
    counts: (&[Option<Count>], &[Option<Count>]),
    looks: Looks,
) {
    let worth = seen.findings.iter_mut().filter(|finding| finding.rows_of.is_some()).take(looks.tables);
    for finding in worth {
        let Some((_, key)) = &finding.rows_of else { continue };
        let Some(at) = plans.iter().position(|plan| plan.key == *key) else { continue };
        let (plan, rows) =
            (&plans[at], |counts: &[Option<Count>]| counts.get(at)?.as_ref().map(|count| count.rows));
        let (Some(a), Some(b)) = (rows(counts.0), rows(counts.1)) else { continue };
        let (Some(here), Some(there)) = (was.reader(plan), is.reader(plan)) else { continue };
        if a == 0 || b == 0 || plan.columns.is_empty() {
            continue;
        }
        let (a, b) = (relation(a), relation(b));
        let look = async {
            let mut lines = differ::look("", key, (&here, &a), (&there, &b)).await?;
            if a.rows == b.rows {
                lines.extend(which(was, is, plan).await?);
            }
            Ok::<_, String>(lines)
        };
        finding.more = match tokio::time::timeout(looks.longest, look).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(why)) => vec![format!("which rows differ is not known: {why}")],
            Err(_) => vec!["which rows differ is not known: it took too long".to_owned()],
        };
    }
}

/// The columns that differ, when rows are as many on both sides. Costs one more scan.
async fn which(was: &Side, is: &Side, plan: &Plan) -> Result<Option<String>, String> {
    let sums = async |side: &Side| match side {
        Side::Pg(live) => live.columns(plan).await.map(Some),
        Side::Lite(session, _) => session.columns(plan).await.map(Some),
        Side::Record(_) => Ok(None),
    };
    let (Some(a), Some(b)) = futures::try_join!(sums(was), sums(is))? else { return Ok(None) };
    let names = plan.columns.iter().zip(a.iter().zip(&b)).filter(|(_, (a, b))| a != b);
    let names: Vec<&str> = names.map(|(column, _)| column.pg.as_str()).collect();
    Ok((!names.is_empty()).then(|| format!("in the columns: {}", names.join(", "))))
}

/// As much of a relation as a closer look wants to know.
fn relation(rows: u64) -> Relation {
    Relation {
        kind: RelationKind::Table,
        rows: Some(rows),
        digest: None,
        bytes: 0,
        columns: BTreeMap::new(),
        key: Vec::new(),
        only_where: None,
        core: BTreeMap::new(),
        definition: BTreeMap::new(),
    }
}
