//! Is pgBackRest's newest backup recent, complete, and of this very cluster?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalogue::{self, Listed, Wanted};
use crate::base::{Size, Span};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Is pgBackRest's newest backup recent, complete, and of this very cluster?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgbackrestBackup {
    /// The stanza.
    #[schemars(length(min = 1))]
    stanza: String,
    /// The oldest that the newest backup may be.
    max_age: Span,
    /// The server that it must be a backup of.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The smallest size of the data that can be right.
    #[serde(default)]
    min_size: Option<Size>,
    /// Let pgBackRest verify checksums of everything in the repository; takes long. False when not given.
    #[serde(default)]
    verify: Option<Flag>,
    /// pgBackRest's configuration file, when it is not the usual one.
    #[serde(default)]
    config: Option<String>,
    /// The user that pgBackRest runs as: `postgres`, `pgbackrest`.
    #[serde(default)]
    user: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "pgbackrest_backup",
    summary: "pgBackRest's newest backup is recent, complete, and of this very cluster",
    docs: DOCS,
    timeout: Some(Span::secs(6 * 3600)),
    schema: || schema_for!(PgbackrestBackup),
    build,
};

const DOCS: &str = r"
Shows that pgBackRest has a recent, complete backup, of the cluster that is meant.

**How it is measured.** `pgbackrest info` tells, as JSON, the state of the stanza and every backup: its end, its errors, the
cluster's system identifier. With `verify`, `pgbackrest verify` reads the repository and compares all checksums.

**Passes** when the stanza's status is ok, the newest backup ended within `max_age` without an error, belongs to the repository's
current database, and with `target` is of that very cluster. **Fails** otherwise, also when there is no backup, or the archive of
write-ahead log is empty.

**Unknown** when pgBackRest is missing, cannot read its configuration or its repository, or gives no answer.

**Traps.** pgBackRest's own status `ok` has no rule about age: a repository that got nothing for five months is `ok`. After an
upgrade the stanza knows two databases, and the newest backup may be of the old one. A repository on the same disk dies
with it.

```yaml
preconditions:
  - pgbackrest_backup: { stanza: main, max_age: 24h, target: old, user: postgres }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: PgbackrestBackup = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.0.is_zero() {
        return Err("`max_age` is zero: no backup is that young".to_owned());
    }
    Ok(Box::new(check))
}

/// Reads `info`: an error is a failure in pgBackRest's words.
fn read(info: &Value, stanza: &str) -> Result<Vec<Listed>, String> {
    let found = info.as_array().into_iter().flatten().find(|one| one["name"] == stanza);
    let Some(found) = found else { return Err(format!("there is no stanza {stanza}")) };
    if found["status"]["code"] != 0 {
        let message = found["status"]["message"].as_str().unwrap_or("unknown status");
        return Err(format!("the stanza is not in order: {message}"));
    }
    if found["archive"].as_array().is_none_or(|all| all.iter().all(|one| !one["max"].is_string())) {
        return Err("no write-ahead log has been archived".to_owned());
    }
    let databases = found["db"].as_array().cloned().unwrap_or_default();
    let current = databases.iter().filter_map(|db| db["id"].as_u64()).max();
    let backups = found["backup"].as_array().cloned().unwrap_or_default();
    Ok(backups
        .iter()
        .map(|backup| {
            let id = backup["database"]["id"].as_u64();
            let complete = match (&backup["error"], id == current) {
                (Value::Bool(true), _) => Err("pages with wrong checksums were found in it".to_owned()),
                (_, false) => Err("it is of an earlier cluster of this stanza".to_owned()),
                _ => Ok(()),
            };
            let db = databases
                .iter()
                .find(|db| db["id"].as_u64() == id && db["repo-key"] == backup["database"]["repo-key"]);
            Listed {
                label: backup["label"].as_str().unwrap_or_default().to_owned(),
                ended: backup["timestamp"]["stop"].as_i64().unwrap_or(0),
                complete,
                bytes: backup["info"]["size"].as_u64(),
                of: db.and_then(|db| db["system-id"].as_u64()).map(|id| id.to_string()),
            }
        })
        .collect())
}

impl PgbackrestBackup {
    fn argv(&self, command: &[&str]) -> Vec<String> {
        let mut argv = vec!["pgbackrest".to_owned(), format!("--stanza={}", self.stanza)];
        argv.extend(self.config.as_ref().map(|config| format!("--config={config}")));
        argv.extend(command.iter().map(|&word| word.to_owned()));
        argv
    }

    async fn verified(&self, cx: &Context) -> Result<Option<String>, String> {
        let argv = self.argv(&["--output=text", "verify"]);
        let probe = crate::world::process::Probe {
            argv,
            env: Default::default(),
            cwd: None,
            user: self.user.clone(),
            timeout: std::time::Duration::from_secs(86_400),
            keep: 1 << 20,
        };
        let done = cx.world.processes.probe(&probe).await?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        match done.status {
            Some(0) if said.contains("status: error") => Ok(Some(crate::base::text::neutral(said.trim()))),
            Some(0) => Ok(None),
            _ => Ok(Some(super::tools::complaint(&done))),
        }
    }
}

#[async_trait]
impl Check for PgbackrestBackup {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a complete backup of stanza {}, at most {} old", self.stanza, self.max_age);
        let of = match catalogue::cluster(KIND.name, self.target.as_ref(), &expected, cx).await {
            Ok(of) => of,
            Err(unknown) => return unknown,
        };
        let argv = self.argv(&["--output=json", "info"]);
        let info = match catalogue::ask(cx, &argv, &[], self.user.as_ref(), Span::secs(60)).await {
            Ok(info) => info,
            Err(why) => {
                return Outcome::unknown(why, expected)
                    .help("run it as the user that pgBackRest belongs to, with its configuration");
            }
        };
        let mut outcome = match read(&info, &self.stanza) {
            Err(why) => Outcome::fail(why, expected.clone())
                .help("see `pgbackrest info` and `pgbackrest check`, and make a backup"),
            Ok(listed) => {
                let of = of.as_ref().map(|(name, identity)| (*name, identity));
                let wanted = Wanted { max_age: self.max_age, min_size: self.min_size, of };
                catalogue::judge(listed, &wanted, cx.world.clock.now().wall.as_second(), &expected)
            }
        };
        if outcome.verdict == crate::check::Verdict::Pass && self.verify.is_some_and(|flag| flag.0) {
            match self.verified(cx).await {
                Ok(None) => outcome = outcome.detail("pgbackrest verify found nothing wrong"),
                Ok(Some(wrong)) => {
                    outcome = Outcome::fail(format!("pgbackrest verify: {wrong}"), expected)
                        .help("make a new full backup, and find out what damaged the repository");
                }
                Err(why) => {
                    outcome = Outcome::unknown(why, expected).help("let pgBackRest verify by hand");
                }
            }
        }
        match of {
            Some((name, identity)) => outcome.on(name, identity),
            None => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stanza_that_is_ok_may_still_have_the_wrong_backup() {
        let info = |code: u64, error: bool, database: u64| {
            json!([{
                "name": "main", "status": { "code": code, "message": "missing stanza data" },
                "archive": [{ "id": "15-1", "max": "000000010000000000000002" }],
                "db": [{ "id": 1, "repo-key": 1, "system-id": 11 }, { "id": 2, "repo-key": 1, "system-id": 22 }],
                "backup": [{ "label": "x", "error": error, "database": { "id": database, "repo-key": 1 },
                             "timestamp": { "stop": 5 }, "info": { "size": 7 } }],
            }])
        };
        let good = read(&info(0, false, 2), "main").unwrap();
        assert_eq!(
            (good[0].complete.clone(), good[0].of.as_deref(), good[0].bytes),
            (Ok(()), Some("22"), Some(7))
        );
        assert!(read(&info(0, false, 1), "main").unwrap()[0].complete.is_err());
        assert!(read(&info(0, true, 2), "main").unwrap()[0].complete.is_err());
        assert!(read(&info(3, false, 2), "main").unwrap_err().contains("missing stanza data"));
        assert!(read(&info(0, false, 2), "other").unwrap_err().contains("no stanza other"));
    }
}
