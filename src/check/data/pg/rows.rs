//! A closer look at one table: hashes by bucket of the key, then the rows of a few buckets, never the whole table.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::content::{compiling, from};
use super::hash::{self, Hashed};
use crate::check::data::differ::{Bucket, Keyed, MOST_ROWS};
use crate::check::data::manifest::Relation;
use crate::world::pg::Session;
use crate::world::pg::session::identifier;

/// Room for all the buckets at once, so that the server writes no temporary files.
const BUCKETS: &str = "set work_mem = '64MB'";

/// The sessions that still see what a manifest describes, by database.
pub struct Reader {
    pub(super) sessions: BTreeMap<String, Kept>,
}

/// A session in its snapshot, set to read rows, and how the rows of each table are hashed.
pub(super) struct Kept {
    pub session: Session,
    pub hashed: BTreeMap<String, Vec<Hashed>>,
}

/// How the rows of a table are hashed, and its keys.
struct Expressions {
    row: String,
    key: String,
    key_columns: Vec<String>,
    from: String,
    /// Values that are hashed in a scan.
    values: u64,
}

impl Reader {
    fn kept(&self, db: &str) -> Result<&Kept, String> {
        self.sessions.get(db).ok_or_else(|| "its session is no longer open".to_owned())
    }

    fn expressions(&self, db: &str, table: &str, relation: &Relation) -> Result<Expressions, String> {
        let columns = self.kept(db)?.hashed.get(table).ok_or("it has no columns to tell rows apart")?;
        let row = hash::row(columns).ok_or("it has no columns to tell rows apart")?;
        let in_key: Vec<Hashed> =
            columns.iter().filter(|c| relation.key.contains(&c.name)).cloned().collect();
        let key = match in_key.is_empty() {
            true => row.clone(),
            false => hash::row(&in_key).unwrap_or_else(|| row.clone()),
        };
        let values = relation.rows.unwrap_or(0).saturating_mul((columns.len() + in_key.len()) as u64);
        Ok(Expressions { row, key, key_columns: relation.key.clone(), from: from(table, relation), values })
    }

    /// Count and sum of each of `buckets` buckets (a power of two).
    pub async fn buckets(
        &self,
        db: &str,
        table: &str,
        relation: &Relation,
        buckets: u32,
    ) -> Result<BTreeMap<u32, Bucket>, String> {
        let e = self.expressions(db, table, relation)?;
        // Without a key the row is its own. `offset 0` keeps the planner from hashing it twice then, and always from
        // expecting as many groups as there are rows, for which it would sort or write files.
        let (bucket, of) = match e.key == e.row {
            true => (String::new(), "h"),
            false => (format!("({}) as k, ", e.key), "k"),
        };
        let sql = format!(
            "{BUCKETS}; {}; select {of} & {}::int8, count(*), sum(h) from (select {bucket}({}) as h {} offset 0) x group by 1",
            compiling(e.values),
            buckets - 1,
            e.row,
            e.from
        );
        let mut found = BTreeMap::new();
        self.kept(db)?
            .session
            .query_each(&sql, |row| {
                if let [Some(b), Some(rows), Some(sum)] = row.as_slice()
                    && let (Ok(b), Ok(rows)) = (b.parse(), rows.parse())
                {
                    found.insert(b, Bucket { rows, sum: sum.clone() });
                }
                ControlFlow::Continue(())
            })
            .await
            .map_err(|e| e.to_string())?;
        Ok(found)
    }

    /// The rows of some buckets: key as text (empty without a key) and hash. More than [`MOST_ROWS`] is an error.
    pub async fn rows(
        &self,
        db: &str,
        table: &str,
        relation: &Relation,
        buckets: u32,
        these: &[u32],
    ) -> Result<Vec<Keyed>, String> {
        let e = self.expressions(db, table, relation)?;
        let list: Vec<String> = these.iter().map(u32::to_string).collect();
        let keys: String = e
            .key_columns
            .iter()
            .enumerate()
            .map(|(i, c)| format!(", left({}::text, 100) as k{i}", identifier(c)))
            .collect();
        let shown: String = (0..e.key_columns.len()).map(|i| format!(", k{i}")).collect();
        let sql = format!(
            // Only keys are hashed for every row.
            "set jit to off; select h{shown} from (select ({}) as h, (({}) & {}::int8) as b{keys} {}) x where b in ({}) limit {}",
            e.row,
            e.key,
            buckets - 1,
            e.from,
            list.join(", "),
            MOST_ROWS + 1
        );
        let mut found = Vec::new();
        self.kept(db)?
            .session
            .query_each(&sql, |row| {
                let mut values = row.into_iter();
                let hash = values.next().flatten().unwrap_or_default();
                let key: Vec<String> = e
                    .key_columns
                    .iter()
                    .zip(values)
                    .map(|(column, value)| format!("{column}={}", value.as_deref().unwrap_or("NULL")))
                    .collect();
                found.push(Keyed { key: key.join(", "), hash });
                ControlFlow::Continue(())
            })
            .await
            .map_err(|e| e.to_string())?;
        if found.len() > MOST_ROWS {
            return Err("too many rows differ to list them".to_owned());
        }
        Ok(found)
    }
}
