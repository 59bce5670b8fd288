//! Clocks by an NTP server of our own, hooks, programs replaced under those that run them, services in order.

mod accounts;
mod kernel;
mod logs;
mod mounts;
mod packages;
mod processes;

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, copy_program, eventually};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    for family in [
        accounts::register,
        kernel::register,
        logs::register,
        mounts::register,
        packages::register,
        processes::register,
    ] {
        family(r);
    }
    verdict(r, "clock_offset", Pass, &[], || {
        let (a, b) = (Ntp::start(0.0, 2), Ntp::start(0.01, 2));
        vec![clock(&[&a.at]), clock(&[&a.at, &b.at])]
    });
    verdict(r, "clock_offset", Fail, &[], || {
        let (ahead, behind) = (Ntp::start(540.0, 2), Ntp::start(-540.0, 1));
        let seen = clock(&[&ahead.at]);
        is(&seen, Fail, " s behind ");
        vec![seen, clock(&[&behind.at])]
    });
    verdict(r, "clock_offset", Unknown, &[], || {
        let (right, wrong) = (Ntp::start(0.0, 2), Ntp::start(540.0, 2));
        let disagree = clock(&[&right.at, &wrong.at]);
        is(&disagree, Unknown, "disagree");
        let (unsynchronised, refuses) = (Ntp::start(0.0, 16), Ntp::start(0.0, 0));
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = silent.local_addr().unwrap().to_string();
        vec![
            disagree,
            clock(&[&unsynchronised.at]),
            clock(&[&refuses.at]),
            clock(&[&silent]),
            clock(&["no.such.name.invalid"]),
        ]
    });
    verdict(r, "clock_steady", Pass, &[], || vec![steady(&[0, 0])]);
    verdict(r, "clock_steady", Fail, &[Need::Faketime], || {
        let forward = steady(&[0, 540]);
        is(&forward, Fail, "put forward by 5");
        let back = steady(&[0, -540]);
        is(&back, Fail, "put back by 5");
        // It stays known: the step lies between two looks of the last day.
        vec![forward, back, steady(&[0, 540, 540])]
    });
    verdict(r, "clock_steady", Unknown, &[], || vec![steady(&[0])]);
    verdict(r, "hook_environment", Pass, &[], || hooks("/usr/sbin:/usr/bin:/sbin:/bin", true));
    verdict(r, "hook_environment", Fail, &[], || hooks("/usr/bin", true));
    verdict(r, "hook_environment", Unknown, &[Need::Root], || {
        // A directory that cannot be looked into, even by root: it is on a file system that has gone.
        let long = format!("/{}", "x".repeat(5000));
        vec![ask("hook_environment", json!({ "commands": ["ip"], "path": long }))]
    });
    verdict(r, "restart_pending", Pass, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        let sleeper = Sleeper::start();
        // A role that may see the settings in the files, and not the files.
        cluster.psql(
            "create role app login; grant pg_monitor to app; grant select on pg_file_settings to app; \
             grant execute on function pg_show_all_file_settings() to app",
        );
        let app = pending(&cluster, "app");
        assert!(
            app.details.iter().any(|line| line.contains("was not looked at: the role may not")),
            "{app:#?}"
        );
        vec![
            app,
            pending(&cluster, "postgres"),
            ask("restart_pending", json!({ "pidfile": sleeper.pidfile() })),
        ]
    });
    verdict(r, "restart_pending", Fail, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("alter system set max_connections = 77");
        cluster.reload();
        let waiting = pending(&cluster, "postgres");
        is(&waiting, Fail, "`max_connections` waits for a restart (now 40)");
        cluster.psql("alter system reset max_connections");
        cluster.reload();
        eventually(Duration::from_secs(20), "nothing waits any more", || {
            pending(&cluster, "postgres").verdict == Pass
        });
        // Written and not read: nothing waits as far as the server knows, and a restart brings it all the same. The
        // server tells a file's time in whole seconds.
        let later = "select clock_timestamp() > pg_conf_load_time() + interval '1.1 s'";
        eventually(Duration::from_secs(20), later, || cluster.psql(later) == "t");
        cluster.psql("alter system set deadlock_timeout = '3s'");
        let unread = pending(&cluster, "postgres");
        is(&unread, Fail, "postgresql.auto.conf was changed after the server last read it");
        cluster.configure("work_mem = 'lots'");
        let broken = pending(&cluster, "postgres");
        assert!(format!("{broken:?}").contains("work_mem"), "{broken:#?}");
        let sleeper = Sleeper::start();
        sleeper.replace();
        let replaced = ask("restart_pending", json!({ "pidfile": sleeper.pidfile() }));
        is(&replaced, Fail, "was replaced");
        let gone = ask("restart_pending", json!({ "pidfile": "/nowhere/x.pid" }));
        vec![waiting, unread, broken, replaced, gone]
    });
    verdict(r, "restart_pending", Unknown, &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("create role app login; grant pg_monitor to app");
        let denied = pending(&cluster, "app");
        is(&denied, Unknown, "42501");
        cluster.stop();
        vec![denied, pending(&cluster, "postgres")]
    });
    let file = |params: Value| move || vec![ask("file", params)];
    verdict(r, "file", Pass, &[], file(json!({ "path": "/etc/passwd", "kind": "file", "contains": "root" })));
    verdict(r, "file", Fail, &[], file(json!({ "path": "/nowhere/at/all" })));
    // The path leads through a file: nothing can be said about what would be behind it.
    verdict(r, "file", Unknown, &[], file(json!({ "path": format!("/{}", "x".repeat(5000)) })));
    verdict(r, "service_running", Pass, &[], || {
        let sleeper = Sleeper::start();
        vec![ask("service_running", json!({ "pidfile": sleeper.pidfile(), "process": "sleeper" }))]
    });
    verdict(r, "service_running", Fail, &[], || {
        vec![ask("service_running", json!({ "process": "no-such-daemon-here" }))]
    });
    verdict(r, "service_running", Unknown, &[Need::Root], || {
        // Where systemd is not in charge.
        let unit = json!({ "service_running": { "unit": "postgresql@15-main.service" } });
        vec![super::network::inside("mount -t tmpfs none /run", unit)]
    });
    r.add("checks::a_service_older_than_its_database_is_found", &[Need::Pg15], newer_than_server);
}

fn ask(kind: &str, params: Value) -> Outcome {
    look(&context([]), kind, params)
}

fn clock(servers: &[&str]) -> Outcome {
    ask("clock_offset", json!({ "servers": servers }))
}

/// Looks once for each number, by a wall clock that is so many seconds off; what the last look said.
fn steady(offsets: &[i64]) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", "holdpoint: 1\nname: s\nchecks:\n  - clock_steady: {}\n");
    let mut last = None;
    for offset in offsets {
        let mut command = sandbox.holdpoint();
        command.args(["check", "site.yaml", "--json", "--samples", "kept"]);
        if *offset != 0 {
            command.env("LD_PRELOAD", crate::harness::faketime().unwrap());
            command.env("FAKETIME", format!("{offset:+}")).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let ran = crate::harness::finish(&mut command, Duration::from_secs(30));
        let answer: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        last = Some(serde_json::from_value(answer["evidence"][0].clone()).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    last.unwrap()
}

/// An NTP server whose clock is off by some seconds; stratum 16 is "not synchronised", 0 a refusal.
pub struct Ntp {
    pub at: String,
    stop: Arc<AtomicBool>,
}

impl Ntp {
    pub fn start(off: f64, stratum: u8) -> Ntp {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let at = socket.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut question = [0; 48];
            while !ends.load(Ordering::Relaxed) {
                let Ok((_, from)) = socket.recv_from(&mut question) else { continue };
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
                let ntp = unix + off + 2_208_988_800.0;
                let stamp = ((ntp as u64) << 32) | ((ntp.fract() * 4_294_967_296.0) as u64);
                let mut answer = [0; 48];
                (answer[0], answer[1]) = (0x24, stratum);
                answer[12..16].copy_from_slice(b"RATE");
                answer[24..32].copy_from_slice(&question[40..48]);
                answer[32..40].copy_from_slice(&stamp.to_be_bytes());
                answer[40..48].copy_from_slice(&stamp.to_be_bytes());
                let _ = socket.send_to(&answer, from);
            }
        });
        Ntp { at, stop }
    }
}

impl Drop for Ntp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn hooks(path: &str, executable: bool) -> Vec<Outcome> {
    let dir = tempfile::tempdir().unwrap();
    let hook = dir.path().join("exit-hook");
    std::fs::write(&hook, "#!/bin/sh\nip route show\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
        .unwrap();
    // `losetup` lives in sbin only.
    let seen = ask("hook_environment", json!({ "hook": hook, "commands": ["env", "losetup"], "path": path }));
    if seen.verdict == Verdict::Fail {
        is(&seen, Verdict::Fail, "losetup is not on /usr/bin");
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o644)).unwrap();
        let flat = ask("hook_environment", json!({ "hook": hook, "commands": ["env"], "path": "/usr/bin" }));
        is(&flat, Verdict::Fail, "is not executable");
        let gone = ask(
            "hook_environment",
            json!({ "hook": "/nowhere/hook", "commands": ["env"], "path": "/usr/bin" }),
        );
        return vec![seen, flat, gone];
    }
    vec![seen]
}

fn pending(cluster: &Cluster, user: &str) -> Outcome {
    let conninfo = cluster.conninfo("postgres").replace("user=postgres", &format!("user={user}"));
    let target = holdpoint::runbook::Target { postgres: Some(conninfo), ..Default::default() };
    look(&context([("db", target)]), "restart_pending", json!({ "target": "db" }))
}

/// A program of its own that sleeps, with a pid file.
struct Sleeper {
    child: std::process::Child,
    dir: tempfile::TempDir,
}

impl Sleeper {
    fn start() -> Sleeper {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("sleeper");
        copy_program("/bin/sleep", &program);
        let child = Command::new(&program).arg("60").stdin(Stdio::null()).spawn().unwrap();
        std::fs::write(dir.path().join("pid"), format!("{}\n", child.id())).unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        while std::fs::read_link(&exe).ok().as_deref() != Some(program.as_path()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Sleeper { child, dir }
    }

    fn pidfile(&self) -> String {
        self.dir.path().join("pid").display().to_string()
    }

    /// As a package manager does it: a new file takes the name.
    fn replace(&self) {
        let (new, program) = (self.dir.path().join("new"), self.dir.path().join("sleeper"));
        std::fs::copy("/bin/sleep", &new).unwrap();
        std::fs::rename(new, program).unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The database was restarted, also only inside after a crash of one process, and the service before it was not.
fn newer_than_server() {
    let cluster = Cluster::start(Major::V15);
    std::thread::sleep(Duration::from_millis(1100));
    let service = Sleeper::start();
    let seen = || {
        let params =
            json!({ "pidfile": service.pidfile(), "process": "sleeper", "newer_than": { "target": "db" } });
        look(&context([("db", cluster.target("postgres"))]), "service_running", params)
    };
    is(&seen(), Verdict::Pass, "");
    std::thread::sleep(Duration::from_millis(1100));
    // One backend is killed: the postmaster stays, everything else is started anew.
    let pid = cluster.psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let before = cluster.psql("select pg_postmaster_start_time()");
    crate::harness::must(Command::new("kill").args(["-9", &pid]));
    eventually(Duration::from_secs(10), "the server has recovered", || {
        // Not that it answers: at first it has not noticed yet, and then it answers nobody.
        let anew = "select count(*) from pg_stat_activity where backend_type = 'checkpointer' \
                    and backend_start > pg_postmaster_start_time() + interval '1 s'";
        let mut psql = Command::new("psql");
        psql.args(["-XAtqc", anew, "-d", &cluster.conninfo("postgres")]);
        psql.output().is_ok_and(|output| output.stdout == b"1\n")
    });
    assert_eq!(cluster.psql("select pg_postmaster_start_time()"), before, "the postmaster itself stayed");
    let stale = seen();
    is(&stale, Verdict::Fail, "db for");
    assert!(stale.help.as_deref().unwrap().contains("restart"), "{stale:#?}");
    cluster.stop();
    is(&seen(), Verdict::Unknown, "no server runs there");
}
