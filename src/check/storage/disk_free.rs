//! Is there room on the file system that will be written? Measures bytes and inodes as an ordinary user would find
//! them (`f_bavail`, `f_favail`): root's reserve is not counted, so a check by root cannot lie about a write by postgres.

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::{backing, target_size};
use crate::base::text::thousands;
use crate::base::{Size, Span};
use crate::check::params::{Amount, CountOrShare, Percent};
use crate::check::registry::{CheckKind, from_params};
use crate::check::{Check, Context, Outcome, Verdict};
use crate::world::Identity;
use crate::world::files::Space;

/// Fewest inodes when the runbook names no number, besides 1 % of all: a PostgreSQL cluster alone has about 1,000 files.
const FEWEST_INODES: u64 = 1_000;

/// Deleted files that take less are not worth a line.
const HELD: u64 = 1 << 20;

/// Is there room on the file system that will be written?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskFree {
    /// A file or directory on the file system that will be written. It need not exist yet: its nearest existing parent
    /// is measured, links resolved.
    path: String,
    /// What must be available to an ordinary user: `20GiB`, `15%` of the file system, or `{ times: 1.3, size_of: old }`
    /// for a multiple of a target's size.
    at_least: Amount,
    /// Inodes (files that can still be made): a number or a share, as in `5%`. When not given, 1 % and at least 1,000.
    /// Not asked of file systems that make them as needed.
    #[serde(default)]
    inodes_at_least: Option<CountOrShare>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "disk_free",
    summary: "the file system that will be written has room, in bytes and in inodes",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(DiskFree),
    build: from_params::<DiskFree>,
};

const DOCS: &str = r"
Shows that a file system has room for what a step is about to write.

**How it is measured.** `statvfs` on the nearest existing parent of `path`, links resolved: the mount that will really be
written. Bytes are `f_bavail × f_frsize`, inodes `f_favail`: what an ordinary user such as `postgres` gets. The reserve that
ext4 keeps for root is shown, and not counted.

**Passes** when both bytes and inodes suffice. **Fails** when either is short, or when the file system is mounted read-only.
**Unknown** when the path may not be looked at, or the size of a target cannot be measured.

`size_of` measures a target now. PostgreSQL: the sum of `pg_database_size` over all databases; a stopped cluster whose
target says `cluster` or `data_directory`: its files, WAL and tablespaces included. SQLite: the file and its write-ahead log.

Inodes have no check of their own: this one counts them always, by default 1 % and at least 1,000.

**Traps.** Quotas, thin pools, snapshots and container limits do not show in `statvfs`. Deleted files that a process still
holds open keep their room; when the check fails, they are named. For a copy of a whole cluster use `capacity_for_copy`. A dump and restore needs room for indexes, WAL and temporary files, too: 1.3
times the source is a start, not a guarantee. Use `disk_time_to_full` as an invariant while the step runs.

```yaml
preconditions:
  - disk_free: { path: /var/lib/postgresql, at_least: { times: 1.3, size_of: old } }
  - disk_free: { id: dumps, path: /srv/dumps, at_least: 20GiB, inodes_at_least: 5000 }
```
";

#[async_trait]
impl Check for DiskFree {
    fn targets(&self) -> Vec<String> {
        match &self.at_least {
            Amount::Times { size_of, .. } => vec![size_of.clone()],
            _ => Vec::new(),
        }
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let mut expected = self.wanted();
        let space = match cx.world.files.space(Path::new(&self.path)).await {
            Ok(space) => space,
            Err(why) => {
                return Outcome::unknown(format!("the file system could not be measured: {why}"), expected)
                    .help("correct the path, or run this as a user who may look there, then measure again");
            }
        };
        let mut seen: Option<(String, Identity)> = None;
        let mut about_size = Vec::new();
        let needed = match &self.at_least {
            Amount::Bytes(size) => size.0,
            Amount::Share(share) => part(*share, space.total),
            Amount::Times { times, size_of } => match target_size::measure(size_of, cx).await {
                Err(why) => {
                    return Outcome::unknown(format!("the size of {size_of} is not known: {why}"), expected)
                        .help(
                            "start the server, or let its target say `data_directory`, then measure again",
                        );
                }
                Ok(size) if size.bytes == 0 => {
                    return Outcome::unknown(
                        format!("{size_of} has a size of 0 B: nothing to multiply"),
                        expected,
                    )
                    .help("find out whether this is the right target");
                }
                Ok(size) => {
                    expected = format!(
                        "at least {} ({times} times {size_of}, which takes {})",
                        Size((size.bytes as f64 * times.0) as u64),
                        Size(size.bytes)
                    );
                    about_size = size.details;
                    seen = Some((size_of.clone(), size.identity));
                    (size.bytes as f64 * times.0).ceil() as u64
                }
            },
        };
        let mut outcome = self.judge(&space, needed, expected);
        outcome.details.extend(about_size);
        if let Some(thin) = backing::doubt(&space, cx).await.filter(|doubt| doubt.word == "thin") {
            outcome.details.push(thin.why);
        }
        if outcome.verdict == Verdict::Fail {
            outcome.details.extend(held_open(space.device).await);
            if !space.read_only && is_log(Path::new(&self.path), &space, cx).await {
                outcome = outcome.help(KEEP_THE_LOG);
            }
        }
        match seen {
            Some((target, identity)) => outcome.on(&target, identity),
            None => outcome,
        }
    }
}

/// Where somebody would go and look for files to delete.
const KEEP_THE_LOG: &str = "make room without this folder: bring back or drop what holds the log (a slot, the archiver), \
     delete a reserve kept for this, give the server root's part, or extend the file system; nothing in pg_wal may be deleted";

/// Is this a server's write-ahead log?
async fn is_log(asked: &Path, space: &Space, cx: &Context) -> bool {
    let named = |path: &Path| path.components().any(|part| part.as_os_str() == "pg_wal");
    if named(asked) || named(&space.path) {
        return true;
    }
    // By its own name elsewhere, reached through a link.
    let inside = cx.world.files.stat(&space.path.join("archive_status")).await;
    matches!(inside, Ok(Some(_)))
}

/// Deleted files that still take room, where closing them would help.
async fn held_open(device: u64) -> Vec<String> {
    let all = crate::world::users::of_deleted(device).await;
    let bytes: u64 = all.iter().map(|(_, _, bytes)| bytes).sum();
    let Some((name, pid, most)) = all.first().filter(|_| bytes >= HELD) else { return Vec::new() };
    let (n, most) =
        (crate::base::text::count(all.len() as u64, "deleted file", "deleted files"), Size(*most));
    vec![format!(
        "{n} still held open take {}; the largest, {most}, by {} (pid {pid})",
        Size(bytes),
        crate::base::text::neutral(name)
    )]
}

fn part(share: Percent, of: u64) -> u64 {
    (of as f64 * share.0 / 100.0).ceil() as u64
}

/// `28 %`; two digits when it is small.
fn share(part: u64, of: u64) -> String {
    let percent = part as f64 * 100.0 / of.max(1) as f64;
    if percent < 1.0 && part > 0 { format!("{percent:.2} %") } else { format!("{percent:.0} %") }
}

impl DiskFree {
    fn wanted(&self) -> String {
        match &self.at_least {
            Amount::Bytes(size) => format!("at least {size}"),
            Amount::Share(share) => format!("at least {share} of the file system"),
            Amount::Times { times, size_of } => format!("at least {times} times the size of {size_of}"),
        }
    }

    /// Inodes wanted on a file system that has a fixed number of them.
    fn inodes_needed(&self, space: &Space) -> u64 {
        match self.inodes_at_least {
            Some(CountOrShare::Count(count)) => count,
            Some(CountOrShare::Share(share)) => part(share, space.inodes),
            None => part(Percent(1.0), space.inodes).max(FEWEST_INODES),
        }
    }

    fn judge(&self, space: &Space, needed: u64, mut expected: String) -> Outcome {
        let at = space.path.display();
        let bytes_short = space.available < needed;
        let fixed_inodes = space.inodes > 0;
        let inodes_needed = if fixed_inodes { self.inodes_needed(space) } else { 0 };
        let inodes_short = fixed_inodes && space.inodes_available < inodes_needed;
        let mut observed = format!(
            "{} available of {} ({})",
            Size(space.available),
            Size(space.total),
            share(space.available, space.total)
        );
        if fixed_inodes && (inodes_short || self.inodes_at_least.is_some()) {
            observed += &format!(
                ", {} of {} inodes free",
                thousands(space.inodes_available),
                thousands(space.inodes)
            );
            expected += &format!(" and {} inodes", thousands(inodes_needed));
        }
        if space.read_only {
            observed = format!("{at} is mounted read-only; {observed}");
        }
        let help = match () {
            () if space.read_only => {
                format!("find out why {at} is read-only (dmesg shows disk errors) before anything else")
            }
            () if bytes_short => format!(
                "free {} or choose another place; `df -h {at}` and `du -xh --max-depth=1 {at}` show what is there",
                Size(needed - space.available)
            ),
            () => format!("find where the many small files are: `du -x --inodes --max-depth=2 {at}`"),
        };
        let mut outcome =
            Outcome::judge(!(space.read_only || bytes_short || inodes_short), observed, expected)
                .help(help)
                .fact("path", space.path.display().to_string())
                .fact("bytes_available", space.available)
                .fact("bytes_free_with_reserve", space.free)
                .fact("bytes_total", space.total)
                .fact("bytes_needed", needed)
                .fact("read_only", space.read_only);
        outcome = if fixed_inodes {
            outcome
                .fact("inodes_available", space.inodes_available)
                .fact("inodes_total", space.inodes)
                .fact("inodes_needed", inodes_needed)
        } else {
            outcome.detail("inodes: made as needed on this file system, so not counted")
        };
        outcome.details.extend(remarks(space, Path::new(&self.path)));
        outcome
    }
}

/// What else there is to know about a file system: `measured at …`, reserves, and where `statvfs` does not see all.
pub(super) fn remarks(space: &Space, asked: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let kind = space.kind.as_deref().unwrap_or("unknown type");
    if space.path == asked {
        lines.push(format!("measured at {} ({kind})", space.path.display()));
    } else {
        lines.push(format!(
            "measured at {} ({kind}), where {} is or will be",
            space.path.display(),
            asked.display()
        ));
    }
    let reserve = space.free.saturating_sub(space.available);
    if reserve > 0 {
        lines.push(format!("{} more is reserved for root and not counted", Size(reserve)));
    }
    match kind {
        "tmpfs" | "ramfs" => {
            lines.push("this is memory: what is written here is gone after a restart".to_owned())
        }
        "overlay" => {
            lines.push("an overlay (a container?): limits of the container do not show here".to_owned())
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "virtiofs" => {
            lines.push("a network file system: quotas of the server may not show here".to_owned());
        }
        "btrfs" | "zfs" | "bcachefs" => {
            lines.push(
                "copy-on-write: snapshots and metadata may take room that this number does not show"
                    .to_owned(),
            );
        }
        _ => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(params: serde_json::Value) -> DiskFree {
        serde_json::from_value(params).unwrap()
    }

    fn space() -> Space {
        Space {
            path: "/data".into(),
            total: 1000 << 20,
            available: 200 << 20,
            free: 250 << 20,
            inodes: 100_000,
            inodes_available: 50_000,
            read_only: false,
            device: 1,
            kind: Some("ext4".to_owned()),
        }
    }

    #[test]
    fn the_reserve_of_root_does_not_count() {
        let check = check(json!({ "path": "/data/new", "at_least": "220MiB" }));
        let outcome = check.judge(&space(), 220 << 20, check.wanted());
        assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
        assert_eq!(outcome.observed, "200 MiB available of 1000 MiB (20 %)");
        assert!(outcome.details.iter().any(|line| line.contains("50.0 MiB more is reserved")), "{outcome:?}");
        assert!(outcome.help.as_deref().unwrap_or_default().starts_with("free 20.0 MiB"), "{outcome:?}");
        assert_eq!(check.judge(&space(), 200 << 20, check.wanted()).verdict, Verdict::Pass);
    }

    #[test]
    fn inodes_count_by_default_unless_there_is_no_fixed_number() {
        let plain = check(json!({ "path": "/data", "at_least": "1MiB" }));
        let few = Space { inodes_available: 999, ..space() };
        let outcome = plain.judge(&few, 1, plain.wanted());
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.observed.contains("999 of 100,000 inodes"), "{outcome:?}");
        let dynamic = Space { inodes: 0, inodes_available: 0, ..space() };
        assert_eq!(plain.judge(&dynamic, 1, plain.wanted()).verdict, Verdict::Pass);
        let share = check(json!({ "path": "/data", "at_least": "1MiB", "inodes_at_least": "60%" }));
        assert_eq!(share.judge(&space(), 1, share.wanted()).verdict, Verdict::Fail);
    }

    #[test]
    fn a_read_only_file_system_has_no_room() {
        let check = check(json!({ "path": "/data", "at_least": "1MiB" }));
        let outcome = check.judge(&Space { read_only: true, ..space() }, 1, check.wanted());
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.observed.contains("read-only"), "{outcome:?}");
    }

    #[tokio::test]
    async fn nobody_is_sent_into_the_log_to_delete() {
        let here = tempfile::tempdir().unwrap();
        let (log, moved) = (here.path().join("pg_wal"), here.path().join("wal/main"));
        std::fs::create_dir_all(moved.join("archive_status")).unwrap();
        std::fs::create_dir(&log).unwrap();
        let cx = Context::local(crate::world::World::local());
        let ask =
            async |path: &Path| check(json!({ "path": path, "at_least": "8000TiB" })).measure(&cx).await;
        for path in [&log, &moved] {
            let full = ask(path).await;
            assert_eq!((full.verdict, full.help.as_deref()), (Verdict::Fail, Some(KEEP_THE_LOG)));
        }
        assert!(ask(here.path()).await.help.unwrap().contains("du -xh"));
    }

    #[test]
    fn parameters_are_checked_when_read() {
        for wrong in
            [json!({ "path": "/" }), json!({ "at_least": "1GiB" }), json!({ "path": "/", "at_least": 5 })]
        {
            assert!(serde_json::from_value::<DiskFree>(wrong.clone()).is_err(), "{wrong}");
        }
        let typo = json!({ "path": "/", "at_least": "1GiB", "at_leats": "2GiB" });
        assert!(serde_json::from_value::<DiskFree>(typo).is_err());
        let times = check(json!({ "path": "/", "at_least": { "times": 1.3, "size_of": "old" } }));
        assert_eq!(times.targets(), ["old"]);
    }
}
