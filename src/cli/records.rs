//! What a run has on record for its checks: manifests, checked against the digest that the journal holds, and what people
//! observed.

use crate::base::Digest;
use crate::check::context::{Observation, Records};
use crate::check::data::manifest::Manifest;
use crate::engine::work;
use crate::journal::record::Event;
use crate::journal::store::RunDir;

/// The records of one run.
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

    fn observation(&self, step: &str) -> Result<Option<Observation>, String> {
        let (lines, _) = super::session::peek(&self.dir).map_err(|e| e.message)?;
        // A step that is begun again, or undone, has to be observed again.
        let mut seen = None;
        for line in lines {
            match line.event {
                Event::Observed { step: of, text } if of.as_str() == step => {
                    seen = Some(Observation { value: text, by: line.by, at: line.at });
                }
                Event::Began { step: of, .. } | Event::RolledBack { step: of } if of.as_str() == step => {
                    seen = None;
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}
