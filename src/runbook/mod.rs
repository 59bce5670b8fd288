//! What authors write: text, places, types, variables.

mod again;
pub mod containers;
mod draft;
pub mod graph;
pub mod limits;
pub mod load;
pub mod model;
pub mod names;
pub mod pattern;
mod pieces;
pub mod rules;
pub mod scalar;
pub mod schema;
pub mod shape;
pub mod source;
pub mod space;
pub mod subst;
pub mod tree;
pub mod validate;
pub mod vars;

pub use model::{CheckSpec, Runbook, Step, Target, Work};
