//! Tokens of SQL: words, quoted names, texts, dollar quotes, client commands. Comments go.

use std::ops::Range;

/// A token's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word without quotes.
    Word,
    /// A name in quotes.
    Name,
    /// A text; `inner` of the token is what stands in it.
    Text,
    /// A line for the client: `\!`, `\i`, `.shell`.
    Client,
    /// A sign.
    Sign(char),
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// Where it stands.
    pub range: Range<usize>,
    /// Without quotes; words in capitals.
    pub text: String,
    /// Where `text` begins, when it stands there as it is.
    pub inner: Option<usize>,
}

impl Token {
    pub fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub fn sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// How texts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// What a server gets from us: no client commands.
    Server,
    /// What `psql` reads.
    Psql,
    /// What `sqlite3` reads.
    Sqlite,
    /// What `mysql` reads.
    Mysql,
}

/// All tokens. `None` when a quote or a comment does not end.
pub(super) fn tokens(text: &str, dialect: Dialect) -> (Vec<Token>, Option<usize>) {
    let mut all = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    let mysql = dialect == Dialect::Mysql;
    while let Some(c) = text[at..].chars().next() {
        let start = at;
        let rest = &text[at..];
        let next = bytes.get(at + 1).copied();
        match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '-' if next == Some(b'-') => {
                at = line_end(text, at);
                continue;
            }
            '#' if mysql => {
                at = line_end(text, at);
                continue;
            }
            // MySQL runs what stands in such a comment.
            '/' if mysql && rest.starts_with("/*!") => {
                at += 3 + rest[3..].bytes().take_while(u8::is_ascii_digit).count();
                continue;
            }
            '*' if mysql && next == Some(b'/') => {
                at += 2;
                continue;
            }
            '/' if next == Some(b'*') => {
                let Some(end) = comment_end(text, at, dialect == Dialect::Server || dialect == Dialect::Psql)
                else {
                    return (all, Some(start));
                };
                at = end;
                continue;
            }
            '\'' => {
                let before = all
                    .last()
                    .filter(|token: &&Token| token.range.end == start)
                    .map(|token| token.text.as_str());
                let escapes = mysql || before == Some("E");
                let Some(end) = quote_end(text, at, '\'', escapes) else { return (all, Some(start)) };
                let raw = &text[at + 1..end - 1];
                let read = if escapes { raw.replace("\\'", "'") } else { raw.replace("''", "'") };
                let inner = (read == raw).then_some(at + 1);
                at = end;
                all.push(Token { kind: Kind::Text, range: start..at, text: read, inner });
                continue;
            }
            '"' | '`' => {
                let Some(end) = quote_end(text, at, c, mysql) else { return (all, Some(start)) };
                let read = text[at + 1..end - 1].to_owned();
                at = end;
                all.push(Token { kind: Kind::Name, range: start..at, text: read, inner: None });
                continue;
            }
            '$' if dialect == Dialect::Server || dialect == Dialect::Psql => {
                if let Some(tag) = dollar_tag(rest) {
                    let from = at + tag.len();
                    let Some(length) = text[from..].find(tag) else { return (all, Some(start)) };
                    at = from + length + tag.len();
                    let read = text[from..from + length].to_owned();
                    all.push(Token { kind: Kind::Text, range: start..at, text: read, inner: Some(from) });
                    continue;
                }
            }
            '\\' if matches!(dialect, Dialect::Psql | Dialect::Mysql) => {
                // `\;` and `\\` only separate.
                let end = text[at + 1..].find(['\n', '\\']).map_or(text.len(), |end| at + 1 + end);
                let whole =
                    matches!(next, Some(b'!' | b'c' | b'o' | b'g' | b'w')) || rest.starts_with("\\copy");
                let end = if whole { line_end(text, at) } else { end.max(at + 1) };
                all.push(Token {
                    kind: Kind::Client,
                    range: start..end,
                    text: text[at + 1..end].trim().to_owned(),
                    inner: Some(at + 1),
                });
                at = end;
                continue;
            }
            '.' if dialect == Dialect::Sqlite && (at == 0 || bytes[at - 1] == b'\n') => {
                at = line_end(text, at);
                all.push(Token {
                    kind: Kind::Client,
                    range: start..at,
                    text: text[start + 1..at].trim().to_owned(),
                    inner: Some(start + 1),
                });
                continue;
            }
            _ if c.is_alphanumeric() || c == '_' || ('\u{e000}'..='\u{e002}').contains(&c) => {
                let end = rest.find(|c: char| {
                    !c.is_alphanumeric() && c != '_' && c != '$' && !('\u{e000}'..='\u{e002}').contains(&c)
                });
                at += end.unwrap_or(rest.len());
                all.push(Token {
                    kind: Kind::Word,
                    range: start..at,
                    text: text[start..at].to_uppercase(),
                    inner: None,
                });
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
        all.push(Token { kind: Kind::Sign(c), range: start..at, text: c.to_string(), inner: None });
    }
    (all, None)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end)
}

fn comment_end(text: &str, at: usize, nested: bool) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, at);
    loop {
        let rest = &text[at..];
        let c = rest.chars().next()?;
        if rest.starts_with("/*") && (nested || depth == 0) {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += c.len_utf8();
        }
    }
}

/// Behind the closing quote.
fn quote_end(text: &str, at: usize, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text[at + 1..].char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, c)| *c == quote) {
                chars.next();
                continue;
            }
            return Some(at + 1 + offset + 1);
        }
    }
    None
}

/// `$$` or `$name$`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let name = &rest[1..end];
    let fits = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    fits.then(|| &rest[..end + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_none() {
        for (text, words) in [
            ("select 'drop table x' -- drop\n, 1", "SELECT 'drop table x' , 1"),
            ("/* a /* b */ drop */ x", "X"),
            ("E'a\\'b' c", "E 'a'b' C"),
            ("$a$ drop $$ $a$ $1", "' drop $$ ' $ 1"),
            ("\"drop table\" y", "\"drop table\" Y"),
            ("a\\gexec\nb", "A \\gexec B"),
            ("\\! rm -r /x\nselect", "\\! rm -r /x SELECT"),
        ] {
            let shown: Vec<String> = tokens(text, Dialect::Psql)
                .0
                .into_iter()
                .map(|token| match token.kind {
                    Kind::Text => format!("'{}'", token.text),
                    Kind::Name => format!("\"{}\"", token.text),
                    Kind::Client => format!("\\{}", token.text),
                    _ => token.text,
                })
                .collect();
            assert_eq!(shown.join(" "), words, "{text}");
        }
        assert_eq!(tokens("select 'x", Dialect::Server).1, Some(7));
        assert_eq!(tokens("select $$x", Dialect::Server).1, Some(7));
    }
}
