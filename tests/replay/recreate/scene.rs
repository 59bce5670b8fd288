//! The machine: a Docker engine, the stack as it was in May 2018, and a copy of it for rehearsals.

use std::path::Path;
use std::time::Duration;

use crate::harness::engine::{Engine, Kind};
use crate::harness::{Ran, Terminal, finish};

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/compose-postgres-recreate.yaml");

/// One level above the data directory: where the directory of the host was mounted.
pub const WRONG: &str = "./pg:/var/lib/postgresql";
/// Where it has to be.
pub const RIGHT: &str = "./pgdata:/var/lib/postgresql/data";

/// The confirmation of taking the containers down.
pub const REMOVE: &str = "remove=the containers of matrix";

/// The images as they are called there, a pager, and a client: one person writes, another one reads.
const SET_UP: &str = r#"
hostname matrix1
docker create --network none --name template plain >/dev/null
docker export template | docker import -c 'ENV PATH=/bin:/usr/lib/postgresql/15/bin' - synapse:1.30 >/dev/null
docker rm template >/dev/null
docker tag pg postgres:15
mkdir -p /srv/backups /srv/backups-staging /usr/local/bin /usr/local/sbin
cat >/usr/local/bin/page <<'EOF'
#!/bin/bash
echo "$1" >>/srv/pages
EOF
for project in matrix matrix-staging; do
    cat >/usr/local/sbin/$project-say <<EOF
#!/bin/bash
echo "insert into messages (sender, body) values (current_user, :'word')" | docker exec -i $project-db-1 \
    psql -h /sock -U alice -Xq -v ON_ERROR_STOP=1 -v word="\$HOLDPOINT_TOKEN" synapse
EOF
    cat >/usr/local/sbin/$project-hear <<EOF
#!/bin/bash
docker exec $project-db-1 psql -h /sock -U bob -XAtc 'select body from messages order by id desc limit 50' synapse
EOF
done
chmod 0755 /usr/local/bin/page /usr/local/sbin/matrix*
"#;

/// The application: it writes a row now and then.
const SERVE: &str = r#"#!/bin/sh
trap 'exit 0' TERM
while :; do
    psql -h /sock -U synapse -Xq -d synapse -c "insert into events (body) values ('hello')" >/dev/null 2>&1
    sleep 0.3 & wait $!
done
"#;

const ROWS: &str = "
create role synapse login; create role alice login; create role bob login;
create database synapse owner synapse template template0 lc_collate 'C' lc_ctype 'C';
\\c synapse
create table users as select 'user' || g as name from generate_series(1, 1000) g;
create table events (id bigserial primary key, body text, at timestamptz default now());
create table messages (id bigserial primary key, sender text, body text);
grant all on all tables in schema public to synapse, alice, bob;
grant all on all sequences in schema public to synapse, alice, bob;
";

pub struct Scene {
    pub engine: Engine,
}

impl Scene {
    /// Without any container.
    pub fn new() -> Scene {
        let engine = Engine::with_postgres(Kind::Docker26);
        engine.sh(SET_UP);
        std::fs::copy(BOOK, engine.path("/srv/recreate.yaml")).unwrap();
        Scene { engine }
    }

    /// Writes the compose file of a project: where the database's directory is mounted, and a range of ports.
    pub fn compose(&self, project: &str, mount: &str, range: Option<&str>) {
        let folder = self.engine.path(&format!("/srv/{project}"));
        self.engine.sh(&format!(
            "mkdir -p /srv/{project}/media; cd /srv/{project}; install -d -o 999 -g 999 run pg; touch media/homeserver.yaml"
        ));
        let serve = folder.join("media/serve");
        if !serve.exists() {
            program(&serve, SERVE);
        }
        let port = if project == "matrix" { 8008 } else { 8009 };
        let range = range.map(|range| format!("\n      - \"{range}:{range}/udp\"")).unwrap_or_default();
        let text = format!(
            "services:\n  db:\n    image: postgres:15\n    volumes:\n      - ./run:/sock\n      - {mount}\n  synapse:\n    \
             image: synapse:1.30\n    entrypoint: [\"/data/serve\"]\n    volumes:\n      - ./run:/sock\n      \
             - ./media:/data\n    ports:\n      - \"{port}:8008\"{range}\n"
        );
        std::fs::write(folder.join("docker-compose.yml"), text).unwrap();
    }

    /// `docker compose` with these arguments, in the project's folder; then waits for the database if it is started.
    #[track_caller]
    pub fn docker_compose(&self, project: &str, arguments: &str) {
        self.engine.sh(&format!("cd /srv/{project}; docker compose {arguments} 2>&1"));
        if arguments.starts_with("up") {
            self.engine.sh(&format!(
                "for try in {{1..1200}}; do docker exec {project}-db-1 psql -h /sock -U postgres -XAtqc 'select 1' \
                 >/dev/null 2>&1 && exit 0; sleep 0.1; done; docker logs {project}-db-1 >&2; exit 1"
            ));
        }
    }

    /// Starts a project, and gives it users.
    pub fn starts(&self, project: &str) {
        self.engine.sh(&format!("install -d -m 0700 -o 999 -g 999 /srv/{project}/pgdata"));
        self.docker_compose(project, "up -d");
        std::fs::write(self.engine.path("/tmp/rows.sql"), ROWS).unwrap();
        self.engine.sh(&format!(
            "docker exec -i {project}-db-1 psql -h /sock -U postgres -Xq -v ON_ERROR_STOP=1 </tmp/rows.sql"
        ));
    }

    /// Runs SQL in a container's database server.
    #[track_caller]
    pub fn sql(&self, container: &str, database: &str, sql: &str) -> String {
        self.engine.sh(&format!(
            "docker exec {container} psql -h /sock -U postgres -XAtq -v ON_ERROR_STOP=1 -c \"{sql}\" {database}"
        ))
    }

    #[track_caller]
    pub fn users(&self, project: &str) -> String {
        self.sql(&format!("{project}-db-1"), "synapse", "select count(*) from users")
    }

    #[track_caller]
    pub fn cluster(&self, project: &str) -> String {
        self.sql(&format!("{project}-db-1"), "postgres", "select system_identifier from pg_control_system()")
    }

    /// The containers of a project, by their ids.
    pub fn containers(&self, project: &str) -> String {
        let label = format!("label=com.docker.compose.project={project}");
        self.engine.sh(&format!("docker ps --all --no-trunc --quiet --filter {label} | sort"))
    }

    /// What the pager was told.
    pub fn pages(&self) -> String {
        std::fs::read_to_string(self.engine.path("/srv/pages")).unwrap_or_default()
    }

    /// holdpoint without a terminal.
    pub fn holdpoint(&self, arguments: &[&str]) -> Ran {
        let mut command = self.engine.command("holdpoint");
        command.args(arguments).args(["--store", "/srv/store", "--operator", "tristan"]);
        let ran = finish(&mut command, Duration::from_secs(900));
        if std::env::var_os("HOLDPOINT_TEST_SHOW").is_some() {
            eprintln!("$ holdpoint {}\n{}{}[{:?}]", arguments.join(" "), ran.stderr, ran.stdout, ran.status);
        }
        ran
    }

    /// Starts a terminal with holdpoint in it.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let mut command = self.engine.command_at_terminal("holdpoint");
        command.args(arguments).args(["--store", "/srv/store", "--operator", "tristan"]);
        Terminal::of(command)
    }

    /// The newest run.
    pub fn run(&self) -> String {
        self.engine.sh("ls --sort=time /srv/store/runs | head -1")
    }
}

/// The words that do something with the runbook in an environment of it; `more` are further variables.
pub fn words<'a>(command: &[&'a str], environment: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let address = match environment {
        "production" => "address=host=/srv/matrix/run user=postgres dbname=postgres",
        _ => "address=host=/srv/matrix-staging/run user=postgres dbname=postgres",
    };
    let vars = [address, "socket=/sock", "engine_root=/srv/engine", "pull=missing", "soak=2s"];
    let mut words = vec![command[0], "/srv/recreate.yaml"];
    words.extend(&command[1..]);
    words.extend(["--env", environment]);
    words.extend(vars.iter().chain(more).flat_map(|pair| ["--var", *pair]));
    words
}

fn program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}
