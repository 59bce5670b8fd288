//! What it costs to prove that two databases hold the same data: processor time of client and servers together, against
//! the physical floor (counting rows by heap scans) and against `pgcopydb compare data`, in turn on the same clusters.
//!
//! `cargo bench --bench data`; `HOLDPOINT_BENCH_MB` sets about the size of one side (default 150), `HOLDPOINT_BENCH_ROUNDS`
//! how often each is run (default 3; the median counts), `HOLDPOINT_BENCH_BUFFERS` the servers' shared_buffers (default
//! 64MB: like a real database, it does not fit in; with more than its size, the floor is a walk through memory). Only
//! ratios mean anything on a shared machine. The peer must know `compare data`: Debian 12's 0.10 does not, Debian 13's
//! 0.17 does, which `tests/bench/peer.sh` fetches; `HOLDPOINT_BENCH_PGCOPYDB` names another program than the one on the PATH.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs, dead_code)]

#[path = "../it/harness/mod.rs"]
#[allow(clippy::print_stderr)]
mod harness;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use harness::{Cluster, Major, block_on};
use holdpoint::base::CheckId;
use holdpoint::check::{Context, Verdict, measure};
use holdpoint::runbook::CheckSpec;
use holdpoint::world::World;
use indexmap::IndexMap;
use serde_json::json;

const CONF: &str = "max_wal_size = 8GB\nwal_level = minimal\nmax_wal_senders = 0\nautovacuum = off";

/// Like Synapse's: wide events with JSON, narrow state and membership, texts and numbers. Some 1 kB in all per unit.
const SQL: &str = "
create table events (stream_ordering bigint primary key, topological bigint not null, event_id text not null, type text not null,
    room_id text not null, content text, unrecognized_keys text, processed boolean not null, outlier boolean not null,
    depth bigint not null, origin_server_ts bigint, received_ts bigint, sender text, contains_url boolean, instance_name text,
    state_key text, rejection_reason text);
insert into events select g, g / 7, '$' || md5(g::text) || md5((g + 1)::text), 'm.room.message', '!' || md5((g % 500)::text) || ':example.org',
    null, null, true, g % 9 = 0, g / 7, 1700000000000 + g * 37, 1700000000100 + g * 37, '@user' || g % 900 || ':example.org', g % 5 = 0, 'master',
    case when g % 6 = 0 then '@u' || g end, null from generate_series(1, UNITS) g;
create table event_json (event_id text primary key, room_id text not null, internal_metadata text not null, json text not null, format_version int);
insert into event_json select '$' || md5(g::text), '!' || md5((g % 500)::text), '{\"stream_ordering\":' || g || '}',
    '{\"auth_events\":[\"' || md5(g::text) || '\"],\"content\":{\"body\":\"' || repeat(md5((g * 3)::text) || ' ', 8) || '\"}}', 3 from generate_series(1, UNITS) g;
create table state_groups_state (state_group bigint not null, room_id text not null, type text not null, state_key text not null, event_id text not null);
insert into state_groups_state select g / 20, '!' || md5((g % 500)::text), 'm.room.member', '@user' || g || ':example.org', '$' || md5(g::text) from generate_series(1, UNITS * 2) g;
create table receipts (stream_id bigint, room_id text, user_id text, at timestamptz, score numeric(10,2), data jsonb, raw uuid);
insert into receipts select g, '!' || md5((g % 500)::text), '@user' || g % 900, timestamptz '2024-01-01 00:00+00' + g * interval '1 s', g / 8.0,
    jsonb_build_object('ts', g, 'thread', 'main'), md5(g::text)::uuid from generate_series(1, UNITS / 2) g;
";

const SMALL: &str = "do $$ begin for i in 1..40 loop execute format('create table small_%s as select g as id, md5(g::text) as v from generate_series(1, 500) g', i); end loop; end $$";

/// Processor time so far, in seconds: both clusters with all their processes, and this program with its children.
fn cpu(clusters: &[&Cluster]) -> f64 {
    let mut ticks = times("/proc/self/stat");
    for cluster in clusters {
        let pid = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
        let pid: u32 = pid.lines().next().unwrap().trim().parse().unwrap();
        ticks += times(&format!("/proc/{pid}/stat"));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = entry.path().join("stat");
            if parent(&stat) == Some(pid) {
                ticks += times(stat.to_str().unwrap());
            }
        }
    }
    ticks as f64 / 100.0
}

fn fields(stat: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(stat).ok()?;
    Some(text[text.rfind(')')? + 2..].split(' ').map(str::to_owned).collect())
}

fn parent(stat: &Path) -> Option<u32> {
    fields(stat)?.get(1)?.parse().ok()
}

/// utime, stime and those of children that were waited for.
fn times(stat: &str) -> u64 {
    fields(Path::new(stat)).map_or(0, |f| f[11..15].iter().map(|n| n.parse::<u64>().unwrap_or(0)).sum())
}

/// One way to look at the data, and what it cost each time.
struct Method {
    name: &'static str,
    run: Box<dyn Fn() -> bool>,
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

impl Method {
    fn new(name: &'static str, run: impl Fn() -> bool + 'static) -> Self {
        Method { name, run: Box::new(run), cpu: Vec::new(), wall: Vec::new() }
    }

    fn measure(&mut self, clusters: &[&Cluster]) {
        let (before, began) = (cpu(clusters), Instant::now());
        let worked = (self.run)();
        let wall = began.elapsed().as_secs_f64();
        // Backends that have just ended are counted once their parent has waited for them.
        std::thread::sleep(std::time::Duration::from_millis(200));
        if worked {
            self.wall.push(wall);
            self.cpu.push(cpu(clusters) - before);
        }
    }
}

/// The most memory this process ever had, in MiB: the program that measures with this benchmark around it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn floor(old: &Cluster, new: &Cluster, settings: &str) -> bool {
    let tables = old.psql_in("bench", "select string_agg(format('select count(*) from only %I', relname), ';') from pg_class where relkind = 'r' and oid >= 16384");
    let sql = format!(
        "{settings} set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; {tables}"
    );
    let mut running: Vec<_> = [old, new]
        .map(|cluster| {
            let mut command = Command::new("psql");
            command.args(["-XAtq", "-d", &cluster.conninfo("bench"), "-c", &sql]).stdout(Stdio::null());
            command.spawn().unwrap()
        })
        .into();
    running.iter_mut().all(|child| child.wait().unwrap().success())
}

fn ours(cx: &Context, kind: &str, expected: Verdict) -> bool {
    let spec: CheckSpec =
        serde_json::from_value(json!({ kind: { "source": "old", "target": "new", "databases": ["bench"] } }))
            .unwrap();
    let evidence = block_on(measure::measure(CheckId::from("bench"), &spec, cx));
    assert_eq!(evidence.verdict(), expected, "{evidence:?}");
    true
}

fn pgcopydb() -> Command {
    Command::new(std::env::var_os("HOLDPOINT_BENCH_PGCOPYDB").unwrap_or_else(|| "pgcopydb".into()))
}

/// Why the peer cannot be measured, if so.
fn peer_missing() -> Option<String> {
    match pgcopydb().args(["compare", "data", "--help"]).output() {
        Err(_) => Some("pgcopydb is not installed".to_owned()),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            text.contains("unknown command")
                .then(|| "this pgcopydb has no `compare data`; 0.17 has".to_owned())
        }
    }
}

fn peer(old: &Cluster, new: &Cluster) -> bool {
    let work = tempfile::tempdir().unwrap();
    let uri = |c: &Cluster| format!("postgresql://postgres@127.0.0.1:{}/bench", c.port());
    let mut command = pgcopydb();
    command.args(["compare", "data", "--source", &uri(old), "--target", &uri(new), "--dir"]).arg(work.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    if !output.status.success() {
        println!(
            "pgcopydb failed: {}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
        );
    }
    output.status.success()
}

fn main() {
    if !Path::new("/usr/lib/postgresql/15/bin/postgres").exists() {
        println!("NOT MEASURED: PostgreSQL 15 is not installed (Debian 12: postgresql-15)");
        return;
    }
    let missing = peer_missing();
    let has_peer = missing.is_none();
    if let Some(why) = missing {
        println!("PEER MISSING: {why}; only the floor is compared with");
    }
    let units = number("HOLDPOINT_BENCH_MB", 150) * 700;
    let rounds = number("HOLDPOINT_BENCH_ROUNDS", 3).max(1);
    let buffers = std::env::var("HOLDPOINT_BENCH_BUFFERS").unwrap_or_else(|_| "64MB".to_owned());
    let make = || Arc::new(Cluster::with(Major::V15, &format!("{CONF}\nshared_buffers = {buffers}")));
    let (old, new) = (make(), make());
    for cluster in [&old, &new] {
        cluster.psql("create database bench");
        cluster.psql_in("bench", &SQL.replace("UNITS", &units.to_string()));
        cluster.psql_in("bench", SMALL);
        cluster.psql_in("bench", "vacuum analyze");
    }
    let size = old.psql_in("bench", "select pg_size_pretty(pg_database_size('bench')) || ', ' || count(*) || ' tables' from pg_class where relkind = 'r' and oid >= 16384");
    println!(
        "two sides of {size}, shared_buffers {buffers}; seconds, median of {rounds}; processor time is client and servers together"
    );
    let targets: IndexMap<_, _> =
        [("old".to_owned(), old.target("bench")), ("new".to_owned(), new.target("bench"))].into();
    let cx = Context { targets: Arc::new(targets), ..Context::local(World::local()) };
    let sides = || (Arc::clone(&old), Arc::clone(&new));
    let check = |kind: &'static str| {
        let cx = cx.clone();
        move || ours(&cx, kind, Verdict::Pass)
    };
    let mut methods = vec![
        Method::new("count(*), heap scans (floor)", {
            let (old, new) = sides();
            move || floor(&old, &new, "")
        }),
        Method::new("  without workers and jit", {
            let (old, new) = sides();
            move || floor(&old, &new, "set max_parallel_workers_per_gather = 0; set jit = off;")
        }),
        Method::new("rows_match", check("rows_match")),
        Method::new("data_matches", check("data_matches")),
    ];
    if has_peer {
        let (old, new) = sides();
        methods.push(Method::new("pgcopydb compare data", move || peer(&old, &new)));
    }
    floor(&old, &new, "");
    for _ in 0..rounds {
        for method in methods.iter_mut() {
            method.measure(&[&old, &new]);
        }
    }
    new.psql_in("bench", "update events set depth = depth + 1 where stream_ordering = 777; delete from state_groups_state where ctid = '(10,3)'");
    let mut differing =
        Method::new("data_matches, naming two rows", move || ours(&cx, "data_matches", Verdict::Fail));
    for _ in 0..rounds {
        differing.measure(&[&old, &new]);
    }
    report(&methods, &differing);
}

fn report(methods: &[Method], differing: &Method) {
    println!("{:<32} {:>8} {:>8} {:>14}", "method", "wall", "cpu", "cpu / floor");
    let floor = median(&methods[0].cpu);
    for method in methods.iter().chain([differing]) {
        if method.cpu.is_empty() {
            println!("{:<32} NOT MEASURED: it failed", method.name);
            continue;
        }
        let cpu = median(&method.cpu);
        println!("{:<32} {:>8.2} {:>8.2} {:>14.2}", method.name, median(&method.wall), cpu, cpu / floor);
    }
    let ours = median(&methods[3].cpu);
    println!("rows_match costs {:.2} times the floor (goal: at most 1)", median(&methods[2].cpu) / floor);
    println!("data_matches costs {:.2} times the floor (goal: at most 2.5)", ours / floor);
    match methods.get(4).filter(|m| !m.cpu.is_empty()) {
        Some(peer) => println!(
            "pgcopydb compare data costs {:.2} times as much as data_matches (goal: at least 5)",
            median(&peer.cpu) / ours
        ),
        None => println!("PEER NOT MEASURED: nothing is claimed about pgcopydb"),
    }
    println!("peak memory of the process that measures: {} MiB (goal: at most 64)", peak());
}
