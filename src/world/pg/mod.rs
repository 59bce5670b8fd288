//! PostgreSQL: connections with psql's habits, read-only sessions with time limits, identity.

pub mod connect;
pub mod error;
pub mod identity;
pub mod session;
mod tls;

pub use connect::connect;
pub use error::{ConnectError, ConnectTrouble, QueryError};
pub use session::{Options, Row, Session, identifier, literal};
