//! How a value can look when a tool prints it.

use std::collections::BTreeSet;

/// One look of a value, without line breaks: those are allowed anywhere when it is matched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    /// The bytes to look for.
    pub bytes: Vec<u8>,
    /// Base64 only: the character before also carries some bits of the value.
    pub head: bool,
    /// Base64 only: the character after also carries some bits of the value, or padding follows.
    pub tail: bool,
}

/// A line of a value of several lines is looked for by itself from this length on.
const SHORTEST_LINE: usize = 16;

/// A shorter form is found everywhere. The value itself is looked for from two bytes on.
const SHORTEST_FORM: usize = 4;

/// Every form of a value, each once.
pub(super) fn forms(value: &[u8]) -> Vec<Form> {
    let value = trimmed(value);
    let mut forms = BTreeSet::new();
    let mut add = |bytes: Vec<u8>, head: bool, tail: bool| {
        if bytes.len() >= SHORTEST_FORM {
            forms.insert(Form { bytes, head, tail });
        }
    };
    add(joined(value), false, false);
    let lines: Vec<&[u8]> = value.split(|b| *b == b'\n').map(trimmed).collect();
    if lines.len() > 1 {
        for line in lines.iter().filter(|line| line.len() >= SHORTEST_LINE) {
            add(line.to_vec(), false, false);
        }
    }
    for alphabet in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            let (bytes, head, tail) = base64(value, before, alphabet);
            add(bytes, head, tail);
        }
    }
    add(each(value, |b, out| out.extend(format!("{b:02x}").bytes())), false, false);
    add(each(value, |b, out| out.extend(format!("{b:02X}").bytes())), false, false);
    for (spared, plus) in SPARED {
        add(joined(&percent(value, spared, plus, true)), false, false);
        add(joined(&percent(value, spared, plus, false)), false, false);
    }
    if let Ok(text) = std::str::from_utf8(value) {
        for (ascii, slash) in [(false, false), (true, false), (false, true), (true, true)] {
            add(json(text, ascii, slash).into_bytes(), false, false);
        }
        for (from, to) in [("'", r"'\''"), ("'", r#"'"'"'"#), ("'", "''"), ("\"", "\"\""), ("\\", r"\\")] {
            add(joined(text.replace(from, to).as_bytes()), false, false);
        }
        add(joined(backslashed(text, |c| "\"$`\\".contains(c)).as_bytes()), false, false);
        add(
            joined(
                backslashed(text, |c| {
                    c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./,:@%+=".contains(c)
                })
                .as_bytes(),
            ),
            false,
            false,
        );
    }
    let mut forms: Vec<Form> = forms.into_iter().collect();
    if (2..SHORTEST_FORM).contains(&value.len()) {
        forms.push(Form { bytes: value.to_vec(), head: false, tail: false });
    }
    forms
}

/// What percent-encoders leave as it is besides letters and digits, and whether a blank becomes a plus: the strict ones
/// and HTML forms, Python's `quote`, JavaScript's `encodeURIComponent` and `encodeURI`.
const SPARED: [(&str, bool); 6] = [
    ("-._~", false),
    ("-._~", true),
    ("-._*", true),
    ("-._~/", false),
    ("-_.!~*'()", false),
    ("-_.!~*'();/?:@&=+$,#", false),
];

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Is this a character of either base64 alphabet?
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The characters that the value alone decides when `before` bytes of something else stand in front of it in its group
/// of three; and whether the characters at either side carry bits of it too.
fn base64(value: &[u8], before: usize, alphabet: &[u8; 64]) -> (Vec<u8>, bool, bool) {
    let (from, to) = (before * 8, (before + value.len()) * 8);
    let byte = |i: usize| u16::from(i.checked_sub(before).and_then(|i| value.get(i)).copied().unwrap_or(0));
    let sextet = |c: usize| {
        let bit = c * 6;
        let word = (byte(bit / 8) << 8) | byte(bit / 8 + 1);
        usize::from((word >> (10 - bit % 8)) & 0x3f)
    };
    let bytes = (from.div_ceil(6)..to / 6).map(|c| alphabet[sextet(c)]).collect();
    (bytes, !from.is_multiple_of(6), !to.is_multiple_of(6))
}

/// Without the line breaks and blanks around it.
fn trimmed(value: &[u8]) -> &[u8] {
    match value.trim_ascii() {
        // Only blanks: then they are the value.
        [] => value,
        rest => rest,
    }
}

/// Without the line breaks in it and the indentation after them.
fn joined(value: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(value.len());
    let mut fresh = false;
    for &b in value {
        match b {
            b'\n' => {
                if out.last() == Some(&b'\r') {
                    out.pop();
                }
                fresh = true;
            }
            b' ' | b'\t' if fresh => {}
            b => {
                fresh = false;
                out.push(b);
            }
        }
    }
    out
}

fn each(value: &[u8], mut put: impl FnMut(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() * 2);
    for b in value {
        put(*b, &mut out);
    }
    out
}

fn percent(value: &[u8], spared: &str, plus: bool, upper: bool) -> Vec<u8> {
    each(value, |b, out| match b {
        b' ' if plus => out.push(b'+'),
        b if b.is_ascii_alphanumeric() || spared.as_bytes().contains(&b) => out.push(b),
        b if upper => out.extend(format!("%{b:02X}").bytes()),
        b => out.extend(format!("%{b:02x}").bytes()),
    })
}

/// The inside of a JSON string; some writers escape everything that is not ASCII, some escape slashes.
fn json(text: &str, ascii: bool, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if slash => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn backslashed(text: &str, escape: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escape(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
