//! The service itself, as its users meet it.

pub mod ask;
mod backlog_drained;
mod round_trip;
mod rows_at_least;
mod synapse_appservice_ping;
mod synapse_background_updates;
mod synapse_schema_floor;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "application",
    title: "Application",
    kinds: &[
        &backlog_drained::KIND,
        &round_trip::KIND,
        &rows_at_least::KIND,
        &synapse_appservice_ping::KIND,
        &synapse_background_updates::KIND,
        &synapse_schema_floor::KIND,
    ],
};
