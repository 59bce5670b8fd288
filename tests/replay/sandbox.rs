//! What the replays rely on: whatever happens in one throw-away machine is seen in no other.

use std::path::Path;

use crate::harness::{Debian, Need, Registry};

pub fn register(r: &mut Registry) {
    r.add("sandbox::shared_memory_is_its_own", &[Need::Debian], shared_memory);
}

fn shared_memory() {
    let (one, other) = (Debian::plain(), Debian::plain());
    let name = format!("/dev/shm/holdpoint-test-{}", std::process::id());
    one.sh(&format!("touch {name}"));
    let seen = [one.path(&name).exists(), other.path(&name).exists(), Path::new(&name).exists()];
    one.sh(&format!("rm {name}"));
    assert_eq!(seen, [true, false, false], "in itself, in another, on this machine");
}
