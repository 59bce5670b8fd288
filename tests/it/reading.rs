//! What `lint`, `plan` and `run` read of a runbook and of the scripts beside it.

use std::os::unix::fs::PermissionsExt as _;

use holdpoint::cli::local::LocalFiles;
use holdpoint::lint::{self, Beside};
use holdpoint::runbook::load::parse;
use holdpoint::runbook::source::Source;

use crate::harness::{Registry, Sandbox};

pub fn register(r: &mut Registry) {
    r.add("reading::a_script_beside_the_runbook_is_read", &[], beside);
    r.add("reading::the_files_that_steps_call_are_listed", &[], listed);
    r.add("reading::run_refuses_what_a_value_turns_into_destruction", &[], by_value);
    r.add("reading::what_is_called_harmless_runs_and_is_shown", &[], harmless);
    r.add("reading::a_check_must_not_destroy", &[], check);
    r.add("reading::many_scripts_are_read_soon", &[], many);
}

fn step(run: &str, rest: &str) -> String {
    format!(
        "holdpoint: 1\nname: demo\nvars: {{ tool: {{ default: ls }} }}\nsteps:\n  - id: one\n    run: {run}\n    timeout: 1min\n\
         {rest}    postconditions: [{{ file: {{ path: / }} }}]\n"
    )
}

/// Without the line ends of a narrow terminal.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn beside() {
    let sandbox = Sandbox::new();
    sandbox.write("clean.sh", "#!/bin/sh\n. ./lib.sh\ntidy\n");
    sandbox.write("lib.sh", "tidy() {\n  rm -rf /srv/old\n}\n");
    let book = sandbox.write("book.yaml", &step("sudo ./clean.sh", "")).display().to_string();
    let ran = sandbox.run(&["lint", &book]).exits(2);
    let said = "error[HP053]: `rm -r` destroys, and `one` does not say so (line 2 of lib.sh)";
    assert!(flat(&ran.stdout).contains(said), "{}", ran.stdout);
    assert!(ran.stdout.contains("book.yaml:6:15"), "{}", ran.stdout);
    // The same by its whole path, from anywhere; and one that cannot be read.
    let whole = step(&format!("[{}]", sandbox.join("clean.sh").display()), "");
    let book = sandbox.write("whole.yaml", &whole).display().to_string();
    sandbox.run(&["lint", &book]).exits(2).says("HP053");
    std::fs::write(sandbox.join("tool"), b"\x7fELF\0\xff").unwrap();
    let book = sandbox.write("tool.yaml", &step("[./tool]", "")).display().to_string();
    sandbox.run(&["lint", &book]).exits(2).says("`tool` cannot be read: it is no text");
    let book = sandbox.write("none.yaml", &step("[./none.sh]", "")).display().to_string();
    sandbox.run(&["lint", &book]).exits(2).says("`./none.sh` is not there to be read");
    sandbox.write("clean.sh", "#!/bin/sh\necho fine\n");
    let book = sandbox.join("book.yaml").display().to_string();
    sandbox.run(&["lint", &book]).exits(0);
}

fn listed() {
    let sandbox = Sandbox::new();
    sandbox.write("a.sh", "./b.sh\npsql -v ON_ERROR_STOP=1 -f c.sql\n");
    sandbox.write("b.sh", "./a.sh\n");
    sandbox.write("c.sql", "select 1;\n");
    sandbox.write("d.py", "print(1)\n");
    let text = step("bash a.sh && /usr/bin/true", "    rollback: { run: [python3, d.py] }\n");
    let book = sandbox.write("book.yaml", &text);
    let doc = parse(Source::new(book.display().to_string(), text), &lint::catalogue()).unwrap();
    let runbook = doc.bind_for_lint().unwrap();
    let files = LocalFiles::beside(&book);
    let all = lint::calls(&doc, &runbook, Beside { values: None, files: &files });
    let paths: Vec<String> = all.into_iter().map(|one| format!("{} {}", one.step, one.path)).collect();
    assert_eq!(paths, ["one a.sh", "one b.sh", "one c.sql", "one d.py"]);
}

fn by_value() {
    let sandbox = Sandbox::new();
    let book =
        sandbox.write("book.yaml", &step("[\"${tool}\", x]", "    changes: false\n")).display().to_string();
    sandbox.run(&["lint", &book]).exits(0);
    for value in ["dropdb", "/usr/bin/dropdb"] {
        let set = format!("tool={value}");
        let ran = sandbox.run(&["run", &book, "--var", &set]).exits(2);
        assert!(ran.stderr.contains("HP053") && ran.stderr.contains("`dropdb` destroys"), "{}", ran.stderr);
    }
}

fn harmless() {
    let sandbox = Sandbox::new();
    let work = sandbox.join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = format!("rm -r {}", work.display());
    let text =
        step(&command, &format!("    harmless: [{{ text: {command}, because: made by this test }}]\n"));
    let book = sandbox.write("book.yaml", &text).display().to_string();
    sandbox.run(&["lint", &book]).exits(0);
    let ran = sandbox.run(&["plan", &book]).exits(0);
    let shown = flat(&ran.stdout);
    assert!(shown.contains("harmless rm -r") && shown.contains("made by this test"), "{}", ran.stdout);
    sandbox.run(&["run", &book]).exits(0);
    assert!(!work.exists());
    // One more blank in the command is the same command; another folder is not.
    let book =
        sandbox.write("other.yaml", &text.replace("run: rm -r ", "run: rm -r  ")).display().to_string();
    sandbox.run(&["lint", &book]).exits(0);
    let other = text.replace(&format!("run: {command}"), &format!("run: {command}er"));
    let book = sandbox.write("another.yaml", &other).display().to_string();
    let ran = sandbox.run(&["lint", &book]).exits(2);
    assert!(ran.stdout.contains("HP053") && ran.stdout.contains("HP068"), "{}", ran.stdout);
}

fn check() {
    let sandbox = Sandbox::new();
    let text = "holdpoint: 1\nname: demo\nsteps:\n  - id: one\n    run: [\"true\"]\n    timeout: 1min\n    postconditions:\n      \
                - command: { run: \"sudo rm -rf /srv/x\" }\n";
    let book = sandbox.write("book.yaml", text).display().to_string();
    let ran = sandbox.run(&["lint", &book]).exits(2);
    assert!(ran.stdout.contains("`rm -r` destroys, and a check of `one` does not say so"), "{}", ran.stdout);
    // What a check pipes and reads is its own matter.
    let book = sandbox
        .write("fine.yaml", &text.replace("sudo rm -rf /srv/x", "eval $x | tail -1"))
        .display()
        .to_string();
    sandbox.run(&["lint", &book]).exits(0);
}

fn many() {
    let mut text = String::from("holdpoint: 1\nname: demo\nsteps:\n");
    for n in 0..600 {
        text.push_str(&format!(
            "  - id: s{n}\n    run: |\n      set -x\n      if [ -e /srv/{n} ]; then\n        psql -c \"select {n}\" | tee -a /srv/log\n      \
             fi\n    timeout: 1min\n    postconditions: [{{ file: {{ path: / }} }}]\n"
        ));
    }
    let sandbox = Sandbox::new();
    let book = sandbox.write("book.yaml", &text).display().to_string();
    sandbox.run(&["lint", &book]).exits(0).says("no problems");
    // A script that nests without end is refused, and soon.
    let deep = format!("{}rm -r /x{}", "$(".repeat(3_000), ")".repeat(3_000));
    let book = sandbox.write("deep.yaml", &step(&format!("\"echo {deep}\""), "")).display().to_string();
    sandbox.run(&["lint", &book]).exits(2);
    let wide = "f() { g; g; g; }; g() { h; h; h; }; h() { f2; f2; f2; }; f2() { rm -r /x; }; f";
    let book = sandbox.write("wide.yaml", &step(&format!("\"{wide}\""), "")).display().to_string();
    sandbox.run(&["lint", &book]).exits(2).says("HP053");
}
