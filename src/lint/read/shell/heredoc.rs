//! Takes here-documents out of a script before it is parsed: their places are left as blanks, so that every byte stays
//! where it was. The parser reads only the simple ones right.

use std::ops::Range;

use super::expand::closing;

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// Where its operator stands.
    pub at: usize,
    /// Its lines.
    pub body: Range<usize>,
    /// The delimiter is quoted: nothing in the lines means anything to the shell.
    pub literal: bool,
    /// `<<-`: tabs at the beginning of lines go.
    pub tabs: bool,
}

struct Pending {
    nth: usize,
    delimiter: String,
}

/// The script without its here-documents, and these. An operator becomes `<HHH`, an ordinary redirection.
pub(super) fn take_out(text: &str) -> (String, Vec<Heredoc>) {
    if !text.contains("<<") {
        return (text.to_owned(), Vec::new());
    }
    let mut found: Vec<Heredoc> = Vec::new();
    let mut blanks: Vec<(Range<usize>, bool)> = Vec::new();
    let mut pending: Vec<Pending> = Vec::new();
    // What is open: `"`, `)` of a substitution or subshell, `}` of an expansion, `a` of arithmetic, a backtick.
    let mut open: Vec<char> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(c) = bytes.get(at).copied() {
        let inside = open.last().copied();
        let quoted = inside == Some('"');
        let rest = &bytes[at..];
        let starts = |sign: &[u8]| rest.starts_with(sign);
        match c {
            b'\\' => at += 1,
            b'\'' if !quoted => {
                at = text[at + 1..].find('\'').map_or(text.len(), |end| at + 1 + end);
            }
            b'"' if quoted => drop(open.pop()),
            b'"' => open.push('"'),
            b'`' if inside == Some('`') => drop(open.pop()),
            b'`' => open.push('`'),
            b'$' if starts(b"$((") => {
                open.push('a');
                at += 2;
            }
            b'$' if starts(b"$(") => {
                open.push(')');
                at += 1;
            }
            b'$' if starts(b"${") => {
                at = closing(text, at + 2, '}').saturating_sub(1).max(at);
                // Here-documents inside of an expansion are nobody's style.
            }
            b'(' if starts(b"((") && !quoted && inside != Some('a') => {
                open.push('a');
                at += 1;
            }
            b'(' if !quoted && inside != Some('a') => open.push(')'),
            b'(' if inside == Some('a') => open.push('A'),
            b')' if inside == Some('A') || inside == Some(')') => drop(open.pop()),
            b')' if inside == Some('a') => {
                open.pop();
                at += usize::from(starts(b"))"));
            }
            b'#' if !quoted
                && (at == 0 || matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b';' | b'(' | b'|' | b'&')) =>
            {
                at = text[at..].find('\n').map_or(text.len(), |end| at + end);
                continue;
            }
            b'<' if starts(b"<<<") => at += 2,
            b'<' if starts(b"<<") && !quoted && !matches!(inside, Some('a' | 'A')) => {
                let (operator, delimiter, literal, tabs) = delimiter(&text[at..]);
                pending.push(Pending { nth: found.len(), delimiter });
                found.push(Heredoc { at, body: text.len()..text.len(), literal, tabs });
                blanks.push((at..at + operator, true));
                at += operator;
                continue;
            }
            b'\n' if !quoted && !pending.is_empty() => {
                let mut from = at + 1;
                for one in pending.drain(..) {
                    let Some(document) = found.get_mut(one.nth) else { continue };
                    let (body, end) = body(text, from, &one.delimiter, document.tabs);
                    document.body = body;
                    blanks.push((from.min(end)..end, false));
                    at = end;
                    from = end + 1;
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    (blank(text, &blanks), found)
}

/// Where a backslash breaks a line in the middle of a word: the parser makes two words of it.
pub(super) fn broken_word(text: &str) -> Option<usize> {
    let signs = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>' | '\\');
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"') | None, '\\') => {
                let next = chars.next();
                let after = chars.peek().map_or(' ', |(_, c)| *c);
                if quote.is_none() && next.is_some_and(|(_, c)| c == '\n') && !signs(before) && !signs(after)
                {
                    return Some(at);
                }
            }
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if before.is_whitespace() => {
                while chars.peek().is_some_and(|(_, c)| *c != '\n') {
                    chars.next();
                }
            }
            _ => {}
        }
        before = c;
    }
    None
}

/// The operator's length with its delimiter, the delimiter without quotes, whether it has any, and whether tabs go.
fn delimiter(text: &str) -> (usize, String, bool, bool) {
    let tabs = text.starts_with("<<-");
    let from = if tabs { 3 } else { 2 };
    let from = from + text[from..].len() - text[from..].trim_start_matches([' ', '\t']).len();
    let mut word = String::new();
    let (mut literal, mut quote, mut end) = (false, None, text.len());
    let mut chars = text[from..].char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => {
                literal = true;
                quote = Some(c);
            }
            (None, '\\') => {
                literal = true;
                word.extend(chars.next().map(|(_, c)| c));
            }
            (None, ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')') => {
                end = from + at;
                break;
            }
            (None, c) => word.push(c),
        }
    }
    (end, word, literal, tabs)
}

/// The lines up to the delimiter's, and where that line ends (its newline stays).
fn body(text: &str, from: usize, delimiter: &str, tabs: bool) -> (Range<usize>, usize) {
    let mut at = from.min(text.len());
    for line in text[at..].split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        let bare = if tabs { bare.trim_start_matches('\t') } else { bare };
        // Inside of `$( )`, bash takes the closing sign behind the delimiter, too.
        if bare == delimiter {
            let end = at + line.strip_suffix('\n').unwrap_or(line).len();
            return (from.min(at)..at, end);
        }
        at += line.len();
    }
    (from.min(text.len())..text.len(), text.len())
}

fn blank(text: &str, blanks: &[(Range<usize>, bool)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (range, operator) in blanks {
        for (nth, byte) in bytes.get_mut(range.clone()).unwrap_or_default().iter_mut().enumerate() {
            match operator {
                true => *byte = if nth == 0 { b'<' } else { b'H' },
                false if *byte != b'\n' => *byte = b' ',
                false => {}
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_documents_are_taken_out() {
        for (text, left, bodies) in [
            ("cat <<A; x\nb\nA\ny", "cat <HH; x\n \n \ny", &["b\n"][..]),
            ("cat <<-'E F' -n | sh\n\tb\n\tE F\ny", "cat <HHHHHHH -n | sh\n  \n    \ny", &["\tb\n"]),
            ("a <<A <<B\n1\nA\n2\nB\n", "a <HH <HH\n \n \n \n \n", &["1\n", "2\n"]),
            ("x=\"$(cat <<A\nq'\nA\n)\"", "x=\"$(cat <HH\n  \n \n)\"", &["q'\n"]),
            ("((1<<2)); a $((1 << 2)); # <<A\nb", "((1<<2)); a $((1 << 2)); # <<A\nb", &[]),
            ("a '<<A' \"<<A\" <<<x\nb", "a '<<A' \"<<A\" <<<x\nb", &[]),
            ("a <<A && \\\n b\nq\nA", "a <HH && \\\n b\n \n ", &["q\n"]),
            ("a <<A\nnever ends", "a <HH\n          ", &["never ends"]),
        ] {
            let (script, found) = take_out(text);
            assert_eq!(script, left, "{text}");
            let texts: Vec<&str> = found.iter().map(|one| &text[one.body.clone()]).collect();
            assert_eq!(texts, bodies, "{text}");
        }
    }
}
