//! What `check` found, as JUnit XML: a suite for each step (or one for a file of checks), a case for each check. A check
//! that fails is a failure, one that could not be measured an error; an advisory one that does not pass is skipped, with
//! its reason.

pub mod cases;
pub mod run;

use std::time::Duration;

use indexmap::IndexMap;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::checked::{Checked, Item};
use crate::base::text::neutral;
use crate::check::Verdict;

/// The file. Characters that XML cannot carry are left out.
pub fn checks(checked: &Checked) -> Result<String, String> {
    let mut report = Report::new(neutral(&checked.name));
    report.set_time(Duration::from_millis(checked.took_ms));
    let mut suites: IndexMap<String, TestSuite> = IndexMap::new();
    for item in &checked.items {
        // `copy.post.rows` belongs to the step `copy`; a check of a file without steps has no dot.
        let step = item.evidence.check.as_str().split_once('.').map_or("checks", |(step, _)| step);
        let name = format!("{}.{step}", checked.name);
        let suite = suites.entry(name.clone()).or_insert_with(|| TestSuite::new(neutral(&name)));
        suite.add_test_case(case(item, &name));
    }
    report.add_test_suites(suites.into_values());
    report.to_string().map_err(|error| error.to_string())
}

fn case(item: &Item, suite: &str) -> TestCase {
    let (evidence, outcome) = (&item.evidence, &item.evidence.outcome);
    let mut status = match (evidence.verdict(), item.advisory) {
        (Verdict::Pass, _) => TestCaseStatus::success(),
        (_, true) => TestCaseStatus::skipped(),
        (Verdict::Fail, false) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (Verdict::Unknown, false) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let told = told(item);
    if evidence.verdict() != Verdict::Pass {
        let advisory = if item.advisory { "advisory: " } else { "" };
        status.set_type(evidence.verdict().word().to_lowercase());
        status.set_message(neutral(&format!("{advisory}{}", outcome.observed)));
        status.set_description(told.clone());
    }
    let mut case = TestCase::new(neutral(&format!("{} ({})", evidence.title, evidence.check)), status);
    case.set_classname(neutral(suite)).set_time(Duration::from_millis(evidence.took_ms));
    if evidence.verdict() == Verdict::Pass {
        case.set_system_out(told);
    }
    case
}

/// The whole evidence, for people.
fn told(item: &Item) -> String {
    let (evidence, outcome) = (&item.evidence, &item.evidence.outcome);
    let mut lines = vec![
        format!("verdict: {}", evidence.verdict().word()),
        format!("seen:    {}", outcome.observed),
        format!("wanted:  {}", outcome.expected),
    ];
    lines.extend(outcome.help.iter().map(|help| format!("next:    {help}")));
    lines.extend(outcome.details.iter().map(|detail| format!("detail:  {detail}")));
    lines.extend(
        outcome.seen.iter().map(|seen| format!("on:      {}: {}", seen.target, seen.identity.describe())),
    );
    lines.push(format!("at:      {}", evidence.at.wall));
    lines.iter().map(|line| neutral(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::evidence as seen;
    use super::*;

    #[test]
    fn verdicts_are_what_ci_shows() {
        let item = |name: &str, verdict, advisory| Item { evidence: seen(name, verdict), advisory };
        let mut hostile = item("drop.pre.z", Verdict::Fail, false);
        hostile.evidence.outcome.observed = "<&\"'\u{1b}[2J]]>\u{0}".to_owned();
        let checked = Checked::of(
            "night",
            vec![
                item("copy.pre.a", Verdict::Pass, false),
                item("copy.post.b", Verdict::Fail, false),
                item("copy.post.c", Verdict::Unknown, false),
                item("copy.post.d", Verdict::Fail, true),
                hostile,
            ],
            5,
        );
        let text = checks(&checked).unwrap();
        let report = Report::deserialize_from_str(&text).unwrap();
        assert_eq!((report.tests, report.failures, report.errors), (5, 2, 1), "{text}");
        let names: Vec<_> = report.test_suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["night.copy", "night.drop"]);
        assert!(text.contains("advisory: ") && text.contains("wanted: "), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'), "{text}");
    }
}
