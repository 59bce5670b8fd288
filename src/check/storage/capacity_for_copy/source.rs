//! What a copy has to carry: asked of the server, or measured in the files of a stopped one.

use std::path::PathBuf;

use crate::base::Size;
use crate::check::door::Door;
use crate::check::{Context, Outcome};
use crate::runbook::Target;
use crate::world::Identity;
use crate::world::pg::{self, QueryError, Row, Session};

/// The check's name, in pg_stat_activity.
const NAME: &str = "capacity_for_copy";
/// Databases that are asked one after the other.
const MOST_DATABASES: usize = 1_000;

/// One tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tablespace {
    pub name: String,
    /// `None` inside the data directory.
    pub location: Option<PathBuf>,
    pub bytes: u64,
    /// About how many files; `None` when nobody counted.
    pub files: Option<u64>,
}

/// A whole cluster.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub tablespaces: Vec<Tablespace>,
    /// All databases.
    pub databases: u64,
    pub max_wal_size: Option<u64>,
    /// Write-ahead log that waits for the archiver.
    pub archive_queue: u64,
    /// All indexes of the table that has the largest.
    pub largest_indexes: Option<u64>,
    pub catalogs: Option<u64>,
    /// Where `temp_tablespaces` are; empty for the data directory.
    pub temp: Vec<PathBuf>,
    pub logs: Option<PathBuf>,
    pub data_directory: PathBuf,
    /// On this machine.
    pub local: bool,
    pub notes: Vec<String>,
    pub identity: Identity,
}

/// Asks a running server, or measures a stopped one that its target can find. The error is ready to be returned.
pub(super) async fn ask(name: &str, wanted: &str, cx: &Context) -> Result<Source, Box<Outcome>> {
    let door = Door::new(NAME, name, wanted);
    let target = cx.target(name).map_err(|why| Box::new(Outcome::unknown(why, wanted)))?;
    let (session, identity) = match door.open(cx).await {
        Ok(opened) => opened,
        Err(outcome) => return stopped(target).await.ok_or(Box::new(outcome)),
    };
    let unanswered = |error: QueryError| Box::new(door.unanswered(&error));
    let mut source = cluster(&session, identity, target).await.map_err(unanswered)?;
    let databases = session
        .query(
            "select datname, datallowconn, pg_catalog.pg_database_size(oid)::bigint from pg_catalog.pg_database order by 1",
        )
        .await
        .map_err(unanswered)?;
    if databases.len() > MOST_DATABASES {
        let why = format!("{name} has {} databases; at most {MOST_DATABASES} are asked", databases.len());
        return Err(Box::new(
            Outcome::unknown(why, wanted).help("compute the need by hand, and use disk_free"),
        ));
    }
    for row in &databases {
        let (Some(database), Some(bytes)) = (text(row, 0), number(row, 2)) else {
            return Err(unanswered(missing("the size of a database")));
        };
        source.databases += bytes;
        if text(row, 1) != Some("t") {
            // Nobody gets in, so nobody counts: no index in it is larger than all of it.
            // template0 has no table of anybody's.
            let indexes = if database == "template0" { 0 } else { bytes };
            source.largest_indexes = source.largest_indexes.max(Some(indexes));
            source.catalogs = source.catalogs.map(|all| all + bytes);
            continue;
        }
        let door = door.database(database);
        let (inside, _) = door.open(cx).await.map_err(Box::new)?;
        let answer = self::database(&inside, &mut source).await;
        answer.map_err(|error| Box::new(door.unanswered(&error)))?;
    }
    Ok(source)
}

async fn cluster(session: &Session, identity: Identity, target: &Target) -> Result<Source, QueryError> {
    let spaces = session
        .query(
            "select spcname, pg_catalog.pg_tablespace_location(oid), pg_catalog.pg_tablespace_size(oid)::bigint \
             from pg_catalog.pg_tablespace order by oid",
        )
        .await?;
    let mut tablespaces = Vec::new();
    for row in &spaces {
        let (Some(name), Some(bytes)) = (text(row, 0), number(row, 2)) else {
            return Err(missing("the size of a tablespace"));
        };
        let location = text(row, 1).filter(|path| !path.is_empty()).map(PathBuf::from);
        tablespaces.push(Tablespace { name: name.to_owned(), location, bytes, files: Some(0) });
    }
    let settings = session
        .query(
            "select name, setting from pg_catalog.pg_settings where name in ('max_wal_size', 'wal_segment_size', \
             'archive_mode', 'temp_tablespaces', 'logging_collector', 'log_directory')",
        )
        .await?;
    let setting =
        |name: &str| settings.iter().find(|row| text(row, 0) == Some(name)).and_then(|row| text(row, 1));
    let (Some(max_wal), Some(segment)) = (
        setting("max_wal_size").and_then(|text| text.parse::<u64>().ok()),
        setting("wal_segment_size").and_then(|text| text.parse::<u64>().ok()),
    ) else {
        return Err(missing("max_wal_size"));
    };
    let mut notes = Vec::new();
    let mut archive_queue = 0;
    if setting("archive_mode") != Some("off") {
        let ready = session
            .value("select count(*) from pg_catalog.pg_ls_archive_statusdir() where name like '%.ready'")
            .await?;
        let files: u64 =
            ready.and_then(|text| text.parse().ok()).ok_or_else(|| missing("the archiver's queue"))?;
        archive_queue = files * segment;
        notes.push(format!(
            "archiving is on: all that a restore writes waits in pg_wal when the archiver falls behind ({} now)",
            Size(archive_queue)
        ));
    }
    let data_directory = PathBuf::from(&session.identity().data_directory);
    let logs = match (setting("logging_collector"), setting("log_directory")) {
        (Some("on"), Some(directory)) => Some(data_directory.join(directory)),
        _ if target.cluster.is_some() => Some("/var/log/postgresql".into()),
        _ => None,
    };
    Ok(Source {
        temp: temporary(setting("temp_tablespaces").unwrap_or_default(), &tablespaces),
        tablespaces,
        databases: 0,
        max_wal_size: Some(max_wal << 20),
        archive_queue,
        largest_indexes: Some(0),
        catalogs: Some(0),
        logs,
        data_directory,
        local: session.is_local(),
        notes,
        identity,
    })
}

/// Where the tablespaces of `temp_tablespaces` are: `fast, "odd name"`.
fn temporary(setting: &str, tablespaces: &[Tablespace]) -> Vec<PathBuf> {
    let names = setting.split(',').map(str::trim).map(|name| {
        match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_lowercase(),
        }
    });
    let each = names.filter_map(|name| tablespaces.iter().find(|space| space.name == name)?.location.clone());
    each.collect()
}

/// Adds what one database has: its catalogues, its largest indexes, about how many files in which tablespace.
async fn database(session: &Session, source: &mut Source) -> Result<(), QueryError> {
    let rows = session
        .query(
            "select t.spcname, \
             count(*) filter (where c.relkind in ('r', 'i', 't', 'm', 'S'))::bigint, \
             (sum(c.relpages) filter (where c.relkind in ('r', 'i', 't', 'm')))::bigint, \
             max(pg_catalog.pg_indexes_size(c.oid)) filter (where c.relkind in ('r', 'm'))::bigint, \
             (sum(pg_catalog.pg_total_relation_size(c.oid)) filter \
               (where c.relkind = 'r' and c.relnamespace = 'pg_catalog'::regnamespace and c.relname <> 'pg_largeobject' \
                and not c.relisshared))::bigint \
             from pg_catalog.pg_class c join pg_catalog.pg_database d on d.datname = current_database() \
             join pg_catalog.pg_tablespace t on t.oid = case when c.reltablespace = 0 then d.dattablespace else c.reltablespace end \
             group by 1",
        )
        .await?;
    if rows.is_empty() {
        return Err(missing("the relations of a database"));
    }
    for row in &rows {
        let relations = number(row, 1).ok_or_else(|| missing("how many relations there are"))?;
        // A file for each gigabyte, and two maps beside each table.
        let files = relations * 3 + number(row, 2).unwrap_or(0) / 131_072;
        if let Some(space) =
            source.tablespaces.iter_mut().find(|space| Some(space.name.as_str()) == text(row, 0))
        {
            space.files = space.files.map(|all| all + files);
        }
        // Both are NULL where the tablespace has no table of that kind.
        source.largest_indexes = source.largest_indexes.max(number(row, 3));
        source.catalogs = source.catalogs.map(|all| all + number(row, 4).unwrap_or(0));
    }
    Ok(())
}

/// A stopped cluster, if this is one that can be seen: `None` leaves it at why it did not answer.
async fn stopped(target: &Target) -> Option<Source> {
    if target.cluster.is_none() && target.data_directory.is_none() {
        return None;
    }
    let extent = pg::extent(target).await.ok()?;
    if !extent.unmeasured.is_empty() {
        return None;
    }
    let mut tablespaces = Vec::new();
    for part in extent.parts.iter().filter(|part| matches!(part.kind, "data directory" | "tablespace")) {
        let location = (part.kind == "tablespace").then(|| PathBuf::from(&part.name));
        let name = if location.is_some() { part.name.clone() } else { "pg_default".to_owned() };
        tablespaces.push(Tablespace { name, location, bytes: part.bytes?, files: None });
    }
    let databases = extent.parts.iter().filter(|part| part.kind == "database").map(|part| part.bytes);
    Some(Source {
        databases: databases.sum::<Option<u64>>()?,
        tablespaces,
        max_wal_size: None,
        archive_queue: 0,
        largest_indexes: None,
        catalogs: None,
        temp: Vec::new(),
        logs: target.cluster.is_some().then(|| "/var/log/postgresql".into()),
        data_directory: PathBuf::from(&extent.identity.data_directory),
        local: true,
        notes: vec!["the server is stopped, so its files were measured".to_owned()],
        identity: Identity::Postgres(extent.identity),
    })
}

fn text(row: &Row, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn number(row: &Row, at: usize) -> Option<u64> {
    text(row, at)?.parse().ok()
}

fn missing(what: &str) -> QueryError {
    QueryError::local(format!("the server gave no number for {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_temporary_tablespaces() {
        let space = |name: &str, path: &str| Tablespace {
            name: name.to_owned(),
            location: (!path.is_empty()).then(|| path.into()),
            bytes: 0,
            files: None,
        };
        let all = [space("pg_default", ""), space("fast", "/ssd"), space("Odd \"one\"", "/odd")];
        assert_eq!(temporary("", &all), Vec::<PathBuf>::new());
        assert_eq!(temporary("pg_default", &all), Vec::<PathBuf>::new());
        let both: Vec<PathBuf> = vec!["/ssd".into(), "/odd".into()];
        assert_eq!(temporary("Fast, \"Odd \"\"one\"\"\"", &all), both);
    }
}
