//! Can Synapse reach a bridge? The bridge's own ping, through Synapse.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::Span;
use crate::base::ids::hex;
use crate::check::people::errand::short;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::host;
use crate::world::http::{self, HttpTrouble, Request, Response};

/// Can Synapse reach a bridge?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynapseAppservicePing {
    /// The homeserver's address, as in `http://127.0.0.1:8008`.
    #[schemars(regex(pattern = r"^https?://"))]
    url: String,
    /// The `id` in the bridge's registration file.
    #[schemars(length(min = 1))]
    appservice: String,
    /// The `as_token` of the registration file: give it by a secret variable, as in `${as_token}`.
    token: String,
    /// Certificates (PEM) to trust beside the system's.
    #[serde(default)]
    ca_file: Option<String>,
    /// The longest that the answer may take; 30s when not given.
    #[serde(default)]
    within: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "synapse_appservice_ping",
    summary: "the homeserver reaches an application service (a bridge) and is answered",
    docs: DOCS,
    timeout: Some(Span::secs(180)),
    schema: || schema_for!(SynapseAppservicePing),
    build,
};

const DOCS: &str = r#"
Shows that the homeserver can reach an application service, such as a bridge: the way from Synapse to the bridge, with its
tokens.

**How it is measured.** The homeserver is asked, with the bridge's own token, to ping the bridge
(`POST /_matrix/client/v1/appservice/{id}/ping`, Matrix 1.7), and says how long the bridge took to answer.

**Passes** when the homeserver answers 200 with that time. **Fails** when it says that it could not reach the bridge, that the
bridge took too long or answered wrongly, or that the bridge's registration has no `url`.

**Unknown** when the homeserver itself cannot be reached, does not know the token or the id, does not know this request (an older
one), limits the rate, or answers something else.

**Traps.** It covers the way from the homeserver to the bridge only. It says nothing about the way back, the bridge's own
connection to the other network, or whether a message arrives: `round_trip` shows that. The homeserver reads the registration
when it starts: after a change of the file it still pings the old address.

```yaml
postconditions:
  - synapse_appservice_ping: { url: 'http://127.0.0.1:8008', appservice: irc, token: not-a-secret-in-an-example }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: SynapseAppservicePing =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.appservice.trim().is_empty() {
        return Err("`appservice` is empty: it is the `id` in the registration file".to_owned());
    }
    if check.token.trim().is_empty() {
        return Err("`token` is empty: it is the `as_token` in the registration file".to_owned());
    }
    let within = check.within();
    if within.0.is_zero() || within > Span::secs(120) {
        return Err(format!("`within` is {within}: more than nothing, and at most 2min"));
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for SynapseAppservicePing {
    async fn measure(&self, _cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let mark = match host::random::<6>() {
            Ok(bytes) => format!("holdpoint-{}", hex(&bytes)),
            Err(why) => return Outcome::unknown(why, wanted).help("measure again"),
        };
        let request = Request {
            method: "POST".to_owned(),
            url: format!(
                "{}/_matrix/client/v1/appservice/{}/ping",
                self.url.trim_end_matches('/'),
                encoded(&self.appservice)
            ),
            headers: vec![
                ("Authorization".to_owned(), format!("Bearer {}", self.token.trim())),
                ("Content-Type".to_owned(), "application/json".to_owned()),
            ],
            body: Some(json!({ "transaction_id": mark }).to_string().into_bytes()),
            timeout: self.within().0,
            ca_file: self.ca_file.as_ref().map(PathBuf::from),
            ..Request::default()
        };
        match http::ask(&request).await {
            Ok(answer) => self.judge(&answer, wanted),
            Err(error) => {
                let help = match error.kind {
                    HttpTrouble::Settings => "correct `url`, `token` or `ca_file`",
                    HttpTrouble::Tls => "give the certificate's authority as `ca_file`, or correct `url`",
                    _ => "start the homeserver, or correct `url`",
                };
                Outcome::unknown(error.message, wanted).help(help)
            }
        }
    }
}

impl SynapseAppservicePing {
    fn within(&self) -> Span {
        self.within.unwrap_or(Span::secs(30))
    }

    fn wanted(&self) -> String {
        format!("the application service `{}` answers the homeserver", short(&self.appservice, 80))
    }

    fn judge(&self, answer: &Response, wanted: String) -> Outcome {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = |key: &str| body.get(key).and_then(Value::as_str).map(|text| short(text, 200));
        let code = said("errcode").unwrap_or_default();
        let why = said("error").map(|text| format!(": {text}")).unwrap_or_default();
        // Before Matrix 1.7 they were called FI.MAU.MSC2659_….
        let short_code = code.trim_start_matches("M_").trim_start_matches("FI.MAU.MSC2659_").to_owned();
        let status = answer.status;
        let fail = |observed: String, help: &str| Outcome::fail(observed, &wanted).help(help);
        let unknown = |observed: String, help: &str| Outcome::unknown(observed, &wanted).help(help);
        let outcome = match (status, short_code.as_str()) {
            (200, _) => match body.get("duration_ms").and_then(Value::as_u64) {
                Some(millis) => Outcome::pass(
                    format!("it answered the homeserver after {}", Span::millis(millis)),
                    &wanted,
                )
                .fact("duration_ms", millis),
                None => unknown(
                    "status 200 without the time that it took: this is no homeserver's answer".to_owned(),
                    "find out what answers at `url`",
                ),
            },
            (_, "CONNECTION_FAILED") => fail(
                format!("the homeserver cannot reach it{why}"),
                "start the application service, or correct `url` in its registration",
            ),
            (_, "CONNECTION_TIMEOUT") => fail(
                format!("it did not answer the homeserver in time{why}"),
                "find out what holds the application service up",
            ),
            (_, "BAD_STATUS") => {
                let theirs = body.get("status").and_then(Value::as_u64);
                let theirs = theirs.map(|status| format!(" with status {status}")).unwrap_or_default();
                fail(
                    format!("it answered the homeserver{theirs}{why}"),
                    "compare `hs_token` on both sides, and look into the application service's log",
                )
            }
            (_, "URL_NOT_SET") => fail(
                format!("its registration has no `url`{why}"),
                "set `url` in its registration, and restart the homeserver",
            ),
            (401 | 403, _) => unknown(
                format!("the homeserver refuses the request ({status} {code}){why}"),
                "give the registration's own `as_token` and `id`; the homeserver reads them when it starts",
            ),
            (404 | 405, _) => unknown(
                format!("the homeserver does not know this request ({status} {code})"),
                "correct `url`, or use a homeserver that knows Matrix 1.7",
            ),
            (429, _) => unknown(format!("the homeserver limits the rate ({code})"), "measure again later"),
            _ => unknown(
                format!("the homeserver answered with status {status} {code}{why}"),
                "look into the homeserver's log",
            ),
        };
        outcome.fact("status", u64::from(status))
    }
}

/// As part of a path.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn answers_of_a_homeserver() {
        let check: SynapseAppservicePing =
            serde_json::from_value(json!({ "url": "http://h", "appservice": "irc", "token": "t" })).unwrap();
        let verdict = |status: u16, body: &str| {
            let answer = Response {
                status,
                headers: Vec::new(),
                body: body.into(),
                truncated: false,
                took: Duration::ZERO,
            };
            check.judge(&answer, String::new()).verdict
        };
        for (status, body, wanted) in [
            (200, r#"{"duration_ms": 12}"#, Verdict::Pass),
            (200, "{}", Verdict::Unknown),
            (200, "<html>", Verdict::Unknown),
            (502, r#"{"errcode": "M_CONNECTION_FAILED", "error": "x"}"#, Verdict::Fail),
            (504, r#"{"errcode": "M_CONNECTION_TIMEOUT"}"#, Verdict::Fail),
            (502, r#"{"errcode": "FI.MAU.MSC2659_BAD_STATUS", "status": 403}"#, Verdict::Fail),
            (400, r#"{"errcode": "M_URL_NOT_SET"}"#, Verdict::Fail),
            (401, r#"{"errcode": "M_UNKNOWN_TOKEN"}"#, Verdict::Unknown),
            (403, r#"{"errcode": "M_FORBIDDEN"}"#, Verdict::Unknown),
            (404, r#"{"errcode": "M_UNRECOGNIZED"}"#, Verdict::Unknown),
            (502, "bad gateway", Verdict::Unknown),
            (429, r#"{"errcode": "M_LIMIT_EXCEEDED"}"#, Verdict::Unknown),
        ] {
            assert_eq!(verdict(status, body), wanted, "{status} {body}");
        }
        assert_eq!(encoded("my bridge/ü"), "my%20bridge%2F%C3%BC");
    }
}
