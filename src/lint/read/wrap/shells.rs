//! Shells and what gives them code: `sh -c`, `su -c`, `eval`, `trap`, `at`, standard input.

use super::super::options::{Parsed, Takes, parse, takes};
use super::super::word::{LATER, UNKNOWN, Word, around, joined};
use super::super::{Here, Reader, Stdin};

impl Reader<'_> {
    /// `su -c CODE`, `runuser -u NAME -- WORDS`.
    pub(in super::super) fn su(&mut self, program: &str, args: &[Word], stdin: &Stdin, here: Here) {
        let list = takes(
            "ucgGswT",
            &["command", "session-command", "user", "group", "supp-group", "shell", "whitelist-environment"],
        );
        let parsed = parse(args, list, true);
        let mut any = false;
        for code in parsed.values(&["c", "command", "session-command"]) {
            self.nested(code, false, None);
            any = true;
        }
        if any {
            return;
        }
        if program == "runuser" && parsed.has(&["u", "user"]) {
            let parsed = parse(args, list, false);
            return self.command(&parsed.rest, stdin, here);
        }
        // What stands behind the user's name goes to the shell.
        let rest: Vec<Word> = parsed.rest.into_iter().filter(|word| word.text != "-").skip(1).collect();
        self.shell(&rest, stdin);
    }

    pub(in super::super) fn eval(&mut self, args: &[Word], here: Here) {
        if args.is_empty() {
            return;
        }
        let code = joined(args);
        if !code.known() {
            // Whatever it is, the part that is known may be worse.
            self.unreadable(
                "what `eval` runs shows only when it runs",
                around(&args[0], &args[args.len() - 1]),
            );
            return;
        }
        self.nested(&code, here.pipefail, None);
    }

    /// `trap CODE SIGNAL`, `alias name=CODE`.
    pub(in super::super) fn handler(&mut self, program: &str, args: &[Word], here: Here) {
        if program == "alias" {
            for word in args.iter().filter(|word| word.text.contains('=')) {
                let at = word.text.find('=').map_or(0, |at| at + 1);
                self.nested(&word.from(at), here.pipefail, None);
            }
            return;
        }
        let args = if args.first().is_some_and(|word| word.text == "--") { &args[1..] } else { args };
        match args {
            [code, _, ..] if matches!(code.text.as_str(), "-" | "-p" | "-l" | "") => {}
            [code, _, ..] if code.blank() => {
                self.unreadable("what `trap` runs shows only when it runs", code.at.clone());
            }
            [code, _, ..] => self.nested(code, here.pipefail, None),
            _ => {}
        }
    }

    /// `at`, `batch`, `crontab`: what they read runs later.
    pub(in super::super) fn later(&mut self, program: &str, args: &[Word], stdin: &Stdin, words: &[Word]) {
        let parsed = parse(args, takes("qftu", &[]), true);
        if program == "crontab" {
            if parsed.has(&["r"]) {
                self.destroys("crontab -r", false, around(&words[0], &words[words.len() - 1]));
            }
            if let Stdin::Text(text) = stdin {
                for line in text.text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                    let fields: Vec<&str> = line.split_whitespace().skip(5).collect();
                    self.nested(&Word::made(fields.join(" "), text.at.clone()), false, None);
                }
            }
            return;
        }
        let file: Vec<Word> = parsed.values(&["f"]).cloned().collect();
        match file.first() {
            Some(file) => self.shell(std::slice::from_ref(file), stdin),
            None if parsed.has(&["l", "r", "d", "c"]) => {}
            None => self.shell(&[], stdin),
        }
    }

    /// `sh -c CODE`, `sh FILE`, `… | sh`.
    pub(in super::super) fn shell(&mut self, args: &[Word], stdin: &Stdin) {
        let args: Vec<Word> = args
            .iter()
            .map(|word| match word.text.strip_prefix('+') {
                Some(rest) if rest.chars().all(|c| c.is_ascii_alphabetic()) => {
                    Word { text: format!("-{rest}"), ..word.clone() }
                }
                _ => word.clone(),
            })
            .collect();
        let parsed = parse(&args, takes("oO", &["rcfile", "init-file"]), false);
        let pipefail = parsed.values(&["o"]).any(|value| value.text == "pipefail");
        for file in parsed.values(&["rcfile", "init-file"]) {
            self.unreadable("a file that a shell reads first is not read here", file.at.clone());
        }
        let code = parsed.has(&["c"]) || (parsed.has(&["lc", "ic"]));
        match parsed.rest.first() {
            Some(code_word) if code => {
                if code_word.blank() {
                    return self
                        .unreadable("what this shell runs shows only when it runs", code_word.at.clone());
                }
                let given: Vec<Word> = parsed.rest.iter().skip(2).cloned().collect();
                self.nested(code_word, pipefail, Some(given));
            }
            Some(file) if !parsed.has(&["s"]) => {
                if matches!(file.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
                    return self.stdin_code(stdin, pipefail);
                }
                self.file_code(file, &parsed);
            }
            _ => self.stdin_code(stdin, pipefail),
        }
    }

    pub(in super::super) fn file_code(&mut self, file: &Word, parsed: &Parsed) {
        let args = parsed.rest.get(1..).unwrap_or_default();
        if file.text.contains(UNKNOWN) {
            return self.unreadable("which file this shell runs shows only when it runs", file.at.clone());
        }
        if file.text.contains(LATER) {
            return;
        }
        let path = match file.text.contains('/') {
            true => file.clone(),
            false => Word { text: format!("./{}", file.text), ..file.clone() },
        };
        self.local(&path, args, true);
    }

    pub(in super::super) fn stdin_code(&mut self, stdin: &Stdin, pipefail: bool) {
        match stdin {
            Stdin::Nothing => {}
            Stdin::Text(text) if text.blank() => {
                self.unreadable("what this shell runs shows only when it runs", text.at.clone());
            }
            Stdin::Text(text) => self.nested(&text.clone(), pipefail, None),
            Stdin::File(file) => {
                let path = match file.text.contains('/') {
                    true => file.clone(),
                    false => Word { text: format!("./{}", file.text), ..file.clone() },
                };
                if !file.known() || !self.local(&path, &[], true) {
                    self.unreadable("what this shell reads is not known", file.at.clone());
                }
            }
            Stdin::Dump | Stdin::Unknown => {
                self.unreadable("what is piped into this shell is not known", self.at.clone());
            }
        }
    }

    /// A command elsewhere that is nothing but a shell, or a client: it reads what comes in here.
    pub(in super::super) fn passed(&mut self, inner: &[Word], stdin: &Stdin) {
        let code = joined(inner);
        let words: Vec<Word> =
            code.text.split_whitespace().map(|text| Word::made(text, code.at.clone())).collect();
        if !matches!(stdin, Stdin::Nothing) && !code.text.contains(['|', ';', '&', '<', '\n', '(', '\'', '"'])
        {
            self.command(&words, stdin, Here::default());
        }
    }
}

/// `ssh host -p 22 cmd`: options may stand behind the host.
pub(super) fn remote(inner: &[Word], takes: Takes) -> &[Word] {
    let mut rest = inner;
    while let Some(first) = rest.first().filter(|word| word.text.starts_with('-') && word.text.len() > 1) {
        let letter = first.text.chars().last().unwrap_or_default();
        let more = first.text.len() == 2 && takes.short.contains(letter);
        rest = rest.get(1 + usize::from(more)..).unwrap_or_default();
    }
    rest
}
