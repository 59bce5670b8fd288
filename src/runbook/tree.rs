//! A YAML document as a small tree that knows where everything stands in the file.
//!
//! Invariants: ranges lie inside the source text, on character boundaries; every scalar keeps its text as written
//! (`16.10` stays `16.10`); no map has the same key twice.

use std::fmt::Write as _;
use std::ops::Range;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    start: u32,
    end: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A text, number, word: as written, escapes read.
    Scalar {
        /// The text.
        text: Box<str>,
        /// Written without quotes and not as a block, so that `5` is a number and nothing at all is null.
        plain: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One line of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Node,
}

/// A key and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key's text.
    pub text: Box<str>,
    start: u32,
    end: u32,
}

/// What a plain scalar means by the core rules of YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Core {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Everything else, `no` and `16.10.1` included.
    Text,
}

impl Key {
    /// A key at a place.
    pub fn new(text: impl Into<Box<str>>, range: Range<usize>) -> Self {
        Key { text: text.into(), start: range.start as u32, end: range.end as u32 }
    }

    /// Where it stands, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Node {
    /// A value at a place.
    pub fn new(range: Range<usize>, kind: Kind) -> Self {
        Node { start: range.start as u32, end: range.end as u32, kind }
    }

    /// Where it stands, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Moves its end; used while a tree is built.
    pub(super) fn end_at(&mut self, end: usize) {
        self.end = (end as u32).max(self.start);
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    /// The lines of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A line of a map by its key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key.text == key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of a key's scalar value.
    pub fn get_text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// True for nothing, `~` and `null` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if core(text) == Core::Null)
    }

    /// Looks a path up: `steps[3].preconditions[0].disk_free.path`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').filter(|part| !part.is_empty()).try_fold(self, |node, part| {
            let (key, rest) = part.split_once('[').map_or((part, ""), |(key, rest)| (key, rest));
            let node = if key.is_empty() { node } else { node.get(key)? };
            rest.split('[').filter(|index| !index.is_empty()).try_fold(node, |node, index| {
                let index: usize = index.strip_suffix(']')?.parse().ok()?;
                node.items().get(index)
            })
        })
    }

    /// `a text`, `a list`, `a map`, `nothing`: for messages.
    pub fn word(&self) -> &'static str {
        match &self.kind {
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Scalar { plain: false, .. } => "a text",
            Kind::Scalar { text, .. } => match core(text) {
                Core::Null => "nothing",
                Core::Bool(_) => "true or false",
                Core::Int(_) | Core::Float(_) => "a number",
                Core::Text => "a text",
            },
        }
    }

    /// One line for tests: the tree without places.
    pub fn outline(&self) -> String {
        let mut out = String::new();
        self.write_outline(&mut out);
        out
    }

    fn write_outline(&self, out: &mut String) {
        match &self.kind {
            Kind::Scalar { text, plain } => {
                let _ = if *plain { write!(out, "{text}") } else { write!(out, "{text:?}") };
            }
            Kind::Seq(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.write_outline(out);
                }
                out.push(']');
            }
            Kind::Map(entries) => {
                out.push('{');
                for (i, entry) in entries.iter().enumerate() {
                    let _ = write!(out, "{}{}: ", if i > 0 { ", " } else { "" }, entry.key.text);
                    entry.value.write_outline(out);
                }
                out.push('}');
            }
        }
    }
}

/// Reads a plain scalar by the core rules of YAML 1.2: no octal by a leading zero, no `yes`, no `1_000`.
pub fn core(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Null,
        "true" | "True" | "TRUE" => return Core::Bool(true),
        "false" | "False" | "FALSE" => return Core::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Core::Text;
    }
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).map_or(Core::Text, Core::Int);
    if let Some(digits) = text.strip_prefix("0x") {
        return if digits.starts_with(['-', '+']) { Core::Text } else { radix(digits, 16) };
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return if digits.starts_with(['-', '+']) { Core::Text } else { radix(digits, 8) };
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or_else(|_| text.parse().map_or(Core::Text, Core::Float), Core::Int);
    }
    let numeric = unsigned.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Core::Float(number),
        _ => Core::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_rules() {
        for (text, meaning) in [
            ("", Core::Null),
            ("null", Core::Null),
            ("true", Core::Bool(true)),
            ("no", Core::Text),
            ("on", Core::Text),
            ("5", Core::Int(5)),
            ("-5", Core::Int(-5)),
            ("017", Core::Int(17)),
            ("0o17", Core::Int(15)),
            ("0x1F", Core::Int(31)),
            ("1_000", Core::Text),
            ("16.10", Core::Float(16.1)),
            ("1e3", Core::Float(1000.0)),
            ("1.2.3", Core::Text),
            (".inf", Core::Text),
            ("inf", Core::Text),
            ("nan", Core::Text),
            ("12:30", Core::Text),
            ("-", Core::Text),
        ] {
            assert_eq!(core(text), meaning, "{text}");
        }
    }
}
