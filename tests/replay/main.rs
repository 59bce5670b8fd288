//! Five incidents, and the move that every Synapse operator faces once, played again with real parts: first as it was
//! done then, so that the loss is seen to happen; then with the shipped runbook, which stops before it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

#[path = "../it/harness/mod.rs"]
mod harness;
mod page;
#[path = "../it/play.rs"]
#[allow(dead_code, reason = "each program uses its own part")]
mod play;

mod corruption;
mod freeze;
mod index;
mod june;
mod recreate;
mod sandbox;
mod synapse;

use harness::Registry;

fn main() -> std::process::ExitCode {
    let mut registry = Registry::default();
    // The longest come first.
    synapse::register(&mut registry);
    corruption::register(&mut registry);
    recreate::register(&mut registry);
    june::register(&mut registry);
    freeze::register(&mut registry);
    index::register(&mut registry);
    page::register(&mut registry);
    sandbox::register(&mut registry);
    registry.run()
}
