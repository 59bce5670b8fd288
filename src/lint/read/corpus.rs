//! Every case of `tests/corpus/` is read, and has to be judged as it says. Each begins with a line
//!
//! ```text
//! === LANGUAGE FOUND ;; FOUND
//! ```
//!
//! where LANGUAGE is `sh` (a step's script), `argv` (one argument a line) or `sql`, and each FOUND is `!` (destroys for
//! certain), `-` (destroys) or `?` (cannot be read) with the text that is pointed at, or the code of a warning. `=== file
//! NAME` gives a file beside the runbook to the cases after it; `=== #` is a comment.

use std::collections::BTreeMap;

use super::files::{Files, Local};
use super::{Kind, LATER, Reader, UNKNOWN, Word};

struct Beside(BTreeMap<String, String>);

impl Files for Beside {
    fn find(&self, path: &str, _: Option<&str>) -> Local {
        let name = path.trim_start_matches("./").to_owned();
        match self.0.get(&name) {
            Some(text) if text.starts_with("BINARY") => {
                Local::Refused { name, why: "it is no text".to_owned() }
            }
            Some(text) => Local::Text { name, text: text.as_str().into() },
            None if path.starts_with(['/', '~']) => Local::Outside,
            None => Local::Missing,
        }
    }
}

fn value(name: &str) -> String {
    match name {
        "to" => "16".to_owned(),
        "tool" => "dropdb".to_owned(),
        "place" => "/srv/place".to_owned(),
        "later" => LATER.to_string(),
        _ => UNKNOWN.to_string(),
    }
}

fn found(language: &str, body: &str, files: &Beside) -> String {
    let mut reader = Reader::new(files, None, &value);
    match language {
        "sh" => reader.step_script(body),
        "sql" => reader.statements(body, true),
        "argv" => {
            let mut at = 0;
            let words = body.lines().map(|line| {
                let word = Word::verbatim(line, at);
                at += line.len() + 1;
                word
            });
            reader.argv(&words.collect::<Vec<_>>());
        }
        other => panic!("no language is called {other}"),
    }
    let mut all: Vec<String> = Vec::new();
    for finding in &reader.found {
        let text = body.get(finding.range.clone()).unwrap_or("no place").replace('\n', "\\n");
        all.push(match finding.kind {
            Kind::Destroys { certain: true } => format!("! {text}"),
            Kind::Destroys { certain: false } => format!("- {text}"),
            Kind::Unreadable => format!("? {text}"),
            Kind::Lies(code) => code.to_owned(),
        });
    }
    all.dedup();
    all.join(" ;; ")
}

#[test]
fn every_case_is_judged_as_it_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let (mut cases, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut files = Beside(BTreeMap::new());
        for case in format!("\n{text}").split("\n=== ").skip(1) {
            let (head, body) = case.split_once('\n').unwrap_or((case, ""));
            let (language, wanted) = head.split_once(' ').unwrap_or((head, ""));
            match language {
                "#" => {}
                "file" => drop(files.0.insert(wanted.to_owned(), format!("{body}\n"))),
                _ => {
                    cases += 1;
                    let got = found(language, body, &files);
                    if got != wanted {
                        let name = path.file_name().unwrap().to_string_lossy().into_owned();
                        wrong.push(format!("{name}: {body}\n    wanted: {wanted}\n    found:  {got}"));
                    }
                }
            }
        }
    }
    assert!(cases >= 500, "only {cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn random_texts_are_read_to_their_end() {
    use proptest::test_runner::{Config, TestRunner};
    const PARTS: &[&str] = &[
        "rm",
        " ",
        "-r",
        "/x",
        "$(",
        ")",
        "`",
        "'",
        "\"",
        "\\",
        "\n",
        "<<EOF",
        "<<-'A b'",
        "EOF",
        ";",
        "|",
        "&&",
        "{",
        "}",
        "(",
        "((",
        "$x",
        "${x",
        "${x:-",
        "[[",
        "if",
        "then",
        "fi",
        "while",
        "do",
        "done",
        "case",
        "esac",
        "f()",
        "eval",
        "sh",
        "-c",
        "psql",
        "<<<",
        "<",
        "> ",
        "2>&1",
        "é",
        "\u{e001}",
        "$'\\x",
        "$tag$",
        "--",
        "/*",
        "drop table",
        "delete from",
        "execute",
        "do",
        "create function",
        "as",
        "\\!",
        "#",
        "read -ra c ",
        "\"${c[@]}\"",
        "shift",
        "\"$@\"",
        "find",
        "-exec",
        "xargs",
        "ssh h",
        "trap",
        "alias a=",
        "./a.sh",
        "a=(",
        "{a,b}",
        "echo -e",
        "env -S",
        "parallel",
        ":::",
        "x=$(mktemp -d)",
    ];
    let files = Beside(BTreeMap::from([("a.sh".to_owned(), "rm -r \"$1\"\n".to_owned())]));
    let texts = proptest::collection::vec(proptest::sample::select(PARTS), 0..40);
    let config = Config { failure_persistence: None, ..Config::with_cases(400) };
    TestRunner::new(config)
        .run(&texts, |parts| {
            for text in [parts.concat(), parts.join(" ")] {
                for sql in [false, true] {
                    let mut reader = Reader::new(&files, None, &value);
                    if sql {
                        reader.statements(&text, true)
                    } else {
                        reader.step_script(&text)
                    }
                    for finding in &reader.found {
                        assert!(text.get(finding.range.clone()).is_some(), "{text:?}: {finding:?}");
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
