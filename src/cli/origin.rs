//! Who last changed a runbook: the author of its last commit, else the file's owner. Looked for where they may not
//! approve what they wrote.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::error::CliError;
use super::session;
use crate::journal::second::Author;
use crate::supervise::env::Account;
use crate::world::process::{Probe, Processes};

/// Accounts below this are the system's: a file of theirs was put there by a program.
const PEOPLE: u32 = 1000;

/// Finds out who last changed a file.
pub fn author(path: &Path, processes: &dyn Processes) -> Result<Author, CliError> {
    let path = path.canonicalize().map_err(CliError::usage)?;
    let committed = session::runtime()?.block_on(committed(&path, processes))?;
    Ok(match committed {
        Ok(author) => author,
        Err(why) => owner(&path, &why),
    })
}

/// The author of the last commit, when the file is as it was committed. Nothing of the repository's own settings is run.
async fn committed(path: &Path, processes: &dyn Processes) -> Result<Author, String> {
    let folder = path.parent().ok_or("it has no folder")?.display().to_string();
    let name = path.file_name().ok_or("it has no name")?.to_string_lossy().into_owned();
    let git = async |arguments: &[&str]| {
        let fixed =
            ["git", "--literal-pathspecs", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false"];
        let probe = Probe {
            argv: fixed.iter().chain(arguments).map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::from([
                ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
                ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ]),
            cwd: Some(folder.clone()),
            user: None,
            timeout: Duration::from_secs(20),
            keep: 4096,
        };
        let ended = processes.probe(&probe).await?;
        match ended.status {
            Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
            _ => {
                let said = String::from_utf8_lossy(&ended.stderr).into_owned();
                Err(said.lines().next().unwrap_or("git failed").to_owned())
            }
        }
    };
    git(&["ls-files", "--error-unmatch", "--", &name]).await?;
    if !git(&["status", "--porcelain", "--", &name]).await?.trim().is_empty() {
        return Err("it was changed since its last commit".to_owned());
    }
    let said = git(&["log", "-1", "--no-show-signature", "--format=%H%n%an%n%ae", "--", &name]).await?;
    let mut lines = said.lines().map(|line| crate::base::text::neutral(line.trim()));
    let (Some(commit), Some(name), Some(address)) = (lines.next(), lines.next(), lines.next()) else {
        return Err("it was never committed".to_owned());
    };
    // Of `123+alice@users.noreply.github.com` the name is the part behind the plus.
    let address = address.split_once('+').map_or(address.clone(), |(_, rest)| rest.to_owned());
    let short = commit.get(..12).unwrap_or(&commit).to_owned();
    Ok(Author { names: vec![name, address], how: format!("author of commit {short}") })
}

/// The owner, when that is a person.
fn owner(path: &Path, why: &str) -> Author {
    let nobody = |text: String| Author { names: Vec::new(), how: format!("{text}; git: {why}") };
    let uid = match std::fs::metadata(path) {
        Ok(meta) => meta.uid(),
        Err(error) => return nobody(error.to_string()),
    };
    match Account::named(&uid.to_string()) {
        Ok(account) if account.uid >= PEOPLE => {
            Author { names: vec![account.name], how: "owner of the file".to_owned() }
        }
        Ok(account) => nobody(format!("the file belongs to {}", account.name)),
        Err(_) => nobody(format!("the file belongs to user {uid}, who has no name here")),
    }
}
