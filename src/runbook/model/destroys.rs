//! What a destructive step destroys.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::either::string_or;
use crate::runbook::containers::Containers;

/// What a destructive step destroys. In short form only the text that the operator types.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub struct Destroys {
    /// The text that the operator types.
    pub what: String,
    /// The target that goes: its directories, tablespaces, WAL, configuration, databases and rows are measured. With
    /// `database`, `tables` or `indexes` only that part of it goes, and the server may run.
    pub target: Option<String>,
    /// The database of the target that goes; with `tables` or `indexes`, the one that they are in.
    pub database: Option<String>,
    /// Tables and materialized views that go: `schema.name`.
    pub tables: Vec<String>,
    /// Indexes that go: `schema.name`. They hold nothing that their table does not.
    pub indexes: Vec<String>,
    /// Files and directories that go.
    pub paths: Vec<String>,
    /// Containers that go, with what was written into them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
    /// The target that holds the data from then on; it must be proved by a data check among the guards.
    pub survives_in: Option<String>,
}

impl Destroys {
    /// True when only a part of the target goes: a database, tables or indexes of a server that goes on.
    pub fn part(&self) -> bool {
        self.database.is_some() || self.relations()
    }

    /// True when only tables or indexes go.
    pub fn relations(&self) -> bool {
        !self.tables.is_empty() || !self.indexes.is_empty()
    }

    /// True when nothing goes but indexes: they can be built again from their tables.
    pub fn only_indexes(&self) -> bool {
        !self.indexes.is_empty()
            && self.tables.is_empty()
            && self.paths.is_empty()
            && self.containers.is_none()
    }

    /// True when nothing is named that could be measured.
    pub fn unnamed(&self) -> bool {
        self.target.is_none() && self.paths.is_empty() && self.containers.is_none()
    }

    /// True when nothing goes but containers.
    pub fn only_containers(&self) -> bool {
        self.containers.is_some() && self.target.is_none() && self.paths.is_empty()
    }

    /// The target whose data goes, whole or in part, so that somebody else has to hold them.
    pub fn data_of(&self) -> Option<&String> {
        let data = !self.tables.is_empty() || self.indexes.is_empty();
        self.target.as_ref().filter(|_| data)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DestroysLong {
    /// The text that the operator types.
    #[schemars(extend("format" = "confirmation"))]
    what: String,
    /// The target that goes: its directories, tablespaces, WAL, configuration, databases and rows are measured. With
    /// `database`, `tables` or `indexes` only that part of it goes, and the server may run.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The database of the target that goes; with `tables` or `indexes`, the one that they are in.
    #[serde(default)]
    database: Option<String>,
    /// Tables and materialized views that go: `schema.name`.
    #[serde(default)]
    tables: Vec<String>,
    /// Indexes that go: `schema.name`. They hold nothing that their table does not.
    #[serde(default)]
    indexes: Vec<String>,
    /// Files and directories that go.
    #[serde(default)]
    paths: Vec<String>,
    /// Containers that go, with what was written into them.
    #[serde(default)]
    containers: Option<Containers>,
    /// The target that holds the data from then on; a data check among the guards must prove it.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    survives_in: Option<String>,
}

string_or!(
    Destroys, "the text to type, or a map with `what`",
    |what| Destroys { what, ..Destroys::default() },
    map: DestroysLong => |long| Destroys {
        what: long.what, target: long.target, database: long.database, tables: long.tables,
        indexes: long.indexes, paths: long.paths, containers: long.containers, survives_in: long.survives_in,
    }
);

impl JsonSchema for Destroys {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destroys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<DestroysLong>();
        json_schema!({
            "description": "Makes the step destructive. The operator types this text, or `what` of the long form.",
            "anyOf": [ { "type": "string", "minLength": 1, "format": "confirmation" }, long ],
        })
    }
}
