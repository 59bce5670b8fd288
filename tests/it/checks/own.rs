//! A target that answers, and queries of one's own.

use holdpoint::check::Verdict;
use serde_json::json;

use super::{context, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};

pub fn register(r: &mut Registry) {
    for major in [Major::V13, Major::V14, Major::V16, Major::V17, Major::V18, Major::Wheel16, Major::Wheel18]
    {
        r.add(&format!("checks::a_server_of_{major:?}_answers"), &[major.need()], move || {
            let cluster = Cluster::start(major);
            let cx = context([("db", cluster.target("postgres"))]);
            let seen = look(&cx, "pg_accepts_connections", json!({ "target": "db" }));
            super::is(&seen, Verdict::Pass, "no standby");
        });
    }
    use Verdict::{Fail, Pass, Unknown};
    let query = |sql: &'static str, verdict_of: Verdict| {
        move || {
            let cluster = Cluster::start(Major::V15);
            let cx = context([("db", cluster.target("postgres"))]);
            let seen = look(&cx, "pg_query", json!({ "target": "db", "sql": sql, "equals": 1 }));
            if verdict_of != Unknown {
                return vec![seen];
            }
            cluster.stop();
            vec![seen, look(&cx, "pg_query", json!({ "target": "db", "sql": "select 1", "equals": 1 }))]
        }
    };
    verdict(r, "pg_query", Pass, &[Need::Pg15], query("select 1", Pass));
    verdict(r, "pg_query", Fail, &[Need::Pg15], query("select 2", Fail));
    verdict(r, "pg_query", Unknown, &[Need::Pg15], query("select 1 where false", Unknown));
    let accepts = |cluster: &Cluster, params: serde_json::Value| {
        let mut params = params;
        params["target"] = json!("db");
        look(&context([("db", cluster.target("postgres"))]), "pg_accepts_connections", params)
    };
    verdict(r, "pg_accepts_connections", Pass, &[Need::Pg15], move || {
        vec![accepts(&Cluster::start(Major::V15), json!({}))]
    });
    verdict(r, "pg_accepts_connections", Fail, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        let missing = accepts(&cluster, json!({ "database": "synapse" }));
        cluster.stop();
        vec![missing, accepts(&cluster, json!({}))]
    });
    verdict(r, "pg_accepts_connections", Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        cluster.hba("local all all reject\n");
        cluster.reload();
        vec![accepts(&cluster, json!({}))]
    });
    let command = |run: &'static [&'static str], timeout: &'static str| {
        move || vec![look(&context([]), "command", json!({ "run": run, "timeout": timeout }))]
    };
    verdict(r, "command", Pass, &[], command(&["true"], "1min"));
    verdict(r, "command", Fail, &[], command(&["false"], "1min"));
    verdict(r, "command", Unknown, &[], command(&["sleep", "60"], "500ms"));
}
