//! Indexes that may go, and sessions that wait or make others wait.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "locks", title: "Indexes and locks", kinds: &[] };
