//! Before and after a copy or an upgrade: catalogues, sequences, roles, objects, versions, the way back.

mod extensions_available;
mod minor_versions_in_order;
mod no_clients;
mod objects_valid;
mod old_cluster_startable;
mod pg_upgrade_check;
mod place;
mod roles_match;
mod same_cluster;
mod schema_matches;
mod sequences_ahead;
mod settings_match;
mod statistics_present;

use crate::check::registry::Family;
use crate::check::survey;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "upgrade",
    title: "Copy and upgrade",
    kinds: &[
        &extensions_available::KIND,
        &minor_versions_in_order::KIND,
        &no_clients::KIND,
        &objects_valid::KIND,
        &old_cluster_startable::KIND,
        &pg_upgrade_check::KIND,
        &roles_match::KIND,
        &same_cluster::KIND,
        &schema_matches::KIND,
        &sequences_ahead::KIND,
        &settings_match::KIND,
        &statistics_present::KIND,
    ],
};
