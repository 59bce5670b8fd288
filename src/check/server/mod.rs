//! Whether a server is what it should be and has room to go on: its role, its connections, its sequences, its tables.

mod connections_free;
mod no_unlogged_tables;
mod sequence_headroom;
mod server_role;
mod vacuum_recent;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "server",
    title: "Server",
    kinds: &[
        &connections_free::KIND,
        &no_unlogged_tables::KIND,
        &sequence_headroom::KIND,
        &server_role::KIND,
        &vacuum_recent::KIND,
    ],
};
