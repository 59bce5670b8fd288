//! What authors write: text, places, types, variables.

pub mod graph;
pub mod load;
pub mod model;
pub mod schema;
pub mod source;
pub mod tree;
pub mod vars;

pub use model::{CheckSpec, Runbook, Step, Target, Work};
