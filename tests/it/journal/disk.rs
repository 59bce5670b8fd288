//! Disks that are full, read-only, or fail.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdpoint::journal::record::LeaseHow;
use holdpoint::journal::{AppendError, Journal, Lease, OpenError, Seat, Store, read};

use super::actor::Actor;
use super::{assert_whole, began, begin, claim, ended, note, now};
use crate::harness::{Need, Registry};

pub fn register(r: &mut Registry) {
    let mount = [Need::Root, Need::Mount];
    r.add("journal::a_full_tmpfs_still_takes_endings", &mount, || full(Disk::tmpfs("8m")));
    r.add("journal::a_full_ext4_still_takes_endings", &mount, || full(Disk::ext4()));
    r.add("journal::a_disk_that_turned_read_only_stops_everything", &mount, read_only);
    r.add("journal::a_store_in_memory_is_warned_about", &mount, warned);
    r.add("journal::a_failed_flush_closes_the_journal", &[], failed_flush);
    r.add("journal::interrupted_calls_and_lack_of_space_leave_no_trace", &[], injected);
    r.add("journal::a_limit_on_file_sizes_is_not_a_kill", &[], limited);
}

/// A file system of its own, unmounted when it is dropped.
struct Disk {
    tmp: tempfile::TempDir,
}

impl Disk {
    fn root(&self) -> PathBuf {
        self.tmp.path().join("mnt")
    }

    fn mounted(tmp: tempfile::TempDir, args: &[&str]) -> Disk {
        let disk = Disk { tmp };
        fs::create_dir(disk.root()).unwrap();
        run("mount", &[args, &[disk.root().to_str().unwrap()]].concat());
        disk
    }

    fn tmpfs(size: &str) -> Disk {
        Disk::mounted(
            tempfile::tempdir().unwrap(),
            &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "hp-test"],
        )
    }

    fn ext4() -> Disk {
        let tmp = tempfile::tempdir().unwrap();
        let image = tmp.path().join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let image = image.to_str().unwrap().to_owned();
        run("mkfs.ext4", &["-q", "-F", &image]);
        Disk::mounted(tmp, &["-o", "loop,errors=remount-ro", &image])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.root()).status();
        if !done.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(self.root()).status();
        }
    }
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 16, 512, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    let _ = file.sync_all();
}

fn full(disk: Disk) {
    let dir = begin(&disk.root(), "demo-1");
    let (mut journal, _) = Journal::open(&dir).unwrap();
    let seat = Seat::here().unwrap();
    let (lease, _) = Lease::take(&mut journal, &seat, claim("alice@db1", LeaseHow::Start), now()).unwrap();
    let epoch = Some(lease.epoch());
    journal.append("alice@db1", epoch, now(), began()).unwrap();
    let filler = disk.root().join("filler");
    fill(&filler);
    // What is left of the journal's last block is used up, then the reserve is given up.
    for n in 0..500 {
        journal
            .append("alice@db1", epoch, now(), ended())
            .unwrap_or_else(|error| panic!("ending {n}: {error}"));
    }
    assert!(!journal.has_reserve());
    fill(&disk.root().join("filler-2"));
    journal.append("alice@db1", epoch, now(), ended()).expect("no other writer can take the reserve");
    let length = fs::metadata(dir.journal()).unwrap().len();
    for events in [began(), vec![holdpoint::journal::Event::Done { step: "copy".into() }]] {
        match journal.append("alice@db1", epoch, now(), events) {
            Err(AppendError::NoSpace { mount, .. }) => assert_eq!(mount, disk.root().canonicalize().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::metadata(dir.journal()).unwrap().len(), length, "a refused event leaves no trace");
    let store = Store::at(&disk.root().join("store")).unwrap();
    assert!(store.create_run("x", b"x", &now(), None).is_err(), "no new run without its reserve");
    assert_eq!(store.runs().unwrap().len(), 1, "and no rest of one");
    // Another session can read, cannot begin anything, and can leave a note.
    let (mut other, _) = Journal::open(&dir).unwrap();
    other.append("bob@db1", None, now(), note("the disk is full")).unwrap();
    lease.release(&mut journal, now(), "held").unwrap();
    let error = Lease::take(&mut other, &seat, claim("alice@db1", LeaseHow::Resume), now()).unwrap_err();
    assert!(error.to_string().contains("space"), "{error}");
    fs::remove_file(filler).unwrap();
    fs::remove_file(disk.root().join("filler-2")).unwrap();
    let (lease, _) = Lease::take(&mut other, &seat, claim("alice@db1", LeaseHow::Resume), now()).unwrap();
    other.append("alice@db1", Some(lease.epoch()), now(), began()).unwrap();
    assert!(other.has_reserve(), "whole again");
    assert_whole(&dir, false);
}

fn read_only() {
    let disk = Disk::ext4();
    let dir = begin(&disk.root(), "demo-1");
    let (mut journal, _) = Journal::open(&dir).unwrap();
    let seat = Seat::here().unwrap();
    let (lease, _) = Lease::take(&mut journal, &seat, claim("alice@db1", LeaseHow::Start), now()).unwrap();
    run("sync", &["-f", disk.root().to_str().unwrap()]);
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let root = disk.root();
    let line = table.lines().find(|line| line.split(' ').nth(1) == root.to_str()).unwrap();
    let device = line.split(' ').next().unwrap().rsplit('/').next().unwrap();
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    for _ in 0..2 {
        let error = journal.append("alice@db1", Some(lease.epoch()), now(), ended()).unwrap_err().to_string();
        assert!(error.contains("read-only") || error.contains("input/output error"), "{error}");
    }
    let error = Journal::open(&dir).unwrap_err();
    assert!(matches!(error, OpenError::Unwritable(_)) && error.to_string().contains("read-only"), "{error}");
    assert_eq!(read::read(&dir).unwrap().entries.len(), 2, "it can still be shown");
}

fn warned() {
    let disk = Disk::tmpfs("4m");
    let store = Store::at(&disk.root().join("store")).unwrap();
    let warning = store.durability_warning().unwrap();
    assert!(warning.contains("tmpfs") && warning.contains("restart"), "{warning}");
    let disk = Disk::ext4();
    assert_eq!(Store::at(&disk.root().join("store")).unwrap().durability_warning(), None);
}

/// strace makes a call on the journal fail.
fn traced(journal: &Path, inject: &str) -> Actor {
    let path = journal.to_str().unwrap();
    let call = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    Actor::under(&["strace", "-qqq", "-f", "-o", "/dev/null", "-P", path, "-e", &trace, "-e", &inject])
}

fn failed_flush() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let mut actor = traced(&dir.journal(), "fdatasync:error=EIO:when=3");
    assert_eq!(actor.ask(&format!("open {}", dir.path.display())), "ok 1");
    assert_eq!(actor.ask("take start alice@db1"), "ok 1");
    assert_eq!(actor.ask("began"), "ok 3");
    let answer = actor.ask("ended");
    assert!(answer.starts_with("err NotFlushed: the disk did not confirm"), "{answer}");
    for next in ["ended", "note x", "release"] {
        let answer = actor.ask(next);
        assert!(
            answer.starts_with("err Closed") && answer.contains("did not confirm"),
            "never asked again: {answer}"
        );
    }
    actor.finish();
    // The bytes may be there or not; what is there is whole, and opening makes it count.
    let (_, lines) = Journal::open(&dir).unwrap();
    assert!((3..=4).contains(&lines.len()));
    assert_whole(&dir, false);
    // Opening writes the last lines again and flushes them; a disk that refuses either is not believed.
    for inject in ["pwrite64:error=EIO:when=1", "fsync:error=EIO:when=1"] {
        let mut actor = traced(&dir.journal(), inject);
        let answer = actor.ask(&format!("open {}", dir.path.display()));
        assert!(answer.starts_with("err Unwritable: the disk did not confirm"), "{inject}: {answer}");
    }
}

fn injected() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let open = format!("open {}", dir.path.display());
    for (inject, answers) in [
        ("write:error=EINTR:when=1..3", ["ok", "ok"]),
        ("fdatasync:error=EINTR:when=1..2", ["ok", "ok"]),
        ("flock:error=EINTR:when=2..4", ["ok", "ok"]),
        ("write:error=ENOSPC:when=1", ["ok", "ok"]),
        ("write:error=ENOSPC:when=1..2", ["err NoSpace", "ok"]),
        ("write:error=EDQUOT:when=1..2", ["err NoSpace", "ok"]),
        ("write:error=EIO:when=1", ["err Write", "err Closed"]),
        ("fdatasync:error=ENOSPC:when=1", ["err NotFlushed", "err Closed"]),
        ("flock:error=ENOLCK:when=3", ["err Write", "ok"]),
    ] {
        let mut actor = traced(&dir.journal(), inject);
        assert!(actor.ask(&open).starts_with("ok"), "{inject}");
        for want in answers {
            let got = actor.ask("note x");
            assert!(got.starts_with(want), "{inject}: {got}");
        }
        actor.finish();
        assert_whole(&dir, false);
    }
}

fn limited() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = begin(tmp.path(), "demo-1");
    let size = fs::metadata(dir.journal()).unwrap().len() + 400;
    let limit = format!("--fsize={size}");
    let mut actor = Actor::under(&["prlimit", &limit]);
    // The reserve is whole already, so that nothing else of ours is larger than the limit.
    assert_eq!(actor.ask(&format!("open {}", dir.path.display())), "ok 1");
    let mut answers = (0..5).map(|_| actor.ask("note x"));
    assert_eq!(answers.next().unwrap(), "ok 2");
    assert!(answers.any(|answer| answer.starts_with("err NoSpace") && answer.contains("ulimit")));
    assert_whole(&dir, false);
}
