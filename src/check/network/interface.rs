//! Is a network device up, with a link, and has it the addresses and the MTU that it should have?

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ip;
use crate::check::findings::Findings;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Is a network device up, with a link, and has it the addresses that it should have?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The device: `eth0`, `wg0`, `bond0`.
    #[schemars(length(min = 1))]
    device: String,
    /// Addresses that it must have: `10.0.0.5`, or with the length of the prefix `10.0.0.5/24`.
    #[serde(default)]
    addresses: Vec<String>,
    /// Its MTU must be at least this.
    #[serde(default)]
    mtu_at_least: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "interface",
    summary: "a network device is up, has a link, and has the addresses and the MTU that it should have",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(Interface),
    build,
};

const DOCS: &str = r"
Shows that a network device is up and has a link (a cable with something at its other end), and the addresses and the MTU that
it should have.

**How it is measured.** The kernel is asked (`ip -j address show`). Nothing is sent.

**Passes** when it is up, has a link, and everything that is given agrees. **Fails** when the device is not there, is down, has no
link, lacks an address, has one that is not usable (another machine has it, or that is still being found out), or its MTU is smaller.

**Unknown** when `ip` is missing or gives no answer that can be read.

**Traps.** A VPN device has a link whether the other side answers or not: add `tcp_open` or `route_to`. A bond with one dead cable
is up. An MTU that is smaller on the way than here loses large packets only. An address may be gone tomorrow: `dhcp_lease`.

```yaml
preconditions:
  - interface: { device: eth1, addresses: [10.7.0.1/24], mtu_at_least: 9000 }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: Interface = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    for address in check.addresses.iter().filter(|address| !address.contains("${")) {
        if parse(address).is_none() {
            return Err(format!("`{address}` is no IP address, with or without a length of the prefix"));
        }
    }
    if check.device.starts_with('-') || check.device.chars().any(char::is_whitespace) {
        return Err(format!("`{}` is no name of a device", check.device));
    }
    Ok(Box::new(check))
}

fn parse(address: &str) -> Option<(IpAddr, Option<u64>)> {
    match address.split_once('/') {
        None => Some((address.parse().ok()?, None)),
        Some((ip, length)) => {
            let ip: IpAddr = ip.parse().ok()?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            Some((ip, Some(length.parse().ok().filter(|length| *length <= most)?)))
        }
    }
}

impl Interface {
    fn expected(&self) -> String {
        let mut parts = vec![format!("{} up, with a link", self.device)];
        parts.extend((!self.addresses.is_empty()).then(|| format!("with {}", self.addresses.join(", "))));
        parts.extend(self.mtu_at_least.map(|mtu| format!("MTU at least {}", mtu.0)));
        parts.join(", ")
    }

    /// Compares what the kernel said.
    fn judge(&self, links: &Value) -> Outcome {
        let link = links.as_array().into_iter().flatten().find(|link| link["ifname"] == self.device.as_str());
        let Some((link, flags)) = link.and_then(|link| Some((link, link["flags"].as_array()?))) else {
            return Outcome::unknown("the answer of `ip` does not name the device", self.expected())
                .help("see what `ip address show` says");
        };
        let mut findings = Findings::default();
        let flag = |name: &str| flags.iter().any(|flag| flag == name);
        if !flag("UP") {
            findings.fail(format!("{} is down", self.device), "bring the device up");
        } else if !flag("LOWER_UP") {
            findings.fail(
                format!("{} is up, and has no link", self.device),
                "look at the cable and the switch, or what the device is made of",
            );
        }
        let all: Vec<&Value> = link["addr_info"].as_array().into_iter().flatten().collect();
        let shown = |one: &Value| format!("{}/{}", one["local"].as_str().unwrap_or("?"), one["prefixlen"]);
        for wanted in &self.addresses {
            let help = "find out what should have given it that address";
            let Some((ip, length)) = parse(wanted) else { continue };
            let same = |one: &&&Value| one["local"].as_str().and_then(|text| text.parse().ok()) == Some(ip);
            match all.iter().find(same) {
                None => findings.fail(format!("{} does not have {ip}", self.device), help),
                Some(one) if length.is_some_and(|length| one["prefixlen"].as_u64() != Some(length)) => {
                    findings.fail(format!("{} has {}, not {wanted}", self.device, shown(one)), help);
                }
                Some(one) if one["dadfailed"] == true => {
                    findings.fail(format!("another machine has {ip}, too"), "find the other machine first");
                }
                Some(one) if one["tentative"] == true => findings.fail(
                    format!("{ip} cannot be used yet: whether another machine has it is being found out"),
                    "measure again in a few seconds",
                ),
                Some(_) => {}
            }
        }
        let mtu = link["mtu"].as_u64();
        match (self.mtu_at_least, mtu) {
            (Some(_), None) => {
                findings.unknown("the answer of `ip` has no MTU", "see what `ip link show` says")
            }
            (Some(least), Some(mtu)) if mtu < least.0 => {
                findings
                    .fail(format!("the MTU of {} is {mtu}", self.device), "set the MTU, here and on the way");
            }
            _ => {}
        }
        let addresses: Vec<String> = all.iter().map(|one| shown(one)).collect();
        let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") };
        let mtu_words = mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        if !findings.clean() {
            findings.note(format!("{}: {addresses}{mtu_words}", self.device));
        }
        findings
            .outcome(format!("{} is up, has a link, {addresses}{mtu_words}", self.device), self.expected())
    }
}

#[async_trait]
impl Check for Interface {
    async fn measure(&self, cx: &Context) -> Outcome {
        let gone = || {
            Outcome::fail(format!("there is no device {}", self.device), self.expected())
                .help("find out what should have made it; `ip link` lists those that exist")
        };
        match ip::ask(cx, &["-j", "address", "show", "dev", &self.device], Duration::from_secs(5)).await {
            Ok(ip::Answer::Json(links)) => self.judge(&links),
            Ok(ip::Answer::Refused(_)) => gone(),
            Err(why) if why.contains("does not exist") => gone(),
            Err(why) => {
                Outcome::unknown(why, self.expected()).help("install iproute2, or see what `ip` says")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn an_address_that_cannot_be_used_is_not_there() {
        let check: Interface = serde_json::from_value(
            json!({ "device": "d0", "addresses": ["fe80::1/64"], "mtu_at_least": 1500 }),
        )
        .unwrap();
        let link = |flags: Value, more: Value| {
            let mut address = json!({ "family": "inet6", "local": "fe80:0::1", "prefixlen": 64 });
            address.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([{}, { "ifname": "d0", "flags": flags, "mtu": 1500, "addr_info": [address] }])
        };
        let verdict = |links: Value| check.judge(&links).verdict;
        let up = || json!(["BROADCAST", "UP", "LOWER_UP"]);
        assert_eq!(verdict(link(up(), json!({}))), Verdict::Pass);
        assert_eq!(verdict(link(up(), json!({ "tentative": true }))), Verdict::Fail);
        assert_eq!(verdict(link(up(), json!({ "dadfailed": true, "tentative": true }))), Verdict::Fail);
        assert_eq!(verdict(link(up(), json!({ "prefixlen": 48 }))), Verdict::Fail);
        assert_eq!(verdict(link(json!(["NO-CARRIER", "UP"]), json!({}))), Verdict::Fail);
        assert_eq!(verdict(link(json!([]), json!({}))), Verdict::Fail);
        assert_eq!(verdict(json!([])), Verdict::Unknown);
        assert_eq!(verdict(json!([{ "ifname": "d0" }])), Verdict::Unknown);
    }

    #[test]
    fn addresses() {
        assert_eq!(parse("10.0.0.5/24"), Some(("10.0.0.5".parse().unwrap(), Some(24))));
        for wrong in ["10.0.0.5/33", "10.0.0", "::1/x", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
