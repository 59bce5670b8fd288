//! Replicas and restore targets that can, and cannot, hold what the source holds.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::MOUNT;
use crate::checks::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};
use crate::host::Mounted;

const KIND: &str = "capacity_parity";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, &[MOUNT, &[Need::Pg15]].concat(), pass);
    verdict(r, KIND, Verdict::Fail, MOUNT, fail);
    verdict(r, KIND, Verdict::Unknown, &[MOUNT, &[Need::Pg15]].concat(), unknown);
}

/// The command that is asked of another machine.
fn df(place: &Mounted) -> Value {
    json!(["df", "-B1", "--output=size,used,avail", place.path()])
}

/// A source that fills 60 of 100 MiB.
fn source() -> Mounted {
    let mounted = Mounted::tmpfs("size=100m");
    std::fs::write(mounted.path().join("data"), vec![1; 60 << 20]).unwrap();
    mounted
}

fn ask(source: &Mounted, copies: Value) -> Outcome {
    let target = holdpoint::runbook::Target { postgres: Some("host=192.0.2.1".into()), ..Default::default() };
    look(
        &context([("old", target)]),
        KIND,
        json!({ "source": "old", "source_probe": df(source), "copies": copies }),
    )
}

fn pass() -> Vec<Outcome> {
    let (old, same, replica) = (source(), Mounted::tmpfs("size=100m"), source());
    let seen = ask(
        &old,
        json!([
            { "path": same.path().join("not/yet/there") },
            { "name": "standby1", "probe": df(&replica), "holds_copy": true },
        ]),
    );
    is(&seen, Verdict::Pass, "2 copies have room for 60.0 MiB");
    assert!(seen.details.iter().any(|line| line.starts_with("standby1: 100 MiB free or used")), "{seen:#?}");
    // Two servers of this machine, on one disk: it is said.
    let (first, second) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let cx = context([("old", first.target("postgres")), ("new", second.target("postgres"))]);
    let servers = look(&cx, KIND, json!({ "source": "old", "copies": [{ "target": "new" }], "times": 1 }));
    is(&servers, Verdict::Pass, "1 copy has room");
    assert!(servers.details.iter().any(|line| line.contains("of the source itself")), "{servers:#?}");
    assert_eq!(servers.seen.len(), 2, "both are on record: {servers:#?}");
    vec![seen, servers]
}

fn fail() -> Vec<Outcome> {
    let (old, smaller, full) = (source(), Mounted::tmpfs("size=90m"), source());
    let small = ask(&old, json!([{ "path": smaller.path() }]));
    is(&small, Verdict::Fail, "is smaller: 90.0 MiB instead of 100 MiB");
    let used = ask(&old, json!([{ "name": "spare", "probe": df(&full) }]));
    is(&used, Verdict::Fail, "spare has 40.0 MiB free, and 66.0 MiB are needed");
    let all = ask(&old, json!([{ "probe": ["false"] }, { "path": smaller.path() }, { "probe": df(&full) }]));
    is(&all, Verdict::Fail, "(and 1 more)");
    assert!(
        all.details.iter().any(|line| line.contains("not measured: false ended with status 1")),
        "{all:#?}"
    );
    vec![small, used, all]
}

fn unknown() -> Vec<Outcome> {
    let (old, large) = (source(), Mounted::tmpfs("size=200m"));
    let ask = |copies| ask(&old, copies);
    let failed =
        ask(json!([{ "path": large.path() }, { "name": "b", "probe": ["df", "-B1", "/none/such"] }]));
    is(&failed, Verdict::Unknown, "b could not be measured: df ended with status 1: df: /none/such");
    let kilo = json!(["df", "-k", "--output=size,used,avail", large.path()]);
    let kilobytes = ask(json!([{ "name": "b", "probe": kilo }]));
    is(&kilobytes, Verdict::Unknown, "did not print the columns");
    let absent = ask(json!([{ "name": "b", "probe": ["/none/such/df"] }]));
    is(&absent, Verdict::Unknown, "b could not be measured");
    // A source that does not answer, and has no probe.
    let cluster = Cluster::start(Major::V15);
    cluster.stop();
    let cx = context([("old", cluster.target("postgres"))]);
    let gone = look(&cx, KIND, json!({ "source": "old", "copies": [{ "path": large.path() }] }));
    is(&gone, Verdict::Unknown, "the source old could not be measured");
    vec![failed, kilobytes, absent, gone]
}
