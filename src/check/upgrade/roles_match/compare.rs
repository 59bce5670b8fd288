//! Compares the facts of both sides: pure.

use std::collections::BTreeSet;

use super::facts::{Facts, HIDDEN};
use crate::check::upgrade::survey::Findings;

/// What can be compared between two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Options of memberships: both are 16 or newer.
    pub options: bool,
    /// The right MAINTAIN: both are 17 or newer.
    pub maintain: bool,
    /// Rights on parameters: both are 15 or newer.
    pub parameters: bool,
    /// Schema public has another owner on one side by default: only one of them is 15 or newer.
    pub public_owner_moved: bool,
}

impl Pair {
    /// Of two values of `server_version_num`.
    pub fn new(source: u32, target: u32) -> Pair {
        let both = |version: u32| source >= version && target >= version;
        Pair {
            options: both(160_000),
            maintain: both(170_000),
            parameters: both(150_000),
            public_owner_moved: (source >= 150_000) != (target >= 150_000),
        }
    }
}

/// How strictly.
pub struct Rules {
    /// Roles that are left out, with the reason.
    pub except: Vec<(String, String)>,
}

impl Rules {
    /// Adds what differs to the findings.
    pub fn compare(&self, was: &Facts, is: &Facts, findings: &mut Findings) {
        let mut extra = Vec::new();
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for name in names {
            if self.leaves_out(name) {
                continue;
            }
            match (was.get(name), is.get(name)) {
                (Some(a), Some(b)) => self.object(name, a, b, findings),
                (Some(a), None) => {
                    findings.looked += 1;
                    // An object with nothing but facts about roles that are left out is as good as equal.
                    if a.is_empty() || a.iter().any(|fact| self.counts(fact)) {
                        findings.failed.push(self.absent(name, a));
                    }
                }
                // Grants and settings for themselves are no objects: to have some is to have more.
                (None, Some(b))
                    if name.starts_with("settings ")
                        || name.starts_with("default ")
                        || name.starts_with("column ") =>
                {
                    self.object(name, &BTreeSet::new(), b, findings);
                }
                (None, Some(_)) => extra.push(name.as_str()),
                (None, None) => {}
            }
        }
        if !extra.is_empty() {
            let shown: Vec<&str> = extra.iter().take(10).copied().collect();
            let more = extra.len().saturating_sub(shown.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            findings.notes.push(format!("only in the target: {}{more}", shown.join(", ")));
        }
    }

    fn absent(&self, name: &str, facts: &BTreeSet<String>) -> String {
        let facts: Vec<&str> =
            facts.iter().filter(|fact| self.counts(fact)).map(|fact| shown(fact)).collect();
        match facts.is_empty() {
            true => format!("{name} is not there"),
            false => format!("{name} is not there ({})", facts.join(", ")),
        }
    }

    fn object(&self, name: &str, a: &BTreeSet<String>, b: &BTreeSet<String>, findings: &mut Findings) {
        findings.looked += 1;
        let list = |facts: Vec<&String>| -> Vec<String> {
            facts.into_iter().filter(|fact| self.counts(fact)).map(|fact| shown(fact).to_owned()).collect()
        };
        let (lost, gained) = (list(a.difference(b).collect()), list(b.difference(a).collect()));
        let line = match (lost.is_empty(), gained.is_empty()) {
            (true, true) => return,
            (false, true) => format!("{name} lacks: {}", lost.join(", ")),
            (true, false) => format!("{name} has more: {}", gained.join(", ")),
            (false, false) => format!("{name} has {}; wanted {}", gained.join(", "), lost.join(", ")),
        };
        if name.starts_with("schema ")
            && name.ends_with(".public")
            && lost.iter().any(|fact| fact == "public: create")
        {
            findings.notes.push("since 15, not everybody may create in schema public of a new database: grant it, or give the application a schema".to_owned());
        }
        findings.failed.push(line);
    }

    /// Is the object one of a role that is left out?
    fn leaves_out(&self, name: &str) -> bool {
        self.except.iter().any(|(role, _)| {
            let of = format!("settings of role {role}");
            name == format!("role {role}")
                || name == of
                || name.starts_with(&format!("{of} in "))
                || name.starts_with(&format!("default privileges of {role} "))
        })
    }

    /// Does a fact speak of no role that is left out?
    fn counts(&self, fact: &str) -> bool {
        !self.except.iter().any(|(role, _)| {
            fact == format!("owner {role}")
                || fact.starts_with(&format!("{role}: "))
                || fact == format!("member of {role}")
                || fact.starts_with(&format!("member of {role} with"))
        })
    }
}

/// A fact for people: without what must not be shown.
fn shown(fact: &str) -> &str {
    fact.split_once(HIDDEN).map_or(fact, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(all: &[(&str, &[&str])]) -> Facts {
        all.iter()
            .map(|(name, facts)| ((*name).to_owned(), facts.iter().map(|f| (*f).to_owned()).collect()))
            .collect()
    }

    fn compare(was: &Facts, is: &Facts, except: &[&str]) -> Findings {
        let except = except.iter().map(|role| ((*role).to_owned(), "r".to_owned())).collect();
        let rules = Rules { except };
        let mut findings = Findings::default();
        rules.compare(was, is, &mut findings);
        findings
    }

    #[test]
    fn less_and_more_are_both_told() {
        let was = facts(&[
            ("role a", &["login", "member of b"]),
            ("role b", &[]),
            ("table x.public.t", &["owner a", "b: select"]),
        ]);
        let is = facts(&[
            ("role a", &["login", "superuser"]),
            ("table x.public.t", &["owner a", "b: select"]),
            ("role c", &[]),
        ]);
        let found = compare(&was, &is, &[]);
        assert_eq!(found.failed, ["role a has superuser; wanted member of b", "role b is not there"]);
        assert_eq!(found.notes, ["only in the target: role c"]);
        assert_eq!(found.looked, 3);
        assert!(compare(&was, &was, &[]).failed.is_empty());
    }

    #[test]
    fn a_role_can_be_left_out_with_all_that_speaks_of_it() {
        let was = facts(&[
            ("role mon", &["login"]),
            ("settings of role mon", &["work_mem=1MB"]),
            ("table x.public.t", &["owner a", "mon: select"]),
            ("column x.public.t.c", &["mon: select"]),
        ]);
        let is = facts(&[("table x.public.t", &["owner a"])]);
        assert!(compare(&was, &is, &["mon"]).failed.is_empty());
        assert_eq!(compare(&was, &is, &["other"]).failed.len(), 4);
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_compared_and_not_shown() {
        let was = facts(&[("settings of role a", &["app.key\u{1}123"])]);
        let is = facts(&[("settings of role a", &["app.key\u{1}456"])]);
        assert_eq!(compare(&was, &is, &[]).failed, ["settings of role a has app.key; wanted app.key"]);
    }

    #[test]
    fn versions_decide_what_can_be_compared() {
        let pair = Pair::new(130_016, 150_018);
        assert!(pair.public_owner_moved && !pair.options && !pair.maintain && !pair.parameters);
        let pair = Pair::new(170_010, 180_004);
        assert!(!pair.public_owner_moved && pair.options && pair.maintain && pair.parameters);
    }
}
