//! How much disk a directory tree takes, hard links counted once, links not followed.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What was found below a directory.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Bytes that the files occupy (blocks, not lengths).
    pub(super) bytes: u64,
    /// What could not be read.
    pub(super) unread: Vec<String>,
}

/// Measures `root`, leaving out the directories in `except`. Files that vanish meanwhile do not count.
pub(super) fn measure(root: &Path, except: &[PathBuf]) -> Tree {
    let mut tree = Tree::default();
    let mut seen = HashSet::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        if except.contains(&path) {
            continue;
        }
        let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound && path != root;
        let meta = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if gone(&error) => continue,
            Err(error) => {
                tree.unread.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        if meta.nlink() == 1 || meta.is_dir() || seen.insert((meta.dev(), meta.ino())) {
            tree.bytes += meta.blocks() * 512;
        }
        if meta.is_dir() {
            match std::fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
                Err(error) if gone(&error) => {}
                Err(error) => tree.unread.push(format!("{}: {error}", path.display())),
            }
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_blocks_once_and_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::create_dir(dir.path().join("wal")).unwrap();
        std::fs::write(dir.path().join("sub/a"), vec![1; 100_000]).unwrap();
        std::fs::write(dir.path().join("wal/w"), vec![1; 400_000]).unwrap();
        std::fs::hard_link(dir.path().join("sub/a"), dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        let tree = measure(dir.path(), &[dir.path().join("wal")]);
        assert!((100_000..200_000).contains(&tree.bytes), "{}", tree.bytes);
        assert_eq!(tree.unread, Vec::<String>::new());
        assert_eq!(measure(&dir.path().join("none"), &[]).unread.len(), 1);
    }
}
