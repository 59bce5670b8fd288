//! Backups by pg_dump, pg_basebackup, pgBackRest, Barman and restic, whole and broken, of the right cluster and of another.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdpoint::check::{Context, Outcome, Verdict};
use holdpoint::runbook::Target;
use serde_json::{Value, json};

use super::{context, is, look, verdict};
use crate::harness::{Cluster, Major, Need, Registry, Sandbox, eventually, must};

use Verdict::{Fail, Pass, Unknown};

pub fn register(r: &mut Registry) {
    let pg = &[Need::Pg15];
    verdict(r, "backup_fresh", Pass, pg, || vec![Dumps::make().fresh(json!({}))]);
    verdict(r, "backup_fresh", Fail, pg, || {
        let dumps = Dumps::make();
        dumps.halve("synapse-2.dump");
        let half = dumps.fresh(json!({}));
        vec![half, ask("backup_fresh", json!({ "path": "/nowhere/dumps", "max_age": "1d" }))]
    });
    verdict(r, "backup_fresh", Unknown, pg, || {
        let dumps = Dumps::make();
        std::fs::write(dumps.dir.path().join("synapse-3.dump"), "of no format that is known").unwrap();
        vec![dumps.fresh(json!({ "predecessors": 0 }))]
    });
    verdict(r, "backup_copied", Pass, &[Need::Pg15, Need::Root], || copied(true));
    verdict(r, "backup_copied", Fail, &[Need::Pg15, Need::Root], || copied(false));
    verdict(r, "backup_copied", Unknown, pg, || {
        let dumps = Dumps::make();
        let remote = |argv: &[&str]| {
            ask("backup_copied", json!({ "path": dumps.path(), "pattern": "synapse-*.dump", "remote": argv }))
        };
        vec![
            remote(&["false"]),
            remote(&["echo", "no digest"]),
            empty_backup(),
            ask("backup_copied", json!({ "path": "/nowhere", "copy": "/tmp" })),
        ]
    });
    verdict(r, "backup_of_cluster", Pass, pg, || {
        let (cluster, base) = based();
        vec![of(&cluster, &base)]
    });
    verdict(r, "backup_of_cluster", Fail, pg, || {
        let (_cluster, base) = based();
        let other = Cluster::start(Major::V15);
        let seen = of(&other, &base);
        is(&seen, Fail, "the backup is of cluster");
        vec![seen, of(&other, Path::new("/nowhere/base"))]
    });
    verdict(r, "backup_of_cluster", Unknown, pg, || {
        let (cluster, base) = based();
        let served = of(&cluster, &cluster.data());
        is(&served, Unknown, "a server (pid");
        std::fs::remove_file(base.join("global/pg_control")).unwrap();
        vec![served, of(&cluster, &base)]
    });
    verdict(r, "backup_restores", Pass, pg, restores);
    verdict(r, "backup_restores", Fail, pg, does_not_restore);
    verdict(r, "backup_restores", Unknown, pg, || {
        let dumps = Dumps::make();
        let small = ask(
            "backup_restores",
            json!({ "path": dumps.path(), "pattern": "synapse-*", "scratch": "/nowhere" }),
        );
        let none = ask("backup_restores", json!({ "path": "/nowhere/dumps" }));
        let empty = context([("db", dumps.cluster.target("template1"))]);
        let params = json!({ "path": dumps.path(), "pattern": "synapse-*", "target": "db" });
        let empty = look(&empty, "backup_restores", params);
        is(&empty, Unknown, "nothing to compare with");
        dumps.cluster.stop();
        let gone = dumps
            .ask("backup_restores", json!({ "path": dumps.path(), "pattern": "synapse-*", "target": "db" }));
        is(&gone, Unknown, "no server runs there");
        vec![small, none, empty, gone]
    });
    verdict(r, "check_report", Pass, &[], || {
        vec![report("/etc", json!({})), report("/etc", json!({ "check": "there" }))]
    });
    verdict(r, "check_report", Fail, &[], || {
        let failed = report("/nowhere/at/all", json!({}));
        is(&failed, Fail, "there: fail: nothing is there");
        vec![failed, report("/etc", json!({ "max_age": "1s" }))]
    });
    verdict(r, "check_report", Unknown, &[], || {
        vec![
            report("/etc", json!({ "check": "other" })),
            ask("check_report", json!({ "path": "/nowhere/r.json" })),
            ask("check_report", json!({ "path": "/etc/passwd" })),
        ]
    });
    let pgbackrest = &[Need::Pg15, Need::Pgbackrest];
    verdict(r, "pgbackrest_backup", Pass, pgbackrest, || {
        let stanza = Stanza::with_backup();
        vec![stanza.ask(json!({ "target": "db" })), stanza.ask(json!({ "min_size": "1MB", "verify": true }))]
    });
    verdict(r, "pgbackrest_backup", Fail, pgbackrest, || {
        let stanza = Stanza::new();
        let none = stanza.ask(json!({}));
        is(&none, Fail, "missing stanza");
        stanza.back_up();
        let other = Cluster::start(Major::V15);
        let of_other = look(
            &context([("db", other.target("postgres"))]),
            "pgbackrest_backup",
            stanza.params(json!({ "target": "db" })),
        );
        is(&of_other, Fail, "it is of the cluster");
        std::thread::sleep(Duration::from_millis(1500));
        vec![none, of_other, stanza.ask(json!({ "max_age": "1s" })), stanza.ask(json!({ "stanza": "other" }))]
    });
    verdict(r, "pgbackrest_backup", Unknown, pgbackrest, || {
        let params = json!({ "stanza": "main", "max_age": "1d", "config": "/nowhere/pgbackrest.conf" });
        vec![ask("pgbackrest_backup", params)]
    });
    let barman = &[Need::Pg15, Need::Barman, Need::Root];
    verdict(r, "barman_backup", Pass, barman, || {
        let barman = Barman::with_backup();
        vec![barman.ask(json!({ "target": "db" }))]
    });
    verdict(r, "barman_backup", Fail, barman, || {
        let barman = Barman::new();
        let none = barman.ask(json!({}));
        is(&none, Fail, "there is no backup");
        vec![none, barman.ask(json!({ "server": "nope" }))]
    });
    verdict(r, "barman_backup", Unknown, barman, || {
        vec![ask(
            "barman_backup",
            json!({ "server": "main", "max_age": "1d", "config": "/nowhere/barman.conf" }),
        )]
    });
    let restic = &[Need::Restic];
    verdict(r, "restic_backup", Pass, restic, || {
        let repository = Repository::make();
        vec![
            repository.ask(json!({ "tag": "synapse", "password": "sesame-1" })),
            repository.ask(json!({ "path": repository.source(), "read": true, "password": "sesame-1" })),
        ]
    });
    verdict(r, "restic_backup", Fail, restic, || {
        let repository = Repository::make();
        let none = repository.ask(json!({ "tag": "other", "password": "sesame-1" }));
        is(&none, Fail, "there is no backup");
        std::thread::sleep(Duration::from_millis(1500));
        let old = repository.ask(json!({ "max_age": "1s", "password": "sesame-1" }));
        repository.flip();
        let damaged = repository.ask(json!({ "read": true, "password": "sesame-1" }));
        is(&damaged, Fail, "the repository is damaged");
        vec![none, old, damaged]
    });
    verdict(r, "restic_backup", Unknown, restic, || {
        let repository = Repository::make();
        vec![
            repository.ask(json!({ "password": "wrong-one" })),
            repository.ask(json!({ "repository": "/nowhere/restic", "password": "sesame-1" })),
        ]
    });
}

fn ask(kind: &str, params: Value) -> Outcome {
    look(&context([]), kind, params)
}

/// A directory that everybody may enter.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("hp-bk-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// A server with a database, and archives of it.
struct Dumps {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Dumps {
    fn make() -> Dumps {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("create table events (id bigint primary key, body text); create role synapse; alter table events owner to synapse");
        cluster.psql("insert into events select g, md5(g::text) from generate_series(1, 20000) g");
        let dumps = Dumps { cluster, dir: open_dir() };
        dumps.dump("synapse-1.dump", &["-Fc"]);
        dumps.dump("synapse-2.dump", &["-Fc"]);
        let old = std::time::SystemTime::now() - Duration::from_secs(120);
        for name in ["synapse-1.dump", "synapse-2.dump"] {
            let file = std::fs::File::options().write(true).open(dumps.dir.path().join(name)).unwrap();
            let age = if name.contains('1') { Duration::from_secs(3600) } else { Duration::ZERO };
            file.set_modified(old - age).unwrap();
        }
        dumps
    }

    fn dump(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.dir.path().join(name);
        must(
            Major::V15
                .command("pg_dump")
                .args(arguments)
                .arg("-f")
                .arg(&path)
                .args(["-d", &self.cluster.conninfo("postgres")]),
        );
        path
    }

    fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn cx(&self) -> Context {
        context([("db", self.cluster.target("postgres"))])
    }

    fn ask(&self, kind: &str, params: Value) -> Outcome {
        look(&self.cx(), kind, params)
    }

    fn fresh(&self, more: Value) -> Outcome {
        let mut params =
            json!({ "path": self.path(), "pattern": "synapse-*.dump", "max_age": "1d", "predecessors": 1 });
        more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        ask("backup_fresh", params)
    }

    fn halve(&self, name: &str) {
        let path = self.dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
}

/// A directory without a file in it, on both sides: nothing compared with nothing.
fn empty_backup() -> Outcome {
    let place = open_dir();
    for side in ["a", "b"] {
        std::fs::create_dir_all(place.path().join(side).join("synapse-1")).unwrap();
    }
    let at = |side: &str| place.path().join(side);
    ask(
        "backup_copied",
        json!({ "path": at("a"), "pattern": "synapse-*", "copy": at("b"), "same_disk": true }),
    )
}

/// The second place is a file system of its own.
fn copied(good: bool) -> Vec<Outcome> {
    let dumps = Dumps::make();
    let second = open_dir();
    let elsewhere = second.path().join("mnt");
    std::fs::create_dir(&elsewhere).unwrap();
    must(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&elsewhere));
    let seen = std::panic::catch_unwind(|| {
        let seen = |copy: &Path| {
            ask("backup_copied", json!({ "path": dumps.path(), "pattern": "synapse-*.dump", "copy": copy }))
        };
        let from = dumps.dir.path().join("synapse-2.dump");
        let to = elsewhere.join("synapse-2.dump");
        if good {
            std::fs::copy(&from, &to).unwrap();
            let remote = ["sh", "-c", "sha256sum \"$0/$1\"", &elsewhere.display().to_string()];
            let remote = json!({ "path": dumps.path(), "pattern": "synapse-*.dump", "remote": remote });
            // A copied directory, with files that the backup does not have.
            let (_cluster, base) = based();
            must(Command::new("cp").arg("-a").arg(&base).arg(&elsewhere));
            std::fs::write(elsewhere.join("base/notes"), "mine").unwrap();
            std::fs::write(elsewhere.join("base/base/1/77777"), "").unwrap();
            let more = ask("backup_copied", json!({ "path": base, "copy": elsewhere, "same_disk": true }));
            let told = more.details.iter().any(|line| line.starts_with("the copy has 2 files more"));
            assert!(told, "{more:#?}");
            return vec![seen(&elsewhere), ask("backup_copied", remote), more];
        }
        let missing = seen(&elsewhere);
        is(&missing, Fail, "does not exist");
        let mut bytes = std::fs::read(&from).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&to, &bytes).unwrap();
        let other = seen(&elsewhere);
        is(&other, Fail, "has other bytes");
        std::fs::remove_file(&to).unwrap();
        std::os::unix::fs::symlink(&from, &to).unwrap();
        let link = seen(&elsewhere);
        is(&link, Fail, "is a link to the same file");
        std::fs::copy(&from, second.path().join("synapse-2.dump")).unwrap();
        let same = seen(second.path());
        is(&same, Fail, "is on the same file system");
        let remote = json!({ "path": dumps.path(), "pattern": "synapse-*.dump", "remote": ["sh", "-c", "echo x | sha256sum"] });
        // A copy on which a server would start as a standby.
        let (_cluster, base) = based();
        must(Command::new("cp").arg("-a").arg(&base).arg(&elsewhere));
        std::fs::write(elsewhere.join("base/standby.signal"), "").unwrap();
        let standby = ask("backup_copied", json!({ "path": base, "copy": elsewhere }));
        is(
            &standby,
            Fail,
            "standby.signal is not in the backup, and decides how a server starts on the copy",
        );
        vec![missing, other, link, same, ask("backup_copied", remote), standby]
    });
    must(Command::new("umount").arg(&elsewhere));
    seen.unwrap()
}

/// A running cluster, and a base backup of it.
fn based() -> (Cluster, PathBuf) {
    let cluster = Cluster::start(Major::V15);
    cluster.psql("create table events (id int); insert into events select generate_series(1, 1000)");
    let base = cluster.socket_dir().join("base");
    must(Major::V15.command("pg_basebackup").arg("-D").arg(&base).args([
        "-c",
        "fast",
        "-d",
        &cluster.conninfo("postgres"),
    ]));
    (cluster, base)
}

fn of(cluster: &Cluster, base: &Path) -> Outcome {
    look(
        &context([("db", cluster.target("postgres"))]),
        "backup_of_cluster",
        json!({ "path": base, "target": "db" }),
    )
}

/// Nothing of a restore is left: no directory, no server.
fn nothing_left(place: &Path) {
    let left: Vec<_> =
        std::fs::read_dir(place).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with("holdpoint-restore")), "{left:?}");
    let place = place.display().to_string();
    let serves = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains(&place))
    });
    assert!(!serves, "a server is left");
}

fn restores() -> Vec<Outcome> {
    let dumps = Dumps::make();
    let scratch = open_dir();
    let restore = |path: &Path| {
        dumps.ask("backup_restores", json!({ "path": path, "target": "db", "scratch": scratch.path() }))
    };
    let archive = restore(&dumps.dir.path().join("synapse-2.dump"));
    is(&archive, Pass, "1 table, 20,000 rows");
    let plain = restore(&dumps.dump("plain.sql", &["-Fp"]));
    is(&plain, Pass, "1 table, 20,000 rows");
    let directory = restore(&dumps.dump("directory", &["-Fd"]));
    let all = dumps.dir.path().join("all.sql");
    must(
        Major::V15
            .command("pg_dumpall")
            .arg("-f")
            .arg(&all)
            .args(["-d", &dumps.cluster.conninfo("postgres")]),
    );
    let whole = restore(&all);
    let base = dumps.cluster.socket_dir().join("base");
    must(Major::V15.command("pg_basebackup").arg("-D").arg(&base).args([
        "-c",
        "fast",
        "-d",
        &dumps.cluster.conninfo("postgres"),
    ]));
    let base = restore(&base);
    is(&base, Pass, "1 table, 20,000 rows");
    nothing_left(scratch.path());
    vec![archive, plain, directory, whole, base]
}

fn does_not_restore() -> Vec<Outcome> {
    let dumps = Dumps::make();
    let scratch = open_dir();
    let restore = |path: &Path, more: Value| {
        let mut params = json!({ "path": path, "scratch": scratch.path() });
        more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        dumps.ask("backup_restores", params)
    };
    // Duplicates under a unique index: the dump is whole, every program reads it to its end, and it does not restore.
    dumps.cluster.psql("create table doubles (id int); insert into doubles values (1), (1)");
    let whole = dumps.dump("doubles.sql", &["-Fp"]);
    let text = std::fs::read_to_string(&whole).unwrap();
    let marker = "--\n-- PostgreSQL database dump complete";
    assert!(text.contains(marker));
    std::fs::write(
        &whole,
        text.replace(marker, &format!("ALTER TABLE public.doubles ADD PRIMARY KEY (id);\n{marker}")),
    )
    .unwrap();
    let doubles = restore(&whole, json!({}));
    is(&doubles, Fail, "could not create unique index");
    // The dump lacks rows that the live server has.
    let less = dumps.dump("less.dump", &["-Fc"]);
    dumps.cluster.psql("insert into events select g, '' from generate_series(20001, 60000) g; create table late (id int); insert into late values (1)");
    let less = restore(&less, json!({ "target": "db" }));
    is(&less, Fail, "public.events: 20,000 of 60,000 rows");
    dumps.halve("synapse-2.dump");
    let half = restore(&dumps.dir.path().join("synapse-2.dump"), json!({}));
    let empty = dumps.dump("empty.dump", &["-Fc", "-s"]);
    let empty = restore(&empty, json!({}));
    is(&empty, Fail, "no rows in it");
    let base = dumps.cluster.socket_dir().join("base");
    must(Major::V15.command("pg_basebackup").arg("-D").arg(&base).args([
        "-c",
        "fast",
        "-d",
        &dumps.cluster.conninfo("postgres"),
    ]));
    for wal in std::fs::read_dir(base.join("pg_wal")).unwrap().flatten() {
        if wal.file_name().len() == 24 {
            std::fs::remove_file(wal.path()).unwrap();
        }
    }
    let lost = restore(&base, json!({}));
    is(&lost, Fail, "does not restore");
    nothing_left(scratch.path());
    vec![doubles, less, half, empty, lost]
}

/// A report as `check --json --output` writes it, and the check that reads it.
fn report(path: &str, more: Value) -> Outcome {
    let sandbox = Sandbox::new();
    sandbox.write(
        "site.yaml",
        &json!({ "holdpoint": 1, "name": "s", "checks": [{ "file": { "id": "there", "path": path } }] })
            .to_string(),
    );
    sandbox.run(&["check", "site.yaml", "--json", "--output", "report.json"]);
    let mut params = json!({ "path": sandbox.path().join("report.json") });
    more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
    if more.get("max_age").is_some() {
        std::thread::sleep(Duration::from_millis(2100));
    }
    ask("check_report", params)
}

/// A program as the user that owns clusters.
fn as_owner(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", program]).current_dir("/");
    command.stdin(Stdio::null());
    command
}

struct Stanza {
    cluster: Cluster,
}

impl Stanza {
    fn new() -> Stanza {
        let cluster = Cluster::create(Major::V15, "");
        let here = cluster.socket_dir().display().to_string();
        cluster.configure(&format!(
            "archive_mode = on\narchive_command = 'pgbackrest --config={here}/pgbackrest.conf --stanza=main archive-push %p'\n"
        ));
        let conf = format!(
            "[global]\nrepo1-path={here}/repo\nlog-path={here}/log\nlock-path={here}/lock\nstart-fast=y\narchive-timeout=200\n\
             log-level-file=off\nrepo1-retention-full=2\n\
             [main]\npg1-path={}\npg1-port={}\npg1-socket-path={here}\npg1-user=postgres\n",
            cluster.data().display(),
            cluster.port()
        );
        std::fs::write(format!("{here}/pgbackrest.conf"), conf).unwrap();
        cluster.restart();
        Stanza { cluster }
    }

    fn with_backup() -> Stanza {
        let stanza = Stanza::new();
        stanza.back_up();
        stanza
    }

    fn config(&self) -> String {
        self.cluster.socket_dir().join("pgbackrest.conf").display().to_string()
    }

    fn back_up(&self) {
        for command in [&["stanza-create"][..], &["--type=full", "backup"]] {
            must(
                as_owner("pgbackrest")
                    .arg(format!("--config={}", self.config()))
                    .arg("--stanza=main")
                    .args(command),
            );
        }
    }

    fn params(&self, more: Value) -> Value {
        let mut params =
            json!({ "stanza": "main", "max_age": "1d", "config": self.config(), "user": "postgres" });
        more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        params
    }

    fn ask(&self, more: Value) -> Outcome {
        look(&context([("db", self.cluster.target("postgres"))]), "pgbackrest_backup", self.params(more))
    }
}

struct Barman {
    cluster: Cluster,
    receiver: Option<std::process::Child>,
}

impl Barman {
    fn new() -> Barman {
        let cluster = Cluster::start(Major::V15);
        let here = cluster.socket_dir().display().to_string();
        let at = format!("host={here} port={} user=postgres", cluster.port());
        let conf = format!(
            "[barman]\nbarman_home={here}/barman\nbarman_user=postgres\nlog_file={here}/barman.log\n\
             configuration_files_directory={here}/none\n[main]\ndescription=test\nconninfo={at} dbname=postgres\n\
             streaming_conninfo={at}\nbackup_method=postgres\nstreaming_archiver=on\nslot_name=barman\n\
             immediate_checkpoint=true\npath_prefix=/usr/lib/postgresql/15/bin\n"
        );
        std::fs::write(format!("{here}/barman.conf"), conf).unwrap();
        must(as_owner("mkdir").arg(format!("{here}/barman")));
        Barman { cluster, receiver: None }
    }

    fn with_backup() -> Barman {
        let mut barman = Barman::new();
        must(&mut barman.command(&["receive-wal", "--create-slot", "main"]));
        let mut receiver = barman.command(&["receive-wal", "main"]);
        barman.receiver = Some(receiver.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually(Duration::from_secs(20), "barman receives", || {
            barman.cluster.psql("select count(*) from pg_stat_replication") == "1"
        });
        must(&mut barman.command(&[
            "switch-wal",
            "--force",
            "--archive",
            "--archive-timeout",
            "300",
            "main",
        ]));
        must(&mut barman.command(&["backup", "--wait", "--wait-timeout", "600", "main"]));
        barman
    }

    fn config(&self) -> String {
        self.cluster.socket_dir().join("barman.conf").display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = as_owner("barman");
        command.args(["-c", &self.config()]).args(arguments);
        command
    }

    fn ask(&self, more: Value) -> Outcome {
        let mut params =
            json!({ "server": "main", "max_age": "1d", "config": self.config(), "user": "postgres" });
        more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        let target: Target = self.cluster.target("postgres");
        look(&context([("db", target)]), "barman_backup", params)
    }
}

impl Drop for Barman {
    fn drop(&mut self) {
        if let Some(mut receiver) = self.receiver.take() {
            let _ = self.command(&["receive-wal", "--stop", "main"]).output();
            let _ = receiver.kill();
            let _ = receiver.wait();
        }
    }
}

struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn make() -> Repository {
        let repository = Repository { dir: open_dir() };
        std::fs::write(repository.source(), "rows\n".repeat(100_000)).unwrap();
        let restic = |arguments: &[&str]| {
            must(
                Command::new("restic")
                    .args(["-q", "--no-cache", "-r", &repository.path()])
                    .args(arguments)
                    .env("RESTIC_PASSWORD", "sesame-1")
                    .env("HOME", repository.dir.path()),
            )
        };
        restic(&["init"]);
        restic(&["backup", &repository.source(), "--tag", "synapse"]);
        repository
    }

    fn path(&self) -> String {
        self.dir.path().join("restic").display().to_string()
    }

    fn source(&self) -> String {
        self.dir.path().join("synapse.dump").display().to_string()
    }

    /// Changes one byte of the largest pack.
    fn flip(&self) {
        let files = must(Command::new("find").args([&format!("{}/data", self.path()), "-type", "f"]));
        let files = String::from_utf8(files.stdout).unwrap();
        let largest = files.lines().max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
        std::fs::set_permissions(largest, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut bytes = std::fs::read(largest).unwrap();
        bytes[20] ^= 1;
        std::fs::write(largest, bytes).unwrap();
    }

    fn ask(&self, more: Value) -> Outcome {
        let mut params = json!({ "repository": self.path(), "max_age": "1d" });
        more.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        ask("restic_backup", params)
    }
}
