mod hypopg;

use std::time::{Duration, Instant};

use holdpoint::check::{Context, Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::{caught_up, standby, until};
use crate::harness::{Cluster, Major, Need, Registry};

const DROP: &str = "index_drop_safe";
const PLAN: &str = "plan_without_index";

pub fn register(r: &mut Registry) {
    verdict(r, PLAN, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().flat_map(good_enough).collect()
    });
    verdict(r, PLAN, Verdict::Fail, &[Need::Pg15], worse);
    verdict(r, PLAN, Verdict::Unknown, &[Need::Pg15], no_plans);
    verdict(r, DROP, Verdict::Pass, &[Need::Pg15, Need::Pg18], may_go);
    verdict(r, DROP, Verdict::Fail, &[Need::Pg15], must_stay);
    verdict(r, DROP, Verdict::Unknown, &[Need::Pg15], not_known);
    hypopg::register(r);
}

/// What was in January 2017 a table and its index, with 150,000 rows; a parent and a child; and indexes of every sort.
const TABLES: &str = "\
create table actions (room text, event text, who text, at int);
insert into actions select 'r' || g % 150, 'e' || g, 'u' || g % 50, g from generate_series(1, 150000) g;
create index actions_event on actions (room, event);
create index actions_at on actions (at);
create index actions_who on actions (lower(who));
create unique index actions_unique on actions (room, event, who);
create table parent (id int primary key);
insert into parent select generate_series(1, 1000);
create table child (id int, parent_id int references parent);
insert into child select g, 1 + g % 1000 from generate_series(1, 2000) g;
create index child_parent on child (parent_id);
create table spare (a int, b int); insert into spare values (1, 1); create index spare_a on spare (a);
create table never (a int) with (autovacuum_enabled = off); create index never_a on never (a);
create table parts (a int) partition by list (a); create index parts_a on parts (a);
analyze actions, parent, child, spare";

fn cluster(major: Major) -> (Cluster, Context) {
    let cluster = Cluster::start(major);
    cluster.psql(TABLES);
    let cx = context([("db", cluster.target("postgres"))]);
    (cluster, cx)
}

fn with(cx: &Context, kind: &str, index: &str, more: Value) -> Outcome {
    let mut params = json!({ "target": "db", "index": index });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    look(cx, kind, params)
}

const REDACT: &str = "delete from actions where room = 'r7' and event = 'e7'";

/// The index is as it was, and nothing was executed.
fn untouched(cluster: &Cluster) {
    assert_eq!(
        cluster.psql(
            "select (select count(*) from pg_index where not indisvalid and indexrelid <> 'parts_a'::regclass), \
             (select count(*) from actions), (select count(*) from parent), \
             (select count(*) from pg_stat_activity where application_name like 'holdpoint%')"
        ),
        "0|150000|1000|0"
    );
}

fn good_enough(major: Major) -> Vec<Outcome> {
    let (cluster, cx) = cluster(major);
    // It is not used, and there is nothing to conclude from it: no need to hide it.
    let unused = with(&cx, PLAN, "actions_at", json!({ "statements": [REDACT] }));
    is(&unused, Verdict::Pass, "1 statement with a plan that is good enough without public.actions_at");
    // It is used, and another one does as well.
    let all = json!({ "statements": [REDACT, "select * from actions where room = 'r1' limit 3"], "method": "rolled_back" });
    let other = with(&cx, PLAN, "public.actions_event", all);
    is(&other, Verdict::Pass, "2 statements");
    assert!(other.details.iter().any(|line| line.contains("with the index, ")), "{other:#?}");
    untouched(&cluster);
    vec![unused, other]
}

fn worse() -> Vec<Outcome> {
    let (cluster, cx) = cluster(Major::V15);
    cluster.psql("drop index actions_unique");
    let redact = json!({ "statements": ["select 1", REDACT], "method": "rolled_back" });
    let scan = with(&cx, PLAN, "actions_event", redact);
    is(
        &scan,
        Verdict::Fail,
        "without public.actions_event: `delete from actions where room = ? and event = ?`: cost ",
    );
    is(&scan, Verdict::Fail, " times); reads all of public.actions, about 150,000 rows");
    let loose = json!({ "statements": [REDACT], "method": "rolled_back", "max_cost_ratio": 1e6, "max_seq_rows": 1000000 });
    is(&with(&cx, PLAN, "actions_event", loose), Verdict::Pass, "good enough");
    cluster.psql("create unique index actions_unique on actions (room, event, who)");
    let upsert = "insert into actions values ('r', 'e', 'u', 1) on conflict (room, event, who) do nothing";
    let arbiter =
        with(&cx, PLAN, "actions_unique", json!({ "statements": [upsert], "method": "rolled_back" }));
    is(&arbiter, Verdict::Fail, "its `on conflict` rests on the index, and fails without it");
    let trigger =
        with(&cx, PLAN, "child_parent", json!({ "statements": ["delete from parent where id = 3"] }));
    is(
        &trigger,
        Verdict::Fail,
        "each row deleted from public.parent makes the foreign key child_parent_id_fkey read all of",
    );
    untouched(&cluster);
    // One that no plan can use any more: there is no plan with it to compare with, and that is no pass.
    let valid = |yes: bool| {
        format!("update pg_index set indisvalid = {yes} where indexrelid = 'actions_event'::regclass")
    };
    cluster.psql("drop index actions_unique");
    cluster.psql(&valid(false));
    let invalid = |statement: &str| {
        with(&cx, PLAN, "actions_event", json!({ "statements": [statement], "method": "rolled_back" }))
    };
    let hidden = invalid(REDACT);
    is(&hidden, Verdict::Fail, "the index is invalid, so this is without it; reads all of public.actions");
    is(&invalid("select 1 from parent where id = 3"), Verdict::Pass, "1 statement");
    cluster.psql(&valid(true));
    cluster.psql("create unique index actions_unique on actions (room, event, who)");
    untouched(&cluster);
    vec![scan, arbiter, trigger, hidden]
}

fn no_plans() -> Vec<Outcome> {
    let (cluster, cx) = cluster(Major::V15);
    let ask = |index: &str, statement: &str| with(&cx, PLAN, index, json!({ "statements": [statement] }));
    cluster.psql("drop index actions_unique");
    let mut seen = Vec::new();
    for (index, statement, words) in [
        ("actions_event", REDACT, "what it would be without it cannot be measured here"),
        ("actions_who", "select 1 from actions where at = 1", "its uniqueness or its statistics"),
        ("actions_at", "select * from nowhere", "relation \"nowhere\" does not exist"),
        ("actions_at", "select * from actions where at = $1", "there is no parameter $1"),
        ("actions_at", "select 1; delete from actions", "cannot insert multiple commands"),
        ("actions_at", "analyze actions", "syntax error"),
        ("never_a", "select 1 from never", "was never analysed"),
        ("parts_a", "select 1 from parts", "is the index of a partitioned table"),
        ("no_such", REDACT, "there is no index no_such in database postgres"),
    ] {
        let outcome = ask(index, statement);
        is(&outcome, Verdict::Unknown, words);
        seen.push(outcome);
    }
    // Neither in the session that could write.
    let evil = json!({ "statements": ["select 1; commit; delete from actions"], "method": "rolled_back" });
    seen.push(with(&cx, PLAN, "actions_event", evil));
    cluster.psql("create schema other; create table other.t (a int); create index actions_at on other.t (a)");
    let twice = ask("actions_at", REDACT);
    is(
        &twice,
        Verdict::Unknown,
        "several indexes are called actions_at: other.actions_at, public.actions_at",
    );
    untouched(&cluster);
    cluster.stop();
    seen.extend([twice, ask("actions_event", REDACT)]);
    seen
}

fn may_go() -> Vec<Outcome> {
    let (primary, _) = cluster(Major::V15);
    let replica = standby(&primary);
    caught_up(&primary);
    let cx = context([("db", primary.target("postgres")), ("replica", replica.target("postgres"))]);
    std::thread::sleep(Duration::from_millis(1100));
    let both = json!({ "replicas": ["replica"], "min_stats_age": "1s", "statements": [REDACT] });
    let seen = with(&cx, DROP, "actions_at", both);
    is(&seen, Verdict::Pass, "db: no scan, counted for ");
    is(&seen, Verdict::Pass, "; replica: no scan, counted for ");
    let ddl = "is made again by: CREATE INDEX actions_at ON public.actions USING btree (at)";
    assert!(seen.details.iter().any(|line| line.ends_with(ddl)), "{seen:#?}");
    assert_eq!(seen.seen.len(), 2);
    // From 16 on a scan of long ago is told from one of today.
    let (alone, cx) = cluster(Major::V18);
    alone.psql("set enable_seqscan = off; select count(*) from actions where at = 1");
    counted(&alone);
    let age = |span: &str| with(&cx, DROP, "actions_at", json!({ "min_stats_age": span }));
    is(&age("1h"), Verdict::Fail, "db: 1 scan, the last ");
    std::thread::sleep(Duration::from_millis(300));
    vec![seen, age("200ms")]
}

/// A session tells what it scanned when it ends, which its client does not wait for.
fn counted(cluster: &Cluster) {
    until(cluster, "select idx_scan from pg_stat_user_indexes where indexrelname = 'actions_at'", "1");
}

fn must_stay() -> Vec<Outcome> {
    let (primary, _) = cluster(Major::V15);
    let replica = standby(&primary);
    caught_up(&primary);
    let cx = context([("db", primary.target("postgres")), ("replica", replica.target("postgres"))]);
    let measure = |index: &str, more: Value| {
        let mut params = json!({ "replicas": ["replica"], "min_stats_age": "1ms" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(&cx, DROP, index, params)
    };
    let none = json!({});
    is(&measure("actions_at", none.clone()), Verdict::Pass, "db: no scan");
    // Only the replica uses it.
    replica.psql("set enable_seqscan = off; select count(*) from actions where at = 1");
    counted(&replica);
    let reports = measure("actions_at", none.clone());
    is(&reports, Verdict::Fail, "keep actions_at: replica: 1 scan, counted for ");
    // Nobody uses it, as the statistics say; the statement that runs once a month would.
    primary.psql("drop index actions_unique");
    caught_up(&primary);
    let redact = measure("actions_event", json!({ "statements": [REDACT] }));
    is(&redact, Verdict::Fail, "`delete from actions where room = ? and event = ?`: its plan uses the index");
    let slow = measure("actions_event", json!({ "statements": [REDACT], "method": "rolled_back" }));
    is(&slow, Verdict::Fail, "reads all of public.actions, about 150,000 rows");
    let key = measure("child_parent", none.clone());
    is(&key, Verdict::Fail, "the foreign key child_parent_id_fkey would have no index");
    primary.psql("create index child_parent_id on child (parent_id, id)");
    is(&measure("child_parent", none.clone()), Verdict::Pass, "no scan");
    let primary_key = measure("parent_pkey", none.clone());
    is(&primary_key, Verdict::Fail, "keep parent_pkey: it is the primary key (and ");
    let told = |words: &str| {
        assert!(primary_key.details.iter().any(|line| line.contains(words)), "{primary_key:#?}")
    };
    told("against: the constraint parent_pkey of public.parent rests on it");
    told("against: the constraint child_parent_id_fkey of public.child rests on it");
    primary.psql(
        "create unique index spare_u on spare (b); alter table spare alter b set not null; \
         alter table spare replica identity using index spare_u; cluster spare using spare_a; \
         create table shifts (during int4range, exclude using gist (during with &&))",
    );
    caught_up(&primary);
    let mut seen = vec![reports, redact, slow, key, primary_key];
    for (index, words) in [
        ("spare_u", "it is the table's replica identity"),
        ("spare_a", "the table is clustered by it"),
        ("shifts_during_excl", "it enforces an exclusion constraint"),
    ] {
        seen.push(measure(index, none.clone()));
        is(seen.last().unwrap(), Verdict::Fail, words);
    }
    seen
}

fn not_known() -> Vec<Outcome> {
    let (primary, _) = cluster(Major::V15);
    let replica = standby(&primary);
    let other = Cluster::start(Major::V15);
    let cx = context([
        ("db", primary.target("postgres")),
        ("replica", replica.target("postgres")),
        ("again", replica.target("postgres")),
        ("other", other.target("postgres")),
    ]);
    let measure = |more: Value| with(&cx, DROP, "actions_at", more);
    let young = measure(json!({ "replicas": ["replica"] }));
    is(&young, Verdict::Unknown, "db: counting began only ");
    let unnamed = measure(json!({ "min_stats_age": "1ms" }));
    is(&unnamed, Verdict::Unknown, "1 standby is connected, and 0 named");
    let stranger = measure(json!({ "min_stats_age": "1ms", "replicas": ["replica", "other"] }));
    is(&stranger, Verdict::Unknown, "other is no physical replica of db: PostgreSQL 15 at");
    let twice = measure(json!({ "min_stats_age": "1ms", "replicas": ["replica", "again"] }));
    is(&twice, Verdict::Unknown, "again is a server that was named already");
    let itself = look(&cx, DROP, json!({ "target": "replica", "index": "actions_at" }));
    is(&itself, Verdict::Unknown, "replica is a standby, not the primary");
    let counting = Instant::now();
    std::thread::sleep(Duration::from_millis(2100));
    let both =
        |age: Duration| json!({ "min_stats_age": format!("{}ms", age.as_millis()), "replicas": ["replica"] });
    is(&measure(both(Duration::from_secs(2))), Verdict::Pass, "db: no scan, counted for ");
    // A crash empties the counters, and the database's own `stats_reset` does not tell.
    primary.stop_mode("immediate");
    primary.restart();
    assert_eq!(
        primary.psql("select stats_reset is null from pg_stat_database where datname = 'postgres'"),
        "t"
    );
    // However long it took until now, what is counted since the crash was counted for less.
    let crashed = measure(both(counting.elapsed()));
    is(&crashed, Verdict::Unknown, "db: counting began only ");
    replica.stop();
    let away = measure(json!({ "min_stats_age": "1ms", "replicas": ["replica"] }));
    is(&away, Verdict::Unknown, "replica: PostgreSQL at ");
    primary.stop();
    vec![young, unnamed, stranger, twice, itself, crashed, away, measure(both(Duration::from_secs(2)))]
}
