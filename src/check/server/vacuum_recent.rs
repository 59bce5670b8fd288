//! Are large tables vacuumed and analyzed? A table that was forgotten makes the working day after a maintenance slow.

mod judge;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::{Size, Span, text};
use crate::check::door::Door;
use crate::check::params::Percent;
use crate::check::registry::CheckKind;
use crate::check::survey::{Cluster, Findings, Words, cell};
use crate::check::{Check, Context, Outcome};
use judge::{Counters, Trouble};

/// Are large tables vacuumed and analyzed?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VacuumRecent {
    /// The server: a primary.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Smaller tables are not looked at; 100MiB when not given.
    #[serde(default = "hundred_mib")]
    min_size: Size,
    /// How long ago the last vacuum and the last analyze may be; 7d when not given.
    #[serde(default = "a_week")]
    within: Span,
    /// A table with at most this part of dead rows need not have been vacuumed; 10% when not given.
    #[serde(default = "a_tenth")]
    dead_rows: Percent,
    /// A table of which at most this part changed since its last analyze need not have been analyzed; 10% when not given.
    #[serde(default = "a_tenth")]
    changed_rows: Percent,
    /// Tables that need no vacuum, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A table that needs no vacuum.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The table: `schema.name` or `database.schema.name`.
    #[schemars(length(min = 1))]
    table: String,
    /// Why. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

fn hundred_mib() -> Size {
    Size(100 << 20)
}

fn a_week() -> Span {
    Span::secs(7 * 86_400)
}

fn a_tenth() -> Percent {
    Percent(10.0)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "vacuum_recent",
    summary: "every table of some size was vacuumed and analyzed lately, or has little that needs it",
    docs: DOCS,
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(VacuumRecent),
    build,
};

const DOCS: &str = r"
Shows that vacuum and analyze keep up with every large table, in every database.

**How it is measured.** `pg_stat_all_tables` for tables of at least `min_size` (TOAST included), system catalogues too but those
that all databases share: the last vacuum and the last analyze, by hand or by autovacuum, dead rows, and rows changed since
the last analyze.

**Passes** when each of these tables was vacuumed within `within` (7 days) or has at most `dead_rows` (10 %) dead rows, and was
analyzed within that time or changed by at most `changed_rows` (10 %). **Fails** when one was not. **Unknown** when the counters
were lost and have not begun anew for a table, when a database cannot be entered, when the server is a standby (it has no counters of
its primary's vacuum), or when no table is that large.

**Traps.** A crash empties the counters, and so do `pg_stat_reset()` and an upgrade. Every table then looks as if it had no dead row.
`pg_stat_database.stats_reset` need not tell: after a crash, 15 and newer leave it empty. So a count of dead or changed rows is
believed only when the server still knows of a vacuum or an analyze of that table, which set it right; until then a small
number is unknown, and a large one is real. `vacuum (analyze)` on the table ends that. Recent is not enough when something
holds the horizon back: vacuum then leaves dead rows where they are (`horizon_holders`).

```yaml
preconditions:
  - vacuum_recent: { target: old }
  - vacuum_recent:
      id: strict
      target: old
      min_size: 1GiB
      within: 1d
      dead_rows: 5%
      except: [{ table: public.archive, reason: is written once and never changed }]
```
";

/// Name, bytes, seconds since the last vacuum and analyze, living, dead and changed rows; the largest first.
const TABLES: &str = "select format('%I.%I', s.schemaname, s.relname), pg_table_size(s.relid), \
    extract(epoch from clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum)), \
    extract(epoch from clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze)), \
    s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze \
    from pg_stat_all_tables s join pg_class c on c.oid = s.relid \
    where c.relkind in ('r', 'm') and c.relpersistence <> 't' and not c.relisshared and pg_table_size(s.relid) >= ";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: VacuumRecent = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.within.0.is_zero() {
        return Err("`within` is zero: no vacuum is that recent".to_owned());
    }
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.table));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for VacuumRecent {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "every table of {} or more vacuumed within {} or with at most {} dead rows, and analyzed likewise",
            self.min_size, self.within, self.dead_rows
        );
        let cluster =
            match Cluster::open(Door::new(KIND.name, &self.target, &expected), &self.databases, cx).await {
                Ok(cluster) => cluster,
                Err(outcome) => return outcome,
            };
        if cluster.main.identity().in_recovery {
            return Outcome::unknown(
                format!("{} is a standby: what its primary vacuums is not counted here", self.target),
                &expected,
            )
            .help("measure the primary")
            .on(&self.target, cluster.identity);
        }
        let mut findings = Findings { unasked: cluster.closed.clone(), ..Findings::default() };
        for database in &cluster.databases {
            if let Err(why) = self.of_database(&cluster, database, cx, &mut findings).await {
                findings.unasked.push(why);
            }
        }
        let passed = format!(
            "{} of {} or more, all vacuumed and analyzed as they should be",
            text::count(findings.looked, "table", "tables"),
            self.min_size
        );
        let nothing = format!("no table has {} or more: there is nothing to measure", self.min_size);
        let failed = !findings.failed.is_empty();
        let lost = !findings.unasked.is_empty() && findings.unasked.len() != cluster.closed.len();
        let outcome = findings.conclude(Words {
            expected: &expected,
            passed,
            nothing: &nothing,
            help: "run `vacuum (analyze)` on it; when autovacuum is on, find out why it does not get there (horizon_holders, autovacuum_progress)",
        });
        let outcome = match lost && !failed {
            true => outcome
                .help("run `vacuum (analyze)` on the table once: from then on the counters can be believed"),
            false => outcome,
        };
        outcome.on(&self.target, cluster.identity)
    }
}

impl VacuumRecent {
    async fn of_database(
        &self,
        cluster: &Cluster<'_>,
        database: &str,
        cx: &Context,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let rows =
            cluster.rows(database, &format!("{TABLES}{} order by 2 desc, 1", self.min_size.0), cx).await?;
        for row in rows {
            let (name, full) = (cell(&row, 0), format!("{database}.{}", cell(&row, 0)));
            if let Some(except) = self.except.iter().find(|e| e.table == name || e.table == full) {
                findings.notes.push(format!("excepted ({}): table {full}", except.reason));
                continue;
            }
            findings.looked += 1;
            let count = |column| cell(&row, column).parse::<u64>().ok();
            let age = |column| cell(&row, column).parse::<f64>().ok();
            let (Some(live), Some(dead), Some(changed)) = (count(4), count(5), count(6)) else {
                findings.unasked.push(format!("{full} has no counters (track_counts is off?)"));
                continue;
            };
            let counters = Counters { vacuum: age(2), analyze: age(3), live, dead, changed };
            let size = cell(&row, 1).parse().map(Size).map(|size| size.to_string()).unwrap_or_default();
            for trouble in self.judge(&counters) {
                match trouble {
                    Trouble::Fails(what) => findings.failed.push(format!("table {full} ({size}) {what}")),
                    Trouble::Unknown(what) => findings.unasked.push(format!("table {full} ({size}) {what}")),
                }
            }
        }
        Ok(())
    }
}
