//! Asks the kernel about its network through `ip`, as JSON.

use std::time::Duration;

use serde_json::Value;

use crate::check::Context;
use crate::world::process::Probe;

/// What `ip` said.
pub enum Answer {
    /// Its JSON.
    Json(Value),
    /// The kernel said no, in `ip`'s words.
    Refused(String),
}

/// Asks. An error says why there is no answer.
pub async fn ask(cx: &Context, arguments: &[&str], timeout: Duration) -> Result<Answer, String> {
    let argv = std::iter::once("ip").chain(arguments.iter().copied()).map(str::to_owned).collect();
    let probe = Probe { argv, env: Default::default(), cwd: None, user: None, timeout, keep: 1 << 20 };
    let done = cx.world.processes.probe(&probe).await?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match done.status {
        _ if done.timed_out => Err("`ip` gave no answer in time".to_owned()),
        Some(0) => serde_json::from_slice(&done.stdout)
            .map(Answer::Json)
            .map_err(|error| format!("the answer of `ip` cannot be read: {error}")),
        // Its words for "the kernel reports an error".
        Some(2) if said.contains("RTNETLINK answers") || said.contains("does not exist") => {
            Ok(Answer::Refused(said))
        }
        status => {
            let status = status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
            Err(format!("`ip` ended with {status}: {said}"))
        }
    }
}
