//! Rehearsals: the whole of a runbook against staging, unattended, by the same engine and the same gate.
//!
//! Nothing in the engine knows of it. A rehearsal is another runbook (what stands in for people is put in their place,
//! see [`standin`]) and another operator (who answers what is safe to answer without anybody there, see [`operator`]).

pub mod apart;
mod author;
pub mod demand;
pub mod falsify;
pub mod faults;
pub mod judge;
pub mod made;
pub mod operator;
pub mod places;
pub mod receipt;
mod scratch;
pub mod scripts;
pub mod standin;

pub use author::{command, settle};
pub use operator::Rehearser;
