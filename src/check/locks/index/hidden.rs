//! Plans with an index, and without it. Nothing is executed, and nothing is kept: the index is hidden from one session of
//! ours by hypopg, or, when the author allows it by name, marked invalid in a transaction that is rolled back.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::facts::Index;
use super::plan::Plan;
use crate::base::text::thousands;
use crate::check::Context;
use crate::check::locks::words::{gist, text};
use crate::check::params::{Count, Ratio};
use crate::world::pg::{self, Options, QueryError, Session, identifier, literal};

/// How an index is hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By the extension hypopg (1.4 and later), where it is installed: nothing is written.
    #[default]
    Hypopg,
    /// The same; where hypopg is not installed, the index is marked invalid in a transaction that is rolled back. Needs a
    /// superuser on the primary. Nobody else sees it, but it is a write: it spends a transaction id, leaves a dead row in
    /// pg_index, and waits for or holds up schema changes to that index for a moment.
    RolledBack,
}

/// Statements whose plans are compared, and what is too much.
#[derive(Debug)]
pub struct Statements<'a> {
    /// The statements.
    pub all: &'a [String],
    /// How many times the cost may grow.
    pub max_cost_ratio: Ratio,
    /// Rows of a table from which reading it from end to end is too much, when the plan did not do so before.
    pub max_seq_rows: Count,
    /// How the index may be hidden.
    pub method: Method,
}

/// What the plans of one statement show.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does as well without the index.
    Fine(String),
    /// It does not.
    Worse(String),
    /// Its plan uses the index; what it would be without cannot be found out here.
    Uses(String),
    /// Its plan could not be found out.
    Unplanned(String),
}

const HYPOPG: &str = "\
select n.nspname, p.proname
from pg_catalog.pg_extension e
join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.refobjid = e.oid
 and d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.deptype = 'e'
join pg_catalog.pg_proc p on p.oid = d.objid and p.proname in ('hypopg_hide_index', 'hypopg_unhide_index')
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where e.extname = 'hypopg' and p.pronargs = 1 and pg_catalog.has_function_privilege(p.oid, 'execute')
order by p.proname";

/// How it can be hidden here.
enum Way {
    /// By these functions: to hide, to show again.
    Hypopg(String, String),
    /// In a session that may write.
    RolledBack(Box<Session>),
    /// Not at all.
    None,
}

impl Statements<'_> {
    /// Compares all of them.
    pub async fn compare(
        &self,
        cx: &Context,
        target: &str,
        check: &str,
        session: &Session,
        index: &Index,
    ) -> Result<Vec<Finding>, QueryError> {
        let planner = planner(cx, target, check, session, true).await?;
        let way = self.way(cx, target, check, session).await?;
        let mut found = Vec::new();
        for statement in self.all {
            let finding = match self.one(session, &planner, &way, index, statement).await {
                Ok(finding) => finding,
                Err(error) if error.lost => return Err(error),
                Err(error) => Finding::Unplanned(error.message),
            };
            let shown = |line: String| format!("`{}`: {line}", gist(statement));
            found.push(match finding {
                Finding::Fine(line) => Finding::Fine(shown(line)),
                Finding::Worse(line) => Finding::Worse(shown(line)),
                Finding::Uses(line) => Finding::Uses(shown(line)),
                Finding::Unplanned(line) => Finding::Unplanned(shown(line)),
            });
        }
        Ok(found)
    }

    async fn way(
        &self,
        cx: &Context,
        target: &str,
        check: &str,
        session: &Session,
    ) -> Result<Way, QueryError> {
        let names: Vec<String> = session
            .query(HYPOPG)
            .await?
            .iter()
            .filter_map(|row| Some(format!("{}.{}", identifier(&text(row, 0)?), identifier(&text(row, 1)?))))
            .collect();
        if let [hide, unhide] = names.as_slice() {
            return Ok(Way::Hypopg(hide.clone(), unhide.clone()));
        }
        if self.method != Method::RolledBack || session.identity().in_recovery {
            return Ok(Way::None);
        }
        let writer = planner(cx, target, check, session, false).await?;
        Ok(Way::RolledBack(Box::new(writer)))
    }

    async fn one(
        &self,
        session: &Session,
        planner: &Session,
        way: &Way,
        index: &Index,
        statement: &str,
    ) -> Result<Finding, QueryError> {
        let explain = format!("explain (format json, verbose) {statement}");
        // Prepared before it is ever sent as text: there must be one statement, and no second behind a semicolon.
        planner.columns(&explain).await?;
        let with = match plan(planner, &explain).await? {
            Ok(plan) => plan,
            Err(why) => return Ok(Finding::Unplanned(why)),
        };
        if with.arbiters.contains(&index.plain) {
            return Ok(Finding::Worse(
                "its `on conflict` rests on the index, and fails without it".to_owned(),
            ));
        }
        let orphan = index.foreign_keys.iter().find(|key| with.deletes_from.contains(&key.parent));
        if let Some(key) = orphan {
            return Ok(Finding::Worse(format!(
                "each row deleted from {} makes the foreign key {} read all of {} (no plan shows this)",
                key.parent, key.name, index.table
            )));
        }
        if !index.valid {
            return self.already(session, &with).await;
        }
        let uses = with.indexes.contains(&index.plain);
        let without = match way {
            Way::None if uses => return Ok(Finding::Uses("its plan uses the index".to_owned())),
            Way::None if index.unique || index.expressions => {
                return Ok(Finding::Unplanned(
                    "its plan does not scan the index, but may rest on its uniqueness or its statistics"
                        .to_owned(),
                ));
            }
            Way::None => return Ok(Finding::Fine("its plan does not use the index".to_owned())),
            Way::Hypopg(hide, unhide) => {
                let call = |function: &str| format!("{function}({}::pg_catalog.oid)", index.oid);
                // Where hypopg is switched off, it says that it hid the index, and plans are as before.
                let on = "pg_catalog.current_setting('hypopg.enabled', true) operator(pg_catalog.=) 'on'";
                let hidden = planner.value(&format!("select {} and {on}", call(hide))).await?;
                let planned = plan(planner, &explain).await;
                planner.value(&format!("select {}", call(unhide))).await?;
                (hidden.as_deref() == Some("t")).then_some(planned)
            }
            Way::RolledBack(writer) => rolled_back(writer, index, &explain).await?,
        };
        match without {
            Some(Ok(Ok(without))) if !without.indexes.contains(&index.plain) => {
                self.judge(session, &with, &without).await
            }
            Some(Ok(Err(why))) => Ok(Finding::Unplanned(why)),
            Some(Err(error)) if error.lost => Err(error),
            Some(Err(error)) => {
                Ok(Finding::Worse(format!("it has no plan without the index: {}", error.message)))
            }
            Some(Ok(Ok(_))) | None if matches!(way, Way::Hypopg(..)) => {
                Ok(Finding::Unplanned("hypopg could not hide the index (is hypopg.enabled off?)".to_owned()))
            }
            Some(Ok(Ok(_))) | None => Ok(Finding::Unplanned("the index could not be hidden".to_owned())),
        }
    }

    /// The plan while no plan can use the index anyhow: there is none to compare it with, so that only what it reads counts.
    async fn already(&self, session: &Session, without: &Plan) -> Result<Finding, QueryError> {
        let mut line = format!("cost {:.2}; the index is invalid, so this is without it", without.cost);
        let mut worse = false;
        for (schema, table) in &without.scanned {
            let Some(rows) = rows_of(session, schema, table).await? else {
                return Ok(Finding::Unplanned(format!("{line}; {schema}.{table} was never analysed")));
            };
            worse |= rows > self.max_seq_rows.0;
            line.push_str(&format!("; reads all of {schema}.{table}, about {} rows", thousands(rows)));
        }
        Ok(if worse { Finding::Worse(line) } else { Finding::Fine(line) })
    }

    async fn judge(&self, session: &Session, with: &Plan, without: &Plan) -> Result<Finding, QueryError> {
        let times = with.times(without);
        let mut line = format!("cost {:.2} with the index, {:.2} without", with.cost, without.cost);
        let mut worse = times > self.max_cost_ratio.0;
        if times >= 2.0 {
            line.push_str(&format!(" ({times:.0} times)"));
        }
        for (schema, table) in without.scanned.difference(&with.scanned) {
            let Some(rows) = rows_of(session, schema, table).await? else {
                return Ok(Finding::Unplanned(format!("{line}; {schema}.{table} was never analysed")));
            };
            worse |= rows > self.max_seq_rows.0;
            line.push_str(&format!("; reads all of {schema}.{table}, about {} rows", thousands(rows)));
        }
        Ok(if worse { Finding::Worse(line) } else { Finding::Fine(line) })
    }
}

/// A session that plans as the author's own would: with the role's own search path. What is asked of the catalogues is asked
/// in `session`, whose path is ours.
async fn planner(
    cx: &Context,
    target: &str,
    check: &str,
    session: &Session,
    read_only: bool,
) -> Result<Session, QueryError> {
    let options = Options {
        application_name: format!("holdpoint {check}"),
        statement_timeout: Duration::from_secs(30),
        own_search_path: true,
        database: session.value("select pg_catalog.current_database()").await?,
        read_only,
        ..Options::default()
    };
    let target = cx.target(target).map_err(QueryError::local)?;
    let planner = pg::connect(target, &options).await.map_err(|error| QueryError::local(error.message))?;
    let (a, b) = (session.identity(), planner.identity());
    if (&a.system_identifier, &a.data_directory, &a.server_start)
        != (&b.system_identifier, &b.data_directory, &b.server_start)
    {
        return Err(QueryError::local("another server answered than for the first connection"));
    }
    Ok(planner)
}

async fn plan(session: &Session, explain: &str) -> Result<Result<Plan, String>, QueryError> {
    let json = session.value(explain).await?;
    Ok(Plan::read(&json.unwrap_or_default()))
}

/// The plan while the index is marked invalid; `None` when it cannot be. Whatever happens, the transaction ends with a
/// rollback: ours, or the server's when the connection goes.
#[allow(clippy::type_complexity, reason = "an answer, a plan, and whether there is one")]
async fn rolled_back(
    writer: &Session,
    index: &Index,
    explain: &str,
) -> Result<Option<Result<Result<Plan, String>, QueryError>>, QueryError> {
    writer.query("begin").await?;
    let mark = format!(
        "update pg_catalog.pg_index set indisvalid = false where indexrelid operator(pg_catalog.=) {}::pg_catalog.oid",
        index.oid
    );
    let answer = match writer.execute(&mark).await {
        Ok(1) => Ok(Some(plan(writer, explain).await)),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    writer.query("rollback").await?;
    answer
}

/// Rows as last estimated; `None` for a table that was never analysed.
async fn rows_of(session: &Session, schema: &str, table: &str) -> Result<Option<u64>, QueryError> {
    let sql = format!(
        "select c.reltuples::bigint from pg_catalog.pg_class c, pg_catalog.pg_namespace n \
         where n.oid = c.relnamespace and c.relname = {} and n.nspname = {}",
        literal(table),
        literal(schema)
    );
    Ok(session.value(&sql).await?.and_then(|rows| rows.parse().ok()))
}
