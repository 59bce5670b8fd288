//! The five days of June: as they were, and with the runbook.

use super::scene::{GROUPS, Scene, State, TWICE};
use crate::harness::Said;
use crate::page::Page;

const PAGE: &str = "incidents/2020-06-t2bot-io";

#[track_caller]
fn shows(name: &str, said: &Said, scene: &Scene) {
    let opened = scene.debian.path("/srv/store/runs").exists().then(|| scene.run());
    let places = opened.iter().map(|run| (run.as_str(), "postgres-recover-corruption-20200617-t2bo"));
    Page::named(PAGE).shows(name, said.typed(), &places.collect::<Vec<_>>());
}

/// The drop of that night as a runbook, with what anybody would ask of it.
const DROP: &str = "
holdpoint: 1
name: drop-and-restore
targets:
  primary: { postgres: user=postgres dbname=synapse, cluster: 15/main }
  standby: { postgres: user=postgres dbname=synapse, cluster: 15/standby }
steps:
  - id: drop
    destroys: { what: database synapse, target: primary, database: synapse, survives_in: standby }
    preconditions:
      - data_matches: { source: primary, target: standby, databases: [synapse] }
      - no_duplicate_keys: { target: standby, databases: [synapse] }
      - backup_restores: { path: /srv/dumps/synapse.dump, scratch: /srv/scratch }
    user: postgres
    run: [dropdb, --cluster, 15/main, synapse]
    timeout: 10min
    postconditions:
      - pg_query: { target: standby, sql: select 1, equals: \"1\" }
";

/// With Holdpoint the same drop is refused, although the standby holds what the primary holds: that is the trouble with it.
#[track_caller]
fn refused(scene: &Scene) {
    std::fs::write(scene.debian.path("/srv/drop.yaml"), DROP).unwrap();
    let confirm = ["run", "/srv/drop.yaml", "--confirm", "drop=database synapse"];
    let held = scene.holdpoint("ann", &confirm).exits(3).says("3 things stand in the way");
    let held = held.says("no_duplicate_keys (target standby").says("9 keys in 18 rows");
    let held = held.says("could not create unique index").says("replication slot forgotten reads it");
    let run = scene.run();
    Page::named(PAGE).shows("drop", &held.text, &[(&run, "drop-and-restore-20200618-t2bo")]);
    scene.holdpoint("ann", &["resume", "--confirm", "drop=database synapse"]).exits(3);
    let done = [
        "resume",
        "--decide",
        "drop=done",
        "--reason",
        "it is in the dump",
        "--confirm",
        "drop=database synapse",
    ];
    assert!(matches!(scene.holdpoint("ann", &done).status, Some(1..=4)));
    scene.holdpoint("ann", &["abandon", &run, "--reason", "the standby is not to be trusted"]).exits(0);
    scene.holdpoint("ann", &["verify", &run]).exits(0);
    assert_eq!(scene.number("15/main", "select count(*) from events"), 20_000);
}

/// Without Holdpoint, the same commands end with a database that is dropped and a dump that does not restore.
pub fn control() {
    let scene = Scene::new(State::Damaged);
    let debian = &scene.debian;
    let fails = |script: &str| {
        let output = debian.command("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
        assert!(!output.status.success(), "{script}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // The standby was built without a word, and has what the primary has.
    let past_the_index = "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; \
                          select count(*) from state_groups";
    assert_eq!(scene.number("15/standby", past_the_index), GROUPS + TWICE);
    // 17 June, 18:00: writes are refused, and vacuum changes nothing, although it exits 0.
    let insert = "runuser -u postgres -- psql --cluster 15/main -Xq -v ON_ERROR_STOP=1 -c \"insert into events (body) values ('x')\" synapse";
    assert!(fails(insert).contains("is not accepting commands to avoid wraparound data loss"));
    debian.sh("runuser -u postgres -- vacuumdb --cluster 15/main --all --freeze");
    assert!(fails(insert).contains("is not accepting commands"));
    // 19:52: dumps are taken from the standby, without an error.
    debian.sh("runuser -u postgres -- pg_dump --cluster 15/standby --format=custom --file=/srv/dumps/synapse.dump synapse");
    refused(&scene);
    // The primary is made to write again; its database is dropped, and made anew. Nothing asks.
    debian.sql("15/main", "postgres", "select pg_drop_replication_slot('forgotten')");
    debian.sh("runuser -u postgres -- vacuumdb --cluster 15/main --all --freeze
         until runuser -u postgres -- dropdb --cluster 15/main synapse; do sleep 0.5; done
         runuser -u postgres -- createdb --cluster 15/main --owner synapse synapse");
    // The restore stops at the keys that are there twice. What is left is an empty database, and the standby that nobody trusts.
    let restore = "runuser -u postgres -- pg_restore --cluster 15/main --single-transaction --dbname=synapse /srv/dumps/synapse.dump";
    assert!(fails(restore).contains("could not create unique index \"state_groups_pkey\""));
    assert_eq!(
        debian.sql("15/main", "synapse", "select coalesce(to_regclass('events')::text, 'gone')"),
        "gone"
    );
    // Without stopping at the error it goes on, and the table has no key at all.
    fails("runuser -u postgres -- pg_restore --cluster 15/main --dbname=synapse /srv/dumps/synapse.dump");
    let keys = "select count(*) from pg_index where indrelid = 'state_groups'::regclass";
    assert_eq!(scene.number("15/main", keys), 0);
}

/// The statements of a repair that keeps what was written first, and one that takes both rows of each key.
const REPAIR: &str = "
    create schema if not exists set_aside;
    create table if not exists set_aside.state_groups (like public.state_groups);
    create or replace function set_aside.repair() returns void language sql
      set enable_indexscan = off set enable_bitmapscan = off set enable_indexonlyscan = off as $$
        with gone as (
          delete from public.state_groups a using public.state_groups b
          where a.id = b.id and a.ctid > b.ctid returning a.*)
        insert into set_aside.state_groups select * from gone;
      $$";

/// Every way to a destruction that somebody in a hurry would try.
#[track_caller]
fn nothing_goes(scene: &Scene, who: &str, status: i32) {
    let all = ["drop-clone=cluster 15/clone", "drop-old=cluster 15/main", "drop-standby=cluster 15/standby"];
    let mut words = vec!["resume"];
    words.extend(all.iter().flat_map(|text| ["--confirm", text]));
    scene.holdpoint(who, &words).exits(status);
    words.extend(["--decide", "drop-old=done", "--reason", "we know"]);
    let decided = scene.holdpoint(who, &words);
    assert!(matches!(decided.status, Some(1..=4)), "{}", decided.text);
    for cluster in ["main", "standby"] {
        assert!(scene.debian.path(&format!("/var/lib/postgresql/15/{cluster}/base")).exists(), "{cluster}");
    }
}

pub fn recovered() {
    let scene = Scene::new(State::Damaged);
    let debian = &scene.debian;
    // Before anything: what is broken, and where.
    let survey = scene.words(&["check", "/srv/recover.yaml", "survey", "--env", "production"]);
    let survey = scene.holdpoint("ann", &survey).exits(0);
    let survey = survey.says("slot forgotten (synapse, inactive) holds back 2.15 G transactions");
    let survey = survey.says("check survey.pre.standby-duplicates");
    let survey =
        survey.says("public.state_groups (index state_groups_pkey) in database synapse: 9 keys in 18 rows");
    shows("survey", &survey, &scene);

    // Ann begins. Everything is counted and locked away, and the clone waits for a decision.
    let run = scene.words(&[
        "run",
        "/srv/recover.yaml",
        "--env",
        "production",
        "--confirm",
        "environment=production",
    ]);
    scene.holdpoint("ann", &run).exits(4);
    scene.does_by_hand("ann", "announce", "Bob and Cara, +1 555 0100");
    scene.holdpoint("ann", &["resume"]).exits(4).says("Find what holds the transaction horizon");
    assert_eq!(debian.clusters(), ["15/clone online", "15/main down", "15/standby down,recovery"]);
    let started = debian.command("pg_ctlcluster").args(["15", "main", "start"]).output().unwrap();
    assert!(!started.status.success(), "the old primary is locked");
    nothing_goes(&scene, "ann", 4);

    // Bob takes over. Saying that it was seen to does not free the horizon.
    let briefing =
        scene.hands_over("ann", "bob", "Both are locked. The clone runs. Something holds its horizon.");
    shows("briefing", &briefing, &scene);
    scene.holdpoint("ann", &["resume"]).exits(5);
    scene.does_by_hand("bob", "horizon", "nothing that I can see");
    let held =
        scene.holdpoint("bob", &["resume", "--decide", "horizon=done", "--reason", "it is only a clone"]);
    let held = held.exits(3).says("slot forgotten (synapse, inactive) holds back 2.15 G transactions");
    shows("horizon", &held, &scene);
    debian.sql("15/clone", "synapse", "select pg_drop_replication_slot('forgotten')");
    let again = ["resume", "--decide", "horizon=done", "--reason", "the slot of the old indexer was dropped"];
    scene.holdpoint("bob", &again).exits(4).says("Write the repair");
    assert!(scene.number("15/clone", "select max(age(datfrozenxid)) from pg_database") < 1_000_000);

    // A repair that does nothing, or takes more than was agreed, leads nowhere.
    debian.sql("15/clone", "synapse", "create schema set_aside");
    let nothing = "create function set_aside.repair() returns void language sql as 'select'";
    debian.sql("15/clone", "synapse", nothing);
    scene.does_by_hand("bob", "plan-repair", "nobody yet");
    let undone = scene.holdpoint("bob", &["resume"]).exits(1);
    let undone = undone.says("FAIL no key is there twice on the clone").says("9 keys in 18 rows");
    shows("duplicates", &undone, &scene);
    let greedy = REPAIR.replace("a.id = b.id and a.ctid > b.ctid", "a.id = b.id and a.ctid <> b.ctid");
    debian.sql("15/clone", "synapse", &greedy);
    let again = |why: &str| scene.holdpoint("bob", &["resume", "--decide", "repair=again", "--reason", why]);
    let many = again("both rows of each key go").exits(1).says("36 rows").says("18");
    shows("budget", &many, &scene);
    assert_eq!(scene.number("15/clone", "select count(*) from set_aside.state_groups"), 0, "rolled back");
    debian.sql("15/clone", "synapse", REPAIR);
    // The right one: the dump is restored for a try, and into a new cluster, and the service comes back.
    let back = again("what was written first stays; Cara has read it").exits(4);
    back.says("Turn the integrations on");
    assert_eq!(
        debian.clusters(),
        [
            "15/clone down",
            "15/main down",
            "15/recovered online",
            "15/replica online,recovery",
            "15/standby down,recovery"
        ]
    );
    assert_eq!(scene.number("15/recovered", "select count(*) from state_groups"), GROUPS);
    assert_eq!(scene.number("15/recovered", "select count(*) from set_aside.state_groups"), TWICE);
    nothing_goes(&scene, "bob", 4);

    // Cara ends it. A row that is lost on the new side keeps everything old where it is.
    scene.hands_over("bob", "cara", "It serves again, on one host and its new standby.");
    scene.does_by_hand("cara", "integrations", "all but the mail bridge");
    let waits = scene.holdpoint("cara", &["resume"]).exits(4).says("cluster 15/clone");
    shows("clone", &waits, &scene);
    debian.sql("15/recovered", "synapse", "delete from events where stream <= 3");
    let confirm =
        ["resume", "--confirm", "drop-clone=cluster 15/clone", "--confirm", "drop-old=cluster 15/main"];
    let held = scene.holdpoint("cara", &confirm).exits(3);
    let held = held.says("19,997 rows in synapse.public.events");
    shows("lost", &held, &scene);
    assert_eq!(debian.clusters().len(), 5);
    debian.sql(
        "15/recovered",
        "synapse",
        "insert into events (stream, body) select g, md5(g::text) from generate_series(1, 3) g",
    );
    scene.holdpoint("cara", &confirm).exits(4).says("cluster 15/standby");
    let end = scene.holdpoint("cara", &["resume", "--confirm", "drop-standby=cluster 15/standby"]).exits(0);
    shows("end", &end, &scene);
    assert_eq!(debian.clusters(), ["15/recovered online", "15/replica online,recovery"]);
    assert_eq!(scene.number("15/recovered", "select count(*) from events"), 20_000);
    scene.holdpoint("dora", &["verify", &scene.run()]).exits(0);
    let log = scene.holdpoint("dora", &["log", &scene.run()]).exits(0);
    let log = log
        .says("nothing that I can see")
        .says("what was written first stays")
        .says("all but the mail bridge");
    log.says("bob@").says("cara@");
}

pub fn rehearsed() {
    let scene = Scene::new(State::Sound);
    let path = scene.debian.path("/srv/recover.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let named = text.replace("    # hosts: [db1]", "    hosts: [db1]");
    assert_ne!(text, named);
    std::fs::write(&path, named).unwrap();
    let rehearse = scene.words(&["rehearse", "/srv/recover.yaml", "--env", "staging"]);
    scene.holdpoint("ci", &rehearse).exits(3).says("This machine is staging");
    std::fs::write(scene.debian.path("/etc/this-is-staging"), "").unwrap();
    scene.holdpoint("ci", &rehearse).exits(0).says("Rehearsal passed: 30 of 30 steps");
    assert_eq!(scene.debian.clusters(), ["15/recovered online", "15/replica online,recovery"]);
}
