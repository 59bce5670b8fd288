//! Whole runs as an operator lives them: the built program in a pseudo-terminal, keys in, screens out.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use expectrl::Expect;
use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;

use crate::harness::{Registry, Sandbox, eventually};
use crate::play::unsupervised;

/// The tests.
pub fn register(r: &mut Registry) {
    r.add("guided::a_whole_run", &[], whole);
    r.add("guided::ctrl_c_asks_what_to_do_with_the_command", &[], ctrl_c);
    r.add("guided::without_colour_eighty_columns_and_no_escapes", &[], plain);
    r.add("guided::ctrl_c_leaves_a_question_on_every_terminal", &[], ctrl_c_at_a_question);
    r.add("guided::a_resized_screen_is_obeyed", &[], resized);
    r.add("guided::handoff_and_accept_between_two_terminals", &[], handoff);
    r.add("guided::a_closed_terminal_does_not_stop_the_command", &[], closed);
    r.add("guided::a_killed_engine_is_resumed_at_the_running_command", &[], killed);
    r.add("guided::a_paused_command_keeps_asking", &[], paused);
    r.add("guided::a_protected_environment_is_asked_again", &[], environment);
    r.add("guided::a_failure_without_a_terminal_says_what_to_do", &[], unattended);
    r.add("guided::the_demo_is_played_to_its_end", &[], demo);
}

/// For a text on a screen, which comes within a second or two on a quiet machine.
const LIMIT: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(15);

/// Somebody at a terminal of 80 columns.
pub struct Person {
    session: OsSession,
    pub screen: String,
}

impl Person {
    pub fn at(sandbox: &Sandbox, name: &str, arguments: &[&str], env: &[(&str, &str)]) -> Person {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdpoint"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", sandbox.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm")
            .env("USER", name)
            .env("LOGNAME", name)
            .env("TMPDIR", sandbox.path())
            .env("HOLDPOINT_STORE", sandbox.store())
            .envs(env.iter().copied())
            .current_dir(sandbox.path());
        let mut session = OsSession::spawn(command).unwrap();
        session.get_process_mut().set_window_size(80, 24).unwrap();
        session.set_expect_timeout(Some(LIMIT));
        Person { session, screen: String::new() }
    }

    /// Reads until the text comes; gives what came before it.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        match self.session.expect(text) {
            Ok(found) => {
                let before = String::from_utf8_lossy(found.before()).into_owned();
                self.screen.push_str(&before);
                self.screen.push_str(text);
                before
            }
            Err(error) => panic!("never saw {text:?}: {error}\nseen so far:\n{}", self.screen),
        }
    }

    fn types(&mut self, text: &str) {
        self.session.send(text).unwrap();
    }

    /// Waits for the mark of a question, then answers it.
    #[track_caller]
    pub fn answers(&mut self, text: &str) {
        self.sees("\r\n> ");
        self.types(&format!("{text}\r"));
    }

    /// Until the program ends; its exit status.
    #[track_caller]
    pub fn leaves(&mut self) -> i32 {
        if let Ok(found) = self.session.expect(expectrl::Eof) {
            self.screen.push_str(&String::from_utf8_lossy(found.as_bytes()));
        }
        let until = Instant::now() + LIMIT;
        loop {
            match self.session.get_process().status() {
                Ok(WaitStatus::Exited(_, status)) => return status,
                Ok(WaitStatus::StillAlive) => {}
                other => panic!("{other:?}\n{}", self.screen),
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.screen);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Two harmless steps, one by hand, one that destroys.
fn book(sandbox: &Sandbox) -> String {
    let place = sandbox.path().display();
    std::fs::create_dir(sandbox.join("old")).unwrap();
    std::fs::write(sandbox.join("old/spool"), "a message\n").unwrap();
    std::fs::write(sandbox.join("queue"), "0\n").unwrap();
    let text = format!(
        "\
holdpoint: 1
name: move-mail
title: Move the mail spool
about: |
  Moves the spool to the new disk. Call Dana when the copy fails.
steps:
  - id: copy
    title: Copy the spool
    run: [cp, -r, {place}/old, {place}/new]
    timeout: 1min
    postconditions:
      - file: {{ title: The copy is there, path: {place}/new/spool, contains: message }}
  - id: look
    title: Look at the queue
    manual:
      instructions: Open the queue page.
      observe: How many messages are left?
    postconditions:
      - command: {{ title: The queue is empty, run: [cat, {place}/queue], stdout: {{ equals: \"0\" }} }}
  - id: drop-old
    title: Delete the old spool
    destroys: {{ what: the old spool, paths: [{place}/old] }}
    run: [rm, -r, {place}/old]
    timeout: 1min
    postconditions:
      - file: {{ title: The old spool is gone, path: {place}/old, exists: false }}
"
    );
    sandbox.write("book.yaml", &text);
    "book.yaml".to_owned()
}

/// One step whose command prints, waits for the file `go`, and then leaves `end`.
fn waiting(sandbox: &Sandbox, more: &str) -> String {
    let place = sandbox.path().display();
    let text = format!(
        "\
holdpoint: 1
name: waiting
steps:
  - id: wait
    title: Wait for a word
    run: |
      for i in $(seq 1 14); do echo \"line $i of the command\"; done
      touch {place}/began
      until [ -e {place}/go ]; do sleep 0.05; done
      echo the last line
      touch {place}/end
    timeout: 1min
{more}    postconditions:
      - file: {{ title: The word came, path: {place}/end }}
"
    );
    sandbox.write("waiting.yaml", &text);
    "waiting.yaml".to_owned()
}

fn exists(path: &Path) -> impl FnMut() -> bool {
    move || path.exists()
}

fn whole() {
    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &book(&sandbox)], &[]);
    // The overview comes before the first question.
    person.sees("Call Dana when the copy fails");
    person.sees("Look at the queue (by hand)");
    person.sees("DESTROYS");
    person.sees("the old spool");
    person.sees("Nothing begins before you say so");
    person.sees("Step 1 of 3: copy");
    person.answers("");
    person.sees("Enter alone chooses nothing");
    person.answers("yes");
    person.sees("none of the choices");
    assert!(!sandbox.join("new").exists(), "nothing began");
    person.answers("g");
    // A step by hand is asked about once.
    person.sees("Step 2 of 3: look");
    person.sees("Open the queue page");
    person.answers("c");
    person.sees("How many messages are left?");
    person.answers("none at all");
    person.sees("alice@");
    person.sees("Step 3 of 3: drop-old");
    person.answers("g");
    person.sees("THIS DESTROYS DATA");
    person.sees("Anything else destroys nothing");
    person.answers("the old spoo");
    person.sees("That is not the text. Nothing is destroyed.");
    person.answers("y");
    person.sees("That is not the text. Nothing is destroyed.");
    assert!(sandbox.join("old/spool").exists());
    person.answers("the old spool");
    person.sees("the run is complete");
    person.sees("next:");
    person.sees("holdpoint log move-mail-");
    assert_eq!(person.leaves(), 0);
    assert!(!sandbox.join("old").exists());
    assert_eq!(person.screen.matches("Step 2 of 3: look").count(), 1, "{}", person.screen);
    sandbox.run(&["log"]).exits(2).says("no unfinished");
}

fn ctrl_c() {
    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &waiting(&sandbox, "")], &[]);
    person.session.get_process_mut().set_echo(true, None).unwrap();
    person.answers("g");
    person.sees("line 14 of the command");
    person.sees("wait runs: ");
    person.types("\u{3}");
    // The echoed ^C stands behind the live line, and both go.
    person.sees("^C\r\u{1b}[2K");
    person.sees("Nothing was stopped");
    person.answers("g");
    person.sees("wait runs: ");
    person.types("\u{3}");
    person.sees("Nothing was stopped");
    person.answers("q");
    person.sees("next:");
    person.sees("holdpoint resume waiting-");
    assert_eq!(person.leaves(), 130);
    assert!(!sandbox.join("end").exists());
    // The command goes on without anybody, and ends.
    std::fs::write(sandbox.join("go"), "").unwrap();
    eventually(SOON, "the command ends by itself", exists(&sandbox.join("end")));
    unsupervised(&sandbox);
    let mut person = Person::at(&sandbox, "alice", &["resume"], &[]);
    person.sees("ran while nobody watched");
    person.sees("  | the last line");
    person.sees("the run is complete");
    assert_eq!(person.leaves(), 0);
    assert!(!person.screen.contains("line 2 of"), "only the end of the output: {}", person.screen);

    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &waiting(&sandbox, "")], &[]);
    person.answers("g");
    person.sees("wait runs: ");
    person.types("\u{3}");
    person.answers("s");
    person.sees("Type stop to stop the command");
    person.answers("y");
    person.sees("Back at the question");
    person.answers("s");
    person.answers("stop");
    person.sees("wait FAILED");
    person.sees("by alice@");
    person.answers("q");
    assert_eq!(person.leaves(), 1);
}

/// Without escapes, colour or long lines.
#[track_caller]
fn bare(screen: &str, columns: usize, live: bool) {
    let mut rest = screen.to_owned();
    if live {
        // The live line, and what editing a line needs: erase, show the cursor.
        for allowed in ["\u{1b}[2K", "\u{1b}[?25h"] {
            rest = rest.replace(allowed, "\r");
        }
    }
    let odd = rest.chars().find(|c| (*c < ' ' && !matches!(c, '\n' | '\r')) || *c == '\u{9b}');
    assert_eq!(odd, None, "{rest:?}");
    for line in rest.split(['\n', '\r']) {
        assert!(line.chars().count() <= columns, "{line:?} is wider than {columns}");
    }
}

fn plain() {
    for (env, live) in
        [([("TERM", "dumb"), ("NO_COLOR", "")], false), ([("TERM", "xterm"), ("NO_COLOR", "1")], true)]
    {
        let sandbox = Sandbox::new();
        let book = book(&sandbox);
        std::fs::write(sandbox.join("queue"), "3\n").unwrap();
        let mut person = Person::at(&sandbox, "alice", &["run", &book], &env);
        person.answers("g");
        person.sees("Step 2 of 3: look");
        person.answers("c");
        person.answers("three");
        person.sees("FAILED");
        person.sees("it printed \"3\"");
        person.answers("m");
        person.sees("FAILED");
        std::fs::write(sandbox.join("queue"), "0\n").unwrap();
        person.answers("m");
        person.sees("Step 3 of 3: drop-old");
        person.answers("g");
        person.sees("THIS DESTROYS DATA");
        person.answers("h");
        person.answers("the copy is proved");
        person.answers("");
        person.sees("next: holdpoint accept move-mail-");
        assert_eq!(person.leaves(), 4);
        bare(&person.screen, 80, live);
    }
}

fn ctrl_c_at_a_question() {
    for term in ["dumb", "xterm"] {
        let sandbox = Sandbox::new();
        let mut person = Person::at(&sandbox, "alice", &["run", &book(&sandbox)], &[("TERM", term)]);
        person.sees("Step 1 of 3");
        person.sees("\r\n> ");
        person.types("\u{3}");
        person.sees("leaves the run");
        person.sees("holdpoint resume move-mail-");
        assert_eq!(person.leaves(), 4, "{term}");
        assert!(!sandbox.join("new").exists());
    }
}

fn resized() {
    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &book(&sandbox)], &[("NO_COLOR", "1")]);
    person.sees(&"-".repeat(80));
    person.sees("Step 1 of 3");
    person.sees("\r\n> ");
    person.session.get_process_mut().set_window_size(40, 24).unwrap();
    person.screen.clear();
    person.types("g\r");
    person.sees("Step 2 of 3: look");
    person.sees("\r\n> ");
    bare(&person.screen, 40, true);
    assert!(person.screen.contains(&format!("\n{}\r", "-".repeat(40))), "{}", person.screen);
    person.types("q\r");
    assert_eq!(person.leaves(), 4);
}

fn handoff() {
    let sandbox = Sandbox::new();
    let mut alice = Person::at(&sandbox, "alice", &["run", &book(&sandbox)], &[]);
    alice.answers("g");
    alice.sees("Step 2 of 3");
    alice.answers("h");
    alice.answers("the queue page is slow today");
    alice.answers("bob");
    alice.sees("holdpoint accept move-mail-");
    assert_eq!(alice.leaves(), 4);

    let mut carol = Person::at(&sandbox, "carol", &["accept"], &[]);
    carol.sees("offered to bob");
    assert_eq!(carol.leaves(), 5);

    let mut bob = Person::at(&sandbox, "bob", &["accept"], &[]);
    bob.sees("HANDOFF BRIEFING");
    bob.sees("the queue page is slow today");
    bob.sees("Walk-down");
    bob.sees("Open point 1 of 1");
    bob.answers("q");
    bob.sees("Nothing was taken over");
    assert_eq!(bob.leaves(), 4);

    let mut bob = Person::at(&sandbox, "bob", &["accept"], &[]);
    bob.sees("Open point 1 of 1");
    bob.answers("yes");
    bob.sees("That is neither");
    bob.answers("ok");
    bob.sees("accepted: move-mail-");
    bob.sees("Step 2 of 3: look");
    bob.answers("c");
    bob.answers("none");
    bob.answers("g");
    bob.answers("the old spool");
    bob.sees("the run is complete");
    assert_eq!(bob.leaves(), 0);
    assert!(!sandbox.join("old").exists());
}

fn closed() {
    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &waiting(&sandbox, "")], &[]);
    person.answers("g");
    person.sees("line 14 of the command");
    eventually(SOON, "the command began", exists(&sandbox.join("began")));
    let Person { session, .. } = person;
    let pid = session.get_process().pid().as_raw();
    // The terminal's other end goes, as when a window is closed.
    drop(session);
    eventually(SOON, "the engine leaves", || gone(pid));
    assert!(!sandbox.join("end").exists());
    std::fs::write(sandbox.join("go"), "").unwrap();
    eventually(SOON, "the command went on", exists(&sandbox.join("end")));
    let mut person = Person::at(&sandbox, "alice", &["resume"], &[]);
    person.sees("the last line");
    person.sees("the run is complete");
    assert_eq!(person.leaves(), 0);
}

/// Gone, or a zombie that nobody has waited for yet.
fn gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

fn killed() {
    let sandbox = Sandbox::new();
    let mut person = Person::at(&sandbox, "alice", &["run", &waiting(&sandbox, "")], &[]);
    person.answers("g");
    person.sees("line 14 of the command");
    let pid = rustix::process::Pid::from_raw(person.session.get_process().pid().as_raw()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually(SOON, "the engine is gone", || gone(pid.as_raw_nonzero().get()));
    drop(person);
    std::thread::sleep(Duration::from_millis(1200));

    let mut person = Person::at(&sandbox, "alice", &["resume"], &[]);
    person.sees("wait still runs: attached to it again; the end of its");
    person.sees("  | line 5 of the command");
    person.sees("  | line 14 of the command");
    // Its age is that of the command, not of this session.
    let line = person.sees("of at most 1min");
    assert!(!line.contains("runs: 0"), "{line}");
    std::fs::write(sandbox.join("go"), "").unwrap();
    person.sees("  | the last line");
    person.sees("the run is complete");
    assert_eq!(person.leaves(), 0);
    assert!(!person.screen.contains("line 4 of"), "{}", person.screen);
}

fn paused() {
    let sandbox = Sandbox::new();
    let healthy = sandbox.join("healthy");
    std::fs::write(&healthy, "").unwrap();
    let more = format!(
        "    invariants:\n      - file: {{ title: The disk is well, path: {}, every: 1s, on_violation: pause }}\n",
        healthy.display()
    );
    let mut person = Person::at(&sandbox, "alice", &["run", &waiting(&sandbox, &more)], &[]);
    person.answers("g");
    person.sees("wait runs: ");
    std::fs::remove_file(&healthy).unwrap();
    person.sees("PAUSED");
    person.answers("n");
    person.answers("looking at the disk");
    person.sees("PAUSED");
    person.answers("m");
    person.sees("PAUSED");
    std::fs::write(sandbox.join("go"), "").unwrap();
    person.answers("q");
    assert_eq!(person.leaves(), 130);
    assert!(!sandbox.join("end").exists(), "it stays paused");
    // Still not well: whoever comes back is asked again.
    let mut person = Person::at(&sandbox, "alice", &["resume"], &[]);
    person.sees("PAUSED");
    std::fs::write(&healthy, "").unwrap();
    person.answers("m");
    person.sees("the run is complete");
    assert_eq!(person.leaves(), 0);
}

fn environment() {
    let sandbox = Sandbox::new();
    let book = book(&sandbox);
    let text = std::fs::read_to_string(sandbox.join(&book)).unwrap();
    sandbox.write(
        &book,
        &text.replace("steps:\n", "environments:\n  production: { protected: true }\nsteps:\n"),
    );
    let mut person = Person::at(&sandbox, "alice", &["run", &book, "--env", "production"], &[]);
    person.sees("production is a protected environment");
    person.answers("prod");
    person.sees("That is not the name. Nothing has begun.");
    person.answers("q");
    person.sees("holdpoint resume move-mail-");
    assert_eq!(person.leaves(), 4);
    let mut person = Person::at(&sandbox, "alice", &["resume"], &[]);
    person.sees("production is a protected environment");
    person.answers("production");
    person.sees("Step 1 of 3");
    person.answers("q");
    assert_eq!(person.leaves(), 4);
}

fn unattended() {
    let sandbox = Sandbox::new();
    let book = waiting(&sandbox, "");
    let text = std::fs::read_to_string(sandbox.join(&book)).unwrap();
    sandbox.write(&book, &text.replace("/end\n    timeout", "/elsewhere\n    timeout"));
    std::fs::write(sandbox.join("go"), "").unwrap();
    let ran = sandbox.run(&["run", &book]).exits(1);
    let ran = ran.says("wait failed, and nothing after it was begun").says("nothing is there");
    let ran = ran.says("--decide wait=again --reason TEXT").says("next: holdpoint resume waiting-");
    assert!(!ran.stderr.contains("HELD"), "{}", ran.stderr);
    assert!(
        ran.stderr.lines().filter(|line| line.contains(" wanted ")).count() == 1,
        "said once: {}",
        ran.stderr
    );
}

fn demo() {
    let sandbox = Sandbox::new();
    let mut player = Person::at(&sandbox, "player", &["demo"], &[]);
    player.sees("You play both");
    player.sees("You are Alice");
    player.sees("Step 1 of 5: close-chat");
    // Who leaves too early is asked, and not kept; Ctrl-C does not end the demo.
    player.sees("\r\n> ");
    player.types("\u{3}");
    player.sees("Go on as Alice?");
    player.answers("yes");
    player.answers("g");
    player.sees("Step 2 of 5: copy");
    player.answers("g");
    player.sees("Success. Please check");
    player.sees("0 rows in messages");
    player.answers("q");
    player.sees("holdpoint handoff");
    player.sees("You are Bob");
    player.sees("Open point 1 of 3");
    player.answers("q");
    player.sees("Bob has not taken the run over");
    player.answers("yes");
    for _ in 0..3 {
        player.sees("Open point ");
        player.answers("ok");
    }
    player.sees("Step 2 of 5: copy");
    player.answers("q");
    player.sees("Bob tries it");
    player.sees("clean-up is held");
    player.sees("[exit status 3]");
    player.sees("The volume is made larger");
    player.answers("r");
    player.answers("there is room now");
    player.sees("Step 3 of 5: back-up");
    player.answers("g");
    player.sees("Step 4 of 5: open-chat");
    player.answers("g");
    player.sees("Step 5 of 5: clean-up");
    player.answers("g");
    player.sees("THIS DESTROYS DATA");
    player.answers("the old database");
    player.sees("the run is complete");
    player.sees("None was lost");
    assert_eq!(player.leaves(), 0);
    let place = sandbox.join("holdpoint-demo-1");
    assert!(!place.join("old").exists() && place.join("volume/homeserver.db").exists());
}
