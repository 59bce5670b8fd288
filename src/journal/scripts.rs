//! The files beside a runbook that its steps call, as they were when its run was opened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Digest;

/// Where they are, and what stood in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// The runbook's folder, links resolved.
    #[serde(default)]
    pub folder: String,
    /// Digests, by path from the folder.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// The same files later; `None` for one that cannot be read.
pub type Found = BTreeMap<String, Option<Digest>>;

impl Scripts {
    /// True when the steps call none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Those that are not what they were, in words. What was not looked at counts as changed.
    pub fn changed<'a>(&'a self, now: &Found) -> Vec<(&'a str, String)> {
        let is = |path: &str| match now.get(path) {
            Some(Some(digest)) => format!("digest {}", digest.short()),
            Some(None) => "it cannot be read".to_owned(),
            None => "it was not looked at".to_owned(),
        };
        let other = |(path, was): &(&'a String, &'a Digest)| now.get(*path) != Some(&Some((*was).clone()));
        self.files.iter().filter(other).map(|(path, _)| (path.as_str(), is(path))).collect()
    }
}
