//! Is the right file system mounted there, and does it answer?

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::findings::Findings;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::mounts::{self, Mount};

/// A file system that does not answer in this time hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Is the right file system mounted there, and does it answer?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mounted {
    /// The path, absolute. Links are followed.
    #[schemars(length(min = 1))]
    path: String,
    /// `true` (the default): it must be mounted. `false`: no file system may be mounted at `path` itself.
    #[serde(default)]
    mounted: Option<Flag>,
    /// The mount point that `path` must lie on. When not given, `path` itself must be one.
    #[serde(default)]
    on: Option<String>,
    /// What must be mounted: a device, `UUID=…`, `LABEL=…`, or a network source as the mount table shows it
    /// (`nas:/export`).
    #[serde(default)]
    device: Option<String>,
    /// The type of the file system: `ext4`, `xfs`, `nfs4`.
    #[serde(default)]
    r#type: Option<String>,
    /// Options that must be in force: `noexec`, `nosuid`, `ro`. Unless `ro` is among them, it must be writable.
    #[serde(default)]
    options: Vec<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "mounted",
    summary: "the right file system is mounted at a path, writable and answering, or nothing is mounted there",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(Mounted),
    build,
};

const DOCS: &str = r"
Shows that a path is a mount point, or lies on the mount that it should be on: so that a dump meant for the backup disk does not
land on the root file system because the disk is not mounted.

**How it is measured.** The mount table (`/proc/self/mountinfo`) is read from the root down, as the kernel does it: of several
mounts over a path the topmost counts, and one that another mount covers does not. Then the file system is asked for its size, and
has 5 s to answer. Options of the mount and of the file system both count.

**Passes** when a file system is mounted there, everything that is given agrees, it can be written to (unless `options` has
`ro`), and it answers. With `mounted: false`, when no file system is mounted at `path` itself.

**Fails** when nothing is mounted there, another device or type is, an option is missing, or it is read-only. With
`mounted: false`, when something is mounted there.

**Unknown** when the file system does not answer in time or with an error (a network mount whose server is gone, a stale handle),
when an automount has not been used yet, when the mount table cannot be read, or when it cannot be told whether two names mean
one device.

**Traps.** After an error on the disk the kernel makes the file system read-only, and the mount still says `rw`: that fails here.
An empty directory looks the same whether its disk is mounted or not: give `device`, too. The table is that of the name space in
which Holdpoint runs; a service with `PrivateMounts`, or in a container, has another.

```yaml
preconditions:
  - mounted: { path: /srv/backup, device: LABEL=backup, type: ext4 }
  - mounted: { id: pgdata, path: /var/lib/postgresql/17/main, on: /var/lib/postgresql }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: Mounted = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    for (key, path) in [("path", Some(&check.path)), ("on", check.on.as_ref())] {
        if path.is_some_and(|path| !path.starts_with('/') && !path.contains("${")) {
            return Err(format!("`{key}` must begin at the root, as in /srv/backup"));
        }
    }
    if check.options.iter().any(|option| option.trim().is_empty() || option.contains(',')) {
        return Err("`options` is a list with one option each: [noexec, nosuid]".to_owned());
    }
    if check.options.iter().any(|o| o == "ro") && check.options.iter().any(|o| o == "rw") {
        return Err("`options` cannot want both `ro` and `rw`".to_owned());
    }
    let more =
        check.on.is_some() || check.device.is_some() || check.r#type.is_some() || !check.options.is_empty();
    if !check.wanted() && more {
        return Err("`mounted: false` stands alone with `path`: what is not there has no device".to_owned());
    }
    Ok(Box::new(check))
}

/// Two names of a device: do they mean the same one? `None`: nobody can tell.
async fn same_device(wanted: &str, source: &str, cx: &Context) -> Option<bool> {
    if wanted == source {
        return Some(true);
    }
    let by = |kind: &str, name: &str| format!("/dev/disk/by-{kind}/{}", name.trim_matches('"'));
    let tags = ["uuid", "label", "partuuid", "partlabel"];
    let tag = wanted.split_once('=').and_then(|(tag, name)| {
        tags.iter().find(|known| tag.eq_ignore_ascii_case(known)).map(|known| by(known, name))
    });
    let path = tag.unwrap_or_else(|| wanted.to_owned());
    if !path.starts_with("/dev/") || !source.starts_with("/dev/") {
        return Some(false);
    }
    // Names below /dev are links to one another.
    let end = async |name: &str| cx.world.files.stat(Path::new(name)).await.ok().flatten().map(|s| s.path);
    Some(end(&path).await? == end(source).await?)
}

/// Where a path without links leads; a file system that hangs does not hold us up.
async fn resolved(path: &Path, cx: &Context) -> Result<Option<PathBuf>, String> {
    match tokio::time::timeout(PATIENCE, cx.world.files.stat(path)).await {
        Ok(found) => Ok(found?.map(|stat| stat.path)),
        Err(_) => Err(format!("{} does not answer: a file system on the way to it hangs", path.display())),
    }
}

async fn table(cx: &Context) -> Result<Vec<Mount>, String> {
    let text = cx.world.files.read(Path::new(mounts::TABLE), 64 << 20).await?;
    let mounts = mounts::parse(&String::from_utf8_lossy(&text));
    if mounts.is_empty() { Err(format!("{} shows no mount", mounts::TABLE)) } else { Ok(mounts) }
}

fn described(mount: &Mount) -> String {
    let part = if mount.root == "/" { String::new() } else { format!(" ({} of it)", mount.root) };
    let mode = if mount.read_only() { "read-only" } else { "rw" };
    format!("{}{part}, {}, {mode}, at {}", mount.source, mount.kind, mount.point.display())
}

impl Mounted {
    fn wanted(&self) -> bool {
        self.mounted.is_none_or(|flag| flag.0)
    }

    fn expected(&self) -> String {
        if !self.wanted() {
            return format!("nothing mounted at {}", self.path);
        }
        let mut parts = match &self.on {
            Some(on) => vec![format!("{} on the mount at {on}", self.path)],
            None => vec![format!("a mount at {}", self.path)],
        };
        parts.extend(self.device.as_ref().map(|device| format!("of {device}")));
        parts.extend(self.r#type.clone());
        if !self.options.iter().any(|option| option == "ro" || option == "rw") {
            parts.push("rw".to_owned());
        }
        parts.extend(self.options.iter().cloned());
        parts.join(", ")
    }

    /// The path where the kernel would find it: a mount point is not touched, what is no mount point is looked at.
    async fn place(&self, path: &str, mounts: &[Mount], cx: &Context) -> Result<Option<PathBuf>, String> {
        // `components` drops slashes at the end.
        let plain: PathBuf = Path::new(path).components().collect();
        match mounts::over(mounts, &plain) {
            Some(mount) if mount.point == plain => Ok(Some(plain)),
            _ => resolved(&plain, cx).await,
        }
    }

    /// Everything that was asked about the mount that was found.
    async fn compare(&self, mount: &Mount, cx: &Context) -> Findings {
        let mut findings = Findings::default();
        let help = "mount the right one the usual way (see /etc/fstab), then measure again";
        if let Some(device) = &self.device {
            match same_device(device, &mount.source, cx).await {
                Some(true) => {}
                Some(false) => findings.fail(format!("{} is mounted, not {device}", mount.source), help),
                None => findings.unknown(
                    format!(
                        "whether {} is {device} cannot be told: one of them is not in /dev",
                        mount.source
                    ),
                    "see `lsblk -f`; a disk that is not attached has no name there",
                ),
            }
        }
        if let Some(kind) = self.r#type.as_ref().filter(|kind| **kind != mount.kind) {
            findings.fail(format!("its type is {}, not {kind}", mount.kind), help);
        }
        if mount.read_only() && !self.options.iter().any(|option| option == "ro") {
            let by_kernel = mount.options.iter().any(|option| option == "rw");
            let why = if by_kernel {
                "the file system is read-only, though the mount says rw"
            } else {
                "it is mounted read-only"
            };
            findings.fail(
                why,
                "look into the kernel's log (`dmesg`) for an error of this disk before anything else",
            );
        }
        for option in self.options.iter().filter(|option| *option != "rw") {
            let there = match option.as_str() {
                "ro" => mount.read_only(),
                option => mount.options.iter().chain(&mount.shared_options).any(|word| word == option),
            };
            if !there {
                findings.fail(
                    format!("the option {option} is not in force"),
                    "correct /etc/fstab, and remount it",
                );
            }
        }
        findings
    }

    async fn judge(&self, cx: &Context) -> Result<Outcome, String> {
        let expected = self.expected();
        let mounts = table(cx).await?;
        let Some(place) = self.place(&self.path, &mounts, cx).await? else {
            let observed = format!("{} does not exist", self.path);
            return Ok(Outcome::judge(!self.wanted(), observed, expected)
                .help("correct the path, or make the directory and mount the file system"));
        };
        let Some(mount) = mounts::over(&mounts, &place) else {
            return Err(format!("the mount table does not say what {} is on", place.display()));
        };
        if mount.kind == "autofs" {
            return Err(format!("{} is an automount that has not been used yet", mount.point.display()));
        }
        let seen = described(mount);
        if !self.wanted() {
            return Ok(Outcome::judge(mount.point != place, seen, expected)
                .help("unmount it the usual way, when nothing uses it any more"));
        }
        let point = match &self.on {
            Some(on) => self.place(on, &mounts, cx).await?,
            None => Some(place.clone()),
        };
        if point.as_ref() != Some(&mount.point) {
            let observed = match &self.on {
                Some(on) => format!("{} is not on a mount at {on}: it is on {seen}", self.path),
                None => format!("nothing is mounted at {}: it is on {seen}", self.path),
            };
            return Ok(Outcome::fail(observed, expected)
                .help("mount the file system, then measure again; what was written here meanwhile is on the wrong disk"));
        }
        let mut findings = self.compare(mount, cx).await;
        let hung = "find out why it does not answer (is its server up? what says `dmesg`?) before using it";
        match tokio::time::timeout(PATIENCE, cx.world.files.space(&place)).await {
            Ok(Ok(space)) if space.read_only && !mount.read_only() => findings.unknown(
                "it says read-only, and the mount table does not",
                "measure again: it changed meanwhile",
            ),
            Ok(Ok(_)) => {}
            Ok(Err(why)) => findings.unknown(format!("it is mounted, and does not work: {why}"), hung),
            Err(_) => findings
                .unknown(format!("it is mounted, and does not answer within {} s", PATIENCE.as_secs()), hung),
        }
        if !findings.clean() {
            findings.note(seen.clone());
        }
        let outcome = findings.outcome(seen, expected);
        Ok(outcome.fact("source", mount.source.clone()).fact("type", mount.kind.clone()))
    }
}

#[async_trait]
impl Check for Mounted {
    async fn measure(&self, cx: &Context) -> Outcome {
        self.judge(cx).await.unwrap_or_else(|why| {
            let help = match why.contains("automount") {
                true => format!("use it once (`ls {}`), then measure again", self.path),
                false => "see what `findmnt` says, as root".to_owned(),
            };
            Outcome::unknown(why, self.expected()).help(help)
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
        assert!(refused(json!({ "path": "srv" })).contains("root"));
        assert!(refused(json!({ "path": "/srv", "on": "x" })).contains("`on`"));
        assert!(refused(json!({ "path": "/srv", "options": ["ro", "rw"] })).contains("both"));
        assert!(refused(json!({ "path": "/srv", "options": ["ro,noexec"] })).contains("one option each"));
        assert!(refused(json!({ "path": "/srv", "mounted": false, "type": "ext4" })).contains("alone"));
        assert_eq!(refused(json!({ "path": "/srv", "mounted": "false" })), "");
    }
}
