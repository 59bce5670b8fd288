//! (in work)
pub mod snippet;
