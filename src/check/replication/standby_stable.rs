//! Has a standby stayed up, with its replay and its link?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::wal::number;
use crate::base::Span;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Has a standby stayed up, with its replay and its link?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandbyStable {
    /// The standby.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// How long it must have stayed up without a break; 1d when not given.
    #[serde(default = "a_day")]
    at_least: Span,
}

fn a_day() -> Span {
    Span::secs(86_400)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "standby_stable",
    summary: "a standby has been up and connected without a break, crash restarts included",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(StandbyStable),
    build,
};

const DOCS: &str = r"
Shows that a standby has stayed up and connected for some time. One that falls over again and again, and is patched up each
time, has a cause that also sits on the primary: corruption, a bad disk, too little memory.

**How it is measured.** The start times of the server, of the processes that a crash replaces (`startup`, `checkpointer`) and of
the WAL receiver, from `pg_stat_activity`.

**Passes** when all of them have run for `at_least`. **Fails** when one is younger, when the WAL receiver is missing, or when the
server is no standby. **Unknown** when the server cannot be asked, or the role may not see its processes (`pg_monitor` may).

**Traps.** A crash restart keeps `pg_postmaster_start_time()` and the first process's number: only the children are new, so that
monitoring that looks at the server's start time sees nothing. A lost link makes a new WAL receiver: it counts as a break, since
that is what the standby's readers saw. The ages are by the server's clock (`clock_steady` tells whether that was set meanwhile).
This check does not read the server's log, where the reasons stand: put `log_clean` beside it, for the same time. A killed session
shows there as `terminated by signal 9`, and damage as `PANIC`, `invalid page` or `incorrect resource manager data checksum`.
Neither replaces the other: a log may have been rotated away, and an error that ends no process makes nothing younger.

```yaml
postconditions:
  - standby_stable: { target: new, at_least: 2h }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: StandbyStable = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.at_least.0.is_zero() {
        return Err("`at_least` is zero, which every standby has stayed up for".to_owned());
    }
    Ok(Box::new(check))
}

const SQL: &str = "select 'server', \
        extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time()) \
    union all select backend_type, extract(epoch from pg_catalog.clock_timestamp() - backend_start) \
    from pg_catalog.pg_stat_activity where backend_type in ('startup', 'checkpointer', 'walreceiver')";

/// What must run, by the server's name and by ours.
const PARTS: [(&str, &str); 4] = [
    ("server", "the server"),
    ("startup", "replay (the startup process)"),
    ("checkpointer", "the checkpointer"),
    ("walreceiver", "the WAL receiver"),
];

impl StandbyStable {
    fn judge(&self, ages: &[(String, Option<f64>)], visible: bool, findings: &mut Findings) {
        let log = format!("look into the log of {} for what happened then", self.target);
        let mut youngest: Option<f64> = None;
        for (part, name) in PARTS {
            let age = ages.iter().find(|(kind, _)| kind == part).map(|(_, age)| *age);
            match age {
                None if visible && part == "walreceiver" => findings.fail(
                    format!("{} has no WAL receiver: it is not connected to any primary", self.target),
                    log.clone(),
                ),
                None | Some(None) => findings.unknown(
                    format!("since when {name} of {} runs may not be seen", self.target),
                    "give the role pg_monitor, then measure again",
                ),
                Some(Some(age)) if age < 0.0 => findings.unknown(
                    format!("{name} of {} was started in the future: its clock was set back", self.target),
                    "set the clock right, then measure again",
                ),
                Some(Some(age)) => {
                    let span = Span::secs(age as u64);
                    let young = age < self.at_least.0.as_secs_f64();
                    // A new server has only new processes: the one reason is enough.
                    if young && youngest.is_none_or(|earlier| age + 60.0 < earlier) {
                        findings.fail(
                            format!("{name} of {} was started only {span} ago", self.target),
                            log.clone(),
                        );
                        youngest = Some(age);
                    } else {
                        findings.note(format!("{name} has run for {span}"));
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Check for StandbyStable {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!("a standby that has been up and connected for {}", self.at_least);
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        if !session.identity().in_recovery {
            return Outcome::fail(format!("{} is no standby: it is not in recovery", self.target), expected)
                .help("find out which server is the primary now before anything else")
                .on(&self.target, identity);
        }
        let rows = match session.query(SQL).await {
            Ok(rows) => rows,
            Err(error) => return door.unanswered(&error).on(&self.target, identity),
        };
        let ages: Vec<(String, Option<f64>)> = rows
            .into_iter()
            .map(|row| (row.first().cloned().flatten().unwrap_or_default(), row.get(1).and_then(number)))
            .collect();
        // The startup process is always there on a standby: not to see it is a matter of rights.
        let visible = ages.iter().any(|(part, _)| part == "startup");
        let mut findings = Findings::default();
        self.judge(&ages, visible, &mut findings);
        let since = ages.iter().filter_map(|(_, age)| *age).fold(f64::INFINITY, f64::min);
        let since = if since.is_finite() { Span::secs(since.max(0.0) as u64) } else { Span::secs(0) };
        findings
            .outcome(format!("up and connected for {since}"), &expected)
            .fact("seconds", since.0.as_secs())
            .on(&self.target, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_crash_inside_the_server_shows_in_its_children() {
        let check: StandbyStable = serde_json::from_value(serde_json::json!({ "target": "db" })).unwrap();
        let judged = |ages: &[(&str, Option<f64>)], visible: bool| {
            let ages: Vec<_> = ages.iter().map(|(part, age)| ((*part).to_owned(), *age)).collect();
            let mut findings = Findings::default();
            check.judge(&ages, visible, &mut findings);
            findings.outcome("up", "wanted")
        };
        const OLD: Option<f64> = Some(100_000.0);
        let all = [("server", OLD), ("startup", OLD), ("checkpointer", OLD), ("walreceiver", OLD)];
        assert_eq!(judged(&all, true).verdict, Verdict::Pass);
        let crashed = [
            ("server", OLD),
            ("startup", Some(90.0)),
            ("checkpointer", Some(90.0)),
            ("walreceiver", Some(89.0)),
        ];
        let outcome = judged(&crashed, true);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.observed, "replay (the startup process) of db was started only 1min 30s ago");
        assert_eq!(judged(&all[..3], true).verdict, Verdict::Fail);
        assert_eq!(judged(&all[..1], false).verdict, Verdict::Unknown);
    }
}
