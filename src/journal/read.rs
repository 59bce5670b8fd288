//! Reading a journal to show it: never writes, needs only the right to read, and shows what can be read of a damaged or
//! newer one, each line with what is wrong. Nothing drives a run on the strength of this.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use super::chain::{self, DecodeError};
use super::disk;
use super::error::OpenError;
use super::record::Line;
use super::store::RunDir;
use super::verify::{self, Lines, Report};

/// How long a reader waits for a writer to finish its line before it reads without the lock.
const PATIENCE: Duration = Duration::from_secs(2);

/// One complete line of a journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// It was understood.
    Known(Box<Line>),
    /// It was not: damaged, or of a newer version.
    Raw {
        /// The line as it stands, unreadable bytes replaced. It is foreign text: neutralise it before it is shown.
        text: String,
        /// Why it was not understood.
        why: DecodeError,
    },
}

/// A journal as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its complete lines, in the order of the file.
    pub entries: Vec<Entry>,
    /// Whether it is whole.
    pub report: Report,
}

/// Reads the journal of a run for showing it.
pub fn read(dir: &RunDir) -> Result<Reading, OpenError> {
    let bytes = bytes(dir)?;
    let entries = Lines::new(&bytes, 0)
        .map(|line| match chain::decode(line) {
            Ok(known) => Entry::Known(Box::new(known)),
            Err(why) => Entry::Raw { text: String::from_utf8_lossy(line).into_owned(), why },
        })
        .collect();
    Ok(Reading { entries, report: verify::verify(&bytes, &dir.run) })
}

/// The bytes of a run's journal, taken while no append was under way if that can be had within two seconds.
pub fn bytes(dir: &RunDir) -> Result<Vec<u8>, OpenError> {
    let path = dir.journal();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing { path: path.clone() },
        _ => OpenError::Read { path: path.clone(), why: disk::words(&error) },
    };
    plain(dir)?;
    let mut file = disk::options().read(true).open(&path).map_err(failed)?;
    let locked = disk::lock(&file, false, PATIENCE).is_ok();
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes).map_err(failed);
    if locked {
        disk::unlock(&file);
    }
    read.map(|_| bytes)
}

/// Refuses a run's folder or a journal that is a link or not a plain file.
pub(super) fn plain(dir: &RunDir) -> Result<(), OpenError> {
    let refuse = |path: &std::path::Path, what| Err(OpenError::NotPlain { path: path.to_owned(), what });
    if std::fs::symlink_metadata(&dir.path).is_ok_and(|meta| meta.is_symlink()) {
        return refuse(&dir.path, "a link");
    }
    match std::fs::symlink_metadata(dir.journal()) {
        Ok(meta) if meta.is_symlink() => refuse(&dir.journal(), "a link"),
        Ok(meta) if meta.is_dir() => refuse(&dir.journal(), "a folder"),
        Ok(meta) if !meta.is_file() => refuse(&dir.journal(), "a device or a pipe"),
        _ => Ok(()),
    }
}

/// All bytes of an open file from an offset on.
pub(super) fn from(file: &File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
