//! Runs a short command and judges its exit status and its output. Pass only on the status that was asked for; a command
//! that did not run to its end (not found, killed, timed out) measured nothing.

mod output;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::text::neutral;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::runbook::model::Run;
use crate::world::process::{Probe, Probed};
use output::Demand;

/// Bytes of each output that are kept and judged.
const KEEP: usize = 256 << 10;
/// The check's own `timeout` ends a command; this is only a backstop.
const BACKSTOP: Duration = Duration::from_secs(86_400);
/// From here on an exit status says that the command did not run: 126 and 127 come from a shell or runuser, 128 and
/// above are signals, 255 is a lost connection to many tools.
const NOT_RUN: u64 = 126;

/// Runs a short command and judges its exit status and its output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// A list is program and arguments, without a shell; a string is a bash script, run with `-euo pipefail`. It must
    /// not change anything.
    run: Run,
    /// The exit status that passes, or several; 0 when not given.
    #[serde(default)]
    exit: Option<Exit>,
    /// What standard output must be, blanks at both ends left out.
    #[serde(default)]
    stdout: Option<Demand>,
    /// The user that it runs as; ours when not given.
    #[serde(default)]
    user: Option<String>,
    /// Environment variables. Nothing is inherited but a fixed PATH, HOME and LC_ALL=C.UTF-8; a script gets the
    /// runbook's variables, too.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Working directory; `/` when not given.
    #[serde(default)]
    cwd: Option<String>,
}

/// One exit status, or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Exit {
    /// One.
    One(Count),
    /// Any of these.
    Any(Vec<Count>),
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "command",
    summary: "a short command exits with the right status and says the right thing",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(Command),
    build,
};

const DOCS: &str = r#"
Shows whatever a command shows, for what no other check measures.

**How it is measured.** The command runs with no standard input, a clean environment, and in a process group of its own, which is
killed at the check's `timeout` (one minute when not given) and whenever the check is interrupted. A list runs as it is; a
string runs in `bash -euo pipefail`, with the runbook's variables as environment variables: write `"$name"`.

**Passes** when the exit status is one that `exit` names, and everything in `stdout` holds. **Fails** on any other status up to
125, or when the output is not what it should be. **Unknown** when the command could not start, was not found (127), may
not be run (126), was ended by a signal, timed out, or printed nothing although `stdout` asks for something: a
check that prints nothing has compared nothing with nothing.

`stdout` takes `equals`, `contains`, `lacks`, `one_of`, and for a single number `at_least` and `at_most`; all that are given must hold.

**Traps.** The command must not change anything: it may run often, also in a dry run. Many tools exit 0 although something went
wrong (`psql` without `-v ON_ERROR_STOP=1`, a pipeline in `sh`): let it read back what should be there and compare
that. A command that starts a daemon loses it when the check ends, unless the daemon has its own session.

```yaml
postconditions:
  - command: { run: [psql, -XAtc, "select count(*) from pg_extension"], user: postgres, stdout: { at_least: 3 } }
  - command:
      id: no-app-connected
      run: "ss -Htn state established '( sport = :5432 )' | wc -l"
      stdout: { equals: "0" }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: Command = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let empty = match &check.run {
        Run::Argv(argv) => argv.first().is_none_or(String::is_empty),
        Run::Script(script) => script.trim().is_empty(),
    };
    if empty {
        return Err("`run` is empty: there is nothing to run".to_owned());
    }
    let statuses = check.statuses();
    if statuses.is_empty() {
        return Err("`exit` names no status: nothing could ever pass".to_owned());
    }
    if let Some(wrong) = statuses.iter().find(|status| **status >= NOT_RUN) {
        return Err(format!(
            "`exit` {wrong}: 126 and above say that a command did not run, so they cannot pass"
        ));
    }
    if let Some(demand) = &check.stdout {
        demand.validate()?;
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for Command {
    async fn measure(&self, cx: &Context) -> Outcome {
        let mut env = BTreeMap::new();
        let argv = match &self.run {
            Run::Argv(argv) => argv.clone(),
            Run::Script(script) => {
                env = (cx.script_env)(script);
                ["bash", "-euo", "pipefail", "-c", script].map(str::to_owned).to_vec()
            }
        };
        env.extend(self.env.clone());
        let probe = Probe {
            argv,
            env,
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            timeout: BACKSTOP,
            keep: KEEP,
        };
        match cx.world.processes.probe(&probe).await {
            Ok(seen) => self.judge(&seen),
            Err(why) => Outcome::unknown(format!("the command did not start: {why}"), self.wanted())
                .help("install what is missing or mend the command, then measure again"),
        }
    }
}

impl Command {
    fn statuses(&self) -> Vec<u64> {
        match &self.exit {
            None => vec![0],
            Some(Exit::One(status)) => vec![status.0],
            Some(Exit::Any(statuses)) => statuses.iter().map(|status| status.0).collect(),
        }
    }

    fn wanted(&self) -> String {
        let statuses: Vec<String> = self.statuses().iter().map(u64::to_string).collect();
        let exit = format!("exit status {}", statuses.join(" or "));
        match &self.stdout {
            Some(demand) => format!("{exit}, and {demand}"),
            None => exit,
        }
    }

    fn judge(&self, seen: &Probed) -> Outcome {
        let wanted = self.wanted();
        let text = String::from_utf8_lossy(&seen.stdout);
        let said = text.trim();
        let outcome = match (seen.status, seen.signal) {
            _ if seen.timed_out => Outcome::unknown("ended by the time limit", wanted),
            (None, signal) => Outcome::unknown(
                format!("ended by signal {}", signal.map_or("?".to_owned(), |number| number.to_string())),
                wanted,
            ),
            (Some(126), _) => Outcome::unknown("exit status 126: it may not be run", wanted),
            (Some(127), _) => Outcome::unknown("exit status 127: a program was not found", wanted),
            (Some(status), _) if status < 0 || status as u64 >= NOT_RUN => Outcome::unknown(
                format!("exit status {status}: it was killed or could not do its work"),
                wanted,
            ),
            (Some(status), _) if !self.statuses().contains(&(status as u64)) => {
                Outcome::fail(format!("exit status {status}{}", first_line(said)), wanted)
            }
            (Some(status), _) => match &self.stdout {
                None => Outcome::pass(format!("exit status {status}{}", first_line(said)), wanted),
                Some(demand) => demand.judge(said, seen.truncated, wanted),
            },
        };
        let mut outcome = outcome.help("run the command by hand and read what it says");
        if let Some(status) = seen.status {
            outcome = outcome.fact("exit", status);
        }
        outcome.details.extend(tail("stderr", &String::from_utf8_lossy(&seen.stderr)));
        outcome.details.extend(tail("stdout", said));
        if seen.truncated {
            outcome = outcome.detail("it printed more than was kept");
        }
        outcome
    }
}

/// `: ready`, or nothing.
fn first_line(text: &str) -> String {
    match text.lines().next() {
        Some(line) if !line.is_empty() => format!(": {}", output::short(line)),
        _ => String::new(),
    }
}

/// The last lines of an output, as details.
fn tail(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(5);
    lines[from..].iter().map(|line| format!("{name}: {}", neutral(&output::short(line)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    fn check(params: Value) -> Command {
        serde_json::from_value(params).unwrap()
    }

    fn seen(status: Option<i32>, stdout: &str) -> Probed {
        Probed {
            status,
            signal: status.is_none().then_some(9),
            timed_out: false,
            stdout: stdout.into(),
            stderr: Vec::new(),
            truncated: false,
        }
    }

    #[test]
    fn only_the_listed_status_passes() {
        let listed = check(json!({ "run": ["x"], "exit": [0, "3"] }));
        let verdicts = [(0, Verdict::Pass), (3, Verdict::Pass), (1, Verdict::Fail), (125, Verdict::Fail)];
        for (status, verdict) in verdicts {
            assert_eq!(listed.judge(&seen(Some(status), "")).verdict, verdict, "{status}");
        }
        for status in [126, 127, 137, 255] {
            assert_eq!(listed.judge(&seen(Some(status), "")).verdict, Verdict::Unknown, "{status}");
        }
        assert_eq!(listed.judge(&seen(None, "")).verdict, Verdict::Unknown);
        let late = Probed { timed_out: true, ..seen(Some(0), "") };
        assert_eq!(listed.judge(&late).verdict, Verdict::Unknown);
    }

    #[test]
    fn wrong_parameters_are_named() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "run": [] })).contains("`run` is empty"));
        assert!(refused(json!({ "run": "  " })).contains("`run` is empty"));
        assert!(refused(json!({ "run": ["x"], "exit": 127 })).contains("did not run"));
        assert!(refused(json!({ "run": ["x"], "exit": [] })).contains("no status"));
        assert!(refused(json!({ "run": ["x"], "stdout": {} })).contains("stdout"));
        assert!(refused(json!({ "run": ["x"], "stdout": { "equals": "" } })).contains("equals"));
        assert_eq!(refused(json!({ "run": ["x"], "stdout": { "at_least": "3" } })), "");
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        let evil = Probed { stderr: b"\x1b[2Jgone\x07".to_vec(), ..seen(Some(1), "a\x1b]0;x") };
        let outcome = check(json!({ "run": ["x"] })).judge(&evil);
        let all = format!("{}{:?}", outcome.observed, outcome.details);
        assert!(!all.contains('\x1b') && outcome.observed.contains("a␛]0;x"), "{all}");
    }
}
