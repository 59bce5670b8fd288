//! A small chat service on a primary and a standby, each with a disk of its own; its people, their pager, and a clock that
//! says what it said then.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Cluster, Major, Need, Ran, eventually, faketime, must};
use crate::page::Page;
use crate::play::{Beside, Play};

pub const NEEDS: &[Need] = &[Need::Root, Need::Mount, Need::Pg15, Need::Faketime];

pub const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/postgres-drop-index.yaml");

/// The index that was dropped then.
pub const REDACT: &str = "public.event_push_actions_room_event";

/// One that the reports on the standby use.
pub const HIGHLIGHTS: &str = "public.event_push_actions_highlights";

/// What a redaction deletes.
pub const REDACTION: &str = "delete from event_push_actions where room_id = 'r7' and event_id = 'e7'";

/// How long anything may take that takes a moment on a machine with nothing else to do.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The tables of that service as far as they matter here, each room with 3,000 push actions.
const TABLES: &str = "\
create table event_push_actions (room_id text, event_id text, user_id text, profile_tag text, actions text, highlight int);
insert into event_push_actions
  select 'r' || g % 50, 'e' || g, 'u' || g % 500, '', '[\"notify\"]', 0 from generate_series(1, 150000) g;
create index event_push_actions_room_event on event_push_actions (room_id, event_id, user_id, profile_tag);
create index event_push_actions_highlights on event_push_actions (user_id, highlight);
create table rooms (room_id text primary key, latest text);
insert into rooms select 'r' || g from generate_series(0, 49) g;
create table events (stream bigserial, room_id text, body text);
create table received (stream bigserial, body text);
vacuum analyze";

/// The service.
pub struct Site {
    pub play: Play,
    pub standby: Cluster,
    pub primary: Cluster,
}

impl Site {
    /// It serves. Both servers have been counting for forty days, and the standby's disk is the smaller one.
    pub fn new(conf: &str) -> Site {
        let play = Play::new();
        let here = play.sandbox.path();
        std::fs::set_permissions(here, PermissionsExt::from_mode(0o755)).unwrap();
        let clock = play.sandbox.write("server-clock", "-40d\n");
        let library = faketime().unwrap();
        // Behind the words that change the user: whom the library begins with, it shares its memory with.
        let words = format!(
            "exec \"${{@:1:5}}\" env LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_DONT_FAKE_MONOTONIC=1 \"${{@:6}}\"",
            library.display(),
            clock.display()
        );
        let around = ["bash", "-c", &words, "then"];
        let conf = format!("wal_level = replica\nmax_wal_size = 64MB\n{conf}");
        let primary = Cluster::create_around(&around, Major::V15, &conf, &[]);
        let made = primary.socket_dir().join("made");
        std::fs::rename(primary.data(), &made).unwrap();
        disk(&primary, "600m");
        must(Command::new("cp").arg("-aT").arg(&made).arg(primary.data()));
        primary.restart();
        primary.psql("select pg_create_physical_replication_slot('beta', true)");
        let standby = Cluster::create_around(&around, Major::V15, "", &[]);
        std::fs::remove_dir_all(standby.data()).unwrap();
        disk(&standby, "400m");
        let mut copy = Major::V15.command("pg_basebackup");
        copy.arg("-d").arg(primary.conninfo("postgres")).arg("-D").arg(standby.data());
        must(copy.args(["-X", "stream", "-c", "fast", "--no-sync"]));
        std::fs::write(standby.data().join("standby.signal"), "").unwrap();
        standby.configure(&format!(
            "port = {}\nunix_socket_directories = '{}'\nprimary_slot_name = 'beta'\n\
             primary_conninfo = 'host={} port={} user=postgres application_name=beta'\n",
            standby.port(),
            standby.socket_dir().display(),
            primary.socket_dir().display(),
            primary.port()
        ));
        standby.restart();
        // Counted since then; from here on the clocks are right.
        std::fs::write(&clock, "+0\n").unwrap();
        standby.restart();
        primary.restart();
        let site = Site { play, standby, primary };
        site.primary.psql("create role synapse login");
        for limit in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
            site.primary.psql(&format!("alter role synapse set {limit} = '10min'"));
        }
        site.primary.psql("create database synapse");
        site.sql("select 1");
        site.primary.psql_in("synapse", &TABLES.replace("vacuum analyze", "select 1"));
        site.primary.psql_in("synapse", "vacuum analyze");
        site.primary.psql_in("synapse", "grant all on all tables in schema public to synapse");
        site.primary.psql_in("synapse", "grant all on all sequences in schema public to synapse");
        site.programs();
        site.caught_up();
        site
    }

    /// What an operator of the service has installed.
    fn programs(&self) {
        let psql = |server: &Cluster| {
            format!("psql -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=terse -d '{}'", server.conninfo("synapse"))
        };
        // Taken by the service at once; then it waits for its turn in the room.
        let send = format!(
            "export PGOPTIONS='-c lock_timeout=5s'\n{primary} -c \"insert into received (body) values ('$HOLDPOINT_TOKEN')\"\n{primary} -c \"{}\"",
            say("r7", "$HOLDPOINT_TOKEN"),
            primary = psql(&self.primary)
        );
        let receive = "select body from events where room_id = 'r7' order by stream desc limit 50";
        let here = self.play.sandbox.path().display();
        self.program("send", &send);
        self.program("receive", &format!("{} -c \"{receive}\"", psql(&self.standby)));
        self.program("queues", "echo irc 0; echo slack 3");
        // The pager's service takes every page. It rings for who pays.
        self.program("page", &format!("echo 202 Accepted\n[ -e '{here}/unpaid' ] || tr '\\n' ' ' <<<\"$1\" >>'{here}/phone'; echo >>'{here}/phone'"));
        std::fs::create_dir(self.play.path("kept")).unwrap();
        must(Command::new("chown").arg("postgres").arg(self.play.path("kept")));
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.play.sandbox.write(name, &format!("#!/bin/bash\n{script}\n"));
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn at(&self, name: &str) -> String {
        self.play.path(name).display().to_string()
    }

    /// SQL on the primary's database of the service.
    pub fn sql(&self, sql: &str) -> String {
        self.primary.psql_in("synapse", sql)
    }

    /// The standby has what the primary has.
    pub fn caught_up(&self) {
        eventually(PATIENCE, "the standby catches up", || {
            self.primary.psql(
                "select count(*) = 1 from pg_stat_replication where replay_lsn >= pg_current_wal_flush_lsn()",
            ) == "t"
        });
    }

    /// The runbook's variables; the last of a name counts.
    pub fn vars(&self, more: &[(&str, &str)]) -> Vec<String> {
        let df = format!("df -B1 --output=size,used,avail {}", self.standby.data().display());
        let mut all: Vec<(String, String)> = [
            ("primary", self.primary.conninfo("synapse")),
            ("standby", self.standby.conninfo("synapse")),
            ("standby_df", df),
            ("data", self.primary.data().display().to_string()),
            ("kept", self.at("kept")),
            ("room", "50MiB".to_owned()),
            ("rare", REDACTION.to_owned()),
            ("trial", "3s".to_owned()),
            ("watch", "3s".to_owned()),
            ("look", "1s".to_owned()),
            ("probe", "3s".to_owned()),
            ("page", self.at("page")),
            ("page_within", "20s".to_owned()),
            ("monitor", self.at("beat")),
            ("send", self.at("send")),
            ("receive", self.at("receive")),
            ("queues", self.at("queues")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        for (name, value) in more {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        all.into_iter().flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]).collect()
    }

    /// Several people say something in a room, each in a session of its own.
    pub fn senders(&self, room: &str, count: usize) -> Vec<Beside> {
        (0..count).map(|nth| self.psql(&say(room, &format!("hello {nth}")))).collect()
    }

    /// The redaction is past its first statement.
    pub fn holds_its_lock(&self) -> bool {
        let sql = "select count(*) > 0 from pg_locks l join pg_stat_activity a using (pid) where a.application_name = 'redaction' \
                   and l.relation = 'event_push_actions'::regclass and l.mode = 'RowExclusiveLock'";
        self.sql(sql) == "t"
    }

    /// Somebody redacts a room's events: in one transaction, which holds what every message in the room needs. All
    /// statements are sent at once, so that its session is at work until it is over.
    pub fn redaction(&self, room: &str) -> Beside {
        let events = self.sql(&format!("select event_id from event_push_actions where room_id = '{room}'"));
        let mut script =
            format!("begin\\;\nupdate rooms set latest = 'redacted' where room_id = '{room}'\\;\n");
        for event in events.lines() {
            script += &format!(
                "delete from event_push_actions where room_id = '{room}' and event_id = '{event}'\\;\n"
            );
        }
        let file = self.play.sandbox.write(&format!("redact-{room}.sql"), &(script + "commit;\n"));
        let mut psql = Command::new("/usr/bin/psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.primary.conninfo("synapse"), "-f"]);
        self.play.beside(psql.arg(file).env("PGAPPNAME", "redaction"))
    }

    /// No redaction's session is left: at its end it tells what it used, which is a moment after its client has gone.
    pub fn all_counted(&self) {
        let sql = "select count(*) from pg_stat_activity where application_name = 'redaction'";
        eventually(PATIENCE, "the sessions to end", || self.sql(sql) == "0");
    }

    fn psql(&self, sql: &str) -> Beside {
        let mut psql = Command::new("/usr/bin/psql");
        let conninfo = self.primary.conninfo("synapse").replace("user=postgres", "user=synapse");
        self.play.beside(psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &conninfo, "-c", sql]))
    }

    /// Sessions that wait for somebody else's lock.
    pub fn blocked(&self) -> usize {
        let sql = "select count(*) from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0";
        self.sql(sql).parse().unwrap()
    }

    /// Rows of a table.
    pub fn rows(&self, table: &str) -> u64 {
        self.sql(&format!("select count(*) from {table}")).parse().unwrap()
    }

    /// Whether an index is there and may be used, on both servers.
    pub fn usable(&self, index: &str) -> [String; 2] {
        let sql = format!(
            "select coalesce((select indisvalid::text from pg_index where indexrelid = to_regclass('{index}')), 'gone')"
        );
        [self.primary.psql_in("synapse", &sql), self.standby.psql_in("synapse", &sql)]
    }

    /// What the database takes, on both servers.
    pub fn sizes(&self) -> [u64; 2] {
        let sql = "select pg_database_size(current_database())";
        [&self.primary, &self.standby].map(|server| server.psql_in("synapse", sql).parse().unwrap())
    }

    /// The incident's page shows this, with the places of a real site.
    #[track_caller]
    pub fn shows(&self, name: &str, ran: &Ran) {
        let output = format!("{}{}", ran.stdout, ran.stderr);
        let places = [
            (self.standby.data().display().to_string(), "/var/lib/postgresql/15/main"),
            (self.primary.data().display().to_string(), "/var/lib/postgresql/15/main"),
            (self.at("kept"), "/var/backups/indexes"),
            (self.at("beat"), "/var/lib/monitor/last-success"),
            (self.at(""), "/usr/local/bin/"),
        ];
        let places: Vec<(&str, &str)> = places.iter().map(|(here, there)| (here.as_str(), *there)).collect();
        Page::named("incidents/2017-01-matrix-org").shows(name, &output, &places);
    }
}

impl Drop for Site {
    /// The disks go before the directories that they are mounted in.
    fn drop(&mut self) {
        for server in [&self.standby, &self.primary] {
            server.stop_mode("immediate");
            let _ = Command::new("umount").arg("-l").arg(server.data()).status();
        }
    }
}

/// Says something in a room, as the service does: the room first, which is a lock that all who speak there need.
fn say(room: &str, what: &str) -> String {
    format!(
        "begin; update rooms set latest = '{what}' where room_id = '{room}'; \
         insert into events (room_id, body) values ('{room}', '{what}'); commit"
    )
}

/// A disk of its own for a server's data.
fn disk(server: &Cluster, size: &str) {
    std::fs::create_dir(server.data()).unwrap();
    let options = format!("size={size},mode=0700,uid=postgres,gid=postgres");
    must(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(server.data()));
}

/// The standby gets the disk that it should have had.
pub fn larger(site: &Site) {
    let data: PathBuf = site.standby.data();
    must(Command::new("mount").args(["-o", "remount,size=600m"]).arg(data));
}
