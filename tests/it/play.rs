//! What the acceptance tests share: a place for one runbook with a ledger of everything its steps really did, people who
//! run the program there, and a look into the journal from outside, as any reader of JSON lines has it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{LOADED, Ran, Sandbox, finish};

/// A place.
pub struct Play {
    pub sandbox: Sandbox,
}

/// A program that runs beside the test; killed when dropped.
pub struct Beside {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Play {
    pub fn new() -> Play {
        Play { sandbox: Sandbox::new() }
    }

    /// Writes the runbook; `@` stands for the place.
    pub fn book(&self, text: &str) -> PathBuf {
        let here = self.sandbox.path().display().to_string();
        self.sandbox.write("book.yaml", &text.replace('@', &here))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.join(name)
    }

    /// The program by somebody, without a terminal; words are split at blanks.
    pub fn holdpoint(&self, who: &str, words: &str) -> Command {
        let mut command = self.sandbox.holdpoint();
        command.args(["--non-interactive", "--operator", who]).args(words.split_whitespace());
        command
    }

    #[track_caller]
    pub fn ran(&self, who: &str, words: &str) -> Ran {
        finish(&mut self.holdpoint(who, words), Duration::from_secs(60))
    }

    #[track_caller]
    pub fn with(&self, who: &str, words: &str, more: &[&str]) -> Ran {
        finish(self.holdpoint(who, words).args(more), Duration::from_secs(60))
    }

    /// Starts the program and leaves it running.
    pub fn start(&self, who: &str, words: &str) -> Beside {
        self.beside(&mut self.holdpoint(who, words))
    }

    /// Starts a command and leaves it running.
    pub fn beside(&self, command: &mut Command) -> Beside {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("out-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let (out, err) = (self.path(&name), self.path(&format!("{name}.err")));
        let file = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
        let child = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn().unwrap();
        Beside { child, out, err }
    }

    /// What steps wrote down.
    pub fn ledger(&self) -> Vec<String> {
        lines(&self.path("ledger"))
    }

    pub fn times(&self, word: &str) -> usize {
        self.ledger().iter().filter(|line| *line == word).count()
    }

    /// The folders of all runs that have a journal.
    pub fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.sandbox.store().join("runs")) else { return Vec::new() };
        let folders = entries.map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = folders.filter(|path| !lines(&path.join("journal.jsonl")).is_empty()).collect();
        all.sort();
        all
    }

    /// The folder of the only run.
    #[track_caller]
    pub fn run(&self) -> PathBuf {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }

    /// The id of the only run.
    #[track_caller]
    pub fn id(&self) -> String {
        self.run().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// The journal of the only run: whole lines.
    #[track_caller]
    pub fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run().join("journal.jsonl")).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Events of one kind.
    #[track_caller]
    pub fn events(&self, what: &str) -> Vec<Value> {
        self.journal().into_iter().filter(|line| line["what"] == what).collect()
    }

    /// How often a step's work was begun.
    #[track_caller]
    pub fn begun(&self, step: &str) -> usize {
        self.events("began").iter().filter(|line| line["step"] == step).count()
    }

    /// Waits until the ledger has a word.
    #[track_caller]
    pub fn until(&self, word: &str) {
        crate::harness::eventually(Duration::from_secs(20), &format!("`{word}` in the ledger"), || {
            self.times(word) > 0
        });
    }

    /// Waits until the journal of the only run has an event.
    #[track_caller]
    pub fn until_event(&self, what: &str) {
        crate::harness::eventually(Duration::from_secs(20), &format!("`{what}` in the journal"), || {
            !self.runs().is_empty() && !self.events(what).is_empty()
        });
    }

    /// The journal is whole, as `verify` says.
    #[track_caller]
    pub fn verified(&self) {
        self.ran("auditor", &format!("verify {}", self.id())).exits(0);
    }

    /// Every process that has this place in its command line, as pid and words; not this test itself.
    pub fn processes(&self) -> Vec<(i32, String)> {
        processes_of(&self.sandbox)
    }

    /// Waits until no command is supervised any more: what became of the last one is on record then, as far as it can be.
    #[track_caller]
    pub fn unsupervised(&self) {
        unsupervised(&self.sandbox);
    }
}

/// Every process that has a place in its command line, as pid and words.
fn processes_of(sandbox: &Sandbox) -> Vec<(i32, String)> {
    let here = sandbox.path().display().to_string();
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    let known = pids.filter_map(|pid: i32| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
        words.contains(&here).then_some((pid, words))
    });
    known.collect()
}

/// See [`Play::unsupervised`].
#[track_caller]
pub fn unsupervised(sandbox: &Sandbox) {
    crate::harness::eventually(Duration::from_secs(20), "the supervisor is over", || {
        !processes_of(sandbox).iter().any(|(_, words)| words.contains("__supervise"))
    });
}

impl Drop for Play {
    /// Supervisors outlive the engine by design; none outlives its test.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            kill_tree(pid);
        }
    }
}

/// Kills a process and all that came from it, children first stopped, then killed.
pub fn kill_tree(pid: i32) {
    let Some(id) = Pid::from_raw(pid) else { return };
    let _ = kill_process(id, Signal::STOP);
    for child in children(pid) {
        kill_tree(child);
    }
    let _ = kill_process(id, Signal::KILL);
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// The lines of a file; none when it is not there.
pub fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

impl Beside {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        format!("{}{}", read(&self.out), read(&self.err))
    }

    /// Kills it, and waits until it is gone. What it started lives on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, at most [`LOADED`] times `limit`.
    #[track_caller]
    pub fn ends(&mut self, limit: Duration) -> Ran {
        let limit = limit * LOADED;
        let until = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "still running after {limit:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        Ran { status: status.code(), stdout: read(&self.out), stderr: read(&self.err) }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.kill();
    }
}
