//! The service itself, as its users meet it.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "application", title: "Application", kinds: &[] };
