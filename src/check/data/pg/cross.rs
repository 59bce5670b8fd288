//! PostgreSQL beside SQLite: one database in one read-only snapshot, its rows hashed by the server in the forms that
//! both share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::content::from;
use super::inventory::{self, Described};
use super::reading::{Reading, Scout};
use super::settled::{ATTEMPTS, Tables, read_anew, restless};
use super::{begin, catalogue, cell, open, value};
use crate::check::data::compare::{last, plain};
use crate::check::data::cross::count::Count;
use crate::check::data::cross::form::{Form, SHOWN};
use crate::check::data::cross::hash;
use crate::check::data::cross::plan::{Half, Plan, folded};
use crate::check::data::cross::seeds::row_sql;
use crate::check::data::differ::{Bucket, Keyed, MOST_ROWS};
use crate::check::data::manifest::{Cross, Database, Relation, RelationKind};
use crate::check::data::progress::Tally;
use crate::check::data::side::Ask;
use crate::runbook::Target;
use crate::world::Identity;
use crate::world::pg::Session;
use crate::world::pg::session::identifier;

/// No damaged index hides a row.
const SCANS: &str =
    "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; set jit = on";

/// Columns that a sequence feeds, because it belongs to them or their default asks it: sequence, table, column.
const FED: &str = "select distinct format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), a.attname \
    from pg_class s join pg_namespace sn on sn.oid = s.relnamespace join lateral ( \
        select d.refobjid as rel, d.refobjsubid as col from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = s.oid \
            and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i') \
        union select ad.adrelid, ad.adnum from pg_depend d join pg_attrdef ad on ad.oid = d.objid where d.classid = 'pg_attrdef'::regclass \
            and d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid) f on true \
    join pg_class t on t.oid = f.rel join pg_namespace tn on tn.oid = t.relnamespace \
    join pg_attribute a on a.attrelid = f.rel and a.attnum = f.col where s.relkind = 'S' and s.oid >= 16384";

/// Sets of columns that are unique: the relation's name and the columns as JSON.
const UNIQUE: &str = "select format('%I.%I', n.nspname, c.relname), (select json_agg(lower(a.attname)) from unnest(i.indkey) with ordinality k(attnum, place) \
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where k.place <= i.indnkeyatts) \
    from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace \
    where i.indrelid >= 16384 and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null";

/// A database in its snapshot.
pub struct Live {
    target: Target,
    ask: Ask,
    session: Session,
    described: Described,
    tables: Tables,
    before: Option<String>,
    /// The database's name.
    pub database: String,
    /// What answered.
    pub identity: Identity,
    /// Remarks.
    pub notes: Vec<String>,
}

impl Live {
    /// Opens the target's own database, or the one named.
    pub async fn open(target: &Target, ask: &Ask) -> Result<Live, String> {
        let mut anew = Vec::new();
        loop {
            let session = open(target, ask, ask.databases.first().map(String::as_str)).await?;
            let database = value(&session, "select current_database()").await?.unwrap_or_default();
            ready(&session).await.map_err(|e| format!("database {database}: {e}"))?;
            let before = value(&session, catalogue::WRITES).await?;
            let mut notes = Vec::new();
            begin(&session, &mut notes).await?;
            notes.retain(|note| !note.starts_with("one session only"));
            notes.extend(anew.iter().cloned());
            let tables = Tables::of(&session).await?;
            let described = match inventory::read(&session, ask.level).await {
                Ok(described) => described,
                Err(e) => match tables.shifted(target, ask, &database, true).await? {
                    None => return Err(e),
                    Some(what) if anew.len() + 1 == ATTEMPTS => return Err(restless(&what, Some(e))),
                    Some(what) => {
                        anew.push(read_anew(&database, &what));
                        continue;
                    }
                },
            };
            let identity = Identity::Postgres(session.identity().clone());
            let (target, ask) = (target.clone(), ask.clone());
            return Ok(Live { target, ask, session, described, tables, before, database, identity, notes });
        }
    }

    /// What happened to one of its tables, so that what was read of them cannot be relied on.
    pub async fn shifted(&self, failed: bool) -> Result<Option<String>, String> {
        if !failed && self.written().await == Ok(Some(false)) {
            return Ok(None);
        }
        self.tables.shifted(&self.target, &self.ask, &self.database, failed).await
    }

    /// Its tables.
    pub async fn describe(&self, target: &str, schema: &str) -> Result<Half, String> {
        let database = &self.described.database;
        let tables = database.relations.iter().filter(|(_, relation)| relation.kind.stores_rows());
        let mut schemas = tables.map(|(name, _)| plain(name.strip_suffix(last(name)).unwrap_or(name)));
        let here = format!("{schema}.");
        if schemas.next().is_some_and(|first| first != here && !schemas.any(|other| other == here)) {
            return Err(format!("database {} has no table in schema {schema}", self.database));
        }
        let mut half = Half::postgres(target, &self.database, database, schema);
        let mut unique: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
        for row in self.session.query(UNIQUE).await.map_err(|e| format!("cannot read keys: {e}"))? {
            let columns = inventory::names(row.get(1).and_then(|v| v.as_deref()))?;
            unique.entry(cell(&row, 0)?.to_owned()).or_default().push(columns.into_iter().collect());
        }
        for table in half.tables.values_mut() {
            table.unique = Some(unique.remove(&table.name).unwrap_or_default());
            for hashed in self.described.hashed.get(&table.name).into_iter().flatten() {
                if let Some(column) = table.columns.values_mut().find(|column| column.name == hashed.name) {
                    column.form = Form::of(hashed);
                    column.hashed = Some(hashed.clone());
                }
            }
        }
        for row in self.session.query(FED).await.map_err(|e| format!("cannot read sequences: {e}"))? {
            let part = |at| cell(&row, at).map(str::to_owned);
            half.fed.push((part(0)?, part(1)?, part(2)?));
        }
        Ok(half)
    }

    /// Bytes to read.
    pub fn bytes(&self, plans: &[Plan]) -> u64 {
        plans.iter().filter_map(|plan| plan.pg.as_deref()).map(|table| self.size(table)).sum()
    }

    /// Bytes of a table, or of all partitions of one.
    fn size(&self, table: &str) -> u64 {
        let relations = &self.described.database.relations;
        let of_it = |relation: &Relation| {
            relation.core.get("parents").is_some_and(|parents| parents.split(", ").any(|one| one == table))
        };
        match relations.get(table) {
            Some(relation) if relation.kind == RelationKind::Partitioned => {
                relations.iter().filter(|(_, part)| of_it(part)).map(|(name, _)| self.size(name)).sum()
            }
            found => found.map_or(0, |relation| relation.bytes),
        }
    }

    fn from(&self, plan: &Plan) -> String {
        let table = plan.pg.as_deref().unwrap_or_default();
        match self.described.database.relations.get(table) {
            Some(relation) if !plan.partitioned => from(table, relation),
            _ => format!("from {table}"),
        }
    }

    /// Reads the tables; in the order of the plans, `None` for one that it has not.
    pub async fn count(&self, plans: &[Plan], tally: &Tally) -> Result<Vec<Option<Count>>, String> {
        self.session.query(SCANS).await.map_err(|e| e.to_string())?;
        let scout = Scout::new(&self.target, &self.ask, &self.database);
        let mut reading = Reading::of(&self.session, &scout).await;
        let mut counts = Vec::with_capacity(plans.len());
        for plan in plans {
            let Some(table) = &plan.pg else {
                counts.push(None);
                continue;
            };
            let bytes = self.size(table);
            let mut part = tally.begin(&format!("{}.{table}", self.database), bytes);
            let counted = reading.watch(&mut part, table, bytes, self.one(plan)).await;
            counts.push(Some(counted.map_err(|e| format!("table {table}: {e}"))?));
            part.done();
        }
        Ok(counts)
    }

    async fn one(&self, plan: &Plan) -> Result<Count, String> {
        let terms: Vec<String> = plan.columns.iter().map(|column| column.term.clone()).collect();
        let hash = row_sql(&terms);
        let sum = hash.as_ref().map(|hash| format!(", coalesce(sum({hash}), 0)")).unwrap_or_default();
        let bounds: String = plan
            .fed
            .iter()
            .map(|fed| identifier(&fed.pg))
            .map(|column| format!(", min({column}::int8), max({column}::int8)"))
            .collect();
        let sql = format!("select count(*){sum}{bounds} {}", self.from(plan));
        let rows = self.session.query(&sql).await.map_err(|e| e.to_string())?;
        let [row] = rows.as_slice() else { return Err("the server gave no count".to_owned()) };
        let number =
            |at: usize| cell(row, at)?.parse::<i128>().map_err(|_| "the answer is not a number".to_owned());
        let mut count = Count {
            rows: u64::try_from(number(0)?).map_err(|_| "the count is not a number".to_owned())?,
            digest: hash.is_some().then(|| number(1)).transpose()?,
            ..Count::default()
        };
        let first = if hash.is_some() { 2 } else { 1 };
        for nth in 0..plan.fed.len() {
            let bound =
                |at: usize| row.get(at).and_then(|v| v.as_deref()).and_then(|v| v.parse::<i64>().ok());
            if let (Some(low), Some(high)) = (bound(first + 2 * nth), bound(first + 1 + 2 * nth)) {
                count.bounds.insert(nth, (low, high));
            }
        }
        Ok(count)
    }

    /// The server's expressions for a row's hash and for that of its key.
    fn expressions(plan: &Plan) -> Result<(String, String), String> {
        let term = |at: &usize| plan.columns[*at].term.clone();
        let all: Vec<usize> = (0..plan.columns.len()).collect();
        let row = row_sql(&all.iter().map(term).collect::<Vec<_>>())
            .ok_or("it has no columns to tell rows apart")?;
        let key = match plan.keyed {
            true => row_sql(&plan.named_by.iter().map(term).collect::<Vec<_>>()),
            false => None,
        };
        Ok((row.clone(), key.unwrap_or(row)))
    }

    /// The sum of the hashes in each column.
    pub async fn columns(&self, plan: &Plan) -> Result<Vec<i128>, String> {
        let sums: Vec<String> =
            plan.columns.iter().map(|c| format!("coalesce(sum({}), 0)", c.term)).collect();
        let rows = self.session.query(&format!("select {} {}", sums.join(", "), self.from(plan))).await;
        let rows = rows.map_err(|e| e.to_string())?;
        let row = rows.first().ok_or("the server gave no sums")?;
        (0..plan.columns.len())
            .map(|at| cell(row, at)?.parse().map_err(|_| "the answer is not a number".to_owned()))
            .collect()
    }

    /// Count and sum of each of `n` buckets (a power of two).
    pub async fn buckets(&self, plan: &Plan, n: u32) -> Result<BTreeMap<u32, Bucket>, String> {
        let (row, key) = Self::expressions(plan)?;
        let sql = format!(
            "select b, count(*), sum(h) from (select ({key} & '{}'::int8) as b, {row} as h {}) x group by b",
            n - 1,
            self.from(plan)
        );
        let mut found = BTreeMap::new();
        let mut odd = false;
        let each = |row: Vec<Option<String>>| {
            match row.as_slice() {
                [Some(b), Some(rows), Some(sum)] if let (Ok(b), Ok(rows)) = (b.parse(), rows.parse()) => {
                    found.insert(b, Bucket { rows, sum: sum.clone() });
                }
                _ => odd = true,
            }
            ControlFlow::Continue(())
        };
        self.session.query_each(&sql, each).await.map_err(|e| e.to_string())?;
        if odd { Err("the server gave an odd answer".to_owned()) } else { Ok(found) }
    }

    /// The rows of some buckets.
    pub async fn rows(&self, plan: &Plan, n: u32, these: &[u32]) -> Result<Vec<Keyed>, String> {
        let (row, key) = Self::expressions(plan)?;
        let list: Vec<String> = these.iter().map(u32::to_string).collect();
        let named: Vec<_> = plan.named_by.iter().map(|at| &plan.columns[*at]).collect();
        let keys: String = named
            .iter()
            .enumerate()
            .map(|(i, column)| format!(", left({}, {SHOWN}) as k{i}", column.form.show_sql(&column.pg)))
            .collect();
        let shown: String = (0..named.len()).map(|i| format!(", k{i}")).collect();
        let sql = format!(
            "select h{shown} from (select {row} as h, ({key} & '{}'::int8) as b{keys} {}) x where b in ({}) limit {}",
            n - 1,
            self.from(plan),
            list.join(", "),
            MOST_ROWS + 1
        );
        let mut found = Vec::new();
        let each = |row: Vec<Option<String>>| {
            let mut values = row.into_iter();
            let hash = values.next().flatten().unwrap_or_default();
            let part = |(column, value): (&&crate::check::data::cross::plan::Shared, Option<String>)| {
                format!("{}={}", column.pg, value.as_deref().unwrap_or("NULL"))
            };
            let key = named.iter().zip(values).map(part).collect::<Vec<_>>().join(", ");
            found.push(Keyed { key, hash });
            ControlFlow::Continue(())
        };
        self.session.query_each(&sql, each).await.map_err(|e| e.to_string())?;
        if found.len() > MOST_ROWS {
            return Err("too many rows differ to list them".to_owned());
        }
        Ok(found)
    }

    /// True when somebody wrote to the cluster since the snapshot; `None` when that cannot be told. Asked on another
    /// session: in a snapshot no transaction is ever newer.
    pub async fn written(&self) -> Result<Option<bool>, String> {
        let other = open(&self.target, &self.ask, Some(&self.database)).await?;
        let after = value(&other, catalogue::WRITES).await?;
        Ok(self.before.as_ref().zip(after.as_ref()).map(|(before, after)| before != after))
    }
}

/// An error says why this server's rows cannot be hashed as SQLite's are.
async fn ready(session: &Session) -> Result<(), String> {
    let encoding = value(session, "select current_setting('server_encoding')").await?;
    if encoding.as_deref() != Some("UTF8") {
        let encoding = encoding.unwrap_or_default();
        return Err(format!("its encoding is {encoding}; only texts in UTF8 can be compared with SQLite's"));
    }
    if value(session, hash::PROBE).await?.as_deref() != Some(hash::probed().as_str()) {
        return Err(
            "this server's hash functions give other values than expected, so contents cannot be compared"
                .to_owned(),
        );
    }
    Ok(())
}

/// What a record of a cluster needs so that an SQLite file can be compared with it later.
pub async fn record(session: &Session, described: &mut Described) -> Result<(), String> {
    if ready(session).await.is_err() {
        return Ok(());
    }
    let Described { database, hashed, .. } = described;
    let mut found = Vec::new();
    for (table, relation) in database.relations.iter().filter(|(_, relation)| relation.kind.stores_rows()) {
        let columns = hashed.get(table).map_or(&[][..], Vec::as_slice);
        let names = relation.columns.keys().map(String::as_str);
        let forms: Vec<_> = columns.iter().filter_map(|c| Form::of(c).map(|form| (c, form))).collect();
        let terms: Vec<String> =
            forms.iter().map(|(c, form)| form.term(c, &folded(names.clone(), &c.name))).collect();
        let Some(hash) = row_sql(&terms) else { continue };
        let sql = format!("select coalesce(sum({hash}), 0) {}", from(table, relation));
        let sum = session.value(&sql).await.map_err(|e| format!("table {table}: {e}"))?;
        let Some(sum) = sum else { return Err(format!("table {table}: the server gave no sum")) };
        let word = |form: Form| serde_json::to_value(form).ok().and_then(|v| v.as_str().map(str::to_owned));
        let columns =
            forms.into_iter().filter_map(|(c, form)| Some((c.name.clone(), vec![word(form)?]))).collect();
        found.push((table.clone(), Cross { digest: format!("x1:{sum}"), columns, ..Cross::default() }));
    }
    let Database { cross, .. } = database;
    cross.extend(found);
    Ok(())
}
