//! Recorded manifests of a run, checked against the digest that the journal holds.

use crate::base::Digest;
use crate::check::context::Records;
use crate::check::data::manifest::Manifest;
use crate::engine::work;
use crate::journal::store::RunDir;

/// The manifests of one run.
pub struct Shelf {
    dir: RunDir,
}

impl Shelf {
    /// The shelf of a run.
    pub fn new(dir: RunDir) -> Self {
        Shelf { dir }
    }
}

impl Records for Shelf {
    fn manifest(&self, name: &str) -> Result<Manifest, String> {
        let (_, state) = super::session::peek(&self.dir).map_err(|e| e.message)?;
        let recorded = state
            .recorded
            .get(name)
            .ok_or_else(|| format!("no manifest `{name}` has been recorded in this run yet"))?;
        let path = work::manifest_path(&self.dir.path, name);
        let bytes = std::fs::read(&path).map_err(|e| format!("the manifest `{name}` cannot be read: {e}"))?;
        if Digest::of(&bytes) != recorded.digest {
            return Err(format!(
                "the manifest `{name}` is not the one on record: {} was changed",
                path.display()
            ));
        }
        Manifest::load(&bytes)
    }
}
