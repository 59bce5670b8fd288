//! Room that can be given back, and what only looks like it.

use std::process::Command;

use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::world::World;
use serde_json::{Value, json};

use super::{MOUNT, solid};
use crate::checks::{is, look, verdict};
use crate::harness::{Registry, must};
use crate::host::Mounted;

const KIND: &str = "space_reserve";

pub fn register(r: &mut Registry) {
    verdict(r, KIND, Verdict::Pass, MOUNT, pass);
    verdict(r, KIND, Verdict::Fail, MOUNT, fail);
    verdict(r, KIND, Verdict::Unknown, MOUNT, unknown);
}

fn ask(params: Value) -> Outcome {
    look(&Context::local(World::local()), KIND, params)
}

fn pass() -> Vec<Outcome> {
    let image = tempfile::tempdir().unwrap();
    let disk = solid(64, image.path());
    let file = disk.path().join("reserve");
    must(Command::new("fallocate").args(["-l", "8M"]).arg(&file));
    let kept = ask(json!({ "path": file, "at_least": "8MiB", "protects": disk.path().join("pg/not/yet") }));
    is(&kept, Verdict::Pass, "takes 8.00 MiB");
    let before = free(&disk);
    std::fs::remove_file(&file).unwrap();
    assert!(free(&disk) >= before + (8 << 20), "and it gives that back");
    let root = ask(json!({ "path": disk.path(), "at_least": "10MiB" }));
    is(&root, Verdict::Pass, "kept for root");
    vec![kept, root]
}

fn free(place: &Mounted) -> u64 {
    let text = must(Command::new("df").args(["-B1", "--output=avail"]).arg(place.path())).stdout;
    String::from_utf8_lossy(&text).lines().last().unwrap().trim().parse().unwrap()
}

fn fail() -> Vec<Outcome> {
    let (here, other) = (Mounted::tmpfs("size=64m"), Mounted::tmpfs("size=64m"));
    let at = |name: &str| here.path().join(name);
    let absent = ask(json!({ "path": at("none") }));
    is(&absent, Verdict::Fail, "there is no");
    must(Command::new("truncate").args(["-s", "2G"]).arg(at("holes")));
    let holes = ask(json!({ "path": at("holes") }));
    is(&holes, Verdict::Fail, "has holes: 0 B of its 2.00 GiB");
    must(Command::new("fallocate").args(["-l", "8M"]).arg(at("real")));
    let small = ask(json!({ "path": at("real"), "at_least": "9MiB" }));
    is(&small, Verdict::Fail, "takes 8.00 MiB");
    let apart = ask(json!({ "path": at("real"), "at_least": "8MiB", "protects": other.path() }));
    is(&apart, Verdict::Fail, "on two file systems");
    std::fs::hard_link(at("real"), at("again")).unwrap();
    let names = ask(json!({ "path": at("real"), "at_least": "8MiB" }));
    is(&names, Verdict::Fail, "has 2 names");
    let none = ask(json!({ "path": here.path(), "at_least": "1MiB" }));
    is(&none, Verdict::Fail, "keeps nothing for root");
    vec![absent, holes, small, apart, names, none]
}

fn unknown() -> Vec<Outcome> {
    let image = tempfile::tempdir().unwrap();
    let sparse = Mounted::ext4("64M", &image.path().join("image"));
    let file = sparse.path().join("reserve");
    must(Command::new("fallocate").args(["-l", "8M"]).arg(&file));
    let thin = ask(json!({ "path": file, "at_least": "8MiB" }));
    is(&thin, Verdict::Unknown, "nobody can say what");
    let below = ask(json!({ "path": file.join("x"), "at_least": "8MiB" }));
    is(&below, Verdict::Unknown, "not a directory");
    vec![thin, below]
}
