//! Devices in a network name space of their own: with and without a link, with addresses that can and cannot be used.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{is, verdict};
use super::{NO_IP, inside};
use crate::harness::{Need, Registry};

const PAIR: &str = "ip link add d0 type veth peer name p0; ip link set d0 mtu 9000; ip link set d0 up";

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "interface", Pass, &[Need::Root], || {
        let up = "ip link set p0 up; ip address add 10.7.0.1/24 dev d0";
        let whole = json!({ "addresses": ["10.7.0.1", "10.7.0.1/24"], "mtu_at_least": 9000 });
        vec![device(up, json!({})), device(up, whole)]
    });
    verdict(r, "interface", Fail, &[Need::Root], || {
        let up = "ip link set p0 up; ip address add 10.7.0.1/24 dev d0";
        let unplugged = device("true", json!({}));
        is(&unplugged, Fail, "d0 is up, and has no link");
        let down = device("ip link set d0 down", json!({}));
        is(&down, Fail, "d0 is down");
        let small = device(&format!("{up}; ip link set d0 mtu 1500"), json!({ "mtu_at_least": 9000 }));
        is(&small, Fail, "the MTU of d0 is 1500");
        let other = device(up, json!({ "addresses": ["10.7.0.2"] }));
        is(&other, Fail, "d0 does not have 10.7.0.2");
        let prefix = device(up, json!({ "addresses": ["10.7.0.1/16"] }));
        is(&prefix, Fail, "d0 has 10.7.0.1/24, not 10.7.0.1/16");
        let gone = inside("true", json!({ "interface": { "device": "eth7" } }));
        is(&gone, Fail, "there is no device eth7");
        vec![unplugged, down, small, other, prefix, gone]
    });
    verdict(r, "interface", Unknown, &[Need::Root], || {
        vec![inside(NO_IP, json!({ "interface": { "device": "lo" } }))]
    });
}

fn device(before: &str, mut params: Value) -> Outcome {
    params["device"] = json!("d0");
    inside(&format!("{PAIR}; {before}"), json!({ "interface": params }))
}
