//! What the tests share: a registry that knows what each test needs, sandboxes, clusters, terminals.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of the harness")]

mod cluster;
pub mod damage;
pub mod debian;
pub mod engine;
mod port;
mod said;
mod sandbox;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub use cluster::{Cluster, Major, must, standby_of};
pub use debian::Debian;
pub use engine::Engine;
use libtest_mimic::{Arguments, Failed, Trial};
pub use port::Port;
pub use said::{Said, Terminal, open_points};
pub use sandbox::{LOADED, Ran, Sandbox, copy_program, eventually, finish, own_name};

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Running as root.
    Root,
    /// Loop devices and mount.
    Mount,
    /// PostgreSQL 15 (Debian 12's own).
    Pg15,
    /// PostgreSQL 13.
    Pg13,
    /// PostgreSQL 14: server and contrib modules.
    Pg14,
    /// PostgreSQL 16: server and contrib modules.
    Pg16,
    /// PostgreSQL 17: server and contrib modules.
    Pg17,
    /// PostgreSQL 18: server and contrib modules.
    Pg18,
    /// PostgreSQL 17 with hypopg 1.4, which can hide an index.
    Hypopg,
    /// All programs of PostgreSQL 16 and 18, without contrib modules.
    PgWheel,
    /// The sources of locales, to build one that sorts otherwise.
    Locales,
    /// strace, which can make a system call fail.
    Strace,
    /// libfaketime: another wall clock for one process.
    Faketime,
    /// ssh-keygen, which signs.
    SshKeygen,
    /// pgBackRest.
    Pgbackrest,
    /// Barman.
    Barman,
    /// restic.
    Restic,
    /// Debian's pg_upgradecluster and friends.
    PgCommon,
    /// A throw-away Debian of our own.
    Debian,
    /// The same, with PostgreSQL 13 from Debian 11.
    Debian11,
    /// Python 3, for small servers.
    Python,
    /// Docker 20.10 of Debian 12, which can be started here.
    Docker20,
    /// Docker 26.1 of Debian 13, with compose, which can be started here.
    Docker26,
    /// Podman 4.3 of Debian 12, which can be started here.
    Podman4,
    /// node, and the YAML language server that editors use.
    YamlLs,
    /// node, the schema of SARIF and a validator.
    SarifSchema,
    /// Three releases of Synapse, each in a virtual environment.
    Synapse,
}

impl Need {
    /// Why the machine does not have it; `None` when it has.
    fn missing(self) -> Option<String> {
        match self {
            Need::Root => (!is_root()).then(|| "needs root".to_owned()),
            Need::Mount => mount_missing(),
            Need::Pg15 => absent("/usr/lib/postgresql/15/bin/postgres"),
            Need::Pg13 => pg13_bin().is_none().then(|| "PostgreSQL 13 is not unpacked".to_owned()),
            Need::Pg14 => major_missing(Major::V14),
            Need::Pg16 => major_missing(Major::V16),
            Need::Pg17 => major_missing(Major::V17),
            Need::Pg18 => major_missing(Major::V18),
            Need::Hypopg => major_missing(Major::V17Hypopg),
            Need::PgWheel => major_missing(Major::Wheel18),
            Need::Locales => absent("/usr/share/i18n/locales/en_US"),
            Need::Strace => absent("/usr/bin/strace"),
            Need::Faketime => faketime().is_none().then(|| "libfaketime is not there".to_owned()),
            Need::SshKeygen => absent("/usr/bin/ssh-keygen"),
            Need::Pgbackrest => absent("/usr/bin/pgbackrest"),
            Need::Barman => absent("/usr/bin/barman"),
            Need::Restic => absent("/usr/bin/restic"),
            Need::PgCommon => absent("/usr/bin/pg_upgradecluster"),
            Need::Debian => debian::plain_missing(),
            Need::Debian11 => debian::missing(),
            Need::Python => absent("/usr/bin/python3"),
            Need::Docker20 => engine::missing(engine::Kind::Docker20),
            Need::Docker26 => engine::missing(engine::Kind::Docker26),
            Need::Podman4 => engine::missing(engine::Kind::Podman4),
            Need::YamlLs => npm_missing("node_modules/yaml-language-server/bin/yaml-language-server"),
            Need::SarifSchema => npm_missing("package/lib/schemas/sarif-2.1.0-rtm.5.json"),
            Need::Synapse => {
                (!synapse_dir().join("complete").exists()).then(|| "Synapse was not fetched".to_owned())
            }
        }
    }
}

/// Tries it, in a mount name space of its own: a container's root often may not.
fn mount_missing() -> Option<String> {
    let works = |program: &str, arguments: &[&str]| {
        let quiet = std::process::Stdio::null;
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdout(quiet()).stderr(quiet()).status().is_ok_and(|status| status.success())
    };
    let mounts = works("unshare", &["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
    (!mounts || !works("losetup", &["--find"])).then(|| "needs to mount a loop device".to_owned())
}

fn absent(path: &str) -> Option<String> {
    (!std::path::Path::new(path).exists()).then(|| format!("{path} is not there"))
}

fn major_missing(major: Major) -> Option<String> {
    (!major.bin().join("postgres").exists()).then(|| format!("PostgreSQL {major:?} is not unpacked"))
}

/// The library that gives one process another wall clock.
pub fn faketime() -> Option<PathBuf> {
    let lib = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    lib.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// Where further majors are: `HOLDPOINT_TEST_PG`, else where `tests/run.sh` puts them.
pub fn majors_dir() -> PathBuf {
    let cached = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/pg");
    std::env::var_os("HOLDPOINT_TEST_PG").map_or_else(cached, PathBuf::from)
}

/// Where packages from npm are: `HOLDPOINT_TEST_NPM`, else where `tests/run.sh` puts them.
pub fn npm() -> PathBuf {
    let cached = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/npm");
    std::env::var_os("HOLDPOINT_TEST_NPM").map_or_else(cached, PathBuf::from)
}

/// Where releases of Synapse are: `HOLDPOINT_TEST_SYNAPSE`, else where `tests/run.sh` puts them.
pub fn synapse_dir() -> PathBuf {
    let cached = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/synapse");
    std::env::var_os("HOLDPOINT_TEST_SYNAPSE").map_or_else(cached, PathBuf::from)
}

fn npm_missing(file: &str) -> Option<String> {
    let node = std::process::Command::new("node").arg("--version").output();
    if !node.is_ok_and(|node| node.status.success()) {
        return Some("node is not there".to_owned());
    }
    (!npm().join(file).exists()).then(|| format!("{file} was not fetched from npm"))
}

/// Are we root?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The programs of PostgreSQL 13: where `HOLDPOINT_TEST_PG13` says, else where `tests/run.sh` puts them.
pub fn pg13_bin() -> Option<PathBuf> {
    let cached = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/pg13/usr/lib/postgresql/13/bin");
    let bin = std::env::var_os("HOLDPOINT_TEST_PG13").map_or_else(cached, PathBuf::from);
    bin.join("postgres").exists().then_some(bin)
}

/// Runs a future to its end on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// No test takes nearly so long, on a loaded machine either. One that hangs must not hold all the others' results back.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// Gives the whole program up when it is not dropped in time.
struct Watched {
    _end: Sender<()>,
}

impl Watched {
    fn begin(name: String) -> Watched {
        let (end, ended) = channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "HANGS: {name}, for {} minutes; given up with all that is left",
                    LONGEST.as_secs() / 60
                );
                std::process::exit(101);
            }
        });
        Watched { _end: end }
    }
}

/// All tests.
#[derive(Default)]
pub struct Registry {
    trials: Vec<Trial>,
}

impl Registry {
    /// Adds a test that needs `needs`.
    pub fn add(&mut self, name: &str, needs: &[Need], test: impl FnOnce() + Send + 'static) {
        let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
        let called = name.to_owned();
        let trial = Trial::test(name, move || {
            let _watched = Watched::begin(called);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_else(|| "panicked".to_owned());
                Failed::from(text)
            })
        });
        if missing.is_empty() {
            self.trials.push(trial);
        } else {
            eprintln!("SKIPPED {name}: {}", missing.join("; "));
            self.trials.push(trial.with_ignored_flag(true));
        }
    }

    /// The names of all tests added so far, skipped ones included.
    pub fn names(&self) -> Vec<String> {
        self.trials.iter().map(|trial| trial.name().to_owned()).collect()
    }

    /// Runs them as the arguments say.
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code()
    }
}
