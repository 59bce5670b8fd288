//! Which release of Synapse has which schema version: data, read from the releases' own packages on PyPI
//! (`SCHEMA_VERSION` in `synapse/storage/schema/__init__.py`, looked at in November 2026). It never falls from one release to
//! the next.

use std::fmt;

/// A release: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub u32, pub u32, pub u32);

/// What is known of a release's schema version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// At least and at most.
    Between(u64, u64),
    /// Nothing.
    Not,
}

/// The schema version of the first release that keeps `schema_compat_version`.
pub(super) const FIRST_COMPAT: u64 = 59;

/// The first release that keeps `schema_compat_version`.
const COMPAT_SINCE: Release = Release(1, 37, 0);

/// Releases that were looked at, with their schema versions.
const SEEN: [(Release, u64); 17] = [
    (Release(1, 36, 0), 59),
    (Release(1, 37, 0), 59),
    (Release(1, 50, 0), 67),
    (Release(1, 70, 0), 73),
    (Release(1, 85, 0), 77),
    (Release(1, 92, 1), 81),
    (Release(1, 95, 0), 82),
    (Release(1, 98, 0), 83),
    (Release(1, 101, 0), 84),
    (Release(1, 104, 0), 84),
    (Release(1, 107, 0), 85),
    (Release(1, 110, 0), 85),
    (Release(1, 120, 0), 88),
    (Release(1, 130, 0), 92),
    (Release(1, 140, 0), 92),
    (Release(1, 150, 0), 93),
    (Release(1, 163, 2), 94),
];

impl Release {
    /// Reads `1.98.0`, `v1.98`, `1.98.0rc1` (as 1.98.0).
    pub(super) fn read(text: &str) -> Option<Release> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once("rc").map_or(text, |(text, _)| text);
        let mut numbers = text.split('.').map(|part| {
            let plain = !part.is_empty() && part.len() < 6 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| plain)
        });
        let major = numbers.next()??;
        let (minor, patch) = (numbers.next().unwrap_or(Some(0))?, numbers.next().unwrap_or(Some(0))?);
        numbers.next().is_none().then_some(Release(major, minor, patch))
    }

    /// True when it keeps and honours `schema_compat_version`.
    pub(super) fn knows_compat(self) -> bool {
        self >= COMPAT_SINCE
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What is known of a release.
pub(super) fn of(release: Release) -> Known {
    let before = SEEN.iter().rev().find(|(seen, _)| *seen <= release).map(|(_, schema)| *schema);
    let after = SEEN.iter().find(|(seen, _)| *seen >= release).map(|(_, schema)| *schema);
    match (before, after) {
        (None, None) => Known::Not,
        (least, most) => Known::Between(least.unwrap_or(0), most.unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_never_falls() {
        assert!(SEEN.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert_eq!(of(Release(1, 98, 0)), Known::Between(83, 83));
        assert_eq!(of(Release(1, 102, 0)), Known::Between(84, 84));
        assert_eq!(of(Release(1, 96, 1)), Known::Between(82, 83));
        assert_eq!(of(Release(2, 0, 0)), Known::Between(94, u64::MAX));
        assert_eq!(of(Release(1, 3, 0)), Known::Between(0, 59));
    }

    #[test]
    fn spellings() {
        assert_eq!(Release::read("v1.98.0"), Some(Release(1, 98, 0)));
        assert_eq!(Release::read("1.98"), Some(Release(1, 98, 0)));
        assert_eq!(Release::read("1.98.0rc1"), Some(Release(1, 98, 0)));
        for wrong in ["", "1.", "a.b", "1.2.3.4", "1.2-3"] {
            assert_eq!(Release::read(wrong), None, "{wrong}");
        }
    }
}
