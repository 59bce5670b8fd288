//! Records, and sides that cannot be read or are being written.

use std::path::Path;
use std::sync::Arc;

use holdpoint::check::data::{self, manifest::Manifest};
use holdpoint::check::{Context, Verdict};
use holdpoint::runbook::Target;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::data::{One, context, context_with};
use super::{expect, file, run, with};
use crate::harness::{Cluster, block_on};

/// A record of either side is as good as the side itself, where it can be.
pub fn recorded(server: &Cluster, old: &Path, cx: &Context, all: &Value) {
    let (lite, pg) = (file(old), server.target("synapse"));
    let recorded = |name: &str, target: &Target, live: (&str, &Target)| {
        let taken = block_on(data::record(name, target, cx)).unwrap();
        let manifest = Manifest::load(&taken.save().unwrap()).unwrap();
        assert_eq!(manifest, taken);
        context_with(&[(live.0, live.1.clone())], Arc::new(One(manifest)))
    };
    let mut params = all.clone();
    params.as_object_mut().unwrap().remove("source");
    params["recorded"] = "before".into();
    let before = recorded("old", &lite, ("new", &pg));
    // What was rounded cannot be seen in a record, and what was excepted is.
    expect(
        &before,
        "data_matches",
        &params,
        Verdict::Unknown,
        &["contents of synapse.public.room_stats could not be compared", "real in"],
    );
    let rounded = with(&params, json!({ "table": "room_stats", "rows": true, "reason": "other types" }));
    expect(
        &before,
        "data_matches",
        &rounded,
        Verdict::Pass,
        &["counts and contents are equal", "recorded at"],
    );
    expect(
        &before,
        "rows_match",
        &json!({ "recorded": "before", "target": "new", "except": all["except"] }),
        Verdict::Pass,
        &["counts are equal"],
    );
    server.psql_in("synapse", "update events set depth = 0 where stream_ordering = 5");
    expect(
        &before,
        "data_matches",
        &rounded,
        Verdict::Fail,
        &["other contents in synapse.public.events", "as in the record `before`"],
    );
    server.psql_in(
        "synapse",
        "update events set depth = 5 where stream_ordering = 5; select setval('events_stream_seq', 5)",
    );
    expect(&before, "data_matches", &rounded, Verdict::Fail, &["events_stream_seq is behind"]);
    server.psql_in("synapse", "select setval('events_stream_seq', 1500)");

    let mut params =
        json!({ "recorded": "before", "target": "old", "databases": ["synapse"], "except": all["except"] });
    let after = recorded("new", &pg, ("old", &lite));
    expect(&after, "data_matches", &params, Verdict::Pass, &["counts and contents are equal"]);
    params.as_object_mut().unwrap().remove("databases");
    expect(
        &after,
        "data_matches",
        &params,
        Verdict::Unknown,
        &["the record has several databases (base, synapse)"],
    );
    params["databases"] = json!(["synapse"]);
    run(old, "update devices set display_name = display_name || '.' where device_id = 'D3'");
    expect(&after, "data_matches", &params, Verdict::Fail, &["other contents in devices"]);
    run(
        old,
        "update devices set display_name = substr(display_name, 1, length(display_name) - 1) where device_id = 'D3'",
    );

    let alone = context(&[("old", lite.clone())]);
    let taken = block_on(data::record("old", &lite, &alone)).unwrap();
    let alone = context_with(&[("new", pg)], Arc::new(One(taken)));
    expect(&alone, "data_matches", &rounded, Verdict::Unknown, &["no target of the other engine was known"]);
}

/// What cannot be read is unknown, and what is written meanwhile does not matter.
pub fn sources(server: &Cluster, old: &Path, dir: &Path, all: &Value) {
    let path = |name: &str| dir.join(name);
    std::fs::copy(old, path("whole.db")).unwrap();
    let mut bytes = std::fs::read(path("whole.db")).unwrap();
    for at in (8..bytes.len() / 4096).step_by(3) {
        bytes[at * 4096..at * 4096 + 64].fill(0xff);
    }
    std::fs::write(path("corrupt.db"), bytes).unwrap();
    std::fs::write(path("text.db"), "not a database, but long enough to have a header of a hundred bytes or more, as a file would have it").unwrap();
    run(&path("locked.db"), "pragma journal_mode = delete; create table t (id)");
    run(&path("empty.db"), "create table t (id)");
    server.psql("create database empty");
    server.psql_in("empty", "create table t (id text)");
    server.psql("create database latin encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    let names = ["corrupt", "text", "locked", "gone", "empty", "whole"];
    let mut targets: Vec<(&str, Target)> =
        names.iter().map(|n| (*n, file(&path(&format!("{n}.db"))))).collect();
    targets.push(("new", server.target("synapse")));
    targets.push(("nothing", server.target("empty")));
    targets.push(("latin", server.target("latin")));
    targets.push((
        "down",
        Target { postgres: Some("host=/nowhere dbname=x user=postgres".into()), ..Target::default() },
    ));
    let cx = context(&targets);
    let between = |source: &str, target: &str| {
        let mut params = all.clone();
        params["source"] = source.into();
        params["target"] = target.into();
        params
    };
    let writer = Connection::open(path("locked.db")).unwrap();
    writer
        .execute_batch("pragma locking_mode = exclusive; begin exclusive; insert into t values (2)")
        .unwrap();
    for (source, words) in [
        ("text", "`text`: "),
        ("gone", "there is no file"),
        ("locked", "`locked`: database is locked"),
        ("corrupt", "`corrupt`: "),
    ] {
        expect(&cx, "data_matches", &between(source, "new"), Verdict::Unknown, &[words]);
        expect(&cx, "data_matches", &between("new", source), Verdict::Unknown, &[words]);
    }
    drop(writer);
    expect(&cx, "data_matches", &between("whole", "down"), Verdict::Unknown, &["`down`: "]);
    expect(
        &cx,
        "data_matches",
        &between("gone", "down"),
        Verdict::Unknown,
        &["there is no file", "`down`: "],
    );
    expect(&cx, "data_matches", &between("empty", "latin"), Verdict::Unknown, &["its encoding is LATIN1"]);
    for kind in ["data_matches", "rows_match"] {
        let params = json!({ "source": "empty", "target": "nothing" });
        expect(&cx, kind, &params, Verdict::Unknown, &["nothing was compared with nothing"]);
    }
    let whole = json!({ "source": "empty", "target": "nothing", "except": [{ "table": "*", "reason": "all of it" }] });
    expect(&cx, "data_matches", &whole, Verdict::Unknown, &["there is no table to compare"]);

    // Somebody writes: what is not committed is not there, and nobody waits for anybody.
    let writer = Connection::open(path("whole.db")).unwrap();
    writer.execute_batch("begin immediate; delete from events where stream_ordering = 500").unwrap();
    expect(&cx, "data_matches", &between("whole", "new"), Verdict::Pass, &[]);
    writer.execute_batch("commit").unwrap();
    expect(&cx, "data_matches", &between("whole", "new"), Verdict::Fail, &["1 row is extra: event_id=$500:"]);
    drop(writer);
    let slow = json!({ "source": "whole", "target": "new", "timeout": "1ms" });
    expect(&cx, "data_matches", &slow, Verdict::Unknown, &["within 1ms"]);
}
