//! Containers: does the data outlive them, and does the engine answer?

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "containers", title: "Containers", kinds: &[] };
