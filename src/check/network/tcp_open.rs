//! Does something listen there, as seen from here?

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::base::Span;
use crate::check::params::Flag;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};

/// Does something listen there, as seen from here?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpOpen {
    /// Host name or address, and port: `db2.example.org:5432`, `[2001:db8::1]:443`.
    #[schemars(length(min = 1))]
    address: String,
    /// False when nothing may listen there: a service that must be closed to clients during the work.
    #[serde(default)]
    open: Option<Flag>,
    /// The longest that a connection may take; 5 s when not given.
    #[serde(default)]
    within: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "tcp_open",
    summary: "a TCP port can be reached from here, or is proved to be closed",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(TcpOpen),
    build: from_params::<TcpOpen>,
};

const DOCS: &str = r"
Shows that a TCP port can be reached from this machine, or with `open: false` that nothing listens there.

**How it is measured.** The name is looked up as every program does it (`/etc/hosts` included), and a connection is made to each
address in turn until one answers. Nothing is sent.

**Passes** when a connection came about within `within`. With `open: false` it passes only when every address refuses the
connection: a host that does not answer at all may be a network that is down, and proves nothing.

**Fails** when all addresses refuse; with `open: false` when one accepts.

**Unknown** when the name cannot be looked up, or no address answers in time: a packet filter, a missing route and a dead
host look alike.

**Traps.** A listening port is not a working service: use `http_answers`, `pg_accepts_connections` or `round_trip`. It is one
direction only; where the other side connects to us, too, measure there as well.

```yaml
preconditions:
  - tcp_open: { id: standby, address: 'db2.example.org:5432' }
  - tcp_open: { id: app-closed, address: 'app1.example.org:8008', open: false }
```
";

#[async_trait]
impl Check for TcpOpen {
    async fn measure(&self, _cx: &Context) -> Outcome {
        let open = self.open.is_none_or(|flag| flag.0);
        let limit = self.within.unwrap_or(Span::secs(5));
        let expected = if open {
            format!("a connection to {} within {limit}", self.address)
        } else {
            format!("nothing listens on {}", self.address)
        };
        let looking = tokio::net::lookup_host(&self.address);
        let addresses: Vec<_> = match tokio::time::timeout(limit.0, looking).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => {
                return Outcome::unknown(format!("{} cannot be looked up: {error}", self.address), expected)
                    .help("write HOST:PORT, and see what `getent hosts HOST` says");
            }
            Err(_) => {
                return Outcome::unknown(format!("the name was not looked up within {limit}"), expected)
                    .help("look at the name servers of this machine");
            }
        };
        let (mut refused, mut silent) = (Vec::new(), Vec::new());
        for address in addresses {
            let began = Instant::now();
            match tokio::time::timeout(limit.0, TcpStream::connect(address)).await {
                Ok(Ok(_)) => {
                    let took = Span(Duration::from_millis(began.elapsed().as_millis() as u64));
                    return Outcome::judge(open, format!("{address} accepts, within {took}"), expected)
                        .help("stop what listens there, then measure again")
                        .fact("millis", began.elapsed().as_millis() as u64);
                }
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    refused.push(format!("{address} refuses"));
                }
                Ok(Err(error)) => silent.push(format!("{address}: {error}")),
                Err(_) => silent.push(format!("{address} does not answer within {limit}")),
            }
        }
        let observed = [silent.as_slice(), refused.as_slice()].concat().join("; ");
        match (silent.is_empty(), refused.is_empty()) {
            (true, true) => Outcome::unknown("the name has no address", expected)
                .help("see what `getent hosts HOST` says"),
            (true, false) => Outcome::judge(!open, observed, expected)
                .help("start what should listen there, or correct the address"),
            (false, _) => Outcome::unknown(observed, expected)
                .help("look at the route, the packet filters and the other machine, in this order"),
        }
    }
}
