//! Rehearsals for real: staging and production are two folders with SQLite files, and what a rehearsal leaves is read as
//! a CI system reads it.

mod asked;
mod ended;
mod reports;
mod servers;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ran, Registry, finish};
use crate::play::{Play, lines};

pub fn register(r: &mut Registry) {
    r.add("rehearse::a_whole_one", &[], whole);
    r.add("rehearse::targets_that_are_not_stagings", &[], targets);
    r.add("rehearse::proofs_are_guards", &[], proofs);
    r.add("rehearse::hosts_tell_local_addresses_apart", &[], hosts);
    r.add("rehearse::the_demos_runbook", &[], june);
    r.add("rehearse::another_name_goes_round_nothing", &[], round_about);
    asked::register(r);
    ended::register(r);
    reports::register(r);
    servers::register(r);
}

/// `@` stands for the place.
const BOOK: &str = r#"
holdpoint: 1
name: move
vars:
  place: { help: where it lies }
targets:
  old: { sqlite: "${place}/old.db" }
  new: { sqlite: "${place}/new.db" }
environments:
  staging:
    vars: { place: "@/staging" }
  production:
    protected: true
    vars: { place: "@/production" }
    rehearsal: { environment: staging, max_age: 1d, not_rehearsed: [tell, watch] }
steps:
  - id: count
    manual: { instructions: Count the rooms., observe: How many rooms are shown? }
    rehearse: echo 12
    changes: false
  - id: tell
    manual: { instructions: Tell everybody. }
    changes: false
    preconditions: [{ observed: { step: count, at_least: 10 } }]
  - id: copy
    run: |
      bash @/copy.sh "$place"
      echo copied >>@/ledger
    timeout: 1min
    creates: [new]
    postconditions:
      - data_matches: { source: old, target: new, until: clean }
      - file: { path: "${place}/new.db" }
  - id: watch
    soak: { for: 1h, every: 1s, rehearse_for: 2s }
    invariants: [{ file: { path: "${place}/new.db" } }]
  - id: clean
    destroys: { what: the old database, target: old, survives_in: new }
    run: [rm, "${place}/old.db"]
    timeout: 1min
    postconditions: [{ file: { path: "${place}/old.db", exists: false } }]
"#;

const COPY: &str = "set -euo pipefail\ncp \"$1/old.db\" \"$1/new.db\"\n";

struct Stage(Play);

impl Stage {
    fn new() -> Stage {
        Stage::with(BOOK)
    }

    fn with(book: &str) -> Stage {
        let stage = Stage(Play::new());
        stage.0.sandbox.write("copy.sh", COPY);
        stage.0.book(book);
        stage.fill("staging");
        stage.fill("production");
        stage
    }

    /// The two databases of an environment as they are before the work.
    fn fill(&self, environment: &str) {
        let folder = self.0.path(environment);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let db = rusqlite::Connection::open(folder.join("old.db")).unwrap();
        db.execute_batch(
            "create table t (a integer primary key, b text); insert into t values (1, 'one'), (2, 'two')",
        )
        .unwrap();
    }

    fn there(&self, path: &str) -> bool {
        self.0.path(path).exists()
    }

    /// A CI job: no terminal, `CI` set, and nobody said `--non-interactive`.
    fn command(&self, words: &str, more: &[&str]) -> Command {
        let mut command = self.0.sandbox.holdpoint();
        command.args(words.split_whitespace()).args(more).env("CI", "true");
        command
    }

    #[track_caller]
    fn ran(&self, words: &str, more: &[&str]) -> Ran {
        finish(&mut self.command(words, more), Duration::from_secs(60))
    }

    #[track_caller]
    fn rehearsed(&self, more: &[&str]) -> Ran {
        self.ran("rehearse book.yaml --env staging", more)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.path(name)).unwrap()).unwrap()
    }
}

/// An environment asks for something; its targets under another environment's name, or under none, do not get by it.
fn round_about() {
    let stage = Stage::new();
    let production = format!("place={}", stage.0.path("production").display());
    let refused = stage.ran("run book.yaml --env staging", &["--var", &production]).exits(3);
    refused.says("would work on what `production`").says("old.db");
    assert!(stage.0.runs().is_empty());
    // Staging's own are nobody else's: the run begins, and waits for the person of its first step.
    stage.ran("run book.yaml --env staging", &[]).exits(4);
    // Where nothing but approvals is asked for, a run without an environment is no way round them either.
    let approved = BOOK.replace(
        "    rehearsal: { environment: staging, max_age: 1d, not_rehearsed: [tell, watch] }",
        "    approvals: 1",
    );
    let stage = Stage::with(&approved);
    let own = format!("place={}", stage.0.path("production").display());
    stage.ran("run book.yaml", &["--var", &own]).exits(3).says("would work on what `production`");
}

fn whole() {
    let stage = Stage::new();
    let ran = stage.rehearsed(&["--receipt", "r.json", "--junit", "j.xml", "--summary", "s.md"]).exits(0);
    let ran =
        ran.says("passed: 5 of 5 steps, 2 of them not rehearsed in whole").says("NOT REHEARSED: a person");
    ran.says("watched for 2s instead of 1h").says("has no `proof` of its own");
    assert!(
        !stage.there("staging/old.db") && stage.there("staging/new.db") && stage.there("production/old.db")
    );
    assert_eq!(lines(&stage.0.path("ledger")), ["copied"]);

    // It is on record as a rehearsal, and complete; the stand-in's word is the observation; nobody claims the other.
    let opened = &stage.0.events("opened")[0];
    assert_eq!((&opened["rehearsal"], &opened["environment"]), (&true.into(), &"staging".into()));
    let observed: Vec<Value> = stage.0.events("observed").iter().map(|e| e["text"].clone()).collect();
    assert_eq!(observed[0], "12");
    assert!(observed[1].as_str().unwrap().starts_with("not carried out"), "{observed:?}");
    assert_eq!(stage.0.events("permitted").len(), 1);
    stage.0.verified();
    for words in ["runs", "status", "log"] {
        let id = if words == "runs" { String::new() } else { stage.0.id() };
        stage
            .ran(words, &[&id].into_iter().filter(|id| !id.is_empty()).map(|id| &**id).collect::<Vec<_>>())
            .says("REHEARSAL");
    }

    let receipt = stage.json("r.json")["receipt"].clone();
    let manner = |nth: usize| receipt["steps"][nth]["rehearsed"].as_str().unwrap().to_owned();
    assert_eq!([0, 1, 2, 3, 4].map(manner), ["stand_in", "not", "whole", "shortened", "whole"]);
    assert_eq!((&receipt["whole"], receipt["not_whole"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(receipt["guards"][0]["step"], "clean");
    assert!(receipt["guards"][0]["checks"].as_array().unwrap().iter().any(|c| c == "copy.post.data_matches"));
    assert_eq!(receipt["targets"][1]["before"], Value::Null, "new was not there");
    assert!(receipt["targets"][1]["pinned"]["path"].as_str().unwrap().ends_with("staging/new.db"));
    assert!(receipt["compared"].as_array().unwrap().len() >= 4);
    assert!(receipt["took_ms"].as_u64().unwrap() >= 2_000);
    stage.ran("verify r.json", &[]).exits(0).says("it is not signed").says("left out");
}

fn targets() {
    let stage = Stage::new();
    let refused = |more: &[&str]| stage.rehearsed(more).exits(3);
    let here = |name: &str| format!("place={}/{name}", stage.0.sandbox.path().display());
    refused(&["--var", &here("production")]).says("it is `old` of `production`").says("does not begin");
    // By another name.
    std::os::unix::fs::symlink(stage.0.path("production"), stage.0.path("other")).unwrap();
    refused(&["--var", &here("other")]).says("it is `old` of `production`");
    std::fs::create_dir(stage.0.path("third")).unwrap();
    std::fs::hard_link(stage.0.path("production/old.db"), stage.0.path("third/old.db")).unwrap();
    refused(&["--var", &here("third")]).says("it is `old` of `production`");
    // Not there, so only the address can be compared.
    std::fs::rename(stage.0.path("production/old.db"), stage.0.path("kept.db")).unwrap();
    refused(&["--var", &here("production")]).says("its address is that of `old` of `production`");
    std::fs::rename(stage.0.path("kept.db"), stage.0.path("production/old.db")).unwrap();
    stage.ran("rehearse book.yaml --env production", &[]).exits(3).says("nothing is rehearsed there");
    stage.ran("rehearse book.yaml", &[]).exits(2).says("needs an environment");
    stage.ran("rehearse book.yaml --env stagin", &[]).exits(2).says("did you mean `staging`?");
    assert!(stage.0.runs().is_empty() && stage.there("production/old.db") && !stage.there("ledger"));

    // What a run in a protected environment worked on stays protected when the runbook forgets it.
    let book = std::fs::read_to_string(stage.0.path("book.yaml")).unwrap();
    let real = book
        .replace("    rehearsal: { environment: staging, max_age: 1d, not_rehearsed: [tell, watch] }\n", "");
    let real = real.replace("count\n    manual: { instructions: Count the rooms., observe: How many rooms are shown? }\n    rehearse: echo 12", "count\n    record: { target: old, as: before }");
    stage.0.sandbox.write("real.yaml", &real);
    stage.ran("run real.yaml --env production --confirm environment=production", &[]).exits(3);
    let moved = book.replace("/production\"", "/elsewhere\"");
    stage.0.sandbox.write("moved.yaml", &moved);
    let ran = stage.ran("rehearse moved.yaml --env staging", &["--var", &here("production")]).exits(3);
    ran.says("in `production`: SQLite file");
    let forgot = moved.replace("protected: true", "protected: false");
    let forgot = forgot
        .replace("    rehearsal: { environment: staging, max_age: 1d, not_rehearsed: [tell, watch] }\n", "");
    stage.0.sandbox.write("forgot.yaml", &forgot);
    stage
        .ran("rehearse forgot.yaml --env staging", &[])
        .exits(3)
        .says("no environment of the runbook is protected");
    assert!(!stage.there("ledger"));
}

fn proofs() {
    let book = BOOK.replace(
        "vars: { place: \"@/staging\" }",
        "vars: { place: \"@/staging\" }\n    proof: [{ file: { path: \"${place}/is-staging\" } }]",
    );
    let stage = Stage::with(&book);
    stage.rehearsed(&[]).exits(3).says("is-staging").says("count.pre.proof-1-file");
    assert!(!stage.there("ledger"), "before the first step");

    // It goes while the rehearsal runs: the gate itself wants it.
    stage.0.sandbox.write("staging/is-staging", "");
    stage.0.sandbox.write("copy.sh", &format!("{COPY}rm \"$1/is-staging\"\n"));
    stage.rehearsed(&[]).exits(3).says("clean.pre.proof-1-file").says("abandoned");
    assert!(stage.there("staging/old.db"), "nothing was destroyed");

    stage.fill("staging");
    stage.0.sandbox.write("staging/is-staging", "");
    stage.0.sandbox.write("copy.sh", COPY);
    stage.rehearsed(&["--receipt", "r.json"]).exits(0);
    let receipt = stage.json("r.json")["receipt"].clone();
    assert_eq!((&receipt["proofs"], receipt["weaknesses"].as_array().unwrap().len()), (&1.into(), 0));
    assert!(receipt["guards"][0]["checks"].as_array().unwrap().iter().any(|c| c == "clean.pre.proof-1-file"));
}

fn hosts() {
    // Both environments have the same local address, as on two machines of one kind.
    let book = BOOK.replace("@/production", "@/staging");
    let stage = Stage::with(&book);
    stage.rehearsed(&[]).exits(3).says("it is `old` of `production`");
    let elsewhere =
        book.replace("    protected: true\n", "    protected: true\n    hosts: [db1.example.org]\n");
    stage.0.book(&elsewhere);
    stage.ran("run book.yaml --env production", &[]).exits(3).says("is worked on from db1.example.org");
    stage.rehearsed(&["--receipt", "r.json"]).exits(0);
    assert!(stage.json("r.json")["receipt"]["compared"].to_string().contains("on another machine"));
    // This machine by its id: it is production's own again.
    stage.fill("staging");
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    stage.0.book(&elsewhere.replace("db1.example.org", machine.trim()));
    stage.rehearsed(&[]).exits(3).says("it is `old` of `production`");
}

/// The runbook that ships with the program, in a folder made for it.
fn june() {
    let play = Play::new();
    let place = play.path("night");
    for folder in ["old", "volume", "backups"] {
        std::fs::create_dir_all(place.join(folder)).unwrap();
    }
    let db = rusqlite::Connection::open(place.join("old/homeserver.db")).unwrap();
    db.execute_batch(
        "create table messages (id integer primary key, body text); insert into messages values (1, 'hello')",
    )
    .unwrap();
    drop(db);
    std::fs::write(place.join("volume/size"), "67108864\n").unwrap();
    let book = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runbooks/june-2021.yaml");
    let run = |status| {
        let mut command = play.sandbox.holdpoint();
        command.args(["rehearse", "--env", "rehearsal"]).arg(&book).env("CI", "true");
        command.arg("--var").arg(format!("place={}", place.display()));
        command.arg("--var").arg(format!("holdpoint={}", env!("CARGO_BIN_EXE_holdpoint")));
        finish(&mut command, Duration::from_secs(60)).exits(status)
    };
    run(3).says("this-is-a-rehearsal");
    std::fs::write(place.join("this-is-a-rehearsal"), "").unwrap();
    run(0).says("Rehearsal passed: 5 of 5 steps");
    assert!(!place.join("old").exists());
}
