//! The integration tests: one binary, real parts. A test says what it needs; where the machine lacks it, the test is
//! listed as ignored with the reason printed loudly, and never counts as passed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod back;
mod checks;
mod checktool;
mod ci;
mod crash;
mod data;
mod data_cancel;
mod data_cross;
mod data_faults;
mod data_majors;
mod data_progress;
mod data_restless;
mod data_sqlite;
mod docs;
mod drafts;
mod editor;
mod falsify;
mod faulted;
mod guided;
mod harness;
mod host;
mod journal;
mod laws;
mod lint;
mod notify;
mod operators;
mod patience;
mod persons;
mod pg;
mod play;
mod portion;
mod reading;
mod rehearse;
mod removal;
mod review;
mod room;
mod runbook;
mod scripts;
mod signatures;
mod steps;
mod storefaults;
mod supervise;
mod target;
mod ui;
mod undo;
mod undo_again;

use harness::Registry;

fn main() -> std::process::ExitCode {
    // Some tests start this program again to play a part; those that do so when they register come first.
    if let Some(job) = std::env::var_os("HOLDPOINT_TEST_CHILD") {
        return journal::child(&job);
    }
    let mut registry = Registry::default();
    ui::register(&mut registry);
    supervise::register(&mut registry);
    guided::register(&mut registry);
    host::register(&mut registry);
    ci::register(&mut registry);
    crash::register(&mut registry);
    back::register(&mut registry);
    checks::register(&mut registry);
    checktool::register(&mut registry);
    data::register(&mut registry);
    data_cancel::register(&mut registry);
    data_majors::register(&mut registry);
    data_progress::register(&mut registry);
    data_restless::register(&mut registry);
    data_cross::register(&mut registry);
    docs::register(&mut registry);
    drafts::register(&mut registry);
    editor::register(&mut registry);
    falsify::register(&mut registry);
    faulted::register(&mut registry);
    journal::register(&mut registry);
    laws::register(&mut registry);
    lint::register(&mut registry);
    notify::register(&mut registry);
    patience::register(&mut registry);
    persons::register(&mut registry);
    operators::register(&mut registry);
    signatures::register(&mut registry);
    pg::register(&mut registry);
    portion::register(&mut registry);
    reading::register(&mut registry);
    rehearse::register(&mut registry);
    removal::register(&mut registry);
    review::register(&mut registry);
    room::register(&mut registry);
    runbook::register(&mut registry);
    scripts::register(&mut registry);
    steps::register(&mut registry);
    storefaults::register(&mut registry);
    target::register(&mut registry);
    undo::register(&mut registry);
    undo_again::register(&mut registry);
    registry.run()
}
