//! An index hidden by hypopg: nothing is written.

use holdpoint::check::{Context, Verdict};
use serde_json::json;

use super::super::super::{context, is};
use super::{DROP, PLAN, REDACT, cluster, untouched, with};
use crate::harness::{Cluster, Major, Need, Registry};

pub fn register(r: &mut Registry) {
    r.add("check::plan_without_index::pass_and_fail_with_hypopg", &[Need::Hypopg], plans_with_hypopg);
    r.add("check::index_drop_safe::pass_and_fail_with_hypopg", &[Need::Hypopg], drop_with_hypopg);
}

/// A server that has hypopg, installed in a schema with a name that needs quotes.
fn with_hypopg() -> (Cluster, Context) {
    let (cluster, cx) = cluster(Major::V17Hypopg);
    cluster.psql("create schema \"What If\"; create extension hypopg schema \"What If\"");
    (cluster, cx)
}

/// Transaction ids given out so far.
fn written(cluster: &Cluster) -> String {
    cluster.psql("select pg_snapshot_xmax(pg_current_snapshot())")
}

fn plans_with_hypopg() {
    let (cluster, cx) = with_hypopg();
    let plan = |index: &str, statement: &str| with(&cx, PLAN, index, json!({ "statements": [statement] }));
    let before = written(&cluster);
    // Another index does as well; the plan of the other way, which writes, is the same.
    let spared = plan("actions_event", REDACT);
    is(&spared, Verdict::Pass, "1 statement with a plan that is good enough without public.actions_event");
    assert!(spared.details.iter().any(|line| line.contains("with the index, ")), "{spared:#?}");
    // Uniqueness and the statistics of an expression can be hidden, too, where a plan alone tells nothing.
    let unused = "select 1 from actions where at = 1";
    is(&plan("actions_who", unused), Verdict::Pass, "1 statement");
    is(&plan("actions_unique", REDACT), Verdict::Pass, "1 statement");
    let upsert = "insert into actions values ('r', 'e', 'u', 1) on conflict (room, event, who) do nothing";
    is(&plan("actions_unique", upsert), Verdict::Fail, "its `on conflict` rests on the index");
    assert_eq!(written(&cluster), before, "nothing was written");
    // Switched off, it hides nothing, and says that it did.
    cluster.psql("alter role postgres set hypopg.enabled = off");
    is(
        &plan("actions_who", unused),
        Verdict::Unknown,
        "hypopg could not hide the index (is hypopg.enabled off?)",
    );
    cluster.psql("alter role postgres reset hypopg.enabled; drop index actions_unique");
    let before = written(&cluster);
    let slow = plan("actions_event", REDACT);
    is(&slow, Verdict::Fail, "reads all of public.actions, about 150,000 rows");
    assert_eq!(written(&cluster), before, "nothing was written");
    // A role that may not call it has no way to hide anything.
    cluster.psql(
        "create role app login; grant pg_monitor to app; grant select, delete on actions to app; \
         revoke execute on function \"What If\".hypopg_hide_index from public",
    );
    let conninfo = cluster.conninfo("postgres").replace("user=postgres", "user=app");
    let target = holdpoint::runbook::Target { postgres: Some(conninfo), ..Default::default() };
    let denied = with(&context([("db", target)]), PLAN, "actions_event", json!({ "statements": [REDACT] }));
    is(&denied, Verdict::Unknown, "what it would be without it cannot be measured here");
    cluster.psql("create unique index actions_unique on actions (room, event, who)");
    untouched(&cluster);
}

fn drop_with_hypopg() {
    let (cluster, cx) = with_hypopg();
    let ask = |index: &str| with(&cx, DROP, index, json!({ "min_stats_age": "1ms", "statements": [REDACT] }));
    let spared = ask("actions_event");
    is(&spared, Verdict::Pass, "db: no scan, counted for ");
    assert!(spared.details.iter().any(|line| line.contains("with the index, ")), "{spared:#?}");
    cluster.psql("drop index actions_unique");
    let slow = ask("actions_event");
    is(&slow, Verdict::Fail, "keep actions_event: `delete from actions where room = ? and event = ?`: cost ");
    is(&slow, Verdict::Fail, "reads all of public.actions, about 150,000 rows");
    cluster.psql("create unique index actions_unique on actions (room, event, who)");
    untouched(&cluster);
}
