//! Is Barman's newest backup recent, complete, and of this very cluster?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalogue::{self, Listed, Wanted};
use crate::base::{Size, Span};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};

/// Is Barman's newest backup recent, complete, and of this very cluster?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BarmanBackup {
    /// The server, as Barman calls it.
    #[schemars(length(min = 1))]
    server: String,
    /// The oldest that the newest backup may be.
    max_age: Span,
    /// The server that it must be a backup of.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The smallest size that can be right.
    #[serde(default)]
    min_size: Option<Size>,
    /// Barman's configuration file, when it is not the usual one.
    #[serde(default)]
    config: Option<String>,
    /// The user that Barman runs as: `barman`.
    #[serde(default)]
    user: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "barman_backup",
    summary: "Barman's newest backup is recent, complete, and of this very cluster, and its own check finds nothing",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(BarmanBackup),
    build,
};

const DOCS: &str = r"
Shows that Barman has a recent, complete backup, of the cluster that is meant.

**How it is measured.** `barman list-backups` tells every backup, its state and its end; `barman check` what Barman itself finds
wrong; with `target`, `barman show-servers` the system identifier of the cluster that it backs up.

**Passes** when the newest backup is `DONE` and ended within `max_age`, `barman check` reports no failure, and with `target` the
system identifiers are the same. **Fails** otherwise, also when there is no backup or no such server.

**Unknown** when Barman is missing or gives no answer, or the identifiers are not told.

**Traps.** `barman check` says `backup maximum age: OK` when no maximum is set: its OK alone proves nothing about age. A backup
`WAITING_FOR_WALS` cannot be restored yet. `barman check` opens connections of its own and needs Barman's user.

```yaml
preconditions:
  - barman_backup: { server: main, max_age: 24h, target: old, user: barman }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: BarmanBackup = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.0.is_zero() {
        return Err("`max_age` is zero: no backup is that young".to_owned());
    }
    if check.server.starts_with('-') || check.server == "all" {
        return Err(format!("`{}` is not the name of one server", check.server));
    }
    Ok(Box::new(check))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Reads `list-backups`.
fn listed(answer: &Value, server: &str, of: Option<&str>) -> Option<Vec<Listed>> {
    let list = answer.get(server)?.as_array()?;
    Some(
        list.iter()
            .map(|backup| {
                let status = backup["status"].as_str().unwrap_or("of unknown state");
                Listed {
                    label: backup["backup_id"].as_str().unwrap_or_default().to_owned(),
                    // One that has failed has no end: then its id, which is when it began, must not make it old.
                    ended: number(&backup["end_time_timestamp"])
                        .unwrap_or_else(|| began(&backup["backup_id"])),
                    complete: if status == "DONE" { Ok(()) } else { Err(status.to_owned()) },
                    bytes: number(&backup["size_bytes"]).and_then(|bytes| u64::try_from(bytes).ok()),
                    of: of.map(str::to_owned),
                }
            })
            .collect(),
    )
}

/// `20261121T012710` in local time, as seconds since 1970; 0 for something else.
fn began(id: &Value) -> i64 {
    let read = |text: &str| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", text).ok();
    let zoned = id.as_str().and_then(read).and_then(|at| at.to_zoned(jiff::tz::TimeZone::system()).ok());
    zoned.map_or(0, |zoned| zoned.timestamp().as_second())
}

/// What `barman check` found, by name; `None` when it says nothing about the server.
fn failures(answer: &Value, server: &str) -> Option<Vec<String>> {
    let all = answer.get(server)?.as_object().filter(|all| !all.is_empty())?;
    let failed = all.iter().filter(|(_, one)| one["status"].as_str() != Some("OK"));
    let words = |(name, one): (&String, &Value)| match one["hint"].as_str().unwrap_or_default() {
        "" => name.replace('_', " "),
        hint => format!("{}: {hint}", name.replace('_', " ")),
    };
    Some(failed.map(words).collect())
}

/// The system identifier that Barman sees.
fn system_id(answer: &Value, server: &str) -> Option<String> {
    let shown = answer.get(server)?;
    ["postgres_systemid", "streaming_systemid"].iter().find_map(|key| match &shown[*key] {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    })
}

impl BarmanBackup {
    async fn ask(&self, command: &str, cx: &Context) -> Result<Value, String> {
        let mut argv = vec!["barman".to_owned(), "-f".to_owned(), "json".to_owned()];
        argv.extend(self.config.iter().flat_map(|config| ["-c".to_owned(), config.clone()]));
        argv.extend([command.to_owned(), self.server.clone()]);
        catalogue::ask(cx, &argv, &[], self.user.as_ref(), Span::secs(120)).await
    }

    async fn judged(&self, expected: &str, cx: &Context) -> Result<Outcome, Outcome> {
        let unknown = |why: String| {
            Outcome::unknown(why, expected)
                .help("run it as the user that Barman belongs to, with its configuration")
        };
        let of = catalogue::cluster(KIND.name, self.target.as_ref(), expected, cx).await?;
        let seen = match &of {
            Some(_) => system_id(&self.ask("show-servers", cx).await.map_err(unknown)?, &self.server),
            None => None,
        };
        let answer = match self.ask("list-backups", cx).await {
            Ok(answer) => answer,
            Err(why) if why.contains("Unknown server") => {
                return Ok(
                    Outcome::fail(why, expected).help("correct `server`: `barman list-servers` names them")
                );
            }
            Err(why) => return Err(unknown(why)),
        };
        let listed = listed(&answer, &self.server, seen.as_deref())
            .ok_or_else(|| unknown("the answer of barman does not name the server".to_owned()))?;
        let now = cx.world.clock.now().wall.as_second();
        let wanted = Wanted {
            max_age: self.max_age,
            min_size: self.min_size,
            of: of.as_ref().map(|(name, identity)| (*name, identity)),
        };
        let mut outcome = catalogue::judge(listed, &wanted, now, expected);
        // `barman check` exits with an error when it finds something, and still prints it.
        if outcome.verdict == Verdict::Pass {
            let found = match self.ask("check", cx).await {
                Ok(answer) => failures(&answer, &self.server)
                    .ok_or_else(|| unknown("`barman check` says nothing about the server".to_owned()))?,
                Err(why) => match why.split_once("says: ") {
                    Some((_, said)) => serde_json::from_str(said)
                        .ok()
                        .and_then(|answer| failures(&answer, &self.server))
                        .unwrap_or_else(|| vec![why]),
                    // It did not start, did not end, or cannot be read: nothing was checked.
                    None => return Err(unknown(why)),
                },
            };
            if !found.is_empty() {
                let seen = format!("barman check: {}", found.join("; "));
                outcome = Outcome::fail(seen, expected).help("put right what `barman check` names");
            }
        }
        Ok(match of {
            Some((name, identity)) => outcome.on(name, identity),
            None => outcome,
        })
    }
}

#[async_trait]
impl Check for BarmanBackup {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a complete backup of {}, at most {} old", self.server, self.max_age);
        self.judged(&expected, cx).await.unwrap_or_else(|unknown| unknown)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_barman_says() {
        let answer = json!({ "main": [
            { "backup_id": "20261121T012710", "end_time_timestamp": "1795224435", "size_bytes": 39907366, "status": "DONE" },
            { "backup_id": "20261121T022710", "status": "FAILED" },
        ] });
        let all = listed(&answer, "main", Some("7")).unwrap();
        assert_eq!(
            (all[0].ended, all[0].complete.clone(), all[0].bytes),
            (1_795_224_435, Ok(()), Some(39_907_366))
        );
        assert!(all[1].complete == Err("FAILED".to_owned()) && all[1].ended > all[0].ended, "{all:?}");
        assert!(listed(&json!({ "_ERROR": [] }), "main", None).is_none());
        let check = json!({ "main": { "a_b": { "hint": "", "status": "OK" }, "wal_archive": { "hint": "x", "status": "FAILED" } } });
        assert_eq!(failures(&check, "main").unwrap(), ["wal archive: x"]);
        for silent in [json!({}), json!({ "main": {} }), json!({ "_ERROR": ["x"] }), json!({ "main": "OK" })]
        {
            assert_eq!(failures(&silent, "main"), None, "silence is no pass: {silent}");
        }
    }
}
