//! Value types that validate themselves. No clock, no disk, no network.

pub mod duration;
pub mod ids;
pub mod redact;
pub mod signature;
pub mod size;
pub mod text;
pub mod time;

pub use duration::Span;
pub use ids::{CheckId, Digest, RunId, StepId};
pub use size::Size;
pub use time::Moment;
