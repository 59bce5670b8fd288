//! A throw-away Debian with PostgreSQL 13 beside 15: an overlay over this machine's own root, in namespaces of its own
//! (mounts, processes, network, IPC). Nothing that happens in it reaches this machine, and nothing of it can stay:
//! the first process reads a pipe that we hold, so that the end of the test, however it comes, is the end of it all.
//!
//! PostgreSQL 13 comes from Debian 11, from the mirror that this machine's own apt uses; the packages are kept in
//! cargo's directory for tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::must;

/// Runs as the first process of the sandbox. It lies over /tmp, which nobody removes: a directory that is removed while the
/// last process still ends takes what is mounted on it along in one piece, and a loop device whose file lies in that piece
/// and whose file system hangs on it then keeps all of it, for as long as the machine runs.
const SETUP: &str = r#"
set -eu
read -r pid rest </proc/self/stat
ip link set lo up
mount -t tmpfs -o size=4g,mode=0755 tmpfs /tmp
cd /tmp
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
# Names in shared memory are made of process numbers, which another sandbox has, too; and what is killed leaves them.
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/lock
install -d -o postgres -g postgres run/postgresql
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 0755 usr/sbin/policy-rc.d
rm -rf etc/postgresql/* var/lib/postgresql/* var/log/postgresql/*
printf 'create_main_cluster = false\n' >>etc/postgresql-common/createcluster.conf
touch etc/throw-away
trap '' CHLD
# Ready only once the root is its own: until then /proc/PID/root is this machine's.
exec chroot . bash -c 'echo "ready $1"; exec cat' ready "$pid"
"#;

/// What a command of the sandbox starts with.
const ENVIRONMENT: [&str; 5] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "TERM=dumb",
    "DEBIAN_FRONTEND=noninteractive",
];

/// The sandbox. Everything in it ends when it is dropped.
pub struct Debian {
    init: Child,
    pid: u32,
}

impl Debian {
    /// A new one with PostgreSQL 13 and 15 and no cluster; `holdpoint` is in the path.
    pub fn new() -> Debian {
        let packages = packages().unwrap();
        let debian = Debian::plain();
        for package in packages {
            debian.copy_in(&package, &format!("/tmp/debs/{}", package.file_name().unwrap().display()));
        }
        debian.sh("dpkg --force-unsafe-io --install /tmp/debs/*.deb && rm -r /tmp/debs");
        debian
    }

    /// A new one with what this machine has itself, and no cluster.
    pub fn plain() -> Debian {
        let mut init = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--"])
            .args(["bash", "-c", SETUP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(init.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        let debian = Debian { init, pid: pid.expect("the sandbox did not come up") };
        assert!(debian.path("/etc/throw-away").exists(), "its root is not its own");
        debian.copy_in(Path::new(env!("CARGO_BIN_EXE_holdpoint")), "/usr/local/bin/holdpoint");
        debian
    }

    /// A path of the sandbox as this machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// Copies a file into the sandbox, with its permissions.
    pub fn copy_in(&self, from: &Path, to: &str) {
        let to = self.path(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        super::copy_program(from, &to);
    }

    /// Writes a program into the sandbox.
    pub fn program(&self, path: &str, text: &str) {
        let there = self.path(path);
        let made = self.path(&format!("{path}.new"));
        std::fs::write(&made, text).unwrap();
        super::copy_program(&made, &there);
        std::fs::remove_file(made).unwrap();
        std::fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A command that will run inside, as root, with a clean environment and nothing to read.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.command_at_terminal(program);
        command.stdin(Stdio::null());
        command
    }

    /// The same, for somebody who gives it a terminal.
    pub fn command_at_terminal(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd"]);
        command.args(["--target", &self.pid.to_string(), "--", "env", "-i"]);
        command.args(ENVIRONMENT).arg(program);
        command
    }

    /// Runs a bash script inside; its standard output. Panics with all output unless it succeeds.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = must(self.command("bash").args(["-euo", "pipefail", "-c", script]));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs SQL as the superuser of a cluster, as in `13/main`; rows as lines, columns with `|` between.
    #[track_caller]
    pub fn sql(&self, cluster: &str, database: &str, sql: &str) -> String {
        let mut command = self.command("runuser");
        command.args([
            "-u",
            "postgres",
            "--",
            "psql",
            "--cluster",
            cluster,
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        let output = must(command.args(["-d", database, "-c", sql]));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `13/main down` and the like: the clusters there are, in the order of pg_lsclusters.
    pub fn clusters(&self) -> Vec<String> {
        let lines = self.sh("pg_lsclusters --no-header");
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        lines.lines().map(fields).map(|f| format!("{}/{} {}", f[0], f[1], f[3])).collect()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// Why there can be no sandbox with PostgreSQL 13 here; `None` when there can be one. Tried once.
pub fn missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let without = |why| format!("PostgreSQL 13 of Debian 11 is not to be had: {why}");
    MISSING.get_or_init(|| plain_missing().or_else(|| packages().err().map(without))).clone()
}

/// Why there can be no sandbox at all here; `None` when there can be one. Tried once.
pub fn plain_missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(look).clone()
}

fn look() -> Option<String> {
    if !super::is_root() {
        return Some("needs root, to mount".to_owned());
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.ends_with("\toverlay")) {
        return Some("this kernel has no overlay file system".to_owned());
    }
    let unshare = Command::new("unshare").args(["--mount", "--pid", "--net", "--fork", "true"]).output();
    let works = unshare.is_ok_and(|output| output.status.success());
    (!works).then(|| "namespaces cannot be made here".to_owned())
}

/// The packages of PostgreSQL 13 and what it needs beyond this machine; fetched when they are not here yet.
fn packages() -> Result<Vec<PathBuf>, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-11");
    let complete = dir.join("complete");
    if !complete.exists() {
        fetch(&dir)?;
        std::fs::write(&complete, "").map_err(|e| e.to_string())?;
    }
    let entries = std::fs::read_dir(dir.join("archives")).map_err(|e| e.to_string())?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|e| e == "deb")).collect())
}

fn fetch(dir: &Path) -> Result<(), String> {
    for part in ["lists/partial", "archives/partial"] {
        std::fs::create_dir_all(dir.join(part)).map_err(|e| e.to_string())?;
    }
    let mirror = mirror().ok_or("no Debian mirror is named in /etc/apt")?;
    let sources = dir.join("sources.list");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={keys}] {mirror} bullseye main\n");
    std::fs::write(&sources, source).map_err(|e| e.to_string())?;
    let options = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        "Dir::Etc::preferencesparts=-".to_owned(),
        format!("Dir::State::lists={}", dir.join("lists").display()),
        format!("Dir::Cache::archives={}", dir.join("archives").display()),
        format!("Dir::Cache::pkgcache={}", dir.join("pkgcache.bin").display()),
        format!("Dir::Cache::srcpkgcache={}", dir.join("srcpkgcache.bin").display()),
        "APT::Sandbox::User=root".to_owned(),
        "APT::Update::Error-Mode=any".to_owned(),
        "Acquire::Retries=2".to_owned(),
        "Acquire::http::Timeout=20".to_owned(),
        "Debug::NoLocking=1".to_owned(),
    ];
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(options.iter().flat_map(|option| ["-o", option])).arg("-qq").args(arguments);
        let output = command.stdin(Stdio::null()).output().map_err(|e| format!("apt-get: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        if output.status.success() { Ok(()) } else { Err(said) }
    };
    apt(&["update"])?;
    apt(&["install", "--yes", "--no-install-recommends", "--download-only", "postgresql-13"])
}

/// The first address in this machine's apt sources that serves its own release: of the stanzas first, then of the
/// one-line files.
fn mirror() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.to_owned();
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let files =
        parts.filter_map(|entry| Some(entry.ok()?.path())).chain([PathBuf::from("/etc/apt/sources.list")]);
    let texts: Vec<String> = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let of_stanza = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let serves = field("Suites:")?.split_whitespace().any(|suite| suite == codename);
        serves.then(|| field("URIs:")?.split_whitespace().next().map(str::to_owned)).flatten()
    };
    let of_line = |line: &str| {
        let rest = line.strip_prefix("deb ")?.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        let mut words = rest.split_whitespace();
        let address = words.next()?;
        (words.next()? == codename).then(|| address.to_owned())
    };
    let stanzas = texts.iter().flat_map(|text| text.split("\n\n")).find_map(of_stanza);
    stanzas.or_else(|| texts.iter().flat_map(|text| text.lines()).find_map(of_line))
}
