//! Sessions: settings, identity, cancelling, and what happens when the server goes away.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdpoint::world::identity::PostgresIdentity;
use holdpoint::world::pg::{self, Options, Session};

use super::target;
use crate::harness::{Cluster, Major, Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    r.add("pg::a_session_answers_and_knows_its_server", &[Need::Pg15], answers);
    r.add("pg::a_session_on_13_too", &[Need::Pg13], thirteen);
    r.add("pg::a_dropped_query_stops_on_the_server", &[Need::Pg15], dropped_query_stops);
    r.add("pg::settings_are_pinned_whatever_the_role_says", &[Need::Pg15], pinned);
    r.add("pg::rows_stream_and_snapshots_are_shared", &[Need::Pg15], streams);
    r.add("pg::a_server_that_dies_mid_statement_is_lost", &[Need::Pg15], dies);
}

async fn open(conninfo: String) -> Session {
    pg::connect(&target(conninfo), &Options::default()).await.unwrap()
}

fn knows(identity: &PostgresIdentity, cluster: &Cluster, major: u32) {
    assert_eq!(identity.data_directory, cluster.data().canonicalize().unwrap().display().to_string());
    assert_eq!((identity.port, identity.version / 10_000), (cluster.port(), major));
    assert_eq!((identity.timeline, identity.in_recovery), (1, false));
    assert_eq!(identity.host, holdpoint::world::host::machine_id());
    assert_eq!(identity.system_identifier, cluster.psql("select system_identifier from pg_control_system()"));
}

fn answers() {
    let cluster = Cluster::start(Major::V15);
    for conninfo in [cluster.conninfo("postgres"), cluster.conninfo_tcp("postgres")] {
        block_on(async {
            let session = open(conninfo).await;
            let rows = session
                .query("select 1, null, 'a''b'; select 2.50::numeric, '\\x00ff'::bytea")
                .await
                .unwrap();
            assert_eq!(rows, [[Some("2.50".to_owned()), Some("\\x00ff".to_owned())]]);
            assert_eq!(session.query("select 1; select 2 where false").await.unwrap(), Vec::<pg::Row>::new());
            knows(session.identity(), &cluster, 15);
            let refused = session.query("create table t ()").await.unwrap_err();
            assert_eq!((refused.sqlstate.as_deref(), refused.lost), (Some("25006"), false));
            session.query("do $$ begin raise warning 'look'; end $$").await.unwrap();
            assert_eq!(session.take_notices(), ["WARNING: look"]);
            assert!(
                session.value("select 1, 2").await.is_err()
                    && session.value("select 1 where false").await.is_err()
            );
        });
    }
    block_on(async {
        let options = Options { read_only: false, ..Options::default() };
        let writer = pg::connect(&cluster.target("postgres"), &options).await.unwrap();
        assert_eq!(writer.execute("create table public.t as select generate_series(1, 3)").await, Ok(3));
        assert!(
            writer.execute("select '\0'").await.is_err() && !writer.is_closed(),
            "refused before it was sent"
        );
        let stuck = writer.execute("copy public.t from stdin").await.unwrap_err();
        assert!(stuck.lost, "{stuck:?}");
        assert!(writer.query("select 1").await.unwrap_err().lost);
    });
}

fn thirteen() {
    let cluster = Cluster::start(Major::V13);
    block_on(async { knows(open(cluster.conninfo("postgres")).await.identity(), &cluster, 13) });
}

const SLEEPERS: &str = "select count(*) from pg_stat_activity \
                        where state = 'active' and query like '%pg_sleep(6%' and pid <> pg_backend_pid()";

fn dropped_query_stops() {
    let cluster = Cluster::start(Major::V15);
    for conninfo in [cluster.conninfo("postgres"), cluster.conninfo_tcp("postgres")] {
        block_on(async {
            let (session, watcher) = (open(conninfo).await, open(cluster.conninfo("postgres")).await);
            let watch = async {
                while watcher.value(SLEEPERS).await.unwrap().as_deref() != Some("1") {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                _ = session.query("select pg_sleep(600)") => panic!("it must still sleep"),
                () = watch => {}
            }
            let dropped = Instant::now();
            // The next statement waits for the cancel, and is not hit by it.
            assert_eq!(session.value("select 7").await.unwrap().as_deref(), Some("7"));
            assert_eq!(watcher.value(SLEEPERS).await.unwrap().as_deref(), Some("0"));
            assert!(dropped.elapsed() < Duration::from_secs(300), "{:?}", dropped.elapsed());
            // Two futures on one session take turns.
            let (a, b) = futures::join!(session.value("select 1"), session.value("select 2"));
            assert_eq!((a.unwrap().as_deref(), b.unwrap().as_deref()), (Some("1"), Some("2")));
            // A session that is dropped with its query leaves nothing behind either.
            let sleep = tokio::spawn(async move { session.query("select pg_sleep(600)").await });
            let asleep = async {
                while watcher.value(SLEEPERS).await.unwrap().as_deref() != Some("1") {
                    assert!(!sleep.is_finished(), "the cancel of an earlier statement hit it");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(300), asleep).await.expect("it sleeps");
            sleep.abort();
            let others = "select count(*) from pg_stat_activity \
                          where backend_type = 'client backend' and pid <> pg_backend_pid()";
            let gone = async {
                while watcher.value(others).await.unwrap().as_deref() != Some("0") {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(300), gone).await.expect("only the watcher is left");
        });
    }
}

fn pinned() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql(
        "alter role postgres set timezone = 'Asia/Tokyo'; alter role postgres set datestyle = 'German'; \
         alter role postgres set extra_float_digits = -5; alter role postgres set bytea_output = 'escape'; \
         alter role postgres set search_path = 'mine'; alter role postgres set statement_timeout = '1ms'",
    );
    let look = "select current_setting('timezone'), timestamptz '2026-01-02 03:04:05+00', 0.1::float8 + 0.2::float8, \
                '\\x00ff'::bytea, current_setting('lock_timeout'), current_setting('search_path'), \
                current_setting('application_name')";
    let seen = |options: Options| {
        block_on(async {
            let session = pg::connect(&cluster.target("postgres"), &options).await.unwrap();
            let mut rows = session.query(look).await.unwrap();
            rows.remove(0).into_iter().map(Option::unwrap).collect::<Vec<_>>().join("|")
        })
    };
    let pinned = "UTC|2026-01-02 03:04:05+00|0.30000000000000004|\\x00ff|2s|";
    assert_eq!(seen(Options::default()), format!("{pinned}pg_catalog|holdpoint"));
    let own = Options { own_search_path: true, application_name: "holdpoint x".into(), ..Options::default() };
    assert_eq!(seen(own), format!("{pinned}mine|holdpoint x"));
    block_on(async {
        let options = Options { statement_timeout: Duration::from_secs(2), ..Options::default() };
        let session = pg::connect(&cluster.target("postgres"), &options).await.unwrap();
        let error = session.query("select pg_sleep(600)").await.unwrap_err();
        assert_eq!((error.sqlstate.as_deref(), error.lost), (Some("57014"), false));
    });
}

fn streams() {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create table t as select generate_series(1, 1000) as n");
    block_on(async {
        let (a, b) = (open(cluster.conninfo("postgres")).await, open(cluster.conninfo("postgres")).await);
        let mut sum = 0;
        let add = |row: pg::Row| {
            sum += row[0].as_deref().unwrap().parse::<u64>().unwrap();
            ControlFlow::Continue(())
        };
        assert_eq!(a.query_each("select n from public.t", add).await, Ok(1000));
        assert_eq!(sum, 500_500);
        // All of it would take a quarter of an hour.
        let began = Instant::now();
        let two = a.query_each("select generate_series(1, 10000000000)", |_| ControlFlow::Break(())).await;
        assert_eq!((two, a.value("select 5").await.unwrap().as_deref()), (Ok(1), Some("5")));
        assert!(began.elapsed() < Duration::from_secs(300), "the rest was cancelled: {:?}", began.elapsed());
        let mut copied = Vec::new();
        let bytes = a
            .copy_out("copy (select n from public.t where n < 4) to stdout", |piece| {
                copied.extend_from_slice(piece)
            })
            .await;
        assert_eq!((bytes, &copied[..]), (Ok(6), &b"1\n2\n3\n"[..]));
        assert_eq!(a.columns("select 1 as x, n from public.t").await.unwrap(), ["x", "n"]);
        assert_eq!(a.columns("select 1; select 2").await.unwrap_err().sqlstate.as_deref(), Some("42601"));

        let snapshot = a.export_snapshot().await.unwrap();
        cluster.psql("insert into t values (0)");
        b.use_snapshot(&snapshot).await.unwrap();
        assert_eq!(b.value("select count(*) from public.t").await.unwrap().as_deref(), Some("1000"));
        b.query("commit").await.unwrap();
        assert_eq!(b.value("select count(*) from public.t").await.unwrap().as_deref(), Some("1001"));
        assert!(b.use_snapshot("nonsense'").await.is_err());
    });
}

fn dies() {
    let cluster = Cluster::start(Major::V15);
    block_on(async {
        let session = open(cluster.conninfo("postgres")).await;
        let killer = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tokio::task::block_in_place(|| cluster.stop_mode("immediate"));
        };
        let began = Instant::now();
        let (answer, ()) =
            futures::join!(session.query("select generate_series(1, 3), pg_sleep(200)"), killer);
        let error = answer.unwrap_err();
        assert!(error.lost, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(100));
        assert!(session.query("select 1").await.unwrap_err().lost && session.is_closed());
    });
}
