//! The append-only truth about a run: JSON lines, hash-chained, flushed before anything depends on them.

pub mod chain;
pub mod file;
pub mod lease;
pub mod record;
pub mod store;

pub use record::{Event, Line};
