//! The files beside a runbook, for reading what its steps call.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::lint::read::files::{Files, Local};

/// The largest script that is read.
const LARGEST: u64 = 1 << 20;

/// The files below a runbook's folder.
#[derive(Debug)]
pub struct LocalFiles {
    /// The folder, as it was named and as it is.
    folders: Vec<PathBuf>,
    /// What was read.
    known: Mutex<HashMap<String, Local>>,
}

impl LocalFiles {
    /// The files beside this runbook.
    pub fn beside(runbook: &Path) -> Self {
        let folder = match runbook.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let named = std::path::absolute(folder).map(|path| tidy(&path));
        let real = folder.canonicalize();
        let mut folders: Vec<PathBuf> = named.into_iter().chain(real).collect();
        folders.dedup();
        LocalFiles { folders, known: Mutex::default() }
    }

    /// The path from the folder, when it lies below it.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let path = tidy(path);
        let found = self.folders.iter().find_map(|folder| path.strip_prefix(folder).ok());
        found.filter(|rest| !rest.as_os_str().is_empty()).map(Path::to_owned)
    }

    fn look(&self, below: &Path) -> Option<Local> {
        let name = below.to_str()?.to_owned();
        let path = self.folders.first()?.join(below);
        let meta = std::fs::metadata(&path);
        if matches!(&meta, Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
            return None;
        }
        let refuse = |why: String| Some(Local::Refused { name: name.clone(), why });
        match meta {
            Err(error) => return refuse(error.to_string()),
            Ok(meta) if meta.is_dir() => return None,
            Ok(meta) if !meta.is_file() => return refuse("it is no plain file".to_owned()),
            Ok(meta) if meta.len() > LARGEST => return refuse("it is larger than 1 MiB".to_owned()),
            Ok(_) => {}
        }
        match std::fs::read(&path).map(String::from_utf8) {
            Err(error) => refuse(error.to_string()),
            Ok(Err(_)) => refuse("it is no text".to_owned()),
            Ok(Ok(text)) if text.contains('\0') => refuse("it is no text".to_owned()),
            Ok(Ok(text)) => Some(Local::Text { name, text: Arc::from(text) }),
        }
    }
}

impl Files for LocalFiles {
    fn find(&self, path: &str, cwd: Option<&str>) -> Local {
        if path.starts_with('~') {
            return Local::Outside;
        }
        let path = Path::new(path);
        let (below, elsewhere) =
            match (path.is_absolute(), cwd.map(Path::new).filter(|cwd| cwd.is_absolute())) {
                (true, _) => (self.inside(path), true),
                (false, Some(cwd)) => match self.inside(&cwd.join(path)) {
                    Some(below) => (Some(below), false),
                    None => (Some(tidy(path)), self.inside(cwd).is_none() && cwd != Path::new("/")),
                },
                // Where it would be looked for is not known: beside the runbook is the likeliest.
                (false, None) => (Some(tidy(path)), false),
            };
        let absent = if elsewhere { Local::Outside } else { Local::Missing };
        let Some(below) = below.filter(|below| !below.starts_with("..")) else { return absent };
        let key = below.to_string_lossy().into_owned();
        if let Some(known) = self.known.lock().ok().and_then(|known| known.get(&key).cloned()) {
            return known;
        }
        let Some(found) = self.look(&below) else { return absent };
        if let Ok(mut known) = self.known.lock() {
            known.insert(key, found.clone());
        }
        found
    }
}

/// Without `.` and `..`, as far as that can be done by the text alone.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beside_the_runbook_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("scripts")).unwrap();
        std::fs::write(at("scripts/a.sh"), "rm -r /x\n").unwrap();
        std::fs::write(at("binary"), b"\x7fELF\xff\0").unwrap();
        let files = LocalFiles::beside(&at("book.yaml"));
        let text = |path: &str, cwd: Option<&str>| match files.find(path, cwd) {
            Local::Text { name, .. } => name,
            Local::Refused { name, .. } => format!("! {name}"),
            Local::Outside => "outside".to_owned(),
            Local::Missing => "missing".to_owned(),
        };
        let here = folder.path().to_str().unwrap();
        assert_eq!(text("scripts/a.sh", None), "scripts/a.sh");
        assert_eq!(text("./scripts/../scripts/a.sh", Some("/")), "scripts/a.sh");
        assert_eq!(text("a.sh", Some(&format!("{here}/scripts"))), "scripts/a.sh");
        assert_eq!(text(&format!("{here}/scripts/a.sh"), None), "scripts/a.sh");
        assert_eq!(text("./binary", None), "! binary");
        assert_eq!(text("./none.sh", None), "missing");
        assert_eq!(text("./none.sh", Some("/srv/app")), "outside");
        assert_eq!(text("/usr/bin/env", None), "outside");
        assert_eq!(text("../x", None), "missing");
        assert_eq!(text("~/bin/x", None), "outside");
    }
}
