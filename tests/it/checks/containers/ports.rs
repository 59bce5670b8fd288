//! container_ports, of containers and of compose files.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::{is, verdict};
use crate::harness::engine::{Engine, Kind};
use crate::harness::{Need, Registry};

const CHECK: &str = "container_ports";

pub fn register(r: &mut Registry) {
    verdict(r, CHECK, Verdict::Pass, &[Need::Docker26], few);
    verdict(r, CHECK, Verdict::Fail, &[Need::Docker26], many);
    verdict(r, CHECK, Verdict::Unknown, &[Need::Docker26], unknown);
    r.add("checks::containers::ports_of_podman", &[Need::Podman4], podman);
}

/// A compose file with a range of ports for TURN.
fn turn(engine: &Engine, range: &str) -> Value {
    let text = format!(
        "services:\n  turn:\n    image: coturn\n    ports:\n      - \"3478:3478\"\n      - \"{range}:{range}/udp\"\n"
    );
    std::fs::write(engine.path("/srv/turn.yml"), text).unwrap();
    json!({ "engine": "docker", "compose": { "file": "/srv/turn.yml" } })
}

fn few() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    let none = engine.look(CHECK, json!({}));
    is(&none, Verdict::Pass, "0 ports: there is no container");
    engine.sh("$e run -d --name web -p 8448:8448 -p 127.0.0.1:8008:8008 box sleep 600; $e run -d --network host --name turn box sleep 600");
    let all = engine.look(CHECK, json!({ "at_most": "2" }));
    is(&all, Verdict::Pass, "2 ports, 2 of them by docker web");
    assert!(all.details.iter().any(|line| line.contains("on the host's own network")), "{all:#?}");
    let params = turn(&engine, "49152-49250");
    let file = engine.look(CHECK, params);
    is(&file, Verdict::Pass, "100 ports, 100 of them by service turn");
    vec![none, all, file]
}

fn many() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    // The stanza of May 2018, before it is started.
    let params = turn(&engine, "20000-30999");
    let file = engine.look(CHECK, params);
    is(&file, Verdict::Fail, "11,001 ports");
    // Running, and made but not started, with ports that the engine will choose.
    engine.sh("$e run -d --name web -p 20000-20004:20000-20004/udp box sleep 600; $e create --name any -P --expose 9000-9009 box sleep 1");
    let both = engine.look(CHECK, json!({ "at_most": 14 }));
    is(&both, Verdict::Fail, "15 ports, 10 of them by docker any");
    let one = engine.look(CHECK, json!({ "containers": ["web"], "at_most": 4 }));
    is(&one, Verdict::Fail, "5 ports");
    vec![file, both, one]
}

fn unknown() -> Vec<Outcome> {
    let engine = Engine::with_box(Kind::Docker26);
    let unknown = |params: Value, words: &str| {
        let outcome = engine.look(CHECK, params);
        is(&outcome, Verdict::Unknown, words);
        outcome
    };
    let range = turn(&engine, "${TURN_PORTS}");
    let wrong = json!({ "compose": { "file": "/srv/none.yml" } });
    let broken = turn(&engine, "99999-100000");
    vec![
        unknown(json!({ "containers": ["nosuch"] }), "no container is called `nosuch`"),
        unknown(wrong, "no such file"),
        unknown(broken, "compose: "),
        {
            turn(&engine, "${TURN_PORTS}");
            unknown(range, "the variable TURN_PORTS, which is not set here")
        },
        unknown(json!({ "engine": "podman" }), "no program is called podman"),
    ]
}

/// Podman lists what it publishes in another way; nothing has to be started for that.
fn podman() {
    let engine = Engine::with_box(Kind::Podman4);
    engine
        .sh("$e create --network bridge --name web -p 20000-20004:20000-20004/udp -p 8448:8448 box sleep 1");
    let seen = engine.look(CHECK, json!({ "at_most": 5 }));
    is(&seen, Verdict::Fail, "6 ports, 6 of them by podman web");
    is(&engine.look(CHECK, json!({ "containers": ["web"] })), Verdict::Pass, "6 ports");
}
