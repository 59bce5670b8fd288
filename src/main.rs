//! Collects the arguments, hands them to the command line, returns its exit status.

fn main() -> std::process::ExitCode {
    holdpoint::cli::main(std::env::args_os())
}
