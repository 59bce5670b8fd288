//! What is said about a run, apart from how it is shown: facts for people and programs, made from the journal alone.
//!
//! [`words`] puts every event into words; the live session, the log and the briefing all read those. The other modules
//! make serialisable facts, so that a screen and its `--json` form cannot say different things.

pub mod annotations;
pub mod blockers;
pub mod checked;
pub mod commands;
pub mod course;
pub mod findings;
#[cfg(test)]
pub mod fixture;
pub mod github;
pub mod goes;
pub mod json;
pub mod junit;
pub mod log;
pub mod monitor;
pub mod plan;
pub mod rehearsed;
pub mod room;
pub mod sarif;
pub mod second;
pub mod standing;
pub mod summary;
pub mod walkdown;
pub mod when;
pub mod words;

pub use standing::{Standing, standing};
pub use words::{Tone, Words};
