//! Stores output for as long as there is room. A full disk costs the command nothing but its output.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// So much stays free on the file system, so that the journal can still be written...
const FLOOR: u64 = 64 << 20;

/// ...or this part of it, where it is small.
const FLOOR_PART: u64 = 16;

/// After a gap, at least so much more must be free; far more than is ever written at once.
const RESUME: u64 = 1 << 20;

/// Free space is looked at after so many bytes, or after [`LOOK`].
const STRIDE: u64 = 8 << 20;
const LOOK: Duration = Duration::from_secs(1);

/// Larger output is left to the kernel to write back: a command does not wait minutes for it. After a power cut the boot
/// id tells that the end may be missing.
const FLUSHED: u64 = 16 << 20;

/// `output.log` while it is written.
pub(super) struct Log {
    file: File,
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes that are not.
    pub dropped: u64,
    /// Why not.
    pub why: Option<String>,
    /// Bytes of `dropped` that are not yet marked in the file.
    gap: u64,
    /// Up to which size there was room, and when that was seen.
    looked: Option<(u64, Instant)>,
}

impl Log {
    pub fn new(file: File) -> Self {
        Log { file, stored: 0, dropped: 0, why: None, gap: 0, looked: None }
    }

    /// Stores `bytes`, or counts them.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Err(why) = self.room(bytes.len() as u64) {
            return self.drop_bytes(bytes.len() as u64, why);
        }
        if self.gap > 0 {
            let mark = format!("\n[holdpoint: {} bytes of output are missing here]\n", self.gap);
            match self.file.write_all(mark.as_bytes()) {
                Ok(()) => {
                    self.stored += mark.len() as u64;
                    self.gap = 0;
                }
                Err(error) => return self.drop_bytes(bytes.len() as u64, error.to_string()),
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(n) if n > 0 => {
                    self.stored += n as u64;
                    rest = &rest[n..];
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) => return self.drop_bytes(rest.len() as u64, "nothing was written".to_owned()),
                Err(error) => return self.drop_bytes(rest.len() as u64, error.to_string()),
            }
        }
    }

    /// Brings output of ordinary size to the disk.
    pub fn flush(&mut self) {
        if (1..=FLUSHED).contains(&self.stored)
            && let Err(error) = self.file.sync_data()
        {
            self.why.get_or_insert(format!("the output could not be flushed: {error}"));
        }
    }

    fn drop_bytes(&mut self, count: u64, why: String) {
        self.dropped += count;
        self.gap += count;
        self.why = Some(why);
        // Look again before the next try.
        self.looked = None;
    }

    /// Is there room for so many bytes more? Looks at the disk now and then only.
    fn room(&mut self, more: u64) -> Result<(), String> {
        if let Some((upto, when)) = self.looked
            && self.stored + more <= upto
            && when.elapsed() < LOOK
        {
            return Ok(());
        }
        let Ok(space) = rustix::fs::fstatvfs(&self.file) else { return Ok(()) };
        let available = space.f_bavail.saturating_mul(space.f_frsize);
        let floor = FLOOR.min(space.f_blocks.saturating_mul(space.f_frsize) / FLOOR_PART);
        // Once full, it counts as such until somebody has made real room: no log of one gap after the other.
        let more = if self.gap > 0 { floor.max(RESUME) } else { more };
        let room = available.saturating_sub(floor);
        if room < more {
            let (left, floor) = (available >> 10, floor >> 10);
            return Err(format!("the disk is almost full: {left} KiB left, {floor} KiB are kept free"));
        }
        self.looked = Some((self.stored + room.min(STRIDE), Instant::now()));
        Ok(())
    }
}
