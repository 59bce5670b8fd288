//! Has the target everything that the source's catalogue has? Like `data_matches`, without reading a row: quick, and
//! right at the moment when tables are still empty or already written to.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::check::data::compare::{Except, Rules};
use crate::check::data::{source, targets, verdict};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Has the target everything that the source's catalogue has, and nothing else?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["source"] }, { "required": ["recorded"] }]))]
pub struct SchemaMatches {
    /// The target to compare with. Measured at the same time. Either this or `recorded`.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    source: Option<String>,
    /// The name of a record made earlier in the run, to compare with instead of a `source`.
    #[serde(default)]
    #[schemars(extend("format" = "recorded"))]
    recorded: Option<String>,
    /// The target that must have the same catalogue.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases of the cluster. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Tables and sequences that may differ, with what belongs to them, each with the reason. They are shown all the
    /// same.
    #[serde(default)]
    except: Vec<Except>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "schema_matches",
    summary: "the target's catalogue is the source's: tables, columns, indexes, constraints, functions and the rest",
    docs: DOCS,
    timeout: Some(Span::secs(900)),
    schema: || schema_for!(SchemaMatches),
    build,
};

const DOCS: &str = r#"
Shows that the catalogue of the target is that of the source, without reading a row.

**How it is measured.** Each database is read in one read-only snapshot, both sides at the same time, and compared in both
directions: tables, columns with their types, defaults and collations, partitions, indexes, constraints, views, materialized
views, functions, triggers, types, policies, rules, schemas, sequences, extensions, owners and grants, the number of large
objects, encoding and collation. `recorded` compares with a record made earlier in the run.

**Passes** when nothing differs. **Fails** when something is missing, extra or changed, or is there and does not work while
it did in the source: an invalid index, a constraint that was never validated, a disabled trigger. Also when source and target
are one object. **Unknown** when a side does not answer, a database cannot be entered, or neither side has a table.

**Traps.** All databases count, not only the application's; `databases` narrows it down. It proves nothing about rows: an
empty table has the right columns, too. What a destructive step may rely on is `data_matches`. Between major versions,
texts that each server words in its own way (views, expressions) are compared only by what they apply to; a newer version
of an extension is no difference; NOT NULL is compared as a fact of the column, for which 18 has rows of its own and
earlier versions have none. Where sequences stand is data: use `sequences_ahead`. Roles: use `roles_match`.

```yaml
postconditions:
  - schema_matches: { source: old, target: new }
  - schema_matches:
      id: as-recorded
      recorded: before
      target: new
      except: [{ table: user_ips, reason: "gets its new index in the next step" }]
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: SchemaMatches = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    source(it.source.as_ref(), it.recorded.as_ref())?;
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.table));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for SchemaMatches {
    fn targets(&self) -> Vec<String> {
        targets(self.source.as_ref(), &self.target)
    }

    fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let rules = Rules {
            contents: true,
            catalogue_only: true,
            databases: self.databases.clone(),
            except: self.except.clone(),
            ..Rules::default()
        };
        match source(self.source.as_ref(), self.recorded.as_ref()) {
            Ok(of) => verdict::reach(KIND.name, &of, &self.target, &rules, cx).await,
            Err(why) => Outcome::unknown(why, "a source to compare with"),
        }
    }
}
