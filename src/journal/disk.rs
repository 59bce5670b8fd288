//! Small things that the file system must do exactly as meant: private files, directories on disk, locks with a time
//! limit. Links are never followed for a file of the store.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Files of the store: the owner and the group, nobody else.
pub const FILE_MODE: u32 = 0o660;
/// Folders of the store; new files inherit the group.
pub const DIR_MODE: u32 = 0o2770;

/// How long an append waits for another process's append, which takes milliseconds.
pub const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// Options that never follow a link at the last component.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

/// A new file with the store's mode, whatever the umask is.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = options().read(true).append(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// A new folder with the store's mode, whatever the umask is. Its parent still has to be flushed.
pub fn create_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIR_MODE))
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    options().read(true).open(path)?.sync_all()
}

/// A new file with contents, on disk, with its name.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Why a lock was not taken.
pub enum LockError {
    /// Somebody held it all the time.
    Busy,
    /// The file system said something else.
    Failed(io::Error),
}

/// Takes a lock, waiting at most `limit`.
pub fn lock(file: &File, exclusive: bool, limit: Duration) -> Result<(), LockError> {
    let operation = match exclusive {
        true => FlockOperation::NonBlockingLockExclusive,
        false => FlockOperation::NonBlockingLockShared,
    };
    let mut began = None;
    let mut pause = Duration::from_micros(100);
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => return Err(LockError::Failed(error.into())),
        }
        if began.get_or_insert_with(Instant::now).elapsed() >= limit {
            return Err(LockError::Busy);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Gives a lock back. It cannot fail for an open file; closing the file would give it back, too.
pub fn unlock(file: &File) {
    while flock(file, FlockOperation::Unlock) == Err(Errno::INTR) {}
}

/// Who holds a lock on a file, from the kernel's table: `pid 812 (holdpoint)`.
pub fn lock_holder(file: &File) -> Option<String> {
    let inode = file.metadata().ok()?.ino().to_string();
    let table = fs::read_to_string("/proc/locks").ok()?;
    let pid = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = words.get(1) == Some(&"FLOCK") && words.get(5)?.rsplit(':').next() == Some(&inode);
        held.then(|| words[4].to_owned())
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(match name.trim() {
        "" => format!("pid {pid}"),
        name => format!("pid {pid} ({name})"),
    })
}

/// The directory on which the file system that holds `path` is mounted.
pub fn mount_point(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let here = device(&path).or_else(|| device(path.parent()?));
    path.ancestors().take_while(|p| *p == path || device(p) == here).last().unwrap_or(&path).to_owned()
}

/// True for errors that mean "no room": the disk, a quota, a limit on file sizes.
pub fn no_room(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// What the system said, in plain words.
pub fn words(error: &io::Error) -> String {
    let plain = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => "the disk is full",
        Some(Errno::DQUOT) => "the disk quota is used up",
        Some(Errno::FBIG) => "the limit on file sizes is reached",
        Some(Errno::ROFS) => "the file system is read-only",
        Some(Errno::IO) => "input/output error: the disk is failing",
        Some(Errno::ACCESS | Errno::PERM) => "not allowed for this user; it needs the store's group",
        Some(Errno::LOOP) => "it is a link, and links are not followed here",
        Some(Errno::MFILE | Errno::NFILE) => "too many open files",
        Some(Errno::NOLCK | Errno::NOTSUP) => "this file system has no locks; move the store to a local disk",
        _ => return error.to_string(),
    };
    plain.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_private_whatever_the_umask() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("d");
        create_dir(&dir).unwrap();
        write_new(&dir.join("f"), b"x").unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, DIR_MODE);
        assert_eq!(fs::metadata(dir.join("f")).unwrap().mode() & 0o7777, FILE_MODE);
        std::os::unix::fs::symlink("f", dir.join("link")).unwrap();
        let error = options().read(true).open(dir.join("link")).unwrap_err();
        assert!(words(&error).contains("link"), "{error}");
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_and_its_holder_named() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f");
        let (a, b) = (create_new(&path).unwrap(), options().read(true).open(&path).unwrap());
        assert!(lock(&a, true, Duration::ZERO).is_ok());
        assert!(matches!(lock(&b, false, Duration::from_millis(5)), Err(LockError::Busy)));
        assert!(lock_holder(&b).unwrap().contains(&std::process::id().to_string()));
        unlock(&a);
        assert!(lock(&b, false, Duration::ZERO).is_ok());
    }

    #[test]
    fn mount_points_are_found() {
        assert_eq!(mount_point(Path::new("/proc/self")), Path::new("/proc"));
        assert_eq!(mount_point(Path::new("/")), Path::new("/"));
    }
}
