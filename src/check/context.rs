//! What a check may use while it measures.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::base::redact::Redactor;
use crate::base::{CheckId, Moment};
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

/// Where recorded manifests and observations are found.
pub trait Records: Send + Sync {
    /// The manifest recorded under a name; an error says why there is none (never recorded, file damaged).
    fn manifest(&self, name: &str) -> Result<Manifest, String>;

    /// What a person last observed in a manual step; `None` when nothing is on record. An error says why nobody can tell.
    fn observation(&self, step: &str) -> Result<Option<Observation>, String> {
        Err(format!("what was observed in step `{step}` is known only in a run"))
    }
}

/// What a person saw in a manual step, as they put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// In their words.
    pub value: String,
    /// Who: `alice@db1`.
    pub by: String,
    /// When it was put on record.
    pub at: Moment,
}

/// What a check may send to people and services outside, such as a test page.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Sending is allowed: in a run that somebody drives, or where it was asked for. Never in a dry run.
    pub may_send: bool,
    /// The folder in which pages are on record; `None` where there is no store.
    pub pages: Option<PathBuf>,
    /// In whose name it is sent: `alice@db1`.
    pub by: String,
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

/// Takes how far a check is.
pub type ProgressOf = dyn Fn(&CheckId, Progress) + Send + Sync;

/// Everything a check may use. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Ports to the outside.
    pub world: World,
    /// The runbook's targets, variables replaced.
    pub targets: Arc<IndexMap<String, Target>>,
    /// Recorded manifests.
    pub records: Arc<dyn Records>,
    /// What may be sent.
    pub outside: Outside,
    /// A folder for samples that outlive one measurement (growth rates); `None` keeps them in memory only.
    pub samples: Option<PathBuf>,
    /// The environment that a shell script gets: the runbook's variables, and those secrets that the script names.
    pub script_env: Arc<ScriptEnv>,
    /// Variables that steps capture, with the step of each. A check in which one still stands cannot be measured yet.
    pub captures: Arc<BTreeMap<String, String>>,
    /// Secret values, so that no evidence carries one.
    pub secrets: Arc<Redactor>,
    /// Called now and then during long work; must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Called instead where it is a check that works, so that two long ones at the same time can be told apart.
    pub progress_of: Option<Arc<ProgressOf>>,
}

impl Context {
    /// A context for this machine with no targets, records or secrets.
    pub fn local(world: World) -> Self {
        Context {
            world,
            targets: Arc::new(IndexMap::new()),
            records: Arc::new(NoRecords),
            outside: Outside::default(),
            samples: None,
            script_env: Arc::new(|_| BTreeMap::new()),
            captures: Arc::default(),
            secrets: Arc::new(Redactor::default()),
            progress: Arc::new(|_| {}),
            progress_of: None,
        }
    }

    /// The same for one check, when somebody wants to know which check it is that works.
    pub fn of(&self, check: &CheckId) -> Option<Self> {
        let (tell, check) = (Arc::clone(self.progress_of.as_ref()?), check.clone());
        Some(Context { progress: Arc::new(move |progress| tell(&check, progress)), ..self.clone() })
    }

    /// A target by name. The loader has checked that it exists; this is for safety.
    pub fn target(&self, name: &str) -> Result<&Target, String> {
        self.targets.get(name).ok_or_else(|| format!("no target is called `{name}`"))
    }
}
