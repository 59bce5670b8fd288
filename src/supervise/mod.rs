//! Commands that outlive the terminal.
//!
//! A step's command is not a child of the engine but of a small supervisor, this same program started as
//! `holdpoint __supervise DIR`. It leads a session of its own, so neither a closed terminal nor a dropped connection
//! nor a killed engine reaches it. Everything that it knows stands in DIR, one folder for each attempt:
//!
//! | file | what | when |
//! |---|---|---|
//! | `supervisor.lock` | locked for as long as the supervisor lives | first; it is made once, so nothing starts twice |
//! | `supervisor.json` | which process supervises, since when, in which boot | flushed before the command starts |
//! | `command.json` | which process is the command | once it runs |
//! | `output.log` | its output, as it is but for secrets | while it runs |
//! | `stop.json` | why it should stop | when somebody asks |
//! | `exit.json` | how it ended | flushed, then renamed into place; the lock goes after it |
//!
//! The engine talks to a supervisor over a socket, only at the start: there it hands over the environment, so that no
//! secret reaches an argument list or the disk. Later anyone with the right to signal it can stop, pause and continue it
//! ([`client`]), and anyone who may read the folder can see how it stands ([`look()`]) and follow the output ([`tail`]).
//!
//! # Invariants
//!
//! * A folder is used for one start. Where a command may still run, [`look::look`] never says that it ended.
//! * A signal goes only to the process that was meant: pid, start time and boot are compared, through a pidfd.
//! * The command waits neither for a screen nor for a full disk. What could not be stored is counted and on record.
//! * What the command leaves running is named, and lives on: if it still holds the output pipe, the supervisor stays, with
//!   the record closed and the lock gone, and reads what comes until the last holder ends. Otherwise SIGPIPE would kill a
//!   service that a step has started.

mod capture;
pub mod client;
pub mod env;
mod guard;
mod launch;
mod log;
pub mod look;
mod proc;
pub mod record;
mod serve;
pub mod spec;
pub mod tail;

use std::path::Path;
use std::process::ExitCode;

pub use client::{Handle, StartError, cont, pause, start, stop, wait};
pub use look::{Found, look};
pub use record::{Ending, ExitRecord};
pub use spec::{Spec, script};
pub use tail::Tail;

/// The hidden subcommand that starts a supervisor.
pub const SUBCOMMAND: &str = "__supervise";

/// The supervisor. Everything that it has to say it says over its standard input, which is a socket, and in `dir`.
pub fn main(dir: &Path) -> ExitCode {
    match serve::serve(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
