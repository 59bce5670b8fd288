//! Who uses a file or a folder: processes with something below it open, as working directory, as root, or mapped; file
//! systems mounted below it; loop devices. A process in a container that sees a folder at another place is found by the
//! folder itself and by single files, not by files below the folder.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::mounts;

/// The processes that use `path` or anything below it: `postgres (pid 812) has 14 files open in /srv/old`. An error when
/// /proc cannot be read; processes of other users that /proc hides from us are said so.
pub async fn of(path: &Path) -> Result<Vec<String>, String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || find(&path))
        .await
        .map_err(|e| format!("cannot look for users: {e}"))?
}

fn find(path: &Path) -> Result<Vec<String>, String> {
    let path = path.canonicalize().map_err(|e| format!("cannot resolve {}: {e}", path.display()))?;
    let entries = std::fs::read_dir("/proc").map_err(|e| format!("cannot read /proc: {e}"))?;
    let mut users = mounts_below(&path)?;
    users.extend(loops_below(&path));
    // A /proc that hides processes altogether (`hidepid`) does not show the first one either.
    let mut hidden = u32::from(!Path::new("/proc/1").exists());
    let object = Object::of(&path);
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let (files, unseen) = files_below(&entry.path(), &path, object.as_ref(), pid == std::process::id());
        hidden += u32::from(unseen);
        // Gone by now, or a guard of ours that reads there just now: neither uses it afterwards.
        if !files.is_empty() && entry.path().exists() && !crate::world::process::is_probe(pid) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let what = match files.len() {
                1 => files.iter().next().map(|f| f.display().to_string()).unwrap_or_default(),
                n => format!("{n} files below {}", path.display()),
            };
            users.push(format!("{} (pid {pid}) uses {what}", name.trim()));
        }
    }
    if hidden > 0 && !rustix::process::geteuid().is_root() && owner_is_another(&path) {
        return Err(format!(
            "{hidden} processes of other users may use {}; only root can see that",
            path.display()
        ));
    }
    Ok(users)
}

/// Deleted files that processes still hold open on a file system, largest first: process, its id, bytes that closing it
/// gives back. Processes that /proc hides from us are left out.
pub async fn of_deleted(device: u64) -> Vec<(String, u32, u64)> {
    tokio::task::spawn_blocking(move || deleted_on(device)).await.unwrap_or_default()
}

fn deleted_on(device: u64) -> Vec<(String, u32, u64)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        for fd in std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            // The link leads to the file itself, which has no name any more.
            let Ok(meta) = fd.path().metadata() else { continue };
            let gone = meta.is_file() && meta.nlink() == 0 && meta.dev() == device && meta.blocks() > 0;
            if gone && seen.insert(meta.ino()) {
                let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                found.push((name.trim().to_owned(), pid, meta.blocks() * 512));
            }
        }
    }
    found.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
    found
}

/// A file by what it is: the same under another name, and inside a container that sees it at another place.
struct Object {
    device: u64,
    inode: u64,
}

impl Object {
    fn of(path: &Path) -> Option<Object> {
        let meta = path.metadata().ok()?;
        Some(Object { device: meta.dev(), inode: meta.ino() })
    }

    fn is(&self, link: &Path) -> bool {
        link.metadata().is_ok_and(|meta| meta.dev() == self.device && meta.ino() == self.inode)
    }
}

/// What a process uses below `path`, and whether something of it could not be seen. Of ourselves only where we stand
/// counts: we have files open because we measure them.
fn files_below(
    process: &Path,
    path: &Path,
    object: Option<&Object>,
    ourselves: bool,
) -> (BTreeSet<PathBuf>, bool) {
    let mut found = BTreeSet::new();
    let mut note = |link: PathBuf| {
        let Ok(target) = std::fs::read_link(&link) else { return };
        if target.starts_with(path) {
            found.insert(target);
        } else if target.is_absolute() && object.is_some_and(|object| object.is(&link)) {
            found.insert(path.to_owned());
        }
    };
    note(process.join("cwd"));
    if ourselves {
        return (found, false);
    }
    note(process.join("root"));
    note(process.join("exe"));
    let mut unseen = false;
    match std::fs::read_dir(process.join("fd")) {
        Ok(entries) => entries.flatten().for_each(|fd| note(fd.path())),
        Err(error) => unseen = error.kind() == std::io::ErrorKind::PermissionDenied,
    }
    // Mapped without being open: a library, or a database that closed its descriptor.
    for line in std::fs::read_to_string(process.join("maps")).unwrap_or_default().lines() {
        if let Some(at) = line.find('/')
            && let mapped = Path::new(line[at..].trim_end_matches(" (deleted)"))
            && mapped.starts_with(path)
        {
            found.insert(mapped.to_owned());
        }
    }
    (found, unseen)
}

/// Other file systems mounted below `path`: removing the folder would reach into them.
fn mounts_below(path: &Path) -> Result<Vec<String>, String> {
    let table =
        std::fs::read_to_string(mounts::TABLE).map_err(|e| format!("cannot read the mount table: {e}"))?;
    let points = mounts::parse(&table).into_iter().map(|mount| mount.point);
    let below: BTreeSet<PathBuf> = points.filter(|point| point != path && point.starts_with(path)).collect();
    Ok(below.into_iter().map(|point| format!("a file system is mounted at {}", point.display())).collect())
}

/// Loop devices whose files lie below `path`.
fn loops_below(path: &Path) -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let each = devices.filter_map(|device| {
        let file = std::fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        let file = PathBuf::from(file.trim_end());
        let name = device.file_name().to_string_lossy().into_owned();
        file.starts_with(path).then(|| format!("the loop device {name} uses {}", file.display()))
    });
    each.collect()
}

fn owner_is_another(path: &Path) -> bool {
    path.metadata().map(|meta| meta.uid() != rustix::process::geteuid().as_raw()).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(path: &Path) -> String {
        find(path).unwrap().join("; ")
    }

    #[test]
    fn a_process_that_works_there_is_found_and_our_own_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let file = dir.join("a.db");
        std::fs::write(&file, "x").unwrap();
        let _open = std::fs::File::open(&file).unwrap();
        assert_eq!(users(&dir), "", "we measure it");
        let mut there = std::process::Command::new("sleep").arg("60").current_dir(&dir).spawn().unwrap();
        assert!(
            users(&dir).contains(&format!("(pid {}) uses {}", there.id(), dir.display())),
            "{}",
            users(&dir)
        );
        there.kill().unwrap();
        there.wait().unwrap();
        // By another name of the same file, as from within a container.
        let other = tempfile::tempdir().unwrap();
        let alias = other.path().join("b.db");
        if std::fs::hard_link(&file, &alias).is_ok() {
            let stdin = std::fs::File::open(&alias).unwrap();
            let mut reader = std::process::Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
            assert!(users(&file).contains(&format!("(pid {})", reader.id())), "{}", users(&file));
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
    }

    #[test]
    fn a_deleted_file_that_is_held_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, vec![1; 300_000]).unwrap();
        let open = std::fs::File::open(&path).unwrap();
        let mine = |all: Vec<(String, u32, u64)>| {
            all.into_iter().any(|(_, pid, bytes)| pid == std::process::id() && bytes >= 300_000)
        };
        let device = open.metadata().unwrap().dev();
        std::fs::remove_file(&path).unwrap();
        assert!(mine(deleted_on(device)));
        assert!(!mine(deleted_on(device + 1)));
    }

    #[test]
    fn what_is_mounted_below_is_found() {
        assert!(mounts_below(Path::new("/")).unwrap().iter().any(|mount| mount.ends_with(" /proc")));
        let dir = tempfile::tempdir().unwrap();
        assert!(mounts_below(dir.path()).unwrap().is_empty());
    }
}
