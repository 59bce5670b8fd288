//! What the name of a file tells: whether it is still being written, belongs to a series, has a date.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const UNFINISHED: [&str; 9] = [
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".incomplete",
    ".inprogress",
    ".in-progress",
    ".filepart",
    ".crdownload",
];
const BACKUPS: [&str; 14] = [
    ".dump", ".sql", ".backup", ".bak", ".pgdump", ".dmp", ".custom", ".tar", ".sqlite", ".sqlite3", ".db",
    ".pg", ".psql", ".dir",
];
const COMPRESSED: [&str; 6] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".tgz"];

/// A name that programs give to what is not finished yet: `x.tmp`, `x.part`, `.x.dump.k3Jd9` (rsync), `x~`.
pub(super) fn unfinished(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.') || name.ends_with('~') || UNFINISHED.iter().any(|end| lower.ends_with(end))
}

/// A name that backups have.
pub(super) fn like_a_backup(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let bare = COMPRESSED.iter().find_map(|end| lower.strip_suffix(end));
    // A number behind the name is a rotation: db.dump.2
    let bare = bare.unwrap_or(&lower).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    COMPRESSED.iter().chain(&BACKUPS).any(|end| lower.ends_with(end) || bare.ends_with(end))
}

/// What the backups of one series have in common: the name without its numbers.
pub(super) fn series(name: &str) -> String {
    let mut key = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if key.ends_with('#') => {}
            true => key.push('#'),
            false => key.push(c),
        }
    }
    // db.dump and its rotations db.dump.1, db.dump.2
    key.strip_suffix(".#").unwrap_or(&key).to_owned()
}

/// The end of the day that a name speaks of: `synapse-2021-01-04.dump`, `20210104_0300.sql.gz`.
pub(super) fn dated(name: &str) -> Option<Timestamp> {
    let bytes = name.as_bytes();
    for start in 0..bytes.len() {
        if start > 0 && bytes[start - 1].is_ascii_digit() {
            continue;
        }
        let digits: String = match (bytes.get(start + 4), bytes.get(start + 7)) {
            (Some(b'-' | b'_' | b'.'), Some(b'-' | b'_' | b'.')) => {
                let Some(text) = name.get(start..start + 10) else { continue };
                if bytes.get(start + 10).is_some_and(u8::is_ascii_digit) {
                    continue;
                }
                text.chars().filter(char::is_ascii_digit).collect()
            }
            _ => name.get(start..start + 8).unwrap_or_default().to_owned(),
        };
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let part = |range: std::ops::Range<usize>| digits[range].parse::<i16>().ok();
        let (Some(year), Some(month), Some(day)) = (part(0..4), part(4..6), part(6..8)) else { continue };
        if let Ok(date) = Date::new(year, month as i8, day as i8)
            && (1996..2100).contains(&year)
        {
            return date.at(23, 59, 59, 0).to_zoned(TimeZone::system()).ok().map(|end| end.timestamp());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are() {
        for name in ["x.dump.tmp", "x.PART", ".x.dump.Ab3", "x.sql~"] {
            assert!(unfinished(name), "{name}");
        }
        for name in ["a.dump", "a.sql.gz", "a.dump.2", "a.DUMP", "a.backup.zst", "db.tgz"] {
            assert!(like_a_backup(name) && !unfinished(name), "{name}");
        }
        for name in ["README.txt", "backup.log", "a.dump.sha256", "notes"] {
            assert!(!like_a_backup(name), "{name}");
        }
        assert_eq!(series("syn-2021-01-04.dump"), series("syn-2021-11-30.dump"));
        assert_eq!(series("db.dump.12"), series("db.dump"));
        assert_ne!(series("syn-2021.dump"), series("globals-2021.dump"));
    }

    #[test]
    fn dates_in_names() {
        let day = |name: &str| dated(name).map(|t| t.to_zoned(TimeZone::system()).date().to_string());
        assert_eq!(day("synapse-2021-01-04.dump").as_deref(), Some("2021-01-04"));
        assert_eq!(day("20210104_030000.sql.gz").as_deref(), Some("2021-01-04"));
        assert_eq!(day("db_2021_01_04T03.dump").as_deref(), Some("2021-01-04"));
        for name in ["db.dump", "v15.2-99999999", "é2021-13-40", "1234567890123.dump", "db-18500101.sql"] {
            assert_eq!(day(name), None, "{name}");
        }
    }
}
