//! Before and after a copy or an upgrade: catalogues, sequences, roles, objects, versions, the way back.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "upgrade", title: "Copy and upgrade", kinds: &[] };
