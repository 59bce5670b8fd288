//! Is it still the cluster that it was? A server answers on the right port with the right password, and is a fresh, empty
//! one in a volume that was new.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::{Identity, pg};

/// Is it still the cluster that it was?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["recorded"] }, { "required": ["source"] }, { "required": ["system_identifier"] }]))]
pub struct SameCluster {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The name of a record made of it earlier in the run.
    #[serde(default)]
    #[schemars(extend("format" = "recorded"))]
    recorded: Option<String>,
    /// Another target that it must be a physical copy of: a standby, a restored backup.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    source: Option<String>,
    /// The system identifier itself, as text: `"7301234567890123456"`.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9]{1,20}$"))]
    system_identifier: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "same_cluster",
    summary: "what answers is the cluster that was there before, not a new one in its place",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(SameCluster),
    build,
};

const DOCS: &str = r#"
Shows that what answers is the cluster that was there before: its system identifier, which `initdb` draws once, is the same.

**How it is measured.** The server is asked for its system identifier; of a stopped cluster (a target with `cluster` or
`data_directory`) it is read from `pg_control`. It is compared with a record made earlier in the run, with another target, or
with a number in the runbook.

**Passes** when they are equal. **Fails** when they differ, and says when the cluster that answers was made. **Unknown** when
the server cannot be asked, or nothing was recorded under that name.

**Traps.** A copy of the files has the same identifier: this check tells a new cluster from an old one, not an original from its
copy. `pg_upgrade` and a dump and restore lead to a new cluster with an identifier of its own: compare with a record of the new
one. It proves nothing about data: a cluster can be the same and emptied; use `data_matches` or `rows_match`.

```yaml
postconditions:
  - same_cluster: { target: old, recorded: before }
  - same_cluster: { id: restored, target: new, source: old }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: SameCluster = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let given = [it.recorded.is_some(), it.source.is_some(), it.system_identifier.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(
            "exactly one of `recorded`, `source` and `system_identifier` must say what to compare with"
                .to_owned(),
        );
    }
    if it.source.as_ref() == Some(&it.target) {
        return Err("`source` and `target` are the same target".to_owned());
    }
    if it
        .system_identifier
        .as_ref()
        .is_some_and(|id| id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err("`system_identifier` is a number of up to 20 digits".to_owned());
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for SameCluster {
    fn targets(&self) -> Vec<String> {
        std::iter::once(self.target.clone()).chain(self.source.clone()).collect()
    }

    fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "the same system identifier";
        let help = "make the target measurable, then measure again";
        let (wanted, from, seen) = match self.wanted(cx).await {
            Ok(wanted) => wanted,
            Err(why) => return Outcome::unknown(why, expected).help(help),
        };
        let is = match ask(&self.target, cx).await {
            Ok(is) => is,
            Err(why) => return Outcome::unknown(why, expected).help(help),
        };
        let expected = format!("system identifier {wanted}, as in {from}");
        let found = is.system_identifier.clone();
        let identity = Identity::Postgres(is);
        let observed = match found == wanted {
            true => format!("system identifier {found}"),
            false => format!("another cluster: {}", identity.describe()),
        };
        let mut outcome = Outcome::judge(found == wanted, observed, expected)
            .help("do not go on: find where the old data directory is (volumes, mounts) before anything writes here")
            .fact("system_identifier", found.clone());
        if let Some(made) = made(&found).filter(|_| found != wanted) {
            outcome = outcome.detail(format!("the cluster that answers was made on {made}"));
        }
        outcome = outcome.on(&self.target, identity);
        match seen {
            Some((name, identity)) => outcome.on(&name, identity),
            None => outcome,
        }
    }
}

impl SameCluster {
    async fn wanted(&self, cx: &Context) -> Result<(String, String, Option<(String, Identity)>), String> {
        if let Some(name) = &self.source {
            let is = ask(name, cx).await?;
            return Ok((
                is.system_identifier.clone(),
                name.clone(),
                Some((name.clone(), Identity::Postgres(is))),
            ));
        }
        if let Some(name) = &self.recorded {
            return match cx.records.manifest(name)?.identity {
                Identity::Postgres(was) => Ok((was.system_identifier, format!("the record `{name}`"), None)),
                Identity::Sqlite(_) => Err(format!("the record `{name}` is one of an SQLite file")),
            };
        }
        let number = self.system_identifier.clone().ok_or("nothing to compare with is given")?;
        Ok((number, "the runbook".to_owned(), None))
    }
}

async fn ask(name: &str, cx: &Context) -> Result<crate::world::identity::PostgresIdentity, String> {
    let target = cx.target(name)?;
    if target.postgres.is_none() {
        return Err(format!("{name} is no PostgreSQL server"));
    }
    pg::identity::identity(target).await.map_err(|why| format!("{name}: {why}"))
}

/// The day on which `initdb` drew the identifier: its upper half is that moment in seconds.
fn made(identifier: &str) -> Option<String> {
    let seconds = identifier.parse::<u64>().ok()? >> 32;
    let moment = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(moment.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_says_when_it_was_drawn() {
        let identifier = (1_700_000_000_u64 << 32 | 12345).to_string();
        assert_eq!(made(&identifier).as_deref(), Some("2023-11-14 22:13 UTC"));
        assert_eq!(made("x"), None);
    }
}
