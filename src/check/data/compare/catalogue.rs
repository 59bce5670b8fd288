//! Everything that is not a table: sequences, indexes, constraints, views' friends, extensions, roles.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, Finding, Pair};
use crate::base::text;
use crate::check::data::manifest::{Object, Role, Sequence};

impl Pair<'_> {
    pub(super) fn sequences(
        &mut self,
        db: &str,
        was: &BTreeMap<String, Sequence>,
        is: &BTreeMap<String, Sequence>,
    ) {
        for (name, a) in was {
            let full = self.engine.full(db, name);
            let finding = match is.get(name) {
                None => {
                    let wanted = match self.rules.catalogue_only {
                        true => "a sequence of that name".to_owned(),
                        false => format!("a sequence at {}", position(a)),
                    };
                    let weight = u64::from(!self.rules.catalogue_only);
                    Finding::new(Class::Missing, weight, &full)
                        .saw(format!("no sequence {full}"))
                        .wanted(wanted)
                }
                Some(b) if !self.rules.catalogue_only && b.behind(a) => {
                    Finding::new(Class::Sequence, 1, &full)
                        .saw(format!("sequence {full} is behind, at {}", position(b)))
                        .wanted(format!("{} or further", position(a)))
                }
                Some(b) if (a.increment, a.cycles) != (b.increment, b.cycles) => {
                    Finding::new(Class::Sequence, 0, &full)
                        .saw(format!("sequence {full} {}", habits(b)))
                        .wanted(habits(a))
                }
                Some(_) => continue,
            };
            self.found(db, Some(name), finding);
        }
        for name in is.keys().filter(|name| !was.contains_key(*name)) {
            let full = self.engine.full(db, name);
            self.found(
                db,
                Some(name),
                Finding::new(Class::Extra, 0, &full)
                    .saw(format!("an extra sequence {full}"))
                    .wanted("no such sequence"),
            );
        }
    }

    pub(super) fn objects(
        &mut self,
        db: &str,
        was: &BTreeMap<String, Object>,
        is: &BTreeMap<String, Object>,
    ) {
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for name in names {
            let (a, b) = (was.get(name), is.get(name));
            let table = [a, b].into_iter().flatten().find_map(|o| o.table.as_deref());
            let covered = match table {
                Some(table) => self.rules.covers(db, table),
                None => self.rules.tables.is_empty(),
            };
            if covered && let Some(finding) = self.object(db, name, a, b) {
                self.found(db, table, finding);
            }
        }
    }

    fn object(&mut self, db: &str, name: &str, was: Option<&Object>, is: Option<&Object>) -> Option<Finding> {
        let place = match self.engine {
            super::Engine::Postgres => format!("{name} in database {db}"),
            super::Engine::Sqlite => name.to_owned(),
        };
        let finding = |observed: String, expected: String| {
            Some(Finding::new(Class::Object, 0, &place).saw(observed).wanted(expected))
        };
        match (was, is) {
            (Some(a), None) if !a.sound => {
                self.note(format!("{place} did not work in the source, and is not in the target"));
                None
            }
            (Some(a), None) => finding(format!("no {place}"), shown(a, "it to be there")),
            (None, Some(b)) => Some(
                Finding::new(Class::Extra, 0, &place).saw(format!("an extra {place}")).wanted(shown_extra(b)),
            ),
            (Some(a), Some(b)) => {
                if a.sound && !b.sound {
                    return finding(format!("{place} is there but not valid"), "valid and in use".to_owned());
                }
                if !a.sound && !b.sound {
                    self.note(format!("{place} does not work, in the source neither"));
                }
                let definitions = self.same_major && a.definition != b.definition;
                if a.core != b.core || definitions {
                    let pick = |o: &Object| match (&o.definition, a.core != b.core) {
                        (Some(definition), false) => definition.clone(),
                        _ => o.core.clone(),
                    };
                    return finding(format!("{place} is another: {}", pick(b)), pick(a));
                }
                if let (Some(old), Some(new)) = (&a.version, &b.version)
                    && old != new
                {
                    if older(new, old) {
                        return finding(
                            format!("{place} has version {new}"),
                            format!("version {old} or newer"),
                        );
                    }
                    self.note(format!("{place} has version {new}, and {old} in the source"));
                }
                None
            }
            (None, None) => None,
        }
    }

    pub(super) fn roles(&mut self, was: &BTreeMap<String, Role>, is: &BTreeMap<String, Role>) {
        for (name, a) in was {
            let finding = |observed: String, expected: String| {
                Finding::new(Class::Other, 1, format!("role {name}")).saw(observed).wanted(expected)
            };
            let Some(b) = is.get(name) else {
                let attributes = if a.attributes.is_empty() { "no attributes" } else { &a.attributes };
                self.seen
                    .findings
                    .push(finding(format!("no role {name}"), format!("a role with {attributes}")));
                continue;
            };
            if a.attributes != b.attributes {
                self.seen
                    .findings
                    .push(finding(format!("role {name}: {}", b.attributes), a.attributes.clone()));
            }
            if a.password == Some(true) && b.password == Some(false) {
                self.seen
                    .findings
                    .push(finding(format!("role {name} has no password"), "a password".to_owned()));
            }
            let lost: Vec<&str> =
                a.member_of.iter().filter(|role| !b.member_of.contains(role)).map(String::as_str).collect();
            if !lost.is_empty() {
                let lost = lost.join(", ");
                self.seen.findings.push(finding(
                    format!("role {name} is not a member of {lost}"),
                    format!("a member of {lost}"),
                ));
            }
        }
        let extra: Vec<&str> =
            is.keys().filter(|name| !was.contains_key(*name)).map(String::as_str).collect();
        if !extra.is_empty() {
            self.note(format!("roles only in the target: {}", extra.join(", ")));
        }
    }
}

fn shown(object: &Object, otherwise: &str) -> String {
    match &object.definition {
        Some(definition) => definition.clone(),
        None if object.core.is_empty() => otherwise.to_owned(),
        None => object.core.clone(),
    }
}

fn shown_extra(object: &Object) -> &'static str {
    if object.sound { "nothing of that name" } else { "nothing of that name (it is not valid either)" }
}

fn position(sequence: &Sequence) -> String {
    let sign = if sequence.last_value < 0 { "-" } else { "" };
    let value = format!("{sign}{}", text::thousands(sequence.last_value.unsigned_abs()));
    if sequence.is_called { value } else { format!("{value} (not used yet)") }
}

fn habits(sequence: &Sequence) -> String {
    format!("in steps of {}{}", sequence.increment, if sequence.cycles { ", in cycles" } else { "" })
}

/// True when version `a` comes before version `b`; parts that are no numbers compare as text.
pub fn older(a: &str, b: &str) -> bool {
    let parts = |text: &str| -> Vec<(u64, String)> {
        text.split(['.', '-']).map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect::<Vec<_>>()
    };
    let (a, b) = (parts(a), parts(b));
    for (a, b) in a.iter().zip(&b) {
        if a.0 != b.0 {
            return a.0 < b.0;
        }
        if a.1 != b.1 {
            return a.1 < b.1;
        }
    }
    a.len() < b.len()
}
