//! A long comparison moves within a table: by what the server's process reads, else by where its scan stands, else not
//! at all. What is told never goes back, never exceeds the total, and ends with all of it.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdpoint::check::context::Progress;
use holdpoint::check::{Context, Verdict, data};
use holdpoint::runbook::Target;
use holdpoint::world::pg::{Backend, Options, connect};

use serde_json::json;

use super::data::{check, context, told as words};
use crate::harness::{Cluster, Major, Need, Registry, block_on, eventually};

pub fn register(r: &mut Registry) {
    r.add("data::progress_by_what_the_process_reads", &[Need::Pg15], by_reading);
    r.add("data::progress_by_where_the_scan_stands", &[Need::Pg18], by_place);
    r.add("data::progress_is_not_guessed_from_a_stranger", &[Need::Pg15, Need::Root], in_a_container);
    r.add("data::progress_counts_parallel_workers", &[Need::Pg15], workers);
    r.add("data::progress_stops_with_the_check", &[Need::Pg15], stops);
    r.add("data::progress_in_an_sqlite_file", &[], sqlite);
    r.add("data::progress_from_sqlite_to_15", &[Need::Pg15], across);
}

/// Some 150 MB in rows that take seconds to hash.
pub const HEAP: &str = "create table large (id int, v bool[]); alter table large alter v set storage plain; \
    insert into large select g, array_fill(true, array[1900]) from generate_series(1, 76000) g";

/// Some 100 MB beside the rows, in few pages of the table's own.
const TOAST: &str = "create table wide (id int, v bool[]); alter table wide alter v set storage external; \
    insert into wide select g, array_fill(true, array[5000000]) from generate_series(1, 20) g";

fn fill(cluster: &Cluster) {
    for (database, sql) in [("heap", HEAP), ("toast", TOAST)] {
        cluster.psql(&format!("create database {database}"));
        cluster.psql_in(database, sql);
    }
}

/// All that is told while a target is recorded, in order. It must hold together.
fn told(target: Target, slow: Duration) -> Vec<Progress> {
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let here = Arc::clone(&heard);
    let tell = move |p: Progress| {
        here.lock().unwrap().push(p);
        std::thread::sleep(slow);
    };
    let cx = Context { progress: Arc::new(tell), ..context(&[("it", target.clone())]) };
    block_on(data::record("it", &target, &cx)).unwrap();
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    holds_together(&heard);
    heard
}

/// The total is known before anything is done, and never grows; what is done never shrinks; at the end it is all.
fn holds_together(heard: &[Progress]) {
    assert!(heard.iter().all(|p| p.total.is_some() || p.done == 0), "{heard:#?}");
    let known: Vec<(u64, u64)> = heard.iter().filter_map(|p| p.total.map(|total| (p.done, total))).collect();
    assert!(known.iter().all(|(done, total)| done <= total), "{heard:#?}");
    assert!(known.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 >= two[1].1), "{heard:#?}");
    let (done, total) = known.last().unwrap();
    assert!(done == total && *done > 0, "{heard:#?}");
}

/// How many different figures were told while a table was read.
fn steps(heard: &[Progress], table: &str) -> usize {
    let reading = format!("reading {table}");
    let mut figures: Vec<u64> =
        heard.iter().filter(|p| p.what.starts_with(&reading)).map(|p| p.done).collect();
    assert!(!figures.is_empty(), "{heard:#?}");
    figures.dedup();
    figures.len()
}

fn by_reading() {
    let cluster = Cluster::start(Major::V15);
    fill(&cluster);
    let heard = told(cluster.target("postgres"), Duration::ZERO);
    for table in ["heap.public.large", "toast.public.wide"] {
        assert!(steps(&heard, table) >= 3, "{heard:#?}");
    }
    assert!(!heard.iter().any(|p| p.what.contains("when it is done")), "{heard:#?}");
}

/// From 18 on, other processes read for the session's own.
fn by_place() {
    let cluster = Cluster::start(Major::V18);
    fill(&cluster);
    let target = cluster.target("heap");
    block_on(async {
        let session = connect(&target, &Options::default()).await.unwrap();
        assert!(Backend::of(&session).await.is_none());
    });
    by_place_alone(target);
}

fn by_place_alone(target: Target) {
    let heard = told(target, Duration::ZERO);
    assert!(steps(&heard, "heap.public.large") >= 3, "{heard:#?}");
    // Its scan stands on a few pages, which say nothing.
    assert_eq!(steps(&heard, "toast.public.wide"), 1, "{heard:#?}");
    let blind = "reading toast.public.wide, which counts when it is done";
    assert!(heard.iter().any(|p| p.what == blind), "{heard:#?}");
}

/// A server whose processes have other numbers here, as in a container with its socket outside.
struct Elsewhere(Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let server = std::fs::read_to_string(children).unwrap_or_default();
        let _ = Command::new("kill").arg("-INT").args(server.split_whitespace()).status();
        let _ = self.0.wait();
    }
}

fn in_a_container() {
    let cluster = Cluster::create(Major::V15, "");
    let server = Major::V15.bin().join("postgres");
    let alone = ["--pid", "--fork", "--kill-child", "setpriv", "--reuid=postgres", "--regid=postgres"];
    let mut command = Command::new("unshare");
    command.args(alone).args(["--clear-groups", "--"]).arg(server).arg("-D").arg(cluster.data());
    let log = std::fs::File::create(cluster.log()).unwrap();
    let _server = Elsewhere(command.current_dir("/").stderr(log).spawn().unwrap());
    let target = cluster.target("postgres");
    let answers = || block_on(connect(&target, &Options::default())).is_ok();
    eventually(Duration::from_secs(30), "the server answers", answers);
    fill(&cluster);
    block_on(async {
        let session = connect(&target, &Options::default()).await.unwrap();
        assert!(session.is_local() && Backend::of(&session).await.is_none());
    });
    by_place_alone(target);
}

/// The workers read, the session's own process does not.
fn workers() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(HEAP);
    let size: u64 = cluster.psql("select pg_table_size('large')").parse().unwrap();
    let target = cluster.target("postgres");
    let read = block_on(async {
        let session = connect(&target, &Options::default()).await.unwrap();
        let own = "set parallel_leader_participation = off; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0";
        session.query(own).await.unwrap();
        let mut backend = Backend::of(&session).await.unwrap();
        backend.begin();
        let mut seen = Vec::new();
        let work = session.query("select sum(hashtextextended(array_out(v)::text, 1)) from public.large");
        let looks = async {
            loop {
                seen.push(backend.read().unwrap());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            rows = work => drop(rows.unwrap()),
            () = looks => {}
        }
        assert!(seen.windows(2).all(|two| two[0] <= two[1]), "{seen:?}");
        seen.last().copied().unwrap()
    });
    assert!(read > size / 2, "{read} of {size}");
}

/// Given up, it tells nothing more, and nothing of it goes on.
fn stops() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(TOAST);
    let target = cluster.target("postgres");
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let here = Arc::clone(&heard);
    let tell = move |p| here.lock().unwrap().push(p);
    let cx = Context { progress: Arc::new(tell), ..context(&[("it", target.clone())]) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let measuring = runtime.spawn(async move { data::record("it", &target, &cx).await.map(drop) });
    let moved = || heard.lock().unwrap().iter().any(|p| p.done > 0);
    eventually(Duration::from_secs(30), "it is within the table", moved);
    measuring.abort();
    assert!(runtime.block_on(measuring).unwrap_err().is_cancelled());
    let told = heard.lock().unwrap().len();
    let tasks = || runtime.metrics().num_alive_tasks() == 0;
    eventually(Duration::from_secs(20), "no task is left", tasks);
    assert_eq!(heard.lock().unwrap().len(), told);
}

/// A file of some 40 MB.
fn file(dir: &Path) -> Target {
    let file = dir.join("it.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "create table large (id integer primary key, v text); create table small (id integer); insert into small values (1); \
             with recursive g(n) as (select 1 union all select n + 1 from g where n < 20000) \
             insert into large select n, hex(zeroblob(1000)) from g",
        )
        .unwrap();
    Target { sqlite: Some(file.display().to_string()), ..Target::default() }
}

fn sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let target = file(dir.path());
    // Whoever listens takes so long that no report falls into the pause after the one before.
    let heard = told(target, Duration::from_millis(350));
    assert!(steps(&heard, "large") >= 5, "{heard:#?}");
    assert!(heard.iter().any(|p| p.what == "reading the file again, to check it"), "{heard:#?}");
    assert!(heard[0].total.unwrap() >= 2 * 40_000_000, "{heard:#?}");
}

/// Both engines in one figure.
fn across() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Major::V15);
    cluster.psql(
        "create table large (id bigint primary key, v text); create table small (id int); insert into small values (1); \
         insert into large select g, repeat('0', 2000) from generate_series(1, 20000) g",
    );
    let size: u64 = cluster.psql("select pg_table_size('large')").parse().unwrap();
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let here = Arc::clone(&heard);
    let tell = move |p| {
        here.lock().unwrap().push(p);
        std::thread::sleep(Duration::from_millis(350));
    };
    let cx = context(&[("old", file(dir.path())), ("new", cluster.target("postgres"))]);
    let cx = Context { progress: Arc::new(tell), ..cx };
    let same = check(&cx, "data_matches", json!({ "source": "old", "target": "new" }));
    assert_eq!(same.verdict(), Verdict::Pass, "{}", words(&same));
    let heard = heard.lock().unwrap();
    holds_together(&heard);
    assert!(heard.last().unwrap().done >= 40_000_000 + size, "{heard:#?}");
    assert!(steps(&heard, "large") >= 5, "{heard:#?}");
}
