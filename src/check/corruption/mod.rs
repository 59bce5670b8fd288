//! Damage: checksums, heaps, indexes, duplicates, collations.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "corruption", title: "Corruption", kinds: &[] };
