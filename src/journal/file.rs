//! The journal of a run as an open file: reading it whole, and appending durably.
//!
//! Invariants: a line is on disk before [`Journal::append`] returns it. Every append holds the file's lock, proves that the
//! file is still the one at its path, takes in what others appended, and checks the fencing token before it writes. A
//! write that fails is taken back; a flush that fails closes this handle for good. The lock is on the journal itself, so
//! that it cannot be lost or replaced apart from it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

mod open;

use super::chain;
use super::disk::{self, LockError};
use super::error::{AppendError, OpenError};
use super::lease::{Epoch, Held};
use super::read;
use super::record::{Event, Line};
use super::reserve::Reserve;
use super::store::RunDir;
use super::verify::Cursor;
use crate::base::{Digest, Moment};

/// What an append brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// Lines that others wrote since we last looked: notes, offers, leases. They come before our own.
    pub foreign: Vec<Line>,
    /// Our lines, as they now stand on disk.
    pub own: Vec<Line>,
}

/// A tear that was found and mended when the journal was opened or read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// Where the journal was cut: everything before is whole.
    pub byte: u64,
    /// How many bytes were cut off. They never counted: their writer did not live to see them on disk.
    pub bytes: u64,
    /// Where they are kept.
    pub kept: PathBuf,
}

/// Where an append is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The lines are written, and nothing is flushed.
    Written,
    /// They are on disk, and nothing that follows them has begun.
    Flushed,
}

/// Hears where an append is, and its lines.
type Hears = dyn Fn(Point, &[Line]) + Send;

/// Is told of every append as it happens. It can change nothing about it.
pub struct Watcher(Box<Hears>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    pub(super) dir: RunDir,
    pub(super) held: Option<Held>,
    pub(super) machine: String,
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    cursor: Cursor,
    reserve: Reserve,
    unseen: Vec<Line>,
    mended: Vec<Mended>,
    size_limit: u64,
    closed: Option<String>,
    watcher: Option<Watcher>,
}

impl Journal {
    /// Begins the journal of a run with its first event, which must be `opened` and name the folder's run.
    pub fn create(dir: &RunDir, by: &str, at: Moment, opened: Event) -> Result<(Journal, Line), OpenError> {
        let path = dir.journal();
        let unwritable = |error| OpenError::Unwritable(AppendError::Encode(error));
        if !matches!(&opened, Event::Opened { run, .. } if *run == dir.run) {
            return Err(unwritable(format!("the first event is not `opened` of run {}", dir.run)));
        }
        read::plain(dir)?;
        let file = disk::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::Exists { path: path.clone() },
            _ => OpenError::Unwritable(failed_write(&path, &error)),
        })?;
        let mut journal = Journal::over(dir, file)?;
        journal.lock()?;
        let made = journal.commit(by, 0, at, vec![opened]);
        journal.unlock();
        let line = match made.and_then(|mut own| own.pop().ok_or(AppendError::Encode("no line".into()))) {
            Ok(line) => line,
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                return Err(error.into());
            }
        };
        disk::sync_dir(&dir.path).map_err(|error| OpenError::Unwritable(failed_write(&path, &error)))?;
        Ok((journal, line))
    }

    fn over(dir: &RunDir, file: File) -> Result<Journal, OpenError> {
        let path = dir.journal();
        let meta = file
            .metadata()
            .map_err(|error| OpenError::Read { path: path.clone(), why: disk::words(&error) })?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
        Ok(Journal {
            dir: dir.clone(),
            held: None,
            machine: String::new(),
            identity: (meta.dev(), meta.ino()),
            cursor: Cursor::start(&dir.run),
            reserve: Reserve::at(dir.reserve()),
            unseen: Vec::new(),
            mended: Vec::new(),
            size_limit: limit.current.unwrap_or(u64::MAX),
            closed: None,
            watcher: None,
            file,
            path,
        })
    }

    /// Tells somebody of every append from now on: a fault rehearsal, which ends this process at one of them.
    pub fn watched(&mut self, watcher: impl Fn(Point, &[Line]) + Send + 'static) {
        self.watcher = Some(Watcher(Box::new(watcher)));
    }

    fn tell(&self, point: Point, lines: &[Line]) {
        if let Some(Watcher(watcher)) = &self.watcher {
            watcher(point, lines);
        }
    }

    /// The run's folder.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The hash of the last line: what a handoff prints, to be compared later.
    pub fn head(&self) -> Digest {
        chain::digest(&self.cursor.head)
    }

    /// Number of lines.
    pub fn lines(&self) -> u64 {
        self.cursor.lines
    }

    /// The newest lease, and what became of it.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Tears that were mended through this handle; to be shown to the operator.
    pub fn mended(&self) -> &[Mended] {
        &self.mended
    }

    /// False while the last bytes of the disk are kept for events that close something.
    pub fn has_reserve(&self) -> bool {
        self.reserve.whole()
    }

    /// Records events of one moment, all or none, and returns when they are on disk. With an `epoch`, only while that
    /// lease is the newest; without one, only what people may record who do not drive.
    pub fn append(
        &mut self,
        by: &str,
        epoch: Option<Epoch>,
        at: Moment,
        events: Vec<Event>,
    ) -> Result<Appended, AppendError> {
        self.locked(|journal| {
            journal.catch_up()?;
            journal.fence(epoch, &events)?;
            let own = journal.commit(by, epoch.map_or(0, Epoch::number), at, events)?;
            Ok(Appended { foreign: journal.take_unseen(), own })
        })
    }

    /// Takes in what others appended, without appending. A driver that looks now and then sees notes, offers, and that
    /// it has been fenced.
    pub fn poll(&mut self) -> Result<Vec<Line>, AppendError> {
        self.locked(|journal| {
            journal.catch_up()?;
            Ok(journal.take_unseen())
        })
    }

    /// The inode of the open file.
    pub(super) fn inode(&self) -> u64 {
        self.identity.1
    }

    /// Lines that others wrote and that nobody was handed yet.
    pub(super) fn take_unseen(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.unseen)
    }

    /// Runs `act` while no other process can append.
    pub(super) fn locked<T, E: From<AppendError>>(
        &mut self,
        act: impl FnOnce(&mut Journal) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(first) = &self.closed {
            return Err(AppendError::Closed { first: first.clone() }.into());
        }
        self.lock()?;
        let done = act(self);
        self.unlock();
        done
    }

    fn lock(&self) -> Result<(), AppendError> {
        disk::lock(&self.file, true, disk::LOCK_LIMIT).map_err(|error| match error {
            LockError::Failed(error) => failed_write(&self.path, &error),
            LockError::Busy => AppendError::Locked {
                path: self.path.clone(),
                seconds: disk::LOCK_LIMIT.as_secs(),
                who: disk::lock_holder(&self.file).unwrap_or_else(|| "an unknown process".into()),
            },
        })
    }

    fn unlock(&self) {
        disk::unlock(&self.file);
    }

    fn fence(&self, epoch: Option<Epoch>, events: &[Event]) -> Result<(), AppendError> {
        match (epoch, &self.held) {
            (None, _) if events.iter().any(Event::drives) => Err(AppendError::NeedsLease),
            (None, _) => Ok(()),
            (Some(mine), Some(held)) if held.epoch == mine.number() && held.released.is_none() => Ok(()),
            (Some(mine), Some(held)) if held.epoch == mine.number() => Err(AppendError::Fenced {
                holder: "nobody (it was released)".into(),
                newest: held.epoch,
                mine: mine.number(),
            }),
            (Some(mine), held) => Err(AppendError::Fenced {
                holder: held.as_ref().map_or_else(|| "nobody".into(), |held| held.operator.clone()),
                newest: held.as_ref().map_or(0, |held| held.epoch),
                mine: mine.number(),
            }),
        }
    }

    /// Writes lines and flushes them. The lock must be held, and everything else checked.
    pub(super) fn commit(
        &mut self,
        by: &str,
        epoch: u64,
        at: Moment,
        events: Vec<Event>,
    ) -> Result<Vec<Line>, AppendError> {
        let closing = events.iter().all(Event::closes);
        if !closing && let Err(error) = self.reserve.restore() {
            return Err(self.out_of_room(&error));
        }
        let mut cursor = self.cursor.clone();
        let mut text = Vec::with_capacity(512 * events.len());
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let line = Line {
                seq: cursor.next_seq(),
                at,
                by: by.to_owned(),
                epoch,
                event,
                prev: chain::digest(&cursor.head),
            };
            let encoded = chain::encode(&line).map_err(|error| AppendError::Encode(error.to_string()))?;
            cursor.step(encoded.as_bytes()).map_err(|damage| AppendError::Encode(damage.what))?;
            text.extend_from_slice(encoded.as_bytes());
            text.push(b'\n');
            lines.push(line);
        }
        self.write(&text, closing)?;
        self.tell(Point::Written, &lines);
        self.file
            .sync_data()
            .map_err(|error| self.flush_failed(&error))
            .map_err(|error| self.close(error))?;
        self.cursor = cursor;
        lines.iter().for_each(|line| self.know(line));
        self.tell(Point::Flushed, &lines);
        Ok(lines)
    }

    /// Puts bytes behind the last line, or leaves the file as it was.
    fn write(&mut self, text: &[u8], closing: bool) -> Result<(), AppendError> {
        let length = self.cursor.byte;
        if length + text.len() as u64 > self.size_limit {
            // The kernel would end this process for trying.
            return Err(self.no_space("the limit on file sizes (`ulimit -f`) is reached"));
        }
        let Err(mut error) = (&self.file).write_all(text) else { return Ok(()) };
        let mut taken_back = self.file.set_len(length);
        if taken_back.is_ok() && disk::no_room(&error) && closing && self.reserve.give_up(&self.file, length)
        {
            match (&self.file).write_all(text) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
            taken_back = self.file.set_len(length);
        }
        match taken_back {
            Ok(()) if disk::no_room(&error) => Err(self.out_of_room(&error)),
            _ => Err(self.close(failed_write(&self.path, &error))),
        }
    }

    fn out_of_room(&self, error: &io::Error) -> AppendError {
        if disk::no_room(error) {
            self.no_space(&disk::words(error))
        } else {
            failed_write(&self.path, error)
        }
    }

    pub(super) fn no_space(&self, why: &str) -> AppendError {
        AppendError::NoSpace { mount: disk::mount_point(&self.path), why: why.to_owned() }
    }

    fn flush_failed(&self, error: &io::Error) -> AppendError {
        AppendError::NotFlushed { path: self.path.clone(), why: disk::words(error) }
    }

    /// From now on this handle refuses everything: what is on disk has to be read again.
    fn close(&mut self, error: AppendError) -> AppendError {
        self.closed.get_or_insert(error.to_string());
        error
    }
}

fn failed_write(path: &std::path::Path, error: &io::Error) -> AppendError {
    AppendError::Write { path: path.to_owned(), why: disk::words(error) }
}
