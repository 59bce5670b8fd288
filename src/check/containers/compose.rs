//! What a compose file means, as the compose program itself understands it: `config --format json`, with variables,
//! includes and ranges resolved. Nothing is started.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::engine::{Client, PATIENCE, Trouble, complaint, installed, read};
use crate::base::Span;
use crate::check::Context;
use crate::world::process::Probe;

/// A compose file, and which of its services.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Compose {
    /// The file, by its whole path. Its folder's `.env` is read as compose does.
    file: String,
    /// One of its services; all that `up` would start when not given.
    #[serde(default)]
    service: Option<String>,
    /// The project's name, when `up` is given one.
    #[serde(default)]
    project: Option<String>,
    /// Variables that the file uses and `.env` does not set. Nothing is taken from the session's environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Project {
    #[serde(default)]
    name: String,
    #[serde(default, deserialize_with = "or_none")]
    services: BTreeMap<String, Service>,
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    #[serde(deserialize_with = "or_none")]
    image: String,
    #[serde(deserialize_with = "or_none")]
    environment: BTreeMap<String, Option<Value>>,
    #[serde(deserialize_with = "or_none")]
    volumes: Vec<Volume>,
    #[serde(deserialize_with = "or_none")]
    tmpfs: Vec<String>,
    #[serde(deserialize_with = "or_none")]
    ports: Vec<Port>,
    #[serde(deserialize_with = "or_none")]
    scale: Option<u64>,
    #[serde(deserialize_with = "or_none")]
    deploy: Deploy,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Deploy {
    replicas: Option<u64>,
}

/// A mount that a service declares.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Volume {
    /// `bind`, `volume`, `tmpfs`.
    #[serde(rename = "type", deserialize_with = "or_none")]
    pub(super) kind: String,
    /// A host directory or a volume's name; empty for an anonymous volume.
    #[serde(deserialize_with = "or_none")]
    pub(super) source: String,
    /// The path in the container.
    #[serde(deserialize_with = "or_none")]
    pub(super) target: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Port {
    #[serde(deserialize_with = "or_none")]
    published: String,
}

fn or_none<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Service {
    /// Its image: the one it names, or the one that compose builds for it.
    pub(super) fn image(&self, project: &str, name: &str) -> String {
        if self.image.is_empty() { format!("{project}-{name}") } else { self.image.clone() }
    }

    /// A variable that it sets.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        match self.environment.get(name)?.as_ref()? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// What it mounts, tmpfs included.
    pub(super) fn mounts(&self) -> Vec<Volume> {
        let mut all = self.volumes.clone();
        all.extend(self.tmpfs.iter().map(|path| Volume {
            kind: "tmpfs".to_owned(),
            source: String::new(),
            target: path.split(':').next().unwrap_or(path).to_owned(),
        }));
        all
    }

    /// How many ports it publishes, each of its copies counted; one of a range to choose from counts once.
    pub(super) fn published(&self) -> u64 {
        let copies = self.scale.or(self.deploy.replicas).unwrap_or(1);
        (self.ports.len() as u64).saturating_mul(copies)
    }

    /// True when one of its ports is chosen from a range.
    pub(super) fn chosen(&self) -> bool {
        self.ports.iter().any(|port| port.published.is_empty() || port.published.contains('-'))
    }
}

impl Compose {
    /// What makes no sense.
    pub(super) fn valid(&self) -> Result<(), String> {
        match self.file.starts_with('/') {
            true => Ok(()),
            false => Err("`compose.file` is a whole path, as in /srv/matrix/docker-compose.yml".to_owned()),
        }
    }

    /// The services that are meant, and the project's name.
    pub(super) async fn read(
        &self,
        cx: &Context,
        client: &Client,
    ) -> Result<(String, BTreeMap<String, Service>), Trouble> {
        let answer = self.config(cx, client).await?;
        self.services(read("compose", &answer)?)
    }

    fn services(&self, project: Project) -> Result<(String, BTreeMap<String, Service>), Trouble> {
        let mut services = project.services;
        if let Some(name) = &self.service {
            services.retain(|service, _| service == name);
            if services.is_empty() {
                return Err(Trouble::Missing(format!("{} has no service `{name}`", self.file)));
            }
        }
        match services.is_empty() {
            true => Err(Trouble::Other(format!("{} has no services: nothing to look at", self.file))),
            false => Ok((project.name, services)),
        }
    }

    async fn config(&self, cx: &Context, client: &Client) -> Result<Vec<u8>, Trouble> {
        // Compose is a plugin of docker, or a program of its own, which also serves podman.
        let mut argv: Vec<String> = match client.program {
            "docker" if !installed(cx, "docker-compose").await || self.plugin(cx).await => {
                vec!["docker".to_owned(), "compose".to_owned()]
            }
            _ if installed(cx, "docker-compose").await => vec!["docker-compose".to_owned()],
            _ => return Err(Trouble::Absent("no program is called docker-compose".to_owned())),
        };
        argv.extend(["--file".to_owned(), self.file.clone()]);
        if let Some(project) = &self.project {
            argv.extend(["--project-name".to_owned(), project.clone()]);
        }
        argv.extend(["config", "--format", "json"].map(str::to_owned));
        let folder = std::path::Path::new(&self.file).parent().map(|path| path.display().to_string());
        let probe =
            Probe { argv, env: self.env.clone(), cwd: folder, user: None, timeout: PATIENCE, keep: 64 << 20 };
        let seen = cx.world.processes.probe(&probe).await.map_err(Trouble::Absent)?;
        let stderr = String::from_utf8_lossy(&seen.stderr);
        if let Some(unset) = unset(&stderr) {
            return Err(Trouble::Other(format!(
                "{} uses the variable {unset}, which is not set here: give it in `compose.env`, or in the folder's .env",
                self.file
            )));
        }
        match seen.status {
            Some(0) if !seen.truncated && !seen.stdout.trim_ascii().is_empty() => Ok(seen.stdout),
            _ if seen.timed_out => {
                Err(Trouble::Slow(format!("compose did not answer within {}", Span(PATIENCE))))
            }
            _ => {
                let said = complaint(&stderr);
                let old = [
                    "unknown shorthand flag",
                    "unknown command",
                    "is not a docker command",
                    "Usage:",
                    "--format",
                ]
                .iter()
                .any(|word| stderr.contains(word));
                Err(match old {
                    true => Trouble::Absent(format!(
                        "no compose here that writes JSON (version 2 or newer): {said}"
                    )),
                    false => Trouble::Other(format!("compose: {said}")),
                })
            }
        }
    }

    async fn plugin(&self, cx: &Context) -> bool {
        let argv = ["docker", "compose", "version"].map(str::to_owned).to_vec();
        super::engine::run(cx, argv, PATIENCE).await.is_ok()
    }
}

/// The variable that compose read as empty because nothing sets it.
fn unset(stderr: &str) -> Option<&str> {
    let line = stderr.lines().find(|line| line.contains("variable is not set"))?;
    let end = line.find("variable is not set")?;
    line[..end].trim_end_matches([' ', '\\', '"', '\'']).rsplit(['"', '\\', ' ', '\'']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose(service: Option<&str>) -> Compose {
        Compose {
            file: "/srv/c.yml".to_owned(),
            service: service.map(str::to_owned),
            project: None,
            env: BTreeMap::new(),
        }
    }

    #[test]
    fn what_two_versions_say() {
        for text in [
            include_str!("../../../tests/fixtures/containers/docker-26/compose.json"),
            include_str!("../../../tests/fixtures/containers/docker-28/compose.json"),
        ] {
            let project = || serde_json::from_str::<Project>(text).unwrap();
            let (name, all) = compose(None).services(project()).unwrap();
            assert_eq!((name.as_str(), all.len()), ("book", 3));
            let turn = &all["turn"];
            assert_eq!((turn.published(), turn.chosen()), (14, true));
            assert_eq!(all["db"].mounts()[0].target, "/var/lib/postgresql");
            let web: Vec<_> = all["web"].mounts().into_iter().map(|m| (m.kind, m.source, m.target)).collect();
            let mount = |kind: &str, source: &str, target: &str| {
                (kind.to_owned(), source.to_owned(), target.to_owned())
            };
            assert_eq!(web[0], mount("volume", "", "/var/lib/postgresql/data"));
            assert_eq!(web[1], mount("volume", "kept", "/srv/kept"));
            assert_eq!(web[2], mount("tmpfs", "", "/cache"));
            assert_eq!(compose(Some("db")).services(project()).unwrap().1.len(), 1);
            assert!(matches!(compose(Some("nosuch")).services(project()), Err(Trouble::Missing(_))));
        }
        let several: Service = serde_json::from_str(
            r#"{ "ports": [{ "published": "1" }, { "published": "2" }], "deploy": { "replicas": 3 }, "tmpfs": ["/c:size=1m"] }"#,
        )
        .unwrap();
        assert_eq!((several.published(), several.chosen()), (6, false));
        assert_eq!(several.mounts()[0].target, "/c");
        assert_eq!(several.image("book", "web"), "book-web");
    }

    #[test]
    fn a_variable_that_nothing_sets_is_named() {
        let warned = include_str!("../../../tests/fixtures/containers/docker-28/compose.err");
        assert_eq!(unset(warned), Some("DB_PASSWORD"));
        assert_eq!(unset("time=x level=warning msg=\"the attribute `version` is obsolete\""), None);
    }
}
