//! Can the newest backup really be restored? It is: into a server of its own that nobody else can reach, and that is gone
//! afterwards.

mod count;
mod load;
mod scratch;

use std::path::{Path, PathBuf};
use std::time::Instant;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::backup_fresh::candidates::{self, Candidate, Kind};
use super::backup_fresh::writers;
use crate::base::{Size, Span, text};
use crate::check::door::Door;
use crate::check::params::{Count, Percent};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use count::Tables;

/// Can the newest backup really be restored?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRestores {
    /// A backup (a file, or a directory that pg_dump or pg_basebackup made), or a directory that holds several.
    path: String,
    /// Which entries of the directory count, as in `synapse-*.dump`.
    #[serde(default)]
    pattern: Option<String>,
    /// A directory with room for the whole database: there the throw-away server lives. `/var/tmp` when not given.
    #[serde(default)]
    scratch: Option<PathBuf>,
    /// The user that the throw-away server runs as when we are root; `postgres` when not given.
    #[serde(default)]
    user: Option<String>,
    /// Tables that must at least be in it; 1 when not given.
    #[serde(default)]
    tables: Option<Count>,
    /// The server that it is a backup of: each of its tables must come back, with enough rows.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// With `target`: the share of each table's present rows that must come back; 90% when not given.
    #[serde(default)]
    share: Option<Percent>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "backup_restores",
    summary: "the newest backup was restored into a throw-away server just now, and what came back was counted",
    docs: DOCS,
    timeout: Some(Span::secs(12 * 3600)),
    schema: || schema_for!(BackupRestores),
    build,
};

const DOCS: &str = r"
Shows that the newest backup can be restored, by restoring it.

**How it is measured.** A server of the dump's own major version (else the newest installed) is made in `scratch`, reachable only
through a socket in a directory of its own. Into it the backup goes: an archive with `pg_restore --exit-on-error
--single-transaction`, SQL text with `psql` that stops at the first error, a base backup as a copy that is started and has
to recover. Every table's rows are counted exactly; with `target` they are compared with the live ones. Then server and files
are removed, also when the check is interrupted.

**Passes** when it restores without an error, at least `tables` tables and one row come back, and with `target` every table
that has rows there has at least `share` of them. **Fails** when an error comes (duplicate keys, a cut file), too few tables,
no rows, or too few rows.

**Unknown** when there is no backup, `scratch` has too little room, the programs of that version or an extension are not installed
here, the live server does not answer, or the format cannot be restored by this check (packed SQL, tar base backups, base
backups with tablespaces, whose links would lead to the live ones).

**Traps.** It needs the whole database's room and time: run it in a job of its own with `holdpoint check FILE --json --output REPORT`, and let the
maintenance read the result with `check_report`. A dump is a program: it runs with the rights of the throw-away server's
user, so restore only what you made. Owners and grants of an archive are left out.

```yaml
preconditions:
  - backup_restores: { id: restore, path: /srv/dumps, pattern: 'synapse-*.dump', target: old, scratch: /srv/scratch }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: BackupRestores = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.tables.is_some_and(|count| count.0 == 0) {
        return Err("`tables` is zero: nothing at all would pass".to_owned());
    }
    if check.share.is_some() && check.target.is_none() {
        return Err("`share` needs `target`".to_owned());
    }
    if check
        .scratch
        .as_ref()
        .is_some_and(|path| !path.is_absolute() && !path.to_string_lossy().contains("${"))
    {
        return Err("`scratch` does not begin at the root".to_owned());
    }
    Ok(Box::new(check))
}

/// Why there is no count of what came back.
enum Trouble {
    /// The backup is at fault.
    Fails(String),
    /// Something else is.
    Unknown(String),
}

impl BackupRestores {
    async fn newest(&self, cx: &Context) -> Result<Candidate, String> {
        let place = cx.world.files.stat(Path::new(&self.path)).await?;
        let place = place.ok_or_else(|| format!("no backup: {} does not exist", self.path))?;
        for candidate in candidates::find(cx, &place, self.pattern.as_deref()).await?.candidates {
            if writers::unfinished(&candidate, cx).await.is_none() {
                return Ok(candidate);
            }
        }
        Err(format!("no finished backup in {}", self.path))
    }

    async fn restored(
        &self,
        backup: &Candidate,
        database: Option<&str>,
        cx: &Context,
    ) -> Result<(Tables, String), Trouble> {
        let dir = self.scratch.clone().unwrap_or_else(|| PathBuf::from("/var/tmp"));
        let user =
            self.user.clone().or_else(|| rustix::process::geteuid().is_root().then(|| "postgres".to_owned()));
        let space = cx.world.files.space(&dir).await.map_err(Trouble::Unknown)?;
        // Indexes and write-ahead log come on top of what a packed dump holds; a base backup is copied as it is.
        let need = backup.size.saturating_mul(load::growth(&backup.kind)).saturating_add(64 << 20);
        if space.available < need {
            let why = format!(
                "{} has {} available, and restoring {} takes some {}",
                dir.display(),
                Size(space.available),
                Size(backup.size),
                Size(need)
            );
            return Err(Trouble::Unknown(why));
        }
        let scratch = scratch::Scratch::make(&dir, user, matches!(backup.kind, Kind::Base(_)), cx)
            .await
            .map_err(Trouble::Unknown)?;
        load::restore(backup, &scratch, database, cx).await
    }

    /// What is missing of the live server's tables. The live server is asked first, so that nothing is restored in vain.
    fn missing(&self, live: &Tables, restored: &Tables, database: &str) -> Vec<String> {
        let share = self.share.map_or(0.9, |percent| percent.0 / 100.0);
        let mut missing = Vec::new();
        for (name, rows) in live.of(database).filter(|(_, rows)| *rows > 0) {
            let wanted = (rows as f64 * share).floor() as u64;
            match restored.rows(database, name) {
                None => {
                    missing.push(format!("{name} is not in it ({} live)", text::count(rows, "row", "rows")))
                }
                Some(back) if back < wanted => missing.push(format!(
                    "{name}: {} of {}",
                    text::thousands(back),
                    text::count(rows, "row", "rows")
                )),
                Some(_) => {}
            }
        }
        missing
    }
}

#[async_trait]
impl Check for BackupRestores {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    fn keeps(&self) -> Vec<String> {
        vec![self.path.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match &self.target {
            None => "a backup that restores".to_owned(),
            Some(target) => {
                format!(
                    "a backup that restores, with at least {} of {target}'s rows",
                    self.share.unwrap_or(Percent(90.0))
                )
            }
        };
        let mut live = None;
        if let Some(target) = &self.target {
            let door = Door::new(KIND.name, target, &expected).limit(std::time::Duration::from_secs(3600));
            let (session, identity) = match door.open(cx).await {
                Ok(open) => open,
                Err(unknown) => return unknown,
            };
            let counted = async {
                let name = session.value("select current_database()").await?.unwrap_or_default();
                count::of_database(&session, &name).await.map(|tables| (name, tables))
            };
            match counted.await {
                Ok((name, tables)) if tables.total() == 0 => {
                    let why = format!(
                        "{target}: no table of {name} has a row, so there is nothing to compare with"
                    );
                    return Outcome::unknown(why, expected)
                        .help("name the database that the backup is of in the target")
                        .on(target, identity);
                }
                Ok((name, tables)) => live = Some((name, tables, identity)),
                Err(error) => return door.unanswered(&error).on(target, identity),
            }
        }
        let unknown = |why: String| {
            Outcome::unknown(why, expected.clone())
                .help("put this right, then restore again; until then no backup is proved")
        };
        let backup = match self.newest(cx).await {
            Ok(backup) => backup,
            Err(why) => return unknown(why),
        };
        let began = Instant::now();
        let (tables, how) =
            match self.restored(&backup, live.as_ref().map(|(name, ..)| name.as_str()), cx).await {
                Ok(restored) => restored,
                Err(Trouble::Unknown(why)) => return unknown(format!("{}: {why}", backup.name)),
                Err(Trouble::Fails(why)) => {
                    return Outcome::fail(format!("{} does not restore: {why}", backup.name), expected).help(
                        "make a new backup now, and restore that one; find out what is wrong with the source",
                    );
                }
            };
        let took = Span(std::time::Duration::from_secs(began.elapsed().as_secs()));
        let (count, rows) = (tables.count(), tables.total());
        let least = self.tables.map_or(1, |count| count.0);
        let mut wrong = Vec::new();
        if count < least {
            wrong.push(format!("only {} in it", text::count(count, "table", "tables")));
        } else if rows == 0 {
            wrong.push("no rows in it".to_owned());
        }
        if let Some((database, live, _)) = &live {
            wrong.extend(self.missing(live, &tables, database));
        }
        let about = format!(
            "{} restored within {took}: {}, {}",
            backup.name,
            text::count(count, "table", "tables"),
            text::count(rows, "row", "rows")
        );
        let mut outcome = match wrong.as_slice() {
            [] => Outcome::pass(about, expected),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                let outcome = Outcome::fail(format!("{about}; {first}{more}"), expected)
                    .help("find out why the backup lacks them, and make a new one");
                rest.iter().take(20).fold(outcome, Outcome::detail)
            }
        };
        outcome = outcome
            .detail(how)
            .fact("tables", count)
            .fact("rows", rows)
            .fact("seconds", began.elapsed().as_secs())
            .fact("bytes", backup.size);
        match (live, &self.target) {
            (Some((_, _, identity)), Some(target)) => outcome.on(target, identity),
            _ => outcome,
        }
    }
}
