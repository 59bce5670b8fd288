//! Room, on real file systems: small ones, full ones, sparse ones, and servers whose files lie on them.

mod copy;
mod disk;
mod parity;
mod reserve;
mod wal;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use holdpoint::check::Context;
use holdpoint::world::World;

use crate::harness::{Need, Registry, must};
use crate::host::{Mounted, Ticking};

/// What a test needs that mounts.
const MOUNT: &[Need] = &[Need::Root, Need::Mount];

pub fn register(r: &mut Registry) {
    copy::register(r);
    parity::register(r);
    disk::register(r);
    reserve::register(r);
    wal::register(r);
}

/// ext4 on an image of which every block is there; a fifth is root's.
fn solid(mib: u64, folder: &Path) -> Mounted {
    let (image, size) = (folder.join("solid"), format!("{mib}M"));
    must(Command::new("fallocate").args(["-l", &size]).arg(&image));
    must(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "nodiscard", "-m", "20"]).arg(&image));
    Mounted::loops(&image)
}

/// A context without targets whose clock goes on by ten seconds with each look.
fn ticking() -> Context {
    let mut cx = Context::local(World::local());
    cx.world.clock = Arc::new(Ticking(AtomicU64::new(1_000_000)));
    cx
}
