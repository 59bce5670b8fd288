//! The way to a peer: route, name, port, TLS, HTTP.

use crate::check::registry::Family;

/// The family's checks.
pub static FAMILY: Family = Family { name: "network", title: "Network", kinds: &[] };
