//! Does autovacuum get anywhere with the tables that it must freeze?

mod overdue;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::join_all;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::ids;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::history::{self, Keep, Series};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use overdue::Table;

/// Does autovacuum get anywhere with the tables that it must freeze?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutovacuumProgress {
    /// The server. The tables of all its databases count.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// How long an overdue table may stay as it is; 1d when not given, 7d at most.
    #[serde(default = "a_day")]
    stuck_for: Span,
}

fn a_day() -> Span {
    Span::secs(86_400)
}

/// A look every ten minutes is enough.
const CLOSEST: Span = Span::secs(600);
/// Databases that are asked side by side: connections are few.
const AT_ONCE: usize = 4;
const LONGEST: Span = Span::secs(7 * 86_400);

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "autovacuum_progress",
    summary: "no table that is due for freezing has been left as it is for a day",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(AutovacuumProgress),
    build,
};

const DOCS: &str = r"
Shows that autovacuum makes progress with the tables that it must freeze: those older than `autovacuum_freeze_max_age` or
`autovacuum_multixact_freeze_max_age`.

**How it is measured.** In every database the overdue tables are listed with their `relfrozenxid` and `relminmxid`; of a
database that allows no connections, its `datfrozenxid` and `datminmxid`. What is seen is kept with the run's samples, and
compared with what was seen `stuck_for` ago.

**Passes** when no table is overdue, or each one has moved or become overdue since. **Fails** when one stands exactly where it stood.
**Unknown** when tables are overdue and the history is too short to tell, or a database cannot be entered.

**Traps.** A table that does not move is held back (see `horizon_holders`), too large for its cost limits, cancelled again and again by
locks, or damaged: the server's log then says `found xmin ... from before relfrozenxid` or `could not access status of
transaction`, which is corruption, not slowness. The history begins anew when this machine is restarted. A vacuum at work is
told in the details, and does not make a table pass.

```yaml
preconditions:
  - autovacuum_progress: { target: old }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: AutovacuumProgress =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.stuck_for < CLOSEST {
        return Err(format!(
            "`stuck_for` is {}, shorter than autovacuum needs; at least {CLOSEST}",
            check.stuck_for
        ));
    }
    if check.stuck_for > LONGEST {
        return Err(format!(
            "`stuck_for` is {}, longer than history is kept; at most {LONGEST}",
            check.stuck_for
        ));
    }
    Ok(Box::new(check))
}

/// Overdue tables by `database: table`, with where they stand.
type Seen = BTreeMap<String, String>;

#[async_trait]
impl Check for AutovacuumProgress {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("no overdue table that has not moved for {}", self.stuck_for);
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let databases = match overdue::databases(&session).await {
            Ok(databases) => databases,
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let mut findings = Findings::default();
        let mut tables = Vec::new();
        let enter: Vec<_> = databases.iter().filter(|database| database.connects).collect();
        for some in enter.chunks(AT_ONCE) {
            let asked = some.iter().map(|database| overdue::tables(door.database(&database.name), cx));
            for answer in join_all(asked).await {
                match answer {
                    Ok(found) => tables.extend(found),
                    Err(outcome) => findings.unknown_as(&outcome),
                }
            }
        }
        tables.extend(databases.iter().filter(|database| !database.connects).filter_map(|d| d.as_table()));
        tables.sort_by_key(|table| std::cmp::Reverse(table.age));
        for line in overdue::at_work(&session).await {
            findings.note(line);
        }
        let looked: Seen = tables.iter().map(|table| (table.name.clone(), table.stands.clone())).collect();
        let keep = Keep { reach: self.stuck_for, closest: CLOSEST, most: 200 };
        let series = history::add(cx, &history::name_of(KIND.name, &identity), looked, keep).await;
        self.judge(&tables, &series, &mut findings);
        series.trouble.iter().for_each(|line| findings.note(line));
        let many = tables.len() as u64;
        let observed = match many {
            0 => format!("no table of {} is overdue", count(databases.len() as u64, "database", "databases")),
            many => format!("{} overdue, none stuck", count(many, "table is", "tables are")),
        };
        findings.outcome(observed, &expected).fact("overdue", many).on(&self.target, identity)
    }
}

impl AutovacuumProgress {
    fn judge(&self, tables: &[Table], series: &Series<Seen>, findings: &mut Findings) {
        let then = series.before(self.stuck_for);
        let mut waiting = 0_u64;
        for table in tables {
            let stands = |seen: &Seen| seen.get(&table.name) == Some(&table.stands);
            let since = series.held_for(stands).unwrap_or_default();
            let what = format!("{} is {} old", table.name, ids(table.age));
            match then {
                Some(then) if stands(&then.value) => findings.fail(
                    format!("{what} and has not moved for {since}"),
                    "find what holds the horizon back (horizon_holders), then look into the server's log for what \
                     autovacuum says of this table",
                ),
                Some(_) => findings.note(format!("{what}; it has moved or become overdue lately")),
                None => {
                    waiting += 1;
                    findings.note(format!("{what}; as it is for {since}"));
                }
            }
        }
        if waiting > 0 {
            let oldest = tables.first().map_or("", |table| table.name.as_str());
            findings.unknown(
                format!(
                    "{} overdue ({oldest} most), and known for {} only",
                    count(waiting, "table is", "tables are"),
                    series.reach()
                ),
                format!("measure again: whether they move shows after {}", self.stuck_for),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;
    use crate::check::history::Sample;

    #[test]
    fn only_what_was_seen_to_stand_still_is_stuck() {
        let check: AutovacuumProgress =
            serde_json::from_value(serde_json::json!({ "target": "db" })).unwrap();
        let table = Table { name: "app: events".to_owned(), stands: "7".to_owned(), age: 300_000_000 };
        let judged = |looks: &[(u64, &str)]| {
            let sample = |&(hour, stands): &(u64, &str)| Sample {
                boot_ms: hour * 3_600_000,
                value: Seen::from([("app: events".to_owned(), stands.to_owned())]),
            };
            let series = Series { samples: looks.iter().map(sample).collect(), trouble: None };
            let mut findings = Findings::default();
            check.judge(std::slice::from_ref(&table), &series, &mut findings);
            findings.outcome("fine", "wanted")
        };
        assert_eq!(judged(&[(0, "7")]).verdict, Verdict::Unknown);
        assert_eq!(judged(&[(0, "7"), (23, "7")]).verdict, Verdict::Unknown);
        let stuck = judged(&[(0, "7"), (12, "7"), (24, "7")]);
        assert_eq!(stuck.verdict, Verdict::Fail);
        assert_eq!(stuck.observed, "app: events is 300 M old and has not moved for 1d");
        assert_eq!(judged(&[(0, "6"), (12, "7"), (24, "7")]).verdict, Verdict::Pass);
        let none = Series { samples: vec![Sample { boot_ms: 0, value: Seen::new() }], trouble: None };
        let mut findings = Findings::default();
        check.judge(&[], &none, &mut findings);
        assert!(findings.clean());
    }
}
