//! `data_matches`: the target holds everything that the source holds: rows, contents, catalogue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compare::{Except, Rules};
use super::{TIMEOUT, excepted, proof, source, targets, verdict};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, DataProof, Outcome};

/// The check in the catalogue.
pub static DATA_MATCHES: CheckKind = CheckKind {
    name: "data_matches",
    summary: "The target holds what the source holds: every row, its contents, and the catalogue",
    docs: include_str!("data_matches.md"),
    timeout: Some(TIMEOUT),
    schema: || schemars::schema_for!(DataMatches),
    build,
};

/// The target holds what the source holds: every row, its contents, and the catalogue.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["source"] }, { "required": ["recorded"] }]))]
pub struct DataMatches {
    /// The target that has the data. Measured at the same time. Either this or `recorded`.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    source: Option<String>,
    /// The name of a record made earlier in the run, to compare with instead of a `source`.
    #[serde(default)]
    #[schemars(extend("format" = "recorded"))]
    recorded: Option<String>,
    /// The target that must hold it too.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases of the cluster; roles are not compared then. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Only these tables with what belongs to them: `name`, `schema.name` or `database.schema.name`. All when not given.
    #[serde(default)]
    tables: Vec<String>,
    /// What may differ, each with the reason. It is measured and shown all the same.
    #[serde(default)]
    except: Vec<Except>,
    /// Between SQLite and PostgreSQL: the schema that SQLite's tables are compared with. `public` when not given.
    #[serde(default)]
    schema: Option<String>,
    /// Between SQLite and PostgreSQL: columns that get their values from a sequence, by the sequence's name, where no
    /// default says so: `table.column`, or `-table.column` when the values count down. It must be past all of them.
    #[serde(default)]
    sequences: BTreeMap<String, Vec<String>>,
}

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: DataMatches = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    source(it.source.as_ref(), it.recorded.as_ref())?;
    excepted(&it.except)?;
    if let Some((name, _)) = it.sequences.iter().find(|(_, columns)| columns.is_empty()) {
        return Err(format!("`sequences` names no column for `{name}`"));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for DataMatches {
    fn targets(&self) -> Vec<String> {
        targets(self.source.as_ref(), &self.target)
    }

    fn proves(&self) -> Option<DataProof> {
        let of = source(self.source.as_ref(), self.recorded.as_ref());
        proof(of, &self.target, &self.databases, &self.tables)
    }

    fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let rules = Rules {
            contents: true,
            catalogue_only: false,
            at_least: false,
            databases: self.databases.clone(),
            tables: self.tables.clone(),
            except: self.except.clone(),
            schema: self.schema.clone(),
            sequences: self.sequences.clone(),
        };
        match source(self.source.as_ref(), self.recorded.as_ref()) {
            Ok(of) => verdict::reach("data_matches", &of, &self.target, &rules, cx).await,
            Err(why) => Outcome::unknown(why, "a source to compare with"),
        }
    }
}
