//! A homeserver of its own for each test, a PostgreSQL server beside it, and two people who use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use expectrl::{Expect, Regex, Session};
use rusqlite::Connection;

use crate::harness::{Cluster, Major, Port, Ran, Sandbox, eventually, finish, synapse_dir};
use crate::page::Page;
use crate::play::{Play, kill_tree};

/// The Synapse that everything moves to.
pub const NEW: &str = "1.163.2";
/// One whose schema is older, and which still works on the newer one's database.
pub const OLDER: &str = "1.120.0";
/// One that does not.
pub const OLDEST: &str = "1.98.0";

const LIMIT: Duration = Duration::from_secs(900);

/// Where releases are installed, each in a folder called as it is.
pub fn releases() -> PathBuf {
    synapse_dir().canonicalize().unwrap()
}

/// Where a release is installed.
pub fn venv(version: &str) -> PathBuf {
    releases().join(version)
}

/// A homeserver, its database server, and who works on it.
pub struct Site {
    pub play: Play,
    pub server: Cluster,
    port: Port,
}

impl Site {
    /// Nothing runs yet. The folder `current` is the Synapse of this version.
    pub fn new(version: &str) -> Site {
        let site = Site { play: Play::new(), server: Cluster::start(Major::V15), port: Port::free() };
        site.server.psql("create role synapse login");
        std::os::unix::fs::symlink(venv(version), site.path("current")).unwrap();
        std::fs::create_dir(site.path("backups")).unwrap();
        site.write("homeserver.yaml", &site.configuration(&site.sqlite(), false));
        site.write("homeserver-postgres.yaml", &site.configuration(&site.postgres(), false));
        site.write("log.yaml", &LOG.replace('@', &site.here()));
        site.write("example.org.signing.key", "ed25519 a_test 1vvMo7aJLLSXFUKaLKjmAHmIyNZmE9WbdQXqGQqW6jE\n");
        site.program("app", &APP.replace("PORT", &site.port.number().to_string()));
        site.program("talk", TALK);
        site.write("client.py", include_str!("client.py"));
        site
    }

    /// One in which people have talked for a while, on SQLite.
    pub fn on_sqlite(name: &str) -> Site {
        let template = template();
        let site = Site::new(NEW);
        std::fs::copy(template.join(name), site.path("homeserver.db")).unwrap();
        must(Command::new("cp").arg("-a").arg(template.join("media")).arg(site.path("media")));
        let state = std::fs::read_to_string(template.join("state.json")).unwrap();
        let was = &state[state.find("http://").unwrap()..state.find("\", \"room").unwrap()];
        site.write("state.json", &state.replace(was, &site.url()));
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.play.path(name)
    }

    /// Its folder.
    pub fn here(&self) -> String {
        self.play.sandbox.path().display().to_string()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    pub fn write(&self, name: &str, text: &str) {
        self.play.sandbox.write(name, text);
    }

    /// A program in its folder, which stands there for `HERE`.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, &text.replace("HERE", &self.here()));
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn sqlite(&self) -> String {
        format!("{{ name: sqlite3, args: {{ database: {}/homeserver.db }} }}", self.here())
    }

    fn postgres(&self) -> String {
        let (socket, port) = self.door();
        format!(
            "{{ name: psycopg2, args: {{ user: synapse, database: synapse, host: {socket}, port: {port}, cp_min: 1, cp_max: 5 }} }}"
        )
    }

    /// Where its database server answers: the socket's folder and the port.
    fn door(&self) -> (String, String) {
        let conninfo = self.server.conninfo("postgres");
        let word = |name: &str| {
            let found = conninfo.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap().trim_matches('\'').to_owned()
        };
        (word("host="), word("port="))
    }

    /// How a superuser reaches it, without the database.
    pub fn connection(&self) -> String {
        let (socket, port) = self.door();
        format!("host={socket} port={port} user=postgres")
    }

    /// `slow`: background updates take as long as they do on a real server, and not as short as may be.
    fn configuration(&self, database: &str, slow: bool) -> String {
        let pace = match slow {
            true => "{ sleep_duration_ms: 600000 }",
            false => "{ sleep_duration_ms: 1, default_batch_size: 5000, min_batch_size: 5000 }",
        };
        let text = CONFIGURATION.replace("DATABASE", database).replace("PACE", pace);
        text.replace("PORT", &self.port.number().to_string()).replace('@', &self.here())
    }

    /// Background updates do not come to an end.
    pub fn slowly(&self, slow: bool) {
        self.write("homeserver.yaml", &self.configuration(&self.sqlite(), slow));
    }

    /// Synapse uses PostgreSQL from its next start on.
    pub fn uses_postgres(&self) {
        self.write("homeserver.yaml", &self.configuration(&self.postgres(), false));
    }

    /// An empty database, as Synapse's documentation says to make it.
    pub fn empty_database(&self) {
        self.server.psql("drop database if exists synapse");
        self.server
            .psql("create database synapse owner synapse template template0 encoding 'UTF8' locale 'C'");
    }

    /// Starts the homeserver until it answers (`up`), stops it, or looks after it.
    #[track_caller]
    pub fn app(&self, what: &str) {
        finish(Command::new(self.path("app")).arg(what), LIMIT).exits(0);
    }

    /// The same, however it ends.
    pub fn app_ends(&self, what: &str) -> Ran {
        finish(Command::new(self.path("app")).arg(what), LIMIT)
    }

    /// What the homeserver wrote down.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("homeserver.log")).unwrap()
    }

    /// What a person does.
    #[track_caller]
    pub fn talk(&self, words: &[&str]) -> String {
        finish(Command::new(self.path("talk")).args(words), LIMIT).exits(0).stdout.trim().to_owned()
    }

    /// People use it for a while, for the first time.
    pub fn populate(&self) {
        self.talk(&["populate", &self.url(), "secret", "60"]);
    }

    pub fn psql(&self, sql: &str) -> String {
        self.server.psql_in("synapse", sql)
    }

    /// Waits until Synapse has ended its background updates on PostgreSQL.
    pub fn updates_end(&self) {
        eventually(LIMIT, "the background updates to end", || {
            self.psql("select count(*) from background_updates") == "0"
        });
    }

    /// The program without a terminal, by somebody.
    #[track_caller]
    pub fn ran(&self, who: &str, words: &[&str]) -> Ran {
        let ran = finish(self.play.holdpoint(who, "").args(words), LIMIT);
        if std::env::var_os("HOLDPOINT_TEST_SHOW").is_some() {
            eprintln!("$ holdpoint {}\n{}{}[{:?}]", words.join(" "), ran.stdout, ran.stderr, ran.status);
        }
        ran
    }

    /// The program at a terminal: waits for each text, then gives its answer.
    #[track_caller]
    pub fn at_a_terminal(&self, who: &str, words: &[&str], answers: &[(&str, &str)]) {
        // A terminal in the place of what the sandbox gives as standard input.
        let plain = self.play.sandbox.holdpoint();
        let mut command = Command::new(plain.get_program());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.play.sandbox.path()).args(["--operator", who]).args(words);
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(LIMIT));
        for (after, text) in answers {
            if let Err(error) = session.expect(Regex(after)).and_then(|_| session.expect("\n> ")) {
                let rest = session.expect(Regex("(?s).*")).map(|found| found.as_bytes().to_vec());
                let rest = rest.unwrap_or_default();
                panic!("waiting for `{after}`: {error}; the screen:\n{}", String::from_utf8_lossy(&rest));
            }
            session.send_line(text).unwrap();
        }
        session.expect(expectrl::Eof).unwrap();
    }

    /// The page shows this, with neutral paths.
    #[track_caller]
    pub fn shows(&self, name: &str, ran: &Ran) {
        let places = self.places();
        let places: Vec<(&str, &str)> = places.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        Page::named("synapse").shows(name, &format!("{}{}", ran.stdout, ran.stderr), &places);
    }

    /// What stands in the SQLite file.
    pub fn lite(&self, sql: &str) -> String {
        one(&self.path("homeserver.db"), sql)
    }

    /// Somebody writes to the SQLite file.
    pub fn lite_do(&self, sql: &str) {
        let connection = Connection::open(self.path("homeserver.db")).unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    }

    /// Words of this place, and what stands for them on a page.
    fn places(&self) -> Vec<(String, String)> {
        let (socket, port) = self.door();
        let data = self.server.data().display().to_string();
        vec![
            (format!("{}/backups", self.here()), "/srv/synapse".to_owned()),
            (format!("{}/homeserver.db", self.here()), "/var/lib/matrix-synapse/homeserver.db".to_owned()),
            (releases().display().to_string(), "/opt/synapse".to_owned()),
            (data, "/var/lib/postgresql/15/main".to_owned()),
            (socket, "/run/postgresql".to_owned()),
            (format!("port {port}"), "port 5432".to_owned()),
            (self.here(), "/etc/matrix-synapse".to_owned()),
        ]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.path("homeserver.pid")).unwrap_or_default();
        let here = self.here();
        if let Ok(pid) = pid.trim().parse::<i32>()
            && std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|words| words.contains(&here))
        {
            kill_tree(pid);
        }
    }
}

/// Made once for all tests: `busy.db` as it is soon after the first start, with background updates left, and `quiet.db` when
/// they have ended; the media; and what the people know.
fn template() -> &'static Path {
    static MADE: OnceLock<(Sandbox, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let (site, kept) = (Site::new(NEW), Sandbox::new());
        let keep = |name: &str, as_: &str| {
            must(Command::new("cp").arg("-a").arg(site.path(name)).arg(kept.join(as_)));
        };
        site.slowly(true);
        site.app("up");
        site.populate();
        site.app("stop");
        assert_ne!(site.lite("select count(*) from background_updates"), "0");
        keep("homeserver.db", "busy.db");
        site.slowly(false);
        site.app("up");
        eventually(LIMIT, "the background updates to end", || {
            site.lite("select count(*) from background_updates") == "0"
        });
        site.app("stop");
        keep("homeserver.db", "quiet.db");
        keep("media", "media");
        keep("state.json", "state.json");
        let path = kept.path().to_path_buf();
        (kept, path)
    });
    path
}

/// One value of an SQLite file.
fn one(file: &Path, sql: &str) -> String {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    let value: rusqlite::types::Value = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    match value {
        rusqlite::types::Value::Integer(n) => n.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    }
}

fn must(command: &mut Command) {
    finish(command, LIMIT).exits(0);
}

const CONFIGURATION: &str = r#"server_name: example.org
pid_file: @/homeserver.pid
listeners:
  - { bind_addresses: [127.0.0.1], port: PORT, resources: [{ names: [client, federation], compress: false }], tls: false, type: http }
database: DATABASE
log_config: @/log.yaml
media_store_path: @/media
signing_key_path: @/example.org.signing.key
registration_shared_secret: secret
macaroon_secret_key: a-test
form_secret: a-test
report_stats: false
trusted_key_servers: []
suppress_key_server_warning: true
bcrypt_rounds: 4
background_updates: PACE
rc_message: { per_second: 10000, burst_count: 10000 }
rc_login:
  address: { per_second: 10000, burst_count: 10000 }
  account: { per_second: 10000, burst_count: 10000 }
"#;

const LOG: &str = r#"version: 1
formatters: { plain: { format: "%(asctime)s %(name)s %(levelname)s %(message)s" } }
handlers: { file: { class: logging.FileHandler, formatter: plain, filename: @/homeserver.log } }
root: { level: INFO, handlers: [file] }
disable_existing_loggers: false
"#;

const APP: &str = r#"#!/bin/bash
# The homeserver, by Synapse's own synctl, which does not wait until it answers; `up` does.
python=HERE/current/bin/python pid=HERE/homeserver.pid
running() { [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
case $1 in
    start)
        ! running && rm -f "$pid"
        "$python" HERE/current/bin/synctl start HERE/homeserver.yaml || exit
        # The daemon writes down its number when who started it has gone.
        for _ in {1..600}; do running && exit; sleep 0.1; done
        exit 1;;
    up)
        "$0" start || exit
        for _ in {1..3000}; do (exec 3<>/dev/tcp/127.0.0.1/PORT) 2>/dev/null && exit; sleep 0.1; done
        exit 1;;
    stop) ! running || exec "$python" HERE/current/bin/synctl stop HERE/homeserver.yaml;;
    status) running || exit 3;;
esac
"#;

const TALK: &str = r#"#!/bin/sh
exec HERE/current/bin/python -I HERE/client.py HERE/state.json "$@"
"#;
