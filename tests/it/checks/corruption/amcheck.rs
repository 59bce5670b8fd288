use std::time::Duration;

use holdpoint::check::{Context, Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::{TABLE, flip, past_the_index};
use crate::harness::{Cluster, Major, Need, Registry};

const HEAP: &str = "heap_intact";
const INDEXES: &str = "indexes_intact";

pub fn register(r: &mut Registry) {
    let majors = [Need::Pg15, Need::Pg18];
    verdict(r, HEAP, Verdict::Pass, &[Need::Pg14, Need::Pg18], || {
        [Major::V14, Major::V18].into_iter().flat_map(|major| sound(major, HEAP)).collect()
    });
    verdict(r, HEAP, Verdict::Fail, &[Need::Pg15], damaged_heaps);
    verdict(r, HEAP, Verdict::Unknown, &[Need::Pg13, Need::Pg15], heaps_not_seen);
    verdict(r, INDEXES, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().flat_map(|major| sound(major, INDEXES)).collect()
    });
    verdict(r, INDEXES, Verdict::Fail, &[Need::Pg15, Need::Pg17], damaged_indexes);
    verdict(r, INDEXES, Verdict::Unknown, &majors, indexes_not_seen);
    r.add("check::what_was_dropped_meanwhile_is_no_damage", &[Need::Pg15], dropped_meanwhile);
    r.add("check::indexes_intact_finds_what_18_can_look_for", &[Need::Pg18], gin_of_18);
    r.add("check::heap_intact_knows_sensible_parameters", &[], parameters);
}

fn prepared(major: Major) -> (Cluster, Context) {
    let cluster = Cluster::start(major);
    cluster.psql(&format!("create extension amcheck; {TABLE}"));
    let cx = context([("db", cluster.target("postgres"))]);
    (cluster, cx)
}

/// Everything of a sound server, tables of several kinds included.
fn sound(major: Major, kind: &str) -> Vec<Outcome> {
    let (cluster, cx) = prepared(major);
    cluster.psql(
        "create table big (t text); insert into big select string_agg(md5(g::text), '') from generate_series(1, 9000) g; \
         create unlogged table u (id int primary key); insert into u values (1); \
         create table p (id int primary key, v int) partition by range (id); \
         create table p1 partition of p for values from (0) to (100); insert into p select g from generate_series(0, 99) g; \
         create materialized view m as select * from t; create index on m using brin (id); \
         create index gin on t using gin (string_to_array(k, 'a')); create schema \"o'\\dd\"; \
         create table \"o'\\dd\".\"Ta.ble\" (\"A\" int primary key)",
    );
    let all = look(&cx, kind, json!({ "target": "db" }));
    is(&all, Verdict::Pass, "no damage found: ");
    is(&all, Verdict::Pass, "in 2 databases looked at");
    let says =
        |words: &str| assert!(all.details.iter().any(|line| line.contains(words)), "{words}: {all:#?}");
    says("template0 allows no connections; it was left out");
    says("template1: the extension amcheck is not installed; a template database, left out");
    let looked = |params: Value| look(&cx, kind, params);
    let parts = looked(json!({ "target": "db", "tables": ["public.p", "big", "o'\\dd.Ta.ble"] }));
    // With the TOAST table of the one that has text.
    let number = if kind == HEAP { "4 tables" } else { "3 indexes" };
    is(&parts, Verdict::Pass, number);
    let ours = looked(json!({ "target": "db", "databases": ["postgres"], "catalogs": false }));
    if kind == HEAP {
        // Its own tables, and the TOAST tables of those that have text.
        is(&ours, Verdict::Pass, "in 1 database");
        return vec![all, parts, ours];
    }
    says("of a kind that amcheck cannot check here (not B-tree) left out");
    let parent = looked(json!({ "target": "db", "parent": true, "heapallindexed": true, "tables": ["t"] }));
    is(&parent, Verdict::Pass, if major == Major::V13 { "3 indexes" } else { "4 indexes" });
    vec![all, parts, ours, parent]
}

fn damaged_heaps() -> Vec<Outcome> {
    // A line pointer, without checksums: the server itself says nothing, and a dump lacks the row.
    let (cluster, cx) = prepared(Major::V15);
    flip(&cluster, "t", 3 * 8192 + 24 + 8 + 1, 64);
    assert_eq!(
        cluster.psql(
            "set enable_indexscan = off; set enable_indexonlyscan = off; \
                             set enable_bitmapscan = off; select count(*) from t"
        ),
        "19999"
    );
    let pointer = look(&cx, HEAP, json!({ "target": "db" }));
    is(
        &pointer,
        Verdict::Fail,
        "1 table damaged: public.t in database postgres: 1 finding: block 3, line 3: ",
    );
    let by_index = look(&cx, INDEXES, json!({ "target": "db", "tables": ["t"] }));
    is(&by_index, Verdict::Fail, "damaged");
    // A byte of a value, with checksums.
    let sums = Cluster::create_as(Major::V15, "zero_damaged_pages = on", &["-k"]);
    sums.restart();
    sums.psql(&format!("create extension amcheck; {TABLE}"));
    flip(&sums, "t", 3 * 8192 + 8000, 255);
    let cx = context([("db", sums.target("postgres"))]);
    let page = look(&cx, HEAP, json!({ "target": "db", "tables": ["public.t"] }));
    is(&page, Verdict::Fail, "public.t in database postgres: ERROR: invalid page in block 3");
    vec![pointer, page]
}

/// Who opens by its number what is gone gets the same kind of error as from damage.
fn dropped_meanwhile() {
    let (cluster, cx) = prepared(Major::V15);
    for kind in [HEAP, INDEXES] {
        cluster.psql("create table first (id int primary key); create table gone (id int primary key); insert into gone select generate_series(1, 20000)");
        let waits = "exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'bt_index_check|verify_heapam' and pid <> pg_backend_pid())";
        let script = format!(
            "begin; lock table first in access exclusive mode; do $$ begin for n in 1..3000 loop exit when {waits}; \
             perform pg_stat_clear_snapshot(), pg_sleep(0.01); end loop; end $$; drop table gone; commit"
        );
        let mut holder = hold(&cluster, &script);
        let seen = look(&cx, kind, json!({ "target": "db", "tables": ["first", "gone"] }));
        assert!(holder.wait().unwrap().success());
        is(&seen, Verdict::Pass, "no damage found: ");
        assert!(seen.details.iter().any(|line| line.contains("was dropped meanwhile")), "{seen:#?}");
        cluster.psql("drop table first");
    }
}

fn heaps_not_seen() -> Vec<Outcome> {
    let (_old, cx) = prepared(Major::V13);
    let old = look(&cx, HEAP, json!({ "target": "db" }));
    is(&old, Verdict::Unknown, "PostgreSQL 13 cannot look into tables");
    let (cluster, cx) = prepared(Major::V15);
    cluster.psql("create database other");
    let absent = look(&cx, HEAP, json!({ "target": "db" }));
    is(&absent, Verdict::Unknown, "database other: the extension amcheck is not installed");
    assert!(absent.help.as_deref().unwrap().contains("create extension amcheck"));
    assert_eq!(
        cluster.psql_in("other", "select count(*) from pg_extension"),
        "1",
        "nothing is installed by a check"
    );
    let named =
        look(&cx, HEAP, json!({ "target": "db", "tables": ["t", "tt"], "databases": ["postgres", "no"] }));
    is(&named, Verdict::Unknown, "there is no database no (and 1 more)");
    cluster.psql("drop database other");
    cluster.psql("create role app login; revoke all on database template1 from public");
    let ours = json!({ "target": "db", "databases": ["postgres"] });
    let target = holdpoint::runbook::Target {
        postgres: Some(cluster.conninfo("postgres").replace("user=postgres", "user=app")),
        ..Default::default()
    };
    cluster.psql("grant pg_monitor to app");
    let denied = look(&context([("db", target)]), HEAP, ours.clone());
    is(&denied, Verdict::Unknown, "the role may not run amcheck's verify_heapam");
    let mut holder = hold(&cluster, "begin; lock table t in access exclusive mode; select pg_sleep(60)");
    let locked = look(&cx, HEAP, ours.clone());
    is(
        &locked,
        Verdict::Unknown,
        "public.t in database postgres: ERROR: canceling statement due to lock timeout",
    );
    let spent = look(&cx, HEAP, json!({ "target": "db", "tables": ["t"], "budget": "1s" }));
    is(&spent, Verdict::Unknown, "public.t in database postgres: the time budget of 1s is spent");
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)' and pid <> pg_backend_pid()");
    holder.wait().unwrap();
    cluster.stop();
    vec![old, absent, named, denied, locked, spent, look(&cx, HEAP, ours)]
}

fn damaged_indexes() -> Vec<Outcome> {
    let (cluster, cx) = prepared(Major::V15);
    flip(&cluster, "t_k", 5 * 8192 + 6000, 32);
    let key = look(&cx, INDEXES, json!({ "target": "db" }));
    is(&key, Verdict::Fail, "1 index damaged: public.t_k on t in database postgres: ");
    let shallow = look(&cx, INDEXES, json!({ "target": "db", "heapallindexed": false }));
    is(&shallow, Verdict::Pass, "no damage found");
    past_the_index(&cluster, "t_pkey", "insert into t select g, 'again' from generate_series(5, 9) g");
    let rows = look(&cx, INDEXES, json!({ "target": "db" }));
    is(&rows, Verdict::Fail, "2 indexes damaged");
    assert!(
        rows.details.iter().any(|line| line.contains("lacks matching index tuple within index \"t_pkey\""))
    );
    // Duplicates that are in the index itself: seen from 17 on.
    let (cluster, cx) = prepared(Major::V17);
    cluster.psql("update pg_index set indisunique = false where indexrelid = 't_pkey'::regclass");
    cluster.psql("insert into t select g, 'again' from generate_series(5, 9) g");
    cluster.psql("update pg_index set indisunique = true where indexrelid = 't_pkey'::regclass");
    let without = look(&cx, INDEXES, json!({ "target": "db", "checkunique": false }));
    is(&without, Verdict::Pass, "no damage found");
    let twice = look(&cx, INDEXES, json!({ "target": "db" }));
    is(&twice, Verdict::Fail, "t_pkey");
    vec![key, rows, twice]
}

fn indexes_not_seen() -> Vec<Outcome> {
    let (cluster, cx) = prepared(Major::V15);
    let ours = |more: Value| {
        let mut params = json!({ "target": "db", "tables": ["t"] });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look(&cx, INDEXES, params)
    };
    let unique = ours(json!({ "checkunique": true }));
    is(&unique, Verdict::Unknown, "amcheck 1.3 cannot look for duplicates within unique indexes");
    let gin = ours(json!({ "gin": true }));
    is(&gin, Verdict::Unknown, "amcheck 1.3 has no function gin_index_check");
    cluster.psql("create table bare (v int)");
    let none = look(&cx, INDEXES, json!({ "target": "db", "tables": ["bare"] }));
    is(&none, Verdict::Unknown, "there is no index to look at");
    cluster.psql("drop extension amcheck");
    let absent = ours(json!({}));
    cluster.stop();
    vec![unique, gin, none, absent, ours(json!({}))]
}

fn gin_of_18() {
    let (cluster, cx) = prepared(Major::V18);
    cluster.psql(
        "create table g (v int[]); insert into g select array[n, n + 1] from generate_series(1, 100) n; \
                  create index g_v on g using gin (v)",
    );
    let look = |params: Value| super::super::look(&cx, INDEXES, params);
    is(&look(json!({ "target": "db", "tables": ["g"], "gin": true })), Verdict::Pass, "2 indexes");
    is(&look(json!({ "target": "db", "tables": ["g"] })), Verdict::Pass, "2 indexes");
    is(&look(json!({ "target": "db", "tables": ["g"], "gin": false })), Verdict::Pass, "1 index ");
}

fn parameters() {
    for kind in [HEAP, INDEXES, "no_duplicate_keys"] {
        let build = |budget: &str| {
            let spec = serde_json::from_value(json!({ kind: { "target": "a", "budget": budget } })).unwrap();
            holdpoint::check::registry::build(&spec).map(|check| check.targets())
        };
        assert_eq!(build("1h").unwrap(), ["a"]);
        assert!(build("0s").unwrap_err().contains("shorter than a second"), "{kind}");
        assert!(build("30d").unwrap_err().contains("longer than 7d"), "{kind}");
    }
}

/// A session that does something for a while; killed when told.
fn hold(cluster: &Cluster, sql: &str) -> std::process::Child {
    let child = std::process::Command::new("/usr/bin/psql")
        .args(["-XAtq", "-d", &cluster.conninfo("postgres"), "-c", sql])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::harness::eventually(Duration::from_secs(10), "the lock is held", || {
        cluster.psql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and locktype = 'relation'") != "0"
    });
    child
}
