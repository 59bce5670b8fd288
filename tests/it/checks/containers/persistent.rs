//! container_data_persistent: where a server in a container really writes.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{is, verdict};
use crate::harness::engine::{Engine, Kind};
use crate::harness::{Need, Registry};

const CHECK: &str = "container_data_persistent";

pub fn register(r: &mut Registry) {
    verdict(r, CHECK, Verdict::Pass, &[Need::Pg15, Need::Docker26], || kept(Kind::Docker26));
    verdict(r, CHECK, Verdict::Fail, &[Need::Pg15, Need::Docker26], lost);
    verdict(r, CHECK, Verdict::Unknown, &[Need::Docker26], unknown);
    r.add("checks::containers::may_2018_docker_20", &[Need::Pg15, Need::Docker20], || {
        may_2018(Kind::Docker20)
    });
    r.add("checks::containers::may_2018_podman_4", &[Need::Pg15, Need::Podman4], || may_2018(Kind::Podman4));
}

/// Measures, and wants one verdict and these words.
#[track_caller]
fn sees(engine: &Engine, params: Value, verdict: Verdict, words: &str) -> Outcome {
    let outcome = engine.look(CHECK, params);
    is(&outcome, verdict, words);
    outcome
}

/// A directory for data, owned by the server.
fn directory(engine: &Engine, path: &str) {
    engine.sh(&format!("install -d -m 0700 -o 999 -g 999 {path}"));
}

fn kept(kind: Kind) -> Vec<Outcome> {
    let engine = Engine::with_postgres(kind);
    directory(&engine, "/srv/right");
    engine.postgres("right", "-v /srv/right:/var/lib/postgresql/data", "pg");
    engine.postgres("named", "--rm -v synapse-data:/var/lib/postgresql", "pg18");
    let bind =
        sees(&engine, json!({ "container": "right" }), Verdict::Pass, "bind mount /srv/right: PostgreSQL 15");
    let asked =
        sees(&engine, json!({ "container": "right", "target": "right" }), Verdict::Pass, "PostgreSQL 15");
    assert_eq!(asked.seen.len(), 1);
    // A volume above the data directory, and no other between: the layout from 18 on.
    let named = json!({ "container": "named", "engine": engine.name(), "target": "named" });
    let named = sees(
        &engine,
        named,
        Verdict::Pass,
        "/var/lib/postgresql/18/docker lies on the named volume synapse-data",
    );
    // A tablespace with storage of its own.
    directory(&engine, "/srv/space");
    directory(&engine, "/srv/spaced");
    engine.postgres("spaced", "-v /srv/spaced:/var/lib/postgresql/data -v /srv/space:/space", "pg");
    engine.sql("spaced", "create tablespace room location '/space'");
    let spaced = sees(&engine, json!({ "container": "spaced" }), Verdict::Pass, "PostgreSQL 15");
    // Stopped, it is still there, and not compared with what the container sees.
    engine.sh("$e stop -t 5 right >/dev/null");
    let stopped = sees(&engine, json!({ "container": "right" }), Verdict::Pass, "/srv/right");
    assert!(stopped.details.iter().any(|line| line.contains("does not run")), "{stopped:#?}");
    // Not a database at all.
    engine.sh("mkdir /srv/media; touch /srv/media/homeserver.yaml; $e run -d --network none --name media -v /srv/media:/data box sleep 600");
    let media = json!({ "container": "media", "data_directory": "/data", "holds": "homeserver.yaml" });
    let media = sees(&engine, media, Verdict::Pass, "/srv/media, which holds homeserver.yaml");
    vec![bind, asked, named, spaced, stopped, media]
}

fn lost() -> Vec<Outcome> {
    let engine = Engine::with_postgres(Kind::Docker26);
    let fails = |params: Value, words: &str| sees(&engine, params, Verdict::Fail, words);
    let mut seen = Vec::new();
    // The trap of 18, which is the old right way: data is in the declared volume, the mount beside it.
    engine.postgres("eighteen", "-v kept:/var/lib/postgresql/data", "pg18");
    seen.push(fails(json!({ "container": "eighteen", "target": "eighteen" }), "on the anonymous volume"));
    engine.postgres("layer", "--rm", "plain");
    seen.push(fails(json!({ "container": "layer" }), "in the container's own layer"));
    engine.postgres("memory", "--tmpfs /var/lib/postgresql/data:uid=999,gid=999,mode=0700", "pg");
    seen.push(fails(json!({ "container": "memory" }), "on a tmpfs"));
    // A directory of the host, in the host's memory; and a volume with a name that is a tmpfs.
    directory(&engine, "/run/volatile");
    engine.postgres("volatile", "-v /run/volatile:/var/lib/postgresql/data", "pg");
    seen.push(fails(json!({ "container": "volatile" }), "which the host keeps in memory"));
    engine.sh("$e volume create --opt type=tmpfs --opt device=tmpfs --opt o=uid=999 ram >/dev/null");
    engine.postgres("ram", "-v ram:/var/lib/postgresql/data", "pg");
    seen.push(fails(json!({ "container": "ram" }), "on the volume ram, which is a tmpfs"));
    // The data directory lasts; the WAL and a tablespace do not.
    directory(&engine, "/srv/half");
    engine.postgres("half", "-e INITDB=--waldir=/lost/wal -v /srv/half:/var/lib/postgresql/data", "pg");
    seen.push(fails(
        json!({ "container": "half" }),
        "the WAL (pg_wal leads to /lost/wal) lies in the container's own layer",
    ));
    directory(&engine, "/srv/spaced");
    engine.postgres("spaced", "-v /srv/spaced:/var/lib/postgresql/data", "pg");
    engine.sh("$e exec spaced mkdir /lost/space");
    engine.sql("spaced", "create tablespace room location '/lost/space'");
    seen.push(fails(json!({ "container": "spaced" }), "a tablespace (pg_tblspc/"));
    // The container looks right, and the target is another server.
    directory(&engine, "/srv/other");
    engine.postgres("other", "-v /srv/other:/var/lib/postgresql/data", "pg");
    engine.sh("ln -s /run/spaced /run/elsewhere");
    let elsewhere = json!({ "container": "other", "target": "elsewhere" });
    seen.push(fails(elsewhere.clone(), "the target is another cluster"));
    // A copy of its files runs elsewhere: the same system identifier.
    engine.sh("$e stop -t 5 other >/dev/null; cp -a /srv/other /srv/copy; rm -f /srv/copy/postmaster.pid");
    engine.postgres("copy", "-v /srv/copy:/var/lib/postgresql/data", "pg");
    engine.sh("ln -sfn /run/copy /run/elsewhere");
    seen.push(fails(elsewhere.clone(), "no server runs in /srv/other"));
    engine
        .sh("sleep 2; $e start other >/dev/null; until [ -S /run/other/.s.PGSQL.5432 ]; do sleep 0.1; done");
    seen.push(fails(elsewhere, "started at another time"));
    // A link leads out of the mount; what is on the mount is only a copy.
    engine.sh(
        "$e run -d --network none --name linked --entrypoint sh box \
         -c 'mkdir -p /inner/pg && ls >/inner/pg/PG_VERSION && ln -s /inner/pg /data && sleep 600' >/dev/null; until $e exec linked ls /data >/dev/null 2>&1; do sleep 0.1; done",
    );
    seen.push(fails(
        json!({ "container": "linked", "data_directory": "/data" }),
        "/inner/pg lies in the container's own layer",
    ));
    // Nothing has been written yet.
    engine.sh("mkdir /srv/empty; $e run -d --network none --name empty -v /srv/empty:/data box sleep 600 >/dev/null");
    seen.push(fails(
        json!({ "container": "empty", "data_directory": "/data" }),
        "no PG_VERSION in /srv/empty",
    ));
    // Something else was mounted over it since.
    engine.sh(
        "mkdir /srv/over; echo 15 >/srv/over/PG_VERSION; $e run -d --network none --name over -v /srv/over:/data box sleep 600 >/dev/null; \
         pid=$($e inspect -f '{{.State.Pid}}' over); nsenter --mount=/proc/$pid/ns/mnt /bin/busybox mount -t tmpfs none /data",
    );
    seen.push(fails(
        json!({ "container": "over", "data_directory": "/data" }),
        "something else is mounted there",
    ));
    seen
}

fn unknown() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    engine.sh("mkdir /srv/data; echo 15 >/srv/data/PG_VERSION; $e run -d --network none --name db -v /srv/data:/data box sleep 600 >/dev/null");
    let unknown = |params: Value, words: &str| sees(&engine, params, Verdict::Unknown, words);
    let mut seen = vec![
        unknown(json!({ "container": "nosuch" }), "No such container"),
        unknown(json!({ "container": "db" }), "no PGDATA"),
        unknown(json!({ "container": "db", "engine": "podman" }), "no program is called podman"),
        unknown(
            json!({ "container": "db", "engine": "docker", "host": "unix:///run/no.sock" }),
            "Cannot connect",
        ),
        unknown(json!({ "container": "db", "target": "db" }), "/run/db"),
    ];
    // Who may not talk to the engine; who may, and may not look at the files.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let params = json!({ "container": "db", "data_directory": "/data" });
    seen.push(engine.look_as(&nobody, CHECK, params.clone()));
    is(&seen[5], Verdict::Unknown, "permission denied");
    engine.sh("chmod 0700 /srv/data; chmod 0666 /run/docker.sock");
    seen.push(engine.look_as(&nobody, CHECK, params.clone()));
    is(&seen[6], Verdict::Unknown, "permission denied");
    // Through TCP it could be any machine.
    engine.sh("kill $(cat /run/dockerd.pid); while pgrep dockerd >/dev/null; do sleep 0.1; done");
    engine.sh(
        "setsid dockerd --data-root /srv/engine --exec-root /run/docker --pidfile /run/dockerd.pid -H tcp://127.0.0.1:2375 \
         --tls=false </dev/null >/run/dockerd.log 2>&1 & for try in {1..2500}; do docker -H tcp://127.0.0.1:2375 version \
         >/dev/null 2>&1 && break; sleep 0.1; done; docker -H tcp://127.0.0.1:2375 start db",
    );
    let remote = json!({ "container": "db", "data_directory": "/data", "engine": "docker", "host": "tcp://127.0.0.1:2375" });
    seen.push(unknown(remote, "the engine is at tcp://127.0.0.1:2375"));
    seen
}

/// The loss itself: the mount is on the parent, the container is removed and made again, and the server is another one.
/// The check sees it before; with the right mount everything is still there. What was lost lies in a volume that no
/// container uses, until somebody prunes.
fn may_2018(kind: Kind) {
    let engine = Engine::with_postgres(kind);
    let identifier = "select system_identifier from pg_control_system()";
    for (name, at) in [("wrong", "/var/lib/postgresql"), ("right", "/var/lib/postgresql/data")] {
        directory(&engine, &format!("/srv/{name}"));
        let options = format!("-v /srv/{name}:{at}");
        engine.postgres(name, &options, "pg");
        engine.sql(name, "create table users as select generate_series(1, 1000) id");
        let before = engine.sql(name, identifier);
        let seen = engine.look(CHECK, json!({ "container": name, "target": name }));
        if name == "wrong" {
            is(&seen, Verdict::Fail, "on the anonymous volume");
            assert!(seen.observed.contains("bind /srv/wrong is mounted above it"), "{seen:#?}");
            assert!(seen.help.as_ref().unwrap().contains("/var/lib/postgresql/data"), "{seen:#?}");
            assert!(seen.details.iter().any(|line| line.contains("deleted by `rm -v`")), "{seen:#?}");
        } else {
            is(&seen, Verdict::Pass, "the bind mount /srv/right: PostgreSQL 15");
        }
        engine.sh(&format!("$e rm -f {name} >/dev/null; rm -rf /run/{name}"));
        engine.postgres(name, &options, "pg");
        let after = engine.sql(name, identifier);
        let users = engine.sql(name, "select count(*) from pg_class where relname = 'users'");
        assert_eq!(
            (before == after, users.as_str()),
            if name == "right" { (true, "1") } else { (false, "0") }
        );
    }
    let seen = engine.look("container_orphan_volumes", json!({ "engine": engine.name() }));
    is(&seen, Verdict::Fail, "data here, do not prune: 1 of 1 dangling volume");
    assert!(
        seen.observed.contains("anonymous volume") && seen.observed.contains("holds PostgreSQL 15 ("),
        "{seen:#?}"
    );
}
