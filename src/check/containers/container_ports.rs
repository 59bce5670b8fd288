//! How many ports do containers publish?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compose::Compose;
use super::engine::{Client, Engine, PATIENCE, Trouble, clients, valid};
use super::shape::Container;
use crate::base::{Span, text};
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Details at most.
const SHOWN: usize = 10;

/// How many ports do containers publish?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerPorts {
    /// Containers, by name or id. When neither these nor `compose` are given: all there are, stopped ones included.
    #[serde(default)]
    containers: Option<Vec<String>>,
    /// A compose file, before it is started: `{ file: /srv/matrix/docker-compose.yml }`.
    #[serde(default)]
    compose: Option<Compose>,
    /// `docker`, `podman`, or `auto` (the default): each whose program is installed.
    #[serde(default)]
    engine: Engine,
    /// The engine's address, when it is not its own default: `unix:///run/user/1000/docker.sock`. Needs `engine`.
    #[serde(default)]
    host: Option<String>,
    /// The most ports that may be published in all; 100 when not given.
    #[serde(default)]
    at_most: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "container_ports",
    summary: "containers, or a compose file before it is started, publish no more ports than the engine can carry",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(ContainerPorts),
    build,
};

const DOCS: &str = r"
Shows that containers publish no more ports than their engine can carry. Best measured of the compose file, before `up`.

**How it is measured.** Of containers: what they were made to publish, and what is bound (`container inspect`); a port published at
IPv4 and IPv6 counts once, stopped containers count, too. Of a compose file: what the compose program itself reads in it
(`config --format json`), ranges and variables resolved, times the number of copies of each service.

**Passes** when there are at most `at_most` in all (100 unless given); no container at all is none. **Fails** when there are more.
**Unknown** when the engine or a container is not there, compose is missing or older than version 2, the file is wrong, or it uses a
variable that is set neither in `compose.env` nor in the folder's `.env`: a range in a variable would count as nothing.

**Traps.** For each published port Docker adds firewall rules and starts one or two processes, one after the other: 100 take
seconds, 400 a quarter to half a minute, 11,000 hours in which the engine answers to hardly anything. A service
that needs a large range (TURN, RTP) belongs on the host's network (`network_mode: host`), where nothing is published.
Services in a profile are counted when the file's own settings start them.

```yaml
preconditions:
  - container_ports: { engine: docker, compose: { file: /srv/matrix/docker-compose.yml } }
postconditions:
  - container_ports: { id: running, containers: [synapse, coturn], at_most: 20 }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ContainerPorts = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    valid(check.engine, check.host.as_deref())?;
    if let Some(compose) = &check.compose {
        compose.valid()?;
        if check.containers.is_some() {
            return Err("say `containers` or `compose`, not both".to_owned());
        }
    }
    if check.containers.as_ref().is_some_and(|names| names.is_empty() || names.iter().any(String::is_empty)) {
        return Err("`containers` names none: leave it out for all of them".to_owned());
    }
    Ok(Box::new(check))
}

/// What publishes how many.
struct Counted {
    name: String,
    ports: u64,
    remark: String,
}

#[async_trait]
impl Check for ContainerPorts {
    async fn measure(&self, cx: &Context) -> Outcome {
        let most = self.at_most.map_or(100, |count| count.0);
        let expected = format!("at most {} in all", text::count(most, "published port", "published ports"));
        match self.count(cx).await {
            Ok(counted) => judge(counted, most, expected),
            Err(trouble) => trouble.unknown(&expected),
        }
    }
}

impl ContainerPorts {
    async fn count(&self, cx: &Context) -> Result<Vec<Counted>, Trouble> {
        let clients = clients(cx, self.engine, self.host.as_deref()).await?;
        let mut all = Vec::new();
        if let Some(compose) = &self.compose {
            let client = clients.first().ok_or_else(|| Trouble::Absent("no engine".to_owned()))?;
            let (_, services) = compose.read(cx, client).await?;
            all.extend(services.into_iter().map(|(name, service)| Counted {
                ports: service.published(),
                remark: if service.chosen() {
                    ", some chosen at the start".to_owned()
                } else {
                    String::new()
                },
                name: format!("service {name}"),
            }));
            return Ok(all);
        }
        let mut missing: Vec<String> = Vec::new();
        for client in &clients {
            for container in self.containers(cx, client, &mut missing).await? {
                all.push(counted(client, &container));
            }
        }
        if let Some(names) = &self.containers {
            for name in names {
                if missing.iter().filter(|gone| *gone == name).count() == clients.len() {
                    return Err(Trouble::Missing(format!("no container is called `{name}`")));
                }
            }
        }
        Ok(all)
    }

    /// Those that are named and known to this engine, or all of them.
    async fn containers(
        &self,
        cx: &Context,
        client: &Client,
        missing: &mut Vec<String>,
    ) -> Result<Vec<Container>, Trouble> {
        let Some(names) = &self.containers else {
            let ids =
                client.names(cx, &["container", "ls", "--all", "--no-trunc", "--quiet"], PATIENCE).await?;
            return client.inspect(cx, "container", &ids).await;
        };
        let mut found = Vec::new();
        for name in names {
            match client.container(cx, name).await {
                Ok(container) => found.push(container),
                Err(Trouble::Missing(_)) => missing.push(name.clone()),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(found)
    }
}

fn counted(client: &Client, container: &Container) -> Counted {
    let published = container.published();
    let remark = match published.first() {
        _ if container.host_config.network_mode == "host" => ", on the host's own network".to_owned(),
        Some(first) => format!(", as in {first}"),
        None => String::new(),
    };
    Counted {
        name: format!("{} {}", client.program, container.name()),
        ports: published.len() as u64,
        remark,
    }
}

fn judge(mut counted: Vec<Counted>, most: u64, expected: String) -> Outcome {
    counted.sort_by(|a, b| b.ports.cmp(&a.ports).then_with(|| a.name.cmp(&b.name)));
    let total: u64 = counted.iter().fold(0, |sum, one| sum.saturating_add(one.ports));
    let mut observed = text::count(total, "port", "ports");
    if let Some(first) = counted.first().filter(|first| first.ports > 0) {
        observed += &format!(", {} of them by {}", text::thousands(first.ports), first.name);
    } else if counted.is_empty() {
        observed += ": there is no container";
    }
    let mut outcome = Outcome::judge(total <= most, observed, expected)
        .help("do not start it: publish a smaller range, or give that service the host's network (`network_mode: host`)")
        .fact("ports", total)
        .fact("containers", counted.len());
    for one in counted.iter().take(SHOWN) {
        outcome = outcome.detail(format!(
            "{}: {}{}",
            one.name,
            text::count(one.ports, "port", "ports"),
            one.remark
        ));
    }
    if counted.len() > SHOWN {
        outcome = outcome.detail(format!("and {} more", counted.len() - SHOWN));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn the_sum_counts_and_the_largest_is_named() {
        let one = |name: &str, ports| Counted { name: name.to_owned(), ports, remark: String::new() };
        let outcome = judge(vec![one("web", 60), one("turn", 61)], 120, String::new());
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.observed, "121 ports, 61 of them by turn");
        assert_eq!(judge(vec![one("web", 60), one("turn", 60)], 120, String::new()).verdict, Verdict::Pass);
        assert_eq!(judge(Vec::new(), 0, String::new()).observed, "0 ports: there is no container");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |params: Value| build(params.as_object().cloned().unwrap()).map(|_| ()).unwrap_err();
        assert!(refused(json!({ "containers": [] })).contains("names none"));
        assert!(refused(json!({ "compose": { "file": "docker-compose.yml" } })).contains("whole path"));
        assert!(
            refused(json!({ "containers": ["a"], "compose": { "file": "/c.yml" } })).contains("not both")
        );
    }
}
