//! Words of a command: what the program would get, as far as that is known, and where it stands.

use std::ops::Range;

/// Stands in a text for a part that is known only when the command runs.
pub(crate) const UNKNOWN: char = '\u{e000}';
/// Stands for the path of something that `mktemp` made in the same script.
pub(crate) const TEMPORARY: char = '\u{e001}';
/// Stands for a variable of the runbook that gets its value when a run starts; everything is read again then.
pub(crate) const LATER: char = '\u{e002}';

/// One argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its text, quotes taken off; [`UNKNOWN`] for what is not known.
    pub text: String,
    /// Where it stands in the work's text.
    pub at: Range<usize>,
    /// Where `text` begins there, when it stands there as it is.
    pub verbatim: Option<usize>,
    /// A pattern that the shell makes file names of.
    pub glob: bool,
    /// Something without quotes whose value is not known: it may become several arguments, or options.
    pub open: bool,
}

impl Word {
    /// A word that stands in the text as it is.
    pub fn verbatim(text: &str, at: usize) -> Self {
        let text = plain(text);
        Word { at: at..at + text.len(), verbatim: Some(at), text, ..Word::default() }
    }

    /// A text made of something at this place.
    pub fn made(text: impl Into<String>, at: Range<usize>) -> Self {
        Word { text: text.into(), at, ..Word::default() }
    }

    /// True when the whole text is known.
    pub fn known(&self) -> bool {
        !self.text.contains([UNKNOWN, LATER])
    }

    /// True when nothing of it is known.
    pub fn blank(&self) -> bool {
        !self.text.is_empty() && self.text.chars().all(|c| c == UNKNOWN || c.is_whitespace())
    }

    /// A part of it, from this byte on.
    pub fn from(&self, byte: usize) -> Word {
        let text = self.text.get(byte..).unwrap_or_default().to_owned();
        let at = self.verbatim.map_or(self.at.clone(), |start| start + byte..self.at.end.max(start + byte));
        Word { text, at, verbatim: self.verbatim.map(|start| start + byte), ..self.clone() }
    }

    /// The last part of a path.
    pub fn base(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

/// A text from outside, without the characters that mean something here.
pub(crate) fn plain(text: &str) -> String {
    text.replace([TEMPORARY, LATER], "\u{e000}")
}

/// Several words as one text, with blanks between them; what a shell at the other end would read.
pub(crate) fn joined(words: &[Word]) -> Word {
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return Word::default() };
    if words.len() == 1 {
        return first.clone();
    }
    let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    // Only when each follows the other after one blank.
    let follows = |pair: &[Word]| match pair {
        [a, b] => a.verbatim.is_some_and(|at| b.verbatim == Some(at + a.text.len() + 1)),
        _ => true,
    };
    let verbatim = first.verbatim.filter(|_| words.windows(2).all(follows));
    Word { text, at: around(first, last), verbatim, ..Word::default() }
}

/// From the beginning of one word to the end of another.
pub(crate) fn around(first: &Word, last: &Word) -> Range<usize> {
    if last.at.end >= first.at.start && last.at.start >= first.at.start {
        first.at.start..last.at.end
    } else {
        first.at.clone()
    }
}
