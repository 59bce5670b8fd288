//! nerdsin.space, May 2018: a container made anew, and its data with it.

mod scene;

use std::time::Duration;

use crate::harness::{Need, Registry, Sandbox, finish};
use crate::page::Page;
use scene::{REMOVE, RIGHT, Scene, WRONG, words};

const PAGE: &str = "incidents/2018-05-nerdsin-space";

pub fn register(r: &mut Registry) {
    let needs = [Need::Root, Need::Pg15, Need::Docker26];
    r.add("recreate::a_stack_is_refused_put_right_and_made_anew", &needs, refused_put_right_and_made_anew);
    r.add("recreate::an_empty_server_and_a_hanging_docker", &needs, an_empty_server_and_a_hanging_docker);
    r.add("recreate::the_loss_and_where_the_data_still_lies", &needs, the_loss_and_where_the_data_still_lies);
    r.add("recreate::the_commands_of_that_day_are_no_runbook", &[], the_commands_of_that_day);
}

/// Without Holdpoint: the same two commands, and what they leave.
fn the_loss_and_where_the_data_still_lies() {
    let scene = Scene::new();
    scene.compose("matrix", WRONG, None);
    scene.starts("matrix");
    let (users, before) = (scene.users("matrix"), scene.cluster("matrix"));
    assert_eq!(users, "1000");
    assert_eq!(scene.engine.sh("ls -A /srv/matrix/pg"), "data", "it looks as if it were in use");
    assert_eq!(scene.engine.sh("ls -A /srv/matrix/pg/data"), "", "and was empty all the time");

    scene.docker_compose("matrix", "down");
    scene.docker_compose("matrix", "up -d");
    assert_ne!(scene.cluster("matrix"), before, "another cluster");
    let gone =
        scene.sql("matrix-db-1", "postgres", "select count(*) from pg_database where datname = 'synapse'");
    assert_eq!(gone, "0", "and everybody's accounts are gone");

    // An hour later, with Holdpoint: the data is in a volume that no container uses any more.
    let seen = scene.holdpoint(&words(&["check", "preflight"], "production", &[])).exits(1);
    let seen = seen.says("data here, do not prune: 1 of 1 dangling").says("no volume that nobody uses holds");
    Page::named(PAGE).shows("volume", &seen.stdout, &[]);

    // So it comes back.
    scene.docker_compose("matrix", "down");
    let volume = scene.engine.sh("for name in $(docker volume ls -qf dangling=true); do
             at=$(docker volume inspect -f '{{.Mountpoint}}' $name)
             [ $(ls $at/base | wc -l) -le 3 ] || echo $at
         done");
    scene.engine.sh(&format!("rmdir /srv/matrix/pgdata; cp -a {volume} /srv/matrix/pgdata"));
    scene.compose("matrix", RIGHT, None);
    scene.docker_compose("matrix", "up -d");
    assert_eq!((scene.users("matrix"), scene.cluster("matrix")), (users, before));

    // One command more on that day, and it would not have.
    assert!(scene.engine.path(&format!("{volume}/PG_VERSION")).exists());
    scene.engine.sh("docker volume prune --force >/dev/null");
    assert!(!scene.engine.path(&volume).exists());
}

fn refused_put_right_and_made_anew() {
    let scene = Scene::new();
    scene.compose("matrix", WRONG, None);
    scene.starts("matrix");
    // The stanza for TURN is in the file, and not yet started.
    scene.compose("matrix", WRONG, Some("20000-30999"));
    rehearsed(&scene);
    let before = (scene.containers("matrix"), scene.cluster("matrix"));
    let run = refused(&scene);
    moved(&scene, &run);
    assert_ne!(scene.containers("matrix"), before.0, "the containers were made anew");
    assert_eq!(scene.cluster("matrix"), before.1, "the data is what it was");
    assert_eq!(scene.users("matrix"), "1000");
}

/// What was missing in 2018: a copy of the stack is taken down first. It has the same mistake, and shows it.
fn rehearsed(scene: &Scene) {
    let begin = words(&["run"], "production", &[]);
    scene.holdpoint(&begin).exits(3).says("no receipt of it is in the store");

    let rehearse = words(&["rehearse"], "staging", &[]);
    scene.compose("matrix-staging", WRONG, None);
    scene.starts("matrix-staging");
    scene.engine.sh("touch /srv/backups-staging/last-success");
    scene.holdpoint(&rehearse).exits(3).says("file at /srv/matrix-staging/this-is-staging");
    scene.engine.sh("touch /srv/matrix-staging/this-is-staging");
    scene.holdpoint(&rehearse).exits(3).says("lies on the anonymous volume");

    scene.docker_compose("matrix-staging", "down --volumes --timeout 2");
    scene.compose("matrix-staging", RIGHT, None);
    scene.starts("matrix-staging");
    let passed = scene.holdpoint(&rehearse).exits(0).says("Rehearsal passed: 15 of 15 steps");
    let run = scene.run();
    Page::named(PAGE).shows(
        "rehearsal",
        &passed.stdout,
        &[(&run, "compose-postgres-recreate-20261130-8b2q")],
    );
    assert_eq!(scene.sql("matrix-staging-db-1", "synapse", "select count(*) from users"), "1000");
    scene.docker_compose("matrix-staging", "down --timeout 2");
}

/// 12:00. Nothing leads to `down`.
fn refused(scene: &Scene) -> String {
    let begin = words(&["run"], "production", &[]);
    let mut tristan = scene.terminal(&begin);
    tristan.answers("protected environment", "production");
    tristan.answers(r"Step 1 of \d+: announce\s", "c");
    tristan.answers("Who is the second person", "Bea, +1 555 0100");
    tristan.answers(r"Step 2 of \d+: preflight\s", "g");
    tristan.answers("The hold point stays closed", "q");
    tristan.ends();

    let run = scene.run();
    let before = scene.containers("matrix");
    let held = scene.holdpoint(&["resume"]).exits(3).says("3 things stand in the way");
    let held =
        held.says("lies on the anonymous volume").says("11,001 ports").says("it never gave a sign of life");
    let shown = held.stderr.replace(&run, "compose-postgres-recreate-20261130-8b2q");
    Page::named(PAGE).shows("refused", &shown, &[]);

    let why = ["--reason", "it is only a restart"];
    scene.holdpoint(&["resume", "--confirm", REMOVE]).exits(3).says("anonymous volume");
    let done = ["resume", "--decide", "preflight=done", why[0], why[1], "--confirm", REMOVE];
    scene.holdpoint(&done).exits(3).says("there is nothing to decide about it yet");
    scene.holdpoint(&begin).exits(3).says("is not finished");
    // What stands in front of the removal itself is waived by nobody.
    let waive = ["waive", &run, "move-data.post.every-byte", why[0], why[1], "--until", "1h"];
    scene.holdpoint(&waive).exits(3).says("the check guards a destruction");
    assert_eq!(scene.containers("matrix"), before, "no container was touched");
    assert_eq!(scene.users("matrix"), "1000");
    assert!(scene.pages().contains("held before preflight: the database's files lie outside its container"));
    run
}

/// It is put right within the same run.
fn moved(scene: &Scene, run: &str) {
    scene.compose("matrix", WRONG, None);
    scene.engine.sh("touch /srv/backups/last-success");
    scene.holdpoint(&["resume"]).exits(3).says("1 thing stands in the way").says("anonymous volume");

    let check = "preflight.pre.data-outlives";
    let reason = "move-data copies it to /srv/matrix/pgdata";
    scene.holdpoint(&["waive", run, check, "--reason", reason, "--until", "8h"]).exits(0);
    // The compose file has still the old mount: the application is not even stopped.
    scene.holdpoint(&["resume"]).exits(1).says("the one above it, /var/lib/postgresql, will hold none of it");
    assert_eq!(scene.engine.sh("docker inspect -f '{{.State.Status}}' matrix-synapse-1"), "running");

    scene.compose("matrix", RIGHT, None);
    // Something else lies where the data should go.
    scene.engine.sh("touch /srv/matrix/pgdata/old-notes");
    let again = ["resume", "--decide", "pull=again", "--reason", "the mount is corrected"];
    scene.holdpoint(&again).exits(1).says("holds every file of the stopped database, byte for byte");
    scene.engine.sh("rm /srv/matrix/pgdata/old-notes");
    let again = ["resume", "--decide", "move-data=again", "--reason", "it was an old note"];
    let asked = scene.holdpoint(&again).exits(4).says("the containers of matrix");
    Page::named(PAGE).shows("asked", &asked.stderr, &[(run, "compose-postgres-recreate-20261130-8b2q")]);

    // Each proof counts until the last moment. The dump is cut short, while the database stands still already.
    let wrong = ["--confirm", "remove=the containers"];
    let dump = "/srv/backups/matrix-before/synapse.sql.gz";
    scene.engine.sh(&format!("cp -a {dump} /srv/kept; truncate -s 500 {dump}"));
    scene
        .holdpoint(&["resume", "--confirm", REMOVE])
        .exits(3)
        .says("the dump of synapse is fresh and readable");
    scene.engine.sh(&format!("mv /srv/kept {dump}"));
    let again = ["resume", "--decide", "backup=again", "--reason", "it is whole again"];
    scene.holdpoint(&[&again[..], &wrong].concat()).exits(3).says("That is not the text");
    // A byte more in the copy.
    let copied = "/srv/matrix/pgdata/postgresql.auto.conf";
    scene.engine.sh(&format!("cp -a {copied} /srv/kept; echo >>{copied}"));
    scene.holdpoint(&["resume", "--confirm", REMOVE]).exits(3).says("byte for byte");
    assert_eq!(scene.engine.sh("docker inspect -f '{{.State.Status}}' matrix-db-1"), "exited");
    scene.engine.sh(&format!("mv /srv/kept {copied}"));
    let again = ["resume", "--decide", "move-data=again", "--reason", "it was a slip in another window"];
    scene.holdpoint(&[&again[..], &wrong].concat()).exits(3).says("That is not the text");
    let through = scene.holdpoint(&["resume", "--confirm", REMOVE]).exits(0);
    Page::named(PAGE).shows("through", &through.stderr, &[]);
    scene.holdpoint(&["verify", run]).exits(0);
    scene.holdpoint(&["log", run]).exits(0).says("WAIVED").says(reason).says("the run is complete");
}

/// Another stack: between `down` and `up` the compose file is another, then the data is elsewhere; then Docker hangs.
fn an_empty_server_and_a_hanging_docker() {
    let scene = Scene::new();
    let project = "matrix-staging";
    scene.compose(project, RIGHT, None);
    scene.starts(project);
    scene.engine.sh("touch /srv/backups-staging/last-success /srv/matrix-staging/this-is-staging");
    let before = (scene.users(project), scene.cluster(project));
    // Twice as many as Docker would need to be still at work when it is asked again.
    let many = Some("40000-43999");
    scene.compose(project, RIGHT, many);
    let mut tristan = scene.terminal(&words(&["run"], "staging", &["most_ports=5000", "up_timeout=20s"]));
    tristan.answers(r"Step 1 of \d+: announce\s", "c");
    tristan.answers("Who is the second person", "Bea, +1 555 0100");
    tristan.answers(r"Step 2 of \d+: preflight\s", "q");
    tristan.ends();
    let run = scene.run();
    let shown = [(run.as_str(), "compose-postgres-recreate-20261130-8b2q")];
    scene.holdpoint(&["resume"]).exits(4).says("the containers of matrix-staging");

    let mut tristan = scene.terminal(&["resume"]);
    tristan.answers(r"Step \d+ of \d+: remove\s", "g");
    tristan.answers("THIS DESTROYS DATA", "the containers of matrix-staging");
    tristan.sees(r"Step \d+ of \d+: up-db\s");
    scene.compose(project, WRONG, None);
    tristan.types("g");
    tristan.answers("The hold point stays closed", "q");
    tristan.ends();
    scene.holdpoint(&["resume"]).exits(3).says("will hold none of it");
    assert_eq!(scene.containers(project), "", "no server was started on it");

    // The file is right again; now the data is not where it was. An empty server comes up, and it is seen before anybody
    // writes to it. The run stays where it is, and somebody is told.
    scene.compose(project, RIGHT, many);
    scene.engine.sh("cd /srv/matrix-staging; mv pgdata kept; install -d -m 0700 -o 999 -g 999 pgdata");
    let failed = scene.holdpoint(&["resume"]);
    Page::named(PAGE).shows("empty", &failed.stderr, &shown);
    failed.exits(1).says("it is the cluster that was there before");
    let done = ["resume", "--decide", "up-db=done", "--reason", "it answers"];
    assert_ne!(scene.holdpoint(&done).says("system identifier").status, Some(0));
    assert_eq!(scene.containers(project).lines().count(), 1, "the application was not started on it");
    let told = scene.pages();
    assert!(told.lines().any(|line| line.contains(&run) && line.contains("up-db")), "{told}");

    scene.engine.sh("docker stop matrix-staging-db-1; cd /srv/matrix-staging; rm -r pgdata; mv kept pgdata");
    let again = ["resume", "--decide", "up-db=again", "--reason", "the directory is the right one again"];
    let hung = scene.holdpoint(&again).exits(1).says("stopped at its time limit of 20s");
    Page::named(PAGE).shows("hanging", &hung.stderr, &shown);
    let containers = scene.containers(project);
    assert_eq!(containers.lines().count(), 2, "nothing was removed");
    // As long as Docker is busy with it, nothing goes on.
    scene.compose(project, RIGHT, None);
    let again = ["resume", "--decide", "up=again", "--reason", "without the range"];
    scene.holdpoint(&again).exits(3).says("Docker answers in time");
    assert_eq!(scene.containers(project), containers);

    scene.engine.restart_docker();
    scene.docker_compose(project, "up -d --no-deps db");
    scene.holdpoint(&["resume"]).exits(0);
    assert_eq!((scene.users(project), scene.cluster(project)), before);
    scene.holdpoint(&["verify", &run]).exits(0);
}

/// What was typed that day, as a runbook: `lint` wants to know what goes.
fn the_commands_of_that_day() {
    let sandbox = Sandbox::new();
    let book = sandbox.write(
        "restart.yaml",
        "holdpoint: 1\nname: restart\nsteps:\n  - id: restart\n    run: |\n      docker-compose down\n      docker-compose up -d\n    \
         timeout: 1h\n  - id: tidy\n    run: |\n      docker rm --force matrix_postgres_1\n      docker volume prune --force\n    timeout: 1h\n",
    );
    let said = finish(sandbox.holdpoint().arg("lint").arg(&book), Duration::from_secs(60)).exits(2);
    let said = said.says("docker-compose down").says("docker volume prune");
    let here = book.display().to_string();
    Page::named(PAGE).shows("lint", &format!("{}{}", said.stdout, said.stderr), &[(&here, "restart.yaml")]);
}
