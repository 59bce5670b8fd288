//! Do as many processes run as should, or is it proved that none does?

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::{self, Entry};
use super::proc::{self, Process};
use crate::base::text;
use crate::check::params::{Count, Flag};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, pattern};

/// The longest command line that is read, in bytes: the most that the kernel lets a program be started with.
const LONGEST_COMMAND: u64 = 8 << 20;
/// Most processes in the evidence.
const MOST: usize = 10;

/// Do as many processes run as should?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessRunning {
    /// The exact name of the executable, without its path: `postgres`. This, `command` or `user` is needed.
    #[serde(default)]
    name: Option<String>,
    /// What the whole command line must fit, with one space between arguments; `*` stands for any text, `?` for one
    /// character: `*/synapse_worker * --config *`.
    #[serde(default)]
    command: Option<String>,
    /// The user that it runs as (effective user), by name or number.
    #[serde(default)]
    user: Option<String>,
    /// `true` (the default): it must run. `false`: no such process may run.
    #[serde(default)]
    running: Option<Flag>,
    /// At least so many; 1 when not given.
    #[serde(default)]
    at_least: Option<Count>,
    /// At most so many.
    #[serde(default)]
    at_most: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "process_running",
    summary: "as many processes of a name, a command line or a user run as should, or none does",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ProcessRunning),
    build,
};

const DOCS: &str = r"
Shows that as many processes run as should, or with `running: false` that none does: no `pg_dump`, no `rsync`, nobody's `vacuumdb`.

**How it is measured.** Every process in /proc. `name`: the executable's file name, or the name that the kernel keeps, is exactly
this. Where the executable may not be seen (only root sees those of others), the
name in the command line stands for it, if the kernel has the same. `command`: the whole command line fits. `user`: the effective user. All that are given must agree. Zombies, threads of the
kernel, Holdpoint itself and the processes that started it do not count: a pattern does not find the shell in which it was typed.

**Passes** when their number is within `at_least` and `at_most`. **Fails** otherwise.

**Unknown** when /proc hides the processes of others (`hidepid`), a process or its name cannot be known, the user's name
cannot be looked up, or too few were found and Holdpoint runs in a container: others outside of it cannot be seen.

**Traps.** A process that runs need not answer. `service_running` also asks systemd and compares ages. Processes in containers
of this machine count: name their `user` or their `command` when they must not. A server may show its state in its command line:
`postgres: checkpointer`.

```yaml
preconditions:
  - process_running: { id: no-dump, name: pg_dump, running: false }
postconditions:
  - process_running: { command: '*python*synapse.app.generic_worker*', user: matrix-synapse, at_least: 4, at_most: 4 }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: ProcessRunning = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let given = [&check.name, &check.command, &check.user];
    if given.iter().all(|key| key.is_none()) {
        return Err("say which processes: `name`, `command` or `user`".to_owned());
    }
    if given.into_iter().flatten().any(|text| text.trim().is_empty()) {
        return Err("`name`, `command` and `user` cannot be empty".to_owned());
    }
    if check.name.as_ref().is_some_and(|name| name.contains('/')) {
        return Err("`name` is a name without its path; a path belongs into `command`".to_owned());
    }
    if !check.wanted() && (check.at_least.is_some() || check.at_most.is_some()) {
        return Err("`running: false` cannot stand with `at_least` or `at_most`".to_owned());
    }
    let (least, most) = check.bounds();
    match most {
        Some(most) if most < least && check.wanted() => {
            Err(format!("`at_most` is {most}, which is less than `at_least` ({least})"))
        }
        None if least == 0 => Err("`at_least: 0` holds whatever runs; give `at_most`, too".to_owned()),
        _ => Ok(Box::new(check)),
    }
}

/// What one process says of itself; `None` when it ended meanwhile.
async fn read(process: &Process, name: &str, cx: &Context) -> Result<Option<String>, String> {
    let path = PathBuf::from(format!("/proc/{}/{name}", process.pid));
    match cx.world.files.read(&path, LONGEST_COMMAND).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(why) => match proc::by_pid(process.pid, cx).await? {
            Some(still) if still.runs() => Err(why),
            _ => Ok(None),
        },
    }
}

/// A command line with one space between its arguments.
fn line(raw: &str) -> String {
    raw.trim_end_matches('\0').replace('\0', " ").trim_end().to_owned()
}

/// The effective user in the text of `/proc/PID/status`.
fn effective_user(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)
}

/// Holdpoint itself, and the processes that started it.
fn own_line(all: &[Process]) -> BTreeSet<u32> {
    let mut own = BTreeSet::new();
    let mut at = std::process::id();
    while own.insert(at) {
        match all.iter().find(|process| process.pid == at) {
            Some(process) if process.parent > 1 => at = process.parent,
            _ => break,
        }
    }
    own
}

impl ProcessRunning {
    fn wanted(&self) -> bool {
        self.running.is_none_or(|flag| flag.0)
    }

    fn bounds(&self) -> (u64, Option<u64>) {
        match self.wanted() {
            true => (self.at_least.map_or(1, |least| least.0), self.at_most.map(|most| most.0)),
            false => (0, Some(0)),
        }
    }

    fn what(&self) -> String {
        let mut parts: Vec<String> = self.name.iter().cloned().collect();
        parts.extend(self.command.as_ref().map(|command| format!("with a command line like `{command}`")));
        parts.extend(self.user.as_ref().map(|user| format!("as {user}")));
        parts.join(" ")
    }

    fn expected(&self) -> String {
        let what = self.what();
        let many = |n: u64| text::count(n, "process", "processes");
        match self.bounds() {
            (_, Some(0)) => format!("no process {what}"),
            (least, None) => format!("at least {} {what}", many(least)),
            (least, Some(most)) if least == most => format!("exactly {} {what}", many(least)),
            (least, Some(most)) => format!("{least} to {} {what}", many(most)),
        }
    }

    /// The user's number.
    async fn uid(&self, cx: &Context) -> Result<Option<String>, String> {
        let Some(user) = &self.user else { return Ok(None) };
        if user.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Some(user.clone()));
        }
        match names::look_up("passwd", user, cx).await? {
            Entry::Found(fields) => Ok(fields.get(2).cloned()),
            Entry::Absent(why) | Entry::Unsure(why) => Err(why),
        }
    }

    /// Whether this process is meant, with its command line; `None` when it is not. An error: it could not be told.
    async fn fits(
        &self,
        process: &Process,
        uid: Option<&str>,
        cx: &Context,
    ) -> Result<Option<String>, String> {
        if let Some(uid) = uid {
            let Some(status) = read(process, "status", cx).await? else { return Ok(None) };
            if effective_user(&status) != Some(uid) {
                return Ok(None);
            }
        }
        let Some(command) = read(process, "cmdline", cx).await? else { return Ok(None) };
        let command = line(&command);
        if self.command.as_ref().is_some_and(|wanted| !pattern::fits(wanted, &command)) {
            return Ok(None);
        }
        let shown = if command.is_empty() { format!("[{}]", process.name) } else { command };
        match &self.name {
            None => Ok(Some(shown)),
            Some(name) => match proc::called(process, name, cx).await {
                Some(yes) => Ok(yes.then_some(shown)),
                None => match proc::by_pid(process.pid, cx).await? {
                    Some(_) => Err(format!(
                        "the executable of process {} ({}) may not be seen",
                        process.pid, process.name
                    )),
                    None => Ok(None),
                },
            },
        }
    }

    async fn judge(&self, cx: &Context) -> Result<Outcome, String> {
        let expected = self.expected();
        let uid = self.uid(cx).await?;
        let all = proc::all(cx).await?;
        let own = own_line(&all);
        let (mut found, mut unsure, mut zombies) = (Vec::new(), Vec::new(), 0_u64);
        for process in all.iter().filter(|process| !process.kernel && !own.contains(&process.pid)) {
            if !process.runs() {
                zombies += u64::from(
                    proc::called(process, self.name.as_deref().unwrap_or_default(), cx).await == Some(true),
                );
                continue;
            }
            match self.fits(process, uid.as_deref(), cx).await {
                Ok(Some(command)) => found.push((process.pid, command)),
                Ok(None) => {}
                Err(why) => unsure.push(why),
            }
        }
        let (least, most) = self.bounds();
        let n = found.len() as u64;
        let observed = match found.as_slice() {
            [] => format!("no process {}", self.what()),
            [(pid, command)] => format!("1 process: {pid} {}", shortened(command)),
            _ => text::count(n, "process", "processes"),
        };
        // More may be there than were seen; what was seen is there.
        let more = most.is_some_and(|most| n <= most) || n < least;
        let doubt = match unsure.first() {
            Some(why) => Some(why.clone()),
            None => proc::confined(cx).await?,
        };
        if let Some(why) = doubt.filter(|_| more) {
            let seen = if n == 0 { "none seen" } else { &observed };
            return Err(format!("{seen}, but {why}"));
        }
        let help = match most.is_some_and(|most| n > most) {
            true => "find out who started it and why (`ps -o user,lstart,args -p PID`), and let it end",
            false => "start it the usual way, and read its log when it does not stay",
        };
        let mut outcome = Outcome::judge(n >= least && most.is_none_or(|most| n <= most), observed, expected)
            .help(help)
            .fact("processes", n);
        if n > 1 {
            let lines = found.iter().take(MOST).map(|(pid, command)| format!("{pid} {}", shortened(command)));
            outcome.details.extend(lines);
        }
        if zombies > 0 {
            let words = text::count(zombies, "zombie", "zombies");
            outcome = outcome.detail(format!("{words} of that name: ended, and nobody took note"));
        }
        Ok(outcome)
    }
}

fn shortened(command: &str) -> String {
    match command.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &command[..at]),
        None => command.to_owned(),
    }
}

#[async_trait]
impl Check for ProcessRunning {
    async fn measure(&self, cx: &Context) -> Outcome {
        self.judge(cx).await.unwrap_or_else(|why| {
            Outcome::unknown(why, self.expected())
                .help("look as root, on the machine itself and not in a container")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contradictions_are_found_before_measuring() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({})).contains("say which"));
        assert!(refused(json!({ "at_least": 1 })).contains("say which"));
        assert!(refused(json!({ "name": " " })).contains("empty"));
        assert!(refused(json!({ "name": "/bin/sh" })).contains("path"));
        assert!(refused(json!({ "name": "a", "running": false, "at_most": 2 })).contains("running"));
        assert!(refused(json!({ "name": "a", "at_least": 3, "at_most": 2 })).contains("less than"));
        assert!(refused(json!({ "name": "a", "at_most": 0 })).contains("less than"));
        assert!(refused(json!({ "name": "a", "at_least": 0 })).contains("whatever runs"));
        assert_eq!(refused(json!({ "name": "a", "at_least": 0, "at_most": 0 })), "");
    }

    #[test]
    fn own_line_is_the_way_up() {
        let process = |pid: u32, parent: u32| Process {
            pid,
            parent,
            name: String::new(),
            state: 'S',
            kernel: false,
            start: 0,
        };
        let me = std::process::id();
        let all = [
            process(me, 9_000_001),
            process(9_000_001, 9_000_002),
            process(9_000_002, 1),
            process(9_000_003, me),
        ];
        assert_eq!(own_line(&all), BTreeSet::from([me, 9_000_001, 9_000_002]));
        assert_eq!(line("sleep\0 60 \0\0"), "sleep  60");
        assert_eq!(effective_user("Name:\tx\nUid:\t0\t104\t0\t0\n"), Some("104"));
    }
}
