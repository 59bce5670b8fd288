//! August 2019 to May 2020: what the failover left, what every standby copied, and what was put off three times.

use std::process::Command;
use std::time::Duration;

use super::scene::by_hand;
use crate::harness::Said;
use crate::harness::damage::{flip, past_the_index};
use crate::harness::{Cluster, Major, eventually, must, standby_of};
use crate::page::Page;
use crate::play::Play;

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/postgres-after-failover.yaml");

/// A primary, and perhaps its standby; and a place for holdpoint.
struct Pair {
    standby: Option<Cluster>,
    primary: Cluster,
    play: Play,
}

impl Pair {
    fn new(primary: Cluster) -> Pair {
        primary.psql(
            "create extension amcheck;
             create table state_groups (id int primary key, room text);
             insert into state_groups select g, '!old' || g from generate_series(1, 20000) g",
        );
        Pair { standby: None, primary, play: Play::new() }
    }

    fn with_standby(mut self) -> Pair {
        let host = self.primary.socket_dir().display().to_string();
        self.standby = Some(standby_of(&self.primary, &host, &[], Major::V15, "beta"));
        self
    }

    /// holdpoint by somebody; `vars` where a runbook is named.
    fn holdpoint(&self, who: &str, words: &[&str]) -> Said {
        let mut command = self.play.holdpoint(who, "");
        command.args(words);
        if words.contains(&BOOK) {
            let standby = self.standby.as_ref().unwrap_or(&self.primary);
            for (name, value) in [
                ("primary", self.primary.conninfo("postgres")),
                ("standby", standby.conninfo("postgres")),
                ("standby_name", "beta".to_owned()),
            ] {
                command.args(["--var", &format!("{name}={value}")]);
            }
            let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24);
            let planned = format!("planned_fix={}", day.strftime("%Y-%m-%d"));
            for pair in ["soak=3s", "every=1s", "settled=1s", "history=1s", &planned] {
                command.args(["--var", pair]);
            }
        }
        Said::by(&mut command, &format!("holdpoint {}", words.join(" ")))
    }

    fn does_by_hand(&self, who: &str, step: &str, observed: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
        command.env("HOME", self.play.sandbox.path()).env("HOLDPOINT_STORE", self.play.sandbox.store());
        by_hand(
            {
                command.args(["--operator", who, "resume"]);
                command
            },
            step,
            observed,
        );
    }

    fn shows(&self, name: &str, said: &Said) {
        let mut places = vec![
            (BOOK.to_owned(), "runbooks/postgres-after-failover.yaml"),
            (self.primary.data().display().to_string(), "/var/lib/postgresql/15/main"),
        ];
        if !self.play.runs().is_empty() {
            places.push((self.play.id(), "postgres-after-failover-20190807-t2bo"));
        }
        let places: Vec<(&str, &str)> = places.iter().map(|(here, there)| (here.as_str(), *there)).collect();
        Page::named("incidents/2020-06-t2bot-io").shows(name, said.typed(), &places);
    }
}

pub fn put_off() {
    let pair = Pair::new(Cluster::with(Major::V15, "wal_level = replica\n"));
    past_the_index(
        &pair.primary,
        "state_groups_pkey",
        "insert into state_groups select g, '!new' || g from generate_series(1, 9) g",
    );
    // The control: a base backup is made of it, verified, and started, and nobody says a word.
    let pair = pair.with_standby();
    let standby = pair.standby.as_ref().unwrap();
    let rows = "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; \
                select count(*) from state_groups where id <= 9";
    assert_eq!(standby.psql(rows), "18");

    // August: the run that is owed after a failover finds it.
    let found =
        pair.holdpoint("ann", &["run", BOOK, "--env", "production", "--confirm", "environment=production"]);
    let found = found.exits(1).says("9 keys in 18 rows").says("1 index damaged: public.state_groups_pkey");
    let found = found.says("data checksums are off");
    pair.shows("found", &found);

    // It is put off, and what was put off ends: in February, in March, in May.
    let run = pair.play.id();
    let three = ["duplicates", "indexes", "checksums"].map(|check| format!("examine.post.{check}"));
    let put_off = |why: &str, until: &str| -> Vec<Said> {
        let one = |check: &String| {
            pair.holdpoint("ann", &["waive", &run, check, "--reason", why, "--until", until]).exits(0)
        };
        three.iter().map(one).collect()
    };
    for why in ["it was mended, we think", "patched; look at it some time", "low risk, planned for 28 June"] {
        let said = put_off(why, "1s");
        let mut last = None;
        eventually(Duration::from_secs(120), "the waivers to end", || {
            let held = pair.holdpoint("ann", &["resume"]);
            // They were given one after the other, and end so.
            let all = held.text.matches("check   examine.post.").count() == three.len();
            let ended = matches!(held.status, Some(1 | 3)) && all;
            last = Some(held);
            ended
        });
        let held = last.unwrap().says("9 keys in 18 rows");
        let status = pair.holdpoint("ann", &["status"]).exits(0).says(why).says("it has expired");
        if why.starts_with("low") {
            pair.shows("waived", &said[0]);
            pair.shows("expired", &held);
            pair.shows("status", &status);
        }
    }

    // With waivers that count, it goes on to the standby. That is a copy, and no fourth waiver is to be had.
    put_off("the new standby cannot wait", "4h");
    let on = pair.holdpoint("ann", &["resume"]).exits(4).says("goes on WITHOUT examine.post.duplicates");
    on.says("Build the new standby");
    pair.does_by_hand("ann", "standby", "backup successfully verified");
    let copied = pair.holdpoint("ann", &["resume"]);
    assert!(matches!(copied.status, Some(1 | 3)), "{}", copied.text);
    let copied = copied.says("9 keys in 18 rows").says("standby.post.standby-duplicates");
    pair.shows("standby", &copied);
    let fourth = [
        "waive",
        &run,
        "standby.post.standby-duplicates",
        "--reason",
        "the same as on the primary",
        "--until",
        "4h",
    ];
    pair.shows("fourth", &pair.holdpoint("bob", &fourth).exits(3));
    pair.holdpoint("ann", &["resume", "--decide", "standby=done", "--reason", "it streams"]).exits(3);

    // Mended for good: the rows, the index, and checksums from now on. The very checks that failed pass, and it ends.
    pair.primary.psql(
        "set enable_indexscan = off; set enable_bitmapscan = off;
         delete from state_groups where room like '!new%'; reindex table state_groups",
    );
    for cluster in [standby, &pair.primary] {
        cluster.stop();
    }
    for cluster in [&pair.primary, standby] {
        must(Major::V15.command("pg_checksums").arg("--enable").arg("-D").arg(cluster.data()));
        cluster.restart();
    }
    eventually(Duration::from_secs(120), "the standby to have it all", || {
        let caught = "select count(*) = 1 from pg_stat_replication where state = 'streaming' and replay_lsn = sent_lsn";
        pair.primary.psql(caught) == "t"
    });
    for check in &three {
        pair.holdpoint("ann", &["waive", &run, check, "--withdraw", "--reason", "it is mended"]).exits(0);
    }
    let decided = ["resume", "--decide", "standby=done", "--reason", "its cause is gone"];
    pair.holdpoint("ann", &decided).exits(4).says("Close the matter");
    pair.does_by_hand("ann", "close", "torn pages on the failed disks; checksums are on");
    let end = pair.holdpoint("ann", &["status", &run]).exits(0).says("complete");
    pair.shows("closed", &end);
    pair.play.verified();
}

/// Each kind of damage is named by the run that is owed, and by no dump.
pub fn kinds() {
    let examine = ["check", BOOK, "examine", "--env", "production"];
    // A byte in a page, where checksums are on. Nothing else may come by and read it, or clean up.
    let cluster = Cluster::create_as(Major::V15, "autovacuum = off\n", &["--data-checksums"]);
    cluster.restart();
    let pair = Pair::new(cluster);
    flip(&pair.primary, "state_groups", 3 * 8192 + 8000, 255);
    let page = pair.holdpoint("ann", &examine).exits(1).says("invalid page in block 3");
    page.says("check examine.post.heap");
    let counted = pair.holdpoint("ann", &examine).exits(1).says("checksum failure");
    pair.shows("page", &counted);
    // A line pointer, where they are off: the dump exits 0, with a row less.
    let pair = Pair::new(Cluster::with(Major::V15, "autovacuum = off\n"));
    flip(&pair.primary, "state_groups", 3 * 8192 + 24 + 8 + 1, 64);
    let mut dump = Major::V15.command("pg_dump");
    let dumped = must(dump.args(["--data-only", "--dbname", &pair.primary.conninfo("postgres")]));
    let rows = String::from_utf8_lossy(&dumped.stdout).matches("!old").count();
    assert_eq!(rows, 19_999, "a row is gone, and the dump says nothing");
    let pointer = pair.holdpoint("ann", &examine).exits(1).says("check examine.post.heap");
    let pointer = pointer.says("data checksums are off: whether pages are damaged cannot be said");
    pair.shows("pointer", &pointer);
    // A prepared transaction that everybody forgot holds the horizon, months before anything stops.
    let pair = Pair::new(Cluster::with(Major::V15, "max_prepared_transactions = 5\nautovacuum = off\n"));
    pair.primary.psql("begin; insert into state_groups values (0, 'x'); prepare transaction 'forgotten'");
    pair.primary.stop();
    // The start writes four bytes for each id since that transaction: 53 million are a fifth of a gigabyte.
    let next = (51 * 1_048_576).to_string();
    must(Major::V15.command("pg_resetwal").args(["-f", "-x", &next, "-D"]).arg(pair.primary.data()));
    pair.primary.restart();
    pair.primary.psql("vacuum freeze");
    let held =
        pair.holdpoint("ann", &examine).exits(1).says("forgotten").says("holds back 53 M transactions");
    pair.shows("prepared", &held);
}
