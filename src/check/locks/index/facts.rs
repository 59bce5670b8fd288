//! What hangs on an index, besides queries.

use crate::check::locks::words::text;
use crate::world::pg::{QueryError, Row, Session, literal};

/// An index, from the catalogues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Its oid, the same on every physical copy.
    pub oid: u32,
    /// `public.epa_uniq`
    pub name: String,
    /// Its name without the schema, as plans show it.
    pub plain: String,
    /// The table, with its schema.
    pub table: String,
    /// Rows of the table as last estimated; `None` when it was never analysed.
    pub rows: Option<u64>,
    /// Bytes.
    pub bytes: u64,
    /// The statement that makes it again.
    pub definition: String,
    /// Queries may use it.
    pub valid: bool,
    /// Uniqueness hangs on it, or the planner may conclude from it.
    pub unique: bool,
    /// The planner keeps statistics for its expressions.
    pub expressions: bool,
    /// An index of a partitioned table.
    pub partitioned: bool,
    /// A part of such an index.
    pub partition: bool,
    /// Why it may not be dropped, whatever the statistics say: unique, primary key, replica identity.
    pub roles: Vec<String>,
    /// Foreign keys of its table that no other index serves.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A foreign key whose referencing columns would be without an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint.
    pub name: String,
    /// The table that it refers to, with its schema: a deletion there looks for rows here.
    pub parent: String,
}

/// A foreign key counts when this index helps it (its first column is one of the key's) and no other index serves it: one
/// without a predicate whose first columns are those of the key.
const FACTS: &str = "\
select i.indexrelid, n.nspname::text || '.' || r.relname::text, r.relname, tn.nspname::text || '.' || t.relname::text,
       t.reltuples::bigint, pg_catalog.pg_relation_size(i.indexrelid), pg_catalog.pg_get_indexdef(i.indexrelid),
       i.indisvalid and i.indisready and i.indislive, i.indisunique, i.indexprs is not null, r.relkind = 'I',
       r.relispartition, i.indisprimary, i.indisexclusion, i.indisreplident, i.indisclustered,
       pg_catalog.to_json(array(
         select c.conname::text || ' of ' || cn.nspname::text || '.' || cr.relname::text
         from pg_catalog.pg_constraint c
         join pg_catalog.pg_class cr on cr.oid = c.conrelid join pg_catalog.pg_namespace cn on cn.oid = cr.relnamespace
         where c.conindid = i.indexrelid order by 1))::text,
       pg_catalog.to_json(array(
         select array[k.conname::text, pn.nspname::text || '.' || p.relname::text]
         from pg_catalog.pg_constraint k
         join pg_catalog.pg_class p on p.oid = k.confrelid join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
         where k.contype = 'f' and k.conrelid = i.indrelid and (i.indkey::int2[])[0] = any (k.conkey)
           and not exists (
             select from pg_catalog.pg_index o
             where o.indrelid = k.conrelid and o.indexrelid <> i.indexrelid and o.indisvalid and o.indpred is null
               and (o.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey)
         order by 1))::text
from pg_catalog.pg_index i
join pg_catalog.pg_class r on r.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = r.relnamespace
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
where r.relkind in ('i', 'I') and ";

impl Index {
    /// Looks it up by `schema.name` or `name`. The inner error says why there is not exactly one.
    pub async fn find(session: &Session, name: &str) -> Result<Result<Index, String>, QueryError> {
        let name_is = literal(name);
        let sql = format!(
            "{FACTS} (r.relname::text = {name_is} or n.nspname::text || '.' || r.relname::text = {name_is}) \
             order by 2"
        );
        let rows = session.query(&sql).await?;
        match rows.as_slice() {
            [] => {
                let database = text_of(session, "select pg_catalog.current_database()").await?;
                Ok(Err(format!("there is no index {name} in database {database}")))
            }
            [row] => read(row).map(Ok),
            many => {
                let names: Vec<String> = many.iter().filter_map(|row| text(row, 1)).collect();
                Ok(Err(format!("several indexes are called {name}: {}", names.join(", "))))
            }
        }
    }
}

async fn text_of(session: &Session, sql: &str) -> Result<String, QueryError> {
    Ok(session.value(sql).await?.unwrap_or_default())
}

fn read(row: &Row) -> Result<Index, QueryError> {
    let lacks =
        |column: usize| QueryError::local(format!("the server left out column {column} of an answer"));
    let word = |column: usize| text(row, column).ok_or_else(|| lacks(column));
    let is = |column: usize| word(column).map(|value| value == "t");
    let list = |column: usize| {
        word(column).and_then(|value| {
            serde_json::from_str::<serde_json::Value>(&value)
                .map_err(|error| QueryError::local(error.to_string()))
        })
    };
    let strings = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let mut roles = Vec::new();
    for (column, role) in [
        (12, "it is the primary key"),
        (13, "it enforces an exclusion constraint"),
        (14, "it is the table's replica identity"),
        (15, "the table is clustered by it"),
        (10, "it is the index of a partitioned table, and goes with all its parts"),
        (11, "it is a part of a partitioned table's index"),
    ] {
        if is(column)? {
            roles.push(role.to_owned());
        }
    }
    if is(8)? && !is(12)? {
        roles.push("it is unique: it keeps duplicates out".to_owned());
    }
    roles.extend(strings(&list(16)?).into_iter().map(|name| format!("the constraint {name} rests on it")));
    let foreign_keys = list(17)?
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pair| match strings(pair).as_slice() {
            [name, parent] => Some(ForeignKey { name: name.clone(), parent: parent.clone() }),
            _ => None,
        })
        .collect();
    Ok(Index {
        oid: word(0)?.parse().map_err(|_| lacks(0))?,
        name: word(1)?,
        plain: word(2)?,
        table: word(3)?,
        rows: word(4)?.parse().ok(),
        bytes: word(5)?.parse().map_err(|_| lacks(5))?,
        definition: word(6)?,
        valid: is(7)?,
        unique: is(8)?,
        expressions: is(9)?,
        partitioned: is(10)?,
        partition: is(11)?,
        roles,
        foreign_keys,
    })
}
