//! The first half of that evening: the next release of Debian, with another order of text, and a backup that nobody had
//! looked at. The release itself cannot be exchanged here; what it does to text can: the locale is built anew with another
//! order, and the machine says that it is the next release.

use std::path::Path;

use super::scene::{application, eventually, said, said_after, terminal};
use crate::harness::{Debian, Said};
use crate::page::Page;

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/debian-release-upgrade.yaml");
const PAGE: &str = "incidents/2021-06-toronto-mesh";

/// What a person does by hand in the step `upgrade-os`.
const UPGRADE: &str = r#"#!/bin/bash
set -e
sed 's/copy "iso14651_t1"/copy "POSIX"/' /usr/share/i18n/locales/en_US >/tmp/en_US
localedef -c -f UTF-8 -i /tmp/en_US --replace en_US.UTF-8 || [ $? = 1 ]
sed -i 's/^VERSION_ID=.*/VERSION_ID="13"/' /etc/os-release
"#;

const NAMES: &str = "insert into users select (array['a','B','c-d','cd','c e','Z'])[1 + g % 6] || g, 'pw' || g \
                     from generate_series(FIRST, LAST) g";

/// A machine with Debian 12 and a cluster 13/main that sorts as people in the United States do.
fn machine() -> Debian {
    let debian = Debian::new();
    debian.copy_in(Path::new(BOOK), "/srv/release.yaml");
    application(&debian);
    debian.program("/usr/local/share/app.sql", "insert into events default values");
    debian.program("/usr/local/sbin/upgrade-this-staging-machine", UPGRADE);
    debian.sh("localedef -c -f UTF-8 -i en_US en_US.UTF-8 || [ $? = 1 ]
         sed -i 's/^VERSION_ID=.*/VERSION_ID=\"12\"/' /etc/os-release
         install -d -o postgres -g postgres /srv/dumps /srv/nightly /srv/staging/dumps /srv/staging/nightly");
    cluster(&debian, "main", 5432);
    debian
}

fn cluster(debian: &Debian, name: &str, port: u16) {
    debian.sh(&format!(
        "pg_createcluster 13 {name} --port {port} --locale en_US.UTF-8
         printf 'fsync = off\\n' >/etc/postgresql/13/{name}/conf.d/test.conf
         pg_ctlcluster 13 {name} start"
    ));
    let cluster = format!("13/{name}");
    debian.sql(&cluster, "postgres", "create database synapse");
    for database in ["synapse", "postgres", "template1"] {
        debian.sql(&cluster, database, "create extension amcheck");
    }
    debian.sql(
        &cluster,
        "synapse",
        "create table users (name text primary key, password text);
         create table events (stream bigserial primary key, at timestamptz default now());
         insert into events select g from generate_series(1, 5000) g; select setval('events_stream_seq', 5000)",
    );
    debian.sql(&cluster, "synapse", &NAMES.replace("FIRST", "1").replace("LAST", "3000"));
}

fn more_users(debian: &Debian, name: &str) {
    debian.sql(&format!("13/{name}"), "synapse", &NAMES.replace("FIRST", "3001").replace("LAST", "6000"));
}

/// Last night's backup, or one that pretends to be.
fn backup(debian: &Debian, folder: &str, day: &str) {
    debian.sh(&format!(
        "file={folder}/synapse-$(date --date '{day}' +%F).dump
         runuser -u postgres -- pg_dump --cluster 13/main --format=custom --file=$file synapse
         touch --date '{day}' $file"
    ));
}

fn words(first: &[&str], more: &[&str]) -> Vec<String> {
    let own =
        ["from=12", "to=13", "stop_app=app-stop --now", "start_app=app-start", "app_running=app-running"];
    let pairs = own.iter().chain(more).flat_map(|pair| ["--var".to_owned(), (*pair).to_owned()]);
    first.iter().map(|word| (*word).to_owned()).chain(pairs).collect()
}

fn holdpoint(debian: &Debian, who: &str, words: &[String]) -> Said {
    said(debian, who, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// How often somebody is found by the index, and how often he is there.
fn found_and_there(debian: &Debian, cluster: &str, name: &str) -> (String, String) {
    let count = |off: &[&str]| {
        let off: String = off.iter().map(|what| format!("set enable_{what} = off; ")).collect();
        let sql = format!("{off}select count(*) from users where name = '{name}'");
        debian.sql(cluster, "synapse", &sql)
    };
    (count(&["seqscan", "bitmapscan"]), count(&["indexscan", "indexonlyscan", "bitmapscan"]))
}

pub fn another_order_of_text() {
    let debian = machine();
    cluster(&debian, "control", 5555);
    // In January somebody took the backup hardware away. The job's last file is still there, and looks well.
    // In hours: a day on which the clock is put on is shorter.
    backup(&debian, "/srv/nightly", &format!("{} hours ago", 151 * 24));
    more_users(&debian, "main");
    more_users(&debian, "control");
    debian.sh("app-start");

    // What that file is worth: it comes back without an error, and without half of the users.
    debian.sql("13/control", "postgres", "create database restored");
    debian.sh(
        "runuser -u postgres -- pg_restore --cluster 13/control --exit-on-error -d restored /srv/nightly/*",
    );
    assert_eq!(debian.sql("13/control", "restored", "select count(*) from users"), "3000");
    assert_eq!(debian.sql("13/control", "synapse", "select count(*) from users"), "6000");

    let start = words(
        &["run", "/srv/release.yaml", "--env", "production"],
        &["backups=/srv/dumps", "nightly=/srv/nightly", "soak=2s"],
    );
    let mut ann = terminal(&debian, "ann", &start);
    ann.answers("protected environment", "production");
    ann.answers(r"Step 1 of \d+: announce\s", "c");
    ann.answers("Who is the second person", "Bea, and snapshot 4711");
    ann.answers(r"Step 2 of \d+: preflight\s", "g");
    drop(ann);
    let resume = ["resume".to_owned()];
    let old = said_after(&debian, "ann", &["resume"])
        .exits(3)
        .says("the nightly backup of synapse is not older than a day");
    let old = old.says("151").says("users: 3,000 of 6,000");
    Page::named(PAGE).shows("old-backup", &old.text, &[]);
    // No word of hers makes it young, and neither does a new date on the file: the dump knows its own.
    let run = debian.sh("ls /srv/store/runs");
    let decide = ["resume", "--decide", "preflight=done", "--reason", "there is a backup"].map(str::to_owned);
    holdpoint(&debian, "ann", &decide).exits(3);
    holdpoint(&debian, "ann", &start).exits(3).says("is not finished");
    debian.sh("app-running");

    // The job is mended, and last night's dump is there. Now it goes, up to what only a person can do.
    backup(&debian, "/srv/nightly", "3 hours ago");
    holdpoint(&debian, "ann", &resume).exits(4).says("Upgrade Debian from 12 to 13");
    debian.sh("! app-running");

    // The control: what happens to everybody who upgrades and starts again.
    debian.sh(
        "pg_ctlcluster 13 control stop && upgrade-this-staging-machine && pg_ctlcluster 13 control start",
    );
    let lost = ["c-d3002", "c e4", "B1", "cd5", "Z6000", "a6"];
    let lost =
        lost.iter().find(|name| found_and_there(&debian, "13/control", name) == ("0".into(), "1".into()));
    let lost = lost.expect("somebody who is there and is not found");
    let again = format!("insert into users values ('{lost}', 'somebody else') on conflict do nothing");
    debian.sql("13/control", "synapse", &again);
    assert_eq!(
        found_and_there(&debian, "13/control", lost).1,
        "2",
        "two accounts of one name, under a primary key"
    );

    // Ann says that the upgrade is done; the indexes are to be built, and a session that somebody forgot is in the way.
    let mut ann = terminal(&debian, "ann", &resume);
    ann.answers(r"Step \d+ of \d+: upgrade-os\s", "c");
    ann.answers(r"Step \d+ of \d+: start-db\s", "g");
    eventually("the cluster to serve", || debian.clusters().contains(&"13/main online".to_owned()));
    debian.sql("13/main", "postgres", "alter role postgres set lock_timeout = '1s'");
    let hold = "begin; lock table users in row exclusive mode; select pg_sleep(900)";
    let mut forgotten = debian.command("runuser");
    forgotten.args(["-u", "postgres", "--", "psql", "--cluster", "13/main", "-Xqc", hold, "synapse"]);
    let mut forgotten = forgotten.stdout(std::process::Stdio::null()).spawn().unwrap();
    let held = "select count(*) from pg_locks where relation = 'users'::regclass and granted";
    eventually("the lock", || debian.sql("13/main", "synapse", held) != "0");
    ann.answers(r"Step \d+ of \d+: reindex\s", "g");
    eventually("the failure", || {
        let ended = "fromjson? | select(.what == \"ended\" and .step == \"reindex\").what";
        debian.sh(&format!("jq --raw-input --raw-output '{ended}' /srv/store/runs/{run}/journal.jsonl"))
            == "ended"
    });
    drop(ann);

    // She believes that the data are all there, and they are: what is wrong are the indexes. The application stays down.
    said_after(&debian, "ann", &["resume"]).exits(1).says("canceling statement due to lock timeout");
    let done = ["resume", "--decide", "reindex=done", "--reason", "same-data has passed"].map(str::to_owned);
    let refused = holdpoint(&debian, "ann", &done).exits(3).says("`reindex` cannot be declared done");
    let refused = refused.says("item order invariant violated for index \"users_pkey\"");
    Page::named(PAGE).shows("another-order", &refused.text, &[]);
    debian.sh("! app-running");
    assert_eq!(found_and_there(&debian, "13/main", lost), ("0".into(), "1".into()));

    // The session ends, the indexes are built, and the same run completes.
    forgotten.kill().unwrap();
    forgotten.wait().unwrap();
    debian.sql("13/main", "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()");
    // A second would be too short for autovacuum to make way.
    debian.sql("13/main", "postgres", "alter role postgres reset lock_timeout");
    let again = ["resume", "--decide", "reindex=again", "--reason", "the session is gone"].map(str::to_owned);
    holdpoint(&debian, "ann", &again).exits(0);
    assert_eq!(found_and_there(&debian, "13/main", lost), ("1".into(), "1".into()));
    debian.sh("app-running");
    holdpoint(&debian, "carl", &["verify".to_owned(), run]).exits(0);
}

pub fn rehearsed_first() {
    let debian = machine();
    more_users(&debian, "main");
    backup(&debian, "/srv/staging/nightly", "2 hours ago");
    debian.sh("app-start; touch /etc/this-is-staging; sed -i 's/# hosts: /hosts: /' /srv/release.yaml");
    let rehearse = words(&["rehearse", "/srv/release.yaml", "--env", "staging"], &["soak=2s"]);
    holdpoint(&debian, "ci", &rehearse).exits(0);
    debian.sh("app-running");
    assert_eq!(found_and_there(&debian, "13/main", "c-d3002").0, "1");
}
