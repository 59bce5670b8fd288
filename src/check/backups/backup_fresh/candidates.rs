//! Which files and directories of a place are backups, of what format, and how old: from what is inside where possible,
//! since `cp` and `rsync` set file times as they like.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::header::{self, Header};
use super::names;
use crate::check::{Context, pattern};
use crate::world::files::Stat;

/// More entries than this need a pattern.
const MOST: usize = 5_000;
/// Bytes from the beginning of a file that tell what it is.
const HEAD: usize = 4_096;

/// What a backup is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check::backups) enum Kind {
    /// pg_dump's custom or tar format, one file.
    Archive(Header),
    /// pg_dump's directory format.
    Directory(Header),
    /// SQL text; `cluster` when pg_dumpall made it.
    Plain { cluster: bool },
    /// Something packed by this program.
    Packed(&'static str),
    /// pg_basebackup, plain: a data directory of this major version.
    Base(u32),
    /// pg_basebackup, tar format.
    BaseTar,
    /// An SQLite database file.
    Sqlite,
    /// Looks like a backup by its name, but this is the matter with it.
    Broken(String),
    /// Not a format that is known.
    Foreign,
}

/// Something that may be a backup.
#[derive(Debug, Clone)]
pub(in crate::check::backups) struct Candidate {
    pub name: String,
    pub path: PathBuf,
    pub kind: Kind,
    /// File time: of a directory, its newest member's.
    pub modified: Timestamp,
    /// Bytes; of a directory, of everything in it.
    pub size: u64,
    /// A date from inside, or from the name, and where it stands.
    pub inside: Option<(Timestamp, &'static str)>,
}

impl Candidate {
    /// The older of the file's time and the date inside.
    pub fn when(&self) -> Timestamp {
        self.inside.map_or(self.modified, |(inside, _)| inside.min(self.modified))
    }
}

/// What a place holds.
pub(in crate::check::backups) struct Found {
    /// Newest first.
    pub candidates: Vec<Candidate>,
    /// What was left out, and why.
    pub ignored: Vec<String>,
    /// True when the place itself is the one backup.
    pub single: bool,
}

/// Looks at a file, a backup directory, or a directory of backups.
pub(in crate::check::backups) async fn find(
    cx: &Context,
    place: &Stat,
    pattern: Option<&str>,
) -> Result<Found, String> {
    if let Some(candidate) = look(cx, place.clone()).await?
        && (place.kind == "file" || candidate.kind != Kind::Foreign)
    {
        return Ok(Found { candidates: vec![candidate], ignored: Vec::new(), single: true });
    }
    let mut found = Found { candidates: Vec::new(), ignored: Vec::new(), single: false };
    let entries = cx.world.files.list(&place.path).await?;
    let mut looked = 0;
    for entry in entries {
        let name = name_of(&entry.path);
        if pattern.is_some_and(|pattern| !pattern::fits(pattern, &name)) {
            continue;
        }
        if names::unfinished(&name) {
            found.ignored.push(format!("{name}: not finished, by its name"));
            continue;
        }
        looked += 1;
        if looked > MOST {
            return Err(format!(
                "{}: more than {MOST} entries; choose some with `pattern`",
                place.path.display()
            ));
        }
        let stat = match entry.kind {
            "link" => match cx.world.files.stat(&entry.path).await? {
                Some(stat) => stat,
                None => {
                    found.ignored.push(format!("{name}: a link to nothing"));
                    continue;
                }
            },
            _ => entry,
        };
        let chosen = pattern.is_some() || names::like_a_backup(&name);
        let mut candidate = match look(cx, stat).await {
            Ok(Some(candidate)) => candidate,
            Ok(None) => continue,
            Err(why) if chosen => return Err(why),
            Err(why) => {
                found.ignored.push(why);
                continue;
            }
        };
        candidate.name.clone_from(&name);
        match candidate.kind {
            Kind::Foreign | Kind::Broken(_) if !chosen => {
                found.ignored.push(format!("{name}: not a known backup format"))
            }
            _ => found.candidates.push(candidate),
        }
    }
    found.candidates.sort_by(|a, b| (b.when(), &b.name).cmp(&(a.when(), &a.name)));
    Ok(found)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What stands at one place; `None` for pipes, sockets and the like.
async fn look(cx: &Context, stat: Stat) -> Result<Option<Candidate>, String> {
    let name = name_of(&stat.path);
    let mut candidate = Candidate {
        kind: Kind::Foreign,
        modified: stat.modified,
        size: stat.size,
        inside: None,
        path: stat.path.clone(),
        name,
    };
    match stat.kind {
        "file" if stat.size == 0 => candidate.kind = Kind::Broken("it is empty".to_owned()),
        "file" => candidate.kind = of_file(&cx.world.files.read_range(&stat.path, 0, HEAD).await?),
        "directory" => of_directory(cx, &mut candidate).await?,
        _ => return Ok(None),
    }
    if let Kind::Archive(header) | Kind::Directory(header) = &candidate.kind {
        candidate.inside = header.created.map(|created| (created, "in its header"));
    }
    if candidate.inside.is_none() {
        candidate.inside = names::dated(&candidate.name).map(|day| (day, "in its name"));
    }
    Ok(Some(candidate))
}

/// What a file is, by its first bytes.
pub(super) fn of_file(head: &[u8]) -> Kind {
    let tar = header::first_in_tar(head, "toc.dat");
    if let Some(header) = header::read(tar.unwrap_or(head)) {
        return Kind::Archive(header);
    }
    if head.starts_with(b"PGDMP") || tar.is_some() {
        return Kind::Broken("its header is damaged or cut off".to_owned());
    }
    let packed: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ];
    if let Some((_, tool)) = packed.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Kind::Packed(tool);
    }
    if head.starts_with(b"SQLite format 3\0") {
        return Kind::Sqlite;
    }
    let text = String::from_utf8_lossy(head);
    match () {
        () if text.contains("-- PostgreSQL database cluster dump") => Kind::Plain { cluster: true },
        () if text.contains("-- PostgreSQL database dump") => Kind::Plain { cluster: false },
        () => Kind::Foreign,
    }
}

async fn of_directory(cx: &Context, candidate: &mut Candidate) -> Result<(), String> {
    let entries = cx.world.files.list(&candidate.path).await?;
    let has = |name: &str| entries.iter().any(|entry| name_of(&entry.path) == name);
    let starts = |start: &str| entries.iter().any(|entry| name_of(&entry.path).starts_with(start));
    let data = |entry: &Stat| {
        let name = name_of(&entry.path);
        let number = name.split('.').next().unwrap_or_default();
        name.contains(".dat") && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    candidate.kind = if has("toc.dat") {
        let head = cx.world.files.read_range(&candidate.path.join("toc.dat"), 0, HEAD).await?;
        match header::read(&head) {
            Some(header) => Kind::Directory(header),
            None => Kind::Broken("its toc.dat is damaged or cut off".to_owned()),
        }
    } else if entries.iter().any(data) {
        Kind::Broken("its toc.dat is missing".to_owned())
    } else if has("PG_VERSION") && (has("backup_label") || has("backup_manifest")) {
        let version = cx.world.files.read(&candidate.path.join("PG_VERSION"), 64).await?;
        let label =
            cx.world.files.read(&candidate.path.join("backup_label"), 65_536).await.unwrap_or_default();
        candidate.inside =
            label_time(&String::from_utf8_lossy(&label)).map(|time| (time, "in its backup_label"));
        match String::from_utf8_lossy(&version).trim().split('.').next().map(str::parse) {
            Some(Ok(major)) => Kind::Base(major),
            _ => Kind::Broken("its PG_VERSION is no number".to_owned()),
        }
    } else if starts("base.tar") {
        Kind::BaseTar
    } else {
        Kind::Foreign
    };
    if candidate.kind == Kind::Foreign {
        // A directory of backups, or something else: its own time and size mean nothing.
        return Ok(());
    }
    candidate.modified = entries.iter().map(|entry| entry.modified).max().unwrap_or(candidate.modified);
    candidate.size = cx.world.files.tree_size(&candidate.path).await?;
    Ok(())
}

/// `START TIME: 2021-01-04 03:00:00 UTC`; a zone by any other name is read as ours.
fn label_time(label: &str) -> Option<Timestamp> {
    let line = label.lines().find_map(|line| line.strip_prefix("START TIME: "))?;
    stamp(line)
}

/// A time as PostgreSQL's programs write it, such as `2021-01-04 03:00:00 UTC`.
pub(super) fn stamp(text: &str) -> Option<Timestamp> {
    let civil: jiff::civil::DateTime = text.get(..19)?.parse().ok()?;
    let zone = match text.get(19..)?.trim() {
        "UTC" | "GMT" | "Etc/UTC" => TimeZone::UTC,
        _ => TimeZone::system(),
    };
    civil.to_zoned(zone).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        assert_eq!(of_file(b"--\n-- PostgreSQL database dump\n--\n"), Kind::Plain { cluster: false });
        assert_eq!(of_file(b"--\n-- PostgreSQL database cluster dump\n--\n"), Kind::Plain { cluster: true });
        assert_eq!(of_file(b"\x1f\x8b\x08"), Kind::Packed("gzip"));
        assert_eq!(of_file(b"SQLite format 3\0"), Kind::Sqlite);
        assert_eq!(of_file(b"hello"), Kind::Foreign);
        assert!(matches!(of_file(b"PGDMP\x01\x0e"), Kind::Broken(_)));
    }

    #[test]
    fn times_of_a_base_backup() {
        let label = "START WAL LOCATION: 0/2000028\nSTART TIME: 2021-01-04 03:00:00 UTC\nLABEL: x\n";
        assert_eq!(label_time(label).map(|t| t.to_string()).as_deref(), Some("2021-01-04T03:00:00Z"));
        assert_eq!(label_time("START TIME: soon"), None);
    }
}
