//! The files that a connection may rest on: pg_service.conf, the password file, a Debian cluster's postgresql.conf.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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

/// What a cluster's configuration says about where its server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConf {
    /// The directory of configuration files: `/etc/postgresql/13/main`.
    pub directory: PathBuf,
    /// Port; 5432 when not set.
    pub port: u16,
    /// First directory of `unix_socket_directories`; `None` when the server makes no socket.
    pub socket: Option<PathBuf>,
    /// Its data directory, when set.
    pub data_directory: Option<PathBuf>,
    /// Names of settings and their values, as far as they could be read.
    pub settings: Pairs,
    /// Files that were included or should have been, but could not be read.
    pub unread: Vec<String>,
}

/// Reads `<root>/<version>/<name>/postgresql.conf`. `root` is /etc/postgresql but for tests.
pub fn cluster_conf(root: &Path, cluster: &str) -> Result<ClusterConf, String> {
    let (version, name) = cluster
        .split_once('/')
        .filter(|(version, name)| {
            !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
                && !name.is_empty()
                && !name.contains('/')
                && !name.starts_with('.')
        })
        .ok_or_else(|| format!("`{cluster}` is not a Debian cluster; write version/name, as in 13/main"))?;
    let directory = root.join(version).join(name);
    let path = directory.join("postgresql.conf");
    if !path.exists() {
        return Err(format!("there is no cluster {cluster}: {} is not there", path.display()));
    }
    let (mut settings, mut unread) = (Pairs::new(), Vec::new());
    read_conf(&path, 0, &mut settings, &mut unread);
    if let Some(why) = unread.first().filter(|_| settings.is_empty()) {
        return Err(why.clone());
    }
    let data_directory = settings.get("data_directory").map(PathBuf::from);
    if let Some(data) = &data_directory {
        // ALTER SYSTEM writes there; it counts last. Only its owner may read it, so it is best effort.
        read_conf(&data.join("postgresql.auto.conf"), 0, &mut settings, &mut unread);
    }
    let port = match settings.get("port") {
        None => 5432,
        Some(port) => {
            port.parse().map_err(|_| format!("`port = {port}` in {} is not a port", path.display()))?
        }
    };
    let sockets = settings.get("unix_socket_directories").map_or("/var/run/postgresql", String::as_str);
    let socket = sockets.split(',').map(str::trim).find(|dir| !dir.is_empty()).map(PathBuf::from);
    Ok(ClusterConf { directory, port, socket, data_directory, settings, unread })
}

/// The port that a data directory's own configuration sets, if it can be read.
pub(super) fn port_of(data_directory: &Path) -> Option<u16> {
    let (mut settings, mut unread) = (Pairs::new(), Vec::new());
    for file in ["postgresql.conf", "postgresql.auto.conf"] {
        read_conf(&data_directory.join(file), 0, &mut settings, &mut unread);
    }
    settings.get("port")?.parse().ok()
}

/// Adds the settings of one postgresql.conf; the last one counts. Includes are followed, at most ten deep as the
/// server does.
fn read_conf(path: &Path, depth: usize, settings: &mut Pairs, unread: &mut Vec<String>) {
    let content = match text(path) {
        Ok(Some(content)) if depth <= 10 => content,
        Ok(_) => return,
        Err(why) => return unread.push(why),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    for line in content.lines() {
        let Some((name, value)) = conf_line(line) else { continue };
        match name.as_str() {
            "include" | "include_if_exists" => read_conf(&folder.join(value), depth + 1, settings, unread),
            "include_dir" => match std::fs::read_dir(folder.join(&value)) {
                Ok(entries) => {
                    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                    files.retain(|file| {
                        let name = file.file_name().unwrap_or_default().to_string_lossy();
                        name.ends_with(".conf") && !name.starts_with('.')
                    });
                    files.sort();
                    files.iter().for_each(|file| read_conf(file, depth + 1, settings, unread));
                }
                Err(error) => {
                    unread.push(format!("{} cannot be read: {error}", folder.join(value).display()))
                }
            },
            _ => {
                settings.insert(name, value);
            }
        }
    }
}

/// `name = value`, `name value`, `name = 'it''s'  # comment`.
fn conf_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    if name.is_empty() || rest.is_empty() {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('\'') else {
        let value = rest.split(['#', ' ', '\t']).next().unwrap_or_default();
        return Some((name.to_lowercase(), value.to_owned()));
    };
    let mut value = String::new();
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_none() => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    Some((name.to_lowercase(), value))
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

    #[test]
    fn a_debian_clusters_configuration() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("13/main");
        std::fs::create_dir_all(dir.join("conf.d")).unwrap();
        std::fs::write(
            dir.join("postgresql.conf"),
            "data_directory = '/data/13'  # c\nport = 5432 # (change)\n#port = 1\nunix_socket_directories = '/run/a, /run/b'\n\
             cluster_name = 'it''s'\nshared_buffers 128MB\ninclude_dir = 'conf.d'\ninclude_if_exists = 'gone.conf'\n",
        )
        .unwrap();
        std::fs::write(dir.join("conf.d/10-port.conf"), "port=5433\n").unwrap();
        std::fs::write(dir.join("conf.d/ignored.txt"), "port=1\n").unwrap();
        let conf = cluster_conf(root.path(), "13/main").unwrap();
        assert_eq!((conf.port, conf.socket.as_deref()), (5433, Some(Path::new("/run/a"))));
        assert_eq!(conf.data_directory.as_deref(), Some(Path::new("/data/13")));
        assert_eq!(conf.settings["cluster_name"], "it's");
        assert_eq!(conf.settings["shared_buffers"], "128MB");
        for wrong in ["main", "13/", "../13/main", "13/../x", "x/main", "13/.."] {
            assert!(cluster_conf(root.path(), wrong).unwrap_err().contains("as in 13/main"), "{wrong}");
        }
        assert!(cluster_conf(root.path(), "14/main").unwrap_err().contains("there is no cluster 14/main"));
    }
}
