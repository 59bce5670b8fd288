//! Are data checksums on, and has none failed?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::tally::shown;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::registry::{Built, CheckKind};
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Row;

/// Are data checksums on, and has none failed?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksumsClean {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Since how long failures must have been counted: younger counters make the check unknown. Any age when not given.
    #[serde(default)]
    min_stats_age: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "checksums_clean",
    summary: "data checksums are on, and none has failed since counting began",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(ChecksumsClean),
    build,
};

const DOCS: &str = r#"
Shows that data checksums are on, and that no page read so far had a wrong one.

**How it is measured.** `data_checksums`, and the counters `checksum_failures` of every database and of the tables that all
databases share (`pg_stat_database`). Counting began at the later of two times: the last reset of the statistics, and the last
crash, which empties them (`pg_stat_bgwriter.stats_reset` moves with it).

**Passes** when checksums are on and every counter is zero.

**Fails** when a counter is above zero.

**Unknown** when checksums are off: then nothing can be said, and never "no failures"; when a counter is NULL or missing; when
damaged pages are wiped as they are read (`zero_damaged_pages`); when counting began less than `min_stats_age` ago, or nobody knows when.

**Traps.** Only pages that were read from the disk are counted, and a page that nobody reads is never found: run `heap_intact` and
`indexes_intact` first, or a base backup, which read every page. A crash or a failover begins counting anew, and each standby
counts for itself: check them all. A checksum sees what a disk changed, not what a fault of the server wrote. Checksums are
on by default since PostgreSQL 18; on an older cluster `pg_checksums --enable` turns them on while the server is stopped.

```yaml
preconditions:
  - checksums_clean: { target: old }
  - checksums_clean: { id: for-a-week, target: old, min_stats_age: 7d }
```
"#;

const EXPECTED: &str = "data checksums on, and no failures";

const COUNTERS: &str = "\
select d.datname, d.checksum_failures, d.checksum_last_failure::text,
       extract(epoch from pg_catalog.clock_timestamp() - greatest(d.stats_reset, b.stats_reset)),
       d.datid = 0,
       pg_catalog.current_setting('data_checksums'),
       (select setting from pg_catalog.pg_settings where name = 'zero_damaged_pages')
from pg_catalog.pg_stat_database d cross join pg_catalog.pg_stat_bgwriter b
order by d.checksum_failures desc nulls last, d.datname";

fn build(params: Map<String, Value>) -> Built {
    let check: ChecksumsClean =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    if check.min_stats_age.is_some_and(|age| age.0.is_zero()) {
        return Err("`min_stats_age` is zero: any counter is that old; leave it out".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for ChecksumsClean {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let door = Door::new(KIND.name, &self.target, EXPECTED);
        let (session, identity) = match door.open(cx).await {
            Ok(opened) => opened,
            Err(outcome) => return outcome,
        };
        let outcome = match session.query(COUNTERS).await {
            Ok(rows) => judge(&rows, self.min_stats_age),
            Err(error) => door.unanswered(&error),
        };
        outcome.on(&self.target, identity)
    }
}

/// The verdict from the counters: database, failures, last one, seconds of counting, shared, checksums, wiped.
fn judge(rows: &[Row], wanted: Option<Span>) -> Outcome {
    let unknown = |why: String, help: &str| Outcome::unknown(why, EXPECTED).help(help);
    let text = |row: &Row, at: usize| row.get(at).cloned().flatten();
    let name = |row: &Row| {
        text(row, 0).map_or_else(|| "what all share".to_owned(), |name| format!("database {name}"))
    };
    let Some(first) = rows.first() else {
        return unknown(
            "the server shows no counters".to_owned(),
            "look into the server's log, then measure again",
        );
    };
    let checksums = text(first, 5).unwrap_or_default();
    if checksums != "on" {
        let why = format!("data checksums are {checksums}: whether pages are damaged cannot be said");
        return unknown(
            why,
            "rely on heap_intact, indexes_intact, no_duplicate_keys and a comparison of contents instead; turn \
             checksums on with pg_checksums the next time that the server is stopped",
        )
        .fact("data_checksums", checksums);
    }
    let (mut failures, mut lines, mut missing) = (0_u64, Vec::new(), Vec::new());
    let mut since: Option<f64> = None;
    let mut ageless = false;
    for row in rows {
        match text(row, 1).and_then(|n| n.parse::<u64>().ok()) {
            None => missing.push(name(row)),
            Some(0) => {}
            Some(n) => {
                failures += n;
                let last = text(row, 2).map(|at| format!(", the last at {at}")).unwrap_or_default();
                lines.push(format!("{}: {}{last}", name(row), count(n, "failure", "failures")));
            }
        }
        match text(row, 3).and_then(|age| age.parse::<f64>().ok()) {
            Some(age) if age >= 0.0 => since = Some(since.map_or(age, |least| least.min(age))),
            _ => ageless = true,
        }
    }
    if !rows.iter().any(|row| text(row, 4).as_deref() == Some("t")) {
        missing.push("what all databases share".to_owned());
    }
    let counted = match since.filter(|_| !ageless) {
        Some(age) => format!("counted for {}", Span::secs(age as u64)),
        None => "counted since nobody knows when".to_owned(),
    };
    let outcome = if let Some(worst) = lines.first() {
        Outcome::fail(format!("{}: {worst}", count(failures, "checksum failure", "checksum failures")), EXPECTED)
            .help(
                "write nothing more to it: keep a copy of the cluster's files as they are now, find the failing disk, \
                 and run heap_intact and indexes_intact",
            )
    } else if text(first, 6).as_deref() != Some("off") {
        unknown(
            "zero_damaged_pages is on: damaged pages are wiped as they are read".to_owned(),
            "turn zero_damaged_pages off, then read everything again",
        )
    } else if !missing.is_empty() {
        unknown(
            format!("no counter for {}", missing.join(", ")),
            "look into the server's log, then measure again",
        )
    } else {
        match (wanted, since.filter(|_| !ageless)) {
            (Some(wanted), Some(age)) if age < wanted.0.as_secs_f64() => unknown(
                format!("no failures, but {counted} only"),
                "read everything (heap_intact, indexes_intact or a base backup), or wait",
            ),
            (Some(_), None) => unknown(
                format!("no failures, but {counted}"),
                "read everything (heap_intact, indexes_intact or a base backup) instead",
            ),
            _ => Outcome::pass(
                format!(
                    "no checksum failures in {}, {counted}",
                    count(rows.len() as u64 - 1, "database", "databases")
                ),
                EXPECTED,
            ),
        }
    };
    let outcome =
        shown(outcome, if lines.len() > 1 { &lines } else { &[] }).detail(format!("failures are {counted}"));
    let outcome = outcome.fact("data_checksums", checksums).fact("checksum_failures", failures);
    match since.filter(|_| !ageless) {
        Some(age) => outcome.fact("counted_seconds", age as u64),
        None => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn row(values: [&str; 7]) -> Row {
        values.iter().map(|value| (*value != "-").then(|| (*value).to_owned())).collect()
    }

    #[test]
    fn a_counter_that_is_not_there_is_no_zero() {
        let shared = || row(["-", "0", "-", "90", "t", "on", "off"]);
        let own = |failures, age| row(["db", failures, "-", age, "f", "on", "off"]);
        let verdict = |rows: &[Row], wanted| judge(rows, wanted).verdict;
        assert_eq!(verdict(&[shared(), own("0", "60")], None), Verdict::Pass);
        assert_eq!(verdict(&[shared(), own("2", "60")], None), Verdict::Fail);
        assert_eq!(verdict(&[shared(), own("-", "60")], None), Verdict::Unknown);
        assert_eq!(verdict(&[own("0", "60")], None), Verdict::Unknown, "the shared ones are missing");
        assert_eq!(verdict(&[], None), Verdict::Unknown);
        let minute = Some(Span::secs(60));
        assert_eq!(verdict(&[shared(), own("0", "61")], minute), Verdict::Pass);
        assert_eq!(verdict(&[shared(), own("0", "59")], minute), Verdict::Unknown, "too young");
        assert_eq!(verdict(&[shared(), own("0", "-")], minute), Verdict::Unknown, "no age");
        assert_eq!(verdict(&[shared(), own("0", "-")], None), Verdict::Pass, "no age was asked for");
        assert_eq!(verdict(&[shared(), own("3", "-")], minute), Verdict::Fail, "a failure needs no age");
        assert_eq!(verdict(&[row(["-", "0", "-", "1", "t", "off", "off"])], None), Verdict::Unknown);
        assert_eq!(verdict(&[row(["-", "0", "-", "1", "t", "on", "on"])], None), Verdict::Unknown, "wiped");
    }
}
