//! The demo: lives through the night of June 2021 with real commands on real, small databases.
//!
//! Nothing in it is staged output: every command that it shows is this program, started for real, and what it prints is
//! what it found. The runbook stays in the folder, to be opened afterwards.

mod copy;
mod seed;
mod stage;

use std::path::Path;

use crate::cli::error::CliError;
use crate::cli::global::Cmd;
use crate::engine::Exit;

/// The runbook that the demo runs; the same file as in `runbooks/`.
pub const RUNBOOK: &str = include_str!("../../runbooks/june-2021.yaml");

/// Folders of earlier games that are stepped over before we give up.
const MOST: u32 = 10_000;

/// Plays the night in a new folder, or in the one given.
pub fn play(cmd: &Cmd, dir: Option<&Path>) -> Result<Exit, CliError> {
    let place = place(dir)?;
    seed::set_up(&place)
        .map_err(|why| CliError::new(Exit::Failed, format!("cannot set up the demo: {why}")))?;
    stage::Stage::new(cmd, place).night()
}

/// What the demo's runbook calls: `copy` and `backup`.
pub fn helper(cmd: &Cmd, args: &[String]) -> Result<Exit, CliError> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["copy", place] => copy::copy(Path::new(place), &mut |line| cmd.print(&format!("{line}\n"))),
        ["backup", place] => copy::backup(Path::new(place), &mut |line| cmd.print(&format!("{line}\n"))),
        _ => return Err(CliError::usage("this is a helper of the demo's runbook; see `holdpoint demo`")),
    };
    result.map(|()| Exit::Done).map_err(|why| CliError::new(Exit::Failed, why))
}

fn place(dir: Option<&Path>) -> Result<std::path::PathBuf, CliError> {
    let cannot =
        |what: &Path, why: std::io::Error| CliError::usage(format!("cannot use {}: {why}", what.display()));
    let dir = match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|why| cannot(dir, why))?;
            let used = std::fs::read_dir(dir).map_err(|why| cannot(dir, why))?.next().is_some();
            if used {
                return Err(CliError::usage(format!("{} is not empty", dir.display()))
                    .hint("name a new folder: the demo deletes a database in it"));
            }
            dir.to_owned()
        }
        None => {
            use std::os::unix::fs::DirBuilderExt as _;
            // Short names: they stand in every path that the player reads.
            let mut number = 1;
            loop {
                let dir = std::env::temp_dir().join(format!("holdpoint-demo-{number}"));
                match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
                    Ok(()) => break dir,
                    Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists && number < MOST => {
                        number += 1
                    }
                    Err(why) => return Err(cannot(&dir, why)),
                }
            }
        }
    };
    // The runbook deletes by real paths only.
    dir.canonicalize().map_err(|why| cannot(&dir, why))
}
