//! What a step does: a command, statements, a person, a manifest, a watch.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::either::string_or;
use crate::base::Span;

/// May a step's work be repeated?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rerun {
    /// Without asking.
    Safe,
    /// A person decides, with a reason.
    #[default]
    Ask,
    /// Not at all: undo it or abandon the run.
    Never,
}

/// May an undoing be repeated?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeat {
    /// Without asking, by the next `rollback`.
    Safe,
    /// A person decides, with a reason.
    #[default]
    Ask,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Program and arguments, no shell.
    Argv(Vec<String>),
    /// A bash script; variables reach it as environment variables, never as text.
    Script(String),
}

/// Statements for a target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The target they run on.
    #[schemars(extend("format" = "target"))]
    pub target: String,
    /// The statements, in order.
    #[schemars(length(min = 1))]
    pub statements: Vec<String>,
    /// How many rows they may insert, update and delete, all together, by triggers and foreign keys too. With it they run
    /// in one transaction, which is rolled back when it affects fewer or more.
    #[serde(default)]
    pub affects: Option<Affects>,
}

/// How many rows statements may affect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affects {
    /// At least so many; 1 when not given.
    #[serde(default)]
    pub at_least: Option<u64>,
    /// At most so many.
    pub at_most: u64,
}

impl Affects {
    /// True when so many rows are meant.
    pub fn allows(&self, rows: u64) -> bool {
        (self.at_least.unwrap_or(1)..=self.at_most).contains(&rows)
    }
}

impl std::fmt::Display for Affects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at_least.unwrap_or(1) {
            least if least == self.at_most => write!(f, "exactly {least}"),
            least => write!(f, "{least} to {}", self.at_most),
        }
    }
}

/// Instructions for a person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// Markdown: what to do.
    pub instructions: String,
    /// A question whose answer is kept in the log; without it the operator only confirms.
    #[serde(default)]
    pub observe: Option<String>,
}

/// A manifest to compare with later.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The target that is measured: every table's rows and contents, sequences, and the catalogue.
    #[schemars(extend("format" = "target"))]
    pub target: String,
    /// The name that checks use in `recorded`.
    #[serde(rename = "as")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))]
    pub name: String,
}

/// A watch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soak {
    /// How long the invariants must hold. The clock survives restarts, stands still while one of them is unknown, and
    /// starts again at zero on a failure.
    #[serde(rename = "for")]
    pub length: Span,
    /// How often they are measured.
    pub every: Span,
    /// How long they must hold in a rehearsal instead; its receipt then says that the watch was shortened.
    #[serde(default)]
    pub rehearse_for: Option<Span>,
}

string_or!(Run, "a list (argv) or a string (a bash script)", Run::Script, seq: Vec<String> => Run::Argv);

impl JsonSchema for Run {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Run".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list is argv (no shell); a string is a bash script, run with -euo pipefail.",
            "anyOf": [
                { "type": "string", "minLength": 1, "format": "script" },
                { "type": "array", "minItems": 1, "items": { "type": "string", "format": "argv" } },
            ],
        })
    }
}
