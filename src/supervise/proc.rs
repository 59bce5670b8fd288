//! What the kernel says about processes, and signals that reach only the process that was meant.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

use super::record::Process;
use crate::base::redact::Redactor;
use crate::base::text::neutral;

/// Length of a command line as it is shown, in characters.
const SHOWN: usize = 100;

/// One line of `/proc/PID/stat`, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub process: Process,
    pub comm: String,
    pub state: u8,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// Clock ticks of processor time, with the children that were waited for.
    pub cpu_ticks: u64,
}

impl Stat {
    /// Neither a zombie nor gone.
    pub fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Stopped by a signal.
    pub fn stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// Is a process still there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    Alive(Stat),
    /// It is there, and hidden from us. It may be another one with the same number.
    Hidden,
    Dead,
}

/// The id of this boot of this machine.
pub(super) fn boot_id() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(path)
        .map(|id| id.trim().to_owned())
        .map_err(|error| format!("cannot read {path}: {error}"))
}

/// What is known of a process; `None` when there is none, or it is hidden.
pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse(pid, &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

fn parse(pid: u32, line: &str) -> Option<Stat> {
    // The name is in parentheses and may hold anything, parentheses included.
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let rest: Vec<&str> = line.get(close + 1..)?.split_ascii_whitespace().collect();
    let number = |field: usize| rest.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        comm: line.get(open + 1..close)?.to_owned(),
        state: *rest.first()?.as_bytes().first()?,
        parent: number(4)?.try_into().ok()?,
        group: number(5)?.try_into().ok()?,
        session: number(6)?.try_into().ok()?,
        cpu_ticks: (14..=17).filter_map(number).sum(),
        process: Process { pid, start_ticks: number(22)? },
    })
}

impl Process {
    /// The process that now has this number.
    pub(super) fn of(pid: u32) -> Option<Process> {
        stat(pid).map(|stat| stat.process)
    }

    /// Whether this very process is there still. A zombie is dead.
    pub(super) fn life(self) -> Life {
        match stat(self.pid) {
            Some(stat) if stat.process == self && stat.lives() => Life::Alive(stat),
            Some(_) => Life::Dead,
            None => match raw(self.pid).map(test_kill_process) {
                Some(Err(rustix::io::Errno::SRCH)) | None => Life::Dead,
                Some(_) => Life::Hidden,
            },
        }
    }

    /// Sends a signal to this very process.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        let gone = || io::Error::from(rustix::io::Errno::SRCH);
        let fd = pidfd_open(raw(self.pid).ok_or_else(gone)?, PidfdFlags::empty())?;
        // The descriptor holds on to one process. If that is the right one now, it was so when the descriptor was made.
        match self.life() {
            Life::Alive(_) => Ok(pidfd_send_signal(&fd, signal)?),
            Life::Hidden => Err(io::ErrorKind::PermissionDenied.into()),
            Life::Dead => Err(gone()),
        }
    }
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// All processes that we can see.
fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Living processes below `ancestor` (as its children, their children, ...) or in the session that it leads, oldest first.
/// `ancestor` itself is not among them.
pub(super) fn family(ancestor: u32) -> Vec<Stat> {
    let all = all();
    let mut known = BTreeSet::from([ancestor]);
    loop {
        let before = known.len();
        known.extend(
            all.iter()
                .filter(|stat| known.contains(&stat.parent))
                .map(|stat| stat.process.pid)
                .collect::<Vec<_>>(),
        );
        if known.len() == before {
            break;
        }
    }
    let mut family: Vec<Stat> = all
        .into_iter()
        .filter(|stat| stat.process.pid != ancestor && stat.lives())
        .filter(|stat| known.contains(&stat.process.pid) || stat.session == ancestor)
        .collect();
    family.sort_by_key(|stat| (stat.process.start_ticks, stat.process.pid));
    family
}

/// `sleep 402 (pid 812)`.
pub(super) fn describe(stat: &Stat, redactor: &Redactor) -> String {
    let pid = stat.process.pid;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        line.split(|b| *b == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    let line = if words.is_empty() { stat.comm.clone() } else { words.join(" ") };
    format!("{} (pid {pid})", shown(&redactor.text(&line)))
}

/// A command line that fits one line.
pub(super) fn shown(line: &str) -> String {
    let line = neutral(&line.replace('\n', " "));
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks() {
        let line = "42 (a) R (b c) S 1 40 39 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 987 0 0";
        let stat = parse(42, line).unwrap();
        assert_eq!(
            (stat.comm.as_str(), stat.state, stat.parent, stat.group, stat.session),
            ("a) R (b c", b'S', 1, 40, 39)
        );
        assert_eq!((stat.process.start_ticks, stat.cpu_ticks), (987, 10));
        assert_eq!(parse(42, "42 (cut"), None);
    }

    #[test]
    fn another_process_with_the_same_number_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let real = Process::of(child.id()).unwrap();
        let stale = Process { start_ticks: real.start_ticks - 1, ..real };
        assert_eq!(stale.life(), Life::Dead);
        assert!(stale.signal(Signal::KILL).is_err());
        assert!(matches!(real.life(), Life::Alive(_)), "the stale one must not have hit it");
        assert!(family(std::process::id()).iter().any(|stat| stat.process == real));
        real.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(real.life(), Life::Dead);
    }
}
