//! Is restic's newest snapshot recent, and its repository whole?

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalogue::{self, Listed, Wanted};
use crate::base::Span;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use crate::world::process::Probe;

/// Is restic's newest snapshot recent, and its repository whole?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResticBackup {
    /// The repository, as restic names it.
    #[schemars(length(min = 1))]
    repository: String,
    /// The oldest that the newest snapshot may be.
    max_age: Span,
    /// A file that holds the repository's password.
    #[serde(default)]
    password_file: Option<PathBuf>,
    /// The repository's password, from a secret variable.
    #[serde(default)]
    password: Option<String>,
    /// Only snapshots with this tag count.
    #[serde(default)]
    tag: Option<String>,
    /// Only snapshots of this host count.
    #[serde(default)]
    host: Option<String>,
    /// Only snapshots that hold this path count.
    #[serde(default)]
    path: Option<String>,
    /// Read every byte of the repository and compare checksums; takes long. Without, its structure is examined.
    #[serde(default)]
    read: Option<Flag>,
    /// The user that restic runs as.
    #[serde(default)]
    user: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "restic_backup",
    summary: "restic's newest snapshot is recent, and its repository is whole",
    docs: DOCS,
    timeout: Some(Span::secs(6 * 3600)),
    schema: || schema_for!(ResticBackup),
    build,
};

const DOCS: &str = r"
Shows that restic has a recent snapshot of the right thing, and that its repository is whole.

**How it is measured.** `restic snapshots` lists what fits `tag`, `host` and `path`; then `restic check` examines the repository's
structure, and with `read: true` reads every byte of it. No lock is taken, so nothing is changed there.

**Passes** when the newest fitting snapshot is at most `max_age` old and nothing is wrong with the repository. **Fails** when there is
none, it is too old, or the repository is damaged.

**Unknown** when restic is missing, the repository cannot be reached, or the password is wrong.

**Traps.** A snapshot of a running server's data directory is no backup: snapshot a dump or a base backup, and name its path.
The password goes to restic through its environment or a file, never on its command line. A job that backs up an empty
directory makes a recent snapshot, too: add `backup_fresh` for the dump itself.

```yaml
preconditions:
  - restic_backup: { repository: 'sftp:backup@db-backup.example.org:/srv/restic', password_file: /etc/restic/password, tag: synapse, max_age: 24h }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ResticBackup = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.0.is_zero() {
        return Err("`max_age` is zero: no backup is that young".to_owned());
    }
    if check.password.is_some() == check.password_file.is_some() {
        return Err("say one of `password_file` and `password`".to_owned());
    }
    Ok(Box::new(check))
}

fn read(answer: &Value) -> Option<Vec<Listed>> {
    let one = |snapshot: &Value| {
        let time = snapshot["time"].as_str()?.parse::<jiff::Timestamp>().ok()?;
        let paths: Vec<&str> = snapshot["paths"].as_array()?.iter().filter_map(Value::as_str).collect();
        Some(Listed {
            label: format!("{} of {}", snapshot["short_id"].as_str().unwrap_or_default(), paths.join(", ")),
            ended: time.as_second(),
            complete: Ok(()),
            bytes: None,
            of: None,
        })
    };
    answer.as_array()?.iter().map(one).collect()
}

impl ResticBackup {
    fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![("RESTIC_REPOSITORY", self.repository.clone())];
        env.extend(self.password.as_ref().map(|password| ("RESTIC_PASSWORD", password.clone())));
        env.extend(
            self.password_file.as_ref().map(|file| ("RESTIC_PASSWORD_FILE", file.display().to_string())),
        );
        env
    }

    /// What is wrong with the repository, if anything; `Err` when that cannot be told.
    async fn damage(&self, cx: &Context) -> Result<Option<String>, String> {
        let mut argv = vec!["restic", "check", "--no-lock", "--no-cache"];
        if self.read.is_some_and(|flag| flag.0) {
            argv.push("--read-data");
        }
        let probe = Probe {
            argv: argv.into_iter().map(str::to_owned).collect(),
            env: self.env().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            cwd: None,
            user: self.user.clone(),
            timeout: std::time::Duration::from_secs(86_400),
            keep: 1 << 16,
        };
        let done = cx.world.processes.probe(&probe).await?;
        match done.status {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(super::tools::complaint(&done))),
            _ => Err(format!("restic check says: {}", super::tools::complaint(&done))),
        }
    }
}

#[async_trait]
impl Check for ResticBackup {
    fn keeps(&self) -> Vec<String> {
        // A repository elsewhere is no path of this machine, and nothing here can take it away.
        Some(self.repository.clone()).filter(|place| place.starts_with('/')).into_iter().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a snapshot at most {} old, in a repository that is whole", self.max_age);
        let mut argv = vec!["restic", "snapshots", "--json", "--no-lock", "--no-cache"];
        for (option, value) in [("--tag", &self.tag), ("--host", &self.host), ("--path", &self.path)] {
            argv.extend(value.iter().flat_map(|value| [option, value.as_str()]));
        }
        let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
        let env = self.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let help = "see what `restic snapshots` says as the same user";
        let answer = match catalogue::ask(cx, &argv, &env, self.user.as_ref(), Span::secs(120)).await {
            Ok(answer) => answer,
            Err(why) => return Outcome::unknown(why, expected).help(help),
        };
        let Some(listed) = read(&answer) else {
            return Outcome::unknown("the answer of restic cannot be read", expected).help(help);
        };
        let wanted = Wanted { max_age: self.max_age, min_size: None, of: None };
        let outcome = catalogue::judge(listed, &wanted, cx.world.clock.now().wall.as_second(), &expected);
        if outcome.verdict != Verdict::Pass {
            return outcome;
        }
        match self.damage(cx).await {
            Ok(None) if self.read.is_some_and(|flag| flag.0) => outcome.detail("every byte was read"),
            Ok(None) => outcome.detail("its structure was examined, not its data (`read: true` does that)"),
            Ok(Some(wrong)) => Outcome::fail(format!("the repository is damaged: {wrong}"), expected)
                .help("see `restic check`; back up to a new repository before doing anything else"),
            Err(why) => Outcome::unknown(why, expected).help(help),
        }
    }
}
