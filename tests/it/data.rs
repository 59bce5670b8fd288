//! `data_matches` and `rows_match` on real servers and files: identical data in another order passes, and every fault
//! that has ever slipped through an upgrade is found and named.

use std::sync::{Arc, Mutex};

use holdpoint::base::CheckId;
use holdpoint::check::context::{NoRecords, Progress, Records};
use holdpoint::check::data::manifest::Manifest;
use holdpoint::check::{Context, Evidence, Verdict, data, measure};
use holdpoint::runbook::{CheckSpec, Target};
use holdpoint::world::World;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::data_faults::FAULTS;
use crate::harness::{Cluster, Major, Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    r.add("data::faults_from_15_to_15", &[Need::Pg15], || faults(Major::V15));
    r.add("data::faults_from_13_to_15", &[Need::Pg15, Need::Pg13], || faults(Major::V13));
    r.add("data::every_type_has_a_hash", &[Need::Pg15], || types(Major::V15));
    r.add("data::every_type_has_a_hash_from_13", &[Need::Pg15, Need::Pg13], || types(Major::V13));
    r.add("data::compiled_it_gives_the_same", &[Need::Pg15], compiled);
    r.add("data::what_was_not_measured_is_unknown", &[Need::Pg15], unknowns);
    r.add("data::sqlite_faults", &[], super::data_sqlite::faults);
    r.add("data::sqlite_unknowns", &[], super::data_sqlite::unknowns);
}

/// A context with these targets.
pub fn context(targets: &[(&str, Target)]) -> Context {
    context_with(targets, Arc::new(NoRecords))
}

/// A context with these targets and records.
pub fn context_with(targets: &[(&str, Target)], records: Arc<dyn Records>) -> Context {
    let targets: IndexMap<String, Target> =
        targets.iter().map(|(name, t)| ((*name).to_owned(), t.clone())).collect();
    Context { targets: Arc::new(targets), records, ..Context::local(World::local()) }
}

/// Measures a check as a runbook would.
pub fn check(cx: &Context, kind: &str, params: Value) -> Evidence {
    let spec: CheckSpec = serde_json::from_value(json!({ kind: params })).unwrap();
    block_on(measure::measure(CheckId::from("test"), &spec, cx))
}

/// What was seen, for a failing assertion.
pub fn told(e: &Evidence) -> String {
    let mut text =
        format!("{} | saw: {} | wanted: {}", e.verdict().word(), e.outcome.observed, e.outcome.expected);
    for line in &e.outcome.details {
        text.push_str("\n      ");
        text.push_str(line);
    }
    text
}

/// One record.
pub struct One(pub Manifest);

impl Records for One {
    fn manifest(&self, _: &str) -> Result<Manifest, String> {
        Ok(self.0.clone())
    }
}

fn sql(order: &str) -> String {
    include_str!("data.sql").replace("ORDER", order)
}

/// Large tables are hashed by a compiled expression. The server is told that a small one is large; the other side's is
/// interpreted.
fn compiled() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    for cluster in [&old, &new] {
        cluster.psql("create database synapse");
        cluster.psql_in("synapse", &sql(""));
    }
    let cx = context(&[("old", old.target("synapse")), ("new", new.target("synapse"))]);
    let params = json!({ "source": "old", "target": "new", "databases": ["synapse"] });
    for rows in ["2e6", "1e9"] {
        let large = format!("update pg_class set reltuples = {rows} where relname in ('events', 'members')");
        new.psql_in("synapse", &large);
        let same = check(&cx, "data_matches", params.clone());
        assert_eq!(same.verdict(), Verdict::Pass, "{rows}: {}", told(&same));
    }
    new.psql_in("synapse", "update events set depth = depth + 1 where stream_ordering = 77");
    let differs = check(&cx, "data_matches", params);
    assert_eq!(differs.verdict(), Verdict::Fail, "{}", told(&differs));
    assert!(told(&differs).contains("stream_ordering=77"), "{}", told(&differs));
}

fn faults(from: Major) {
    let (old, new) = (Cluster::start(from), Cluster::start(Major::V15));
    old.psql("create database synapse");
    old.psql_in("synapse", &sql(""));
    new.psql("create database base");
    new.psql_in("base", &sql("order by md5(g::text)"));
    // Rows in another place than where they were written first.
    new.psql_in(
        "base",
        "update events set depth = depth where stream_ordering % 3 = 0; update members set left_at = left_at",
    );
    let fresh = || {
        new.psql("drop database if exists synapse");
        new.psql("create database synapse template base");
    };
    fresh();
    new.psql("alter database base is_template true; alter database base allow_connections false");
    let cx = context(&[("old", old.target("synapse")), ("new", new.target("synapse"))]);
    let params = json!({ "source": "old", "target": "new", "databases": ["synapse"] });

    let told_so_far: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let told_here = Arc::clone(&told_so_far);
    let watched = Context { progress: Arc::new(move |p| told_here.lock().unwrap().push(p)), ..cx.clone() };
    let same = check(&watched, "data_matches", params.clone());
    let last = told_so_far.lock().unwrap().last().cloned().unwrap();
    assert!(last.total >= Some(last.done) && last.done > 0, "{last:?}");
    assert_eq!(same.verdict(), Verdict::Pass, "identical data in another order: {}", told(&same));
    assert_eq!(same.outcome.seen.len(), 2);
    let same = check(&cx, "rows_match", params.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));

    let mut wrong = Vec::new();
    for together in FAULTS {
        fresh();
        for (_, fault, _) in *together {
            new.psql_in("synapse", &format!("set allow_system_table_mods = on; {fault}"));
        }
        let found = check(&cx, "data_matches", params.clone());
        let text = told(&found);
        for (name, _, words) in *together {
            if found.verdict() != Verdict::Fail || !words.iter().all(|word| text.contains(word)) {
                wrong.push(format!("{name}: wanted FAIL with {words:?}\n   got {text}"));
            }
        }
        if found.outcome.help.is_none() {
            wrong.push(format!("{}: no help", together[0].0));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} faults were not found as they should be:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    whole_cluster(&old, &new, &cx);
    records(&new, &cx);
}

/// All databases and the roles, not only one database.
fn whole_cluster(old: &Cluster, new: &Cluster, cx: &Context) {
    new.psql("drop database synapse");
    new.psql("alter database base is_template false; alter database base allow_connections true");
    new.psql("alter database base rename to synapse");
    let all = json!({ "source": "old", "target": "new" });
    let same = check(cx, "data_matches", all.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    let expect = |what: &str, broke: &dyn Fn(), mended: &dyn Fn(), words: &str| {
        broke();
        let found = check(cx, "data_matches", all.clone());
        mended();
        assert_eq!(found.verdict(), Verdict::Fail, "{what}: {}", told(&found));
        assert!(told(&found).contains(words), "{what}: {}", told(&found));
    };
    expect(
        "role",
        &|| drop(old.psql("create role lost createdb")),
        &|| drop(old.psql("drop role lost")),
        "no role lost",
    );
    expect(
        "password",
        &|| drop(new.psql("alter role synapse_user password null")),
        &|| drop(new.psql("alter role synapse_user password 'x'")),
        "role synapse_user has no password",
    );
    expect(
        "database",
        &|| drop(old.psql("create database mas")),
        &|| drop(old.psql("drop database mas")),
        "no database mas",
    );
    let floor = json!({ "source": "old", "target": "new", "at_least": true });
    new.psql_in("synapse", "insert into stats values ('new', 1, 'x'); create table newer (id int)");
    let more = check(cx, "rows_match", floor.clone());
    assert_eq!(more.verdict(), Verdict::Pass, "{}", told(&more));
    let exact = check(cx, "rows_match", all);
    assert_eq!(exact.verdict(), Verdict::Fail, "{}", told(&exact));
    let excepted = json!({ "source": "old", "target": "new", "except": [
        { "table": "public.stats", "reason": "written all the time" }, { "table": "newer", "reason": "new in this version" }] });
    let excepted = check(cx, "data_matches", excepted);
    assert_eq!(excepted.verdict(), Verdict::Pass, "{}", told(&excepted));
    assert!(told(&excepted).contains("excepted (written all the time): 601 rows"), "{}", told(&excepted));
    new.psql_in("synapse", "delete from members where user_id = '@u1'");
    let fewer = check(cx, "rows_match", floor);
    assert_eq!(fewer.verdict(), Verdict::Fail, "{}", told(&fewer));
    assert!(
        told(&fewer).contains("499 rows in synapse.public.members | wanted: at least 500 rows, as in `old`"),
        "{}",
        told(&fewer)
    );
}

/// A manifest survives its JSON, and a later change is found against it.
fn records(new: &Cluster, cx: &Context) {
    let target = new.target("synapse");
    let taken = block_on(data::record("new", &target, cx)).unwrap();
    let manifest = Manifest::load(&taken.save().unwrap()).unwrap();
    assert_eq!(manifest, taken);
    let mut older = manifest.clone();
    for relation in older.databases.values_mut().flat_map(|d| d.relations.values_mut()) {
        let older = |digest: String| format!("pg1:{}", digest.split_once(':').unwrap().1);
        relation.digest = relation.digest.take().map(older);
    }
    let params = json!({ "recorded": "before", "target": "new" });
    let cx = context_with(&[("new", target.clone())], Arc::new(One(older)));
    let older = check(&cx, "data_matches", params.clone());
    assert_eq!(older.verdict(), Verdict::Unknown, "{}", told(&older));
    assert!(told(&older).contains("recorded by another version of Holdpoint"), "{}", told(&older));
    assert_eq!(check(&cx, "rows_match", params.clone()).verdict(), Verdict::Pass, "counts mean the same");
    let cx = context_with(&[("new", target)], Arc::new(One(manifest)));
    let same = check(&cx, "data_matches", params.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    new.psql_in("synapse", "update media set body = 'gone' where media_id = 'm3'");
    let changed = check(&cx, "data_matches", params);
    assert_eq!(changed.verdict(), Verdict::Fail, "{}", told(&changed));
    assert!(told(&changed).contains("as in the record `before`"), "{}", told(&changed));
}

fn types(from: Major) {
    let (old, new) = (Cluster::start(from), Cluster::start(Major::V15));
    for cluster in [&old, &new] {
        cluster.psql(include_str!("data_types.sql"));
    }
    let cx = context(&[("old", old.target("postgres")), ("new", new.target("postgres"))]);
    let params = json!({ "source": "old", "target": "new" });
    let same = check(&cx, "data_matches", params.clone());
    assert_eq!(same.verdict(), Verdict::Pass, "{}", told(&same));
    new.psql(
        "do $$ declare c record; begin for c in select attname from pg_attribute where attrelid = 'types'::regclass and attnum > 0 \
         loop execute format('update %I set %I = null', 'only ' || c.attname, c.attname); end loop; end $$",
    );
    let columns =
        new.psql("select count(*) from pg_attribute where attrelid = 'types'::regclass and attnum > 0");
    let found = check(&cx, "data_matches", params);
    assert_eq!(found.outcome.facts["differences"].to_string(), columns, "{}", told(&found));
}

fn unknowns() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let cx = context(&[
        ("old", old.target("postgres")),
        ("new", new.target("postgres")),
        ("alias", Target { postgres: Some(old.conninfo_tcp("postgres")), ..Target::default() }),
        (
            "limited",
            Target {
                postgres: Some(new.conninfo("postgres").replace("user=postgres", "user=nobody_special")),
                ..Target::default()
            },
        ),
        (
            "file",
            Target { sqlite: Some(old.data().join("PG_VERSION").display().to_string()), ..Target::default() },
        ),
    ]);
    let all = json!({ "source": "old", "target": "new" });
    let unknown = |kind: &str, params: &Value, word: &str| {
        let evidence = check(&cx, kind, params.clone());
        assert_eq!(evidence.verdict(), Verdict::Unknown, "{word}: {}", told(&evidence));
        assert!(told(&evidence).contains(word), "wanted `{word}`: {}", told(&evidence));
    };
    let both = |word: &str| {
        unknown("data_matches", &all, word);
        unknown("rows_match", &all, word);
    };
    both("no table to compare");
    for cluster in [&old, &new] {
        cluster.psql("create table empty (id int primary key)");
    }
    both("nothing was compared with nothing");
    for cluster in [&old, &new] {
        cluster.psql("insert into empty select generate_series(1, 10)");
    }
    assert_eq!(check(&cx, "data_matches", all.clone()).verdict(), Verdict::Pass);

    // One object by two names.
    for kind in ["data_matches", "rows_match"] {
        let same = check(&cx, kind, json!({ "source": "old", "target": "alias" }));
        assert_eq!(same.verdict(), Verdict::Fail, "{}", told(&same));
        assert!(told(&same).contains("are one"), "{}", told(&same));
    }
    unknown("data_matches", &json!({ "source": "old", "target": "file" }), "not an SQLite database");
    unknown(
        "data_matches",
        &json!({ "source": "old", "target": "new", "databases": ["nowhere"] }),
        "nowhere",
    );
    unknown("data_matches", &json!({ "source": "old", "target": "new", "tables": ["nowhere"] }), "nowhere");
    unknown("data_matches", &json!({ "recorded": "before", "target": "new" }), "before");

    // What cannot be read is not "no difference".
    old.psql("create database closed");
    old.psql("alter database closed allow_connections false");
    both("database closed cannot be entered");
    old.psql("drop database closed");
    new.psql("create role nobody_special login in role pg_monitor");
    unknown("rows_match", &json!({ "source": "old", "target": "limited" }), "permission denied");
    new.psql("grant select on empty to nobody_special; alter table empty enable row level security");
    unknown("rows_match", &json!({ "source": "old", "target": "limited" }), "row-level security");
    new.psql("alter table empty disable row level security");

    // A lock that does not go away, and a time limit.
    let mut blocker = block_until_locked(&new);
    unknown("data_matches", &all, "lock timeout");
    unknown("data_matches", &json!({ "source": "old", "target": "new", "timeout": "300ms" }), "within 300ms");
    let _ = blocker.kill();
    let _ = blocker.wait();
    new.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'lock table%' and pid <> pg_backend_pid()");

    new.stop();
    both("`new`");
    old.stop();
    both("`old`");
}

/// Holds an exclusive lock on `empty` until it is killed.
fn block_until_locked(cluster: &Cluster) -> std::process::Child {
    let mut child = std::process::Command::new("psql")
        .args([
            "-XAtq",
            "-d",
            &cluster.conninfo("postgres"),
            "-c",
            "begin",
            "-c",
            "lock table empty in access exclusive mode",
            "-c",
            "select pg_sleep(600)",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..1000 {
        if cluster.psql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = 'empty'::regclass") == "1" {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = child.kill().and_then(|()| child.wait());
    panic!("the lock was not taken");
}
