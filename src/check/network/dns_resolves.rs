//! Does a name lead to the addresses that it should, for the programs of this machine?

use std::collections::BTreeSet;
use std::net::IpAddr;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Does a name lead to the addresses that it should?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsResolves {
    /// The name.
    #[schemars(length(min = 1))]
    name: String,
    /// Addresses that it must have. Without them any address will do.
    #[serde(default)]
    #[schemars(length(min = 1))]
    addresses: Option<Vec<String>>,
    /// True when it must have no other addresses than those.
    #[serde(default)]
    only: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "dns_resolves",
    summary: "a name leads to the addresses that it should, for the programs of this machine",
    docs: DOCS,
    timeout: Some(Span::secs(20)),
    schema: || schema_for!(DnsResolves),
    build,
};

const DOCS: &str = r"
Shows that a name leads to the right addresses.

**How it is measured.** By the system's own resolver, as every program of this machine asks it: `/etc/hosts`, `nsswitch.conf` and
the name servers count. So it shows what the service will see, and not what a name server somewhere says.

**Passes** when the name has every address of `addresses` (or any, when none is given) and, with `only`, no other.

**Fails** when an address is missing, another one is there with `only`, or the resolver says that there is no such name.

**Unknown** when the resolver gives no answer: no name server reached, a time limit.

**Traps.** Other machines may see another answer, and this one may have it cached until its time to live ends. Move a name
only after its old time to live has passed.

```yaml
preconditions:
  - dns_resolves: { name: matrix.example.org, addresses: [192.0.2.10], only: true }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: DnsResolves = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    check.wanted()?;
    if check.addresses.is_none() && check.only.is_some_and(|flag| flag.0) {
        return Err("`only` needs `addresses`".to_owned());
    }
    Ok(Box::new(check))
}

impl DnsResolves {
    fn wanted(&self) -> Result<BTreeSet<IpAddr>, String> {
        let read = |text: &String| text.parse().map_err(|_| format!("`{text}` is no IP address"));
        self.addresses.iter().flatten().map(read).collect()
    }
}

/// What the resolver says when it knows that there is no such name.
fn no_such_name(error: &std::io::Error) -> bool {
    let text = error.to_string();
    ["Name or service not known", "No address associated", "does not exist"].iter().any(|w| text.contains(w))
}

#[async_trait]
impl Check for DnsResolves {
    async fn measure(&self, _cx: &Context) -> Outcome {
        let wanted = match self.wanted() {
            Ok(wanted) => wanted,
            Err(why) => return Outcome::unknown(why, "addresses"),
        };
        let list =
            |all: &BTreeSet<IpAddr>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let only = self.only.is_some_and(|flag| flag.0);
        let expected = match (wanted.is_empty(), only) {
            (true, _) => format!("an address of {}", self.name),
            (false, true) => format!("{} leads to {} alone", self.name, list(&wanted)),
            (false, false) => format!("{} leads to {}", self.name, list(&wanted)),
        };
        let found: BTreeSet<IpAddr> = match tokio::net::lookup_host((self.name.as_str(), 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) if no_such_name(&error) => {
                return Outcome::fail(format!("there is no such name: {error}"), expected)
                    .help("correct the name, or enter it where this machine looks names up");
            }
            Err(error) => {
                return Outcome::unknown(format!("the resolver gave no answer: {error}"), expected)
                    .help("look at the name servers of this machine: `cat /etc/resolv.conf`");
            }
        };
        if found.is_empty() {
            return Outcome::fail("the name has no address", expected).help("enter its address");
        }
        let holds = wanted.is_subset(&found) && (!only || found.is_subset(&wanted));
        Outcome::judge(holds, format!("{} leads to {}", self.name, list(&found)), expected)
            .help("correct the name's addresses, and wait until the old ones' time to live is over")
            .fact("addresses", found.len() as u64)
    }
}
