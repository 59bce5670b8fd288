//! Has the target every extension that the source uses, in a version that is not older, with the libraries behind it?

mod libraries;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Cluster, Findings, Words, cell};
use crate::base::{Span, text};
use crate::check::data::compare::older;
use crate::check::door::Door;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Has the target every extension that the source uses?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionsAvailable {
    /// The target whose extensions are needed.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// The target that must have them.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// `false` (the default): they can be installed there; for before the copy. `true`: they are installed in the databases
    /// of the same name; for afterwards.
    #[serde(default)]
    installed: Option<Flag>,
    /// `true` (the default): the libraries that the source's functions need are there as files.
    #[serde(default)]
    libraries: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "extensions_available",
    summary: "the target has every extension that the source uses, not older, and its libraries",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(ExtensionsAvailable),
    build,
};

const DOCS: &str = r"
Shows that the target has every extension that the source uses, in a version that is not older, and the libraries that the
source's functions are in.

**How it is measured.** In every database of the source: the installed extensions, and the library files that functions in C
name. On the target: `pg_available_extension_versions`, or with `installed: true` what is installed in the database of the same
name; and whether the files are there, in the server's library directory and its `dynamic_library_path`.

**Passes** when every extension is there, the target can give at least the source's version, and every library is there.
**Fails** otherwise; all that is missing is named. **Unknown** when a side does not answer, a database cannot be entered, or the
library files may not be looked at (the role needs `pg_read_server_files`, or to be a superuser).

Told, and no failure: extensions for which the target has a newer version than is installed (`ALTER EXTENSION … UPDATE`), and
libraries that only the source loads at its start (`shared_preload_libraries`).

**Traps.** Contrib modules are a package of their own on many systems (`postgresql-contrib`). An extension can be in the list of
available ones while its library is not there: the list only shows control files. After `pg_upgrade` extensions keep their old
version, and `update_extensions.sql` waits to be run. A library that other code loads by name (`LOAD`, output plugins) leaves no
trace in the catalogue.

```yaml
preconditions:
  - extensions_available: { source: old, target: new }
postconditions:
  - extensions_available: { id: extensions-installed, source: old, target: new, installed: true }
```
";

const INSTALLED: &str = "select extname, extversion from pg_extension order by 1";

/// Name and every version that the server can install.
const AVAILABLE: &str = "select name, version from pg_available_extension_versions order by 1, 2";

const PRELOADED: &str = "select current_setting('shared_preload_libraries')";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: ExtensionsAvailable = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if it.source == it.target {
        return Err("`source` and `target` are the same target".to_owned());
    }
    Ok(Box::new(it))
}

/// Extensions and their versions.
type Versions = BTreeMap<String, String>;

#[async_trait]
impl Check for ExtensionsAvailable {
    fn targets(&self) -> Vec<String> {
        vec![self.source.clone(), self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = match self.installed() {
            true => format!("every extension of {} installed in {}", self.source, self.target),
            false => format!("every extension of {} available in {}", self.source, self.target),
        };
        let both = futures::future::join(
            Cluster::open(Door::new(KIND.name, &self.source, &expected), &self.databases, cx),
            Cluster::open(Door::new(KIND.name, &self.target, &expected), &[], cx),
        );
        let (source, target) = match both.await {
            (Ok(source), Ok(target)) => (source, target),
            (Err(outcome), _) | (_, Err(outcome)) => return outcome,
        };
        let mut findings = Findings { unasked: source.closed.clone(), ..Findings::default() };
        let used = self.compare(&source, &target, cx, &mut findings).await;
        findings
            .conclude(Words {
                expected: &expected,
                passed: used,
                nothing: "the source has no extension, not even plpgsql",
                help: "install the packages of these extensions for the target's version, then measure again",
            })
            .on(&self.source, source.identity)
            .on(&self.target, target.identity)
    }
}

impl ExtensionsAvailable {
    fn installed(&self) -> bool {
        self.installed.is_some_and(|flag| flag.0)
    }

    /// Looks at all databases; what to say when all is well.
    async fn compare(
        &self,
        source: &Cluster<'_>,
        target: &Cluster<'_>,
        cx: &Context,
        findings: &mut Findings,
    ) -> String {
        let available = match target.main.query(AVAILABLE).await {
            Ok(rows) => rows.iter().fold(BTreeMap::<String, Vec<String>>::new(), |mut all, row| {
                all.entry(cell(row, 0).to_owned()).or_default().push(cell(row, 1).to_owned());
                all
            }),
            Err(error) => {
                findings.unasked.push(format!("{}: {}", self.target, error.message));
                return String::new();
            }
        };
        let (mut names, mut needed) = (BTreeSet::new(), BTreeSet::new());
        for database in &source.databases {
            let (extensions, libraries) = match uses(source, database, cx).await {
                Ok(uses) => uses,
                Err(why) => {
                    findings.unasked.push(why);
                    continue;
                }
            };
            needed.extend(libraries);
            let there = match self.installed() {
                false => None,
                true => match self.has(target, database, cx).await {
                    Ok(there) => Some(there),
                    Err(Lack::Failed(why)) => {
                        findings.failed.push(why);
                        continue;
                    }
                    Err(Lack::Unknown(why)) => {
                        findings.unasked.push(why);
                        continue;
                    }
                },
            };
            for (name, version) in extensions {
                findings.looked += 1;
                judge(database, (&name, &version), there.as_ref(), available.get(&name), findings);
                names.insert(name);
            }
        }
        if self.libraries.is_none_or(|flag| flag.0) {
            match libraries::missing(target, &needed).await {
                Ok(missing) => findings.failed.extend(
                    missing.into_iter().map(|library| format!("library {library} is not there as a file")),
                ),
                Err(why) => findings.unasked.push(format!("{}: {why}", self.target)),
            }
        }
        preloaded(source, target, findings).await;
        findings.failed.sort();
        findings.failed.dedup();
        format!(
            "{} and {}, all there",
            text::count(names.len() as u64, "extension", "extensions"),
            text::count(needed.len() as u64, "library", "libraries")
        )
    }

    async fn has(&self, target: &Cluster<'_>, database: &str, cx: &Context) -> Result<Versions, Lack> {
        if !target.databases.iter().any(|name| name == database) {
            let closed = target.closed.iter().find(|why| why.starts_with(&format!("database {database} ")));
            return Err(match closed {
                Some(why) => Lack::Unknown(why.clone()),
                None => Lack::Failed(format!("database {database} is not in {}", self.target)),
            });
        }
        let (extensions, _) = uses(target, database, cx).await.map_err(Lack::Unknown)?;
        Ok(extensions)
    }
}

enum Lack {
    Failed(String),
    Unknown(String),
}

/// The extensions of a database, and the libraries that its functions are in.
async fn uses(
    cluster: &Cluster<'_>,
    database: &str,
    cx: &Context,
) -> Result<(Versions, BTreeSet<String>), String> {
    let at = |error: crate::world::pg::QueryError| format!("database {database}: {}", error.message);
    let session = cluster.enter(database, cx).await?;
    let pair = |row: &Vec<Option<String>>| (cell(row, 0).to_owned(), cell(row, 1).to_owned());
    let extensions = session.query(INSTALLED).await.map_err(at)?.iter().map(pair).collect();
    let libraries = session.query(libraries::NEEDED).await.map_err(at)?;
    Ok((extensions, libraries.iter().map(|row| cell(row, 0).to_owned()).collect()))
}

fn judge(
    database: &str,
    (name, version): (&str, &str),
    installed: Option<&Versions>,
    available: Option<&Vec<String>>,
    findings: &mut Findings,
) {
    let newest = available.and_then(|all| all.iter().max_by(|a, b| order(a, b)));
    let enough = |there: &str| there == version || !older(there, version);
    match (installed, newest) {
        (Some(installed), newest) => match installed.get(name) {
            None => findings.failed.push(format!("extension {name} is not installed in database {database}")),
            Some(there) if !enough(there) => findings.failed.push(format!(
                "extension {name} has version {there} in database {database}, and {version} in the source"
            )),
            Some(there) => {
                if let Some(newest) = newest.filter(|newest| older(there, newest)) {
                    findings.notes.push(format!(
                        "extension {name} of database {database} has version {there}; {newest} is there: ALTER EXTENSION UPDATE"
                    ));
                }
                if newest.is_none() {
                    findings.failed.push(format!(
                        "extension {name} is installed in database {database}, and its files are not there any more"
                    ));
                }
            }
        },
        (None, None) => {
            findings.failed.push(format!("extension {name} (database {database}) is not available"))
        }
        (None, Some(newest)) => {
            let exact = available.is_some_and(|all| all.iter().any(|there| there == version));
            if !exact && !enough(newest) {
                findings.failed.push(format!(
                    "extension {name} is available in version {newest}, and the source has {version}"
                ));
            }
        }
    }
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    match (older(a, b), older(b, a)) {
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    }
}

/// Libraries that only the source loads when it starts.
async fn preloaded(source: &Cluster<'_>, target: &Cluster<'_>, findings: &mut Findings) {
    let (Ok(Some(was)), Ok(Some(is))) =
        (source.main.value(PRELOADED).await, target.main.value(PRELOADED).await)
    else {
        findings.notes.push("shared_preload_libraries could not be seen on both sides".to_owned());
        return;
    };
    let names = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let only: Vec<String> = names(&was).difference(&names(&is)).cloned().collect();
    if !only.is_empty() {
        findings.notes.push(format!(
            "only the source loads at its start: {} (shared_preload_libraries)",
            only.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_newer_and_must_not_be_older() {
        let available = vec!["1.4".to_owned(), "1.10".to_owned(), "1.9".to_owned()];
        let fails = |version: &str, all: Option<&Vec<String>>| {
            let mut findings = Findings::default();
            judge("app", ("x", version), None, all, &mut findings);
            findings.failed.len()
        };
        assert_eq!(fails("1.9", Some(&available)), 0);
        assert_eq!(fails("1.10", Some(&available)), 0);
        assert_eq!(fails("1.11", Some(&available)), 1);
        assert_eq!(fails("1.0", None), 1);
        let mut findings = Findings::default();
        let installed = Versions::from([("x".to_owned(), "1.4".to_owned())]);
        judge("app", ("x", "1.4"), Some(&installed), Some(&available), &mut findings);
        assert!(findings.failed.is_empty() && findings.notes[0].contains("1.10 is there"), "{findings:?}");
        judge("app", ("x", "1.5"), Some(&installed), Some(&available), &mut findings);
        assert_eq!(findings.failed, ["extension x has version 1.4 in database app, and 1.5 in the source"]);
    }
}
