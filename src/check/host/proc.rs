//! Processes, read from /proc: all of them, by exact name or by pid file, with their state and start. Ages come from the
//! boot clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Moment;
use crate::check::Context;

/// Clock ticks in a second, as /proc counts them: fixed at 100 for programs, whatever the kernel's own HZ is.
const TICKS: u64 = 100;
/// The flag of a thread of the kernel (PF_KTHREAD).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check) struct Process {
    pub pid: u32,
    /// Its name as the kernel keeps it, at most 15 bytes.
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// The process that started it, or that took it over.
    pub parent: u32,
    /// A thread of the kernel, which is no program.
    pub kernel: bool,
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
pub(in crate::check) fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3 of the whole line; the parent 4, the flags 9, the start 22.
    let parent = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let start = fields.nth(12)?.parse().ok()?;
    let kernel = flags & KERNEL_THREAD != 0;
    Some(Process { pid: pid.parse().ok()?, name: name.to_owned(), state, parent, kernel, start })
}

/// One process; `None` when there is none of that number (any more).
pub(in crate::check) async fn by_pid(pid: u32, cx: &Context) -> Result<Option<Process>, String> {
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

/// Every process that there is.
pub(in crate::check) async fn all(cx: &Context) -> Result<Vec<Process>, String> {
    all_visible(cx).await?;
    let mut found = Vec::new();
    for entry in cx.world.files.list(Path::new("/proc")).await? {
        if let Some(pid) = entry.path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok())
            && let Some(process) = by_pid(pid, cx).await?
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// All processes called `name`: by their executable's file name, or by the name that the kernel keeps. An error when none
/// is seen and one may be: what others execute only root may see.
pub(in crate::check) async fn by_name(name: &str, cx: &Context) -> Result<Vec<Process>, String> {
    let (mut found, mut untold) = (Vec::new(), None);
    for process in all(cx).await? {
        match called(&process, name, cx).await {
            Some(true) => found.push(process),
            Some(false) => {}
            // One that has ended meanwhile is no longer in question.
            None => untold = by_pid(process.pid, cx).await?.or(untold),
        }
    }
    if let (true, Some(process)) = (found.is_empty(), untold) {
        return Err(format!(
            "the executable of process {} ({}) may not be seen, so that it may be {name}; measure as root",
            process.pid, process.name
        ));
    }
    found.sort_by_key(|process| (process.start, process.pid));
    Ok(found)
}

/// Whether a process has this name; `None`: nobody can tell, because its executable may not be seen, and its command line
/// has another name than the kernel.
pub(in crate::check) async fn called(process: &Process, name: &str, cx: &Context) -> Option<bool> {
    if process.name == kept(name) {
        return Some(true);
    }
    // Only root may see what others execute. A zombie executes nothing.
    let dir = PathBuf::from(format!("/proc/{}", process.pid));
    match cx.world.files.read_link(&dir.join("exe")).await {
        Ok(None) => Some(false),
        Ok(Some(executable)) => {
            let file =
                executable.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // After an upgrade the running program's file is gone.
            Some(file.strip_suffix(" (deleted)").unwrap_or(&file) == name)
        }
        Err(_) => {
            let line = cx.world.files.read_range(&dir.join("cmdline"), 0, 4_096).await.ok()?;
            by_itself(process, &String::from_utf8_lossy(&line), name)
        }
    }
}

/// The part of a name that the kernel keeps: 15 bytes.
fn kept(name: &str) -> &str {
    let end = (0..=15.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    &name[..end]
}

/// The same by what a process says of itself, where its executable may not be seen.
fn by_itself(process: &Process, line: &str, name: &str) -> Option<bool> {
    let first = line.split('\0').next().unwrap_or_default();
    // A server shows its state behind a colon, a login shell has a hyphen: `postgres: checkpointer`, `-bash`.
    let first = first.split(": ").next().unwrap_or_default().trim_start_matches('-');
    let own = first.rsplit('/').next().unwrap_or_default();
    match own == name {
        true => Some(true),
        // The first process is `init` under one name or another.
        false => (process.kernel || process.pid == 1 || kept(own) == process.name).then_some(false),
    }
}

/// Why "no such process" would say nothing of the machine: Holdpoint runs in a container's name space of processes.
pub(in crate::check) async fn confined(cx: &Context) -> Result<Option<String>, String> {
    // The number of the first such name space is fixed in the kernel.
    let own = cx.world.files.read_link(Path::new("/proc/self/ns/pid")).await?;
    Ok(match own {
        Some(link) if link == Path::new("pid:[4026531836]") => None,
        Some(_) => Some("Holdpoint sees only the processes of the container that it runs in".to_owned()),
        None => Some("/proc does not say which processes can be seen".to_owned()),
    })
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
pub(in crate::check) async fn pid_file(path: &str, cx: &Context) -> Result<Option<(u32, f64)>, String> {
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
            assert_eq!((process.parent, process.kernel), (1, false));
        }
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 12 0 0";
        assert!(parse(kernel).unwrap().kernel);
        for wrong in ["", "77", "77 (x)", "77 (x) S 1", "x (y) S"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_a_process_gives_itself() {
        let process = |name: &str| Process {
            pid: 77,
            name: name.to_owned(),
            state: 'S',
            parent: 1,
            kernel: false,
            start: 0,
        };
        let is = |kernel: &str, line: &str, name: &str| by_itself(&process(kernel), line, name);
        assert_eq!(is("postgres", "postgres: checkpointer ", "rsync"), Some(false));
        assert_eq!(is("systemd-journal", "/lib/systemd/systemd-journald\0", "rsync"), Some(false));
        assert_eq!(is("bash", "-bash\0", "rsync"), Some(false));
        assert_eq!(is("synapse", "/usr/bin/python3\0-m\0x\0", "python3"), Some(true));
        assert_eq!(
            is("synapse", "/usr/bin/python3\0-m\0x\0", "rsync"),
            None,
            "two names, and perhaps a third"
        );
        assert_eq!(kept("holdpoint-test-daemon-long"), "holdpoint-test-");
        assert_eq!(kept("ééééééééé"), "ééééééé");
    }

    #[test]
    fn a_zombie_does_not_run() {
        let process =
            Process { pid: 1, name: String::new(), state: 'Z', parent: 0, kernel: false, start: 100 };
        assert!(!process.runs());
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot_ms: 61_000 };
        assert_eq!(process.age(&now), Duration::from_secs(60));
    }
}
