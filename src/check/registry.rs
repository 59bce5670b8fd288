//! The catalogue: every check that there is. Adding one is its file and one line in the list of its family.

use std::collections::HashMap;
use std::sync::LazyLock;

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

/// Checks that belong together.
pub struct Family {
    /// The name of its folder.
    pub name: &'static str,
    /// Its heading in the documentation.
    pub title: &'static str,
    /// Its checks, by name.
    pub kinds: &'static [&'static CheckKind],
}

/// Every family, in the order of the documentation.
pub static FAMILIES: &[&Family] = &[
    &super::data::FAMILY,
    &super::upgrade::FAMILY,
    &super::storage::FAMILY,
    &super::containers::FAMILY,
    &super::backups::FAMILY,
    &super::replication::FAMILY,
    &super::server::FAMILY,
    &super::horizon::FAMILY,
    &super::corruption::FAMILY,
    &super::locks::FAMILY,
    &super::host::FAMILY,
    &super::network::FAMILY,
    &super::people::FAMILY,
    &super::application::FAMILY,
    &super::own::FAMILY,
];

/// Every check, by family.
pub fn all() -> impl Iterator<Item = &'static CheckKind> + Clone {
    FAMILIES.iter().flat_map(|family| family.kinds.iter().copied())
}

/// A kind by name.
pub fn find(name: &str) -> Option<&'static CheckKind> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static CheckKind>> =
        LazyLock::new(|| all().map(|kind| (kind.name, kind)).collect());
    BY_NAME.get(name).copied()
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
