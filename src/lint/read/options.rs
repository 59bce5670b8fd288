//! Options of a command: which words are options, which are their values, and where the rest begins.

use super::word::Word;

/// Options that take a value as a word of its own: letters, and long names without `--`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes {
    pub short: &'static str,
    pub long: &'static [&'static str],
}

/// A list of them.
pub(crate) const fn takes(short: &'static str, long: &'static [&'static str]) -> Takes {
    Takes { short, long }
}

/// One option, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Opt {
    /// `c` for `-c`, `file` for `--file`.
    pub name: String,
    pub value: Option<Word>,
}

/// A command's words, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed {
    pub options: Vec<Opt>,
    pub rest: Vec<Word>,
}

impl Parsed {
    pub fn has(&self, names: &[&str]) -> bool {
        self.options.iter().any(|option| names.contains(&option.name.as_str()))
    }

    pub fn values<'p>(&'p self, names: &'p [&str]) -> impl Iterator<Item = &'p Word> {
        let named = self.options.iter().filter(move |option| names.contains(&option.name.as_str()));
        named.filter_map(|option| option.value.as_ref())
    }
}

/// Sorts words. With `mixed`, options may stand behind other words, as GNU programs take them; else the first word that is
/// none ends them.
pub(crate) fn parse(words: &[Word], takes: Takes, mixed: bool) -> Parsed {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        if text == "--" {
            parsed.rest.extend(words.cloned());
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = match long.find('=') {
                Some(at) => (&long[..at], Some(word.from(at + 3))),
                None if takes.long.contains(&long) => (long, words.next().cloned()),
                None => (long, None),
            };
            parsed.options.push(Opt { name: name.to_owned(), value });
        } else if text.len() > 1 && text.starts_with('-') {
            for (at, letter) in text.char_indices().skip(1) {
                let end = at + letter.len_utf8();
                let takes = takes.short.contains(letter);
                let value = match () {
                    () if !takes => None,
                    () if end < text.len() => Some(word.from(end)),
                    () => words.next().cloned(),
                };
                parsed.options.push(Opt { name: letter.to_string(), value });
                if takes {
                    break;
                }
            }
        } else {
            parsed.rest.push(word.clone());
            if !mixed {
                parsed.rest.extend(words.cloned());
                break;
            }
        }
    }
    parsed
}
