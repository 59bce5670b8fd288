//! Replication: named standbys on both sides, slots, and the WAL that they hold back.

mod replication_slots;
mod replication_streaming;
mod slot_cap;
mod standby_stable;
mod wal;
mod wal_archiving;
mod wal_size;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "replication",
    title: "Replication",
    kinds: &[
        &replication_slots::KIND,
        &replication_streaming::KIND,
        &slot_cap::KIND,
        &standby_stable::KIND,
        &wal_archiving::KIND,
        &wal_size::KIND,
    ],
};
