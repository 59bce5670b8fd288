//! Does the archiver keep up?

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::wal::number;
use crate::base::Span;
use crate::base::text::count;
use crate::check::door::Door;
use crate::check::findings::Findings;
use crate::check::params::Count;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Row;

/// Does the archiver keep up?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WalArchiving {
    /// The server.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// The longest that a finished file of WAL may wait to be archived; 10min when not given.
    #[serde(default = "ten_minutes")]
    max_wait: Span,
    /// Most files that may wait; 64 when not given.
    #[serde(default = "sixty_four")]
    max_waiting: Count,
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

fn sixty_four() -> Count {
    Count(64)
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "wal_archiving",
    summary: "finished WAL is archived: the last attempt succeeded, and little waits",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(WalArchiving),
    build,
};

const DOCS: &str = r"
Shows that the archiver works: without it, point-in-time recovery ends at the last archived file, and `pg_wal` grows until the
disk is full.

**How it is measured.** `pg_stat_archiver` for the last success and the last failure, and the `.ready` files in
`pg_wal/archive_status` (`pg_ls_archive_statusdir()`) for what waits and since when.

**Passes** when something was archived, nothing has failed since, and neither the number of waiting files nor the wait of the
oldest is too large. **Fails** when the last failure is newer than the last success, when too many wait or one waits too long,
or when `archive_mode` is on and no command or library is set. **Unknown** when `archive_mode` is off, when nothing was
archived or tried yet, on a standby whose `archive_mode` is not `always`, and when the role may not list the files
(`pg_monitor` may).

**Traps.** A command that returns 0 without a copy (`/bin/true`) looks well: only a restore shows more. On an idle server nothing is
archived for hours unless `archive_timeout` is set. A success between two failures hides the failures: look at
`failed_count` in the details. The counters begin anew after `pg_stat_reset_shared` and after a crash.

```yaml
preconditions:
  - wal_archiving: { target: old, max_wait: 5min }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: WalArchiving = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.max_wait.0.is_zero() {
        return Err("`max_wait` is zero; a file always waits for a moment".to_owned());
    }
    Ok(Box::new(check))
}

const SETTINGS: &str = "select pg_catalog.current_setting('archive_mode'), \
    pg_catalog.current_setting('archive_command', true), pg_catalog.current_setting('archive_library', true), \
    archived_count, failed_count, \
    extract(epoch from pg_catalog.clock_timestamp() - last_archived_time), \
    extract(epoch from pg_catalog.clock_timestamp() - last_failed_time), last_archived_wal, last_failed_wal \
    from pg_catalog.pg_stat_archiver";

const WAITING: &str = "select pg_catalog.count(*), \
    extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.min(modification)) \
    from pg_catalog.pg_ls_archive_statusdir() where name like '%.ready'";

#[derive(Debug, Clone, Default)]
struct Archiver {
    mode: String,
    command: Option<String>,
    library: Option<String>,
    archived: Option<f64>,
    failed: Option<f64>,
    /// Seconds since.
    last_archived: Option<f64>,
    last_failed: Option<f64>,
    last_archived_wal: Option<String>,
    last_failed_wal: Option<String>,
    waiting: Option<f64>,
    /// Seconds that the oldest waits; `None` also when none waits.
    oldest: Option<f64>,
    in_recovery: bool,
}

impl Archiver {
    fn read(settings: &Row, waiting: &Row, in_recovery: bool) -> Self {
        let text = |nth: usize| settings.get(nth).cloned().flatten();
        let at = |nth: usize| settings.get(nth).and_then(number);
        Archiver {
            mode: text(0).unwrap_or_default(),
            command: text(1),
            library: text(2),
            archived: at(3),
            failed: at(4),
            last_archived: at(5),
            last_failed: at(6),
            last_archived_wal: text(7),
            last_failed_wal: text(8),
            waiting: waiting.first().and_then(number),
            oldest: waiting.get(1).and_then(number),
            in_recovery,
        }
    }
}

fn span(seconds: f64) -> Span {
    Span::secs(seconds.max(0.0) as u64)
}

impl WalArchiving {
    fn judge(&self, seen: &Archiver, findings: &mut Findings) {
        let target = &self.target;
        if seen.mode == "off" {
            findings.unknown(
                format!("{target} does not archive: archive_mode is off"),
                "set archive_mode and archive_command, or leave this check out where nothing is archived",
            );
            return;
        }
        if seen.in_recovery && seen.mode != "always" {
            findings.unknown(
                format!("{target} is a standby, and archives only with archive_mode = always"),
                "ask the primary",
            );
            return;
        }
        let unset = |value: &Option<String>| value.as_deref().is_none_or(|text| text.trim().is_empty());
        if unset(&seen.command) && unset(&seen.library) {
            findings.fail(
                format!("{target}: archive_mode is {}, and no archive_command is set", seen.mode),
                "set archive_command (a reload is enough) before pg_wal fills the disk",
            );
        }
        let log =
            "look into the server's log for what the archive command says; never delete files in pg_wal";
        let newer = match (seen.last_archived, seen.last_failed) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(archived), Some(failed)) => failed < archived,
        };
        if newer {
            let file = seen.last_failed_wal.as_deref().unwrap_or("?");
            let last = match seen.last_archived {
                Some(seconds) => format!("the last success was {} ago", span(seconds)),
                None => "nothing was ever archived".to_owned(),
            };
            let ago = span(seen.last_failed.unwrap_or_default());
            findings.fail(format!("{target}: archiving {file} failed {ago} ago; {last}"), log);
        } else if seen.last_archived.is_none() {
            findings.unknown(
                format!("{target} has archived nothing yet, and has not tried"),
                "finish a file of WAL on the primary (select pg_switch_wal()), then measure again",
            );
        }
        match seen.waiting {
            None => findings.unknown(
                format!("{target}: it is not known what waits to be archived"),
                "give the role pg_monitor, then measure again",
            ),
            Some(waiting) => {
                let many = count(waiting as u64, "file waits", "files wait");
                if waiting > self.max_waiting.0 as f64 {
                    findings.fail(format!("{target}: {many} to be archived"), log);
                }
                if let Some(oldest) = seen.oldest.filter(|age| *age > self.max_wait.0.as_secs_f64()) {
                    findings.fail(format!("{target}: the oldest of {many} for {}", span(oldest)), log);
                }
            }
        }
        for (word, total) in [("archived", seen.archived), ("failed attempts", seen.failed)] {
            if let Some(total) = total {
                findings.note(format!("{word} since the counters began: {total}"));
            }
        }
    }
}

#[async_trait]
impl Check for WalArchiving {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = format!(
            "the last attempt succeeded; at most {} waiting, none longer than {}",
            count(self.max_waiting.0, "file", "files"),
            self.max_wait
        );
        let door = Door::new(KIND.name, &self.target, &expected);
        let (session, identity) = match door.open(cx).await {
            Ok(open) => open,
            Err(outcome) => return outcome,
        };
        let mut answers = Vec::new();
        for sql in [SETTINGS, WAITING] {
            match session.query(sql).await {
                Ok(rows) => answers.push(rows.into_iter().next().unwrap_or_default()),
                Err(error) => return door.unanswered(&error).on(&self.target, identity),
            }
        }
        let [settings, waiting] = answers.as_slice() else {
            return Outcome::unknown("the server gave no answer", expected).on(&self.target, identity);
        };
        let seen = Archiver::read(settings, waiting, session.identity().in_recovery);
        let mut findings = Findings::default();
        self.judge(&seen, &mut findings);
        let last = seen.last_archived.map_or_else(String::new, |seconds| format!(" {} ago", span(seconds)));
        let waiting = seen.waiting.unwrap_or_default() as u64;
        let observed = format!(
            "{} was archived{last}, {}",
            seen.last_archived_wal.as_deref().unwrap_or("nothing"),
            count(waiting, "file waits", "files wait")
        );
        findings
            .outcome(observed, &expected)
            .fact("waiting", seen.waiting)
            .fact("oldest_seconds", seen.oldest)
            .fact("archived", seen.archived)
            .fact("failed", seen.failed)
            .on(&self.target, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn judged(seen: Archiver) -> Verdict {
        let check: WalArchiving = serde_json::from_value(serde_json::json!({ "target": "db" })).unwrap();
        let mut findings = Findings::default();
        check.judge(&seen, &mut findings);
        findings.outcome("archived", "wanted").verdict
    }

    fn well() -> Archiver {
        Archiver {
            mode: "on".to_owned(),
            command: Some("cp %p /x/%f".to_owned()),
            last_archived: Some(5.0),
            waiting: Some(0.0),
            ..Archiver::default()
        }
    }

    #[test]
    fn what_is_off_or_untried_is_unknown() {
        assert_eq!(judged(well()), Verdict::Pass);
        assert_eq!(judged(Archiver { mode: "off".to_owned(), ..well() }), Verdict::Unknown);
        assert_eq!(judged(Archiver { last_archived: None, ..well() }), Verdict::Unknown);
        assert_eq!(judged(Archiver { in_recovery: true, ..well() }), Verdict::Unknown);
        assert_eq!(judged(Archiver { waiting: None, ..well() }), Verdict::Unknown);
    }

    #[test]
    fn a_newer_failure_or_a_long_wait_fails() {
        assert_eq!(judged(Archiver { last_failed: Some(4.0), ..well() }), Verdict::Fail);
        assert_eq!(judged(Archiver { last_failed: Some(6.0), ..well() }), Verdict::Pass);
        assert_eq!(judged(Archiver { last_archived: None, last_failed: Some(6.0), ..well() }), Verdict::Fail);
        assert_eq!(judged(Archiver { command: Some(String::new()), ..well() }), Verdict::Fail);
        assert_eq!(judged(Archiver { waiting: Some(65.0), oldest: Some(9.0), ..well() }), Verdict::Fail);
        assert_eq!(judged(Archiver { waiting: Some(1.0), oldest: Some(601.0), ..well() }), Verdict::Fail);
    }
}
