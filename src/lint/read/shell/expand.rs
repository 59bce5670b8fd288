//! From a word as it stands in a script to what the shell would make of it: quotes off, known values in, braces spread.

use super::super::word::{UNKNOWN, Word};

/// What the shell would put in.
pub(crate) trait Values {
    /// The value of a variable; [`UNKNOWN`] where it is not known.
    fn variable(&self, name: &str) -> String;
    /// The items of an array, or of `@`.
    fn list(&self, name: &str) -> Option<Vec<Word>>;
    /// What a substitution's commands print.
    fn output(&self, code: &str) -> String;
}

/// A character, and whether quotes or a backslash protect it.
type Mark = (char, bool);

/// Most words that braces may spread to.
const MOST: usize = 64;

/// The words that a word of a script becomes. `place` maps bytes of `raw` to the work's text, when it stands there.
pub(crate) fn expand(
    raw: &str,
    at: std::ops::Range<usize>,
    verbatim: Option<usize>,
    values: &dyn Values,
) -> Vec<Word> {
    if raw.bytes().all(|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.' | b'=' | b':' | b',' | b'+' | b'@')
    }) {
        return vec![Word { text: raw.to_owned(), at, verbatim, ..Word::default() }];
    }
    if let Some(words) = whole_list(raw).and_then(|name| values.list(name)) {
        return words;
    }
    let mut scan = Scan { rest: raw, fields: vec![Vec::new()], open: false, values, split: false };
    scan.word();
    let (fields, open) = (scan.fields, scan.open);
    let mut words = Vec::new();
    for field in fields {
        for marks in braces(field) {
            let text: String = marks.iter().map(|(c, _)| *c).collect();
            let glob = marks.iter().any(|(c, quoted)| !quoted && matches!(c, '*' | '?' | '['));
            words.push(Word { text, at: at.clone(), verbatim: None, glob, open });
        }
    }
    words.retain(|word| !word.text.is_empty() || raw.contains(['"', '\'']));
    if let ([word], Some(start)) = (words.as_mut_slice(), verbatim) {
        word.verbatim = inside(raw, &word.text).map(|offset| start + offset);
    }
    words
}

/// Where the text begins in the raw word, when only quotes around it were taken off.
fn inside(raw: &str, text: &str) -> Option<usize> {
    if raw == text {
        return Some(0);
    }
    let inner = raw.get(1..raw.len().saturating_sub(1))?;
    (raw.starts_with(['"', '\'']) && inner == text).then_some(1)
}

/// The name in `"$@"`, `$*`, `"${name[@]}"`.
fn whole_list(raw: &str) -> Option<&str> {
    let bare = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    match bare {
        "$@" | "$*" | "${@}" | "${*}" => Some("@"),
        _ => {
            let inner = bare.strip_prefix("${")?.strip_suffix('}')?;
            let name = inner.strip_suffix("[@]").or_else(|| inner.strip_suffix("[*]"))?;
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(name)
        }
    }
}

/// A text in which only `$` and backslashes mean something: a here-document.
pub(crate) fn document(raw: &str, values: &dyn Values) -> String {
    if !raw.contains(['$', '`', '\\']) {
        return raw.to_owned();
    }
    let mut scan = Scan { rest: raw, fields: vec![Vec::new()], open: false, values, split: false };
    while !scan.rest.is_empty() {
        scan.in_double(false);
    }
    scan.fields.concat().into_iter().map(|(c, _)| c).collect()
}

struct Scan<'r, 'v> {
    rest: &'r str,
    fields: Vec<Vec<Mark>>,
    open: bool,
    split: bool,
    values: &'v dyn Values,
}

impl<'r> Scan<'r, '_> {
    fn push(&mut self, c: char, quoted: bool) {
        if self.split {
            self.fields.push(Vec::new());
            self.split = false;
        }
        if let Some(field) = self.fields.last_mut() {
            field.push((c, quoted));
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn word(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\\' => {
                    self.take();
                    if let Some(c) = self.take().filter(|c| *c != '\n') {
                        self.push(c, true);
                    }
                }
                '\'' => {
                    self.take();
                    while let Some(c) = self.take().filter(|c| *c != '\'') {
                        self.push(c, true);
                    }
                }
                '"' => {
                    self.take();
                    while !self.rest.is_empty() && !self.rest.starts_with('"') {
                        self.in_double(true);
                    }
                    self.take();
                }
                '$' if self.rest.starts_with("$'") => {
                    self.rest = &self.rest[2..];
                    self.ansi();
                }
                '$' if self.rest.starts_with("$\"") => self.rest = &self.rest[1..],
                '$' | '`' => self.dollar(false),
                '<' | '>' if self.rest[1..].starts_with('(') => {
                    let end = closing(self.rest, 2, ')');
                    self.rest = &self.rest[end..];
                    self.push(UNKNOWN, true);
                }
                _ => {
                    self.take();
                    self.push(c, false);
                }
            }
        }
    }

    /// One character or value inside double quotes, or in a here-document.
    fn in_double(&mut self, quotes: bool) {
        match self.rest.chars().next() {
            Some('\\') => {
                self.take();
                match self.rest.chars().next() {
                    Some('\n') => drop(self.take()),
                    Some(c) if matches!(c, '$' | '`' | '\\') || (quotes && c == '"') => {
                        self.take();
                        self.push(c, true);
                    }
                    _ => self.push('\\', true),
                }
            }
            Some('$' | '`') => self.dollar(true),
            Some(c) => {
                self.take();
                self.push(c, true);
            }
            None => {}
        }
    }

    fn value(&mut self, text: &str, quoted: bool) {
        for c in text.chars() {
            if !quoted && c.is_whitespace() {
                self.split = self.fields.last().is_some_and(|field| !field.is_empty());
                continue;
            }
            self.open |= !quoted && c == UNKNOWN;
            self.push(c, quoted);
        }
    }

    fn dollar(&mut self, quoted: bool) {
        let rest = self.rest;
        if rest.starts_with('`') {
            let end = closing(rest, 1, '`');
            let code = rest[1..end].strip_suffix('`').unwrap_or(&rest[1..end]).replace("\\`", "`");
            self.rest = &rest[end..];
            return self.value(&self.values.output(&code), quoted);
        }
        if rest.starts_with("$((") {
            let end = closing(rest, 2, ')');
            self.rest = &rest[end..];
            return self.value("\u{e000}", quoted);
        }
        if rest.starts_with("$(") {
            let end = closing(rest, 2, ')');
            let code = rest[2..end].strip_suffix(')').unwrap_or(&rest[2..end]).to_owned();
            self.rest = &rest[end..];
            return self.value(&self.values.output(&code), quoted);
        }
        if rest.starts_with("${") {
            let end = closing(rest, 2, '}');
            let inner = rest[2..end].strip_suffix('}').unwrap_or(&rest[2..end]);
            let text = self.braced(inner);
            self.rest = &rest[end..];
            return self.value(&text, quoted);
        }
        let name: &'r str = match rest[1..].chars().next() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                &rest[1..end.map_or(rest.len(), |end| end + 1)]
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '$' | '!' | '-') => {
                &rest[1..2]
            }
            _ => {
                self.take();
                return self.push('$', quoted);
            }
        };
        self.rest = &rest[1 + name.len()..];
        let value = self.variable(name);
        self.value(&value, quoted);
    }

    fn variable(&self, name: &str) -> String {
        if name == "IFS" {
            return " ".to_owned();
        }
        self.values.variable(name)
    }

    /// `${…}` without the braces.
    fn braced(&self, inner: &str) -> String {
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, operator) = inner.split_at(end);
        let name = if name.is_empty() { inner.get(..1).unwrap_or_default() } else { name };
        match operator {
            "" | "@" | "*" => self.variable(name),
            _ if operator.starts_with(":?") || operator.starts_with('?') => self.variable(name),
            _ if operator.starts_with(":-") || operator.starts_with('-') => {
                let value = self.variable(name);
                if value.contains(UNKNOWN) { "\u{e000}".to_owned() } else { value }
            }
            _ => "\u{e000}".to_owned(),
        }
    }

    fn ansi(&mut self) {
        while let Some(c) = self.take().filter(|c| *c != '\'') {
            if c != '\\' {
                self.push(c, true);
                continue;
            }
            let digits = |text: &str, radix: u32, most: usize| -> usize {
                text.chars().take(most).take_while(|c| c.is_digit(radix)).count()
            };
            let (radix, skip, most) = match self.rest.chars().next() {
                Some('x') => (16, 1, 2),
                Some('u') => (16, 1, 4),
                Some('U') => (16, 1, 8),
                Some('0'..='7') => (8, 0, 3),
                other => {
                    self.take();
                    let c = match other {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('a' | 'b' | 'e' | 'E' | 'f' | 'v') => UNKNOWN,
                        Some(c) => c,
                        None => return,
                    };
                    self.push(c, true);
                    continue;
                }
            };
            let length = digits(&self.rest[skip..], radix, most);
            let number = u32::from_str_radix(&self.rest[skip..skip + length], radix).ok();
            self.rest = &self.rest[skip + length..];
            self.push(number.and_then(char::from_u32).unwrap_or(UNKNOWN), true);
        }
    }
}

/// Where a substitution ends that is open since before `from`: behind its closing sign.
pub(crate) fn closing(text: &str, from: usize, sign: char) -> usize {
    let mut signs = vec![sign];
    let mut chars = text.char_indices().skip_while(|(at, _)| *at < from);
    while let Some((at, c)) = chars.next() {
        let quoted = signs.last() == Some(&'"');
        match c {
            '\\' => drop(chars.next()),
            _ if signs.last() == Some(&c) => {
                signs.pop();
                if signs.is_empty() {
                    return at + c.len_utf8();
                }
            }
            '\'' if !quoted => drop(chars.by_ref().find(|(_, c)| *c == '\'')),
            '"' | '`' => signs.push(c),
            '(' if !quoted || text[..at].ends_with('$') => signs.push(')'),
            '{' if text[..at].ends_with('$') => signs.push('}'),
            _ => {}
        }
    }
    text.len()
}

/// `{a,b}` spread.
fn braces(marks: Vec<Mark>) -> Vec<Vec<Mark>> {
    let mut done = Vec::new();
    let mut open = vec![marks];
    while let Some(marks) = open.pop() {
        match first_brace(&marks) {
            Some((start, commas, end)) if done.len() + open.len() < MOST => {
                let mut from = start + 1;
                let mut parts = Vec::new();
                for to in commas.into_iter().chain([end]) {
                    parts.push([&marks[..start], &marks[from..to], &marks[end + 1..]].concat());
                    from = to + 1;
                }
                open.extend(parts.into_iter().rev());
            }
            _ => done.push(marks),
        }
    }
    done
}

/// The first `{…}` with a comma in it: its beginning, its commas, its end.
fn first_brace(marks: &[Mark]) -> Option<(usize, Vec<usize>, usize)> {
    let free = |at: usize, c: char| marks.get(at) == Some(&(c, false));
    for start in (0..marks.len()).filter(|at| free(*at, '{')) {
        let (mut depth, mut commas) = (0, Vec::new());
        for at in start + 1..marks.len() {
            if free(at, '{') {
                depth += 1;
            } else if free(at, '}') && depth > 0 {
                depth -= 1;
            } else if free(at, '}') {
                if !commas.is_empty() {
                    return Some((start, commas, at));
                }
                break;
            } else if free(at, ',') && depth == 0 {
                commas.push(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some2;
    impl Values for Some2 {
        fn variable(&self, name: &str) -> String {
            match name {
                "x" => "rm -rf /x".to_owned(),
                _ => "\u{e000}".to_owned(),
            }
        }
        fn list(&self, _: &str) -> Option<Vec<Word>> {
            None
        }
        fn output(&self, code: &str) -> String {
            if code == "printf rm" { "rm".to_owned() } else { "\u{e000}".to_owned() }
        }
    }

    #[test]
    fn quotes_are_taken_off() {
        for (raw, words) in [
            ("r'm'", "rm"),
            ("\\rm", "rm"),
            ("\"r\"m", "rm"),
            ("$'\\x72\\155'", "rm"),
            ("$\"rm\"", "rm"),
            ("$(printf rm)", "rm"),
            ("`printf rm`", "rm"),
            ("{rm,-rf,/srv}", "rm|-rf|/srv"),
            ("/a/{b,c{d,e}}", "/a/b|/a/cd|/a/ce"),
            ("{x}", "{x}"),
            ("$x", "rm|-rf|/x"),
            ("\"$x\"", "rm -rf /x"),
            ("rm${IFS}-rf$IFS/x", "rm|-rf|/x"),
            ("\"${a:-\"b}\"}\"/c", "\u{e000}/c"),
            ("'a'\"'\"'b'", "a'b"),
            ("a\\\nb", "ab"),
            ("''", ""),
            ("$(a \")\" ')' `b`)x", "\u{e000}x"),
        ] {
            let found = expand(raw, 0..raw.len(), Some(0), &Some2);
            let texts: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(texts.join("|"), words, "{raw}");
        }
        assert!(expand("$y", 0..2, None, &Some2)[0].open && !expand("\"$y\"", 0..4, None, &Some2)[0].open);
        assert!(expand("a*", 0..2, None, &Some2)[0].glob && !expand("'a*'", 0..4, None, &Some2)[0].glob);
        assert_eq!(expand("'a b'", 5..10, Some(5), &Some2)[0].verbatim, Some(6));
    }
}
