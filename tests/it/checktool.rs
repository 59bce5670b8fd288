//! `check` as a tool of its own: a file of checks alone, every form of output, exit statuses, what is refused.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{Ran, Registry, Sandbox};

pub fn register(r: &mut Registry) {
    r.add("checktool::every_form_tells_the_same_story", &[], every_form);
    r.add("checktool::a_plugin_is_never_silent", &[], plugin);
    r.add("checktool::only_a_pass_of_what_gates_passes", &[], verdicts);
    r.add("checktool::output_is_there_whole_or_not_at_all", &[], output);
    r.add("checktool::a_thousand_checks_are_all_measured", &[], thousand);
    r.add("checktool::a_file_of_checks_is_no_runbook", &[], no_runbook);
    r.add("checktool::samples_outlive_the_call_only_where_asked", &[], samples);
}

const SITE: &str = "holdpoint: 1
name: site
vars: { there: { default: /etc } }
checks:
  - file: { id: there, path: \"${there}\" }
  - file: { id: gone, path: /nowhere/at/all }
  - file: { id: nice, path: /nowhere/either, advisory: true }
  - command: { id: odd, run: [/nonexistent] }
";

fn ask(site: &str, arguments: &[&str]) -> Ran {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", site);
    let mut all = vec!["check", "site.yaml"];
    all.extend(arguments);
    sandbox.run(&all)
}

fn every_form() {
    let text = ask(SITE, &[]).exits(1).says("advisory shown, never a gate");
    text.says("1 of 4 checks pass; 2 FAIL, 1 UNKNOWN; 1 of them advisory.");
    for arguments in [&["--format", "json"][..], &["--json"]] {
        let json: Value = serde_json::from_str(&ask(SITE, arguments).exits(1).stdout).unwrap();
        assert_eq!(
            (&json["format"], &json["pass"], &json["failed"], &json["unknown"], &json["warnings"]),
            (&"holdpoint.check".into(), &false.into(), &2.into(), &1.into(), &1.into())
        );
        let verdicts: Vec<_> = json["evidence"].as_array().unwrap().iter().map(|e| &e["verdict"]).collect();
        assert_eq!(verdicts, ["pass", "fail", "fail", "unknown"]);
        assert_eq!(json["evidence"][2]["advisory"], true);
    }
    let junit = ask(SITE, &["--format", "junit"]).exits(1).stdout;
    let report = quick_junit::Report::deserialize_from_str(&junit).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (4, 1, 1), "{junit}");
    let metrics = ask(SITE, &["--format", "prometheus"]).exits(1).stdout;
    assert!(metrics.contains("holdpoint_checks{file=\"site\",verdict=\"unknown\"} 1\n"), "{metrics}");
    assert!(metrics.contains("holdpoint_pass{file=\"site\"} 0\n"), "{metrics}");
}

fn plugin() {
    let nagios = |site: &str, arguments: &[&str]| ask(site, &[&["--format", "nagios"], arguments].concat());
    let bad = nagios(SITE, &[]).exits(2);
    let first = bad.stdout.lines().next().unwrap();
    assert!(first.starts_with("HOLDPOINT CRITICAL - site: ") && first.contains(" | passed=1;"), "{first}");
    assert_eq!(bad.stdout.matches('|').count(), 1, "{}", bad.stdout);
    let only = |line: &str| {
        format!("holdpoint: 1\nname: site\nchecks:\n  - file: {{ id: there, path: /etc }}\n{line}")
    };
    nagios(&only(""), &[]).exits(0).says("HOLDPOINT OK - site: the check passes");
    nagios(&only("  - file: { id: a, path: /nowhere, advisory: true }\n"), &[])
        .exits(1)
        .says("HOLDPOINT WARNING");
    nagios(&only("  - command: { run: [/nonexistent] }\n"), &[]).exits(3).says("HOLDPOINT UNKNOWN");
    // Where there is nothing to measure the plugin still says so, where it is looked for.
    for (site, arguments) in [("holdpoint: 1\n", &[][..]), (SITE, &["--var", "no=1"]), (SITE, &["copy"])] {
        let lost = nagios(site, arguments).exits(3);
        assert!(lost.stdout.starts_with("HOLDPOINT UNKNOWN - "), "{lost:?}");
    }
}

fn verdicts() {
    let advisory = "holdpoint: 1\nname: s\nchecks:\n  - file: { path: /etc, advisory: true }\n";
    ask(advisory, &[]).exits(1).says("nothing is proved");
    let with = "holdpoint: 1\nname: s\nchecks:\n  - file: { path: /etc }\n  - file: { id: b, path: /no, advisory: true }\n";
    ask(with, &[]).exits(0).says("1 of 2 checks pass; 1 FAIL");
    ask("holdpoint: 1\nname: s\nchecks: []\n", &[]).exits(2).says("at least 1");
    ask("holdpoint: 1\nname: s\nchecks:\n  - file: { path: /etc, max_age: 0s }\n", &[]).exits(2);
}

fn output() {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", SITE);
    let ran = sandbox.run(&["check", "site.yaml", "--format", "prometheus", "-o", "site.prom"]).exits(1);
    assert_eq!(ran.stdout, "");
    let written = std::fs::read_to_string(sandbox.path().join("site.prom")).unwrap();
    assert!(written.starts_with("# HELP holdpoint_check_verdict") && written.ends_with('\n'));
    let mut names: Vec<_> = std::fs::read_dir(sandbox.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.starts_with("site"));
    names.sort();
    assert_eq!(names, ["site.prom", "site.yaml"], "nothing is left beside it");
    sandbox.run(&["check", "site.yaml", "-o", "no/such/folder/x"]).exits(2).says("cannot be written");
    let text = sandbox.run(&["check", "site.yaml", "-o", "site.txt"]).exits(1);
    assert_eq!(text.stdout, "");
    assert!(!std::fs::read_to_string(sandbox.path().join("site.txt")).unwrap().contains('\u{1b}'));
}

fn thousand() {
    let mut site = "holdpoint: 1\nname: many\nchecks:\n".to_owned();
    for n in 0..1000 {
        writeln!(site, "  - file: {{ id: c{n}, path: /etc }}").unwrap();
    }
    ask(&site, &[]).exits(0).says("All 1000 checks pass.");
    site.push_str("  - file: { id: last, path: /nowhere }\n");
    ask(&site, &[]).exits(1).says("1000 of 1001 checks pass; 1 FAIL, 0 UNKNOWN.");
}

fn no_runbook() {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", SITE);
    for command in ["run", "plan"] {
        sandbox
            .run(&[command, "site.yaml"])
            .exits(2)
            .says("has checks alone, and no steps")
            .says("holdpoint check");
    }
    sandbox.run(&["lint", "site.yaml"]).exits(0);
    sandbox.run(&["check", "site.yaml", "copy"]).exits(2).says("no step `copy`");
    let wrong = |rest: &str, words: &str| {
        ask(&format!("holdpoint: 1\nname: s\n{rest}"), &[]).exits(2).says(words);
    };
    wrong("", "needs `steps` or `checks`");
    wrong("checks:\n  - fil: { path: / }\n", "did you mean `file`?");
    wrong("checks:\n  - file: { path: /, until: copy }\n", "no step is called that");
    wrong("checks:\n  - file: { path: / }\n  - file: { path: /etc }\n", "two checks of this list");
    wrong("checks:\n  - pg_query: { target: db, sql: select 1, equals: 1 }\n", "no target is called that");
    wrong(
        "checks:\n  - file: { path: / }\nsteps:\n  - { id: a, run: [\"true\"] }\n",
        "cannot stand in one file",
    );
    // A record is known only to the run that made it.
    let recorded =
        "targets: { db: { sqlite: /nowhere } }\nchecks:\n  - rows_match: { recorded: x, target: db }\n";
    ask(&format!("holdpoint: 1\nname: s\n{recorded}"), &[])
        .exits(1)
        .says("no manifest `x` has been recorded");
}

fn samples() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "site.yaml",
        "holdpoint: 1\nname: s\nchecks:\n  - disk_time_to_full: { path: /tmp, at_least: 1h }\n",
    );
    sandbox.run(&["check", "site.yaml"]).exits(1).says("UNKNOWN");
    let before = std::fs::read_dir(sandbox.path()).unwrap().count();
    sandbox.run(&["check", "site.yaml", "--samples", "kept"]).exits(1);
    assert_eq!(std::fs::read_dir(sandbox.path()).unwrap().count(), before + 1);
    let kept = || {
        std::fs::read_dir(sandbox.path().join("kept"))
            .unwrap()
            .flatten()
            .map(|e| e.metadata().unwrap().len())
            .sum::<u64>()
    };
    let first = kept();
    // Samples that lie closer than half a second take each other's place.
    std::thread::sleep(std::time::Duration::from_millis(600));
    sandbox.run(&["check", "site.yaml", "--samples", "kept"]).exits(1);
    assert!(first > 0 && kept() > first, "the second call added to the first one's samples");
}
