//! People: who was paged and answered, what was seen, when work may be done.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "people", title: "People", kinds: &[] };
