//! Indexes that may go, and sessions that wait or make others wait.

mod client_timeouts;
mod index;
mod index_drop_safe;
mod no_blocked_sessions;
mod no_long_transactions;
mod plan_without_index;
pub(in crate::check) mod words;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "locks",
    title: "Indexes and locks",
    kinds: &[
        &client_timeouts::KIND,
        &index_drop_safe::KIND,
        &no_blocked_sessions::KIND,
        &no_long_transactions::KIND,
        &plan_without_index::KIND,
    ],
};
