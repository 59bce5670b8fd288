//! Does the container engine answer in time, about every container?

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::engine::{Client, Engine, Trouble, clients, read, sorted, valid};
use super::shape::short;
use crate::base::{Span, text};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Containers that are asked one by one when all at once were too slow.
const ONE_BY_ONE: usize = 20;
/// How long one of them may take then.
const EACH: Duration = Duration::from_secs(1);

/// Does the container engine answer in time, about every container?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerRuntime {
    /// `docker`, `podman`, or `auto` (the default): each whose program is installed; all must answer.
    #[serde(default)]
    engine: Engine,
    /// The engine's address, when it is not its own default: `unix:///run/user/1000/docker.sock`. Needs `engine`.
    #[serde(default)]
    host: Option<String>,
    /// The longest that each of its answers may take; 5s when not given.
    #[serde(default)]
    within: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "container_runtime",
    summary: "the container engine answers in time, about itself and about every container",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ContainerRuntime),
    build,
};

const DOCS: &str = r"
Shows that the container engine is there and answers in time, about itself and about every container.

**How it is measured.** `info`, the list of all containers, and `container inspect` of every one of them; each answer is timed and may
take `within` (5 seconds unless given).

**Passes** when all three come in time. **Fails** when nobody listens at the engine's address, when it answers with an error of its own, or
when an answer takes longer. **Unknown** when the program is not installed, or we may not talk to the engine.

**Traps.** `docker info` and `docker ps` answer within a quarter of a second while the engine is stuck with one container: with 400
published ports they still did, and `docker inspect` of the container being started answered after 14 seconds and more. So every
container is inspected. Up to Docker 26, `docker info --format json` exits with 0 although no daemon answered, and the older of
them prints no complaint: the answer itself is read. Podman has no daemon to be down; it still waits for locks. Each user
has an own rootless engine: measure as the user whose containers they are. A machine that has both programs and uses one engine
should name it.

```yaml
preconditions:
  - container_runtime: { engine: docker, within: 5s }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ContainerRuntime = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    valid(check.engine, check.host.as_deref())?;
    if check.within() < Duration::from_millis(100) {
        return Err(
            "`within` is shorter than the engine's own program takes to start: at least 100ms".to_owned()
        );
    }
    Ok(Box::new(check))
}

/// What one engine said.
struct Answered {
    version: String,
    containers: usize,
    slowest: (&'static str, Duration),
}

/// The part of `info` that is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    /// Docker's.
    #[serde(rename = "ServerVersion")]
    server: Option<String>,
    /// Docker's complaints, also when its exit status is 0.
    #[serde(rename = "ServerErrors")]
    errors: Option<Vec<String>>,
    /// Podman's.
    version: Option<PodmanVersion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PodmanVersion {
    version: String,
}

impl Info {
    /// The server's version; an answer without one was not given by a server.
    fn judged(self, program: &str) -> Result<String, Trouble> {
        if let Some(error) = self.errors.unwrap_or_default().first() {
            return Err(sorted(program, error));
        }
        let version = self.server.or(self.version.map(|podman| podman.version)).unwrap_or_default();
        match version.is_empty() {
            true => Err(Trouble::Down(format!("{program}: no server answered"))),
            false => Ok(version),
        }
    }
}

#[async_trait]
impl Check for ContainerRuntime {
    async fn measure(&self, cx: &Context) -> Outcome {
        let within = Span(self.within());
        let expected = format!("the engine answers within {within}, about every container, too");
        let clients = match clients(cx, self.engine, self.host.as_deref()).await {
            Ok(clients) => clients,
            Err(trouble) => return trouble.unknown(&expected),
        };
        let mut said = Vec::new();
        let mut unknown = None;
        let mut slowest = Duration::ZERO;
        let mut count = 0;
        for client in &clients {
            match self.answers(client, cx).await {
                Ok(seen) => {
                    slowest = slowest.max(seen.slowest.1);
                    count += seen.containers;
                    said.push(format!(
                        "{} {} answers about {}, `{}` took {}",
                        client.program,
                        seen.version,
                        text::count(seen.containers as u64, "container", "containers"),
                        seen.slowest.0,
                        Span(seen.slowest.1)
                    ));
                }
                Err(trouble @ (Trouble::Absent(_) | Trouble::Denied(_))) => unknown = Some(trouble),
                Err(trouble) => {
                    let help = match &trouble {
                        Trouble::Slow(_) => {
                            "remove nothing; read what the engine is doing (its log, `top`) and wait until it is done"
                        }
                        _ => {
                            "start nothing on top of it; find out from the engine's log why it does not answer"
                        }
                    };
                    return Outcome::fail(trouble.to_string(), expected).help(help);
                }
            }
        }
        match unknown {
            Some(trouble) => trouble.unknown(&expected),
            None => Outcome::pass(said.join("; "), expected)
                .fact("slowest_ms", slowest.as_millis() as u64)
                .fact("containers", count),
        }
    }
}

impl ContainerRuntime {
    fn within(&self) -> Duration {
        self.within.map_or(Duration::from_secs(5), |span| span.0)
    }

    async fn answers(&self, client: &Client, cx: &Context) -> Result<Answered, Trouble> {
        let within = self.within();
        let mut slowest = ("info", Duration::ZERO);
        let mut timed = |what: &'static str, began: Instant| {
            let took = Duration::from_millis(began.elapsed().as_millis() as u64);
            if took >= slowest.1 {
                slowest = (what, took);
            }
        };
        let began = Instant::now();
        let info = client.ask(cx, &["info", "--format", "{{json .}}"], within).await?;
        timed("info", began);
        let version = read::<Info>(client.program, &info)?.judged(client.program)?;
        let began = Instant::now();
        let ids = client.names(cx, &["container", "ls", "--all", "--no-trunc", "--quiet"], within).await?;
        timed("container ls", began);
        let began = Instant::now();
        if !ids.is_empty() {
            let mut question = vec!["container", "inspect", "--format", "{{.Id}}", "--"];
            question.extend(ids.iter().map(String::as_str));
            match client.names(cx, &question, within).await {
                // One that went since it was listed is no fault of the engine's.
                Ok(_) | Err(Trouble::Missing(_)) => {}
                Err(Trouble::Slow(_)) => return Err(Trouble::Slow(stuck(client, cx, &ids, within).await)),
                Err(trouble) => return Err(trouble),
            }
        }
        timed("container inspect", began);
        Ok(Answered { version, containers: ids.len(), slowest })
    }
}

/// Which containers the engine does not tell of.
async fn stuck(client: &Client, cx: &Context, ids: &[String], within: Duration) -> String {
    let ask = async |id: &String| {
        let question = ["container", "inspect", "--format", "{{.Name}}", "--", id];
        let answer = client.ask(cx, &question, EACH).await;
        matches!(answer, Err(Trouble::Slow(_))).then(|| short(id).to_owned())
    };
    let asked = futures::future::join_all(ids.iter().take(ONE_BY_ONE).map(ask)).await;
    let named: Vec<String> = asked.into_iter().flatten().collect();
    let about = match named.len() {
        0 => text::count(ids.len() as u64, "container", "containers"),
        1..=3 => format!("container {}", named.join(", ")),
        more => format!("container {} and {} more", named[..3].join(", "), more - 3),
    };
    format!("{} answers `info`, but did not tell of {about} within {}", client.program, Span(within))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_a_server_is_none_whatever_the_exit_status() {
        for text in [
            include_str!("../../../tests/fixtures/containers/docker-20/down.json"),
            include_str!("../../../tests/fixtures/containers/docker-20/down-tcp.json"),
            include_str!("../../../tests/fixtures/containers/docker-26/down.json"),
        ] {
            let info: Info = serde_json::from_str(text).unwrap();
            assert!(matches!(info.judged("docker"), Err(Trouble::Down(_))), "{text}");
        }
        for text in [
            include_str!("../../../tests/fixtures/containers/docker-20/denied.json"),
            include_str!("../../../tests/fixtures/containers/docker-26/denied.json"),
        ] {
            let info: Info = serde_json::from_str(text).unwrap();
            assert!(matches!(info.judged("docker"), Err(Trouble::Denied(_))), "{text}");
        }
        let empty: Info = serde_json::from_str("{}").unwrap();
        assert!(matches!(empty.judged("docker"), Err(Trouble::Down(_))));
    }

    #[test]
    fn no_time_at_all_is_no_limit() {
        let params = |within: &str| json!({ "within": within }).as_object().cloned().unwrap();
        assert!(build(params("0s")).is_err());
        assert!(build(params("2s")).is_ok());
    }
}
