//! Space kept for the last events. While there is room, a file of 1 MiB lies beside the journal; when the disk is full it
//! is given up and its space goes to the journal itself, so that what already ended can still be recorded. Nothing
//! begins until the reserve is whole again.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::disk;

/// Size of the reserve in bytes: some thousand events.
pub const RESERVE: u64 = 1 << 20;

/// The reserve of one run.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub fn at(path: PathBuf) -> Self {
        Reserve { path }
    }

    /// True when it is there, in blocks and not only in length; half of them is enough where files are compressed.
    pub fn whole(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| meta.is_file() && meta.len() >= RESERVE && meta.blocks() * 512 >= RESERVE / 2)
    }

    /// Makes it whole. An error leaves it as small as it was.
    pub fn restore(&self) -> io::Result<()> {
        if self.whole() {
            return Ok(());
        }
        let file = match disk::create_new(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk::options().read(true).append(true).open(&self.path)?
            }
            other => other?,
        };
        let made = fill(&file).and_then(|()| file.sync_all());
        if made.is_err() {
            let _ = file.set_len(0);
        }
        made?;
        self.path.parent().map_or(Ok(()), disk::sync_dir)
    }

    /// Gives it up: its space goes to the journal, beyond the journal's end, where no other writer can take it.
    /// False when there was nothing to give.
    pub fn give_up(&self, journal: &File, length: u64) -> bool {
        let Ok(file) = disk::options().read(true).append(true).open(&self.path) else { return false };
        if file.metadata().map_or(0, |meta| meta.blocks()) == 0 {
            return false;
        }
        // Flushed, because some file systems hand freed blocks out only once the freeing is on disk.
        if file.set_len(0).and_then(|()| file.sync_all()).is_err() {
            return false;
        }
        for part in [RESERVE - (64 << 10), RESERVE / 2, RESERVE / 8, 16 << 10] {
            match fallocate(journal, FallocateFlags::KEEP_SIZE, length, part) {
                Err(Errno::NOSPC | Errno::DQUOT) => {}
                _ => break,
            }
        }
        true
    }
}

fn fill(file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, RESERVE) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.set_len(0)?;
            // Not zeros: a file system that compresses would keep nothing.
            let block: Vec<u8> =
                (0..1u32 << 16).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            (0..RESERVE / block.len() as u64).try_for_each(|_| io::Write::write_all(&mut &*file, &block))
        }
        other => other.map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_of_blocks_given_to_the_journal_and_made_again() {
        let tmp = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(tmp.path().join("reserve"));
        let journal = disk::create_new(&tmp.path().join("journal")).unwrap();
        assert!(!reserve.whole() && !reserve.give_up(&journal, 0));
        reserve.restore().unwrap();
        assert!(reserve.whole());
        assert!(reserve.give_up(&journal, 0));
        assert!(!reserve.whole() && !reserve.give_up(&journal, 0));
        assert!(journal.metadata().unwrap().blocks() > 0, "the space has moved");
        assert_eq!(journal.metadata().unwrap().len(), 0, "beyond the end");
        reserve.restore().unwrap();
        assert!(reserve.whole());
    }
}
