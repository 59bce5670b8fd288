//! Room: is there enough of it, for how long, and for all that is planned?

mod disk_free;
mod disk_time_to_full;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family =
    Family { name: "storage", title: "Storage", kinds: &[&disk_free::KIND, &disk_time_to_full::KIND] };
