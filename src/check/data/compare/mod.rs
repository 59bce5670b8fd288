//! Judges two manifests: pure, no clock, no connection. It looks in both directions, so that what is only on one side is
//! found whichever side that is, and it says when there was nothing to compare, which is never a match.

mod catalogue;
mod columns;
mod finding;
mod relations;
mod rules;
#[cfg(test)]
mod tests;

pub use catalogue::older;
pub use finding::{Class, Finding};
pub use rules::{Applies, Except, Nul, Rules, covers, is_called, last, plain};

use std::collections::BTreeSet;

use super::manifest::{Database, Level, Manifest};
use crate::base::text;
use crate::world::Identity;

/// What a comparison found.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// Differences that make it fail, worst first.
    pub findings: Vec<Finding>,
    /// What people should know and what is no reason to fail.
    pub notes: Vec<String>,
    /// Tables whose rows were compared.
    pub tables: u64,
    /// Rows in them on the source side.
    pub source_rows: u64,
    /// Rows in them on the target side.
    pub target_rows: u64,
    /// Tables of which the rows were counted and the contents may differ, as the runbook says.
    pub counted_only: u64,
    /// What could not be compared, so that nothing passes; a difference found elsewhere is one all the same.
    pub open: Vec<String>,
    /// The exceptions that were needed, by their number.
    pub used: BTreeSet<usize>,
}

impl Comparison {
    /// Puts a difference on the list, or among the notes when it is excepted.
    pub(in crate::check::data) fn found(&mut self, excepted: Option<Applies<'_>>, finding: Finding) {
        match excepted {
            None => self.findings.push(finding),
            Some((at, except)) => {
                self.used.insert(at);
                self.notes.push(format!("excepted ({}): {}", except.reason, finding.line()));
            }
        }
    }

    /// Worst first. Nothing compared with nothing is no match.
    pub(in crate::check::data) fn ordered(mut self, rules: &Rules) -> Result<Comparison, String> {
        self.findings.sort_by(|a, b| {
            a.class.cmp(&b.class).then(b.weight.cmp(&a.weight)).then(a.subject.cmp(&b.subject))
        });
        something(&self, rules)?;
        Ok(self)
    }
}

/// Compares; an error says why the two cannot be compared at all, or that there was nothing to compare.
pub fn compare(source: &Manifest, target: &Manifest, rules: &Rules) -> Result<Comparison, String> {
    comparable(source, target, rules)?;
    let mut it = Pair {
        rules,
        same_major: source.major() == target.major(),
        engine: Engine::of(source),
        seen: Comparison::default(),
    };
    for name in rules.chosen(source, target)? {
        match (source.databases.get(&name), target.databases.get(&name)) {
            (Some(was), Some(is)) => it.database(&name, was, is),
            (Some(was), None) => it.missing_database(&name, was),
            (None, Some(is)) => it.extra_database(&name, is),
            (None, None) => {}
        }
    }
    if rules.contents && !rules.catalogue_only && rules.tables.is_empty() {
        match (&source.roles, &target.roles) {
            (Some(was), Some(is)) => it.roles(was, is),
            _ if it.engine == Engine::Postgres => {
                it.note("roles were not compared: only the listed databases were")
            }
            _ => {}
        }
    }
    rules.check_used(source, target, &mut it.seen)?;
    it.seen.ordered(rules)
}

/// Nothing compared with nothing is no match.
fn something(seen: &Comparison, rules: &Rules) -> Result<(), String> {
    if !seen.findings.is_empty() {
        return Ok(());
    }
    if seen.tables == 0 {
        return Err("there is no table to compare on either side".to_owned());
    }
    if !rules.catalogue_only && seen.source_rows == 0 && (seen.target_rows == 0 || rules.at_least) {
        return Err(format!(
            "{} compared, and the source has no row in {}: nothing was compared with nothing",
            text::count(seen.tables, "table", "tables"),
            if seen.tables == 1 { "it" } else { "any of them" },
        ));
    }
    Ok(())
}

fn comparable(source: &Manifest, target: &Manifest, rules: &Rules) -> Result<(), String> {
    match (&source.identity, &target.identity) {
        (Identity::Postgres(_), Identity::Postgres(_)) | (Identity::Sqlite(_), Identity::Sqlite(_)) => {}
        _ => return Err("PostgreSQL and SQLite were not measured for each other".to_owned()),
    }
    for side in [source, target] {
        let needed = if rules.catalogue_only { Level::Catalogue } else { Level::Contents };
        if rules.contents && side.level < needed {
            return Err(format!("only the rows of `{}` were counted, not their contents", side.target));
        }
        if !rules.catalogue_only
            && let Some((db, name, _)) =
                side.stored().find(|(db, name, r)| rules.covers(db, name) && r.rows.is_none())
        {
            return Err(format!("the rows of {db}.{name} in `{}` were not counted", side.target));
        }
    }
    match (format(source), format(target)) {
        (Some(was), Some(is)) if rules.contents && was != is && family(was) == family(is) => Err(format!(
            "`{}` was recorded by another version of Holdpoint, whose digests ({was}) say nothing about today's ({is}); \
             record it again, or compare with the source itself",
            if was < is { &source.target } else { &target.target }
        )),
        _ => Ok(()),
    }
}

/// How rows were hashed, by the mark of the first digest: `pg3`.
fn format(manifest: &Manifest) -> Option<&str> {
    manifest.stored().find_map(|(_, _, r)| r.digest.as_deref()?.split_once(':').map(|(format, _)| format))
}

/// The mark without its number.
fn family(format: &str) -> &str {
    format.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whose names and habits apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Postgres,
    Sqlite,
}

impl Engine {
    fn of(manifest: &Manifest) -> Self {
        match manifest.identity {
            Identity::Postgres(_) => Engine::Postgres,
            Identity::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// A name for people: an SQLite file has but one database, which needs no mention.
    fn full(self, db: &str, name: &str) -> String {
        match self {
            Engine::Postgres => format!("{db}.{name}"),
            Engine::Sqlite => name.to_owned(),
        }
    }
}

/// A comparison under way.
struct Pair<'a> {
    rules: &'a Rules,
    same_major: bool,
    engine: Engine,
    seen: Comparison,
}

impl Pair<'_> {
    fn note(&mut self, line: impl Into<String>) {
        self.seen.notes.push(line.into());
    }

    /// Puts a difference on the list, or among the notes when the runbook excepts the table that it belongs to.
    fn found(&mut self, db: &str, table: Option<&str>, finding: Finding) {
        self.seen.found(table.and_then(|name| self.rules.excepted(db, name)), finding);
    }

    fn database(&mut self, db: &str, was: &Database, is: &Database) {
        self.relations(db, was, is);
        if !self.rules.contents {
            return;
        }
        self.objects(db, &was.objects, &is.objects);
        if !self.rules.catalogue_only
            && let Some(said) =
                [&was.integrity, &is.integrity].into_iter().flatten().find(|said| *said != "ok")
        {
            self.found(
                db,
                None,
                Finding::new(Class::Contents, u64::MAX, "the file is damaged")
                    .saw(format!("the integrity check says: {said}"))
                    .wanted("ok"),
            );
        }
        if !self.rules.tables.is_empty() {
            return;
        }
        self.sequences(db, &was.sequences, &is.sequences);
        self.large_objects(db, was.large_objects.as_ref(), is.large_objects.as_ref());
        let names: BTreeSet<&String> = was.facts.keys().chain(is.facts.keys()).collect();
        for name in names {
            let (a, b) = (was.facts.get(name), is.facts.get(name));
            if a != b {
                let show = |v: Option<&String>| v.cloned().unwrap_or_else(|| "not set".to_owned());
                self.found(
                    db,
                    None,
                    Finding::new(Class::Other, 0, format!("{name} of database {db}"))
                        .saw(format!("{name} of database {db}: {}", show(b)))
                        .wanted(show(a)),
                );
            }
        }
    }

    fn missing_database(&mut self, db: &str, was: &Database) {
        let rows: u64 = was.relations.values().filter_map(|r| r.rows).sum();
        let tables = was.relations.values().filter(|r| r.kind.stores_rows()).count() as u64;
        self.seen.findings.push(
            Finding::new(Class::Missing, rows.saturating_add(1), format!("database {db}"))
                .saw(format!("no database {db}"))
                .wanted(match self.rules.catalogue_only {
                    true => text::count(tables, "table", "tables"),
                    false => format!(
                        "{}, {}",
                        text::count(tables, "table", "tables"),
                        text::count(rows, "row", "rows")
                    ),
                }),
        );
    }

    fn extra_database(&mut self, db: &str, is: &Database) {
        let rows: u64 = is.relations.values().filter_map(|r| r.rows).sum();
        if self.rules.at_least {
            self.note(format!("database {db} is only in the target"));
        } else {
            self.seen.findings.push(
                Finding::new(Class::Extra, rows, format!("database {db}"))
                    .saw(match self.rules.catalogue_only {
                        true => format!("an extra database {db}"),
                        false => format!("a database {db} with {}", text::count(rows, "row", "rows")),
                    })
                    .wanted("no such database"),
            );
        }
    }
}
