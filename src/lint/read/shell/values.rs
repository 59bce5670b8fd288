//! The values that a script's variables and substitutions are known to have.

use std::ops::Range;

use super::super::word::{TEMPORARY, UNKNOWN, Word, joined, plain};
use super::super::{Stdin, output};
use super::expand::{self, Values};
use super::names::{Value, unknown};
use super::walk::Walk;

/// A value that is longer than this is no name and no option.
const LONGEST: usize = 16 << 10;

impl<'w, 'a, 't> Walk<'w, 'a, 't> {
    pub(super) fn own_folder(&self) -> Option<String> {
        let (file, _) = self.reader.via.as_ref()?;
        Some(file.rsplit_once('/').map_or("./".to_owned(), |(folder, _)| format!("./{folder}")))
    }

    pub(super) fn raw(&self, raw: &str, range: Range<usize>) -> Vec<Word> {
        expand::expand(raw, self.place(range.clone()), self.verbatim(range.start), self)
    }
}

impl Values for Walk<'_, '_, '_> {
    fn variable(&self, name: &str) -> String {
        if self.names.ifs && name != "IFS" && self.names.values.contains_key(name) {
            return unknown();
        }
        match name {
            "@" | "*" => {
                let args = self.args.as_deref();
                return args.map_or_else(unknown, |args| joined(args).text);
            }
            "0" | "BASH_SOURCE" => {
                return self.reader.via.as_ref().map_or_else(unknown, |(file, _)| format!("./{file}"));
            }
            _ => {}
        }
        if let Ok(nth) = name.parse::<usize>() {
            let args = self.args.as_ref().map(|args| args.get(nth.saturating_sub(1)));
            return args.map_or_else(unknown, |word| word.map(|word| word.text.clone()).unwrap_or_default());
        }
        if let Some(known) = self.cache.borrow().get(name) {
            return known.clone();
        }
        if self.looking.borrow().iter().any(|open| open == name) {
            return unknown();
        }
        self.looking.borrow_mut().push(name.to_owned());
        let environment = || (self.reader.variables)(name);
        let value = match self.names.values.get(name).or_else(|| self.outer.get(name)) {
            Some(Value::Raw(raw, range)) => {
                // Values are not split where they are given to a variable.
                let words = match raw.contains(['"', '\'', '\\']) {
                    false => self.raw(&format!("\"{raw}\""), range.clone()),
                    true => self.raw(raw, range.clone()),
                };
                // What the environment gives, and what the script gives: only one of them can be told.
                let other = environment();
                let set_here = joined(&words).text;
                if other.is_empty() || other.contains(UNKNOWN) || other == set_here {
                    set_here
                } else {
                    unknown()
                }
            }
            Some(Value::Known(word)) => word.text.clone(),
            Some(Value::Items(items)) => items
                .first()
                .map(|(raw, range)| joined(&self.raw(raw, range.clone())).text)
                .unwrap_or_default(),
            Some(Value::Unknown | Value::Split(..)) => unknown(),
            None => environment(),
        };
        self.looking.borrow_mut().pop();
        let value = if value.len() > LONGEST { unknown() } else { value };
        self.cache.borrow_mut().insert(name.to_owned(), value.clone());
        value
    }

    fn list(&self, name: &str) -> Option<Vec<Word>> {
        if name == "@" {
            return self.args.clone();
        }
        match self.names.values.get(name)? {
            Value::Items(items) => {
                Some(items.iter().flat_map(|(raw, range)| self.raw(raw, range.clone())).collect())
            }
            Value::Split(raw, range) if !self.names.ifs => {
                let text = joined(&self.raw(raw, range.clone())).text;
                let at = self.place(range.clone());
                Some(text.split_whitespace().map(|word| Word::made(word, at.clone())).collect())
            }
            _ => None,
        }
    }

    fn output(&self, code: &str) -> String {
        let code = code.trim();
        let first = code.split_whitespace().next().unwrap_or_default();
        if code.contains("dirname") && (code.contains("$0") || code.contains("BASH_SOURCE")) {
            return self.own_folder().unwrap_or_else(unknown);
        }
        if code.contains(['|', ';', '&', '<', '>', '\n', '(', '`', '#']) {
            return unknown();
        }
        match first {
            "mktemp" => TEMPORARY.to_string(),
            "echo" | "printf" | "which" | "command" | "type" => {
                let words: Vec<Word> = split(code).into_iter().flat_map(|raw| self.raw(raw, 0..0)).collect();
                match (first, output::output(&words), words.last()) {
                    ("which" | "command" | "type", _, Some(last)) => last.text.clone(),
                    (_, Stdin::Text(text), _) => plain(text.text.trim_end_matches('\n')),
                    _ => unknown(),
                }
            }
            _ => unknown(),
        }
    }
}

/// Words of a simple command, quotes respected.
fn split(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote) = (None, None);
    let mut escaped = false;
    for (at, c) in code.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') => {
                escaped = true;
                start.get_or_insert(at);
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => {
                quote = Some(c);
                start.get_or_insert(at);
            }
            (None, c) if c.is_whitespace() => words.extend(start.take().map(|from| &code[from..at])),
            (None, _) => drop(start.get_or_insert(at)),
        }
    }
    words.extend(start.map(|from| &code[from..]));
    words
}
