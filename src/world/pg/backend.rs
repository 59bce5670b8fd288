//! What a session's server process has read, as the kernel counts it: `rchar` of /proc/PID/io, the bytes that it asked
//! files for, whether they came from a disk or from the kernel's cache.
//!
//! It is a look at another process by its number, so it must be the right one. A server in a container, or on another
//! machine, has numbers of its own: nothing is said about it, rather than something about a stranger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::session::Session;
use super::stopped::works_in;

/// A server process of this machine that serves a session, and the parallel workers that it calls in.
#[derive(Debug)]
pub struct Backend {
    pid: u32,
    postmaster: u32,
    before: u64,
    workers: BTreeMap<u32, u64>,
    strangers: BTreeSet<u32>,
}

impl Backend {
    /// The process behind a session. `None` unless it is seen that it is that process, that we may read its figures,
    /// and that it reads for itself: since version 18 other processes may, in the name of all sessions.
    pub async fn of(session: &Session) -> Option<Backend> {
        if !session.is_local() {
            return None;
        }
        // In a transaction an error would end it; none of these can fail.
        let asked = "select pg_catalog.pg_backend_pid(), session_user, pg_catalog.current_database(), \
            pg_catalog.current_setting('io_method', true)";
        let rows = session.query(asked).await.ok()?;
        let [Some(pid), Some(user), Some(database), io] = rows.first()?.as_slice() else { return None };
        if io.as_deref().is_some_and(|method| method != "sync") {
            return None;
        }
        Backend::find(pid.parse().ok()?, user, database, Path::new(&session.identity().data_directory))
    }

    fn find(pid: u32, user: &str, database: &str, data_directory: &Path) -> Option<Backend> {
        let status = std::fs::read_to_string(of(pid, "status")).ok()?;
        let itself = only_number(&status)? == pid && serves(&title(pid)?, user, database);
        if !itself || works_in(pid, data_directory) != Some(true) {
            return None;
        }
        let postmaster = field(&status, "PPid:")?.parse().ok()?;
        let (workers, strangers) = Default::default();
        Some(Backend { pid, postmaster, before: read(pid)?, workers, strangers })
    }

    /// Begins to count anew.
    pub fn begin(&mut self) {
        self.before = read(self.pid).unwrap_or(self.before);
        self.workers.clear();
    }

    /// Bytes that the process and its parallel workers have read since [`Backend::begin`]. A worker that has ended
    /// counts with what was last seen of it.
    pub fn read(&mut self) -> Option<u64> {
        let own = read(self.pid)?.saturating_sub(self.before);
        let children = children(self.postmaster);
        self.strangers.retain(|child| children.contains(child));
        for child in children {
            if self.strangers.contains(&child) {
                continue;
            }
            if !self.workers.contains_key(&child) {
                let title = title(child).unwrap_or_default();
                if leader(&title) != Some(self.pid) {
                    // One that does not say yet what it is may become a worker.
                    if title.starts_with(OURS) {
                        self.strangers.insert(child);
                    }
                    continue;
                }
            }
            if let Some(bytes) = read(child) {
                self.workers.insert(child, bytes);
            }
        }
        Some(own.saturating_add(self.workers.values().sum()))
    }
}

/// How the title of a server process begins.
const OURS: &str = "postgres: ";

fn of(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn read(pid: u32) -> Option<u64> {
    field(&std::fs::read_to_string(of(pid, "io")).ok()?, "rchar:")?.parse().ok()
}

fn title(pid: u32) -> Option<String> {
    let bytes = std::fs::read(of(pid, "cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\0', ' ']).to_owned())
}

fn children(pid: u32) -> BTreeSet<u32> {
    let list = std::fs::read_to_string(of(pid, &format!("task/{pid}/children"))).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The value of a line `name value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The number of a process that has one only: in a name space below ours it would have another there.
fn only_number(status: &str) -> Option<u32> {
    field(status, "NSpid:")?.parse().ok()
}

/// Is it the title of a session's process: `postgres: main: user database [local] SELECT`, the cluster's name only where
/// it has one?
fn serves(title: &str, user: &str, database: &str) -> bool {
    title.starts_with(OURS) && title.contains(&format!(" {user} {database} "))
}

/// Whose parallel worker it is: `postgres: main: parallel worker for PID 4711`.
fn leader(title: &str) -> Option<u32> {
    title.strip_prefix(OURS)?.rsplit_once("parallel worker for PID ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let io = "rchar: 6976\nwchar: 0\nsyscr: 10\nread_bytes: 4096\n";
        assert_eq!(field(io, "rchar:"), Some("6976"));
        assert_eq!(field("wchar: 0\n", "rchar:"), None);
        assert_eq!(only_number("Pid:\t17\nNSpid:\t17\n"), Some(17));
        assert_eq!(only_number("Pid:\t17\nNSpid:\t17\t3\n"), None, "it lives in a container");
        assert_eq!(only_number("Pid:\t17\n"), None);
        assert!(read(std::process::id()).is_some());
        assert_eq!(read(u32::MAX), None);
    }

    #[test]
    fn tells_processes_by_their_titles() {
        for title in
            ["postgres: alice sales [local] SELECT", "postgres: 15/main: alice sales 10.0.0.1(4711) idle"]
        {
            assert!(serves(title, "alice", "sales"), "{title}");
            assert!(!serves(title, "alice", "sale") && !serves(title, "bob", "sales"), "{title}");
        }
        assert!(!serves("/usr/bin/vim alice sales x", "alice", "sales"));
        assert_eq!(leader("postgres: parallel worker for PID 4711"), Some(4711));
        assert_eq!(leader("postgres: 15/main: parallel worker for PID 4711"), Some(4711));
        assert_eq!(
            leader("postgres: parallel worker for PID 4711 sales [local] idle"),
            None,
            "an odd name of a role"
        );
        assert_eq!(leader("parallel worker for PID 4711"), None);
    }

    #[test]
    fn a_stranger_with_the_same_number_is_not_it() {
        let me = std::process::id();
        assert!(Backend::find(me, "alice", "sales", &std::env::current_dir().unwrap()).is_none());
        assert!(Backend::find(u32::MAX, "alice", "sales", Path::new("/")).is_none());
    }
}
