//! Can one still go back to an older Synapse on this database?

mod versions;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ask::{self, Question, Trouble};
use crate::check::params::whole;
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome};
use versions::{Known, Release};

/// Can one still go back to an older Synapse on this database?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynapseSchemaFloor {
    /// The target with Synapse's database, PostgreSQL or SQLite.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The Synapse that one would go back to, as in `1.98.0`; or its schema version, a whole number.
    going_back_to: GoingBackTo,
}

/// A release of Synapse, or a schema version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoingBackTo {
    Release(Release),
    Schema(u64),
}

impl<'de> Deserialize<'de> for GoingBackTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = match &value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        if let Some(schema) = whole(&text).filter(|schema| *schema > 0) {
            return Ok(GoingBackTo::Schema(schema));
        }
        let dots = text.matches('.').count();
        // 1.90 as a number would be 1.9.
        let release = if value.is_string() && dots > 0 { Release::read(&text) } else { None };
        release.map(GoingBackTo::Release).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{value} is neither a release of Synapse nor a schema version; write \"1.98.0\" or 83"
            ))
        })
    }
}

impl JsonSchema for GoingBackTo {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SynapseRelease".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A release of Synapse, as in \"1.98.0\", or a schema version, as in 83.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": r"^v?[0-9]+(\.[0-9]+){0,2}(rc[0-9]+)?$" },
            ],
        })
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "synapse_schema_floor",
    summary: "an older Synapse would still start on this database",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(SynapseSchemaFloor),
    build: from_params::<SynapseSchemaFloor>,
};

const DOCS: &str = r#"
Shows that one can still go back: the older Synapse would start on this database as the newer one has left it.

**How it is measured.** Synapse keeps in `schema_compat_version` the oldest schema version whose code may use the database, and
refuses to start when its own is older. Releases before 1.37.0 do not know that table: they refuse when the database's own
schema version is newer than theirs. Which release has which schema version is known from the releases themselves (1.36.0 to
1.163.2, not every one was looked at): between two that were looked at, a release has at least the version of the earlier and at most
that of the later one.

**Passes** when the older Synapse's schema version is at least what the database asks for. **Fails** when it is not: going back
then needs a restored backup. **Unknown** when the release lies between two known ones that the limit falls between, or is not known
at all (give its schema version: `SCHEMA_VERSION` in its `synapse/storage/schema/__init__.py`), or the tables are not there.

**Traps.** It says that Synapse starts, not that everything in it works as before: the release's upgrade notes may say more. The limit
rises when the newer Synapse first *starts*, before its upgrade of the tables ends: measure before, and again after.
With databases split, each has a limit of its own.

```yaml
preconditions:
  - synapse_schema_floor: { target: old, going_back_to: "1.98.0" }
  - synapse_schema_floor: { id: by-number, target: old, going_back_to: 83 }
```
"#;

const OTHER: &str = "name the target that holds Synapse's tables, and the schema in its `search_path`";

/// What a database asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asks {
    /// `schema_version.version`.
    version: u64,
    /// `schema_compat_version.compat_version`; `None` where no Synapse since 1.37.0 has started.
    compat: Option<u64>,
}

#[async_trait]
impl Check for SynapseSchemaFloor {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let question = Question::new(KIND.name, &self.target, &wanted);
        let number = |rows: Vec<Vec<Option<String>>>| {
            rows.first().and_then(|row| row.first()).cloned().flatten().and_then(|text| whole(&text))
        };
        let (rows, identity) = match ask::rows(cx, &question, "select version from schema_version").await {
            Ok(answer) => answer,
            Err(trouble) => return *trouble.outcome(&question, OTHER),
        };
        let Some(version) = number(rows) else {
            let why = "the table schema_version has no row: Synapse has not set this database up";
            return Outcome::unknown(why, wanted).help(OTHER).on(&self.target, identity);
        };
        let compat = match ask::rows(cx, &question, "select compat_version from schema_compat_version").await
        {
            Ok((rows, _)) => number(rows),
            Err(Trouble::NoTable(_)) => None,
            Err(trouble) => return *trouble.outcome(&question, OTHER),
        };
        self.judge(Asks { version, compat }, wanted).on(&self.target, identity)
    }
}

impl SynapseSchemaFloor {
    fn wanted(&self) -> String {
        match self.going_back_to {
            GoingBackTo::Release(release) => format!("a database that Synapse {release} may use"),
            GoingBackTo::Schema(schema) => format!("a database that schema version {schema} may use"),
        }
    }

    fn judge(&self, asks: Asks, wanted: String) -> Outcome {
        // Without the newer table only the older rule is left, and code that knows the newer one takes any database.
        let floor = |knows: bool| if knows { asks.compat.unwrap_or(0) } else { asks.version };
        let (least, most, floors) = match self.going_back_to {
            GoingBackTo::Release(release) => match versions::of(release) {
                Known::Not => (0, u64::MAX, vec![floor(release.knows_compat())]),
                Known::Between(least, most) => (least, most, vec![floor(release.knows_compat())]),
            },
            // 59 is the version of the last release that does not know the newer table, and of the first that does.
            GoingBackTo::Schema(schema) if schema < versions::FIRST_COMPAT => {
                (schema, schema, vec![floor(false)])
            }
            GoingBackTo::Schema(schema) if schema == versions::FIRST_COMPAT => {
                (schema, schema, vec![floor(false), floor(true)])
            }
            GoingBackTo::Schema(schema) => (schema, schema, vec![floor(true)]),
        };
        let (low, high) =
            (floors.iter().min().copied().unwrap_or(0), floors.iter().max().copied().unwrap_or(0));
        let of = match asks.compat {
            Some(compat) => {
                format!("the database asks for schema version {compat} (it has {})", asks.version)
            }
            None => format!("the database has schema version {}, from before Synapse 1.37.0", asks.version),
        };
        let has = match (least, most) {
            (least, most) if least == most => format!("it has {least}"),
            (0, u64::MAX) => "nobody knows which it has".to_owned(),
            (least, u64::MAX) => format!("it has {least} or more"),
            (0, most) => format!("it has {most} or less"),
            (least, most) => format!("it has {least} to {most}"),
        };
        let who = match self.going_back_to {
            GoingBackTo::Release(release) => format!("Synapse {release}: {has}"),
            GoingBackTo::Schema(schema) => format!("schema version {schema}"),
        };
        let outcome = match () {
            () if least >= high => Outcome::pass(format!("{of}; {who}"), wanted),
            () if most < low => Outcome::fail(format!("{of}; {who}"), wanted)
                .help("do not start it on this database: going back needs a backup from before the upgrade"),
            () => Outcome::unknown(format!("{of}; {who}"), wanted)
                .help("give the schema version: SCHEMA_VERSION in its synapse/storage/schema/__init__.py"),
        };
        let outcome = outcome.fact("schema_version", asks.version);
        match asks.compat {
            Some(compat) => outcome.fact("compat_version", compat),
            None => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    fn verdict(back: Value, version: u64, compat: Option<u64>) -> Verdict {
        let check: SynapseSchemaFloor =
            serde_json::from_value(json!({ "target": "db", "going_back_to": back })).unwrap();
        check.judge(Asks { version, compat }, String::new()).verdict
    }

    #[test]
    fn the_rule_is_that_of_the_older_release() {
        for (back, version, compat, wanted) in [
            // The newest of the table asks for 84.
            (json!("1.163.2"), 94, Some(84), Verdict::Pass),
            (json!("1.110.0"), 94, Some(84), Verdict::Pass),
            (json!("1.101.0"), 94, Some(84), Verdict::Pass),
            (json!("1.98.0"), 94, Some(84), Verdict::Fail),
            (json!("v1.85.0"), 94, Some(84), Verdict::Fail),
            // Between two that were looked at, 83 and 84.
            (json!("1.99.0"), 94, Some(84), Verdict::Unknown),
            (json!("1.99.0"), 88, Some(83), Verdict::Pass),
            (json!("1.60.0"), 77, Some(76), Verdict::Fail),
            // Later than all.
            (json!("1.300.0"), 99, Some(90), Verdict::Pass),
            (json!("1.300.0"), 120, Some(95), Verdict::Unknown),
            // Those that do not know the newer table.
            (json!("1.36.0"), 59, None, Verdict::Pass),
            (json!("1.36.0"), 60, Some(59), Verdict::Fail),
            (json!("1.37.0"), 60, Some(59), Verdict::Pass),
            (json!("1.20.0"), 59, None, Verdict::Unknown),
            (json!("1.20.0"), 60, Some(59), Verdict::Fail),
            (json!(83), 94, Some(84), Verdict::Fail),
            (json!("84"), 94, Some(84), Verdict::Pass),
            (json!(59), 61, Some(59), Verdict::Unknown),
            (json!(58), 59, Some(58), Verdict::Fail),
        ] {
            assert_eq!(verdict(back.clone(), version, compat), wanted, "{back} on {version}/{compat:?}");
        }
    }

    #[test]
    fn what_is_no_release_is_refused() {
        for wrong in [json!("latest"), json!(1.9), json!(0), json!(""), json!("1.x"), json!([1])] {
            let read = serde_json::from_value::<SynapseSchemaFloor>(
                json!({ "target": "db", "going_back_to": wrong }),
            );
            assert!(read.unwrap_err().to_string().contains("neither"), "{wrong}");
        }
    }
}
