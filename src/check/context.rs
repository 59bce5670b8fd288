//! What a check may use while it measures.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::base::redact::Redactor;
use crate::check::data::manifest::Manifest;
use crate::runbook::Target;
use crate::world::World;

/// How far a long measurement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in a few words: `comparing events`.
    pub what: String,
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// The unit: `rows`, `B`, `tables`.
    pub unit: &'static str,
}

/// Where recorded manifests are found.
pub trait Records: Send + Sync {
    /// The manifest recorded under a name; an error says why there is none (never recorded, file damaged).
    fn manifest(&self, name: &str) -> Result<Manifest, String>;
}

/// Nothing was recorded: for `check` outside a run.
pub struct NoRecords;

impl Records for NoRecords {
    fn manifest(&self, name: &str) -> Result<Manifest, String> {
        Err(format!("no manifest `{name}` has been recorded; a `record` step of a run makes it"))
    }
}

/// Gives the environment variables of a script, from its text.
pub type ScriptEnv = dyn Fn(&str) -> BTreeMap<String, String> + Send + Sync;

/// Everything a check may use. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Ports to the outside.
    pub world: World,
    /// The runbook's targets, variables replaced.
    pub targets: Arc<IndexMap<String, Target>>,
    /// Recorded manifests.
    pub records: Arc<dyn Records>,
    /// A folder for samples that outlive one measurement (growth rates); `None` keeps them in memory only.
    pub samples: Option<PathBuf>,
    /// The environment that a shell script gets: the runbook's variables, and those secrets that the script names.
    pub script_env: Arc<ScriptEnv>,
    /// Secret values, so that no evidence carries one.
    pub secrets: Arc<Redactor>,
    /// Called now and then during long work; must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Context {
    /// A context for this machine with no targets, records or secrets.
    pub fn local(world: World) -> Self {
        Context {
            world,
            targets: Arc::new(IndexMap::new()),
            records: Arc::new(NoRecords),
            samples: None,
            script_env: Arc::new(|_| BTreeMap::new()),
            secrets: Arc::new(Redactor::default()),
            progress: Arc::new(|_| {}),
        }
    }

    /// A target by name. The loader has checked that it exists; this is for safety.
    pub fn target(&self, name: &str) -> Result<&Target, String> {
        self.targets.get(name).ok_or_else(|| format!("no target is called `{name}`"))
    }
}
