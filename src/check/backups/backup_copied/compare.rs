//! A backup and its copy, file by file and byte by byte.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::base::Size;
use crate::base::ids::hex;
use crate::check::Context;
use crate::check::backups::backup_fresh::candidates::Candidate;
use crate::check::context::Progress;
use crate::world::files::Stat;

/// What was found.
#[derive(Debug, Default)]
pub struct Compared {
    /// What is wrong with the copy; nothing when all of the backup is in it.
    pub wrong: Vec<String>,
    /// Files of the copy that the backup does not have.
    pub extra: Vec<PathBuf>,
}

impl Compared {
    /// One thing is wrong, and nothing else was looked at.
    pub fn wrong(what: String) -> Self {
        Compared { wrong: vec![what], extra: Vec::new() }
    }
}

/// Files of a data directory that make a server start otherwise when they are there.
const DECIDES: [&str; 6] = [
    "backup_label",
    "postgresql.auto.conf",
    "postmaster.pid",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
];

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub struct Print {
    size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub digest: String,
}

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Reads a file from beginning to end; `done` and `total` are for the progress of all of them.
pub async fn print(path: &Path, total: u64, done: &mut u64, cx: &Context) -> Result<Print, String> {
    let (mut size, mut hash) = (0_u64, Sha256::new());
    loop {
        let piece = cx.world.files.read_range(path, size, PIECE).await?;
        if piece.is_empty() {
            return Ok(Print { size, digest: hex(&hash.finalize()) });
        }
        size += piece.len() as u64;
        *done += piece.len() as u64;
        hash.update(&piece);
        (cx.progress)(Progress {
            what: format!("reading {}", path.display()),
            done: *done,
            total: Some(total),
            unit: "B",
        });
    }
}

/// Every file below a path, by its name relative to it; the path itself when it is a file.
pub async fn files(path: &Path, cx: &Context) -> Result<Vec<(PathBuf, Stat)>, String> {
    let Some(top) = cx.world.files.stat(path).await? else { return Ok(Vec::new()) };
    if top.kind == "file" {
        return Ok(vec![(PathBuf::new(), top)]);
    }
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(dir) = open.pop() {
        for entry in cx.world.files.list(&path.join(&dir)).await? {
            let name = dir.join(entry.path.file_name().unwrap_or_default());
            match entry.kind {
                "directory" => open.push(name),
                _ => found.push((name, entry)),
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Whether a file is among them.
fn holds(files: &[(PathBuf, Stat)], name: &Path) -> bool {
    files.binary_search_by(|(other, _)| other.as_path().cmp(name)).is_ok()
}

fn at(path: &Path, name: &Path) -> PathBuf {
    if name.as_os_str().is_empty() { path.to_owned() } else { path.join(name) }
}

/// Compares a backup with its copy in another directory.
pub async fn compare(
    backup: &Candidate,
    dir: &Path,
    same_disk: bool,
    cx: &Context,
) -> Result<Compared, String> {
    let copy = dir.join(&backup.name);
    let (original, second) = (files(&backup.path, cx).await?, files(&copy, cx).await?);
    if original.is_empty() {
        return Err("there is no file in it to compare".to_owned());
    }
    if second.is_empty() {
        return Ok(Compared::wrong(format!("{} does not exist", copy.display())));
    }
    let mut wrong = Vec::new();
    let (mut done, total) = (0, 2 * original.iter().map(|(_, stat)| stat.size).sum::<u64>());
    for (name, was) in &original {
        let here = at(&copy, name);
        if !holds(&second, name) {
            wrong.push(format!("{} is missing", here.display()));
            continue;
        }
        let Some(is) = cx.world.files.stat(&here).await? else {
            wrong.push(format!("{} is a link to nothing", here.display()));
            continue;
        };
        if (was.device, was.inode) == (is.device, is.inode) {
            wrong.push(format!("{} is a link to the same file", here.display()));
        } else if was.device == is.device && !same_disk {
            wrong.push(format!("{} is on the same file system", here.display()));
        } else if was.size != is.size {
            wrong.push(format!("{} has {} instead of {}", here.display(), Size(is.size), Size(was.size)));
        } else if print(&at(&backup.path, name), total, &mut done, cx).await?
            != print(&here, total, &mut done, cx).await?
        {
            wrong.push(format!("{} has other bytes", here.display()));
        }
    }
    let extra: Vec<_> =
        second.into_iter().map(|(name, _)| name).filter(|name| !holds(&original, name)).collect();
    if holds(&original, Path::new("PG_VERSION")) {
        let decides =
            extra.iter().filter(|name| DECIDES.iter().any(|file| name.as_path() == Path::new(file)));
        wrong.extend(decides.map(|name| {
            let here = at(&copy, name);
            format!("{} is not in the backup, and decides how a server starts on the copy", here.display())
        }));
    }
    Ok(Compared { wrong, extra: extra.iter().map(|name| at(&copy, name)).collect() })
}
