//! The append-only truth about a run: JSON lines, hash-chained, flushed before anything depends on them.
//!
//! [`store`] finds the folder and its runs, [`file`] reads and appends, [`chain`] encodes lines and links them,
//! [`verify`] proves that a journal is whole, [`lease`] says who drives. `docs/journal-format.md` describes the format
//! for people.

pub mod chain;
pub mod disk;
pub mod error;
mod fast;
pub mod file;
pub mod kind;
pub mod lease;
pub mod read;
pub mod record;
mod reserve;
pub mod runs;
pub mod scripts;
pub mod seat;
pub mod second;
pub mod signed;
pub mod store;
pub mod verify;

pub use error::{AppendError, OpenError};
pub use file::{Appended, Journal, Point};
pub use lease::{Claim, Epoch, Lease, LeaseError};
pub use record::{Event, Line};
pub use runs::{RunState, RunSummary};
pub use seat::Seat;
pub use store::{RunDir, Store, StoreError};
