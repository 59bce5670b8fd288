//! File systems in a mount name space of their own: the right one, none, a covered one, one that the kernel made
//! read-only, one that hangs.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::network::inside;
use super::super::{is, verdict};
use crate::harness::{Need, Registry};

/// A place for mounts that is gone with the name space.
const PLACE: &str = "mount -t tmpfs none /mnt; mkdir '/mnt/back up' /mnt/a; ln -s 'back up' /mnt/link";
/// ext4 on a loop device that ends with its mount.
const EXT4: &str = "truncate -s 16M image; mkfs.ext4 -q -F image; mount -o loop,noexec image '/mnt/back up'; \
                    loop=$(findmnt -no SOURCE '/mnt/back up')";

/// What the kernel does after an error.
const ABORTED: &str = "mount -o remount,errors=remount-ro,abort '/mnt/back up'";

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    let mount = &[Need::Root, Need::Mount];
    verdict(r, "mounted", Pass, mount, || {
        let at = json!({ "path": "/mnt/back up/", "type": "ext4", "options": ["noexec", "rw"] });
        let seen = mounted(EXT4, at);
        is(&seen, Pass, "ext4, rw, at /mnt/back up");
        let label = "mount -t tmpfs none /dev; mknod /dev/null c 1 3; mkdir -p /dev/disk/by-label; \
                     : > \"$loop\"; ln -s \"$loop\" /dev/disk/by-label/backup";
        let labelled = json!({ "path": "/mnt/back up", "device": "LABEL=backup" });
        vec![
            seen,
            mounted(&format!("{EXT4}; {label}"), labelled),
            mounted(EXT4, json!({ "path": "/mnt/link" })),
            mounted(
                &format!("{EXT4}; mkdir '/mnt/back up/x'"),
                json!({ "path": "/mnt/link/x", "on": "/mnt/link" }),
            ),
            mounted(
                &format!("{EXT4}; mount -o remount,ro '/mnt/back up'"),
                json!({ "path": "/mnt/link", "options": ["ro"] }),
            ),
            mounted("true", json!({ "path": "/mnt/back up", "mounted": false })),
            mounted("true", json!({ "path": "/mnt/nothing", "mounted": "false" })),
        ]
    });
    verdict(r, "mounted", Fail, mount, || {
        let none = mounted("true", json!({ "path": "/mnt/back up" }));
        is(&none, Fail, "nothing is mounted at /mnt/back up: it is on none, tmpfs");
        let on = mounted("true", json!({ "path": "/mnt/a", "on": "/mnt/back up" }));
        is(&on, Fail, "/mnt/a is not on a mount at /mnt/back up");
        // The disk is mounted, and something lies over it.
        let covered = "mkdir /mnt/a/deep; mount -t tmpfs deep /mnt/a/deep; mount -t tmpfs over /mnt/a; mkdir /mnt/a/deep";
        let covered = mounted(covered, json!({ "path": "/mnt/a/deep" }));
        is(&covered, Fail, "it is on over, tmpfs");
        let other = mounted(EXT4, json!({ "path": "/mnt/link", "type": "xfs", "device": "nas:/export" }));
        is(&other, Fail, "is mounted, not nas:/export; and 1 more");
        let executes =
            mounted("mount -t tmpfs none /mnt/a", json!({ "path": "/mnt/a", "options": ["noexec"] }));
        is(&executes, Fail, "the option noexec is not in force");
        // As after an error: the file system is read-only, and this mount of it still says rw.
        let error = format!(
            "{EXT4}; mount --bind '/mnt/back up' /mnt/a; mount -o remount,ro '/mnt/back up'; \
                             mount -o remount,bind,rw /mnt/a"
        );
        let error = mounted(&error, json!({ "path": "/mnt/a" }));
        is(&error, Fail, "the file system is read-only, though the mount says rw");
        // The same by the kernel's own hand.
        let aborted = mounted(&format!("{EXT4}; {ABORTED}"), json!({ "path": "/mnt/link" }));
        is(&aborted, Fail, "the file system is read-only, though the mount says rw");
        let there = mounted(EXT4, json!({ "path": "/mnt/link", "mounted": false }));
        vec![
            none,
            on,
            covered,
            other,
            executes,
            error,
            aborted,
            there,
            mounted("true", json!({ "path": "/mnt/nothing" })),
        ]
    });
    r.add("checks::disk_free_sees_that_the_kernel_writes_no_more", mount, aborted);
    verdict(r, "mounted", Unknown, mount, || {
        let link = mounted(EXT4, json!({ "path": "/mnt/link", "device": "UUID=2f6d-nowhere" }));
        is(&link, Unknown, "cannot be told");
        let mut seen = vec![link];
        // A file system whose server never answers.
        if std::path::Path::new("/dev/fuse").exists() {
            let hang =
                "exec 9<>/dev/fuse; mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 nas /mnt/a";
            let hung = mounted(hang, json!({ "path": "/mnt/a" }));
            is(&hung, Unknown, "it is mounted, and does not answer within 5 s");
            let behind = mounted(hang, json!({ "path": "/mnt/a/x", "on": "/mnt/a" }));
            is(&behind, Unknown, "hangs");
            seen.extend([hung, behind]);
        }
        seen
    });
}

/// Free space on a file system that nobody can write to any more.
fn aborted() {
    let check = json!({ "disk_free": { "path": "/mnt/back up", "at_least": "1MiB", "inodes_at_least": 10 } });
    let free = |more: &str| inside(&format!("{PLACE}; {EXT4}{more}"), check.clone());
    is(&free(""), Verdict::Pass, "available of");
    is(&free(&format!("; {ABORTED}")), Verdict::Fail, "read-only");
}

fn mounted(before: &str, params: Value) -> Outcome {
    inside(&format!("{PLACE}; {before}"), json!({ "mounted": params }))
}
