//! Is there a backup one could go back to: recent by what is inside it, as large as its predecessors, readable to its
//! end? Only the newest finished backup counts; when that one is broken, no older one stands in for it.

pub(super) mod candidates;
mod content;
pub(super) mod header;
pub(super) mod judge;
pub(super) mod names;

pub(super) mod writers;

use std::path::Path;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Size, Span};
use crate::check::params::{Count, Flag, Ratio};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use candidates::{Candidate, Found, Kind};
use content::Reading;
use judge::{Finding, Report};

/// Predecessors without which a size means little.
const PREDECESSORS: u64 = 3;

/// Is there a backup one could go back to?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupFresh {
    /// A backup (a file, or a directory that pg_dump or pg_basebackup made), or a directory that holds several.
    path: String,
    /// Which entries of the directory count, as in `synapse-*.dump`; `*` stands for any characters, `?` for one. Needed
    /// when the directory holds backups of several things.
    #[serde(default)]
    pattern: Option<String>,
    /// The oldest that the newest finished backup may be.
    max_age: Span,
    /// The format it must have; `auto` takes any that is known.
    #[serde(default)]
    format: Format,
    /// The smallest size that can be right.
    #[serde(default)]
    min_size: Option<Size>,
    /// Smallest and largest size, as factors of the median of its predecessors; `[0.7, 1.5]` when not given.
    #[serde(default)]
    size_ratio: Option<[Ratio; 2]>,
    /// Predecessors that must be there to compare the size with; 3 when not given. 0: the size is not compared.
    #[serde(default)]
    predecessors: Option<Count>,
    /// Read the backup to its end, as a restore would; true when not given.
    #[serde(default)]
    read: Option<Flag>,
    /// The database that must be in it.
    #[serde(default)]
    contains_database: Option<String>,
}

/// Formats of backups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Any that is known.
    #[default]
    Auto,
    /// pg_dump's custom format (`-Fc`).
    PgDump,
    /// SQL text by pg_dump or pg_dumpall, also packed.
    Plain,
    /// pg_dump's directory format (`-Fd`).
    Directory,
    /// pg_dump's tar format (`-Ft`).
    Tar,
    /// pg_basebackup.
    Basebackup,
    /// An SQLite database file.
    Sqlite,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "backup_fresh",
    summary: "the newest backup is recent, of a plausible size, and readable to its end",
    docs: DOCS,
    timeout: Some(Span::secs(6 * 3600)),
    schema: || schema_for!(BackupFresh),
    build,
};

const DOCS: &str = r"
Shows that the newest finished backup is recent, not suspiciously small or large, and readable from its first byte to its last.

**How it is measured.**
- *Newest*: every entry's time is the older of its file time and of the date inside it (the header of a pg_dump archive, the
  `backup_label` of a base backup, the last words of a verbose SQL dump) or in its name. So an old backup that was copied
  today stays old. Entries that are still growing, open for writing, or named `.tmp`, `.part` and the like are left out and shown.
- *Size*: compared with the median of up to seven predecessors of the same series.
- *Readable*: archives go through `pg_restore -f /dev/null`, base backups through `pg_verifybackup` of their own major version,
  SQL text is read to its end and must say `PostgreSQL database dump complete` there; packed files are unpacked to their end. Listing
  an archive (`pg_restore -l`) shows nothing: it succeeds on one that was cut in half.

**Passes** when all of it holds. **Fails** when there is no backup, the newest is too old, its size is out of range, it cannot be
read to its end, or it is of another database. When the newest is broken, no older one stands in for it: the last job failed.
**Unknown** when the directory or a file may not be read, a program is missing or too old, a date lies in the future,
there are fewer predecessors than asked for, the directory holds backups of several things, or the format is not known.

**Traps.** Readable is not restored: only a restore shows that a backup is good; rehearse one. pg_dump writes local time
without a zone: a dump from another time zone may look some hours older. Uncompressed archives have no checksum over their rows. A
backup on the same disk dies with the disk. Dates in names count as the end of that day.

```yaml
preconditions:
  - backup_fresh: { path: /srv/dumps, pattern: 'synapse-*.dump', max_age: 24h, min_size: 100MB, contains_database: synapse }
  - backup_fresh: { id: base, path: /srv/base/latest, format: basebackup, max_age: 12h, predecessors: 0 }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: BackupFresh = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_age.0.is_zero() {
        return Err("`max_age` is zero: no backup is that young".to_owned());
    }
    if check.pattern.as_ref().is_some_and(|pattern| pattern.is_empty() || pattern.contains('/')) {
        return Err("`pattern` names entries of `path`: it is not empty and has no /".to_owned());
    }
    if let Some([low, high]) = check.size_ratio
        && low > high
    {
        return Err(format!("`size_ratio`: {low} is more than {high}"));
    }
    if check.contains_database.is_some() && check.read == Some(Flag(false)) {
        return Err("`contains_database` needs the backup to be read; leave out `read: false`".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for BackupFresh {
    fn keeps(&self) -> Vec<String> {
        vec![self.path.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a complete backup, at most {} old", self.max_age);
        let why =
            "a backup that cannot be looked at is not a backup to rely on; look as a user who may read it";
        let place = match cx.world.files.stat(Path::new(&self.path)).await {
            Ok(Some(place)) => place,
            Ok(None) => {
                return Outcome::fail(format!("no backup: {} does not exist", self.path), expected)
                    .help("find out where the backups go (is the disk mounted?), or make one now");
            }
            Err(trouble) => return Outcome::unknown(trouble, expected).help(why),
        };
        let found = match candidates::find(cx, &place, self.pattern.as_deref()).await {
            Ok(found) => found,
            Err(trouble) => return Outcome::unknown(trouble, expected).help(why),
        };
        self.of(found, expected, cx).await
    }
}

impl BackupFresh {
    async fn of(&self, mut found: Found, expected: String, cx: &Context) -> Outcome {
        // The newest that nobody is writing any more.
        while let Some(newest) = found.candidates.first() {
            let Some(why) = writers::unfinished(newest, cx).await else { break };
            found.ignored.push(why);
            found.candidates.remove(0);
        }
        let Some(newest) = found.candidates.first().cloned() else {
            let what =
                self.pattern.as_ref().map(|pattern| format!(" that fits {pattern}")).unwrap_or_default();
            let mut outcome = Outcome::fail(format!("no backup in {}{what}", self.path), expected)
                .help("make a backup now, and find out why there is none")
                .fact("candidates", 0);
            outcome.details.extend(found.ignored);
            return outcome;
        };
        let now = cx.world.clock.now().wall;
        let mut report = Report::new(&newest, expected);
        let mut age = judge::age(&newest, now, self.max_age);
        if age.holds == Some(true)
            && let Some(several) = judge::several(&found, self.pattern.is_some())
        {
            report.add(several);
        }
        report.add(self.format_fits(&newest));
        report.add(judge::smallest(&newest, self.min_size));
        if let Some(sizes) = self.sizes(&found, &mut report) {
            report.add(sizes);
        }
        if let Kind::Broken(why) = &newest.kind {
            report.add(Finding::fails(format!("{} is broken: {why}", newest.name)));
        } else if self.read == Some(Flag(false)) {
            report.remark("not read to its end: `read: false`");
        } else if age.holds == Some(false) {
            report.remark("not read to its end, since it is too old anyway");
        } else {
            let reading = content::read(&newest, cx).await;
            if let Reading::Whole(whole) = &reading
                && let Some(made) = whole.made
                && made < newest.when()
            {
                let inside = Candidate { inside: Some((made, "inside it")), ..newest.clone() };
                age = judge::age(&inside, now, self.max_age);
            }
            self.judge_reading(reading, &newest, &mut report);
        }
        report.add_first(age);
        report.list(&found, now);
        report.outcome(&self.path)
    }

    fn format_fits(&self, newest: &Candidate) -> Finding {
        let fits = match (self.format, &newest.kind) {
            (Format::Auto, _) | (_, Kind::Broken(_)) => true,
            (Format::PgDump, Kind::Archive(header)) => !header.tar,
            (Format::Tar, Kind::Archive(header)) => header.tar,
            (Format::Directory, Kind::Directory(_)) => true,
            (Format::Plain, Kind::Plain { .. }) | (Format::Sqlite, Kind::Sqlite) => true,
            (Format::Basebackup, Kind::Base(_) | Kind::BaseTar) => true,
            // What is packed is seen when it is read.
            (Format::PgDump | Format::Plain | Format::Tar, Kind::Packed(_)) => true,
            _ => false,
        };
        match fits {
            true => Finding::holds(""),
            false => Finding::fails(format!("{} is {}", newest.name, judge::word(&newest.kind))),
        }
    }

    /// The size against the predecessors; none when it need not be compared.
    fn sizes(&self, found: &Found, report: &mut Report) -> Option<Finding> {
        let wanted =
            self.predecessors.map(|count| count.0).unwrap_or(if found.single { 0 } else { PREDECESSORS });
        if wanted == 0 {
            let why =
                if self.predecessors.is_some() { "`predecessors: 0`" } else { "a single backup was named" };
            report.remark(&format!("size not compared with predecessors: {why}"));
            return None;
        }
        let [low, high] = self.size_ratio.unwrap_or([Ratio(0.7), Ratio(1.5)]);
        Some(judge::against_predecessors(found, self.pattern.is_some(), wanted, (low.0, high.0), report))
    }

    fn judge_reading(&self, reading: Reading, newest: &Candidate, report: &mut Report) {
        match reading {
            Reading::Broken(why) => report.add(Finding::fails(format!("{} is broken: {why}", newest.name))),
            Reading::Unknown(why) => {
                report.add(Finding::unknown(format!("{} was not read: {why}", newest.name)))
            }
            Reading::Whole(whole) => {
                if let Some(wanted) = &self.contains_database {
                    report.add(match whole.databases.as_slice() {
                        [] => Finding::unknown(format!(
                            "{} does not say which databases are in it",
                            newest.name
                        )),
                        all if all.contains(wanted) => Finding::holds(format!("of {wanted}")),
                        all => {
                            Finding::fails(format!("{} holds {}, not {wanted}", newest.name, all.join(", ")))
                        }
                    });
                }
                report.add(Finding::holds(whole.how));
                whole.remarks.iter().for_each(|line| report.remark(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_checked_when_read() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "path": "/b" })).contains("max_age"), "an unset threshold is never a pass");
        assert!(refused(json!({ "path": "/b", "max_age": "0s" })).contains("max_age"));
        assert!(
            refused(json!({ "path": "/b", "max_age": "1d", "size_ratio": [2, 1] })).contains("size_ratio")
        );
        assert!(refused(json!({ "path": "/b", "max_age": "1d", "pattern": "a/*" })).contains("pattern"));
        let unread = json!({ "path": "/b", "max_age": "1d", "read": "false", "contains_database": "x" });
        assert!(refused(unread).contains("contains_database"));
        assert_eq!(refused(json!({ "path": "/b", "max_age": "1d", "size_ratio": ["0.5", 2] })), "");
    }
}
