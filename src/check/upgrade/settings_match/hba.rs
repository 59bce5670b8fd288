//! Who is let in: the rules of `pg_hba.conf` in their order. The first that fits a client decides.

use super::judge::excused;
use crate::check::survey::{Findings, cell};
use crate::world::pg::{QueryError, Row, Session};

/// In the order of the file. Options may hold passwords: they are compared and not shown.
const RULES: &str = "select type, database, user_name, address, netmask, auth_method, options, error, line_number from pg_hba_file_rules";

/// A rule, or a line that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `host app app 10.0.0.0 255.0.0.0 scram-sha-256`
    shown: String,
    options: Option<String>,
    /// Line and reason, when the server cannot read it.
    error: Option<String>,
}

impl Rule {
    fn read(row: &Row) -> Rule {
        let names = |column| cell(row, column).trim_start_matches('{').trim_end_matches('}').to_owned();
        let parts = [
            cell(row, 0).to_owned(),
            names(1),
            names(2),
            cell(row, 3).to_owned(),
            cell(row, 4).to_owned(),
            cell(row, 5).to_owned(),
        ];
        let shown: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let error = row.get(7).cloned().flatten();
        Rule {
            shown: shown.join(" "),
            options: row.get(6).cloned().flatten(),
            error: error.map(|error| format!("line {} of pg_hba.conf cannot be read: {error}", cell(row, 8))),
        }
    }

    fn told(&self) -> String {
        let options = if self.options.is_some() { ", with options that are not shown" } else { "" };
        format!("`{}`{options}", self.shown)
    }
}

/// All rules of a server.
pub async fn rules(session: &Session) -> Result<Vec<Rule>, QueryError> {
    Ok(session.query(RULES).await?.iter().map(Rule::read).collect())
}

/// Adds what differs to the findings.
pub fn compare<'a, 'r>(
    was: &'r [Rule],
    is: &'r [Rule],
    excepted: impl Fn(&str) -> Option<&'a str>,
    findings: &mut Findings,
) {
    findings
        .unasked
        .extend(was.iter().filter_map(|rule| rule.error.as_ref()).map(|why| format!("in the source, {why}")));
    findings.failed.extend(is.iter().filter_map(|rule| rule.error.clone()));
    let readable =
        |rules: &'r [Rule]| rules.iter().filter(|rule| rule.error.is_none()).collect::<Vec<&Rule>>();
    let (was, is) = (readable(was), readable(is));
    if was.is_empty() {
        return findings
            .unasked
            .push("the source has no rule in pg_hba.conf: there is nothing to compare".to_owned());
    }
    findings.looked += was.len() as u64;
    let ((stayed, lost), (known, gained)) = (split(&was, &is), split(&is, &was));
    let told = |rule: &Rule, what: &str| format!("the rule {} of pg_hba.conf {what}", rule.told());
    for (rules, what) in [(lost, "is missing"), (gained, "is not in the source")] {
        for rule in rules {
            match excepted(&rule.shown) {
                Some(reason) => findings.notes.push(format!("{}{}", excused(reason), told(rule, what))),
                None => findings.failed.push(told(rule, what)),
            }
        }
    }
    // The order of what is on both sides.
    if let Some((wanted, found)) = stayed.iter().zip(&known).find(|(a, b)| a != b) {
        findings.failed.push(format!(
            "the rules of pg_hba.conf stand in another order: {} comes before {}",
            found.told(),
            wanted.told()
        ));
    }
}

/// What of `these` is in `those`, too, and what is not; one that stands there twice must do so on both sides.
fn split<'r>(these: &[&'r Rule], those: &[&Rule]) -> (Vec<&'r Rule>, Vec<&'r Rule>) {
    let mut rest = those.to_vec();
    these.iter().partition(|rule| match rest.iter().position(|other| other == *rule) {
        Some(at) => {
            rest.swap_remove(at);
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(all: &[&str]) -> Vec<Rule> {
        all.iter().map(|shown| Rule { shown: (*shown).to_owned(), options: None, error: None }).collect()
    }

    fn compared(was: &[Rule], is: &[Rule]) -> Findings {
        let mut findings = Findings::default();
        compare(was, is, |rule| (rule == "local mon mon peer").then_some("new"), &mut findings);
        findings
    }

    #[test]
    fn a_rule_lost_gained_or_moved_is_found() {
        let was =
            rules(&["local all all peer", "host app app 10.0.0.0 255.0.0.0 md5", "host all all all reject"]);
        assert_eq!(compared(&was, &was).failed, Vec::<String>::new());
        let lost = compared(&was, &rules(&["local all all peer", "host all all all reject"]));
        assert_eq!(lost.failed, ["the rule `host app app 10.0.0.0 255.0.0.0 md5` of pg_hba.conf is missing"]);
        let moved = compared(
            &was,
            &rules(&["local all all peer", "host all all all reject", "host app app 10.0.0.0 255.0.0.0 md5"]),
        );
        assert_eq!(moved.failed.len(), 1);
        assert!(
            moved.failed[0].contains("another order: `host all all all reject` comes before"),
            "{moved:?}"
        );
        let more =
            compared(&was[..1], &rules(&["local all all peer", "local mon mon peer", "local x x trust"]));
        assert_eq!((more.failed.len(), more.notes.len()), (1, 1));
        assert_eq!(compared(&[], &was).unasked.len(), 1, "nothing is compared with nothing");
    }

    #[test]
    fn options_are_compared_and_not_told() {
        let with = |options: &str| {
            vec![Rule { options: Some(options.to_owned()), ..rules(&["host all all all ldap"])[0].clone() }]
        };
        let found = compared(&with("{ldapbindpasswd=hush}"), &with("{ldapbindpasswd=hash}"));
        assert_eq!(found.failed.len(), 2);
        assert!(!format!("{:?}", found.failed).contains("hush"), "{found:?}");
    }
}
