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
use crate::ui::ask;
use crate::ui::ask::talk::{Console, Read, converse};
use crate::ui::live::Live;
use crate::ui::screen::{Out, Style};
use crate::ui::view::View;
use crate::world::Clock;

/// True when a person can be asked: standard input and standard error are terminals, `CI` is not set, and nobody said
/// `--non-interactive`.
pub fn present(non_interactive: bool) -> bool {
    let ci =
        std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0");
    !non_interactive && !ci && rustix::termios::isatty(io::stdin()) && rustix::termios::isatty(io::stderr())
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
        let interrupted = Arc::new(AtomicBool::new(false));
        let _listen = (!self.live.style().live).then(|| Listen::new(interrupted.clone()));
        let _withdraw = Withdraw(withdrawn.clone());
        let (question, live, turn) = (question.clone(), self.live.clone(), self.turn.clone());
        let (view, clock) = (self.view.clone(), self.clock.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if withdrawn.load(Ordering::SeqCst) {
                return Answer::Quit;
            }
            let snapshot = view.snapshot();
            let mut console = Tty { live, withdrawn, interrupted };
            let page = ask::page(&question, &snapshot, &clock.now(), &console.style());
            console.show("\n");
            console.show(&page);
            console.show(&ask::choices(&question, &console.style()));
            let answer = converse(&question, &mut console);
            if console.style().live {
                let _ = Term::stderr().show_cursor();
            }
            answer
        });
        let answer = asked.await.unwrap_or(Answer::Quit);
        drop(open);
        answer
    }
}

/// The terminal itself.
struct Tty {
    live: Arc<Live>,
    withdrawn: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

/// Where the terminal edits the line itself, Ctrl-C comes as a signal only.
struct Listen(Option<tokio::task::JoinHandle<()>>);

impl Listen {
    fn new(flag: Arc<AtomicBool>) -> Listen {
        let stream = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        Listen(stream.ok().map(|mut stream| {
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    flag.store(true, Ordering::SeqCst);
                }
            })
        }))
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
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
        let read = if self.live.style().live {
            let held = Cbreak::new();
            if first_key(mark, &|| self.withdrawn.load(Ordering::SeqCst)) {
                keys(mark)
            } else {
                drop(held);
                return Read::Gone;
            }
        } else {
            self.live.ask(mark);
            whole_line(&|| self.withdrawn.load(Ordering::SeqCst), &|| {
                self.interrupted.swap(false, Ordering::SeqCst)
            })
        };
        if read == Read::Interrupted && !self.live.style().live {
            self.live.ask("\n");
        }
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
    fn format_input_prompt(
        &self,
        f: &mut dyn std::fmt::Write,
        prompt: &str,
        _: Option<&str>,
    ) -> std::fmt::Result {
        f.write_str(prompt)
    }

    fn format_input_prompt_selection(
        &self,
        f: &mut dyn std::fmt::Write,
        prompt: &str,
        sel: &str,
    ) -> std::fmt::Result {
        write!(f, "{prompt}{}", crate::base::text::neutral(sel))
    }
}

/// Keys come one by one, without an echo, as long as this lives: so that the first one can be waited for.
struct Cbreak(Option<rustix::termios::Termios>);

impl Cbreak {
    fn new() -> Cbreak {
        let Ok(before) = rustix::termios::tcgetattr(io::stdin()) else { return Cbreak(None) };
        let mut raw = before.clone();
        raw.make_raw();
        // What others write meanwhile still begins at the left edge.
        raw.output_modes = before.output_modes;
        let set =
            rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Drain, &raw).is_ok();
        Cbreak(set.then_some(before))
    }
}

impl Drop for Cbreak {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = rustix::termios::OptionalActions::Drain;
            let _ = rustix::termios::tcsetattr(io::stdin(), now, before);
        }
    }
}

/// Shows the mark, and waits until a key is pressed; false when the question is withdrawn before that.
fn first_key(mark: &str, withdrawn: &dyn Fn() -> bool) -> bool {
    let term = Term::stderr();
    let _ = term.write_str(mark);
    let stdin = io::stdin();
    loop {
        if withdrawn() {
            let _ = term.clear_line();
            return false;
        }
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    // The editor draws the mark itself.
    let _ = term.clear_line();
    true
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
fn whole_line(withdrawn: &dyn Fn() -> bool, interrupted: &dyn Fn() -> bool) -> Read {
    let stdin = io::stdin();
    loop {
        if interrupted() {
            return Read::Interrupted;
        }
        if withdrawn() {
            return Read::Gone;
        }
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(_) => return Read::Gone,
        }
    }
    let mut line = String::new();
    match stdin.read_line(&mut line) {
        Ok(0) | Err(_) => Read::Gone,
        Ok(_) => Read::Line(line.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

/// Listens to Ctrl-C outside a session. From then on it no longer ends the process by itself.
pub struct Interrupts(Option<std::cell::RefCell<(tokio::runtime::Runtime, tokio::signal::unix::Signal)>>);

impl Interrupts {
    /// Begins to listen; without the means Ctrl-C ends the process as always.
    pub fn new() -> Interrupts {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
        Interrupts(runtime.and_then(|runtime| {
            let kind = tokio::signal::unix::SignalKind::interrupt();
            let stream = runtime.block_on(async { tokio::signal::unix::signal(kind) }).ok()?;
            Some(std::cell::RefCell::new((runtime, stream)))
        }))
    }

    /// True when Ctrl-C came since the last call.
    pub fn came(&self) -> bool {
        let Some(both) = &self.0 else { return false };
        let (runtime, stream) = &mut *both.borrow_mut();
        let wait = std::time::Duration::from_millis(1);
        runtime.block_on(async { tokio::time::timeout(wait, stream.recv()).await }).is_ok()
    }
}

impl Default for Interrupts {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks for one line outside a run: shows a page, throws away what was typed before it, reads.
pub fn one_line(page: &str, style: &Style) -> Read {
    let out = Out::stderr(style);
    let _ = out.print(page);
    let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
    let interrupts = Interrupts::new();
    let read = if style.live {
        keys("> ")
    } else {
        let _ = out.print("> ");
        whole_line(&|| false, &|| interrupts.came())
    };
    if style.live {
        let _ = Term::stderr().show_cursor();
    }
    read
}

/// Nobody: prints what would be asked and the command that answers it.
pub struct NobodyOperator {
    out: Out,
    style: Style,
    view: View,
    clock: Arc<dyn Clock>,
    over: bool,
}

impl NobodyOperator {
    /// Prints to standard error.
    pub fn new(view: View, clock: Arc<dyn Clock>) -> Self {
        let style = Style { colour: false, ..Style::detect(io::stderr()) };
        NobodyOperator { out: Out::stderr(&style), style, view, clock, over: false }
    }

    /// Prints somewhere else.
    pub fn on(out: Out, view: View, clock: Arc<dyn Clock>) -> Self {
        NobodyOperator { out, style: Style::PLAIN, view, clock, over: false }
    }

    /// Nobody will ever answer: what would be asked is printed, and no command that answers it.
    #[must_use]
    pub fn for_ever(self) -> Self {
        NobodyOperator { over: true, ..self }
    }
}

#[async_trait]
impl Operator for NobodyOperator {
    fn present(&self) -> bool {
        false
    }

    async fn ask(&self, question: &Question) -> Answer {
        let snapshot = self.view.snapshot();
        let now = self.clock.now();
        let text = match self.over {
            true => ask::page(question, &snapshot, &now, &self.style),
            false => ask::unanswered(question, &snapshot, &now, &self.style),
        };
        // Without a reader the exit status still says that a person is needed.
        let _ = self.out.print(&text);
        Answer::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixture::{at, blast, failed_lines, snapshot};

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
        let confirm = Question::Confirm {
            undo: None,
            step: "drop-old".into(),
            text: "cluster 13/main".into(),
            blast: blast(),
            horizon: String::new(),
        };
        let shared = Shared::default();
        let out = Out::to(Box::new(shared.clone()), &Style::PLAIN);
        let nobody = NobodyOperator::on(out, View::new(snapshot(&failed_lines())), Arc::new(Fixed));
        assert!(!nobody.present());
        assert_eq!(nobody.ask(&confirm).await, Answer::Nobody);
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("holdpoint resume pg-upgrade-20261120-k3x9 --confirm drop-old=TEXT"), "{text}");
    }
}
