//! To a newer release, and back: as long as the newer one leaves the database open to the older one, and not a moment longer.

use super::scene::{NEW, OLDER, OLDEST, Site, releases};

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/synapse-upgrade.yaml");

fn words(site: &Site, command: &str, book: &str, environment: &str, from: &str) -> Vec<String> {
    let here = site.here();
    let mut words: Vec<String> = [command, book, "--env", environment].map(str::to_owned).to_vec();
    for (name, value) in [
        ("from", from.to_owned()),
        ("to", NEW.to_owned()),
        ("releases", releases().display().to_string()),
        ("current", format!("{here}/current")),
        ("connection", site.connection()),
        ("backups", format!("{here}/backups")),
        ("stop_app", format!("{here}/app stop")),
        ("start_app", format!("{here}/app start")),
        ("app_running", format!("{here}/app status")),
        ("url", site.url()),
        ("send", format!("{here}/talk send")),
        ("receive", format!("{here}/receive")),
        ("soak", "1s".to_owned()),
    ] {
        words.extend(["--var".to_owned(), format!("{name}={value}")]);
    }
    words
}

/// The release is installed, and people have talked on it for a while. While the file `deaf` is there, nothing that they say
/// arrives.
fn site(version: &str) -> Site {
    let site = Site::new(version);
    site.program("receive", "#!/bin/sh\n[ -e HERE/deaf ] || exec HERE/talk read\n");
    site.uses_postgres();
    site.empty_database();
    site.app("up");
    site.populate();
    site.updates_end();
    site
}

/// Ann begins, and answers what only a person can.
#[track_caller]
fn begins(site: &Site, from: &str) {
    let start = words(site, "run", BOOK, "production", from);
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    let answers = [
        ("protected environment", "production"),
        (r"Step 1 of \d+: notes\s", "c"),
        ("What do the notes ask for", "nothing that is not done"),
        (r"Step 2 of \d+: preflight\s", "q"),
    ];
    site.at_a_terminal("ann", &start, &answers);
}

pub fn upgraded() {
    let site = site(OLDER);
    begins(&site, OLDER);
    let schema = "select version from schema_version";
    let (was, floor) = (site.psql(schema), site.psql("select compat_version from schema_compat_version"));
    assert_eq!((was.as_str(), floor.as_str()), ("88", "84"));

    // An update of the last upgrade is still on the list.
    site.psql("insert into background_updates (update_name, progress_json) values ('events_jump_to_date_index', '{}')");
    let held = site
        .ran("ann", &["resume"])
        .exits(3)
        .says("1 background update left, such as events_jump_to_date_index");
    site.shows("updates-left", &held);
    site.psql("delete from background_updates");

    // The new release runs, and messages do not arrive. The way back is open, and was said to be.
    site.write("deaf", "");
    let failed = site.ran("ann", &["resume"]).exits(1).says("what one user sends, another one receives");
    assert_eq!(site.psql(schema), "94");
    failed.says("the database asks for schema version 84 (it has 94); Synapse 1.120.0: it has 88");
    site.talk(&["send", "written on the new release"]);
    let run = site.play.id();
    let back = site.ran("ann", &["rollback", &run, "--to", "stop-app"]).exits(0);
    site.shows("taken-back", &back);
    assert_eq!(std::fs::read_link(site.path("current")).unwrap(), releases().join(OLDER));
    let read = site.talk(&["read"]);
    assert!(read.contains("written on the new release") && read.contains("the oldest message"), "{read}");

    // The cause is found; the same run goes through.
    std::fs::remove_file(site.path("deaf")).unwrap();
    site.ran("ann", &["resume"]).exits(0);
    assert_eq!(std::fs::read_link(site.path("current")).unwrap(), releases().join(NEW));
    assert_eq!(site.psql("select count(*) from background_updates"), "0");
    site.talk(&["send", "afterwards"]);
    assert!(site.talk(&["read"]).contains("afterwards"));
    site.ran("carl", &["verify", &run]).exits(0);
}

pub fn no_way_back() {
    let site = site(OLDEST);
    begins(&site, OLDEST);
    site.write("deaf", "");
    let failed = site.ran("ann", &["resume"]).exits(1).says("what one user sends, another one receives");
    site.shows("floor-raised", &failed);
    let run = site.play.id();
    let refused = site.ran("ann", &["rollback", &run]).exits(3);
    let refused =
        refused.says("the database asks for schema version 84 (it has 94); Synapse 1.98.0: it has 83");
    site.shows("no-way-back", &refused);
    site.ran("ann", &["rollback", &run, "--to", "switch"]).exits(3);
    site.app("status");

    // What happens without it: the old release does not start, and now there is none that runs.
    site.app("stop");
    let link = |version: &str| {
        std::fs::remove_file(site.path("current")).unwrap();
        std::os::unix::fs::symlink(releases().join(version), site.path("current")).unwrap();
    };
    link(OLDEST);
    let down = site.app_ends("up");
    assert_ne!(down.status, Some(0), "{down:?}");
    assert!(site.log().contains("Cannot use this database as it is too new for the server to understand"));
    assert_eq!(site.app_ends("status").status, Some(3));
    link(NEW);
    site.app("up");

    // Forward is the only way, and the same run takes it.
    std::fs::remove_file(site.path("deaf")).unwrap();
    site.ran("ann", &["resume"]).exits(0);
    site.ran("carl", &["verify", &run]).exits(0);
}

pub fn rehearsed() {
    let site = site(OLDER);
    let text = std::fs::read_to_string(BOOK).unwrap();
    site.write("staging", "");
    site.write("books/book.yaml", &text.replace("/etc/this-is-staging", &format!("{}/staging", site.here())));
    let rehearse = words(&site, "rehearse", "books/book.yaml", "staging", OLDER);
    let rehearse: Vec<&str> = rehearse.iter().map(String::as_str).collect();
    site.ran("ci", &rehearse).exits(0).says("Rehearsal passed");
    assert_eq!(site.psql("select version from schema_version"), "94");
}
