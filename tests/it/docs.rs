//! The documentation that ships says what is true: pages that are made are up to date (`UPDATE_DOCS=1` rewrites them),
//! examples lint, command lines parse, links lead somewhere, and what is said to be missing is missing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser as _;
use holdpoint::cli::args::Cli;
use holdpoint::cli::{book, pages};
use holdpoint::engine::Exit;
use holdpoint::lint;
use holdpoint::lint::codes::CODES;
use holdpoint::problem::Severity;
use holdpoint::runbook::schema;
use holdpoint::runbook::source::Source;
use serde_json::Value;

use crate::harness::{Registry, Sandbox};

pub fn register(r: &mut Registry) {
    r.add("docs::the_page_of_checks_is_made_from_them", &[], checks_page);
    r.add("docs::the_table_of_codes_is_made_from_them", &[], codes_table);
    r.add("docs::every_code_has_a_page_that_is_made_from_it", &[], code_pages);
    r.add("docs::every_key_is_described_and_every_described_key_exists", &[], keys);
    r.add("docs::examples_lint", &[], examples_lint);
    r.add("docs::examples_of_checks_can_be_set_up", &[], check_examples);
    r.add("docs::command_lines_parse", &[], command_lines);
    r.add("docs::names_are_plain_to_see_in_the_file", &[], names_are_plain);
    r.add("docs::values_are_judged_before_anything_runs", &[], values_judged);
    r.add("docs::links_lead_somewhere", &[], links);
    r.add("docs::codes_exist", &[], codes_exist);
    r.add("docs::exit_statuses_are_all_there", &[], exit_table);
    r.add("docs::exit_statuses_are_as_the_page_says", &[], exit_examples);
    r.add("docs::what_is_not_there_yet_is_refused", &[], not_yet);
    r.add("docs::no_place_of_one_machine", &[], no_machine);
    r.add("docs::the_readme_names_the_two_commands", &[], two_commands);
    r.add("docs::variables_reach_a_script_as_the_page_says", &[], variables);
    r.add("docs::the_first_runbook_runs", &[], first_runbook);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// README.md and everything in docs/, by its path from the root.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/incidents"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.sort();
    assert!(names.len() >= 6, "the documents are found: {names:?}");
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Compares a page with what it is made from, or rewrites it with `UPDATE_DOCS=1`.
fn compare(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(path), wanted).unwrap();
        return;
    }
    let there = read(path);
    let line = there.lines().zip(wanted.lines()).position(|(a, b)| a != b).map_or(0, |at| at + 1);
    assert!(
        there == wanted,
        "{path} is out of date at line {line}; UPDATE_DOCS=1 cargo test --test it -- docs::"
    );
}

fn checks_page() {
    compare("docs/checks.md", &pages::catalogue());
}

/// `docs/lint.md` and `docs/lint/`: no page too few, and none that is left over.
fn code_pages() {
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    if update {
        std::fs::create_dir_all(root().join("docs/lint")).unwrap();
    }
    compare("docs/lint.md", &pages::lint_index());
    for (code, _) in CODES {
        let page = lint::pages::markdown(code).unwrap_or_else(|| panic!("{code} has no page"));
        compare(&format!("docs/lint/{code}.md"), &page);
    }
    for entry in std::fs::read_dir(root().join("docs/lint")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            CODES.iter().any(|(code, _)| format!("{code}.md") == name),
            "docs/lint/{name} is no code's page"
        );
    }
}

const CODES_BEGIN: &str = "<!-- codes: made by tests/it/docs.rs -->\n";
const CODES_END: &str = "<!-- end of codes -->";

fn codes_table() {
    let path = "docs/runbook-format.md";
    let text = read(path);
    let (before, rest) = text.split_once(CODES_BEGIN).expect("the mark before the table");
    let (_, after) = rest.split_once(CODES_END).expect("the mark behind the table");
    let rows: String =
        CODES.iter().map(|(code, meaning)| format!("| [{code}](lint/{code}.md) | {meaning} |\n")).collect();
    compare(
        path,
        &format!("{before}{CODES_BEGIN}\n| code | what is wrong |\n|---|---|\n{rows}\n{CODES_END}{after}"),
    );
}

/// Pieces of a page: a heading's text, and what follows it up to the next heading of any level.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut found = vec![(String::new(), String::new())];
    for (fenced, line) in fenced_lines(text) {
        match line.strip_prefix('#').filter(|_| !fenced) {
            Some(heading) => found.push((heading.trim_start_matches('#').trim().to_owned(), String::new())),
            None => {
                let last = found.last_mut().unwrap();
                last.1.push_str(line);
                last.1.push('\n');
            }
        }
    }
    found
}

/// Lines, each with whether it stands in a fenced block (the fences themselves count as fenced).
fn fenced_lines(text: &str) -> Vec<(bool, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        found.push((inside || fence, line));
        inside ^= fence;
    }
    found
}

/// The keys in the first column of a section's tables.
fn described(text: &str, heading: &str) -> BTreeSet<String> {
    let all = sections(text);
    let (_, section) =
        all.iter().find(|(h, _)| h == heading).unwrap_or_else(|| panic!("no section `{heading}`"));
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key.to_owned()).collect()
}

fn keys() {
    let page = read("docs/runbook-format.md");
    let schema = schema::schema(&lint::catalogue());
    let properties = |def: &Value| -> BTreeSet<String> {
        def["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let of = |name: &str| properties(&schema["$defs"][name]);
    assert_eq!(described(&page, "The top level"), properties(&schema));
    for (heading, def) in [
        ("Variables", "Variable"),
        ("Targets", "Target"),
        ("Environments", "Environment"),
        ("Steps", "Step"),
        ("`sql`", "Sql"),
        ("`manual`", "Manual"),
        ("`record`", "Record"),
        ("`soak`", "Soak"),
        ("`destroys`", "DestroysLong"),
        ("`harmless`", "Harmless"),
        ("`space`", "Space"),
        ("`rollback`", "Rollback"),
        ("`falsify`", "Falsify"),
        ("`change_window`", "ChangeWindow"),
        ("`notify`", "Hook"),
    ] {
        assert_eq!(described(&page, heading), of(def), "{heading}");
    }
    assert_eq!(described(&read("docs/rehearsals.md"), "Asking for one"), of("Demand"));
    let common: BTreeSet<String> =
        holdpoint::runbook::model::COMMON_KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(described(&page, "Checks"), common);
}

/// The fenced blocks of a page: the word behind the fence, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

/// Runbooks that stand whole in the pages.
fn whole_runbooks() -> Vec<(String, String)> {
    let each = documents().into_iter().flat_map(|(name, text)| {
        let yaml = blocks(&text)
            .into_iter()
            .filter(|(word, body)| word == "yaml" && body.starts_with("holdpoint: 1\n"));
        yaml.map(|(_, body)| (name.clone(), body)).collect::<Vec<_>>()
    });
    each.collect()
}

fn judge(name: &str, text: &str) -> Vec<String> {
    let (_, problems) = book::judge(&Source::new(name, text));
    problems.iter().map(|p| format!("{} {:?} {}", p.code, p.severity, p.message)).collect()
}

fn examples_lint() {
    let all = whole_runbooks();
    assert!(!all.is_empty(), "the examples are found");
    for (name, text) in all {
        assert_eq!(judge(&name, &text), Vec::<String>::new(), "{name}:\n{text}");
    }
    for entry in std::fs::read_dir(root().join("runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, problems) = book::judge(&Source::new("runbook", text));
        assert!(problems.iter().all(|p| p.severity != Severity::Error), "{}: {problems:?}", path.display());
    }
}

/// The short examples on the pages of checks are lists of a step: each is put into one and linted.
fn check_examples() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for kind in holdpoint::check::registry::all() {
        for (word, body) in blocks(kind.docs) {
            assert_eq!(word, "yaml", "{}", kind.name);
            let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
            let text = format!(
                "holdpoint: 1\nname: example\nvars: {{ newest_event: {{ default: 7 }} }}\n\
                 targets:\n  old: {{ postgres: dbname=a }}\n  new: {{ postgres: dbname=b }}\n\
                 steps:\n  - id: before\n    record: {{ target: old, as: before }}\n  - id: here\n    run: [\"true\"]\n    timeout: 1min\n\
                 {indented}  - id: stop-new\n    run: [\"true\"]\n    timeout: 1min\n    changes: false\n"
            );
            let (_, problems) = book::judge(&Source::new(kind.name, text.clone()));
            let errors: Vec<_> = problems.iter().filter(|p| p.severity == Severity::Error).collect();
            wrong.extend((!errors.is_empty()).then(|| format!("{}: {errors:?}\n{text}", kind.name)));
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= holdpoint::check::registry::all().count(), "every check has an example");
}

/// Every command line of ours in a page: in fenced blocks (not those of YAML or JSON) and between backticks.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, body) in blocks(text) {
        if !["", "sh", "console"].contains(&word.as_str()) {
            continue;
        }
        let whole = body.replace("\\\n", " ");
        for line in whole.lines() {
            let line = line.trim_start();
            let line = line
                .split_once("$ ")
                .map_or(line, |(prompt, rest)| if prompt.contains(' ') { line } else { rest });
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            found.extend(line.starts_with("holdpoint ").then(|| line.to_owned()));
        }
    }
    let prose: String = fenced_lines(text)
        .into_iter()
        .filter(|(fenced, _)| !fenced)
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let spans = prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
    found.extend(spans.filter(|span| span.starts_with("holdpoint ")));
    found
}

/// Words of a command line, quotes honoured; what follows a pipe, a redirection or a comment is not ours.
fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.push(c),
            ('\'' | '"', None) => (quote, any) = (Some(c), true),
            ('|' | '>' | '<' | '#' | ';' | '&', None) => break,
            (c, None) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (c, None) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        found.push(word);
    }
    // A word that stands for "and so on".
    found.retain(|word| word != "…");
    found
}

fn command_lines() {
    let mut seen = 0;
    for (name, text) in documents() {
        for line in commands(&text) {
            let words = words(&line);
            if words.get(1).is_some_and(|word| word.starts_with("__")) {
                continue;
            }
            seen += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                use clap::error::ErrorKind;
                let shows = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                // `holdpoint accept` in a sentence names the command; what it still needs is no mistake there.
                let named = words.len() == 2 && error.kind() == ErrorKind::MissingRequiredArgument;
                assert!(shows || named, "{name}: {line}\n{error}");
            }
        }
    }
    assert!(seen > 40, "command lines are found: {seen}");
}

/// As GitHub makes it from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn links() {
    let mut seen = 0;
    for (name, text) in documents() {
        let prose: String = fenced_lines(&text)
            .into_iter()
            .filter(|(fenced, _)| !fenced)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        for target in
            prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, hash) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(&name).parent().unwrap().to_owned();
            let file = if path.is_empty() { root().join(&name) } else { folder.join(path) };
            // Written on a branch of its own.
            if path.ends_with("operating.md") && !file.exists() {
                continue;
            }
            assert!(file.exists(), "{name}: nothing is at {target}");
            if !hash.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                let anchors: Vec<String> =
                    sections(&text).iter().map(|(heading, _)| anchor(heading)).collect();
                assert!(anchors.iter().any(|a| a == hash), "{name}: {target} names no heading: {anchors:?}");
            }
        }
    }
    assert!(seen > 15, "links are found: {seen}");
}

fn codes_exist() {
    for (name, text) in documents() {
        for (at, _) in text.match_indices("HP") {
            let code: String = text[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
            if code.len() == 5 && code[2..].chars().all(|c| c.is_ascii_digit()) {
                assert!(CODES.iter().any(|(known, _)| *known == code), "{name}: there is no {code}");
            }
        }
    }
}

fn exit_table() {
    let page = read("docs/exit-statuses.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let listed: Vec<u8> = rows.filter_map(|(first, _)| first.parse().ok()).collect();
    let all = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Held,
        Exit::Waiting,
        Exit::Busy,
        Exit::Journal,
        Exit::Interrupted,
    ];
    assert_eq!(listed, all.map(Exit::status));
}

const EXITS: &str = "\
holdpoint: 1
name: exits
vars: { fails: { default: \"no\" }, dir: {} }
environments: { production: { protected: true } }
steps:
  - id: make
    run: |
      [ \"$fails\" = no ]
      touch \"$dir/made\"
    timeout: 1min
    preconditions: [{ file: { path: \"${dir}/ready\" } }]
    postconditions: [{ file: { path: \"${dir}/made\" } }]
  - id: look
    manual: { instructions: look at it }
    changes: false
";

fn exit_examples() {
    let sandbox = Sandbox::new();
    let book = sandbox.write("exits.yaml", EXITS).display().to_string();
    let dir = format!("dir={}", sandbox.path().display());
    let run = |more: &[&str]| sandbox.run(&[&["run", &book, "--var", &dir], more].concat());
    sandbox.run(&["lint", &book]).exits(0);
    run(&["--var", "nothing=1"]).exits(2).says("no variable is called that");
    sandbox.run(&["check", &book, "make", "--var", &dir]).exits(1);
    run(&["--env", "production"]).exits(4).says("production");
    sandbox.run(&["abandon", "exits", "--reason", "next"]).exits(0);
    run(&[]).exits(3).says("HELD");
    // A second run on the same targets is refused, and names the first.
    run(&[]).exits(3).says("of this runbook on the same targets is not");
    sandbox.write("ready", "");
    sandbox.run(&["--operator", "bob", "accept"]).exits(5).says("not offered it");
    sandbox.run(&["resume"]).exits(4).says("by hand");
    sandbox.run(&["abandon", "exits", "--reason", "enough"]).exits(2).says("may be any of");
    let unfinished = sandbox.run(&["status", "--json"]).exits(0);
    let status: Value = serde_json::from_str(&unfinished.stdout).unwrap();
    let id = status["run"].as_str().unwrap();
    sandbox.run(&["abandon", id, "--reason", "enough"]).exits(0);
    std::fs::remove_file(sandbox.join("made")).unwrap();
    run(&["--var", "fails=yes"]).exits(1).says("make FAILED");
    let journal = sandbox.store().join("runs").join(id).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"enough\"", "\"enougH\"", 1)).unwrap();
    sandbox.run(&["verify", id]).exits(6).says("damaged");
}

fn names_are_plain() {
    let text = "holdpoint: 1\nname: x\nvars: { x: { default: abc } }\ntargets: { t: { sqlite: /t.db } }\nsteps:\n\
                \x20 - { id: \"${x}\", run: [\"true\"], changes: false, timeout: 1s, capture: \"${x}\" }\n\
                \x20 - { id: r, record: { target: t, as: \"${x}\" }, postconditions: [ { file: { id: \"${x}\", path: / } } ] }\n";
    let found = judge("x", text);
    assert_eq!(found.iter().filter(|p| p.starts_with("HP028")).count(), 4, "{found:?}");
}

const SAME: &str = "\
holdpoint: 1
name: same
vars: { old: {}, new: {}, word: { secret: true, env: WORD } }
targets: { a: { sqlite: \"${old}\" }, b: { sqlite: \"${new}\" } }
steps:
  - id: drop
    destroys: { what: old, target: a, survives_in: b }
    run: [rm, \"${old}\"]
    timeout: 1min
    preconditions: [{ data_matches: { source: a, target: b } }]
    postconditions: [{ file: { path: \"${old}\", exists: false } }]
";

/// Two targets that only their values make one.
fn values_judged() {
    let sandbox = Sandbox::new();
    let book = sandbox.write("same.yaml", SAME).display().to_string();
    sandbox.run(&["lint", &book]).exits(0);
    let run = |new: &str| {
        sandbox.run(&["run", &book, "--var", "old=/a.db", "--var", new, "--var", "word=xyzzy-17"])
    };
    run("new=/a.db").exits(2).says("HP055");
    run("new=/b.db").exits(3).says("/b.db");
}

/// What README.md says is not there yet: when one of these lands, the page has to change.
fn not_yet() {
    let readme = read("README.md");
    assert!(Cli::try_parse_from(["holdpoint", "report", "x", "-o", "y"]).is_err(), "report is there now");
    assert!(readme.contains("`report`"), "README.md does not mention report");
    let head = "holdpoint: 1\nname: x\n";
    let step = "steps: [{ id: a, run: [\"true\"], changes: false, timeout: 1s";
    let found = judge("x", &format!("{head}targets: {{ t: {{ ssh: h }} }}\n{step} }}]\n"));
    assert!(found.iter().any(|p| p.starts_with("HP013") && p.contains("ssh")), "{found:?}");
    assert!(read("docs/runbook-format.md").contains("`ssh`"), "`ssh` is not on the page");
    let sandbox = Sandbox::new();
    sandbox.run(&["runs", "--store", "postgres://db/x"]).exits(2).says("later version");
}

fn no_machine() {
    for (name, text) in documents() {
        for place in ["/work/", "/root/", "/home/", "/Users/", "localhost:", "target/debug"] {
            assert!(!text.contains(place), "{name} names {place}");
        }
    }
}

fn two_commands() {
    let readme = read("README.md");
    for line in ["cargo run -- demo", "bash tests/run.sh"] {
        assert!(readme.contains(line), "{line}");
    }
    assert!(Cli::try_parse_from(["holdpoint", "demo"]).is_ok());
    let script = root().join("tests/run.sh");
    let status = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(status.success(), "{} is a script", script.display());
}

const VARIABLES: &str = "\
holdpoint: 1
name: variables
vars:
  plain: { default: 'a; echo b' }
  word: { secret: true, env: WORD }
steps:
  - id: script
    run: |
      echo \"plain is ${plain}\"
      echo \"length ${#word}\"
    timeout: 1min
    changes: false
  - id: argv
    run: [env]
    timeout: 1min
    changes: false
  - id: literal
    run: [echo, \"$${plain} is ${plain}\"]
    timeout: 1min
    changes: false
    capture: said
  - id: later
    run: [echo, \"it said ${said}\"]
    timeout: 1min
    changes: false
";

fn variables() {
    let sandbox = Sandbox::new();
    let book = sandbox.write("variables.yaml", VARIABLES).display().to_string();
    let mut command = sandbox.holdpoint();
    command.args(["run", &book]).env("WORD", "xyzzy-17").env("STRAY", "seen");
    let ran = crate::harness::finish(&mut command, std::time::Duration::from_secs(60)).exits(0);
    let ran = ran.says("plain is a; echo b").says("length 8").says("it said ${plain} is a; echo b");
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("plain=a; echo b") && all.contains("HOLDPOINT_STEP=argv"), "{all}");
    assert!(!all.contains("xyzzy") && !all.contains("word=") && !all.contains("STRAY"), "{all}");
}

/// The first whole runbook of the format's page is one that can be tried as it is.
fn first_runbook() {
    let (_, text) =
        whole_runbooks().into_iter().find(|(name, _)| name == "docs/runbook-format.md").expect("an example");
    let sandbox = Sandbox::new();
    let book = sandbox.write("rotate.yaml", &text).display().to_string();
    let place = sandbox.join("logs");
    sandbox.write("logs/app.log", "one\ntwo\n");
    let var = format!("place={}", place.display());
    sandbox.run(&["plan", &book, "--var", &var]).exits(0);
    sandbox.run(&["run", &book, "--var", &var]).exits(4).says("app.log");
    assert!(place.join("app.log").exists(), "nobody has confirmed yet");
    sandbox.run(&["resume", "--confirm", "remove=the old log"]).exits(0).says("the run is complete");
    assert!(!place.join("app.log").exists() && place.join("app.log.gz").exists());
}
