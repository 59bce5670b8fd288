//! The ready CI files: what they run is run here, in a clean folder, as their runners would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Need, Registry, Sandbox, finish, must};

pub fn register(r: &mut Registry) {
    r.add("ci::github_actions", &[Need::SshKeygen], github);
    r.add("ci::gitlab", &[Need::SshKeygen], gitlab);
}

const BOOK: &str = r#"
holdpoint: 1
name: move
vars: { place: { help: where } }
targets: { old: { sqlite: "${place}/old.db" }, new: { sqlite: "${place}/new.db" } }
environments:
  staging:
    vars: { place: @/staging/data }
    proof: [{ file: { path: "${place}/is-staging" } }]
  production:
    protected: true
    vars: { place: /srv/data }
    rehearsal: { environment: staging, max_age: 7d, signed: true }
steps:
  - id: copy
    run: [cp, "${place}/old.db", "${place}/new.db"]
    timeout: 1min
    creates: [new]
    postconditions: [{ data_matches: { source: old, target: new, until: clean } }]
  - id: clean
    destroys: { what: the old database, target: old, survives_in: new }
    run: [rm, "${place}/old.db"]
    timeout: 1min
    postconditions: [{ file: { path: "${place}/old.db", exists: false } }]
"#;

const RESET: &str = "#!/bin/bash
set -euo pipefail
cd \"$(dirname \"$0\")\"
rm -rf data; mkdir data; cp kept.db data/old.db; touch data/is-staging
";

/// Somebody's repository, with `holdpoint` in the path.
struct Repository(Sandbox);

impl Repository {
    fn new() -> Repository {
        use std::os::unix::fs::PermissionsExt as _;
        let sandbox = Sandbox::new();
        let here = sandbox.path().display().to_string();
        sandbox.write("runbooks/move.yaml", &BOOK.replace('@', &here));
        let reset = sandbox.write("staging/reset.sh", RESET);
        std::fs::set_permissions(reset, std::fs::Permissions::from_mode(0o755)).unwrap();
        let db = rusqlite::Connection::open(sandbox.join("staging/kept.db")).unwrap();
        db.execute_batch("create table t (a integer primary key); insert into t values (1), (2)").unwrap();
        std::fs::create_dir(sandbox.join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_holdpoint"), sandbox.join("bin/holdpoint")).unwrap();
        Repository(sandbox)
    }

    /// Runs one script of a job, as the runner's shell does.
    fn script(&self, shell: &[&str], text: &str, env: &[(String, String)]) -> crate::harness::Ran {
        let mut command = Command::new("bash");
        command.args(shell).arg("-c").arg(text).env_clear().current_dir(self.0.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.0.join("bin").display()));
        command.env("HOME", self.0.path()).env("CI", "true").stdin(std::process::Stdio::null());
        command.envs(env.iter().cloned());
        finish(&mut command, Duration::from_secs(60)).exits(0)
    }

    fn key(&self) -> PathBuf {
        let key = self.0.join("key");
        must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key));
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        self.0.write("signers", &format!("ci {public}"));
        key
    }

    fn signed(&self) {
        let arguments = ["verify", "receipt.json", "--signers", "signers"];
        self.0.run(&arguments).exits(0).says("signed by ci (SHA256:");
        let report = std::fs::read_to_string(self.0.join("rehearsal.xml")).unwrap();
        assert!(quick_junit::Report::deserialize_from_str(&report).unwrap().tests > 5);
    }
}

fn page(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci").join(name);
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What stands in a map of environment variables; `${{ … }}` is what the caller says that it is.
fn variables(map: &Value, known: &[(&str, &str)]) -> Vec<(String, String)> {
    let entries = map.as_object().into_iter().flatten();
    let values = entries.map(|(name, value)| {
        let text = value.as_str().unwrap().to_owned();
        let text = known.iter().fold(text, |text, (what, with)| text.replace(what, with));
        assert!(!text.contains("${{") && !text.contains("$CI"), "{name}: {text} is not known here");
        (name.clone(), text)
    });
    values.collect()
}

fn github() {
    let clone = Repository::new();
    let key = std::fs::read_to_string(clone.key()).unwrap();
    let workflow = page("github-actions.yml");
    let job = &workflow["jobs"]["rehearse"];
    let here = clone.0.path().display().to_string();
    let known = [
        ("${{ github.workspace }}", here.as_str()),
        ("${{ secrets.REHEARSAL_SIGNING_KEY }}", key.trim_end()),
    ];
    let mut seen = 0;
    for step in job["steps"].as_array().unwrap() {
        let Some(script) = step["run"].as_str() else {
            assert!(step["uses"].as_str().unwrap().starts_with("actions/"));
            continue;
        };
        let mut env = variables(&job["env"], &known);
        env.extend(variables(&step["env"], &known));
        env.push(("GITHUB_STEP_SUMMARY".to_owned(), format!("{here}/summary.md")));
        // GitHub's default shell where none is named.
        let ran = clone.script(&["--noprofile", "--norc", "-eo", "pipefail"], script, &env);
        assert!(!format!("{ran:?}").contains("PRIVATE KEY"));
        seen += 1;
    }
    assert_eq!(seen, 4);
    clone.signed();
    assert!(std::fs::read_to_string(clone.0.join("summary.md")).unwrap().contains("passed: 2 of 2 steps"));
}

fn gitlab() {
    let clone = Repository::new();
    let key = clone.key().display().to_string();
    let file = page("gitlab-ci.yml");
    let here = clone.0.path().display().to_string();
    let mut env = variables(&file["variables"], &[("$CI_PROJECT_DIR", here.as_str())]);
    env.push(("REHEARSAL_SIGNING_KEY".to_owned(), key));
    for job in ["lint", "rehearse"] {
        let lines: Vec<&str> =
            file[job]["script"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
        clone.script(&["-eo", "pipefail"], &lines.join("\n"), &env);
    }
    clone.signed();
    assert!(clone.0.join("rehearsal.md").exists());
}
