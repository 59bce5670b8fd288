//! Is a file still being written? Seen by its size changing, or by a process that has it open for writing.

use std::path::PathBuf;
use std::time::Duration;

use super::candidates::Candidate;
use crate::check::Context;

/// A file older than this is not looked at: whoever writes a backup writes more often.
const RECENT_S: i64 = 60;
/// Long enough for a writer to write something.
const WAIT: Duration = Duration::from_millis(1_100);

/// Why this backup is not finished, if it is not.
pub(in crate::check::backups) async fn unfinished(backup: &Candidate, cx: &Context) -> Option<String> {
    let age = cx.world.clock.now().wall.duration_since(backup.modified).as_secs();
    if !(-RECENT_S..=RECENT_S).contains(&age) {
        return None;
    }
    let files = files_of(backup, cx).await;
    tokio::time::sleep(WAIT).await;
    if files != files_of(backup, cx).await {
        return Some(format!("{}: still growing", backup.name));
    }
    let inodes: Vec<(u64, u64)> = files.iter().map(|file| file.0).collect();
    writer(&inodes, cx)
        .await
        .map(|pid| format!("{}: process {pid} still has it open for writing", backup.name))
}

/// Identity, size and time of each file of a backup.
async fn files_of(backup: &Candidate, cx: &Context) -> Vec<((u64, u64), u64, jiff::Timestamp)> {
    let stats = match cx.world.files.list(&backup.path).await {
        Ok(members) => members,
        Err(_) => cx.world.files.stat(&backup.path).await.ok().flatten().into_iter().collect(),
    };
    stats.into_iter().map(|stat| ((stat.device, stat.inode), stat.size, stat.modified)).collect()
}

/// A process that has one of these files open for writing. Without root only our own processes can be seen.
async fn writer(inodes: &[(u64, u64)], cx: &Context) -> Option<u32> {
    let files = &cx.world.files;
    for process in files.list(&PathBuf::from("/proc")).await.ok()? {
        let Some(pid) = process.path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        for open in files.list(&process.path.join("fd")).await.unwrap_or_default() {
            let Ok(Some(stat)) = files.stat(&open.path).await else { continue };
            if !inodes.contains(&(stat.device, stat.inode)) {
                continue;
            }
            let number = open.path.file_name().unwrap_or_default();
            let info = files.read(&process.path.join("fdinfo").join(number), 4_096).await.unwrap_or_default();
            if writes(&String::from_utf8_lossy(&info)) {
                return Some(pid);
            }
        }
    }
    None
}

/// Whether the flags in a `fdinfo` file (octal, as open(2) knows them) allow writing.
fn writes(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    flags.and_then(|octal| u32::from_str_radix(octal, 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_writer_by_its_flags() {
        assert!(writes("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n"));
        assert!(writes("flags:\t02100002\n"));
        assert!(!writes("pos:\t0\nflags:\t0100000\n"));
        assert!(!writes(""));
    }
}
