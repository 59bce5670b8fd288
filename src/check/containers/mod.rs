//! Containers: does the data outlive them, and does the engine answer?

mod bytes;
mod compose;
mod container_data_persistent;
mod container_orphan_volumes;
mod container_ports;
mod container_runtime;
mod container_volumes_covered;
mod engine;
mod going;
mod shape;

pub use going::{Going, going};

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "containers",
    title: "Containers",
    kinds: &[
        &container_data_persistent::KIND,
        &container_orphan_volumes::KIND,
        &container_ports::KIND,
        &container_runtime::KIND,
        &container_volumes_covered::KIND,
    ],
};
