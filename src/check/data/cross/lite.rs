//! The SQLite side: one read transaction from the first look at the catalogue to the last look at a row. Rows are hashed
//! as they are scanned, so that memory stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::count::Count;
use super::form::{self, Fit, Seeds};
use super::plan::{Half, Plan, folded};
use crate::check::data::compare::Nul;
use crate::check::data::differ::{Bucket, Keyed, MOST_ROWS};
use crate::check::data::manifest::{Cross, Database, Level, RelationKind};
use crate::check::data::progress::Tally;
use crate::check::data::sqlite::{MAIN, catalogue, count, integrity, quoted, single, text};
use crate::world::sqlite::{self, Cell, Reader, identifier};

/// Progress is told after so many bytes.
const STEP: u64 = 4 << 20;

type Job = Box<dyn FnOnce(&Reader) + Send>;

/// A file in one read transaction, until it is dropped or finished.
pub struct Session {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    task: Mutex<Option<JoinHandle<Result<(), String>>>>,
}

/// Breaks off a job whose asker is gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Session {
    /// Opens a file. What is wrong with it is said by the first question.
    pub fn open(file: &str) -> Session {
        let (jobs, queue) = mpsc::channel::<Job>();
        let file = file.to_owned();
        let task = tokio::spawn(async move {
            let serve = move |reader: &Reader| {
                while let Ok(job) = queue.recv() {
                    job(reader);
                }
                Ok(())
            };
            sqlite::read(&file, serve).await
        });
        Session { jobs: Mutex::new(Some(jobs)), task: Mutex::new(Some(task)) }
    }

    /// Runs `work` in the transaction. It is told when its asker has gone.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader, &AtomicBool) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let gone = Arc::new(AtomicBool::new(false));
        let watch = Gone(Arc::clone(&gone));
        let job: Job = Box::new(move |reader| {
            let _ = answer.send(work(reader, &gone));
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(jobs) = jobs
            && jobs.send(job).is_ok()
            && let Ok(result) = answered.await
        {
            drop(watch);
            return result;
        }
        Err(self.end().await.err().unwrap_or_else(|| "reading the file ended too early".to_owned()))
    }

    fn hang_up(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn end(&self) -> Result<(), String> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            Some(task) => task.await.unwrap_or_else(|e| Err(format!("reading the file broke down: {e}"))),
            None => Ok(()),
        }
    }

    /// Ends the transaction; an error says that the file did not stay as it was.
    pub async fn finish(&self) -> Result<(), String> {
        self.hang_up();
        self.end().await
    }

    /// Its tables.
    pub async fn describe(&self, target: &str, level: Level) -> Result<Half, String> {
        let target = target.to_owned();
        self.ask(move |reader, _| {
            let mut database = catalogue(reader, level)?;
            if level == Level::Contents {
                database.integrity = integrity(reader)?;
            }
            let mut half = Half::lite(&target, MAIN, &database);
            for table in half.tables.values_mut() {
                let name = quoted(&table.name);
                let sql = format!("select wr from pragma_table_list where schema = 'main' and name = {name}");
                table.without_rowid = single(reader, &sql)? == "1";
                table.unique = Some(unique(reader, &name, &table.key)?);
                // A row number is never NULL, and neither is a key where there are none.
                for column in &table.key {
                    let Some(own) = table.columns.get_mut(column) else { continue };
                    let number = table.key.len() == 1 && own.type_.eq_ignore_ascii_case("integer");
                    own.not_null |= table.without_rowid || number;
                }
            }
            Ok(half)
        })
        .await
    }

    /// Bytes that the file's pages take.
    pub async fn bytes(&self) -> Result<u64, String> {
        self.ask(|reader, _| {
            let number = |sql: &str| single(reader, sql).map(|text| text.parse::<u64>().unwrap_or(0));
            Ok(number("pragma page_count")? * number("pragma page_size")?)
        })
        .await
    }

    /// Reads the tables; in the order of the plans, `None` for one that it has not.
    pub async fn count(&self, plans: &[Plan], tally: &Tally) -> Result<Vec<Option<Count>>, String> {
        let mut counts = Vec::with_capacity(plans.len());
        for plan in plans {
            let (plan, tally) = (plan.clone(), tally.clone());
            counts.push(match plan.lite.clone() {
                Some(name) => {
                    let module = plan.module;
                    let counted = self.ask(move |reader, gone| one(reader, &plan, gone, &tally)).await;
                    match counted {
                        Ok(count) => Some(count),
                        // A module that is unknown here.
                        Err(_) if module => None,
                        Err(e) => return Err(format!("table {name}: {e}")),
                    }
                }
                None => None,
            });
        }
        Ok(counts)
    }

    /// The sum of the hashes in each column.
    pub async fn columns(&self, plan: &Plan) -> Result<Vec<i128>, String> {
        let plan = plan.clone();
        self.ask(move |reader, gone| {
            let mut sums = vec![0; plan.columns.len()];
            rows(reader, &plan, gone, |row| {
                for (sum, value) in sums.iter_mut().zip(row.values) {
                    *sum += i128::from(*value);
                }
            })?;
            Ok(sums)
        })
        .await
    }

    /// Count and sum of each of `n` buckets (a power of two).
    pub async fn buckets(&self, plan: &Plan, n: u32) -> Result<BTreeMap<u32, Bucket>, String> {
        let plan = plan.clone();
        self.ask(move |reader, gone| {
            let mut sums: BTreeMap<u32, (u64, i128)> = BTreeMap::new();
            rows(reader, &plan, gone, |row| {
                let entry = sums.entry(row.bucket(n)).or_default();
                entry.0 += 1;
                entry.1 += i128::from(row.hash);
            })?;
            let bucket = |(rows, sum): (u64, i128)| Bucket { rows, sum: sum.to_string() };
            Ok(sums.into_iter().map(|(at, sums)| (at, bucket(sums))).collect())
        })
        .await
    }

    /// The rows of some buckets.
    pub async fn rows(&self, plan: &Plan, n: u32, these: &[u32]) -> Result<Vec<Keyed>, String> {
        let (plan, these) = (plan.clone(), these.to_vec());
        let found = self
            .ask(move |reader, gone| {
                let mut found = Vec::new();
                rows(reader, &plan, gone, |row| {
                    if found.len() <= MOST_ROWS && these.contains(&row.bucket(n)) {
                        found.push(Keyed { key: name(&plan, row.cells), hash: row.hash.to_string() });
                    }
                })?;
                Ok(found)
            })
            .await?;
        if found.len() > MOST_ROWS {
            return Err("too many rows differ to list them".to_owned());
        }
        Ok(found)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hang_up();
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

fn unique(reader: &Reader, name: &str, key: &[String]) -> Result<Vec<BTreeSet<String>>, String> {
    let mut sets: Vec<BTreeSet<String>> = Vec::new();
    if !key.is_empty() {
        sets.push(key.iter().cloned().collect());
    }
    let lists = format!("select name from pragma_index_list({name}) where \"unique\" = 1 and partial = 0");
    for row in reader.query(&lists)? {
        let of = reader.query(&format!("select name from pragma_index_info({})", quoted(&text(&row, 0))))?;
        // An expression has no name.
        let columns: Option<BTreeSet<String>> = of
            .into_iter()
            .map(|row| row.into_iter().next().flatten().map(|name| name.to_lowercase()))
            .collect();
        sets.extend(columns);
    }
    Ok(sets)
}

/// A row as it was read.
struct Row<'a> {
    cells: &'a [Cell<'a>],
    values: &'a [i64],
    hash: i64,
    key: i64,
}

impl Row<'_> {
    fn bucket(&self, n: u32) -> u32 {
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
fn name(plan: &Plan, cells: &[Cell<'_>]) -> String {
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
        form::row(values)
    }

    /// The hash of the key of the row last hashed; the row's own where there is none.
    fn key(&self, row: i64) -> i64 {
        match self.plan.keyed {
            true => form::row(self.plan.named_by.iter().fold(0, |key, at| key ^ self.values[*at])),
            false => row,
        }
    }
}

/// Gives each row that counts to `each`.
fn rows(
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

fn one(reader: &Reader, plan: &Plan, gone: &AtomicBool, tally: &Tally) -> Result<Count, String> {
    let table = plan.lite.as_deref().unwrap_or_default();
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
    let (mut sum, mut bytes) = (0i128, 0u64);
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
        for cell in cells {
            bytes += match cell {
                Cell::Text(content) | Cell::Blob(content) => content.len() as u64,
                _ => 4,
            };
        }
        if bytes >= STEP {
            tally.done(table, bytes);
            bytes = 0;
        }
        go_on(gone)
    })?;
    tally.done(table, bytes);
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
                sum += i128::from(form::row(values));
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
