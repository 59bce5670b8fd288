//! The files that a connection may rest on: pg_service.conf and the password file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::conninfo::Pairs;

/// Longest file that is read.
const LIMIT: u64 = 1 << 20;

/// The text of a small file; `None` when it is not there.
pub(super) fn text(path: &Path) -> Result<Option<String>, String> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    if !meta.is_file() || meta.len() > LIMIT {
        return Err(format!("{} is not a plain file of at most 1 MiB", path.display()));
    }
    std::fs::read(path)
        .map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned()))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The section of a service in a pg_service.conf; `None` when the file has no such section.
pub(super) fn service(path: &Path, content: &str, name: &str) -> Result<Option<Pairs>, String> {
    let mut found: Option<Pairs> = None;
    let mut inside = false;
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            inside = section.strip_suffix(']').is_some_and(|section| section == name);
            if inside {
                found = Some(Pairs::new());
            }
            continue;
        }
        if !inside {
            continue;
        }
        let place = format!("line {} of {}", number + 1, path.display());
        if line.starts_with("ldap") {
            return Err(format!(
                "{place} looks a service up in LDAP, which is not supported; write the settings there"
            ));
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("{place} is not key=value"))?;
        if key == "service" || key == "servicefile" {
            return Err(format!("{place} names another service; services cannot be nested"));
        }
        if let Some(pairs) = found.as_mut() {
            pairs.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
        }
    }
    Ok(found)
}

/// What the password file says for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Password {
    /// The first line that fits.
    Found(String),
    /// No file, or no line that fits.
    None,
    /// It was not used, and why: to be said when the server then wants a password.
    Refused(String),
}

/// Looks a password up. Like libpq, a file that others may read is not used at all; unlike libpq we say so.
pub(super) fn password(path: &Path, host: &str, port: u16, database: &str, user: &str) -> Password {
    let shown = path.display();
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Password::None,
        Err(error) => return Password::Refused(format!("the password file {shown} was not used: {error}")),
    };
    if !meta.is_file() {
        return Password::Refused(format!("the password file {shown} was not used: it is not a plain file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Password::Refused(format!(
            "the password file {shown} was not used: others may access it (mode {:04o}); chmod 0600 it",
            meta.mode() & 0o7777
        ));
    }
    match text(path) {
        Ok(Some(content)) => lookup(&content, [host, &port.to_string(), database, user]),
        Ok(None) => Password::None,
        Err(why) => Password::Refused(format!("the password file was not used: {why}")),
    }
}

fn lookup(content: &str, wanted: [&str; 4]) -> Password {
    for line in content.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = fields(line);
        if fields.len() != 5 {
            continue;
        }
        let password = fields.pop().unwrap_or_default();
        if fields
            .iter()
            .zip(wanted)
            .all(|((field, literal), wanted)| (field == "*" && !literal) || field == wanted)
        {
            return Password::Found(password.0);
        }
    }
    Password::None
}

/// Four fields and the rest, `\:` and `\\` unescaped; true when a field had an escape (then `*` is a plain star).
fn fields(line: &str) -> Vec<(String, bool)> {
    let mut fields = vec![(String::new(), false)];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let splits = fields.len() < 5;
        let Some(field) = fields.last_mut() else { break };
        match c {
            '\\' => {
                field.0.extend(chars.next());
                field.1 = true;
            }
            ':' if splits => fields.push((String::new(), false)),
            c => field.0.push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_service_is_one_section() {
        let content = "# x\n[a]\nhost=one\nport = 5\nhost=two\n\n[b]\nhost=three\nnonsense\n[c]\nservice=a\n[d]\nldap://x\n";
        let path = Path::new("/x/pg_service.conf");
        let a = service(path, content, "a").unwrap().unwrap();
        assert_eq!(a.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["host=one", "port=5"]);
        assert_eq!(service(path, content, "z").unwrap(), None);
        assert_eq!(service(path, content, "b").unwrap_err(), "line 9 of /x/pg_service.conf is not key=value");
        assert!(service(path, content, "c").unwrap_err().contains("nested"));
        assert!(service(path, content, "d").unwrap_err().contains("LDAP"));
    }

    #[test]
    fn the_first_fitting_line_has_the_password() {
        let content = "# c\nh:1:d:u:first\n*:*:d:u:any\\:thing\\\\\nh\\:2:*:*:*:colon:and more\nshort:line\n";
        let find = |host, port, db, user| lookup(content, [host, port, db, user]);
        assert_eq!(find("h", "1", "d", "u"), Password::Found("first".into()));
        assert_eq!(find("x", "9", "d", "u"), Password::Found("any:thing\\".into()));
        assert_eq!(find("h:2", "1", "e", "v"), Password::Found("colon:and more".into()));
        assert_eq!(find("x", "1", "e", "u"), Password::None);
    }

    #[test]
    fn a_password_file_that_others_may_read_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:secret").unwrap();
        for (mode, used) in [(0o600, true), (0o400, true), (0o644, false), (0o640, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match password(&path, "h", 1, "d", "u") {
                Password::Found(word) => assert!(used && word == "secret", "{mode:o}"),
                Password::Refused(why) => {
                    assert!(!used && why.contains("chmod 0600") && !why.contains("secret"), "{why}")
                }
                Password::None => panic!("{mode:o}"),
            }
        }
        assert_eq!(password(&dir.path().join("none"), "h", 1, "d", "u"), Password::None);
    }
}
