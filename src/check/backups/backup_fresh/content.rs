//! Reads a backup to its end with the programs that would restore it. Listing an archive is not enough: a listing of one
//! that was cut in half succeeds.

use super::candidates::{Candidate, Kind, of_file, stamp};
use super::header::Header;
use crate::check::Context;
use crate::check::backups::tools;
use crate::check::context::Progress;
use crate::world::process::Probed;
use crate::world::sqlite;
use jiff::Timestamp;

/// Bytes from the end of a dump in which its last words stand.
const TAIL: usize = 4_096;
const PIECE: usize = 1 << 20;

/// What reading showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Whole.
    Whole(Whole),
    /// Not whole; this is the matter.
    Broken(String),
    /// Not known: a program is missing, or cannot read this.
    Unknown(String),
}

/// What a whole backup told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// How it was read: `read to its end by pg_restore`.
    pub how: String,
    /// The databases in it, when it says so.
    pub databases: Vec<String>,
    /// When it was made, when only reading tells.
    pub made: Option<Timestamp>,
    /// What the reading could not show.
    pub remarks: Vec<String>,
}

/// Reads a backup to its end.
pub(super) async fn read(backup: &Candidate, cx: &Context) -> Reading {
    (cx.progress)(Progress {
        what: format!("reading {}", backup.name),
        done: 0,
        total: Some(backup.size),
        unit: "B",
    });
    let result = match &backup.kind {
        Kind::Broken(why) => return Reading::Broken(why.clone()),
        Kind::Archive(header) | Kind::Directory(header) => archive(backup, header, cx).await,
        Kind::Plain { cluster } => plain(backup, *cluster, cx).await,
        Kind::Packed(tool) => packed(backup, tool, cx).await,
        Kind::Base(major) => base(backup, *major, cx).await,
        Kind::BaseTar => {
            Err("a base backup in tar format: unpack it and let pg_verifybackup read it".to_owned())
        }
        Kind::Sqlite => sqlite(backup).await,
        Kind::Foreign => Err("it is not in a known backup format".to_owned()),
    };
    result.unwrap_or_else(Reading::Unknown)
}

fn path_of(backup: &Candidate) -> String {
    backup.path.display().to_string()
}

/// What pg_restore's complaint means: the archive is broken, unless the program is the one that cannot.
fn restore_failed(seen: &Probed) -> Reading {
    let said = tools::complaint(seen);
    let not_ours =
        ["unsupported version", "ermission denied", "compression is not supported", "support compression"];
    if seen.status.is_none() || seen.timed_out || not_ours.iter().any(|words| said.contains(words)) {
        return Reading::Unknown(format!("pg_restore could not read it: {said}"));
    }
    Reading::Broken(format!("pg_restore cannot read it to its end: {said}"))
}

fn whole_archive(header: &Header, how: &str) -> Reading {
    let mut whole = Whole {
        how: how.to_owned(),
        databases: header.database.clone().into_iter().collect(),
        ..Whole::default()
    };
    if !header.compressed {
        whole.remarks.push(
            "not compressed, so no checksum covers its rows: a changed byte in a row would not show".into(),
        );
    }
    if let Some(server) = &header.server {
        whole.remarks.push(format!("dumped from PostgreSQL {server}"));
    }
    Reading::Whole(whole)
}

async fn archive(backup: &Candidate, header: &Header, cx: &Context) -> Result<Reading, String> {
    let pg_restore = tools::find(cx, "pg_restore", None).await?.display().to_string();
    let seen = tools::run(cx, &[&pg_restore, "-f", "/dev/null", "--", &path_of(backup)], 8_192).await?;
    Ok(match seen.status {
        Some(0) => whole_archive(header, "read to its end by pg_restore"),
        _ => restore_failed(&seen),
    })
}

async fn base(backup: &Candidate, major: u32, cx: &Context) -> Result<Reading, String> {
    let manifest = cx.world.files.stat(&backup.path.join("backup_manifest")).await?;
    if manifest.is_none() {
        return Err("it has no backup_manifest to verify it against".to_owned());
    }
    // It reads the write-ahead log, too, which only the same major version can.
    let program = tools::find(cx, "pg_verifybackup", Some(major)).await?.display().to_string();
    let seen = tools::run(cx, &[&program, "--quiet", "--", &path_of(backup)], 8_192).await?;
    let said = tools::complaint(&seen);
    Ok(match seen.status {
        Some(0) => Reading::Whole(Whole {
            how: "every file verified by pg_verifybackup".to_owned(),
            ..Whole::default()
        }),
        None => Reading::Unknown(format!("pg_verifybackup did not end: {said}")),
        Some(_) if said.contains("ermission denied") || said.contains("is needed by") => {
            Reading::Unknown(said)
        }
        Some(_) => Reading::Broken(format!("pg_verifybackup: {said}")),
    })
}

/// SQLite's own check reads every page and every index entry.
async fn sqlite(backup: &Candidate) -> Result<Reading, String> {
    let checked = sqlite::read(&path_of(backup), |reader| reader.query("pragma integrity_check(3)")).await;
    let lines: Vec<String> = match checked {
        Ok(rows) => rows.into_iter().flatten().flatten().collect(),
        Err(why) if broken(&why) => return Ok(Reading::Broken(why)),
        Err(why) => return Err(why),
    };
    Ok(match lines.as_slice() {
        [] => Reading::Unknown("SQLite's integrity check said nothing".to_owned()),
        [only] if only == "ok" => Reading::Whole(Whole {
            how: "read to its end by SQLite's integrity check".to_owned(),
            remarks: vec![
                "an SQLite file has no date inside: only its file time says how old it is".to_owned(),
            ],
            ..Whole::default()
        }),
        found => {
            Reading::Broken(format!("SQLite's integrity check: {}", found.join("; ").replace('\n', " ")))
        }
    })
}

/// SQLite's words for a file that is damaged, as against one that cannot be read just now.
fn broken(why: &str) -> bool {
    ["malformed", "not a database", "not an SQLite database", "corrupt"].iter().any(|word| why.contains(word))
}

async fn plain(backup: &Candidate, cluster: bool, cx: &Context) -> Result<Reading, String> {
    let mut offset = 0;
    let mut kept: Vec<u8> = Vec::new();
    let mut databases = Vec::new();
    let mut line_start = Vec::new();
    let mut key = None;
    loop {
        let piece = cx.world.files.read_range(&backup.path, offset, PIECE).await?;
        if piece.contains(&0) {
            return Ok(Reading::Broken(format!(
                "it has zero bytes near byte {offset}: a hole where rows should be"
            )));
        }
        if offset == 0 {
            key = restricted(&piece);
        }
        connects(&piece, &mut line_start, &mut databases);
        offset += piece.len() as u64;
        kept.extend_from_slice(&piece);
        kept.drain(..kept.len().saturating_sub(TAIL));
        if piece.len() < PIECE {
            break;
        }
        if offset % (64 << 20) == 0 {
            let what = format!("reading {}", backup.name);
            (cx.progress)(Progress { what, done: offset, total: Some(backup.size), unit: "B" });
        }
    }
    Ok(ending(&String::from_utf8_lossy(&kept), cluster, key.as_deref(), databases, "read to its end"))
}

/// Collects the databases of `\connect` lines, piece by piece. `start` is the unfinished line, as far as it may matter.
fn connects(piece: &[u8], start: &mut Vec<u8>, databases: &mut Vec<String>) {
    for part in piece.split_inclusive(|byte| *byte == b'\n') {
        let room = 512usize.saturating_sub(start.len()).min(part.len());
        start.extend_from_slice(&part[..room]);
        if part.ends_with(b"\n") {
            databases.extend(connect(&String::from_utf8_lossy(start)));
            start.clear();
        }
    }
}

/// The database of a line `\connect synapse` or `\connect -reuse-previous=on "dbname='my db'"`.
fn connect(line: &str) -> Option<String> {
    let rest = line.strip_prefix("\\connect ")?.trim();
    let name = rest.strip_prefix("-reuse-previous=on ").unwrap_or(rest);
    let name = name.trim_matches('"').replace("\"\"", "\"");
    Some(name.strip_prefix("dbname=").map_or(name.clone(), |quoted| quoted.trim_matches('\'').to_owned()))
}

/// The key of the `\restrict` line that dumps begin with since August 2025.
fn restricted(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&head[..head.len().min(TAIL)]).into_owned();
    head.lines().find_map(|line| line.strip_prefix("\\restrict ")).map(|key| key.trim().to_owned())
}

/// Judges the last words of a plain dump. A cluster dump has one such ending per database, and its own at the end. A
/// dump that began with `\restrict` ends with `\unrestrict` and the same key.
fn ending(tail: &str, cluster: bool, key: Option<&str>, databases: Vec<String>, how: &str) -> Reading {
    let (marker, name) = match cluster {
        true => ("-- PostgreSQL database cluster dump complete", "cluster dump complete"),
        false => ("-- PostgreSQL database dump complete", "database dump complete"),
    };
    let missing = || Reading::Broken(format!("it does not end with \"PostgreSQL {name}\": it was cut off"));
    let Some(at) = tail.rfind(marker) else { return missing() };
    let rest = &tail[at + marker.len()..];
    // After it only comments come, and since 2025 a \unrestrict line.
    if !rest
        .lines()
        .skip(1)
        .all(|line| line.trim().is_empty() || line.starts_with("--") || line.starts_with("\\unrestrict"))
    {
        return missing();
    }
    if let (false, Some(key)) = (cluster, key)
        && !rest.lines().any(|line| line.strip_prefix("\\unrestrict ").map(str::trim) == Some(key))
    {
        return Reading::Broken(
            "its last line, \\unrestrict with the key of its first lines, is missing: it was cut off".into(),
        );
    }
    let made = tail.lines().rev().find_map(|line| stamp(line.strip_prefix("-- Completed on ")?));
    Reading::Whole(Whole { how: how.to_owned(), databases, made, remarks: Vec::new() })
}

async fn packed(backup: &Candidate, tool: &str, cx: &Context) -> Result<Reading, String> {
    let path = path_of(backup);
    // The head is enough to see what is inside; that the pipe breaks then is meant.
    let script = "\"$1\" -dc -- \"$2\" 2>/dev/null | head -c 4096";
    let seen = tools::run(cx, &["bash", "-c", script, "bash", tool, &path], TAIL).await?;
    let missing = || format!("the program `{tool}` is missing, which unpacks it");
    let inner = of_file(&seen.stdout);
    let key = restricted(&seen.stdout);
    let restore = match &inner {
        Kind::Archive(_) => tools::find(cx, "pg_restore", None).await?.display().to_string(),
        _ => String::new(),
    };
    // The statuses of both ends of the pipe go to standard error's last line.
    let reader = match &inner {
        Kind::Archive(_) => "\"$1\" -dc -- \"$2\" | \"$3\" -f /dev/null",
        _ => "\"$1\" -dc -- \"$2\" | tail -c 4096",
    };
    let script = format!("{reader}; s=(\"${{PIPESTATUS[@]}}\"); echo \"statuses ${{s[0]}} ${{s[1]}}\" >&2");
    let seen = tools::run(cx, &["bash", "-c", &script, "bash", tool, &path, &restore], TAIL).await?;
    let said = String::from_utf8_lossy(&seen.stderr).into_owned();
    let statuses = said.lines().rev().find_map(|line| line.strip_prefix("statuses "));
    let Some((unpacked, read)) = statuses.and_then(|both| both.split_once(' ')) else {
        return Err(format!("unpacking it did not end: {}", tools::complaint(&seen)));
    };
    let words: String =
        said.lines().filter(|line| !line.starts_with("statuses ")).take(2).collect::<Vec<_>>().join("; ");
    let complaint = Probed { stderr: words.into_bytes(), status: read.parse().ok(), ..seen.clone() };
    match unpacked {
        "0" => {}
        "127" => return Err(missing()),
        // The reader ended first and broke the pipe: its own status says more.
        "141" => {}
        status => {
            let broken = format!(
                "{tool} cannot unpack it to its end (exit status {status}): {}",
                tools::complaint(&complaint)
            );
            return Ok(Reading::Broken(broken));
        }
    }
    let how = format!("unpacked to its end by {tool}");
    Ok(match inner {
        Kind::Archive(header) if read == "0" && unpacked == "0" => {
            let mut whole = whole_archive(&header, &format!("{how}, read to its end by pg_restore"));
            if let Reading::Whole(whole) = &mut whole {
                // The packing has a checksum of its own.
                whole.remarks.retain(|line| !line.contains("checksum"));
                whole.made = header.created;
            }
            whole
        }
        Kind::Archive(_) => restore_failed(&complaint),
        Kind::Plain { cluster } => {
            let databases = databases_in(tool, &path, cx).await;
            ending(&String::from_utf8_lossy(&seen.stdout), cluster, key.as_deref(), databases, &how)
        }
        Kind::Broken(why) => Reading::Broken(why),
        _ if seen.stdout.is_empty() => Reading::Broken("nothing is packed in it".to_owned()),
        _ => Reading::Unknown("what is packed in it is not in a known backup format".to_owned()),
    })
}

async fn databases_in(tool: &str, path: &str, cx: &Context) -> Vec<String> {
    let script = "\"$1\" -dc -- \"$2\" | grep -a '^\\\\connect '";
    let seen = tools::run(cx, &["bash", "-c", script, "bash", tool, path], 65_536).await;
    let text = seen.map(|seen| String::from_utf8_lossy(&seen.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(connect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(tail: &str, cluster: bool) -> bool {
        matches!(ending(tail, cluster, None, Vec::new(), ""), Reading::Whole(_))
    }

    #[test]
    fn a_dump_ends_with_its_last_words() {
        let end = "\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
        assert!(is_whole(end, false));
        assert!(is_whole(&format!("{end}\\unrestrict abc\n\n"), false));
        let cut = ending(&format!("{end}\\unrestrict ab"), false, Some("abc"), Vec::new(), "");
        assert!(matches!(cut, Reading::Broken(_)), "{cut:?}");
        assert!(!is_whole("\\.\n42\tx\n", false));
        assert!(
            !is_whole(&format!("{end}COPY public.t (id) FROM stdin;\n1\n"), false),
            "more follows and breaks off"
        );
        assert!(!is_whole(end, true), "a cluster dump cut between two databases");
        assert!(is_whole(&format!("{end}-- PostgreSQL database cluster dump complete\n--\n"), true));
        assert!(!is_whole("-- PostgreSQL database dump comp", false));
    }

    #[test]
    fn verbose_dumps_say_when_they_ended() {
        let tail =
            "-- Completed on 2021-01-04 03:00:00 UTC\n\n--\n-- PostgreSQL database dump complete\n--\n";
        let Reading::Whole(whole) = ending(tail, false, None, Vec::new(), "") else { panic!("whole") };
        assert_eq!(whole.made.map(|t| t.to_string()).as_deref(), Some("2021-01-04T03:00:00Z"));
    }

    #[test]
    fn databases_are_found_across_pieces() {
        let text =
            b"x\n\\connect synapse\n\\connect -reuse-previous=on \"dbname='my db'\"\nvalue \\connect no\n";
        for cut in 0..text.len() {
            let (mut start, mut found) = (Vec::new(), Vec::new());
            connects(&text[..cut], &mut start, &mut found);
            connects(&text[cut..], &mut start, &mut found);
            assert_eq!(found, ["synapse", "my db"], "{cut}");
        }
    }
}
