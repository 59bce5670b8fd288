//! A long comparison says how far it is, and leaves nothing behind when it is given up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdpoint::check::context::Progress;
use holdpoint::check::{Context, Verdict, measure::measure};
use holdpoint::runbook::CheckSpec;
use serde_json::json;

use super::data::{check, context, told};
use super::data_progress::HEAP;
use crate::harness::{Cluster, Major, Need, Registry, eventually};

pub fn register(r: &mut Registry) {
    r.add("data::given_up_it_leaves_nothing_running", &[Need::Pg13, Need::Pg15], given_up);
    r.add("data::given_up_its_workers_end_too", &[Need::Pg15, Need::Pg18], workers);
}

/// Two tables that take a second each, and are large enough for two sessions a side.
const SLOW: &str = "create table slow (id int primary key, v numeric[]); alter table slow alter v set storage external; \
    insert into slow select g, array_fill(g / 7.0, array[300000]) from generate_series(1, 12) g; \
    create table slow_too as table slow; alter table slow_too alter v set storage external; \
    truncate slow_too; insert into slow_too table slow; create table quick as select generate_series(1, 1000) as id";

const OURS: &str = "from pg_stat_activity where application_name = 'holdpoint data_matches'";

fn given_up() {
    let (old, new) = (Cluster::start(Major::V13), Cluster::start(Major::V15));
    for cluster in [&old, &new] {
        cluster.psql(SLOW);
    }
    let cx = context(&[("old", old.target("postgres")), ("new", new.target("postgres"))]);

    let spec: CheckSpec =
        serde_json::from_value(json!({ "data_matches": { "source": "old", "target": "new" } })).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let measuring = {
        let cx = cx.clone();
        runtime.spawn(async move { measure("test".into(), &spec, &cx).await })
    };
    let busy = |cluster: &Cluster| {
        cluster.psql(&format!("select count(*) {OURS} and state = 'active' and query like '%slow%'")) == "2"
    };
    eventually(Duration::from_secs(20), "two sessions a side are at work", || busy(&old) && busy(&new));
    measuring.abort();
    for cluster in [&old, &new] {
        let gone = || cluster.psql(&format!("select count(*) {OURS}")) == "0";
        eventually(Duration::from_secs(10), "all sessions are gone", gone);
        let log = std::fs::read_to_string(cluster.log()).unwrap();
        assert!(log.matches("canceling statement due to user request").count() >= 2, "{log}");
    }
    drop(runtime);

    how_far(&cx);
}

/// Parallel workers end with the statement that called them in; so does the session that asks where its scan stands.
fn workers() {
    let parallel = "parallel_setup_cost = 0\nmax_parallel_workers_per_gather = 2";
    let clusters = [Major::V15, Major::V18].map(|major| Cluster::with(major, parallel));
    for cluster in &clusters {
        cluster.psql(&format!("{HEAP}; alter table large set (parallel_workers = 2); analyze large"));
    }
    let cx = context(&[("old", clusters[0].target("postgres")), ("new", clusters[1].target("postgres"))]);
    let spec: CheckSpec =
        serde_json::from_value(json!({ "data_matches": { "source": "old", "target": "new" } })).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let measuring = runtime.spawn(async move { measure("test".into(), &spec, &cx).await });
    let at_work = |cluster: &Cluster| {
        cluster.psql("select count(*) from pg_stat_activity where backend_type = 'parallel worker'")
    };
    eventually(Duration::from_secs(20), "workers on both sides", || {
        clusters.iter().all(|c| at_work(c) != "0")
    });
    measuring.abort();
    for cluster in &clusters {
        let gone = || at_work(cluster) == "0" && cluster.psql(&format!("select count(*) {OURS}")) == "0";
        eventually(Duration::from_secs(10), "all sessions and workers are gone", gone);
    }
}

/// The total is known before anything is done, and never grows; all of it gets done.
fn how_far(cx: &Context) {
    let heard: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let here = Arc::clone(&heard);
    let cx = Context { progress: Arc::new(move |p| here.lock().unwrap().push(p)), ..cx.clone() };
    let same = check(&cx, "data_matches", json!({ "source": "old", "target": "new" }));
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    let heard = heard.lock().unwrap();
    let known: Vec<(u64, u64)> = heard.iter().filter_map(|p| p.total.map(|total| (p.done, total))).collect();
    assert!(heard.iter().all(|p| p.total.is_some() || p.done == 0), "{heard:#?}");
    assert!(known.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 >= two[1].1), "{heard:#?}");
    let last = known.last().unwrap();
    assert!(last.0 == last.1 && last.0 > 64 << 20, "{heard:#?}");
    assert!(heard.iter().any(|p| p.what.starts_with("reading postgres.public.slow")), "{heard:#?}");
}
