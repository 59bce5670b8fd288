//! How old is the oldest transaction that a server must still remember?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::{Values, ids};
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// How old is the oldest transaction that a server must still remember?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XidAge {
    /// The server. All of its databases count, templates included.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The largest age in transactions that is fine; 1000000000 when not given, which is nearly half of the way.
    #[serde(default = "half")]
    at_most: Count,
    /// The same in multixacts (rows locked by several at once); 1000000000 when not given.
    #[serde(default = "half")]
    multixacts_at_most: Count,
}

fn half() -> Count {
    Count(1_000_000_000)
}

/// Ages end here: half of all 32-bit numbers.
const END: u64 = 1 << 31;
/// Beyond this multiple of autovacuum's own limit something is wrong already.
const REMARKABLE: f64 = 1.5;

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "xid_age",
    summary: "in every database, the oldest transaction and multixact are far from wraparound",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(XidAge),
    build,
};

const DOCS: &str = r"
Shows that vacuum keeps up with freezing old rows, so that the server does not refuse to write because it runs out of
transaction identifiers.

**How it is measured.** `age(datfrozenxid)` and `mxid_age(datminmxid)` of every database, `template0` and `template1`
included. When one is remarkable, its oldest tables are named, TOAST tables by the table that they belong to.

**Passes** when all ages are at most `at_most` and `multixacts_at_most`; with a remark from 1.5 times
`autovacuum_freeze_max_age` on, where autovacuum should long have cured it. **Fails** when one is older. **Unknown** when the
server cannot be asked.

**Traps.** PostgreSQL refuses to write when 3 million identifiers are left (1 million up to version 13), and warns in its log
from 40 million on (11 million up to 13): hours before the end on a busy server. After all other databases are cured,
`template0` alone can still block writes; nobody can connect to it, so that only autovacuum can vacuum it. `vacuum freeze`
changes nothing while something holds the horizon back: see `horizon_holders`. There is no need for single-user mode.

```yaml
preconditions:
  - xid_age: { target: old }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: XidAge = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    for (name, limit) in [("at_most", check.at_most), ("multixacts_at_most", check.multixacts_at_most)] {
        if limit.0 == 0 {
            return Err(format!("`{name}` is 0: every database in use is older"));
        }
        if limit.0 >= END - 3_000_000 {
            return Err(format!("`{name}` is {limit}: the server refuses to write before that"));
        }
    }
    Ok(Box::new(check))
}

/// Databases with their ages, and autovacuum's own limits.
const SQL: &str = "select datname, datallowconn, pg_catalog.age(datfrozenxid), pg_catalog.mxid_age(datminmxid), \
        (select setting from pg_catalog.pg_settings where name = 'autovacuum_freeze_max_age'), \
        (select setting from pg_catalog.pg_settings where name = 'autovacuum_multixact_freeze_max_age') \
    from pg_catalog.pg_database order by datname collate \"C\"";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Database {
    name: String,
    connects: bool,
    xid: Option<u64>,
    mxid: Option<u64>,
}

/// One of the two kinds of age.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Xid,
    Mxid,
}

impl Kind {
    fn of(self, database: &Database) -> Option<u64> {
        match self {
            Kind::Xid => database.xid,
            Kind::Mxid => database.mxid,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Xid => "transactions",
            Kind::Mxid => "multixacts",
        }
    }

    /// The oldest tables of a database.
    fn tables(self) -> &'static str {
        match self {
            Kind::Xid => {
                "select c.relkind, coalesce(o.oid, c.oid)::pg_catalog.regclass, pg_catalog.age(c.relfrozenxid) \
                 from pg_catalog.pg_class c left join pg_catalog.pg_class o on o.reltoastrelid = c.oid \
                 where c.relkind in ('r', 'm', 't') order by 3 desc, 2 limit 3"
            }
            Kind::Mxid => {
                "select c.relkind, coalesce(o.oid, c.oid)::pg_catalog.regclass, pg_catalog.mxid_age(c.relminmxid) \
                 from pg_catalog.pg_class c left join pg_catalog.pg_class o on o.reltoastrelid = c.oid \
                 where c.relkind in ('r', 'm', 't') order by 3 desc, 2 limit 3"
            }
        }
    }
}

#[async_trait]
impl Check for XidAge {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "every database at most {} transactions and {} multixacts old",
            ids(self.at_most.0),
            ids(self.multixacts_at_most.0)
        );
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let rows = match session.query(SQL).await {
            Ok(rows) => rows,
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let mut own = (None, None);
        let mut databases = Vec::new();
        for row in rows {
            let mut row = Values::of(row);
            let name = row.text().unwrap_or_default();
            databases.push(Database { name, connects: row.yes(), xid: row.count(), mxid: row.count() });
            own = (row.count(), row.count());
        }
        let mut findings = Findings::default();
        if databases.is_empty() {
            findings.unknown(format!("{} lists no database", self.target), "look into the server's log");
        }
        let mut worst = Vec::new();
        for (kind, limit, own) in
            [(Kind::Xid, self.at_most, own.0), (Kind::Mxid, self.multixacts_at_most, own.1)]
        {
            if let Some(database) = self.judge(kind, limit.0, own, &databases, &mut findings) {
                let remarkable = findings_want_tables(kind, database, limit.0, own);
                worst.push((kind, database, remarkable));
            }
        }
        for (kind, database, _) in worst.iter().filter(|(_, _, remarkable)| *remarkable) {
            self.tables(*kind, database, cx, &mut findings).await;
        }
        let told: Vec<String> = worst
            .iter()
            .filter_map(|(kind, database, _)| {
                Some(format!("{} {} ({})", ids(kind.of(database)?), kind.word(), database.name))
            })
            .collect();
        let observed = format!(
            "the oldest of {}: {}",
            count(databases.len() as u64, "database", "databases"),
            told.join(", ")
        );
        let mut outcome = findings.outcome(observed, &expected);
        for (kind, database, _) in worst {
            outcome = outcome.fact(kind.word(), kind.of(database));
        }
        outcome.on(&self.target, identity)
    }
}

/// Tables are named from where autovacuum should have acted long ago, or where it fails.
fn findings_want_tables(kind: Kind, database: &Database, limit: u64, own: Option<u64>) -> bool {
    kind.of(database)
        .is_some_and(|age| age > limit || own.is_some_and(|own| age as f64 >= own as f64 * REMARKABLE))
}

impl XidAge {
    /// Judges all databases; the oldest one.
    fn judge<'a>(
        &self,
        kind: Kind,
        limit: u64,
        own: Option<u64>,
        databases: &'a [Database],
        findings: &mut Findings,
    ) -> Option<&'a Database> {
        for database in databases.iter().filter(|database| kind.of(database).is_none()) {
            findings.unknown(
                format!("the age of database {} is not known", database.name),
                "look into the server's log, then measure again",
            );
        }
        let mut known: Vec<(u64, &Database)> =
            databases.iter().filter_map(|database| Some((kind.of(database)?, database))).collect();
        known.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        for (age, database) in &known {
            let left = END.saturating_sub(*age);
            let what = format!(
                "database {} is {} {} old; {} are left",
                database.name,
                ids(*age),
                kind.word(),
                ids(left)
            );
            if *age > limit {
                let help = if database.connects {
                    "find what holds the horizon back (horizon_holders), remove it, then vacuum (freeze) the oldest \
                     tables; the server stays up"
                } else {
                    "find what holds the horizon back (horizon_holders), remove it; autovacuum then cures this \
                     database, which nobody can connect to"
                };
                findings.fail(what, help);
            } else if own.is_some_and(|own| *age as f64 >= own as f64 * REMARKABLE) {
                findings.note(format!(
                    "remarkable: {what}, though autovacuum should act at {}",
                    ids(own.unwrap_or(0))
                ));
            }
        }
        known.first().map(|(_, database)| *database)
    }

    async fn tables(&self, kind: Kind, database: &Database, cx: &Context, findings: &mut Findings) {
        if !database.connects {
            findings.note(format!("{} allows no connections: only autovacuum can vacuum it", database.name));
            return;
        }
        let door = Door::new(KIND.name, &self.target, "").database(&database.name);
        let session = match door.open(cx).await {
            Ok((session, _)) => session,
            Err(outcome) => {
                findings.note(format!(
                    "the oldest tables of {} are not known: {}",
                    database.name, outcome.observed
                ));
                return;
            }
        };
        match session.query(kind.tables()).await {
            Err(error) => {
                findings
                    .note(format!("the oldest tables of {} are not known: {}", database.name, error.message));
            }
            Ok(rows) => {
                for row in rows {
                    let mut row = Values::of(row);
                    let toast = if row.text().as_deref() == Some("t") { " (TOAST)" } else { "" };
                    if let (Some(table), Some(age)) = (row.text(), row.count()) {
                        let word = kind.word();
                        findings.note(format!(
                            "{}: {table}{toast} is {} {word} old",
                            database.name,
                            ids(age)
                        ));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn templates_count_and_an_unknown_age_is_not_zero() {
        let check: XidAge = serde_json::from_value(json!({ "target": "db" })).unwrap();
        let database = |name: &str, xid| Database {
            name: name.to_owned(),
            connects: name != "template0",
            xid,
            mxid: Some(0),
        };
        let judged = |databases: &[Database]| {
            let mut findings = Findings::default();
            check.judge(Kind::Xid, 1_000_000_000, Some(200_000_000), databases, &mut findings);
            findings.outcome("fine", "wanted")
        };
        let young = database("app", Some(299_999_999));
        assert_eq!(judged(std::slice::from_ref(&young)).details, Vec::<String>::new());
        let outcome = judged(&[database("app", Some(300_000_000))]);
        assert_eq!(outcome.verdict, Verdict::Pass);
        assert!(outcome.details[0].contains("remarkable: database app is 300 M"), "{outcome:?}");
        let outcome = judged(&[young.clone(), database("template0", Some(1_000_000_001))]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.observed.contains("template0 is 1.00 G"), "{outcome:?}");
        assert!(outcome.help.as_deref().unwrap_or_default().contains("autovacuum then cures"));
        assert_eq!(judged(&[young, database("x", None)]).verdict, Verdict::Unknown);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let built = |at_most: Value| {
            build(json!({ "target": "db", "at_most": at_most }).as_object().cloned().unwrap())
        };
        assert!(built(json!("300000000")).is_ok());
        assert!(built(json!(0)).is_err());
        assert!(built(json!(2_147_000_000)).is_err());
    }
}
