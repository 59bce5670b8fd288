//! Where a driver sits: machine, boot, process. A process is named by its id, its start time and the boot, so that a pid
//! that was given to another process, or a restarted machine, is never taken for the old driver.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// This process, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Host name.
    pub host: String,
    /// Machine id: stays the same across boots.
    pub machine: String,
    /// Boot id: another one after every boot.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
    /// When the process started, in clock ticks since boot.
    pub pid_start: u64,
}

/// What became of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Alive,
    /// It is gone; the text is the proof.
    Dead(String),
    /// It could not be found out; the text says why.
    Unknown(String),
}

impl Seat {
    /// This process. An error says which fact could not be read.
    pub fn here() -> Result<Seat, String> {
        let pid = std::process::id();
        let boot_id = read("/proc/sys/kernel/random/boot_id")?;
        let machine =
            read("/etc/machine-id").or_else(|why| read("/var/lib/dbus/machine-id").map_err(|_| why))?;
        let (_, pid_start) = stat(pid).map_err(|error| format!("cannot read /proc/{pid}/stat: {error}"))?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Seat { host, machine, boot_id, pid, pid_start })
    }

    /// What became of a process of this machine.
    pub fn fate(&self, pid: u32, pid_start: u64, boot_id: &str) -> Fate {
        if boot_id != self.boot_id {
            return Fate::Dead("the machine was restarted since".into());
        }
        match stat(pid) {
            Ok((_, start)) if start != pid_start => {
                Fate::Dead(format!("pid {pid} belongs to another process by now"))
            }
            Ok(('Z' | 'X', _)) => Fate::Dead(format!("pid {pid} has ended")),
            Ok(_) => Fate::Alive,
            // With `hidepid` other users' processes are not to be seen; a signal of 0 still finds them.
            Err(_) => match i32::try_from(pid).ok().and_then(Pid::from_raw).map(test_kill_process) {
                Some(Err(Errno::SRCH)) => Fate::Dead(format!("there is no process {pid} any more")),
                _ => Fate::Unknown(format!(
                    "there is a process {pid}, but /proc does not show it to this user"
                )),
            },
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    match text.trim() {
        "" => Err(format!("{path} is empty")),
        id => Ok(id.to_owned()),
    }
}

/// State and start time of a process. The name in the second field may hold anything, blanks and brackets included.
fn stat(pid: u32) -> Result<(char, u64), String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    let (_, rest) = text.rsplit_once(')').ok_or("no process name in it")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().and_then(|word| word.chars().next()).ok_or("no state in it")?;
    let start = fields.nth(18).and_then(|word| word.parse().ok()).ok_or("no start time in it")?;
    Ok((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_are_told_apart() {
        let seat = Seat::here().unwrap();
        assert_eq!(seat.fate(seat.pid, seat.pid_start, &seat.boot_id), Fate::Alive);
        let dead = |fate, proof: &str| match fate {
            Fate::Dead(how) => assert!(how.contains(proof), "{how}"),
            other => panic!("{other:?}"),
        };
        dead(seat.fate(seat.pid, seat.pid_start + 1, &seat.boot_id), "another process");
        dead(seat.fate(seat.pid, seat.pid_start, "other boot"), "restarted");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (_, start) = stat(child.id()).unwrap();
        assert_eq!(seat.fate(child.id(), start, &seat.boot_id), Fate::Alive);
        child.kill().unwrap();
        for _ in 0..500 {
            if stat(child.id()).unwrap().0 == 'Z' {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        dead(seat.fate(child.id(), start, &seat.boot_id), "has ended");
        child.wait().unwrap();
        dead(seat.fate(child.id(), start, &seat.boot_id), "no process");
    }
}
