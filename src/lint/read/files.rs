//! Local files that a runbook's steps call: asked for through a port, so that reading itself touches no disk.

use std::sync::Arc;

/// What is known of a path that a step would run or read statements from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// It does not belong to the runbook: an installed program, a file elsewhere.
    Outside,
    /// It is relative, and there is no such file beside the runbook.
    Missing,
    /// It belongs to the runbook, and cannot be read as text.
    Refused {
        /// Its path from the runbook's folder.
        name: String,
        /// Why it cannot be read.
        why: String,
    },
    /// It belongs to the runbook.
    Text {
        /// Its path from the runbook's folder.
        name: String,
        /// What stands in it.
        text: Arc<str>,
    },
}

/// Gives the files beside a runbook.
pub trait Files: Sync {
    /// The file with this path, which a command with this working directory would open.
    fn find(&self, path: &str, cwd: Option<&str>) -> Local;
}

/// Where there are no files: relative paths cannot be told from installed programs, and are left alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn find(&self, _: &str, _: Option<&str>) -> Local {
        Local::Outside
    }
}

/// A local file that a step calls, by itself or by way of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Called {
    /// The step's id.
    pub step: String,
    /// The file's path from the runbook's folder, parts separated by `/`.
    pub path: String,
}
