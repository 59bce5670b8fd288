//! Who drives a run. One lease at a time, each with the next epoch; every append of a driver carries its epoch, so that
//! one that was paused and wakes up later can do nothing more.
//!
//! A lease is an event in the journal, and a lock that the kernel holds for exactly as long as the driver's process
//! lives. The event decides; the lock only tells whether the last holder is gone. A lease is taken while the journal
//! itself is locked: of two people who resume at once, one wins and the other is told who.

mod lock;

pub use lock::driver;

use std::fs::File;
use std::path::PathBuf;

use super::disk;
use super::error::AppendError;
use super::file::{Appended, Journal};
use super::record::{Event, LeaseHow, Line};
use super::seat::{Fate, Seat};
use super::second::Signature;
use super::store::RunDir;
use crate::base::Moment;

/// A fencing token. Only a [`Lease`] gives one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// Its number: 1, 2, …
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The newest lease on record, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its fencing token.
    pub epoch: u64,
    /// Who.
    pub operator: String,
    /// The process that drives, or drove.
    pub pid: u32,
    /// Its start, in clock ticks since boot.
    pub pid_start: u64,
    /// The boot it ran in.
    pub boot_id: String,
    /// Since when.
    pub since: Moment,
    /// The newest offer made under it.
    pub offered: Option<Offer>,
    /// Why the driver left, when it left cleanly.
    pub released: Option<String>,
}

/// An offer to take the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Who made it.
    pub by: String,
    /// For whom; anybody when not named.
    pub to: Option<String>,
    /// What the next operator should know.
    pub note: String,
}

impl Held {
    /// What a line says about the lease.
    pub(super) fn learn(held: &mut Option<Held>, line: &Line) {
        match (&line.event, held) {
            (Event::Lease { operator, pid, pid_start, boot_id, .. }, held) => {
                *held = Some(Held {
                    epoch: line.epoch,
                    operator: operator.clone(),
                    pid: *pid,
                    pid_start: *pid_start,
                    boot_id: boot_id.clone(),
                    since: line.at,
                    offered: None,
                    released: None,
                });
            }
            (Event::Offered { to, note, .. }, Some(held)) => {
                held.offered = Some(Offer { by: line.by.clone(), to: to.clone(), note: note.clone() });
            }
            (Event::Released { why }, Some(held)) if held.epoch == line.epoch => {
                held.released = Some(why.clone());
            }
            _ => {}
        }
    }
}

/// What somebody wants who takes the lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Who, as claimed: `alice@db1`. Also the author of the event.
    pub operator: String,
    /// How.
    pub how: LeaseHow,
    /// Why; a takeover needs it.
    pub reason: Option<String>,
    /// For an acceptance: the open points that were acknowledged.
    pub acknowledged: Vec<String>,
    /// By their key.
    pub signature: Option<Signature>,
}

/// Why the lease was not given. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody drives.
    #[error("{operator} holds the run: pid {pid} on {host}, since {since}. {how_to}")]
    Busy {
        /// Who.
        operator: String,
        /// Where.
        host: String,
        /// The process.
        pid: u32,
        /// Since when (UTC).
        since: jiff::Timestamp,
        /// What can be done.
        how_to: String,
    },
    /// A run is resumed by the operator who held it last.
    #[error("{holder} held the run last, not {operator}; {how_to}")]
    NotYours {
        /// Who asked.
        operator: String,
        /// Who held it.
        holder: String,
        /// What can be done.
        how_to: String,
    },
    /// Nobody offered the run.
    #[error("{holder} has not offered the run; ask for `holdpoint handoff`")]
    NotOffered {
        /// Who holds it.
        holder: String,
    },
    /// The run was offered to somebody else.
    #[error("the run is offered to {to}; {by} can offer it again without a name")]
    OfferedTo {
        /// To whom.
        to: String,
        /// By whom.
        by: String,
    },
    /// A takeover without a reason.
    #[error("taking over from {holder} needs a reason, which goes on record")]
    NoReason {
        /// Who held it.
        holder: String,
    },
    /// The journal belongs to another machine.
    #[error(
        "this run belongs to machine {machine}, and this is {here}: its steps and targets are there. \
         go on with it on that machine"
    )]
    OtherMachine {
        /// Machine id in the journal.
        machine: String,
        /// Machine id of this host.
        here: String,
    },
    /// The run's folder is a copy, or was moved.
    #[error(
        "{path} is not the file that {holder} worked with: this folder is a copy, or was restored or moved. \
         go on in the original folder; if there is none any more, take the run over with a reason"
    )]
    Copied {
        /// The journal.
        path: PathBuf,
        /// Who held it last.
        holder: String,
    },
    /// The run has begun already.
    #[error("the run was started already by {holder}; go on with `holdpoint resume`")]
    Started {
        /// Who held it last.
        holder: String,
    },
    /// The lock file could not be made.
    #[error("cannot write {path}: {why}; nothing was started")]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] AppendError),
}

/// The right to drive, for as long as this value lives. Dropping it without [`Lease::release`] is like a crash: the lock goes, and
/// the journal does not say why.
#[derive(Debug)]
pub struct Lease {
    epoch: Epoch,
    operator: String,
    _lock: File,
}

impl Lease {
    /// Takes the lease and records it. On success the caller has fenced every earlier driver. The lines that others
    /// wrote in the meantime come back with our own.
    pub fn take(
        journal: &mut Journal,
        seat: &Seat,
        claim: Claim,
        at: Moment,
    ) -> Result<(Lease, Appended), LeaseError> {
        journal.locked(|journal| {
            journal.catch_up()?;
            let reason = permitted(journal, seat, &claim)?;
            let epoch = journal.held.as_ref().map_or(1, |held| held.epoch + 1);
            let path = lock::path(&journal.dir, epoch);
            let inode = journal.inode();
            let held_lock = lock::make(
                &journal.dir,
                &path,
                &lock::Card {
                    operator: claim.operator.clone(),
                    host: seat.host.clone(),
                    pid: seat.pid,
                    pid_start: seat.pid_start,
                    boot_id: seat.boot_id.clone(),
                    since: at.wall,
                    journal_inode: inode,
                },
            )
            .map_err(|error| match disk::no_room(&error) {
                true => LeaseError::Journal(journal.no_space(&disk::words(&error))),
                false => LeaseError::Lock { path: path.clone(), why: disk::words(&error) },
            })?;
            let event = Event::Lease {
                operator: claim.operator.clone(),
                how: claim.how,
                pid: seat.pid,
                pid_start: seat.pid_start,
                boot_id: seat.boot_id.clone(),
                reason,
                acknowledged: claim.acknowledged,
                signature: claim.signature,
            };
            let own = journal.commit(&claim.operator, epoch, at, vec![event]).inspect_err(|_| {
                let _ = std::fs::remove_file(&path);
            })?;
            let lease = Lease { epoch: Epoch(epoch), operator: claim.operator, _lock: held_lock };
            Ok((lease, Appended { foreign: journal.take_unseen(), own }))
        })
    }

    /// The fencing token for every append.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Who holds it.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Leaves cleanly: `why` is `quit`, `held`, `waiting` or `interrupted`. Afterwards the run can be resumed at once.
    pub fn release(self, journal: &mut Journal, at: Moment, why: &str) -> Result<Appended, AppendError> {
        journal.append(&self.operator, Some(self.epoch), at, vec![Event::Released { why: why.to_owned() }])
    }
}

/// May this claim be granted? Gives the reason to be recorded, with the proof that the holder is gone.
fn permitted(journal: &Journal, seat: &Seat, claim: &Claim) -> Result<Option<String>, LeaseError> {
    if journal.machine != seat.machine {
        return Err(LeaseError::OtherMachine {
            machine: journal.machine.clone(),
            here: seat.machine.clone(),
        });
    }
    let Some(held) = &journal.held else { return Ok(claim.reason.clone()) };
    let holder = held.operator.clone();
    let grip = grip(&journal.dir, held, seat);
    let offered = held.offered.as_ref();
    match (&grip, claim.how, offered) {
        (Grip::Held, LeaseHow::Accept, Some(_)) | (Grip::Gone(_), ..) => {}
        (Grip::Held, ..) => return Err(busy(held, seat, offered)),
    }
    let copied = lock::card(&lock::path(&journal.dir, held.epoch))
        .is_some_and(|card| card.journal_inode != journal.inode());
    if copied && claim.how != LeaseHow::TakeOver {
        return Err(LeaseError::Copied { path: journal.dir.journal(), holder });
    }
    match (claim.how, offered) {
        (LeaseHow::Start, _) => Err(LeaseError::Started { holder }),
        (LeaseHow::Resume, _) if held.operator != claim.operator => {
            let how_to = match offered {
                Some(_) => "it is offered: `holdpoint accept`".to_owned(),
                None => format!("ask {holder} for `holdpoint handoff`, or take the run over with a reason"),
            };
            Err(LeaseError::NotYours { operator: claim.operator.clone(), holder, how_to })
        }
        (LeaseHow::Accept, None) => Err(LeaseError::NotOffered { holder }),
        (LeaseHow::Accept, Some(Offer { to: Some(to), by, .. })) if !same_person(to, &claim.operator) => {
            Err(LeaseError::OfferedTo { to: to.clone(), by: by.clone() })
        }
        (LeaseHow::TakeOver, _) => match (claim.reason.as_deref().map(str::trim), grip) {
            (None | Some(""), _) => Err(LeaseError::NoReason { holder }),
            (Some(reason), Grip::Gone(proof)) => Ok(Some(format!("{reason} ({holder} is gone: {proof})"))),
            (Some(_), Grip::Held) => Err(busy(held, seat, offered)),
        },
        (LeaseHow::Resume | LeaseHow::Accept, _) => Ok(claim.reason.clone()),
    }
}

fn busy(held: &Held, seat: &Seat, offered: Option<&Offer>) -> LeaseError {
    let host = held.operator.split_once('@').map_or(seat.host.as_str(), |(_, host)| host).to_owned();
    let how_to = match offered {
        Some(_) => "the run is offered: `holdpoint accept`".to_owned(),
        None => format!("ask {} to quit there, or for `holdpoint handoff`", held.operator),
    };
    LeaseError::Busy { operator: held.operator.clone(), host, pid: held.pid, since: held.since.wall, how_to }
}

/// `bob` may accept what is offered to `bob@db1`, and the reverse; `bob@db2` may not accept for `bob@db1`.
fn same_person(a: &str, b: &str) -> bool {
    let (name_a, host_a) = a.split_once('@').map_or((a, None), |(name, host)| (name, Some(host)));
    let (name_b, host_b) = b.split_once('@').map_or((b, None), |(name, host)| (name, Some(host)));
    name_a == name_b && (host_a.is_none() || host_b.is_none() || host_a == host_b)
}

/// Does the newest holder still drive?
enum Grip {
    Held,
    Gone(String),
}

fn grip(dir: &RunDir, held: &Held, seat: &Seat) -> Grip {
    if let Some(why) = &held.released {
        return Grip::Gone(format!("released ({why})"));
    }
    let locked = lock::locked(&lock::path(dir, held.epoch));
    if locked == Some(true) {
        return Grip::Held;
    }
    let ours = (held.pid, held.pid_start, &held.boot_id) == (seat.pid, seat.pid_start, &seat.boot_id);
    match seat.fate(held.pid, held.pid_start, &held.boot_id) {
        Fate::Dead(proof) => Grip::Gone(proof),
        // This very process let go of it, without having been able to record that.
        Fate::Alive if ours && locked == Some(false) => Grip::Gone("it was this process".into()),
        // The kernel frees a lock only when its process has ended or closed it.
        Fate::Unknown(_) if locked == Some(false) => {
            Grip::Gone(format!("the lock of pid {} is free", held.pid))
        }
        Fate::Alive | Fate::Unknown(_) => Grip::Held,
    }
}

#[cfg(test)]
mod tests;
