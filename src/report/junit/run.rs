//! A rehearsal as JUnit XML: a suite for each step, in it a case for its work and one for each check that stood at it.
//!
//! A check that fails is a failure, one that could not be measured an error. What was not reached or not rehearsed is
//! skipped, with the reason: a reader never finds it among what passed. A rehearsal that did not pass has at least one
//! failure or error.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::told;
use crate::base::text::neutral;
use crate::check::Verdict;
use crate::report::checked::Item;
use crate::report::course::{Case, Fate, Stage};
use crate::report::rehearsed::{Manner, Rehearsed};
use crate::report::words;

/// The longest output that is attached, in bytes; of longer ones the end.
const OUTPUT: usize = 64 << 10;

/// The file. Characters that XML cannot carry are left out.
pub fn rehearsal(all: &Rehearsed) -> Result<String, String> {
    let course = &all.course;
    let mut report = Report::new(neutral(&course.name));
    report.set_time(Duration::from_millis(course.took_ms));
    let mut suites = vec![proofs(all)];
    suites.extend(course.stages.iter().map(|stage| suite(all, stage)));
    if !course.closing.is_empty() {
        let name = format!("{}.end", course.name);
        let mut end = named(&name);
        end.add_test_cases(course.closing.iter().map(|case| check(case, &name, "")));
        suites.push(end);
    }
    // What was tried case by case has its findings there.
    if !all.trials.is_empty() && all.suites.is_empty() {
        suites.push(trials(all));
    }
    suites.extend(all.suites.iter().map(super::cases::suite));
    let found = suites.iter().any(|suite| suite.failures + suite.errors > 0);
    if !all.passed() && !found {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(neutral(&all.headline())).set_type("incomplete");
        let name = format!("{}.result", course.name);
        let mut suite = named(&name);
        suite.add_test_case(placed(TestCase::new("The rehearsal passes", status), &name));
        suites.push(suite);
    }
    report.add_test_suites(suites);
    report.to_string().map_err(|error| error.to_string())
}

fn named(name: &str) -> TestSuite {
    TestSuite::new(neutral(name))
}

fn placed(mut case: TestCase, suite: &str) -> TestCase {
    case.set_classname(neutral(suite));
    case
}

fn failed(kind: NonSuccessKind, word: &str, message: &str, more: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(words::flat(message)).set_description(neutral(more));
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(words::flat(why));
    status
}

/// The first suite: where it was rehearsed, and how that was proved. It carries the properties.
fn proofs(all: &Rehearsed) -> TestSuite {
    let course = &all.course;
    let name = format!("{}.rehearsal", course.name);
    let mut suite = named(&name);
    let digest = course.runbook.as_str().to_owned();
    let environment = course.environment.clone().unwrap_or_default();
    let mut properties = vec![
        ("run", course.run.0.clone()),
        ("runbook", digest),
        ("engine", course.engine.clone()),
        ("environment", environment.clone()),
        ("host", course.host.clone()),
        ("by", course.by.clone()),
        ("began", course.began.to_string()),
    ];
    properties.extend(all.around.iter().map(|(name, value)| (*name, value.clone())));
    suite.add_properties(properties.into_iter().map(|(name, value)| Property::new(name, neutral(&value))));
    let status = match all.refusals.first() {
        Some(first) => failed(NonSuccessKind::Failure, "refused", first, &all.refusals.join("\n")),
        None => TestCaseStatus::success(),
    };
    let title = format!("The targets are {environment}'s own");
    let mut case = TestCase::new(neutral(&title), status);
    let compared = all.compared.iter().map(|(target, other, how)| format!("{target} and {other}: {how}"));
    let weak = all.weaknesses.iter().map(|weakness| format!("weakness: {weakness}"));
    let lines: Vec<String> = compared.chain(weak).collect();
    case.set_system_out(neutral(&lines.join("\n")));
    suite.add_test_case(placed(case, &name));
    suite
}

fn suite(all: &Rehearsed, stage: &Stage) -> TestSuite {
    let name = format!("{}.{}", all.course.name, stage.id);
    let mut suite = named(&name);
    if let Some(took) = stage.took_ms {
        suite.set_time(Duration::from_millis(took));
    }
    let manner = all.manner(&stage.id);
    suite.add_property(Property::new("rehearsed", neutral(&manner.words())));
    if let Some(what) = &stage.destroys {
        suite.add_property(Property::new("destroys", neutral(what)));
    }
    let (guards, others): (Vec<&Case>, Vec<&Case>) =
        stage.cases.iter().partition(|case| matches!(case.role, "guard" | "before"));
    let reason = match &stage.fate {
        Fate::NotReached(why) => format!("not reached: {why}"),
        other => format!("not measured: the step is {}", other.word()),
    };
    suite.add_test_cases(guards.into_iter().map(|case| check(case, &name, &reason)));
    suite.add_test_case(work(stage, &manner, &name));
    suite.add_test_cases(others.into_iter().map(|case| check(case, &name, &reason)));
    suite
}

fn work(stage: &Stage, manner: &Manner, suite: &str) -> TestCase {
    let ending = stage.ending.as_deref().unwrap_or("it was not begun");
    let status = match &stage.fate {
        Fate::NotReached(why) => skipped(&format!("not reached: {why}")),
        Fate::Held(blockers) => {
            let lines = blockers.iter().map(|b| {
                format!(
                    "{} ({})\nseen:   {}\nwanted: {}\nnext:   {}",
                    b.title, b.subject, b.observed, b.expected, b.next
                )
            });
            let n = crate::base::text::count(blockers.len() as u64, "blocker", "blockers");
            failed(
                NonSuccessKind::Failure,
                "held",
                &format!("the hold point stays closed: {n}"),
                &lines.collect::<Vec<_>>().join("\n\n"),
            )
        }
        Fate::Doubt(why) => failed(NonSuccessKind::Error, "in doubt", why, ending),
        Fate::Failed(why) if !stage.worked || !stage.cases.iter().any(crate::report::rehearsed::bad) => {
            failed(NonSuccessKind::Failure, "failed", why, ending)
        }
        _ if *manner == Manner::Not => skipped(&manner.words()),
        Fate::Done | Fate::Failed(_) => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(neutral(&format!("{} ({}: {})", stage.title, stage.id, stage.work)), status);
    if let Some(took) = stage.took_ms {
        case.set_time(Duration::from_millis(took));
    }
    let mut out = format!("{}\n", manner.words());
    if stage.ending.is_some() {
        out.push_str(&format!("{ending}\n"));
    }
    if let Some(observed) = &stage.observed {
        out.push_str(&format!("observed: {observed}\n"));
    }
    out.push_str(&bounded(&stage.output));
    case.set_system_out(neutral(&out));
    placed(case, suite)
}

/// The end of a long text, from the beginning of a line.
pub fn bounded(text: &str) -> String {
    if text.len() <= OUTPUT {
        return text.to_owned();
    }
    let from = text.len() - OUTPUT;
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let end = text.get(from..).unwrap_or_default();
    let end = end.split_once('\n').map_or(end, |(_, rest)| rest);
    format!("… {} bytes before this are left out\n{end}", text.len() - end.len())
}

fn check(case: &Case, suite: &str, reason: &str) -> TestCase {
    let name = neutral(&format!("{}: {} ({})", case.role, case.title, case.id));
    let Some(evidence) = &case.evidence else {
        return placed(TestCase::new(name, skipped(reason)), suite);
    };
    let item = Item { evidence: evidence.clone(), advisory: case.advisory };
    let told = told(&item);
    let observed = &evidence.outcome.observed;
    let status = match evidence.verdict() {
        Verdict::Pass => TestCaseStatus::success(),
        _ if case.advisory => skipped(&format!("advisory: {observed}")),
        Verdict::Fail => failed(NonSuccessKind::Failure, "fail", observed, &told),
        Verdict::Unknown => failed(NonSuccessKind::Error, "unknown", observed, &told),
    };
    let mut made = TestCase::new(name, status);
    made.set_time(Duration::from_millis(evidence.took_ms));
    made.set_system_out(told);
    placed(made, suite)
}

fn trials(all: &Rehearsed) -> TestSuite {
    let name = format!("{}.trials", all.course.name);
    let mut suite = named(&name);
    for trial in &all.trials {
        let status = match &trial.outcome {
            Ok(_) => TestCaseStatus::success(),
            Err(found) => failed(NonSuccessKind::Failure, "finding", found, found),
        };
        let mut case = TestCase::new(neutral(&trial.title), status);
        if let Ok(seen) = &trial.outcome {
            case.set_system_out(neutral(seen));
        }
        suite.add_test_case(placed(case, &name));
    }
    suite
}
