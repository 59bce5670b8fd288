//! Why a journal could not be read or written, in words that say what to do next.

use std::path::PathBuf;

use super::verify::Damage;

/// Why nothing was appended. Whatever was about to begin must not begin.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else holds the run by now; this driver is stale and must stop.
    #[error(
        "{holder} has held the run since epoch {newest}; this session (epoch {mine}) may not act any more"
    )]
    Fenced {
        /// Who holds it.
        holder: String,
        /// Their fencing token.
        newest: u64,
        /// Ours.
        mine: u64,
    },
    /// An event that only the holder of the lease may write.
    #[error(
        "only the person who holds the run may record this; take it first with `holdpoint resume` or `accept`"
    )]
    NeedsLease,
    /// No space: nothing was written, or what was written has been taken back.
    #[error(
        "no space left for the journal on {mount} ({why}); nothing was started. \
         free some space there, then `holdpoint resume`"
    )]
    NoSpace {
        /// Where space is needed.
        mount: PathBuf,
        /// What was in the way: the disk, a quota, a limit on file sizes, the missing reserve.
        why: String,
    },
    /// The file at the journal's path is not the one that was opened.
    #[error(
        "{path} is no longer the journal that was opened: {how}. \
         put it back where it was, or find out who moved it, then `holdpoint resume`"
    )]
    Moved {
        /// Where it was.
        path: PathBuf,
        /// What was found.
        how: String,
    },
    /// Another process has held the journal's lock too long.
    #[error("{path} has been locked for {seconds} s by {who}; see what it is doing, then try again")]
    Locked {
        /// The journal.
        path: PathBuf,
        /// How long we waited, in seconds.
        seconds: u64,
        /// The process, if it could be found.
        who: String,
    },
    /// What others appended does not fit the chain, or the journal became shorter.
    #[error("{path} is damaged: {damage}. it is not used any more; look at it with `holdpoint verify`")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// Writing failed. Nothing more is written through this handle.
    #[error(
        "cannot write {path}: {why}. repair the disk, then `holdpoint resume`, which reads again what is there"
    )]
    Write {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The disk did not confirm that the event is on it. It is never asked again and believed.
    #[error(
        "the disk did not confirm that {path} was written ({why}); whether the last event is on it is not known. \
         repair the disk, then `holdpoint resume`, which reads again what is there"
    )]
    NotFlushed {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// An earlier write failed.
    #[error("the journal is closed since an earlier failure: {first}")]
    Closed {
        /// The earlier failure.
        first: String,
    },
    /// The event cannot be written as a line; a defect in Holdpoint.
    #[error("the event cannot be written as a journal line: {0} (a defect in Holdpoint)")]
    Encode(String),
}

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none: the run was never begun, or its folder is not a run.
    #[error("{path} is not there: the run was never begun, or the journal was removed")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It exists already.
    #[error("{path} exists already; a run is begun only once")]
    Exists {
        /// The journal.
        path: PathBuf,
    },
    /// It is not a plain file in a plain folder.
    #[error("{path} is {what}, and is not used: it must be a plain file in a plain folder")]
    NotPlain {
        /// The path.
        path: PathBuf,
        /// `a link`, `a folder`.
        what: &'static str,
    },
    /// Its first line never reached the disk: the run did not begin.
    #[error("{path} holds no complete line: the run was never begun; start it again with `holdpoint run`")]
    Empty {
        /// The journal.
        path: PathBuf,
    },
    /// It is damaged or tampered with. A bad record is never skipped.
    #[error(
        "{path} is damaged: {damage}. nothing goes on with it; \
         `holdpoint verify` lists all damage, `holdpoint log` shows what can be read"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The first damage.
        damage: Damage,
    },
    /// It was written by a newer version: it may be shown, not driven.
    #[error(
        "{path}, line {line}: {why}. `holdpoint log` can show the run; to go on with it, upgrade Holdpoint"
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The first line that is not understood.
        line: u64,
        /// Why.
        why: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Read {
        /// The journal or a file beside it.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It can be read and not written.
    #[error(transparent)]
    Unwritable(#[from] AppendError),
}
