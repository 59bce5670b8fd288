//! What CI systems read: JUnit, annotations, the summary. Also when what commands print is hostile.

use quick_junit::{Report, TestCase, TestCaseStatus};

use super::Stage;
use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    r.add("rehearse::junit_of_a_failure", &[], junit);
    r.add("rehearse::hostile_output", &[], hostile);
    r.add("rehearse::reports_that_cannot_be_written", &[], unwritable);
}

fn report(stage: &Stage, name: &str) -> Report {
    Report::deserialize_from_str(&std::fs::read_to_string(stage.0.path(name)).unwrap()).unwrap()
}

fn case<'r>(report: &'r Report, suite: &str, part: &str) -> &'r TestCase {
    let suite =
        report.test_suites.iter().find(|s| s.name.as_str() == suite).unwrap_or_else(|| panic!("{suite}"));
    suite.test_cases.iter().find(|c| c.name.as_str().contains(part)).unwrap_or_else(|| panic!("{part}"))
}

fn skipped(case: &TestCase) -> String {
    match &case.status {
        TestCaseStatus::Skipped { message, .. } => message.as_ref().unwrap().as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn junit() {
    let stage = Stage::new();
    // What is copied is short of a row: its exit status is 0.
    let db = rusqlite::Connection::open(stage.0.path("staging/short.db")).unwrap();
    db.execute_batch("create table t (a integer primary key, b text); insert into t values (1, 'one')")
        .unwrap();
    drop(db);
    stage
        .0
        .sandbox
        .write("copy.sh", "set -euo pipefail\ncp \"$1/short.db\" \"$1/new.db\"\necho all is well\n");
    let options = ["--junit", "j.xml", "--summary", "s.md", "--receipt", "r.json", "--format", "github"];
    let mut command = stage.command("rehearse book.yaml --env staging", &options);
    command.env("GITHUB_SHA", "abc123").env("GITHUB_STEP_SUMMARY", stage.0.path("steps.md"));
    let ran = crate::harness::finish(&mut command, std::time::Duration::from_secs(60)).exits(1);
    assert!(!stage.there("r.json"), "failing gives no receipt");
    let text = std::fs::read_to_string(stage.0.path("book.yaml")).unwrap();
    let line = text.lines().position(|line| line.contains("id: copy")).unwrap() + 1;
    ran.says(&format!("::error file=book.yaml,line={line},title=copy failed::"));

    let report = report(&stage, "j.xml");
    assert_eq!(report.failures + report.errors, 1, "{report:?}");
    let names: Vec<_> = report.test_suites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["move.rehearsal", "move.count", "move.tell", "move.copy", "move.watch", "move.clean"]);
    let properties = &report.test_suites[0].properties;
    assert!(properties.iter().any(|p| p.name.as_str() == "commit" && p.value.as_str() == "abc123"));
    let work = case(&report, "move.copy", "(copy: run)");
    assert!(
        matches!(work.status, TestCaseStatus::Success { .. }),
        "its exit status was 0: the check found it"
    );
    assert!(work.system_out.as_ref().unwrap().as_str().contains("all is well"));
    let proof = case(&report, "move.copy", "copy.post.data_matches");
    let TestCaseStatus::NonSuccess { description: Some(told), .. } = &proof.status else {
        panic!("{proof:?}")
    };
    assert!(told.as_str().contains("seen:") && told.as_str().contains("wanted:"), "{}", told.as_str());
    assert!(skipped(case(&report, "move.tell", "(tell: manual)")).contains("NOT REHEARSED"));
    assert!(skipped(case(&report, "move.clean", "(clean: run)")).contains("not reached: `copy` is failed"));
    assert!(skipped(case(&report, "move.clean", "guard: ")).contains("not reached"));

    let summary = std::fs::read_to_string(stage.0.path("s.md")).unwrap();
    assert!(summary.starts_with("## ❌ Rehearsal of move: failed: 2 of 5 steps are done"), "{summary}");
    assert!(
        summary.contains("- seen: ") && summary.contains("not reached") && summary.contains("all is well")
    );
    assert_eq!(summary, std::fs::read_to_string(stage.0.path("steps.md")).unwrap());
}

fn hostile() {
    let stage = Stage::new();
    let evil = "::error file=x::pwned\\n##[error]pwned\\n]]></system-out><testcase name=\"fake\"/>\\n```\\n# head <script>alert(1)</script> @everyone\\n\\033[2J\\001\\377\\xc0";
    stage.0.sandbox.write(
        "copy.sh",
        &format!("set -euo pipefail\nprintf '{evil}'\nhead -c 300000 /dev/zero | tr '\\0' x\necho; echo the end; exit 1\n"),
    );
    let ran = stage.rehearsed(&["--junit", "j.xml", "--summary", "s.md", "--format", "github"]).exits(1);
    // Everything that the command printed stands between a word that switches commands off and the same word again.
    let all = ran.stderr.lines().collect::<Vec<_>>();
    let token =
        all[1..].iter().find_map(|line| line.strip_prefix("::stop-commands::")).expect("a token").to_owned();
    let mut heard = true;
    for line in &all {
        match line.strip_prefix("::stop-commands::") {
            Some(_) => heard = false,
            None if *line == format!("::{token}::") => heard = true,
            None => assert!(
                !heard || !line.contains("pwned") || line.starts_with("::error file=book.yaml"),
                "{line}"
            ),
        }
    }
    let report = report(&stage, "j.xml");
    assert!(!report.test_suites.iter().flat_map(|s| &s.test_cases).any(|c| c.name.as_str() == "fake"));
    let out = case(&report, "move.copy", "(copy: run)").system_out.as_ref().unwrap().as_str().to_owned();
    assert!(out.len() < 70_000 && out.contains("left out") && out.contains("the end"), "{}", out.len());
    assert!(!out.contains('\u{1b}') && !out.contains('\u{1}'));
    let summary = std::fs::read_to_string(stage.0.path("s.md")).unwrap();
    assert!(!summary.contains("\n# head") && !summary.contains('\u{1b}'), "{summary}");
}

fn unwritable() {
    let stage = Stage::new();
    for option in ["--junit", "--summary", "--receipt"] {
        stage.rehearsed(&[option, "none/such/file"]).exits(2).says("nothing was begun");
    }
    assert!(stage.0.runs().is_empty());
}
