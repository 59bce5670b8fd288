//! This machine's files. Every call runs on a blocking thread, so that a dead network mount cannot stop the engine;
//! only regular files are opened for reading, so that a pipe cannot hang us.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, StatVfsMountFlags};

use super::{Files, Space, Stat, tree};
use crate::world::mounts;

/// More links than this on one path are a loop.
const MAX_LINKS: usize = 40;
/// More entries than this are not listed.
const MAX_ENTRIES: usize = 1_000_000;
/// The longest to wait for another writer of a small file of ours.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// This machine's files.
pub struct LocalFiles;

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("the file system call broke down: {e}"))?
}

/// `/a/b: permission denied`: the path and what the system said, in plain words.
pub(super) fn say(path: &Path, error: &std::io::Error) -> String {
    let what = match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::NotADirectory => "a part of this path is a file, not a directory".to_owned(),
        _ => error.to_string(),
    };
    format!("{}: {what}", path.display())
}

fn absolute(path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!("`{}` is not an absolute path; write it from the root, as in /var/lib", path.display()))
}

#[async_trait]
impl Files for LocalFiles {
    async fn space(&self, path: &Path) -> Result<Space, String> {
        let path = path.to_owned();
        blocking(move || space(&path)).await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Stat>, String> {
        let path = path.to_owned();
        blocking(move || {
            absolute(&path)?;
            let found = std::fs::metadata(&path).and_then(|meta| Ok((std::fs::canonicalize(&path)?, meta)));
            match found {
                Ok((resolved, meta)) => stat(resolved, &meta).map(Some),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(say(&path, &e)),
            }
        })
        .await
    }

    async fn list(&self, path: &Path) -> Result<Vec<Stat>, String> {
        let path = path.to_owned();
        blocking(move || {
            absolute(&path)?;
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&path).map_err(|e| say(&path, &e))? {
                let entry = entry.map_err(|e| say(&path, &e))?;
                if found.len() == MAX_ENTRIES {
                    return Err(format!("{}: more than {MAX_ENTRIES} entries", path.display()));
                }
                match entry.metadata() {
                    Ok(meta) => found.push(stat(entry.path(), &meta)?),
                    // Gone since it was listed.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(say(&entry.path(), &e)),
                }
            }
            Ok(found)
        })
        .await
    }

    async fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, String> {
        let path = path.to_owned();
        blocking(move || {
            let file = open(&path)?;
            let mut contents = Vec::new();
            file.take(limit.saturating_add(1)).read_to_end(&mut contents).map_err(|e| say(&path, &e))?;
            if contents.len() as u64 > limit {
                return Err(format!("{}: larger than {limit} bytes", path.display()));
            }
            Ok(contents)
        })
        .await
    }

    async fn read_range(&self, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let path = path.to_owned();
        blocking(move || {
            let file = open(&path)?;
            let mut contents = vec![0; length];
            let mut filled = 0;
            while filled < length {
                match file.read_at(&mut contents[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(say(&path, &e)),
                }
            }
            contents.truncate(filled);
            Ok(contents)
        })
        .await
    }

    async fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, String> {
        let path = path.to_owned();
        blocking(move || match std::fs::read_link(&path) {
            Ok(target) => Ok(Some(target)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            Err(e) => Err(say(&path, &e)),
        })
        .await
    }

    async fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), String> {
        let (path, contents) = (path.to_owned(), contents.to_owned());
        blocking(move || {
            let mut aside = path.clone().into_os_string();
            aside.push(format!(".{}.new", std::process::id()));
            let aside = PathBuf::from(aside);
            let write = || {
                // One folder may be missing; more than one is a wrong path.
                if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
                    std::fs::DirBuilder::new().mode(0o770).create(folder)?;
                }
                let mut file =
                    OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(&aside)?;
                file.write_all(&contents)?;
                std::fs::rename(&aside, &path)
            };
            write().map_err(|e| {
                let _ = std::fs::remove_file(&aside);
                say(&path, &e)
            })
        })
        .await
    }

    async fn hold(&self, path: &Path) -> Result<Box<dyn Send + Sync>, String> {
        let mut lock = path.to_owned().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        blocking(move || {
            let wrong = |e: std::io::Error| say(&lock, &e);
            if let Some(folder) = lock.parent().filter(|folder| !folder.exists()) {
                match std::fs::DirBuilder::new().mode(0o770).create(folder) {
                    // Another writer was here at the same moment.
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                    made => made.map_err(wrong)?,
                }
            }
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o660).open(&lock);
            let file = file.map_err(wrong)?;
            let until = Instant::now() + LONGEST_HOLD;
            while let Err(e) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                if e != rustix::io::Errno::WOULDBLOCK || Instant::now() >= until {
                    return Err(wrong(e.into()));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(Box::new(file) as Box<dyn Send + Sync>)
        })
        .await
    }

    async fn tree_size(&self, path: &Path) -> Result<u64, String> {
        let path = path.to_owned();
        // A walk can be long: it ends with the future that asked for it.
        let walk = tree::Walk::default();
        let stop = walk.stopper();
        let size = blocking(move || walk.size(&path)).await;
        drop(stop);
        size
    }
}

fn open(path: &Path) -> Result<File, String> {
    absolute(path)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(|e| say(path, &e))?;
    let kind = kind(&file.metadata().map_err(|e| say(path, &e))?);
    if kind == "file" { Ok(file) } else { Err(format!("{}: a {kind}, not a regular file", path.display())) }
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "link",
        () if kind.is_fifo() => "pipe",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() || kind.is_char_device() => "device",
        () => "special file",
    }
}

fn stat(path: PathBuf, meta: &Metadata) -> Result<Stat, String> {
    let modified = Timestamp::new(meta.mtime(), meta.mtime_nsec() as i32)
        .map_err(|_| format!("{}: its modification time is out of range", path.display()))?;
    Ok(Stat {
        kind: kind(meta),
        size: meta.size(),
        modified,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        device: meta.dev(),
        inode: meta.ino(),
        links: meta.nlink(),
        path,
    })
}

/// Where `path` is or will be: the nearest existing ancestor, links resolved, also a link whose end is missing.
fn nearest(path: &Path) -> Result<PathBuf, String> {
    absolute(path)?;
    let mut at = path.to_owned();
    let mut links = 0;
    loop {
        match std::fs::canonicalize(&at) {
            Ok(found) => return Ok(found),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(say(&at, &e)),
        }
        if let Ok(end) = std::fs::read_link(&at) {
            links += 1;
            if links > MAX_LINKS {
                return Err(format!("{}: too many links", path.display()));
            }
            // What is written through this link lands at its end.
            at = at.parent().unwrap_or(Path::new("/")).join(end);
        } else if !at.pop() {
            return Err(say(path, &ErrorKind::NotFound.into()));
        }
    }
}

fn space(path: &Path) -> Result<Space, String> {
    let found = nearest(path)?;
    let device = std::fs::metadata(&found).map_err(|e| say(&found, &e))?.dev();
    let vfs = rustix::fs::statvfs(&found).map_err(|e| say(&found, &e.into()))?;
    let table = std::fs::read_to_string(mounts::TABLE).map(|table| mounts::parse(&table)).unwrap_or_default();
    let mount = mounts::over(&table, &found).cloned();
    // f_blocks counts in f_frsize; f_bsize is only the preferred size of a transfer.
    let bytes = |blocks: u64| blocks.saturating_mul(vfs.f_frsize);
    Ok(Space {
        total: bytes(vfs.f_blocks),
        available: bytes(vfs.f_bavail),
        free: bytes(vfs.f_bfree),
        inodes: vfs.f_files,
        inodes_available: vfs.f_favail,
        // After an error ext4 of newer kernels writes no more, and only the mount table says so.
        read_only: vfs.f_flag.contains(StatVfsMountFlags::RDONLY)
            || mount.as_ref().is_some_and(mounts::Mount::read_only),
        device,
        kind: mount.map(|mount| mount.kind),
        path: found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_is_measured_where_it_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("missing/deep", real.join("link")).unwrap();
        assert_eq!(nearest(&real.join("a/b/c")).unwrap(), real);
        assert_eq!(nearest(&real.join("link/x")).unwrap(), real);
        std::os::unix::fs::symlink("loop", real.join("loop")).unwrap();
        assert!(nearest(&real.join("loop")).is_err());
        std::fs::write(real.join("file"), "").unwrap();
        assert!(nearest(&real.join("file/x")).unwrap_err().contains("not a directory"));
        assert!(nearest(Path::new("relative")).is_err());
    }

    #[tokio::test]
    async fn a_pipe_is_not_opened_and_a_large_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(LocalFiles.read(&pipe, 10).await.unwrap_err().contains("pipe"));
        let file = dir.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert!(LocalFiles.read(&file, 9).await.is_err());
        assert_eq!(LocalFiles.read_range(&file, 8, 10).await.unwrap(), b"89");
        LocalFiles.replace(&file, b"new").await.unwrap();
        assert_eq!(LocalFiles.read(&file, 3).await.unwrap(), b"new");
        assert_eq!(LocalFiles.stat(&dir.path().join("absent")).await, Ok(None));
    }
}
