//! Do the key tables still hold about as many rows as they must, and recent ones? A floor for when the service writes
//! again: equality is for [`crate::check::data`].

mod ends;
mod floor;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ask::{self, Question};
use crate::base::Span;
use crate::base::text::count;
use crate::check::data::compare::covers;
use crate::check::data::counts;
use crate::check::data::manifest::Manifest;
use crate::check::params::{Count, Percent};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use ends::End;
use floor::{Floor, share_of};

/// Do the key tables still hold about as many rows as they must, and recent ones?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowsAtLeast {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The tables, as `events` or `public.events`. With `recorded`, all tables that had rows when not given.
    #[serde(default)]
    tables: Vec<String>,
    /// The name of a record made earlier in the run: each table must still have a `share` of its rows.
    #[serde(default)]
    #[schemars(extend("format" = "recorded"))]
    recorded: Option<String>,
    /// With `recorded`: how much of the rows must be there; 99.9% when not given.
    #[serde(default)]
    share: Option<Percent>,
    /// Instead of `recorded`: the fewest rows that each table may have.
    #[serde(default)]
    at_least: Option<Count>,
    /// The newest row must be recent.
    #[serde(default)]
    newest: Option<Newest>,
    /// An old row must be there.
    #[serde(default)]
    oldest: Option<Oldest>,
}

/// The newest row must be recent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Newest {
    /// The table; the only one of `tables` when not given.
    #[serde(default)]
    table: Option<String>,
    /// The column that holds when a row was made: a time with its zone, or seconds or milliseconds since 1970.
    column: String,
    /// The oldest that the newest row may be.
    max_age: Span,
}

/// An old row must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Oldest {
    /// The table; the only one of `tables` when not given.
    #[serde(default)]
    table: Option<String>,
    /// The column that holds when a row was made: a time with its zone, or seconds or milliseconds since 1970.
    column: String,
    /// How old the oldest row is at least.
    min_age: Span,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "rows_at_least",
    summary: "key tables hold at least as many rows as they must, old and recent ones",
    docs: DOCS,
    timeout: Some(Span::secs(6 * 3600)),
    schema: || schema_for!(RowsAtLeast),
    build,
};

const DOCS: &str = r"
Shows that a service did not come up on an empty or old database: its key tables hold at least as many rows as they must, and
recent and old ones.

**How it is measured.** Every table is counted exactly, from the table itself, in PostgreSQL or SQLite. With `recorded`, each must
have at least `share` of the rows that it had when the record was made; with `at_least`, so many. `newest` and `oldest` look at the
largest and the smallest value of a column.

**Passes** when every table has its rows, the newest row is at most `max_age` old, and the oldest at least `min_age`. **Fails**
when a table has fewer, is not there, or its rows are too old or too young.

**Unknown** when the record is missing or had no rows in these tables, the server does not answer, a table may not be
read, a column holds no moment (or one without a time zone), or the newest row lies in the future.

**Traps.** A floor shows that the data is about there, not that it is right: before anything is destroyed, `data_matches` proves
that. A restored backup of last month has enough rows: only `newest` finds that. Retention and clean-up jobs delete rows:
choose `tables` that only grow, or a lower `share`. Counting a large table reads all of it.

```yaml
postconditions:
  - rows_at_least: { target: new, recorded: before }
  - rows_at_least:
      id: events
      target: new
      tables: [events]
      at_least: 1000000
      newest: { column: received_ts, max_age: 15min }
      oldest: { column: received_ts, min_age: 365d }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: RowsAtLeast = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    match (&check.recorded, check.at_least) {
        (Some(_), Some(_)) => return Err("`recorded` and `at_least`: one of them".to_owned()),
        (None, None) if check.newest.is_none() && check.oldest.is_none() => {
            return Err("no threshold is set; write `recorded` or `at_least`".to_owned());
        }
        (None, Some(Count(0))) => return Err("`at_least` is zero: any table has that many".to_owned()),
        (None, Some(_)) if check.tables.is_empty() => {
            return Err("`at_least` needs `tables`: which ones?".to_owned());
        }
        _ => {}
    }
    if check.share.is_some() && check.recorded.is_none() {
        return Err("`share` belongs to `recorded`".to_owned());
    }
    for (name, table) in [
        ("newest", check.newest.as_ref().map(|n| &n.table)),
        ("oldest", check.oldest.as_ref().map(|o| &o.table)),
    ] {
        if let Some(None) = table
            && check.tables.len() != 1
        {
            return Err(format!("`{name}` needs a `table`"));
        }
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for RowsAtLeast {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        let mut outcome = match self.floors(cx).await {
            Ok(outcome) => outcome,
            Err(outcome) => *outcome,
        };
        let counted = self.recorded.is_some() || self.at_least.is_some();
        if counted && outcome.verdict != crate::check::Verdict::Pass {
            return outcome;
        }
        for end in self.ends() {
            match end.judge(&self.target, cx, &wanted).await {
                Ok((holds, said)) => {
                    if holds && outcome.verdict == crate::check::Verdict::Pass {
                        outcome.observed = match outcome.observed.is_empty() {
                            true => said,
                            false => format!("{}; {said}", outcome.observed),
                        };
                    } else if !holds {
                        let seen = outcome.seen;
                        outcome = Outcome::fail(said, &wanted)
                            .help("find out which data this is before anybody writes to it");
                        outcome.seen = seen;
                        break;
                    }
                }
                Err(unknown) => {
                    let seen = outcome.seen;
                    outcome = *unknown;
                    outcome.seen = seen;
                    break;
                }
            }
        }
        outcome
    }
}

impl RowsAtLeast {
    fn wanted(&self) -> String {
        let mut parts = Vec::new();
        match (&self.recorded, self.at_least) {
            (Some(name), _) => parts.push(format!("{} of the rows in `{name}`", self.share())),
            (None, Some(least)) => parts.push(format!("at least {} each", count(least.0, "row", "rows"))),
            (None, None) => {}
        }
        parts.extend(self.newest.as_ref().map(|n| format!("the newest row at most {} old", n.max_age)));
        parts.extend(self.oldest.as_ref().map(|o| format!("the oldest row at least {} old", o.min_age)));
        parts.join(", ")
    }

    fn share(&self) -> Percent {
        self.share.unwrap_or(Percent(99.9))
    }

    fn ends(&self) -> Vec<End<'_>> {
        fn of<'a>(all: &'a [String], table: &'a Option<String>) -> &'a str {
            table.as_deref().or(all.first().map(String::as_str)).unwrap_or_default()
        }
        let newest = self.newest.as_ref().map(|n| End {
            table: of(&self.tables, &n.table),
            column: &n.column,
            newest: true,
            limit: n.max_age,
        });
        let oldest = self.oldest.as_ref().map(|o| End {
            table: of(&self.tables, &o.table),
            column: &o.column,
            newest: false,
            limit: o.min_age,
        });
        newest.into_iter().chain(oldest).collect()
    }

    /// Counts, and compares with the floor. Without one, a pass with nothing said.
    async fn floors(&self, cx: &Context) -> Result<Outcome, Box<Outcome>> {
        let wanted = self.wanted();
        let unknown = |why: String, help: &str| Box::new(Outcome::unknown(why, &wanted).help(help));
        let before = match &self.recorded {
            None if self.at_least.is_none() => return Ok(Outcome::pass("", wanted)),
            None => None,
            Some(name) => Some(
                cx.records
                    .manifest(name)
                    .map_err(|why| unknown(why, "run the step that records it, then measure again"))?,
            ),
        };
        let databases = match before {
            None => self.own_database(cx).await?,
            Some(_) => Vec::new(),
        };
        let now = counts(KIND.name, &self.target, &databases, &self.tables, cx)
            .await
            .map_err(|why| unknown(why, "find out why it cannot be counted, then measure again"))?;
        let floors = match &before {
            Some(before) => self.since(before, &now),
            None => self.named(&now),
        };
        let floors =
            floors.map_err(|why| unknown(why, "name the tables as they are called, with their schema"))?;
        Ok(floor::judge(&floors, wanted).on(&self.target, now.identity))
    }

    /// Tables that are named are those of the target's own database: the role may have no right to enter others.
    async fn own_database(&self, cx: &Context) -> Result<Vec<String>, Box<Outcome>> {
        let wanted = self.wanted();
        if cx.targets.get(&self.target).is_some_and(|target| target.sqlite.is_some()) {
            return Ok(Vec::new());
        }
        let question = Question::new(KIND.name, &self.target, &wanted);
        let (name, _) = ask::one(cx, &question, "select current_database()").await?;
        Ok(name.into_iter().collect())
    }

    /// Each table of the record that had rows.
    fn since(&self, before: &Manifest, now: &Manifest) -> Result<Vec<Floor>, String> {
        let there = |db: &str, name: &str| {
            now.stored().find(|(d, n, _)| *d == db && *n == name).and_then(|(_, _, relation)| relation.rows)
        };
        let mut floors = Vec::new();
        for (db, name, relation) in before.stored().filter(|(db, name, _)| covers(&self.tables, db, name)) {
            match relation.rows {
                None => return Err(format!("the rows of {db}.{name} are not in the record")),
                Some(0) => {}
                Some(rows) => floors.push(Floor {
                    name: format!("{db}.{name}"),
                    rows: there(db, name),
                    least: share_of(rows, self.share()),
                }),
            }
        }
        let unseen = self.tables.iter().find(|wanted| {
            let one = std::slice::from_ref(*wanted);
            !before.stored().any(|(db, name, _)| covers(one, db, name))
        });
        match unseen {
            Some(table) => Err(format!("there is no table `{table}` in the record")),
            None if floors.is_empty() => {
                Err("the record has no rows in these tables: there is nothing to compare with".to_owned())
            }
            None => Ok(floors),
        }
    }

    /// Each table that is named.
    fn named(&self, now: &Manifest) -> Result<Vec<Floor>, String> {
        let least = self.at_least.map_or(1, |least| least.0);
        let mut floors = Vec::new();
        for wanted in &self.tables {
            let one = std::slice::from_ref(wanted);
            let found: Vec<_> = now.stored().filter(|(db, name, _)| covers(one, db, name)).collect();
            match found.as_slice() {
                [] => floors.push(Floor { name: wanted.clone(), rows: None, least }),
                [(db, name, relation)] => match relation.rows {
                    None => return Err(format!("the rows of {db}.{name} were not counted")),
                    rows => floors.push(Floor { name: format!("{db}.{name}"), rows, least }),
                },
                several => {
                    let names: Vec<String> =
                        several.iter().map(|(db, name, _)| format!("{db}.{name}")).collect();
                    return Err(format!("`{wanted}` may be any of {}", names.join(", ")));
                }
            }
        }
        Ok(floors)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_floor_must_be_set() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "target": "db" })).contains("no threshold"));
        assert!(refused(json!({ "target": "db", "at_least": 5 })).contains("`tables`"));
        assert!(refused(json!({ "target": "db", "tables": ["t"], "at_least": 0 })).contains("zero"));
        assert!(
            refused(json!({ "target": "db", "tables": ["t"], "at_least": 1, "recorded": "r" }))
                .contains("one of")
        );
        assert!(
            refused(json!({ "target": "db", "tables": ["t"], "at_least": 1, "share": "5%" }))
                .contains("`share`")
        );
        let newest = json!({ "target": "db", "recorded": "r", "newest": { "column": "c", "max_age": "1h" } });
        assert!(refused(newest).contains("`newest` needs a `table`"));
        assert_eq!(refused(json!({ "target": "db", "recorded": "r", "share": "95%" })), "");
    }
}
