//! What a command prints, as far as that is plain: for pipes into shells and clients, and for `$( )`.

use super::Stdin;
use super::options::{parse, takes};
use super::word::{UNKNOWN, Word, around, joined, plain};
use super::wrap::table::{BEFORE, How, WRAPPERS, Wrapper};
use super::wrap::{assigns, skip_assignments};

/// The command inside of wrappers that take words.
fn bare(words: &[Word]) -> Vec<Word> {
    let mut words = words.to_vec();
    for _ in 0..8 {
        let Some((name, args)) = words.split_first() else { break };
        if BEFORE.contains(&name.text.as_str()) || assigns(name) {
            words = args.to_vec();
            continue;
        }
        let program = name.base().to_owned();
        let inner = match WRAPPERS.iter().find(|wrapper| wrapper.0.contains(&program.as_str())) {
            Some(Wrapper(_, takes, before, How::Words)) if program != "xargs" => {
                let parsed = parse(args, *takes, false);
                skip_assignments(parsed.rest.get(*before..).unwrap_or_default()).to_vec()
            }
            _ if program == "env" => skip_assignments(&parse(args, takes("uCS", &[]), false).rest).to_vec(),
            _ if program == "runuser" => parse(args, takes("ugG", &["user", "group"]), false).rest,
            _ => break,
        };
        words = inner;
    }
    words
}

/// What a command prints, as far as that is plain.
pub(super) fn output(words: &[Word]) -> Stdin {
    let words = bare(words);
    let Some((name, args)) = words.split_first() else { return Stdin::Unknown };
    match name.base() {
        "echo" => {
            let skip = args
                .iter()
                .take_while(|word| matches!(word.text.as_str(), "-n" | "-e" | "-E" | "-ne" | "-en"))
                .count();
            let escapes = args[..skip].iter().any(|word| word.text.contains('e'));
            let text = joined(&args[skip..]);
            match escapes || !text.text.contains('\\') {
                _ if args.len() == skip => Stdin::Text(Word::made("\n", name.at.clone())),
                true if text.text.contains('\\') => {
                    Stdin::Text(Word::made(unescape(&text.text), text.at.clone()))
                }
                _ => Stdin::Text(text),
            }
        }
        "printf" => {
            let skip = args.iter().take_while(|word| word.text == "--").count();
            match args.get(skip..).unwrap_or_default() {
                [] => Stdin::Nothing,
                [format, values @ ..] => {
                    let text = formatted(&unescape(&format.text), values);
                    let verbatim = format.verbatim.filter(|_| text == format.text);
                    Stdin::Text(Word {
                        text,
                        at: around(format, values.last().unwrap_or(format)),
                        verbatim,
                        ..Word::default()
                    })
                }
            }
        }
        "true" | ":" | "sleep" | "set" | "cd" | "test" => Stdin::Nothing,
        "cat" => match args {
            [file] if !file.text.starts_with('-') => Stdin::File(file.clone()),
            _ => Stdin::Unknown,
        },
        "pg_dump" | "pg_dumpall" => {
            let clean = args.iter().any(|word| {
                word.text == "--clean"
                    || word.open
                    || (word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('c'))
            });
            if clean { Stdin::Unknown } else { Stdin::Dump }
        }
        _ => Stdin::Unknown,
    }
}

/// True for commands that print nothing at all, so that a redirection only empties its file.
pub(super) fn prints_nothing(words: &[Word]) -> bool {
    match output(words) {
        _ if words.is_empty() => true,
        Stdin::Nothing => true,
        Stdin::File(file) => file.text == "/dev/null",
        Stdin::Text(text) => text.text.trim().is_empty(),
        _ => false,
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('c') => break,
            Some('x') => out.push(number(&mut chars, 16, 2)),
            Some(c @ '0'..='7') => {
                let mut digits = c.to_string();
                while digits.len() < 4 && chars.peek().is_some_and(|c| c.is_digit(8)) {
                    digits.extend(chars.next());
                }
                let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(UNKNOWN));
            }
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some('a' | 'b' | 'e' | 'f' | 'r' | 'v') => out.push(UNKNOWN),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    plain(&out)
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize) -> char {
    let mut digits = String::new();
    while digits.len() < most && chars.peek().is_some_and(|c| c.is_digit(radix)) {
        digits.extend(chars.next());
    }
    u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32).unwrap_or(UNKNOWN)
}

/// `printf`'s format with its values: only whole `%s`, `%b`, `%q`, `%d` are known.
fn formatted(format: &str, values: &[Word]) -> String {
    if !format.contains('%') {
        return format.to_owned();
    }
    let mut values = values.iter().peekable();
    let mut out = String::new();
    loop {
        let mut chars = format.chars();
        let before = values.len();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('s' | 'q' | 'd' | 'i') => out.push_str(values.next().map_or("", |word| &word.text)),
                Some('b') => out.push_str(&values.next().map_or(String::new(), |word| unescape(&word.text))),
                _ => out.push(UNKNOWN),
            }
        }
        if values.peek().is_none() || values.len() == before {
            return out;
        }
    }
}
