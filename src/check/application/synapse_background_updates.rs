//! Has Synapse finished changing its database after an upgrade?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::ask::{self, Question};
use crate::base::text::count;
use crate::check::params::{Count, whole};
use crate::check::people::errand::short;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Has Synapse finished changing its database after an upgrade?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynapseBackgroundUpdates {
    /// The target with Synapse's database, PostgreSQL or SQLite.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The schema version that the upgrade leads to: before the new Synapse has reached it, its updates are not even listed.
    #[serde(default)]
    schema_version: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "synapse_background_updates",
    summary: "Synapse has no background updates of its database left to do",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(SynapseBackgroundUpdates),
    build: crate::check::registry::from_params::<SynapseBackgroundUpdates>,
};

const DOCS: &str = r"
Shows that Synapse has finished the changes of its database that it makes in the background after an upgrade. Another upgrade, a
move to PostgreSQL (`synapse_port_db` refuses) or a comparison before that meets a database that is half old and half new.

**How it is measured.** Synapse lists what is left in its table `background_updates`, and deletes each row when that update is
done. The rows are read, together with the schema version.

**Passes** when the table is there and empty, and the schema version is at least `schema_version`. **Fails** when updates are
left; they are named, with those that wait for others. **Unknown** when the table or the schema version is not there (not Synapse's
database), or may not be read.

**Traps.** A new Synapse lists its updates when it first starts: an empty table before that start says nothing about the upgrade;
give `schema_version`. Five failures in a row end all background updates until the next start, and one setting turns them off:
then the rows stay for ever, and only Synapse's log tells why. With databases split (`databases:` in its configuration), each has
a table of its own: measure each.

```yaml
postconditions:
  - synapse_background_updates: { target: new }
  - synapse_background_updates: { id: upgraded, target: new, schema_version: 94 }
```
";

const WANTED: &str = "no background updates left";
const OTHER: &str = "name the target that holds Synapse's tables, and the schema in its `search_path`";

#[async_trait]
impl Check for SynapseBackgroundUpdates {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = match self.schema_version {
            Some(version) => format!("{WANTED}, schema version {} or later", version.0),
            None => WANTED.to_owned(),
        };
        let question = Question::new(KIND.name, &self.target, &wanted);
        let statements = [
            "select update_name, depends_on from background_updates order by update_name",
            "select version from schema_version",
        ];
        let (mut answers, identity) = match ask::several(cx, &question, &statements).await {
            Ok(answers) => answers,
            Err(trouble) => return *trouble.outcome(&question, OTHER),
        };
        let versions = answers.pop().unwrap_or_default();
        let left = answers.pop().unwrap_or_default();
        let version = versions.first().and_then(|row| row.first()).cloned().flatten();
        self.judge(&left, version.and_then(|text| whole(&text)), &wanted).on(&self.target, identity)
    }
}

impl SynapseBackgroundUpdates {
    fn judge(&self, left: &[Vec<Option<String>>], version: Option<u64>, wanted: &str) -> Outcome {
        let Some(version) = version else {
            return Outcome::unknown(
                "the table schema_version has no row: Synapse has not set this database up",
                wanted,
            )
            .help(OTHER);
        };
        let text = |value: Option<&Option<String>>| value.cloned().flatten().map(|name| short(&name, 100));
        let lines: Vec<String> = left
            .iter()
            .map(|row| {
                let name = text(row.first()).unwrap_or_else(|| "?".to_owned());
                match text(row.get(1)) {
                    Some(other) => format!("{name}, after {other}"),
                    None => name,
                }
            })
            .collect();
        let outcome = match lines.as_slice() {
            [] if self.schema_version.is_some_and(|least| version < least.0) => Outcome::fail(
                format!("none is listed, and the schema version is {version}: the new Synapse has not started on it"),
                wanted,
            )
            .help("start the new Synapse, and wait until it has finished"),
            [] => Outcome::pass(format!("none left, schema version {version}"), wanted),
            [first, ..] => {
                let first = first.split(',').next().unwrap_or_default();
                let n = lines.len() as u64;
                Outcome::fail(format!("{} left, such as {first}", count(n, "background update", "background updates")), wanted)
                    .help("let Synapse run until they are done; its log tells how far it is, and whether one fails")
            }
        };
        let more = lines.len().saturating_sub(20);
        let mut outcome = outcome.fact("left", lines.len() as u64).fact("schema_version", version);
        outcome.details.extend(lines.into_iter().take(20));
        if more > 0 {
            outcome = outcome.detail(format!("and {more} more"));
        }
        outcome
    }
}
