//! People: who was paged and answered, what was seen, when work may be done.

pub mod errand;
mod page_acknowledged;
pub mod pages;
pub mod stamp;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "people", title: "People", kinds: &[&page_acknowledged::KIND] };
