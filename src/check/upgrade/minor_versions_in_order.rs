//! Is the software new enough to take over? An upgrade from this month's minor release to one of half a year ago can fail
//! half-way, although `pg_upgrade --check` has nothing against it.

mod waves;

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::version;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, Verdict};
use crate::world::process::Probe;
use waves::Order;

/// Is the software new enough to take over?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["target"] }, { "required": ["new_bin"] }]))]
pub struct MinorVersionsInOrder {
    /// The target to upgrade from.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// The target to upgrade to. Either this or `new_bin`.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// The directory of the new version's programs, when its server does not run yet: `/usr/lib/postgresql/18/bin`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    new_bin: Option<String>,
    /// `true` (the default): `pg_dump` must not be older than the source's major version.
    #[serde(default)]
    client_tools: Option<Flag>,
    /// The `pg_dump` that will be used. The one in the path when not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pg_dump: Option<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "minor_versions_in_order",
    summary: "the new server's minor release is not older than the old one's, and pg_dump fits",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(MinorVersionsInOrder),
    build,
};

const DOCS: &str = r"
Shows that the new server's minor release came out with that of the old one, or later, and that `pg_dump` is new enough.

**How it is measured.** Both servers are asked for their version (or the program `postgres` in `new_bin`). All supported majors
get their minor releases on the same day; a table of these days, from 12.0 to 18.4, says which came first. `pg_dump --version`
is run for its version.

**Passes** when the target's release is of the same day or later, its major is not older, and `pg_dump` is of the source's major
or newer. **Fails** otherwise. **Unknown** when a server cannot be asked, `pg_dump` is not found, or the table does not know the
order.

A release that is newer than the table is judged as far as is certain: it is newer than every one in the table, and two of them
are in the order in which their majors' releases are numbered on from the table's last row, since releases come for all majors
together. Betas, and majors outside 12 to 18, are unknown.

**Traps.** Seen for real: 15 with this month's fixes to 16 of half a year before; `pg_upgrade --check` said compatible, and the
upgrade died of a catalogue column that the older program did not know. Fixes for corruption are in minor releases as well:
an older one brings back what the source was rid of. Debian's `pg_dump` in the path is a wrapper that chooses a version by the
cluster. A `pg_dump` newer than the target writes settings that the target may not know.

```yaml
preconditions:
  - minor_versions_in_order: { source: old, target: new }
  - minor_versions_in_order: { id: programs, source: old, new_bin: /usr/lib/postgresql/18/bin, client_tools: false }
```
";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: MinorVersionsInOrder =
        serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    match (&it.target, &it.new_bin) {
        (None, None) => return Err("`target` or `new_bin` must say what to upgrade to".to_owned()),
        (Some(_), Some(_)) => return Err("`target` and `new_bin` cannot both be given".to_owned()),
        (Some(target), None) if *target == it.source => {
            return Err("`source` and `target` are the same target".to_owned());
        }
        _ => {}
    }
    if !it.wants_tools() && it.pg_dump.is_some() {
        return Err(
            "`pg_dump` says which program to look at, and `client_tools: false` not to look".to_owned()
        );
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for MinorVersionsInOrder {
    fn targets(&self) -> Vec<String> {
        std::iter::once(self.source.clone()).chain(self.target.clone()).collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "a release of the same day as the source's, or later";
        let (old, was) = match Door::new(KIND.name, &self.source, expected).open(cx).await {
            Ok((session, identity)) => (session.identity().version, identity),
            Err(outcome) => return outcome,
        };
        let (new, is) = match (&self.target, &self.new_bin) {
            (Some(target), _) => match Door::new(KIND.name, target, expected).open(cx).await {
                Ok((session, identity)) => (session.identity().version, Some((target, identity))),
                Err(outcome) => return outcome,
            },
            (None, bin) => {
                match program(&format!("{}/postgres", bin.as_deref().unwrap_or_default()), cx).await {
                    Ok(number) => (number, None),
                    Err(why) => {
                        return Outcome::unknown(why, expected)
                            .help("install the new version, or correct `new_bin`");
                    }
                }
            }
        };
        let mut outcome = servers(old, new);
        if self.wants_tools() {
            let name = self.pg_dump.as_deref().unwrap_or("pg_dump");
            outcome = tools(outcome, name, program(name, cx).await, (old, new));
        }
        outcome = outcome.fact("source_version", old).fact("target_version", new).on(&self.source, was);
        match is {
            Some((target, identity)) => outcome.on(target, identity),
            None => outcome,
        }
    }
}

impl MinorVersionsInOrder {
    fn wants_tools(&self) -> bool {
        self.client_tools.is_none_or(|flag| flag.0)
    }
}

/// Judges the two servers.
fn servers(old: u32, new: u32) -> Outcome {
    let (from, to) = (version(old), version(new));
    let expected = format!("a release of the same day as {from}, or later");
    if new / 10_000 < old / 10_000 {
        return Outcome::fail(format!("{to} is an older major version than {from}"), expected)
            .help("PostgreSQL cannot go back to an older major version; correct the targets");
    }
    let day = |number: u32| waves::day(number).map(|day| format!(" ({day})")).unwrap_or_default();
    let seen = format!("from {from}{} to {to}{}", day(old), day(new));
    match waves::order(old, new) {
        Order::Fine(how) => how.into_iter().fold(Outcome::pass(seen, expected), Outcome::detail),
        Order::Older(how) => how
            .into_iter()
            .fold(
                Outcome::fail(format!("{seen}: the target's release is the older one"), expected),
                Outcome::detail,
            )
            .help("update the target's packages to its newest minor release, then measure again"),
        Order::Unknown(why) => Outcome::unknown(format!("{seen}: {why}"), expected)
            .help("compare the dates of both releases at postgresql.org/docs/release by hand"),
    }
}

/// Adds what there is to say about `pg_dump`; the worse verdict counts.
fn tools(outcome: Outcome, name: &str, found: Result<u32, String>, (old, new): (u32, u32)) -> Outcome {
    let (wanted, target) = (old / 10_000, new / 10_000);
    let expected = format!("{name} of {wanted} or newer");
    let (verdict, words) = match found {
        Err(why) => (Verdict::Unknown, why),
        Ok(number) if number / 10_000 < wanted => {
            (Verdict::Fail, format!("{name} is {}, older than the source's {wanted}", version(number)))
        }
        Ok(number) => {
            let outcome = outcome.detail(format!("{name} is {}", version(number)));
            return match number / 10_000 > target {
                true => {
                    outcome.detail("it is newer than the target: its dumps may use settings unknown there")
                }
                false => outcome,
            };
        }
    };
    if outcome.verdict == Verdict::Pass || outcome.verdict == Verdict::Unknown && verdict == Verdict::Fail {
        let before = format!("{} ({})", outcome.observed, outcome.verdict.word());
        let mut worse = match verdict {
            Verdict::Fail => Outcome::fail(words, expected),
            _ => Outcome::unknown(words, expected),
        }
        .help(format!("install the client programs of version {target}, or name their pg_dump in `pg_dump`"));
        worse.details = std::iter::once(before).chain(outcome.details).collect();
        return worse;
    }
    outcome.detail(format!("{}: {words}", verdict.word()))
}

/// The version of a program, as in `postgres (PostgreSQL) 16.14 (Debian …)`.
async fn program(name: &str, cx: &Context) -> Result<u32, String> {
    let probe = Probe {
        argv: vec![name.to_owned(), "--version".to_owned()],
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: Duration::from_secs(10),
        keep: 4096,
    };
    let ran = cx.world.processes.probe(&probe).await?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    read(&said).filter(|_| ran.status == Some(0)).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&ran.stderr);
        let line = said.lines().chain(errors.lines()).next().unwrap_or("nothing").to_owned();
        format!("`{name} --version` does not tell a version; it says: {line}")
    })
}

fn read(said: &str) -> Option<u32> {
    let number = said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let (major, minor) = number.split_once('.')?;
    Some(major.parse::<u32>().ok()? * 10_000 + minor.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_write_them() {
        assert_eq!(read("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(150_018));
        assert_eq!(read("postgres (PostgreSQL) 16.14\n"), Some(160_014));
        assert_eq!((read("postgres (PostgreSQL) 19beta1"), read("pg_dump: error")), (None, None));
    }

    #[test]
    fn the_worse_of_both_counts() {
        let good = servers(150_018, 160_014);
        assert_eq!(good.verdict, Verdict::Pass, "{good:?}");
        assert_eq!(tools(good.clone(), "pg_dump", Ok(150_018), (150_018, 160_014)).verdict, Verdict::Pass);
        let old = tools(good.clone(), "pg_dump", Ok(140_022), (150_018, 160_014));
        assert_eq!(
            (old.verdict, old.observed.as_str()),
            (Verdict::Fail, "pg_dump is 14.22, older than the source's 15")
        );
        assert_eq!(
            tools(good, "pg_dump", Err("gone".to_owned()), (150_018, 160_014)).verdict,
            Verdict::Unknown
        );
        let bad = servers(150_020, 160_014);
        assert!(bad.verdict == Verdict::Fail && bad.observed.contains("older one"), "{bad:?}");
        assert_eq!(tools(bad, "pg_dump", Err("gone".to_owned()), (150_020, 160_014)).verdict, Verdict::Fail);
        assert!(servers(180_004, 170_010).observed.contains("older major"));
        assert_eq!(servers(180_004, 190_000).verdict, Verdict::Unknown);
    }
}
