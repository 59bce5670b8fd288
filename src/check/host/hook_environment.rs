//! Will a hook find its programs where a daemon, not a person, runs it?

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Will a hook find its programs where a daemon, not a person, runs it?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookEnvironment {
    /// The hook itself: a file that must be there and be executable.
    #[serde(default)]
    hook: Option<String>,
    /// The programs that it calls by their names.
    #[schemars(length(min = 1))]
    commands: Vec<String>,
    /// The search path that the daemon gives to it: `/usr/bin:/bin`.
    #[schemars(length(min = 1))]
    path: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "hook_environment",
    summary: "a hook finds its programs on the search path that its daemon gives to it",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(HookEnvironment),
    build,
};

const DOCS: &str = r"
Shows that a hook (of a DHCP client, of cron, of systemd, of a VPN) will find the programs that it calls.

**How it is measured.** Each program is looked for in each directory of `path`, in order, as a shell does: a plain file that
somebody may execute. The hook itself must be there and be executable. Nothing is run.

**Passes** when all are found. **Fails** when one is not, or the hook is missing or not executable.

**Unknown** when a directory may not be looked into.

**Traps.** What works in a login shell proves nothing: daemons have a shorter path, and the usual victims live in `/sbin` and
`/usr/sbin` (`ip`, `iptables`, `wg`). Take the path from the daemon: `tr '\0' '\n' </proc/PID/environ` of a running one.

```yaml
preconditions:
  - hook_environment: { hook: /etc/dhcp/dhclient-exit-hooks.d/routes, commands: [ip, logger], path: '/usr/bin:/bin' }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: HookEnvironment = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.path.split(':').any(|dir| !dir.starts_with('/') && !dir.contains("${")) {
        return Err("`path` has a directory that does not begin at the root".to_owned());
    }
    Ok(Box::new(check))
}

/// Is it a file that somebody may execute? `None`: nothing is there.
async fn executable(path: &str, cx: &Context) -> Result<Option<bool>, String> {
    let stat = cx.world.files.stat(Path::new(path)).await?;
    Ok(stat.map(|stat| stat.kind == "file" && stat.mode & 0o111 != 0))
}

impl HookEnvironment {
    async fn find(&self, command: &str, cx: &Context) -> Result<Option<String>, String> {
        if command.starts_with('/') {
            return Ok(executable(command, cx).await?.filter(|yes| *yes).map(|_| command.to_owned()));
        }
        for dir in self.path.split(':') {
            let path = format!("{}/{command}", dir.trim_end_matches('/'));
            if executable(&path, cx).await? == Some(true) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Check for HookEnvironment {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("{} on {}", self.commands.join(", "), self.path);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        if let Some(hook) = &self.hook {
            match executable(hook, cx).await {
                Err(why) => return Outcome::unknown(why, expected).help("look as root"),
                Ok(Some(true)) => found.push(hook.clone()),
                Ok(Some(false)) => missing.push(format!("{hook} is not executable")),
                Ok(None) => missing.push(format!("{hook} is not there")),
            }
        }
        for command in &self.commands {
            match self.find(command, cx).await {
                Err(why) => return Outcome::unknown(why, expected).help("look as root"),
                Ok(Some(path)) => found.push(path),
                Ok(None) => missing.push(format!("{command} is not on {}", self.path)),
            }
        }
        let observed = if missing.is_empty() { found.join(", ") } else { missing.join("; ") };
        let outcome = Outcome::judge(missing.is_empty(), observed, expected)
            .help("write the program's whole path into the hook, or give it a longer search path");
        if missing.is_empty() { outcome } else { found.into_iter().fold(outcome, Outcome::detail) }
    }
}
