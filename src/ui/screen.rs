//! What the screen can do, and the one writer that everything goes through.
//!
//! A broken pipe or a terminal that hung up makes the writer silent; it never panics, and a run goes on without it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::report::Tone;

/// What the screen can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colour codes may be used: a terminal, no `NO_COLOR`, and `TERM` is not `dumb`.
    pub colour: bool,
    /// Columns, 20 or more; 80 when nobody knows.
    pub width: usize,
    /// Characters beyond ASCII may be used; else they are shown as `\u{e9}`.
    pub unicode: bool,
    /// A terminal on which a line can be drawn again.
    pub live: bool,
}

impl Style {
    /// 80 columns, no colour, as in a pipe.
    pub const PLAIN: Style = Style { colour: false, width: 80, unicode: true, live: false };

    /// The style of standard output or standard error as they are now; reads `NO_COLOR`, `TERM`, `LC_ALL`, `LC_CTYPE`
    /// and `LANG`. Nothing forces colour into a pipe.
    pub fn detect(stream: impl AsFd) -> Style {
        Self::from(stream, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(stream: impl AsFd, env: impl Fn(&str) -> Option<String>) -> Style {
        let terminal = rustix::termios::isatty(stream.as_fd());
        let live = terminal && env("TERM").is_some_and(|term| term != "dumb");
        let locale = env("LC_ALL").or_else(|| env("LC_CTYPE")).or_else(|| env("LANG")).unwrap_or_default();
        let utf8 = locale.to_ascii_uppercase().replace('-', "").contains("UTF8");
        Style {
            colour: live && env("NO_COLOR").is_none(),
            width: columns(&stream).unwrap_or(80),
            unicode: utf8 || !terminal,
            live,
        }
    }

    /// The same with the width as it is now: terminals are resized.
    #[must_use]
    pub fn resized(self, stream: impl AsFd) -> Style {
        Style { width: columns(&stream).unwrap_or(self.width), ..self }
    }

    /// Text with the colour codes of a tone, or as it is.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Doubt => "1;33",
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn columns(stream: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream.as_fd()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col).max(20))
}

/// The checked writer.
pub struct Out {
    inner: Mutex<Inner>,
    unicode: bool,
}

struct Inner {
    to: Box<dyn Write + Send>,
    closed: bool,
}

impl Out {
    /// Standard output.
    pub fn stdout(style: &Style) -> Out {
        Out::to(Box::new(io::stdout()), style)
    }

    /// Standard error.
    pub fn stderr(style: &Style) -> Out {
        Out::to(Box::new(io::stderr()), style)
    }

    /// Any writer.
    pub fn to(to: Box<dyn Write + Send>, style: &Style) -> Out {
        Out { inner: Mutex::new(Inner { to, closed: false }), unicode: style.unicode }
    }

    /// Writes and flushes. A reader that is gone (broken pipe, terminal hung up) is no error: from then on nothing is
    /// written and [`Out::closed`] is true. Other errors, such as a full disk, are returned once, then it is closed, too.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(());
        }
        let folded = (!self.unicode && !text.is_ascii()).then(|| ascii(text));
        let bytes = folded.as_deref().unwrap_or(text).as_bytes();
        let written = inner.to.write_all(bytes).and_then(|()| inner.to.flush());
        inner.closed = written.is_err();
        match written {
            Err(error) if gone(&error) => Ok(()),
            other => other,
        }
    }

    /// True when nobody reads any more: long output can stop.
    pub fn closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when an error means that the reader is gone: a closed pipe, a closed socket, a terminal that hung up (EIO).
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Text in ASCII: everything else as `\u{e9}`.
pub fn ascii(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c)
        } else {
            out.extend(c.escape_unicode())
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Breaks(io::ErrorKind);
    impl Write for Breaks {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_is_a_quiet_stop_and_a_full_disk_is_not() {
        let out = Out::to(Box::new(Breaks(io::ErrorKind::BrokenPipe)), &Style::PLAIN);
        assert!(out.print("x").is_ok() && out.closed());
        let out = Out::to(Box::new(Breaks(io::ErrorKind::StorageFull)), &Style::PLAIN);
        assert!(out.print("x").is_err() && out.closed());
        assert!(out.print("x").is_ok(), "said once");
    }

    #[test]
    fn a_pipe_has_no_colour_whatever_the_environment_says() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let style = Style::from(&read, |name| match name {
            "TERM" => Some("xterm-256color".to_owned()),
            "CLICOLOR_FORCE" | "FORCE_COLOR" => Some("1".to_owned()),
            _ => None,
        });
        assert_eq!(style, Style::PLAIN);
        assert_eq!(style.paint(Tone::Bad, "FAIL"), "FAIL");
    }

    #[test]
    fn without_utf8_nothing_but_ascii_goes_out() {
        assert_eq!(ascii("caf\u{e9} \u{241b}"), r"caf\u{e9} \u{241b}");
    }
}
