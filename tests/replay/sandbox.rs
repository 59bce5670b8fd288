//! What the replays rely on: whatever happens in one throw-away machine is seen in no other, and goes with it.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Debian, Need, Registry, eventually};

pub fn register(r: &mut Registry) {
    r.add("sandbox::shared_memory_is_its_own", &[Need::Debian], shared_memory);
    r.add("sandbox::its_loop_devices_go_with_it", &[Need::Debian, Need::Mount], loop_devices);
}

fn shared_memory() {
    let (one, other) = (Debian::plain(), Debian::plain());
    let name = format!("/dev/shm/holdpoint-test-{}", std::process::id());
    one.sh(&format!("touch {name}"));
    let seen = [one.path(&name).exists(), other.path(&name).exists(), Path::new(&name).exists()];
    one.sh(&format!("rm {name}"));
    assert_eq!(seen, [true, false, false], "in itself, in another, on this machine");
}

/// A file system in a file of the sandbox, with processes on it when all ends: the kernel lets go of the device.
fn loop_devices() {
    for nth in 0..4 {
        let debian = Debian::plain();
        let name = format!("disk-{}-{nth}", std::process::id());
        debian.sh(&format!(
            "truncate -s 16M /{name}; mkfs.ext4 -q -F /{name}; mkdir /there; mount -o loop /{name} /there
             for n in {{1..20}}; do (cd /there; setsid --fork sleep 600 <>file$n >/dev/null 2>&1); done"
        ));
        let used = || {
            let devices = std::fs::read_dir("/sys/block").unwrap();
            let files = devices
                .filter_map(|d| std::fs::read_to_string(d.ok()?.path().join("loop/backing_file")).ok());
            files.filter(|file| file.trim_end().ends_with(&name)).count()
        };
        assert_eq!(used(), 1, "it is in use");
        drop(debian);
        eventually(Duration::from_secs(10), "the device is free", || used() == 0);
    }
}
