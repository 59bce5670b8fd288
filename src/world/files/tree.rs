//! How much room a tree takes, as `du` counts it: allocated blocks, a file with several names once, other file systems
//! left out. Bounded in depth and entries, and stopped when nobody waits for the answer any more.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::local::say;

const MAX_DEPTH: usize = 256;
const MAX_ENTRIES: u64 = 50_000_000;
/// The unit of st_blocks, whatever the file system's own block size is.
const BLOCK: u64 = 512;

/// A walk that can be stopped.
#[derive(Default)]
pub(super) struct Walk {
    stopped: Arc<AtomicBool>,
}

/// Stops its walk when dropped.
pub(super) struct Stopper(Arc<AtomicBool>);

impl Drop for Stopper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Walk {
    pub(super) fn stopper(&self) -> Stopper {
        Stopper(self.stopped.clone())
    }

    /// Bytes allocated below `root`, a link at `root` itself resolved.
    pub(super) fn size(&self, root: &Path) -> Result<u64, String> {
        let root = std::fs::canonicalize(root).map_err(|e| say(root, &e))?;
        let top = std::fs::symlink_metadata(&root).map_err(|e| say(&root, &e))?;
        let mut several_names = HashSet::new();
        let mut total = top.blocks() * BLOCK;
        let mut entries = 0;
        let mut open: Vec<(PathBuf, usize)> = Vec::new();
        if top.is_dir() {
            open.push((root, 0));
        }
        while let Some((dir, depth)) = open.pop() {
            let listed = match std::fs::read_dir(&dir) {
                Ok(listed) => listed,
                // A living tree changes while it is walked.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(say(&dir, &e)),
            };
            for entry in listed {
                let entry = entry.map_err(|e| say(&dir, &e))?;
                let meta = match entry.metadata() {
                    Ok(meta) => meta,
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(say(&entry.path(), &e)),
                };
                entries += 1;
                if entries > MAX_ENTRIES {
                    return Err(format!("{}: more than {MAX_ENTRIES} files", dir.display()));
                }
                if self.stopped.load(Ordering::Relaxed) {
                    return Err("stopped".to_owned());
                }
                if meta.dev() != top.dev() || counted(&meta, &mut several_names) {
                    continue;
                }
                total += meta.blocks() * BLOCK;
                if meta.is_dir() {
                    if depth == MAX_DEPTH {
                        return Err(format!("{}: deeper than {MAX_DEPTH} directories", dir.display()));
                    }
                    open.push((entry.path(), depth + 1));
                }
            }
        }
        Ok(total)
    }
}

/// True when this file was met before under another name.
fn counted(meta: &Metadata, seen: &mut HashSet<u64>) -> bool {
    !meta.is_dir() && meta.nlink() > 1 && !seen.insert(meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_blocks_and_hard_links_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let empty = Walk::default().size(dir.path()).unwrap();
        std::fs::write(deep.join("one"), vec![7; 1 << 20]).unwrap();
        let one = Walk::default().size(dir.path()).unwrap();
        assert!((1 << 20..(1 << 20) + 65_536).contains(&(one - empty)), "{}", one - empty);
        std::fs::hard_link(deep.join("one"), dir.path().join("again")).unwrap();
        assert_eq!(Walk::default().size(dir.path()).unwrap(), one);
        let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        assert!(Walk::default().size(dir.path()).unwrap() < one + 65_536, "holes take no room");
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        assert!(Walk::default().size(dir.path()).unwrap() < one + 65_536, "links are not followed");
    }

    #[test]
    fn stops_when_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        let walk = Walk::default();
        drop(walk.stopper());
        assert_eq!(walk.size(dir.path()), Err("stopped".to_owned()));
    }
}
