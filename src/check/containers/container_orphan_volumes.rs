//! Does a volume that no container uses still hold data?

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::engine::{Client, Engine, PATIENCE, Trouble, clients, valid};
use super::shape::{Volume, short};
use crate::base::{Size, Span, text};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// How deep below a volume's root the file may lie: PostgreSQL 18 has it at 18/docker/PG_VERSION.
const DEPTH: usize = 2;
/// More folders than this in one volume are not searched.
const FOLDERS: usize = 2_000;
/// Details at most.
const SHOWN: usize = 10;
/// Where a PostgreSQL cluster writes all the time.
const BUSY: [&str; 3] = ["", "global", "pg_wal"];

/// Does a volume that no container uses still hold data?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerOrphanVolumes {
    /// `docker`, `podman`, or `auto` (the default): each whose program is installed.
    #[serde(default)]
    engine: Engine,
    /// The engine's address, when it is not its own default: `unix:///run/user/1000/docker.sock`. Needs `engine`.
    #[serde(default)]
    host: Option<String>,
    /// The file that tells of data; `PG_VERSION`, a PostgreSQL cluster, when not given.
    #[serde(default)]
    holds: Option<String>,
    /// Volumes that somebody has looked at and that are kept on purpose, by their whole names.
    #[serde(default)]
    except: Vec<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "container_orphan_volumes",
    summary: "no volume that no container uses holds a database: a prune would delete it",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(ContainerOrphanVolumes),
    build,
};

const DOCS: &str = r"
Shows that no volume which no container uses (a dangling one) holds a PostgreSQL cluster. After a container was removed and made
again, lost data is often still there, in such a volume, until the first prune.

**How it is measured.** The engine lists its dangling volumes; `PG_VERSION` (or the file that `holds` names) is looked for in each, at
its root and one and two folders below it.

**Passes** when the engine answered and no dangling volume holds the file. **Fails** when one does: its name, size, major version and the
time of its newest file are shown. **Unknown** when the engine does not answer, or a volume cannot be looked into: measured
without root, kept by a plugin, or on another machine.

**Traps.** Do not prune to make this pass. `docker volume prune` deletes named volumes, too, before Docker 23; from 23 on only anonymous
ones, which is exactly where such data is; `podman volume prune` deletes both. A volume that a stopped container uses is not
dangling. A volume made with a file system of its own (NFS, a bind to another directory) is not searched: a prune deletes only its
name. Volumes of another user's rootless engine are not seen.

```yaml
preconditions:
  - container_orphan_volumes: { engine: docker }
  - container_orphan_volumes: { id: media, engine: docker, holds: homeserver.yaml, except: [synapse_old] }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ContainerOrphanVolumes =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    valid(check.engine, check.host.as_deref())?;
    if check.holds.as_ref().is_some_and(|file| file.is_empty() || file.contains('/')) {
        return Err("`holds` is the name of a file without its path, as in PG_VERSION".to_owned());
    }
    Ok(Box::new(check))
}

/// A cluster in a volume.
struct Found {
    volume: String,
    line: String,
}

#[async_trait]
impl Check for ContainerOrphanVolumes {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("no {} in a volume that no container uses", self.holds());
        let clients = match clients(cx, self.engine, self.host.as_deref()).await {
            Ok(clients) => clients,
            Err(trouble) => return trouble.unknown(&expected),
        };
        let (mut looked, mut excepted, mut found, mut closed) = (0, 0, Vec::new(), Vec::new());
        let mut trouble = None;
        for client in &clients {
            match dangling(cx, client).await {
                Err(why) => trouble = Some(why),
                Ok(volumes) => {
                    for volume in volumes {
                        if self.except.contains(&volume.name) {
                            excepted += 1;
                            continue;
                        }
                        looked += 1;
                        match self.search(cx, &volume).await {
                            Ok(some) => found.extend(some),
                            Err(why) => {
                                closed.push(format!("{} volume {}: {why}", client.program, volume.name))
                            }
                        }
                    }
                }
            }
        }
        let volumes = text::count(looked, "dangling volume", "dangling volumes");
        let mut outcome = match (found.first(), &trouble, closed.first()) {
            (Some(first), ..) => Outcome::fail(
                format!("data here, do not prune: {} of {volumes}, {}", found.len(), first.line),
                expected,
            )
            .help(format!("copy {} to a safe place, then find out whose data it is", first.volume)),
            (None, Some(trouble), _) => trouble.unknown(&expected),
            (None, None, Some(why)) => {
                Outcome::unknown(format!("a volume cannot be looked into: {why}"), expected)
                    .help("measure as root on the machine where the engine runs; do not prune")
            }
            (None, None, None) => {
                Outcome::pass(format!("{volumes} looked into, none holds {}", self.holds()), expected)
            }
        };
        let lines: Vec<String> = found.into_iter().map(|one| one.line).chain(closed).collect();
        let more = lines.len().saturating_sub(SHOWN);
        outcome.details.extend(lines.into_iter().take(SHOWN));
        if more > 0 {
            outcome = outcome.detail(format!("and {more} more"));
        }
        if excepted > 0 {
            outcome = outcome
                .detail(format!("{} left out by `except`", text::count(excepted, "volume", "volumes")));
        }
        outcome.fact("looked_into", looked).fact("left_out", excepted)
    }
}

/// The volumes that no container uses.
async fn dangling(cx: &Context, client: &Client) -> Result<Vec<Volume>, Trouble> {
    let names = client.names(cx, &["volume", "ls", "--quiet", "--filter", "dangling=true"], PATIENCE).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(address) = client.elsewhere(cx).await? {
        let why = format!("{} is at {address}: its volumes cannot be looked into from here", client.program);
        return Err(Trouble::Other(why));
    }
    client.inspect(cx, "volume", &names).await
}

impl ContainerOrphanVolumes {
    fn holds(&self) -> &str {
        self.holds.as_deref().unwrap_or("PG_VERSION")
    }

    /// Every place in a volume that holds the file.
    async fn search(&self, cx: &Context, volume: &Volume) -> Result<Vec<Found>, String> {
        let files = &cx.world.files;
        if volume.driver != "local" {
            return Err(format!("it is kept by `{}`, not in a directory here", volume.driver));
        }
        if volume.mountpoint.is_empty() || files.stat(Path::new(&volume.mountpoint)).await?.is_none() {
            return Err(format!("its directory `{}` is not there", volume.mountpoint));
        }
        // A file system of its own (NFS, a bind to another directory, a tmpfs) is mounted only while a container uses
        // it. A prune deletes its name, and not what is on it.
        if volume.file_system().is_some() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut level = vec![PathBuf::from(&volume.mountpoint)];
        let mut folders = 0;
        for depth in 0..=DEPTH {
            let mut next = Vec::new();
            for folder in level {
                folders += 1;
                if folders > FOLDERS {
                    return Err(format!("more than {} folders", text::thousands(FOLDERS as u64)));
                }
                if files.stat(&folder.join(self.holds())).await?.is_some() {
                    found.push(self.tell(cx, volume, &folder).await);
                } else if depth < DEPTH {
                    let entries = files.list(&folder).await?;
                    next.extend(entries.into_iter().filter(|e| e.kind == "directory").map(|e| e.path));
                }
            }
            level = next;
        }
        Ok(found)
    }

    /// What there is to say of it; what cannot be seen is left out.
    async fn tell(&self, cx: &Context, volume: &Volume, folder: &Path) -> Found {
        let files = &cx.world.files;
        let what = match files.read(&folder.join("PG_VERSION"), 64).await {
            Ok(version) => format!("PostgreSQL {}", String::from_utf8_lossy(&version).trim()),
            Err(_) => self.holds().to_owned(),
        };
        let size = match files.tree_size(folder).await {
            Ok(bytes) => Size(bytes).to_string(),
            Err(_) => "size unknown".to_owned(),
        };
        let mut newest: Option<Timestamp> = None;
        for part in BUSY {
            for entry in files.list(&folder.join(part)).await.unwrap_or_default() {
                newest = newest.max((entry.kind == "file").then_some(entry.modified));
            }
        }
        let newest =
            newest.map_or_else(String::new, |at| format!(", newest file of {}", at.strftime("%F %H:%MZ")));
        let kind = if volume.anonymous() { "anonymous" } else { "named" };
        let line = format!("{kind} volume {} holds {what} ({size}{newest})", short(&volume.name));
        Found { volume: folder.display().to_string(), line }
    }
}
