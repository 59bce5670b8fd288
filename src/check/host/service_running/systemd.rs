//! A unit's state, as systemd says it. Where systemd is not in charge, or cannot be asked, nothing is known.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::check::Context;
use crate::world::process::Probe;

/// A unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    pub active: String,
    pub sub: String,
    pub main_pid: u32,
    pub restarts: u64,
}

/// What a unit's state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Stopped,
    /// Neither: starting, stopping, or an umbrella without a process.
    Between,
}

impl Unit {
    pub fn state(&self) -> State {
        match (self.active.as_str(), self.sub.as_str()) {
            // "active (exited)" is an umbrella such as Debian's postgresql.service: it says nothing of any process.
            ("active" | "reloading", sub) if sub != "exited" && self.main_pid != 0 => State::Running,
            // A service whose main process systemd does not know, a socket, a timer.
            ("active", "running" | "listening" | "waiting" | "mounted") => State::Running,
            ("inactive" | "failed", _) if self.main_pid == 0 => State::Stopped,
            _ => State::Between,
        }
    }
}

/// Asks systemd. An error says why there is no answer.
pub(super) async fn show(unit: &str, cx: &Context) -> Result<Unit, String> {
    let first = cx.world.files.read(Path::new("/proc/1/comm"), 64).await?;
    let first = String::from_utf8_lossy(&first).trim().to_owned();
    if first != "systemd" {
        return Err(format!(
            "systemd is not in charge here (process 1 is {first}); ask by `process` or `pidfile`"
        ));
    }
    let properties = "ActiveState,SubState,MainPID,NRestarts,LoadState";
    let probe = Probe {
        argv: ["systemctl", "--no-pager", "show", "-p", properties, "--", unit].map(str::to_owned).to_vec(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: Duration::from_secs(20),
        keep: 65_536,
    };
    let seen = cx.world.processes.probe(&probe).await?;
    if seen.status != Some(0) {
        let why = String::from_utf8_lossy(&seen.stderr).trim().to_owned();
        return Err(format!(
            "systemctl gave no answer: {}",
            if why.is_empty() { "no reason given" } else { &why }
        ));
    }
    parse(unit, &String::from_utf8_lossy(&seen.stdout))
}

fn parse(unit: &str, text: &str) -> Result<Unit, String> {
    let said: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |key: &str| said.get(key).copied().unwrap_or_default();
    match get("LoadState") {
        "loaded" | "masked" => {}
        "" => return Err("systemctl said nothing of the unit".to_owned()),
        "not-found" => {
            return Err(format!(
                "systemd knows no unit {unit}; `systemctl list-units --all` shows their names"
            ));
        }
        other => return Err(format!("the unit {unit} could not be loaded: {other}")),
    }
    if get("ActiveState").is_empty() {
        return Err(format!("systemctl did not say whether {unit} is active"));
    }
    Ok(Unit {
        active: get("ActiveState").to_owned(),
        sub: get("SubState").to_owned(),
        main_pid: get("MainPID").parse().unwrap_or(0),
        restarts: get("NRestarts").parse().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(active: &str, sub: &str, pid: u32) -> State {
        let text =
            format!("MainPID={pid}\nNRestarts=3\nLoadState=loaded\nActiveState={active}\nSubState={sub}\n");
        let unit = parse("x.service", &text).unwrap();
        assert_eq!(unit.restarts, 3);
        unit.state()
    }

    #[test]
    fn states() {
        assert_eq!(state("active", "running", 77), State::Running);
        assert_eq!(state("reloading", "reload", 77), State::Running);
        assert_eq!(state("active", "exited", 0), State::Between, "an umbrella unit");
        assert_eq!(state("activating", "auto-restart", 0), State::Between);
        assert_eq!(state("deactivating", "stop-sigterm", 77), State::Between);
        assert_eq!(state("inactive", "dead", 0), State::Stopped);
        assert_eq!(state("failed", "failed", 0), State::Stopped);
        assert_eq!(state("inactive", "dead", 77), State::Between);
    }

    #[test]
    fn an_unknown_unit_is_no_stopped_one() {
        assert!(parse("x", "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n").is_err());
        assert!(parse("x", "").is_err());
        assert!(parse("x", "LoadState=loaded\n").is_err());
        assert!(parse("x", "LoadState=bad-setting\nActiveState=inactive\n").is_err());
    }
}
