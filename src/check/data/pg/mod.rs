//! Takes the manifest of a PostgreSQL cluster: every database of it, each in one read-only snapshot that all its
//! sessions share. Nothing is skipped in silence: a database or a table that cannot be read makes the whole manifest an
//! error, so that the check is unknown and never a pass over what happened to be readable.

mod catalogue;
mod content;
pub mod cross;
pub mod hash;
mod inventory;
mod reading;
mod rows;
mod settled;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use catalogue::HOLDS_ANYTHING;
pub use rows::Reader;
pub use settled::{ATTEMPTS, restless};

use super::manifest::{Level, Manifest, Role, VERSION};
use super::progress::Tally;
use super::side::Ask;
use crate::check::Context;
use crate::runbook::Target;
use crate::world::Identity;
use crate::world::pg::{Options, Session, connect};

use self::inventory::Described;
use self::settled::{Tables, read_anew};

/// A statement of ours that runs longer than this has lost its check: a backstop for servers that do not notice when a
/// client is gone.
const BACKSTOP: Duration = Duration::from_secs(7 * 86_400);

/// Sessions that are kept open for a closer look at differing rows.
const KEPT: usize = 16;

/// What a cell holds; absent is an error of ours or the server's, never a default.
fn cell(row: &[Option<String>], column: usize) -> Result<&str, String> {
    row.get(column)
        .and_then(|v| v.as_deref())
        .ok_or_else(|| format!("the server left out column {column} of an answer"))
}

fn options(ask: &Ask, database: Option<&str>) -> Options {
    Options {
        application_name: format!("holdpoint {}", ask.purpose),
        statement_timeout: BACKSTOP,
        database: database.map(str::to_owned),
        ..Options::default()
    }
}

/// Opens a session as this work needs it: a row that a policy would hide is an error instead.
async fn open(target: &Target, ask: &Ask, database: Option<&str>) -> Result<Session, String> {
    let session = connect(target, &options(ask, database)).await.map_err(|e| e.to_string())?;
    let mut settings = "set row_security = off; set jit = off".to_owned();
    if session.identity().version >= 140_000 {
        settings.push_str("; set client_connection_check_interval = '10s'");
    }
    session.query(&settings).await.map_err(|e| format!("cannot prepare the session: {e}"))?;
    Ok(session)
}

/// A manifest, and the sessions that see exactly what it describes.
pub struct Taken {
    /// The manifest.
    pub manifest: Manifest,
    /// For a closer look at rows that differ.
    pub reader: Reader,
}

/// Takes a manifest. The error is a sentence about this side, without the side's name.
pub async fn take(
    name: &str,
    target: &Target,
    ask: &Ask,
    cx: &Context,
    tally: &Tally,
) -> Result<Taken, String> {
    let main = open(target, ask, None).await?;
    if ask.level == Level::Contents && value(&main, hash::PROBE).await?.as_deref() != Some(hash::PROBED) {
        return Err(
            "this server's hash functions give other values than expected, so contents cannot be compared"
                .into(),
        );
    }
    let before = value(&main, catalogue::WRITES).await?;
    let mut notes = Vec::new();
    let mut databases = BTreeMap::new();
    let mut sessions = BTreeMap::new();
    let mut wanted = chosen(&main, ask, &mut notes).await?;
    // Small ones first: it soon shows which of them need not be read, and how much is to be done.
    wanted.sort_by_key(|(_, bytes)| *bytes);
    tally.expect(wanted.iter().map(|(_, bytes)| bytes).sum());
    for (database, bytes) in wanted {
        let at = |e: String| format!("database {database}: {e}");
        let one = One { main: &main, target, ask, database: &database, bytes, tally };
        let Some((described, session)) = one.take(&mut notes).await.map_err(at)? else { continue };
        databases.insert(database.clone(), described.database);
        if sessions.len() < KEPT {
            sessions.insert(database, rows::Kept { session, hashed: described.hashed });
        }
    }
    let roles = match ask.databases.is_empty() && ask.level == Level::Contents {
        true => Some(roles(&main, &mut notes).await?),
        false => None,
    };
    let after = value(&main, catalogue::WRITES).await?;
    if let (Some(before), Some(after)) = (&before, &after)
        && before != after
    {
        notes.push(format!(
            "`{name}` was written to during the measurement; the figures are those of its beginning"
        ));
    }
    let mut said = BTreeSet::new();
    notes.retain(|note| said.insert(note.clone()));
    let identity = main.identity().clone();
    let engine = format!("{}.{}", identity.version / 10_000, identity.version % 10_000);
    let manifest = Manifest {
        manifest: VERSION,
        target: name.to_owned(),
        at: cx.world.clock.now(),
        identity: Identity::Postgres(identity),
        engine,
        level: ask.level,
        databases,
        roles,
        notes,
    };
    Ok(Taken { manifest, reader: Reader { sessions } })
}

/// One database of a cluster that is being read.
struct One<'a> {
    main: &'a Session,
    target: &'a Target,
    ask: &'a Ask,
    database: &'a str,
    /// As the server gives its size.
    bytes: u64,
    tally: &'a Tally,
}

impl One<'_> {
    /// Reads it, anew when a table of it did not hold still; `None` when it need not be read.
    async fn take(&self, notes: &mut Vec<String>) -> Result<Option<(Described, Session)>, String> {
        let Self { main, target, ask, database, bytes, tally } = *self;
        let mut attempt = 1;
        loop {
            let before = value(main, catalogue::WRITES).await?;
            let session = open(target, ask, Some(database)).await?;
            same_server(main, &session)?;
            let implied = ask.databases.is_empty() && matches!(database, "postgres" | "template1");
            if implied && value(&session, catalogue::HOLDS_ANYTHING).await?.as_deref() != Some("t") {
                tally.forget(bytes);
                return Ok(None);
            }
            let snapshot = begin(&session, notes).await?;
            let tables = Tables::of(&session).await?;
            let mut begun = false;
            let read = self.read(&session, snapshot.as_deref(), &mut begun).await;
            let still = read.is_ok() && before.is_some() && value(main, catalogue::WRITES).await? == before;
            let shift = match still {
                true => None,
                false => tables.shifted(target, ask, database, read.is_err()).await?,
            };
            match shift {
                None => return read.map(|described| Some((described, session))),
                Some(what) if attempt == ATTEMPTS => return Err(restless(&what, read.err())),
                Some(what) => notes.push(read_anew(database, &what)),
            }
            if begun {
                tally.again(bytes);
            }
            attempt += 1;
        }
    }

    async fn read(
        &self,
        session: &Session,
        snapshot: Option<&str>,
        begun: &mut bool,
    ) -> Result<Described, String> {
        let Self { target, ask, database, bytes, tally, .. } = *self;
        let mut described = inventory::read(session, ask.level).await?;
        for (table, columns) in &mut described.hashed {
            columns.retain(|column| ask.hashes(database, table, &column.name));
        }
        let helpers = content::Helpers { target, ask, database, snapshot };
        *begun = true;
        match ask.level {
            Level::Catalogue => tally.settle(bytes, 0),
            _ => content::measure(session, &helpers, &mut described, bytes, tally).await?,
        }
        if ask.cross {
            cross::record(session, &mut described).await?;
        }
        Ok(described)
    }
}

/// What answers at a target.
pub async fn identify(target: &Target) -> Result<Identity, String> {
    let session = connect(target, &Options::default()).await.map_err(|e| e.to_string())?;
    Ok(Identity::Postgres(session.identity().clone()))
}

async fn value(session: &Session, sql: &str) -> Result<Option<String>, String> {
    session.value(sql).await.map_err(|e| e.to_string())
}

/// A failover in the middle must not give half of one server and half of another.
fn same_server(main: &Session, other: &Session) -> Result<(), String> {
    let (a, b) = (main.identity(), other.identity());
    if (&a.system_identifier, &a.data_directory, &a.server_start)
        != (&b.system_identifier, &b.data_directory, &b.server_start)
    {
        return Err("another server answered than for the first connection".to_owned());
    }
    Ok(())
}

/// Begins the snapshot; its name, when the server lets other sessions share it.
async fn begin(session: &Session, notes: &mut Vec<String>) -> Result<Option<String>, String> {
    match session.export_snapshot().await {
        Ok(name) => Ok(Some(name)),
        Err(e) if !e.lost => {
            notes.push(format!("one session only: {e}"));
            let again = "rollback; begin isolation level repeatable read read only";
            session.query(again).await.map_err(|e| e.to_string())?;
            Ok(None)
        }
        Err(e) => Err(e.to_string()),
    }
}

/// The databases to read, with their sizes. One that cannot be entered is an error: nobody knows what it holds.
async fn chosen(main: &Session, ask: &Ask, notes: &mut Vec<String>) -> Result<Vec<(String, u64)>, String> {
    let rows = main.query(catalogue::DATABASES).await.map_err(|e| e.to_string())?;
    let asked: BTreeSet<&str> = ask.databases.iter().map(String::as_str).collect();
    let mut chosen = Vec::new();
    for row in &rows {
        let name = cell(row, 0)?;
        if !asked.is_empty() && !asked.contains(name) {
            continue;
        }
        let (enterable, template, allowed) =
            (cell(row, 1)? == "t", cell(row, 2)? == "t", cell(row, 3)? == "t");
        if asked.is_empty() && name == "template1" && template && !(enterable && allowed) {
            notes.push("template1 cannot be entered, and was left out".to_owned());
            continue;
        }
        if !enterable {
            return Err(format!("database {name} cannot be entered: it allows no connections"));
        }
        if !allowed {
            return Err(format!("database {name} cannot be entered: no right to connect"));
        }
        let bytes = row.get(4).and_then(|v| v.as_deref()).and_then(|v| v.parse().ok()).unwrap_or(0);
        chosen.push((name.to_owned(), bytes));
    }
    Ok(chosen)
}

async fn roles(main: &Session, notes: &mut Vec<String>) -> Result<BTreeMap<String, Role>, String> {
    let rows = main.query(catalogue::ROLES).await.map_err(|e| e.to_string())?;
    let passwords: Option<BTreeSet<String>> = match main.query(catalogue::PASSWORDS).await {
        Ok(rows) => Some(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()),
        Err(e) if e.sqlstate.as_deref() == Some("42501") => {
            notes.push("whether roles have passwords could not be seen; only a superuser may".to_owned());
            None
        }
        Err(e) => return Err(e.to_string()),
    };
    let mut roles = BTreeMap::new();
    for row in &rows {
        let name = cell(row, 0)?.to_owned();
        let mut member_of = inventory::names(row.get(2).and_then(|v| v.as_deref()))?;
        member_of.sort();
        let password = passwords.as_ref().map(|known| known.contains(&name));
        roles.insert(name, Role { attributes: cell(row, 1)?.to_owned(), password, member_of });
    }
    Ok(roles)
}
