//! Starts the command: in a process group of its own, without standard input, with the given environment and no other.

use std::io::PipeReader;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::env::Account;
use super::record::Process;
use super::spec::Spec;

/// Room in the pipe: a command that prints a lot seldom has to wait for us.
const PIPE: usize = 1 << 20;

/// A command that was started.
pub(super) struct Launched {
    pub process: Process,
    pub pipe: PipeReader,
}

/// Starts it. An error is a sentence, and then nothing runs.
pub(super) fn launch(spec: &Spec) -> Result<Launched, String> {
    let argv = as_user(spec)?;
    let [program, arguments @ ..] = argv.as_slice() else {
        return Err("there is no program to start".to_owned());
    };
    if !spec.cwd.is_dir() {
        return Err(format!("the working directory {} is not there", spec.cwd.display()));
    }
    let (pipe, writer) = std::io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
    let second = writer.try_clone().map_err(|error| format!("cannot make a pipe: {error}"))?;
    let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE);
    rustix::io::ioctl_fionbio(&pipe, true).map_err(|error| format!("cannot set up a pipe: {error}"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .process_group(0);
    let child =
        command.spawn().map_err(|error| format!("cannot start `{}`: {error}", program.escape_debug()))?;
    // It is our child and not yet waited for: the number is its own, even if it has ended.
    let process = Process::of(child.id()).unwrap_or(Process { pid: child.id(), start_ticks: 0 });
    Ok(Launched { process, pipe })
}

/// The argument list that runs the command as its user. `setpriv` becomes the command, without a process in between
/// that handles signals in its own way, as `runuser` and `sudo` do.
fn as_user(spec: &Spec) -> Result<Vec<String>, String> {
    let Some(user) = &spec.user else { return Ok(spec.argv.clone()) };
    let account = Account::named(user)?;
    let own = rustix::process::geteuid().as_raw();
    if account.uid == own {
        return Ok(spec.argv.clone());
    }
    if own != 0 {
        return Err(format!("only root can run a command as `{user}`; start holdpoint with sudo"));
    }
    let tool = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).exists());
    let tool = tool.ok_or("`setpriv` is not there, and without it a command cannot run as another user; it comes with util-linux")?;
    let mut argv = vec![
        tool.to_owned(),
        format!("--reuid={}", account.uid),
        format!("--regid={}", account.gid),
        "--init-groups".to_owned(),
        "--".to_owned(),
    ];
    argv.extend(spec.argv.iter().cloned());
    Ok(argv)
}
