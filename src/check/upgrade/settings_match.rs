//! Is the new server configured as the old one was? A new cluster begins with the values of `initdb`, and a dump carries no
//! configuration.

mod ask;
mod hba;
mod judge;
mod value;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Findings, Words};
use crate::base::text;
use crate::check::door::{Door, silent};
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::pg::Session;

/// Is the new server configured as the old one was?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsMatch {
    /// The target that has the settings.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// The target that must have them too.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// `true`: the rules of `pg_hba.conf` are compared, too, in their order. `false` when not given.
    #[serde(default)]
    hba: Option<Flag>,
    /// Settings that may differ, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// A setting that may differ.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// The setting, as in `shared_buffers`; or a rule of `pg_hba.conf`, as this check shows it.
    #[schemars(length(min = 1))]
    name: String,
    /// Why it may differ. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "settings_match",
    summary: "the new server has the settings of the old one, and its pg_hba.conf when asked",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(SettingsMatch),
    build,
};

const DOCS: &str = r"
Shows that the configuration was not lost: what was set on the old server is in effect on the new one, and nothing else is.

**How it is measured.** `pg_settings` of both servers: the values in effect, in one unit, and whether somebody set them or they are
defaults. With `hba: true` also `pg_hba_file_rules`, rule by rule and in order.

**Passes** when every setting that somebody set, on either side, is the same on both. **Fails** when one was lost, has another value, or
was set on the target alone: `autovacuum = off` and `fsync = off` are often left over from a fast load. With `hba`, when a rule is
missing, is new, stands in another place, or cannot be read. **Unknown** when a side cannot be asked or does not show all of its
settings (`pg_read_all_settings`), when our own role or database has a value of its own that hides the server's, or, with `hba`, when the
rules may not be seen (by default only superusers may), or the source has none.

Told, and no failure: defaults that differ between the versions; settings that somebody set and that the target's version no longer
has; those of the target that the source's version does not have; and what rightly differs: places of files, port,
`unix_socket_directories`, `cluster_name`, `log_directory`, the connection of a standby to its primary, and that the source is
read-only by default, as on hold.

**Traps.** What waits for a restart is not in effect yet: `restart_pending`. Settings of roles and databases are compared by `roles_match`.
Compared are the values, not what is right for a larger machine: declare those with their reason. A setting that was set to what is
the default now counts as equal. A setting of an extension exists only where its library is loaded. Commands, connection
strings and settings of extensions are compared and not shown, since they may hold secrets. `pg_hba_file_rules` shows the file,
which may not be loaded yet; `pg_ident.conf` and the files of certificates are not compared.

```yaml
postconditions:
  - settings_match:
      source: old
      target: new
      hba: true
      except:
        - { name: shared_buffers, reason: the new machine has twice the memory }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: SettingsMatch = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.source == it.target {
        return Err("`source` and `target` are the same target".to_owned());
    }
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.name));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for SettingsMatch {
    fn targets(&self) -> Vec<String> {
        vec![self.source.clone(), self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match self.hba() {
            true => format!("the settings and the rules of pg_hba.conf of {}", self.source),
            false => format!("the settings of {}", self.source),
        };
        let (from, to) =
            (Door::new(KIND.name, &self.source, &expected), Door::new(KIND.name, &self.target, &expected));
        let ((source, was), (target, is)) = match futures::future::join(from.open(cx), to.open(cx)).await {
            (Ok(source), Ok(target)) => (source, target),
            (Err(outcome), _) | (_, Err(outcome)) => return outcome,
        };
        let outcome = match was.same_object(&is) {
            true => Outcome::fail(format!("`{}` and `{}` are one", self.source, self.target), &expected)
                .help("correct the addresses of the targets: what is compared with itself proves nothing"),
            false => match self.compare(&source, &target, cx).await {
                Ok((findings, same, excepted)) => findings.conclude(Words {
                    expected: &expected,
                    passed: passed(same, excepted, self.hba()),
                    nothing: "there was nothing to compare",
                    help: "set it as it was (a new value of some needs a restart), or declare in `except` why it may differ",
                }),
                Err(outcome) => Outcome { expected: expected.clone(), ..outcome },
            },
        };
        outcome.on(&self.source, was).on(&self.target, is)
    }
}

fn passed(same: u64, excepted: usize, hba: bool) -> String {
    let settings = match same {
        0 => "nobody set anything that differs".to_owned(),
        1 => "1 setting that somebody set is the same".to_owned(),
        n => format!("{} settings that somebody set are the same", text::thousands(n)),
    };
    let rules = if hba { ", and so are the rules of pg_hba.conf" } else { "" };
    let but = if excepted > 0 { format!(" ({excepted} excepted)") } else { String::new() };
    format!("{settings}{rules}{but}")
}

impl SettingsMatch {
    fn hba(&self) -> bool {
        self.hba.is_some_and(|flag| flag.0)
    }

    fn excepted(&self, name: &str) -> Option<&str> {
        self.except.iter().find(|e| e.name.eq_ignore_ascii_case(name)).map(|e| e.reason.as_str())
    }

    /// What was found, how many settings that somebody set are the same, and how many differences were declared.
    async fn compare(
        &self,
        source: &Session,
        target: &Session,
        cx: &Context,
    ) -> Result<(Findings, u64, usize), Outcome> {
        let read = |session, name| ask::settings(session, name, cx);
        let both = futures::future::join(read(source, &self.source), read(target, &self.target));
        let (was, is) = match both.await {
            (Ok(was), Ok(is)) => (was, is),
            (Err(outcome), _) | (_, Err(outcome)) => return Err(outcome),
        };
        let mut findings = Findings::default();
        let majors = (source.identity().version / 10_000, target.identity().version / 10_000);
        let same = judge::compare(&was, &is, majors, |name| self.excepted(name), &mut findings);
        if self.hba() {
            match futures::future::join(hba::rules(source), hba::rules(target)).await {
                (Ok(was), Ok(is)) => hba::compare(&was, &is, |rule| self.excepted(rule), &mut findings),
                (Err(error), _) | (_, Err(error)) => findings.unasked.push(format!(
                    "the rules of pg_hba.conf cannot be seen: {} ({})",
                    error.message,
                    match error.sqlstate.as_deref() {
                        Some("42501") => "let a superuser measure",
                        _ => silent(&error),
                    }
                )),
            }
        }
        let excepted = findings.notes.iter().filter(|note| note.starts_with("excepted (")).count();
        for except in &self.except {
            let (reason, name) = (judge::excused(&except.reason), except.name.to_lowercase());
            let used = |note: &String| {
                note.strip_prefix(&reason).is_some_and(|found| found.to_lowercase().contains(&name))
            };
            if !findings.notes.iter().any(used) {
                findings.notes.push(format!("`except` names {}, and nothing like it differs", except.name));
            }
        }
        Ok((findings, same, excepted))
    }
}
