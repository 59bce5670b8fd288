//! The people of that service: who types, who is paged and answers, and what the clock says to them.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use expectrl::{Expect, Regex, Session};

use super::site::{BOOK, PATIENCE, Site};
use crate::harness::{Ran, faketime, finish, must};
use crate::play::lines;

impl Site {
    /// What the pager's phone has shown.
    pub fn phone(&self) -> Vec<String> {
        lines(&self.play.path("phone")).into_iter().filter(|line| !line.trim().is_empty()).collect()
    }

    /// The program by somebody, at a moment of January 2017, without a terminal.
    pub fn holdpoint(&self, who: &str, at: &str, arguments: &[&str]) -> Command {
        let mut command = self.play.holdpoint(who, "");
        command.args(arguments);
        self.clock(&mut command, at);
        command
    }

    /// Gives a command that moment's clock. The monitoring has just been there.
    fn clock(&self, command: &mut Command, at: &str) {
        std::fs::write(self.play.path("beat"), "").unwrap();
        must(Command::new("touch").args(["-d", &format!("{at} UTC")]).arg(self.play.path("beat")));
        command.env("LD_PRELOAD", faketime().unwrap()).env("FAKETIME", format!("@{at}"));
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    }

    /// Runs it to its end, while Bea answers each page that reaches her phone.
    #[track_caller]
    pub fn ran(&self, who: &str, at: &str, arguments: &[&str]) -> Ran {
        let mut command = self.holdpoint(who, at, arguments);
        self.answering(|| finish(&mut command, 2 * PATIENCE))
    }

    /// Does something while Bea answers her phone.
    pub fn answering<T>(&self, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        /// Ends Bea's watch, also when the work panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let before = self.phone().len();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = before;
                while !over.load(Ordering::Relaxed) {
                    for text in self.phone().iter().skip(seen) {
                        seen += 1;
                        let code = text.split("holdpoint ack ").nth(1).map(|rest| rest.trim().to_owned());
                        if let Some(code) = code {
                            self.play.with("bea", "ack", &[&code]);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let _over = Over(&over);
            work()
        })
    }

    /// Somebody at a terminal.
    pub fn terminal(&self, who: &str, at: &str, arguments: &[&str]) -> Terminal {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb");
        command.env("HOLDPOINT_STORE", self.play.sandbox.store()).env("HOME", self.play.sandbox.path());
        command.args(["--operator", who]).args(arguments);
        self.clock(&mut command, at);
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(PATIENCE));
        Terminal { session }
    }

    /// Starts the run at a terminal, says who looks after it, and leaves in front of the next step.
    pub fn starts(&self, who: &str, at: &str, vars: &[(&str, &str)]) {
        let mut arguments = vec!["run".to_owned(), BOOK.to_owned()];
        arguments.extend(["--env".to_owned(), "production".to_owned()]);
        arguments.extend(self.vars(vars));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut terminal = self.terminal(who, at, &arguments);
        terminal.answers("protected environment", "production");
        terminal.answers(r"Step 1 of \d+: owner\s", "c");
        terminal.answers("Who is the second person", "Bea, +44 555 0100");
        terminal.answers(r"Step 2 of \d+: unused\s", "q");
        terminal.ends();
    }

    /// The rare things were done on purpose, and took so many seconds.
    pub fn exercised(&self, who: &str, at: &str, seconds: &str) {
        let mut terminal = self.terminal(who, at, &["resume", &self.newest()]);
        terminal.answers(r"Step 5 of \d+: exercise\s", "c");
        terminal.answers("How many seconds", seconds);
        terminal.answers(r"Step 6 of \d+: drop\s", "q");
        terminal.ends();
    }

    /// The id of the newest run.
    pub fn newest(&self) -> String {
        let mut runs = self.play.runs();
        runs.sort_by_key(|run| std::fs::metadata(run.join("journal.jsonl")).unwrap().modified().unwrap());
        runs.last().unwrap().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// The step's work has begun, in the newest run.
    pub fn begun(&self, step: &str) -> bool {
        let journal = self.play.sandbox.store().join("runs").join(self.newest()).join("journal.jsonl");
        let lines = lines(&journal).into_iter().filter_map(|line| serde_json::from_str(&line).ok());
        lines.into_iter().any(|line: serde_json::Value| line["what"] == "began" && line["step"] == step)
    }
}

/// A terminal with holdpoint in it.
pub struct Terminal {
    session: expectrl::session::OsSession,
}

impl Terminal {
    #[track_caller]
    pub fn answers(&mut self, after: &str, text: &str) {
        let seen = self.session.expect(Regex(after)).and_then(|_| self.session.expect("\n> "));
        if let Err(error) = seen {
            let rest = self.session.expect(Regex("(?s).*")).map(|found| found.as_bytes().to_vec());
            panic!(
                "waiting for `{after}`: {error}; the screen:\n{}",
                String::from_utf8_lossy(&rest.unwrap_or_default())
            );
        }
        self.session.send_line(text).unwrap();
    }

    /// Waits until the program has ended of itself.
    pub fn ends(mut self) {
        self.session.expect(expectrl::Eof).unwrap();
    }
}
