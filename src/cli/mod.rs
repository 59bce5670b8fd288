//! (in work)
/// The whole program.
pub fn main(mut args: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    let (name, dir) = (args.nth(1), args.next());
    if let (Some(name), Some(dir)) = (name, dir)
        && name == crate::supervise::SUBCOMMAND
    {
        return crate::supervise::main(std::path::Path::new(&dir));
    }
    std::process::ExitCode::SUCCESS
}
