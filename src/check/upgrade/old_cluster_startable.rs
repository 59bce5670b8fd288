//! Is the way back still there? The old cluster's files, its control file, and the programs that can start it.

mod look;

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::place;
use super::survey::{Findings, Words};
use crate::base::Span;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use look::Look;

/// Is the way back still there?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["target"] }, { "required": ["data_directory"] }]))]
pub struct OldClusterStartable {
    /// The old cluster as a target, with `cluster` or `data_directory`, so that it can be measured while it is stopped. Either
    /// this or `data_directory`.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// Its data directory.
    #[serde(default)]
    #[schemars(length(min = 1))]
    data_directory: Option<String>,
    /// The directory of its programs. Where Debian puts them when not given: `/usr/lib/postgresql/13/bin`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    bin: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "old_cluster_startable",
    summary: "the old cluster can still be started: the way back is there",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(OldClusterStartable),
    build,
};

const DOCS: &str = r"
Shows that the old cluster could be started again, without starting it: the way back of an upgrade is open.

**How it is measured.** On this machine: the data directory with `PG_VERSION`, `global/pg_control`, its WAL and tablespace links; the
programs of that version; what `pg_controldata` says of the state and of the control file's checksum; whether a server runs on it; whether
data files have a second name (hard links); whether the file system is mounted for writing.

**Passes** when all is there and the cluster either runs or was shut down cleanly. **Fails** when something of it is missing or
damaged, when it was not shut down cleanly, when the programs are gone, when `pg_upgrade --link` or `--swap` has renamed
`pg_control` to `pg_control.old`, or when data files are shared with another cluster by hard links. **Unknown** when files may
not be read (look as root or as the cluster's owner), when it lies on another machine, or when it is not known where its programs are.

**Traps.** After `--link` both clusters have the same files: once the new server has started, starting the old one destroys
both. After `--swap` the old directory is an empty shell. `--clone` and the default copy leave the old cluster whole. Startable is not
current: what was written to the new cluster since is not in the old one. Nothing here proves that its data is undamaged or
that there is room for it to start.

```yaml
preconditions:
  - old_cluster_startable: { target: old }
invariants:
  - old_cluster_startable: { id: way-back, data_directory: /var/lib/postgresql/13/main, bin: /usr/lib/postgresql/13/bin }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: OldClusterStartable = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    match (&it.target, &it.data_directory) {
        (None, None) => Err("`target` or `data_directory` must say which cluster".to_owned()),
        (Some(_), Some(_)) => Err("`target` and `data_directory` cannot both be given".to_owned()),
        _ => Ok(Box::new(it)),
    }
}

#[async_trait]
impl Check for OldClusterStartable {
    fn targets(&self) -> Vec<String> {
        self.target.clone().into_iter().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "a cluster that can be started";
        let (data, identity) = match self.place(cx).await {
            Ok(place) => place,
            Err(why) => {
                return Outcome::unknown(why, expected).help(
                    "give the target `cluster` or `data_directory`, and run this on the cluster's machine",
                );
            }
        };
        let mut look = Look::new(data, self.bin.as_deref().map(PathBuf::from), cx);
        look.all().await;
        let Look { findings, words, .. } = look;
        let findings = Findings { looked: 1, ..findings };
        let outcome = findings.conclude(Words {
            expected,
            passed: words,
            nothing: "nothing was looked at",
            help: "do not remove anything else, and do not start it as it is: restore it from a backup beside the new one",
        });
        match (&self.target, identity) {
            (Some(target), Some(identity)) => outcome.on(target, identity),
            _ => outcome,
        }
    }
}

impl OldClusterStartable {
    async fn place(&self, cx: &Context) -> Result<(PathBuf, Option<crate::world::Identity>), String> {
        match (&self.target, &self.data_directory) {
            (Some(name), _) => place::data_directory(name, cx.target(name)?).await,
            (None, Some(directory)) => Ok((PathBuf::from(directory), None)),
            (None, None) => Err("no cluster is named".to_owned()),
        }
    }
}
