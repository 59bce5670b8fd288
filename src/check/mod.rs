//! Pre- and postconditions: typed measurements with a threshold. A check is one file and one line in the list of
//! its family.
//!
//! Only a pass passes. A check that could not measure says [`Verdict::Unknown`] with the reason; the caller treats it
//! like a failure, and says it differently.

pub mod context;
pub mod door;
pub mod evidence;
pub mod falsify;
pub mod findings;
pub mod history;
pub mod measure;
pub mod params;
pub mod pattern;
pub mod registry;
mod sequences;
mod survey;

pub mod application;
pub mod backups;
pub mod containers;
pub mod corruption;
pub mod data;
pub mod horizon;
pub mod host;
pub mod locks;
pub mod network;
pub mod own;
pub mod people;
pub mod replication;
pub mod server;
pub mod storage;
pub mod upgrade;

use async_trait::async_trait;

pub use context::Context;
pub use evidence::{Evidence, Outcome, Seen, Verdict};

use crate::runbook::model::Destroys;

/// The fact that tells how many milliseconds of a measurement were spent waiting for a person.
pub const WAITED: &str = "waited_ms";

/// A check with its parameters, ready to measure.
#[async_trait]
pub trait Check: Send + Sync + std::fmt::Debug {
    /// The targets that it measures, by the names that the runbook gives them.
    fn targets(&self) -> Vec<String> {
        Vec::new()
    }

    /// What a pass proves about data, if anything: the copy that a destructive step may rely on.
    fn proves(&self) -> Option<DataProof> {
        None
    }

    /// The recorded manifest that it compares with, if any.
    fn recorded(&self) -> Option<&str> {
        None
    }

    /// Files or folders that it vouches for, such as backups: what a destruction takes away must not hold them.
    fn keeps(&self) -> Vec<String> {
        Vec::new()
    }

    /// Measures. Must not change anything. Dropping the future must leave nothing running, here or on a server.
    async fn measure(&self, cx: &Context) -> Outcome;
}

/// That the data of one target (or a manifest recorded of it) is held by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataProof {
    /// Where the data comes from: a target, or the name under which its manifest was recorded.
    pub of: ProofSource,
    /// The target that was shown to hold it.
    pub held_by: String,
    /// Only these databases were compared; all when empty.
    pub databases: Vec<String>,
    /// Only these tables were compared; all when empty.
    pub tables: Vec<String>,
}

impl DataProof {
    /// What is compared leaves nothing out that goes. `file` is true for an SQLite file, which is one database.
    pub fn covers(&self, goes: &Destroys, file: bool) -> bool {
        let compared = |database: &String| self.databases.contains(database);
        // Where the runbook does not name the database of a part, nobody can tell whether it is among them.
        let there = file || self.databases.is_empty() || goes.database.as_ref().is_some_and(compared);
        let named = || goes.relations() && goes.tables.iter().all(|table| self.tables.contains(table));
        there && (self.tables.is_empty() || named())
    }
}

/// The side that a copy is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofSource {
    /// A target, measured at the same time.
    Target(String),
    /// A recorded manifest.
    Recorded(String),
}
