//! Cases that are no checks of their own: guards that were made to fail, faults that were tried.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::base::text::neutral;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// As it should be.
    Well,
    /// A finding, in one line.
    Failure(String),
    /// It was not shown, and why.
    Skipped(String),
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub came: Came,
    /// Everything about it, line by line.
    pub told: Vec<String>,
    /// Milliseconds.
    pub took_ms: u64,
}

/// A suite of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// A suite as it stands in a report.
pub fn suite(suite: &Suite) -> TestSuite {
    let mut made = TestSuite::new(neutral(&suite.name));
    for case in &suite.cases {
        let told: Vec<String> = case.told.iter().map(|line| neutral(line)).collect();
        let told = told.join("\n");
        let mut status = match &case.came {
            Came::Well => TestCaseStatus::success(),
            Came::Failure(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Came::Skipped(_) => TestCaseStatus::skipped(),
        };
        if let Came::Failure(why) | Came::Skipped(why) = &case.came {
            status.set_message(neutral(why)).set_description(told.clone());
        }
        let mut test = TestCase::new(neutral(&case.name), status);
        test.set_classname(neutral(&suite.name)).set_time(Duration::from_millis(case.took_ms));
        if case.came == Came::Well {
            test.set_system_out(told);
        }
        made.add_test_case(test);
    }
    made
}

/// A file of such suites alone.
pub fn file(name: &str, suites: &[Suite]) -> Result<String, String> {
    let mut report = Report::new(neutral(name));
    report.add_test_suites(suites.iter().map(suite));
    report.to_string().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_failure_and_what_was_not_shown_is_skipped() {
        let case = |name: &str, came| Case {
            name: name.to_owned(),
            came,
            told: vec!["\u{1b}[2J<&".to_owned()],
            took_ms: 7,
        };
        let all = Suite {
            name: "falsify".to_owned(),
            cases: vec![
                case("a", Came::Well),
                case("b", Came::Failure("still passes".to_owned())),
                case("c", Came::Skipped("no way".to_owned())),
            ],
        };
        let text = file("night", &[all]).unwrap();
        let report = Report::deserialize_from_str(&text).unwrap();
        assert_eq!((report.tests, report.failures, report.errors), (3, 1, 0), "{text}");
        assert!(
            text.contains("still passes") && text.contains("no way") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}
