//! The service itself: messages end to end, queues, key tables, Synapse.

mod rows;
mod synapse;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdpoint::check::context::Outside;
use holdpoint::check::{Context, Verdict};
use serde_json::{Value, json};

use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    round_trips(r);
    backlogs(r);
    rows::register(r);
    synapse::register(r);
}

fn sending() -> Context {
    let outside = Outside { may_send: true, pages: None, by: "alice@db1".to_owned() };
    Context { outside, ..context([]) }
}

/// A service of files: what one side says stands in the other's inbox a moment later.
struct Service {
    here: Sandbox,
}

impl Service {
    fn new() -> Service {
        let here = Sandbox::new();
        here.write("irc", "");
        here.write("matrix", "");
        Service { here }
    }

    fn say(&self, to: &str) -> String {
        format!("echo \"hello $HOLDPOINT_TOKEN\" >>'{}'", self.here.join(to).display())
    }

    fn read(&self, on: &str) -> Vec<String> {
        vec!["tail".into(), "-n".into(), "50".into(), self.here.join(on).display().to_string()]
    }
}

fn round_trips(r: &mut Registry) {
    verdict(r, "round_trip", Verdict::Pass, &[], || {
        let it = Service::new();
        // The message takes a moment, in the background.
        let slow = format!("(sleep 0.3; {}) </dev/null >/dev/null 2>&1 &", it.say("irc"));
        let both = look(
            &sending(),
            "round_trip",
            json!({
                "send": slow, "receive": it.read("irc"), "within": "10s",
                "back": { "send": it.say("matrix"), "receive": it.read("matrix") },
            }),
        );
        is(&both, Verdict::Pass, "3 messages received there and back");
        // Words of their own: three in each direction.
        let words = |name: &str| crate::play::lines(&it.here.join(name));
        let mut all = [words("irc"), words("matrix")].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6, "{all:?}");
        let one = look(
            &sending(),
            "round_trip",
            json!({ "send": it.say("irc"), "receive": it.read("irc"), "times": 1 }),
        );
        vec![both, one]
    });
    verdict(r, "round_trip", Verdict::Fail, &[], || {
        let it = Service::new();
        // May 2017: one direction works, nobody looked at the other.
        let half = look(
            &sending(),
            "round_trip",
            json!({
                "send": it.say("irc"), "receive": it.read("irc"), "within": "5s",
                "back": { "send": "true", "receive": it.read("matrix") },
            }),
        );
        is(&half, Verdict::Fail, "back (1 of 3): sent, and not received within 5s");
        assert!(half.details.iter().any(|line| line.starts_with("there: all received")), "{half:?}");
        let refused = look(
            &sending(),
            "round_trip",
            json!({ "send": "echo no route >&2; exit 1", "receive": it.read("irc") }),
        );
        is(&refused, Verdict::Fail, "sending failed: exit status 1: no route");
        // A receiver that repeats all it was told was told nothing.
        let echo = look(
            &sending(),
            "round_trip",
            json!({ "send": "true", "receive": "env; echo $*", "within": "500ms" }),
        );
        // It worked twice, and then no more.
        let twice = format!(
            "n=$(wc -l <'{0}'); [ $n -ge 2 ] || {1}",
            it.here.join("matrix").display(),
            it.say("matrix")
        );
        let unsteady = look(
            &sending(),
            "round_trip",
            json!({ "send": twice, "receive": it.read("matrix"), "within": "5s" }),
        );
        is(&unsteady, Verdict::Fail, "there (3 of 3)");
        vec![half, refused, echo, unsteady]
    });
    verdict(r, "round_trip", Verdict::Unknown, &[], || {
        let it = Service::new();
        let quiet =
            look(&context([]), "round_trip", json!({ "send": it.say("irc"), "receive": it.read("irc") }));
        is(&quiet, Verdict::Unknown, "`holdpoint check FILE --page`");
        assert_eq!(crate::play::lines(&it.here.join("irc")).len(), 0, "nothing was sent");
        let missing =
            look(&sending(), "round_trip", json!({ "send": ["no-such-client"], "receive": it.read("irc") }));
        is(&missing, Verdict::Unknown, "no program is called");
        let blind = look(
            &sending(),
            "round_trip",
            json!({ "send": it.say("irc"), "receive": ["no-such-client"], "within": "600ms" }),
        );
        is(&blind, Verdict::Unknown, "nobody looked");
        let began = Instant::now();
        let hangs = json!({ "send": "sleep 60", "receive": it.read("irc"), "within": "500ms" });
        let hangs = look(&sending(), "round_trip", hangs);
        assert!(began.elapsed() < Duration::from_secs(50));
        is(&hangs, Verdict::Unknown, "still running");
        vec![quiet, missing, blind, hangs]
    });
    r.add("application::a_message_goes_out_in_a_run_and_not_in_a_dry_one", &[], || {
        let play = Play::new();
        play.book(
            "holdpoint: 1\nname: probe\nvars: { place: { default: \"@\" } }\nsteps:\n  - id: work\n    run: echo work >>\"$place/ledger\"\n\
             \x20   timeout: 1min\n    postconditions:\n      - round_trip: { send: 'echo \"$HOLDPOINT_TOKEN\" >>\"$place/irc\"', receive: [cat, \"@/irc\"], times: 2 }\n",
        );
        play.ran("alice", "check book.yaml").exits(1).says("a message must be sent");
        assert!(!play.path("irc").exists());
        play.ran("alice", "run book.yaml").exits(0);
        assert_eq!(crate::play::lines(&play.path("irc")).len(), 2);
        play.ran("alice", "check book.yaml --page").exits(0);
        assert_eq!(crate::play::lines(&play.path("irc")).len(), 4);
    });
}

/// A command that prints the next line of a file each time, and the last one for ever.
fn lines(here: &Path, all: &str) -> Value {
    let file = here.join("depths");
    std::fs::write(&file, all).unwrap();
    let f = file.display();
    json!(format!("head -n 1 '{f}' | tr , '\\n'; [ $(wc -l <'{f}') -le 1 ] || sed -i 1d '{f}'"))
}

fn backlogs(r: &mut Registry) {
    let of = |run: Value, more: Value| {
        let mut params = json!({ "run": run, "at_most": 10, "apart": "50ms", "falling": true });
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        look(&context([]), "backlog_drained", params)
    };
    verdict(r, "backlog_drained", Verdict::Pass, &[], move || {
        let here = Sandbox::new();
        let drained = of(lines(here.path(), "7\n"), json!({}));
        is(&drained, Verdict::Pass, "7 waiting");
        let falling = of(lines(here.path(), "900\n700\n500\n"), json!({}));
        is(&falling, Verdict::Pass, "500 waiting, falling");
        let named = of(lines(here.path(), "irc 3,mail 0\n"), json!({ "consumers": ["irc", "mail"] }));
        is(&named, Verdict::Pass, "3 waiting in 2 queues");
        vec![drained, falling, named]
    });
    verdict(r, "backlog_drained", Verdict::Fail, &[], move || {
        let here = Sandbox::new();
        let stuck = of(lines(here.path(), "900\n900\n900\n"), json!({}));
        is(&stuck, Verdict::Fail, "900 waiting, not falling");
        let rising = of(lines(here.path(), "irc 3,mail 900\nirc 2,mail 950\nirc 2,mail 890\n"), json!({}));
        is(&rising, Verdict::Fail, "890 waiting for mail, not falling");
        assert!(rising.details.iter().any(|line| line == "900 → 950 → 890 for mail"), "{rising:?}");
        let plain = look(&context([]), "backlog_drained", json!({ "run": ["echo", "11"], "at_most": "10" }));
        is(&plain, Verdict::Fail, "11 waiting");
        vec![stuck, rising, plain]
    });
    verdict(r, "backlog_drained", Verdict::Unknown, &[], move || {
        let here = Sandbox::new();
        let seen = [
            of(json!("echo"), json!({})),
            of(json!("echo many"), json!({})),
            of(json!("echo 0; exit 1"), json!({})),
            of(json!(["no-such-program"]), json!({})),
            of(lines(here.path(), "irc 0\n"), json!({ "consumers": ["irc", "mail"] })),
        ];
        is(&seen[0], Verdict::Unknown, "printed nothing");
        is(&seen[2], Verdict::Unknown, "exit status 1");
        is(&seen[4], Verdict::Unknown, "nothing is known of the consumer `mail`");
        seen.into()
    });
    r.add("check::backlog_drained::fail_in_a_database", &[Need::Pg15], || {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("create table consumers (name text); insert into consumers values ('irc'), ('mail'); create table queue (consumer text)");
        let cx = context([("db", cluster.target("postgres"))]);
        let ask = |sql: &str, falling: bool| {
            let mut params = json!({ "target": "db", "sql": sql, "at_most": 5 });
            if falling {
                params["falling"] = json!(true);
                params["apart"] = json!("1s");
            }
            look(&cx, "backlog_drained", params)
        };
        let each = "select name, count(consumer) from consumers left join queue on consumer = name group by name";
        is(&ask(each, false), Verdict::Pass, "0 waiting in 2 queues");
        // The query that hides an idle consumer, or a dead one.
        is(&ask("select consumer, count(*) from queue group by consumer", false), Verdict::Unknown, "no row came back");
        is(&ask("select max(1) from queue", false), Verdict::Unknown, "NULL");
        cluster.psql("insert into queue select 'mail' from generate_series(1, 2000)");
        is(&ask(each, false), Verdict::Fail, "2,000 waiting for mail");
        is(&ask(each, true), Verdict::Fail, "not falling");
        // A consumer at work, as long as somebody looks.
        let looking = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while looking.load(Ordering::Relaxed) {
                    cluster.psql("delete from queue where ctid in (select ctid from queue limit 1)");
                }
            });
            let seen = std::panic::catch_unwind(AssertUnwindSafe(|| ask(each, true)));
            looking.store(false, Ordering::Relaxed);
            is(&seen.unwrap(), Verdict::Pass, "falling");
        });
        is(&ask("truncate queue", false), Verdict::Unknown, "25006");
        assert_ne!(cluster.psql("select count(*) from queue"), "0");
    });
}
