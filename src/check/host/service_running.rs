//! Does a service run, or is it proved to be stopped? By systemd unit, process name or pid file; all that are given must
//! agree.

mod server;
mod sight;
mod systemd;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::proc::Process;
use crate::base::{Moment, Span};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use sight::look;

/// Does a service run, or is it proved to be stopped?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRunning {
    /// A systemd unit: `postgresql@15-main.service`.
    #[serde(default)]
    unit: Option<String>,
    /// The exact name of the executable, without its path: `postgres`.
    #[serde(default)]
    process: Option<String>,
    /// A file whose first line is the process number.
    #[serde(default)]
    pidfile: Option<String>,
    /// `true` (the default): it must run. `false`: it must be stopped.
    #[serde(default)]
    running: Option<Flag>,
    /// Another service that must have been started before this one: an application is newer than its database.
    #[serde(default)]
    newer_than: Option<Service>,
    /// It has run at least this long: a service that crashes and starts again in a circle is not running.
    #[serde(default)]
    up_for: Option<Span>,
}

/// Another service. One of the keys is needed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    /// A systemd unit.
    #[serde(default)]
    unit: Option<String>,
    /// The exact name of the executable, without its path.
    #[serde(default)]
    process: Option<String>,
    /// A file whose first line is the process number.
    #[serde(default)]
    pidfile: Option<String>,
    /// In `newer_than`: a PostgreSQL server, also on another machine. A restart inside of it counts, too.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "service_running",
    summary: "a service runs (and was restarted after another), or is proved to be stopped",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ServiceRunning),
    build,
};

const DOCS: &str = r"
Shows that a service runs, or with `running: false` that it is stopped.

**How it is measured.** `unit`: `systemctl show`. `process`: every process in /proc whose executable's file name, or whose name
as the kernel keeps it, is exactly this (where the executable may not be seen, the name in its command line). `pidfile`: the
process whose number stands in the file. All that are given must agree. Ages come from the start time in /proc and the boot
clock, which nobody can set.

**Passes** when it runs (or with `running: false`, when the unit is inactive, no such process exists, and the pid file names
none). **Fails** otherwise; a zombie does not run, and a unit that is `activating`, `auto-restart` or `active (exited)` does not
either. **Unknown** when systemd is not in charge or does not answer, it knows no such unit, /proc shows only our own
processes, none is found and one of somebody else may be it (only root sees what others execute), or a pid file's process is
younger than the file, so that it may be another program.

`newer_than` compares start times: the first process of this service must have started after the first one of the
other. With `target` the other is a PostgreSQL server, here or elsewhere: its age is asked of itself, and a restart inside of
it (after a crash its first process stays, all others are new) counts. `up_for` wants it to have run that long.

**Traps.** Debian's `postgresql.service` is an umbrella that stays `active (exited)` whatever its clusters do: name
`postgresql@15-main.service`. A running process need not answer: use `pg_accepts_connections`. After a crash inside PostgreSQL
its first process keeps its start time although all others are new.

```yaml
preconditions:
  - service_running: { unit: matrix-synapse.service, running: false }
postconditions:
  - service_running: { process: synapse_main, newer_than: { pidfile: /run/postgresql/15-main.pid }, up_for: 30s }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ServiceRunning = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.selector().is_empty() {
        return Err("say which service: `unit`, `process` or `pidfile`".to_owned());
    }
    if check.newer_than.as_ref().is_some_and(Service::is_empty) {
        return Err("`newer_than` must say which service: `unit`, `process` or `pidfile`".to_owned());
    }
    if !check.wanted_up() && (check.newer_than.is_some() || check.up_for.is_some()) {
        return Err(
            "`running: false` cannot stand with `newer_than` or `up_for`: what is stopped has no age"
                .to_owned(),
        );
    }
    if !check.wanted_up() && check.unit.is_none() && check.process.is_none() {
        return Err("`running: false` needs `unit` or `process`: a pid file that is gone does not prove that the process is"
            .to_owned());
    }
    if check.process.as_ref().is_some_and(|name| name.contains('/')) {
        return Err("`process` is a name without its path".to_owned());
    }
    Ok(Box::new(check))
}

impl Service {
    fn is_empty(&self) -> bool {
        [&self.unit, &self.process, &self.pidfile, &self.target]
            .iter()
            .all(|given| given.as_deref().unwrap_or_default().is_empty())
    }

    fn name(&self) -> String {
        let unit = self.unit.clone();
        let of_file = |path: &String| format!("the process of {path}");
        let other = || self.pidfile.as_ref().map(of_file).or_else(|| self.target.clone());
        unit.or_else(|| self.process.clone()).or_else(other).unwrap_or_default()
    }
}

#[async_trait]
impl Check for ServiceRunning {
    fn targets(&self) -> Vec<String> {
        self.newer_than.as_ref().and_then(|other| other.target.clone()).into_iter().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let service = self.selector();
        let wanted = self.wanted_up();
        let expected = self.expected();
        let sights = match look(&service, cx).await {
            Ok(sights) => sights,
            Err(why) => {
                return Outcome::unknown(why, expected)
                    .help("look as root, or choose another way to find it");
            }
        };
        let holds = sights.iter().all(|sight| sight.up == Some(wanted));
        let words = |good: bool| -> Vec<String> {
            sights.iter().filter(|s| (s.up == Some(wanted)) == good).map(|s| s.words.clone()).collect()
        };
        let name = service.name();
        let help = match wanted {
            true if service.unit.is_none() => "look at its log before starting it again".to_owned(),
            true => format!("look at its log (`journalctl -u {name} -n 50`) before starting it again"),
            false => format!("stop {name} the usual way, and see that nothing starts it again"),
        };
        let mut outcome = Outcome::judge(holds, words(holds).join(", "), expected).help(help);
        if !holds {
            outcome.details.extend(words(true));
        }
        let now = cx.world.clock.now();
        let first =
            sights.iter().filter_map(|sight| sight.processes.first()).min_by_key(|process| process.start);
        if let Some(process) = first {
            outcome = outcome
                .fact("pid", process.pid)
                .fact("up_ms", process.age(&now).as_millis() as u64)
                .detail(format!("up for {}", Span(process.age(&now))));
        }
        if let Some(restarts) = sights.iter().find_map(|sight| sight.restarts) {
            outcome = outcome.fact("restarts", restarts);
            if restarts > 0 {
                outcome = outcome.detail(format!("systemd has restarted it {restarts} times by itself"));
            }
        }
        match (holds && wanted, first.cloned()) {
            (false, _) => outcome,
            (true, first) => self.judge_age(outcome, first, &now, cx).await,
        }
    }
}

impl ServiceRunning {
    fn selector(&self) -> Service {
        Service {
            unit: self.unit.clone(),
            process: self.process.clone(),
            pidfile: self.pidfile.clone(),
            target: None,
        }
    }

    fn wanted_up(&self) -> bool {
        self.running.is_none_or(|running| running.0)
    }

    fn expected(&self) -> String {
        let mut expected =
            format!("{} {}", self.selector().name(), if self.wanted_up() { "running" } else { "stopped" });
        if let Some(other) = &self.newer_than {
            expected += &format!(", started after {}", other.name());
        }
        if let Some(up) = self.up_for {
            expected += &format!(", for at least {up}");
        }
        expected
    }

    /// The running service's age against what was asked of it.
    async fn judge_age(
        &self,
        mut good: Outcome,
        first: Option<Process>,
        now: &Moment,
        cx: &Context,
    ) -> Outcome {
        if self.newer_than.is_none() && self.up_for.is_none() {
            return good;
        }
        let expected = good.expected.clone();
        let Some(first) = first else {
            return Outcome::unknown("it runs, but its process is not known, so its age is not", expected);
        };
        let name = self.selector().name();
        if let Some(target) = self.newer_than.as_ref().and_then(|other| other.target.as_deref()) {
            let (its, identity) = match server::up_for(target, &expected, cx).await {
                Ok(known) => known,
                Err(unknown) => return *unknown,
            };
            good = good.on(target, identity);
            let mine = first.age(&cx.world.clock.now());
            let observed = format!("{name} is up for {}, {target} for {}", Span(mine), Span(its));
            if mine >= its {
                return Outcome { facts: good.facts, seen: good.seen, ..Outcome::fail(observed, expected) }
                    .help(format!("restart {name}: it may still hold what it got from {target} before that was started again"));
            }
            good.details.push(observed);
        } else if let Some(other) = &self.newer_than {
            let theirs = match look(other, cx).await {
                Ok(sights) => {
                    sights.into_iter().flat_map(|sight| sight.processes).min_by_key(|process| process.start)
                }
                Err(why) => return Outcome::unknown(format!("{}: {why}", other.name()), expected),
            };
            let Some(theirs) = theirs else {
                return Outcome::unknown(
                    format!("{} has no running process to compare with", other.name()),
                    expected,
                );
            };
            let (mine, its) = (Span(first.age(now)), Span(theirs.age(now)));
            let observed = format!("{name} is up for {mine}, {} for {its}", other.name());
            if first.start <= theirs.start {
                return Outcome { facts: good.facts, ..Outcome::fail(observed, expected) }.help(format!(
                    "restart {name}: it may still hold what it got from {} before that was started again",
                    other.name()
                ));
            }
            good.details.push(observed);
        }
        match self.up_for {
            Some(up) if first.age(now) < up.0 => {
                let observed = format!("{name} is up for {} only", Span(first.age(now)));
                Outcome { facts: good.facts, ..Outcome::fail(observed, expected) }
                    .help("wait and measure again; when it stays young, it is crashing: read its log")
            }
            _ => good,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::check::Verdict;
    use crate::world::files::{Files, LocalFiles, Space, Stat};
    use crate::world::process::{Probe, Probed, Processes};
    use crate::world::{Clock, World};

    /// A machine where systemd is process 1 and says this.
    struct Systemd(&'static str, i32);

    #[async_trait]
    impl Processes for Systemd {
        async fn probe(&self, probe: &Probe) -> Result<Probed, String> {
            assert_eq!(probe.argv[0], "systemctl");
            Ok(Probed {
                status: Some(self.1),
                signal: None,
                timed_out: false,
                stdout: self.0.into(),
                stderr: b"Failed to connect to bus".to_vec(),
                truncated: false,
            })
        }
    }

    struct Proc;

    #[async_trait]
    impl Files for Proc {
        async fn space(&self, path: &std::path::Path) -> Result<Space, String> {
            LocalFiles.space(path).await
        }
        async fn stat(&self, path: &std::path::Path) -> Result<Option<Stat>, String> {
            LocalFiles.stat(path).await
        }
        async fn list(&self, path: &std::path::Path) -> Result<Vec<Stat>, String> {
            LocalFiles.list(path).await
        }
        async fn read(&self, path: &std::path::Path, limit: u64) -> Result<Vec<u8>, String> {
            match path.to_str() {
                Some("/proc/1/comm") => Ok(b"systemd\n".to_vec()),
                _ => LocalFiles.read(path, limit).await,
            }
        }
        async fn read_range(&self, path: &std::path::Path, from: u64, len: usize) -> Result<Vec<u8>, String> {
            LocalFiles.read_range(path, from, len).await
        }
        async fn read_link(&self, path: &std::path::Path) -> Result<Option<std::path::PathBuf>, String> {
            LocalFiles.read_link(path).await
        }
        async fn tree_size(&self, path: &std::path::Path) -> Result<u64, String> {
            LocalFiles.tree_size(path).await
        }
    }

    async fn verdict(params: Value, said: &'static str, status: i32) -> (Verdict, String) {
        let Value::Object(params) = params else { panic!("a map") };
        let clock: Arc<dyn Clock> = Arc::new(crate::world::clock::SystemClock);
        let world = World { clock, files: Arc::new(Proc), processes: Arc::new(Systemd(said, status)) };
        let outcome = build(params).unwrap().measure(&Context::local(world)).await;
        (outcome.verdict, outcome.observed)
    }

    #[tokio::test]
    async fn units() {
        let up = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=1\nNRestarts=2\n";
        let down = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nMainPID=0\nNRestarts=0\n";
        let umbrella = "LoadState=loaded\nActiveState=active\nSubState=exited\nMainPID=0\nNRestarts=0\n";
        let want_up = || json!({ "unit": "x.service" });
        let want_down = || json!({ "unit": "x.service", "running": "false" });
        assert_eq!(verdict(want_up(), up, 0).await.0, Verdict::Pass);
        assert_eq!(verdict(want_down(), up, 0).await.0, Verdict::Fail);
        assert_eq!(verdict(want_up(), down, 0).await.0, Verdict::Fail);
        assert_eq!(verdict(want_down(), down, 0).await.0, Verdict::Pass);
        assert_eq!(verdict(want_down(), umbrella, 0).await.0, Verdict::Fail);
        let (found, words) = verdict(want_up(), umbrella, 0).await;
        assert!(found == Verdict::Fail && words.contains("umbrella"), "{words}");
        let (found, words) = verdict(want_down(), "", 1).await;
        assert!(found == Verdict::Unknown && words.contains("bus"), "{words}");
        let absent = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n";
        assert_eq!(verdict(want_down(), absent, 0).await.0, Verdict::Unknown);
        let both = json!({ "unit": "x", "process": "no-such-program", "running": false });
        assert_eq!(verdict(both, down, 0).await.0, Verdict::Pass);
    }

    #[test]
    fn parameters_are_checked_when_read() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({})).contains("say which"));
        assert!(refused(json!({ "unit": "x", "newer_than": {} })).contains("newer_than"));
        assert!(refused(json!({ "unit": "x", "running": false, "up_for": "1s" })).contains("up_for"));
        assert!(refused(json!({ "pidfile": "/x", "running": false })).contains("does not prove"));
        assert!(refused(json!({ "process": "/usr/bin/x" })).contains("path"));
    }
}
