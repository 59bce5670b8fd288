//! container_runtime: engines that answer, that are gone, and that only seem to answer.

use holdpoint::check::{Outcome, Verdict};
use serde_json::json;

use super::super::{is, verdict};
use crate::harness::engine::{Engine, Kind};
use crate::harness::{Need, Registry};

const CHECK: &str = "container_runtime";

pub fn register(r: &mut Registry) {
    verdict(r, CHECK, Verdict::Pass, &[Need::Docker26], || answers(Kind::Docker26));
    verdict(r, CHECK, Verdict::Fail, &[Need::Docker20], silent);
    verdict(r, CHECK, Verdict::Unknown, &[Need::Docker20], unknown);
    r.add("checks::containers::podman_answers", &[Need::Podman4], || drop(answers(Kind::Podman4)));
    r.add("checks::containers::a_container_that_is_stuck_is_seen", &[Need::Docker26], stuck);
}

fn answers(kind: Kind) -> Vec<Outcome> {
    let engine = Engine::with_box(kind);
    let none = engine.look(CHECK, json!({ "engine": engine.name() }));
    is(&none, Verdict::Pass, "answers about 0 containers");
    engine.sh(
        "$e run -d --network none --name one box sleep 600; $e create --network none --name two box sleep 1",
    );
    let two = engine.look(CHECK, json!({ "within": "1min" }));
    is(&two, Verdict::Pass, "answers about 2 containers");
    vec![none, two]
}

fn silent() -> Vec<Outcome> {
    let engine = Engine::start(Kind::Docker20);
    let nobody = engine.look(CHECK, json!({ "engine": "docker", "host": "unix:///run/nobody.sock" }));
    is(&nobody, Verdict::Fail, "Cannot connect");
    // It listens, and answers nothing.
    engine.sh("kill -STOP $(cat /run/dockerd.pid)");
    let slow = engine.look(CHECK, json!({ "within": "1s" }));
    is(&slow, Verdict::Fail, "did not answer within 1s");
    engine.sh("kill -CONT $(cat /run/dockerd.pid); kill $(cat /run/dockerd.pid); while pgrep dockerd >/dev/null; do sleep 0.1; done");
    let gone = engine.look(CHECK, json!({}));
    is(&gone, Verdict::Fail, "Cannot connect");
    vec![nobody, slow, gone]
}

fn unknown() -> Vec<Outcome> {
    let engine = Engine::start(Kind::Docker20);
    let absent = engine.look(CHECK, json!({ "engine": "podman" }));
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let denied = engine.look_as(&nobody, CHECK, json!({ "engine": "docker" }));
    is(&denied, Verdict::Unknown, "permission denied");
    vec![absent, denied]
}

/// May 2018, 12:05: a container is being started that publishes many ports. `info` and `ps` answer at once.
fn stuck() {
    let engine = Engine::with_box(Kind::Docker26);
    engine.sh("$e create --name turn -p 20000-20599:20000-20599/udp box sleep 600; (setsid docker start turn >/dev/null 2>&1 &); \
         until pgrep docker-proxy >/dev/null; do sleep 0.1; done");
    engine.sh("docker info >/dev/null; docker ps -a >/dev/null");
    let seen = engine.look(CHECK, json!({ "within": "2s" }));
    is(&seen, Verdict::Fail, "docker answers `info`, but did not tell of container ");
}
