//! Containers go behind the gate: measured, standing still, and their volumes stay.

use crate::harness::engine::{Engine, Kind};
use crate::harness::{Need, Registry, Said};
use crate::play::Play;

pub fn register(r: &mut Registry) {
    r.add("removal::containers_of_docker_go_when_they_stand_still", &[Need::Docker26], || {
        go(Engine::with_box(Kind::Docker26));
    });
    r.add("removal::containers_in_the_store_of_containerd_too", &[Need::Docker26], || {
        let engine = Engine::with_containerd_store(Kind::Docker26);
        engine.sh("docker info --format '{{.DriverStatus}}' | grep --quiet containerd.snapshotter");
        go(engine);
    });
    r.add("removal::who_declares_containers_declares_nothing_else", &[], nothing_else);
    r.add("removal::containers_of_podman_go_when_they_stand_still", &[Need::Podman4], || {
        go(Engine::with_box(Kind::Podman4));
    });
}

const BOOK: &str = "\
holdpoint: 1
name: removal
targets: {}
environments:
  staging: { proof: [{ file: { path: /srv/is-staging } }] }
  production: { protected: true }
steps:
  - id: remove
    title: Remove what was replaced
    destroys:
      what: the old containers
      containers: { engine: ENGINE, WHICH }
    preconditions:
      - container_runtime: { engine: ENGINE }
    run: [ENGINE, rm, one, two]
    timeout: 1min
";

fn go(engine: Engine) {
    let book = |which: &str| {
        let text = BOOK.replace("ENGINE", engine.name()).replace("WHICH", which);
        std::fs::write(engine.path("/srv/removal.yaml"), text).unwrap();
    };
    let holdpoint = |arguments: &[&str]| -> Said {
        let mut command = engine.command("holdpoint");
        command.args(arguments).args(["--store", "/srv/store", "--operator", "ann"]);
        Said::by(&mut command, &format!("holdpoint {}", arguments.join(" ")))
    };
    let begin = ["run", "/srv/removal.yaml", "--env", "production", "--confirm", "environment=production"];
    let run = [&begin[..], &["--confirm", "remove=the old containers"]].concat();
    engine.sh(
        "$e run -d --network none --name one --label com.docker.compose.project=demo -v kept:/data box sh -c \
         'echo words >/data/kept; cat /bin/busybox >/lost; sleep 600'; \
         $e create --network none --name two --label com.docker.compose.project=demo box sleep 1; \
         $e create --network none --name other box sleep 1; \
         for try in {1..1000}; do $e exec one ls /lost >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1",
    );

    book("names: [one, nobody]");
    let ran = holdpoint(&run);
    ran.exits(3).says("runs; stop it first");
    let newest = || engine.sh("ls --sort=time /srv/store/runs | head -1");
    holdpoint(&["abandon", &newest(), "--reason", "another book"]).exits(0);
    // A project is what is there of it now.
    book("project: demo");
    let ran = holdpoint(&run);
    ran.exits(3).says("container one (").says("runs; stop it first");
    assert_eq!(engine.sh("$e ps --all --quiet | wc -l"), "3", "nothing went");
    let mine = holdpoint(&["rehearse", "/srv/removal.yaml", "--env", "staging"]);
    mine.exits(3).says("project demo would go, which is one of `production`");

    engine.sh("$e stop --time 0 one");
    let name = newest();
    let ran = holdpoint(&[&["resume", &name], &run[4..]].concat());
    ran.exits(0);
    holdpoint(&["log", &name]).exits(0).says("container one (").says("container two (").says("MiB");
    assert_eq!(engine.sh("$e ps --all --format '{{.Names}}'"), "other");
    assert_eq!(engine.sh("cat $($e volume inspect --format '{{.Mountpoint}}' kept)/kept"), "words");
    holdpoint(&["verify", &name]).exits(0);

    // What is gone is no list of what goes.
    let ran = holdpoint(&run);
    ran.exits(3).says("nothing was found that would go");
}

/// Lint reads the step's commands: removing containers is declared, and not what goes beyond them.
fn nothing_else() {
    let lint = |which: &str, command: &str, more: &str| {
        let play = Play::new();
        let book = BOOK.replace("WHICH", which).replace("ENGINE, rm, one, two", command);
        let text = book.replace("ENGINE", "docker").replace("timeout: 1min", &format!("timeout: 1min{more}"));
        play.book(&text);
        play.ran("ann", "lint book.yaml")
    };
    for fine in ["docker, rm, one", "docker, compose, down", "docker-compose, rm, --force"] {
        lint("project: demo", fine, "").exits(0);
    }
    for more in [
        "docker, rm, -v, one",
        "docker, compose, down, --volumes",
        "docker, volume, rm, kept",
        "docker, container, prune, --force",
        "rm, -rf, /srv/data",
    ] {
        lint("project: demo", more, "").exits(2).says("HP053");
    }
    lint("project: demo", "docker, rm, one", "\n    env: { DOCKER_HOST: tcp://elsewhere }")
        .exits(2)
        .says("HP044");
    for elsewhere in [
        "docker, --host, tcp://elsewhere, rm, one",
        "docker, -H, tcp://elsewhere, rm, one",
        "docker, --context=far, compose, down",
        "env, DOCKER_HOST=tcp://elsewhere, docker, rm, one",
    ] {
        lint("project: demo", elsewhere, "").exits(2).says("HP044");
    }
    lint("project: demo", "docker, rm, one", "\n    user: nobody").exits(2).says("HP044");
    lint("project: demo, names: [one]", "docker, rm, one", "").exits(2).says("HP044");
    lint("names: []", "docker, rm, one", "").exits(2).says("HP044");
}
