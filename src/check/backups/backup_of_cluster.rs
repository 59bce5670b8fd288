//! Is a base backup one of the very cluster that is about to be worked on?

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::check::door::Door;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;

/// Is a base backup one of the very cluster that is about to be worked on?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupOfCluster {
    /// The base backup: a directory that pg_basebackup made, plain.
    path: String,
    /// The server that it must be of.
    #[schemars(extend("format" = "target"))]
    target: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "backup_of_cluster",
    summary: "a base backup is of this very cluster, by its system identifier",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(BackupOfCluster),
    build: from_params::<BackupOfCluster>,
};

const DOCS: &str = r"
Shows that a base backup is one of the cluster that the target names, and not of another that lies beside it.

**How it is measured.** The system identifier and the timeline in the backup's `global/pg_control`, compared with what the server
says of itself. `PG_VERSION` must be the server's major version.

**Passes** when identifier and major version are the same. **Fails** when one differs, or the directory does not exist.

**Unknown** when the files cannot be read (or a server runs on them: then it is no backup), or the server does not answer.

**Traps.** A clone and a standby have the same identifier: this tells clusters of different origin apart, and says nothing about
the backup's age or whether it is whole (`backup_fresh`, `backup_restores`). A dump carries no identifier. After an upgrade the
new cluster has another one, and yesterday's backups fit it no more.

```yaml
preconditions:
  - backup_of_cluster: { path: /srv/base/latest, target: old }
```
";

#[async_trait]
impl Check for BackupOfCluster {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn keeps(&self) -> Vec<String> {
        vec![self.path.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a base backup of {}", self.target);
        let path = Path::new(&self.path).to_owned();
        match cx.world.files.stat(&path).await {
            Ok(Some(stat)) if stat.kind == "directory" => {}
            Ok(Some(_)) => {
                return Outcome::unknown(format!("{} is no directory", self.path), expected)
                    .help("unpack a backup in tar format first");
            }
            Ok(None) => {
                return Outcome::fail(format!("{} does not exist", self.path), expected)
                    .help("make a base backup");
            }
            Err(why) => return Outcome::unknown(why, expected).help("look as a user who may read it"),
        }
        let inside = match crate::world::pg::stopped::identity_from_files(&path, 0) {
            Ok(inside) => inside,
            Err(why) => {
                return Outcome::unknown(why, expected)
                    .help("name a plain base backup that this user may read");
            }
        };
        let door = Door::new(KIND.name, &self.target, &expected);
        let identity = match door.open(cx).await {
            Ok((_, identity)) => identity,
            Err(unknown) => return unknown,
        };
        let Identity::Postgres(is) = &identity else {
            return Outcome::unknown(format!("{} is no PostgreSQL server", self.target), expected);
        };
        let same = inside.system_identifier == is.system_identifier
            && inside.version / 10_000 == is.version / 10_000;
        let observed = format!(
            "the backup is of cluster {} (PostgreSQL {}), {} is {} (PostgreSQL {})",
            inside.system_identifier,
            inside.version / 10_000,
            self.target,
            is.system_identifier,
            is.version / 10_000
        );
        Outcome::judge(same, observed, expected.clone())
            .help("find the backups of this cluster, or make one now")
            .on(&self.target, identity)
    }
}
