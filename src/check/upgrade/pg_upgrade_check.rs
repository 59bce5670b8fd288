//! What does `pg_upgrade --check` say?

mod output;
mod watched;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::place::{self, debian_programs};
use super::survey::bounded;
use crate::base::Span;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use output::Verdict;
use watched::Watched;

/// What does `pg_upgrade --check` say?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgUpgradeCheck {
    /// The old cluster as Debian calls it: `13/main`. Or `old_data`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    old_cluster: Option<String>,
    /// The new cluster as Debian calls it: `15/main`. Or `new_data`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    new_cluster: Option<String>,
    /// The old data directory.
    #[serde(default)]
    #[schemars(length(min = 1))]
    old_data: Option<String>,
    /// The new data directory, made by `initdb` and empty.
    #[serde(default)]
    #[schemars(length(min = 1))]
    new_data: Option<String>,
    /// The old version's programs. Where Debian puts them when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    old_bin: Option<String>,
    /// The new version's programs. Where Debian puts them when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    new_bin: Option<String>,
    /// The user that `pg_upgrade` runs as. The owner of the new data directory when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    user: Option<String>,
    /// The superuser that `initdb` made, when it is not called like `user`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    superuser: Option<String>,
    /// How files will be brought over: it decides what is checked. `copy` when not given.
    #[serde(default)]
    mode: Mode,
}

/// How files are brought over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Copy,
    Link,
    Clone,
    CopyFileRange,
    Swap,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "pg_upgrade_check",
    summary: "`pg_upgrade --check` finds both clusters compatible",
    docs: DOCS,
    timeout: Some(Span::secs(660)),
    schema: || schema_for!(PgUpgradeCheck),
    build,
};

const DOCS: &str = r"
Shows that `pg_upgrade --check` finds nothing in the way of an upgrade.

**How it is measured.** `pg_upgrade --check` is run as the owner of the data directories, in a temporary directory that is removed
afterwards; with `--check` it copies and changes no data. What it reports is shown, and the lists that it writes (libraries that
are missing, tables in the way) are read.

**Passes** when it exits with 0 and says `Clusters are compatible`. **Fails** when it finds something in the way. **Unknown** when
it could not do its work: a program or directory is missing, the new server runs, it gets no connection, it takes longer than ten minutes.

It starts the new server for a moment, and the old one when that is stopped, both reachable for itself only; a stopped server
thus writes a checkpoint. Should it be cut off, the servers that it started are
stopped again by a watcher that runs beside it. Reports of what it found stay below
the new data directory in `pg_upgrade_output.d`.

**Traps.** Compatible does not mean that the upgrade works. It does not look at disk space (`disk_free`), at duplicates under a unique
index or any other damage, which travel along (the corruption checks), at collations of another libc or ICU, or at the
order of minor releases (`minor_versions_in_order`). `initdb` of 18 turns checksums on: an old cluster without them does not fit.

```yaml
preconditions:
  - pg_upgrade_check: { old_cluster: 13/main, new_cluster: 15/main }
  - pg_upgrade_check:
      id: by-directories
      old_data: /srv/pg16
      old_bin: /opt/pg16/bin
      new_data: /srv/pg18
      new_bin: /opt/pg18/bin
      user: postgres
      mode: link
```
";

/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(600);

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: PgUpgradeCheck = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    for (word, cluster, data) in
        [("old", &it.old_cluster, &it.old_data), ("new", &it.new_cluster, &it.new_data)]
    {
        match (cluster, data) {
            (None, None) => {
                return Err(format!(
                    "`{word}_cluster` or `{word}_data` must say where the {word} cluster is"
                ));
            }
            (Some(_), Some(_)) => {
                return Err(format!("`{word}_cluster` and `{word}_data` cannot both be given"));
            }
            _ => {}
        }
    }
    if it.old_data.is_some() && it.old_data == it.new_data
        || it.old_cluster.is_some() && it.old_cluster == it.new_cluster
    {
        return Err("the old and the new cluster are the same".to_owned());
    }
    Ok(Box::new(it))
}

/// One side: what pg_upgrade is told, where the data is, and the programs.
struct Side {
    told: PathBuf,
    data: PathBuf,
    bin: PathBuf,
}

#[async_trait]
impl Check for PgUpgradeCheck {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "`pg_upgrade --check` says that the clusters are compatible";
        match self.ask(cx).await {
            Ok(outcome) => outcome,
            Err(why) => Outcome::unknown(why, expected).help("put that right, then measure again"),
        }
    }
}

impl PgUpgradeCheck {
    async fn ask(&self, cx: &Context) -> Result<Outcome, String> {
        let old =
            side(self.old_cluster.as_deref(), self.old_data.as_deref(), self.old_bin.as_deref(), cx).await?;
        let new =
            side(self.new_cluster.as_deref(), self.new_data.as_deref(), self.new_bin.as_deref(), cx).await?;
        if let Some(pid) = place::postmaster(&new.data).await? {
            return Err(format!("the new cluster runs (pid {pid}); pg_upgrade needs it stopped"));
        }
        let user = match &self.user {
            Some(user) => user.clone(),
            None => owner(&new.data, cx).await?,
        };
        let watched = Watched::new(&user, cx).await?;
        let ran =
            watched.run(self.argv(&old, &new), &[(&old.bin, &old.data), (&new.bin, &new.data)], LIMIT).await;
        match ran {
            Ok(ran) if !ran.timed_out => {
                let outcome = judge(&ran, watched.dir(), cx).await;
                watched.done().await?;
                Ok(outcome)
            }
            Ok(_) => {
                watched.cut().await?;
                Err(format!("pg_upgrade did not end within {}", Span(LIMIT)))
            }
            Err(why) => {
                watched.done().await?;
                Err(why)
            }
        }
    }

    fn argv(&self, old: &Side, new: &Side) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut argv = vec![text(&new.bin.join("pg_upgrade")), "--check".to_owned()];
        for (flag, path) in [
            ("--old-bindir", &old.bin),
            ("--new-bindir", &new.bin),
            ("--old-datadir", &old.told),
            ("--new-datadir", &new.told),
        ] {
            argv.push(format!("{flag}={}", text(path)));
        }
        if let Some(superuser) = &self.superuser {
            argv.push(format!("--username={superuser}"));
        }
        argv.extend(match self.mode {
            Mode::Copy => None,
            Mode::Link => Some("--link".to_owned()),
            Mode::Clone => Some("--clone".to_owned()),
            Mode::CopyFileRange => Some("--copy-file-range".to_owned()),
            Mode::Swap => Some("--swap".to_owned()),
        });
        argv
    }
}

async fn side(
    cluster: Option<&str>,
    data: Option<&str>,
    bin: Option<&str>,
    cx: &Context,
) -> Result<Side, String> {
    let (told, data) = match (cluster, data) {
        (Some(cluster), _) => place::of_cluster(cluster)?,
        (None, Some(data)) => (PathBuf::from(data), PathBuf::from(data)),
        (None, None) => return Err("a cluster is not named".to_owned()),
    };
    let version = data.join("PG_VERSION");
    let major =
        cx.world.files.read(&version, 64).await.map_err(|why| format!("not a data directory: {why}"))?;
    let bin = bin.map_or_else(|| debian_programs(String::from_utf8_lossy(&major).trim()), PathBuf::from);
    match cx.world.files.stat(&bin.join("pg_ctl")).await? {
        Some(_) => Ok(Side { told, data, bin }),
        None => Err(format!("there are no programs of PostgreSQL in {}", bin.display())),
    }
}

/// The name of a directory's owner.
async fn owner(path: &Path, cx: &Context) -> Result<String, String> {
    let stat = cx.world.files.stat(path).await?.ok_or_else(|| format!("there is no {}", path.display()))?;
    let passwd = cx.world.files.read(Path::new("/etc/passwd"), 1 << 20).await?;
    let passwd = String::from_utf8_lossy(&passwd).into_owned();
    let uid = stat.uid.to_string();
    let found = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    found
        .and_then(|line| line.split(':').next())
        .map(str::to_owned)
        .ok_or_else(|| format!("the owner of {} has no name (uid {uid}); say `user`", path.display()))
}

async fn judge(ran: &crate::world::process::Probed, cwd: &Path, cx: &Context) -> Outcome {
    let expected = "`pg_upgrade --check` says that the clusters are compatible";
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let seen = output::read(&said, ran.status);
    let mut details = seen.details;
    for report in &seen.reports {
        let path = cwd.join(report);
        match cx.world.files.read(&path, 256 * 1024).await {
            Ok(bytes) => details.extend(
                String::from_utf8_lossy(&bytes)
                    .lines()
                    .map(str::trim_end)
                    .filter(|line| !line.is_empty())
                    .map(|line| {
                        format!("{}: {line}", path.file_name().unwrap_or_default().to_string_lossy())
                    }),
            ),
            Err(why) => details.push(format!("a report could not be read: {why}")),
        }
    }
    let outcome = match seen.verdict {
        Verdict::Compatible => Outcome::pass(seen.words, expected),
        Verdict::InTheWay => Outcome::fail(seen.words, expected)
            .help("remove from the old cluster what is in the way, or install what the new one lacks, then measure again"),
        Verdict::NoAnswer => Outcome::unknown(seen.words, expected)
            .help("let pg_upgrade reach both clusters (user, programs, directories), then measure again"),
    };
    bounded(outcome.fact("exit_status", ran.status.map_or(Value::Null, Value::from)), details)
}
