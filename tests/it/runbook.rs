//! Runbooks as files: what is refused and with which words, what is accepted, what values do.
//!
//! `tests/fixtures/runbooks/bad/*.yaml` stand beside the exact text that a person sees (`*.txt`);
//! `UPDATE_SNAPSHOTS=1` writes the texts anew.

use std::path::{Path, PathBuf};

use holdpoint::check::DataProof;
use holdpoint::lint::{self, CheckFacts};
use holdpoint::problem::Problem;
use holdpoint::runbook::graph::{self, Section};
use holdpoint::runbook::load::{Document, parse};
use holdpoint::runbook::schema::{CheckSchema, schema};
use holdpoint::runbook::source::Source;
use holdpoint::runbook::vars::{self, Values};
use holdpoint::runbook::{CheckSpec, Runbook};
use holdpoint::ui::snippet;
use serde_json::{Value, json};

use crate::harness::Registry;

pub fn register(r: &mut Registry) {
    r.add("runbook::bad_ones_are_refused_in_these_words", &[], bad);
    r.add("runbook::good_ones_have_no_problems", &[], good);
    r.add("runbook::values_reach_their_places", &[], values);
    r.add("runbook::values_come_from_the_nearest_source", &[], precedence);
    r.add("runbook::all_missing_values_at_once", &[], missing);
    r.add("runbook::secrets_stay_out_of_messages", &[], secrets);
    r.add("runbook::a_value_is_judged_where_it_is_used", &[], bad_value);
    r.add("runbook::oddities_of_yaml", &[], oddities);
    r.add("runbook::random_texts_never_panic", &[], random);
    r.add("runbook::proofs_of_a_destructive_step", &[], proofs);
    r.add("runbook::hostile_sizes_end_soon", &[], hostile);
    r.add("runbook::the_schema_of_the_real_catalogue_is_understood", &[], real_catalogue);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runbooks").join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    all.sort();
    all
}

/// Checks of the shapes that checks have, for the loader; they measure nothing.
pub fn checks() -> Vec<CheckSchema> {
    let size = json!({ "type": "string", "format": "size" });
    let target = json!({ "type": "string", "format": "target" });
    let text = json!({ "type": "string", "minLength": 1 });
    let of = |name: &str, properties: Value, required: Value| CheckSchema {
        name: name.to_owned(),
        summary: format!("{name} holds"),
        schema: json!({ "type": "object", "properties": properties, "required": required }),
    };
    let room = json!({ "anyOf": [
        size,
        { "type": "string", "pattern": "^[0-9]{1,3}%$" },
        { "type": "object", "properties": { "times": { "type": "number", "exclusiveMinimum": 0 }, "size_of": target },
          "required": ["times", "size_of"], "additionalProperties": false },
    ] });
    vec![
        of(
            "backup_fresh",
            json!({ "path": text, "max_age": { "type": "string", "format": "duration" } }),
            json!(["path", "max_age"]),
        ),
        of(
            "data_matches",
            json!({
                "source": target, "recorded": { "type": "string", "format": "recorded" }, "target": target,
            }),
            json!(["target"]),
        ),
        of("disk_free", json!({ "path": text, "at_least": room }), json!(["path", "at_least"])),
        of("file", json!({ "path": text }), json!(["path"])),
        of("pg_accepts_connections", json!({ "target": target }), json!(["target"])),
        of(
            "pg_query",
            json!({ "target": target, "query": text, "at_least": { "type": "integer" }, "equals": {} }),
            json!(["target", "query"]),
        ),
    ]
}

/// What those checks say about themselves.
fn facts(spec: &CheckSpec) -> Result<CheckFacts, String> {
    let text = |key: &str| spec.params.get(key).and_then(Value::as_str).map(str::to_owned);
    let path = text("path").unwrap_or_default();
    if path.contains("${") || path == "relative" {
        return Err(format!("`path`: {path} is not an absolute path"));
    }
    let targets = ["source", "target"].into_iter().filter_map(text).collect();
    let mut facts = CheckFacts { targets, ..CheckFacts::default() };
    if spec.kind == "data_matches" {
        facts.recorded = text("recorded");
        facts.proves = match (text("source"), text("recorded")) {
            (Some(source), _) => Some(proof(holdpoint::check::ProofSource::Target(source), text("target"))),
            (None, Some(name)) => Some(proof(holdpoint::check::ProofSource::Recorded(name), text("target"))),
            _ => return Err("`source` or `recorded` is needed".to_owned()),
        };
    }
    Ok(facts)
}

fn proof(of: holdpoint::check::ProofSource, held_by: Option<String>) -> DataProof {
    DataProof { of, held_by: held_by.unwrap(), databases: vec![], tables: vec![] }
}

fn judge(source: &Source) -> Vec<Problem> {
    let doc = match parse(source.clone(), &checks()) {
        Ok(doc) => doc,
        Err(problems) => return problems,
    };
    match doc.bind_for_lint() {
        Ok(runbook) => lint::lint(&doc, &runbook, &facts),
        Err(problems) => problems,
    }
}

fn load(text: &str) -> Document {
    let source = Source::new("test.yaml", text);
    parse(source.clone(), &checks())
        .unwrap_or_else(|problems| panic!("{}", snippet::render(&problems, &source, false, 100)))
}

fn resolve(
    doc: &Document,
    environment: Option<&str>,
    given: &[(&str, &str)],
    env: &[(&str, &str)],
) -> Result<Values, Vec<Problem>> {
    let given: Vec<(String, String)> =
        given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    vars::resolve(doc, environment, &given, &env)
}

fn bad() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut wrong = Vec::new();
    let all = files("bad");
    assert!(all.len() >= 30, "only {} broken runbooks", all.len());
    for path in all {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = Source::from_bytes(&name, &std::fs::read(&path).unwrap());
        let problems = judge(&source);
        assert!(!problems.is_empty(), "{name} has no problems");
        let drawn = snippet::render(&problems, &source, false, 80);
        let beside = path.with_extension("txt");
        if update {
            std::fs::write(&beside, &drawn).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != drawn {
            wrong.push(format!("--- {name}\n{drawn}"));
        }
    }
    assert!(wrong.is_empty(), "other words than in the snapshots:\n{}", wrong.join("\n"));
}

fn good() {
    for path in files("good") {
        let source = Source::from_bytes(path.to_string_lossy(), &std::fs::read(&path).unwrap());
        let problems = judge(&source);
        assert!(problems.is_empty(), "{}", snippet::render(&problems, &source, false, 100));
    }
}

fn upgrade() -> Document {
    load(&std::fs::read_to_string(folder("good/upgrade.yaml")).unwrap())
}

fn values() {
    let doc = upgrade();
    let values = resolve(&doc, Some("staging"), &[("to", "17")], &[("PGPASSWORD", "correct horse")]).unwrap();
    let runbook: Runbook = doc.bind(&values).unwrap();
    assert_eq!(runbook.title.as_deref(), Some("Move main from PostgreSQL 13 to 17"));
    assert!(runbook.about.as_deref().unwrap().contains("${5} is not"));
    assert_eq!(runbook.targets["was"].sqlite.as_deref(), Some("/srv/staging/dumps/homeserver.db"));
    let copy = &runbook.steps[1];
    assert_eq!(copy.env["PGPASSWORD"], "correct horse");
    assert_eq!(copy.preconditions[0].params["at_least"], json!({ "times": 1.3, "size_of": "old" }));
    assert_eq!(copy.preconditions[1].params["at_least"], json!("20GiB"));
    assert_eq!(copy.preconditions[1].common.id.as_deref(), Some("tmp"));
    let holdpoint::runbook::Work::Run(holdpoint::runbook::model::Run::Argv(argv)) = copy.work().unwrap()
    else {
        panic!()
    };
    assert_eq!(argv[1..], ["-v", "17", "13", "main"]);
    let Some(holdpoint::runbook::model::Run::Script(script)) = &copy.rollback.as_ref().unwrap().run else {
        panic!()
    };
    assert!(script.contains("\"${to}\" main stop") && script.contains("${anything:-not ours}"), "{script}");
    let stop = &runbook.steps[5];
    assert_eq!(stop.title.as_deref(), Some("Stop the new cluster, which uses ${used}"), "not captured yet");
    assert_eq!(runbook.steps[7].destroys.as_ref().unwrap().what, "cluster 13/main");
    let mut later = values.clone();
    later.capture("used", "4.2G").unwrap();
    assert_eq!(
        doc.bind(&later).unwrap().steps[5].title.as_deref(),
        Some("Stop the new cluster, which uses 4.2G")
    );
    assert!(later.capture("used", "two\nlines").is_err());
    // The default `16.10` is a text, not the number 16.1.
    let plain = resolve(&doc, Some("staging"), &[], &[("PGPASSWORD", "correct horse")]).unwrap();
    assert_eq!(plain.get("to"), Some("16.10"));
    let env = vars::script_env(&plain, "echo ${from}");
    assert_eq!(env.get("from").map(String::as_str), Some("13"));
    assert!(!env.contains_key("password"));
    assert!(vars::script_env(&plain, "psql <<< $password").contains_key("password"));
    assert!(!vars::script_env(&plain, "psql <<< $mypassword").contains_key("password"));
}

fn precedence() {
    let doc = load(
        "holdpoint: 1\nname: demo\nvars: { a: { default: from-default, env: HP_A } }\n\
         environments: { e: { vars: { a: from-environment } } }\nsteps: [{ id: s, run: [/bin/true] }]\n",
    );
    let value = |environment, given: &[(&str, &str)], env: &[(&str, &str)]| {
        resolve(&doc, environment, given, env).unwrap().get("a").map(str::to_owned)
    };
    let process = &[("HP_A", "from-process")][..];
    assert_eq!(value(Some("e"), &[("a", "from-hand")], process).as_deref(), Some("from-hand"));
    assert_eq!(value(Some("e"), &[], process).as_deref(), Some("from-process"));
    assert_eq!(value(Some("e"), &[], &[]).as_deref(), Some("from-environment"));
    assert_eq!(value(None, &[], &[]).as_deref(), Some("from-default"));
}

fn drawn(doc: &Document, problems: &[Problem]) -> String {
    snippet::render(problems, doc.source(), false, 100)
}

fn missing() {
    let doc = upgrade();
    let problems = resolve(&doc, None, &[("form", "1"), ("from", "")], &[]).unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["HP032", "HP031", "HP030", "HP030"], "{}", drawn(&doc, &problems));
    let text = drawn(&doc, &problems);
    for part in [
        "did you mean `from`?",
        "the value of `from` is empty (from --var from)",
        "directory that holds the nightly dumps",
        "--var backups=…, --env staging or --env production",
        "the environment variable PGPASSWORD",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let problems =
        resolve(&doc, Some("prodution"), &[("from", "1"), ("from", "2")], &[("PGPASSWORD", "abcde")])
            .unwrap_err();
    let text = drawn(&doc, &problems);
    for part in ["did you mean `production`?", "given twice", "shorter than 6 characters"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("abcde"), "{text}");
    for value in ["a\nb", "a\0b", "a\x1b[2Jb"] {
        assert!(
            resolve(&doc, Some("staging"), &[("to", value)], &[("PGPASSWORD", "correct horse")]).is_err()
        );
    }
}

fn secrets() {
    let doc = load(
        "holdpoint: 1\nname: demo\nvars: { pw: { secret: true, env: PW } }\nsteps:\n  - id: s\n    run: [/bin/true]\n    \
         timeout: \"${pw}\"\n    preconditions: [{ disk_free: { path: /, at_least: \"${pw}\" } }]\n",
    );
    let values = resolve(&doc, None, &[], &[("PW", "hunter22-hunter22")]).unwrap();
    let problems = doc.bind(&values).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(!format!("{problems:?}").contains("hunter22"), "{problems:?}");
    assert!(drawn(&doc, &problems).contains("the secret value of `pw` is not"), "{}", drawn(&doc, &problems));
}

fn bad_value() {
    let doc = load(
        "holdpoint: 1\nname: demo\nvars: { t: {}, n: {} }\nsteps:\n  - id: s\n    run: [/bin/true]\n    timeout: \"${t}\"\n    \
         changes: ${n}\n    preconditions: [{ disk_free: { path: /, at_least: { times: \"${n}\", size_of: x } } }]\ntargets: { x: { sqlite: /x } }\n",
    );
    let values = resolve(&doc, None, &[("t", "90"), ("n", "maybe")], &[]).unwrap();
    let text = drawn(&doc, &doc.bind(&values).unwrap_err());
    for part in [
        "test.yaml:7:15",
        "`timeout` wants a duration: `90` has no unit (the value of `t` stands in it)",
        "`changes` must be true or false, but this is the text `maybe`",
        "`times` must be a number",
        "3 errors",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(doc.bind_for_lint().is_ok(), "without values, stand-ins are used");
    let values = resolve(&doc, None, &[("t", "90s"), ("n", "true")], &[]).unwrap();
    assert_eq!(doc.bind(&values).unwrap_err().len(), 1);
}

fn oddities() {
    // What is written, and what a title becomes; `None` when it is refused.
    for (written, read) in [
        ("no", Some("no")),
        ("off", Some("off")),
        ("9.6", Some("9.6")),
        ("16.10", Some("16.10")),
        ("017", Some("017")),
        ("1_000", Some("1_000")),
        ("0x1F", Some("0x1F")),
        ("12:30:45", Some("12:30:45")),
        ("2026-11-20", Some("2026-11-20")),
        ("true", Some("true")),
        (".inf", Some(".inf")),
        ("'null'", Some("null")),
        ("=", Some("=")),
        ("<<", Some("<<")),
        ("null", None),
        ("~", None),
        ("", None),
        ("\"a\\tb\"", Some("a\tb")),
        ("'it''s'", Some("it's")),
        ("a # not this", Some("a")),
        ("a#b", Some("a#b")),
        ("|\n  one\n  two", Some("one\ntwo\n")),
        (">-\n  one\n  two", Some("one two")),
        ("one\n  two", Some("one two")),
        ("é “x”", Some("é “x”")),
        ("\"\\u00e9\"", Some("é")),
        ("\"a\\x00b\"", None),
        ("a\u{85}b", None),
        ("a\u{2028}b", None),
        ("\u{feff}a", None),
        ("@a", None),
        ("`a`", None),
        ("%a", None),
        ("&a b", None),
        ("*a", None),
        ("! a", None),
        ("a: b", None),
        ("- a", None),
        ("[a]", None),
        ("|\n  x\u{85}y", None),
        ("|\n  x\ry", None),
        ("|\r\n  x\r\n  y", Some("x\ny\n")),
    ] {
        let text =
            format!("holdpoint: 1\nname: demo\ntitle: {written}\nsteps: [{{ id: s, run: [/bin/true] }}]\n");
        let title = parse(Source::new("t", text.as_str()), &checks())
            .ok()
            .and_then(|doc| doc.bind(&Values::default()).ok())
            .map(|runbook| runbook.title.unwrap());
        assert_eq!(title.as_deref(), read, "{written:?}");
    }
}

fn random() {
    use proptest::test_runner::{Config, TestRunner};
    let words = proptest::sample::select(vec![
        "holdpoint",
        "name",
        "steps",
        "id",
        "run",
        "targets",
        "vars",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        "|",
        ">",
        "'",
        "\"",
        "\\",
        "${",
        "$${",
        "a",
        "1",
        "null",
        "&",
        "*",
        "!",
        "#",
        "%",
        "?",
        ",",
        "<<",
        "---",
        "\t",
        "disk_free",
        "preconditions",
        "until",
        "destroys",
        "é",
        "\u{85}",
        "\u{202e}",
        "1GiB",
        "1h",
        "postgres",
        "=",
    ]);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let texts = (proptest::collection::vec(words, 0..60), ".{0,40}");
    runner
        .run(&texts, |(words, tail)| {
            for text in [
                words.concat(),
                format!("holdpoint: 1\nname: demo\n{}", words.concat()),
                format!("{}{tail}", words.concat()),
            ] {
                let source = Source::new("t", text.as_str());
                let problems = judge(&source);
                let _ = snippet::render(&problems, &source, true, 80);
            }
            Ok(())
        })
        .unwrap();
    // A good one with one place changed, everywhere.
    let good = std::fs::read_to_string(folder("good/upgrade.yaml")).unwrap();
    for at in (0..good.len()).step_by(7).filter(|at| good.is_char_boundary(*at)) {
        for piece in ["", ":", "\n", "- ", "${", "'"] {
            let text = format!("{}{piece}{}", &good[..at], good[at..].chars().skip(1).collect::<String>());
            let source = Source::new("t", text.as_str());
            let _ = snippet::render(&judge(&source), &source, false, 80);
        }
    }
}

fn proofs() {
    let doc = upgrade();
    let values = resolve(&doc, Some("staging"), &[], &[("PGPASSWORD", "correct horse")]).unwrap();
    let runbook = doc.bind(&values).unwrap();
    let at = graph::position(&runbook, "drop-old").unwrap();
    let ids = |all: Vec<holdpoint::base::CheckId>| all.into_iter().map(|id| id.0).collect::<Vec<_>>();
    let found = ids(lint::proof::proofs(&runbook, at, &facts).unwrap());
    assert_eq!(found, ["copy.post.data_matches", "copy.post.as-recorded"]);
    assert_eq!(lint::proof::proofs(&runbook, 0, &facts), None);
    let guards = ids(graph::guards(&runbook, at).into_iter().map(|(id, _)| id).collect());
    assert!(guards.contains(&"drop-old.pre.backup_fresh".to_owned()));
    assert!(!guards.contains(&"copy.post.pg_accepts_connections".to_owned()), "released by stop-new");
    assert_eq!(
        graph::check_ids(&runbook.steps[1], Section::Undo)[0].0.as_str(),
        "copy.undo.pg_accepts_connections"
    );
}

fn hostile() {
    let many = |line: fn(usize) -> String, n: usize| (0..n).map(line).collect::<String>();
    let head = "holdpoint: 1\nname: demo\nsteps: [{ id: s, run: [/bin/true] }]\n";
    for (what, text) in [
        ("brackets", "[".repeat(200_000)),
        ("maps", "{a: ".repeat(100_000)),
        ("indentation", many(|n| format!("{}a:\n", " ".repeat(n)), 2_000)),
        ("unknown keys", format!("{head}{}", many(|n| format!("k{n}: 1\n"), 100_000))),
        ("variables", format!("{head}vars:\n{}", many(|n| format!("  k{n}: {{ default: x }}\n"), 50_000))),
        ("one key", format!("{head}{}", "k: 1\n".repeat(50_000))),
        ("long text", format!("{head}title: {}\n", "x${".repeat(300_000))),
        ("long name", format!("holdpoint: 1\nname: {}\n", "a".repeat(1_000_000))),
        ("too large", "#".repeat(9 << 20)),
    ] {
        let began = std::time::Instant::now();
        let source = Source::new("t", text);
        let problems = judge(&source);
        let drawn = snippet::render(&problems, &source, false, 80);
        assert!(!problems.is_empty() || what == "variables", "{what}");
        assert!(drawn.len() < 40_000_000, "{what}: {}", drawn.len());
        assert!(began.elapsed().as_secs() < 200, "{what} took {:?}", began.elapsed());
        println!("{what}: {:?}, {} problems, {} drawn", began.elapsed(), problems.len(), drawn.len());
    }
}

fn real_catalogue() {
    let checks = lint::catalogue();
    let source = Source::new("t", "holdpoint: 1\nname: demo\nsteps: [{ id: s, run: [/bin/true] }]\n");
    let problems = parse(source, &checks).err();
    assert!(problems.is_none(), "{problems:?}");
    let schema = schema(&checks);
    for check in &checks {
        let body = &schema["$defs"][format!("check.{}", check.name)];
        assert!(body["properties"]["until"]["description"].is_string(), "{}", check.name);
        for (name, property) in body["properties"].as_object().unwrap() {
            let explained = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(explained, "{}: `{name}` has no description", check.name);
        }
    }
}
