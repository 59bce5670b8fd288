//! How far a cluster reaches: directories, tablespaces, WAL, configuration, databases and rows, and who uses it.
//! Works on a running server and on a stopped cluster of this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::ConnectTrouble;
use super::session::{Options, Session, identifier};
use super::settings::Surroundings;
use super::{connect, debian, stopped, tree};
use crate::runbook::Target;
use crate::world::identity::PostgresIdentity;

/// One part of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `data directory`, `tablespace`, `WAL`, `configuration`, `log` or `database`; of a part also `table`,
    /// `materialized view` and `index`.
    pub kind: &'static str,
    /// Path, or the database's name; `oid 16384` for a database of a stopped cluster.
    pub name: String,
    /// Bytes on disk. `None` when they could not be measured.
    pub bytes: Option<u64>,
    /// Rows of all user tables, counted one by one; `None` when they were not counted.
    pub rows: Option<u64>,
    /// User tables (partitioned parents not counted); `None` when stopped.
    pub tables: Option<u64>,
}

/// Everything that belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// What it is.
    pub identity: PostgresIdentity,
    /// Its parts, in a stable order.
    pub parts: Vec<Part>,
    /// Reasons to think that it is in use.
    pub serving: Vec<String>,
    /// What could not be measured although it belongs to it.
    pub unmeasured: Vec<String>,
    /// What else should be known: rows that were not counted for lack of time.
    pub notes: Vec<String>,
}

/// The longest that [`extent`] counts rows.
pub const COUNTING: Duration = Duration::from_secs(30);

/// Measures a target. An error when nothing can be said at all.
pub async fn extent(target: &Target) -> Result<Extent, String> {
    extent_within(target, COUNTING).await
}

/// The same with another limit for counting rows.
pub async fn extent_within(target: &Target, counting: Duration) -> Result<Extent, String> {
    let around = Surroundings::of_process();
    let options = Options { application_name: "holdpoint extent".to_owned(), ..Options::default() };
    match connect(target, &options).await {
        Ok(session) => running(target, &around, session, &options, counting).await,
        Err(error) if error.kind == ConnectTrouble::Refused => {
            let target = target.clone();
            tokio::task::spawn_blocking(move || at_rest(&target, &around, &error.message))
                .await
                .map_err(|error| error.to_string())?
        }
        Err(error) => Err(error.message),
    }
}

/// The data directory of a target that does not run, and its port, as far as its words say; an error without either.
pub(super) fn where_it_rests(target: &Target, around: &Surroundings) -> Result<(PathBuf, u16), String> {
    let conf = match &target.cluster {
        Some(name) => Some(debian::cluster_conf(&around.clusters, name)?),
        None => None,
    };
    let port = conf.as_ref().map(|conf| conf.port);
    let directory =
        target.data_directory.clone().map(PathBuf::from).or_else(|| conf.and_then(|c| c.data_directory));
    let Some(directory) = directory else {
        return Err(
            "to measure it while it is stopped, the target must say `cluster` or `data_directory`".to_owned()
        );
    };
    Ok((directory.clone(), port.or_else(|| debian::port_of(&directory)).unwrap_or(0)))
}

fn at_rest(target: &Target, around: &Surroundings, refused: &str) -> Result<Extent, String> {
    let (directory, port) = where_it_rests(target, around).map_err(|why| format!("{refused}; {why}"))?;
    let identity = stopped::identity_from_files(&directory, port)?;
    let root = PathBuf::from(&identity.data_directory);
    let mut found = Found::default();
    let mut all = found.files(&root, identity.version / 10_000);
    found.debian(target, around);
    for entry in std::fs::read_dir(root.join("base")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let bytes = found.tree(&entry.path(), &[]);
            found.part("database", format!("oid {name}"), Some(bytes));
        }
    }
    if found.parts.iter().all(|part| part.kind != "database") {
        found.unmeasured.push(format!("no databases were found below {}", root.join("base").display()));
    }
    all.push(root);
    match stopped::users_of(&all) {
        Ok(users) => {
            found.serving.extend(users.found);
            if users.hidden > 0 {
                found.notes.push(format!(
                    "open files of {} processes of other users could not be seen",
                    users.hidden
                ));
            }
        }
        Err(why) => found.unmeasured.push(why),
    }
    found.notes.push("it is stopped: its rows were not counted".to_owned());
    Ok(found.done(identity))
}

async fn running(
    target: &Target,
    around: &Surroundings,
    session: Session,
    options: &Options,
    counting: Duration,
) -> Result<Extent, String> {
    let identity = session.identity().clone();
    let mut found = Found::default();
    let root = PathBuf::from(&identity.data_directory);
    let asked = |error: super::QueryError| error.message;
    if session.is_local() && std::fs::read_dir(&root).is_ok() {
        let (target, around, major) = (target.clone(), around.clone(), identity.version / 10_000);
        found = tokio::task::spawn_blocking(move || {
            found.files(&root, major);
            found.debian(&target, &around);
            found
        })
        .await
        .map_err(|error| error.to_string())?;
    } else {
        found.by_sql(&session).await.map_err(asked)?;
    }
    let until = Instant::now() + counting;
    for database in session.databases().await.map_err(asked)? {
        let mut part =
            Part { kind: "database", name: database.name, bytes: database.bytes, rows: None, tables: None };
        if part.bytes.is_none() {
            found.unmeasured.push(format!("the size of database {} (a right is missing)", part.name));
        }
        if database.allows_connections {
            match rows_of(target, options, &part.name, until).await {
                Ok((tables, rows)) => {
                    (part.tables, part.rows) = (Some(tables), rows);
                    if rows.is_none() {
                        let span = crate::base::Span(counting);
                        found.notes.push(format!("rows of {} were not all counted within {span}", part.name));
                    }
                }
                Err(why) => found.unmeasured.push(format!("the rows of database {}: {why}", part.name)),
            }
        } else if part.name != "template0" {
            found.unmeasured.push(format!("the rows of database {}: it allows no connections", part.name));
        }
        found.parts.push(part);
    }
    found.serving.push(format!("the server runs since {} UTC", identity.server_start));
    found.serving.extend(session.clients().await.map_err(asked)?);
    Ok(found.done(identity))
}

/// Number of user tables, and of their rows unless time ran out. Partitions count, their parents do not.
pub(super) async fn rows_of(
    target: &Target,
    options: &Options,
    database: &str,
    until: Instant,
) -> Result<(u64, Option<u64>), String> {
    let left = until.saturating_duration_since(Instant::now());
    let options = Options {
        database: Some(database.to_owned()),
        statement_timeout: left.max(Duration::from_secs(2)),
        ..options.clone()
    };
    let session = connect(target, &options).await.map_err(|error| error.message)?;
    let tables = session
        .query(
            "select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname not in ('pg_catalog', 'information_schema') \
             and n.nspname not like 'pg\\_toast%' and (c.relkind <> 'm' or c.relispopulated) order by 1, 2",
        )
        .await
        .map_err(|error| error.message)?;
    let mut rows = Some(0_u64);
    for table in &tables {
        let [Some(schema), Some(name)] = &table[..] else {
            return Err("the list of tables is not readable".to_owned());
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            rows = None;
            break;
        }
        let sql = format!("select count(*) from only {}.{}", identifier(schema), identifier(name));
        rows = match (rows, tokio::time::timeout(left, session.value(&sql)).await) {
            (None, _) | (_, Err(_)) => None,
            (Some(_), Ok(Err(error))) if error.sqlstate.as_deref() == Some("57014") => None,
            (Some(_), Ok(Err(error))) => return Err(error.message),
            (Some(sum), Ok(Ok(count))) => count.and_then(|n| n.parse::<u64>().ok()).map(|n| sum + n),
        };
        if rows.is_none() {
            break;
        }
    }
    Ok((tables.len() as u64, rows))
}

#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    serving: Vec<String>,
    unmeasured: Vec<String>,
    notes: Vec<String>,
}

impl Found {
    fn part(&mut self, kind: &'static str, name: String, bytes: Option<u64>) {
        self.parts.push(Part { kind, name, bytes, rows: None, tables: None });
    }

    fn tree(&mut self, root: &Path, except: &[PathBuf]) -> u64 {
        let tree = tree::measure(root, except);
        self.unmeasured.extend(tree.unread);
        tree.bytes
    }

    /// Data directory, WAL and tablespaces. Returns those outside the data directory, links resolved.
    fn files(&mut self, root: &Path, major: u32) -> Vec<PathBuf> {
        let mut outside = Vec::new();
        let wal = root.join("pg_wal");
        let bytes = self.tree(root, std::slice::from_ref(&wal));
        self.part("data directory", root.display().to_string(), Some(bytes));
        match std::fs::canonicalize(&wal) {
            Ok(real) => {
                let bytes = self.tree(&real, &[]);
                self.part("WAL", real.display().to_string(), Some(bytes));
                outside.push(real);
            }
            Err(error) => self.unmeasured.push(format!("{}: {error}", wal.display())),
        }
        match std::fs::read_dir(root.join("pg_tblspc")) {
            Ok(links) => {
                for link in links.flatten() {
                    self.tablespace(&link.path(), major, &mut outside);
                }
            }
            Err(error) => self.unmeasured.push(format!("{}: {error}", root.join("pg_tblspc").display())),
        }
        outside
    }

    /// Clusters of several versions may share a tablespace's directory; only `PG_<major>_...` below it is ours.
    fn tablespace(&mut self, link: &Path, major: u32, outside: &mut Vec<PathBuf>) {
        let ours = std::fs::canonicalize(link).and_then(|real| {
            let entries = std::fs::read_dir(&real)?.flatten().map(|entry| entry.path());
            let prefix = format!("PG_{major}_");
            Ok(entries
                .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)))
                .collect())
        });
        match ours {
            Ok(ours) => {
                let ours: Vec<PathBuf> = ours;
                for path in ours {
                    let bytes = self.tree(&path, &[]);
                    self.part("tablespace", path.display().to_string(), Some(bytes));
                    outside.push(path);
                }
            }
            Err(error) => self.unmeasured.push(format!("tablespace {}: {error}", link.display())),
        }
    }

    /// What Debian's tools remove together with a cluster.
    fn debian(&mut self, target: &Target, around: &Surroundings) {
        let Some(name) = &target.cluster else { return };
        match debian::cluster_conf(&around.clusters, name) {
            Ok(conf) => {
                let bytes = self.tree(&conf.directory, &[]);
                self.part("configuration", conf.directory.display().to_string(), Some(bytes));
            }
            Err(why) => self.unmeasured.push(why),
        }
        let log = format!("/var/log/postgresql/postgresql-{}.log", name.replace('/', "-"));
        if Path::new(&log).exists() {
            let bytes = self.tree(Path::new(&log), &[]);
            self.part("log", log, Some(bytes));
        }
    }

    /// The same from afar, or without the right to read its files: the server's own words about its sizes.
    async fn by_sql(&mut self, session: &Session) -> Result<(), super::QueryError> {
        let number = |value: Option<String>| value.and_then(|text| text.parse::<u64>().ok());
        let root = session.identity().data_directory.clone();
        let main = "select sum(pg_catalog.pg_tablespace_size(oid)) from pg_catalog.pg_tablespace \
                    where spcname in ('pg_default', 'pg_global')";
        self.part("data directory", root.clone(), number(session.value(main).await?));
        let wal = session.value("select sum(size) from pg_catalog.pg_ls_waldir()").await?;
        self.part("WAL", format!("{root}/pg_wal"), number(wal));
        let others = "select pg_catalog.pg_tablespace_location(oid), pg_catalog.pg_tablespace_size(oid) \
                      from pg_catalog.pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1";
        for row in session.query(others).await? {
            let mut row = row.into_iter();
            self.part("tablespace", row.next().flatten().unwrap_or_default(), number(row.next().flatten()));
        }
        self.notes.push("its files cannot be read from here: sizes are the server's own".to_owned());
        Ok(())
    }

    fn done(mut self, identity: PostgresIdentity) -> Extent {
        const ORDER: [&str; 6] = ["data directory", "tablespace", "WAL", "configuration", "log", "database"];
        self.parts.sort_by_key(|part| (ORDER.iter().position(|kind| *kind == part.kind), part.name.clone()));
        let Found { parts, serving, unmeasured, notes } = self;
        Extent { identity, parts, serving, unmeasured, notes }
    }
}
