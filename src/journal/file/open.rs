//! Reading a journal that others write, too: all of it when it is opened, what is new before every append; and mending the
//! torn end of an append that was never finished.

use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::{Journal, Mended, failed_write};
use crate::journal::chain::{self, DecodeError};
use crate::journal::disk;
use crate::journal::error::{AppendError, OpenError};
use crate::journal::lease::Held;
use crate::journal::read;
use crate::journal::record::{Event, Line};
use crate::journal::store::RunDir;
use crate::journal::verify::{Damage, Lines, Parsed, spread};

impl Journal {
    /// Opens a journal to go on with it, and reads all of it. A torn tail is cut off and kept beside it; damage anywhere
    /// else, and lines that a newer version wrote, are refused.
    pub fn open(dir: &RunDir) -> Result<(Journal, Vec<Line>), OpenError> {
        let path = dir.journal();
        read::plain(dir)?;
        let file =
            disk::options().read(true).append(true).open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => OpenError::Missing { path: path.clone() },
                _ => OpenError::Unwritable(failed_write(&path, &error)),
            })?;
        let mut journal = Journal::over(dir, file)?;
        journal.lock()?;
        let read = journal.read_all();
        journal.unlock();
        read?;
        let lines = journal.take_unseen();
        Ok((journal, lines))
    }

    fn read_all(&mut self) -> Result<(), OpenError> {
        let bytes = self.new_bytes().map_err(OpenError::Unwritable)?;
        if let Some(Err(DecodeError::NewerFormat { format, engine })) =
            Lines::new(&bytes, 0).next().map(chain::check_format)
        {
            let why = DecodeError::NewerFormat { format, engine }.to_string();
            return Err(OpenError::Newer { path: self.path.clone(), line: 1, why });
        }
        self.take_in(&bytes).map_err(|error| match error {
            Foreign::Damaged(damage) => OpenError::Damaged { path: self.path.clone(), damage },
            Foreign::Newer(line, why) => OpenError::Newer { path: self.path.clone(), line, why },
            Foreign::Unwritable(error) => OpenError::Unwritable(error),
        })?;
        if self.cursor.lines == 0 {
            return Err(OpenError::Empty { path: self.path.clone() });
        }
        self.settle(&bytes).map_err(|error| OpenError::Unwritable(self.flush_failed(&error)))?;
        // When there is no room for it now, the next event that needs it says so.
        let _ = self.reserve.restore();
        Ok(())
    }

    /// Makes sure that what was read is on disk. After a failed flush the kernel shows bytes that no later flush would
    /// write; writing the same bytes again makes them count. Such bytes are at most one append, and near the end.
    fn settle(&self, bytes: &[u8]) -> io::Result<()> {
        let end = self.cursor.byte;
        let start = end.saturating_sub(1 << 20);
        let file = disk::options().write(true).open(&self.path)?;
        let meta = file.metadata()?;
        if (meta.dev(), meta.ino()) != self.identity {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        file.write_all_at(&bytes[start as usize..end as usize], start)?;
        file.sync_all()?;
        disk::sync_dir(&self.dir.path)
    }

    /// Reads what others appended since we last looked. The lock must be held.
    pub(in crate::journal) fn catch_up(&mut self) -> Result<(), AppendError> {
        let bytes = self.new_bytes()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.take_in(&bytes).map_err(|error| {
            let damage = match error {
                Foreign::Damaged(damage) => damage,
                Foreign::Newer(line, what) => Damage { line, byte: self.cursor.byte, what },
                Foreign::Unwritable(error) => return error,
            };
            self.close(AppendError::Damaged { path: self.path.clone(), damage })
        })
    }

    /// Proves that the file at the path is ours, and reads behind the last line we know.
    fn new_bytes(&mut self) -> Result<Vec<u8>, AppendError> {
        let moved = |how: &str| AppendError::Moved { path: self.path.clone(), how: how.to_owned() };
        let found = match std::fs::symlink_metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == self.identity => Ok(meta.len()),
            Ok(meta) if meta.is_symlink() => Err(moved("a link stands there")),
            Ok(_) => Err(moved("another file stands there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(moved("nothing is there")),
            Err(error) => Err(moved(&disk::words(&error))),
        };
        let (length, known) = (found?, self.cursor.byte);
        if length == known {
            return Ok(Vec::new());
        }
        if length < known {
            let what = format!("the file is {length} bytes long and was {known}: its tail was cut off");
            let damage = Damage { line: self.cursor.lines, byte: length, what };
            return Err(self.close(AppendError::Damaged { path: self.path.clone(), damage }));
        }
        read::from(&self.file, known, length - known).map_err(|error| {
            self.close(AppendError::Write { path: self.path.clone(), why: disk::words(&error) })
        })
    }

    /// Takes in lines that follow those we know, and mends a tear behind them.
    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Foreign> {
        let mut walk = Lines::new(bytes, self.cursor.byte);
        let lines: Vec<&[u8]> = walk.by_ref().collect();
        let read = spread(&lines, |line| (Parsed::of(line), chain::decode(line)));
        self.unseen.reserve(lines.len());
        for (line, (parsed, decoded)) in lines.into_iter().zip(read) {
            let byte = self.cursor.byte;
            self.cursor.step_parsed(line, parsed).map_err(Foreign::Damaged)?;
            let number = self.cursor.lines;
            let line = decoded.map_err(|why| match why {
                DecodeError::UnknownEvent { .. } | DecodeError::NewerFormat { .. } => {
                    Foreign::Newer(number, why.to_string())
                }
                why => Foreign::Damaged(Damage { line: number, byte, what: why.to_string() }),
            })?;
            self.know(&line);
            self.unseen.push(line);
        }
        match walk.torn() {
            // A first line that never got to disk is no run; it is left as evidence.
            Some(_) if self.cursor.lines == 0 => Ok(()),
            Some(torn) => self
                .mend(&bytes[bytes.len() - torn.bytes as usize..])
                .map_err(|error| Foreign::Unwritable(self.out_of_room(&error))),
            None => Ok(()),
        }
    }

    pub(super) fn know(&mut self, line: &Line) {
        if let Event::Opened { machine, .. } = &line.event {
            self.machine.clone_from(machine);
        }
        Held::learn(&mut self.held, line);
    }

    /// Cuts off a torn tail, once its bytes are kept in a file of their own.
    fn mend(&mut self, torn: &[u8]) -> io::Result<()> {
        let kept = (1..)
            .map(|n: u32| self.dir.path.join(format!("journal.torn.{n}")))
            .find(|path| std::fs::symlink_metadata(path).is_err())
            .ok_or_else(|| io::Error::other("too many torn tails"))?;
        disk::write_new(&kept, torn)?;
        self.file.set_len(self.cursor.byte)?;
        self.file.sync_all()?;
        self.mended.push(Mended { byte: self.cursor.byte, bytes: torn.len() as u64, kept });
        Ok(())
    }
}

/// Why lines that others wrote were not taken in.
enum Foreign {
    Damaged(Damage),
    Newer(u64, String),
    Unwritable(AppendError),
}
