//! Tables that come and go while they are read, as those of a background update do: what is compared is what stays.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdpoint::check::{Context, Verdict, data};
use holdpoint::runbook::Target;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::data::{One, check, context, context_with, told};
use crate::harness::{Cluster, Major, Need, Registry, block_on, eventually};

pub fn register(r: &mut Registry) {
    r.add("data::what_comes_and_goes_is_read_anew", &[Need::Pg15], anew);
    r.add("data::what_comes_and_goes_beside_sqlite_too", &[Need::Pg15], beside_sqlite);
}

/// A comparison reads the names of tables before this catalogue, and rows after it.
const BETWEEN: &str = "pg_attrdef";

/// Does each of these when somebody has read the names of tables and waits to read on, and not before.
fn meddle(cluster: &Cluster, each: &[&str]) -> Child {
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &cluster.conninfo("postgres")]);
    for sql in each {
        psql.args(["-c", "begin", "-c", "select txid_current()"]);
        psql.args(["-c", &format!("lock table {BETWEEN} in access exclusive mode")]);
        psql.args([
            "-c",
            &format!(
                "do $$ begin for n in 1..2000 loop exit when exists (select from pg_locks where not granted \
                 and relation = '{BETWEEN}'::regclass); perform pg_sleep(0.01); end loop; end $$"
            ),
        ]);
        psql.args(["-c", sql, "-c", "commit"]);
    }
    let meddler = psql.stdout(Stdio::null()).spawn().unwrap();
    eventually(Duration::from_secs(10), "the meddler is ready", || {
        cluster.psql(&format!(
            "select count(*) from pg_locks where granted and mode = 'AccessExclusiveLock' and relation = '{BETWEEN}'::regclass"
        )) == "1"
    });
    meddler
}

/// What a check says that passes while this happens.
#[track_caller]
fn passes(cluster: &Cluster, cx: &Context, kind: &str, params: &Value, during: &str) -> String {
    if during.contains("gone") {
        cluster.psql("create table gone (id int)");
    }
    let mut meddler = meddle(cluster, &[during]);
    // Somebody else ends after the meddler has begun: the newest transaction is not the one that matters.
    cluster.psql("select txid_current()");
    let seen = check(cx, kind, params.clone());
    assert!(meddler.wait().unwrap().success(), "{during}");
    let text = told(&seen);
    assert_eq!(seen.verdict(), Verdict::Pass, "{during}: {text}");
    text
}

const TABLES: &str = "create table t (id int primary key); insert into t select generate_series(1, 1000); \
    create materialized view m as table t; create table u as table t";

/// The same rows in another table of the same name: a snapshot made before sees an empty one.
const REPLACE: &str = "create table other as table t; drop materialized view m; drop table t; \
    alter table other rename to t; alter table t add primary key (id); create materialized view m as table t";

fn anew() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(TABLES);
    let alone = context(&[("old", cluster.target("postgres"))]);
    let before = block_on(data::record("old", &cluster.target("postgres"), &alone)).unwrap();
    let cx = context_with(&[("new", cluster.target("postgres"))], Arc::new(One(before)));
    let floor = json!({ "recorded": "before", "target": "new", "at_least": true });
    let whole = json!({ "recorded": "before", "target": "new" });

    for (kind, params, during, because) in [
        ("rows_match", &floor, "drop table gone", "public.gone was dropped"),
        ("data_matches", &whole, "drop table gone", "public.gone was dropped"),
        ("data_matches", &whole, REPLACE, "was emptied or replaced"),
        // Nothing has locked this one, so that nothing fails: without a second look it would have no rows.
        (
            "rows_match",
            &floor,
            "create table other as table u; drop table u; alter table other rename to u",
            "public.u was emptied or replaced",
        ),
        ("rows_match", &floor, "drop table gone; refresh materialized view m", "was"),
    ] {
        let text = passes(&cluster, &cx, kind, params, during);
        assert!(
            text.contains("database postgres was read anew: ") && text.contains(because),
            "{during}: {text}"
        );
        assert!(text.contains("3,000 rows"), "{during}: {text}");
    }

    // Something else each time: nothing is known of such a database.
    cluster.psql("create table gone_1 (id int); create table gone_2 (id int); create table gone_3 (id int)");
    let mut meddler = meddle(&cluster, &["drop table gone_1", "drop table gone_2", "drop table gone_3"]);
    let seen = check(&cx, "rows_match", floor.clone());
    assert!(meddler.wait().unwrap().success());
    let text = told(&seen);
    assert_eq!(seen.verdict(), Verdict::Unknown, "{text}");
    for words in ["public.gone_3 was dropped while it was read, at the last of 3 attempts", "does not exist"]
    {
        assert!(text.contains(words), "{text}");
    }

    // A table that is missed is missed, whenever it went.
    let mut meddler = meddle(&cluster, &["drop materialized view m; drop table t"]);
    let seen = check(&cx, "rows_match", floor);
    assert!(meddler.wait().unwrap().success());
    assert_eq!(seen.verdict(), Verdict::Fail, "{}", told(&seen));
}

fn beside_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old.db");
    let rows = "with recursive n(id) as (select 1 union all select id + 1 from n where id < 1000) insert into t select id from n";
    Connection::open(&old)
        .unwrap()
        .execute_batch(&format!("create table t (id integer primary key); {rows}"))
        .unwrap();
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create table t (id int8 primary key); insert into t select generate_series(1, 1000)");
    let old = Target { sqlite: Some(old.display().to_string()), ..Target::default() };
    let cx = context(&[("old", old), ("new", cluster.target("postgres"))]);
    let replace = "create table other as table t; drop table t; alter table other rename to t; \
        alter table t add primary key (id)";
    let floor = json!({ "source": "old", "target": "new", "at_least": true });
    let whole = json!({ "source": "old", "target": "new" });
    for (kind, params, during, because) in [
        ("rows_match", &floor, "drop table gone", "public.gone was dropped"),
        ("data_matches", &whole, "drop table gone", "public.gone was dropped"),
        ("data_matches", &whole, replace, "public.t was emptied or replaced"),
    ] {
        let text = passes(&cluster, &cx, kind, params, during);
        assert!(text.contains("was read anew: ") && text.contains(because), "{during}: {text}");
    }
}
