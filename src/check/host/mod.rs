//! The machine: files, mounts, packages, accounts, services and processes, clocks, what starts after what.

mod account;
pub(in crate::check) mod clock_offset;
mod clock_steady;
mod file;
mod hook_environment;
mod kernel_parameter;
mod log_clean;
mod mounted;
pub(in crate::check) mod names;
mod package_installed;
pub(in crate::check) mod proc;
mod process_running;
mod restart_pending;
mod service_running;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "host",
    title: "Host and time",
    kinds: &[
        &account::KIND,
        &clock_offset::KIND,
        &clock_steady::KIND,
        &file::KIND,
        &hook_environment::KIND,
        &kernel_parameter::KIND,
        &log_clean::KIND,
        &mounted::KIND,
        &package_installed::KIND,
        &process_running::KIND,
        &restart_pending::KIND,
        &service_running::KIND,
    ],
};
