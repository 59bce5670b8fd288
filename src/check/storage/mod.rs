//! Room: is there enough of it, for how long, and for all that is planned?

pub mod backing;
mod capacity_for_copy;
mod capacity_parity;
mod disk_free;
mod disk_time_to_full;
mod samples;
mod space_reserve;
pub mod target_size;
mod wal_time_to_full;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "storage",
    title: "Storage",
    kinds: &[
        &capacity_for_copy::KIND,
        &capacity_parity::KIND,
        &disk_free::KIND,
        &disk_time_to_full::KIND,
        &space_reserve::KIND,
        &wal_time_to_full::KIND,
    ],
};
