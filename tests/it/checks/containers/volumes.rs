//! container_volumes_covered and container_orphan_volumes.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{context, is, look, verdict};
use crate::harness::engine::{Engine, Kind};
use crate::harness::{Need, Registry};

const COVERED: &str = "container_volumes_covered";
const ORPHANS: &str = "container_orphan_volumes";

pub fn register(r: &mut Registry) {
    verdict(r, COVERED, Verdict::Pass, &[Need::Docker26], || covered(Verdict::Pass));
    verdict(r, COVERED, Verdict::Fail, &[Need::Docker26], || covered(Verdict::Fail));
    verdict(r, COVERED, Verdict::Unknown, &[Need::Docker20], uncovered_unknown);
    verdict(r, ORPHANS, Verdict::Pass, &[Need::Podman4], no_orphans);
    verdict(r, ORPHANS, Verdict::Fail, &[Need::Docker26], orphans);
    verdict(r, ORPHANS, Verdict::Unknown, &[Need::Docker20], orphans_unknown);
}

/// A compose file as that of May 2018, with the mount of the database to be filled in.
fn book(engine: &Engine, image: &str, mount: &str) -> Value {
    let text = format!(
        "services:\n  db:\n    image: {image}\n    environment:\n      POSTGRES_PASSWORD: ${{DB_PASSWORD}}\n    volumes:\n      - {mount}\n\
         volumes:\n  kept: {{}}\n"
    );
    std::fs::create_dir_all(engine.path("/srv/book")).unwrap();
    std::fs::write(engine.path("/srv/book/docker-compose.yml"), text).unwrap();
    json!({ "compose": { "file": "/srv/book/docker-compose.yml", "service": "db", "env": { "DB_PASSWORD": "x" } } })
}

/// Images that declare what PostgreSQL's images declare.
fn images(engine: &Engine) {
    engine.sh(
        "tar -C /tmp/box -c . | $e import -c 'ENV PATH=/bin PGDATA=/var/lib/postgresql/data' -c 'VOLUME /var/lib/postgresql/data' - pg:17 >/dev/null; \
         tar -C /tmp/box -c . | $e import -c 'ENV PATH=/bin PGDATA=/var/lib/postgresql/18/docker' -c 'VOLUME /var/lib/postgresql' - pg:18 >/dev/null",
    );
}

fn covered(wanted: Verdict) -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    images(&engine);
    let (old, new) = ("/var/lib/postgresql/data", "/var/lib/postgresql");
    let mut seen = Vec::new();
    for (image, mount, verdict) in [
        ("pg:17", format!("./data:{old}"), Verdict::Pass),
        ("pg:17", format!("./data:{new}"), Verdict::Fail),
        ("pg:17", old.to_owned(), Verdict::Fail),
        ("pg:18", format!("kept:{new}"), Verdict::Pass),
        ("pg:18", format!("kept:{old}"), Verdict::Fail),
    ] {
        if verdict == wanted {
            let params = book(&engine, image, &mount);
            let outcome = engine.look(COVERED, params);
            is(
                &outcome,
                verdict,
                if verdict == Verdict::Pass { "covered" } else { "service db: /var/lib/postgresql" },
            );
            seen.push(outcome);
            let target = mount.rsplit(':').next().unwrap();
            let image =
                json!({ "image": image, "mounts": if mount.contains(':') { vec![target] } else { vec![] } });
            seen.push(engine.look(COVERED, image));
        }
    }
    // What runs already.
    engine.sh(&format!("$e run -d --network none --name good -v kept:{old} pg:17 sleep 600; $e run -d --network none --name bad pg:17 sleep 600"));
    let name = if wanted == Verdict::Pass { "good" } else { "bad" };
    seen.push(engine.look(COVERED, json!({ "container": name })));
    if wanted == Verdict::Fail {
        is(seen.last().unwrap(), Verdict::Fail, "is on an anonymous volume, which goes with the container");
        let tmpfs = json!({ "image": "pg:17", "mounts": ["/srv"] });
        seen.push(engine.look(COVERED, tmpfs));
        is(seen.last().unwrap(), Verdict::Fail, "has no mount");
    } else {
        let cache = json!({ "image": "pg:18", "mounts": [new], "except": ["/cache"] });
        seen.push(engine.look(COVERED, cache));
    }
    seen
}

fn uncovered_unknown() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker20);
    let unknown = |params: Value, words: &str| {
        let outcome = engine.look(COVERED, params);
        is(&outcome, Verdict::Unknown, words);
        outcome
    };
    let compose = book(&engine, "pg:17", "./data:/var/lib/postgresql/data");
    vec![
        unknown(json!({ "image": "postgres:17" }), "No such image"),
        unknown(json!({ "image": "box", "mounts": ["/data"] }), "nothing to compare"),
        unknown(json!({ "container": "nosuch" }), "No such container"),
        // Docker 20.10 came without compose.
        unknown(compose, "no compose here that writes JSON"),
    ]
}

fn no_orphans() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Podman4);
    let none = engine.look(ORPHANS, json!({ "engine": "podman" }));
    is(&none, Verdict::Pass, "0 dangling volumes looked into");
    // One without data, one that a stopped container uses, one that somebody has looked at.
    engine.sh("$e volume create empty; $e volume create used; $e volume create old; \
         $e create --network none --name db -v used:/data box sleep 1; \
         for name in used old; do echo 15 >$($e volume inspect -f '{{.Mountpoint}}' $name)/PG_VERSION; done");
    let some = engine.look(ORPHANS, json!({ "engine": "podman", "except": ["old"] }));
    is(&some, Verdict::Pass, "1 dangling volume looked into");
    assert!(some.details.iter().any(|line| line.contains("1 volume left out")), "{some:#?}");
    vec![none, some]
}

fn orphans() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    engine.sh(
        "$e volume create eighteen; at=$($e volume inspect -f '{{.Mountpoint}}' eighteen)/18/docker; mkdir -p $at/global; \
         echo 18 >$at/PG_VERSION; head -c 3000000 /dev/zero >$at/global/pg_control; \
         touch -d 2018-05-17T12:00Z $at/global/pg_control $at/PG_VERSION; $e volume create none",
    );
    let deep = engine.look(ORPHANS, json!({}));
    is(&deep, Verdict::Fail, "1 of 2 dangling volumes, named volume eighteen holds PostgreSQL 18 (");
    assert!(deep.observed.contains("newest file of 2018-05-17 12:00Z"), "{deep:#?}");
    assert!(deep.help.as_ref().unwrap().contains("/eighteen/_data/18/docker"), "{deep:#?}");
    let other = "echo x >$($e volume inspect -f '{{.Mountpoint}}' none)/homeserver.yaml";
    engine.sh(other);
    let other = engine.look(ORPHANS, json!({ "holds": "homeserver.yaml" }));
    is(&other, Verdict::Fail, "holds homeserver.yaml");
    vec![deep, other]
}

fn orphans_unknown() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker20);
    engine.sh("$e volume create closed; chmod 0666 /run/docker.sock");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let closed = engine.look_as(&nobody, ORPHANS, json!({ "engine": "docker" }));
    is(&closed, Verdict::Unknown, "a volume cannot be looked into");
    let cx = context([]);
    let down = look(&cx, ORPHANS, json!({ "engine": "docker", "host": "unix:///run/no-such-engine.sock" }));
    engine.sh("kill $(cat /run/dockerd.pid); while pgrep dockerd >/dev/null; do sleep 0.1; done");
    let gone = engine.look(ORPHANS, json!({}));
    is(&gone, Verdict::Unknown, "Cannot connect");
    vec![closed, down, gone]
}
