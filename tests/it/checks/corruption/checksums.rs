use holdpoint::check::Verdict;
use serde_json::json;

use super::super::{context, is, look, verdict};
use super::{TABLE, flip};
use crate::harness::{Cluster, Major, Need, Registry};

const KIND: &str = "checksums_clean";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[Need::Pg15, Need::Pg18], || {
        let (old, new) = (with_checksums(Major::V15), Cluster::start(Major::V18));
        let cx = context([("old", old.target("postgres")), ("new", new.target("postgres"))]);
        let seen = look(&cx, KIND, json!({ "target": "old" }));
        is(&seen, Verdict::Pass, "no checksum failures in 3 databases, counted for");
        vec![seen, look(&cx, KIND, json!({ "target": "new", "min_stats_age": "1ms" }))]
    });
    verdict(r, KIND, Verdict::Fail, &[Need::Pg15], || {
        let cluster = with_checksums(Major::V15);
        cluster.psql(TABLE);
        flip(&cluster, "t", 3 * 8192 + 8000, 255);
        let cx = context([("db", cluster.target("postgres"))]);
        is(&look(&cx, KIND, json!({ "target": "db" })), Verdict::Pass, "no checksum failures");
        // The page must be read to be found: by us, as it happens.
        let heap = look(&cx, "heap_intact", json!({ "target": "db", "tables": ["t"] }));
        is(&heap, Verdict::Unknown, "the extension amcheck is not installed");
        let duplicates = look(&cx, "no_duplicate_keys", json!({ "target": "db", "tables": ["t"] }));
        is(&duplicates, Verdict::Fail, "invalid page in block 3");
        let seen = look(&cx, KIND, json!({ "target": "db" }));
        is(&seen, Verdict::Fail, "1 checksum failure: database postgres: 1 failure, the last at 2");
        vec![seen]
    });
    verdict(r, KIND, Verdict::Unknown, &[Need::Pg15], || {
        let cluster = with_checksums(Major::V15);
        let cx = context([("db", cluster.target("postgres"))]);
        let young = look(&cx, KIND, json!({ "target": "db", "min_stats_age": "7d" }));
        is(&young, Verdict::Unknown, "no failures, but counted for");
        cluster.configure("zero_damaged_pages = on");
        cluster.reload();
        let wiped = || look(&cx, KIND, json!({ "target": "db" }));
        crate::harness::eventually(std::time::Duration::from_secs(5), "the setting is read", || {
            wiped().verdict == Verdict::Unknown
        });
        let wiped = wiped();
        is(&wiped, Verdict::Unknown, "zero_damaged_pages is on");
        cluster.stop();
        let gone = look(&cx, KIND, json!({ "target": "db" }));
        let plain = Cluster::start(Major::V15);
        let cx = context([("db", plain.target("postgres"))]);
        let off = look(&cx, KIND, json!({ "target": "db" }));
        is(&off, Verdict::Unknown, "data checksums are off");
        vec![young, wiped, gone, off]
    });
}

fn with_checksums(major: Major) -> Cluster {
    let cluster = Cluster::create_as(major, "", &["--data-checksums"]);
    cluster.restart();
    cluster
}
