//! The night of June 2021, with real parts: Debian's own tools move a PostgreSQL 13 cluster to 15, the disk is full for a
//! moment while they copy, nobody looks, and the next operator wants to clean up. That night it cost five months of
//! messages. Here every way to the drop is refused until the rows are there.

use super::scene::{DROP, NEW, Night, UNDO, eventually, said_after, thousands};
use crate::harness::open_points;
use crate::page::Page;

const BY_DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/postgres-major-upgrade.yaml");
const BY_FILES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/postgres-major-upgrade-pg_upgrade.yaml");

pub fn a_copy_that_failed_unseen() {
    let night = Night::new(BY_DUMP);
    let debian = &night.debian;
    debian.sql(
        "13/main",
        "synapse",
        "create table events (stream bigint primary key, body text);
         insert into events select g, md5(g::text) from generate_series(1, 1000000) g;
         create table users (name text primary key); insert into users select '@u' || g from generate_series(1, 2000) g;
         alter table events owner to synapse",
    );
    night.small_disk(450);
    night.start_app();

    // Ann starts the copy. Her terminal goes away, and she to bed.
    let ann = night.starts_at_a_terminal("ann");
    eventually("the copy to begin", || debian.path("/var/lib/postgresql/15/main/PG_VERSION").exists());
    drop(ann);
    let rows = night.rows("13/main", "events");
    let wanted = format!("wanted {} rows", thousands(rows));

    // While nobody looks, another job fills the disk, and makes room again a moment later. There is a server, and not
    // a table in it yet: what is left is enough for any of them but the large one.
    let there = "runuser -u postgres -- psql --cluster 15/main -XAtqc 'select 1' postgres";
    eventually("the new cluster to answer", || {
        debian.command("bash").args(["-c", there]).output().unwrap().status.success()
    });
    night.make_room_when_full();
    night.fill_disk(40);
    eventually("the disk to be full, and to have room again", || {
        !debian.path(&format!("{NEW}/nightly.tar")).exists()
    });
    eventually("the copy to end", || {
        !debian.command("pgrep").args(["-f", "pg_upgradecluster"]).output().unwrap().status.success()
    });
    assert_eq!(debian.clusters(), ["13/main down", "15/main online"], "it looks as if it had worked");
    let output = debian.sh("cat $(grep -rl 'Success. Please check' /srv/store)");
    assert!(output.contains("you can remove the old cluster with"), "and says so:\n{output}");
    assert!(night.rows("15/main", "events") < rows, "but rows are missing");

    // Bob takes over in the morning. Ann has not handed over, and cannot be reached.
    night.holdpoint("bob", &["resume", "--confirm", DROP]).exits(5);
    night.holdpoint("bob", &["accept"]).exits(5);
    let reason = ["--take-over", "--reason", "Ann went to bed, and her session is gone"];
    let walk = night.holdpoint("bob", &[&["accept"][..], &reason].concat()).exits(4);
    Page::named("incidents/2021-06-toronto-mesh").shows("walk-down", &walk.text, &[]);
    let asked = night.holdpoint("bob", &[&["accept", "--json"][..], &reason].concat()).exits(4);
    let points = open_points(&asked.text);
    assert!(points.iter().any(|id| id.contains("copy")), "the copy is an open point: {points:?}");
    let mut accept = vec!["accept"];
    accept.extend(reason);
    accept.extend(points.iter().flat_map(|id| ["--acknowledge", id.as_str()]));
    night.holdpoint("bob", &accept).exits(0).says("is yours");

    // The copy's end is looked at now: it exited 0, and that proves nothing.
    let looked = night.holdpoint("bob", &["resume", "--confirm", DROP]).exits(1).says(&wanted);
    let page = Page::named("incidents/2021-06-toronto-mesh");
    page.shows("looked-at", &looked.text, &[]);
    let refused = night.holdpoint("bob", &["resume", "--confirm", DROP]).exits(3).says(&wanted);
    page.shows("refused", &refused.text, &[]);
    night.nothing_leads_to_the_drop("bob", rows);

    // The first face: he undoes the copy and tries again, while the disk is as full as it was.
    let run = night.run();
    let again = ["resume", "--decide", "copy=again", "--reason", "the disk is being seen to"];
    night.holdpoint("bob", &again).exits(3).says("there is no cluster 15/main yet");
    night.holdpoint("bob", &["rollback", &run, "--to", "vacant"]).exits(4).says("15/main");
    night.holdpoint("bob", &["rollback", &run, "--to", "vacant", "--confirm", UNDO]).exits(0);
    assert_eq!(debian.clusters(), ["13/main online"]);
    assert_eq!(night.rows("13/main", "events"), rows);
    night.fill_disk(60);
    night
        .holdpoint("bob", &["resume", "--confirm", DROP])
        .exits(3)
        .says("the new cluster fits beside the old one");
    assert_eq!(debian.clusters(), ["13/main online"]);

    // The second face: room is made. The same command now goes through, up to the hold point, and not beyond.
    debian.sh(&format!("rm {NEW}/nightly.tar"));
    night.holdpoint("bob", &["resume"]).exits(4).says("cluster 13/main");
    assert_eq!(debian.clusters(), ["13/main down", "15/main online"]);
    eventually("the application to write again", || night.rows("15/main", "events") > rows);
    night.holdpoint("bob", &["resume", "--confirm", "drop-old=cluster 15/main"]).exits(3);
    assert_eq!(debian.clusters().len(), 2);
    night.holdpoint("bob", &["resume", "--confirm", DROP]).exits(0);
    assert_eq!(debian.clusters(), ["15/main online"]);
    assert!(!debian.path("/var/lib/postgresql/13/main").exists());
    assert!(night.rows("15/main", "events") > rows);

    // What remains is a log that tells it all, and that can be checked.
    night.holdpoint("carl", &["verify", &run]).exits(0);
    let log = night
        .holdpoint("carl", &["log", &run])
        .exits(0)
        .says("Bea, +1 555 0100")
        .says("Ann went to bed")
        .text;
    for step in ["announce", "freeze", "backup-old", "copy", "soak", "drop-old"] {
        assert!(log.contains(step), "{step} is not in the log:\n{log}");
    }
}

pub fn duplicate_keys_behind_a_success() {
    let night = Night::new(BY_DUMP);
    let debian = &night.debian;
    // Two hundred thousand state groups and nine that a broken index let in (t2bot.io, June 2020).
    debian.sql(
        "13/main",
        "synapse",
        "create table state_groups (id bigint primary key, room text);
         insert into state_groups select g, 'r' || g from generate_series(1, 200000) g;
         create table events as select * from state_groups;
         update pg_index set indisready = false where indexrelid = 'state_groups_pkey'::regclass",
    );
    debian.sql(
        "13/main",
        "synapse",
        "insert into state_groups select g, 'x' || g from generate_series(1, 9) g",
    );
    debian.sql(
        "13/main",
        "synapse",
        "update pg_index set indisready = true where indexrelid = 'state_groups_pkey'::regclass",
    );
    // A protected environment is not begun by leaving its question and resuming.
    let start = night.start();
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    night.holdpoint("ann", &start).exits(4);
    night.holdpoint("ann", &["resume"]).exits(4).says("protected environment");
    night.holdpoint("ann", &["abandon", &night.run(), "--reason", "better at a terminal"]).exits(0);
    let mut ann = night.starts_at_a_terminal("ann");
    ann.answers(r"Step \d+ of \d+: copy[\s\S]*state_groups", "h");
    ann.answers("What should the next operator know", "It said Success, and state_groups is empty.");
    ann.answers("To whom", "bob");
    ann.ends();
    assert_eq!(debian.clusters(), ["13/main down", "15/main online"], "pg_upgradecluster said Success");
    assert_eq!(night.rows("15/main", "state_groups"), 0);

    // Bob was asked, and nobody else; he reads, and takes it.
    night.holdpoint("carl", &["accept"]).exits(5);
    night.holdpoint("bob", &["resume"]).exits(5);
    let asked = night.holdpoint("bob", &["accept"]).exits(4);
    asked.says("It said Success, and state_groups is empty.").says("200,009");
    let points = open_points(&night.holdpoint("bob", &["accept", "--json"]).exits(4).text);
    let mut accept = vec!["accept"];
    accept.extend(points.iter().flat_map(|id| ["--acknowledge", id.as_str()]));
    night.holdpoint("bob", &accept).exits(0).says("is yours");

    let refused = night.holdpoint("bob", &["resume", "--confirm", DROP]).exits(3);
    refused.says("state_groups").says("200,009");
    let done = ["resume", "--decide", "copy=done", "--reason", "it said Success", "--confirm", DROP];
    night.holdpoint("bob", &done).exits(3).says("200,009");

    // All the way back: the old cluster serves again, and the application with it.
    let run = night.run();
    night.holdpoint("bob", &["rollback", &run, "--confirm", "vacant=cluster 13/main"]).exits(3);
    assert!(debian.clusters().contains(&"15/main down".to_owned()), "another text drops nothing");
    night.holdpoint("bob", &["rollback", &run, "--confirm", UNDO]).exits(0);
    assert_eq!(debian.clusters(), ["13/main online"]);
    assert_eq!(debian.sh("pg_lsclusters --no-header | awk '{print $3}'"), "5432");
    debian.sql("13/main", "synapse", "create table writable_again ()");
    debian.sh("app-running");
    night.holdpoint("bob", &["abandon", &run, "--reason", "the old cluster has duplicate keys"]).exits(0);
    night.holdpoint("bob", &["verify", &run]).exits(0);
}

pub fn an_upgrade_by_files() {
    let night = Night::new(BY_FILES);
    let debian = &night.debian;
    debian.sql(
        "13/main",
        "synapse",
        "create table events (stream bigint primary key, body text);
         insert into events select g, md5(g::text) from generate_series(1, 20000) g;
         alter table events owner to synapse",
    );
    for database in ["synapse", "postgres", "template1"] {
        debian.sql("13/main", database, "create extension amcheck");
    }
    night.start_app();
    let ann = night.starts_at_a_terminal("ann");
    eventually("the copy to begin", || debian.path("/var/lib/postgresql/15/main/PG_VERSION").exists());
    drop(ann);
    said_after(debian, "ann", &["resume"]).exits(4).says("cluster 13/main");
    assert_eq!(debian.clusters(), ["13/main down", "15/main online"]);
    // A row that is lost on the new side while everybody sleeps is a reason to keep the old one.
    debian.sh("app-stop --now");
    debian.sql("15/main", "synapse", "delete from events where stream <= 1000");
    debian.sh("app-start");
    night.holdpoint("ann", &["resume", "--confirm", DROP]).exits(3).says("wanted at least 20,");
    // So back: what was written on the new cluster is kept, and the old one serves again with all its rows.
    let run = night.run();
    night.holdpoint("ann", &["rollback", &run, "--confirm", UNDO]).exits(0).says("under permit");
    assert_eq!(debian.clusters(), ["13/main online"]);
    assert_eq!(debian.sh("pg_lsclusters --no-header | awk '{print $3}'"), "5432");
    let since = debian.sh("zcat /srv/dumps/15-main-written-since.sql.gz | grep --count '\thello$'");
    assert!(since.parse::<u64>().unwrap() > 0, "what users wrote is in the dump");
    assert!(night.rows("13/main", "events") >= 20_000);
    debian.sh("app-running");
    night.holdpoint("ann", &["abandon", &run, "--reason", "rows were lost on the new side"]).exits(0);
    night.holdpoint("ann", &["verify", &run]).exits(0);
}

/// The shipped runbook, unattended, on a machine of its own: what anybody should do before the night.
pub fn rehearsed_first() {
    let night = Night::new(BY_DUMP);
    let debian = &night.debian;
    debian.sql(
        "13/main",
        "synapse",
        "create table events (stream bigint primary key, body text);
         insert into events select g, md5(g::text) from generate_series(1, 20000) g;
         alter table events owner to synapse",
    );
    night.start_app();
    debian.sh("install -d -o postgres -g postgres /srv/staging/dumps");
    let rehearse: Vec<String> =
        night.words(&["rehearse", "/srv/upgrade.yaml", "--env", "staging"], &["soak=2s"]);
    let rehearse: Vec<&str> = rehearse.iter().map(String::as_str).collect();
    // Nothing tells this machine from production's: it is said, and nothing is begun.
    night.holdpoint("ci", &rehearse).exits(3).says("it is `old` of `production`");
    assert_eq!(debian.clusters(), ["13/main online"]);
    debian.sh("touch /etc/this-is-staging; sed -i 's/# hosts: /hosts: /' /srv/upgrade.yaml");
    let passed = night.holdpoint("ci", &rehearse).exits(0);
    Page::named("incidents/2021-06-toronto-mesh").shows("rehearsed", &passed.text, &[]);
    assert_eq!(debian.clusters(), ["15/main online"], "also the drop was rehearsed");
    assert!(night.rows("15/main", "events") >= 20_000);
}
