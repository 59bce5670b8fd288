//! Asks a server about the collations that its indexes and partitions were sorted by.

use super::judge::Collation;
use crate::check::corruption::walk::{cell, number};
use crate::world::pg::{QueryError, Row, Session};

/// The collations in use in one database, the database's own first.
pub async fn collations(session: &Session) -> Result<Vec<Collation>, QueryError> {
    let version = session.identity().version;
    let mut found = Vec::new();
    for row in session.query(&sql(version)).await? {
        let text = |at: usize| row.get(at).cloned().flatten();
        let users = cell(&row, 6)?;
        let users = serde_json::from_str(users).map_err(|error| QueryError::local(error.to_string()))?;
        found.push(Collation {
            name: cell(&row, 0)?.to_owned(),
            provider: cell(&row, 1)?.to_owned(),
            locale: text(2),
            recorded: text(3),
            actual: text(4),
            uses: number(&row, 5)?,
            users,
        });
    }
    if found.is_empty() {
        return Err(QueryError::local("the server does not say what its default collation is"));
    }
    Ok(found)
}

/// The version of libc and of ICU, where some collation tells it.
pub async fn libraries(session: &Session) -> Result<Vec<(String, String)>, QueryError> {
    let sql = "\
select 'libc', (select pg_catalog.pg_collation_actual_version(oid) from pg_catalog.pg_collation
                where collprovider = 'c' and collcollate not in ('C', 'POSIX') and collcollate !~* '^C\\.'
                  and collencoding in (-1, (select encoding from pg_catalog.pg_database
                                            where datname = pg_catalog.current_database())) limit 1)
union all
select 'ICU', (select pg_catalog.pg_collation_actual_version(oid) from pg_catalog.pg_collation
               where collprovider = 'i' limit 1)";
    let rows = session.query(sql).await?;
    let pair = |row: Row| {
        let mut values = row.into_iter().flatten();
        values.next().zip(values.next())
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// Was the cluster made by 14 or older, and brought here by `pg_upgrade`? From 15 on `initdb` gives `postgres` a number below 6,
/// and whoever makes a database one from 16384 on.
pub async fn came_by_upgrade(session: &Session) -> Result<bool, QueryError> {
    let sql = "select pg_catalog.count(*) from pg_catalog.pg_database \
               where datname in ('postgres', 'template0') and oid between 6 and 16383";
    Ok(session.identity().version >= 150_000 && session.value(sql).await?.as_deref() != Some("0"))
}

fn sql(version: u32) -> String {
    // The default collation stands in pg_collation without provider, locale and version; those are the database's.
    let (provider, locale, recorded, actual) = if version >= 150_000 {
        let locale = if version >= 170_000 { "d.datlocale" } else { "d.daticulocale" };
        (
            "d.datlocprovider::text",
            format!("case when d.datlocprovider = 'c' then d.datcollate::text else {locale}::text end"),
            "d.datcollversion",
            "pg_catalog.pg_database_collation_actual_version(d.oid)",
        )
    } else {
        ("'c'", "d.datcollate::text".to_owned(), "null::text", "null::text")
    };
    format!(
        "\
with sorted as (
  select k.coll, n.nspname::text || '.' || r.relname::text as name
  from pg_catalog.pg_index i
  join pg_catalog.pg_class r on r.oid = i.indexrelid
  join pg_catalog.pg_namespace n on n.oid = r.relnamespace
  cross join lateral (
    select pg_catalog.unnest(i.indcollation::oid[]) as coll
    union
    select refobjid from pg_catalog.pg_depend
    where classid = 'pg_catalog.pg_class'::pg_catalog.regclass and objid = i.indexrelid
      and refclassid = 'pg_catalog.pg_collation'::pg_catalog.regclass) k
  where r.relkind = 'i' and r.relpersistence <> 't' and k.coll <> 0
  union
  select k.coll, 'partitioned table ' || n.nspname::text || '.' || r.relname::text
  from pg_catalog.pg_partitioned_table p
  join pg_catalog.pg_class r on r.oid = p.partrelid
  join pg_catalog.pg_namespace n on n.oid = r.relnamespace
  cross join lateral pg_catalog.unnest(p.partcollation::oid[]) k(coll)
  where p.partstrat = 'r' and k.coll <> 0),
uses as (
  select coll, pg_catalog.count(*) as n,
         pg_catalog.to_json((pg_catalog.array_agg(name order by name collate \"C\"))[1:5])::text as names
  from sorted group by coll)
select case when c.collprovider = 'd' then 'default (' || coalesce({locale}, 'unknown') || ')'
            else cn.nspname::text || '.' || c.collname::text end,
       case when c.collprovider = 'd' then {provider} else c.collprovider::text end,
       case when c.collprovider = 'd' then {locale}
            when c.collprovider = 'c' then c.collcollate::text end,
       case when c.collprovider = 'd' then {recorded} else c.collversion end,
       case when c.collprovider = 'd' then {actual}
            else pg_catalog.pg_collation_actual_version(c.oid) end,
       -- How many: no row among the uses means that none was found, which is a count.
       case when u.n is null then 0 else u.n end,
       case when u.n is null then '[]' else u.names end
from pg_catalog.pg_collation c
join pg_catalog.pg_namespace cn on cn.oid = c.collnamespace
join pg_catalog.pg_database d on d.datname = pg_catalog.current_database()
left join uses u on u.coll = c.oid
where c.collprovider = 'd' or u.n is not null
order by c.collprovider <> 'd', 1"
    )
}
