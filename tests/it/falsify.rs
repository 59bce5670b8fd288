//! Guards are made to fail on real databases, and nothing of it is left.

use std::time::Duration;

use holdpoint::runbook::Target;
use holdpoint::world::pg::undone::{Place, Undone};
use holdpoint::world::pg::{self, Options};

use crate::harness::{Cluster, Major, Need, Ran, Registry, block_on, eventually};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("falsify::a_change_that_can_only_be_undone", &[Need::Pg15], undone);
    r.add("falsify::guards_of_two_clusters", &[Need::Pg15], clusters);
    r.add("falsify::killed_in_the_middle", &[Need::Pg15], killed);
    r.add("falsify::guards_of_files_and_the_authors_own", &[], files);
    r.add("falsify::what_does_not_come_back_is_held", &[], held);
    r.add("falsify::killed_while_something_is_broken", &[], broken_off);
}

const ROWS: &str = "create table public.t (a int primary key, b text); insert into t select i, 'x' || i from generate_series(1, 50) i;
    create table public.child (a int references t); insert into child values (1);
    create function shout() returns trigger language plpgsql as $$ begin raise exception 'a trigger'; end $$;
    create trigger loud before delete or update on public.t for each row execute function shout();
    create trigger loud before delete or update on public.child for each row execute function shout();
    create sequence public.s owned by public.t.a; select setval('s', 50); create role app login; analyze";

const DIGEST: &str = "select count(*) || md5(string_agg(t::text, ',' order by a)) || (select count(*) from child) \
    || (select string_agg(relname, ',' order by relname) from pg_class where relnamespace = 'public'::regnamespace) \
    || (select last_value from s) || (select count(*) from pg_statistic) || (select count(*) from pg_constraint) \
    || (select string_agg(rolname || rolconnlimit, ',' order by rolname) from pg_roles) from t";

const ROW: &str = "select 'delete from only public.t where a = 7', 'public.t', 'a row of public.t deleted'";

/// Whoever sends it, and whatever a session of the target does: no COMMIT, no write, and nobody else sees it.
fn undone() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(ROWS);
    let before = cluster.psql(DIGEST);
    let target = cluster.target("postgres");
    block_on(async {
        let wants = |_: &str, table: &str| table == "public.t";
        let place = Place { target: &target, database: None, makes: ROW, rows: true, wants: &wants };
        let undone = Undone::begin(&place).await.unwrap().unwrap();
        assert_eq!(undone.what, "a row of public.t deleted");
        let open = |target: Target, options: Options| async move { pg::connect(&target, &options).await };
        let one = open(undone.target(), Options::default()).await.unwrap();
        let two = open(undone.target(), Options { read_only: false, ..Options::default() }).await.unwrap();
        let count = "select count(*) from public.t";
        assert_eq!(one.value(count).await.unwrap().as_deref(), Some("49"));
        // A snapshot of its own, a failing statement, a setting: as in a session of its own.
        let snapshot = one.export_snapshot().await.unwrap();
        two.use_snapshot(&snapshot).await.unwrap();
        assert_eq!(two.query("select 1 / 0").await.unwrap_err().sqlstate.as_deref(), Some("22012"));
        one.query("set enable_seqscan = off").await.unwrap();
        assert_eq!(two.value(count).await.unwrap().as_deref(), Some("49"));
        assert_eq!(two.value("show enable_seqscan").await.unwrap().as_deref(), Some("off"));
        let copied = one.copy_out("copy public.t to stdout", |_| {}).await.unwrap();
        assert!(copied > 49, "{copied}");
        assert_eq!(
            two.execute("insert into public.t values (99)").await.unwrap_err().sqlstate.as_deref(),
            Some("25006")
        );
        undone.intact().await.unwrap();
        // Outside nothing is seen of it.
        assert_eq!(cluster.psql(count), "50");
        // A commit fails, and ends it; nothing is measured any more as if it were still there.
        assert!(one.query("commit").await.is_err());
        assert!(two.value(count).await.is_err());
        assert!(undone.intact().await.is_err());
        let dead = undone.target();
        undone.end().await;
        assert!(
            open(dead, Options::default()).await.is_err(),
            "a transaction that has ended is no place to measure in"
        );
        let other = Place { wants: &|_: &str, table: &str| table == "public.none", ..place };
        assert!(Undone::begin(&other).await.unwrap().is_none());
    });
    gone(&cluster);
    assert_eq!(cluster.psql(DIGEST), before);
}

#[track_caller]
fn gone(cluster: &Cluster) {
    let sessions = "select count(*) from pg_stat_activity where application_name = 'holdpoint rehearse'";
    eventually(Duration::from_secs(20), "the session is gone", || cluster.psql(sessions) == "0");
}

fn book(old: &Cluster, new: &Cluster) -> String {
    format!(
        r#"
holdpoint: 1
name: pair
targets:
  old: {{ postgres: "{}" }}
  new: {{ postgres: "{}" }}
environments: {{ staging: {{ proof: [ file: {{ path: "@" }} ] }} }}
steps:
  - id: go
    destroys: {{ what: the scratch file, paths: ["@/scratch"] }}
    preconditions:
      - data_matches: {{ source: old, target: new }}
      - data_matches: {{ id: counted, source: old, target: new, tables: [t], except: [ {{ table: t, rows: true, reason: a test }} ] }}
      - rows_match: {{ source: old, target: new }}
      - schema_matches: {{ source: old, target: new }}
      - roles_match: {{ source: old, target: new }}
      - sequences_ahead: {{ target: new }}
      - objects_valid: {{ target: new }}
      - no_unlogged_tables: {{ target: new }}
      - pg_query: {{ target: new, sql: "select count(*) from public.t", at_least: 1 }}
      - pg_accepts_connections: {{ target: new }}
      - connections_free: {{ target: new, at_least: 1 }}
      - disk_free: {{ path: "@", at_least: 1MiB }}
      - command: {{ run: ["true"] }}
    run: [rm, "@/scratch"]
    timeout: 1min
    postconditions: [ file: {{ path: "@/scratch", exists: false }} ]
"#,
        old.conninfo("postgres"),
        new.conninfo("postgres")
    )
}

fn clusters() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let play = Play::new();
    for cluster in [&old, &new] {
        cluster.psql(ROWS);
    }
    let before = (old.psql(DIGEST), new.psql(DIGEST));
    play.book(&book(&old, &new));
    std::fs::write(play.path("scratch"), "x").unwrap();
    let ran = play
        .with("ci", "rehearse book.yaml --env staging --falsify", &["--junit", &at(&play, "j.xml")])
        .exits(0);
    let said = &both(&ran);
    for (check, found, words) in [
        ("go.pre.data_matches", "can fail", "a row of public."),
        ("go.pre.data_matches", "can fail", "changed (rolled back)"),
        ("go.pre.counted", "can fail", "a row of public.t deleted (rolled back)"),
        ("go.pre.rows_match", "can fail", "deleted (rolled back)"),
        ("go.pre.schema_matches", "can fail", "renamed"),
        ("go.pre.roles_match", "can fail", "connection limit"),
        ("go.pre.sequences_ahead", "can fail", "begun anew"),
        ("go.pre.objects_valid", "can fail", "not validated"),
        ("go.pre.no_unlogged_tables", "can fail", "not logged"),
        ("go.pre.pg_query", "can fail", "`at_least: 9000000000000000` in place of 1"),
        ("go.pre.pg_accepts_connections", "can fail", "`standby: true`"),
        ("go.pre.connections_free", "can fail", "`at_least: "),
        ("go.pre.disk_free", "can fail", "`at_least: 7000000TiB`"),
        ("go.pre.command", "not shown", "no way to make it fail"),
    ] {
        let line = format!("{check}: {found}: ");
        let found = said.lines().any(|l| l.contains(&line) && l.contains(words));
        assert!(found, "{line} … {words}\n{said}");
    }
    assert!(said.contains("14 guards made to fail: 13 can fail, 1 not shown"), "{said}");
    let junit = std::fs::read_to_string(play.path("j.xml")).unwrap();
    assert!(junit.contains("pair.falsify.go") && junit.matches("<skipped").count() >= 1, "{junit}");
    gone(&new);
    assert_eq!((old.psql(DIGEST), new.psql(DIGEST)), before);
    assert!(!play.path("scratch").exists(), "and then the step did its work");
    // The guards were measured once more after the trials: two rounds at least.
    let measured = play.events("measured");
    let rounds = measured
        .iter()
        .filter(|line| line["purpose"] == "guard" && line["evidence"]["check"] == "go.pre.disk_free");
    assert!(rounds.count() >= 2);
}

fn both(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn at(play: &Play, name: &str) -> String {
    play.path(name).display().to_string()
}

/// Killed with the transaction open: the server rolls back by itself.
fn killed() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let play = Play::new();
    for cluster in [&old, &new] {
        cluster.psql("create table public.t as select i as a, repeat(md5(i::text), 3) as b from generate_series(1, 400000) i; create table child (a int); create sequence s");
    }
    let before = new.psql(DIGEST);
    let text = book(&old, &new);
    let (head, rest) = text.split_once("      - data_matches: { id: counted").unwrap();
    let (_, tail) = rest.split_once("      - command").unwrap();
    play.book(&format!("{head}      - command{tail}"));
    std::fs::write(play.path("scratch"), "x").unwrap();
    let mut engine = play.start("ci", "rehearse book.yaml --env staging --falsify");
    let open = "select count(*) from pg_stat_activity where application_name = 'holdpoint rehearse' and state <> 'idle'";
    eventually(Duration::from_secs(30), "the transaction is open", || new.psql(open) == "1");
    engine.kill();
    gone(&new);
    assert_eq!(new.psql(DIGEST), before);
    assert!(play.path("scratch").exists());
    assert!(play.events("permitted").is_empty());
}

/// Two SQLite files, and a command that only its author can make fail.
const FILES: &str = r#"
holdpoint: 1
name: files
vars: { place: { default: "@" } }
targets:
  old: { sqlite: "${place}/old.db" }
  new: { sqlite: "${place}/new.db" }
environments: { staging: { proof: [ file: { path: "@" } ] } }
steps:
  - id: copy
    run: [cp, "${place}/old.db", "${place}/new.db"]
    creates: [new]
    timeout: 1min
    postconditions:
      - data_matches: { source: old, target: new, until: drop }
      - command:
          id: marked
          run: test -e "$place/mark"
          falsify: { run: RUN, undo: UNDO }
  - id: drop
    destroys: { what: the old file, target: old, survives_in: new }
    preconditions: [ rows_match: { source: old, target: new } ]
    run: [rm, "${place}/old.db"]
    timeout: 1min
    postconditions: [ file: { path: "${place}/old.db", exists: false } ]
"#;

fn scene(run: &str, undo: &str) -> Play {
    let play = Play::new();
    play.book(&FILES.replace("RUN", run).replace("UNDO", undo));
    let rows = "create table t (a integer primary key, b text); insert into t values (1, 'x'), (2, 'y')";
    rusqlite::Connection::open(play.path("old.db")).unwrap().execute_batch(rows).unwrap();
    std::fs::write(play.path("mark"), "").unwrap();
    play
}

const REHEARSE: &str = "rehearse book.yaml --env staging --falsify";

fn files() {
    let play = scene(
        "[mv, \"@/mark\", \"@/away\"]".replace('@', "${place}").as_str(),
        "'[ ! -e \"$place/away\" ] || mv \"$place/away\" \"$place/mark\"'",
    );
    let receipt = at(&play, "receipt.json");
    let ran = play.with("ci", REHEARSE, &["--receipt", &receipt]).exits(0);
    let receipt: serde_json::Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    let falsified = &receipt["receipt"]["falsified"];
    assert_eq!((&falsified["all"], &falsified["fails"]), (&true.into(), &4.into()), "{falsified}");
    for words in [
        "copy.post.data_matches: can fail: a row of t deleted (private copy); a value of t.b changed (private copy)",
        "drop.pre.rows_match: can fail: a row of t deleted (private copy)",
        "copy.post.marked: can fail: its `falsify` (the author's)",
        "4 guards made to fail: 4 can fail",
    ] {
        assert!(both(&ran).contains(words), "{words}\n{}", both(&ran));
    }
    assert!(play.path("mark").exists() && !play.path("old.db").exists());
    let left: Vec<_> =
        std::fs::read_dir(play.sandbox.store()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("falsify-")), "{left:?}");
    // Without the flag nothing of it happens.
    let plain = scene("[touch, \"${place}/wrong\"]", "[\"true\"]");
    plain.ran("ci", "rehearse book.yaml --env staging").exits(0);
    assert!(!plain.path("wrong").exists());
    // A way that breaks nothing is a finding, and the check still passes.
    let lame = scene("[\"true\"]", "[\"true\"]");
    let junit = at(&lame, "j.xml");
    let ran = lame.with("ci", REHEARSE, &["--junit", &junit]).exits(1);
    assert!(ran.stderr.contains("copy.post.marked: STILL PASSES"), "{}", ran.stderr);
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("guard copy.post.marked still passes"),
        "{junit}"
    );
}

fn held() {
    let play = scene("[rm, \"${place}/mark\"]", "[\"false\"]");
    let ran = play.ran("ci", REHEARSE).exits(3);
    assert!(ran.stderr.contains("was broken on purpose and did not come back"), "{}", ran.stderr);
    assert!(play.path("old.db").exists() && play.events("permitted").is_empty());
}

fn broken_off() {
    // Broken, and then the break takes its time.
    let play = scene(
        "'mv \"$place/mark\" \"$place/away\"; sleep 77'",
        "'[ ! -e \"$place/away\" ] || mv \"$place/away\" \"$place/mark\"'",
    );
    let mut engine = play.start("ci", REHEARSE);
    eventually(Duration::from_secs(30), "it is broken", || play.path("away").exists());
    engine.kill();
    assert!(!play.path("mark").exists());
    play.ran("ci", "resume").exits(4);
    assert!(play.path("mark").exists(), "whoever goes on finds it as it was");
    assert!(play.path("old.db").exists() && play.events("permitted").is_empty());
    play.processes().iter().for_each(|(pid, _)| crate::play::kill_tree(*pid));
    // Told to stop, it undoes before it ends.
    let play = scene(
        "'mv \"$place/mark\" \"$place/away\"; sleep 77'",
        "'[ ! -e \"$place/away\" ] || mv \"$place/away\" \"$place/mark\"'",
    );
    let mut engine = play.start("ci", REHEARSE);
    eventually(Duration::from_secs(30), "it is broken", || play.path("away").exists());
    engine.signal(rustix::process::Signal::TERM);
    let ran = engine.ends(Duration::from_secs(30));
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert!(play.path("mark").exists() && play.path("old.db").exists(), "{ran:?}");
}
