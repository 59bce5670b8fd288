//! Is the newest backup in a second place, byte for byte, where the first one's disk cannot take it along?

mod compare;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::compare::{Compared, files, print};
use super::backup_fresh::candidates::{self, Candidate};
use super::backup_fresh::writers;
use crate::base::{Size, Span, text};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::process::Probe;

/// Is the newest backup in a second place, byte for byte?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupCopied {
    /// A backup, or a directory that holds several; the newest counts.
    path: String,
    /// Which entries of the directory count, as in `synapse-*.dump`.
    #[serde(default)]
    pattern: Option<String>,
    /// The directory that holds the copy under the same name: of another disk, or of another machine mounted here.
    #[serde(default)]
    copy: Option<PathBuf>,
    /// A command that prints the SHA-256 of the copy on another machine; the backup's name is its last argument:
    /// `[ssh, backup@db-backup, sha256 of its own]`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    remote: Option<Vec<String>>,
    /// True when the copy may lie on the same file system: it then proves little. False when not given.
    #[serde(default)]
    same_disk: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "backup_copied",
    summary: "the newest backup is in a second place too, byte for byte, and not on the same disk",
    docs: DOCS,
    timeout: Some(Span::secs(6 * 3600)),
    schema: || schema_for!(BackupCopied),
    build,
};

const DOCS: &str = r"
Shows that the newest backup exists a second time, where the loss of the first one's disk cannot take it along.

**How it is measured.** The newest finished backup of `path` is read from beginning to end, and so is the file of the same name in
`copy` (every file, when the backup is a directory); sizes and SHA-256 are compared. With `remote` a command of yours prints the
copy's SHA-256, for another machine: it gets the name as its last argument.

**Passes** when all bytes are the same and the copy is on another file system, not a link to the same file, or on another machine.
**Fails** when the copy is missing, shorter, different, a hard or symbolic link to the original, or on the same file system; for a
copy of a data directory also when it holds a file that makes a server start otherwise (`standby.signal`, `postmaster.pid` and their
like) and the backup does not. Other files that only the copy has are told, and decide nothing.

**Unknown** when there is no backup to compare, something may not be read, or the command fails or prints no digest.

**Traps.** Two file systems may be slices of one disk, and two disks stand in one house: what is really elsewhere only you know.
A standby is no second copy: it repeats a `DROP` within milliseconds. That two files are the same says nothing about
whether they are good: add `backup_restores`. A program that compares with a manifest (`pg_verifybackup`) refuses any file too many.

```yaml
preconditions:
  - backup_copied: { path: /srv/dumps, pattern: 'synapse-*.dump', copy: /mnt/offsite/dumps }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: BackupCopied = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.copy.is_some() == check.remote.is_some() {
        return Err("say one of `copy` (a directory) and `remote` (a command)".to_owned());
    }
    Ok(Box::new(check))
}

impl BackupCopied {
    async fn remote(&self, backup: &Candidate, argv: &[String], cx: &Context) -> Result<Compared, String> {
        if files(&backup.path, cx).await?.len() != 1 {
            return Err("`remote` compares one file; this backup is a directory".to_owned());
        }
        let mine = print(&backup.path, backup.size, &mut 0, cx).await?;
        let probe = Probe {
            argv: argv.iter().cloned().chain([backup.name.clone()]).collect(),
            env: Default::default(),
            cwd: None,
            user: None,
            timeout: std::time::Duration::from_secs(6 * 3600),
            keep: 4096,
        };
        let done = cx.world.processes.probe(&probe).await?;
        if done.status != Some(0) {
            return Err(format!("the command failed: {}", super::tools::complaint(&done)));
        }
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let digest = said.split_whitespace().next().unwrap_or_default().to_lowercase();
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("the command printed no SHA-256".to_owned());
        }
        Ok(match digest == mine.digest {
            true => Compared::default(),
            false => Compared::wrong("the copy has other bytes".to_owned()),
        })
    }
}

#[async_trait]
impl Check for BackupCopied {
    fn keeps(&self) -> Vec<String> {
        let copy = self.copy.iter().map(|dir| dir.display().to_string());
        std::iter::once(self.path.clone()).chain(copy).collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match &self.copy {
            Some(dir) => {
                format!("the newest backup of {} also in {}, on another disk", self.path, dir.display())
            }
            None => format!("the newest backup of {} also on another machine", self.path),
        };
        let unknown = |why: String| {
            Outcome::unknown(why, expected.clone()).help("look as a user who may read both places")
        };
        let place = match cx.world.files.stat(Path::new(&self.path)).await {
            Ok(Some(place)) => place,
            Ok(None) => return unknown(format!("nothing to compare: {} does not exist", self.path)),
            Err(why) => return unknown(why),
        };
        let found = match candidates::find(cx, &place, self.pattern.as_deref()).await {
            Ok(found) => found,
            Err(why) => return unknown(why),
        };
        let mut newest = None;
        for candidate in found.candidates {
            if writers::unfinished(&candidate, cx).await.is_none() {
                newest = Some(candidate);
                break;
            }
        }
        let Some(newest) = newest else {
            return unknown(format!("nothing to compare: no finished backup in {}", self.path));
        };
        let compared = match (&self.copy, &self.remote) {
            (Some(dir), _) => {
                let same_disk = self.same_disk.is_some_and(|flag| flag.0);
                compare::compare(&newest, dir, same_disk, cx).await
            }
            (None, Some(argv)) => self.remote(&newest, argv, cx).await,
            (None, None) => Err("neither `copy` nor `remote` is given".to_owned()),
        };
        let Compared { wrong, extra } = match compared {
            Ok(compared) => compared,
            Err(why) => return unknown(format!("{}: {why}", newest.name)),
        };
        let outcome = match wrong.as_slice() {
            [] => Outcome::pass(
                format!("{} ({}) is the same in both places", newest.name, Size(newest.size)),
                expected,
            )
            .fact("bytes", newest.size),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                let outcome = Outcome::fail(format!("{}: {first}{more}", newest.name), expected)
                    .help("copy the backup to the second place again, and find out why it was not");
                rest.iter().take(20).fold(outcome, Outcome::detail)
            }
        };
        match extra.as_slice() {
            [] => outcome,
            [first, ..] => outcome
                .detail(format!(
                    "the copy has {} more than the backup, as {}",
                    text::count(extra.len() as u64, "file", "files"),
                    text::neutral(&first.display().to_string())
                ))
                .fact("extra_files", extra.len()),
        }
    }
}
