use holdpoint::check::{Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use super::{Client, until};
use crate::harness::{Cluster, Major, Need, Registry};

const KIND: &str = "client_timeouts";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[Need::Pg13, Need::Pg18], || {
        [Major::V13, Major::V18].into_iter().flat_map(limited).collect()
    });
    verdict(r, KIND, Verdict::Fail, &[Need::Pg15], unlimited);
    verdict(r, KIND, Verdict::Unknown, &[Need::Pg15], not_told);
}

fn measure(cluster: &Cluster, more: Value) -> Outcome {
    let cx = context([("db", cluster.target("postgres"))]);
    let mut params = json!({ "target": "db", "roles": ["app"] });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    look(&cx, KIND, params)
}

fn limited(major: Major) -> Vec<Outcome> {
    // From three places: the configuration, the role in a database, the role.
    let cluster = Cluster::with(major, "idle_in_transaction_session_timeout = 5min");
    cluster.psql(
        "create role app login; alter role app set statement_timeout = 0; alter role app set lock_timeout = '30s'; \
         alter role app in database postgres set statement_timeout = '5 min'; alter role all set lock_timeout = 0",
    );
    let all = measure(&cluster, json!({}));
    is(&all, Verdict::Pass, "every limit is set for app");
    let says =
        |words: &str| assert!(all.details.iter().any(|line| line.contains(words)), "{words}: {all:#?}");
    says("statement_timeout is 5min (set for the role in this database)");
    says("lock_timeout is 30s (set for the role)");
    says("idle_in_transaction_session_timeout is 5min (the server's own)");
    let elsewhere = measure(&cluster, json!({ "database": "template1" }));
    is(&elsewhere, Verdict::Fail, "statement_timeout is none (set for the role)");
    vec![all, measure(&cluster, json!({ "only": ["lock_timeout"], "lock_timeout": "30s" }))]
}

fn unlimited() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create role app login");
    let bare = measure(&cluster, json!({}));
    is(&bare, Verdict::Fail, "role app: statement_timeout is none (the server's own)");
    assert_eq!(bare.facts["wrong"], json!(3));
    cluster.psql("alter role app set statement_timeout = '1h'");
    let only = json!({ "only": ["statement_timeout"] });
    let much = measure(&cluster, only);
    is(&much, Verdict::Fail, "role app: statement_timeout is 1h (set for the role)");
    // A limit that is set, and a session that has set another.
    cluster.psql("alter role app set statement_timeout = '1s'");
    let strict = json!({ "only": ["statement_timeout"], "statement_timeout": "1s" });
    let mut client = Client::open(&cluster, "app", "worker");
    client.send("set statement_timeout = 0; select pg_sleep(100)");
    is(&measure(&cluster, strict.clone()), Verdict::Pass, "every limit");
    until(
        &cluster,
        "select count(*) from pg_stat_activity where usename = 'app' and state = 'active' \
         and clock_timestamp() - query_start > '6100 ms'",
        "1",
    );
    let evaded = measure(&cluster, strict);
    is(&evaded, Verdict::Fail, "role app: a query runs for ");
    vec![bare, much, evaded]
}

fn not_told() -> Vec<Outcome> {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(
        "create role app login; create role watcher login; grant pg_monitor to watcher; \
         create role blind login; grant pg_read_all_settings to blind; \
         alter role watcher set statement_timeout = '7s'",
    );
    let own = measure(&cluster, json!({ "per_session": true }));
    is(&own, Verdict::Unknown, "and the application sets its own, which nobody else sees");
    assert!(own.details.iter().any(|line| line.contains("0 sessions now, oldest query none")), "{own:#?}");
    let nobody = measure(&cluster, json!({ "roles": ["nobody"] }));
    is(&nobody, Verdict::Unknown, "there is no role nobody");
    let nowhere = measure(&cluster, json!({ "database": "nowhere" }));
    is(&nowhere, Verdict::Unknown, "there is no database nowhere");
    let by = |role: &str| {
        let postgres = cluster.conninfo("postgres").replace("user=postgres", &format!("user={role}"));
        let cx = context([("db", Target { postgres: Some(postgres), ..Target::default() })]);
        look(&cx, KIND, json!({ "target": "db", "roles": ["app"], "only": ["statement_timeout"] }))
    };
    let blind = by("blind");
    is(&blind, Verdict::Unknown, "may not see what the sessions of others do");
    let hidden = by("watcher");
    is(&hidden, Verdict::Unknown, "our own role has another value, and the server's files cannot be seen");
    cluster.psql("alter role postgres set statement_timeout = '8s'");
    is(
        &measure(&cluster, json!({ "only": ["statement_timeout"] })),
        Verdict::Fail,
        "none (the server's own)",
    );
    cluster.stop();
    vec![own, nobody, nowhere, blind, hidden, measure(&cluster, json!({}))]
}
