//! Before and after a copy or an upgrade, with real servers of several majors and a real pg_upgrade.

mod catalogue;
mod debian;
mod people;
mod roles;
mod settings;
mod way;

use holdpoint::runbook::Target;

use crate::harness::{Cluster, Registry};

pub fn register(r: &mut Registry) {
    catalogue::register(r);
    roles::register(r);
    settings::register(r);
    people::register(r);
    way::register(r);
    debian::register(r);
}

/// A target as a role that may see what a server is, and little else.
fn limited(cluster: &Cluster, database: &str) -> Target {
    cluster.psql(
        "do $$ begin if not exists (select from pg_roles where rolname = 'limited') then create role limited login; \
         grant pg_read_all_settings to limited; end if; end $$",
    );
    let conninfo = cluster.conninfo(database).replace("user=postgres", "user=limited");
    Target { postgres: Some(conninfo), ..Target::default() }
}

/// A target whose server is gone.
fn gone() -> Target {
    Target {
        postgres: Some("host=/nonexistent port=1 user=postgres dbname=postgres".to_owned()),
        ..Target::default()
    }
}
