//! Tables: are they there, with their rows and the contents of them.

use std::collections::BTreeSet;

use super::{Class, Finding, Pair};
use crate::base::text;
use crate::check::data::manifest::{Database, LargeObjects, Relation};

impl Pair<'_> {
    pub(super) fn relations(&mut self, db: &str, was: &Database, is: &Database) {
        let names: BTreeSet<&String> = was.relations.keys().chain(is.relations.keys()).collect();
        for name in names {
            if !self.rules.covers(db, name) {
                continue;
            }
            let (a, b) = (was.relations.get(name), is.relations.get(name));
            if !self.rules.contents && ![a, b].into_iter().flatten().any(|r| r.kind.stores_rows()) {
                continue;
            }
            match (a, b) {
                (Some(a), Some(b)) => self.relation(db, name, a, b),
                (Some(a), None) => self.missing(db, name, a),
                (None, Some(b)) => self.extra(db, name, b),
                (None, None) => {}
            }
        }
    }

    fn missing(&mut self, db: &str, name: &str, was: &Relation) {
        let full = self.engine.full(db, name);
        let wanted = match was.rows.filter(|_| !self.rules.catalogue_only) {
            Some(rows) => format!("a {} with {}", was.kind.word(), text::count(rows, "row", "rows")),
            None => format!("a {}", was.kind.word()),
        };
        let finding = Finding::new(Class::Missing, was.rows.unwrap_or(0).saturating_add(1), &full)
            .saw(format!("no {} {full}", was.kind.word()))
            .wanted(wanted);
        self.found(db, Some(name), finding);
    }

    fn extra(&mut self, db: &str, name: &str, is: &Relation) {
        let full = self.engine.full(db, name);
        if self.rules.at_least {
            return self.note(format!("{} {full} is only in the target", is.kind.word()));
        }
        let rows = is.rows.map(|n| format!(" with {}", text::count(n, "row", "rows"))).unwrap_or_default();
        let finding = Finding::new(Class::Extra, is.rows.unwrap_or(0), &full)
            .saw(format!("an extra {} {full}{rows}", is.kind.word()))
            .wanted(format!("no {}", is.kind.word()));
        self.found(db, Some(name), finding);
    }

    fn relation(&mut self, db: &str, name: &str, was: &Relation, is: &Relation) {
        let full = self.engine.full(db, name);
        if was.kind != is.kind && (self.rules.contents || was.kind.stores_rows() != is.kind.stores_rows()) {
            let finding = Finding::new(Class::Missing, was.rows.unwrap_or(0), &full)
                .saw(format!("{full} is a {}", is.kind.word()))
                .wanted(format!("a {}", was.kind.word()));
            self.found(db, Some(name), finding);
        }
        if self.rules.catalogue_only {
            self.seen.tables += u64::from(was.kind.stores_rows());
        } else if let (Some(a), Some(b)) = (was.rows, is.rows) {
            self.rows(db, name, (was, a), (is, b));
        }
        if self.rules.contents {
            self.left_out(db, name, was);
            self.columns(db, name, was, is);
            self.facts(db, name, &full, was, is);
        }
    }

    fn rows(&mut self, db: &str, name: &str, (was, a): (&Relation, u64), (is, b): (&Relation, u64)) {
        let full = self.engine.full(db, name);
        if self.rules.excepted(db, name).is_none() {
            self.seen.tables += 1;
            self.seen.source_rows = self.seen.source_rows.saturating_add(a);
            self.seen.target_rows = self.seen.target_rows.saturating_add(b);
            if self.rules.contents && self.rules.only_rows(db, name).is_some() {
                self.seen.counted_only += 1;
            }
        }
        let fine = if self.rules.at_least { b >= a } else { b == a };
        let finding = if !fine {
            let (class, weight) = if b < a { (Class::Missing, a - b) } else { (Class::Extra, b - a) };
            let floor = if self.rules.at_least { "at least " } else { "" };
            Finding::new(class, weight, &full)
                .saw(format!("{} in {full}", text::count(b, "row", "rows")))
                .wanted(format!("{floor}{}", text::count(a, "row", "rows")))
        } else if self.rules.contents && was.digest != is.digest && way(was) != way(is) {
            Finding::new(Class::Contents, 0, &full)
                .saw(format!("contents of {full} cannot be compared: its columns are others"))
                .wanted("the same contents in the same columns")
        } else if self.rules.contents && was.digest != is.digest {
            Finding::new(Class::Contents, b, &full)
                .saw(format!("other contents in {full} ({})", text::count(b, "row", "rows")))
                .wanted("the same contents")
        } else {
            return;
        };
        let derived = was.kind.derived() && is.kind.derived() && (a == 0) == (b == 0);
        if derived {
            self.note(format!("{} (derived data, refreshed at another time; no failure)", finding.line()));
        } else {
            let contents = (a == b).then(|| self.rules.only_rows(db, name)).flatten();
            let excepted = self.rules.excepted(db, name).or(contents);
            self.seen.found(excepted, finding.rows_of(db, name));
        }
    }

    /// Says which columns were not compared because the runbook says so.
    fn left_out(&mut self, db: &str, name: &str, was: &Relation) {
        let full = self.engine.full(db, name);
        for column in was.columns.keys() {
            if let Some((at, except)) = self.rules.excepted_column(db, name, column) {
                self.seen.used.insert(at);
                let line = format!("excepted ({}): column {column} of {full} not compared", except.reason);
                self.note(line);
            }
        }
    }

    fn facts(&mut self, db: &str, name: &str, full: &str, was: &Relation, is: &Relation) {
        let mut pairs = vec![(&was.core, &is.core)];
        if self.same_major {
            pairs.push((&was.definition, &is.definition));
        }
        for (a, b) in pairs {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys.into_iter().filter(|key| a.get(*key) != b.get(*key)) {
                let show = |v: Option<&String>| v.map_or_else(|| "none".to_owned(), |v| v.trim().to_owned());
                let finding = Finding::new(Class::Object, 0, full)
                    .saw(format!("{key} of {full}: {}", show(b.get(key))))
                    .wanted(show(a.get(key)));
                self.found(db, Some(name), finding);
            }
        }
    }

    pub(super) fn large_objects(&mut self, db: &str, was: Option<&LargeObjects>, is: Option<&LargeObjects>) {
        let (Some(a), Some(b)) = (was, is) else { return };
        if a == b || self.rules.catalogue_only && a.count == b.count {
            return;
        }
        let count_only = self.rules.catalogue_only;
        let say = |lo: &LargeObjects| match count_only {
            true => text::count(lo.count, "large object", "large objects"),
            false => format!(
                "{}, {} bytes",
                text::count(lo.count, "large object", "large objects"),
                text::thousands(lo.bytes)
            ),
        };
        let same = (a.count, a.bytes) == (b.count, b.bytes);
        let lost = a.count.saturating_sub(b.count);
        let class = if lost > 0 { Class::Missing } else { Class::Contents };
        let finding = Finding::new(class, lost, format!("large objects of {db}"))
            .saw(format!("{} in database {db}", say(b)))
            .wanted(if same { "the same contents".to_owned() } else { say(a) });
        self.found(db, None, finding);
    }
}

/// How the rows were hashed: all of a digest but its last part.
fn way(relation: &Relation) -> Option<&str> {
    relation.digest.as_deref().and_then(|digest| digest.rsplit_once(':')).map(|(way, _)| way)
}
