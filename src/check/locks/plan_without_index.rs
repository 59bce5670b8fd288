//! What would the plans of critical statements be without an index?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::index::hidden::Finding;
use super::index::{Index, Method, Statements};
use super::words::detailed;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::params::{Count, Ratio};
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::{QueryError, Session};

/// What would the plans of critical statements be without an index?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanWithoutIndex {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Another database of the same server than the target's own.
    #[serde(default)]
    database: Option<String>,
    /// The index, as `schema.index` or `index`.
    #[schemars(length(min = 1))]
    index: String,
    /// The statements that must stay quick, the rare ones above all, with real values in place of parameters. They are
    /// planned, never executed.
    #[schemars(length(min = 1))]
    statements: Vec<String>,
    /// How many times the planner's cost may grow. Default 10.
    #[serde(default = "ten")]
    max_cost_ratio: Ratio,
    /// A table of more rows must not be read from end to end where it was not before. Default 100000.
    #[serde(default = "many")]
    max_seq_rows: Count,
    /// `hypopg` (default), or `rolled_back` to allow the other way where hypopg is not installed.
    #[serde(default)]
    method: Method,
}

pub(super) fn ten() -> Ratio {
    Ratio(10.0)
}

pub(super) fn many() -> Count {
    Count(100_000)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "plan_without_index",
    summary: "critical statements have plans that are good enough without an index",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(PlanWithoutIndex),
    build,
};

const DOCS: &str = r#"
Shows, before an index is dropped, that critical statements would have good enough plans without it.

**How it is measured.** `EXPLAIN` of each statement with the index and without it; no statement is executed. The index is hidden
from one session by `hypopg_hide_index` (hypopg 1.4 and later), which writes nothing. Where hypopg is not installed, a plan that
does not use the index is enough for a plain index; for the rest write `method: rolled_back`, as a superuser on the primary: the
index is marked invalid in a transaction that is rolled back. Nobody else ever sees that, but it is a write: it spends a
transaction id, leaves a dead row in `pg_index`, and waits for or holds up schema changes to that index for a moment.

**Passes** when no statement costs more than `max_cost_ratio` times as much, and none begins to read a table of more than
`max_seq_rows` rows from end to end. An index that is invalid already serves no plan, so there is nothing to compare with: then no
statement may read such a table from end to end at all.

**Fails** when one does, when its `on conflict` rests on the index, or when it deletes from a table that a foreign key refers to and
only this index serves that key.

**Unknown** when a plan uses the index and there is no way to hide it, a statement cannot be planned (wrong, a missing right, a
`$1` without a value), a table was never analysed, or the index is that of a partitioned table.

**Traps.** The look-ups of foreign keys are triggers, and no plan shows them: they are found in the catalogues, for statements that
delete. Plans depend on the values, the statistics and the settings of the role that measures; a copy with less data has other
plans. Put the rare statements in: the deletion that runs once a month is the one that the statistics do not show.

```yaml
preconditions:
  - plan_without_index:
      target: old
      database: synapse
      index: event_push_actions_rm_tokens
      statements:
        - delete from event_push_actions where room_id = '!a:b' and event_id = '$c'
      method: rolled_back
```
"#;

const EXPECTED: &str = "plans that are good enough without the index";

fn build(params: Map<String, Value>) -> Built {
    let check: PlanWithoutIndex =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if check.statements.is_empty() {
        return Err("`statements` is empty: name what must stay quick".to_owned());
    }
    sensible(&check.statements, check.max_cost_ratio)?;
    Ok(Box::new(check))
}

/// Statements and a factor that make sense.
pub(super) fn sensible(statements: &[String], ratio: Ratio) -> Result<(), String> {
    if statements.iter().any(|statement| statement.trim().is_empty()) {
        return Err("one of the `statements` is empty".to_owned());
    }
    if ratio.0 < 1.0 {
        return Err(format!(
            "`max_cost_ratio: {ratio}` is less than 1: no plan gets better by losing an index"
        ));
    }
    Ok(())
}

/// What to do about a plan that cannot be found out.
pub(super) const NO_WAY: &str = "install hypopg 1.4 or later, or allow `method: rolled_back`; correct statements that \
                                 cannot be planned, and analyse their tables";

impl PlanWithoutIndex {
    async fn ask(&self, cx: &Context, session: &Session) -> Result<Outcome, QueryError> {
        let index = match Index::find(session, &self.index).await? {
            Ok(index) => index,
            Err(why) => return Ok(Outcome::unknown(why, EXPECTED).help("correct the name of the index")),
        };
        if index.partitioned {
            let why =
                format!("{} is the index of a partitioned table and has no plans of its own", index.name);
            return Ok(Outcome::unknown(why, EXPECTED).help("name the index of one of its partitions"));
        }
        if index.rows.is_none_or(|rows| rows == 0) {
            let why = format!("{} is empty or was never analysed: its plans tell nothing", index.table);
            return Ok(Outcome::unknown(why, EXPECTED).help("run `analyze` on it, then measure again"));
        }
        let statements = Statements {
            all: &self.statements,
            max_cost_ratio: self.max_cost_ratio,
            max_seq_rows: self.max_seq_rows,
            method: self.method,
        };
        let found = statements.compare(cx, &self.target, KIND.name, session, &index).await?;
        let (mut worse, mut unplanned, mut fine) = (Vec::new(), Vec::new(), Vec::new());
        for finding in found {
            match finding {
                Finding::Fine(line) => fine.push(line),
                Finding::Worse(line) => worse.push(line),
                Finding::Uses(line) => {
                    unplanned
                        .push(format!("{line}, and what it would be without it cannot be measured here"));
                }
                Finding::Unplanned(line) => unplanned.push(line),
            }
        }
        let outcome = if let Some(first) = worse.first() {
            Outcome::fail(format!("without {}: {first}", index.name), EXPECTED)
                .help("keep the index, or give the statement another one first")
        } else if let Some(first) = unplanned.first() {
            Outcome::unknown(first.clone(), EXPECTED).help(NO_WAY)
        } else {
            let all = count(fine.len() as u64, "statement", "statements");
            Outcome::pass(format!("{all} with a plan that is good enough without {}", index.name), EXPECTED)
        };
        let bad = worse.len() + unplanned.len();
        let lines: Vec<String> = worse.into_iter().chain(unplanned).skip(1).chain(fine).collect();
        let mut outcome =
            detailed(outcome, &lines).fact("statements", self.statements.len()).fact("not_good", bad);
        for key in &index.foreign_keys {
            outcome = outcome.detail(format!(
                "the foreign key {} has no other index: each deletion from {} would read all of {}",
                key.name, key.parent, index.table
            ));
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Check for PlanWithoutIndex {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let mut door = Door::new(KIND.name, &self.target, EXPECTED);
        door.database = self.database.as_deref();
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let outcome = match self.ask(cx, &session).await {
            Ok(outcome) => outcome,
            Err(error) => door.unanswered(&error),
        };
        outcome.on(&self.target, identity)
    }
}
