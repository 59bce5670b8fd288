//! Replication: named standbys on both sides, slots, and the WAL that they hold back.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "replication", title: "Replication", kinds: &[] };
