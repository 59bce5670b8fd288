//! Parameters of the kernel, those of a network name space of its own among them, and the files that set them at boot.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::network::inside;
use super::super::{is, verdict};
use crate::harness::{Need, Registry};

const FORWARD: &str = "net.ipv4.ip_forward";

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "kernel_parameter", Pass, &[Need::Root], || {
        let set = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let kept = parameter(
            &format!(
                "{set}; echo 'net.ipv4.ip_forward=0' > /etc/sysctl.d/10-a.conf; echo 'net/ipv4/ip_forward = 1' > /etc/sysctl.d/20-b.conf"
            ),
            json!({ "name": FORWARD, "value": 1, "at_boot": true }),
        );
        assert!(kept.details.iter().any(|line| line.contains("20-b.conf:1 sets it to 1")), "{kept:#?}");
        let glob = format!("{set}; echo 'net.ipv4.ip_f* = 1' > /etc/sysctl.d/10-a.conf");
        vec![
            kept,
            parameter(set, json!({ "name": FORWARD, "value": "1" })),
            parameter(&glob, json!({ "name": FORWARD, "at_least": 1, "at_boot": "true" })),
            parameter("true", json!({ "name": "kernel.pid_max", "at_least": 300, "at_most": "4194304" })),
        ]
    });
    verdict(r, "kernel_parameter", Fail, &[Need::Root], || {
        let set = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let wanted = || json!({ "name": FORWARD, "value": 1, "at_boot": true });
        let other =
            parameter("echo 0 > /proc/sys/net/ipv4/ip_forward", json!({ "name": FORWARD, "value": 1 }));
        is(&other, Fail, "net.ipv4.ip_forward is 0");
        let by_hand = parameter(set, wanted());
        is(&by_hand, Fail, "no file sets net.ipv4.ip_forward");
        // The file of the same name in /etc switches off the one in /usr/lib.
        let masked =
            "mount -t tmpfs none /usr/lib/sysctl.d; echo net.ipv4.ip_forward=1 > /usr/lib/sysctl.d/50-x.conf";
        let read = parameter(&format!("{set}; {masked}"), wanted());
        is(&read, Pass, "");
        let masked =
            parameter(&format!("{set}; {masked}; ln -s /dev/null /etc/sysctl.d/50-x.conf"), wanted());
        is(&masked, Fail, "no file sets");
        let last = "echo net.ipv4.ip_forward=1 > /etc/sysctl.d/10-a.conf; echo net.ipv4.ip_forward=0 > /etc/sysctl.d/90-z.conf";
        let last = parameter(&format!("{set}; {last}"), wanted());
        is(&last, Fail, "after a reboot it is 0: /etc/sysctl.d/90-z.conf:1 sets it so");
        let few = parameter("true", json!({ "name": "kernel.pid_max", "at_least": 9_999_999 }));
        vec![other, by_hand, masked, last, few]
    });
    verdict(r, "kernel_parameter", Unknown, &[Need::Root], || {
        let none = parameter("true", json!({ "name": "vm.no_such_parameter", "value": 0 }));
        is(&none, Unknown, "the kernel has no parameter vm.no_such_parameter");
        let text = parameter("true", json!({ "name": "kernel.ostype", "at_least": 1 }));
        is(&text, Unknown, "is `Linux`, which is no number");
        let boot = "echo 1 > /proc/sys/net/ipv4/ip_forward; truncate -s 2M /etc/sysctl.d/10-a.conf";
        let large = parameter(boot, json!({ "name": FORWARD, "value": 1, "at_boot": true }));
        vec![none, text, large]
    });
}

fn parameter(before: &str, params: Value) -> Outcome {
    inside(&format!("mount -t tmpfs none /etc/sysctl.d; {before}"), json!({ "kernel_parameter": params }))
}
