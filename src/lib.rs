//! Holdpoint: a guided upgrade and maintenance runbook engine.
//!
//! It guides an operator through risky maintenance, measures what must be true before and after every step, and
//! refuses to destroy anything until all of it holds, now, on the right machine.
//!
//! # Layers
//!
//! Data flows one way; each layer may use only those before it (`tests/layers.rs` keeps this true,
//! `docs/architecture.md` explains it):
//!
//! `base → problem → runbook → world → check → lint → journal → gate → engine → report → ui → cli`
//!
//! # Invariants
//!
//! * Only [`gate::clear`] makes a [`gate::Permit`], and nothing destructive can start without one.
//! * Nothing runs that is not on disk first: the journal is flushed before every effect.
//! * Only a pass passes: what was not measured is unknown, and unknown blocks.

pub mod base;
pub mod check;
pub mod cli;
pub mod demo;
pub mod engine;
pub mod gate;
pub mod journal;
pub mod lint;
pub mod problem;
pub mod rehearse;
pub mod report;
pub mod runbook;
pub mod supervise;
pub mod ui;
pub mod world;
