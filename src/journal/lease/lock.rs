//! The lock file of a lease. The kernel holds it for as long as the driver's process lives, and it tells people who that is.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::disk::{self, LockError};
use crate::journal::read;
use crate::journal::store::RunDir;

/// What stands in a lock file, for people and for a copied folder to be noticed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Card {
    pub operator: String,
    pub host: String,
    pub pid: u32,
    pub pid_start: u64,
    pub boot_id: String,
    pub since: jiff::Timestamp,
    pub journal_inode: u64,
}

/// The driver that lives at this moment, for a list of runs: a glance at the lock, no proof.
pub fn driver(dir: &RunDir) -> Option<String> {
    let newest = std::fs::read_dir(dir.leases())
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".lock")?.parse::<u64>().ok())
        .max()?;
    let path = self::path(dir, newest);
    (locked(&path) == Some(true))
        .then(|| card(&path).map_or_else(|| "somebody".to_owned(), |card| card.operator))
}

/// Where the lock file of an epoch is.
pub(super) fn path(dir: &RunDir, epoch: u64) -> PathBuf {
    dir.leases().join(format!("{epoch}.lock"))
}

/// True while a living process holds the lock file; `None` when the file is gone or cannot be asked.
pub(super) fn locked(path: &Path) -> Option<bool> {
    let file = disk::options().read(true).open(path).ok()?;
    match disk::lock(&file, false, Duration::ZERO) {
        Ok(()) => Some(false),
        Err(LockError::Busy) => Some(true),
        Err(LockError::Failed(_)) => None,
    }
}

pub(super) fn card(path: &Path) -> Option<Card> {
    let file = disk::options().read(true).open(path).ok()?;
    let length = file.metadata().ok().filter(|meta| meta.size() < 1 << 16)?.size();
    serde_json::from_slice(&read::from(&file, 0, length).ok()?).ok()
}

/// A lock file that appears under its name only when it is locked and complete.
pub(super) fn make(dir: &RunDir, path: &Path, card: &Card) -> io::Result<File> {
    let leases = dir.leases();
    if !leases.exists() {
        disk::create_dir(&leases)?;
        disk::sync_dir(&dir.path)?;
    }
    let draft = leases.join(format!(".draft.{}", card.pid));
    let _ = std::fs::remove_file(&draft);
    let made = (|| {
        let mut file = disk::create_new(&draft)?;
        if disk::lock(&file, true, Duration::ZERO).is_err() {
            return Err(io::Error::other("this file system has no locks; move the store to a local disk"));
        }
        file.write_all(serde_json::to_string(card)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        disk::sync_dir(&leases)?;
        Ok(file)
    })();
    if made.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    made
}
