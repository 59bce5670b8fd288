//! How a check can be made to fail without harm, to show that it can fail at all: a guard that passes whatever happens
//! guards nothing. Plans only; who measures, and where that is allowed, is the rehearsal's business.
//!
//! Three ways, best first: the author's own (`falsify` of the check); a change in a transaction that is rolled back, or in
//! a private copy; a threshold pushed out of reach.

mod changes;
mod push;
mod table;

use serde_json::Value;

pub use changes::{Broken, broken};
pub use push::{Pushed, pushed};

use super::registry::CheckKind;

/// The ways that a kind of check has, besides the author's: for its page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// Changes that are rolled back, in words.
    pub changes: Vec<&'static str>,
    /// Parameters that can be pushed out of reach.
    pub parameters: Vec<String>,
}

/// What there is for a kind.
pub fn ways(kind: &CheckKind) -> Ways {
    let schema = (kind.schema)().to_value();
    let keys = schema["properties"].as_object().into_iter().flat_map(serde_json::Map::keys);
    let parameters = keys.filter(|key| table::rule(kind.name, key).is_some()).cloned().collect();
    Ways { changes: changes::of(kind.name).iter().map(|change| change.words).collect(), parameters }
}

impl Ways {
    /// The sentence for a check's page.
    pub fn sentence(&self) -> String {
        let names: Vec<String> = self.parameters.iter().map(|name| format!("`{name}`")).collect();
        let pushed = format!("{} pushed out of reach", names.join(", "));
        match (self.changes.join("; "), names.is_empty()) {
            (changes, true) if changes.is_empty() => "only by the check's own `falsify`".to_owned(),
            (changes, false) if changes.is_empty() => pushed,
            (changes, true) => changes,
            (changes, false) => format!("{changes}; else {pushed}"),
        }
    }
}

/// A list of texts in a parameter.
fn list(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::registry;

    /// Kinds whose failing nothing of ours can bring about: what they measure is a machine's, a tool's or another
    /// server's, or the check is the author's own. A new check that stands here needs a reason of that sort.
    const ONLY_BY_THE_AUTHOR: &[&str] = &[
        "extensions_available",
        "minor_versions_in_order",
        "no_clients",
        "old_cluster_startable",
        "pg_upgrade_check",
        "settings_match",
        "container_orphan_volumes",
        "container_volumes_covered",
        "backup_copied",
        "backup_of_cluster",
        "checksums_clean",
        "heap_intact",
        "indexes_intact",
        "no_duplicate_keys",
        "restart_pending",
        "page_acknowledged",
        "round_trip",
        "synapse_appservice_ping",
    ];

    #[test]
    fn what_no_way_of_ours_shows_is_known() {
        let none = |kind: &&CheckKind| ways(kind) == Ways::default();
        let found: Vec<&str> = registry::all().filter(none).map(|kind| kind.name).collect();
        assert_eq!(found, ONLY_BY_THE_AUTHOR);
        assert!(registry::all().count() - found.len() > 60, "most have a way");
    }
}
