//! People: pages that are acknowledged, heartbeats, windows, and what somebody saw.

mod pages;
pub mod web;

use std::path::Path;
use std::time::{Duration, SystemTime};

use holdpoint::check::{Evidence, Outcome, Verdict};
use jiff::{Timestamp, ToSpan as _, Zoned};
use serde_json::{Value, json};

use self::web::{Answer, Web};
use super::host::Ntp;
use super::{context, is, look, verdict};
use crate::guided::Person;
use crate::harness::{Cluster, Major, Need, Registry, Sandbox};

pub fn register(r: &mut Registry) {
    pages::register(r);
    heartbeats(r);
    windows(r);
    observations(r);
}

/// A file that was last written so long ago.
fn written(path: &Path, ago: Duration) -> String {
    std::fs::write(path, "beat\n").unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - ago).unwrap();
    path.display().to_string()
}

fn stamp(ago: Duration) -> Timestamp {
    Timestamp::now() - ago
}

const HOUR: Duration = Duration::from_secs(3600);

fn heartbeats(r: &mut Registry) {
    let beat = |params: Value| look(&context([]), "heartbeat_fresh", params);
    verdict(r, "heartbeat_fresh", Verdict::Pass, &[], move || {
        let here = Sandbox::new();
        let young = written(&here.join("young"), HOUR);
        let in_it = here.write("in-it", &format!("{}\nmore\n", stamp(HOUR))).display().to_string();
        let body = format!("{{\"backup\": {{\"last\": {}}}}}", stamp(HOUR).as_second());
        let metrics =
            format!("# TYPE beat gauge\nbeat{{job=\"a\"}} {}e3\n", stamp(HOUR).as_second() as f64 / 1e3);
        let web =
            Web::serve(
                move |request| {
                    if request.path == "/metrics" { Answer::ok(&metrics) } else { Answer::ok(&body) }
                },
            );
        let seen = [
            beat(json!({ "path": young, "interval": "1h" })),
            beat(json!({ "path": in_it, "contents": true, "interval": "1h" })),
            beat(json!({ "url": web.url("/x?token=a"), "field": "backup.last", "interval": "1h" })),
            beat(json!({ "url": web.url("/metrics"), "metric": "beat", "interval": "1h" })),
        ];
        is(&seen[0], Verdict::Pass, "the last beat was 1h");
        seen.into()
    });
    verdict(r, "heartbeat_fresh", Verdict::Fail, &[], move || {
        let here = Sandbox::new();
        let old = written(&here.join("old"), 3 * HOUR);
        // A fresh copy of an old beat: its own time is young, what stands in it is not.
        let copied = here.write("copied", &stamp(3 * HOUR).to_string()).display().to_string();
        let seen = [
            beat(json!({ "path": old, "interval": "1h" })),
            beat(json!({ "path": old, "interval": "2h30min", "missed": 1 })),
            beat(json!({ "path": copied, "contents": true, "interval": "1h" })),
            beat(json!({ "path": here.join("never").display().to_string(), "interval": "1h" })),
        ];
        is(&seen[0], Verdict::Fail, "the last beat was 3h ago");
        is(&seen[3], Verdict::Fail, "never gave a sign of life");
        seen.into()
    });
    verdict(r, "heartbeat_fresh", Verdict::Unknown, &[], move || {
        let here = Sandbox::new();
        let future =
            here.write("future", &stamp(Duration::ZERO).saturating_add(2.hours()).unwrap().to_string());
        let local = here.write("local", "2026-11-20 10:00:00");
        let web = Web::serve(|request| match request.path.as_str() {
            "/broken" => Answer { status: 503, body: "no".into() },
            _ => Answer::ok("{\"last\": null}"),
        });
        let file = |path: &Path, more: bool| {
            beat(json!({ "path": path.display().to_string(), "contents": more, "interval": "1h" }))
        };
        let seen = [
            file(&future, true),
            file(&local, true),
            file(here.path(), false),
            beat(json!({ "url": web.url("/broken"), "field": "last", "interval": "1h" })),
            beat(json!({ "url": web.url("/"), "field": "last", "interval": "1h" })),
            beat(json!({ "url": "http://127.0.0.1:1/", "interval": "1h" })),
        ];
        is(&seen[0], Verdict::Unknown, "in the future");
        is(&seen[1], Verdict::Unknown, "no time zone");
        is(&seen[3], Verdict::Unknown, "status 503");
        is(&seen[4], Verdict::Unknown, "null");
        seen.into()
    });
    r.add("check::heartbeat_fresh::fail_in_a_database", &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("create table runs (done timestamptz, plain timestamp)");
        let cx = context([("db", cluster.target("postgres"))]);
        let ask =
            |sql: &str| look(&cx, "heartbeat_fresh", json!({ "target": "db", "sql": sql, "interval": "1h" }));
        is(&ask("select max(done) from runs"), Verdict::Unknown, "NULL");
        cluster
            .psql("insert into runs values (now() - interval '3 h', now()), (now() - interval '5 h', now())");
        is(&ask("select max(done) from runs"), Verdict::Fail, "3h ago");
        is(&ask("select max(plain) from runs"), Verdict::Unknown, "no time zone");
        is(&ask("select done from runs"), Verdict::Unknown, "more than one row");
        is(&ask("delete from runs returning done"), Verdict::Unknown, "25006");
        is(&ask("select max(done) from walks"), Verdict::Unknown, "42P01");
        cluster.psql("insert into runs values (now(), now())");
        let fresh = ask("select max(done) from runs");
        is(&fresh, Verdict::Pass, "the last beat was");
        assert_eq!(fresh.seen.len(), 1, "{fresh:?}");
        cluster.stop();
        is(&ask("select max(done) from runs"), Verdict::Unknown, "db:");
    });
}

/// A day of the week, some days from now in UTC: `mon`.
fn day(from_now: i64) -> String {
    let there = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).checked_add(from_now.days()).unwrap();
    there.strftime("%a").to_string().to_lowercase()
}

fn windows(r: &mut Registry) {
    let at = |params: Value| look(&context([]), "change_window", params);
    verdict(r, "change_window", Verdict::Pass, &[], move || {
        // Yesterday, today and tomorrow all day long: open whenever the test runs.
        let days = json!([day(-1), day(0), day(1), day(2)]);
        let seen = at(json!({ "hours": "00:00-24:00", "timezone": "UTC", "days": days, "left": "20h" }));
        is(&seen, Verdict::Pass, "UTC");
        // With a clock that is right by a server of ours.
        let right = Ntp::start(0.0, 2);
        let proved = at(open(json!({ "servers": [right.at] })));
        is(&proved, Verdict::Pass, "UTC");
        assert!(proved.details.iter().any(|line| line.starts_with("the clock: 0.")), "{proved:#?}");
        vec![seen, proved]
    });
    verdict(r, "change_window", Verdict::Fail, &[], move || {
        let wrong_day = at(json!({ "hours": "00:00-24:00", "timezone": "UTC", "days": [day(3)] }));
        is(&wrong_day, Verdict::Fail, "not on a");
        assert!(wrong_day.help.as_ref().unwrap().contains("the next window opens"), "{wrong_day:?}");
        let days = json!([day(-1), day(0), day(1)]);
        let too_late =
            at(json!({ "hours": "00:00-24:00", "timezone": "UTC", "days": days, "left": "23h59min" }));
        // Three days in a row are one window: tomorrow's end is at least 24 hours away.
        is(&too_late, Verdict::Pass, "left");
        let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        // The day may turn before it is measured.
        let both = [today.to_string(), today.tomorrow().unwrap().to_string()];
        let all = json!({
            "hours": "00:00-24:00", "timezone": "UTC", "left": "1min", "not_on": both,
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        });
        let holiday = at(all);
        is(&holiday, Verdict::Fail, "is left out");
        let right = Ntp::start(0.0, 2);
        let mut shut = open(json!({ "servers": [right.at] }));
        shut["days"] = json!([day(3)]);
        let proved = at(shut);
        is(&proved, Verdict::Fail, "not on a");
        vec![wrong_day, holiday, proved]
    });
    verdict(r, "change_window", Verdict::Unknown, &[], move || {
        // As on a machine without this zone: the runbook is refused there, and what is measured all the same is unknown.
        let seen = at(json!({ "hours": "09:00-15:00", "timezone": "Europe/Atlantis" }));
        is(&seen, Verdict::Unknown, "time zone database");
        // The window would be open, by a clock that is wrong, and by one of which nobody knows.
        let (ahead, unsure) = (Ntp::start(-540.0, 2), Ntp::start(0.0, 16));
        let wrong = at(open(json!({ "servers": [ahead.at] })));
        // 540 s, give or take what the answer took on its way.
        is(&wrong, Verdict::Unknown, "this machine's clock is wrong: 5");
        let unsure = at(open(json!({ "servers": [unsure.at] })));
        is(&unsure, Verdict::Unknown, "this machine's clock may be wrong: ");
        is(&unsure, Verdict::Unknown, "it is not synchronised itself");
        let mut shut = open(json!({ "servers": [ahead.at] }));
        shut["days"] = json!([day(3)]);
        vec![seen, wrong, unsure, at(shut)]
    });
    r.add("checks::a_change_window_refuses_a_clock_of_nobody", &[], || {
        for (clock, words) in [
            (json!({ "servers": [""] }), "`clock`: `servers` names none"),
            (json!({ "at_most": "0s" }), "`clock`: `at_most` is zero"),
            (json!({ "server": "x" }), "unknown field `server`"),
        ] {
            let spec = serde_json::from_value(json!({ "change_window": open(clock) })).unwrap();
            let refused = holdpoint::check::registry::build(&spec).map(|_| ()).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    });
}

/// A window that is open whenever the test runs, if the clock is right.
fn open(clock: Value) -> Value {
    let days = json!([day(-1), day(0), day(1), day(2)]);
    json!({ "hours": "00:00-24:00", "timezone": "UTC", "days": days, "left": "20h", "clock": clock })
}

/// A person answers a manual step; the next step judges the answer.
fn said(answer: &str, check: &str, passes: bool) -> (Sandbox, i32, Vec<Outcome>) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "book.yaml",
        &format!(
            "holdpoint: 1\nname: lamp\nsteps:\n  - id: lamp\n    manual: {{ instructions: Look., observe: Which colour? }}\n    changes: false\n\
             \x20 - id: go\n    run: [\"true\"]\n    changes: false\n    timeout: 1min\n    preconditions: [ observed: {check} ]\n"
        ),
    );
    let mut alice = Person::at(&sandbox, "alice", &["run", "book.yaml"], &[]);
    alice.answers("c");
    alice.sees("Which colour?");
    alice.answers(answer);
    alice.sees("Step 2 of 2: go");
    alice.answers("g");
    if !passes {
        alice.sees("HELD");
        alice.answers("q");
    }
    let status = alice.leaves();
    let run = std::fs::read_dir(sandbox.store().join("runs")).unwrap().next().unwrap().unwrap().path();
    let journal = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let measured = lines.filter(|line| line["what"] == "measured");
    let outcomes =
        measured.map(|line| serde_json::from_value::<Evidence>(line["evidence"].clone()).unwrap().outcome);
    let outcomes: Vec<Outcome> = outcomes.collect();
    (sandbox, status, outcomes)
}

fn observations(r: &mut Registry) {
    verdict(r, "observed", Verdict::Pass, &[], || {
        let (_here, _, seen) = said("Green", "{ step: lamp, matches: [green, amber], max_age: 1h }", true);
        is(&seen[0], Verdict::Pass, "\"Green\", said alice@");
        seen
    });
    verdict(r, "observed", Verdict::Fail, &[], || {
        let (_here, status, seen) = said("red", "{ step: lamp, equals: green }", false);
        is(&seen[0], Verdict::Fail, "\"red\", said alice@");
        assert_eq!(status, 3);
        seen
    });
    verdict(r, "observed", Verdict::Unknown, &[], || {
        let (here, _, mut seen) = said("rather dark", "{ step: lamp, at_least: 3 }", false);
        is(&seen[0], Verdict::Unknown, "not a number");
        // Outside a run nobody has seen anything.
        here.run(&["check", "book.yaml", "go"]).exits(1).says("only in a run");
        let (_here, _, never) = said("green", "{ step: go, equals: green }", false);
        is(&never[0], Verdict::Unknown, "nothing that was observed in step `go`");
        seen.extend(never);
        seen
    });
}
