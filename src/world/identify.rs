//! Proves what a target is: asks the server, or reads the files of what does not run.

use std::os::unix::fs::MetadataExt as _;

use super::host;
use super::identity::{FileIdentity, Identity};
use crate::runbook::Target;

/// What a target is now. An error says in a sentence why nobody can tell.
///
/// A PostgreSQL server is asked; a stopped cluster is measured from its files when the target says `cluster` or
/// `data_directory`. An SQLite file need not be opened.
pub async fn identity(target: &Target) -> Result<Identity, String> {
    match &target.sqlite {
        Some(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || file_identity(&path))
                .await
                .map_err(|error| error.to_string())?
        }
        None => super::pg::identity::identity(target).await.map(Identity::Postgres),
    }
}

/// Why a target is known not to be there at all; `None` when it may be, or when nobody can tell. Seen on this machine
/// alone: of a server that is only an address nobody can say that.
pub async fn gone(target: &Target) -> Option<String> {
    let places = match &target.sqlite {
        Some(path) => vec![path.into()],
        None => super::pg::stopped::places(target),
    };
    let look = move || {
        let missing = |path: &std::path::PathBuf| {
            std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let all: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        let none = !places.is_empty() && places.iter().all(missing);
        none.then(|| format!("there is no {}", all.join(" and no ")))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

fn file_identity(path: &str) -> Result<Identity, String> {
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("the SQLite file {path} is not there"),
        _ => format!("the SQLite file {path} cannot be looked at: {error}"),
    };
    let real = std::fs::canonicalize(path).map_err(wrong)?;
    let meta = std::fs::metadata(&real).map_err(wrong)?;
    if !meta.is_file() {
        return Err(format!("{path} is not a file"));
    }
    Ok(Identity::Sqlite(FileIdentity {
        path: real.display().to_string(),
        device: meta.dev(),
        inode: meta.ino(),
        host: host::machine_id(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_by_two_names_is_one_object() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.db"), dir.path().join("b.db"));
        std::fs::write(&a, "x").unwrap();
        std::os::unix::fs::symlink(&a, &b).unwrap();
        let of = |path: &std::path::Path| file_identity(path.to_str().unwrap());
        assert_eq!(of(&a).unwrap(), of(&b).unwrap());
        std::fs::copy(&a, dir.path().join("c.db")).unwrap();
        assert!(!of(&a).unwrap().same_object(&of(&dir.path().join("c.db")).unwrap()));
        assert!(of(dir.path()).unwrap_err().contains("is not a file"));
        assert!(of(&dir.path().join("d.db")).unwrap_err().contains("is not there"));
    }
}
