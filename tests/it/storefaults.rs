//! A store that cannot be written: full, read-only, failing. Nothing runs that is not on record first, the program says
//! what to do and exits with 6, and once the store is well again the run goes on as if nothing had been.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Need, Ran, Registry, finish, must};
use crate::play::Play;

const BOOK: &str = r#"
holdpoint: 1
name: store
vars: { place: { default: "@" } }
steps:
  - id: first
    preconditions: [ file: { path: "@/door" } ]
    run: "echo first >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger", contains: first } ]
  - id: wait
    run: |
      echo wait >>"$place/ledger"
      until [ -e "$place/go" ]; do sleep 0.05; done
      echo waited >>"$place/ledger"
    timeout: 1min
    postconditions: [ file: { path: "@/ledger", contains: waited } ]
  - id: last
    run: "echo last >>\"$place/ledger\""
    timeout: 1min
    postconditions: [ file: { path: "@/ledger", contains: last } ]
"#;
const ALL: [&str; 4] = ["first", "wait", "waited", "last"];

pub fn register(r: &mut Registry) {
    let mount = [Need::Root, Need::Mount];
    r.add("storefaults::a_full_disk_stops_before_the_step", &mount, full_before);
    r.add("storefaults::a_disk_that_fills_while_a_command_runs_keeps_its_end", &mount, full_meanwhile);
    r.add("storefaults::a_read_only_store_stops_before_the_step", &mount, read_only);
    r.add("storefaults::a_store_that_turns_read_only_while_a_command_runs", &mount, read_only_meanwhile);
    for (name, call, error) in [
        ("storefaults::nothing_begins_after_a_failed_flush", "fdatasync", "EIO"),
        ("storefaults::nothing_begins_after_a_failed_write", "write", "EIO"),
        ("storefaults::nothing_begins_without_room_for_its_record", "write", "ENOSPC"),
    ] {
        r.add(name, &[Need::Strace], move || failing(call, error));
    }
    r.add("storefaults::a_store_that_was_moved_away_stops_the_run", &[], moved_away);
}

/// A play whose store is on a small disk of its own.
struct Small {
    play: Play,
    mount: PathBuf,
}

impl Small {
    fn new() -> Small {
        let play = Play::new();
        play.book(BOOK);
        let mount = play.path("disk");
        std::fs::create_dir(&mount).unwrap();
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=700", "hp-test"]).arg(&mount));
        Small { play, mount }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.play.holdpoint("alice", words);
        command.env("HOLDPOINT_STORE", self.mount.join("store"));
        command
    }

    #[track_caller]
    fn ran(&self, words: &str) -> Ran {
        finish(&mut self.command(words), Duration::from_secs(60))
    }

    fn remount(&self, how: &str) {
        must(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.mount));
    }

    /// Fills the disk to the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.mount.join("filler")).unwrap();
        for size in [1 << 16, 4096, 512, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.mount.join("filler")).unwrap();
    }

    fn open_door(&self) {
        std::fs::write(self.play.path("door"), "").unwrap();
    }

    fn go(&self) {
        std::fs::write(self.play.path("go"), "").unwrap();
    }

    #[track_caller]
    fn whole(&self) {
        let runs: Vec<_> = std::fs::read_dir(self.mount.join("store/runs")).unwrap().collect();
        assert_eq!(runs.len(), 1);
        let name = runs[0].as_ref().unwrap().file_name();
        self.ran(&format!("verify {}", name.to_string_lossy())).exits(0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.mount).status();
        if !done.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

fn full_before() {
    let small = Small::new();
    std::fs::create_dir(small.mount.join("store")).unwrap();
    small.fill();
    small.open_door();
    small.ran("run book.yaml").exits(6).says("no space left").says("free some space");
    assert_eq!(small.play.ledger(), Vec::<String>::new());
    small.empty();
    std::fs::remove_file(small.play.path("door")).unwrap();
    small.ran("run book.yaml").exits(3);
    small.fill();
    small.open_door();
    small.ran("resume").exits(6).says("no space left").says("free some space");
    assert_eq!(small.play.ledger(), Vec::<String>::new());
    // It can still be read.
    small.ran("status").exits(0);
    small.empty();
    small.go();
    small.ran("resume").exits(0);
    assert_eq!(small.play.ledger(), ALL);
    small.whole();
}

/// The disk is full when the command ends: its end is recorded from the reserve, and nothing else begins.
fn full_meanwhile() {
    let small = Small::new();
    small.open_door();
    let mut alice = small.play.beside(&mut small.command("run book.yaml"));
    small.play.until("wait");
    small.fill();
    small.go();
    // The record of the next step may have fitted behind the last one, its command's folder did not: nothing ran.
    let ran = alice.ends(Duration::from_secs(20)).says("o space left");
    assert!(matches!(ran.status, Some(1 | 6)), "{ran:?}");
    assert_eq!(small.play.ledger(), &ALL[..3], "nothing ran that could not be recorded");
    small.empty();
    let decided = ["--decide", "last=again", "--reason", "there is room again"];
    finish(small.command("resume").args(decided), Duration::from_secs(60)).exits(0);
    assert_eq!(small.play.ledger(), ALL, "the waiting command ran once");
    small.whole();
}

fn read_only() {
    let small = Small::new();
    small.ran("run book.yaml").exits(3);
    small.open_door();
    small.remount("ro");
    small.ran("resume").exits(6).says("ead-only");
    small.ran("status").exits(0);
    small.ran("run book.yaml").exits(6).says("ead-only");
    assert_eq!(small.play.ledger(), Vec::<String>::new());
    small.remount("rw");
    small.go();
    small.ran("resume").exits(0);
    assert_eq!(small.play.ledger(), ALL);
    small.whole();
}

/// A remount is refused while the journal is open for writing; a bind mount in a name space of its own is not.
fn read_only_meanwhile() {
    let play = Play::new();
    play.book(BOOK);
    std::fs::write(play.path("door"), "").unwrap();
    let store = play.sandbox.store();
    std::fs::create_dir(&store).unwrap();
    // The engine works in a mount name space where, after a while, a full and read-only store lies over the real one.
    let script = format!(
        "mount --make-rprivate /; \"$@\" & engine=$!; until grep -q wait {place}/ledger 2>/dev/null; do sleep 0.05; done
         mount --bind {store} {store}; mount -o remount,bind,ro {store}; touch {place}/go; wait $engine",
        place = play.sandbox.path().display(),
        store = store.display()
    );
    let plain = play.holdpoint("alice", "run book.yaml");
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", &script, "bash"]).arg(plain.get_program()).args(plain.get_args());
    command.env("HOLDPOINT_STORE", &store).current_dir(play.sandbox.path()).stdin(Stdio::null());
    // The journal was open before, so what is known is recorded; the supervisor cannot leave a record of how the command
    // ended, so nobody knows.
    finish(&mut command, Duration::from_secs(30)).exits(4).says("IN DOUBT");
    assert_eq!(play.ledger(), &ALL[..3]);
    play.ran("alice", "resume").exits(4);
    play.with("alice", "resume", &["--decide", "wait=done", "--reason", "its line is there"]).exits(0);
    assert_eq!(play.ledger(), ALL);
    play.verified();
}

/// One call on the journal fails, each in turn: nothing that follows it may have happened.
fn failing(call: &'static str, error: &'static str) {
    let mut refused = 0;
    for nth in 1..16 {
        let play = Play::new();
        play.book(BOOK);
        play.ran("alice", "run book.yaml").exits(3);
        for name in ["door", "go"] {
            std::fs::write(play.path(name), "").unwrap();
        }
        let plain = play.holdpoint("alice", "resume");
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-P"]);
        command.arg(play.run().join("journal.jsonl"));
        // A disk that is full stays full; one that fails once may have lost what it was given.
        let lasting = if error == "ENOSPC" { "+" } else { "" };
        command.args(["-e", &format!("inject={call}:error={error}:when={nth}{lasting}")]);
        command.arg(plain.get_program()).args(plain.get_args()).env_clear();
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.current_dir(play.sandbox.path()).stdin(Stdio::null());
        let ran = finish(&mut command, Duration::from_secs(60));
        let at = format!("{call} {nth} on the journal fails with {error}: {ran:?}");
        match ran.status {
            Some(0) => {
                // Fewer calls than that: nothing failed.
                assert_eq!(play.ledger(), ALL, "{at}");
                continue;
            }
            Some(6) => refused += 1,
            _ => panic!("{at}"),
        }
        let advice = if error == "ENOSPC" { "free some space" } else { "resume" };
        assert!(ran.stderr.contains(advice), "no advice `{advice}`; {at}");
        for (step, lines) in [("first", 1), ("wait", 2), ("last", 1)] {
            let written = play.ledger().iter().filter(|line| line.starts_with(step)).count();
            assert!(
                written <= play.begun(step) * lines,
                "{step} ran without a record; {at}: {:?}",
                play.ledger()
            );
        }
        let resumed = play.ran("alice", "resume");
        let done = play.events("completed").len() == 1;
        assert!(done && matches!(resumed.status, Some(0 | 2)), "{at}\n{resumed:?}");
        assert_eq!(play.ledger(), ALL, "{at}");
        play.verified();
    }
    assert!(refused >= 8, "only {refused} were refused: the test would prove nothing");
}

/// The folder of the run goes away under the engine: what it would write would be written to nobody.
fn moved_away() {
    let play = Play::new();
    play.book(BOOK);
    std::fs::write(play.path("door"), "").unwrap();
    let mut alice = play.start("alice", "run book.yaml");
    play.until("wait");
    let (store, away) = (play.sandbox.store(), play.path("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(play.path("go"), "").unwrap();
    let ran = alice.ends(Duration::from_secs(20));
    assert_eq!(ran.status, Some(6), "{ran:?}");
    // The engine may have left before the command's end. Its supervisor is over when it has tried to put that on record.
    play.unsupervised();
    assert_eq!(play.ledger(), &ALL[..3]);
    std::fs::remove_dir_all(&store).ok();
    std::fs::rename(&away, &store).unwrap();
    // Its supervisor had nowhere to leave a record of its end.
    play.ran("alice", "resume").exits(4);
    play.with("alice", "resume", &["--decide", "wait=done", "--reason", "its line is there"]).exits(0);
    assert_eq!(play.ledger(), ALL);
    play.verified();
}
