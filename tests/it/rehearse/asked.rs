//! An environment that asks for a rehearsal starts nothing without the receipt of one that fits.

use std::process::Command;

use serde_json::Value;

use super::Stage;
use crate::harness::{Need, Ran, Registry, must};

pub fn register(r: &mut Registry) {
    r.add("rehearse::asked_for", &[], asked);
    r.add("rehearse::signed", &[Need::SshKeygen], signed);
}

/// Starts the run in production; it then stops at its first step, which is a person's.
#[track_caller]
fn started(stage: &Stage, more: &[&str], status: i32) -> Ran {
    let before = runs(stage);
    let ran =
        stage.ran("run book.yaml --env production --confirm environment=production", more).exits(status);
    assert_eq!(runs(stage) - before, usize::from(status == 4), "{}", ran.stderr);
    ran
}

/// Runs that are no rehearsals.
fn runs(stage: &Stage) -> usize {
    let first = |path: &std::path::PathBuf| -> Value {
        let text = std::fs::read_to_string(path.join("journal.jsonl")).unwrap();
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    };
    stage.0.runs().iter().filter(|path| first(path)["rehearsal"] != true).count()
}

fn abandon(stage: &Stage) {
    let run = stage.0.runs().into_iter().find(|path| {
        let text = std::fs::read_to_string(path.join("journal.jsonl")).unwrap();
        !text.contains("\"rehearsal\":true") && !text.contains("\"what\":\"abandoned\"")
    });
    let run = run.unwrap().file_name().unwrap().to_string_lossy().into_owned();
    stage.ran("abandon", &[&run, "--reason", "tried"]).exits(0);
}

fn asked() {
    let stage = Stage::new();
    let book = std::fs::read_to_string(stage.0.path("book.yaml")).unwrap();
    let place = format!("place={}", stage.0.path("production").display());
    stage.ran("run book.yaml --var", &[&place]).exits(2).says("name the environment with --env");
    started(&stage, &[], 3).says("no receipt of it is in the store").says("rehearse it: holdpoint rehearse");
    stage.rehearsed(&["--receipt", "r.json"]).exits(0);

    // Found in the store, or given; its digest is on record in the run.
    let digest = stage.json("r.json")["digest"].as_str().unwrap().to_owned();
    for more in [&[][..], &["--receipt", "r.json"]] {
        started(&stage, more, 4).says("rehearsed in staging at");
        let opened = stage.0.runs().iter().any(|run| {
            std::fs::read_to_string(run.join("journal.jsonl"))
                .unwrap()
                .contains(&format!("\"receipt\":\"{digest}\""))
        });
        assert!(opened);
        abandon(&stage);
    }
    // A script that it calls is another; the runbook is; both at once.
    let copy = std::fs::read_to_string(stage.0.path("copy.sh")).unwrap();
    stage.0.sandbox.write("copy.sh", &format!("{copy}true\n"));
    started(&stage, &[], 3).says("copy.sh: digest").says("1 thing stands in the way");
    stage.0.sandbox.write("book.yaml", &book.replace("Tell everybody.", "Tell nobody."));
    started(&stage, &[], 3).says("2 things stand in the way").says("This very runbook was rehearsed");
    stage.0.sandbox.write("copy.sh", &copy);
    started(&stage, &[], 3).says("1 thing stands in the way");
    // What was not rehearsed and is not allowed.
    stage
        .0
        .sandbox
        .write("book.yaml", &book.replace("not_rehearsed: [tell, watch]", "not_rehearsed: [tell]"));
    started(&stage, &[], 3).says("Step `watch` was rehearsed in whole");
    stage.0.sandbox.write("book.yaml", &book);

    // A target that is not there any more, or of another kind, was not rehearsed on.
    std::fs::rename(stage.0.path("production/old.db"), stage.0.path("gone.db")).unwrap();
    started(&stage, &[], 3).says("Target `old`").says("now it is unknown");
    std::fs::rename(stage.0.path("gone.db"), stage.0.path("production/old.db")).unwrap();

    // Edited; not a receipt; not there; nothing that would look at it.
    let text = std::fs::read_to_string(stage.0.path("r.json")).unwrap();
    stage.0.sandbox.write("e.json", &text.replace("\"host\"", "\"hose\""));
    started(&stage, &["--receipt", "e.json"], 3).says("it was altered");
    stage.ran("verify e.json", &[]).exits(6).says("it was altered");
    started(&stage, &["--receipt", "book.yaml"], 3).says("it is not JSON");
    started(&stage, &["--receipt", "none.json"], 2).says("cannot be read");
    stage
        .ran("run book.yaml --env staging --receipt r.json", &[])
        .exits(2)
        .says("nothing would look at the receipt");
    // Older than it may be: the file says when, so the demand is made shorter than the test has taken.
    stage.0.sandbox.write("book.yaml", &book.replace("max_age: 1d", "max_age: 0s"));
    let ran = stage.ran("run book.yaml --env production", &["--receipt", "r.json"]);
    assert!(ran.status == Some(3) || ran.status == Some(2), "{ran:?}");
    assert!(stage.there("production/old.db"));
}

fn signed() {
    let stage = Stage::with(&super::BOOK.replace("max_age: 1d,", "max_age: 1d, signed: true,"));
    let key = |name: &str| {
        let path = stage.0.path(name);
        must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path));
        std::fs::read_to_string(path.with_extension("pub")).unwrap()
    };
    let (carol, mallory) = (key("carol"), key("mallory"));
    stage.0.sandbox.write("signers", &format!("carol namespaces=\"holdpoint-receipt\" {carol}"));
    stage.0.sandbox.write("others", &format!("eve {mallory}"));
    stage.0.sandbox.write("approvers", &format!("carol namespaces=\"holdpoint-approval\" {carol}"));

    stage.ran("rehearse book.yaml --env staging --sign nokey", &[]).exits(2).says("nothing was begun");
    assert!(stage.0.runs().is_empty());
    stage.rehearsed(&["--receipt", "plain.json"]).exits(0).says("not signed");
    started(&stage, &["--signers", "signers"], 3).says("it is not signed");
    stage.fill("staging");
    stage.rehearsed(&["--receipt", "r.json", "--sign", "carol"]).exits(0).says("(signed)");
    started(&stage, &[], 3).says("no signature counts");
    started(&stage, &["--signers", "others"], 3).says("it is not in the allowed signers file");
    started(&stage, &["--signers", "approvers"], 3).says("The receipt is signed");
    started(&stage, &["--signers", "signers", "--receipt", "plain.json"], 3).says("it is not signed");
    started(&stage, &["--signers", "signers"], 4);

    stage.ran("verify r.json --signers signers", &[]).exits(0).says("signed by carol (SHA256:");
    stage.ran("verify r.json --signers others", &[]).exits(6).says("does not count");
    stage.ran("verify r.json", &[]).exits(0).says("whose that is nobody can tell");
    stage.ran("verify plain.json --signers signers", &[]).exits(6).says("it is not signed");
    // Somebody else's signature under the same words.
    let mut forged = stage.json("r.json");
    forged["receipt"]["by"] = "mallory@ci".into();
    stage.0.sandbox.write("f.json", &forged.to_string());
    stage.ran("verify f.json --signers signers", &[]).exits(6).says("it was altered");
}
