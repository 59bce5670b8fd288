//! The machine: files, services, clocks, what starts after what.

pub(in crate::check) mod clock_offset;
mod clock_steady;
mod file;
mod hook_environment;
mod restart_pending;
mod service_running;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "host",
    title: "Host and time",
    kinds: &[
        &clock_offset::KIND,
        &clock_steady::KIND,
        &file::KIND,
        &hook_environment::KIND,
        &restart_pending::KIND,
        &service_running::KIND,
    ],
};
