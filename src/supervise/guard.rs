//! Watches one command: time limit, stop, pause, and everything that it leaves behind.
//!
//! The command is waited for, but also reaped, only here; until then its process group cannot belong to anyone else. We are the
//! child subreaper: a daemon that left its session is our child too once its parent has gone, and can be named and ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::proc::{Stat, describe, family, stat};
use super::record::{self, Ending, ExitRecord, Process, STOP, StopRecord};
use super::serve::{boot_ms, millis};
use super::spec::Spec;
use crate::base::Moment;
use crate::base::redact::Redactor;
use crate::world::Clock as _;
use crate::world::clock::SystemClock;

/// The boot clock is read at least so often: timers stand still while the machine sleeps.
const GLANCE: Duration = Duration::from_secs(5);

/// Between two looks while something is being stopped.
const TICK: Duration = Duration::from_millis(20);

/// After KILL, what is in the kernel's hands gets this long before it is named as left running.
const LAST: Duration = Duration::from_secs(5);

/// More names than this are counted only: `exit.json` has a fixed room.
const NAMED: usize = 40;

/// Clock ticks a second, as `/proc` counts them on every architecture that Linux has.
const TICKS: u64 = 100;

/// A stop under way.
struct Stopping {
    ending: Ending,
    /// When KILL is due, by the boot clock.
    kill_at: u64,
    /// When KILL was first sent.
    killed: Option<u64>,
}

/// The watcher of one command.
pub(super) struct Guard<'a> {
    dir: PathBuf,
    limit: Option<Duration>,
    grace: Duration,
    redactor: &'a Redactor,
    child: Signals,
    term: Signals,
    pause: Signals,
    cont: Signals,
    /// Caught so that they neither end us nor are ignored by the command: HUP, INT, QUIT, and XFSZ, which then is an
    /// ordinary write error.
    _deaf: Vec<Signals>,
    main: u32,
    status: Option<WaitStatus>,
    ended: Option<Moment>,
    childless: bool,
    paused_since: Option<u64>,
    paused: u64,
    stopping: Option<Stopping>,
    too: BTreeSet<String>,
}

impl<'a> Guard<'a> {
    /// Catches signals from now on. Must be called within the runtime.
    pub fn new(dir: &Path, spec: &Spec, redactor: &'a Redactor) -> Result<Self, String> {
        let catch = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
        let deaf = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::from_raw(Signal::XFSZ.as_raw()),
        ];
        Ok(Guard {
            dir: dir.to_owned(),
            limit: spec.limit,
            grace: spec.grace,
            redactor,
            child: catch(SignalKind::child())?,
            term: catch(SignalKind::terminate())?,
            pause: catch(SignalKind::user_defined1())?,
            cont: catch(SignalKind::user_defined2())?,
            _deaf: deaf.into_iter().map(catch).collect::<Result<_, _>>()?,
            main: 0,
            status: None,
            ended: None,
            childless: false,
            paused_since: None,
            paused: 0,
            stopping: None,
            too: BTreeSet::new(),
        })
    }

    /// When the command was seen to have ended.
    pub fn ended(&self) -> Option<Moment> {
        self.ended
    }

    /// Until the command has ended; after a stop, until all of its descendants have, as far as they can be ended.
    pub async fn watch(&mut self, main: Process, exit: &mut ExitRecord) {
        self.main = main.pid;
        let begun = boot_ms();
        loop {
            self.reap(exit);
            if self.finished() {
                break;
            }
            let pause = self.act_by_the_clock(begun);
            tokio::select! {
                _ = self.child.recv() => {}
                _ = self.term.recv() => self.stop_requested(exit),
                _ = self.pause.recv() => self.pause(),
                _ = self.cont.recv() => self.cont(),
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.cont_clock();
        exit.paused_ms = self.paused;
        let raw = self.status.and_then(|status| {
            let exited = status.exit_status().map(|status| Ending::Exited { status });
            exited.or_else(|| status.terminating_signal().map(|signal| Ending::Signalled { signal }))
        });
        match self.stopping.take() {
            None => exit.ending = raw.unwrap_or(Ending::Signalled { signal: 0 }),
            Some(stopping) => {
                exit.ending = stopping.ending;
                exit.process_ended = raw.map(|raw| raw.describe());
            }
        }
        exit.ended_too = bounded(std::mem::take(&mut self.too).into_iter().collect());
    }

    /// Names what lives on. To be called when the output has been drained: what only had to say its last words is gone.
    pub fn name_what_is_left(&mut self, exit: &mut ExitRecord) {
        self.reap(exit);
        if !self.childless {
            let left = family(std::process::id());
            exit.left_running = bounded(left.iter().map(|stat| describe(stat, self.redactor)).collect());
        }
    }

    /// Reaps adopted children until `done`, or until somebody asks us to go.
    pub async fn reap_until(&mut self, done: impl Fn() -> bool) {
        while !done() {
            tokio::select! {
                _ = self.child.recv() => {}
                _ = self.term.recv() => return,
                () = tokio::time::sleep(GLANCE) => {}
            }
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
    }

    fn reap(&mut self, exit: &mut ExitRecord) {
        loop {
            // Its processor time can be read only as long as it has not been waited for.
            let cpu = if self.status.is_none() { stat(self.main).filter(|stat| !stat.lives()) } else { None };
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_pid().unsigned_abs() == self.main => {
                    self.status = Some(status);
                    self.ended = Some(SystemClock.now());
                    exit.cpu_ms = cpu.map(|stat| stat.cpu_ticks * 1000 / TICKS);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.childless = true;
                    return;
                }
            }
        }
    }

    fn finished(&self) -> bool {
        let gave_up = |stopping: &Stopping| stopping.killed.is_some_and(|at| boot_ms() >= at + millis(LAST));
        match &self.stopping {
            None => self.status.is_some(),
            // A command in the kernel's hands cannot be waited for without end.
            Some(stopping) => {
                (self.status.is_some() && (self.childless || family(std::process::id()).is_empty()))
                    || gave_up(stopping)
            }
        }
    }

    /// Does what is due, and says how long nothing will be.
    fn act_by_the_clock(&mut self, begun: u64) -> Duration {
        let now = boot_ms();
        if let Some(stopping) = &mut self.stopping {
            if now >= stopping.kill_at {
                stopping.killed.get_or_insert(now);
                self.signal_all(Signal::KILL);
            }
            return TICK;
        }
        let (Some(limit), None) = (self.limit, self.paused_since) else { return GLANCE };
        let used = Duration::from_millis(now.saturating_sub(begun + self.paused));
        if used >= limit {
            self.stop(Ending::TimedOut { limit_ms: millis(limit) });
            return TICK;
        }
        (limit - used).min(GLANCE)
    }

    fn stop_requested(&mut self, exit: &mut ExitRecord) {
        self.reap(exit);
        let wish = record::read::<StopRecord>(&self.dir, STOP).ok().flatten();
        let why = wish.map_or_else(|| "its supervisor was told to end (SIGTERM)".to_owned(), |wish| wish.why);
        // The end that it found by itself stands.
        if self.status.is_none() && self.stopping.is_none() {
            self.stop(Ending::Stopped { why: super::proc::shown(&self.redactor.text(&why)) });
        }
    }

    fn stop(&mut self, ending: Ending) {
        self.stopping = Some(Stopping { ending, kill_at: boot_ms() + millis(self.grace), killed: None });
        self.signal_all(Signal::TERM);
        // A stopped process sees TERM only once it goes on.
        self.signal_all(Signal::CONT);
        self.cont_clock();
    }

    fn pause(&mut self) {
        if self.stopping.is_none() && self.status.is_none() {
            self.signal_all(Signal::STOP);
            self.paused_since.get_or_insert(boot_ms());
        }
    }

    fn cont(&mut self) {
        if self.stopping.is_none() {
            self.signal_all(Signal::CONT);
            self.cont_clock();
        }
    }

    fn cont_clock(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += boot_ms().saturating_sub(since);
        }
    }

    /// To the command's process group, and to every descendant outside of it.
    fn signal_all(&mut self, signal: Signal) {
        let group = i32::try_from(self.main).ok().and_then(Pid::from_raw);
        let whole = self.status.is_none();
        if let (true, Some(group)) = (whole, group) {
            let _ = kill_process_group(group, signal);
        }
        let outside = |stat: &Stat| stat.group != self.main;
        for member in family(std::process::id()) {
            if outside(&member) && self.stopping.is_some() {
                self.too.insert(describe(&member, self.redactor));
            }
            if outside(&member) || !whole {
                let _ = member.process.signal(signal);
            }
        }
    }
}

fn bounded(mut names: Vec<String>) -> Vec<String> {
    let all = names.len();
    if all > NAMED {
        names.truncate(NAMED);
        names.push(format!("and {} more", all - NAMED));
    }
    names
}
