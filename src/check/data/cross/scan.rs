//! Reads the rows of an SQLite table once, and hashes them as PostgreSQL would.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::count::Count;
use super::form::{self, Fit};
use super::plan::{Plan, folded};
use super::seeds::{self, Seeds};
use crate::check::data::compare::Nul;
use crate::check::data::manifest::{Cross, Database, RelationKind};
use crate::check::data::progress::Part;
use crate::check::data::sqlite::count;
use crate::world::sqlite::{Cell, Reader, identifier};

/// A row as it was read.
pub struct Row<'a> {
    /// Its values.
    pub cells: &'a [Cell<'a>],
    /// The hash of each.
    pub values: &'a [i64],
    /// Its hash.
    pub hash: i64,
    key: i64,
}

impl Row<'_> {
    /// Which of `n` buckets (a power of two) it is in.
    pub fn bucket(&self, n: u32) -> u32 {
        (self.key as u32) & (n - 1)
    }
}

fn select(plan: &Plan) -> String {
    let mut columns: Vec<String> = plan.columns.iter().map(|column| identifier(&column.lite)).collect();
    columns
        .extend(plan.fed.iter().map(|fed| fed.lite.as_deref().map_or_else(|| "null".to_owned(), identifier)));
    columns.extend(plan.rowid.map(str::to_owned));
    columns.extend(plan.watched.iter().map(|name| identifier(name)));
    let table = identifier(plan.lite.as_deref().unwrap_or_default());
    format!("select {} from {table} not indexed", columns.join(", "))
}

/// What names a row: `event_id=$1`.
pub fn name(plan: &Plan, cells: &[Cell<'_>]) -> String {
    let part = |at: &usize| {
        let cell = cells.get(*at).map(form::show).unwrap_or_default();
        format!("{}={cell}", plan.columns[*at].pg)
    };
    plan.named_by.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Where a value is: by the number of its row, or by its key.
fn place(plan: &Plan, cells: &[Cell<'_>]) -> String {
    match (plan.rowid, cells.get(plan.columns.len() + plan.fed.len())) {
        (Some(_), Some(Cell::Integer(rowid))) => format!("rowid {rowid}"),
        _ => name(plan, cells),
    }
}

fn class(cell: Option<&Cell<'_>>) -> &'static str {
    match cell {
        None | Some(Cell::Null) => "NULL",
        Some(Cell::Integer(_)) => "an integer",
        Some(Cell::Real(_)) => "a real",
        Some(Cell::Text(_)) => "a text",
        Some(Cell::Blob(_)) => "a blob",
    }
}

/// The columns' fits, and the row's hash.
struct Hasher<'a> {
    plan: &'a Plan,
    seeds: Vec<Seeds>,
    values: Vec<i64>,
}

impl<'a> Hasher<'a> {
    fn new(plan: &'a Plan) -> Self {
        let seeds: Vec<Seeds> = plan.columns.iter().map(|column| Seeds::of(&column.key)).collect();
        Hasher { plan, values: vec![0; seeds.len()], seeds }
    }

    /// True when the row is one that was left out as declared.
    fn left_out(&self, cells: &[Cell<'_>]) -> bool {
        self.plan.nul == Some(Nul::DropRows)
            && cells.iter().any(|cell| matches!(cell, Cell::Text(text) if text.contains(&0)))
    }

    fn row(&mut self, cells: &[Cell<'_>], mut odd: impl FnMut(usize, Fit)) -> i64 {
        let mut values = 0;
        for (at, (column, seeds)) in self.plan.columns.iter().zip(&self.seeds).enumerate() {
            let Some(cell) = cells.get(at) else { continue };
            let hash = match column.form.fit(*cell, *seeds, column.leave) {
                Fit::Exact(hash) => hash,
                fit @ Fit::Bent(hash) => {
                    odd(at, fit);
                    hash
                }
                // No value of the other side has it.
                fit @ Fit::Not(_) => {
                    odd(at, fit);
                    !seeds.plain(*cell)
                }
            };
            self.values[at] = hash;
            values ^= hash;
        }
        seeds::row(values)
    }

    /// The hash of the key of the row last hashed; the row's own where there is none.
    fn key(&self, row: i64) -> i64 {
        match self.plan.keyed {
            true => seeds::row(self.plan.named_by.iter().fold(0, |key, at| key ^ self.values[*at])),
            false => row,
        }
    }
}

/// Gives each row that counts to `each`.
pub fn rows(
    reader: &Reader,
    plan: &Plan,
    gone: &AtomicBool,
    mut each: impl FnMut(&Row<'_>),
) -> Result<(), String> {
    let mut hasher = Hasher::new(plan);
    reader.scan_while(&select(plan), |cells| {
        if !hasher.left_out(cells) {
            let hash = hasher.row(cells, |_, _| {});
            each(&Row { cells, values: &hasher.values, hash, key: hasher.key(hash) });
        }
        go_on(gone)
    })
}

fn go_on(gone: &AtomicBool) -> ControlFlow<()> {
    if gone.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Reads a table.
pub fn one(reader: &Reader, plan: &Plan, gone: &AtomicBool, part: &mut Part) -> Result<Count, String> {
    let table = plan.lite.as_deref().unwrap_or_default();
    part.turn_to(table);
    if plan.columns.is_empty() && (plan.fed.is_empty() || plan.module) {
        let mut counted = Count { rows: count(reader, table)?, ..Count::default() };
        if plan.nul == Some(Nul::DropRows) {
            counted.left_out = with_nul(reader, table)?;
            counted.rows = counted.rows.saturating_sub(counted.left_out);
        }
        return Ok(counted);
    }
    let mut hasher = Hasher::new(plan);
    let mut counted = Count::default();
    let mut sum = 0i128;
    reader.scan_while(&select(plan), |cells| {
        if hasher.left_out(cells) {
            counted.left_out += 1;
            return go_on(gone);
        }
        counted.rows += 1;
        let Count { misfits, bent, .. } = &mut counted;
        let hash = hasher.row(cells, |at, fit| {
            let there = || (0, format!("{}, {}", place(plan, cells), class(cells.get(at))));
            match fit {
                Fit::Not(misfit) => misfits.entry((at, misfit)).or_insert_with(there).0 += 1,
                _ => bent.entry(at).or_insert_with(there).0 += 1,
            }
        });
        sum += i128::from(hash);
        for at in 0..plan.fed.len() {
            if let Some(Cell::Integer(n)) = cells.get(plan.columns.len() + at) {
                counted.bound(at, *n);
            }
        }
        part.passed(cells.iter().map(Cell::bytes).sum());
        go_on(gone)
    })?;
    counted.digest = (!plan.columns.is_empty()).then_some(sum);
    Ok(counted)
}

/// Rows with a NUL byte in a text.
fn with_nul(reader: &Reader, table: &str) -> Result<u64, String> {
    let mut found = 0;
    reader.scan(&format!("select * from {} not indexed", identifier(table)), |cells| {
        found += u64::from(cells.iter().any(|cell| matches!(cell, Cell::Text(text) if text.contains(&0))));
    })?;
    Ok(found)
}

/// What a record of a file needs so that PostgreSQL can be compared with it later: each value hashed as it is stored.
pub fn record(reader: &Reader, database: &mut Database) -> Result<(), String> {
    for (table, relation) in &database.relations {
        if relation.kind == RelationKind::VirtualTable {
            // Its module may be unknown here.
            let rows = count(reader, table).ok();
            database.cross.insert(table.clone(), Cross { rows, ..Cross::default() });
        }
        if !relation.kind.stores_rows() {
            continue;
        }
        let names: Vec<&String> =
            relation.columns.iter().filter(|(_, c)| c.generated.is_empty()).map(|(name, _)| name).collect();
        if names.is_empty() {
            continue;
        }
        let all = relation.columns.keys().map(String::as_str);
        let seeds: Vec<Seeds> = names.iter().map(|name| Seeds::of(&folded(all.clone(), name))).collect();
        let list: Vec<String> = names.iter().map(|name| identifier(name)).collect();
        let mut classes: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); names.len()];
        let mut cross = Cross::default();
        let mut counts = Count::default();
        let mut sum = 0i128;
        reader.scan(
            &format!("select {} from {} not indexed", list.join(", "), identifier(table)),
            |cells| {
                let mut values = 0;
                for (at, cell) in cells.iter().enumerate() {
                    values ^= seeds[at].plain(*cell);
                    classes[at].insert(form::class(cell));
                    if let Cell::Integer(n) = cell {
                        counts.bound(at, *n);
                    }
                }
                sum += i128::from(seeds::row(values));
            },
        )?;
        cross.digest = format!("x1:{sum}");
        for (at, name) in names.iter().enumerate() {
            cross
                .columns
                .insert((*name).clone(), classes[at].iter().map(|class| (*class).to_owned()).collect());
            if let Some(bounds) = counts.bounds.get(&at) {
                cross.bounds.insert((*name).clone(), *bounds);
            }
        }
        database.cross.insert(table.clone(), cross);
    }
    Ok(())
}
