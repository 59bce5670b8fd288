//! Real processes: several of a name, by command line and user, zombies, and what cannot be seen.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::network::{AS_NOBODY, inside_of};
use super::super::{is, verdict};
use super::ask;
use crate::harness::{Need, Registry, copy_program, eventually, own_name};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "process_running", Pass, &[], || {
        let name = own_name("hpc");
        let crowd = Crowd::start(&name, 2, "90001");
        let uid = rustix::process::geteuid().as_raw().to_string();
        let both = json!({ "name": name, "command": format!("*{name} 90001"), "user": uid, "at_least": 2, "at_most": "2" });
        let seen = processes(both);
        is(&seen, Pass, "2 processes");
        let left = own_name("hpg");
        let gone = Crowd::start(&left, 1, "90002");
        let id = gone.children[0].id();
        crate::harness::must(Command::new("kill").args(["-9", &id.to_string()]));
        let stat = format!("/proc/{id}/stat");
        eventually(Duration::from_secs(10), "a zombie", || {
            std::fs::read_to_string(&stat).unwrap().rsplit(") ").next().unwrap().starts_with('Z')
        });
        let zombie = processes(json!({ "name": left, "running": false }));
        assert!(zombie.details.iter().any(|line| line.contains("1 zombie")), "{zombie:#?}");
        let seen = vec![
            seen,
            zombie,
            processes(json!({ "name": name })),
            processes(json!({ "command": "*no-such-thing-runs-here*", "running": "false" })),
        ];
        drop(crowd);
        seen
    });
    verdict(r, "process_running", Fail, &[], || {
        let name = own_name("hpm");
        let crowd = Crowd::start(&name, 2, "90003");
        let running = processes(json!({ "name": name, "running": false }));
        is(&running, Fail, "2 processes");
        let few = processes(json!({ "command": format!("*/{name} 90003"), "at_least": 3 }));
        is(&few, Fail, "2 processes");
        let user = processes(json!({ "name": name, "user": "4711" }));
        is(&user, Fail, &format!("no process {name} as 4711"));
        let seen = vec![
            running,
            few,
            user,
            processes(json!({ "name": name, "at_most": 1 })),
            // Only the whole command line fits, and the name is not part of a name.
            processes(json!({ "command": name })),
            processes(json!({ "name": name[..name.len() - 1] })),
            // Threads of the kernel are no programs.
            processes(json!({ "name": "kthreadd" })),
        ];
        drop(crowd);
        seen
    });
    verdict(r, "process_running", Unknown, &[Need::Root], || {
        let check = |params: Value| json!({ "process_running": params });
        let absent = || json!({ "command": "*no-such-thing-runs-here*", "running": false });
        // As in a container.
        let container = inside_of(&["--pid", "--fork", "--mount-proc"], "true", "", check(absent()));
        is(&container, Unknown, "the container that it runs in");
        let missing =
            inside_of(&["--pid", "--fork", "--mount-proc"], "true", "", check(json!({ "name": "postgres" })));
        let hidden =
            inside_of(&["--mount"], "mount -t proc -o hidepid=2 proc /proc", AS_NOBODY, check(absent()));
        is(&hidden, Unknown, "hidepid");
        // It has two names, and what it executes may be a third.
        let mut other =
            Command::new("/bin/sleep").arg0("hp-other").arg("90004").stdin(Stdio::null()).spawn().unwrap();
        eventually(Duration::from_secs(10), "it executes its program", || {
            std::fs::read_to_string(format!("/proc/{}/cmdline", other.id()))
                .is_ok_and(|line| line.starts_with("hp-other"))
        });
        let absent_name = json!({ "name": "no-such-program", "running": false });
        let unseen = inside_of(&["--mount"], "true", AS_NOBODY, check(absent_name));
        let stopped = json!({ "service_running": { "process": "no-such-program", "running": false } });
        let stopped = inside_of(&["--mount"], "true", AS_NOBODY, stopped);
        other.kill().unwrap();
        other.wait().unwrap();
        is(&unseen, Unknown, "may not be seen");
        is(&stopped, Unknown, "may not be seen");
        let nobody = processes(json!({ "user": "no-user-of-this-name" }));
        vec![container, missing, hidden, unseen, nobody]
    });
    r.add("checks::a_pattern_does_not_find_the_shell_that_asks", &[Need::Root], || {
        let params = json!({ "process_running": { "command": "*only-in-the-shell*", "running": false } });
        let seen = inside_of(
            &["--mount"],
            ": only-in-the-shell",
            "bash -c '\"$@\"; exit' only-in-the-shell",
            params,
        );
        is(&seen, Verdict::Pass, "no process");
    });
}

fn processes(params: Value) -> Outcome {
    ask("process_running", params)
}

/// Programs that sleep under a name of their own.
struct Crowd {
    children: Vec<Child>,
    _dir: tempfile::TempDir,
}

impl Crowd {
    fn start(name: &str, many: usize, seconds: &str) -> Crowd {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().canonicalize().unwrap().join(name);
        copy_program("/bin/sleep", &program);
        let start = |_| Command::new(&program).arg(seconds).stdin(Stdio::null()).spawn().unwrap();
        let children: Vec<Child> = (0..many).map(start).collect();
        eventually(Duration::from_secs(10), "they execute their program", || {
            children.iter().all(|child| {
                let exe = format!("/proc/{}/exe", child.id());
                std::fs::read_link(exe).ok().as_deref() == Some(program.as_path())
            })
        });
        Crowd { children, _dir: dir }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
