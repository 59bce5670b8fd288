//! A supervisor's life: take the order, put on record who supervises, start the command, watch it, put on record how it
//! ended, and stay for what it left running.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::capture::{self, Captured};
use super::guard::Guard;
use super::launch::launch;
use super::log::Log;
use super::proc::{boot_id, shown};
use super::record::{
    self, COMMAND, CommandRecord, EXIT, Ending, ExitRecord, FORMAT, LOCK, MODE, OUTPUT, Process, SUPERVISOR,
    SupervisorRecord,
};
use super::spec::{Answer, Spec};
use crate::base::Moment;
use crate::base::redact::Redactor;
use crate::world::Clock as _;
use crate::world::clock::SystemClock;

/// The order must be there by then.
const ORDER: Duration = Duration::from_secs(30);

/// Room for `exit.json`, taken while there is some.
const EXIT_ROOM: u64 = 32 << 10;

/// The whole life of a supervisor. What goes wrong has been answered already, as far as anyone listens.
pub(super) fn serve(dir: &Path) -> Result<(), String> {
    // First: nothing that happens to the engine's terminal may reach us.
    rustix::process::setsid().map_err(|error| format!("cannot lead a session: {error}"))?;
    let mut engine = engine().map_err(|error| format!("this is started by holdpoint itself: {error}"))?;
    match prepare(dir, &mut engine) {
        Ok(ready) => supervise(dir, &mut engine, ready),
        Err(why) => {
            answer(&mut engine, &Answer::NotStarted { why: why.clone() });
            Err(why)
        }
    }
}

struct Ready {
    spec: Spec,
    redactor: Redactor,
    boot_id: String,
    log: File,
    lock: File,
}

/// The socket that is our standard input. It is taken away from there.
fn engine() -> std::io::Result<UnixStream> {
    let stream = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    stream.set_read_timeout(Some(ORDER))?;
    stream.set_write_timeout(Some(ORDER))?;
    Ok(stream)
}

fn answer(engine: &mut UnixStream, answer: &Answer) {
    // The engine may be gone: that changes nothing for the command.
    if let Ok(line) = serde_json::to_string(answer) {
        let _ = engine.write_all(format!("{line}\n").as_bytes());
    }
}

/// Everything before the command: order, lock, record. An error means that nothing ran.
fn prepare(dir: &Path, engine: &mut UnixStream) -> Result<Ready, String> {
    let say = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| say("cannot adopt what the command leaves", &error))?;
    // We hold secrets: no core dump, and no look into our memory. The command does not inherit it.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| say("cannot protect secrets", &error))?;
    std::env::set_current_dir("/").map_err(|error| say("cannot enter /", &error))?;
    let mut order = Vec::new();
    engine.read_to_end(&mut order).map_err(|error| say("the order did not come", &error))?;
    let spec: Spec = serde_json::from_slice(&order).map_err(|_| "the order is damaged".to_owned())?;
    let redactor = Redactor::new(spec.secrets.iter().cloned());
    let new = |name: &str| {
        let path = dir.join(name);
        let file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(&path);
        file.map_err(|error| format!("cannot make {}: {error}", path.display()))
    };
    // Made once: a second supervisor in this folder fails here.
    let lock = new(LOCK)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| say("cannot lock", &error))?;
    let log = new(OUTPUT)?;
    record::reserve(dir, EXIT, EXIT_ROOM)?;
    let boot_id = boot_id()?;
    let record = SupervisorRecord {
        format: FORMAT,
        process: Process::of(std::process::id()).ok_or("/proc is not mounted")?,
        boot_id: boot_id.clone(),
        started: SystemClock.now(),
        label: redactor.text(&spec.label),
        limit_ms: spec.limit.map(millis),
    };
    record::write(dir, SUPERVISOR, &record, true)?;
    Ok(Ready { spec, redactor, boot_id, log, lock })
}

fn supervise(dir: &Path, engine: &mut UnixStream, ready: Ready) -> Result<(), String> {
    let Ready { spec, redactor, boot_id, log, lock } = ready;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string());
    let started = SystemClock.now();
    let mut exit = ExitRecord {
        format: FORMAT,
        ending: Ending::NotStarted { why: String::new() },
        process_ended: None,
        started,
        ended: started,
        paused_ms: 0,
        cpu_ms: None,
        boot_id,
        output_bytes: 0,
        dropped_bytes: 0,
        dropped_why: None,
        left_running: Vec::new(),
        ended_too: Vec::new(),
    };
    let begun = runtime.and_then(|runtime| {
        // Signals are caught before there is anything to be signalled about.
        let guard = runtime.block_on(async { Guard::new(dir, &spec, &redactor) })?;
        let pipe = std::io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        Ok((runtime, guard, pipe, launch(&spec)?))
    });
    let (runtime, mut guard, (ended, told), launched) = match begun {
        Ok(begun) => begun,
        Err(why) => {
            let why = redactor.text(&why);
            exit.ending = Ending::NotStarted { why: why.clone() };
            let written = record::write(dir, EXIT, &exit, true);
            drop(lock);
            answer(engine, &Answer::NotStarted { why: why.clone() });
            return written.and(Err(why));
        }
    };
    exit.started = SystemClock.now();
    let command = CommandRecord {
        process: launched.process,
        argv: shown(&redactor.text(&spec.argv.join(" "))),
        started: exit.started,
    };
    // Not flushed: it matters only while this boot lasts. If the disk is full already, the session still tells.
    let _ = record::write(dir, COMMAND, &command, false);
    answer(engine, &Answer::Started { pid: launched.process.pid });

    let Captured { log, held } = std::thread::scope(|scope| {
        let filter = &redactor;
        let capture = scope.spawn(move || capture::run(launched.pipe, ended, Log::new(log), filter));
        runtime.block_on(guard.watch(launched.process, &mut exit));
        drop(told);
        capture.join().map_err(|_| "the output could not be read".to_owned())
    })?;
    exit.output_bytes = log.stored;
    exit.dropped_bytes = log.dropped;
    exit.dropped_why = log.why.clone();
    drop(log);
    guard.name_what_is_left(&mut exit);
    exit.ended = guard.ended().unwrap_or_else(|| SystemClock.now());
    let written = record::write(dir, EXIT, &exit, true);
    drop(lock);
    answer(engine, &Answer::Ended);
    let _ = engine.shutdown(std::net::Shutdown::Both);
    if let Some(pipe) = held {
        // Whoever still has the pipe would be killed by SIGPIPE at its next line if we left.
        let listener = std::thread::spawn(move || capture::forget(pipe));
        runtime.block_on(guard.reap_until(|| listener.is_finished()));
    }
    written
}

/// Whole milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds of the boot clock, which counts suspension.
pub(super) fn boot_ms() -> u64 {
    let Moment { boot_ms, .. } = SystemClock.now();
    boot_ms
}
