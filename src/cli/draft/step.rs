//! Writes the runbook of a guide: every part becomes a step, with what only its author can know left as `TODO`.
//!
//! A step that runs something gets a postcondition to fill in, one that destroys its `destroys` and its guards. Where a
//! PostgreSQL cluster goes, the proof that fits is written out: a record before, and rows compared before the drop.

use super::danger::{self, Cluster, Thing};
use super::guide::{Guide, Part};
use super::lines::Kind;
use super::{hints, yaml};

/// The runbook.
pub(super) fn runbook(guide: &Guide, stem: &str) -> String {
    let title = guide.title.clone().unwrap_or_else(|| stem.to_owned());
    let mut writer = Writer::new(guide);
    let mut out = String::new();
    out.push_str(HEAD);
    let name = slug(&title, 50).or_else(|| slug(stem, 50)).unwrap_or_else(|| "from-a-guide".to_owned());
    out.push_str(&format!("holdpoint: 1\nname: {name}\ntitle: {}\n", yaml::one_line(&escaped(&title))));
    if !guide.about.is_empty() {
        out.push_str(&format!("\nabout: {}\n", yaml::text(&with_end(&escaped(&guide.about)), 0)));
    }
    out.push_str(&writer.targets());
    out.push_str("\nsteps:\n");
    for section in &guide.sections {
        for (nth, part) in section.parts.iter().enumerate() {
            let title = if section.title.is_empty() { title.as_str() } else { section.title.as_str() };
            writer.step(title, nth, section.parts.len(), part);
        }
    }
    out.push_str(writer.out.trim_start_matches('\n'));
    out
}

const HEAD: &str = "\
# Made from a guide by `holdpoint new --from`. It cannot be run yet: what begins with TODO is yours to fill in, and
# `holdpoint lint` names every such place. What to put there: `holdpoint checks` lists all measurements, and
# `holdpoint checks NAME` explains one.
#
# Read every step. Commands have no terminal and no standard input: whatever asks has to be told not to (`apt-get -y`), and
# sudo must not ask for a password. A script runs with `bash -euo pipefail`, in `/`, with a clean environment; nothing is
# carried over from one step to the next, not even a `cd`.
";

struct Writer<'a> {
    guide: &'a Guide,
    out: String,
    ids: Vec<String>,
    /// A PostgreSQL cluster goes in one of the steps.
    postgres: bool,
    sql: bool,
    recorded: bool,
}

impl<'a> Writer<'a> {
    fn new(guide: &'a Guide) -> Self {
        let parts = || guide.sections.iter().flat_map(|section| &section.parts);
        let postgres = parts().any(|part| {
            let shell = matches!(part.work, Some((Kind::Shell, _)));
            shell && part.destroys.iter().any(|what| Thing::of(what) == Thing::Postgres)
        });
        let sql = parts().any(|part| matches!(part.work, Some((Kind::Sql, _))));
        Writer { guide, out: String::new(), ids: Vec::new(), postgres, sql, recorded: false }
    }

    fn scripts(&self) -> impl Iterator<Item = &'a str> {
        let parts = self.guide.sections.iter().flat_map(|section| &section.parts);
        parts.filter_map(|part| part.work.as_ref().map(|(_, text)| text.as_str()))
    }

    /// The cluster that is replaced: the one that is upgraded, else the last that is dropped.
    fn old(&self) -> Option<Cluster> {
        let upgraded = self.scripts().find_map(|script| danger::cluster(script, "pg_upgradecluster"));
        upgraded
            .or_else(|| self.scripts().filter_map(|script| danger::cluster(script, "pg_dropcluster")).last())
    }

    fn targets(&self) -> String {
        if !self.postgres && !self.sql {
            return String::new();
        }
        let mut out = String::from("\n# What is measured and worked on.\ntargets:\n");
        if self.postgres {
            let old = match self.old() {
                Some(old) => old.name,
                None => "TODO: version and name as pg_lsclusters shows them, such as 13/main".to_owned(),
            };
            let new = match self.old().and_then(|old| old.becomes) {
                Some(new) => format!("TODO: {new}"),
                None => {
                    "TODO: version and name of the cluster that stays, as pg_lsclusters shows them".to_owned()
                }
            };
            for (name, cluster, help) in [
                ("old", old.as_str(), "the cluster that goes"),
                ("new", new.as_str(), "the cluster that stays"),
            ] {
                out.push_str(&format!(
                    "  {name}:\n    postgres: user=postgres dbname=postgres\n    cluster: {}\n    help: {help}\n",
                    yaml::one_line(cluster)
                ));
            }
        }
        if self.sql {
            out.push_str(
                "  db:\n    postgres: \"TODO: a connection string as for psql, such as service=app or dbname=app user=postgres\"\n",
            );
        }
        out
    }

    fn step(&mut self, title: &str, nth: usize, of: usize, part: &Part) {
        let script = part.work.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default();
        let copies = ["pg_upgradecluster", "pg_upgrade", "pg_dump", "pg_basebackup"];
        if self.postgres
            && !self.recorded
            && (copies.iter().any(|word| script.contains(word)) || !part.destroys.is_empty())
        {
            self.record();
        }
        let id = self.id(title);
        let shown = if of > 1 { format!("{title} ({} of {of})", nth + 1) } else { title.to_owned() };
        self.line(&format!("\n  - id: {id}\n    title: {}\n", yaml::one_line(&escaped(&shown))));
        match &part.work {
            None => {
                let text = yaml::text(&with_end(&escaped(&part.prose)), 6);
                self.line(&format!("    manual:\n      instructions: {text}\n"));
                self.line(
                    "    # If this changes nothing, say so: `changes: false`. Else measure its result:\n",
                );
                self.line("    # postconditions:\n");
                self.line("    #   - command: { run: [true], title: what is so afterwards }\n");
            }
            Some((kind, text)) => self.work(*kind, text, part),
        }
    }

    fn work(&mut self, kind: Kind, text: &str, part: &Part) {
        if !part.prose.is_empty() {
            self.line(&format!("    guide: {}\n", yaml::text(&with_end(&escaped(&part.prose)), 4)));
        }
        if !part.destroys.is_empty() {
            self.destroys(kind, text, &part.destroys);
        }
        let limit = if hints::long(text) { "12h" } else { "1h" };
        match kind {
            Kind::Shell => {
                for note in hints::notes(text) {
                    self.line(&yaml::comment(note, 4));
                }
                self.line(&format!("    run: {}\n", yaml::text(&with_end(text), 4)));
            }
            Kind::Sql => self.line(&format!(
                "    sql:\n      target: db\n      statements:\n        - {}\n",
                yaml::text(&with_end(&escaped(text)), 8)
            )),
        }
        self.line(&format!("    timeout: {limit}      # the longest it may take; then it is stopped\n"));
        self.postconditions(text);
    }

    fn destroys(&mut self, kind: Kind, text: &str, what: &[String]) {
        let thing = Thing::of(&what.join(" "));
        self.line(&yaml::comment(
            &format!(
                "This destroys: {}. Before it runs, all guards are measured together, what goes is measured and shown, and the\n\
                 operator types the text under `what`.",
                what.iter().map(|what| format!("`{what}`")).collect::<Vec<_>>().join(", ")
            ),
            4,
        ));
        let cluster = danger::cluster(text, "pg_dropcluster").map(|cluster| cluster.name);
        let named = match &cluster {
            Some(cluster) => format!("cluster {cluster}"),
            None => "the name of what goes, as the operator shall type it".to_owned(),
        };
        // Another cluster than the one that is replaced: an empty one, mostly, that stands in the way.
        let other = cluster.filter(|cluster| self.old().is_some_and(|old| old.name != *cluster));
        self.line(&format!("    destroys:\n      what: {}\n", yaml::one_line(&format!("TODO: {named}"))));
        match (thing, kind) {
            (Thing::Postgres, Kind::Shell) if other.is_some() => {
                let cluster = other.clone().unwrap_or_default();
                self.line(&format!(
                    "      paths: [\"TODO: /var/lib/postgresql/{cluster}, or where its data is\"]\n"
                ));
                self.line(&yaml::comment(
                    "Prove that nothing is in it that anybody needs. A running cluster counts as in use: stop it before.",
                    4,
                ));
                self.guard();
            }
            (Thing::Postgres, Kind::Shell) => {
                self.line("      target: old\n      survives_in: new\n");
                self.line(&yaml::comment(
                    "A running cluster counts as in use, and keeps the hold point closed: stop it in a step of its own before.",
                    4,
                ));
                self.line(
                    "    preconditions:\n      - rows_match: { recorded: before, target: new, at_least: true }\n      \
                     - backup_fresh: { path: \"TODO: the directory that holds the newest backup\", max_age: 24h }\n",
                );
            }
            (_, Kind::Sql) => {
                self.line("      target: db\n");
                self.line(&yaml::comment(
                    "A running server counts as in use. Where only rows go, leave `destroys` out, and say under `sql` how many\n\
                     they may be: `affects: { at_most: 9 }`.",
                    4,
                ));
                self.guard();
            }
            _ => {
                self.line("      paths: [\"TODO: the directory or file that goes, by its real path\"]\n");
                self.guard();
            }
        }
        self.line("    # Guards that may fit, as items of `preconditions`:\n");
        for guard in thing.guards() {
            self.line(&format!("    #   {guard}\n"));
        }
        self.line("    rerun: never\n");
    }

    /// A guard that has to be written.
    fn guard(&mut self) {
        self.line(
            "    preconditions:\n      - command:\n          id: may-go\n          title: it can go now\n          \
             run: \"TODO: a check that fails as long as it must not go; `holdpoint checks` lists what can be measured\"\n",
        );
    }

    fn postconditions(&mut self, text: &str) {
        let candidates = hints::candidates(text);
        self.line(
            "    postconditions:\n      - command:\n          id: worked\n          title: what is so when it has worked\n          \
             run: \"TODO: exits 0 only when it has worked; or another check in its place\"\n",
        );
        if !candidates.is_empty() {
            self.line("      # Checks that may fit here:\n");
        }
        for candidate in candidates {
            self.line(&format!("      # - {candidate}\n"));
        }
    }

    fn record(&mut self) {
        self.recorded = true;
        let id = self.id("count old");
        self.line(&format!(
            "\n  # Added: what the copy is compared with, now and before anything is dropped.\n  - id: {id}\n    title: Count and \
             fingerprint everything in the old cluster\n    guide: |\n      Stop what writes to it first.\n    record: {{ target: \
             old, as: before }}\n"
        ));
    }

    fn id(&mut self, title: &str) -> String {
        let base = slug(title, 40).unwrap_or_else(|| format!("step-{}", self.ids.len() + 1));
        let mut id = base.clone();
        let mut nth = 2;
        while self.ids.contains(&id) {
            id = format!("{base}-{nth}");
            nth += 1;
        }
        self.ids.push(id.clone());
        id
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
    }
}

/// `${` is Holdpoint's own outside of scripts.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn with_end(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// A name for ids: lower-case letters, digits and hyphens.
fn slug(text: &str, most: usize) -> Option<String> {
    let mut out = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') && c != '\'' {
            out.push('-');
        }
    }
    if out.len() > most {
        let cut = out[..most].rfind('-').filter(|at| *at > most / 2).unwrap_or(most);
        out.truncate(cut);
    }
    let out = out.trim_matches('-').to_owned();
    (!out.is_empty()).then_some(out)
}
