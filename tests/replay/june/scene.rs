//! The machine of that night, who works on it, and what they are told.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Debian, Said, Terminal};

/// The confirmation of the drop.
pub const DROP: &str = "drop-old=cluster 13/main";

/// The confirmation of dropping the new cluster, on the way back.
pub const UNDO: &str = "vacant=cluster 15/main";

/// How long anything may take that takes seconds on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the new cluster's files go: a small file system of its own.
pub const NEW: &str = "/var/lib/postgresql/15";

/// The machine of that night.
pub struct Night {
    pub debian: Debian,
}

impl Night {
    pub fn new(runbook: &str) -> Night {
        let debian = Debian::new();
        debian.copy_in(Path::new(runbook), "/srv/upgrade.yaml");
        application(&debian);
        debian.program(
            "/usr/local/share/app.sql",
            "insert into events select max(stream) + 1, 'hello' from events",
        );
        debian.sh(
            // The WAL on a disk of its own: a full disk then fails a table and not the server.
            "install -d -o postgres -g postgres /srv/dumps /var/lib/postgresql/15 /var/lib/postgresql/wal
             echo \"waldir = '/var/lib/postgresql/wal/%v-%c'\" >>/etc/postgresql-common/createcluster.conf
             pg_createcluster 13 main --port 5432 --locale C.UTF-8
             printf 'fsync = off\nmax_wal_size = 64MB\n' >/etc/postgresql/13/main/conf.d/test.conf
             pg_ctlcluster 13 main start",
        );
        debian.sql("13/main", "postgres", "create role synapse login");
        debian.sql("13/main", "postgres", "create database synapse owner synapse");
        Night { debian }
    }

    /// The new cluster gets a small disk of its own.
    pub fn small_disk(&self, megabytes: u32) {
        self.debian.sh(&format!(
            "truncate -s {megabytes}M /tmp/disk; mkfs.ext4 -q -F -m 1 /tmp/disk
             mount -o loop /tmp/disk {NEW}; chown postgres:postgres {NEW}",
        ));
    }

    /// Something else fills that disk but for so many megabytes.
    pub fn fill_disk(&self, leave: u64) {
        self.debian.sh(&format!(
            "free=$(df --output=avail --block-size=1M {NEW} | tail -1)
             fallocate -l $((free - {leave}))M {NEW}/nightly.tar",
        ));
    }

    /// What fills it goes again as soon as the new cluster has no room left: before it comes to its next table.
    pub fn make_room_when_full(&self) {
        self.debian.sh(&format!(
            "setsid --fork bash -c 'grep -q -m 1 \"No space left on device\" \
                 < <(exec tail -n +1 -F /var/log/postgresql/postgresql-15-main.log); rm {NEW}/nightly.tar' \
                 </dev/null >/dev/null 2>&1"
        ));
    }

    pub fn start_app(&self) {
        self.debian.sh("app-start");
    }

    /// holdpoint without a terminal, by somebody.
    pub fn holdpoint(&self, who: &str, arguments: &[&str]) -> Said {
        said(&self.debian, who, arguments)
    }

    pub fn start(&self) -> Vec<String> {
        self.words(&["run", "/srv/upgrade.yaml", "--env", "production"], &["backups=/srv/dumps", "soak=2s"])
    }

    /// These words, with this machine's ways to stop and to start the application, and more values.
    pub fn words(&self, first: &[&str], more: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = first.iter().map(|word| (*word).to_owned()).collect();
        let own = ["stop_app=app-stop --now", "start_app=app-start", "app_running=app-running"];
        for pair in own.iter().chain(more) {
            words.extend(["--var".to_owned(), (*pair).to_owned()]);
        }
        words
    }

    /// Somebody at a terminal starts the run and says yes to every step up to the copy.
    pub fn starts_at_a_terminal(&self, who: &str) -> Terminal {
        let mut terminal = terminal(&self.debian, who, &self.start());
        terminal.answers("protected environment", "production");
        terminal.answers(r"Step 1 of \d+: announce\s", "c");
        terminal.answers("Who is the second person", "Bea, +1 555 0100");
        for step in ["preflight", "stop-app", "freeze", "backup-old", "record-old", "vacant", "copy"] {
            terminal.answers(&format!(r"Step \d+ of \d+: {step}\s"), "g");
        }
        terminal
    }

    pub fn rows(&self, cluster: &str, table: &str) -> u64 {
        self.debian.sql(cluster, "synapse", &format!("select count(*) from {table}")).parse().unwrap()
    }

    pub fn run(&self) -> String {
        let newest = self.debian.sh("ls --sort=time /srv/store/runs");
        newest.lines().next().unwrap().to_owned()
    }

    /// Every way to the drop that an operator in a hurry would try.
    #[track_caller]
    pub fn nothing_leads_to_the_drop(&self, who: &str, rows: u64) {
        let wanted = format!("wanted {} rows", thousands(rows));
        let because = ["--reason", "pg_upgradecluster said Success"];
        self.holdpoint(who, &["resume"]).exits(3).says(&wanted);
        self.holdpoint(who, &["resume", "--confirm", DROP]).exits(3).says(&wanted);
        for step in ["copy", "drop-old"] {
            let decide = format!("{step}=done");
            self.holdpoint(who, &["resume", "--decide", &decide, because[0], because[1], "--confirm", DROP])
                .exits(3);
        }
        let again: Vec<String> = self.start();
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        self.holdpoint(who, &again).exits(3).says("is not finished");
        assert!(self.debian.clusters().contains(&"13/main down".to_owned()), "the old cluster is untouched");
        assert!(self.debian.path("/var/lib/postgresql/13/main/base").exists(), "and its files are there");
    }
}

/// What holdpoint says without a terminal, to somebody.
pub fn said(debian: &Debian, who: &str, arguments: &[&str]) -> Said {
    let mut command = debian.command("timeout");
    command.args(["900", "holdpoint", "--store", "/srv/store", "--operator", who]).args(arguments);
    Said::by(&mut command, &format!("holdpoint {}", arguments.join(" ")))
}

/// The same to somebody whose terminal has just been closed: the session in it ends a moment later.
pub fn said_after(debian: &Debian, who: &str, arguments: &[&str]) -> Said {
    let began = Instant::now();
    loop {
        let said = said(debian, who, arguments);
        if said.status != Some(5) || began.elapsed() > PATIENCE {
            return said;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// holdpoint in a terminal, by somebody.
pub fn terminal(debian: &Debian, who: &str, words: &[String]) -> Terminal {
    let mut command = debian.command_at_terminal("holdpoint");
    command.args(["--store", "/srv/store", "--operator", who]).args(words);
    Terminal::of(command)
}

/// An application that can be started, stopped and asked. What it does stands in /usr/local/share/app.sql.
pub fn application(debian: &Debian) {
    debian.program("/usr/local/sbin/app-start", APP_START);
    debian.program("/usr/local/sbin/app-stop", APP_STOP);
    debian.program("/usr/local/sbin/app-running", APP_RUNNING);
}

#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

pub fn thousands(n: u64) -> String {
    holdpoint::base::text::thousands(n)
}

const APP_START: &str = r#"#!/bin/bash
# An application: it writes a row now and then, on the port that it has always used.
setsid --fork bash -c '
  trap "rm /run/app.pid; exit" TERM
  exec </dev/null >/dev/null 2>&1
  echo $$ >/run/app.pid
  while :; do
    runuser -u postgres -- psql -p 5432 -Xq -d synapse -f /usr/local/share/app.sql
    sleep 0.2
  done'
until [ -s /run/app.pid ]; do sleep 0.02; done
"#;

const APP_STOP: &str = r#"#!/bin/bash
[ "$1" = --now ] || exit 2
[ -s /run/app.pid ] || exit 0
kill "$(cat /run/app.pid)"
while [ -e /run/app.pid ]; do sleep 0.02; done
"#;

const APP_RUNNING: &str = r#"#!/bin/bash
[ -s /run/app.pid ] && kill -0 "$(cat /run/app.pid)" || exit 3
"#;
