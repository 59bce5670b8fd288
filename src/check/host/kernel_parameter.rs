//! Has a parameter of the kernel the right value, and will it have it after a reboot?

mod files;

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::check::findings::Findings;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Has a parameter of the kernel the right value?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelParameter {
    /// Its name, as `sysctl` has it: `vm.overcommit_memory`.
    #[schemars(length(min = 1))]
    name: String,
    /// Exactly this value; of several numbers all of them: `"4096 131072 6291456"`. One of the next three is needed.
    #[serde(default)]
    value: Option<Word>,
    /// At least this number.
    #[serde(default)]
    at_least: Option<Word>,
    /// At most this number.
    #[serde(default)]
    at_most: Option<Word>,
    /// `true`: the files that are applied at boot must say so, too. `false`, the default: only what is in force counts.
    #[serde(default)]
    at_boot: Option<Flag>,
}

/// A number or text, kept as text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Word::Number(number) => number.to_string(),
            Word::Text(text) => normal(text),
        }
    }
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "kernel_parameter",
    summary: "a kernel parameter (sysctl) has the right value, now and after a reboot",
    docs: DOCS,
    timeout: None,
    schema: || schema_for!(KernelParameter),
    build,
};

const DOCS: &str = r#"
Shows that a parameter of the kernel has the right value, and with `at_boot: true` that it will have it after a reboot: what was set by
hand is gone then.

**How it is measured.** The value is read below `/proc/sys`. `at_boot` reads the files as systemd applies them: all `*.conf` of
`/etc/sysctl.d`, `/run/sysctl.d`, `/usr/local/lib/sysctl.d`, `/usr/lib/sysctl.d` and `/lib/sysctl.d` in the order of their names, the
later one wins, and of two files with one name only that in the earlier directory counts. `/etc/sysctl.conf` counts when a link leads
there (as in Debian 12), and where there is no systemd-sysctl.

**Passes** when the value is the one that is wanted, or within `at_least` and `at_most`; with `at_boot` when the files say so, too.
**Fails** when it is another one, or no file sets it.

**Unknown** when the kernel has no such parameter (its module may not be loaded), it may not be read, it is no number where one is
compared, or a file cannot be read.

**Traps.** Programs set parameters, too, after the files were applied: Docker sets `net.ipv4.ip_forward`, tuned its profile's. A file that
sets `net.ipv4.conf.all.x` changes nothing for a device that came later. In a container `net.*` are its own.

```yaml
preconditions:
  - kernel_parameter: { name: vm.overcommit_memory, value: 2, at_boot: true }
  - kernel_parameter: { id: hugepages, name: vm.nr_hugepages, at_least: 4400 }
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: KernelParameter = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.value.is_none() && check.at_least.is_none() && check.at_most.is_none() {
        return Err("say what is wanted: `value`, `at_least` or `at_most`".to_owned());
    }
    if check.value.is_some() && (check.at_least.is_some() || check.at_most.is_some()) {
        return Err("`value` stands alone, without `at_least` and `at_most`".to_owned());
    }
    if check.value.as_ref().is_some_and(|value| value.text().is_empty()) {
        return Err("`value` is empty".to_owned());
    }
    for (key, word) in [("at_least", &check.at_least), ("at_most", &check.at_most)] {
        let text = word.as_ref().map(Word::text).filter(|text| !text.contains("${"));
        if text.is_some_and(|text| text.parse::<i128>().is_err()) {
            return Err(format!("`{key}` is no whole number"));
        }
    }
    let parts = |name: &str| name.split(['.', '/']).all(|part| !part.is_empty());
    if !check.name.contains("${")
        && (!parts(&check.name) || check.name.chars().any(|c| c.is_whitespace() || c == '*'))
    {
        return Err(format!("`{}` is no name of a parameter; write it as in vm.swappiness", check.name));
    }
    Ok(Box::new(check))
}

/// One space between several numbers, as nobody can see a tab.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as a path below /proc/sys. The first separator decides: in `net.ipv4.conf.eth0/1.x` the slash stands for a dot.
fn path_of(name: &str) -> String {
    match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some(".") => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

impl KernelParameter {
    fn expected(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.value.as_ref().map(Word::text));
        parts.extend(self.at_least.as_ref().map(|least| format!("at least {}", least.text())));
        parts.extend(self.at_most.as_ref().map(|most| format!("at most {}", most.text())));
        let boot = if self.boots() { ", also after a reboot" } else { "" };
        format!("{} {}{boot}", self.name, parts.join(", "))
    }

    fn boots(&self) -> bool {
        self.at_boot.is_some_and(|flag| flag.0)
    }

    /// Whether a value is what is wanted.
    fn holds(&self, seen: &str) -> Result<bool, String> {
        if let Some(value) = &self.value {
            return Ok(value.text() == seen);
        }
        let number = |text: &str| {
            text.parse::<i128>().map_err(|_| format!("{} is `{text}`, which is no number", self.name))
        };
        let seen = number(seen)?;
        let bound = |word: &Option<Word>| word.as_ref().map(|word| number(&word.text())).transpose();
        Ok(bound(&self.at_least)?.is_none_or(|least| seen >= least)
            && bound(&self.at_most)?.is_none_or(|most| seen <= most))
    }

    async fn now(&self, path: &str, cx: &Context) -> Result<String, (String, &'static str)> {
        let file = PathBuf::from(format!("/proc/sys/{path}"));
        match cx.world.files.stat(&file).await {
            Ok(None) => Err((
                format!("the kernel has no parameter {}", self.name),
                "correct its name (`sysctl --all`), or load the module that it belongs to",
            )),
            Ok(Some(_)) => match cx.world.files.read(&file, 1 << 20).await {
                Ok(bytes) => Ok(normal(&String::from_utf8_lossy(&bytes))),
                Err(why) => Err((why, "look as root; some can only be written")),
            },
            Err(why) => Err((why, "read it as root")),
        }
    }
}

#[async_trait]
impl Check for KernelParameter {
    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = self.expected();
        let path = path_of(&self.name);
        let seen = match self.now(&path, cx).await {
            Ok(seen) => seen,
            Err((why, help)) => return Outcome::unknown(why, expected).help(help),
        };
        let mut findings = Findings::default();
        let observed = format!("{} is {seen}", self.name);
        match self.holds(&seen) {
            Ok(true) => {}
            Ok(false) => findings.fail(
                observed.clone(),
                "write it into a file of /etc/sysctl.d, and apply it (`sysctl --system`)",
            ),
            Err(why) => findings.unknown(why, "compare it as a whole with `value`"),
        }
        if self.boots() {
            match files::setting(&path, cx).await {
                Err(why) => findings.unknown(why, "look as root"),
                Ok(boot) => {
                    boot.notes.into_iter().for_each(|note| findings.note(note));
                    match boot.last {
                        None => findings.fail(
                            format!(
                                "no file sets {}: after a reboot it has the kernel's own value",
                                self.name
                            ),
                            "write it into a file of /etc/sysctl.d",
                        ),
                        Some((value, place)) => match self.holds(&value) {
                            Ok(true) => findings.note(format!("{place} sets it to {value}")),
                            Ok(false) => findings.fail(
                                format!("after a reboot it is {value}: {place} sets it so"),
                                "correct the file, or write it into one whose name sorts later",
                            ),
                            Err(why) => findings.unknown(why, "correct the file"),
                        },
                    }
                }
            }
        }
        findings.outcome(observed, expected).fact("value", seen)
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
        assert!(refused(json!({ "name": "vm.x" })).contains("what is wanted"));
        assert!(refused(json!({ "name": "vm.x", "value": 1, "at_most": 2 })).contains("alone"));
        assert!(refused(json!({ "name": "vm.x", "at_least": "many" })).contains("whole number"));
        assert!(refused(json!({ "name": "vm..x", "value": 1 })).contains("no name"));
        assert!(refused(json!({ "name": "../../etc/passwd", "value": 1 })).contains("no name"));
        assert_eq!(refused(json!({ "name": "net.ipv4.conf.eth0/1.rp_filter", "value": "1" })), "");
    }

    #[test]
    fn names_and_values() {
        assert_eq!(path_of("net.ipv4.conf.eth0/1.rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(path_of("net/ipv4/conf/eth0.1/rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        let check = |params: Value| serde_json::from_value::<KernelParameter>(params).unwrap();
        let sem = check(json!({ "name": "kernel.sem", "value": "250\t 32000 32 128" }));
        assert_eq!(sem.holds("250 32000 32 128"), Ok(true));
        let least = check(json!({ "name": "x.y", "at_least": "-1", "at_most": 9 }));
        assert_eq!(
            (least.holds("9"), least.holds("10"), least.holds("-2")),
            (Ok(true), Ok(false), Ok(false))
        );
        assert!(least.holds("1 2").is_err());
    }
}
