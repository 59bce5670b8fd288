//! What a path probably is: data, a backup, something that is made again, or nobody knows.

use super::word::{LATER, TEMPORARY, UNKNOWN, Word};

/// A kind of path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// What `mktemp` made in the same script.
    Temporary,
    /// Logs, process ids, sockets, `/dev/null`, `/run`, `/tmp`.
    Scratch,
    /// A disk.
    Device,
    /// Live data: a database's files, what stands below `/var/lib`.
    Data,
    /// Dumps, archives, images.
    Backup,
    /// Its name is not known.
    Unknown,
    /// Anything else.
    Plain,
}

const SCRATCH: &[&str] =
    &["log", "tmp", "temp", "pid", "lock", "sock", "socket", "out", "err", "cache", "done", "marker"];
const LIVE: &[&str] = &["db", "sqlite", "sqlite3", "db3", "ibd", "frm", "myd", "mdb", "rdb", "aof", "wal"];
const BACKUP: &[&str] = &[
    "sql", "dump", "dmp", "bak", "backup", "tar", "tgz", "gz", "zst", "xz", "bz2", "lz4", "zip", "7z", "img",
    "qcow2", "raw", "iso",
];
const QUIET: &[&str] = &[
    "/dev/null",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/tty",
    "/dev/fd/",
    "/dev/zero",
    "/dev/full",
    "/dev/shm/",
    "/dev/tcp/",
    "/dev/udp/",
];

/// What a path is.
pub(crate) fn class(word: &Word) -> Class {
    let text = word.text.as_str();
    let inside = |folder: &str| text.starts_with(folder);
    if text.starts_with(TEMPORARY) && !text.contains("..") {
        return Class::Temporary;
    }
    if QUIET.iter().any(|known| inside(known)) {
        return Class::Scratch;
    }
    if inside("/dev/") {
        return Class::Device;
    }
    let name = word.base();
    let parts: Vec<String> = name.split('.').map(str::to_ascii_lowercase).collect();
    let ends = |list: &[&str]| {
        parts.len() > 1
            && parts.last().is_some_and(|last| {
                list.iter().any(|known| {
                    last == known
                        || last
                            .strip_prefix(known)
                            .is_some_and(|rest| rest == "-wal" || rest == "-shm" || rest == "-journal")
                })
            })
    };
    if text.is_empty() || text.contains("..") && !word.known() {
        return Class::Unknown;
    }
    if ends(LIVE)
        || inside("/var/lib/")
        || text.contains("/pgdata")
        || text.contains("PG_VERSION")
        || text.contains("/pg_wal")
    {
        return Class::Data;
    }
    if (inside("/tmp/")
        || inside("/run/")
        || inside("/var/run/")
        || inside("/var/log/")
        || inside("/var/cache/"))
        && !text.contains("..")
    {
        return Class::Scratch;
    }
    // A log that was packed is a log.
    let packed = parts.len() > 2
        && ["gz", "xz", "zst", "bz2", "lz4"]
            .iter()
            .any(|known| parts.last().is_some_and(|last| last == known));
    let before =
        parts.len().checked_sub(2).and_then(|at| parts.get(at)).map(String::as_str).unwrap_or_default();
    if ends(SCRATCH) || packed && SCRATCH.contains(&before) {
        return Class::Scratch;
    }
    if ends(BACKUP) || inside("/var/backups") || text.to_ascii_lowercase().contains("backup") {
        return Class::Backup;
    }
    // `{}` is what `find` and `xargs` put in.
    if name.is_empty()
        || name.contains([UNKNOWN, LATER, TEMPORARY])
        || name.contains("{}")
        || (word.glob && !name.contains('.'))
    {
        return Class::Unknown;
    }
    Class::Plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (path, wanted) in [
            ("/tmp/x.log", Class::Scratch),
            ("\u{e001}/x", Class::Temporary),
            ("\u{e001}/../x", Class::Plain),
            ("/dev/sda", Class::Device),
            ("/dev/null", Class::Scratch),
            ("/srv/a/homeserver.db", Class::Data),
            ("/srv/a/homeserver.db-wal", Class::Data),
            ("/tmp/a.db", Class::Data),
            ("/var/lib/postgresql/13", Class::Data),
            ("/srv/x.dump", Class::Backup),
            ("/srv/x.sql.gz", Class::Backup),
            ("/srv/x.log.gz", Class::Scratch),
            ("/srv/\u{e000}", Class::Unknown),
            ("\u{e000}/closed", Class::Plain),
            ("\u{e000}.pid", Class::Scratch),
            ("/etc/motd", Class::Plain),
        ] {
            assert_eq!(class(&Word::made(path, 0..0)), wanted, "{path}");
        }
    }
}
