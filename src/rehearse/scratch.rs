//! Private copies of databases: a folder of this process in the store, which only its owner can read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder for private copies. Named after this process, so that what a killed one left can be told and removed.
pub(super) struct Scratch {
    root: PathBuf,
    next: AtomicU32,
}

/// A file that goes when this does.
pub(super) struct Copy(pub(super) PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(suffix);
            let _ = std::fs::remove_file(PathBuf::from(name));
        }
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

const SCRATCH: &str = "falsify-";

impl Scratch {
    /// Below this folder; what killed processes left there goes.
    pub(super) fn at(root: &Path) -> Scratch {
        // What processes that are no more have left.
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
            if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Scratch { root: root.to_owned(), next: AtomicU32::new(1) }
    }

    /// The place of a new copy.
    pub(super) fn file(&self) -> Result<Copy, String> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = self.root.join(format!("{SCRATCH}{}", std::process::id()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(Copy(dir.join(format!("{}.db", self.next.fetch_add(1, Ordering::Relaxed)))))
    }

    /// A copy must not fill the disk.
    pub(super) fn room_for(&self, file: &str) -> Result<(), String> {
        let bytes: u64 = crate::world::sqlite::files(file)?.iter().map(|(_, bytes)| bytes).sum();
        let free = rustix::fs::statvfs(&self.root).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        match free {
            Ok(free) if free / 2 > bytes => Ok(()),
            Ok(_) => Err(format!("there is too little room for a copy of it in {}", self.root.display())),
            Err(error) => Err(format!("the room in {} cannot be measured: {error}", self.root.display())),
        }
    }
}
