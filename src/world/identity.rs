//! What a target is: several facts, pinned when a run first sees it and proved again before each act. One fact alone
//! is not enough: a file-level clone has the same system identifier.

use serde::{Deserialize, Serialize};

/// The facts that say which object a target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Identity {
    /// A PostgreSQL server, as it answers itself.
    Postgres(PostgresIdentity),
    /// An SQLite file.
    Sqlite(FileIdentity),
}

/// A PostgreSQL cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresIdentity {
    /// From pg_control; a file-level clone shares it.
    pub system_identifier: String,
    /// The server's own `data_directory`.
    pub data_directory: String,
    /// The port it listens on.
    pub port: u16,
    /// `pg_postmaster_start_time()` in UTC; empty when the cluster is stopped and was measured from its files.
    pub server_start: String,
    /// Timeline of the last checkpoint.
    pub timeline: u32,
    /// True on a standby.
    pub in_recovery: bool,
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// Machine id of the host that measured it when the connection is local; else the server's address.
    pub host: String,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Path with all links resolved.
    pub path: String,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Machine id of the host.
    pub host: String,
}

/// A fact that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name: `system identifier`.
    pub fact: String,
    /// When it was pinned.
    pub was: String,
    /// Now.
    pub is: String,
}

impl Identity {
    /// The facts that make `now` another object than `self`. A restart alone does not; see [`Identity::restarted`].
    pub fn differs(&self, now: &Identity) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut compare = |fact: &str, was: &dyn ToString, is: &dyn ToString| {
            let (was, is) = (was.to_string(), is.to_string());
            if was != is {
                changes.push(Change { fact: fact.to_owned(), was, is });
            }
        };
        match (self, now) {
            (Identity::Postgres(was), Identity::Postgres(is)) => {
                compare("system identifier", &was.system_identifier, &is.system_identifier);
                compare("data directory", &was.data_directory, &is.data_directory);
                compare("major version", &(was.version / 10_000), &(is.version / 10_000));
                compare("timeline", &was.timeline, &is.timeline);
                compare("in recovery", &was.in_recovery, &is.in_recovery);
                compare("host", &was.host, &is.host);
            }
            (Identity::Sqlite(was), Identity::Sqlite(is)) => {
                compare("path", &was.path, &is.path);
                compare(
                    "device and inode",
                    &format!("{}:{}", was.device, was.inode),
                    &format!("{}:{}", is.device, is.inode),
                );
                compare("host", &was.host, &is.host);
            }
            _ => compare("kind", &self.word(), &now.word()),
        }
        changes
    }

    /// True when the server was started again since: what was measured before is no longer evidence.
    pub fn restarted(&self, now: &Identity) -> bool {
        match (self, now) {
            (Identity::Postgres(was), Identity::Postgres(is)) => was.server_start != is.server_start,
            _ => false,
        }
    }

    /// True when both name one and the same object, so that one cannot be a copy of the other.
    pub fn same_object(&self, other: &Identity) -> bool {
        match (self, other) {
            (Identity::Postgres(a), Identity::Postgres(b)) => {
                a.system_identifier == b.system_identifier
                    && a.data_directory == b.data_directory
                    && a.host == b.host
            }
            (Identity::Sqlite(a), Identity::Sqlite(b)) => {
                (a.device, a.inode, &a.host) == (b.device, b.inode, &b.host)
            }
            _ => false,
        }
    }

    /// Machine id of the host it was measured on; the server's address for a remote one.
    pub fn host(&self) -> &str {
        match self {
            Identity::Postgres(pg) => &pg.host,
            Identity::Sqlite(file) => &file.host,
        }
    }

    /// Where it lies on that host: its data directory, or its file.
    pub fn place(&self) -> &str {
        match self {
            Identity::Postgres(pg) => &pg.data_directory,
            Identity::Sqlite(file) => &file.path,
        }
    }

    /// What kind of object it is.
    pub fn word(&self) -> &'static str {
        match self {
            Identity::Postgres(_) => "PostgreSQL",
            Identity::Sqlite(_) => "SQLite",
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        match self {
            Identity::Postgres(pg) => format!(
                "PostgreSQL {} at {}, port {}, system identifier {}",
                pg.version / 10_000,
                pg.data_directory,
                pg.port,
                pg.system_identifier
            ),
            Identity::Sqlite(file) => format!("SQLite file {} (inode {})", file.path, file.inode),
        }
    }
}
