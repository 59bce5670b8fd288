//! SQLite beside PostgreSQL.
mod decimal;
pub mod form;
pub mod hash;
mod json;
mod moment;
