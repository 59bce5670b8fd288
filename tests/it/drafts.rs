//! `holdpoint new`: templates that lint, and guides that become runbooks which cannot be run until they are filled in.

use holdpoint::cli::book;
use holdpoint::cli::draft::TEMPLATES;
use holdpoint::lint::codes;
use holdpoint::problem::{Problem, Severity};
use holdpoint::runbook::Runbook;
use holdpoint::runbook::model::Run;
use holdpoint::runbook::source::Source;

use crate::harness::{Ran, Registry, Sandbox};

pub fn register(r: &mut Registry) {
    r.add("new::every_template_lints", &[], templates);
    r.add("new::scripts_of_templates_are_bash", &[], scripts);
    r.add("new::the_first_template_runs", &[], plays);
    r.add("new::never_overwrites", &[], overwrites);
    r.add("new::wrong_names_are_told", &[], wrong_names);
    r.add("new::the_volunteers_guide_becomes_a_safe_runbook", &[], volunteers);
    r.add("new::odd_guides", &[], odd);
    r.add("new::a_nasty_guide_comes_through_unchanged", &[], nasty);
}

fn judge(text: &str) -> Vec<Problem> {
    book::judge(&Source::new("draft.yaml", text)).1
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{} {}", problem.code, problem.message)).collect()
}

/// Through the linter's values: variables without one stay as they are.
fn bound(text: &str) -> Runbook {
    let (document, problems) = book::judge(&Source::new("draft.yaml", text));
    document.unwrap_or_else(|| panic!("{:?}\n{text}", told(&problems))).bind_for_lint().unwrap()
}

fn templates() {
    let sandbox = Sandbox::new();
    let list = sandbox.run(&["new", "--list"]).exits(0);
    for template in &TEMPLATES {
        list.clone().says(template.name);
        let file = format!("{}.yaml", template.name);
        sandbox.run(&["new", "--template", template.name, "-o", &file]).exits(0).says("is written");
        let written = std::fs::read_to_string(sandbox.join(&file)).unwrap();
        assert_eq!(told(&judge(&written)), Vec::<String>::new(), "{}", template.name);
        assert!(written.contains("\n# ") || written.starts_with("# "), "{} has no comments", template.name);
        sandbox.run(&["lint", &file]).exits(0).says("no problems");
    }
    let plain = sandbox.run(&["new"]).exits(0);
    assert_eq!(plain.stdout, TEMPLATES[0].text);
    // What a person does next.
    sandbox.run(&["plan", "minimal.yaml", "--var", "place=/srv/logs"]).exits(0).says("remove");
}

fn scripts() {
    let mut seen = 0;
    for template in &TEMPLATES {
        for step in bound(template.text).steps {
            let rollback = step.rollback.as_ref().and_then(|rollback| rollback.run.clone());
            for run in [step.run.clone(), rollback].into_iter().flatten() {
                let Run::Script(script) = run else { continue };
                let checked =
                    std::process::Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
                let why = String::from_utf8_lossy(&checked.stderr);
                assert!(checked.status.success(), "{} {}: {why}", template.name, step.id);
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen} scripts");
}

fn plays() {
    let sandbox = Sandbox::new();
    sandbox.write("logs/app.log", "one\ntwo\n");
    sandbox.run(&["new", "-o", "book.yaml"]).exits(0);
    let place = format!("place={}", sandbox.join("logs").display());
    sandbox.run(&["run", "book.yaml", "--var", &place]).exits(4).says("the plain log");
    assert!(sandbox.join("logs/app.log").exists(), "nobody has confirmed yet");
    sandbox.run(&["resume", "--confirm", "remove=the plain log"]).exits(0).says("the run is complete");
    assert!(!sandbox.join("logs/app.log").exists() && sandbox.join("logs/app.log.gz").exists());
}

fn overwrites() {
    let sandbox = Sandbox::new();
    sandbox.write("mine.yaml", "precious");
    sandbox.run(&["new", "-o", "mine.yaml"]).exits(2).says("there already");
    sandbox.write("guide.md", "# A\n\n```sh\nls\n```\n");
    sandbox.run(&["new", "--from", "guide.md", "--output", "mine.yaml"]).exits(2).says("left as it is");
    std::os::unix::fs::symlink(sandbox.join("nowhere"), sandbox.join("link.yaml")).unwrap();
    sandbox.run(&["new", "-o", "link.yaml"]).exits(2);
    assert!(!sandbox.join("nowhere").exists(), "a link is not followed");
    assert_eq!(std::fs::read_to_string(sandbox.join("mine.yaml")).unwrap(), "precious");
    sandbox.run(&["new", "-o", "no/such/dir.yaml"]).exits(2).says("check the directory");
}

fn wrong_names() {
    let sandbox = Sandbox::new();
    sandbox.run(&["new", "--template", "postgres-mov"]).exits(2).says("did you mean `postgres-move`?");
    sandbox.run(&["new", "--template", "zzz"]).exits(2).says("--list");
    sandbox.run(&["new", "--from", "none.md"]).exits(2).says("cannot read the guide");
    sandbox.run(&["new", "--from", "none.md", "--template", "minimal"]).exits(2);
    sandbox.write("empty.md", "Just words.\n");
    sandbox.run(&["new", "--from", "empty.md"]).exits(2).says("no commands");
}

const GUIDE: &str = include_str!("../fixtures/guides/server-upgrade.md");

fn draft(sandbox: &Sandbox, guide: &str) -> (Ran, String) {
    sandbox.write("guide.md", guide);
    let ran = sandbox.run(&["new", "--from", "guide.md"]).exits(0);
    let text = ran.stdout.clone();
    (ran, text)
}

/// The guide that the night of June 2021 was worked by, in our own words.
fn volunteers() {
    let sandbox = Sandbox::new();
    sandbox.write("guide.md", GUIDE);
    sandbox.run(&["new", "--from", "guide.md", "-o", "book.yaml"]).exits(0).says("still to be filled in");
    let text = std::fs::read_to_string(sandbox.join("book.yaml")).unwrap();
    let runbook = bound(&text);
    // Every command of the guide is there, in order, as it was written.
    let scripts: Vec<String> = runbook
        .steps
        .iter()
        .filter_map(|step| match &step.run {
            Some(Run::Script(script)) => Some(script.clone()),
            _ => None,
        })
        .collect();
    let commands = [
        "df -h /var/lib/postgresql\n",
        "sudo systemctl stop matrix-synapse\n",
        "sed -i 's/stretch/buster/g' /etc/apt/sources.list\n",
        "apt-get update\napt-get upgrade\napt-get dist-upgrade\n",
        "reboot\n",
        "pg_dropcluster 11 main --stop\n",
        "pg_upgradecluster -v 11 9.6 main\n",
        "sudo pg_dropcluster 9.6 main\n",
        "sudo apt-get purge postgresql-9.6\n",
        "rm -rf /srv/old-dumps\n",
        "systemctl start matrix-synapse\n",
    ];
    assert_eq!(scripts, commands, "{text}");
    // What destroys says so, and is guarded; nothing else does.
    for step in &runbook.steps {
        let Some(Run::Script(script)) = &step.run else { continue };
        let destroys = ["dropcluster", "rm -rf", "purge"].iter().any(|word| script.contains(word));
        assert_eq!(step.destroys.is_some(), destroys, "{}: {script}", step.id);
        assert_eq!(!step.preconditions.is_empty(), destroys, "{}", step.id);
        assert!(!step.postconditions.is_empty(), "{} has nothing that measures its result", step.id);
        assert!(step.timeout.is_some(), "{}", step.id);
    }
    let record = runbook.steps.iter().position(|step| step.record.is_some()).expect("a record");
    let copy = runbook
        .steps
        .iter()
        .position(|step| matches!(&step.run, Some(Run::Script(s)) if s.contains("upgradecluster")));
    assert!(record < copy.unwrap(), "recorded before the copy");
    let tell =
        runbook.steps.iter().find(|step| step.id == "tell-people").expect("prose becomes work by hand");
    assert!(tell.manual.as_ref().unwrap().instructions.contains("announcements room"));
    assert!(text.contains("In the guide it printed") && text.contains("Filesystem"), "{text}");
    // It cannot be run, and says what is missing.
    let refused = sandbox.run(&["run", "book.yaml"]).exits(2);
    refused
        .says("HP075")
        .says("cluster 9.6/main")
        .says("still to be filled in")
        .says("cannot be run as it is");
    let problems = judge(&text);
    let todo = problems.iter().filter(|problem| problem.code == "HP075").count();
    assert!(todo >= 15, "{:?}", told(&problems));
    // Filled in, as its author would.
    let filled = fill(&text);
    let left: Vec<Problem> = judge(&filled).into_iter().filter(|p| p.severity == Severity::Error).collect();
    assert_eq!(told(&left), Vec::<String>::new(), "{filled}");
    let runbook = bound(&filled);
    let drop = runbook
        .steps
        .iter()
        .find(|step| step.destroys.as_ref().is_some_and(|d| d.what == "cluster 9.6/main"));
    let drop = drop.expect("the clean-up");
    assert_eq!(drop.destroys.as_ref().unwrap().target.as_deref(), Some("old"));
    assert!(drop.preconditions.iter().any(|check| check.kind == "rows_match"));
    assert!(drop.preconditions.iter().any(|check| check.kind == "backup_fresh"));
    // Taking a guard away is found out.
    let without =
        filled.replace("      - rows_match: { recorded: before, target: new, at_least: true }\n", "");
    assert!(judge(&without).iter().any(|problem| problem.code == "HP043"), "{:?}", told(&judge(&without)));
}

/// Puts something sensible in the place of every TODO.
fn fill(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("# If this changes nothing") {
            out.push_str("    changes: false\n");
            continue;
        }
        let Some((before, rest)) = line.split_once("TODO: ").filter(|_| !line.trim_start().starts_with('#'))
        else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let value = if before.contains("cluster:") {
            "11/main"
        } else if before.contains("what:") && rest.starts_with("cluster") {
            rest.trim_end_matches('"')
        } else if before.contains("what:") {
            "what goes"
        } else if before.contains("paths:") {
            "/srv/old-dumps"
        } else if before.contains("path:") {
            "/srv/dumps"
        } else {
            "test -e /etc/passwd"
        };
        let (before, end) = match before.strip_suffix('"') {
            Some(before) => (before, &rest[rest.rfind('"').unwrap() + 1..]),
            None => (before, ""),
        };
        out.push_str(&format!("{before}\"{value}\"{end}\n"));
    }
    out
}

fn odd() {
    let sandbox = Sandbox::new();
    // Destruction that is only mentioned in a sentence, once.
    let (_, text) =
        draft(&sandbox, "# T\n\n## Clean\n\nNow run `dropdb synapse` and you are done. `rm` is a command.\n");
    let runbook = bound(&text);
    let scripts = runbook.steps.iter().filter(|step| step.run.is_some()).count();
    assert_eq!(scripts, 1, "{text}");
    assert!(runbook.steps.iter().any(|step| step.destroys.is_some()), "{text}");
    // SQL, in a block and at a prompt.
    let (_, text) =
        draft(&sandbox, "# T\n\n```sql\nselect 1;\n```\n\n```\npostgres=# drop database x;\n```\n");
    let runbook = bound(&text);
    assert_eq!(runbook.steps.iter().filter(|step| step.sql.is_some()).count(), 2, "{text}");
    assert!(judge(&text).iter().any(|p| p.code == "HP075" && p.message.contains("postgres")), "{text}");
    // A loop is not taken apart; configuration is not run; the same heading twice.
    let (_, text) = draft(
        &sandbox,
        "# T\n\n## A\n\n```sh\nfor x in a b; do\n  rm -r /srv/$x\ndone\n```\n\n## A\n\n```yaml\nrun: x\n```\n\nEdit it.\n\n    ls -l\n",
    );
    let runbook = bound(&text);
    let ids: Vec<&str> = runbook.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["a", "a-2"], "{text}");
    assert!(runbook.steps[0].destroys.is_some());
    assert!(runbook.steps[1].guide.as_ref().unwrap().contains("run: x"), "{text}");
    // No heading, and a title that gives no name.
    let (_, text) = draft(&sandbox, "```sh\nls\n```\n");
    assert_eq!(bound(&text).steps[0].id, "guide", "{text}");
    let (_, text) = draft(&sandbox, "# \u{65e5}\u{672c}\n\n```sh\nls\n```\n");
    assert_eq!(bound(&text).steps[0].id, "step-1", "{text}");
    let (_, text) = draft(&sandbox, "---\ntitle: x\n---\n# T\r\n\r\n```sh\r\nls\r\n```\r\n");
    assert!(matches!(&bound(&text).steps[0].run, Some(Run::Script(script)) if script == "ls\n"), "{text}");
}

/// Texts that YAML would read in another way.
fn nasty() {
    let sandbox = Sandbox::new();
    let script = "  echo 'a: b' # c\n\tcat <<'E'\n- x: |\n  {y} [z] & *a !b %c @d `e` \"f\" ${g}   \n\nE\ntrue -- \u{e9}\u{65e5}  \n";
    let prose = "It's: a \"test\" of ${home}, - # | > & *\n\n* item\n    deeper";
    let guide = format!("# T: \"x\" # y ${{z}}\n\n## S: 'a' - b\n\n{prose}\n\n```sh\n{script}```\n");
    let (_, text) = draft(&sandbox, &guide);
    let runbook = bound(&text);
    assert_eq!(runbook.title.as_deref(), Some("T: \"x\" # y ${z}"), "{text}");
    let step = &runbook.steps[0];
    assert!(matches!(&step.run, Some(Run::Script(back)) if back == script), "{text}");
    assert_eq!(step.guide.as_deref().map(str::trim_end), Some(prose), "{text}");
    assert_eq!(step.title.as_deref(), Some("S: 'a' - b"));
    assert!(judge(&text).iter().all(|problem| codes::meaning(problem.code).is_some()));
}
