//! How much a copy needs, and where: the formulas. Pure.

use std::path::PathBuf;

use super::Method;
use super::source::Source;

/// Rows and indexes written anew lie less densely than those that were packed by years of vacuum, and a page that was
/// full is split: a fifth over what the databases take.
const DUMP: f64 = 1.2;
/// Files copied as they are, and the new version's own.
const COPY: f64 = 1.1;
/// Beside the catalogues, for a method that copies no data.
const LINKED: u64 = 1 << 30;
/// What a verbose restore writes to the server's log.
const LOG: u64 = 256 << 20;
/// Files of a cluster without any table of one's own.
const OWN_FILES: u64 = 1_000;

/// Something that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// What: `data`, `tablespace fast`, `write-ahead log`, `temporary files`, `logs`, `dump`.
    pub what: String,
    /// Where.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// False for what may fill the rest of its file system without harm to the copy.
    pub keeps: bool,
}

/// Where the copy's parts go.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub into: PathBuf,
    pub wal: PathBuf,
    pub tablespaces: Option<PathBuf>,
    /// With the part of the databases' size that it takes.
    pub dump: Option<(PathBuf, f64)>,
}

fn times(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor).ceil() as u64
}

/// All needs. An error when something is not known that the method writes.
pub(super) fn of(source: &Source, method: Method, wal: u64, places: &Places) -> Result<Vec<Need>, String> {
    let mut needs = Vec::new();
    let mut add = |what: String, path: PathBuf, bytes: u64, files: u64| {
        needs.push(Need { what, path, bytes, files, keeps: true });
    };
    let copies = matches!(method, Method::Dump | Method::PgUpgradeCopy);
    let factor = if method == Method::Dump { DUMP } else { COPY };
    let unseen = |what: &str| format!("{what} is not known while the server is stopped");
    if copies {
        for space in &source.tablespaces {
            let (what, path) = match (&space.location, &places.tablespaces) {
                (None, _) => ("data".to_owned(), places.into.clone()),
                (Some(_), Some(chosen)) => (format!("tablespace {}", space.name), chosen.clone()),
                (Some(there), None) => (format!("tablespace {}", space.name), there.clone()),
            };
            let own = if space.location.is_none() { OWN_FILES } else { 0 };
            add(what, path, times(space.bytes, factor), space.files.unwrap_or(0) + own);
        }
    } else {
        let catalogs = source.catalogs.ok_or_else(|| unseen("the size of its catalogues"))?;
        let files = source.tablespaces.iter().filter_map(|space| space.files).sum::<u64>() + OWN_FILES;
        add("catalogues".to_owned(), places.into.clone(), catalogs + LINKED, files);
    }
    let queue = if method == Method::Dump { source.archive_queue } else { 0 };
    add("write-ahead log".to_owned(), places.wal.clone(), wal + queue, 0);
    if method == Method::Dump {
        let largest = source.largest_indexes.ok_or_else(|| unseen("what building its indexes takes"))?;
        let temp = if source.temp.is_empty() { vec![places.into.clone()] } else { source.temp.clone() };
        // The server takes one of them at random for each file.
        temp.into_iter().for_each(|path| add("temporary files".to_owned(), path, largest, 0));
    }
    if let Some((path, ratio)) = &places.dump {
        add("dump".to_owned(), path.clone(), times(source.databases, *ratio), 0);
    }
    if let Some(logs) = &source.logs {
        needs.push(Need { what: "logs".to_owned(), path: logs.clone(), bytes: LOG, files: 0, keeps: false });
    }
    Ok(needs)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::source::Tablespace;
    use super::*;
    use crate::world::Identity;
    use crate::world::identity::PostgresIdentity;

    const G: u64 = 1 << 30;

    pub fn source() -> Source {
        let space = |name: &str, location: Option<&str>, gib: u64| Tablespace {
            name: name.to_owned(),
            location: location.map(PathBuf::from),
            bytes: gib * G,
            files: Some(300),
        };
        Source {
            tablespaces: vec![space("pg_default", None, 10), space("fast", Some("/ssd/pg"), 5)],
            databases: 15 * G,
            max_wal_size: Some(G),
            archive_queue: 16 << 20,
            largest_indexes: Some(2 * G),
            catalogs: Some(40 << 20),
            temp: Vec::new(),
            logs: None,
            data_directory: "/pg/13".into(),
            local: true,
            notes: Vec::new(),
            identity: Identity::Postgres(PostgresIdentity {
                system_identifier: "1".into(),
                data_directory: "/pg/13".into(),
                port: 5432,
                server_start: String::new(),
                timeline: 1,
                in_recovery: false,
                version: 130_000,
                host: "m".into(),
            }),
        }
    }

    fn places() -> Places {
        Places { into: "/pg/15".into(), wal: "/pg/15/pg_wal".into(), tablespaces: None, dump: None }
    }

    fn said(needs: &[Need]) -> Vec<String> {
        needs.iter().map(|n| format!("{} {} {}", n.what, n.path.display(), n.bytes / (G / 10))).collect()
    }

    #[test]
    fn a_dump_writes_rows_indexes_log_and_temporary_files() {
        let dump = Places { dump: Some(("/dumps".into(), 0.5)), ..places() };
        let needs = of(&source(), Method::Dump, G, &dump).unwrap();
        let wanted = [
            "data /pg/15 120",
            "tablespace fast /ssd/pg 60",
            "write-ahead log /pg/15/pg_wal 10",
            "temporary files /pg/15 20",
            "dump /dumps 75",
        ];
        assert_eq!(said(&needs), wanted);
        assert_eq!((needs[0].files, needs[1].files), (1_300, 300));
        assert_eq!(needs[2].bytes, G + (16 << 20), "the archiver's queue waits there, too");
    }

    #[test]
    fn files_are_copied_as_they_are_and_links_copy_catalogues_only() {
        let moved = Places { tablespaces: Some("/new".into()), ..places() };
        let needs = of(&source(), Method::PgUpgradeCopy, G, &moved).unwrap();
        assert_eq!(
            said(&needs),
            ["data /pg/15 110", "tablespace fast /new 55", "write-ahead log /pg/15/pg_wal 10"]
        );
        for method in [Method::Link, Method::Clone, Method::Swap] {
            let needs = of(&source(), method, G, &places()).unwrap();
            assert_eq!(said(&needs), ["catalogues /pg/15 10", "write-ahead log /pg/15/pg_wal 10"]);
        }
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        let stopped = || Source { largest_indexes: None, catalogs: None, ..source() };
        assert!(of(&stopped(), Method::Dump, G, &places()).is_err());
        assert!(of(&stopped(), Method::Link, G, &places()).is_err());
        assert!(of(&stopped(), Method::PgUpgradeCopy, G, &places()).is_ok());
    }
}
