//! Is the machine's address its own, or how long may it still use it?

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use super::ip;
use crate::base::Span;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};

/// Is the machine's address its own, or how long may it still use it?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpLease {
    /// The network device: `eth0`.
    #[schemars(length(min = 1))]
    device: String,
    /// How long every address must remain valid; 2 h when not given. A fixed address always is.
    #[serde(default)]
    left: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "dhcp_lease",
    summary: "the addresses of a network device are fixed, or leased for long enough",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(DhcpLease),
    build: from_params::<DhcpLease>,
};

const DOCS: &str = r"
Shows that a network device keeps its addresses: fixed ones, or a lease that lasts longer than the work.

**How it is measured.** The kernel's own countdown for each address of global scope (`ip -j address show`).

**Passes** when each is fixed or valid for at least `left`. **Fails** when one is not, when the device is down, does not exist, or
has no address of global scope.

**Unknown** when `ip` is missing or its answer cannot be read.

**Traps.** A DHCP client renews at half of the lease; a lease with much less than half left was not renewed, and the
client may be dead. After a clock step or a frozen virtual machine a client may think that its lease has ended, or has not:
measure again then. Its hook scripts need their programs: see `hook_environment`.

```yaml
preconditions:
  - dhcp_lease: { device: eth0, left: 6h }
```
";

impl DhcpLease {
    fn judge(&self, links: &Value, expected: String) -> Outcome {
        let link = links.as_array().into_iter().flatten().find(|link| link["ifname"] == self.device.as_str());
        let Some(link) = link else {
            return Outcome::unknown("the answer of `ip` does not name the device", expected)
                .help("see what `ip address show` says");
        };
        let flags = link["flags"].as_array().cloned().unwrap_or_default();
        if !flags.iter().any(|flag| flag == "UP") {
            return Outcome::fail(format!("{} is down", self.device), expected).help("bring the device up");
        }
        let left = self.left.unwrap_or(Span::secs(7200)).0;
        let (mut worst, mut details, mut fixed) = (None::<(u64, String)>, Vec::new(), 0_u64);
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let (Some(local), Some(valid)) = (address["local"].as_str(), address["valid_life_time"].as_u64())
            else {
                continue;
            };
            if address["scope"] != "global" {
                continue;
            }
            // 2^32 - 1: for ever.
            if valid >= u64::from(u32::MAX) {
                fixed += 1;
                details.push(format!("{local} is fixed"));
                continue;
            }
            details.push(format!("{local} is leased for {}", Span::secs(valid)));
            if worst.as_ref().is_none_or(|(least, _)| valid < *least) {
                worst = Some((valid, local.to_owned()));
            }
        }
        let outcome = match &worst {
            None if fixed == 0 => {
                Outcome::fail(format!("{} has no address of global scope", self.device), expected)
                    .help("find out what should have given it one")
            }
            None => Outcome::pass(details.join(", "), expected),
            Some((valid, local)) => {
                let observed = format!("{local} is leased for {} more", Span::secs(*valid));
                Outcome::judge(Duration::from_secs(*valid) >= left, observed, expected)
                    .help("renew the lease, or see whether the DHCP client still runs")
                    .fact("seconds_left", *valid)
            }
        };
        details.into_iter().fold(outcome, Outcome::detail)
    }
}

#[async_trait]
impl Check for DhcpLease {
    async fn measure(&self, cx: &Context) -> Outcome {
        let left = self.left.unwrap_or(Span::secs(7200));
        let expected = format!("fixed addresses on {}, or leased for at least {left}", self.device);
        match ip::ask(cx, &["-j", "address", "show", "dev", &self.device], Duration::from_secs(5)).await {
            Ok(ip::Answer::Json(links)) => self.judge(&links, expected),
            Ok(ip::Answer::Refused(why)) => {
                Outcome::fail(why, expected).help("name a device that exists: `ip link` lists them")
            }
            Err(why) if why.contains("does not exist") => {
                Outcome::fail(why, expected).help("name a device that exists: `ip link` lists them")
            }
            Err(why) => Outcome::unknown(why, expected).help("install iproute2, or see what `ip` says"),
        }
    }
}
