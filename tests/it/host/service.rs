//! Services as real processes: with odd names, as zombies, under stale pid files, restarted in the wrong order.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdpoint::check::Verdict;
use serde_json::json;

use super::{expect, number};
use crate::harness::{Need, Registry, copy_program, must, own_name};

pub fn register(r: &mut Registry) {
    r.add("host::service_lives_and_dies", &[], lives_and_dies);
    r.add("host::service_of_a_stale_pid_file", &[], stale_pid_file);
    r.add("host::service_restarted_in_order", &[], order);
    r.add("host::unit_without_systemd_is_unknown", &[Need::Root], no_systemd);
}

/// A program that only sleeps, under a name of its own; ends when dropped.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(dir: &Path, name: &str) -> Daemon {
        let program = dir.join(name);
        if !program.exists() {
            copy_program("/bin/sleep", &program);
        }
        let child = Command::new(&program).arg("300").stdin(Stdio::null()).spawn().unwrap();
        // Until it executes its own program.
        let exe = format!("/proc/{}/exe", child.id());
        while std::fs::read_link(&exe).ok().as_deref() != Some(program.as_path()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Daemon { child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        let stat = format!("/proc/{}/stat", self.child.id());
        while !std::fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().trim().starts_with('Z') {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn lives_and_dies() {
    let (_dir, here) = place();
    // Longer than the 15 bytes that the kernel keeps, with all that could confuse a reader of /proc/PID/stat.
    let begins = own_name("hpx");
    for name in [format!("{begins}) R 1 (x y"), own_name("holdpoint-test-daemon-long")] {
        let up = || json!({ "service_running": { "process": name } });
        let down = || json!({ "service_running": { "process": name, "running": "false" } });
        expect(Verdict::Fail, "no process", up());
        expect(Verdict::Pass, "no process", down());
        let mut daemon = Daemon::start(&here, &name);
        let seen = expect(Verdict::Pass, "runs as process", up());
        assert_eq!(number(&seen, "pid"), u64::from(daemon.child.id()));
        assert!(number(&seen, "up_ms") < 60_000, "{seen:#?}");
        expect(Verdict::Fail, "runs as process", down());
        // An upgrade replaces the program's file under the running process.
        std::fs::remove_file(here.join(&name)).unwrap();
        expect(Verdict::Pass, "runs as process", up());
        daemon.kill();
        expect(Verdict::Fail, "zombie", up());
        expect(Verdict::Pass, "zombie", down());
        drop(daemon);
        expect(Verdict::Fail, "no process", up());
    }
    expect(Verdict::Fail, "no process", json!({ "service_running": { "process": begins } }));
    let young = Daemon::start(&here, &own_name("hp-young"));
    let check = json!({ "service_running": { "process": own_name("hp-young"), "up_for": "1h" } });
    expect(Verdict::Fail, "only", check);
    drop(young);
}

fn stale_pid_file() {
    let (_dir, here) = place();
    let file = here.join("daemon.pid");
    let by_file = || json!({ "service_running": { "pidfile": file } });
    expect(Verdict::Fail, "no pid file", by_file());
    let daemon = Daemon::start(&here, "hp-pidfile");
    std::fs::write(&file, format!("{}\n/some/where\n", daemon.child.id())).unwrap();
    expect(Verdict::Pass, "hp-pidfile runs", by_file());
    let both = |name: &str| json!({ "service_running": { "pidfile": file, "process": name } });
    expect(Verdict::Pass, "hp-pidfile runs", both("hp-pidfile"));
    expect(Verdict::Fail, "which is hp-pidfile", both("hp-other"));
    // The file is an hour old, the process is not: its number was given to somebody else.
    must(Command::new("touch").args(["-d", "1 hour ago"]).arg(&file));
    expect(Verdict::Unknown, "younger than", by_file());
    expect(Verdict::Pass, "", both("hp-pidfile"));
    drop(daemon);
    expect(Verdict::Fail, "does not exist", by_file());
    std::fs::write(&file, "postgres\n").unwrap();
    expect(Verdict::Unknown, "no process number", by_file());
}

fn order() {
    let (_dir, here) = place();
    let names = ["hpa", "hpd"].map(own_name);
    let app = Daemon::start(&here, &names[0]);
    std::thread::sleep(Duration::from_millis(30));
    let database = Daemon::start(&here, &names[1]);
    let check =
        || json!({ "service_running": { "process": names[0], "newer_than": { "process": names[1] } } });
    expect(Verdict::Fail, "is up for", check());
    drop(app);
    std::thread::sleep(Duration::from_millis(30));
    let app = Daemon::start(&here, &names[0]);
    expect(Verdict::Pass, "runs as process", check());
    drop(database);
    expect(Verdict::Unknown, "no running process", check());
    drop(app);
}

fn no_systemd() {
    if std::fs::read_to_string("/proc/1/comm").unwrap().trim() == "systemd" {
        let check =
            json!({ "service_running": { "unit": "holdpoint-no-such-unit.service", "running": false } });
        expect(Verdict::Unknown, "knows no unit", check);
        return;
    }
    for running in [true, false] {
        let check = json!({ "service_running": { "unit": "postgresql.service", "running": running } });
        expect(Verdict::Unknown, "systemd is not in charge", check);
    }
}
