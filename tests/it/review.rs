//! What a stranger looked for and once found: ways round a promise, played with the built program.

use std::time::Duration;

use crate::harness::{Registry, Sandbox, eventually};

pub fn register(r: &mut Registry) {
    r.add("review::a_store_that_would_go_is_refused", &[], doomed_store);
    r.add("review::of_two_who_start_at_once_one_is_refused", &[], two_starts);
    r.add("review::a_protected_environment_is_not_entered_by_resuming", &[], protected);
    r.add("review::a_value_that_was_not_captured_is_not_made_up", &[], captured);
    r.add("review::an_altered_journal_is_not_shown_as_true", &[], altered);
    r.add("review::a_secret_that_is_typed_stays_out_of_the_journal", &[], typed_secret);
    r.add("review::what_runs_below_the_doomed_folder_is_seen", &[], in_use);
    r.add("review::the_copy_in_the_doomed_folder_is_no_copy", &[], copy_inside);
    r.add("review::state_is_printed_for_programs", &[], json);
    r.add("review::a_user_needs_root", &[], user);
}

fn run_of(sandbox: &Sandbox) -> std::path::PathBuf {
    let runs = std::fs::read_dir(sandbox.store().join("runs")).unwrap();
    runs.flatten().map(|entry| entry.path()).find(|path| path.join("journal.jsonl").exists()).unwrap()
}

fn journal(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(run_of(sandbox).join("journal.jsonl")).unwrap()
}

/// A folder that one step removes, guarded by a file beside it.
fn removal(sandbox: &Sandbox) -> String {
    let place = sandbox.path().canonicalize().unwrap().display().to_string();
    sandbox.write("doomed/data", "x");
    sandbox.write("copy", "x");
    sandbox.write(
        "removal.yaml",
        &format!(
            "holdpoint: 1\nname: removal\nsteps:\n  - id: remove\n    destroys: {{ what: doomed, paths: [\"{place}/doomed\"] }}\n    \
             preconditions: [ file: {{ path: \"{place}/copy\" }} ]\n    run: [rm, -r, \"{place}/doomed\"]\n    timeout: 1min\n    \
             postconditions: [ file: {{ path: \"{place}/doomed\", exists: false }} ]\n"
        ),
    );
    place
}

fn doomed_store() {
    let sandbox = Sandbox::new();
    let place = removal(&sandbox);
    let store = format!("{place}/doomed/store");
    sandbox.run(&["run", "removal.yaml", "--store", &store]).exits(2).says("which step `remove` destroys");
    assert!(std::fs::read_dir(format!("{store}/runs")).unwrap().next().is_none(), "no run was begun");
    sandbox.run(&["run", "removal.yaml", "--confirm", "remove=doomed"]).exits(0);
    assert!(!sandbox.join("doomed").exists());
}

fn two_starts() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "one.yaml",
        "holdpoint: 1\nname: one\nsteps:\n  - id: ask\n    manual: { instructions: do it }\n    changes: false\n",
    );
    let all: Vec<_> = (0..6)
        .map(|_| {
            let mut command = sandbox.holdpoint();
            command
                .args(["run", "one.yaml"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let mut statuses: Vec<_> = all.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(3), Some(3), Some(3), Some(3), Some(3), Some(4)]);
    // A run that nobody can read may be unfinished, too.
    std::fs::write(run_of(&sandbox).join("journal.jsonl"), "{}\n").unwrap();
    sandbox.run(&["run", "one.yaml"]).exits(6).says("nobody can tell whether run");
}

fn protected() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "book.yaml",
        "holdpoint: 1\nname: book\nenvironments: { production: { protected: true } }\nsteps:\n  - id: one\n    run: [touch, \
         began]\n    cwd: CWD\n    changes: false\n    timeout: 1min\n"
            .replace("CWD", sandbox.path().to_str().unwrap())
            .as_str(),
    );
    sandbox.run(&["run", "book.yaml", "--env", "production"]).exits(4);
    sandbox.run(&["resume"]).exits(4).says("type the environment's name");
    sandbox.run(&["resume", "--confirm", "environment=staging"]).exits(4);
    assert!(!sandbox.join("began").exists());
    sandbox.run(&["resume", "--confirm", "environment=production"]).exits(0);
    assert!(sandbox.join("began").exists());
}

fn captured() {
    let sandbox = Sandbox::new();
    let place = sandbox.path().display().to_string();
    sandbox.write("output", "one\ntwo\n");
    sandbox.write(
        "book.yaml",
        &format!(
            "holdpoint: 1\nname: book\nsteps:\n  - id: read\n    run: [cat, {place}/output]\n    capture: size\n    changes: false\n    \
             timeout: 1min\n    postconditions: [ file: {{ path: {place}/output }} ]\n  - id: use\n    run: [touch, \
             \"{place}/used-${{size}}\"]\n    timeout: 1min\n    postconditions: [ file: {{ path: \"{place}/used-${{size}}\" }} ]\n"
        ),
    );
    sandbox.run(&["run", "book.yaml"]).exits(1).says("more than one line");
    // Its postcondition passes, and its command exited 0. Still there is no value.
    sandbox.run(&["resume"]).exits(3);
    sandbox
        .run(&["resume", "--decide", "read=done", "--reason", "it passes"])
        .exits(3)
        .says("cannot be declared done");
    sandbox.write("output", "7\n");
    sandbox.run(&["resume", "--decide", "read=again", "--reason", "mended"]).exits(0);
    assert!(sandbox.join("used-7").exists());
}

fn altered() {
    let sandbox = Sandbox::new();
    sandbox.write("one.yaml", "holdpoint: 1\nname: one\nsteps:\n  - id: go\n    run: [\"true\"]\n    changes: false\n    timeout: 1min\n");
    sandbox.run(&["run", "one.yaml"]).exits(0);
    let path = run_of(&sandbox).join("journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"status\":0", "\"status\":1", 1)).unwrap();
    let run = run_of(&sandbox).file_name().unwrap().to_str().unwrap().to_owned();
    sandbox.run(&["status", &run]).exits(6).says("is not the hash of line");
    sandbox.run(&["watch", &run]).exits(6).says("is not the hash of line");
    sandbox.run(&["log", &run]).exits(6).says("damaged: line").says("go begins");
}

fn typed_secret() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "book.yaml",
        "holdpoint: 1\nname: book\nvars: { password: { secret: true, env: APP_PASSWORD } }\nsteps:\n  - id: fails\n    run: \
         'test -z \"$password\"'\n    changes: false\n    timeout: 1min\n",
    );
    let secret = "correct-horse-battery";
    let with = |arguments: &[&str]| {
        let mut command = sandbox.holdpoint();
        command.args(arguments).env("APP_PASSWORD", secret);
        crate::harness::finish(&mut command, Duration::from_secs(60))
    };
    with(&["run", "book.yaml"]).exits(1);
    with(&["resume", "--decide", "fails=again", "--reason", &format!("the password {secret} was wrong")])
        .exits(1);
    let text = journal(&sandbox);
    assert!(text.contains("is to be") || text.contains("the password"), "{text}");
    assert!(!text.contains(secret), "{text}");
}

fn in_use() {
    let sandbox = Sandbox::new();
    removal(&sandbox);
    let mut there =
        std::process::Command::new("sleep").arg("60").current_dir(sandbox.join("doomed")).spawn().unwrap();
    let ran = sandbox.run(&["run", "removal.yaml", "--confirm", "remove=doomed"]);
    there.kill().unwrap();
    there.wait().unwrap();
    ran.exits(3).says("What would go is not in use");
    assert!(sandbox.join("doomed/data").exists());
}

fn copy_inside() {
    let sandbox = Sandbox::new();
    let place = sandbox.path().canonicalize().unwrap().display().to_string();
    for (file, sql) in [("doomed/old.db", "create table t (a)"), ("doomed/new.db", "create table t (a)")] {
        sandbox.write(file, "");
        let db = rusqlite::Connection::open(sandbox.join(file)).unwrap();
        db.execute_batch(&format!("{sql}; insert into t values (1)")).unwrap();
    }
    sandbox.write(
        "move.yaml",
        &format!(
            "holdpoint: 1\nname: move\ntargets:\n  old: {{ sqlite: \"{place}/doomed/old.db\" }}\n  new: {{ sqlite: \
             \"{place}/doomed/new.db\" }}\nsteps:\n  - id: drop\n    destroys: {{ what: old, target: old, paths: \
             [\"{place}/doomed\"], survives_in: new }}\n    preconditions: [ data_matches: {{ source: old, target: new }} ]\n    \
             run: [rm, -r, \"{place}/doomed\"]\n    timeout: 1min\n"
        ),
    );
    sandbox
        .run(&["run", "move.yaml", "--confirm", "drop=old"])
        .exits(3)
        .says("What stays does not lie in what goes");
    assert!(sandbox.join("doomed/new.db").exists());
}

fn json() {
    let sandbox = Sandbox::new();
    sandbox.write("one.yaml", "holdpoint: 1\nname: one\nsteps:\n  - id: go\n    run: [\"false\"]\n    changes: false\n    timeout: 1min\n");
    let parsed = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    let ran = sandbox.run(&["run", "one.yaml", "--json"]).exits(1);
    assert_eq!(parsed(&ran.stdout)["phase"], "failed", "{}", ran.stdout);
    parsed(&sandbox.run(&["checks", "--json"]).exits(0).stdout);
    let run = run_of(&sandbox).file_name().unwrap().to_str().unwrap().to_owned();
    parsed(&sandbox.run(&["abandon", &run, "--reason", "over", "--json"]).exits(0).stdout);
    for line in sandbox.run(&["watch", &run, "--json"]).exits(0).stdout.lines() {
        parsed(line);
    }
}

fn user() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "one.yaml",
        "holdpoint: 1\nname: one\nsteps:\n  - id: go\n    run: [\"true\"]\n    user: no-such-user\n    changes: false\n    timeout: 1min\n",
    );
    sandbox.run(&["run", "one.yaml"]).exits(1).says("no-such-user");
    eventually(Duration::from_secs(5), "nothing runs", || !journal(&sandbox).contains("\"how\":\"exited\""));
}
