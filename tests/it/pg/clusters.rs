//! Whole clusters: identity running and stopped, Debian's configuration, and how far a cluster reaches.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use holdpoint::runbook::Target;
use holdpoint::world::Identity;
use holdpoint::world::identity::PostgresIdentity;
use holdpoint::world::pg::extent::{Extent, Part, extent_within};
use holdpoint::world::pg::settings::{Surroundings, resolve};
use holdpoint::world::pg::{self, ConnectTrouble, Options, connect::connect_with, extent};

use crate::harness::{Cluster, Major, Need, Registry, Sandbox, block_on, must};

pub fn register(r: &mut Registry) {
    r.add("pg::a_cluster_is_itself_running_and_stopped", &[Need::Pg15], same_15);
    r.add("pg::a_cluster_of_13_is_itself_running_and_stopped", &[Need::Pg13], same_13);
    r.add("pg::a_port_that_moved_to_another_cluster_misleads_nobody", &[Need::Pg15], swapped);
    r.add("pg::the_extent_of_a_cluster", &[Need::Pg15, Need::Root], reaches);
    r.add("pg::a_restart_is_seen_and_a_clone_is_another", &[Need::Pg15], restarts);
}

fn measured(target: &Target) -> PostgresIdentity {
    match block_on(holdpoint::world::identity(target)) {
        Ok(Identity::Postgres(identity)) => identity,
        other => panic!("{other:?}"),
    }
}

fn with_data(cluster: &Cluster) -> Target {
    Target { data_directory: Some(cluster.data().display().to_string()), ..cluster.target("postgres") }
}

fn same_15() {
    same(&Cluster::start(Major::V15));
}

fn same_13() {
    same(&Cluster::start(Major::V13));
}

fn same(cluster: &Cluster) {
    let target = with_data(cluster);
    let running = measured(&target);
    assert!(!running.server_start.is_empty());
    cluster.stop();
    let stopped = measured(&target);
    assert!(stopped.server_start.is_empty());
    assert_eq!(Identity::Postgres(running.clone()).differs(&Identity::Postgres(stopped.clone())), []);
    assert_eq!((stopped.port, stopped.timeline), (running.port, running.timeline));
    let unnamed = block_on(holdpoint::world::identity(&cluster.target("postgres"))).unwrap_err();
    assert!(unnamed.contains("`cluster` or `data_directory`"), "{unnamed}");
}

/// Two clusters, described as Debian does; `13/main` is stopped, and the other one has its port and socket.
fn swapped() {
    let (old, new) = (Cluster::start(Major::V15), Cluster::start(Major::V15));
    let etc = Sandbox::new();
    let conf = |cluster: &Cluster, port: u16| {
        let (data, socket) = (cluster.data(), cluster.socket_dir());
        format!(
            "data_directory = '{}'\nunix_socket_directories = '{}'\nport = {port}\n",
            data.display(),
            socket.display()
        )
    };
    etc.write("13/main/postgresql.conf", &conf(&old, old.port()));
    let around =
        Surroundings { clusters: etc.path().to_owned(), env: Default::default(), home: None, user: None };
    let target = Target {
        postgres: Some("user=postgres dbname=postgres".into()),
        cluster: Some("13/main".into()),
        ..Target::default()
    };
    let open = || {
        let settings = resolve(&target, None, &around).unwrap();
        block_on(connect_with(&settings, &Options::default()))
    };
    assert_eq!(open().unwrap().identity().data_directory, old.data().display().to_string());
    // Now its configuration leads to the other one: the port answers, and is refused.
    let lie =
        conf(&new, new.port()).replace(&new.data().display().to_string(), &old.data().display().to_string());
    etc.write("13/main/postgresql.conf", &lie);
    let error = open().unwrap_err();
    assert_eq!(error.kind, ConnectTrouble::WrongServer);
    assert!(error.message.contains("13/main/postgresql.conf says"), "{error}");
}

fn part<'a>(extent: &'a Extent, kind: &str, name: &str) -> &'a Part {
    let found = extent.parts.iter().find(|part| part.kind == kind && part.name.contains(name));
    found.unwrap_or_else(|| panic!("no {kind} {name} in {extent:#?}"))
}

fn reaches() {
    let cluster = Cluster::start(Major::V15);
    let space: PathBuf = cluster.socket_dir().join("fast");
    must(Command::new("install").args(["-d", "-o", "postgres", "-m", "0700"]).arg(&space));
    cluster.psql(&format!("create tablespace fast location '{}'", space.display()));
    cluster.psql("create database shop");
    cluster.psql_in(
        "shop",
        "create schema \"Odd;Name\"; create table \"Odd;Name\".\"T'1\" as select generate_series(1, 1000) as n; \
         create table events (n int) partition by range (n); \
         create table events_1 partition of events for values from (0) to (1000) tablespace fast; \
         insert into events select generate_series(0, 499); create unlogged table u (); \
         create materialized view empty as select 1 with no data",
    );
    let target = with_data(&cluster);
    let app = Command::new("/usr/bin/psql")
        .args(["-XAtq", "-c", "select pg_sleep(60)"])
        .arg(format!("{} application_name=synapse", cluster.conninfo("shop")))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut app = app.unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let running = block_on(extent(&target)).unwrap();
    assert_eq!(running.unmeasured, Vec::<String>::new());
    let shop = part(&running, "database", "shop");
    assert_eq!((shop.rows, shop.tables), (Some(1500), Some(3)));
    assert!(shop.bytes.unwrap() > 1 << 20);
    assert!(part(&running, "data directory", "data").bytes.unwrap() > 20 << 20);
    assert!(part(&running, "WAL", "pg_wal").bytes.unwrap() >= 16 << 20);
    assert!(part(&running, "tablespace", "fast/PG_15_").bytes.unwrap() > 0);
    assert!(
        running.serving.iter().any(|line| line.contains("the server runs since")),
        "{:?}",
        running.serving
    );
    assert!(
        running.serving.contains(&"1 client session of synapse in shop".to_owned()),
        "{:?}",
        running.serving
    );
    let hasty = block_on(extent_within(&target, Duration::ZERO)).unwrap();
    assert_eq!(part(&hasty, "database", "shop").rows, None, "no time, no number");
    assert!(
        hasty.notes.iter().any(|note| note.contains("rows of shop were not all counted")),
        "{:?}",
        hasty.notes
    );
    app.kill().unwrap();
    app.wait().unwrap();

    cluster.stop();
    let stopped = block_on(extent(&target)).unwrap();
    assert_eq!((&stopped.unmeasured, &stopped.serving), (&vec![], &vec![]));
    assert_eq!(stopped.identity.system_identifier, running.identity.system_identifier);
    for kind in ["data directory", "WAL", "tablespace", "database"] {
        assert!(part(&stopped, kind, "").bytes.unwrap() > 0, "{kind}");
    }
    assert_eq!(stopped.parts.iter().filter(|part| part.kind == "database").count(), 4);
    let mut tail = Command::new("tail")
        .arg("-f")
        .arg(cluster.data().join("PG_VERSION"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let watched = block_on(extent(&target)).unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(watched.serving[0].starts_with(&format!("tail (pid {})", tail.id())), "{:?}", watched.serving);
}

fn restarts() {
    let cluster = Cluster::start(Major::V15);
    let first = Identity::Postgres(measured(&cluster.target("postgres")));
    cluster.stop();
    // A file-level clone has the same system identifier, and is another object.
    let clone = Cluster::create(Major::V15, "");
    std::fs::remove_dir_all(clone.data()).unwrap();
    must(Command::new("cp").arg("-a").arg(cluster.data()).arg(clone.data()));
    clone.configure(&format!(
        "port = {}\nunix_socket_directories = '{}'",
        clone.port(),
        clone.socket_dir().display()
    ));
    clone.restart();
    cluster.restart();
    let (again, other) = (measured(&cluster.target("postgres")), measured(&clone.target("postgres")));
    assert_eq!(again.system_identifier, other.system_identifier);
    let (again, other) = (Identity::Postgres(again), Identity::Postgres(other));
    assert!(first.restarted(&again) && first.differs(&again).is_empty() && first.same_object(&again));
    assert!(!first.same_object(&other));
    assert_eq!(
        first.differs(&other).iter().map(|change| change.fact.as_str()).collect::<Vec<_>>(),
        ["data directory"]
    );
    let wrong =
        Target { data_directory: Some(cluster.data().display().to_string()), ..clone.target("postgres") };
    assert_eq!(
        block_on(pg::connect(&wrong, &Options::default())).unwrap_err().kind,
        ConnectTrouble::WrongServer
    );
}
