//! PostgreSQL with real servers.

mod checks;
mod clusters;
mod doors;
mod sessions;
mod tls;

use holdpoint::runbook::Target;

use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    sessions::register(r);
    doors::register(r);
    tls::register(r);
    clusters::register(r);
    checks::register(r);
}

fn target(conninfo: impl Into<String>) -> Target {
    Target { postgres: Some(conninfo.into()), ..Target::default() }
}
