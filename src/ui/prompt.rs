//! Asking people. Nothing here decides: it shows a question, reads an answer, and gives it to the engine.
//!
//! Invariants: no question has a default answer; Enter alone, the end of the input, a lost terminal and Ctrl-C are never a
//! yes; what was typed before a question was readable is thrown away; several pasted lines never confirm anything.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dialoguer::console::Term;
use dialoguer::theme::Theme;

use crate::engine::event::{Answer, Operator, Question};
use crate::ui::ask::menu::{self, Act};
use crate::ui::ask;
use crate::ui::live::Live;
use crate::ui::page::Page;
use crate::report::Tone;
use crate::ui::screen::{Out, Style};
use crate::ui::view::View;
use crate::world::Clock;

/// True when a person can be asked: standard input and standard error are terminals, `CI` is not set, and nobody said
/// `--non-interactive`.
pub fn present(non_interactive: bool) -> bool {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0");
    !non_interactive && !ci && rustix::termios::isatty(io::stdin()) && rustix::termios::isatty(io::stderr())
}

/// What reading one line gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// The input has ended or the terminal is gone.
    Gone,
}

/// A place where questions are shown and answered.
pub trait Console {
    /// Shows text.
    fn show(&mut self, text: &str);
    /// Throws away what was typed so far.
    fn discard(&mut self);
    /// Reads a line after a short mark. Blocks.
    fn read(&mut self, mark: &str) -> Read;
    /// True when more was typed, or pasted, than the line just read.
    fn more(&mut self) -> bool;
    /// What the screen can do now.
    fn style(&self) -> Style;
}

/// Asks a person at the terminal.
pub struct TerminalOperator {
    live: Arc<Live>,
    view: View,
    clock: Arc<dyn Clock>,
    /// One question at a time: the answer to an older one, nobody waits for, is read and dropped first.
    turn: Arc<Mutex<()>>,
}

impl TerminalOperator {
    /// An operator who shares the terminal with a reporter.
    pub fn new(live: Arc<Live>, view: View, clock: Arc<dyn Clock>) -> Self {
        TerminalOperator { live, view, clock, turn: Arc::default() }
    }
}

/// Says that nobody waits for the answer any more.
struct Withdraw(Arc<AtomicBool>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Operator for TerminalOperator {
    fn present(&self) -> bool {
        true
    }

    async fn ask(&self, question: &Question) -> Answer {
        let open = self.live.question();
        let withdrawn = Arc::new(AtomicBool::new(false));
        let _withdraw = Withdraw(withdrawn.clone());
        let (question, live, turn) = (question.clone(), self.live.clone(), self.turn.clone());
        let (view, clock) = (self.view.clone(), self.clock.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if withdrawn.load(Ordering::SeqCst) {
                return Answer::Quit;
            }
            let snapshot = view.snapshot();
            let mut console = Tty { live, withdrawn };
            let page = ask::page(&question, &snapshot, &clock.now(), &console.style());
            console.show(&page);
            console.show(&ask::choices(&question, &snapshot, &console.style()));
            let answer = converse(&question, &mut console);
            let _ = Term::stderr().show_cursor();
            answer
        });
        let answer = asked.await.unwrap_or(Answer::Quit);
        drop(open);
        answer
    }
}

/// The conversation about one question, until there is an answer.
pub fn converse(question: &Question, console: &mut dyn Console) -> Answer {
    let choices = menu::choices(question);
    let interrupted = matches!(question, Question::Interrupted { .. });
    let mut ignored = 0;
    console.discard();
    loop {
        let line = match console.read("> ") {
            Read::Line(line) => line,
            Read::Interrupted if interrupted && ignored < 2 => {
                ignored += 1;
                say(console, "Ctrl-C does nothing here. Type a letter, then Enter.");
                continue;
            }
            Read::Interrupted | Read::Gone => return Answer::Quit,
        };
        if let Some(wanted) = wanted(question) {
            if line == wanted {
                if console.more() {
                    console.discard();
                    say(console, "More than one line came. That confirms nothing. Type the text by hand.");
                    continue;
                }
                return Answer::Typed(line);
            }
        }
        let Some(choice) = menu::find(&choices, &line) else {
            say(console, &misunderstood(question, &line));
            console.discard();
            continue;
        };
        if console.more() {
            console.discard();
            say(console, "More than one line came. Nothing was done. Type one letter, then Enter.");
            continue;
        }
        if let Some(answer) = act(question, choice.act, console) {
            return answer;
        }
        say(console, "Back at the question. Type a letter, then Enter.");
    }
}

fn wanted(question: &Question) -> Option<&str> {
    match question {
        Question::Environment { name } => Some(name),
        Question::Confirm { text, .. } => Some(text),
        _ => None,
    }
}

fn misunderstood(question: &Question, line: &str) -> String {
    let empty = line.trim().is_empty();
    match question {
        Question::Confirm { text, .. } => {
            format!("{} Nothing is destroyed. The text is: {text}", if empty { "Nothing was typed." } else { "That is not the text." })
        }
        Question::Environment { name } => {
            format!("{} Nothing has begun. The name is: {name}", if empty { "Nothing was typed." } else { "That is not the name." })
        }
        other => {
            let letters: Vec<String> =
                menu::choices(other).iter().map(|c| c.word.chars().take(1).collect::<String>()).collect();
            let said = if empty { "Enter alone chooses nothing." } else { "That is none of the choices." };
            format!("{said} Type one of {}, then Enter.", letters.join(" "))
        }
    }
}

/// Carries out a choice; `None` goes back to the question.
fn act(question: &Question, act: Act, console: &mut dyn Console) -> Option<Answer> {
    match act {
        Act::Go => Some(Answer::Go),
        Act::Measure => Some(Answer::Measure),
        Act::Quit => Some(Answer::Quit),
        Act::Note => line(console, "The note:").map(Answer::Note),
        Act::Again => line(console, "Why is it run again?").map(Answer::Again),
        Act::Finished => line(console, "Why is it done? How do you know?").map(Answer::Finished),
        Act::Abandon => line(console, "This ends the run for good and undoes nothing. Why?").map(Answer::Abandon),
        Act::Carried => match question {
            Question::Manual { observe: Some(observe), .. } => line(console, observe).map(|seen| Answer::Carried(Some(seen))),
            _ => Some(Answer::Carried(None)),
        },
        Act::Stop => {
            console.discard();
            say(console, "TERM is sent, then KILL after a grace period. How far it came is then unknown.");
            let typed = line(console, "Type stop to stop the command:")?;
            (typed == "stop").then_some(Answer::Stop)
        }
        Act::Handoff => {
            let note = line(console, "What should the next operator know?")?;
            console.discard();
            say(console, "To whom? Enter alone: to anybody.");
            match console.read("> ") {
                Read::Line(to) => {
                    let to = to.trim();
                    Some(Answer::Handoff { to: (!to.is_empty()).then(|| to.to_owned()), note })
                }
                Read::Interrupted | Read::Gone => None,
            }
        }
    }
}

/// A line of free text; `None` when nothing was written.
fn line(console: &mut dyn Console, question: &str) -> Option<String> {
    say(console, question);
    match console.read("> ") {
        Read::Line(text) if !text.trim().is_empty() => {
            if console.more() {
                console.discard();
                say(console, "More than one line came; only the first is kept.");
            }
            Some(text.trim().to_owned())
        }
        Read::Line(_) => {
            say(console, "Nothing was written.");
            None
        }
        Read::Interrupted | Read::Gone => None,
    }
}

fn say(console: &mut dyn Console, text: &str) {
    let style = console.style();
    let mut page = Page::new(&style);
    page.say(Tone::Plain, text);
    console.show(&page.finish());
}

/// The terminal itself.
struct Tty {
    live: Arc<Live>,
    withdrawn: Arc<AtomicBool>,
}

impl Console for Tty {
    fn show(&mut self, text: &str) {
        self.live.ask(text);
    }

    fn discard(&mut self) {
        let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
    }

    fn read(&mut self, mark: &str) -> Read {
        if self.withdrawn.load(Ordering::SeqCst) {
            return Read::Gone;
        }
        let read = if self.live.style().live { keys(mark) } else { whole_line(&self.live, mark) };
        if self.withdrawn.load(Ordering::SeqCst) {
            self.live.ask("That question is no longer open; the answer is dropped.\n");
            return Read::Gone;
        }
        read
    }

    fn more(&mut self) -> bool {
        let stdin = io::stdin();
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 30_000_000 };
        matches!(rustix::event::poll(&mut fds, Some(&wait)), Ok(n) if n > 0)
    }

    fn style(&self) -> Style {
        self.live.style()
    }
}

/// Only the mark, nothing else; no colon, no default.
struct Bare;

impl Theme for Bare {
    fn format_input_prompt(&self, f: &mut dyn std::fmt::Write, prompt: &str, _: Option<&str>) -> std::fmt::Result {
        f.write_str(prompt)
    }

    fn format_input_prompt_selection(&self, f: &mut dyn std::fmt::Write, prompt: &str, sel: &str) -> std::fmt::Result {
        write!(f, "{prompt}{}", crate::base::text::neutral(sel))
    }
}

/// A line with editing, key by key.
fn keys(mark: &str) -> Read {
    loop {
        let input = dialoguer::Input::<String>::with_theme(&Bare).with_prompt(mark).allow_empty(true);
        match input.interact_text() {
            Ok(line) => return Read::Line(line),
            Err(dialoguer::Error::IO(error)) => match (error.kind(), error.raw_os_error()) {
                // A signal of another kind woke the read up: no key was pressed.
                (io::ErrorKind::Interrupted, Some(_)) => {}
                (io::ErrorKind::Interrupted, None) => {
                    let _ = Term::stderr().write_line("");
                    return Read::Interrupted;
                }
                _ => return Read::Gone,
            },
        }
    }
}

/// A line as the terminal itself gives it, for terminals that cannot move the cursor.
fn whole_line(live: &Live, mark: &str) -> Read {
    live.ask(mark);
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => Read::Gone,
        Ok(_) => Read::Line(line.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

/// Nobody: prints what would be asked and the command that answers it.
pub struct NobodyOperator {
    out: Out,
    style: Style,
    view: View,
    clock: Arc<dyn Clock>,
}

impl NobodyOperator {
    /// Prints to standard error.
    pub fn new(view: View, clock: Arc<dyn Clock>) -> Self {
        let style = Style { colour: false, ..Style::detect(io::stderr()) };
        NobodyOperator { out: Out::stderr(&style), style, view, clock }
    }

    /// Prints somewhere else.
    pub fn on(out: Out, view: View, clock: Arc<dyn Clock>) -> Self {
        NobodyOperator { out, style: Style::PLAIN, view, clock }
    }
}

#[async_trait]
impl Operator for NobodyOperator {
    fn present(&self) -> bool {
        false
    }

    async fn ask(&self, question: &Question) -> Answer {
        let snapshot = self.view.snapshot();
        let text = ask::unanswered(question, &snapshot, &self.clock.now(), &self.style);
        // Without a reader the exit status still says that a person is needed.
        let _ = self.out.print(&text);
        Answer::Nobody
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::ui::fixture::{EVIL, at, blast, evidence, failed_lines, safe, snapshot};

    /// A person who types these lines. An empty script is a closed terminal.
    struct Script {
        lines: VecDeque<Read>,
        pasted: bool,
        shown: String,
    }

    impl Console for Script {
        fn show(&mut self, text: &str) {
            self.shown.push_str(text);
        }
        fn discard(&mut self) {}
        fn read(&mut self, _: &str) -> Read {
            self.lines.pop_front().unwrap_or(Read::Gone)
        }
        fn more(&mut self) -> bool {
            std::mem::take(&mut self.pasted)
        }
        fn style(&self) -> Style {
            Style::PLAIN
        }
    }

    fn script(lines: &[&str]) -> Script {
        let lines = lines.iter().map(|line| match *line {
            "^C" => Read::Interrupted,
            line => Read::Line(line.to_owned()),
        });
        Script { lines: lines.collect(), pasted: false, shown: String::new() }
    }

    fn said(question: &Question, lines: &[&str]) -> Answer {
        converse(question, &mut script(lines))
    }

    fn confirm() -> Question {
        Question::Confirm {
            step: "drop-old".into(), text: "cluster 13/main".into(), blast: blast(), horizon: String::new(),
        }
    }

    fn begin() -> Question {
        Question::Begin { step: "copy".into() }
    }

    #[test]
    fn only_the_exact_text_confirms() {
        assert_eq!(said(&confirm(), &["cluster 13/main"]), Answer::Typed("cluster 13/main".into()));
        for wrong in ["", "y", "yes", "g", "go", "cluster 13/main ", " cluster 13/main", "CLUSTER 13/MAIN", "cluster", "^C"] {
            assert_eq!(said(&confirm(), &[wrong]), Answer::Quit, "{wrong:?}");
        }
        let mut pasted = script(&["cluster 13/main"]);
        pasted.pasted = true;
        assert_eq!(converse(&confirm(), &mut pasted), Answer::Quit);
        assert!(pasted.shown.contains("That confirms nothing"));
    }

    #[test]
    fn nothing_that_is_not_a_choice_begins_a_step() {
        assert_eq!(said(&begin(), &["go"]), Answer::Go);
        assert_eq!(said(&begin(), &["x", "", "G"]), Answer::Go);
        for no in [&[][..], &[""], &["y"], &["yes"], &["gg"], &["^C"], &["^C", "g"]] {
            assert_eq!(said(&begin(), no), Answer::Quit, "{no:?}");
        }
        let mut pasted = script(&["g"]);
        pasted.pasted = true;
        assert_eq!(converse(&begin(), &mut pasted), Answer::Quit);
    }

    #[test]
    fn free_text() {
        assert_eq!(said(&begin(), &["n", " disk is slow "]), Answer::Note("disk is slow".into()));
        assert_eq!(said(&begin(), &["n", "", "a", "^C", "q"]), Answer::Quit, "back at the question each time");
        let handoff = |to: Option<&str>| Answer::Handoff { to: to.map(str::to_owned), note: "watch it".into() };
        assert_eq!(said(&begin(), &["h", "watch it", ""]), handoff(None));
        assert_eq!(said(&begin(), &["handoff", "watch it", "bob"]), handoff(Some("bob")));
        let manual = Question::Manual { step: "copy".into(), observe: Some("how many?".into()) };
        assert_eq!(said(&manual, &["c", "12"]), Answer::Carried(Some("12".into())));
        assert_eq!(said(&manual, &["c", "", "q"]), Answer::Quit, "an observation that was asked for is needed");
    }

    #[test]
    fn stopping_needs_a_word_and_ctrl_c_kills_nothing() {
        let running = Question::Interrupted { running: Some("copy".into()) };
        assert_eq!(said(&running, &["s", "stop"]), Answer::Stop);
        assert_eq!(said(&running, &["s", "y", "g"]), Answer::Go);
        assert_eq!(said(&running, &["^C", "g"]), Answer::Go);
        assert_eq!(said(&running, &["^C", "^C", "^C"]), Answer::Quit);
    }

    #[test]
    fn decisions_need_a_reason() {
        let doubt = Question::Doubt {
            step: "copy".into(), why: String::new(), may_rerun: true, may_finish: true,
            evidence: vec![evidence("copy.post.up", crate::check::Verdict::Pass)],
        };
        assert_eq!(said(&doubt, &["d", "", "d", "I looked"]), Answer::Finished("I looked".into()));
        assert_eq!(said(&doubt, &["r", "it is safe"]), Answer::Again("it is safe".into()));
        let Question::Doubt { step, why, evidence, .. } = doubt else { unreachable!() };
        let stuck = Question::Doubt { step, why, evidence, may_rerun: false, may_finish: false };
        assert_eq!(said(&stuck, &["d", "x", "r", "x", "q"]), Answer::Quit, "not offered, not accepted");
    }

    #[test]
    fn hostile_questions_do_not_escape_in_replies() {
        let question = Question::Confirm { step: "s".into(), text: EVIL.into(), blast: blast(), horizon: EVIL.into() };
        let mut console = script(&["no", EVIL]);
        converse(&question, &mut console);
        safe(&console.shown, 80);
    }

    #[tokio::test]
    async fn nobody_answers_and_the_command_is_printed() {
        struct Fixed;
        impl Clock for Fixed {
            fn now(&self) -> crate::base::Moment {
                at(600)
            }
        }
        #[derive(Clone, Default)]
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let shared = Shared::default();
        let out = Out::to(Box::new(shared.clone()), &Style::PLAIN);
        let nobody = NobodyOperator::on(out, View::new(snapshot(&failed_lines())), Arc::new(Fixed));
        assert!(!nobody.present());
        assert_eq!(nobody.ask(&confirm()).await, Answer::Nobody);
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("holdpoint resume pg-upgrade-20261120-k3x9 --confirm drop-old=TEXT"), "{text}");
    }
}
