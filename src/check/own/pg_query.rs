//! What a query of the operator's own answers, compared with a threshold.

mod judge;

use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::judge::{Count, Number, Scalar, Threshold};
use crate::base::text::count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::Identity;
use crate::world::pg::{self, ConnectTrouble, Options, QueryError, Row, Session};

/// What a query of your own answers, compared with a threshold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgQuery {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Another database of the same server than the target's own.
    #[serde(default)]
    database: Option<String>,
    /// One statement that reads. It must return one column and one row, unless `rows` is given.
    #[schemars(length(min = 1))]
    sql: String,
    /// The value that is wanted: numbers are compared as numbers, `true` is PostgreSQL's `t`, the rest as text.
    #[serde(default)]
    equals: Option<Scalar>,
    /// The smallest number that passes.
    #[serde(default)]
    at_least: Option<Number>,
    /// The largest number that passes.
    #[serde(default)]
    at_most: Option<Number>,
    /// Values that pass.
    #[serde(default)]
    #[schemars(length(min = 1))]
    matches: Option<Vec<Scalar>>,
    /// How many rows must come back, whatever is in them; alone, without the other thresholds.
    #[serde(default)]
    rows: Option<Count>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "pg_query",
    summary: "a query of your own on a PostgreSQL server answers what it should",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(PgQuery),
    build,
};

const DOCS: &str = r#"
Runs one query of your own and compares the one value that it returns. Use it for what no other check knows.

**How it is measured.** In a read-only transaction of its own, which the server enforces, with a lock timeout of 2 s. Values
arrive as text with fixed settings (UTC, ISO dates, hexadecimal bytea). The role's own `search_path` applies. When the
check's `timeout` (one minute unless you set it) passes, the query is cancelled on the server, too.

| threshold | passes when |
|---|---|
| `equals` | the value is this one; numbers by value, so that 1 equals 1.00 |
| `at_least`, `at_most` | the value is a number within these limits, both included |
| `matches` | the value is one of this list |
| `rows` | exactly so many rows came back; `rows: 0` for "nothing found" |

**Fails** when a value came and it is not what is wanted.

**Unknown** when nothing was measured: no row, NULL, `NaN`, more than one row or column, text where a number is wanted, an
error, a missing right, a time limit, or a statement that tries to write (SQLSTATE 25006).

**Traps.** `sum()` and `max()` over no rows are NULL, thus unknown; `count(*)` over no rows is 0, thus a number: a count in a
table that was never filled passes `at_most: 0`. `reltuples` is an estimate and -1 after an upgrade. A function with side
effects outside the transaction (`pg_terminate_backend`, `dblink`) is not stopped by a read-only transaction: do not call one.

```yaml
postconditions:
  - pg_query:
      title: The newest event is not older than before the copy
      target: new
      sql: select max(stream_ordering) from events
      at_least: ${newest_event}
  - pg_query:
      id: no-invalid-indexes
      target: new
      sql: select indexrelid::regclass from pg_index where not indisvalid
      rows: 0
```
"#;

/// On the server, in case that we die without cancelling; the check's own limit is shorter in practice.
const BACKSTOP: Duration = Duration::from_secs(3600);

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: PgQuery = serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    check.threshold()?;
    if check.sql.trim().is_empty() {
        return Err("`sql` is empty".to_owned());
    }
    Ok(Box::new(check))
}

impl PgQuery {
    fn threshold(&self) -> Result<Threshold<'_>, String> {
        let compares = self.equals.is_some()
            || self.at_least.is_some()
            || self.at_most.is_some()
            || self.matches.is_some();
        match (&self.rows, compares) {
            (Some(_), true) => Err("`rows` goes without the other thresholds; write two checks".to_owned()),
            (Some(rows), false) => Ok(Threshold::Rows(rows.0)),
            (None, false) => {
                Err("no threshold is set; write `equals`, `at_least`, `at_most`, `matches` or `rows`"
                    .to_owned())
            }
            (None, true) => Threshold::value(
                self.equals.as_ref(),
                self.at_least.as_ref(),
                self.at_most.as_ref(),
                self.matches.as_deref(),
            ),
        }
    }

    /// Runs the query; at most two rows are kept, and all are counted only when `rows` wants to know.
    async fn ask(&self, session: &Session, all: bool) -> Result<(usize, Vec<Row>, u64), QueryError> {
        // After the first query of a transaction its mode cannot be changed any more.
        session.query("begin read only; select 1").await?;
        let columns = session.columns(&self.sql).await?.len();
        let (mut kept, mut seen) = (Vec::new(), 0_u64);
        if columns > 0 {
            session
                .query_each(&self.sql, |row| {
                    seen += 1;
                    if kept.len() < 2 {
                        kept.push(row);
                    }
                    if all || seen < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
                .await?;
        }
        Ok((columns, kept, seen))
    }
}

#[async_trait]
impl Check for PgQuery {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let threshold = match self.threshold() {
            Ok(threshold) => threshold,
            Err(why) => return Outcome::unknown(why, "a threshold"),
        };
        let expected = threshold.to_string();
        let target = match cx.target(&self.target) {
            Ok(target) => target,
            Err(why) => return Outcome::unknown(why, expected),
        };
        let options = Options {
            application_name: format!("holdpoint {}", KIND.name),
            statement_timeout: BACKSTOP,
            database: self.database.clone(),
            own_search_path: true,
            ..Options::default()
        };
        let session = match pg::connect(target, &options).await {
            Ok(session) => session,
            Err(error) => {
                let help = match error.kind {
                    ConnectTrouble::Refused | ConnectTrouble::NotServing => {
                        "start the server, then measure again"
                    }
                    ConnectTrouble::WrongServer => "find out which cluster listens there before going on",
                    ConnectTrouble::Denied => "give the role its password and rights, then measure again",
                    _ => "find out why there is no connection, then measure again",
                };
                return Outcome::unknown(error.message, expected).help(help);
            }
        };
        let identity = Identity::Postgres(session.identity().clone());
        let outcome = match self.ask(&session, matches!(threshold, Threshold::Rows(_))).await {
            Err(error) => broken(&error, &expected),
            Ok((0, ..)) => Outcome::unknown("the statement returns no value", expected)
                .help("write a query that returns one value"),
            Ok((columns, rows, seen)) => judged(&threshold, columns, &rows, seen, &expected),
        };
        outcome.on(&self.target, identity)
    }
}

fn judged(threshold: &Threshold<'_>, columns: usize, rows: &[Row], seen: u64, expected: &str) -> Outcome {
    if let Threshold::Rows(wanted) = threshold {
        let mut outcome =
            Outcome::judge(seen == *wanted, count(seen, "row", "rows"), expected).fact("rows", seen);
        if seen != *wanted {
            for row in rows {
                let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                outcome = outcome.detail(judge::short(&values.join(" | ")));
            }
        }
        return outcome.help("look at what the query returns");
    }
    let value = match rows {
        [] => {
            return Outcome::unknown("no row came back", expected)
                .help("check that the query asks for what exists");
        }
        _ if columns > 1 => {
            return Outcome::unknown(format!("{columns} columns came back"), expected)
                .help("return one column, or count rows with `rows`");
        }
        [_, _, ..] => {
            return Outcome::unknown("more than one row came back", expected)
                .help("return one row, or count rows with `rows`");
        }
        [row] => row.first().cloned().flatten(),
    };
    match value {
        None => Outcome::unknown("NULL came back: there was nothing to measure", expected)
            .help("check that the query asks for what exists"),
        Some(value) => match threshold.holds(&value) {
            Ok(holds) => Outcome::judge(holds, judge::short(&value), expected)
                .fact("value", judge::short(&value))
                .help("put right what the query measures, then measure again"),
            Err(why) => Outcome::unknown(why, expected)
                .help("return a number: cast it, or use extract(epoch from ...)"),
        },
    }
}

fn broken(error: &QueryError, expected: &str) -> Outcome {
    let help = match error.sqlstate.as_deref() {
        Some("25006") => {
            "a check only reads: write a query that changes nothing, and put changes into a step"
        }
        Some("42501") => "give the role the right to read this, then measure again",
        Some("42601") => "write one statement that PostgreSQL understands",
        Some("42P01" | "42703" | "3F000") => "correct the names in the query, or give `database`",
        Some("57014") => "find out why the query takes so long, or give the check a longer `timeout`",
        Some("55P03") => "somebody holds a lock on it; measure again when they are done",
        _ if error.lost => "find out what happened to the server, then measure again",
        _ => "correct the query, then measure again",
    };
    let code = error.sqlstate.as_deref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
    Outcome::unknown(format!("{}{code}", error.message), expected).help(help)
}
