//! Sessions on a real server: settings, identity, cancelling, and what happens when the server goes away.

use std::time::{Duration, Instant};

use holdpoint::world::pg::{self, Options};

use crate::harness::{Cluster, Major, Need, Registry, block_on};

pub fn register(r: &mut Registry) {
    r.add("pg::a_session_answers_and_knows_its_server", &[Need::Pg15], answers);
    r.add("pg::a_dropped_query_stops_on_the_server", &[Need::Pg15], dropped_query_stops);
}

fn answers() {
    let cluster = Cluster::start(Major::V15);
    for target in [
        cluster.target("postgres"),
        holdpoint::runbook::Target { postgres: Some(cluster.conninfo_tcp("postgres")), ..Default::default() },
    ] {
        block_on(async {
            let session = pg::connect(&target, &Options::default()).await.unwrap();
            let rows = session
                .query("select 1, null, 'a''b'; select 2.50::numeric, '\\x00ff'::bytea")
                .await
                .unwrap();
            assert_eq!(rows, [[Some("2.50".to_owned()), Some("\\x00ff".to_owned())]]);
            let identity = session.identity();
            assert_eq!(identity.data_directory, cluster.data().display().to_string());
            assert_eq!(identity.port, cluster.port());
            assert_eq!(identity.version / 10_000, 15);
            assert_eq!((identity.timeline, identity.in_recovery), (1, false));
            assert_eq!(identity.host, holdpoint::world::host::machine_id());
            assert_eq!(
                identity.system_identifier,
                cluster.psql("select system_identifier from pg_control_system()")
            );
            let refused = session.query("create table t ()").await.unwrap_err();
            assert_eq!((refused.sqlstate.as_deref(), refused.lost), (Some("25006"), false));
        });
    }
}

fn dropped_query_stops() {
    let cluster = Cluster::start(Major::V15);
    let target = cluster.target("postgres");
    block_on(async {
        let session = pg::connect(&target, &Options::default()).await.unwrap();
        let watcher = pg::connect(&target, &Options::default()).await.unwrap();
        let sleeping = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(6%' \
                        and pid <> pg_backend_pid()";
        let sleep = session.query("select pg_sleep(60)");
        assert!(
            tokio::time::timeout(Duration::from_millis(300), async {
                let (_, seen) = futures::join!(sleep, async {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    assert_eq!(watcher.value(sleeping).await.unwrap().as_deref(), Some("1"));
                });
                seen
            })
            .await
            .is_err()
        );
        let dropped = Instant::now();
        // The next statement waits for the cancel, and is not hit by it.
        assert_eq!(session.value("select 7").await.unwrap().as_deref(), Some("7"));
        assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());
        assert_eq!(watcher.value(sleeping).await.unwrap().as_deref(), Some("0"));
    });
}
