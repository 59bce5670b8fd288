//! Which commands destroy: for most a row of a table, for some a small function.

mod files;
mod table;

use super::word::{Word, around};
use super::{Reader, Stdin};

/// What a command destroys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Data goes.
    Destroys { what: String, certain: bool },
    /// It cannot be told.
    Unreadable(String),
}

fn destroys(what: impl Into<String>, certain: bool) -> Option<Verdict> {
    Some(Verdict::Destroys { what: what.into(), certain })
}

impl Reader<'_> {
    /// Judges a program by its arguments.
    pub(super) fn destruction(&mut self, program: &str, words: &[Word], _: &Stdin) {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
        let args = words.get(1..).unwrap_or_default();
        let found = files::judge(program, args).or_else(|| table::judge(program, args));
        let range = around(first, last);
        match found {
            Some(Verdict::Destroys { what, certain }) => self.destroys(what, certain, range),
            Some(Verdict::Unreadable(what)) => self.unreadable(what, range),
            None => {}
        }
    }
}
