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
    verdict(r, "pg_query", Verdict::Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", cluster.target("postgres"))]);
        vec![look(&cx, "pg_query", json!({ "target": "db", "sql": "select 1", "equals": 1 }))]
    });
}
