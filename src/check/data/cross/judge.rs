//! Judges what was read of an SQLite file and a PostgreSQL database. Pure. Only what was measured is claimed; what the
//! two engines cannot have alike is said to be not compared.

use std::collections::BTreeSet;

use super::count::Count;
use super::feeds::{self, Feed, Read};
use super::plan::{Column, Half, Kind, Plan, Table, Two};
use crate::base::text;
use crate::check::data::compare::{Applies, Class, Comparison, Finding, is_called};

/// What is never compared between the two.
const NOT_COMPARED: &str = "not compared between SQLite and PostgreSQL: types and defaults of columns, collations, indexes, \
    foreign keys, checks, views, triggers, functions, owners, grants, roles, other databases";

/// At most so many columns are listed in a remark.
const LISTED: usize = 8;

/// A comparison under way.
pub struct Judge<'a> {
    /// Both sides.
    pub two: Two<'a>,
    /// What was read.
    pub read: Read<'a>,
    /// PostgreSQL is the target.
    pub pg_is_target: bool,
    /// The result.
    pub seen: Comparison,
    /// Columns that are NOT NULL on one side only.
    pub null: Vec<String>,
}

impl<'a> Judge<'a> {
    fn source(&self) -> &'a Half {
        if self.pg_is_target { self.two.lite } else { self.two.pg }
    }

    fn target(&self) -> &'a Half {
        if self.pg_is_target { self.two.pg } else { self.two.lite }
    }

    /// Compares everything; an error says that there was nothing to compare.
    pub fn compare(mut self, feeds: &[Feed]) -> Result<Comparison, String> {
        let mut shadows = 0;
        for at in 0..self.read.plans.len() {
            let plan = &self.read.plans[at];
            let lite = self.two.lite.tables.get(&plan.key);
            if plan.pg.is_none() && lite.is_some_and(|table| table.kind == Kind::Shadow) {
                shadows += 1;
                continue;
            }
            self.table(at);
        }
        if !self.null.is_empty() {
            let columns = text::count(self.null.len() as u64, "column", "columns");
            let listed = self.null.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
            let more = if self.null.len() > LISTED { " and others" } else { "" };
            self.seen
                .notes
                .push(format!("NOT NULL on one side only (no failure) in {columns}: {listed}{more}"));
        }
        if shadows > 0 {
            let tables = text::count(shadows, "table", "tables");
            self.seen.notes.push(format!("{tables} of SQLite's virtual tables: part of them, not compared"));
        }
        if self.two.rules.contents {
            self.rest(feeds);
        }
        self.used()?;
        self.seen.ordered(self.two.rules)
    }

    fn rest(&mut self, feeds: &[Feed]) {
        if let Some(said) = self.two.lite.integrity.as_deref().filter(|said| *said != "ok") {
            self.seen.findings.push(
                Finding::new(Class::Contents, u64::MAX, "the file is damaged")
                    .saw(format!("the integrity check says: {said}"))
                    .wanted("ok"),
            );
        }
        feeds::judge(&self.two, feeds, &self.read, self.pg_is_target, &mut self.seen);
        self.seen.notes.push(NOT_COMPARED.to_owned());
        let others = self.two.pg.others + self.two.lite.others;
        if others > 0 {
            let views = text::count(others as u64, "view or the like", "views and the like");
            self.seen.notes.push(format!("{views}: not compared"));
        }
    }

    /// A name in `tables` that no table has is an error. In `except` it is a note.
    fn used(&mut self) -> Result<(), String> {
        let two = &self.two;
        let known = |wanted: &str| {
            let tables = two.pg.tables.keys().chain(two.lite.tables.keys());
            tables
                .into_iter()
                .any(|key| two.names(key).into_iter().any(|(db, name)| is_called(db, name, wanted)))
                || two.pg.sequences.keys().any(|name| is_called(&two.pg.db, name, wanted))
        };
        for table in &two.rules.tables {
            if !known(table) {
                return Err(format!("there is no table `{table}`, which `tables` names, on either side"));
            }
        }
        two.rules.not_needed(known, &mut self.seen);
        Ok(())
    }

    fn excepted(&self, key: &str) -> Option<Applies<'a>> {
        self.two.names(key).into_iter().find_map(|(db, name)| self.two.rules.excepted(db, name))
    }

    fn excepted_column(&self, key: &str, column: &str) -> Option<Applies<'a>> {
        let names = self.two.names(key);
        names.into_iter().find_map(|(db, name)| self.two.rules.excepted_column(db, name, column))
    }

    /// Puts a difference on the list, or among the notes.
    fn found(&mut self, key: &str, finding: Finding) {
        let excepted = self.excepted(key);
        self.seen.found(excepted, finding);
    }

    /// Says what was not compared because the runbook says so.
    fn left_out(&mut self, at: usize, reason: &str, what: &str) {
        self.seen.used.insert(at);
        self.seen.notes.push(format!("excepted ({reason}): {what}"));
    }

    fn table(&mut self, at: usize) {
        let plan = self.read.plans[at].clone();
        let (pg, lite) = (self.read.pg.get(at).cloned().flatten(), self.read.lite.get(at).cloned().flatten());
        let (was, is) = if self.pg_is_target { (lite, pg) } else { (pg, lite) };
        let name = |half: &Half| half.tables.get(&plan.key).map(|table| half.full(&table.name));
        match (name(self.source()), name(self.target())) {
            (Some(_), None) => {
                let full = self.target().full(&self.elsewhere(&plan));
                let rows = was.map_or(0, |count| count.rows);
                let finding = Finding::new(Class::Missing, rows.saturating_add(1), &full)
                    .saw(format!("no table {full}"))
                    .wanted(format!("a table with {}", text::count(rows, "row", "rows")));
                self.found(&plan.key, finding);
            }
            (None, Some(full)) => {
                let rows = is.map_or(0, |count| count.rows);
                let with = text::count(rows, "row", "rows");
                if self.two.rules.at_least {
                    self.seen.notes.push(format!("table {full} is only in the target"));
                    return;
                }
                let finding = Finding::new(Class::Extra, rows, &full)
                    .saw(format!("an extra table {full} with {with}"))
                    .wanted("no table");
                self.found(&plan.key, finding);
            }
            (Some(_), Some(full)) => {
                let (Some(was), Some(is)) = (was, is) else {
                    let what = format!("the rows of {full} could not be counted on both sides");
                    return match self.excepted(&plan.key) {
                        Some((at, except)) => self.left_out(at, &except.reason, &what),
                        None => self.seen.open.push(what),
                    };
                };
                self.both(&plan, &full, &was, &is);
            }
            (None, None) => {}
        }
    }

    /// The name that a table of the source would have in the target.
    fn elsewhere(&self, plan: &Plan) -> String {
        match (self.pg_is_target, &self.two.rules.schema) {
            (true, schema) => format!("{}.{}", schema.as_deref().unwrap_or("public"), plan.key),
            (false, _) => plan.key.clone(),
        }
    }

    fn both(&mut self, plan: &Plan, full: &str, was: &Count, is: &Count) {
        let rules = self.two.rules;
        let names = self.two.names(&plan.key);
        let only_rows = names.iter().find_map(|(db, name)| rules.only_rows(db, name));
        if self.excepted(&plan.key).is_none() {
            self.seen.tables += 1;
            self.seen.source_rows = self.seen.source_rows.saturating_add(was.rows);
            self.seen.target_rows = self.seen.target_rows.saturating_add(is.rows);
            if rules.contents && only_rows.is_some() {
                self.seen.counted_only += 1;
            }
        }
        if rules.contents {
            match only_rows {
                Some((at, except)) => {
                    let what =
                        format!("{full}: only its {} counted", text::count(is.rows, "row was", "rows were"));
                    self.left_out(at, &except.reason, &what);
                }
                None => self.contents(plan, full),
            }
        }
        self.declared(plan, full, &names, was, is);
        let (a, b) = (was.rows, is.rows);
        let fine = if rules.at_least { b >= a } else { b == a };
        let finding = if !fine {
            let (class, weight) = if b < a { (Class::Missing, a - b) } else { (Class::Extra, b - a) };
            let floor = if rules.at_least { "at least " } else { "" };
            Finding::new(class, weight, full)
                .saw(format!("{} in {full}", text::count(b, "row", "rows")))
                .wanted(format!("{floor}{}", text::count(a, "row", "rows")))
        } else if let (Some(x), Some(y)) = (was.digest, is.digest)
            && x != y
        {
            Finding::new(Class::Contents, b, full)
                .saw(format!("other contents in {full} ({})", text::count(b, "row", "rows")))
                .wanted("the same contents")
        } else {
            if let Some(why) = was.open.as_ref().or(is.open.as_ref()) {
                let why = format!("contents of {full} could not be compared: {why}");
                match self.excepted(&plan.key) {
                    Some((at, except)) => self.left_out(at, &except.reason, &why),
                    None => self.seen.open.push(why),
                }
            }
            return;
        };
        self.found(&plan.key, finding.rows_of("", &plan.key));
    }

    /// What was declared and made a difference, and values that have no counterpart.
    fn declared(&mut self, plan: &Plan, full: &str, names: &[(&str, &str)], was: &Count, is: &Count) {
        let rules = self.two.rules;
        for count in [was, is] {
            if count.left_out > 0
                && let Some((at, except, _)) = names.iter().find_map(|(db, name)| rules.nul(db, name))
            {
                let rows = text::count(count.left_out, "row", "rows");
                self.left_out(
                    at,
                    &except.reason,
                    &format!("{rows} of {full} with a NUL byte in a text, left out"),
                );
            }
            for (at, (n, first)) in &count.bent {
                let column = &plan.columns[*at];
                let values = text::count(*n, "value", "values");
                let place = format!("{full}.{} (the first: {first})", column.pg);
                let named = |wanted: bool| {
                    let nul =
                        names.iter().find_map(|(db, name)| rules.nul(db, name)).map(|(at, e, _)| (at, e));
                    let storage = names.iter().find_map(|(db, name)| rules.storage(db, name, &column.key));
                    if wanted { storage.or(nul) } else { None }
                };
                match named(column.form != super::form::Form::Float4) {
                    Some((at, except)) => {
                        let what = format!("{values} in {place} compared by what they mean");
                        self.left_out(at, &except.reason, &what);
                    }
                    None => self
                        .seen
                        .notes
                        .push(format!("{values} in {place} rounded to single precision, as `real` does")),
                }
            }
            for ((at, misfit), (n, first)) in &count.misfits {
                let column = &plan.columns[*at];
                let type_ = self
                    .two
                    .pg
                    .tables
                    .get(&plan.key)
                    .and_then(|t| t.columns.get(&column.key))
                    .map(|c| c.type_.clone());
                let finding = Finding::new(Class::Contents, *n, full)
                    .saw(format!(
                        "{} {} in {full}.{} (the first: {first})",
                        text::count(*n, "value", "values"),
                        misfit.word(),
                        column.pg
                    ))
                    .wanted(format!("values that PostgreSQL's {} can hold", type_.unwrap_or_default()));
                self.found(&plan.key, finding);
            }
        }
    }

    /// Columns and keys.
    fn contents(&mut self, plan: &Plan, full: &str) {
        let key = &plan.key;
        let (Some(pg), Some(lite)) = (self.two.pg.tables.get(key), self.two.lite.tables.get(key)) else {
            return;
        };
        if lite.kind == Kind::Virtual {
            let finding = Finding::new(Class::Contents, 0, full)
                .saw(format!("{} is a virtual table in SQLite: its contents cannot be compared", lite.name))
                .wanted("contents that can be compared");
            return self.found(key, finding);
        }
        let (source, target) = if self.pg_is_target { (lite, pg) } else { (pg, lite) };
        let names: BTreeSet<&String> = pg.columns.keys().chain(lite.columns.keys()).collect();
        let mut findings = Vec::new();
        for name in names {
            let finding = |class, saw: String, wanted: String| {
                Finding::new(class, 0, format!("{full}.{name}")).saw(saw).wanted(wanted)
            };
            let found = match (source.columns.get(name), target.columns.get(name)) {
                (Some(a), None) => Some(finding(
                    Class::Missing,
                    format!("no column {} in {full}", a.name),
                    format!("a column, of type {} in the source", a.type_),
                )),
                (None, Some(b)) => Some(finding(
                    Class::Extra,
                    format!("an extra column {} ({}) in {full}", b.name, b.type_),
                    "no such column".to_owned(),
                )),
                (Some(a), Some(b)) => {
                    let (own, other) = if self.pg_is_target { (b, a) } else { (a, b) };
                    if own.not_null != other.not_null {
                        self.null.push(format!("{key}.{name}"));
                    }
                    unlike(own, other).map(|why| {
                        finding(
                            Class::Column,
                            format!("column {} of {full}: {why}", own.name),
                            "a column that can be compared".to_owned(),
                        )
                    })
                }
                (None, None) => None,
            };
            findings.push((name.clone(), found));
        }
        let no_key = self.key(source, target, full);
        for (name, found) in findings {
            match (self.excepted_column(key, &name), found) {
                (Some(excepted), Some(found)) => self.seen.found(Some(excepted), found),
                (Some((at, except)), None) => {
                    self.left_out(at, &except.reason, &format!("column {name} of {full} not compared"));
                }
                (None, Some(found)) => self.found(key, found),
                (None, None) => {}
            }
        }
        if let Some(finding) = no_key {
            self.found(key, finding);
        }
    }

    /// What tells the source's rows apart must do so in the target.
    fn key(&self, source: &Table, target: &Table, full: &str) -> Option<Finding> {
        let unique = target.unique.as_ref()?;
        let wanted: BTreeSet<String> = source.key.iter().cloned().collect();
        if wanted.is_empty() || unique.iter().any(|columns| columns.is_subset(&wanted) && !columns.is_empty())
        {
            return None;
        }
        let columns = source.key.join(", ");
        Some(
            Finding::new(Class::Object, 0, full)
                .saw(format!("nothing keeps ({columns}) unique in {full}"))
                .wanted(format!("a key over ({columns}), as in the source")),
        )
    }
}

/// Why the values of a column cannot be compared at all.
fn unlike(pg: &Column, lite: &Column) -> Option<String> {
    if pg.generated != lite.generated {
        return Some(format!("computed in {} only", if pg.generated { "PostgreSQL" } else { "SQLite" }));
    }
    if pg.generated {
        return None;
    }
    pg.form.is_none().then(|| format!("nothing in SQLite is like its type {}", pg.type_))
}
