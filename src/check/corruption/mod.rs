//! Damage: checksums, heaps, indexes, duplicates, collations.

mod amcheck;
mod checksums_clean;
mod chosen;
mod collations_unchanged;
mod heap_intact;
mod indexes_intact;
mod no_duplicate_keys;
mod tally;
mod walk;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "corruption",
    title: "Corruption",
    kinds: &[
        &checksums_clean::KIND,
        &collations_unchanged::KIND,
        &heap_intact::KIND,
        &indexes_intact::KIND,
        &no_duplicate_keys::KIND,
    ],
};
