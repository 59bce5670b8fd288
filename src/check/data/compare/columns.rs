//! Columns, by name: their order does not matter, everything else does.

use std::collections::BTreeSet;

use super::{Class, Finding, Pair};
use crate::check::data::manifest::{Column, Relation};

impl Pair<'_> {
    pub(super) fn columns(&mut self, db: &str, name: &str, was: &Relation, is: &Relation) {
        let full = self.engine.full(db, name);
        let names: BTreeSet<&String> = was.columns.keys().chain(is.columns.keys()).collect();
        for column in names {
            let finding = |class, observed: String, expected: String| {
                Finding::new(class, 0, format!("{full}.{column}")).saw(observed).wanted(expected)
            };
            let found = match (was.columns.get(column), is.columns.get(column)) {
                (Some(a), None) => finding(
                    Class::Missing,
                    format!("no column {column} in {full}"),
                    format!("a column of type {}", a.type_),
                ),
                (None, Some(b)) => finding(
                    Class::Extra,
                    format!("an extra column {column} ({}) in {full}", b.type_),
                    "no such column".into(),
                ),
                (Some(a), Some(b)) => match self.differing(a, b) {
                    Some((observed, expected)) => {
                        finding(Class::Column, format!("column {column} of {full}: {observed}"), expected)
                    }
                    None => continue,
                },
                (None, None) => continue,
            };
            let rules = self.rules;
            let excepted = rules
                .excepted(db, name)
                .or_else(|| rules.excepted_column(db, name, column))
                .or_else(|| rules.only_rows(db, name));
            self.seen.found(excepted, found);
        }
    }

    /// The first thing in which two columns differ: as it is, as it was.
    fn differing(&self, was: &Column, is: &Column) -> Option<(String, String)> {
        let null = |column: &Column| if column.not_null { "NOT NULL" } else { "may be NULL" }.to_owned();
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        if was.type_ != is.type_ {
            Some((format!("type {}", is.type_), format!("type {}", was.type_)))
        } else if was.not_null != is.not_null {
            Some((null(is), null(was)))
        } else if was.generated != is.generated {
            let say = |c: &Column| or(&c.generated, "not") + " generated";
            Some((say(is), say(was)))
        } else if was.default != is.default {
            Some((or(&is.default, "no default"), or(&was.default, "no default")))
        } else if was.collation != is.collation {
            let say =
                |c: &Column| format!("collation {}", c.collation.as_deref().unwrap_or("of the database"));
            Some((say(is), say(was)))
        } else if self.same_major && was.expression != is.expression {
            let say = |c: &Column| c.expression.clone().unwrap_or_else(|| "no expression".to_owned());
            Some((say(is), say(was)))
        } else {
            None
        }
    }
}
