//! The beginning of a pg_dump archive (custom, tar or directory format): when it was made and of which database, as
//! `pg_restore -l` would say it, read without running anything.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What the header of an archive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check::backups) struct Header {
    /// Archive format version, such as 1.14.
    pub version: (u8, u8),
    /// When pg_dump started, in the local time of the machine where it ran, here read as ours: there is no zone inside.
    pub created: Option<Timestamp>,
    /// The database's name.
    pub database: Option<String>,
    /// The server's version: `15.18 (Debian …)`.
    pub server: Option<String>,
    /// True for tar format (and for the toc.dat of a directory, which says the same).
    pub tar: bool,
    /// False when rows are stored as they are: then no checksum covers them.
    pub compressed: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    int_size: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// A sign byte, then the number with its lowest byte first.
    fn int(&mut self) -> Option<i64> {
        let negative = self.byte()? != 0;
        let mut value: i64 = 0;
        for place in 0..self.int_size {
            let byte = i64::from(self.byte()?);
            if place < 8 {
                value = value.checked_add(byte.checked_shl(8 * place as u32)?)?;
            }
        }
        Some(if negative { -value } else { value })
    }

    /// A length, then the bytes; a negative length stands for no text.
    fn text(&mut self) -> Option<Option<String>> {
        let length = self.int()?;
        if length < 0 {
            return Some(None);
        }
        let (text, rest) = self.bytes.split_at_checked(usize::try_from(length).ok()?)?;
        self.bytes = rest;
        Some(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

/// Reads a header; `None` when these bytes are not the beginning of an archive.
pub(super) fn read(bytes: &[u8]) -> Option<Header> {
    let mut r = Reader { bytes: bytes.strip_prefix(b"PGDMP")?, int_size: 4 };
    let version = (r.byte()?, r.byte()?);
    let _revision = r.byte()?;
    if version < (1, 10) {
        // Older than PostgreSQL 8: the layout differs.
        return Some(Header {
            version,
            created: None,
            database: None,
            server: None,
            tar: false,
            compressed: true,
        });
    }
    r.int_size = usize::from(r.byte()?);
    let _offset_size = r.byte()?;
    let tar = r.byte()? == 3;
    // From 1.15 on an algorithm (0 is none), before that zlib's level (0 is none).
    let compressed = if version >= (1, 15) { r.byte()? != 0 } else { r.int()? != 0 };
    let mut time = [0; 7];
    for part in &mut time {
        *part = r.int()?;
    }
    let database = r.text()?;
    let server = r.text()?;
    Some(Header { version, created: local(time), database, server, tar, compressed })
}

/// Seconds, minutes, hours, day, month from 0, years since 1900, summer time.
fn local(time: [i64; 7]) -> Option<Timestamp> {
    let small = |n: i64| i8::try_from(n).ok();
    let year = i16::try_from(time[5].checked_add(1900)?).ok()?;
    let month = small(time[4].checked_add(1)?)?;
    // A leap second has number 60.
    let second = small(time[0])?.min(59);
    let civil =
        jiff::civil::DateTime::new(year, month, small(time[3])?, small(time[2])?, small(time[1])?, second, 0)
            .ok()?;
    civil.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp())
}

/// The first member of a tar file, if this is one whose first member is called `name`.
pub(super) fn first_in_tar<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let is_tar = bytes.get(257..262)? == b"ustar";
    let named = bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&0);
    (is_tar && named).then(|| bytes.get(512..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of an archive that pg_dump 15 wrote.
    fn sample(version: u8, compression: &[u8]) -> Vec<u8> {
        let int = |n: i64| {
            let mut bytes = vec![u8::from(n < 0)];
            bytes.extend((n.unsigned_abs() as u32).to_le_bytes());
            bytes
        };
        let mut bytes = b"PGDMP\x01".to_vec();
        bytes.extend([version, 0, 4, 8, 1]);
        bytes.extend(compression);
        for part in [7, 6, 5, 4, 0, 121, 0] {
            bytes.extend(int(part));
        }
        for text in ["synapse", "11.9"] {
            bytes.extend(int(text.len() as i64));
            bytes.extend(text.bytes());
        }
        bytes
    }

    #[test]
    fn says_when_and_of_what() {
        for (version, compression) in [(14, &[1u8, 1, 0, 0, 0][..]), (16, &[1u8][..])] {
            let header = read(&sample(version, compression)).unwrap();
            assert_eq!(header.database.as_deref(), Some("synapse"));
            assert_eq!(header.server.as_deref(), Some("11.9"));
            assert!(header.compressed);
            let created = header.created.unwrap().to_zoned(TimeZone::system());
            assert_eq!(created.strftime("%Y-%m-%d %H:%M:%S").to_string(), "2021-01-04 05:06:07");
        }
        assert!(!read(&sample(14, &[0, 0, 0, 0, 0])).unwrap().compressed);
    }

    #[test]
    fn a_cut_or_foreign_header_is_none_and_never_a_panic() {
        let whole = sample(14, &[1, 1, 0, 0, 0]);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        assert_eq!(read(b"SQLite format 3\0"), None);
        let mut wild = whole;
        wild.iter_mut().skip(8).for_each(|byte| *byte = 0xff);
        let _ = read(&wild);
    }
}
