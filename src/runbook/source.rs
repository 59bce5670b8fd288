//! A runbook's text, and the one pass that makes a tree with places of it.
//!
//! Invariants: a text that holds anything a reviewer cannot see, or that uses what two YAML readers may read in two
//! ways (anchors, tags, merge keys, directives, several documents), never becomes a tree. Size and depth are bounded.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span};

use super::tree::{Entry, Key, Kind, Node};
use super::validate::MAX_PROBLEMS;
use crate::problem::Problem;

/// The largest runbook that is read: 10 000 steps are about 4 MiB.
pub const MAX_BYTES: usize = 8 << 20;
/// How deep lists and maps may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many problems of one kind are shown before the rest is only counted.
const MAX_SHOWN: usize = 10;

/// A text with the name it is known by.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name, as the user gave it.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    not_utf8: Option<usize>,
}

impl Source {
    /// A text.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Source { name: name.into(), text: text.into(), not_utf8: None }
    }

    /// A file's bytes. What is not UTF-8 is kept as a mark and refused by [`super::load::parse`].
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Source::new(name, text),
            Err(error) => {
                let text = String::from_utf8_lossy(bytes);
                Source { not_utf8: Some(error.valid_up_to()), ..Source::new(name, &*text) }
            }
        }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub fn line_col(&self, byte: usize) -> (usize, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Makes a tree of the text, or says all that is in the way.
    pub fn read(&self) -> Result<Node, Vec<Problem>> {
        self.prescan()?;
        self.read_piece(0..self.text.len(), MAX_DEPTH)
    }

    /// Makes a tree of a part of the text, with places in the whole. The text must have been looked through before.
    pub(super) fn read_piece(&self, piece: Range<usize>, depth: usize) -> Result<Node, Vec<Problem>> {
        let base = piece.start;
        let builder = Builder { text: &self.text, base, problems: Vec::new(), open: Vec::new(), root: None };
        builder.build(&self.text[piece], depth)
    }

    /// Refuses what is too large, no text, or not to be seen.
    pub(super) fn prescan(&self) -> Result<(), Vec<Problem>> {
        if self.text.len() > MAX_BYTES {
            let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
            let mut problem =
                Problem::error("HP001", message, 0..0).help("split the work into several runbooks");
            problem.places.clear();
            return Err(vec![problem]);
        }
        if let Some(at) = self.not_utf8 {
            let end = self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            return Err(vec![
                Problem::error("HP002", "the file is not UTF-8 text", at..end).help("save it as UTF-8"),
            ]);
        }
        // Nearly all texts are plain; a look at bytes is quick.
        if self.text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
            return Ok(());
        }
        let mut found: Vec<(usize, char)> = Vec::new();
        let mut chars = self.text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let crlf = c == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n');
            if unseen(c) && !crlf {
                found.push((at, c));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let rest = found.len().saturating_sub(MAX_SHOWN);
        let mut problems: Vec<Problem> =
            found.iter().take(MAX_SHOWN).map(|(at, c)| hidden(*at, *c)).collect();
        if let (1.., Some(last)) = (rest, problems.last_mut()) {
            last.message = format!("{} (and {rest} more invisible characters)", last.message);
        }
        Err(problems)
    }
}

/// Characters that a reviewer cannot see, or that move what is seen.
fn unseen(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' => {
            true
        }
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

fn hidden(at: usize, c: char) -> Problem {
    let name = match c {
        '\u{feff}' => "a byte-order mark",
        '\u{85}' | '\u{2028}' | '\u{2029}' => "a line break that not every reader takes for one",
        '\r' => "a carriage return without a line feed",
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            "a character that turns the direction of the text"
        }
        c if c.is_control() => "a control character",
        _ => "an invisible character",
    };
    Problem::error("HP003", format!("{name} (U+{:04X})", c as u32), at..at + c.len_utf8())
        .help("delete it: a reviewer has to see what will run")
}

/// A list or map that is not closed yet.
struct Open {
    node: Node,
    key: Option<Key>,
    /// The keys of a map so far, so that a map of any size costs linear time.
    seen: HashMap<Box<str>, Range<usize>>,
}

impl Open {
    fn new(range: Range<usize>, kind: Kind) -> Self {
        Open { node: Node::new(range, kind), key: None, seen: HashMap::new() }
    }
}

/// Maps up to this size are searched key by key.
const SMALL: usize = 16;

struct Builder<'s> {
    text: &'s str,
    /// Where the piece that is read begins in the text.
    base: usize,
    problems: Vec<Problem>,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn build(mut self, piece: &str, depth: usize) -> Result<Node, Vec<Problem>> {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_anchor_events: true,
            emit_comments: false,
            flow_nesting_limit: depth,
            block_nesting_limit: depth,
        };
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(piece, options) {
            match event {
                Err(error) => {
                    self.problems.push(syntax(&error, self.text));
                    break;
                }
                Ok((Event::DocumentStart(..), span)) => {
                    documents += 1;
                    if documents > 1 {
                        let range = self.range(&span);
                        self.refuse("HP005", "a second document", range, "keep one runbook in a file");
                        break;
                    }
                }
                Ok((event, span)) => self.event(event, &span),
            }
            if self.problems.len() >= MAX_PROBLEMS {
                break;
            }
        }
        match self.root {
            Some(root) if self.problems.is_empty() => Ok(root),
            None if self.problems.is_empty() => {
                let help = "docs/runbook-format.md has a small one to start from";
                Err(vec![Problem::error("HP004", "the file is empty", 0..0).help(help)])
            }
            _ => Err(self.problems),
        }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) {
        let range = self.range(span);
        if event.tag().is_some() {
            let tag = span.tag_span().map_or_else(|| range.clone(), |tag| self.range(&tag));
            self.refuse("HP005", "a tag", tag, "leave it out; Holdpoint knows the type of every key");
        }
        match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(
                    "HP005",
                    "an alias",
                    range.clone(),
                    "write the value out, so that it can be read where it works",
                );
                self.value(Node::new(range, Kind::Scalar { text: "".into(), plain: false }));
            }
            Event::Anchor(..) => {
                self.refuse(
                    "HP005",
                    "an anchor",
                    range,
                    "leave it out and write values out where they are used",
                );
            }
            Event::Scalar(text, style, ..) => {
                if text.contains('\0') {
                    self.problems.push(
                        Problem::error("HP003", "this text contains a NUL character", range.clone())
                            .help("no command, file name or database takes one"),
                    );
                }
                let plain = style == ScalarStyle::Plain;
                // The parser says `~` for a value that is not there.
                let text = if plain && range.is_empty() { "" } else { text.as_ref() };
                let kind = Kind::Scalar { text: text.into(), plain };
                self.value(Node::new(self.trimmed(range, style), kind));
            }
            Event::SequenceStart(..) => self.open.push(Open::new(range, Kind::Seq(Vec::new()))),
            Event::MappingStart(..) => self.open.push(Open::new(range, Kind::Map(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { mut node, .. }) = self.open.pop() {
                    let last = match &mut node.kind {
                        Kind::Seq(items) => {
                            items.shrink_to_fit();
                            items.last().map(|last| last.range().end)
                        }
                        Kind::Map(entries) => {
                            entries.shrink_to_fit();
                            entries.last().map(|last| last.value.range().end)
                        }
                        Kind::Scalar { .. } => None,
                    };
                    // The end of a block is only seen at what follows it; the end of its last value is what is meant.
                    let flow = self
                        .text
                        .as_bytes()
                        .get(node.range().start)
                        .is_some_and(|b| matches!(b, b'[' | b'{'));
                    node.end_at(if flow { range.end } else { last.unwrap_or(range.start) });
                    self.value(node);
                }
            }
            _ => {}
        }
    }

    /// A finished value: an item, a key, a key's value, or the whole document.
    fn value(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::Seq(items), _) => items.push(node),
            (Kind::Map(entries), Some(key)) => {
                let node = match &node.kind {
                    // A value that is not there has its key for a place.
                    Kind::Scalar { text, plain: true } if text.is_empty() => {
                        Node::new(key.range(), node.kind)
                    }
                    _ => node,
                };
                entries.push(Entry { key, value: node });
            }
            (Kind::Map(_), None) => {
                let range = node.range();
                let key = match node.kind {
                    Kind::Scalar { text, plain } => {
                        let key = Key::new(text, range);
                        self.judge_key(&key, plain);
                        key
                    }
                    _ => {
                        let range = first_line(self.text, range);
                        self.refuse(
                            "HP005",
                            "a key that is not a text",
                            range.clone(),
                            "a key is a short text",
                        );
                        Key::new("", range)
                    }
                };
                if let Some(open) = self.open.last_mut() {
                    open.key = Some(key);
                }
            }
            (Kind::Scalar { .. }, _) => {}
        }
    }

    fn judge_key(&mut self, key: &Key, plain: bool) {
        if plain && &*key.text == "<<" {
            self.refuse("HP005", "a merge key", key.range(), "write the values out where they are used");
            return;
        }
        if key.text.is_empty() {
            self.problems.push(Problem::error("HP004", "a key is missing before the colon", key.range()));
            return;
        }
        let Some(open) = self.open.last_mut() else { return };
        let entries = open.node.entries();
        if entries.len() == SMALL {
            open.seen = entries.iter().map(|entry| (entry.key.text.clone(), entry.key.range())).collect();
        }
        let first = if entries.len() < SMALL {
            open.node.entry(&key.text).map(|entry| entry.key.range())
        } else {
            let first = open.seen.get(&key.text).cloned();
            open.seen.entry(key.text.clone()).or_insert_with(|| key.range());
            first
        };
        if let Some(first) = first {
            self.problems.push(
                Problem::error("HP006", format!("`{}` is written twice", key.text), key.range())
                    .label("again here")
                    .also(first, "first here")
                    .help("keep one of them"),
            );
        }
    }

    fn refuse(&mut self, code: &'static str, what: &str, range: Range<usize>, help: &str) {
        self.problems
            .push(Problem::error(code, format!("{what} is not allowed in a runbook"), range).help(help));
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        let end = (self.base + range.end).min(self.text.len());
        (self.base + range.start).min(end)..end
    }

    /// The range without the line breaks that follow a block scalar.
    fn trimmed(&self, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return range;
        }
        let kept = self.text.get(range.clone()).map_or(range.len(), |text| text.trim_end().len());
        range.start..range.start + kept
    }
}

/// The part of a range on its first line.
pub fn first_line(text: &str, range: Range<usize>) -> Range<usize> {
    let length =
        text.get(range.clone()).and_then(|part| part.lines().next()).map_or(0, |line| line.trim_end().len());
    range.start..range.start + length
}

fn syntax(error: &granit_parser::ScanError, text: &str) -> Problem {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let end = text[at..].chars().next().filter(|c| *c != '\n').map_or(at, |c| at + c.len_utf8());
    let (why, help) = words(error.kind());
    let problem = Problem::error("HP004", format!("this is not valid YAML: {why}"), at..end);
    if help.is_empty() { problem } else { problem.help(help) }
}

/// The parser's complaint in plain words, and what to do about it.
fn words(kind: &ErrorKind) -> (String, &'static str) {
    let quote = "put the text in quotes";
    let (why, help) = match kind {
        ErrorKind::RecursionLimitExceeded => {
            ("lists and maps are nested too deeply", "32 levels are the limit")
        }
        ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            ("a tab stands in the indentation", "indent with spaces")
        }
        ErrorKind::InvalidIndentation => ("the indentation does not fit", "align it with the lines above"),
        ErrorKind::DirectiveDisallowed => {
            ("a directive (%) is not allowed in a runbook", "leave the line out")
        }
        ErrorKind::UnclosedQuotedScalar => ("a quote is not closed", "close it"),
        ErrorKind::InvalidQuotedScalarIndent => ("a quote before this line is not closed", "close it"),
        ErrorKind::SimpleKeyExpected => ("a key needs a colon and a space after it", ""),
        ErrorKind::InvalidColonPlacement => ("a colon stands where none is expected", quote),
        ErrorKind::UnexpectedEof => ("the file ends too early", ""),
        ErrorKind::UnexpectedCharacter { character } => {
            return (format!("`{}` cannot stand here", character.escape_default()), quote);
        }
        ErrorKind::UnclosedFlowCollection { open } => return (format!("`{open}` is not closed"), ""),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{open}` is closed by `{close}`"), "");
        }
        ErrorKind::MappingValueNotAllowed => {
            ("a colon cannot stand here", "put the text in quotes, or begin a new line")
        }
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInPlainScalar => {
            ("a tab stands in the indentation", "indent with spaces")
        }
        ErrorKind::ExpectedBlockMappingKey => ("a key is expected here", "align it with the lines above"),
        ErrorKind::ExpectedFlowMappingSeparator => ("`,` or `}` is expected here", quote),
        ErrorKind::ExpectedFlowSequenceSeparator => ("`,` or `]` is expected here", quote),
        // The names of the parser's other complaints are words in camel case.
        other => {
            let name = format!("{other:?}");
            let name = name.split([' ', '(', '{']).next().unwrap_or_default();
            let spaced = name.chars().fold(String::new(), |mut out, c| {
                if c.is_uppercase() && !out.is_empty() {
                    out.push(' ');
                }
                out.extend(c.to_lowercase());
                out
            });
            return (spaced, "");
        }
    };
    (why.to_owned(), help)
}
