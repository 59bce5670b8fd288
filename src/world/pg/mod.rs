//! PostgreSQL: connections with psql's habits, read-only sessions with time limits, identity.

mod backend;
pub mod connect;
pub mod conninfo;
pub mod databases;
pub mod debian;
pub mod error;
pub mod extent;
mod files;
pub mod identity;
pub mod own;
mod peer;
pub mod portion;
pub mod session;
pub mod settings;
pub mod stopped;
mod tls;
mod tree;
pub mod undone;

pub use backend::Backend;
pub use connect::connect;
pub use databases::Database;
pub use error::{ConnectError, ConnectTrouble, QueryError};
pub use extent::{Extent, extent};
pub use portion::{Portion, portion};
pub use session::{Options, Row, Session, identifier, literal};
