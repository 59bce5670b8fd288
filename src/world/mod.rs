//! Ports to the outside, and the real adapters behind them. Only adapters touch the clock, the disk, processes and
//! databases; everything before this layer is pure, and everything after it asks these ports.

pub mod clock;
pub mod files;
pub mod host;
pub mod http;
pub mod identify;
pub mod identity;
pub mod mounts;
pub mod pg;
pub mod process;
pub mod sign;
pub mod sockets;
pub mod sqlite;
pub mod tls;
pub mod users;

use std::sync::Arc;

pub use clock::Clock;
pub use files::Files;
pub use identify::identity;
pub use identity::Identity;
pub use process::Processes;

/// The outside, as one handle. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Files and file systems of the machine that is worked on.
    pub files: Arc<dyn Files>,
    /// Short probes: commands whose output is a measurement. Steps' commands go through the supervisor instead.
    pub processes: Arc<dyn Processes>,
}

impl World {
    /// This machine.
    pub fn local() -> Self {
        World {
            clock: Arc::new(clock::SystemClock),
            files: Arc::new(files::LocalFiles),
            processes: Arc::new(process::LocalProcesses),
        }
    }
}
