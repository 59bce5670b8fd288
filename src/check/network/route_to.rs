//! Would a packet to a peer leave by the right device, through the right gateway?

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ip;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Would a packet to a peer leave by the right device, through the right gateway?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTo {
    /// The peer's IP address.
    #[schemars(length(min = 1))]
    address: String,
    /// The device that it must leave by: `eth0`, `wg0`.
    #[serde(default)]
    device: Option<String>,
    /// The gateway that it must go through; `none` when the peer must be in reach without one.
    #[serde(default)]
    gateway: Option<String>,
    /// The source address that it must carry.
    #[serde(default)]
    source: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "route_to",
    summary: "the way to a peer is by the expected device and gateway",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(RouteTo),
    build,
};

const DOCS: &str = r"
Shows that a packet to a peer would leave by the expected device, through the expected gateway, with the expected source address.

**How it is measured.** The kernel is asked (`ip -j route get`): policy rules and all tables count. Nothing is sent.

**Passes** when everything that is given agrees. **Fails** when something differs, when the kernel knows no route, or when the
route says unreachable, prohibit or blackhole.

**Unknown** when `ip` is missing or gives no answer that can be read.

**Traps.** When a specific route is lost, the default route answers in its place and nothing looks broken: so name device and
gateway, not only the peer. The answer is for the network namespace in which Holdpoint runs; a service in a container has
another. A route says nothing about the other direction or about filters: add `tcp_open`.

```yaml
preconditions:
  - route_to: { address: 10.7.0.2, device: wg0, gateway: none }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: RouteTo = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let address = |text: &str| {
        if text.contains("${") || text.parse::<IpAddr>().is_ok() {
            Ok(())
        } else {
            Err(format!("`{text}` is no IP address"))
        }
    };
    address(&check.address)?;
    check.gateway.as_deref().filter(|gateway| *gateway != "none").map_or(Ok(()), address)?;
    check.source.as_deref().map_or(Ok(()), address)?;
    if check.device.is_none() && check.gateway.is_none() && check.source.is_none() {
        return Err("say what is expected: `device`, `gateway` or `source`".to_owned());
    }
    Ok(Box::new(check))
}

impl RouteTo {
    fn expected(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.device.as_ref().map(|device| format!("by {device}")));
        parts.extend(self.gateway.as_ref().map(|gateway| match gateway.as_str() {
            "none" => "without a gateway".to_owned(),
            gateway => format!("through {gateway}"),
        }));
        parts.extend(self.source.as_ref().map(|source| format!("from {source}")));
        format!("to {} {}", self.address, parts.join(", "))
    }

    /// Compares what the kernel said.
    fn judge(&self, route: &Value) -> Outcome {
        let text = |key: &str| route.get(key).and_then(Value::as_str);
        let kind = text("type").filter(|kind| *kind != "unicast" && *kind != "local");
        if let Some(kind) = kind {
            return Outcome::fail(format!("the route to {} is `{kind}`", self.address), self.expected())
                .help("put the route right");
        }
        let (device, gateway, source) = (text("dev"), text("gateway"), text("prefsrc"));
        let Some(device) = device else {
            return Outcome::unknown("the answer of `ip` names no device", self.expected())
                .help("see what `ip route get` says");
        };
        let through = gateway.map_or_else(|| "without a gateway".to_owned(), |g| format!("through {g}"));
        let from = source.map(|source| format!(", from {source}")).unwrap_or_default();
        let holds = self.device.as_deref().is_none_or(|wanted| wanted == device)
            && self.gateway.as_deref().is_none_or(|wanted| wanted == gateway.unwrap_or("none"))
            && self.source.as_deref().is_none_or(|wanted| Some(wanted) == source);
        Outcome::judge(holds, format!("to {} by {device}, {through}{from}", self.address), self.expected())
            .help("put the route right, then measure again; a lost route hides behind the default one")
    }
}

#[async_trait]
impl Check for RouteTo {
    async fn measure(&self, cx: &Context) -> Outcome {
        match ip::ask(cx, &["-j", "route", "get", &self.address], Duration::from_secs(5)).await {
            Ok(ip::Answer::Json(Value::Array(routes))) => match routes.first() {
                Some(route) => self.judge(route),
                None => Outcome::unknown("`ip` gave an empty answer", self.expected())
                    .help("see what `ip route get` says"),
            },
            Ok(ip::Answer::Json(_)) => {
                Outcome::unknown("`ip` gave an answer that is no list", self.expected())
                    .help("see what `ip route get` says")
            }
            Ok(ip::Answer::Refused(why)) => {
                Outcome::fail(format!("no route to {}: {why}", self.address), self.expected())
                    .help("set the route up, then measure again")
            }
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
    fn the_default_route_is_not_taken_for_the_lost_one() {
        let check: RouteTo =
            serde_json::from_value(json!({ "address": "10.7.0.2", "device": "wg0", "gateway": "none" }))
                .unwrap();
        let verdict = |route: Value| check.judge(&route).verdict;
        assert_eq!(verdict(json!({ "dst": "10.7.0.2", "dev": "wg0", "prefsrc": "10.7.0.1" })), Verdict::Pass);
        assert_eq!(
            verdict(json!({ "dst": "10.7.0.2", "dev": "eth0", "gateway": "192.0.2.1" })),
            Verdict::Fail
        );
        assert_eq!(verdict(json!({ "dst": "10.7.0.2", "dev": "wg0", "gateway": "10.7.0.9" })), Verdict::Fail);
        assert_eq!(verdict(json!({ "type": "blackhole", "dst": "10.7.0.2" })), Verdict::Fail);
        assert_eq!(verdict(json!({ "dst": "10.7.0.2" })), Verdict::Unknown);
    }
}
