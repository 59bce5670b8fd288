//! The configuration of a cluster as Debian keeps it: /etc/postgresql/13/main/postgresql.conf and what it includes.

use std::path::{Path, PathBuf};

use super::conninfo::Pairs;
use super::files::text;

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
    use super::*;

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
