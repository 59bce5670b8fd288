//! What an operator measures with a command or a query of their own.

mod command;
mod pg_accepts_connections;
mod pg_query;

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family {
    name: "own",
    title: "Your own measurements",
    kinds: &[&command::KIND, &pg_accepts_connections::KIND, &pg_query::KIND],
};
