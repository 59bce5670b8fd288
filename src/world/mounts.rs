//! The mount table of the name space that we are in, and which mount a path is on. Read as text: no file system is touched,
//! so that a dead one cannot hold us up.

use std::path::{Path, PathBuf};

/// Where the kernel tells it.
pub const TABLE: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    id: u64,
    parent: u64,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The part of the file system that is mounted: `/` when all of it is.
    pub root: String,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// What is mounted: a device, `server:/export`, or a word that means nothing.
    pub source: String,
    /// The options of this mount: `rw`, `noexec`.
    pub options: Vec<String>,
    /// The options of the file system, which all its mounts share.
    pub shared_options: Vec<String>,
}

impl Mount {
    /// Nothing can be written: this mount is read-only, or the whole file system is. After an error the kernel makes the
    /// file system read-only, and the mount still says `rw`.
    pub fn read_only(&self) -> bool {
        let all = || self.options.iter().chain(&self.shared_options);
        all().any(|word| matches!(word.as_str(), "ro" | "emergency_ro" | "shutdown"))
    }
}

/// Reads the table. A line that cannot be understood is left out.
pub fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    // id, parent, device, root, point, options, more fields; after the hyphen: type, source, options
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let (id, parent) = (front.next()?.parse().ok()?, front.next()?.parse().ok()?);
    let (root, point, options) = (front.nth(1)?, front.next()?, front.next()?);
    let mut back = back.split(' ');
    let words = |list: &str| list.split(',').map(unescaped).collect();
    Some(Mount {
        id,
        parent,
        point: PathBuf::from(unescaped(point)),
        root: unescaped(root),
        kind: back.next()?.to_owned(),
        source: unescaped(back.next()?),
        options: words(options),
        shared_options: back.next().map(words).unwrap_or_default(),
    })
}

/// The mount that a path without links is on. It is found as the kernel finds it, from the root down: a mount covers
/// what is below it, also the mounts that were made there before.
pub fn over<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let mut at: Option<&Mount> = None;
    // Each step goes to another mount; a table that was read while it changed must not make a circle.
    for _ in 0..=mounts.len() {
        let next = mounts.iter().filter(|mount| path.starts_with(&mount.point)).filter(|mount| match at {
            // In a changed root, the mount above is not in the table.
            None => mount.parent == mount.id || !mounts.iter().any(|other| other.id == mount.parent),
            Some(at) => mount.parent == at.id && mount.id != at.id,
        });
        match next.min_by_key(|mount| mount.point.components().count()) {
            Some(mount) => at = Some(mount),
            None => break,
        }
    }
    at
}

/// Undoes the kernel's octal escapes: `\040` is a space.
pub fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        let code = code.filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_covers_what_is_below_it() {
        let table = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                     23 22 8:2 / /srv/deep rw - xfs /dev/sdb rw\n\
                     24 22 0:5 / /srv rw - tmpfs tmpfs rw\n\
                     25 24 8:3 / /srv rw,noexec master:2 - nfs4 server:/ rw,vers=4.2\n\
                     26 25 8:4 /sub /srv/my\\040disk rw - ext4 /dev/sdc ro\n";
        let mounts = parse(table);
        let kind = |path: &str| over(&mounts, Path::new(path)).map(|mount| mount.source.as_str());
        assert_eq!(kind("/srv/my disk/a"), Some("/dev/sdc"));
        assert_eq!(kind("/srv/other"), Some("server:/"), "the later mount hides the first");
        assert_eq!(kind("/srv/deep/x"), Some("server:/"), "and what was mounted below before");
        assert_eq!(kind("/srvx"), Some("/dev/sda1"), "a prefix of a name is not a parent");
        let disk = over(&mounts, Path::new("/srv/my disk")).unwrap();
        assert!(disk.read_only(), "the file system is, the mount does not say so");
        assert_eq!((disk.root.as_str(), disk.point.to_str()), ("/sub", Some("/srv/my disk")));
        assert!(!over(&mounts, Path::new("/srv")).unwrap().read_only());
    }

    #[test]
    fn a_changed_root_and_a_broken_table() {
        let mounts = parse("30 17 0:4 / /proc rw - proc proc rw\nnonsense\n31 30 0:5 / /proc/x rw - a b\n");
        assert_eq!(over(&mounts, Path::new("/etc")), None);
        assert_eq!(over(&mounts, Path::new("/proc/x/y")).unwrap().kind, "a");
        let circle = parse("1 2 0:4 / /a rw - a a rw\n2 1 0:4 / /a rw - b b rw\n");
        assert_eq!(over(&circle, Path::new("/a")), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescaped(r"a\040b\011\134040\012c\\9\04"), "a b\t\\040\nc\\\\9\\04");
        assert_eq!(unescaped("gr\\303\\274n"), "grün");
    }
}
