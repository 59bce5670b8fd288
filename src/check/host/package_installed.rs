//! Is a package installed in full, in the right version, or not installed at all?

mod dpkg;
mod rpm;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::findings::Findings;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::process::{Probe, Probed};

/// Is a package installed, in the right version?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageInstalled {
    /// The package's exact name: `postgresql-17`, or with its architecture `libc6:amd64`.
    #[schemars(length(min = 1))]
    package: String,
    /// `true` (the default): it must be installed. `false`: it must not be.
    #[serde(default)]
    installed: Option<Flag>,
    /// Exactly this version, in quotes: `"17.2-1.pgdg120+1"`.
    #[serde(default)]
    exactly: Option<String>,
    /// This version or a later one.
    #[serde(default)]
    at_least: Option<String>,
    /// This version or an earlier one.
    #[serde(default)]
    at_most: Option<String>,
    /// `true`: it must be on hold, so that no upgrade replaces it meanwhile. `false`: it must not be.
    #[serde(default)]
    held: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "package_installed",
    summary: "a package is installed in full, in the right version and held or not, or is not installed",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(PackageInstalled),
    build,
};

const DOCS: &str = r#"
Shows that a package is installed in full, in the version that it should have, or with `installed: false` that it is not.

**How it is measured.** On Debian and its kin `dpkg-query` is asked for the package's state; versions are compared by
`dpkg --compare-versions`. Elsewhere `rpm` is asked, and compares. Nothing is fetched: what a repository offers is not looked at.

**Passes** when its state is "installed" and the version fits. With `installed: false`, when it is not known, or only its
configuration files are left.

**Fails** when it is not installed, unpacked or half-configured only (an installation that was broken off), has another version,
or is held or not held as it should not be. With `installed: false`, when anything but configuration files is there.

**Unknown** when there is neither dpkg nor rpm, their database is empty or does not answer, or a version cannot be compared. Holds are
not known of rpm.

**Traps.** Installed is not running: after an upgrade the old program may still run, see `restart_pending`. "Half-configured" means that
the package's own script failed; the service may still run, as before. A virtual name (`mail-transport-agent`) is no package. A
misspelt name is not installed, either.

```yaml
preconditions:
  - package_installed: { package: postgresql-17, at_least: "17.2", held: true }
  - package_installed: { id: no-11, package: postgresql-11, installed: false }
```
"#;

/// A package as the system's own records show it.
struct Found {
    /// With its architecture, where there may be several.
    name: String,
    /// The state, in the system's words.
    state: String,
    /// It is there in full.
    whole: bool,
    /// Nothing of it is there but configuration files.
    gone: bool,
    version: String,
    /// On hold; `None`: not known.
    held: Option<bool>,
}

/// Who keeps the records of packages here.
#[derive(Clone, Copy)]
enum Keeper {
    Dpkg,
    Rpm,
}

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    if ["exactly", "at_least", "at_most"].iter().any(|key| params.get(*key).is_some_and(Value::is_number)) {
        return Err(
            "a version must stand in quotes, as in \"17.10\": without them YAML reads 17.1".to_owned()
        );
    }
    let check: PackageInstalled = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let plain = |text: &str, more: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(word)
    };
    if !plain(&check.package, "+-.:_") && !check.package.contains("${") {
        return Err(format!("`{}` is no name of a package", check.package));
    }
    let versions = [&check.exactly, &check.at_least, &check.at_most];
    for version in versions.into_iter().flatten() {
        if !plain(version, "+-.:~^_") && !version.contains("${") {
            return Err(format!("`{version}` is no version"));
        }
    }
    if check.exactly.is_some() && (check.at_least.is_some() || check.at_most.is_some()) {
        return Err("`exactly` stands alone, without `at_least` and `at_most`".to_owned());
    }
    if !check.wanted() && (versions.iter().any(|version| version.is_some()) || check.held.is_some()) {
        return Err(
            "`installed: false` stands alone with `package`: what is not there has no version".to_owned()
        );
    }
    Ok(Box::new(check))
}

/// Runs one of the package tools.
async fn run(argv: &[&str], cx: &Context) -> Result<Probed, String> {
    let probe = Probe {
        argv: argv.iter().copied().map(str::to_owned).collect(),
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: Duration::from_secs(30),
        keep: 1 << 20,
    };
    let done = cx.world.processes.probe(&probe).await?;
    match done.timed_out {
        true => Err(format!("`{}` gave no answer in time", argv.first().unwrap_or(&""))),
        false => Ok(done),
    }
}

async fn keeper(cx: &Context) -> Result<Keeper, String> {
    let there = async |path: &str| Ok::<_, String>(cx.world.files.stat(Path::new(path)).await?.is_some());
    // On Debian rpm may be installed as a tool, with a database of its own that is empty.
    if there("/var/lib/dpkg/status").await? {
        return Ok(Keeper::Dpkg);
    }
    for place in ["/usr/lib/sysimage/rpm", "/var/lib/rpm"] {
        if there(place).await? {
            return Ok(Keeper::Rpm);
        }
    }
    Err("neither dpkg nor rpm keeps records of packages here".to_owned())
}

impl Keeper {
    async fn find(self, package: &str, cx: &Context) -> Result<Vec<Found>, String> {
        match self {
            Keeper::Dpkg => dpkg::find(package, cx).await,
            Keeper::Rpm => rpm::find(package, cx).await,
        }
    }

    /// Does `version` stand in this relation (`ge`, `le`, `eq`) to the other?
    async fn compare(self, version: &str, relation: &str, other: &str, cx: &Context) -> Result<bool, String> {
        match self {
            Keeper::Dpkg => dpkg::compare(version, relation, other, cx).await,
            Keeper::Rpm => rpm::compare(version, relation, other, cx).await,
        }
    }
}

impl PackageInstalled {
    fn wanted(&self) -> bool {
        self.installed.is_none_or(|flag| flag.0)
    }

    fn expected(&self) -> String {
        if !self.wanted() {
            return format!("{} not installed", self.package);
        }
        let mut parts = vec![format!("{} installed", self.package)];
        parts.extend(self.exactly.as_ref().map(|version| format!("version {version}")));
        parts.extend(self.at_least.as_ref().map(|version| format!("at least {version}")));
        parts.extend(self.at_most.as_ref().map(|version| format!("at most {version}")));
        parts.extend(
            self.held.map(|flag| if flag.0 { "on hold".to_owned() } else { "not on hold".to_owned() }),
        );
        parts.join(", ")
    }

    async fn compare(&self, found: &Found, keeper: Keeper, findings: &mut Findings, cx: &Context) {
        if !found.whole {
            let help = match found.gone {
                true => "install it, then measure again",
                false => "finish what was broken off (`dpkg --audit`, `dpkg --configure --pending`) first",
            };
            return findings.fail(format!("{} is {}", found.name, found.state), help);
        }
        let wanted = [
            ("eq", "exactly", &self.exactly),
            ("ge", "at least", &self.at_least),
            ("le", "at most", &self.at_most),
        ];
        for (relation, words, version) in wanted {
            let Some(version) = version else { continue };
            match keeper.compare(&found.version, relation, version, cx).await {
                Ok(true) => {}
                Ok(false) => findings.fail(
                    format!("{} is {}, not {words} {version}", found.name, found.version),
                    "install the version that is meant, then measure again",
                ),
                Err(why) => findings.unknown(why, "correct the version in the runbook"),
            }
        }
        match (self.held.map(|flag| flag.0), found.held) {
            (Some(_), None) => {
                findings
                    .unknown("holds are not known here", "leave `held` out, and look at versionlock by hand");
            }
            (Some(true), Some(false)) => findings.fail(
                format!("{} is not on hold", found.name),
                format!("`apt-mark hold {}`, so that no upgrade replaces it meanwhile", self.package),
            ),
            (Some(false), Some(true)) => findings.fail(
                format!("{} is on hold", found.name),
                format!("find out who held it and why, before `apt-mark unhold {}`", self.package),
            ),
            _ => {}
        }
    }

    async fn judge(&self, cx: &Context) -> Result<Outcome, String> {
        let expected = self.expected();
        let keeper = keeper(cx).await?;
        let mut found = keeper.find(&self.package, cx).await?;
        // Of several architectures those count that are there.
        if found.iter().any(|one| !one.gone) {
            found.retain(|one| !one.gone);
        }
        let said: Vec<String> = found
            .iter()
            .map(|one| match one.version.as_str() {
                "" => format!("{} {}", one.name, one.state),
                version => format!("{} {version} {}", one.name, one.state),
            })
            .collect();
        let said =
            if said.is_empty() { format!("{} is not installed", self.package) } else { said.join(", ") };
        if !self.wanted() {
            return Ok(Outcome::judge(found.iter().all(|one| one.gone), said, expected).help(format!(
                "see what needs it (`apt-get --simulate remove {}`) before it goes",
                self.package
            )));
        }
        let mut findings = Findings::default();
        if found.is_empty() {
            findings.fail(said.clone(), "install it, or correct its name (`apt-cache policy NAME`)");
        }
        for one in &found {
            self.compare(one, keeper, &mut findings, cx).await;
        }
        let outcome = findings.outcome(said, expected);
        Ok(found.iter().fold(outcome, |outcome, one| outcome.fact("version", one.version.clone())))
    }
}

#[async_trait]
impl Check for PackageInstalled {
    async fn measure(&self, cx: &Context) -> Outcome {
        self.judge(cx).await.unwrap_or_else(|why| {
            Outcome::unknown(why, self.expected())
                .help("look with `command` where packages are kept in another way")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contradictions_are_found_before_measuring() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "package": "postgresql-*" })).contains("no name"));
        assert!(refused(json!({ "package": "-W" })).contains("no name"));
        assert!(refused(json!({ "package": "a", "at_least": 17.10 })).contains("quotes"));
        assert!(refused(json!({ "package": "a", "at_least": "new one" })).contains("no version"));
        assert!(refused(json!({ "package": "a", "exactly": "1", "at_most": "2" })).contains("alone"));
        assert!(refused(json!({ "package": "a", "installed": false, "held": true })).contains("alone"));
        assert_eq!(refused(json!({ "package": "libstdc++6:amd64", "at_most": "1:12~rc1+b2" })), "");
    }
}
