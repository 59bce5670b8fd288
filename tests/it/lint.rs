//! What `lint` prints, as people, GitHub and code scanning read it; and the pages of its codes: every example is held to what
//! it says.

use std::path::PathBuf;

use holdpoint::cli::book;
use holdpoint::lint::{codes, pages};
use holdpoint::problem::{Problem, Severity};
use holdpoint::runbook::graph;
use holdpoint::runbook::source::Source;
use holdpoint::runbook::vars;
use serde_json::Value;

use crate::harness::{Need, Registry, Sandbox, finish, npm};

pub fn register(r: &mut Registry) {
    r.add("lint::every_example_shows_what_its_page_says", &[], examples);
    r.add("lint::a_code_is_explained", &[], explained);
    r.add("lint::github_annotations_stand_at_their_lines", &[], github);
    r.add("lint::sarif_has_rules_regions_and_several_files", &[], sarif);
    r.add("lint::sarif_follows_its_schema", &[Need::SarifSchema], schema);
    r.add("lint::json_is_a_list_of_findings", &[], json);
    r.add("lint::a_secret_is_never_drawn", &[], covered);
    r.add("lint::what_outlives_what_it_measures_is_named_and_nothing_else", &[], outlived);
}

/// The problems of an example, what is given on the command line included.
fn problems(text: &str, given: &[&str]) -> Vec<Problem> {
    let (document, mut problems) = book::judge(&Source::new("example.yaml", text));
    let Some(document) = document.filter(|_| !given.is_empty()) else { return problems };
    let mut environment = None;
    let mut values = Vec::new();
    for pair in given.chunks(2) {
        match pair {
            ["--env", name] => environment = Some(*name),
            ["--var", value] => {
                let (name, value) = value.split_once('=').unwrap();
                values.push((name.to_owned(), value.to_owned()));
            }
            other => panic!("{other:?}"),
        }
    }
    problems.extend(vars::resolve(&document, environment, &values, &|_| None).err().unwrap_or_default());
    problems
}

fn examples() {
    let mut wrong = Vec::new();
    for (code, _) in codes::CODES {
        let page = pages::text(code).unwrap_or_else(|| panic!("{code} has no page"));
        let examples = pages::examples(page);
        if pages::UNSHOWN.iter().any(|(unshown, _)| unshown == code) {
            assert!(examples.is_empty(), "{code} has examples: take it off the list");
            continue;
        }
        for side in [true, false] {
            if !examples.iter().any(|example| example.wrong == side) {
                wrong.push(format!("{code}: no {} example", if side { "wrong" } else { "right" }));
            }
        }
        for example in examples {
            let found = problems(&pages::whole(&example.text), &example.given);
            let own: Vec<&Problem> = found.iter().filter(|problem| problem.code == *code).collect();
            let seen = || found.iter().map(|p| format!("{} {}", p.code, p.message)).collect::<Vec<_>>();
            if example.wrong {
                if own.is_empty() {
                    wrong.push(format!("{code}: the wrong example is not found: {:?}", seen()));
                }
                let warning = own.iter().all(|problem| problem.severity == Severity::Warning);
                if warning != codes::is_warning(code) {
                    wrong.push(format!("{code}: error or warning? {:?}", seen()));
                }
            } else if !own.is_empty() || found.iter().any(|problem| problem.severity == Severity::Error) {
                wrong.push(format!("{code}: the right example is wrong: {:?}", seen()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every check below "Longer than" is found, with the step that destroys; none below "Not so". Followed, the advice silences
/// it, and what proved the copy in front of the destruction still does.
fn outlived() {
    let text = include_str!("../fixtures/lint/outlived.yaml");
    let found = problems(text, &[]);
    let line = |problem: &Problem| text[..problem.places[0].range.start].lines().count();
    let begins = 1 + text.lines().position(|line| line.contains("# Longer than")).unwrap();
    let ends = text.lines().position(|line| line.contains("# Not so")).unwrap();
    assert!(found.iter().all(|problem| problem.code == "HP076"), "{found:?}");
    assert_eq!(found.iter().map(line).collect::<Vec<_>>(), (begins + 1..=ends).collect::<Vec<_>>());

    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for problem in &found {
        let help = problem.help.as_deref().unwrap();
        let until = help.split('`').find(|part| part.starts_with("until: ")).unwrap();
        let line = &mut lines[line(problem) - 1];
        *line = line.replace(", until: drop-kept", "").replace(" }", &format!(", {until} }}"));
    }
    let followed = lines.join("\n");
    let left = problems(&followed, &[]);
    assert!(left.is_empty(), "{left:?}");
    let document = book::judge(&Source::new("example.yaml", followed.as_str())).0.unwrap();
    let runbook = document.bind_for_lint().unwrap();
    let drop = graph::position(&runbook, "drop-old").unwrap();
    let proofs = holdpoint::lint::proof::proofs(&runbook, drop, &holdpoint::lint::facts).unwrap();
    assert!(proofs.iter().any(|id| id.as_str() == "copy.post.data_matches"), "{proofs:?}");
    let after = graph::guards(&runbook, drop + 1);
    assert!(after.iter().all(|(id, _)| id.as_str() != "copy.post.data_matches"), "{after:?}");
}

fn explained() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(&["lint", "--explain", "hp053"]).exits(0);
    assert_eq!(page.stdout, pages::markdown("HP053").unwrap());
    page.says("destruction that is not declared").says("Wrong").says("pg_dropcluster");
    sandbox
        .run(&["lint", "--explain", "HP058"])
        .exits(2)
        .says("no code `HP058`")
        .says("the nearest is HP057");
    sandbox.run(&["lint", "--explain", "pods"]).exits(2).says("docs/lint.md");
    sandbox.run(&["lint"]).exits(2);
    let json = sandbox.run(&["lint", "--explain", "HP070", "--json"]).exits(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["code"].as_str(), json["warning"].as_bool()), (Some("HP070"), Some(true)));
}

const BAD: &str = "\
holdpoint: 1
name: demo
steps:
  - id: clean-up
    run: [pg_dropcluster, '13', main]     # \u{1f600}
    postconditions: [{ file: { path: /, advisory: true } }]
";

fn github() {
    let sandbox = Sandbox::new();
    sandbox.write("books/a,b.yaml", BAD);
    sandbox.write(
        "books/good.yaml",
        "holdpoint: 1\nname: x\nsteps: [{ id: a, manual: { instructions: x }, changes: false }]\n",
    );
    let ran = sandbox.run(&["lint", "--format", "github", "books/a,b.yaml", "books/good.yaml"]).exits(2);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let error = lines.iter().find(|line| line.starts_with("::error ")).expect("an error");
    assert!(
        error.starts_with("::error file=books/a%2Cb.yaml,line=5,endLine=5,col=11,endColumn=37,title=HP053 "),
        "{error}"
    );
    assert!(error.contains("::`pg_dropcluster` destroys, and"), "{error}");
    assert!(
        lines.iter().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")),
        "{lines:?}"
    );
    sandbox.run(&["lint", "--format", "github", "books/good.yaml"]).exits(0);
}

fn scan(sandbox: &Sandbox) -> Value {
    sandbox.write("books/one.yaml", BAD);
    sandbox.write("two \u{e9}.yaml", &BAD.replace("  - id", "\n\n  - id"));
    sandbox.write("broken.yaml", "holdpoint: [1\n");
    let ran = sandbox
        .run(&["lint", "--format", "sarif", "books/one.yaml", "two \u{e9}.yaml", "broken.yaml"])
        .exits(2);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout))
}

fn sarif() {
    let sandbox = Sandbox::new();
    let log = scan(&sandbox);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "utf16CodeUnits");
    let uris: Vec<&str> =
        run["artifacts"].as_array().unwrap().iter().map(|a| a["location"]["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["books/one.yaml", "two%20%C3%A9.yaml", "broken.yaml"]);
    let results = run["results"].as_array().unwrap();
    let destroys: Vec<&Value> = results.iter().filter(|result| result["ruleId"] == "HP053").collect();
    assert_eq!(destroys.len(), 2);
    assert_eq!(destroys[0]["level"], "error");
    let region = |result: &Value| result["locations"][0]["physicalLocation"]["region"].clone();
    assert_eq!(region(destroys[0])["startLine"], 5);
    assert_eq!(region(destroys[1])["startLine"], 7);
    for result in results {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(
            rule["help"]["markdown"]
                .as_str()
                .unwrap()
                .starts_with(&format!("# {}", rule["id"].as_str().unwrap()))
        );
    }
    assert!(results.iter().any(|result| result["ruleId"] == "HP061" && result["level"] == "warning"));
    // The same finding in the same file, further down.
    let print = |log: &Value| {
        let results = log["runs"][0]["results"].as_array().unwrap();
        let one = results.iter().find(|result| result["ruleId"] == "HP053").unwrap();
        one["partialFingerprints"]["holdpointFinding/v1"].as_str().unwrap().to_owned()
    };
    let before = print(&log);
    sandbox.write("books/one.yaml", &format!("# moved\n\n{BAD}"));
    let ran = sandbox.run(&["lint", "--format", "sarif", "books/one.yaml"]).exits(2);
    assert_eq!(print(&serde_json::from_str(&ran.stdout).unwrap()), before);
}

/// The schema of the standard, by the validator that the YAML language server brings along.
fn schema() {
    let sandbox = Sandbox::new();
    let log = scan(&sandbox);
    let file = sandbox.write("log.json", &log.to_string());
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["level"] = "loud".into();
    let broken = sandbox.write("broken.json", &wrong.to_string());
    let script = sandbox.write("validate.js", VALIDATE);
    let validate = |file: &PathBuf| {
        let mut command = std::process::Command::new("node");
        command.arg(&script).arg(npm()).arg(file);
        finish(&mut command, std::time::Duration::from_secs(60))
    };
    validate(&file).exits(0).says("valid");
    validate(&broken).exits(1).says("level");
}

const VALIDATE: &str = "\
const path = require('path'), fs = require('fs');
const npm = process.argv[2];
const Ajv = require(path.join(npm, 'node_modules/ajv-draft-04')).default;
const schema = JSON.parse(fs.readFileSync(path.join(npm, 'package/lib/schemas/sarif-2.1.0-rtm.5.json')));
const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, unicodeRegExp: false });
const check = ajv.compile(schema);
const valid = check(JSON.parse(fs.readFileSync(process.argv[3])));
console.log(valid ? 'valid' : JSON.stringify(check.errors));
process.exit(valid ? 0 : 1);
";

fn json() {
    let sandbox = Sandbox::new();
    sandbox.write("one.yaml", BAD);
    for arguments in [&["lint", "--format", "json", "one.yaml"][..], &["lint", "--json", "one.yaml"]] {
        let ran = sandbox.run(arguments).exits(2);
        let all: Value = serde_json::from_str(&ran.stdout).unwrap();
        let one = all.as_array().unwrap().iter().find(|one| one["code"] == "HP053").unwrap();
        assert_eq!((one["file"].as_str(), one["line"].as_u64()), (Some("one.yaml"), Some(5)));
        assert_eq!((one["column"].as_u64(), one["end_column"].as_u64()), (Some(11), Some(37)));
    }
    sandbox.run(&["lint", "--format", "sarf", "one.yaml"]).exits(2).says("sarif");
}

fn covered() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runbooks/bad/52-lint-secrets.yaml"),
    )
    .unwrap();
    sandbox.write("secrets.yaml", &text);
    for format in ["text", "json", "github", "sarif"] {
        let ran = sandbox.run(&["lint", "--format", format, "secrets.yaml"]).exits(2);
        ran.clone().says("HP073");
        for secret in ["correct-horse", "battery", "syt_YWRt", "b3Blbn"] {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{format}: {}", ran.stdout);
        }
    }
}
