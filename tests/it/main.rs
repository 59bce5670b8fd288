//! The integration tests: one binary, real parts. A test says what it needs; where the machine lacks it, the test is
//! listed as ignored with the reason printed loudly, and never counts as passed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod data;
mod data_faults;
mod data_sqlite;
mod harness;
mod pg;

use harness::Registry;

fn main() -> std::process::ExitCode {
    let mut registry = Registry::default();
    data::register(&mut registry);
    pg::register(&mut registry);
    registry.run()
}
