//! Commands under a supervisor: real processes, real signals, real full disks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdpoint::base::Digest;
use holdpoint::base::redact::Redactor;
use holdpoint::supervise::{
    self, Ending, ExitRecord, Found, Handle, Spec, StartError, Tail, client, look, script, tail,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::harness::{Need, Registry};

/// With this set, the test program plays an engine that starts one command, says so, and waits.
const PLAY_ENGINE: &str = "HOLDPOINT_TEST_PLAY_ENGINE";

pub fn register(r: &mut Registry) {
    if let Some(order) = std::env::var_os(PLAY_ENGINE) {
        play_engine(&order.into_string().unwrap());
    }
    r.add("supervise::exit_status_and_output", &[], exit_status_and_output);
    r.add("supervise::shared_folder", &[], shared_folder);
    r.add("supervise::not_started", &[], not_started);
    r.add("supervise::clean_surroundings", &[], clean_surroundings);
    r.add("supervise::another_user", &[Need::Root], another_user);
    r.add("supervise::engine_killed", &[], engine_killed);
    r.add("supervise::hangup", &[], hangup);
    r.add("supervise::time_limit", &[], time_limit);
    r.add("supervise::stop_reaches_escapees", &[], stop_reaches_escapees);
    r.add("supervise::left_running_is_named_and_lives", &[], left_running_is_named_and_lives);
    r.add("supervise::long_line", &[], long_line);
    r.add("supervise::binary_output", &[], binary_output);
    r.add("supervise::secrets", &[], secrets);
    r.add("supervise::prompt_is_seen_at_once", &[], prompt_is_seen_at_once);
    r.add("supervise::full_disk", &[Need::Root, Need::Mount], full_disk);
    r.add("supervise::supervisor_killed", &[], supervisor_killed);
    r.add("supervise::other_boot", &[], other_boot);
    r.add("supervise::pause_and_continue", &[], pause_and_continue);
    r.add("supervise::pid_reuse", &[], pid_reuse);
    r.add("supervise::never_twice", &[], never_twice);
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_holdpoint"))
}

fn spec(text: &str) -> Spec {
    let path = BTreeMap::from([("PATH".to_owned(), supervise::env::PATH.to_owned())]);
    Spec {
        argv: script(text),
        env: path,
        cwd: "/".into(),
        user: None,
        limit: None,
        grace: Duration::from_secs(10),
        secrets: Vec::new(),
        label: "test".into(),
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(400), future).await.expect("hangs") })
}

fn seen(dir: &Path) -> Found {
    look(dir, &Redactor::default())
}

async fn started(dir: &Path, spec: &Spec) -> Handle {
    client::start_with(program(), dir, spec).await.unwrap()
}

fn ended(found: Found) -> ExitRecord {
    match found {
        Found::Ended(exit) => *exit,
        other => panic!("expected an end, found {other:?}"),
    }
}

/// Runs to the end.
fn run(dir: &Path, spec: &Spec) -> ExitRecord {
    block(async { ended(started(dir, spec).await.wait().await) })
}

/// A command that finds `place` in `$PLACE`.
fn spec_in(place: &Path, text: &str) -> Spec {
    let mut order = spec(text);
    order.env.insert("PLACE".into(), place.display().to_string());
    order
}

/// Until the test says so.
const GO: &str = "until [ -e \"$PLACE/go\" ]; do sleep 0.05; done";

fn go(place: &Path) {
    fs::write(place.join("go"), "").unwrap();
}

/// A place for runs, and its first folder.
fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("1");
    (place, dir)
}

fn output(dir: &Path) -> String {
    String::from_utf8(fs::read(dir.join("output.log")).unwrap()).unwrap()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(150);
    while !condition() {
        assert!(Instant::now() < end, "{what}: did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next())
        .is_some_and(|state| state != 'Z' && state != 'X')
}

fn pid_in(path: PathBuf) -> u32 {
    let read = || {
        fs::read_to_string(&path)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .and_then(|text| text.trim().parse().ok())
    };
    until(&format!("{}", path.display()), || read().is_some());
    read().unwrap()
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn supervisor_of(dir: &Path) -> u32 {
    match seen(dir) {
        Found::Running { supervisor: Some(supervisor), .. } => supervisor.pid,
        other => panic!("does not run: {other:?}"),
    }
}

fn exit_status_and_output() {
    let (_place, dir) = place();
    assert_eq!(seen(&dir), Found::NeverStarted);
    let exit = run(&dir, &spec("echo out; echo err >&2; printf tail; exit 7"));
    assert_eq!(exit.ending, Ending::Exited { status: 7 });
    assert_eq!(output(&dir), "out\nerr\ntail");
    assert_eq!((exit.output_bytes, exit.dropped_bytes), (12, 0));
    assert_eq!((exit.left_running.len(), exit.ended_too.len()), (0, 0));
    let mut tail = Tail::open(&dir, 0).unwrap();
    assert_eq!(tail.lines().unwrap(), ["out", "err"]);
    assert_eq!(tail.finish().as_deref(), Some("tail"));
    assert_eq!(tail::last_lines(&dir, 2).unwrap(), ["err", "tail"]);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&dir).unwrap());
    assert_eq!(mode & 0o777, 0o700);

    let signalled = run(&dir.with_file_name("2"), &spec("kill -SEGV $$"));
    assert_eq!(signalled.ending, Ending::Signalled { signal: 11 });
    // The shell's own exit status for an inner part that a signal killed is an exit, not a signal.
    let inner = run(&dir.with_file_name("3"), &spec("bash -c 'kill -9 $$'; echo not reached"));
    assert_eq!(inner.ending, Ending::Exited { status: 137 });
}

fn shared_folder() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let (place, dir) = place();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o2770)).unwrap();
    run(&dir, &spec("echo x"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o2770);
    let names = ["exit.json", "output.log", "supervisor.json", "command.json", "supervisor.lock"];
    assert_eq!(names.map(|name| mode(&dir.join(name))), [0o640; 5]);
    // A folder that somebody else has put there, or a way to another place, is not used.
    fs::create_dir(place.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path().join("elsewhere"), place.path().join("2")).unwrap();
    let error = block(client::start_with(program(), &place.path().join("2"), &spec("true"))).unwrap_err();
    assert!(error.to_string().ends_with("is not a folder of ours"), "{error}");
}

fn not_started() {
    let (place, dir) = place();
    let refused = |name: &str, spec: Spec| {
        let dir = place.path().join(name);
        let error = block(client::start_with(program(), &dir, &spec)).expect_err("was started");
        let StartError::NotStarted { why } = error else { panic!("{error:?}") };
        (why, seen(&dir))
    };
    let (why, found) = refused("1", Spec { argv: vec!["/no/such/program".into()], ..spec("") });
    assert!(why.contains("/no/such/program") && why.contains("No such file"), "{why}");
    assert_eq!(ended(found).ending, Ending::NotStarted { why });
    let (why, _) = refused("2", Spec { cwd: "/no/such/place".into(), ..spec("true") });
    assert!(why.contains("/no/such/place"), "{why}");
    let (why, _) = refused("3", Spec { user: Some("nobody-of-that-name".into()), ..spec("true") });
    assert_eq!(why, "this machine has no user `nobody-of-that-name`");
    let (why, _) = refused("4", Spec { argv: vec![], ..spec("") });
    assert_eq!(why, "there is no program to start");
    let secret = vec![("token".to_owned(), "hunter2hunter2".to_owned())];
    let (why, found) = refused(
        "5",
        Spec { argv: vec!["echo".into(), "-u x:hunter2hunter2".into()], secrets: secret, ..spec("") },
    );
    assert!(why.contains("argument 2") && why.contains("`token`") && !why.contains("hunter2"), "{why}");
    assert_eq!(found, Found::NeverStarted);
    let broken = block(client::start_with(Path::new("/bin/false"), &dir.with_file_name("6"), &spec("true")));
    assert_eq!(
        broken.unwrap_err(),
        StartError::NotStarted { why: "its supervisor ended before it could start it".into() }
    );
}

/// Pseudo-terminals that other tests of this very program have open are none of the supervisor's.
fn clean_surroundings() {
    let (place, dir) = place();
    let text = "env | sort; umask; pwd; cat; ulimit -c > /dev/null; ls -l /proc/self/fd | grep -c -v -e total -e pipe -e null -e /proc/ -e /dev/pt ; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let mut order = spec(text);
    order.argv = vec!["/bin/sh".into(), "-c".into(), text.into()];
    order.cwd = place.path().canonicalize().unwrap();
    order.env = supervise::env::clean(None, "run-1", "copy", &BTreeMap::new()).unwrap();
    run(&dir, &order);
    let first = output(&dir);
    assert!(first.contains("HOLDPOINT_STEP=copy") && first.contains("\n0022\n"), "{first}");
    assert!(!first.contains("CARGO"), "{first}");
    assert!(
        first.contains(&format!("\n{}\n0\n", order.cwd.display())),
        "no other descriptor, nothing to read: {first}"
    );
    for (line, name) in first.lines().rev().zip(["SigIgn", "SigBlk"]) {
        let mask = u64::from_str_radix(line.split_whitespace().next_back().unwrap(), 16).unwrap();
        // Beyond 31 are real-time signals, which a container's own init may leave ignored.
        assert!(line.starts_with(name) && mask & 0x7fff_ffff == 0, "{line}");
    }
    // The same from another shell: other locale, other umask, HUP ignored.
    let dir = dir.with_file_name("2");
    let mut engine = Engine::start(&dir, &order, |command| {
        command.env("LC_ALL", "tr_TR.UTF-8").env("EXTRA", "1");
        let inner = std::mem::replace(command, Command::new("sh"));
        command.args(["-c", "umask 077; trap '' HUP; exec \"$0\""]).arg(inner.get_program());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
    });
    ended(block(client::wait(&dir, &Redactor::default())));
    assert_eq!(output(&dir), first);
    engine.child.kill().unwrap();
}

fn another_user() {
    let (place, dir) = place();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let env = supervise::env::clean(Some("nobody"), "r", "s", &BTreeMap::new()).unwrap();
    let order = Spec {
        user: Some("nobody".into()),
        env,
        limit: Some(Duration::from_secs(3)),
        ..spec("id -un; id -Gn; echo $HOME; sleep 600")
    };
    let exit = run(&dir, &order);
    assert_eq!(output(&dir), "nobody\nnogroup\n/nonexistent\n");
    assert_eq!(exit.ending, Ending::TimedOut { limit_ms: 3000 });
    assert_eq!(exit.process_ended.as_deref(), Some("killed by signal 15"), "TERM reached the command itself");
}

/// An engine in a process of its own.
struct Engine {
    child: Child,
    said: String,
}

impl Engine {
    fn start(dir: &Path, spec: &Spec, shape: impl FnOnce(&mut Command)) -> Engine {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(PLAY_ENGINE, serde_json::to_string(&(dir, spec)).unwrap());
        shape(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("started"), "{said}");
        Engine { child, said }
    }
}

fn play_engine(order: &str) -> ! {
    let (dir, spec): (PathBuf, Spec) = serde_json::from_str(order).unwrap();
    block(async {
        let handle = started(&dir, &spec).await;
        println!("started {}", handle.command_pid());
        std::io::stdout().flush().unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
    });
    std::process::exit(0)
}

fn engine_killed() {
    let (place, dir) = place();
    let order = spec_in(place.path(), &format!("echo begun; {GO}; sleep 1; echo ended; exit 3"));
    let mut engine = Engine::start(&dir, &order, |_| {});
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    let pid: u32 = engine.said.trim_start_matches("started ").trim().parse().unwrap();
    let Found::Running { command_pid, paused, .. } = seen(&dir) else { panic!("{:?}", seen(&dir)) };
    assert_eq!((command_pid, paused), (Some(pid), false));
    go(place.path());
    let exit = ended(block(client::wait(&dir, &Redactor::default())));
    assert_eq!(exit.ending, Ending::Exited { status: 3 });
    assert_eq!(output(&dir), "begun\nended\n");
    assert!(exit.ended.since(&exit.started) >= Duration::from_millis(990));
}

fn hangup() {
    let (place, dir) = place();
    let mut engine = Engine::start(&dir, &spec_in(place.path(), &format!("{GO}; echo ended")), |command| {
        command.process_group(0);
    });
    kill_process_group(Pid::from_raw(engine.child.id() as i32).unwrap(), Signal::HUP).unwrap();
    // Where this program itself was started to ignore HUP (nohup), the engine ignores it, too.
    let _ = engine.child.kill();
    engine.child.wait().unwrap();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        kill(supervisor_of(&dir), signal);
    }
    go(place.path());
    assert_eq!(ended(block(client::wait(&dir, &Redactor::default()))).ending, Ending::Exited { status: 0 });
    assert_eq!(output(&dir), "ended\n");
}

fn time_limit() {
    let (_place, dir) = place();
    // Long enough for a shell to set its trap, and to say that it was called.
    let limit = Some(Duration::from_secs(2));
    let grace = Duration::from_secs(1);
    let stubborn = "trap 'echo got TERM' TERM; while :; do sleep 0.05 || :; done";
    let exit = run(&dir, &Spec { limit, grace, ..spec(stubborn) });
    assert_eq!(exit.ending, Ending::TimedOut { limit_ms: 2000 });
    assert_eq!(exit.process_ended.as_deref(), Some("killed by signal 9"));
    assert!(output(&dir).contains("got TERM"));
    assert!(exit.ended.since(&exit.started) >= Duration::from_millis(2990), "{exit:?}");
    // One that obeys gets no KILL, and may clean up.
    let polite = run(
        &dir.with_file_name("2"),
        &Spec { limit, ..spec("trap 'echo cleaned; exit 0' TERM; sleep 600 & wait") },
    );
    assert_eq!(
        polite.ending,
        Ending::TimedOut { limit_ms: 2000 },
        "exit status 0 after TERM is not a success"
    );
    assert_eq!(polite.process_ended.as_deref(), Some("exit status 0"));
}

/// A child in its group, one in its own session, one double-forked daemon; all ignore TERM.
const STUBBORN: &str = r#"
trap '' TERM INT HUP
sleep 301 &
setsid sh -c 'echo $$ > "$PLACE/own"; exec sleep 302 > /dev/null 2>&1' &
(setsid sh -c 'sleep 303 > /dev/null 2>&1 & echo $! > "$PLACE/daemon"' &)
echo $$ > "$PLACE/main"
sleep 304
"#;

fn stop_reaches_escapees() {
    let (place, dir) = place();
    let order = Spec { grace: Duration::from_millis(300), ..spec_in(place.path(), STUBBORN) };
    let exit = block(async {
        let mut handle = started(&dir, &order).await;
        pid_in(place.path().join("main"));
        // What is named is what a process executes by then.
        for escapee in ["own", "daemon"] {
            let line = format!("/proc/{}/cmdline", pid_in(place.path().join(escapee)));
            until(escapee, || fs::read(&line).is_ok_and(|words| words.starts_with(b"sleep\0")));
        }
        client::stop(&dir, "disk_time_to_full: 12 min left").unwrap();
        ended(handle.wait().await)
    });
    assert_eq!(exit.ending, Ending::Stopped { why: "disk_time_to_full: 12 min left".into() });
    assert_eq!(exit.left_running, Vec::<String>::new());
    for escapee in ["sleep 302 (pid ", "sleep 303 (pid "] {
        assert!(exit.ended_too.iter().any(|name| name.contains(escapee)), "{escapee}: {:?}", exit.ended_too);
    }
    assert!(!alive(pid_in(place.path().join("main"))) && !alive(pid_in(place.path().join("daemon"))));
}

fn left_running_is_named_and_lives() {
    let (place, dir) = place();
    // It holds the pipe and writes to it after everybody has gone: SIGPIPE must not kill it. Until this test has seen the
    // end of the command it does not go on: an orphan that holds the pipe does not delay that end.
    let order = spec_in(
        place.path(),
        r#"(setsid sh -c 'echo $$ > "$PLACE/daemon"; for i in $(seq 12000); do [ -e "$PLACE/go" ] && break; sleep 0.05; done
        echo late; echo later; touch "$PLACE/lived"' &); echo done"#,
    );
    let exit = run(&dir, &order);
    assert_eq!(exit.ending, Ending::Exited { status: 0 });
    assert!(!exit.left_running.is_empty(), "{exit:?}");
    let daemon = pid_in(place.path().join("daemon"));
    assert!(exit.left_running.iter().any(|name| name.contains(&format!("(pid {daemon})"))), "{exit:?}");
    assert!(alive(daemon));
    assert_eq!(output(&dir), "done\n");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("supervisor.json")).unwrap()).unwrap();
    let supervisor = record["pid"].as_u64().unwrap() as u32;
    assert!(alive(supervisor), "it keeps the pipe open, though the command is over");
    go(place.path());
    until("the daemon lives on", || place.path().join("lived").exists());
    until("and then the supervisor goes too", || !alive(supervisor));
}

fn long_line() {
    let (_place, dir) = place();
    let exit = run(
        &dir,
        &Spec {
            secrets: vec![("pw".into(), "correct horse battery".into())],
            ..spec("head -c 100000000 /dev/zero | tr '\\0' x; grep -E 'VmHWM' /proc/$PPID/status")
        },
    );
    assert_eq!(exit.ending, Ending::Exited { status: 0 });
    let last = tail::last_lines(&dir, 1).unwrap().remove(0);
    let peak: u64 = last.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    assert!(exit.output_bytes > 100_000_000);
    assert!(peak < 40_000, "the supervisor used {peak} KiB");
    let mut lines = Tail::open(&dir, 0).unwrap();
    assert!(lines.lines().unwrap().iter().all(|line| line.len() < 10_000));
}

fn binary_output() {
    let (place, dir) = place();
    let bytes: Vec<u8> =
        (0..3_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(place.path().join("evil.bin"), &bytes).unwrap();
    for (name, secrets) in [("2", vec![]), ("3", vec![("pw".to_owned(), "correct horse battery".to_owned())])]
    {
        let dir = dir.with_file_name(name);
        let exit = run(&dir, &Spec { cwd: place.path().into(), secrets, ..spec("cat evil.bin") });
        assert_eq!(exit.output_bytes, bytes.len() as u64);
        assert_eq!(Digest::of(&fs::read(dir.join("output.log")).unwrap()), Digest::of(&bytes));
        let shown = tail::last_lines(&dir, 50).unwrap().join("\n");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

fn secrets() {
    let (place, dir) = place();
    let secret = "Tr0ub4dor&3/canary";
    let text = concat!(
        "printf %s \"${PW:0:9}\"; sleep 0.3; echo \"${PW:9}\"; ",
        "printf 'user:%s' \"$PW\" | base64; printf %s \"$PW\" | base64 -w12; printf %s \"$PW\" | od -An -v -tx1 | tr -d ' \\n'; echo; ",
        "echo \"url: ${PW//&/%26}\"; for i in $(seq 2000); do echo \"$i $PW\"; done",
    );
    // It runs as long as it is looked at.
    let mut order = spec_in(place.path(), &format!("{text}; {GO}"));
    order.env.insert("PW".into(), secret.into());
    order.secrets = vec![("pw".into(), secret.into())];
    order.label = format!("label with {secret}");
    let exit = block(async {
        let mut handle = started(&dir, &order).await;
        for _ in 0..5 {
            for process in fs::read_dir("/proc").unwrap().flatten() {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&line).contains(secret), "{:?}", process.path());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let environ = fs::read(format!("/proc/{}/environ", supervisor_of(&dir))).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("canary"));
        go(place.path());
        ended(handle.wait().await)
    });
    assert_eq!(exit.ending, Ending::Exited { status: 0 });
    let stored = output(&dir);
    let lines: Vec<&str> = stored.lines().collect();
    assert_eq!(lines[0], "[secret pw]");
    assert!(lines[1].contains("[secret pw]") && !lines[1].contains("VHIwdWI0ZG9yJj"), "{}", lines[1]);
    assert_eq!(&lines[2..4], ["[secret pw]", "[secret pw]"], "base64 over three lines, hexadecimal");
    assert_eq!(stored.matches("[secret pw]").count(), 2005, "{}", lines[4]);
    for file in fs::read_dir(&dir).unwrap().flatten() {
        let text = String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned();
        for trace in ["canary", "Tr0ub4dor&", "54723075623464", "VHIwdWI0ZG9y"] {
            assert!(!text.contains(trace), "{trace} in {:?}", file.path());
        }
    }
}

fn prompt_is_seen_at_once() {
    let (_place, dir) = place();
    let order = Spec {
        secrets: vec![("pw".into(), "correct horse battery".into())],
        ..spec("printf 'Password: '; sleep 600")
    };
    block(async {
        let mut handle = started(&dir, &order).await;
        until("the prompt", || output(&dir) == "Password: ");
        client::stop(&dir, "seen").unwrap();
        handle.wait().await
    });
}

/// A small file system of its own, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at.path())
            .status()
            .unwrap();
        assert!(done.success());
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn full_disk() {
    let disk = SmallDisk::new("4m");
    let dir = disk.0.path().join("1");
    // Too much output: the command ends as it would, the end is on record, and there is still room for a journal.
    let exit = run(&dir, &spec("head -c 20000000 /dev/zero; exit 5"));
    assert_eq!(exit.ending, Ending::Exited { status: 5 });
    assert_eq!(exit.output_bytes + exit.dropped_bytes, 20_000_000);
    assert_eq!(exit.output_bytes, fs::metadata(dir.join("output.log")).unwrap().len());
    assert!(exit.output_bytes > 1_000_000 && exit.dropped_why.unwrap().contains("almost full"));
    fs::write(disk.0.path().join("journal"), [b'j'; 100_000]).unwrap();
    fs::remove_file(dir.join("output.log")).unwrap();
    // Somebody else takes the last block: the room for the end was taken at the start.
    let dir = disk.0.path().join("2");
    let text = "echo before; until [ -s \"$LOG\" ]; do sleep 0.05; done; cat /dev/zero > \"$FILL\" 2> /dev/null || :; echo after; exit 6";
    let mut order = spec(text);
    order.env.insert("LOG".into(), dir.join("output.log").display().to_string());
    order.env.insert("FILL".into(), disk.0.path().join("fill").display().to_string());
    let exit = run(&dir, &order);
    assert_eq!(exit.ending, Ending::Exited { status: 6 });
    // The last words may fit into the block that the log has already.
    assert!("before\nafter\n".starts_with(&output(&dir)) && output(&dir).starts_with("before\n"));
    assert_eq!(exit.output_bytes + exit.dropped_bytes, 13);
    // With nothing left at all, nothing is started.
    let dir = disk.0.path().join("3");
    match block(client::start_with(program(), &dir, &order)) {
        Err(StartError::NotStarted { why }) => assert!(why.contains("No space left"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(seen(&dir), Found::NeverStarted);
}

fn supervisor_killed() {
    let (place, dir) = place();
    let order = spec_in(
        place.path(),
        &format!("(setsid sleep 1.5 &); echo $$ > \"$PLACE/main\"; {GO}; echo late > \"$PLACE/late\""),
    );
    block(async {
        let mut handle = started(&dir, &order).await;
        let main = pid_in(place.path().join("main"));
        kill(supervisor_of(&dir), Signal::KILL);
        match handle.wait().await {
            Found::Orphaned { pid, processes } => {
                assert_eq!(pid, main);
                assert!(processes[0].ends_with(&format!("(pid {main})")), "{processes:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(client::stop(&dir, "x").unwrap_err(), "nobody supervises it now");
        let again = client::start_with(program(), &dir, &order).await.unwrap_err();
        assert!(matches!(again, StartError::AlreadyUsed { .. }));
        go(place.path());
        until("its end", || !matches!(seen(&dir), Found::Orphaned { .. }));
        assert!(place.path().join("late").exists(), "as long as it ran it was an orphan");
        let Found::Lost { why } = seen(&dir) else { panic!("{:?}", seen(&dir)) };
        assert!(why.contains("was killed") && why.contains("not on record"), "{why}");
    });
}

fn other_boot() {
    let (_place, dir) = place();
    run(&dir, &spec("true"));
    fs::remove_file(dir.join("exit.json")).unwrap();
    let record = fs::read_to_string(dir.join("supervisor.json")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(dir.join("supervisor.json"), record.replace(boot.trim(), "another-boot")).unwrap();
    let Found::Lost { why } = seen(&dir) else { panic!() };
    assert!(why.contains("the machine was restarted"), "{why}");
    // Half a record is no reason to think that nothing runs.
    fs::write(dir.join("supervisor.json"), &record[..20]).unwrap();
    assert!(matches!(seen(&dir), Found::Unclear { .. }));
    fs::remove_file(dir.join("supervisor.lock")).unwrap();
    assert!(matches!(seen(&dir), Found::Unclear { .. }));
}

fn pause_and_continue() {
    let (_place, dir) = place();
    let order =
        Spec { limit: Some(Duration::from_secs(2)), ..spec("while :; do echo tick; sleep 0.05; done") };
    let (exit, most) = block(async {
        let mut handle = started(&dir, &order).await;
        until("output", || !output(&dir).is_empty());
        let asked = Instant::now();
        client::pause(&dir).unwrap();
        until("paused", || matches!(seen(&dir), Found::Running { paused: true, .. }));
        // What it had written before is on its way.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = output(&dir);
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert_eq!(output(&dir), before, "paused, and beyond the limit");
        client::cont(&dir).unwrap();
        until("goes on", || output(&dir).len() > before.len());
        (ended(handle.wait().await), asked.elapsed())
    });
    assert_eq!(exit.ending, Ending::TimedOut { limit_ms: 2000 });
    assert!((2200..=most.as_millis() as u64).contains(&exit.paused_ms), "{} in {most:?}", exit.paused_ms);
    assert!(exit.ended.since(&exit.started) >= Duration::from_millis(4200));
    // What is paused can be stopped.
    let dir = dir.with_file_name("2");
    let exit = block(async {
        let mut handle = started(&dir, &spec("echo begun; sleep 60")).await;
        until("output", || !output(&dir).is_empty());
        client::pause(&dir).unwrap();
        until("paused", || matches!(seen(&dir), Found::Running { paused: true, .. }));
        client::stop(&dir, "enough").unwrap();
        ended(handle.wait().await)
    });
    assert_eq!(exit.process_ended.as_deref(), Some("killed by signal 15"));
}

fn pid_reuse() {
    let (_place, dir) = place();
    block(async {
        let mut handle = started(&dir, &spec("sleep 60")).await;
        let path = dir.join("supervisor.json");
        let real = fs::read_to_string(&path).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&real).unwrap();
        // The number now belongs to somebody else: to a process that started at another time, as the kernel counts it.
        std::thread::sleep(Duration::from_millis(30));
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        record["pid"] = stranger.id().into();
        fs::write(&path, record.to_string()).unwrap();
        assert_eq!(client::stop(&dir, "x").unwrap_err(), "nobody supervises it now");
        assert_eq!(client::pause(&dir).unwrap_err(), "nobody supervises it now");
        assert!(stranger.try_wait().unwrap().is_none() && alive(stranger.id()), "the stranger was hit");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        fs::write(&path, real).unwrap();
        client::stop(&dir, "enough").unwrap();
        ended(handle.wait().await);
        assert_eq!(client::stop(&dir, "x").unwrap_err(), "nobody supervises it now");
    });
}

fn never_twice() {
    let (place, dir) = place();
    let mut order = spec("echo x >> \"$PLACE/count\"");
    order.env.insert("PLACE".into(), place.path().display().to_string());
    run(&dir, &order);
    let again = block(client::start_with(program(), &dir, &order)).unwrap_err();
    assert_eq!(again.to_string(), format!("{} was used for another start", dir.display()));
    // Two at once: one of them.
    let dir = place.path().join("2");
    block(async {
        let (a, b) = tokio::join!(
            client::start_with(program(), &dir, &order),
            client::start_with(program(), &dir, &order)
        );
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
        client::wait(&dir, &Redactor::default()).await;
    });
    assert_eq!(fs::read_to_string(place.path().join("count")).unwrap(), "x\nx\n");
}
