//! How far a part of a server reaches that goes on without it: one database, or some tables and indexes.

use std::time::Instant;

use super::databases::Database;
use super::extent::{COUNTING, Extent, Part, rows_of};
use super::session::{Options, Session, identifier, literal};
use super::{QueryError, connect};
use crate::runbook::Target;
use crate::runbook::model::Destroys;

/// What a part holds, and what of it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// Its parts: `database`, `table`, `materialized view` or `index`.
    pub extent: Extent,
    /// What was named and does not exist, with a sentence each.
    pub missing: Vec<(String, String)>,
}

/// Measures the part of a target that goes. An error when nothing can be said at all: also when the server is stopped,
/// since it alone knows its databases by name.
pub async fn portion(target: &Target, goes: &Destroys) -> Result<Portion, String> {
    let options = Options { application_name: "holdpoint extent".to_owned(), ..Options::default() };
    let relations = goes.relations();
    let inside = Options { database: goes.database.clone().filter(|_| relations), ..options.clone() };
    let session = connect(target, &inside).await.map_err(|error| error.message)?;
    let mut found = Found::default();
    let asked = |error: QueryError| error.message;
    match &goes.database {
        Some(name) if !relations => found.database(target, &options, &session, name).await.map_err(asked)?,
        _ => {
            for name in &goes.tables {
                found.table(&session, name).await.map_err(asked)?;
            }
            for name in &goes.indexes {
                found.index(&session, name).await.map_err(asked)?;
            }
        }
    }
    let Found { parts, serving, unmeasured, notes, missing } = found;
    let extent = Extent { identity: session.identity().clone(), parts, serving, unmeasured, notes };
    Ok(Portion { extent, missing })
}

#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    serving: Vec<String>,
    unmeasured: Vec<String>,
    notes: Vec<String>,
    missing: Vec<(String, String)>,
}

/// A relation as the server knows it.
struct Relation {
    oid: String,
    /// `schema.name`, quoted where it must be.
    name: String,
    /// `pg_class.relkind`.
    kind: String,
    bytes: Option<u64>,
    /// The table of an index.
    of: Option<String>,
}

impl Found {
    async fn database(
        &mut self,
        target: &Target,
        options: &Options,
        session: &Session,
        name: &str,
    ) -> Result<(), QueryError> {
        let all = session.databases().await?;
        let Some(database) = all.into_iter().find(|database| database.name == name) else {
            self.missing.push((format!("database {name}"), format!("there is no database {name}")));
            return Ok(());
        };
        let Database { allows_connections, bytes, .. } = database;
        let mut part = Part { kind: "database", name: name.to_owned(), bytes, rows: None, tables: None };
        if bytes.is_none() {
            self.unmeasured.push(format!("the size of database {name} (a right is missing)"));
        }
        if allows_connections {
            match rows_of(target, options, name, Instant::now() + COUNTING).await {
                Ok((tables, rows)) => {
                    (part.tables, part.rows) = (Some(tables), rows);
                    if rows.is_none() {
                        let span = crate::base::Span(COUNTING);
                        self.notes.push(format!("rows of {name} were not all counted within {span}"));
                    }
                }
                Err(why) => self.unmeasured.push(format!("the rows of database {name}: {why}")),
            }
        } else {
            self.unmeasured.push(format!("the rows of database {name}: it allows no connections"));
        }
        self.parts.push(part);
        self.serving.extend(session.clients_in(Some(name)).await?);
        let here = literal(name);
        let held = format!(
            "select 'prepared transaction ' || gid || ' waits for its second half' \
             from pg_catalog.pg_prepared_xacts where database = {here} \
             union all select 'replication slot ' || slot_name || ' reads it' \
             from pg_catalog.pg_replication_slots where database = {here} \
             union all select 'subscription ' || s.subname || ' writes to it' from pg_catalog.pg_subscription s \
             join pg_catalog.pg_database d on d.oid = s.subdbid where d.datname = {here} order by 1"
        );
        // Who may not see subscriptions sees the rest.
        let rows = match session.query(&held).await {
            Ok(rows) => rows,
            Err(error) if error.sqlstate.as_deref() == Some("42501") => {
                self.unmeasured.push(format!("what else uses database {name}: {}", error.message));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.serving.extend(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()));
        Ok(())
    }

    async fn table(&mut self, session: &Session, name: &str) -> Result<(), QueryError> {
        let Some(relation) = relation(session, name).await? else {
            self.none("table", name);
            return Ok(());
        };
        let kind = match relation.kind.as_str() {
            "r" | "p" => "table",
            "m" => "materialized view",
            other => {
                self.another(name, "a table", other);
                return Ok(());
            }
        };
        let count = format!("select count(*) from {}", relation.name);
        let rows = match tokio::time::timeout(COUNTING, session.value(&count)).await {
            Ok(count) => count?.and_then(|count| count.parse().ok()),
            Err(_) => {
                self.notes.push(format!("rows of {} were not counted in time", relation.name));
                None
            }
        };
        let users = format!(
            "select coalesce(nullif(a.application_name, ''), a.usename, 'a client that we may not see') || ' (pid ' || \
             l.pid || ') holds ' || string_agg(distinct l.mode, ', ') || ' on {}' \
             from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid \
             where l.locktype = 'relation' and l.granted and l.pid <> pg_catalog.pg_backend_pid() \
             and l.database = (select oid from pg_catalog.pg_database where datname = current_database()) \
             and coalesce(a.application_name, '') not like 'holdpoint%' \
             and coalesce(a.backend_type, '') <> 'autovacuum worker' \
             and (l.relation = {oid} or l.relation in (select relid from pg_catalog.pg_partition_tree({oid}))) \
             group by a.application_name, a.usename, l.pid order by 1",
            relation.name.replace('\'', "''"),
            oid = relation.oid,
        );
        let users = session.query(&users).await?;
        self.serving.extend(users.into_iter().filter_map(|row| row.into_iter().next().flatten()));
        let Relation { name, bytes, .. } = relation;
        self.parts.push(Part { kind, name, bytes, rows, tables: None });
        Ok(())
    }

    /// Sessions do not count as users of an index: `DROP INDEX CONCURRENTLY` waits for them.
    async fn index(&mut self, session: &Session, name: &str) -> Result<(), QueryError> {
        match relation(session, name).await? {
            None => self.none("index", name),
            Some(Relation { kind, of: Some(of), bytes, name, .. }) if kind == "i" || kind == "I" => {
                let name = format!("{name} on {of}");
                self.parts.push(Part { kind: "index", name, bytes, rows: None, tables: None });
            }
            Some(other) => self.another(name, "an index", &other.kind),
        }
        Ok(())
    }

    fn none(&mut self, kind: &str, name: &str) {
        self.missing.push((format!("{kind} {name}"), format!("there is no {kind} {name}")));
    }

    /// What bears the name is not what was meant.
    fn another(&mut self, name: &str, wanted: &str, kind: &str) {
        let is = match kind {
            "r" | "p" => "a table",
            "m" => "a materialized view",
            "i" | "I" => "an index",
            "v" => "a view",
            "S" => "a sequence",
            "f" => "a foreign table",
            _ => "something else",
        };
        self.unmeasured.push(format!("{name} is {is}, and the step says that it is {wanted}"));
    }
}

/// What the server knows under a name; nothing when there is none.
async fn relation(session: &Session, name: &str) -> Result<Option<Relation>, QueryError> {
    let name = literal(name);
    let sql = format!(
        "select c.oid::text, n.nspname, c.relname, c.relkind::text, \
                (case when c.relkind = 'i' then pg_catalog.pg_relation_size(c.oid) \
                      when c.relkind = 'I' then (select sum(pg_catalog.pg_relation_size(t.relid)) \
                                                 from pg_catalog.pg_partition_tree(c.oid) t) \
                      when c.relkind = 'p' then (select sum(pg_catalog.pg_total_relation_size(t.relid)) \
                                                 from pg_catalog.pg_partition_tree(c.oid) t) \
                      else pg_catalog.pg_total_relation_size(c.oid) end)::text, \
                (select i.indrelid::pg_catalog.regclass::text from pg_catalog.pg_index i where i.indexrelid = c.oid) \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.oid = pg_catalog.to_regclass({name})"
    );
    let Some(row) = session.query(&sql).await?.into_iter().next() else { return Ok(None) };
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let (oid, schema, relname, kind) = (next(), next(), next(), next());
    let bytes = next().and_then(|bytes| bytes.parse().ok());
    let of = next();
    let plain = |name: &str| {
        let simple = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if simple { name.to_owned() } else { identifier(name) }
    };
    let name = format!("{}.{}", plain(&schema.unwrap_or_default()), plain(&relname.unwrap_or_default()));
    Ok(Some(Relation { oid: oid.unwrap_or_default(), name, kind: kind.unwrap_or_default(), bytes, of }))
}
