//! `rows_match`: every table has the same number of rows on both sides, counted exactly.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compare::{Except, Rules};
use super::{TIMEOUT, excepted, proof, source, targets, verdict};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, DataProof, Outcome};

/// The check in the catalogue.
pub static ROWS_MATCH: CheckKind = CheckKind {
    name: "rows_match",
    summary: "Every table of the target has as many rows as in the source, counted exactly",
    docs: include_str!("rows_match.md"),
    timeout: Some(TIMEOUT),
    schema: || schemars::schema_for!(RowsMatch),
    build,
};

/// Every table of the target has as many rows as in the source, counted exactly.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["source"] }, { "required": ["recorded"] }]))]
pub struct RowsMatch {
    /// The target that has the rows. Measured at the same time. Either this or `recorded`.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    source: Option<String>,
    /// The name of a record made earlier in the run, to compare with instead of a `source`.
    #[serde(default)]
    #[schemars(extend("format" = "recorded"))]
    recorded: Option<String>,
    /// The target that must have them too.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases of the cluster. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// The target may have more rows and more tables: a floor, for use after the service has been writing.
    #[serde(default)]
    at_least: bool,
    /// Tables that may have other numbers of rows, each with the reason: rightly pruned, for example. They are counted
    /// and shown all the same.
    #[serde(default)]
    except: Vec<Except>,
    /// Between SQLite and PostgreSQL: the schema that SQLite's tables are compared with. `public` when not given.
    #[serde(default)]
    schema: Option<String>,
}

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: RowsMatch = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    source(it.source.as_ref(), it.recorded.as_ref())?;
    excepted(&it.except)?;
    Ok(Box::new(it))
}

#[async_trait]
impl Check for RowsMatch {
    fn targets(&self) -> Vec<String> {
        targets(self.source.as_ref(), &self.target)
    }

    fn proves(&self) -> Option<DataProof> {
        proof(source(self.source.as_ref(), self.recorded.as_ref()), &self.target, &self.databases, &[])
    }

    fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let rules = Rules {
            at_least: self.at_least,
            databases: self.databases.clone(),
            except: self.except.clone(),
            schema: self.schema.clone(),
            ..Rules::default()
        };
        match source(self.source.as_ref(), self.recorded.as_ref()) {
            Ok(of) => verdict::reach("rows_match", &of, &self.target, &rules, cx).await,
            Err(why) => Outcome::unknown(why, "a source to compare with"),
        }
    }
}
