//! Processes, read from /proc: by exact name or by pid file, with their state and start. Ages come from the boot clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Moment;
use crate::check::Context;

/// Clock ticks in a second, as /proc counts them: fixed at 100 for programs, whatever the kernel's own HZ is.
const TICKS: u64 = 100;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    /// Its name as the kernel keeps it, at most 15 bytes.
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// Start, in ticks since boot.
    pub start: u64,
}

impl Process {
    /// A zombie or a dead process runs no more.
    pub fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// How long it has run.
    pub fn age(&self, now: &Moment) -> Duration {
        Duration::from_millis(now.boot_ms.saturating_sub(self.start * 1000 / TICKS))
    }
}

/// Reads the text of `/proc/PID/stat`. The name stands in parentheses and may itself hold spaces and parentheses, so
/// what follows begins after the last one.
pub(super) fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the whole line; the state is field 3.
    let start = fields.nth(18)?.parse().ok()?;
    Some(Process { pid: pid.parse().ok()?, name: name.to_owned(), state, start })
}

/// One process; `None` when there is none of that number (any more).
pub(super) async fn by_pid(pid: u32, cx: &Context) -> Result<Option<Process>, String> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    match cx.world.files.read(&dir.join("stat"), 4_096).await {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            parse(&text).map(Some).ok_or_else(|| format!("/proc/{pid}/stat could not be understood"))
        }
        // It ended, or it may not be seen.
        Err(why) => match cx.world.files.stat(&dir).await {
            Ok(None) => Ok(None),
            Ok(Some(_)) => Err(why),
            Err(why) => Err(why),
        },
    }
}

/// All processes called `name`: by their executable's file name, or by the name that the kernel keeps.
pub(super) async fn by_name(name: &str, cx: &Context) -> Result<Vec<Process>, String> {
    all_visible(cx).await?;
    let short: String = name
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= 15).then_some(c)
        })
        .collect();
    let mut found = Vec::new();
    for entry in cx.world.files.list(Path::new("/proc")).await? {
        let Some(pid) = entry.path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let Some(process) = by_pid(pid, cx).await? else { continue };
        // Only root may see what others execute; the kernel's name remains.
        let executable = cx.world.files.read_link(&entry.path.join("exe")).await.ok().flatten();
        let file = executable.as_deref().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        // After an upgrade the running program's file is gone.
        let file = file.as_deref().map(|file| file.strip_suffix(" (deleted)").unwrap_or(file));
        if file == Some(name) || process.name == short {
            found.push(process);
        }
    }
    found.sort_by_key(|process| (process.start, process.pid));
    Ok(found)
}

/// An error when /proc shows only our own processes: then "no such process" would mean nothing.
async fn all_visible(cx: &Context) -> Result<(), String> {
    match cx.world.files.stat(Path::new("/proc/1")).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            Err("/proc shows only our own processes (hidepid), so others cannot be seen; run as root"
                .to_owned())
        }
        Err(why) => Err(why),
    }
}

/// The pid in a pid file, and the file's age by the wall clock; `None` when there is no file.
pub(super) async fn pid_file(path: &str, cx: &Context) -> Result<Option<(u32, f64)>, String> {
    let path = Path::new(path);
    let Some(stat) = cx.world.files.stat(path).await? else { return Ok(None) };
    let text = cx.world.files.read(path, 65_536).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let first = text.lines().next().unwrap_or_default().trim();
    let pid = first.parse::<u32>().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| format!("{}: its first line is no process number", path.display()))?;
    Ok(Some((pid, cx.world.clock.now().wall.duration_since(stat.modified).as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let tail = "S 1 10 10 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 4242 1000 200 18446744073709551615";
        for name in ["postgres", "a) b", ") R 1 (", "x y z", "()", "((sd-pam))", ""] {
            let process = parse(&format!("77 ({name}) {tail}\n")).unwrap();
            assert_eq!(
                (process.pid, process.name.as_str(), process.state, process.start),
                (77, name, 'S', 4242)
            );
        }
        for wrong in ["", "77", "77 (x)", "77 (x) S 1", "x (y) S"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_zombie_does_not_run() {
        let process = Process { pid: 1, name: String::new(), state: 'Z', start: 100 };
        assert!(!process.runs());
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: 61_000 };
        assert_eq!(process.age(&now), Duration::from_secs(60));
    }
}
