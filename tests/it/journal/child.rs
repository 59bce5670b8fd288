//! Another process that works with a journal: commands on standard input, one answer a line on standard output.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use holdpoint::journal::record::LeaseHow;
use holdpoint::journal::{Event, Journal, Lease, LeaseError, RunDir, Seat, Store};

use super::{began, claim, ended, note, now, opened};

/// What the child does. Commands: `new STORE NAME`, `open DIR`, `take HOW WHO`, `began`, `ended`, `note TEXT`, `offer`, `flood N`,
/// `release`, `drop`. Answers: `ok …`, or `err VARIANT: text`.
pub fn child(_job: &OsStr) -> ExitCode {
    let (mut journal, mut lease) = (None, None);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = act(&words, &mut journal, &mut lease);
        let (Ok(text) | Err(text)) = answer;
        println!("{}", text.replace('\n', " "));
    }
    ExitCode::SUCCESS
}

fn act(words: &[&str], journal: &mut Option<Journal>, lease: &mut Option<Lease>) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Debug, text: String| {
        let variant = format!("{error:?}");
        let variant: String = variant.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        format!("err {variant}: {text}")
    };
    match *words {
        ["new", store, name] => {
            let store = Store::at(Path::new(store)).map_err(|e| failed(&e, e.to_string()))?;
            let dir = store
                .create_run("x", b"x", &now(), Some(&name.into()))
                .map_err(|e| failed(&e, e.to_string()))?;
            let made = Journal::create(&dir, "alice@db1", now(), opened(&dir))
                .map_err(|e| failed(&e, e.to_string()))?;
            *journal = Some(made.0);
            return Ok("ok".into());
        }
        ["open", path] => {
            *lease = None;
            let dir = RunDir::at(Path::new(path)).unwrap();
            let (opened, lines) = Journal::open(&dir).map_err(|e| failed(&e, e.to_string()))?;
            *journal = Some(opened);
            return Ok(format!("ok {}", lines.len()));
        }
        ["drop"] => {
            *lease = None;
            return Ok("ok".into());
        }
        _ => {}
    }
    let journal = journal.as_mut().ok_or("err Unopened: no journal")?;
    let epoch = lease.as_ref().map(Lease::epoch);
    let events: Vec<Event> = match *words {
        ["take", how, who] => {
            let how = match how {
                "start" => LeaseHow::Start,
                "resume" => LeaseHow::Resume,
                "accept" => LeaseHow::Accept,
                _ => LeaseHow::TakeOver,
            };
            let seat = Seat::here().unwrap();
            let (taken, _) = Lease::take(journal, &seat, claim(who, how), now()).map_err(|e| match &e {
                LeaseError::Journal(inner) => failed(inner, e.to_string()),
                other => failed(other, e.to_string()),
            })?;
            let answer = format!("ok {}", taken.epoch().number());
            *lease = Some(taken);
            return Ok(answer);
        }
        ["release"] => {
            let lease = lease.take().ok_or("err NoLease: none")?;
            lease.release(journal, now(), "quit").map_err(|e| failed(&e, e.to_string()))?;
            return Ok("ok".into());
        }
        ["flood", count] => {
            for n in 0..count.parse::<u32>().unwrap() {
                let text = format!("{n} {}", "x".repeat(700));
                let events = [note(&text), note(&text), note("end")].concat();
                let appended =
                    journal.append("bob@db1", epoch, now(), events).map_err(|e| failed(&e, e.to_string()))?;
                println!("ok {}", appended.own.last().unwrap().seq);
                std::io::stdout().flush().unwrap();
            }
            return Ok("done".into());
        }
        ["began"] => began(),
        ["ended"] => ended(),
        ["note", text] => note(text),
        ["offer"] => vec![Event::Offered { to: None, note: "over to you".into(), signature: None }],
        _ => return Err(format!("err Unknown: {words:?}")),
    };
    let appended =
        journal.append("alice@db1", epoch, now(), events).map_err(|e| failed(&e, e.to_string()))?;
    Ok(format!("ok {}", appended.own.last().unwrap().seq))
}

/// A child that is spoken to. It is killed when it is dropped.
pub struct Actor {
    pub process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    pub fn new() -> Actor {
        Actor::under(&[])
    }

    /// Runs the child below another program, such as strace.
    pub fn under(wrapper: &[&str]) -> Actor {
        let me = std::env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(&me),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(&me);
                command
            }
        };
        command.env("HOLDPOINT_TEST_CHILD", "journal").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Actor { process, stdin, stdout }
    }

    pub fn send(&mut self, command: &str) {
        // A child that was killed on purpose cannot be written to; its answer is then empty.
        let _ = writeln!(self.stdin.as_mut().unwrap(), "{command}");
    }

    /// The next answer; empty when the child is gone.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }

    /// Closes its input and waits until it has ended.
    pub fn finish(&mut self) {
        self.stdin = None;
        self.process.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
