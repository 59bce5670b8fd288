//! Which server processes measure for this process. A measurement needs a snapshot, and so holds the transaction horizon
//! back itself: who looks for what holds it has to tell the two apart.
//!
//! By the number of the server process, as the server itself gave it, and by the server's start: a name alone could be
//! anybody's. Sessions that may write are not among them: those do a step's work.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::world::identity::PostgresIdentity;

/// System identifier, start of the server, number of its process.
type Key = (String, String, u32);

static OWN: LazyLock<Mutex<BTreeSet<Key>>> = LazyLock::new(Mutex::default);

/// A session that measures, as long as it is open.
#[derive(Debug)]
pub(super) struct Mark(Key);

impl Mark {
    /// A standby has its primary's system identifier, and a start of its own.
    pub(super) fn new(server: &PostgresIdentity, pid: u32) -> Mark {
        let key = (server.system_identifier.clone(), server.server_start.clone(), pid);
        OWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Mark(key)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// True when this process measures with that process of a server.
pub fn measures(server: &PostgresIdentity, pid: u32) -> bool {
    let key = (server.system_identifier.clone(), server.server_start.clone(), pid);
    OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
}
