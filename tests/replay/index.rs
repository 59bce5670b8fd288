//! matrix.org, January 2017: an index that nothing seemed to use.

mod people;
mod site;

use std::time::Instant;

use crate::harness::{Need, Registry, eventually};
use site::{BOOK, HIGHLIGHTS, NEEDS, PATIENCE, REDACT, Site, larger};

pub fn register(r: &mut Registry) {
    r.add("index::dropped_as_it_was_then", &[Need::Root, Need::Mount, Need::Pg15, Need::Faketime], control);
    r.add("index::a_redaction_needs_it", NEEDS, needed);
    r.add("index::hidden_then_dropped_and_built_again", NEEDS, hidden);
    r.add("index::rehearsed", NEEDS, rehearsed);
}

/// The afternoon and the morning after: the clocks of the people in these replays.
const AFTERNOON: &str = "2017-01-24 17:00:00";
const MORNING: &str = "2017-01-25 09:30:00";

/// The index goes as it went then; a redaction holds a lock that every message needs, and nothing arrives any more.
fn control() {
    let site = Site::new("");
    // With the index a redaction is over before anybody notices. One of three may have met a busy moment.
    let timed = |room| {
        let began = Instant::now();
        site.redaction(room).ends(PATIENCE).exits(0);
        began.elapsed()
    };
    let quick = ["r8", "r9", "r10"].map(timed).into_iter().min().unwrap();
    site.all_counted();
    // By the statistics nobody has ever used it: the servers have begun to count anew.
    site.primary.psql_in("synapse", "select pg_stat_reset()");
    let scans = format!("select idx_scan from pg_stat_user_indexes where indexrelid = '{REDACT}'::regclass");
    assert_eq!(site.sql(&scans), "0");
    site.sql(&format!("drop index {REDACT}"));

    let began = Instant::now();
    let mut redaction = site.redaction("r7");
    eventually(PATIENCE, "the redaction holds its lock", || site.holds_its_lock());
    let senders = site.senders("r7", 8);
    eventually(PATIENCE, "everybody waits", || site.blocked() == 8);
    let (delivered, taken) = (site.rows("events"), site.rows("received"));
    site.sql("insert into received (body) select 'hello' from generate_series(1, 8)");
    eventually(PATIENCE, "it goes on", || began.elapsed() > quick * 10);
    assert!(!redaction.ended(), "as long as ten redactions with the index:\n{}", redaction.said());
    assert_eq!(site.blocked(), 8, "they still wait");
    assert_eq!(site.rows("events"), delivered, "nothing is delivered");
    assert_eq!(site.rows("received"), taken + 8, "while messages come in as ever");
    drop(senders);
}

/// With the runbook: the disk, the statistics of the standby, the plan of the redaction, the hour, and the pager.
fn needed() {
    let site = Site::new("");
    // Forty days of counting are not enough for somebody whose rarest job comes round every sixty.
    let young = site.vars(&[("index", HIGHLIGHTS), ("stats_age", "60d")]);
    let check = ["check", BOOK, "unused"].into_iter().chain(young.iter().map(String::as_str));
    site.ran("ann", AFTERNOON, &check.collect::<Vec<_>>()).exits(1).says("counting began only 40d ago");

    // The afternoon. What was short was the standby's disk; and no statement of the service had a limit.
    site.primary.psql("alter role synapse reset statement_timeout");
    site.starts("ann", AFTERNOON, &[("index", REDACT)]);
    let run = site.newest();
    let confirm = ["--confirm", "environment=production"];
    let resume = |who: &str, at: &str, more: &[&str]| {
        site.ran(who, at, &[&["resume", &run], &confirm[..], more].concat())
    };
    let ran = resume("ann", AFTERNOON, &[]).exits(3).says("is smaller: 400 MiB instead of 600 MiB");
    site.shows("disk", &ran.says("no statement of synapse may run"));
    site.primary.psql("alter role synapse set statement_timeout = '10min'");
    assert!(site.phone().iter().any(|text| text.contains("held before unused")), "{:?}", site.phone());
    // From now on the pager takes pages and rings nobody: nobody has paid for it.
    std::fs::write(site.play.path("unpaid"), "").unwrap();
    larger(&site);

    // The disk is there now. Is the index unused? Nobody has scanned it, on either server; the redaction would.
    let ran = resume("ann", AFTERNOON, &[]).exits(1).says("reads all of public.event_push_actions");
    site.shows("redaction", &ran);
    let drop_it = format!("drop=index {REDACT}");
    let done = ["--decide", "unused=done", "--reason", "the statistics say so", "--confirm", &drop_it];
    for way in [&["--confirm", &drop_it][..], &done] {
        let ran = resume("ann", AFTERNOON, way);
        assert!(matches!(ran.status, Some(1 | 3)), "{ran:?}");
        ran.says("reads all of public.event_push_actions");
    }
    let again = [&["run", BOOK, "--env", "production"], &confirm[..]].concat();
    let vars = site.vars(&[("index", REDACT)]);
    let again: Vec<&str> = again.into_iter().chain(vars.iter().map(String::as_str)).collect();
    site.ran("ann", AFTERNOON, &again).exits(3).says("is not finished");
    assert_eq!(site.usable(REDACT), ["true", "true"]);

    // The redaction gets a smaller index of its own. It is five in the afternoon.
    site.sql("create index concurrently event_push_actions_event on event_push_actions (event_id)");
    site.caught_up();
    let ran = resume("ann", AFTERNOON, &[]).exits(3).says("change window");
    site.shows("hour", &ran);
    assert_eq!(site.usable(REDACT), ["true", "true"]);

    // Nor does anybody answer the page, in the afternoon or the next morning: the pager has not been paid.
    let ran = resume("ann", MORNING, &[]).exits(3).says("a page reaches a person");
    site.shows("page", &ran);
    assert_eq!(site.usable(REDACT), ["true", "true"]);
    std::fs::remove_file(site.play.path("unpaid")).unwrap();
    resume("ann", MORNING, &[]).exits(4);
    assert_eq!(site.usable(REDACT), ["false", "false"], "hidden, on both");

    // Ann goes home, and Bob takes over.
    site.ran(
        "ann",
        MORNING,
        &["handoff", &run, "--note", "It is hidden. Redact something, then drop it.", "--to", "bob"],
    )
    .exits(0);
    site.ran("bob", MORNING, &["accept", &run, "--acknowledge", "offer"]).exits(0);
    // The rare things are done on purpose.
    site.redaction("r7").ends(PATIENCE).exits(0);
    site.exercised("bob", MORNING, "1");
    let ran = resume("bob", MORNING, &[]).exits(4);
    site.shows("confirm", &ran);
    resume("bob", MORNING, &["--confirm", "drop=index"]).exits(3).says("That is not the text");
    assert_eq!(site.usable(REDACT), ["false", "false"]);
    let (before, sizes) = (site.rows("event_push_actions"), site.sizes());
    resume("bob", MORNING, &["--confirm", &drop_it]).exits(0).says("the run is complete");
    assert_eq!(site.usable(REDACT), ["gone", "gone"]);
    assert_eq!(site.rows("event_push_actions"), before);
    for (now, then) in site.sizes().into_iter().zip(sizes) {
        assert!(now + (4 << 20) < then, "its room is there again: {then} and {now} bytes");
    }
    site.ran("auditor", MORNING, &["verify", &run]).exits(0);
}

/// What nobody thought of is missed while it is hidden, or after the drop; either way somebody is told, and it comes back.
fn hidden() {
    let site = Site::new("");
    larger(&site);
    used_on_the_standby(&site);
    missed_in_the_trial(&site);
    missed_after_the_drop(&site);
}

/// The statistics of the primary alone would let it go.
fn used_on_the_standby(site: &Site) {
    let report = "set enable_seqscan = off; select count(*) from event_push_actions where user_id = 'u7' and highlight = 0";
    site.standby.psql_in("synapse", report);
    let scans =
        format!("select idx_scan from pg_stat_user_indexes where indexrelid = '{HIGHLIGHTS}'::regclass");
    eventually(PATIENCE, "it is counted", || site.standby.psql_in("synapse", &scans) != "0");
    site.starts("ann", MORNING, &[("index", HIGHLIGHTS)]);
    let run = site.newest();
    let ran = site.ran("ann", MORNING, &["resume", &run, "--confirm", "environment=production"]).exits(1);
    site.shows("standby", &ran.says("standby: 1 scan, counted for 40d"));
    assert_eq!(site.usable(HIGHLIGHTS), ["true", "true"]);
    site.ran("ann", MORNING, &["abandon", &run, "--reason", "it stays"]).exits(0);
}

/// A statement that nothing can be said against.
const FORGOTTEN: &str = "select latest from rooms where room_id = 'r7'";

fn missed_in_the_trial(site: &Site) {
    site.starts(
        "ann",
        MORNING,
        &[("index", REDACT), ("rare", FORGOTTEN), ("trial", "10min"), ("probe", "10min")],
    );
    let run = site.newest();
    let mut watching =
        site.holdpoint("ann", MORNING, &["resume", &run, "--confirm", "environment=production"]);
    let ran = site.answering(|| {
        let mut watching = site.play.beside(&mut watching);
        eventually(PATIENCE, "the trial begins", || site.begun("trial"));
        assert_eq!(site.usable(REDACT), ["false", "false"]);
        let mut redaction = site.redaction("r9");
        eventually(PATIENCE, "it holds its lock", || site.holds_its_lock());
        let _senders = site.senders("r9", 8);
        let ran = watching.ends(PATIENCE).exits(1).says("trial FAILED");
        assert!(!redaction.ended(), "{}", redaction.said());
        eventually(PATIENCE, "all of them wait", || site.blocked() >= 8);
        assert!(site.phone().iter().any(|text| text.contains("trial FAILED")), "{:?}", site.phone());
        let delivered = site.rows("events");
        let back = site.ran("ann", MORNING, &["rollback", &run]).exits(0);
        site.shows("shown-again", &back);
        assert_eq!(site.usable(REDACT)[0], "true");
        redaction.ends(PATIENCE).exits(0);
        eventually(PATIENCE, "nobody waits any more", || site.blocked() == 0);
        eventually(PATIENCE, "what they said arrives", || site.rows("events") >= delivered + 8);
        ran
    });
    site.shows("trial", &ran.says("nobody waits for a lock"));
    site.ran("ann", MORNING, &["abandon", &run, "--reason", "it stays: redactions need it"]).exits(0);
    site.ran("auditor", MORNING, &["verify", &run]).exits(0);
}

fn missed_after_the_drop(site: &Site) {
    site.sql("vacuum analyze event_push_actions");
    // Nobody may have used it for as long as the servers count; they count anew, and the person who starts this shrugs.
    site.all_counted();
    site.sql("select pg_stat_reset()");
    let vars = [("index", REDACT), ("rare", FORGOTTEN), ("stats_age", "1ms"), ("watch", "10min")];
    site.starts("ann", MORNING, &vars);
    let run = site.newest();
    let confirm = ["resume", &run, "--confirm", "environment=production"];
    site.ran("ann", MORNING, &confirm).exits(4);
    site.exercised("ann", MORNING, "0");
    let drop_it = format!("drop=index {REDACT}");
    let mut watching = site.holdpoint("ann", MORNING, &[&confirm[..], &["--confirm", &drop_it]].concat());
    site.answering(|| {
        let mut watching = site.play.beside(&mut watching);
        eventually(PATIENCE, "the watch begins", || site.begun("watch"));
        assert_eq!(site.usable(REDACT), ["gone", "gone"]);
        let mut redaction = site.redaction("r7");
        eventually(PATIENCE, "it holds its lock", || site.holds_its_lock());
        let ran =
            watching.ends(PATIENCE).exits(1).says("watch FAILED").says("a message arrives at another user");
        site.shows("watch", &ran);
        assert!(!redaction.ended(), "{}", redaction.said());
        assert!(site.phone().iter().any(|text| text.contains("watch FAILED")), "{:?}", site.phone());
        site.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'redaction'",
        );
        redaction.ends(PATIENCE);
    });
    let back = ["rollback", &run, "--to", "drop"];
    let ran = site.ran("ann", MORNING, &back).exits(0);
    site.shows("built-again", &ran);
    site.caught_up();
    assert_eq!(site.usable(REDACT), ["true", "true"]);
    site.redaction("r7").ends(PATIENCE).exits(0);
    assert_eq!(site.blocked(), 0);
    site.ran("ann", MORNING, &["abandon", &run, "--reason", "it stays: redactions need it"]).exits(0);
    site.ran("auditor", MORNING, &["verify", &run]).exits(0);
}

/// The whole of it on staging, with nobody there; and not on servers that do not say that they are staging's.
fn rehearsed() {
    let site = Site::new("cluster_name = 'staging'");
    larger(&site);
    let vars = site.vars(&[("index", REDACT), ("rare", FORGOTTEN)]);
    let words = ["rehearse", BOOK, "--env", "staging"];
    let words: Vec<&str> = words.into_iter().chain(vars.iter().map(String::as_str)).collect();
    site.primary.configure("\ncluster_name = 'db1'");
    site.primary.restart();
    let ran = site.ran("ci", MORNING, &words);
    assert!(matches!(ran.status, Some(1 | 3)), "{ran:?}");
    ran.says("The primary is that of staging");
    assert_eq!(site.usable(REDACT), ["true", "true"]);
    site.primary.configure("\ncluster_name = 'staging'");
    site.primary.restart();
    site.caught_up();
    site.ran("ci", MORNING, &words).exits(0).says("Rehearsal passed: 7 of 7 steps");
    assert_eq!(site.usable(REDACT), ["gone", "gone"]);
}
