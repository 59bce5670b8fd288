//! Backups as pg_dump, pg_dumpall and pg_basebackup make them: whole, cut, with one bit changed, old, tiny, unfinished.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdpoint::check::{Evidence, Verdict};
use serde_json::{Value, json};

use super::{expect, measured};
use crate::harness::{Cluster, Major, Need, Registry, must};

pub fn register(r: &mut Registry) {
    r.add("host::backup_dumps_of_every_format", &[Need::Pg15], formats);
    r.add("host::backup_cut_or_changed_fails", &[Need::Pg15], damaged);
    r.add("host::backup_base_backup_is_verified", &[Need::Pg15], base_backup);
    r.add("host::backup_june_2021", &[Need::Pg15], june_2021);
    r.add("host::backup_tiny_among_large", &[], tiny);
    r.add("host::backup_unfinished_is_not_the_newest", &[], unfinished);
    r.add("host::backup_of_sqlite", &[], sqlite);
    r.add("host::backup_nothing_there", &[], nothing);
}

struct Site {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let cluster = Cluster::start(Major::V15);
        cluster.psql("create database app");
        let rows = "create table t as select g id, md5(g::text) t from generate_series(1, 30000) g";
        cluster.psql_in("app", rows);
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Site { cluster, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn dump(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        must(
            Major::V15
                .command("pg_dump")
                .args(["-d", &self.cluster.conninfo("app")])
                .args(options)
                .arg("-f")
                .arg(&path),
        );
        settle(&path);
        path
    }
}

/// Makes a backup a little older, so that the check need not wait to see whether it still grows.
fn settle(path: &Path) {
    must(Command::new("find").arg(path).args(["-exec", "touch", "-d", "3 minutes ago", "{}", "+"]));
}

fn check(path: &Path, more: Value) -> Value {
    let mut params = json!({ "path": path, "max_age": "24h" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "backup_fresh": params })
}

fn details(seen: &Evidence) -> String {
    seen.outcome.details.join("\n")
}

fn formats() {
    let site = Site::new();
    let custom = site.dump("app.dump", &["-Fc"]);
    let of_app = || json!({ "contains_database": "app" });
    let seen = expect(Verdict::Pass, "read to its end by pg_restore", check(&custom, of_app()));
    assert!(seen.outcome.observed.starts_with("newest backup is 3min"), "{seen:#?}");
    assert!(details(&seen).contains("dated in its header"), "{seen:#?}");
    expect(
        Verdict::Fail,
        "holds app, not synapse",
        check(&custom, json!({ "contains_database": "synapse" })),
    );
    expect(Verdict::Pass, "pg_restore", check(&custom, json!({ "format": "pg_dump" })));
    expect(Verdict::Fail, "is a pg_dump archive", check(&custom, json!({ "format": "tar" })));
    let small = expect(Verdict::Fail, "app.dump is 6", check(&custom, json!({ "min_size": "1GiB" })));
    assert!(small.outcome.expected.contains("of at least 1.00 GiB"), "{small:#?}");

    let tar = site.dump("app.tar", &["-Ft"]);
    expect(Verdict::Pass, "pg_restore", check(&tar, json!({ "format": "tar", "contains_database": "app" })));
    let directory = site.dump("app.dir", &["-Fd"]);
    expect(
        Verdict::Pass,
        "pg_restore",
        check(&directory, json!({ "format": "directory", "contains_database": "app" })),
    );
    let stored = site.dump("stored.dump", &["-Fc", "-Z0"]);
    assert!(
        details(&expect(Verdict::Pass, "", check(&stored, json!({}))))
            .contains("no checksum covers its rows")
    );

    let plain = site.dump("app.sql", &["-C"]);
    expect(
        Verdict::Pass,
        "read to its end",
        check(&plain, json!({ "format": "plain", "contains_database": "app" })),
    );
    let nameless = site.dump("nameless.sql", &[]);
    expect(Verdict::Unknown, "does not say which databases", check(&nameless, of_app()));
    let cluster = site.path("cluster.sql");
    must(
        Major::V15
            .command("pg_dumpall")
            .args(["-d", &site.cluster.conninfo("postgres")])
            .arg("-f")
            .arg(&cluster),
    );
    settle(&cluster);
    expect(Verdict::Pass, "read to its end", check(&cluster, of_app()));

    for (tool, end) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2"), ("lz4", "lz4")] {
        for file in [&plain, &custom] {
            let packed = PathBuf::from(format!("{}.{end}", file.display()));
            let out = must(Command::new(tool).arg("-1c").arg(file)).stdout;
            std::fs::write(&packed, &out).unwrap();
            settle(&packed);
            expect(Verdict::Pass, &format!("unpacked to its end by {tool}"), check(&packed, of_app()));
            std::fs::write(&packed, &out[..out.len() / 2]).unwrap();
            settle(&packed);
            expect(Verdict::Fail, "broken", check(&packed, json!({})));
        }
    }
    // A directory with backups of several things: the newest of one could hide that another is missing.
    let seen = expect(
        Verdict::Unknown,
        "different things",
        check(site.dir.path(), json!({ "predecessors": 0, "read": false })),
    );
    assert!(seen.outcome.expected.contains("pattern"), "{seen:#?}");
}

fn damaged() {
    let site = Site::new();
    let good = std::fs::read(site.dump("good.dump", &["-Fc"])).unwrap();
    let bad = site.path("bad.dump");
    let write = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        settle(&bad);
    };
    for end in [5, 40, 400, good.len() / 2, good.len() - 3_000] {
        write(&good[..end]);
        expect(Verdict::Fail, "bad.dump is broken", check(&bad, json!({})));
    }
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x01;
    write(&flipped);
    expect(Verdict::Fail, "pg_restore cannot read it to its end", check(&bad, json!({})));
    assert!(
        details(&expect(Verdict::Pass, "", check(&bad, json!({ "read": false })))).contains("not read"),
        "as asked"
    );
    // From a pg_dump of the future.
    let mut newer = good.clone();
    newer[6] = 99;
    write(&newer);
    expect(Verdict::Unknown, "unsupported version", check(&bad, json!({})));
    write(b"");
    expect(Verdict::Fail, "it is empty", check(&bad, json!({})));

    let sql = std::fs::read(site.dump("good.sql", &[])).unwrap();
    for end in [sql.len() / 2, sql.len() - 40] {
        write(&sql[..end]);
        expect(Verdict::Fail, "it was cut off", check(&bad, json!({})));
    }
    let mut hole = sql.clone();
    let middle = sql.len() / 2;
    hole[middle..middle + 512].fill(0);
    write(&hole);
    expect(Verdict::Fail, "zero bytes", check(&bad, json!({})));

    let directory = site.dump("lost.dir", &["-Fd"]);
    let data = std::fs::read_dir(&directory)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension() == Some("gz".as_ref()));
    std::fs::remove_file(data.unwrap()).unwrap();
    expect(Verdict::Fail, "pg_restore", check(&directory, json!({})));
    std::fs::remove_file(site.dump("headless.dir", &["-Fd"]).join("toc.dat")).unwrap();
    expect(Verdict::Fail, "toc.dat is missing", check(&site.path("headless.dir"), json!({})));
}

fn base_backup() {
    let site = Site::new();
    let make = |name: &str, options: &[&str]| {
        let path = site.path(name);
        let conninfo = format!(
            "host={} port={} user=postgres",
            site.cluster.socket_dir().display(),
            site.cluster.port()
        );
        let mut command = Major::V15.command("pg_basebackup");
        must(command.args(["-d", &conninfo, "-c", "fast", "-D"]).arg(&path).args(options));
        settle(&path);
        path
    };
    let base = make("base", &[]);
    let only = || json!({ "format": "basebackup" });
    let seen = expect(Verdict::Pass, "every file verified by pg_verifybackup", check(&base, only()));
    assert!(details(&seen).contains("dated in its backup_label"), "{seen:#?}");
    let file = site.cluster.psql_in("app", "select pg_relation_filepath('t')");
    let mut bytes = std::fs::read(base.join(&file)).unwrap();
    bytes[20_000] ^= 0x55;
    std::fs::write(base.join(&file), &bytes).unwrap();
    settle(&base);
    expect(Verdict::Fail, "checksum mismatch", check(&base, only()));
    std::fs::remove_file(base.join("backup_manifest")).unwrap();
    expect(Verdict::Unknown, "no backup_manifest", check(&base, only()));
    // Without the log that makes it consistent it is no backup by itself.
    let bare = make("bare", &["-X", "none"]);
    expect(Verdict::Fail, "pg_verifybackup", check(&bare, only()));
    let tar = make("tar", &["-Ft"]);
    expect(Verdict::Unknown, "tar format", check(&tar, only()));
    std::fs::write(base.join("PG_VERSION"), "9.6\n").unwrap();
    std::fs::write(base.join("backup_manifest"), "{}").unwrap();
    settle(&base);
    expect(Verdict::Unknown, "is not installed", check(&base, only()));
}

/// The newest dump was five months old when it was needed.
fn june_2021() {
    let site = Site::new();
    // Once, and in a zone where every day has 24 hours: the day may turn while this runs.
    let now = jiff::Timestamp::now();
    let before = |ago: u32| now - Duration::from_secs(u64::from(ago) * 86_400);
    let days = |ago: u32| before(ago).strftime("%Y-%m-%d").to_string();
    let good = std::fs::read(site.dump("seed", &["-Fc"])).unwrap();
    std::fs::remove_file(site.path("seed")).unwrap();
    for ago in [152, 153, 154, 155] {
        let path = site.path(&format!("synapse-{}.dump", days(ago)));
        std::fs::write(&path, &good).unwrap();
        must(Command::new("touch").args(["-d", &before(ago).to_string()]).arg(&path));
    }
    let wanted = format!("newest backup is 152d old ({})", days(152));
    let seen = expect(Verdict::Fail, &wanted, check(site.dir.path(), json!({})));
    assert!(seen.outcome.expected.starts_with("a complete backup, at most 1d old"), "{seen:#?}");
    assert!(seen.outcome.help.as_deref().unwrap().contains("make a new backup now"), "{seen:#?}");
    assert_eq!(details(&seen).matches("a pg_dump archive").count(), 4, "{seen:#?}");

    // Text without a date inside, copied today, so that the file time is new: the name still tells.
    let text = site.path("text");
    std::fs::create_dir(&text).unwrap();
    sql(&text.join(format!("synapse-{}.sql", days(152))), 1_000);
    settle(&text);
    let seen = expect(Verdict::Fail, "newest backup is 15", check(&text, json!({})));
    assert!(details(&seen).contains("dated in its name"), "{seen:#?}");

    // No date in the name: then the header's, whose year is counted from 1900. It is made 2021, without touching anything
    // else.
    let old = site.path("old");
    std::fs::create_dir(&old).unwrap();
    let mut aged = good.clone();
    let year = 11 + 5 + 5 * 5 + 1;
    let made = now.to_zoned(jiff::tz::TimeZone::system()).year() - 1900;
    assert!((0..=1).contains(&(i16::from(aged[year]) - made)), "{} for {made}", aged[year]);
    aged[year] = 121;
    std::fs::write(old.join("synapse.dump"), &aged).unwrap();
    let seen = expect(Verdict::Fail, "(2021-", check(&old, json!({})));
    assert!(details(&seen).contains("dated in its header"), "{seen:#?}");
    // In the future, nothing is known.
    aged[year] = u8::try_from(made + 4).unwrap();
    std::fs::write(old.join("synapse.dump"), &aged).unwrap();
    settle(&old);
    expect(Verdict::Unknown, "in the future", check(&old, json!({})));
    std::fs::write(old.join("synapse.dump"), &good).unwrap();
    must(Command::new("touch").args(["-d", "3 days"]).arg(old.join("synapse.dump")));
    expect(Verdict::Unknown, "clock is wrong", check(&old, json!({})));
}

/// An SQL dump of a size.
fn sql(path: &Path, bytes: usize) {
    let mut text = b"--\n-- PostgreSQL database dump\n--\n".to_vec();
    text.resize(bytes.max(40), b'\n');
    text.extend(b"--\n-- PostgreSQL database dump complete\n--\n\n");
    std::fs::write(path, text).unwrap();
}

fn tiny() {
    let dir = tempfile::tempdir().unwrap();
    let place = |hours: u32, bytes: usize| {
        let path = dir.path().join(format!("db-{hours:03}.sql"));
        sql(&path, bytes);
        must(Command::new("touch").args(["-d", &format!("{hours} hours ago")]).arg(&path));
        path
    };
    place(26, 1_000_000);
    place(50, 1_050_000);
    let newest = place(2, 1_020_000);
    expect(Verdict::Unknown, "only 2 predecessors", check(dir.path(), json!({})));
    expect(Verdict::Pass, "read to its end", check(dir.path(), json!({ "predecessors": "0" })));
    place(74, 980_000);
    expect(Verdict::Pass, "% of its predecessors' size", check(dir.path(), json!({})));
    sql(&newest, 1_500);
    must(Command::new("touch").args(["-d", "2 hours ago"]).arg(&newest));
    let seen = expect(Verdict::Fail, "the median of 3 predecessors is 977 KiB", check(dir.path(), json!({})));
    assert!(seen.outcome.expected.contains("0.7 to 1.5 times"), "{seen:#?}");
    // The newest is broken: an older one does not stand in for it.
    std::fs::write(&newest, "").unwrap();
    must(Command::new("touch").args(["-d", "2 hours ago"]).arg(&newest));
    expect(Verdict::Fail, "it is empty", check(dir.path(), json!({ "max_age": "7d" })));
    expect(
        Verdict::Pass,
        "",
        check(dir.path(), json!({ "pattern": "db-026.sql", "predecessors": 0, "max_age": "7d" })),
    );
}

fn unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let finished = dir.path().join("db-1.sql");
    sql(&finished, 1_000);
    must(Command::new("touch").args(["-d", "20 hours ago"]).arg(&finished));
    sql(&dir.path().join("db-2.sql.tmp"), 10);
    sql(&dir.path().join(".db-2.sql.Ab3xY"), 10);
    let alone = || json!({ "predecessors": 0 });
    let seen = expect(Verdict::Pass, "newest backup is 20h old", check(dir.path(), alone()));
    assert!(details(&seen).contains("db-2.sql.tmp: not finished"), "{seen:#?}");

    // A process has it open and will go on.
    let growing = dir.path().join("db-3.sql");
    let mut open = std::fs::File::create(&growing).unwrap();
    open.write_all(b"--\n-- PostgreSQL database dump\n--\n").unwrap();
    let seen = expect(Verdict::Pass, "newest backup is 20h old", check(dir.path(), alone()));
    assert!(details(&seen).contains("still has it open for writing"), "{seen:#?}");
    drop(open);
    expect(Verdict::Fail, "db-3.sql is broken", check(dir.path(), alone()));

    // Written in fits and starts, by opening it anew each time.
    let script = "for i in $(seq 1 3000); do echo x >> \"$1\"; sleep 0.2; done";
    let mut writer =
        Command::new("bash").args(["-c", script, "bash"]).arg(&growing).stdin(Stdio::null()).spawn().unwrap();
    let seen = measured(check(dir.path(), alone()));
    let _ = writer.kill();
    let _ = writer.wait();
    assert_eq!(seen.verdict(), Verdict::Pass, "{seen:#?}");
    assert!(details(&seen).contains("db-3.sql: still"), "{seen:#?}");
}

fn sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("homeserver.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let rows = "create table t (id integer primary key, x text); create index i on t (x);
                with recursive n (i) as (select 1 union all select i + 1 from n where i < 20000)
                insert into t (x) select 'row ' || i from n;";
    database.execute_batch(rows).unwrap();
    drop(database);
    settle(&path);
    let only = || json!({ "format": "sqlite" });
    expect(Verdict::Pass, "SQLite's integrity check", check(&path, only()));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    settle(&path);
    expect(Verdict::Fail, "homeserver.db is broken", check(&path, only()));
    let mut changed = whole.clone();
    let middle = whole.len() / 2 / 4096 * 4096;
    changed[middle..middle + 64].fill(0xff);
    std::fs::write(&path, &changed).unwrap();
    settle(&path);
    expect(Verdict::Fail, "homeserver.db is broken", check(&path, only()));
    expect(Verdict::Fail, "is an SQLite file", check(&path, json!({ "format": "plain", "read": false })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was left beside it");
}

fn nothing() {
    let dir = tempfile::tempdir().unwrap();
    expect(Verdict::Fail, "no backup in", check(dir.path(), json!({})));
    expect(Verdict::Fail, "does not exist", check(&dir.path().join("absent"), json!({})));
    std::fs::write(dir.path().join("README"), "these are the backups").unwrap();
    let seen = expect(Verdict::Fail, "no backup in", check(dir.path(), json!({})));
    assert!(details(&seen).contains("README: not a known backup format"), "{seen:#?}");
    std::fs::write(dir.path().join("x.dump"), "these are no backups").unwrap();
    settle(dir.path());
    expect(Verdict::Unknown, "not in a known backup format", check(dir.path(), json!({ "predecessors": 0 })));
    expect(Verdict::Fail, "that fits *.zip", check(dir.path(), json!({ "pattern": "*.zip" })));
}
