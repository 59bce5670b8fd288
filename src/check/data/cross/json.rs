//! JSON text in the one form in which PostgreSQL writes a `jsonb`: keys by length and bytes, the last of equal keys,
//! numbers as `numeric`.

use super::decimal;

/// Deeper JSON is not looked into.
const DEEPEST: usize = 200;

/// The text that `jsonb` would give; `None` when it is no JSON, or none that `jsonb` can hold.
pub fn canonical(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { text, at: 0 };
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    reader.value(&mut out, 0)?;
    reader.blank();
    (reader.at == text.len()).then_some(out)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, what: &str) -> bool {
        let there = self.rest().starts_with(what);
        if there {
            self.at += what.len();
        }
        there
    }

    fn value(&mut self, out: &mut String, depth: usize) -> Option<()> {
        self.blank();
        if depth > DEEPEST {
            return None;
        }
        for word in ["null", "true", "false"] {
            if self.take(word) {
                out.push_str(word);
                return Some(());
            }
        }
        match self.rest().as_bytes().first()? {
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            b'"' => {
                let text = self.string()?;
                write(out, &text);
                Some(())
            }
            _ => self.number(out),
        }
    }

    fn object(&mut self, out: &mut String, depth: usize) -> Option<()> {
        self.at += 1;
        let mut pairs: Vec<(String, String)> = Vec::new();
        self.blank();
        if !self.take("}") {
            loop {
                self.blank();
                let key = self.string()?;
                self.blank();
                if !self.take(":") {
                    return None;
                }
                let mut value = String::new();
                self.value(&mut value, depth + 1)?;
                pairs.push((key, value));
                self.blank();
                match (self.take(","), self.take("}")) {
                    (true, false) => {}
                    (false, true) => break,
                    _ => return None,
                }
            }
        }
        // A stable sort keeps equal keys in their order; the last one counts.
        pairs.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes())));
        pairs.reverse();
        pairs.dedup_by(|(next, _), (kept, _)| next == kept);
        out.push('{');
        for (at, (key, value)) in pairs.iter().rev().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            write(out, key);
            out.push_str(": ");
            out.push_str(value);
        }
        out.push('}');
        Some(())
    }

    fn array(&mut self, out: &mut String, depth: usize) -> Option<()> {
        self.at += 1;
        out.push('[');
        self.blank();
        if !self.take("]") {
            loop {
                self.value(out, depth + 1)?;
                self.blank();
                match (self.take(","), self.take("]")) {
                    (true, false) => out.push_str(", "),
                    (false, true) => break,
                    _ => return None,
                }
            }
        }
        out.push(']');
        Some(())
    }

    fn number(&mut self, out: &mut String) -> Option<()> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let word = rest.get(..end)?;
        let digits = word.strip_prefix('-').unwrap_or(word);
        let whole = &digits[..digits.find(['.', 'e', 'E']).unwrap_or(digits.len())];
        let proper = whole.bytes().all(|b| b.is_ascii_digit())
            && (whole == "0" || whole.bytes().next().is_some_and(|b| b != b'0'))
            && !digits.ends_with('.')
            && !digits.contains(".e")
            && !digits.contains(".E");
        out.push_str(&decimal::plain(word).filter(|_| proper)?);
        self.at += end;
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            out.push_str(&rest[..end]);
            self.at += end;
            if self.take("\"") {
                return Some(out);
            }
            if !self.take("\\") {
                return None;
            }
            let escape = self.rest().chars().next()?;
            self.at += escape.len_utf8();
            out.push(match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode()?,
                _ => return None,
            });
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let unit =
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        self.at += 4;
        Some(unit)
    }

    /// One character; a NUL and half of a pair have none that `jsonb` can hold.
    fn unicode(&mut self) -> Option<char> {
        let unit = self.unit()?;
        let code = match unit {
            0 => return None,
            0xd800..=0xdbff => {
                if !self.take("\\u") {
                    return None;
                }
                let low = self.unit().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
            }
            _ => unit,
        };
        char::from_u32(code)
    }
}

fn write(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_jsonb_writes_it() {
        for (text, jsonb) in [
            ("{\"bb\":1,\"a\":[1,2 ,{}],\"a\":1.50,\"c\":null}", "{\"a\": 1.50, \"c\": null, \"bb\": 1}"),
            (" [ ] ", "[]"),
            ("\"\\u00e9\\ud83d\\ude00\\/\\n\\u0001\"", "\"\u{e9}\u{1f600}/\\n\\u0001\""),
            ("[1e3, -0, 1.5E-3, -0.0]", "[1000, 0, 0.0015, 0.0]"),
            ("true", "true"),
        ] {
            assert_eq!(canonical(text.as_bytes()).as_deref(), Some(jsonb), "{text}");
        }
        for wrong in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "1 2",
            "[1 2]",
            "{,}",
        ] {
            assert_eq!(canonical(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(canonical("[".repeat(500).as_bytes()), None);
    }
}
