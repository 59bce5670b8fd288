//! Who uses a file or a folder: processes with something below it open, as working directory, as root, or mapped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The processes that use `path` or anything below it: `postgres (pid 812) has 14 files open in /srv/old`. An error when
/// /proc cannot be read; processes of other users that /proc hides from us are said so.
pub async fn of(path: &Path) -> Result<Vec<String>, String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || find(&path)).await.map_err(|e| format!("cannot look for users: {e}"))?
}

fn find(path: &Path) -> Result<Vec<String>, String> {
    let path = path.canonicalize().map_err(|e| format!("cannot resolve {}: {e}", path.display()))?;
    let entries = std::fs::read_dir("/proc").map_err(|e| format!("cannot read /proc: {e}"))?;
    let mut users = Vec::new();
    let mut hidden = 0;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let (files, unseen) = files_below(&entry.path(), &path);
        hidden += u32::from(unseen);
        if !files.is_empty() {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let what = match files.len() {
                1 => files.iter().next().map(|f| f.display().to_string()).unwrap_or_default(),
                n => format!("{n} files below {}", path.display()),
            };
            users.push(format!("{} (pid {pid}) uses {what}", name.trim()));
        }
    }
    if hidden > 0 && !rustix::process::geteuid().is_root() && owner_is_another(&path) {
        return Err(format!("{hidden} processes of other users may use {}; only root can see that", path.display()));
    }
    Ok(users)
}

fn files_below(process: &Path, path: &Path) -> (BTreeSet<PathBuf>, bool) {
    let mut found = BTreeSet::new();
    let mut note = |link: PathBuf| {
        if let Ok(target) = std::fs::read_link(link)
            && target.starts_with(path)
        {
            found.insert(target);
        }
    };
    note(process.join("cwd"));
    note(process.join("root"));
    note(process.join("exe"));
    let mut unseen = false;
    match std::fs::read_dir(process.join("fd")) {
        Ok(entries) => entries.flatten().for_each(|fd| note(fd.path())),
        Err(error) => unseen = error.kind() == std::io::ErrorKind::PermissionDenied,
    }
    (found, unseen)
}

fn owner_is_another(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map(|meta| meta.uid() != rustix::process::geteuid().as_raw()).unwrap_or(true)
}
