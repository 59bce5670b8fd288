//! Host checks on real parts: file systems that are full, processes that hang, files that may not be read.

mod backups;
mod service;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdpoint::base::{CheckId, Moment};
use holdpoint::check::{Context, Evidence, Verdict, measure};
use holdpoint::runbook::{CheckSpec, Target};
use holdpoint::world::{Clock, World};
use serde_json::{Value, json};

use crate::harness::{Cluster, Major, Need, Registry, block_on, must};

pub fn register(r: &mut Registry) {
    let mount = &[Need::Root, Need::Mount];
    r.add("host::disk_free_counts_what_an_ordinary_user_gets", mount, reserve);
    r.add("host::disk_free_sees_that_inodes_run_out", mount, inodes);
    r.add("host::disk_free_measures_the_size_of_a_cluster", &[Need::Pg15], size_of);
    r.add("host::disk_time_to_full_watches_a_real_disk", mount, time_to_full);
    r.add("host::file_finds_what_is_there", &[], file);
    r.add("host::what_may_not_be_read_is_unknown", &[Need::Root], forbidden);
    r.add("host::command_judges_only_what_ran", &[], command);
    r.add("host::command_runs_as_another_user", &[Need::Root], other_user);
    r.add("host::a_dropped_command_leaves_nothing_running", &[], dropped);
    service::register(r);
    backups::register(r);
}

/// Measures one check, written as in a runbook.
fn measured_in(cx: &Context, check: Value) -> Evidence {
    let spec: CheckSpec = serde_json::from_value(check).unwrap();
    let id: CheckId = serde_json::from_value(json!("step.pre.check")).unwrap();
    block_on(measure::measure(id, &spec, cx))
}

fn measured(check: Value) -> Evidence {
    measured_in(&Context::local(World::local()), check)
}

/// Measures, and wants this verdict with these words in what was observed.
fn expect(verdict: Verdict, words: &str, check: Value) -> Evidence {
    let seen = measured(check);
    assert_eq!(seen.verdict(), verdict, "{seen:#?}");
    assert!(seen.outcome.observed.contains(words), "{words:?} in {seen:#?}");
    seen
}

/// A file system that goes away with this value.
pub struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    pub fn tmpfs(options: &str) -> Mounted {
        let dir = tempfile::tempdir().unwrap();
        must(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()));
        Mounted { dir }
    }

    /// ext4 with a fifth of it reserved for root.
    pub fn ext4(size: &str, image: &Path) -> Mounted {
        must(Command::new("truncate").args(["-s", size]).arg(image));
        must(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "20"]).arg(image));
        Mounted::loops(image)
    }

    /// What is on an image, for everybody.
    pub fn loops(image: &Path) -> Mounted {
        let dir = tempfile::tempdir().unwrap();
        must(Command::new("mount").args(["-o", "loop"]).arg(image).arg(dir.path()));
        must(Command::new("chmod").arg("777").arg(dir.path()));
        Mounted { dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn number(seen: &Evidence, fact: &str) -> u64 {
    seen.outcome.facts.get(fact).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {fact} in {seen:#?}"))
}

fn reserve() {
    let image = tempfile::tempdir().unwrap();
    let mounted = Mounted::ext4("64M", &image.path().join("image"));
    let here = mounted.path();
    let inodes = |path: &Path, size: &str| json!({ "disk_free": { "path": path, "at_least": size, "inodes_at_least": 10 } });
    let seen = expect(Verdict::Pass, "available of", inodes(&here.join("not/yet/there"), "10MiB"));
    let (available, free) = (number(&seen, "bytes_available"), number(&seen, "bytes_free_with_reserve"));
    assert!(free - available > 10 << 20, "a fifth of 64 MiB is reserved: {seen:#?}");
    assert!(seen.outcome.details.iter().any(|line| line.contains("reserved for root")), "{seen:#?}");
    assert!(seen.outcome.details.iter().any(|line| line.contains("ext4")), "{seen:#?}");
    // More than an ordinary user gets, less than root does.
    expect(Verdict::Fail, "available of", inodes(&here, &format!("{}B", available + 4096)));

    // A link leads to the small file system, whatever the place of the link says.
    let aside = tempfile::tempdir().unwrap();
    symlink(here.join("later/pg"), aside.path().join("pg")).unwrap();
    let seen = expect(Verdict::Pass, "", inodes(&aside.path().join("pg/wal"), "10MiB"));
    assert_eq!(seen.outcome.facts["path"], json!(here));

    // Filled up by an ordinary user: root could still write.
    let fill = format!("cat /dev/zero > {}/fill", here.display());
    let _ = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &fill])
        .stderr(std::process::Stdio::null())
        .status();
    let seen = expect(Verdict::Fail, "available of", inodes(&here, "1MiB"));
    assert!(number(&seen, "bytes_free_with_reserve") > 10 << 20, "{seen:#?}");
    std::fs::write(here.join("by-root"), vec![1; 1 << 20]).expect("root still writes");

    std::fs::remove_file(here.join("fill")).unwrap();
    must(Command::new("mount").args(["-o", "remount,ro"]).arg(&here));
    expect(Verdict::Fail, "read-only", inodes(&here, "1MiB"));
    expect(
        Verdict::Fail,
        "read-only",
        json!({ "disk_time_to_full": { "path": here, "at_least": "1min", "headroom": "1B" } }),
    );
}

fn inodes() {
    let mounted = Mounted::tmpfs("size=32m,nr_inodes=1500");
    let here = mounted.path();
    let check = || json!({ "disk_free": { "path": here, "at_least": "16MiB" } });
    expect(Verdict::Pass, "available of", check());
    (0..600).for_each(|i| drop(std::fs::File::create(here.join(i.to_string())).unwrap()));
    let seen = expect(Verdict::Fail, "inodes free", check());
    assert!(number(&seen, "bytes_available") > 16 << 20, "bytes are not the matter: {seen:#?}");
    expect(
        Verdict::Pass,
        "",
        json!({ "disk_free": { "path": here, "at_least": "50%", "inodes_at_least": "20%" } }),
    );
}

fn size_of() {
    let cluster = Cluster::start(Major::V15);
    let target = cluster.target("postgres");
    let mut cx = Context::local(World::local());
    let with = |target: &Target| Arc::new([("old".to_owned(), target.clone())].into_iter().collect());
    cx.targets = with(&target);
    let check = |times: &str| json!({ "disk_free": { "path": cluster.data(), "at_least": { "times": times, "size_of": "old" }, "inodes_at_least": 1 } });
    let seen = measured_in(&cx, check("1.3"));
    assert_eq!(seen.verdict(), Verdict::Pass, "{seen:#?}");
    let sum: u64 =
        cluster.psql("select sum(pg_database_size(oid))::bigint from pg_database").parse().unwrap();
    assert_eq!(number(&seen, "bytes_needed"), (sum as f64 * 1.3).ceil() as u64);
    assert_eq!(seen.outcome.seen[0].target, "old");
    let seen = measured_in(&cx, check("1000000000"));
    assert_eq!(seen.verdict(), Verdict::Fail, "{seen:#?}");

    cluster.stop();
    let seen = measured_in(&cx, check("1.3"));
    assert_eq!(seen.verdict(), Verdict::Unknown, "nobody answers: {seen:#?}");
    cx.targets = with(&Target { data_directory: Some(cluster.data().display().to_string()), ..target });
    let seen = measured_in(&cx, check("1.3"));
    assert_eq!(seen.verdict(), Verdict::Pass, "{seen:#?}");
    assert!(number(&seen, "bytes_needed") > sum, "the files hold the log, too: {seen:#?}");
}

/// A clock that goes on by ten seconds with each look.
pub struct Ticking(pub AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Moment {
        let boot_ms = self.0.fetch_add(10_000, Ordering::Relaxed);
        Moment {
            wall: jiff::Timestamp::from_millisecond(1_700_000_000_000 + boot_ms as i64).unwrap(),
            boot_ms,
        }
    }
}

fn time_to_full() {
    let mounted = Mounted::tmpfs("size=100m");
    let here = mounted.path();
    let samples = tempfile::tempdir().unwrap();
    let mut cx = Context::local(World::local());
    cx.world.clock = Arc::new(Ticking(AtomicU64::new(1_000_000)));
    cx.samples = Some(samples.path().to_owned());
    let check = || json!({ "disk_time_to_full": { "path": here, "at_least": "10min", "headroom": "10MiB" } });
    let first = measured_in(&cx, check());
    assert_eq!(first.verdict(), Verdict::Unknown, "{first:#?}");
    assert!(first.outcome.observed.contains("only 1 sample "), "{first:#?}");
    for _ in 0..4 {
        measured_in(&cx, check());
    }
    let calm = measured_in(&cx, check());
    assert_eq!(calm.verdict(), Verdict::Pass, "{calm:#?}");
    assert!(calm.outcome.observed.starts_with("no growth in "), "{calm:#?}");
    let mut last = calm;
    for i in 0..4 {
        std::fs::write(here.join(i.to_string()), vec![1; 5 << 20]).unwrap();
        last = measured_in(&cx, check());
    }
    assert_eq!(last.verdict(), Verdict::Fail, "{last:#?}");
    assert!(last.outcome.observed.starts_with("full in "), "{last:#?}");
    assert_eq!(std::fs::read_dir(samples.path()).unwrap().count(), 1, "one small file per file system");
    std::fs::write(here.join("rest"), vec![1; 75 << 20]).unwrap();
    last = measured_in(&cx, check());
    assert!(last.verdict() == Verdict::Fail && last.outcome.observed.starts_with("only "), "{last:#?}");
}

fn file() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap();
    let path = here.join("pg_hba.conf");
    std::fs::write(&path, "local all all scram-sha-256\n").unwrap();
    must(Command::new("chmod").arg("640").arg(&path));
    let with = |more: Value| {
        let mut params = json!({ "path": path });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "file": params })
    };
    expect(Verdict::Pass, "a file of", with(json!({})));
    let whole = json!({ "kind": "file", "at_least": "10B", "at_most": "1kB", "newer_than": "1h", "contains": "scram", "mode": "0640" });
    expect(Verdict::Pass, "mode 0640", with(whole));
    let hash = "0f9b7ca5f0bd2a1eb0ba51a5a4c0a5ff3e7b7a1b25e5a9d6b0e4ac0a8a1d3c55";
    expect(Verdict::Fail, "sha256", with(json!({ "sha256": hash })));
    let sum = must(Command::new("sha256sum").arg(&path)).stdout;
    expect(Verdict::Pass, "sha256", with(json!({ "sha256": String::from_utf8_lossy(&sum)[..64] })));
    expect(Verdict::Fail, "does not contain", with(json!({ "contains": "md5" })));
    expect(Verdict::Fail, "mode 0640", with(json!({ "mode": "0600" })));
    expect(Verdict::Fail, "a file", with(json!({ "kind": "directory" })));
    expect(Verdict::Fail, "28 B", with(json!({ "at_least": "1MiB" })));
    expect(Verdict::Unknown, "no user is called", with(json!({ "owner": "nobody-of-this-name" })));
    expect(
        Verdict::Pass,
        "owned by user",
        with(json!({ "owner": std::os::unix::fs::MetadataExt::uid(&path.metadata().unwrap()).to_string() })),
    );
    expect(Verdict::Fail, "is there", with(json!({ "exists": false })));
    expect(
        Verdict::Pass,
        "nothing is there",
        json!({ "file": { "path": here.join("absent"), "exists": "false" } }),
    );
    expect(Verdict::Fail, "nothing is there", json!({ "file": { "path": here.join("absent") } }));
    expect(Verdict::Unknown, "not an absolute path", json!({ "file": { "path": "absent" } }));

    symlink("nowhere", here.join("dangling")).unwrap();
    expect(Verdict::Fail, "a link to nowhere", json!({ "file": { "path": here.join("dangling") } }));
    expect(
        Verdict::Fail,
        "a link to nowhere",
        json!({ "file": { "path": here.join("dangling"), "exists": false } }),
    );
    symlink(&path, here.join("link")).unwrap();
    let seen =
        expect(Verdict::Pass, "", json!({ "file": { "path": here.join("link"), "contains": "scram" } }));
    assert!(seen.outcome.details.iter().any(|line| line.contains("links followed")), "{seen:#?}");

    must(Command::new("touch").args(["-d", "2 hours ago"]).arg(&path));
    expect(Verdict::Fail, "changed 2h ago", with(json!({ "newer_than": "1h" })));
    must(Command::new("touch").args(["-d", "tomorrow"]).arg(&path));
    expect(Verdict::Unknown, "from now", with(json!({ "newer_than": "1h" })));
    expect(Verdict::Pass, "", json!({ "file": { "path": here, "kind": "directory", "at_least": "28B" } }));
}

/// Runs this very test once more as `nobody`, who then measures what root hid.
fn forbidden() {
    const HIDDEN: &str = "HOLDPOINT_TEST_HIDDEN";
    if let Some(hidden) = std::env::var_os(HIDDEN).map(PathBuf::from) {
        let inside = hidden.join("x.dump");
        expect(Verdict::Unknown, "permission denied", json!({ "file": { "path": inside } }));
        expect(Verdict::Unknown, "permission denied", json!({ "file": { "path": inside, "exists": false } }));
        expect(
            Verdict::Unknown,
            "permission denied",
            json!({ "disk_free": { "path": inside, "at_least": "1B" } }),
        );
        expect(
            Verdict::Unknown,
            "permission denied",
            json!({ "backup_fresh": { "path": hidden, "max_age": "1d" } }),
        );
        let unreadable = hidden.with_file_name("unreadable.dump");
        let check = json!({ "backup_fresh": { "path": unreadable, "max_age": "1d" } });
        expect(Verdict::Unknown, "permission denied", check);
        expect(Verdict::Pass, "", json!({ "file": { "path": unreadable } }));
        expect(
            Verdict::Unknown,
            "permission denied",
            json!({ "file": { "path": unreadable, "contains": "x" } }),
        );
        expect(
            Verdict::Unknown,
            "permission denied",
            json!({ "file": { "path": hidden, "at_least": "1B" } }),
        );
        expect(Verdict::Unknown, "needs root", json!({ "command": { "run": ["true"], "user": "root" } }));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    must(Command::new("chmod").arg("755").arg(dir.path()));
    let hidden = dir.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::write(hidden.join("x.dump"), "x").unwrap();
    must(Command::new("chmod").arg("700").arg(&hidden));
    std::fs::write(dir.path().join("unreadable.dump"), "x").unwrap();
    must(Command::new("chmod").arg("600").arg(dir.path().join("unreadable.dump")));
    // Through an open descriptor, since the way to the test program may be closed to nobody.
    let script = "exec 9<\"$1\"; exec setpriv --reuid=65534 --regid=65534 --clear-groups /proc/self/fd/9 \
                  --include-ignored --exact host::what_may_not_be_read_is_unknown";
    let ran = must(
        Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(std::env::current_exe().unwrap())
            .current_dir("/")
            .env(HIDDEN, &hidden),
    );
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("1 passed"), "nobody measured nothing: {said}");
}

fn command() {
    let run = |run: Value, more: Value| {
        let mut params = json!({ "run": run });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "command": params })
    };
    expect(Verdict::Pass, "exit status 0: ready", run(json!(["echo", "ready"]), json!({})));
    expect(Verdict::Fail, "exit status 1", run(json!(["false"]), json!({})));
    expect(Verdict::Pass, "exit status 1", run(json!(["false"]), json!({ "exit": [1, 2] })));
    expect(Verdict::Fail, "exit status 3", run(json!("exit 3 | cat"), json!({})));
    expect(Verdict::Unknown, "did not start", run(json!(["no-such-program"]), json!({})));
    expect(Verdict::Unknown, "127", run(json!("no-such-program"), json!({})));
    expect(Verdict::Unknown, "signal 9", run(json!("kill -9 $$"), json!({})));
    expect(Verdict::Unknown, "printed nothing", run(json!(["true"]), json!({ "stdout": { "lacks": "x" } })));
    expect(
        Verdict::Unknown,
        "not a number",
        run(json!(["echo", "NaN"]), json!({ "stdout": { "at_least": 0 } })),
    );
    expect(
        Verdict::Pass,
        "",
        run(json!(["echo", "7"]), json!({ "stdout": { "at_least": "7", "at_most": 7 } })),
    );
    expect(
        Verdict::Pass,
        "\"v\"",
        run(json!("echo \"$X\""), json!({ "env": { "X": "v" }, "stdout": { "equals": "v" } })),
    );
    let mut cx = Context::local(World::local());
    cx.script_env = Arc::new(|script| {
        assert!(script.contains("$data"), "the script is asked which secrets it names");
        [("data".to_owned(), "/srv/a b; rm x".to_owned())].into()
    });
    let script = run(json!("echo \"$data\""), json!({ "stdout": { "equals": "/srv/a b; rm x" } }));
    assert_eq!(measured_in(&cx, script).verdict(), Verdict::Pass, "variables are no code");
    // Standard input is empty, so nothing waits for an answer.
    expect(
        Verdict::Pass,
        "",
        run(json!("read -r line || echo none"), json!({ "stdout": { "equals": "none" } })),
    );
    let long = long(3041);
    expect(Verdict::Unknown, "within", run(json!(["sleep", long]), json!({ "timeout": "300ms" })));
    let two = format!("sleep {long} & sleep {long}");
    expect(Verdict::Unknown, "within", run(json!(two), json!({ "timeout": "300ms" })));
    // What goes on in the background is not waited for: that would be no answer within the limit.
    let daemon = json!({ "stdout": { "equals": "up" }, "timeout": "1min" });
    expect(Verdict::Pass, "up", run(json!("setsid sleep 120 & echo up"), daemon));
    assert_eq!(processes_with(&long), 0, "nothing is left of what hung");
}

fn other_user() {
    let check = |user: &str| json!({ "command": { "run": ["id", "-un"], "user": user, "stdout": { "equals": "nobody" } } });
    expect(Verdict::Pass, "nobody", check("nobody"));
    expect(Verdict::Fail, "root", check("root"));
    let absent = measured(check("no-such-user"));
    assert_ne!(absent.verdict(), Verdict::Pass, "{absent:#?}");
    let home = json!({ "command": { "run": "cat; echo $HOME", "user": "nobody", "stdout": { "equals": "/nonexistent" } } });
    expect(Verdict::Pass, "", home);
    let long = long(3043);
    let hangs = json!({ "command": { "run": ["sleep", long], "user": "nobody", "timeout": "300ms" } });
    expect(Verdict::Unknown, "within", hangs);
    assert_eq!(processes_with(&long), 0, "also what runs as another user ends");
}

/// Some seconds for `sleep`, as no other program of tests on this machine writes them.
fn long(seconds: u32) -> String {
    format!("{seconds}.{:07}", std::process::id())
}

/// Processes with this exact argument. Waits for those that are dying.
fn processes_with(argument: &str) -> usize {
    let count = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let texts = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        texts.filter(|text| text.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())).count()
    };
    for _ in 0..600 {
        if count() == 0 {
            return 0;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    count()
}

fn dropped() {
    let cx = Context::local(World::local());
    let long = long(3042);
    let two = format!("sleep {long} | sleep {long}");
    let spec: CheckSpec = serde_json::from_value(json!({ "command": { "run": two } })).unwrap();
    let id: CheckId = serde_json::from_value(json!("step.pre.command")).unwrap();
    block_on(async {
        let measuring = measure::measure(id, &spec, &cx);
        let ended = tokio::time::timeout(Duration::from_millis(400), measuring).await;
        assert!(ended.is_err(), "it was still running when it was dropped");
    });
    assert_eq!(processes_with(&long), 0);
}
