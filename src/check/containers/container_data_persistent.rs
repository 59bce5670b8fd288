//! Does the data of a running container lie on storage that outlives the container?

mod cluster;
mod standing;

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::bytes::{inside, mount_of, normal, resolved, same, within};
use super::engine::{Client, Engine, Trouble, clients, valid};
use super::shape::{Container, Mount, short};
use crate::base::Span;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use cluster::Asked;
use standing::{Standing, fate, stands};

/// The file that every PostgreSQL data directory has.
const CLUSTER: &str = "PG_VERSION";

/// Does the data of a running container lie on storage that outlives the container?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerDataPersistent {
    /// The container's name or id.
    container: String,
    /// `docker`, `podman`, or `auto` (the default): whichever of them knows the container.
    #[serde(default)]
    engine: Engine,
    /// The engine's address, when it is not its own default: `unix:///run/user/1000/docker.sock`. Needs `engine`.
    #[serde(default)]
    host: Option<String>,
    /// The PostgreSQL server that runs in the container: it is asked for its data directory, and must be the server whose
    /// files the container holds.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The directory in the container, instead of asking a target. When neither is given, the container's PGDATA.
    #[serde(default)]
    data_directory: Option<String>,
    /// The file in it that shows that the data is there; `PG_VERSION` when not given.
    #[serde(default)]
    holds: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "container_data_persistent",
    summary: "a container's data directory lies on storage that outlives the container",
    docs: include_str!("container_data_persistent.md"),
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(ContainerDataPersistent),
    build,
};

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ContainerDataPersistent =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    valid(check.engine, check.host.as_deref())?;
    if check.container.trim().is_empty() {
        return Err("`container` is empty: say which container".to_owned());
    }
    if check.target.is_some() && check.data_directory.is_some() {
        return Err("`target` is asked for its data directory: leave out `data_directory`".to_owned());
    }
    if check.data_directory.as_ref().is_some_and(|path| normal(path).is_none()) {
        return Err(
            "`data_directory` is a path from the container's root, as in /var/lib/postgresql/data".to_owned()
        );
    }
    if check.holds.as_ref().is_some_and(|file| file.is_empty() || file.starts_with('/')) {
        return Err("`holds` is the name of a file in the data directory, as in PG_VERSION".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for ContainerDataPersistent {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted =
            format!("the data directory on a bind mount or a named volume, with {} in it", self.holds());
        let asked = match &self.target {
            None => None,
            Some(target) => match cluster::ask(cx, KIND.name, target, &wanted).await {
                Ok(asked) => Some(asked),
                Err(outcome) => return outcome,
            },
        };
        let mut outcome = match self.look(cx, asked.as_ref(), &wanted).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        if let (Some(target), Some(asked)) = (&self.target, asked) {
            outcome = outcome.on(target, asked.identity);
        }
        outcome
    }
}

impl ContainerDataPersistent {
    fn holds(&self) -> &str {
        self.holds.as_deref().unwrap_or(CLUSTER)
    }

    /// The container, and the engine that knows it.
    async fn find(&self, cx: &Context) -> Result<(Client, Container), Trouble> {
        let mut found = Vec::new();
        let mut troubles = Vec::new();
        for client in clients(cx, self.engine, self.host.as_deref()).await? {
            match client.container(cx, &self.container).await {
                Ok(container) => found.push((client, container)),
                Err(trouble) => troubles.push(trouble),
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => {
                let why = format!("docker and podman both know `{}`: say which `engine`", self.container);
                Err(Trouble::Other(why))
            }
            (None, _) => {
                let why = troubles.iter().map(Trouble::to_string).collect::<Vec<_>>().join("; ");
                // What stands in the way of one engine matters more than that the other knows no such container.
                let worst = troubles.into_iter().find(|trouble| !matches!(trouble, Trouble::Missing(_)));
                Err(match worst {
                    None => Trouble::Missing(why),
                    Some(Trouble::Denied(_)) => Trouble::Denied(why),
                    Some(Trouble::Down(_)) => Trouble::Down(why),
                    Some(Trouble::Slow(_)) => Trouble::Slow(why),
                    Some(_) => Trouble::Other(why),
                })
            }
        }
    }

    async fn look(&self, cx: &Context, asked: Option<&Asked>, wanted: &str) -> Result<Outcome, Outcome> {
        let (client, container) = self.find(cx).await.map_err(|trouble| trouble.unknown(wanted))?;
        let unknown = |why: String| Outcome::unknown(why, wanted);
        let said = match (asked, &self.data_directory) {
            (Some(asked), _) => Some(asked.data_directory.as_str()),
            (None, Some(path)) => Some(path.as_str()),
            (None, None) => container.env("PGDATA"),
        };
        let Some(directory) = said.and_then(normal) else {
            return Err(unknown(format!(
                "{} has no PGDATA that would tell where its data is",
                container.name()
            ))
            .help("say `target` or `data_directory`"));
        };
        let mounts = container.mounts();
        let inside = inside(cx, &container).await;
        let path = match &inside {
            Ok(root) => resolved(cx, root, &directory).await.map_err(|why| {
                unknown(format!("{directory} cannot be followed in the container: {why}"))
                    .help("measure as root, then the container's own files can be looked at")
            })?,
            Err(_) => directory.clone(),
        };
        let place = Place {
            cx,
            client: &client,
            mounts: &mounts,
            root: inside.as_deref().ok(),
            running: container.state.running,
        };
        let mut outcome = self.judge(&place, &path, asked, wanted).await;
        if path != directory {
            outcome = outcome.detail(format!("{directory} leads to {path}"));
        }
        if let Err(why) = &inside {
            outcome = outcome.detail(format!("not compared with what the container itself sees: {why}"));
        }
        for mount in &mounts {
            outcome = outcome.detail(fate(cx, &client, mount, container.host_config.auto_remove).await);
        }
        Ok(outcome
            .fact("engine", client.program)
            .fact("container", container.id.as_str())
            .fact("data_directory", path)
            .fact("running", container.state.running))
    }

    async fn judge(&self, place: &Place<'_>, path: &str, asked: Option<&Asked>, wanted: &str) -> Outcome {
        let (what, here, asleep) = match stands(place, path).await {
            Standing::Kept { what, here, asleep } => (what, here, asleep),
            Standing::Lost(how) => {
                return Outcome::fail(format!("{path} lies {how}{}", above(place.mounts, path)), wanted).help(format!(
                    "keep the container, back up its data, then mount a named volume or a directory at {}",
                    mount_of(place.mounts, path).map_or(path, |(mount, _)| mount.destination.as_str())
                ));
            }
            Standing::Unclear(why) => {
                return Outcome::unknown(format!("{path}: {why}"), wanted)
                    .help("do not remove the container; find out where its data is");
            }
        };
        if let Err(outcome) = self.confirmed(place, path, (&what, &here, asleep), wanted).await {
            return outcome;
        }
        if self.holds() != CLUSTER {
            return Outcome::pass(format!("{path} lies on {what}, which holds {}", self.holds()), wanted);
        }
        match cluster::rest_of_it(place, path, &here, asked).await {
            Ok(version) => Outcome::pass(format!("{path} lies on {what}: PostgreSQL {version}"), wanted),
            Err((Verdict::Fail, why)) => Outcome::fail(why, wanted)
                .help("keep the container, back up its data, then put all of it on storage that lasts"),
            Err((_, why)) => Outcome::unknown(why, wanted).help("measure as root where the engine runs"),
        }
    }

    /// The file that shows the data is at its place on the host, and is the one that the container sees.
    async fn confirmed(
        &self,
        place: &Place<'_>,
        path: &str,
        (what, here, asleep): (&str, &Path, bool),
        wanted: &str,
    ) -> Result<(), Outcome> {
        let files = &place.cx.world.files;
        let unknown = |why: String| {
            Outcome::unknown(why, wanted).help("measure as root on the machine where the engine runs")
        };
        if let Some(address) =
            place.client.elsewhere(place.cx).await.map_err(|trouble| trouble.unknown(wanted))?
        {
            return Err(unknown(format!(
                "the engine is at {address}: its files cannot be looked at from here"
            )));
        }
        if files.stat(here).await.map_err(&unknown)?.is_none() {
            let seen = match place.root {
                Some(root) => within(place.cx, root, path).await.map_err(&unknown)?,
                None => None,
            };
            return Err(match seen {
                Some(_) => unknown(format!(
                    "{} is not to be seen here: is the engine in a virtual machine?",
                    here.display()
                )),
                None => unknown(format!("{path} would lie on {what}, but {} does not exist", here.display())),
            });
        }
        let marker = here.join(self.holds());
        let Some(on_host) = files.stat(&marker).await.map_err(&unknown)? else {
            if asleep {
                return Err(unknown(format!("{what} is mounted only while the container runs")));
            }
            return Err(Outcome::fail(
                format!("no {} in {}: the data is not there", self.holds(), here.display()),
                wanted,
            )
            .help(
                "keep the container until you know where the server really writes (`SHOW data_directory`)",
            ));
        };
        if let Some(root) = place.root {
            match within(place.cx, root, &format!("{path}/{}", self.holds())).await.map_err(&unknown)? {
                Some(seen) if same(&seen, &on_host) => {}
                _ => {
                    let why = format!(
                        "{path} in the container is not {} on the host: something else is mounted there",
                        here.display()
                    );
                    return Err(Outcome::fail(why, wanted)
                        .help("keep the container and find what is mounted there: /proc/PID/mountinfo of its process"));
                }
            }
        }
        Ok(())
    }
}

/// What is known of a container's storage.
struct Place<'a> {
    cx: &'a Context,
    client: &'a Client,
    mounts: &'a [Mount],
    /// The container's root, when we may look into it.
    root: Option<&'a Path>,
    running: bool,
}

/// The trap of May 2018: a mount that ends above the directory that counts.
fn above(mounts: &[Mount], path: &str) -> String {
    let lost = mount_of(mounts, path).map(|(mount, _)| mount);
    let others: Vec<Mount> = mounts.iter().filter(|mount| Some(*mount) != lost).cloned().collect();
    match (lost, mount_of(&others, path)) {
        (Some(lost), Some((mount, _)))
            if super::bytes::below(&lost.destination, &mount.destination).is_some() =>
        {
            let source = if mount.name.is_empty() { mount.source.as_str() } else { short(&mount.name) };
            format!(
                "; {} {source} is mounted above it, at {}, and holds none of it",
                mount.kind, mount.destination
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |params: Value| build(params.as_object().cloned().unwrap()).map(|_| ()).unwrap_err();
        assert!(refused(json!({ "container": "" })).contains("is empty"));
        assert!(
            refused(json!({ "container": "db", "data_directory": "pgdata" }))
                .contains("from the container's root")
        );
        assert!(
            refused(json!({ "container": "db", "data_directory": "/d", "target": "old" }))
                .contains("leave out")
        );
        assert!(refused(json!({ "container": "db", "host": "unix:///x" })).contains("say which"));
        assert!(refused(json!({ "container": "db", "holds": "/etc/passwd" })).contains("name of a file"));
    }

    #[test]
    fn a_mount_above_is_named() {
        let text = include_str!("../../../tests/fixtures/containers/docker-28/inspect.json");
        let all: Vec<Container> = serde_json::from_str(text).unwrap();
        let said = above(&all[0].mounts(), "/var/lib/postgresql/data");
        assert_eq!(
            said,
            "; bind /srv/wrong is mounted above it, at /var/lib/postgresql, and holds none of it"
        );
        assert_eq!(above(&all[1].mounts(), "/var/lib/postgresql/data"), "");
    }
}
