//! (in work)
pub mod manifest;
