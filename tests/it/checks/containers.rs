//! Container engines of our own, with PostgreSQL in them: the loss of May 2018, and how to see it coming.

#[path = "containers/persistent.rs"]
mod persistent;
#[path = "containers/ports.rs"]
mod ports;
#[path = "containers/runtime.rs"]
mod runtime;
#[path = "containers/volumes.rs"]
mod volumes;

use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    persistent::register(r);
    volumes::register(r);
    ports::register(r);
    runtime::register(r);
}
