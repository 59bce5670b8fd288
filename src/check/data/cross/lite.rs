//! The SQLite side: one read transaction from the first look at the catalogue to the last look at a row. Rows are hashed
//! as they are scanned, so that memory stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::count::Count;
use super::plan::{Half, Plan};
use super::scan::{name, one, rows};
use crate::check::data::differ::{Bucket, Keyed, MOST_ROWS};
use crate::check::data::manifest::Level;
use crate::check::data::progress::Tally;
use crate::check::data::sqlite::{MAIN, bytes, catalogue, integrity, quoted, single, text};
use crate::world::sqlite::{self, Reader};

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
        self.ask(|reader, _| bytes(reader)).await
    }

    /// Reads the tables of a file of so many bytes; in the order of the plans, `None` for one that it has not.
    pub async fn count(
        &self,
        plans: &[Plan],
        bytes: u64,
        tally: &Tally,
    ) -> Result<Vec<Option<Count>>, String> {
        let part = Arc::new(Mutex::new(Some(tally.begin("tables", bytes))));
        let mut counts = Vec::with_capacity(plans.len());
        for plan in plans {
            let (plan, part) = (plan.clone(), Arc::clone(&part));
            counts.push(match plan.lite.clone() {
                Some(name) => {
                    let module = plan.module;
                    let read = move |reader: &Reader, gone: &AtomicBool| {
                        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
                        let Some(part) = part.as_mut() else { return Err("its turn is over".to_owned()) };
                        one(reader, &plan, gone, part)
                    };
                    match self.ask(read).await {
                        Ok(count) => Some(count),
                        // A module that is unknown here.
                        Err(_) if module => None,
                        Err(e) => return Err(format!("table {name}: {e}")),
                    }
                }
                None => None,
            });
        }
        if let Some(part) = part.lock().unwrap_or_else(PoisonError::into_inner).take() {
            part.done();
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
