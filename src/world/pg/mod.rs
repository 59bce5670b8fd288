//! PostgreSQL: connections with psql's habits, read-only sessions with time limits, identity.

pub mod conninfo;
pub mod connect;
pub mod error;
pub mod files;
pub mod identity;
mod peer;
pub mod session;
pub mod settings;
mod tls;

pub use connect::connect;
pub use error::{ConnectError, ConnectTrouble, QueryError};
pub use session::{Options, Row, Session, identifier, literal};
