//! `${name}` in texts. Only whole names; `$${` is a literal `${`. Anything else after `${` is a mistake, never text that
//! silently stays.

use std::borrow::Cow;
use std::ops::Range;

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is.
    Text(&'a str),
    /// A variable's name.
    Name(&'a str),
    /// `${` and something that is no name; up to the closing brace or the end of the line.
    Wrong(&'a str),
}

/// The pieces of a text, in order.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(literal), Piece::Text("${")]);
            rest = &found[2..];
            continue;
        }
        pieces.push(Piece::Text(before));
        let end = found
            .find(['}', '\n'])
            .map_or(found.len(), |end| end + usize::from(found[end..].starts_with('}')));
        let (whole, after) = found.split_at(end);
        let name = whole[2..].strip_suffix('}').unwrap_or_default();
        pieces.push(if is_name(name) { Piece::Name(name) } else { Piece::Wrong(whole) });
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// True for what can be a variable's name: ASCII letters, digits and underscores, no digit first.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Puts values in; a name that `value` does not know stays as it was written.
pub fn replace<'t, 'v>(text: &'t str, value: impl Fn(&str) -> Option<&'v str>) -> Cow<'t, str> {
    if !text.contains("${") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) | Piece::Wrong(text) => out.push_str(text),
            Piece::Name(name) => match value(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("${");
                    out.push_str(name);
                    out.push('}');
                }
            },
        }
    }
    Cow::Owned(out)
}

/// Where the `nth` (from 0) occurrence of a piece stands in the file, when the value at `range` was written without
/// escapes or folding; else the value's first line.
pub fn place(source: &str, range: Range<usize>, written: &str, nth: usize) -> Range<usize> {
    let found =
        source.get(range.clone()).and_then(|raw| raw.match_indices(written).nth(nth).map(|(at, _)| at));
    match found {
        Some(at) => range.start + at..range.start + at + written.len(),
        None => super::source::first_line(source, range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names() {
        use Piece::{Name, Text, Wrong};
        for (text, expected) in [
            ("a ${b} c", vec![Text("a "), Name("b"), Text(" c")]),
            ("${a}${b}", vec![Name("a"), Name("b")]),
            ("$a $ {b}", vec![Text("$a $ {b}")]),
            ("$${a}", vec![Text("${"), Text("a}")]),
            ("x$$${a}", vec![Text("x$"), Text("${"), Text("a}")]),
            ("${a-b}!", vec![Wrong("${a-b}"), Text("!")]),
            ("${", vec![Wrong("${")]),
            ("${}", vec![Wrong("${}")]),
            ("${a\nb}", vec![Wrong("${a"), Text("\nb}")]),
            ("${1a}", vec![Wrong("${1a}")]),
            ("", vec![]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_not_read_again() {
        let value = |name: &str| match name {
            "a" => Some("${b}"),
            "b" => Some("no"),
            _ => None,
        };
        assert_eq!(replace("${a} ${x} $${a}", value), "${b} ${x} ${a}");
    }
}
