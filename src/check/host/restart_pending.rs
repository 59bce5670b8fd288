//! Does what runs still match what is installed and configured, or would a restart bring something else?

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::door::Door;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::stopped;

/// Does what runs still match what is installed and configured?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartPending {
    /// A PostgreSQL server: its settings, its configuration files, and on this machine its program.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// A file whose first line is the number of a process: its program and its libraries.
    #[serde(default)]
    pidfile: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "restart_pending",
    summary: "what runs is what is installed and configured: no restart is owed",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(RestartPending),
    build,
};

const DOCS: &str = r"
Shows that no restart is owed: a restart that comes unasked, in the middle of the work, must not bring another version or
other settings with it.

**How it is measured.** Of a PostgreSQL server: settings that wait for a restart (`pg_settings.pending_restart`), errors in its
configuration files (`pg_file_settings`, which a restart would trip over), configuration files that were written after the
server last read them (`pg_conf_load_time()`, where the role may see files: superuser, or `pg_read_server_files` and the right to
execute `pg_stat_file`), and, when the server runs on this machine, whether its program or a library of it was replaced on disk
since it started (`/proc/PID/exe` and `/proc/PID/maps` that say `(deleted)`). Of a `pidfile`: the program and the libraries of
that process.

**Passes** when nothing is found. **Fails** when a setting waits, a configuration file has an error or was changed and not read yet
(what a reload would do, a restart does, too), or a program was replaced; for a pid file also when no such process runs.

**Unknown** when the server does not answer, the role may not see its configuration files (superuser, or the right to execute
`pg_show_all_file_settings`), or /proc does not show the process.

**Traps.** A server on another machine tells its settings, not its program: the evidence says so. A file that was written within the
second in which it was last read is taken for read. A package upgrade replaces the program under a running server, and the
next crash restarts it as another minor version.

```yaml
preconditions:
  - restart_pending: { target: old }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: RestartPending = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.target.is_some() == check.pidfile.is_some() {
        return Err("say one of `target` (a PostgreSQL server) and `pidfile`".to_owned());
    }
    Ok(Box::new(check))
}

const EXPECTED: &str = "nothing waits for a restart";
const HELP: &str = "restart it (or reload it, for a changed file) at a time of your choosing, before the work, then measure again";

/// Configuration files that were written after they were last read: a restart reads them, and brings what stands there. The
/// server tells the time of a file in whole seconds, rounded down: what was written within the second is not seen.
const UNREAD: &str = "select f.sourcefile, pg_catalog.pg_conf_load_time()::text \
    from (select distinct sourcefile from pg_catalog.pg_file_settings) f \
    cross join lateral pg_catalog.pg_stat_file(f.sourcefile, true) s \
    where s.modification > pg_catalog.pg_conf_load_time() order by 1";

/// Files of a process that were replaced since it started.
async fn replaced(pid: u32, cx: &Context) -> Result<Vec<String>, String> {
    let (exe, maps) = (format!("/proc/{pid}/exe"), format!("/proc/{pid}/maps"));
    let program = std::fs::read_link(&exe).map_err(|error| format!("{exe} cannot be read: {error}"))?;
    let program = program.to_string_lossy().into_owned();
    let mut found = Vec::new();
    if let Some(path) = program.strip_suffix(" (deleted)") {
        found.push(format!("the program {path} was replaced"));
    }
    let maps = cx.world.files.read(Path::new(&maps), 16 << 20).await?;
    for line in String::from_utf8_lossy(&maps).lines() {
        // address, rights, offset, device, inode, path
        let mut fields = line.splitn(6, ' ').filter(|field| !field.is_empty());
        let executable = fields.nth(1).is_some_and(|rights| rights.contains('x'));
        let path = line.find('/').and_then(|at| line.get(at..)).unwrap_or_default();
        if executable && let Some(path) = path.strip_suffix(" (deleted)") {
            let words = format!("the library {path} was replaced");
            if !found.contains(&words) && !program.starts_with(path) {
                found.push(words);
            }
        }
    }
    Ok(found)
}

impl RestartPending {
    async fn of_server(&self, name: &str, cx: &Context) -> Result<Outcome, Outcome> {
        let door = Door::new(KIND.name, name, EXPECTED);
        let (session, identity) = door.open(cx).await?;
        let pending = "select name, setting from pg_settings where pending_restart order by name";
        let rows = session.query(pending).await.map_err(|e| door.unanswered(&e))?;
        let text = |row: &Vec<Option<String>>, n: usize| row.get(n).cloned().flatten().unwrap_or_default();
        let mut found: Vec<String> = rows
            .iter()
            .map(|row| format!("`{}` waits for a restart (now {})", text(row, 0), text(row, 1)))
            .collect();
        // A setting that only waits for a restart stands there with an error, too.
        let errors = "select sourcefile, sourceline, coalesce(name, ''), error from pg_file_settings f \
                      where error is not null and not exists \
                          (select from pg_settings s where s.name = f.name and s.pending_restart) \
                      order by seqno";
        let rows = session.query(errors).await.map_err(|e| door.unanswered(&e))?;
        found.extend(
            rows.iter()
                .map(|row| format!("{}:{}: {} {}", text(row, 0), text(row, 1), text(row, 2), text(row, 3))),
        );
        let mut remarks = Vec::new();
        match session.query(UNREAD).await {
            Ok(rows) => found.extend(
                rows.iter()
                    .map(|row| format!("{} was changed after the server last read it (at {})", text(row, 0), text(row, 1))),
            ),
            Err(error) if error.sqlstate.as_deref() == Some("42501") => remarks.push(
                "whether its configuration files were changed since they were read was not looked at: the role may not \
                 (pg_read_server_files may)"
                    .to_owned(),
            ),
            Err(error) => return Err(door.unanswered(&error)),
        }
        if session.is_local() {
            let data = session.identity().data_directory.clone();
            let pid = stopped::postmaster(Path::new(&data));
            match pid {
                Ok(Some(pid)) => match replaced(pid, cx).await {
                    Ok(more) => found.extend(more),
                    Err(why) => {
                        return Err(Outcome::unknown(why, EXPECTED).help("look as root").on(name, identity));
                    }
                },
                Ok(None) => remarks.push("its program was not looked at: no process is known".to_owned()),
                Err(why) => {
                    return Err(Outcome::unknown(why, EXPECTED).help("look as root").on(name, identity));
                }
            }
        } else {
            remarks.push("its program was not looked at: the server is on another machine".to_owned());
        }
        let outcome = judged(found).on(name, identity);
        Ok(remarks.into_iter().fold(outcome, Outcome::detail))
    }

    async fn of_process(&self, path: &str, cx: &Context) -> Result<Outcome, Outcome> {
        let unknown =
            |why: String| Outcome::unknown(why, EXPECTED).help("look as root, or correct `pidfile`");
        let text = match cx.world.files.stat(Path::new(path)).await.map_err(unknown)? {
            None => {
                return Ok(Outcome::fail(format!("no pid file {path}"), EXPECTED).help("start the service"));
            }
            Some(_) => cx.world.files.read(Path::new(path), 4096).await.map_err(unknown)?,
        };
        let text = String::from_utf8_lossy(&text);
        let first = text.lines().next().unwrap_or_default().trim();
        let pid = first.parse::<u32>().map_err(|_| unknown(format!("{path} names no process")))?;
        if !Path::new(&format!("/proc/{pid}")).exists() {
            let seen = format!("{path} names process {pid}, which does not exist");
            return Ok(Outcome::fail(seen, EXPECTED).help("start the service"));
        }
        Ok(judged(replaced(pid, cx).await.map_err(unknown)?).fact("pid", pid))
    }
}

fn judged(found: Vec<String>) -> Outcome {
    match found.as_slice() {
        [] => Outcome::pass(EXPECTED, EXPECTED),
        [only] => Outcome::fail(only.clone(), EXPECTED).help(HELP),
        [first, rest @ ..] => {
            let seen = format!("{first}, and {} more", rest.len());
            found.iter().fold(Outcome::fail(seen, EXPECTED).help(HELP), |outcome, line| outcome.detail(line))
        }
    }
}

#[async_trait]
impl Check for RestartPending {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let measured = match (&self.target, &self.pidfile) {
            (Some(target), _) => self.of_server(target, cx).await,
            (None, Some(path)) => self.of_process(path, cx).await,
            (None, None) => Err(Outcome::unknown("neither `target` nor `pidfile` is given", EXPECTED)),
        };
        measured.unwrap_or_else(|unknown| unknown)
    }
}
