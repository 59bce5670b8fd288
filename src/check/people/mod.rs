//! People: who was paged and answered, what was seen, when work may be done.

pub(crate) mod change_window;
pub mod errand;
mod heartbeat_fresh;
mod observed;
mod page_acknowledged;
pub mod pages;
pub mod stamp;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "people",
    title: "People",
    kinds: &[&change_window::KIND, &heartbeat_fresh::KIND, &observed::KIND, &page_acknowledged::KIND],
};
