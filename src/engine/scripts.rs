//! Reads again what a run's scripts are: what is called must be what was called for when the run was opened.

use std::path::Path;
use std::time::Duration;

use crate::base::Digest;
use crate::journal::scripts::{Found, Scripts};

/// Nothing that is larger is a script.
const MAX_BYTES: u64 = 8 << 20;
/// The longest that reading them takes.
const READING: Duration = Duration::from_secs(60);

/// Digest of a file; `None` when it cannot be read, or is too large for a script.
pub fn digest(path: &Path) -> Option<Digest> {
    let meta = std::fs::metadata(path).ok()?;
    let script = meta.is_file() && meta.len() <= MAX_BYTES;
    script.then(|| std::fs::read(path).ok()).flatten().map(|bytes| Digest::of(&bytes))
}

/// The files as they are now.
pub fn now(scripts: &Scripts) -> Found {
    let folder = Path::new(&scripts.folder);
    scripts.files.keys().map(|path| (path.clone(), digest(&folder.join(path)))).collect()
}

/// The same for the loop, which waits for no disk: nothing is found of what takes too long.
pub async fn look(scripts: Scripts) -> Found {
    if scripts.is_empty() {
        return Found::new();
    }
    let reading = tokio::task::spawn_blocking(move || now(&scripts));
    tokio::time::timeout(READING, reading).await.ok().and_then(Result::ok).unwrap_or_default()
}
