use holdpoint::check::{Outcome, Verdict};
use serde_json::json;

use super::super::{context, is, look, verdict};
use super::{TABLE, past_the_index};
use crate::harness::{Cluster, Major, Need, Registry};

const KIND: &str = "no_duplicate_keys";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().flat_map(sound).collect()
    });
    verdict(r, KIND, Verdict::Fail, &[Need::Pg15], duplicates);
    verdict(r, KIND, Verdict::Unknown, &[Need::Pg15], not_seen);
}

/// What looks like a duplicate and is none.
fn sound(major: Major) -> Vec<Outcome> {
    let cluster = Cluster::start(major);
    cluster.psql(
        "create table odd (a text, b text, n int, k int, \"A\" int, v text); \
         create unique index on odd (a, b); create unique index on odd (lower(b)) where n > 0; \
         create unique index on odd (n, k, \"A\"); create unique index on odd (a text_pattern_ops, (n + 1)) include (v); \
         insert into odd values ('x', null, 1, null, 1, 'a'), ('x', null, 2, null, 1, 'a'), ('y', 'B', 0, 1, 1, 'b'), \
           ('z', 'b', 0, 2, 2, 'b'), ('a', 'é', 5, 5, 5, 'c'), ('a', 'E', 6, 5, 5, 'c'); \
         create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         create table c (loose text collate ci, strict text); create unique index on c (loose collate \"C\"); \
         insert into c values ('a'), ('A'); \
         create table parent (id int primary key); create table child () inherits (parent); \
         insert into parent values (1); insert into child values (1); \
         create table p (id int primary key) partition by hash (id); \
         create table p0 partition of p for values with (modulus 1, remainder 0); insert into p values (1)",
    );
    let cx = context([("db", cluster.target("postgres"))]);
    let all = look(&cx, KIND, json!({ "target": "db" }));
    is(&all, Verdict::Pass, "in 2 databases looked at");
    assert!(all.facts["looked_at"].as_u64().unwrap() >= 200, "{all:#?}");
    let ours = look(&cx, KIND, json!({ "target": "db", "catalogs": false }));
    is(&ours, Verdict::Pass, "7 unique indexes in 2 databases");
    let one = look(&cx, KIND, json!({ "target": "db", "tables": ["public.p"] }));
    is(&one, Verdict::Pass, "1 unique index in 2 databases");
    vec![all, ours, one]
}

fn duplicates() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(TABLE);
    past_the_index(&cluster, "t_pkey", "insert into t select g, 'again' from generate_series(5, 9) g");
    let cx = context([("db", cluster.target("postgres"))]);
    let found = look(&cx, KIND, json!({ "target": "db" }));
    is(
        &found,
        Verdict::Fail,
        "1 unique index with duplicate keys: public.t (index t_pkey) in database postgres: 5 keys in 10 rows, as (",
    );
    // The same question with the default plan: the index answers, and lies.
    let default = "set enable_seqscan = off; set enable_hashagg = off; \
                   select count(*) from (select id from t group by id having count(*) > 1) d";
    assert_eq!(cluster.psql(default), "0");
    // In the system's own tables, by expression, under a predicate, without regard to NULL, and by a loose collation.
    cluster.psql(
        "create table odd (a int, b text, c int); create unique index odd_e on odd (lower(b)) where a > 0; \
         create unique index odd_n on odd (c) nulls not distinct; \
         create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         create table loose (t text collate ci unique)",
    );
    past_the_index(&cluster, "loose_t_key", "insert into loose values ('a'), ('A')");
    past_the_index(&cluster, "odd_e", "insert into odd values (1, 'x', 1), (2, 'X', 2), (0, 'X', 3)");
    past_the_index(&cluster, "odd_n", "insert into odd values (9, '1', null), (9, '2', null)");
    past_the_index(
        &cluster,
        "pg_namespace_nspname_index",
        "insert into pg_namespace select 99999, 'public', nspowner from pg_namespace where nspname = 'public'",
    );
    let more = look(&cx, KIND, json!({ "target": "db" }));
    is(&more, Verdict::Fail, "5 unique indexes with duplicate keys");
    for words in [
        "odd_e) in database postgres: 1 key in 2 rows, as (x)",
        "odd_n) in database postgres: 1 key in 2 rows, as ()",
        "loose_t_key) in database postgres: 1 key in 2 rows",
        "pg_catalog.pg_namespace (index pg_namespace_nspname_index)",
    ] {
        assert!(more.details.iter().any(|line| line.contains(words)), "{words}: {more:#?}");
    }
    vec![found, more]
}

fn not_seen() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    let cx = context([("db", cluster.target("postgres"))]);
    let nothing = look(&cx, KIND, json!({ "target": "db", "catalogs": false }));
    is(&nothing, Verdict::Unknown, "there is no unique index to look at");
    cluster.psql(&format!(
        "{TABLE} create role app login; create table mine (id int primary key); grant select on mine to app; \
         alter table mine enable row level security; grant pg_monitor to app"
    ));
    let target = holdpoint::runbook::Target {
        postgres: Some(cluster.conninfo("postgres").replace("user=postgres", "user=app")),
        ..Default::default()
    };
    let app = context([("db", target)]);
    let denied = look(&app, KIND, json!({ "target": "db", "tables": ["t"] }));
    is(&denied, Verdict::Unknown, "permission denied for table t");
    let hidden = look(&app, KIND, json!({ "target": "db", "tables": ["mine"] }));
    is(&hidden, Verdict::Unknown, "row-level security");
    cluster.stop();
    vec![nothing, denied, hidden, look(&cx, KIND, json!({ "target": "db" }))]
}
