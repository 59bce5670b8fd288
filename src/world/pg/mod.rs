//! PostgreSQL: connections with psql's habits, read-only sessions with time limits, identity.

pub mod session;

pub use session::{ConnectError, Options, Session, connect};
