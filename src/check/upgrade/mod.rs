//! Before and after a copy or an upgrade: catalogues, sequences, roles, objects, versions, the way back.

mod objects_valid;
mod schema_matches;
mod sequences_ahead;
mod statistics_present;
mod survey;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "upgrade",
    title: "Copy and upgrade",
    kinds: &[&objects_valid::KIND, &schema_matches::KIND, &sequences_ahead::KIND, &statistics_present::KIND],
};
