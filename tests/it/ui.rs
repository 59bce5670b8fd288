//! Prompts on a real terminal: the test binary runs itself in a pseudo-terminal as the program that asks.
//!
//! The program writes its answer to a file, so that an answer is known even when the terminal is gone.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use expectrl::Expect;
use expectrl::session::OsSession;
use holdpoint::base::{Digest, Moment};
use holdpoint::engine::event::{Notice, Operator, Question, Reporter};
use holdpoint::engine::state::RunState;
use holdpoint::journal::Line;
use holdpoint::journal::record::{Blast, BlastItem, Event};
use holdpoint::ui::live::Live;
use holdpoint::ui::{Snapshot, Style, TerminalOperator, TerminalReporter, View, present};
use holdpoint::world::Clock;
use holdpoint::world::clock::SystemClock;

use crate::harness::{Registry, eventually};

const CHILD: &str = "HOLDPOINT_TEST_PROMPT";
const ANSWER: &str = "HOLDPOINT_TEST_ANSWER";

/// The tests. In a child of its own the binary asks instead, and ends.
pub fn register(r: &mut Registry) {
    if let Ok(what) = std::env::var(CHILD) {
        child(&what);
        std::process::exit(0);
    }
    r.add("ui::go_is_typed_and_echoed", &[], go);
    r.add("ui::enter_alone_and_strange_keys_choose_nothing", &[], strange_keys);
    r.add("ui::ctrl_c_leaves_and_is_no_answer", &[], ctrl_c);
    r.add("ui::type_ahead_confirms_nothing", &[], type_ahead);
    r.add("ui::pasted_lines_confirm_nothing", &[], pasted);
    r.add("ui::a_child_that_ends_is_no_ctrl_c", &[], child_ends);
    r.add("ui::a_closed_terminal_is_no_answer", &[], hang_up);
    r.add("ui::dumb_terminals_can_answer", &[], dumb);
    r.add("ui::twenty_columns_survive", &[], narrow);
    r.add("ui::output_waits_while_a_question_is_open", &[], held_back);
    r.add("ui::the_live_line_comes_and_goes", &[], live_line);
    r.add("ui::without_a_terminal_nobody_is_present", &[], nobody);
}

/// A file beside the answer: `go` lets a slow program ask, `told` says that there was noise.
fn beside(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(ANSWER).unwrap()).with_extension(name)
}

// The program that asks.

fn snapshot(clock: &dyn Clock) -> (Snapshot, Moment) {
    let now = clock.now();
    let opened = Line {
        seq: 1,
        at: now,
        by: "alice@db1".into(),
        epoch: 1,
        event: Event::Opened {
            format: 1,
            run: "demo-20261120-abcd".into(),
            name: "demo".into(),
            title: None,
            runbook: Digest::of(b""),
            environment: None,
            vars: [].into(),
            secrets: vec![],
            targets: "".into(),
            rehearsal: false,
            receipt: None,
            engine: "0".into(),
            facts: Default::default(),
            host: "db1".into(),
            machine: "m".into(),
            scripts: Default::default(),
            author: None,
        },
        prev: Digest::of(b""),
    };
    let runbook = serde_json::json!({
        "holdpoint": 1, "name": "demo",
        "steps": [
            { "id": "copy", "run": ["true"] },
            { "id": "drop-old", "run": ["true"], "destroys": "cluster 13/main" },
        ],
    });
    let runbook = Arc::new(serde_json::from_value(runbook).unwrap());
    (Snapshot { runbook, state: RunState::fold(&[opened]).unwrap(), secrets: Arc::default() }, now)
}

fn child(what: &str) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (snapshot, now) = snapshot(clock.as_ref());
    let view = View::new(snapshot);
    let live = Live::stderr(Style::detect(std::io::stderr()));
    let reporter = Arc::new(TerminalReporter::new(live.clone(), view.clone()));
    let operator = TerminalOperator::new(live, view, clock);
    let question = match what.split(' ').next().unwrap() {
        "confirm" => Question::Confirm {
            undo: None,
            step: "drop-old".into(),
            text: "cluster 13/main".into(),
            blast: Blast {
                items: vec![BlastItem {
                    kind: "directory".into(),
                    name: "/srv/13".into(),
                    bytes: Some(1),
                    rows: None,
                }],
                identity: None,
                serving: vec![],
                unmeasured: vec![],
                gone: Vec::new(),
                at: now,
            },
            horizon: "There is no way back.".into(),
        },
        "nobody" => {
            std::fs::write(std::env::var(ANSWER).unwrap(), format!("{}", present(false))).unwrap();
            return;
        }
        _ => Question::Begin { step: "copy".into() },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        // As the engine does: somebody listens to Ctrl-C, so that it does not kill the process.
        let mut interrupts =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
        tokio::spawn(async move { while interrupts.recv().await.is_some() {} });
        if what.contains("slow") {
            while !beside("go").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if what.contains("child") {
            tokio::spawn(async {
                for _ in 0..5 {
                    let _ = tokio::process::Command::new("sleep").arg("0.1").status().await;
                }
            });
        }
        if what.contains("work") {
            let running = |s| Notice::Running {
                step: "copy".into(),
                elapsed: Duration::from_secs(s),
                output: 1024,
                limit: None,
            };
            for second in 1..4 {
                reporter.tell(&running(second));
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        if what.contains("noise") {
            let reporter = reporter.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                reporter.tell(&Notice::Output { step: "copy".into(), text: "NOISE\u{1b}[2J\n".into() });
                reporter.tell(&Notice::Message("a message meanwhile".into()));
                std::fs::write(beside("told"), "").unwrap();
            });
        }
        operator.ask(&question).await
    });
    runtime.shutdown_background();
    std::fs::write(std::env::var(ANSWER).unwrap(), format!("{answer:?}")).unwrap();
}

// The tests' side.

struct Person {
    session: OsSession,
    answer: PathBuf,
    _folder: tempfile::TempDir,
}

impl Person {
    fn new(what: &str, env: &[(&str, &str)]) -> Person {
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env(CHILD, what)
            .env(ANSWER, &answer)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("CI");
        command.env_remove("NO_COLOR").envs(env.iter().copied());
        let mut session = OsSession::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(120)));
        Person { session, answer, _folder: folder }
    }

    fn sees(&mut self, text: &str) -> String {
        match self.session.expect(text) {
            Ok(found) => String::from_utf8_lossy(found.before()).into_owned(),
            Err(error) => panic!("never saw {text:?}: {error}"),
        }
    }

    fn types(&mut self, text: &str) {
        self.session.send(text).unwrap();
    }

    /// A slow program may ask now.
    fn go(&self) {
        std::fs::write(self.answer.with_extension("go"), "").unwrap();
    }

    fn answered(self) -> String {
        let until = Instant::now() + Duration::from_secs(120);
        while Instant::now() < until {
            if let Ok(text) = std::fs::read_to_string(&self.answer)
                && !text.is_empty()
            {
                return text;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no answer in time")
    }
}

fn go() {
    let mut person = Person::new("begin", &[]);
    person.sees("Step 1 of 2: copy");
    person.sees("Enter.");
    person.sees("> ");
    person.types("g\r");
    person.sees("> g");
    assert_eq!(person.answered(), "Go");
}

fn strange_keys() {
    let mut person = Person::new("begin", &[]);
    person.sees("Enter.\r\n> ");
    person.types("\r");
    person.sees("Enter alone chooses nothing");
    person.sees("> ");
    person.types("\u{4}\u{1b}[A\u{1b}[C\t\u{7f}\u{7f}y\r");
    person.sees("none of the choices");
    person.sees("> ");
    person.types("q\r");
    assert_eq!(person.answered(), "Quit");
}

fn ctrl_c() {
    let mut person = Person::new("confirm", &[]);
    person.sees("THIS DESTROYS DATA");
    person.sees("Enter.\r\n> ");
    person.types("cluster 13/ma\u{3}");
    assert_eq!(person.answered(), "Quit");
}

fn type_ahead() {
    let mut person = Person::new("confirm slow", &[]);
    person.types("cluster 13/main\r");
    std::thread::sleep(Duration::from_millis(300));
    person.go();
    person.sees("Anything else destroys nothing");
    person.sees("Enter.\r\n> ");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!person.answer.exists(), "what was typed before the question answered it");
    person.types("cluster 13\r");
    person.sees("That is not the text. Nothing is destroyed.");
    person.sees("> ");
    person.types("cluster 13/main\r");
    assert_eq!(person.answered(), "Typed(\"cluster 13/main\")");
}

fn pasted() {
    let mut person = Person::new("confirm", &[]);
    person.sees("Enter.\r\n> ");
    person.types("cluster 13/main\rand more\r");
    person.sees("That confirms nothing");
    person.sees("> ");
    person.types("q\r");
    assert_eq!(person.answered(), "Quit");
}

fn child_ends() {
    let mut person = Person::new("begin child", &[]);
    person.sees("Enter.\r\n> ");
    std::thread::sleep(Duration::from_millis(900));
    person.types("go\r");
    assert_eq!(person.answered(), "Go");
}

fn hang_up() {
    let mut person = Person::new("confirm", &[]);
    person.sees("Enter.\r\n> ");
    let answer = person.answer.clone();
    let Person { session, _folder, .. } = person;
    drop(session);
    std::thread::sleep(Duration::from_millis(500));
    // SIGHUP may have ended the process before it wrote anything: that is no answer, either.
    let text = std::fs::read_to_string(answer).unwrap_or_default();
    assert!(text.is_empty() || text == "Quit", "{text}");
}

fn dumb() {
    let mut person = Person::new("begin", &[("TERM", "dumb")]);
    let before = person.sees("Enter.\r\n> ");
    assert!(!before.contains('\u{1b}'), "{before:?}");
    person.types("x\n");
    person.sees("none of the choices");
    person.types("g\n");
    let after = person.session.expect(expectrl::Eof).unwrap();
    assert!(!after.as_bytes().contains(&0x1b), "{after:?}");
    assert_eq!(person.answered(), "Go");
}

fn narrow() {
    let mut person = Person::new("begin slow", &[]);
    person.session.get_process_mut().set_window_size(20, 6).unwrap();
    person.go();
    person.sees("> ");
    person.types("n\r");
    person.sees("The note:");
    person.sees("> ");
    let long = "a note that is much longer than the twenty columns of this screen";
    person.types(long);
    person.types(&"\u{7f}".repeat(30));
    person.types("\r");
    let kept = &long[..long.len() - 30];
    assert_eq!(person.answered(), format!("Note({:?})", kept.trim()));
}

fn held_back() {
    let mut person = Person::new("begin noise", &[]);
    person.sees("Enter.\r\n> ");
    eventually(Duration::from_secs(20), "the noise", || person.answer.with_extension("told").exists());
    person.types("g\r");
    let between = person.sees("  | NOISE");
    assert!(between.contains('g'), "the answer came first: {between:?}");
    assert!(!between.contains("[2J"), "{between:?}");
    person.sees("a message meanwhile");
    assert_eq!(person.answered(), "Go");
}

fn live_line() {
    let mut person = Person::new("begin work", &[]);
    person.sees("copy runs: 2s; output 1.00 KiB");
    person.sees("Step 1 of 2: copy");
    let after = person.sees("Enter.\r\n> ");
    assert!(!after.contains("copy runs"), "the live line is gone while a question is open: {after:?}");
    person.types("g\r");
    assert_eq!(person.answered(), "Go");
}

fn nobody() {
    let folder = tempfile::tempdir().unwrap();
    for (env, wanted) in [(("CI", "true"), "false"), (("CI", ""), "true")] {
        let mut person = Person::new("nobody", &[env]);
        let _ = person.session.expect(expectrl::Eof);
        assert_eq!(person.answered(), wanted, "{env:?}");
    }
    let answer = folder.path().join("answer");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, "nobody").env(ANSWER, &answer).env_remove("CI").stdin(std::process::Stdio::null());
    assert!(command.status().unwrap().success());
    assert_eq!(std::fs::read_to_string(answer).unwrap(), "false", "no standard input");
}
