//! The machine: files, services, clocks, what starts after what.

mod file;
mod service_running;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family =
    Family { name: "host", title: "Host and time", kinds: &[&file::KIND, &service_running::KIND] };
