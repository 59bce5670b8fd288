//! Which tables are overdue for freezing, and where they stand.

use crate::check::door::Door;
use crate::check::horizon::row::Values;
use crate::check::{Context, Outcome};
use crate::world::pg::{QueryError, Session};

/// Most tables of one database; the oldest come first.
const MOST: usize = 50;

/// A table, or a database as a whole, that is older than autovacuum lets it become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// `database: schema.table`
    pub name: String,
    /// Its frozen transaction and multixact: changes when vacuum gets somewhere.
    pub stands: String,
    /// The older of its two ages.
    pub age: u64,
}

/// A database.
pub(super) struct Database {
    pub name: String,
    pub connects: bool,
    stands: String,
    age: Option<u64>,
    overdue: bool,
}

impl Database {
    /// Nobody can look into it: it counts as one.
    pub(super) fn as_table(&self) -> Option<Table> {
        let name = format!("database {}", self.name);
        self.overdue.then(|| Table { name, stands: self.stands.clone(), age: self.age.unwrap_or_default() })
    }
}

const DATABASES: &str = "select datname, datallowconn, pg_catalog.concat(datfrozenxid, ' ', datminmxid), \
    greatest(pg_catalog.age(datfrozenxid), pg_catalog.mxid_age(datminmxid)), \
    pg_catalog.age(datfrozenxid) > pg_catalog.current_setting('autovacuum_freeze_max_age')::int \
    or pg_catalog.mxid_age(datminmxid) > pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::int \
    from pg_catalog.pg_database order by datname collate \"C\"";

pub(super) async fn databases(session: &Session) -> Result<Vec<Database>, QueryError> {
    let rows = session.query(DATABASES).await?;
    let database = |row| {
        let mut row = Values::of(row);
        Database {
            name: row.text().unwrap_or_default(),
            connects: row.yes(),
            stands: row.text().unwrap_or_default(),
            age: row.count(),
            overdue: row.yes(),
        }
    };
    Ok(rows.into_iter().map(database).collect())
}

/// The overdue tables of one database.
pub(super) async fn tables(door: Door<'_>, cx: &Context) -> Result<Vec<Table>, Outcome> {
    let (session, _) = door.open(cx).await?;
    let sql = format!(
        "select c.oid::pg_catalog.regclass, pg_catalog.concat(c.oid, ' ', c.relfrozenxid, ' ', c.relminmxid), \
                greatest(pg_catalog.age(c.relfrozenxid), pg_catalog.mxid_age(c.relminmxid)) \
         from pg_catalog.pg_class c where c.relkind in ('r', 'm', 't') \
         and (pg_catalog.age(c.relfrozenxid) > pg_catalog.current_setting('autovacuum_freeze_max_age')::int \
           or pg_catalog.mxid_age(c.relminmxid) > pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::int) \
         order by 3 desc, c.oid limit {MOST}"
    );
    let rows = session.query(&sql).await.map_err(|error| door.unanswered(&error))?;
    let database = door.database.unwrap_or("?");
    let table = |row| {
        let mut row = Values::of(row);
        let name = format!("{database}: {}", row.text().unwrap_or_default());
        Table { name, stands: row.text().unwrap_or_default(), age: row.count().unwrap_or_default() }
    };
    Ok(rows.into_iter().map(table).collect())
}

/// Vacuums that run now, and whether autovacuum is on at all; for people only.
pub(super) async fn at_work(session: &Session) -> Vec<String> {
    let sql = "select pg_catalog.concat('a vacuum is at work in ', datname, ': ', phase, ', ', heap_blks_scanned, ' of ', \
               heap_blks_total, ' blocks') from pg_catalog.pg_stat_progress_vacuum \
               union all select pg_catalog.concat(name, ' is off: only what is overdue is vacuumed, if at all') \
               from pg_catalog.pg_settings where name in ('autovacuum', 'track_counts') and setting = 'off'";
    match session.query(sql).await {
        Ok(rows) => rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect(),
        Err(error) => vec![format!("what autovacuum does now could not be asked: {}", error.message)],
    }
}
