//! Signing with an SSH key: `ssh-keygen -Y sign` does it, so that agents, security keys and pass phrases work as they do
//! for git. Verifying needs no program: [`crate::base::signature`].

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// What an approval is signed for.
pub const APPROVAL: &str = "holdpoint-approval";
/// What a waiver is signed for.
pub const WAIVER: &str = "holdpoint-waiver";
/// What a handoff, or taking a run over, is signed for.
pub const HANDOFF: &str = "holdpoint-handoff";
/// What a rehearsal's receipt is signed for.
pub const RECEIPT: &str = "holdpoint-receipt";

/// Signs `content` for `namespace` with the private key in a file, or with the one in the agent that a `.pub` file names.
/// At a terminal ssh-keygen asks for a pass phrase itself; without one it cannot, and that is an error.
///
/// # Errors
/// What ssh-keygen said, or that there is none.
pub fn sign(key: &Path, namespace: &str, content: &[u8]) -> Result<String, String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-q", "-n", namespace, "-f"]).arg(key);
    // A security key asks to be touched there.
    let seen = std::io::stderr().is_terminal();
    let errors = if seen { Stdio::inherit() } else { Stdio::piped() };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    // No window pops up on a server.
    command.env("SSH_ASKPASS_REQUIRE", "never").env("LC_ALL", "C");
    let failed = |why: String| format!("cannot sign with {}: {why}", key.display());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            failed("ssh-keygen is not installed (package openssh-client)".to_owned())
        }
        _ => failed(error.to_string()),
    })?;
    if let Some(mut input) = child.stdin.take() {
        // One that stopped early says why on standard error.
        let _ = input.write_all(content);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || !text.contains("BEGIN SSH SIGNATURE") {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("ssh-keygen could not");
        return Err(failed(crate::base::text::neutral(said)));
    }
    Ok(text)
}
