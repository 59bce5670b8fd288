//! From SQLite to PostgreSQL. `synapse_port_db` leaves out a row that PostgreSQL cannot hold and exits 0; it can be killed
//! half-way; and what it wrote can be damaged. Each is seen before the SQLite file may go.

use super::scene::{NEW, Site, venv};

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/synapse-sqlite-to-postgres.yaml");

/// The words that start it.
fn words(site: &Site, command: &str, book: &str, environment: &str, soak: &str) -> Vec<String> {
    let here = site.here();
    let mut words: Vec<String> = [command, book, "--env", environment].map(str::to_owned).to_vec();
    for (name, value) in [
        ("sqlite", format!("{here}/homeserver.db")),
        ("connection", site.connection()),
        ("pg_data", site.server.data().display().to_string()),
        ("config", format!("{here}/homeserver.yaml")),
        ("config_postgres", format!("{here}/homeserver-postgres.yaml")),
        ("python", venv(NEW).join("bin/python").display().to_string()),
        ("port_db", format!("{here}/port_db")),
        ("app_user", "root".to_owned()),
        ("backups", format!("{here}/backups")),
        ("stop_app", format!("{here}/app stop")),
        ("start_app", format!("{here}/app start")),
        ("app_running", format!("{here}/app status")),
        ("url", site.url()),
        ("send", format!("{here}/talk send")),
        ("receive", format!("{here}/talk read")),
        ("soak", soak.to_owned()),
    ] {
        words.extend(["--var".to_owned(), format!("{name}={value}")]);
    }
    words
}

fn all(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The real synapse_port_db. When the file `dies` is there, it is killed in the middle of the events, once; when `after.sql` is
/// there, somebody else does that to the database before it is looked at.
const PORT_DB: &str = r#"#!/bin/bash
real=(HERE/current/bin/python -u HERE/current/bin/synapse_port_db "$@")
if [ -e HERE/dies ]; then
    rm HERE/dies
    mkfifo HERE/said
    "${real[@]}" --batch-size 2 >HERE/said 2>&1 &
    while IFS= read -r line; do
        echo "$line"
        case $line in "events: "*) kill -KILL $!; break;; esac
    done <HERE/said
    wait $!
    exit
fi
"${real[@]}"
[ ! -e HERE/after.sql ] || psql -Xq -v ON_ERROR_STOP=1 -f HERE/after.sql "CONNECTION dbname=synapse"
"#;

fn site(template: &str) -> Site {
    let site = Site::on_sqlite(template);
    site.program("port_db", &PORT_DB.replace("CONNECTION", &site.connection()));
    site
}

/// Everything that an operator in a hurry would try; nothing of it leads to the deletion.
#[track_caller]
fn nothing_leads_to_the_deletion(site: &Site, step: &str, says: &str) {
    let confirm = format!("drop-sqlite={}/homeserver.db", site.here());
    let decide = format!("{step}=done");
    let because = ["--reason", "synapse_port_db exited 0"];
    for more in [
        vec!["--confirm", &confirm],
        vec!["--decide", &decide, because[0], because[1], "--confirm", &confirm],
    ] {
        let ran = site.ran("ann", &[&["resume"][..], &more].concat());
        assert!(matches!(ran.status, Some(1 | 3 | 4)), "{ran:?}");
        ran.says(says);
    }
    assert!(site.path("homeserver.db").exists());
}

pub fn moved() {
    let site = site("busy.db");
    let server = &site.server;
    site.slowly(true);
    site.app("up");
    site.talk(&["phone"]);
    // The database has the locale of the server, and another application's table.
    server.psql("create database synapse owner synapse");
    site.psql("create table wiki_pages (title text)");

    // Nothing has changed yet, and everything that is wrong is named at once.
    let start = words(&site, "run", BOOK, "production", "2s");
    site.at_a_terminal(
        "ann",
        &all(&start),
        &[
            ("protected environment", "production"),
            (r"Step 1 of \d+: announce\s", "c"),
            ("Who is the second person", "Bea, +1 555 0100"),
            (r"Step 2 of \d+: preflight\s", "q"),
        ],
    );
    let held = site
        .ran("ann", &["resume"])
        .exits(3)
        .says("4 things stand in the way")
        .says("background updates left");
    site.shows("preflight", &held);
    site.app("status");

    // Put right: the updates end, and the database is made as it should be. Then the move begins. Everything is copied but one
    // row, and the tool says nothing of it.
    site.app("stop");
    site.slowly(false);
    site.app("up");
    crate::harness::eventually(std::time::Duration::from_secs(900), "the background updates to end", || {
        site.lite("select count(*) from background_updates") == "0"
    });
    site.empty_database();
    let lost = site
        .ran("ann", &["resume"])
        .exits(1)
        .says("port ended: exit status 0")
        .says("synapse.public.devices");
    site.shows("left-out", &lost);
    nothing_leads_to_the_deletion(&site, "port", "synapse.public.devices");

    // Back to SQLite, where Bob gives his phone another name. An empty database, and again: this time it is killed.
    let run = site.play.id();
    site.ran("ann", &["rollback", &run, "--to", "stop-app"]).exits(0);
    site.app("status");
    site.talk(&["rename"]);
    site.empty_database();
    site.write("dies", "");
    let half = site.ran("ann", &["resume"]).exits(1).says("exit status 137");
    let left: u64 = site.psql("select count(*) from events").parse().unwrap();
    assert!(left < site.lite("select count(*) from events").parse().unwrap(), "{left} events");
    site.shows("killed", &half);
    nothing_leads_to_the_deletion(&site, "port", "synapse.public");

    // It goes on where it was. A byte is changed before anybody compares: as many rows, and one with other contents.
    site.write("after.sql", "update event_json set json = replace(json, 'message 7 ', 'massage 7 ')");
    let again = ["resume", "--decide", "port=again", "--reason", "it was killed: out of memory"];
    let byte = site.ran("ann", &again).exits(1).says("port is done").says("1 row differs").says("event_json");
    site.shows("byte", &byte);
    nothing_leads_to_the_deletion(&site, "settle", "event_json");
    let mended = "update event_json set json = replace(json, 'massage 7 ', 'message 7 ')";
    site.psql(mended);

    // A sequence that is behind.
    let next = site.psql("select last_value from events_stream_seq");
    site.psql("alter sequence events_stream_seq restart with 7");
    let behind = site.ran("ann", &["resume"]).exits(1).says("events_stream_seq");
    site.shows("sequence", &behind);
    nothing_leads_to_the_deletion(&site, "settle", "events_stream_seq");
    site.psql(&format!("alter sequence events_stream_seq restart with {next}"));

    // A row that is lost.
    let row = "(select event_id from event_json where json like '%message 9 %')";
    site.psql(&format!(
        "create schema kept; create table kept.lost as select * from event_json where event_id = {row}"
    ));
    site.psql(&format!("delete from event_json where event_id = {row}"));
    let lost = site.ran("ann", &["resume"]).exits(3).says("rows in synapse.public.event_json");
    site.shows("row", &lost);
    nothing_leads_to_the_deletion(&site, "port", "rows in synapse.public.event_json");
    site.psql("insert into event_json select * from kept.lost; drop schema kept cascade");

    // In order: Synapse starts on PostgreSQL, and waits for somebody to look.
    site.ran("ann", &["resume"]).exits(4).says("look");
    assert_eq!(site.psql("select count(*) from users"), "2");
    looks(&site);
    site.talk(&["send", "written on PostgreSQL"]);
    let confirm = format!("drop-sqlite={}/homeserver.db", site.here());
    let asked = site.ran("ann", &["resume"]).exits(4).says("To destroy it");
    site.shows("asked", &asked);

    // Somebody starts the old file again for a moment; somebody takes a user out of the new database.
    site.lite_do("update profiles set displayname = 'Bobby' where user_id = 'bob'");
    site.ran("ann", &["resume", "--confirm", &confirm])
        .exits(3)
        .says("nothing was written to the SQLite file");
    site.lite_do("update profiles set displayname = 'bob' where user_id = 'bob'");
    site.psql("create schema kept; create table kept.users as select * from users; delete from users where name like '@bob:%'");
    let gone = site.ran("ann", &["resume", "--confirm", &confirm]).exits(3).says("synapse.public.users");
    site.shows("user-lost", &gone);
    assert!(site.path("homeserver.db").exists());
    site.psql("insert into users select * from kept.users where name like '@bob:%'");

    // Whole again: it goes, and everything is there.
    site.ran("ann", &["resume", "--confirm", &confirm]).exits(0);
    assert!(!site.path("homeserver.db").exists());
    site.ran("carl", &["verify", &run]).exits(0);
    let read = site.talk(&["read"]);
    for message in ["the oldest message", "message 7 ", "written on PostgreSQL"] {
        assert!(read.contains(message), "{message} is not in\n{read}");
    }
    site.talk(&["login"]);
    site.talk(&["picture"]);
    assert!(site.talk(&["devices"]).contains("PHONE Bob's phone"));
    assert!(site.talk(&["find", "bob"]).contains("@bob:example.org"));
    assert_eq!(site.talk(&["keys"]), "20");
}

/// Ann looks with her own eyes, and leaves the rest to run without her.
#[track_caller]
fn looks(site: &Site) {
    let answers = [
        (r"Step \d+ of \d+: look\s", "c"),
        ("Who read what", "Bea read it, and answered"),
        (r"Step \d+ of \d+: soak\s", "q"),
    ];
    site.at_a_terminal("ann", &["resume"], &answers);
}

/// Somebody follows a thread: a row whose number comes from a sequence that synapse_port_db does not know.
const THREAD: &str = "insert into thread_subscriptions (stream_id, instance_name, room_id, event_id, user_id, subscribed, automatic)
    select 9, 'master', room_id, event_id, sender, 1, 0 from events where type = 'm.room.message' limit 1";
const GIVEN: &str = "select last_value from thread_subscriptions_sequence";

/// The whole move, by nobody, on a machine that says that it is staging.
pub fn rehearsed() {
    let site = site("quiet.db");
    site.lite_do(THREAD);
    site.app("up");
    site.empty_database();
    let text = std::fs::read_to_string(BOOK).unwrap();
    site.write("staging", "");
    site.write("books/book.yaml", &text.replace("/etc/this-is-staging", &format!("{}/staging", site.here())));
    let rehearse = words(&site, "rehearse", "books/book.yaml", "staging", "1s");
    site.ran("ci", &all(&rehearse)).exits(0).says("Rehearsal passed");
    assert!(!site.path("homeserver.db").exists());
    assert_eq!(site.psql(GIVEN), "9");
    assert!(site.talk(&["read"]).contains("the oldest message"));
}

/// As the documentation has it, line by line, and nobody compares: the tool exits 0, and Bob's phone is gone.
pub fn control() {
    let site = site("quiet.db");
    site.app("up");
    site.talk(&["phone"]);
    assert!(site.talk(&["devices"]).contains("PHONE"));
    site.app("stop");
    site.lite_do(THREAD);
    site.empty_database();
    let here = site.here();
    let mut port = std::process::Command::new(site.path("port_db"));
    port.args(["--sqlite-database", &format!("{here}/homeserver.db")]);
    port.args(["--postgres-config", &format!("{here}/homeserver-postgres.yaml")]);
    let ported = crate::harness::finish(&mut port, std::time::Duration::from_secs(900)).exits(0);
    assert!(
        format!("{}{}", ported.stdout, ported.stderr).contains("DROPPING ROW: NUL value in table devices")
    );
    assert_eq!(site.psql(GIVEN), "2", "and a sequence is behind");
    std::fs::remove_file(site.path("homeserver.db")).unwrap();
    site.uses_postgres();
    site.app("up");
    assert!(site.talk(&["read"]).contains("the oldest message"), "it looks as if it had worked");
    assert!(!site.talk(&["devices"]).contains("PHONE"), "but his phone is gone");
    assert_eq!(site.talk(&["find", "bob"]), "", "and nobody finds anybody by name");
}
