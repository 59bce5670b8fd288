//! Can every machine that is to hold the same data hold it? A replica on a smaller disk is full first, and a restore
//! target that is too small is found out on the day of the restore.

mod df;
mod place;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::{Size, Span};
use crate::check::params::{Flag, Ratio};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use place::{Place, Room};

/// Free space over what the source uses.
const MARGIN: f64 = 1.1;
/// Two disks of one size differ by what two versions of mkfs take for themselves.
const ALIKE: f64 = 0.99;
/// The longest that one probe may take.
pub(super) const PROBING: Span = Span::secs(30);

/// Can every machine that is to hold the same data hold it?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapacityParity {
    /// The server whose data the others have to hold.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// When the source is on another machine: a command that prints what
    /// `df -B1 --output=size,used,avail DIRECTORY` prints there.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "format": "argv" }))]
    source_probe: Option<Vec<String>>,
    /// Every replica and every place of a restore.
    #[schemars(length(min = 1))]
    copies: Vec<Copy>,
    /// Room over what the source uses; 1.1 when not given.
    #[serde(default)]
    times: Option<Ratio>,
}

/// One place that has to hold the same data: exactly one of `target`, `path`, `probe`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// What it is called; made from the rest when not given.
    #[serde(default)]
    name: Option<String>,
    /// A server whose files are on this machine.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// A directory on this machine, mounted from elsewhere or not.
    #[serde(default)]
    path: Option<String>,
    /// A command that prints what `df -B1 --output=size,used,avail DIRECTORY` prints on the other machine:
    /// `[ssh, standby1, df, -B1, "--output=size,used,avail", /var/lib/postgresql]`.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "string", "format": "argv" }))]
    probe: Option<Vec<String>>,
    /// True when it holds the data already, as a replica does: then what is used there counts as room. When not given,
    /// true for a `target`, false for others.
    #[serde(default)]
    holds_copy: Option<Flag>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "capacity_parity",
    summary: "every replica and restore target can hold what the source holds",
    docs: DOCS,
    timeout: Some(Span::secs(90)),
    schema: || schema_for!(CapacityParity),
    build,
};

const DOCS: &str = r#"
Shows that every replica and every restore target has the disk for what the source holds.

**How it is measured.** The file systems of the source's data directory, write-ahead log and tablespaces, each counted once:
their size (`f_blocks`), what is used, what an ordinary user still gets (`f_bavail`). The same of each copy. No SQL tells the size
of a file system: a server on another machine is measured by a `probe`, a command whose output is read strictly (a header with
`1B-blocks Used Avail`, and one line of whole bytes).

**Passes** when each copy's file systems are as large as the source's (1 % is
allowed for), and have 1.1 times free of what the source uses;
where a copy holds the data already (`holds_copy`), what it uses counts as free. **Fails** when one is smaller or has less.
**Unknown** when one cannot be measured: on another machine without a probe, a probe that fails or prints something else, a
server that does not answer.

**Traps.** The same number of disks is not the same room: RAID-10 and RAID-5, root's reserve, another block size of the same
disk. A copy on the source's own file system is said so; it shares every fault with it. Over ssh use a key for nothing but this
command.

```yaml
preconditions:
  - capacity_parity:
      source: old
      copies:
        - { path: /srv/restore }
        - name: standby1
          probe: [ssh, -oBatchMode=yes, standby1, df, -B1, "--output=size,used,avail", /var/lib/postgresql]
          holds_copy: true
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: CapacityParity = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.copies.is_empty() {
        return Err("`copies` is empty: there is nothing to compare with".to_owned());
    }
    let empty = |argv: &Vec<String>| argv.first().is_none_or(String::is_empty);
    if check.source_probe.as_ref().is_some_and(empty) {
        return Err("`source_probe` is empty: there is nothing to run".to_owned());
    }
    for copy in &check.copies {
        let given = [copy.target.is_some(), copy.path.is_some(), copy.probe.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err("each of `copies` has exactly one of `target`, `path` and `probe`".to_owned());
        }
        if copy.target.as_ref() == Some(&check.source) {
            return Err(format!("`{}` is compared with itself", check.source));
        }
        if copy.probe.as_ref().is_some_and(empty) {
            return Err("`probe` is empty: there is nothing to run".to_owned());
        }
    }
    if check.times.is_some_and(|times| times.0 < 1.0) {
        return Err("`times` is less than 1: the data would not fit".to_owned());
    }
    Ok(Box::new(check))
}

impl Copy {
    fn place(&self) -> Place<'_> {
        match (&self.target, &self.path, &self.probe) {
            (Some(target), _, _) => Place::Target(target),
            (_, Some(path), _) => Place::Path(path),
            (_, _, Some(argv)) => Place::Probe(argv),
            _ => Place::Path(""),
        }
    }

    fn holds(&self) -> bool {
        self.holds_copy.map_or(self.target.is_some(), |flag| flag.0)
    }

    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| match self.place() {
            Place::Target(name) | Place::Path(name) => name.to_owned(),
            Place::Probe(argv) => argv.join(" "),
        })
    }
}

#[async_trait]
impl Check for CapacityParity {
    fn targets(&self) -> Vec<String> {
        let copies = self.copies.iter().filter_map(|copy| copy.target.clone());
        std::iter::once(self.source.clone()).chain(copies).collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let source = match &self.source_probe {
            Some(argv) => Place::Probe(argv),
            None => Place::Target(&self.source),
        };
        let (source, copies) = futures::join!(
            place::measure(source, cx),
            futures::future::join_all(self.copies.iter().map(|copy| place::measure(copy.place(), cx)))
        );
        let wanted = self.wanted();
        let mut outcome = match source {
            Err(why) => {
                let observed = format!("the source {} could not be measured: {why}", self.source);
                return Outcome::unknown(observed, wanted).help(HOW);
            }
            Ok(source) => self.judge(&source, &copies, wanted).seen(&source),
        };
        for copy in copies.iter().flatten() {
            outcome = outcome.seen(copy);
        }
        outcome
    }
}

/// What to do about a place that cannot be measured.
const HOW: &str = "give a `probe` for a server on another machine (df over ssh), then measure again";

trait Identified {
    fn seen(self, room: &Room) -> Self;
}

impl Identified for Outcome {
    fn seen(self, room: &Room) -> Self {
        match &room.identity {
            Some((target, identity)) => self.on(target, identity.clone()),
            None => self,
        }
    }
}

impl CapacityParity {
    fn times(&self) -> f64 {
        self.times.map_or(MARGIN, |times| times.0)
    }

    fn wanted(&self) -> String {
        format!(
            "file systems as large as those of {}, with {} times free of what it uses",
            self.source,
            self.times()
        )
    }

    fn judge(&self, source: &Room, copies: &[Result<Room, String>], wanted: String) -> Outcome {
        let need = (source.used as f64 * self.times()).ceil() as u64;
        let (mut short, mut unknown, mut lines, mut facts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        lines.push(format!("{}: {} used of {}", self.source, Size(source.used), Size(source.total)));
        for (copy, room) in self.copies.iter().zip(copies) {
            let name = copy.name();
            let room = match room {
                Ok(room) => room,
                Err(why) => {
                    lines.push(format!("{name}: not measured: {why}"));
                    unknown.push(format!("{name} could not be measured: {why}"));
                    continue;
                }
            };
            let holds = copy.holds();
            let usable = room.available + if holds { room.used } else { 0 };
            let counted = if holds { " free or used by it already" } else { " free" };
            let same = room.devices.iter().any(|device| source.devices.contains(device));
            let beside = if same { "; on a file system of the source itself" } else { "" };
            lines.push(format!("{name}: {}{counted} of {}{beside}", Size(usable), Size(room.total)));
            if (room.total as f64) < source.total as f64 * ALIKE {
                short.push(format!(
                    "{name} is smaller: {} instead of {}",
                    Size(room.total),
                    Size(source.total)
                ));
            } else if usable < need {
                short.push(format!("{name} has {}{counted}, and {} are needed", Size(usable), Size(need)));
            }
            facts.push(json!({
                "name": name, "bytes_total": room.total, "bytes_usable": usable, "holds_copy": holds,
                "same_file_system": same,
            }));
        }
        let more = |all: &[String]| match all.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let outcome = match (short.first(), unknown.first()) {
            (Some(first), _) => Outcome::fail(format!("{first}{}", more(&short)), wanted)
                .help("give it more disk, or do not count on it as a copy"),
            (None, Some(first)) => Outcome::unknown(format!("{first}{}", more(&unknown)), wanted).help(HOW),
            (None, None) => {
                let n = crate::base::text::count(copies.len() as u64, "copy has", "copies have");
                Outcome::pass(format!("{n} room for {} in {}", Size(source.used), Size(source.total)), wanted)
            }
        };
        let outcome = lines.into_iter().fold(outcome, Outcome::detail);
        outcome
            .fact("bytes_used", source.used)
            .fact("bytes_total", source.total)
            .fact("bytes_needed", need)
            .fact("copies", facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    const G: u64 = 1 << 30;

    fn parity(copies: Value) -> CapacityParity {
        serde_json::from_value(json!({ "source": "old", "copies": copies })).unwrap()
    }

    fn room(total: u64, used: u64, available: u64, device: u64) -> Room {
        Room { total, used, available, devices: vec![device], identity: None }
    }

    #[test]
    fn a_smaller_disk_fails_whatever_is_free_on_it() {
        let check = parity(json!([{ "path": "/a" }]));
        let source = room(100 * G, 40 * G, 55 * G, 1);
        let judge = |copy| check.judge(&source, &[copy], String::new());
        assert_eq!(judge(Ok(room(100 * G, 0, 44 * G, 2))).verdict, Verdict::Pass);
        assert_eq!(judge(Ok(room(199 * G / 2, 0, 44 * G, 2))).verdict, Verdict::Pass, "as mkfs has it");
        assert_eq!(judge(Ok(room(100 * G, 0, 43 * G, 2))).verdict, Verdict::Fail);
        let smaller = judge(Ok(room(98 * G, 0, 98 * G, 2)));
        assert!(smaller.verdict == Verdict::Fail && smaller.observed.contains("smaller"), "{smaller:?}");
        assert_eq!(judge(Err("gone".to_owned())).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_copy_that_holds_the_data_needs_no_second_room_for_it() {
        let source = room(100 * G, 60 * G, 35 * G, 1);
        let standby = || Ok(room(100 * G, 60 * G, 35 * G, 2));
        let holds = parity(json!([{ "probe": ["df"], "holds_copy": true }]));
        assert_eq!(holds.judge(&source, &[standby()], String::new()).verdict, Verdict::Pass);
        let empty = parity(json!([{ "probe": ["df"] }]));
        assert_eq!(empty.judge(&source, &[standby()], String::new()).verdict, Verdict::Fail);
    }

    #[test]
    fn one_that_is_short_outweighs_one_that_is_not_known() {
        let check = parity(json!([{ "path": "/a" }, { "path": "/b" }]));
        let source = room(100 * G, 40 * G, 55 * G, 1);
        let both = [Err("gone".to_owned()), Ok(room(G, 0, G, 2))];
        let outcome = check.judge(&source, &both, String::new());
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.details.iter().any(|line| line.contains("not measured")), "{outcome:?}");
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let refused = |params: Value| build(params.as_object().unwrap().clone()).err().unwrap_or_default();
        assert!(refused(json!({ "source": "old", "copies": [] })).contains("nothing to compare"));
        assert!(refused(json!({ "source": "old", "copies": [{}] })).contains("exactly one"));
        assert!(refused(json!({ "source": "old", "copies": [{ "target": "old" }] })).contains("itself"));
        assert!(
            refused(json!({ "source": "old", "copies": [{ "path": "/a" }], "times": 0.9 }))
                .contains("less than 1")
        );
    }
}
