//! Is there room that can be given back in an emergency? A file that exists for nothing else, or the reserve that a file
//! system keeps for root.

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::backing;
use crate::base::{Size, Span};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::files::{Space, Stat};

/// The reserve that is wanted when the runbook names none.
const ENOUGH: Size = Size(1 << 30);

/// Is there room that can be given back in an emergency?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceReserve {
    /// A file that only takes up room and is deleted in an emergency; or a directory, whose file system's reserve for root
    /// counts.
    path: String,
    /// What it must give back; 1GiB when not given.
    #[serde(default)]
    at_least: Option<Size>,
    /// What the reserve is for: a path on the file system that may fill. The reserve must be on the same one.
    #[serde(default)]
    protects: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "space_reserve",
    summary: "there is room that can be given back when the disk is full",
    docs: DOCS,
    timeout: Some(Span::secs(60)),
    schema: || schema_for!(SpaceReserve),
    build,
};

const DOCS: &str = r"
Shows that a full disk can be given room at once: by deleting a file that is kept for that, or from root's reserve.

**How it is measured.** A file: its *allocated* blocks, its names, and the file system it is on. A directory: what the file
system keeps for root, `(f_bfree − f_bavail) × f_frsize`, which `tune2fs -m` gives back on ext4.

**Passes** when that is at least `at_least`, on the file system of `protects` if that is given. **Fails** when the file is not
there, is smaller, has holes (`truncate` and `fallocate --punch-hole` make files that take no room), or has a second name,
so that deleting one gives nothing back; when the reserve is smaller, or the file system knows none (xfs, tmpfs); when
reserve and protected path are on two file systems. **Unknown** when it may not be looked at, or when the file system shares
or compresses blocks or is remote, so that nobody knows what deleting the file would give back.

**Traps.** Make the file with `fallocate -l 1G FILE` or `dd`, not with `truncate`. Root's reserve is no reserve for a server
that runs as `postgres`: it stops in front of it, which is the point, but it gets nothing until root hands it over. A
deleted file that a process holds open gives nothing back before it is closed.

```yaml
preconditions:
  - space_reserve: { path: /var/lib/postgresql/reserve, at_least: 2GiB, protects: /var/lib/postgresql }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: SpaceReserve = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_least == Some(Size(0)) {
        return Err("`at_least` is zero: nothing would be a reserve, too".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for SpaceReserve {
    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let unmeasured = |why: String| {
            Outcome::unknown(format!("the reserve could not be measured: {why}"), self.wanted())
                .help("run this as a user who may look there, then measure again")
        };
        let path = Path::new(&self.path);
        let stat = match cx.world.files.stat(path).await {
            Ok(Some(stat)) => stat,
            Ok(None) => {
                return Outcome::fail(format!("there is no {}", self.path), wanted)
                    .help(format!("make it: `fallocate -l {}` and its path", self.bytes()))
                    .fact("bytes_reserved", 0);
            }
            Err(why) => return unmeasured(why),
        };
        let space = match cx.world.files.space(path).await {
            Ok(space) => space,
            Err(why) => return unmeasured(why),
        };
        if let Some(protected) = &self.protects {
            match cx.world.files.space(Path::new(protected)).await {
                Err(why) => return unmeasured(why),
                Ok(other) if other.device != space.device => {
                    let observed = format!("{} and {protected} are on two file systems", self.path);
                    return Outcome::fail(observed, wanted)
                        .help(format!("keep the reserve on the file system of {protected}"));
                }
                Ok(_) => {}
            }
        }
        if let Some(doubt) = backing::doubt(&space, cx).await {
            let observed =
                format!("nobody can say what {} would give back ({}): {}", self.path, doubt.word, doubt.why);
            return Outcome::unknown(observed, wanted)
                .help("keep the reserve where the room comes from: a volume or pool that can be extended");
        }
        if stat.kind == "directory" {
            return self.of_root(&space);
        }
        match cx.world.files.tree_size(path).await {
            Ok(allocated) => self.of_file(&stat, allocated, &space),
            Err(why) => unmeasured(why),
        }
    }
}

impl SpaceReserve {
    fn bytes(&self) -> u64 {
        self.at_least.unwrap_or(ENOUGH).0
    }

    fn wanted(&self) -> String {
        let place = self.protects.as_ref().map(|path| format!(", on the file system of {path}"));
        format!("{} that can be given back{}", Size(self.bytes()), place.unwrap_or_default())
    }

    fn of_root(&self, space: &Space) -> Outcome {
        let reserve = space.free.saturating_sub(space.available);
        let kind = space.kind.as_deref().unwrap_or("this type");
        let observed = match reserve {
            0 => format!("{} ({kind}) keeps nothing for root", space.path.display()),
            _ => format!("{} is kept for root on {} ({kind})", Size(reserve), space.path.display()),
        };
        Outcome::judge(reserve >= self.bytes(), observed, self.wanted())
            .help("keep a file there that can be deleted, and name it as `path`")
            .fact("bytes_reserved", reserve)
    }

    fn of_file(&self, stat: &Stat, allocated: u64, space: &Space) -> Outcome {
        let name = &self.path;
        let outcome = match () {
            () if stat.kind != "file" => Outcome::fail(
                format!("{name} is a {}: deleting it gives nothing back", stat.kind),
                self.wanted(),
            ),
            () if stat.links > 1 => Outcome::fail(
                format!("{name} has {} names: deleting one gives nothing back", stat.links),
                self.wanted(),
            ),
            () if allocated < self.bytes() && stat.size >= self.bytes() => Outcome::fail(
                format!("{name} has holes: {} of its {} take room", Size(allocated), Size(stat.size)),
                self.wanted(),
            ),
            () if space.read_only => Outcome::fail(
                format!("{} is mounted read-only: nothing can be deleted there", space.path.display()),
                self.wanted(),
            ),
            () => Outcome::judge(
                allocated >= self.bytes(),
                format!("{name} takes {}", Size(allocated)),
                self.wanted(),
            ),
        };
        outcome
            .help("make it anew with `fallocate -l` and the size, while there is room")
            .fact("bytes_reserved", allocated)
            .fact("bytes_available", space.available)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zero_is_no_reserve() {
        let build = |params: Value| super::build(params.as_object().unwrap().clone());
        assert!(build(json!({ "path": "/x", "at_least": "0B" })).unwrap_err().contains("zero"));
        assert!(build(json!({ "path": "/x" })).is_ok());
        assert!(build(json!({ "path": "/x", "protect": "/y" })).is_err());
    }
}
