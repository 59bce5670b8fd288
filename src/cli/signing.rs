//! Keys on the command line: with which one somebody signs, and whose signatures count.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::error::CliError;
use super::global::Cmd;
use crate::base::signature::Allowed;
use crate::base::{Digest, RunId};
use crate::engine::Exit;
use crate::engine::people::Signers;
use crate::engine::second::Said;
use crate::gate::approvals::Proven;
use crate::journal::record::Event;
use crate::journal::second::Signature;
use crate::journal::signed;
use crate::world::sign;

/// Keys.
#[derive(Debug, Args, Clone, Default)]
pub struct Signing {
    /// Sign with this SSH key: a private key, or a .pub file whose key the agent holds.
    #[arg(long, value_name = "KEY", env = "HOLDPOINT_SIGN_KEY")]
    pub sign: Option<PathBuf>,
    /// Whose signatures count, as ssh-keygen's allowed signers file says [default: STORE/allowed_signers].
    #[arg(long, value_name = "FILE", env = "HOLDPOINT_SIGNERS")]
    pub signers: Option<PathBuf>,
}

/// Longest file of allowed signers that is read.
const LONGEST: u64 = 1 << 20;

/// Reads whose signatures count; each time anew, since somebody may have been removed.
pub fn signers(cmd: &Cmd) -> Arc<dyn Fn() -> Signers + Send + Sync> {
    let given = cmd.signing.signers.clone().filter(|path| !path.as_os_str().is_empty());
    let path = given.or_else(|| Some(cmd.existing_store()?.join("allowed_signers")));
    Arc::new(move || {
        let Some(path) = &path else { return Signers::default() };
        Signers(read(path).map_err(|why| format!("{}: {why}", super::global::shown(path))))
    })
}

/// A file that others may write says nothing about whose signatures count.
fn read(path: &Path) -> Result<Allowed, String> {
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file, so no signature counts".to_owned(),
        _ => error.to_string(),
    })?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err("it is no plain file of at most 1 MiB".to_owned());
    }
    if meta.mode() & 0o022 != 0 {
        return Err("its group or everybody may change it, so no signature counts (chmod go-w)".to_owned());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Allowed::parse(&text)
}

/// Signs an event where a key was given. Nothing is on record yet when that fails.
pub fn sign(cmd: &Cmd, run: &RunId, head: &Digest, event: &mut Event) -> Result<(), CliError> {
    let Some(key) = cmd.signing.sign.as_ref().filter(|key| !key.as_os_str().is_empty()) else {
        return Ok(());
    };
    let Some((namespace, text)) = signed::text(run, &cmd.by(), event, head) else { return Ok(()) };
    let ssh = sign::sign(key, namespace, &text).map_err(|why| {
        CliError::usage(why).hint("nothing went on record; `ssh-keygen -Y sign` has to work with that key")
    })?;
    event.sign(Signature { head: head.clone(), ssh });
    let signers = signers(cmd)();
    if signers.0.is_err() {
        // Nobody has said whose signatures count: it goes on record, and is judged by whoever knows.
        return Ok(());
    }
    let said = Said { by: cmd.by(), at: cmd.now(), event: event.clone(), used: None, copied: false };
    match signers.who(run, &said).1 {
        Proven::Broken(why) => {
            Err(CliError::new(Exit::Held, format!("this signature would not count: {why}"))
                .hint("nothing went on record; the allowed signers file says whose key is whose"))
        }
        _ => Ok(()),
    }
}

/// Refuses what this environment wants signed, when there is no key to do it with.
pub fn demanded(cmd: &Cmd, what: &str) -> Result<(), CliError> {
    match cmd.signing.sign.as_ref().filter(|key| !key.as_os_str().is_empty()) {
        Some(_) => Ok(()),
        None => Err(CliError::new(Exit::Usage, format!("in this environment {what} is signed"))
            .hint("give your SSH key: `--sign KEY`, or HOLDPOINT_SIGN_KEY")),
    }
}
