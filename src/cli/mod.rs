//! The command line: arguments in, exit status out. One file a family of verbs.

pub mod ack;
pub mod approve;
pub mod args;
pub mod author;
pub mod book;
pub mod change;
pub mod check;
pub mod draft;
pub mod error;
pub mod faulted;
pub mod global;
pub mod local;
pub mod origin;
pub mod outcome;
pub mod pages;
pub mod receipts;
pub mod records;
pub mod rehearse;
pub mod resume;
pub mod run;
pub mod session;
pub mod show;
pub mod signatures;
pub mod signing;
pub mod staging;
pub mod trials;
pub mod waive;
pub mod walk;
pub mod who;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Answers, Cli, Command};
use error::CliError;
use global::Cmd;

use crate::engine::Exit;
use crate::journal::{AppendError, LeaseError};

/// The whole program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    // The supervisor starts before anything else is set up: it must be small and quick.
    if let [_, word, dir] = arguments.as_slice()
        && word == "__supervise"
    {
        return crate::supervise::main(Path::new(dir));
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.status() } else { 0 });
        }
    };
    developer_log();
    let cmd = Cmd { signing: cli.command.signing(), ..Cmd::new(cli.global) };
    match dispatch(&cmd, cli.command) {
        Ok(exit) => ExitCode::from(exit.status()),
        Err(error) => {
            cmd.err(&crate::ui::handover::error(&error.message, error.hint.as_deref(), &cmd.err_style));
            ExitCode::from(error.exit.status())
        }
    }
}

/// With `HOLDPOINT_LOG=debug` (or `trace`, `info`) what the program does goes to standard error, for those who work on
/// it. It is neither the operator's output nor the journal, and names no values.
fn developer_log() {
    use tracing_subscriber::filter::LevelFilter;
    let level = std::env::var("HOLDPOINT_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    if let Some(level) = level.filter(|level| *level != LevelFilter::OFF) {
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
    }
}

fn dispatch(cmd: &Cmd, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Run { book, answers, rehearsed, .. } => run::run(cmd, &book, &answers, &rehearsed),
        Command::Resume { run, vars, answers, .. } => resume::resume(cmd, run.as_deref(), &vars, &answers),
        Command::Handoff { run, note, to, .. } => resume::handoff(cmd, run.as_deref(), &note, to.as_deref()),
        Command::Accept { run, acknowledge, take_over, vars, answers, .. } => {
            resume::accept(cmd, run.as_deref(), &acknowledge, take_over, &vars, &answers)
        }
        Command::Status { run, .. } => show::status(cmd, run.as_deref()),
        Command::Runs => show::runs(cmd),
        Command::Watch { run } => show::watch(cmd, run.as_deref()),
        Command::Note { run, text } => change::note(cmd, &run, &text),
        Command::Approve { run, step, said, .. } => approve::approve(cmd, &run, &step, &said),
        Command::Waive { run, check, how, .. } => waive::waive(cmd, &run, &check, &how),
        Command::Check { book, step, options } => check::check(cmd, &book, step.as_deref(), &options),
        Command::Ack { code } => ack::ack(cmd, &code),
        Command::Plan { book } => author::plan(cmd, &book),
        Command::Rehearse { book, options } => rehearse::rehearse(cmd, &book, &options),
        Command::Fault { book, fault, go_on } => faulted::child(cmd, &book, &fault, go_on),
        Command::Lint { explain: Some(code), .. } => author::explain(cmd, &code),
        Command::Lint { files, format, explain: None } => author::lint(cmd, &files, format),
        Command::Rollback { run, to, confirm, decide, reason, vars, .. } => {
            let answers = Answers { confirm, decide, reason };
            resume::rollback(cmd, &run, to.as_deref(), &vars, &answers)
        }
        Command::Abandon { run, reason } => change::abandon(cmd, &run, &reason),
        Command::Log { run, format } => show::log(cmd, run.as_deref(), format),
        Command::Verify { what, head, .. } => show::verify(cmd, &what, head.as_deref()),
        Command::Checks { name } => author::checks(cmd, name.as_deref()),
        Command::Schema => author::print_schema(cmd),
        Command::New { template, from, output, list } => {
            draft::new(cmd, &draft::Asked { template, from, output, list })
        }
        Command::Demo { dir } => crate::demo::play(cmd, dir.as_deref()),
        Command::DemoHelper { args } => crate::demo::helper(cmd, &args),
        Command::Completions { shell } => {
            let mut bytes = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdpoint", &mut bytes);
            cmd.print(&String::from_utf8_lossy(&bytes));
            Ok(Exit::Done)
        }
        Command::Man => {
            let mut bytes = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut bytes).map_err(CliError::journal)?;
            cmd.print(&String::from_utf8_lossy(&bytes));
            Ok(Exit::Done)
        }
    }
}

/// An append that failed, for people.
pub fn append_error(error: AppendError) -> CliError {
    let exit = if matches!(error, AppendError::Fenced { .. } | AppendError::NeedsLease) {
        Exit::Busy
    } else {
        Exit::Journal
    };
    CliError::new(exit, error)
}

/// A lease that was not given, for people.
pub fn lease_error(error: LeaseError) -> CliError {
    let exit = match &error {
        LeaseError::Journal(AppendError::Fenced { .. }) => Exit::Busy,
        LeaseError::Journal(_)
        | LeaseError::Lock { .. }
        | LeaseError::Copied { .. }
        | LeaseError::OtherMachine { .. } => Exit::Journal,
        _ => Exit::Busy,
    };
    CliError::new(exit, error)
}
