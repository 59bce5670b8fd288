//! Does a web service answer a request as it should?

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::base::text::neutral;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::http::{self, HttpTrouble, Request};

/// Does a web service answer a request as it should?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpAnswers {
    /// The address: `http://` or `https://`.
    #[schemars(length(min = 1))]
    url: String,
    /// `GET` when not given. Only methods that read: `GET`, `HEAD`, `OPTIONS`.
    #[serde(default)]
    method: Option<String>,
    /// Headers to send. A secret belongs into a secret variable.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Statuses that are right; 200 when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    status: Option<Vec<Count>>,
    /// Text that the answer must contain.
    #[serde(default)]
    contains: Option<String>,
    /// Values that the answer, as JSON, must have: a JSON pointer (`/chunk/0/state`) and the value as text.
    #[serde(default)]
    json: BTreeMap<String, String>,
    /// The longest that the whole answer may take; 10 s when not given.
    #[serde(default)]
    within: Option<Span>,
    /// A file of certificates (PEM) to trust beside the system's.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "http_answers",
    summary: "a web service answers a request with the right status and content, in time",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(HttpAnswers),
    build,
};

const DOCS: &str = r#"
Shows that a web service answers a request as it should.

**How it is measured.** One request, without the environment's proxy, without following redirects, with the certificate
verified. The first MiB of the answer is read.

**Passes** when the answer came in time, its status is one of `status` (200), it contains `contains`, and every value of `json` is
as given. **Fails** when it came and is otherwise, when it took too long, when nothing listens there, or when the certificate is not
accepted.

**Unknown** when the name cannot be looked up, the address cannot be reached, the exchange broke half-way, or the answer was
longer than what was read and the text was not found in it.

**Traps.** A page that says "OK" may come from a proxy in front of a dead service: ask for something that only the service
knows. A request that is answered shows one way only; `round_trip` shows that a message arrives. Addresses are shown
without their query, where secrets live.

```yaml
postconditions:
  - http_answers: { url: 'http://app1.example.org:8008/_matrix/client/versions', contains: '"versions"', within: 5s }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: HttpAnswers = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if let Some(method) = check.method.as_deref().filter(|m| !["GET", "HEAD", "OPTIONS"].contains(m)) {
        return Err(format!("a check only reads: `{method}` is not GET, HEAD or OPTIONS"));
    }
    if let Some(wrong) = check.json.keys().find(|key| !key.is_empty() && !key.starts_with('/')) {
        return Err(format!("`{wrong}` is no JSON pointer; write `/{wrong}`"));
    }
    Ok(Box::new(check))
}

impl HttpAnswers {
    fn statuses(&self) -> Vec<u64> {
        self.status.as_ref().map_or_else(|| vec![200], |all| all.iter().map(|count| count.0).collect())
    }

    fn expected(&self) -> String {
        let statuses: Vec<_> = self.statuses().iter().map(ToString::to_string).collect();
        let mut text = format!("status {} from {}", statuses.join(" or "), http::shown(&self.url));
        text.push_str(&format!(" within {}", self.within.unwrap_or(Span::secs(10))));
        if let Some(wanted) = &self.contains {
            text.push_str(&format!(", with `{}` in it", neutral(wanted)));
        }
        for (pointer, value) in &self.json {
            text.push_str(&format!(", {pointer} = {}", neutral(value)));
        }
        text
    }

    /// What is wrong with the content; `Err` when that cannot be told.
    fn content(&self, answer: &http::Response) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        if let Some(wanted) = &self.contains
            && !answer.text().contains(wanted.as_str())
        {
            if answer.truncated {
                return Err(
                    "the answer is longer than what is read, and the text was not found so far".into()
                );
            }
            wrong.push(format!("`{}` is not in the answer", neutral(wanted)));
        }
        if self.json.is_empty() {
            return Ok(wrong);
        }
        if answer.truncated {
            return Err("the answer is longer than what is read".into());
        }
        match serde_json::from_slice::<Value>(&answer.body) {
            Err(error) => wrong.push(format!("the answer is no JSON: {error}")),
            Ok(value) => {
                for (pointer, wanted) in &self.json {
                    let found = value.pointer(pointer).map(|found| match found {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    });
                    match found {
                        Some(found) if found == *wanted => {}
                        Some(found) => wrong.push(format!("{pointer} is {}", neutral(&short(&found)))),
                        None => wrong.push(format!("{pointer} is not there")),
                    }
                }
            }
        }
        Ok(wrong)
    }
}

fn short(text: &str) -> String {
    if text.chars().count() > 100 {
        text.chars().take(100).collect::<String>() + " ..."
    } else {
        text.to_owned()
    }
}

#[async_trait]
impl Check for HttpAnswers {
    async fn measure(&self, _cx: &Context) -> Outcome {
        let expected = self.expected();
        let request = Request {
            method: self.method.clone().unwrap_or_default(),
            url: self.url.clone(),
            headers: self.headers.clone().into_iter().collect(),
            timeout: self.within.unwrap_or(Span::secs(10)).0,
            ca_file: self.ca_file.clone(),
            ..Request::default()
        };
        let answer = match http::ask(&request).await {
            Ok(answer) => answer,
            Err(error) => {
                let refused = error.message.contains("refused");
                return match error.kind {
                    HttpTrouble::Connect if refused => {
                        Outcome::fail(error.message, expected).help("start the service, then measure again")
                    }
                    HttpTrouble::Timeout => Outcome::fail(error.message, expected)
                        .help("find out what keeps the service from answering"),
                    HttpTrouble::Tls => Outcome::fail(error.message, expected)
                        .help("see `tls_certificate` for what is wrong with the certificate"),
                    HttpTrouble::Settings => Outcome::unknown(error.message, expected)
                        .help("correct the check, then measure again"),
                    HttpTrouble::Connect | HttpTrouble::Broken => Outcome::unknown(error.message, expected)
                        .help("look at the name, the route and the service, in this order"),
                };
            }
        };
        let mut wrong = Vec::new();
        if !self.statuses().contains(&u64::from(answer.status)) {
            wrong.push(format!("status {}", answer.status));
        }
        match self.content(&answer) {
            Err(why) if wrong.is_empty() => {
                return Outcome::unknown(why, expected).help("ask for something shorter");
            }
            Err(_) => {}
            Ok(found) => wrong.extend(found),
        }
        let took = Span(std::time::Duration::from_millis(answer.took.as_millis() as u64));
        let observed = match wrong.as_slice() {
            [] => format!("status {}, {} bytes within {took}", answer.status, answer.body.len()),
            wrong => wrong.join("; "),
        };
        let mut outcome = Outcome::judge(wrong.is_empty(), observed, expected)
            .help("look into the service's log, then measure again")
            .fact("status", answer.status)
            .fact("millis", answer.took.as_millis() as u64);
        if !wrong.is_empty() && !answer.body.is_empty() {
            outcome = outcome.detail(format!("it says: {}", neutral(&short(&answer.text()))));
        }
        outcome
    }
}
