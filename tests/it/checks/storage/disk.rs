//! `disk_free` and `disk_time_to_full`; more of both is in `host.rs`.

use std::process::{Command, Stdio};

use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::world::World;
use serde_json::{Value, json};

use super::{MOUNT, ticking};
use crate::checks::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry};
use crate::host::Mounted;

pub fn register(r: &mut Registry) {
    verdict(r, "disk_free", Verdict::Pass, MOUNT, pass);
    verdict(r, "disk_free", Verdict::Fail, MOUNT, fail);
    verdict(r, "disk_free", Verdict::Unknown, &[Need::Pg15], unknown);
    verdict(r, "disk_time_to_full", Verdict::Pass, MOUNT, lasts);
    verdict(r, "disk_time_to_full", Verdict::Fail, MOUNT, fills);
    verdict(r, "disk_time_to_full", Verdict::Unknown, MOUNT, no_rate);
}

fn ask(params: Value) -> Outcome {
    look(&Context::local(World::local()), "disk_free", params)
}

fn pass() -> Vec<Outcome> {
    let image = tempfile::tempdir().unwrap();
    let (ext4, tmpfs) = (Mounted::ext4("64M", &image.path().join("image")), Mounted::tmpfs("size=32m"));
    let reserve = ask(json!({ "path": ext4.path(), "at_least": "10MiB", "inodes_at_least": 10 }));
    is(&reserve, Verdict::Pass, "available of");
    let sparse = "the rest has to be found elsewhere";
    assert!(reserve.details.iter().any(|line| line.contains(sparse)), "{reserve:#?}");
    let none =
        ask(json!({ "path": tmpfs.path().join("later"), "at_least": "90%", "inodes_at_least": "10%" }));
    is(&none, Verdict::Pass, "inodes free");
    // No fixed number of inodes is not a number of none.
    let any = Mounted::tmpfs("size=32m,nr_inodes=0");
    let dynamic = ask(json!({ "path": any.path(), "at_least": "1MiB" }));
    assert!(dynamic.details.iter().any(|line| line.contains("made as needed")), "{dynamic:#?}");
    vec![reserve, none, dynamic]
}

fn fail() -> Vec<Outcome> {
    let here = Mounted::tmpfs("size=32m");
    let path = here.path().join("log");
    std::fs::write(&path, vec![1; 24 << 20]).unwrap();
    // Deleted, and still written to by somebody who does not know: the usual end of a log file.
    let open = std::fs::File::open(&path).unwrap();
    let mut holder = Command::new("sleep").arg("60").stdin(open).stdout(Stdio::null()).spawn().unwrap();
    std::fs::remove_file(&path).unwrap();
    let held = ask(json!({ "path": here.path(), "at_least": "16MiB", "inodes_at_least": 1 }));
    holder.kill().unwrap();
    holder.wait().unwrap();
    is(&held, Verdict::Fail, "8.00 MiB available of 32.0 MiB");
    let named = format!(
        "1 deleted file still held open take 24.0 MiB; the largest, 24.0 MiB, by sleep (pid {})",
        holder.id()
    );
    assert!(held.details.contains(&named), "{held:#?}");
    is(&ask(json!({ "path": here.path(), "at_least": "16MiB", "inodes_at_least": 1 })), Verdict::Pass, "");
    vec![held]
}

fn unknown() -> Vec<Outcome> {
    let relative = ask(json!({ "path": "var/lib", "at_least": "1GiB" }));
    is(&relative, Verdict::Unknown, "not an absolute path");
    let cluster = Cluster::start(Major::V15);
    cluster.stop();
    let size = json!({ "path": "/", "at_least": { "times": 2, "size_of": "old" } });
    let gone = look(&context([("old", cluster.target("postgres"))]), "disk_free", size);
    is(&gone, Verdict::Unknown, "the size of old is not known");
    vec![relative, gone]
}

fn forecast(cx: &Context, place: &Mounted) -> Outcome {
    look(cx, "disk_time_to_full", json!({ "path": place.path(), "at_least": "10min", "headroom": "8MiB" }))
}

fn lasts() -> Vec<Outcome> {
    let (cx, here) = (ticking(), Mounted::tmpfs("size=64m"));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen = vec![forecast(&cx, &here)];
    }
    is(&seen[0], Verdict::Pass, "no growth in");
    seen
}

fn fills() -> Vec<Outcome> {
    let (cx, here) = (ticking(), Mounted::tmpfs("size=64m"));
    let mut seen = Vec::new();
    for i in 0..5 {
        std::fs::write(here.path().join(i.to_string()), vec![1; 4 << 20]).unwrap();
        seen = vec![forecast(&cx, &here)];
    }
    is(&seen[0], Verdict::Fail, "full in");
    std::fs::write(here.path().join("rest"), vec![1; 40 << 20]).unwrap();
    seen.push(forecast(&cx, &here));
    is(&seen[1], Verdict::Fail, "only 4.00 MiB available");
    seen
}

fn no_rate() -> Vec<Outcome> {
    let (cx, here) = (ticking(), Mounted::tmpfs("size=64m"));
    let first = forecast(&cx, &here);
    is(&first, Verdict::Unknown, "only 1 sample");
    vec![first]
}
