//! Files and file systems, as a port.

use std::path::{Path, PathBuf};

mod local;
mod tree;

use async_trait::async_trait;
use jiff::Timestamp;

pub use local::LocalFiles;

/// Space on the file system that holds a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The path that was measured: the given one, or its nearest existing ancestor.
    pub path: PathBuf,
    /// Size of the file system in bytes (f_blocks).
    pub total: u64,
    /// Bytes available to ordinary users (f_bavail): the root reserve is not counted.
    pub available: u64,
    /// Bytes free including the root reserve (f_bfree).
    pub free: u64,
    /// Inodes in all; 0 when the file system makes them as needed.
    pub inodes: u64,
    /// Inodes available to ordinary users.
    pub inodes_available: u64,
    /// Mounted read-only.
    pub read_only: bool,
    /// Device number, to tell file systems apart.
    pub device: u64,
    /// File system type, such as `ext4`, when known.
    pub kind: Option<String>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Path with links resolved.
    pub path: PathBuf,
    /// `file`, `directory`, `link`, or another word.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// Last modification, wall clock.
    pub modified: Timestamp,
    /// Permission bits, such as 0o600.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Names of it (hard links).
    pub links: u64,
}

/// Files and file systems. Errors are sentences that name the path.
#[async_trait]
pub trait Files: Send + Sync {
    /// Space on the file system that holds `path`, or will hold it once it exists.
    async fn space(&self, path: &Path) -> Result<Space, String>;
    /// What is at `path` (links followed); `None` when nothing is there. "Not allowed to look" is an error.
    async fn stat(&self, path: &Path) -> Result<Option<Stat>, String>;
    /// The entries of a directory, with what they are (links not followed).
    async fn list(&self, path: &Path) -> Result<Vec<Stat>, String>;
    /// The whole file, at most `limit` bytes; a larger one is an error.
    async fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, String>;
    /// At most `length` bytes from `offset`; fewer mean that the file ends there. For reading a large file piece by
    /// piece in constant memory.
    async fn read_range(&self, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let all = self.read(path, u64::MAX).await?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
        Ok(all[start..all.len().min(start.saturating_add(length))].to_vec())
    }
    /// Where a link points, unresolved; `None` when `path` is not there or not a link.
    async fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, String> {
        Err(format!("{}: links cannot be read here", path.display()))
    }
    /// Replaces a small file of our own, so that a reader sees the old or the new contents, never half of them; makes
    /// its folder when only that is missing. For Holdpoint's own samples only: a check changes nothing else.
    async fn replace(&self, path: &Path, _contents: &[u8]) -> Result<(), String> {
        Err(format!("{}: nothing can be written here", path.display()))
    }
    /// Keeps other writers of one of our own small files out until the answer is dropped, in this process and in
    /// others; waits a few seconds for them. For Holdpoint's own samples only.
    async fn hold(&self, path: &Path) -> Result<Box<dyn Send + Sync>, String> {
        Err(format!("{}: nothing can be written here", path.display()))
    }
    /// Bytes in use below `path` (allocated blocks, hard links once), not crossing into other file systems unless
    /// `path` itself is a link to one. Something in it that we may not read is an error, not zero.
    async fn tree_size(&self, path: &Path) -> Result<u64, String>;
}
