//! What two checks want to know about one index: what hangs on it, and what plans look like without it.

pub mod facts;
pub mod hidden;
pub mod plan;

pub use facts::Index;
pub use hidden::{Method, Statements};
