//! The proof that data is the same, on two servers of different major versions. What it finds in detail is in
//! `tests/it/data*.rs`.

use holdpoint::check::Verdict::{Fail, Pass, Unknown};
use holdpoint::check::{Context, Outcome};
use serde_json::json;

use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};

const NEEDS: &[Need] = &[Need::Pg15, Need::Pg18];

pub fn register(r: &mut Registry) {
    verdict(r, "data_matches", Pass, NEEDS, data_passes);
    verdict(r, "data_matches", Fail, NEEDS, data_fails);
    verdict(r, "data_matches", Unknown, NEEDS, data_unknown);
    verdict(r, "rows_match", Pass, NEEDS, rows_pass);
    verdict(r, "rows_match", Fail, NEEDS, rows_fail);
    verdict(r, "rows_match", Unknown, NEEDS, rows_unknown);
}

/// A server's old and new cluster after a good copy, in which the rows came in another order.
struct Moved {
    old: Cluster,
    new: Cluster,
    cx: Context,
}

fn moved() -> Moved {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V18));
    for (cluster, order) in [(&old, "g"), (&new, "md5(g::text)")] {
        cluster.psql("create database synapse");
        cluster.psql_in(
            "synapse",
            &format!(
                "create table events (id bigint primary key, body text, depth int); \
                 insert into events select g, case when g % 5 > 0 then md5(g::text) end, g / 3 from generate_series(1, 2000) g order by {order}; \
                 create table sessions (token text, seen timestamptz); \
                 insert into sessions select 't' || g, timestamptz '2024-01-01' + g * interval '1 s' from generate_series(1, 300) g order by {order}"
            ),
        );
    }
    let cx = context([("old", old.target("synapse")), ("new", new.target("synapse"))]);
    Moved { old, new, cx }
}

fn data_passes() -> Vec<Outcome> {
    let it = moved();
    let same = look(&it.cx, "data_matches", json!({ "source": "old", "target": "new" }));
    is(&same, Pass, "2 tables, 2,300 rows: counts, contents and catalogue are equal");
    it.new.psql_in("synapse", "delete from sessions where token < 't2'");
    let excepted = json!({ "source": "old", "target": "new",
        "except": [{ "table": "sessions", "reason": "pruned every hour" }] });
    let excepted = look(&it.cx, "data_matches", excepted);
    is(&excepted, Pass, "1 table, 2,000 rows");
    vec![same, excepted]
}

fn data_fails() -> Vec<Outcome> {
    let it = moved();
    let params = json!({ "source": "old", "target": "new" });
    it.new.psql_in("synapse", "update events set body = '' where id = 35");
    let changed = look(&it.cx, "data_matches", params.clone());
    is(&changed, Fail, "other contents in synapse.public.events (2,000 rows): 1 row differs: id=35");
    it.new.psql_in("synapse", "truncate sessions");
    let emptied = look(&it.cx, "data_matches", params);
    is(&emptied, Fail, "0 rows in synapse.public.sessions");
    vec![changed, emptied]
}

fn data_unknown() -> Vec<Outcome> {
    let it = moved();
    it.new.psql("create role reader login in role pg_monitor");
    let mut limited = it.new.target("synapse");
    limited.postgres = limited.postgres.map(|conninfo| conninfo.replace("user=postgres", "user=reader"));
    let cx = context([("old", it.old.target("synapse")), ("new", limited)]);
    let unreadable = look(&cx, "data_matches", json!({ "source": "old", "target": "new" }));
    is(&unreadable, Unknown, "permission denied");
    it.old.stop();
    let gone = look(&it.cx, "data_matches", json!({ "source": "old", "target": "new" }));
    is(&gone, Unknown, "`old`");
    vec![unreadable, gone]
}

fn rows_pass() -> Vec<Outcome> {
    let it = moved();
    let same = look(&it.cx, "rows_match", json!({ "source": "old", "target": "new" }));
    is(&same, Pass, "2 tables, 2,300 rows: counts are equal");
    // The new server is in use: messages come in, and old sessions are pruned.
    it.new.psql_in(
        "synapse",
        "insert into events values (2001, 'new', 1); delete from sessions where token < 't2'",
    );
    let floor = json!({ "source": "old", "target": "new", "at_least": true,
        "except": [{ "table": "public.sessions", "reason": "pruned every hour" }] });
    let floor = look(&it.cx, "rows_match", floor);
    is(&floor, Pass, "1 table, 2,001 rows: none has fewer");
    let told = floor.details.iter().find(|line| line.contains("excepted (pruned every hour)"));
    assert!(told.is_some_and(|line| line.contains("189 rows in synapse.public.sessions")), "{floor:#?}");
    vec![same, floor]
}

fn rows_fail() -> Vec<Outcome> {
    let it = moved();
    it.new.psql_in("synapse", "delete from sessions where token < 't2'");
    let floor = json!({ "source": "old", "target": "new", "at_least": true });
    let fewer = look(&it.cx, "rows_match", floor.clone());
    is(&fewer, Fail, "189 rows in synapse.public.sessions");
    it.new.psql_in("synapse", "drop table sessions");
    let excepted = json!({ "source": "old", "target": "new", "at_least": true,
        "except": [{ "table": "events", "reason": "another table than the one that is gone" }] });
    let gone = look(&it.cx, "rows_match", excepted);
    is(&gone, Fail, "no table synapse.public.sessions");
    vec![fewer, gone]
}

fn rows_unknown() -> Vec<Outcome> {
    let it = moved();
    let params = json!({ "source": "old", "target": "new" });
    for cluster in [&it.old, &it.new] {
        cluster.psql_in("synapse", "truncate events, sessions");
    }
    let nothing = look(&it.cx, "rows_match", params.clone());
    is(&nothing, Unknown, "nothing was compared with nothing");
    it.new.stop();
    let gone = look(&it.cx, "rows_match", params);
    is(&gone, Unknown, "`new`");
    vec![nothing, gone]
}
