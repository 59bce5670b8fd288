//! What is at a path? Whether something is there at all, its kind, size, age, owner, mode and contents. "Not allowed to
//! look" is unknown, never "not there".

mod contents;

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::{self, Entry};
use crate::base::{Size, Span};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use crate::world::files::Stat;

/// A modification time this far ahead is still "now": clocks of file servers are never quite ours.
const CLOCK_SLACK_S: f64 = 2.0;

/// What is at a path?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileCheck {
    /// The path, absolute. Links are followed.
    path: String,
    /// `true` (the default): something must be there. `false`: nothing may be there.
    #[serde(default)]
    exists: Option<Flag>,
    /// What it must be, links followed.
    #[serde(default)]
    kind: Option<Kind>,
    /// Smallest size; of a directory, everything in it.
    #[serde(default)]
    at_least: Option<Size>,
    /// Largest size; of a directory, everything in it.
    #[serde(default)]
    at_most: Option<Size>,
    /// Changed within this time, by its modification time.
    #[serde(default)]
    newer_than: Option<Span>,
    /// Text that must occur in the file, exactly as written.
    #[serde(default)]
    contains: Option<String>,
    /// The SHA-256 of its contents: 64 hexadecimal digits.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// Its permission bits, in quotes: `"0600"`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"))]
    mode: Option<String>,
    /// The name or number of its owner.
    #[serde(default)]
    owner: Option<String>,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
        }
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "file",
    summary: "a file or directory is there (or is not), with the kind, size, age, owner and contents it should have",
    docs: DOCS,
    timeout: Some(Span::secs(600)),
    schema: || schema_for!(FileCheck),
    build,
};

const DOCS: &str = r#"
Shows what is at a path. Every key that is given must hold; with none of them, something must be there.

**How it is measured.** `stat` on the path, links followed; where a link leads is shown. `sha256` and `contains` read the file
to its end, piece by piece. The size of a directory is the room that everything in it takes.

**Passes** when all of it holds. **Fails** when something does not, or nothing is there. **Unknown** when we may not look
(permission denied is not "not there"), when a read fails, or when the modification time lies in the future.

**Traps.** That a file exists does not mean that it is complete: ask for its `sha256`, or use `backup_fresh`. `cp` and `rsync`
may set modification times as they like. `exists: false` of a path on a mount that is not mounted passes.

```yaml
postconditions:
  - file: { path: /etc/postgresql/15/main/pg_hba.conf, mode: "0640", owner: postgres, contains: "scram-sha-256" }
  - file: { id: gone, path: /var/lib/postgresql/13/main, exists: false }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    if params.get("mode").is_some_and(Value::is_number) {
        return Err("`mode` must stand in quotes, as in \"0600\": without them YAML reads a decimal number"
            .to_owned());
    }
    let check: FileCheck = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    check.validate()?;
    Ok(Box::new(check))
}

/// One thing that was asked: does it hold (`None`: not known), and what is the matter otherwise.
struct Finding {
    holds: Option<bool>,
    observed: String,
}

impl Finding {
    fn is(holds: bool, observed: impl Into<String>) -> Self {
        Finding { holds: Some(holds), observed: observed.into() }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Finding { holds: None, observed: why.into() }
    }
}

#[async_trait]
impl Check for FileCheck {
    async fn measure(&self, cx: &Context) -> Outcome {
        let path = Path::new(&self.path);
        let expected = self.wanted();
        let stat = match cx.world.files.stat(path).await {
            Ok(stat) => stat,
            Err(why) => {
                return Outcome::unknown(why, expected).help(
                    "look as a user who may, or mend the path; what cannot be seen is not known to be absent",
                );
            }
        };
        let wanted = self.exists.is_none_or(|exists| exists.0);
        let Some(stat) = stat else {
            // A link whose end is missing: the name is taken, but nothing can be read.
            return match cx.world.files.read_link(path).await {
                Ok(Some(end)) => Outcome::judge(
                    false,
                    format!("a link to {}, which does not exist", end.display()),
                    expected,
                ),
                _ => Outcome::judge(!wanted, "nothing is there", expected),
            }
            .help(format!("find out what should have made {}", self.path));
        };
        if !wanted {
            return Outcome::fail(format!("a {} is there ({})", stat.kind, age_of(&stat, cx)), expected)
                .help(format!("find out whether {} is still needed before anybody removes it", self.path));
        }
        let findings = self.findings(&stat, cx).await;
        let verdict = match () {
            () if findings.iter().any(|f| f.holds == Some(false)) => Verdict::Fail,
            () if findings.iter().any(|f| f.holds.is_none()) => Verdict::Unknown,
            () => Verdict::Pass,
        };
        // What is in the way comes first; what holds follows among the details.
        let (good, bad): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| f.holds == Some(true));
        let observed = match bad.is_empty() {
            false => bad.iter().map(|f| f.observed.clone()).collect::<Vec<_>>().join("; "),
            true if good.is_empty() => {
                format!("a {} of {}, {}", stat.kind, Size(stat.size), age_of(&stat, cx))
            }
            true => good.iter().map(|f| f.observed.clone()).collect::<Vec<_>>().join(", "),
        };
        let mut outcome = match verdict {
            Verdict::Pass => Outcome::pass(observed, expected),
            Verdict::Fail => Outcome::fail(observed, expected),
            Verdict::Unknown => Outcome::unknown(observed, expected),
        }
        .help(format!("look at {} and at what should have made it", self.path))
        .fact("bytes", stat.size)
        .fact("modified", stat.modified.to_string())
        .fact("inode", stat.inode);
        if !bad.is_empty() {
            outcome.details.extend(good.into_iter().map(|f| format!("holds: {}", f.observed)));
        }
        if stat.path != path {
            outcome = outcome.detail(format!("{} is {}, links followed", self.path, stat.path.display()));
        }
        outcome
    }
}

fn age_of(stat: &Stat, cx: &Context) -> String {
    let seconds = cx.world.clock.now().wall.duration_since(stat.modified).as_secs();
    match u64::try_from(seconds) {
        Ok(0) => "changed just now".to_owned(),
        Ok(seconds) => format!("changed {} ago", Span::secs(seconds)),
        Err(_) => format!("changed {} from now", Span::secs(seconds.unsigned_abs())),
    }
}

impl FileCheck {
    fn validate(&self) -> Result<(), String> {
        let asks_more = self.kind.is_some()
            || self.at_least.is_some()
            || self.at_most.is_some()
            || self.newer_than.is_some()
            || self.contains.is_some()
            || self.sha256.is_some()
            || self.mode.is_some()
            || self.owner.is_some();
        if asks_more && self.exists == Some(Flag(false)) {
            return Err("`exists: false` cannot stand with other demands: nothing has no size".to_owned());
        }
        if let (Some(least), Some(most)) = (self.at_least, self.at_most)
            && least > most
        {
            return Err(format!("`at_least` {least} is more than `at_most` {most}"));
        }
        if self.contains.as_ref().is_some_and(|text| text.is_empty() || text.len() > contents::LONGEST_TEXT) {
            return Err("`contains` must be 1 to 65,536 bytes long: every file contains nothing".to_owned());
        }
        if self
            .sha256
            .as_ref()
            .is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err("`sha256` must be 64 hexadecimal digits".to_owned());
        }
        let octal =
            |mode: &String| (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if self.mode.as_ref().is_some_and(|mode| !octal(mode)) {
            return Err("`mode` must be three or four octal digits in quotes, as in \"0600\"".to_owned());
        }
        Ok(())
    }

    fn wanted(&self) -> String {
        if self.exists == Some(Flag(false)) {
            return format!("nothing at {}", self.path);
        }
        let mut parts = vec![format!("{} at {}", self.kind.map_or("something", Kind::word), self.path)];
        parts.extend(self.at_least.map(|size| format!("at least {size}")));
        parts.extend(self.at_most.map(|size| format!("at most {size}")));
        parts.extend(self.newer_than.map(|age| format!("changed within {age}")));
        parts.extend(self.contains.as_ref().map(|text| format!("containing {text:?}")));
        parts.extend(self.sha256.as_ref().map(|hex| format!("sha256 {}", hex.to_lowercase())));
        parts.extend(self.mode.as_ref().map(|mode| format!("mode {mode:0>4}")));
        parts.extend(self.owner.as_ref().map(|owner| format!("owned by {owner}")));
        parts.join(", ")
    }

    async fn findings(&self, stat: &Stat, cx: &Context) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(kind) = self.kind {
            found.push(Finding::is(kind.word() == stat.kind, format!("a {}", stat.kind)));
        }
        if self.at_least.is_some() || self.at_most.is_some() {
            let size = match stat.kind {
                "directory" => cx.world.files.tree_size(&stat.path).await,
                _ => Ok(stat.size),
            };
            found.push(match size {
                Ok(size) => {
                    let fits = self.at_least.is_none_or(|least| size >= least.0)
                        && self.at_most.is_none_or(|most| size <= most.0);
                    Finding::is(fits, Size(size).to_string())
                }
                Err(why) => Finding::unknown(format!("its size is not known: {why}")),
            });
        }
        if let Some(limit) = self.newer_than {
            let age = cx.world.clock.now().wall.duration_since(stat.modified).as_secs_f64();
            let shown = age_of(stat, cx);
            found.push(if age < -CLOCK_SLACK_S {
                Finding::unknown(format!("{shown}: the clock or the time stamp is wrong"))
            } else {
                Finding::is(age <= limit.0.as_secs_f64(), shown)
            });
        }
        if let Some(mode) = &self.mode {
            let same = u32::from_str_radix(mode, 8) == Ok(stat.mode);
            found.push(Finding::is(same, format!("mode {:04o}", stat.mode)));
        }
        if let Some(owner) = &self.owner {
            found.push(owned_by(owner, stat.uid, cx).await);
        }
        if (self.contains.is_some() || self.sha256.is_some()) && stat.kind != "file" {
            found.push(Finding::is(false, format!("a {}, which has no contents to read", stat.kind)));
            return found;
        }
        if let Some(text) = &self.contains {
            found.push(match contents::contains(stat, text, cx).await {
                Ok(true) => Finding::is(true, format!("contains {text:?}")),
                Ok(false) => Finding::is(false, format!("does not contain {text:?}")),
                Err(why) => Finding::unknown(why),
            });
        }
        if let Some(wanted) = &self.sha256 {
            found.push(match contents::sha256(stat, cx).await {
                Ok(hex) => Finding::is(hex.eq_ignore_ascii_case(wanted), format!("sha256 {hex}")),
                Err(why) => Finding::unknown(why),
            });
        }
        found
    }
}

/// Whether a user, by name or number, is the owner.
async fn owned_by(owner: &str, uid: u32, cx: &Context) -> Finding {
    if let Ok(number) = owner.parse::<u32>() {
        return Finding::is(number == uid, format!("owned by user {uid}"));
    }
    match names::look_up("passwd", owner, cx).await {
        Ok(Entry::Found(fields)) => match fields.get(2).and_then(|id| id.parse::<u32>().ok()) {
            Some(wanted) => {
                Finding::is(wanted == uid, format!("owned by user {uid}; {owner} is user {wanted}"))
            }
            None => Finding::unknown(format!("getent gave no number for the user {owner}")),
        },
        Ok(Entry::Absent(why) | Entry::Unsure(why)) => Finding::unknown(why),
        Err(why) => Finding::unknown(format!("the user {owner} could not be looked up: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(params: Value) -> String {
        let Value::Object(params) = params else { panic!("a map") };
        build(params).err().unwrap_or_default()
    }

    #[test]
    fn contradictions_are_found_before_measuring() {
        assert!(refused(json!({ "path": "/x", "exists": false, "at_least": "1B" })).contains("exists"));
        assert!(refused(json!({ "path": "/x", "at_least": "2B", "at_most": "1B" })).contains("at_least"));
        assert!(refused(json!({ "path": "/x", "contains": "" })).contains("contains"));
        assert!(refused(json!({ "path": "/x", "sha256": "abc" })).contains("64"));
        assert!(refused(json!({ "path": "/x", "mode": 600 })).contains("quotes"));
        assert!(refused(json!({ "path": "/x", "mode": "0999" })).contains("octal"));
        assert_eq!(refused(json!({ "path": "/x", "exists": "false" })), "");
    }
}
