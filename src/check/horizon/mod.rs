//! Transaction identifiers: their age, when they run out, and what holds them back.

mod autovacuum_progress;
mod horizon_holders;
mod row;
mod xid_age;
mod xid_time_to_stop;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "horizon",
    title: "Transaction horizon",
    kinds: &[&autovacuum_progress::KIND, &horizon_holders::KIND, &xid_age::KIND, &xid_time_to_stop::KIND],
};
