//! The forecast of `plan`, on a real small file system: it says at which step it runs out, and writing as much shows that
//! it is right.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Cluster, Major, Need, Registry, Sandbox, must};
use crate::host::Mounted;

pub fn register(r: &mut Registry) {
    let mount = &[Need::Root, Need::Mount];
    r.add("room::a_plan_says_at_which_step_the_disk_is_full", mount, runs_out);
    r.add("room::what_is_given_back_counts", mount, fits);
    r.add("room::what_cannot_be_measured_is_said", mount, unknown);
    r.add("room::a_target_is_measured", &[Need::Root, Need::Mount, Need::Pg15], measured);
    r.add("room::runbooks_that_ship_are_forecast", &[], shipped);
}

const HEAD: &str = "holdpoint: 1\nname: move\nsteps:\n";

fn step(id: &str, space: &str) -> String {
    format!("  - id: {id}\n    run: [\"true\"]\n    timeout: 1min\n    changes: false\n    space:\n{space}")
}

/// Four steps; with 100 MiB it lasts to the second.
fn four(disk: &Mounted, link: &std::path::Path) -> String {
    let at = |path: &std::path::Path, rest: &str| format!("      - {{ path: {}, {rest} }}\n", path.display());
    [
        HEAD.to_owned(),
        step("dump", &at(&disk.path(), "needs: 30MiB, what: the dump")),
        step("copy", &at(&disk.path().join("not/yet"), "needs: 40MiB, what: the copy")),
        // The same file system by another name.
        step(
            "index",
            &(at(link, "needs: 45MiB, until: index, what: sort files") + &at(link, "needs: 10MiB")),
        ),
        step("clean-up", &at(&disk.path(), "frees: 30MiB, what: the dump")),
    ]
    .concat()
}

fn runs_out() {
    let (sandbox, disk) = (Sandbox::new(), Mounted::tmpfs("size=100m"));
    let link = sandbox.join("link");
    std::os::unix::fs::symlink(disk.path(), &link).unwrap();
    let book = sandbox.write("book.yaml", &four(&disk, &link)).display().to_string();
    let ran = sandbox.run(&["plan", &book]).exits(1);
    let from = ran.stdout.find("\nRoom\n").unwrap();
    let shown = &ran.stdout[from + 1..ran.stdout.find("\nWay back\n").unwrap()];
    let shown = shown
        .replace(&link.display().to_string(), "LINK")
        .replace(&disk.path().display().to_string(), "DISK");
    let wanted = "Room
  DISK, DISK/not/yet, LINK (tmpfs, at DISK): 100 MiB available of 100 MiB
    1. dump           + 30.0 MiB the dump; 70.0 MiB left
    2. copy           + 40.0 MiB the copy; 30.0 MiB left
    3. index          + 45.0 MiB sort files; + 10.0 MiB LINK; 25.0 MiB short;
                      then - 45.0 MiB sort files
    4. clean-up       then - 30.0 MiB the dump
    RUNS OUT  at step 3. index: 25.0 MiB are missing
    peak      125 MiB, at step 3. index
There is not enough room for all steps.
";
    // Where lines break depends on how long the folder's name is.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&shown), words(wanted), "{shown}");
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);

    let json = sandbox.run(&["plan", &book, "--json"]).exits(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let fs = &json["room"]["file_systems"][0];
    assert_eq!(
        (&json["room"]["verdict"], json["room"]["file_systems"].as_array().unwrap().len()),
        (&"runs_out".into(), 1)
    );
    assert_eq!((&fs["runs_out_at"]["step"], &fs["runs_out_at"]["number"]), (&"index".into(), &3.into()));
    assert_eq!((&fs["bytes_short"], &fs["bytes_peak"]), (&(25 << 20).into(), &(125 << 20).into()));
    assert_eq!(fs["steps"][2]["gives_back"][0]["what"], "sort files");

    // It is so.
    let write = |name: &str, mib: usize| std::fs::write(disk.path().join(name), vec![1; mib << 20]);
    write("dump", 30).unwrap();
    write("copy", 40).unwrap();
    assert!(write("sort", 45).is_err(), "no space left on device");
}

fn fits() {
    let (sandbox, disk) = (Sandbox::new(), Mounted::tmpfs("size=126m"));
    let book = sandbox.write("book.yaml", &four(&disk, &disk.path())).display().to_string();
    let ran = sandbox.run(&["plan", &book]).exits(0);
    ran.says("peak      125 MiB, at step 3. index").says("There is room for every step");
    // A runbook that says nothing of room is planned as ever, and nothing is measured.
    let plain = format!("{HEAD}  - id: a\n    run: [\"true\"]\n    timeout: 1min\n    changes: false\n");
    let book = sandbox.write("plain.yaml", &plain).display().to_string();
    let ran = sandbox.run(&["plan", &book]).exits(0).says("Nothing was run or measured");
    assert!(!ran.stdout.contains("Room"), "{}", ran.stdout);
}

fn unknown() {
    let (sandbox, disk) = (Sandbox::new(), Mounted::tmpfs("size=100m"));
    let place = disk.path().display().to_string();
    let targets =
        "holdpoint: 1\nname: move\ntargets:\n  old: { postgres: \"host=127.0.0.1 port=1\" }\nsteps:\n";
    let old = format!("      - {{ path: {place}, needs: {{ times: 1, size_of: old }}, what: the copy }}\n");
    let rest = format!("      - {{ path: {place}, needs: 50MiB }}\n");
    let book = [targets.to_owned(), step("copy", &old), step("rest", &rest)].concat();
    let book = sandbox.write("book.yaml", &book).display().to_string();
    let ran = sandbox.run(&["plan", &book]).exits(0);
    let ran =
        ran.says("+ UNKNOWN the copy (the size of old is not known").says("UNKNOWN   from step 1. copy on");
    let ran = ran.says("at most 50.0 MiB left").says("peak      at least 50.0 MiB");
    ran.says("Nobody can say yet whether there is room for every step.");
    // What is known may be too much by itself.
    let much = std::fs::read_to_string(&book).unwrap().replace("50MiB", "101MiB");
    let book = sandbox.write("much.yaml", &much).display().to_string();
    sandbox.run(&["plan", &book]).exits(1).says("RUNS OUT  at step 2. rest");
    // A file where a directory should be.
    let file = sandbox.write("file", "").display().to_string();
    let text = [HEAD.to_owned(), step("a", &format!("      - {{ path: {file}/x, needs: 1MiB }}\n"))].concat();
    let book = sandbox.write("file.yaml", &text).display().to_string();
    sandbox.run(&["plan", &book]).exits(0).says("the file system cannot be measured").says("UNKNOWN");
    // A step that is not there, and one that came before.
    let text = [HEAD.to_owned(), step("copy", "      - { path: /, needs: 1MiB, until: cpy }\n")].concat();
    let book = sandbox.write("until.yaml", &text).display().to_string();
    sandbox.run(&["plan", &book]).exits(2).says("HP024").says("did you mean `copy`?");
}

fn measured() {
    let cluster = Cluster::start(Major::V15);
    let (sandbox, disk) = (Sandbox::new(), Mounted::tmpfs("size=400m"));
    let size: u64 =
        cluster.psql("select sum(pg_database_size(oid))::bigint from pg_database").parse().unwrap();
    let text = format!(
        "holdpoint: 1\nname: move\ntargets:\n  old:\n    postgres: {}\n    data_directory: {}\nsteps:\n{}",
        cluster.conninfo("postgres"),
        cluster.data().display(),
        step(
            "copy",
            &format!("      - {{ path: {}, needs: {{ times: 2, size_of: old }} }}\n", disk.path().display())
        )
    );
    let book = sandbox.write("book.yaml", &text).display().to_string();
    let peak = || {
        let json = sandbox.run(&["plan", &book, "--json"]).exits(0).stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        json["room"]["file_systems"][0]["bytes_peak"].as_u64().unwrap()
    };
    assert!(peak().abs_diff(size * 2) < 4 << 20, "{} {size}", peak());
    cluster.stop();
    assert!(peak() > size * 2, "stopped, its files are measured, the log with them");
    must(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()));
    sandbox.run(&["plan", &book]).exits(1).says("it is mounted read-only").says("RUNS OUT");
}

/// The runbooks that ship say what they take; without their servers that is unknown, and said so.
fn shipped() {
    let sandbox = Sandbox::new();
    for name in ["postgres-major-upgrade", "postgres-major-upgrade-pg_upgrade"] {
        let book = format!("{}/runbooks/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let ran =
            sandbox.run(&["plan", &book, "--var", "backups=/srv/dumps", "--var", "from=9", "--var", "to=10"]);
        let ran =
            ran.exits(0).says("+ UNKNOWN the dumps of the old cluster").says("+ UNKNOWN the new cluster");
        ran.says("there is no cluster 9/main").says("Nobody can say yet");
    }
}
