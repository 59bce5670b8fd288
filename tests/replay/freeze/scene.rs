//! The two hosts of that week, in a throw-away Debian: who works on them, and what becomes of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Debian, Said, Terminal, eventually, faketime};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay/freeze");
const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/host-recovery.yaml");

/// What this site says of itself; the rest is as the runbook has it.
const SITE: [&str; 26] = [
    "ntp_one=192.0.2.1:123",
    "ntp_two=192.0.2.1:124",
    "step_clock=/srv/site/step-clock",
    "hook=/srv/site/hook",
    "hook_path=/srv/daemon/bin",
    "renew=/srv/site/renew",
    "peer=10.9.0.2",
    "gateway=192.0.2.254",
    "restart_tunnel=/srv/site/restart-tunnel",
    "reach_back=/srv/site/reach-back",
    "start_db=/srv/site/start-db",
    "wal_room=8MiB",
    "slot_cap=24MB",
    "replica=host=10.9.0.2 port=5433 user=postgres dbname=postgres",
    "start_replica=/srv/site/start-replica",
    "catch_up_seconds=50",
    "app_pidfile=/srv/app.pid",
    "restart_app=/srv/site/restart-app",
    "bridge_at=10.9.0.2:9000",
    "restart_bridges=/srv/site/restart-bridge",
    "probes=/srv/probes",
    "arrives_within=20s",
    "page=/srv/site/page",
    "page_other_way=/srv/site/call",
    "page_within=30s",
    "wal_watch=5s",
];

/// The host with the primary; the other site is behind it.
pub struct Host {
    pub debian: Debian,
}

impl Host {
    /// Everything is up, and waits for its first bad day.
    pub fn new() -> Host {
        let debian = Debian::plain();
        debian.copy_in(Path::new(RUNBOOK), "/srv/runbooks/host-recovery.yaml");
        debian.copy_in(&Path::new(HERE).join("site.py"), "/srv/site.py");
        debian.copy_in(&Path::new(HERE).join("scene.sh"), "/srv/scene.sh");
        let host = Host { debian };
        host.sh(". ./scene.sh");
        host.until("the replica streams", "pg_lsclusters -h | grep -q 'replica.*online,recovery'");
        host
    }

    /// Runs a bash script in /srv; its standard output.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.debian.sh(&format!("cd /srv; {script}"))
    }

    /// Does it exit with 0?
    pub fn works(&self, script: &str) -> bool {
        let script = format!("cd /srv; {script}");
        self.debian
            .command("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .output()
            .unwrap()
            .status
            .success()
    }

    #[track_caller]
    pub fn until(&self, what: &str, script: &str) {
        eventually(Duration::from_secs(120), what, || self.works(script));
    }

    /// What bash makes of the words that a command printed.
    #[track_caller]
    pub fn number(&self, script: &str) -> i64 {
        self.sh(&format!("echo $(( $({script}) ))")).parse().unwrap()
    }

    /// In the primary.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.debian.sql("15/main", "postgres", sql)
    }

    /// Replaces a program of the site.
    pub fn program(&self, name: &str, text: &str) {
        self.debian.program(&format!("/srv/site/{name}"), &format!("#!/bin/bash\n{text}\n"));
    }

    /// holdpoint by somebody without a terminal, by this host's clock.
    pub fn holdpoint<S: AsRef<str>>(&self, who: &str, arguments: &[S]) -> Said {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut command = self.debian.command("env");
        command.args(by_its_clock()).args(["timeout", "900", "holdpoint", "--store", "/srv/store"]);
        command.args(["--operator", who]).args(&arguments);
        Said::by(&mut command, &format!("holdpoint {}", arguments.join(" ")))
    }

    /// A command about the runbook, with what this site says.
    pub fn words(&self, command: &str, more: &[&str]) -> Vec<String> {
        let mut words = vec![command.to_owned(), "/srv/runbooks/host-recovery.yaml".to_owned()];
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words.extend(
            SITE.iter().chain(&["watch=5s"]).flat_map(|pair| ["--var".to_owned(), (*pair).to_owned()]),
        );
        words
    }

    /// Somebody at a terminal starts the run, says what was seen, and leaves it before the first repair.
    pub fn starts(&self, who: &str, environment: &str) {
        let mut command = self.debian.command_at_terminal("env");
        command.args(by_its_clock()).args(["holdpoint", "--store", "/srv/store", "--operator", who]);
        let mut terminal = Terminal::of({
            command.args(self.words("run", &["--env", environment]));
            command
        });
        terminal.answers("protected environment", environment);
        terminal.answers(r"Step 1 of \d+: announce\s", "c");
        terminal.answers("who is the second person", "since 21:05, the VM was frozen; Bea, +1 555 0100");
        terminal.answers(r"Step 2 of \d+: clock\s", "q");
        terminal.ends();
    }

    /// The id of the newest run.
    pub fn run(&self) -> String {
        self.sh("ls --sort=time store/runs | head -n 1")
    }

    /// A message is under way to the bridge when the lease ends. The kernel takes the address away, and with it every
    /// route; the client binds anew. Meanwhile the people at the other site restart what they have.
    pub fn breaks(&self) {
        self.sh("touch bridge-is-slow; python3 site.py say 'in flight'");
        self.until("the bridge has been asked", "grep 'in flight' asked");
        self.sh("ip address change 192.0.2.10/24 dev eth0 valid_lft 1 preferred_lft 1");
        self.until("the lease to end", "! ip address show dev eth0 | grep 192.0.2.10");
        assert_eq!(self.sh("ip route"), "", "no address, no route");
        // It is dead before it could answer, and before another one looks whether one is there.
        self.sh("pid=$(cat bridge.pid); kill -9 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done
             rm bridge-is-slow; site/start-bridge
             pg_ctlcluster 15 replica stop -m immediate");
        // As after a power cut: nobody there knows of the connection any more, and nobody here was told.
        self.until("the other site has forgotten it", "! ip netns exec far ss -Hatn | grep FIN-WAIT");
        self.sh("site/dhclient");
        assert!(
            self.sh("cat dhclient.log").contains("ip: not found"),
            "the hook has failed, and nobody heard of it"
        );
    }

    /// A user of the other network says something, and it is read here.
    #[track_caller]
    pub fn irc_says(&self, text: &str) {
        self.sh(&format!("echo '{text}' >>irc-in"));
        self.until(text, &format!("python3 site.py get /messages | grep 'irc: {text}'"));
    }

    /// A week of writes.
    pub fn fills_the_disk(&self) {
        let full = "for i in {1..400}; do runuser -u postgres -- psql -Xqc \"select pg_logical_emit_message(true, 'w', repeat('x', 500000))\" >/dev/null 2>&1 || exit 0; done; exit 1";
        self.sh(full);
        let log = "grep 'PANIC.*No space left on device' /var/log/postgresql/postgresql-15-main.log";
        self.until("PostgreSQL to stop", &format!("{log} && ! pg_lsclusters -h 15 main | grep online"));
    }

    /// The server gets most of root's part of the disk.
    pub fn make_room(&self) {
        self.sh("tune2fs -m 0 $(findmnt -no SOURCE /var/lib/postgresql/wal); rm -f reserve");
    }

    /// Writes go on at a steady pace, until what this returns is dropped.
    pub fn writes(&self) -> Writes<'_> {
        self.sh("touch writing; setsid --fork site/write </dev/null >/dev/null 2>&1");
        self.until("the first of them", "grep -q x <(runuser -u postgres -- psql -XAtqc \"select 'x' from pg_replication_slots where pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 500000\")");
        Writes(self)
    }

    /// Somebody is awake: each page that comes meanwhile, by either way, is answered with the code that it carries.
    pub fn with_somebody_awake(&self, work: impl FnOnce() -> Said) -> Said {
        let over = AtomicBool::new(false);
        self.sh(": >phone; : >other-phone");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    for code in self.sh("cat phone other-phone").lines().map(str::to_owned) {
                        if !seen.contains(&code) {
                            self.holdpoint("bea", &["ack", &code]);
                            seen.push(code);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            let said = work();
            over.store(true, Ordering::Relaxed);
            said
        })
    }
}

/// Writes that go on.
pub struct Writes<'a>(&'a Host);

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.debian.path("/srv/writing"));
    }
}

/// Through libfaketime, so that setting the file's offset sets the clock of this host as the program sees it.
fn by_its_clock() -> Vec<String> {
    let library = faketime().expect("libfaketime").display().to_string();
    let mut words = vec![format!("LD_PRELOAD={library}")];
    words.extend(
        ["FAKETIME_TIMESTAMP_FILE=/srv/clock", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
            .map(str::to_owned),
    );
    words
}
