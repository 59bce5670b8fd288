//! Servers: their role, their connections, sequences and tables.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::replication::pair::{Pair, as_looker, looker};
use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, eventually, must};

pub fn register(r: &mut Registry) {
    connections(r);
    unlogged(r);
    sequences(r);
    roles(r);
    vacuum(r);
}

/// A server that is not there.
fn gone() -> Target {
    Target {
        postgres: Some("host=/nonexistent port=1 user=postgres dbname=postgres".to_owned()),
        ..Target::default()
    }
}

/// Sessions of an application that sit there.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(cluster: &Cluster, user: &str, n: usize) -> Crowd {
        let conninfo = cluster.conninfo("postgres").replace("user=postgres", &format!("user={user}"));
        let start = |_| {
            let mut psql = Command::new("/usr/bin/psql");
            psql.args(["-Xqd", &format!("{conninfo} application_name=crowd"), "-c", "select pg_sleep(120)"]);
            psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let crowd = Crowd((0..n).map(start).collect());
        let sql = format!(
            "select count(*) >= {n} from pg_stat_activity where application_name = 'crowd' and usename = '{user}'"
        );
        eventually(Duration::from_secs(30), &sql, || cluster.psql(&sql) == "t");
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Measures until it says so: a client that has left is counted for a moment longer.
fn free(cx: &Context, params: Value, words: &str) -> Outcome {
    let mut seen = None;
    eventually(Duration::from_secs(20), words, || {
        let outcome = seen.insert(look(cx, "connections_free", params.clone()));
        outcome.observed.contains(words)
    });
    seen.unwrap()
}

fn connections(r: &mut Registry) {
    let check = "connections_free";
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg16], move || {
        let old = Cluster::start(Major::V13);
        let cx = context([("db", old.target("postgres"))]);
        let plain = free(&cx, json!({ "target": "db" }), "37 of 37 connections for ordinary roles are free");
        let new = Cluster::with(Major::V16, "reserved_connections = 7\n");
        new.psql("create role app login connection limit 20");
        new.psql("create role tool login; grant pg_use_reserved_connections to tool");
        let cx = context([("db", new.target("postgres"))]);
        let reserved = json!({ "target": "db", "at_least": 30 });
        let reserved = free(&cx, reserved, "30 of 30 connections for ordinary roles are free");
        let _crowd = Crowd::of(&new, "app", 4);
        let limited = json!({ "target": "db", "at_least": "16", "role": "app", "database": "postgres" });
        let limited = free(&cx, limited, "16 of 20 connections of role app are free");
        let words = "33 of 37 connections for roles with pg_use_reserved_connections are free";
        let tool = free(&cx, json!({ "target": "db", "role": "tool" }), words);
        let superuser = json!({ "target": "db", "role": "postgres" });
        let superuser = free(&cx, superuser, "36 of 40 connections for superusers are free");
        vec![plain, reserved, limited, tool, superuser]
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg15], move || {
        let cluster = Cluster::with(Major::V15, "max_connections = 10\n");
        cluster.psql("create role app login; create role outside login; create role sleeper nologin");
        cluster.psql(
            "revoke connect on database postgres from public; grant connect on database postgres to app",
        );
        let cx = context([("db", cluster.target("postgres"))]);
        let words = "7 of 7 connections for ordinary roles are free, and 100 can never be";
        let never = free(&cx, json!({ "target": "db", "at_least": 100 }), words);
        let shut = look(&cx, check, json!({ "target": "db", "role": "outside", "database": "postgres" }));
        is(&shut, Verdict::Fail, "role outside has no right to connect to database postgres");
        let no_login = look(&cx, check, json!({ "target": "db", "role": "sleeper" }));
        is(&no_login, Verdict::Fail, "role sleeper may not log in");
        let _crowd = Crowd::of(&cluster, "app", 6);
        let few = free(&cx, json!({ "target": "db" }), "1 of 7 connections for ordinary roles is free");
        cluster.psql("create database held allow_connections false");
        let held = look(&cx, check, json!({ "target": "db", "at_least": 1, "database": "held" }));
        is(&held, Verdict::Fail, "database held takes no connections");
        cluster.psql("alter role app connection limit 6");
        let limit = json!({ "target": "db", "at_least": 1, "role": "app" });
        let limit = free(&cx, limit, "0 of 6 connections of role app are free");
        // Superusers take the rest: then it lets nobody in, us neither.
        let mut others = Vec::new();
        eventually(Duration::from_secs(20), "the server is full", || {
            let mut psql = Command::new("/usr/bin/psql");
            psql.args(["-Xqd", &cluster.conninfo("postgres"), "-c", "select pg_sleep(120)"]);
            others.push(psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            look(&cx, check, json!({ "target": "db" })).observed.contains("too many clients already")
        });
        let full = look(&cx, check, json!({ "target": "db" }));
        drop(Crowd(others));
        vec![never, shut, no_login, few, held, limit, full]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        looker(&cluster);
        let cx =
            context([("db", cluster.target("postgres")), ("blind", as_looker(&cluster)), ("gone", gone())]);
        let blind = look(&cx, check, json!({ "target": "blind" }));
        is(&blind, Verdict::Unknown, "may not see what the sessions of others do");
        let nobody = look(&cx, check, json!({ "target": "db", "role": "nobody", "database": "postgres" }));
        is(&nobody, Verdict::Unknown, "there is no role nobody");
        let nowhere = look(&cx, check, json!({ "target": "db", "database": "nowhere" }));
        is(&nowhere, Verdict::Unknown, "there is no database nowhere");
        vec![blind, nobody, nowhere, look(&cx, check, json!({ "target": "gone" }))]
    });
}

fn unlogged(r: &mut Registry) {
    let check = "no_unlogged_tables";
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = Cluster::start(major);
            cluster.psql("create database app");
            cluster.psql_in("app", "create table t (id serial primary key, x text); create table p (n int) partition by range (n)");
            let cx = context([("db", cluster.target("postgres"))]);
            let none = look(&cx, check, json!({ "target": "db" }));
            is(&none, Verdict::Pass, "1 table looked at, none unlogged");
            cluster.psql_in("app", "create unlogged table cache as select generate_series(1, 10) as n");
            let except = json!({ "target": "db", "except": [{ "table": "app.public.cache", "reason": "is filled at start" }] });
            let except = look(&cx, check, except);
            is(&except, Verdict::Pass, "2 tables looked at, none unlogged but those excepted");
            vec![none, except]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg13, Need::Pg16], move || {
        let cluster = Cluster::start(Major::V13);
        cluster.psql("create database app");
        cluster.psql_in("app", "create unlogged table \"Odd one\" as select generate_series(1, 1000) as n");
        cluster.psql_in("app", "analyze \"Odd one\"");
        let cx = context([("db", cluster.target("postgres"))]);
        let seen = look(&cx, check, json!({ "target": "db" }));
        is(&seen, Verdict::Fail, "table app.public.\"Odd one\" is unlogged (");
        assert!(seen.observed.ends_with(" KiB, about 1,000 rows)"), "{seen:#?}");
        // What it says comes true.
        cluster.stop_mode("immediate");
        cluster.restart();
        assert_eq!(cluster.psql_in("app", "select count(*) from \"Odd one\""), "0");
        let new = Cluster::start(Major::V16);
        new.psql("create unlogged sequence loose; create unlogged table owner (id serial)");
        let sequence = look(&context([("db", new.target("postgres"))]), check, json!({ "target": "db" }));
        is(
            &sequence,
            Verdict::Fail,
            "table postgres.public.owner is unlogged (0 B, rows not counted yet), and 1 more",
        );
        assert!(
            sequence.details.contains(&"sequence postgres.public.loose is unlogged".to_owned()),
            "{sequence:#?}"
        );
        assert!(!sequence.details.iter().any(|line| line.contains("owner_id_seq")), "{sequence:#?}");
        vec![seen, sequence]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        let cx = context([("db", cluster.target("postgres")), ("gone", gone())]);
        let empty = look(&cx, check, json!({ "target": "db" }));
        is(&empty, Verdict::Unknown, "there is no table");
        cluster.psql("create table t (n int)");
        cluster.psql("create database shut allow_connections false");
        let shut = look(&cx, check, json!({ "target": "db" }));
        is(&shut, Verdict::Unknown, "database shut cannot be entered");
        vec![empty, shut, look(&cx, check, json!({ "target": "gone" }))]
    });
}

/// Sequences of every kind, none far on its way.
const SEQUENCES: &str = "create table a (id serial primary key); create table b (id bigint generated always as identity primary key); \
    create sequence down increment by -1; create table c (id smallint default nextval('down')); insert into c default values; \
    create sequence loose; create sequence round maxvalue 100 cycle; select setval('round', 99); \
    create table child (a_id int references a, b_id bigint references b); \
    create domain code as numeric(4); create sequence codes; create table d (id code default nextval('codes'))";

fn sequences(r: &mut Registry) {
    let check = "sequence_headroom";
    let made = |major| {
        let cluster = Cluster::start(major);
        cluster.psql("create database app");
        for statement in SEQUENCES.split("; ") {
            cluster.psql_in("app", statement);
        }
        cluster
    };
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = made(major);
            let cx = context([("db", cluster.target("postgres"))]);
            let young = look(&cx, check, json!({ "target": "db" }));
            is(&young, Verdict::Pass, "the fullest of 5 sequences: sequence app.public.");
            assert!(
                young.details.iter().any(|line| line.contains("public.round starts again")),
                "{young:#?}"
            );
            cluster.psql_in("app", "select setval('a_id_seq', 2000000000)");
            let excepted = json!({ "target": "db", "except": [{ "sequence": "public.a_id_seq", "reason": "goes tomorrow" }] });
            vec![
                young,
                look(&cx, check, json!({ "target": "db", "at_most": "94%" })),
                look(&cx, check, excepted),
            ]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = made(major);
            let cx = context([("db", cluster.target("postgres"))]);
            let after = |sql: &str, words: &str, back: &str| {
                cluster.psql_in("app", sql);
                let seen = look(&cx, check, json!({ "target": "db" }));
                is(&seen, Verdict::Fail, words);
                cluster.psql_in("app", back);
                seen
            };
            vec![
                after(
                    "select setval('a_id_seq', 2000000000)",
                    "sequence app.public.a_id_seq is 93.1 % used up: 2,000,000,000 of 2,147,483,647",
                    "select setval('a_id_seq', 1)",
                ),
                // A bigint that is referred to by an int.
                after(
                    "alter table child alter b_id type int; select setval('b_id_seq', 2000000000)",
                    "of 2,147,483,647, the end of public.child.b_id (integer)",
                    "select setval('b_id_seq', 1)",
                ),
                after(
                    "alter table a alter id type bigint; select setval('down', -30000)",
                    "app.public.down is 91.5 % used up: -30,000 of -32,767, the end of public.c.id (smallint)",
                    "select setval('down', -1)",
                ),
                after(
                    "select setval('codes', 9999)",
                    "app.public.codes is at its end: it stands at 9,999, and 9,999 is the end of public.d.id (public.code)",
                    "select setval('codes', 1)",
                ),
                after(
                    "select setval('loose', 9223372036854775807)",
                    "app.public.loose is at its end",
                    "select setval('loose', 1)",
                ),
            ]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let cluster = Cluster::start(Major::V15);
        looker(&cluster);
        let cx =
            context([("db", cluster.target("postgres")), ("blind", as_looker(&cluster)), ("gone", gone())]);
        let empty = look(&cx, check, json!({ "target": "db" }));
        is(&empty, Verdict::Unknown, "there is no sequence to judge");
        cluster.psql("create sequence hidden; create sequence seen; grant select on seen to looker");
        let blind = look(&cx, check, json!({ "target": "blind" }));
        is(&blind, Verdict::Unknown, "sequence postgres.public.hidden may not be read");
        is(&look(&cx, check, json!({ "target": "db" })), Verdict::Pass, "the fullest of 2 sequences");
        vec![empty, blind, look(&cx, check, json!({ "target": "gone" }))]
    });
}

fn roles(r: &mut Registry) {
    let check = "server_role";
    verdict(r, check, Verdict::Pass, &[Need::Pg15], move || {
        let pair = Pair::start(Major::V15, "");
        let stopped = Target {
            data_directory: Some(pair.primary.data().display().to_string()),
            ..pair.primary.target("postgres")
        };
        let cx = context([
            ("primary", pair.primary.target("postgres")),
            ("standby", pair.standby.target("postgres")),
            ("stopped", stopped),
        ]);
        let before = json!({ "target": "primary", "role": "primary", "peers": ["standby"], "timeline": 1, "read_only": false });
        let before = look(&cx, check, before);
        is(&before, Verdict::Pass, "primary is a primary on timeline 1, and standby is none");
        let follows = look(&cx, check, json!({ "target": "standby", "role": "standby", "timeline": 1 }));
        is(&follows, Verdict::Pass, "standby is a standby on timeline 1");
        pair.primary.psql("create role app login");
        pair.primary.psql("alter system set default_transaction_read_only = on");
        pair.primary.reload();
        pair.until_primary("select current_setting('default_transaction_read_only') = 'on'");
        let held = look(&cx, check, json!({ "target": "primary", "role": "primary", "read_only": true }));
        // A failover: the old one is stopped for good, and the standby promoted.
        pair.primary.stop();
        must(Major::V15.command("pg_ctl").args(["promote", "-w", "-D"]).arg(pair.standby.data()));
        let after = json!({ "target": "standby", "role": "primary", "peers": ["stopped"], "timeline": 2 });
        let after = look(&cx, check, after);
        is(&after, Verdict::Pass, "standby is a primary on timeline 2, and stopped is none");
        assert!(
            after
                .details
                .iter()
                .any(|line| line.starts_with("stopped is stopped; it would start as a primary")),
            "{after:#?}"
        );
        vec![before, follows, held, after]
    });
    verdict(r, check, Verdict::Fail, &[Need::Pg13, Need::Pg15], move || {
        let pair = Pair::start(Major::V15, "");
        let cx = pair.context();
        let not_yet = look(&cx, check, json!({ "target": "standby", "role": "primary" }));
        is(&not_yet, Verdict::Fail, "standby is a standby");
        let not_any_more = look(&cx, check, json!({ "target": "primary", "role": "standby" }));
        is(&not_any_more, Verdict::Fail, "primary is a primary");
        let timeline = look(&cx, check, json!({ "target": "standby", "role": "standby", "timeline": 2 }));
        is(&timeline, Verdict::Fail, "standby is on timeline 1");
        must(Major::V15.command("pg_ctl").args(["promote", "-w", "-D"]).arg(pair.standby.data()));
        let split = look(&cx, check, json!({ "target": "standby", "role": "primary", "peers": ["primary"] }));
        is(&split, Verdict::Fail, "split brain: primary is a primary, too, on timeline 1");
        let cluster = Cluster::start(Major::V13);
        let cx = context([("db", cluster.target("postgres"))]);
        let open = look(&cx, check, json!({ "target": "db", "role": "primary", "read_only": true }));
        is(&open, Verdict::Fail, "a new session in database postgres of db could write");
        // A hold that was forgotten.
        cluster.psql("create database app; ");
        cluster.psql("alter database app set default_transaction_read_only = on");
        let forgotten = look(&cx, check, json!({ "target": "db", "role": "primary", "read_only": false }));
        is(&forgotten, Verdict::Fail, "a new session in database app of db could not write");
        cluster.psql("alter database app reset default_transaction_read_only");
        cluster.psql("create role app");
        cluster.psql("alter role app in database app set default_transaction_read_only = true");
        let of_role = look(&cx, check, json!({ "target": "db", "role": "primary", "read_only": false }));
        is(&of_role, Verdict::Fail, "new sessions of role app in database app could not write");
        vec![not_yet, not_any_more, timeline, split, open, forgotten, of_role]
    });
    verdict(r, check, Verdict::Unknown, &[Need::Pg15], move || {
        let (one, other) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
        let cx = context([
            ("one", one.target("postgres")),
            ("again", one.target("template1")),
            ("other", other.target("postgres")),
            ("gone", gone()),
        ]);
        let asked =
            |peer: &str| look(&cx, check, json!({ "target": "one", "role": "primary", "peers": [peer] }));
        let (absent, stranger, itself) = (asked("gone"), asked("other"), asked("again"));
        is(&absent, Verdict::Unknown, "gone may be a primary, too: ");
        is(&stranger, Verdict::Unknown, "other is another cluster");
        is(&itself, Verdict::Unknown, "again is one itself");
        // Our own role has another default than the server.
        one.psql("alter role postgres set default_transaction_read_only = off");
        let hidden = look(&cx, check, json!({ "target": "one", "role": "primary", "read_only": false }));
        is(&hidden, Verdict::Unknown, "the default of database postgres of one cannot be seen");
        vec![
            absent,
            stranger,
            itself,
            hidden,
            look(&cx, check, json!({ "target": "gone", "role": "primary" })),
        ]
    });
}

/// A table of some megabytes, a fifth of it dead.
fn worn(major: Major) -> Cluster {
    let cluster = Cluster::with(major, "autovacuum = off\n");
    cluster.psql("create table t as select g, repeat('x', 100) from generate_series(1, 20000) g");
    cluster.psql("vacuum analyze t");
    cluster.psql("delete from t where g % 5 = 0");
    let counted = "select n_dead_tup = 4000 from pg_stat_user_tables where relname = 't'";
    eventually(Duration::from_secs(20), counted, || cluster.psql(counted) == "t");
    cluster
}

fn vacuum(r: &mut Registry) {
    let check = "vacuum_recent";
    let small = json!({ "target": "db", "databases": ["postgres"], "min_size": "1MiB" });
    let it = small.clone();
    verdict(r, check, Verdict::Pass, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = worn(major);
            let cx = context([("db", cluster.target("postgres"))]);
            let recent = look(&cx, check, it.clone());
            is(&recent, Verdict::Pass, "1 table of 1.00 MiB or more, all vacuumed and analyzed");
            let mut lenient = it.clone();
            lenient["within"] = json!("1ms");
            lenient["dead_rows"] = json!("30%");
            lenient["changed_rows"] = json!("30%");
            vec![recent, look(&cx, check, lenient)]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    let mut strict = small.clone();
    strict["within"] = json!("1ms");
    let it = strict.clone();
    verdict(r, check, Verdict::Fail, &[Need::Pg13, Need::Pg18], move || {
        let each = |major| {
            let cluster = worn(major);
            let cx = context([("db", cluster.target("postgres"))]);
            let seen = look(&cx, check, it.clone());
            is(&seen, Verdict::Fail, "4,000 of 20,000 rows are dead (20.0 %)");
            assert!(
                seen.details.iter().any(|line| line.contains("4,000 of 20,000 rows are changed")),
                "{seen:#?}"
            );
            cluster.psql("select pg_stat_reset()");
            // Up to 14 it is done a moment later.
            let reset =
                "select last_vacuum is null and n_dead_tup = 0 from pg_stat_user_tables where relname = 't'";
            eventually(Duration::from_secs(20), reset, || cluster.psql(reset) == "t");
            cluster.psql("delete from t where g % 5 = 1");
            let counted = "select n_dead_tup = 4000 from pg_stat_user_tables where relname = 't'";
            eventually(Duration::from_secs(20), counted, || cluster.psql(counted) == "t");
            let since = look(&cx, check, it.clone());
            is(&since, Verdict::Fail, "was not vacuumed since the counters began, and 4,000 of ");
            vec![seen, since]
        };
        [each(Major::V13), each(Major::V18)].concat()
    });
    let it = small;
    verdict(r, check, Verdict::Unknown, &[Need::Pg13, Need::Pg15, Need::Pg18], move || {
        let each = |major| {
            let cluster = worn(major);
            let cx = context([("db", cluster.target("postgres"))]);
            cluster.stop_mode("immediate");
            cluster.restart();
            let crashed = look(&cx, check, it.clone());
            is(&crashed, Verdict::Unknown, "was not vacuumed since the counters began, which a crash");
            assert!(
                crashed.help.as_deref().unwrap().contains("from then on the counters can be believed"),
                "{crashed:#?}"
            );
            cluster.psql("vacuum analyze t");
            let counted = "select last_vacuum is not null and last_analyze is not null from pg_stat_user_tables where relname = 't'";
            eventually(Duration::from_secs(20), counted, || cluster.psql(counted) == "t");
            is(&look(&cx, check, it.clone()), Verdict::Pass, "1 table");
            crashed
        };
        let mut seen = vec![each(Major::V13), each(Major::V18)];
        let pair = Pair::start(Major::V15, "");
        let cx = pair.context();
        let standby = look(&cx, check, json!({ "target": "standby" }));
        is(&standby, Verdict::Unknown, "standby is a standby");
        let none = look(&cx, check, json!({ "target": "primary" }));
        is(&none, Verdict::Unknown, "no table has 100 MiB or more");
        seen.extend([standby, none]);
        seen
    });
}
