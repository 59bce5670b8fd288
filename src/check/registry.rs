//! The catalogue: every check that there is. Adding one is its file and one line here.

use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Check;
use crate::base::Span;
use crate::runbook::CheckSpec;

/// A check made from its parameters, or the parameter that is wrong.
pub type Built = Result<Box<dyn Check>, String>;

/// A kind of check.
pub struct CheckKind {
    /// The name that runbooks use.
    pub name: &'static str,
    /// What a pass shows, in one line.
    pub summary: &'static str,
    /// Markdown: how it is measured, when it passes, fails and is unknown, traps, an example.
    pub docs: &'static str,
    /// The longest a measurement takes when the runbook sets no limit; `None` means one minute.
    pub timeout: Option<Span>,
    /// The JSON Schema of its parameters.
    pub schema: fn() -> Schema,
    /// Makes the check from its parameters.
    pub build: fn(Map<String, Value>) -> Built,
}

/// Every check, by family and name.
pub static CATALOGUE: &[&CheckKind] = &[
    &super::backup_fresh::KIND,
    &super::command::KIND,
    &super::data::DATA_MATCHES,
    &super::data::ROWS_MATCH,
    &super::disk_free::KIND,
    &super::disk_time_to_full::KIND,
    &super::file::KIND,
    &super::pg_accepts_connections::KIND,
    &super::pg_query::KIND,
    &super::service_running::KIND,
];

/// A kind by name.
pub fn find(name: &str) -> Option<&'static CheckKind> {
    CATALOGUE.iter().copied().find(|kind| kind.name == name)
}

/// Makes a check. An error names the parameter that is wrong.
pub fn build(spec: &CheckSpec) -> Result<Box<dyn Check>, String> {
    let kind = find(&spec.kind).ok_or_else(|| format!("there is no check called `{}`", spec.kind))?;
    (kind.build)(spec.params.clone())
}

/// The line that stands for a check without a title of its own: its name and its parameters.
pub fn title(spec: &CheckSpec) -> String {
    let mut parts = Vec::new();
    for (key, value) in &spec.params {
        match value {
            Value::String(text) => parts.push(format!("{key} {text}")),
            Value::Array(_) | Value::Object(_) => {}
            other => parts.push(format!("{key} {other}")),
        }
    }
    if parts.is_empty() { spec.kind.clone() } else { format!("{} ({})", spec.kind, parts.join(", ")) }
}

/// Reads parameters into a check's own type: the usual `build`.
pub fn from_params<C: Check + DeserializeOwned + 'static>(
    params: Map<String, Value>,
) -> Result<Box<dyn Check>, String> {
    serde_json::from_value::<C>(Value::Object(params))
        .map(|check| Box::new(check) as Box<dyn Check>)
        .map_err(|e| e.to_string())
}
