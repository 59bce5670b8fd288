//! What can be seen of a service: its unit, its processes, its pid file. Each way of looking is one sight.

use std::time::Duration;

use super::Service;
use super::systemd::{self, State};
use crate::check::Context;
use crate::check::host::proc::{self, Process};

/// A process younger than its pid file by this much is another one under the same number.
const REUSED: Duration = Duration::from_secs(10);

/// What one way of looking saw.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// `Some(true)`: it runs; `Some(false)`: it is stopped; `None`: neither.
    pub up: Option<bool>,
    pub words: String,
    pub processes: Vec<Process>,
    pub restarts: Option<u64>,
}

impl Sight {
    /// Running when any process runs, else stopped.
    fn of(mut processes: Vec<Process>, what: &str) -> Sight {
        let dead = processes.len();
        processes.retain(Process::runs);
        let words = match (processes.first(), dead) {
            (Some(first), _) if processes.len() == 1 => format!("{what} runs as process {}", first.pid),
            (Some(first), _) => {
                format!("{what} runs as {} processes, the first is {}", processes.len(), first.pid)
            }
            (None, 0) => format!("no process {what}"),
            (None, _) => format!("{what} is a zombie: it has ended, and nobody took note"),
        };
        Sight { up: Some(!processes.is_empty()), words, processes, restarts: None }
    }
}

/// Looks in every way that was given.
pub(super) async fn look(service: &Service, cx: &Context) -> Result<Vec<Sight>, String> {
    let mut sights = Vec::new();
    if let Some(unit) = &service.unit {
        let shown = systemd::show(unit, cx).await?;
        let main = match shown.main_pid {
            0 => None,
            pid => proc::by_pid(pid, cx).await?,
        };
        let mut words = format!("{unit} is {} ({})", shown.active, shown.sub);
        if (shown.active.as_str(), shown.sub.as_str()) == ("active", "exited") {
            words += ": an umbrella without a process of its own; name the unit that has one";
        }
        let up = match shown.state() {
            State::Running => Some(main.as_ref().is_none_or(Process::runs)),
            State::Stopped => Some(false),
            State::Between => None,
        };
        sights.push(Sight {
            up,
            words,
            processes: main.into_iter().collect(),
            restarts: Some(shown.restarts),
        });
    }
    let named = match &service.process {
        Some(name) => Some(proc::by_name(name, cx).await?),
        None => None,
    };
    if let Some(path) = &service.pidfile {
        sights.push(match proc::pid_file(path, cx).await? {
            None => Sight { up: Some(false), words: format!("no pid file {path}"), ..Sight::default() },
            Some((pid, file_age)) => by_pid_file(path, pid, file_age, named.as_deref(), cx).await?,
        });
    }
    if let (Some(name), Some(found)) = (&service.process, named) {
        sights.push(Sight::of(found, name));
    }
    Ok(sights)
}

async fn by_pid_file(
    path: &str,
    pid: u32,
    file_age: f64,
    named: Option<&[Process]>,
    cx: &Context,
) -> Result<Sight, String> {
    let Some(process) = proc::by_pid(pid, cx).await? else {
        let words = format!("{path} names process {pid}, which does not exist");
        return Ok(Sight { up: Some(false), words, ..Sight::default() });
    };
    match named {
        Some(named) if !named.iter().any(|one| one.pid == pid) => {
            let words = format!("{path} names process {pid}, which is {}", process.name);
            return Ok(Sight { up: Some(false), words, ..Sight::default() });
        }
        Some(_) => {}
        // Without a name only the age tells whether the number was given to somebody else since.
        None => {
            let age = process.age(&cx.world.clock.now());
            if age.as_secs_f64() + REUSED.as_secs_f64() < file_age {
                return Err(format!(
                    "process {pid} ({}) is younger than {path}: it may be another program; give its `process` name, too",
                    process.name
                ));
            }
        }
    }
    Ok(Sight::of(vec![process.clone()], &process.name))
}
