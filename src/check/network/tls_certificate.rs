//! Is a peer's certificate one that clients will accept, and for how much longer?

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::tls::{self, Peer, TlsError};

/// Is a peer's certificate one that clients will accept, and for how much longer?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsCertificate {
    /// Host and port: `matrix.example.org:443`.
    #[schemars(length(min = 1))]
    address: String,
    /// The name that the certificate must carry; the host of `address` when not given.
    #[serde(default)]
    name: Option<String>,
    /// How long it must remain valid; 14 days when not given.
    #[serde(default)]
    left: Option<Span>,
    /// A file of certificates (PEM) to trust instead of the system's.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "tls_certificate",
    summary: "a peer's certificate is accepted by clients, and will be for long enough",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(TlsCertificate),
    build,
};

const DOCS: &str = r"
Shows that clients accept a peer's certificate, and will go on to do so for `left`.

**How it is measured.** A TLS handshake (1.2 or 1.3), then the whole chain is verified as a client does: name, signatures, trust,
and time. The last moment at which it holds is found by asking the same verifier about later times, so the
certificate of the chain that ends first decides.

**Passes** when the chain holds now and for at least `left`. **Fails** when it does not hold (expired, not yet valid, wrong name,
unknown authority) or ends sooner, when nothing listens there, or when what listens speaks no TLS.

**Unknown** when there is no answer in time, the name cannot be looked up, or this machine has no authorities to trust.

**Traps.** Times are compared with this machine's clock: put `clock_offset` beside it. Revocation is not looked at. PostgreSQL
speaks TLS only after a greeting of its own: name it as a target with `sslmode=verify-full` instead.

```yaml
preconditions:
  - tls_certificate: { address: 'matrix.example.org:443', left: 30d }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: TlsCertificate = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if host(&check.address).is_none() && !check.address.contains("${") {
        return Err(format!("`{}` has no port; write HOST:PORT", check.address));
    }
    Ok(Box::new(check))
}

fn host(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some(host.trim_start_matches('[').trim_end_matches(']')).filter(|host| !host.is_empty())
}

#[async_trait]
impl Check for TlsCertificate {
    async fn measure(&self, cx: &Context) -> Outcome {
        let left = self.left.unwrap_or(Span::secs(14 * 86_400));
        let name = self.name.clone().or_else(|| host(&self.address).map(str::to_owned)).unwrap_or_default();
        let expected = format!("a certificate for {name} that is valid for at least {left}");
        let peer = Peer {
            address: self.address.clone(),
            name,
            ca_file: self.ca_file.clone(),
            timeout: Duration::from_secs(10),
        };
        let shown = match tls::look(&peer).await {
            Ok(shown) => shown,
            Err(TlsError::Connect(why)) if why.contains("refused") => {
                return Outcome::fail(why, expected).help("start what should listen there");
            }
            Err(TlsError::Handshake(why)) => {
                return Outcome::fail(why, expected)
                    .help("see what listens there: it does not speak TLS as clients do");
            }
            Err(error) => {
                return Outcome::unknown(error.to_string(), expected)
                    .help("look at the name, the route and the file of authorities");
            }
        };
        let until = match shown.valid_until {
            Ok(until) => until,
            Err(why) => {
                return Outcome::fail(format!("clients refuse it: {why}"), expected)
                    .help("renew the certificate, or install its whole chain");
            }
        };
        let rest = (until.as_second() - cx.world.clock.now().wall.as_second()).max(0) as u64;
        let day = until.strftime("%Y-%m-%d %H:%M UTC");
        let days = rest / 86_400;
        Outcome::judge(rest >= left.0.as_secs(), format!("valid until {day} ({days} days more)"), expected)
            .help("renew the certificate, and see why its renewal did not come about")
            .detail(format!("the peer speaks {}", shown.protocol))
            .fact("seconds_left", rest)
    }
}
