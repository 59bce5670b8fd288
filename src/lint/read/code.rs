//! Languages that are not read: only looked through for words that can remove something or run something.

use super::Reader;
use super::word::Word;

/// What a file is written in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Language {
    /// A shell; whether its own first line asks for `pipefail`.
    Shell { pipefail: bool },
    /// A language that is looked through.
    Words(&'static Foreign),
    /// Something else.
    Other,
}

/// A language that is looked through.
#[derive(Debug)]
pub(super) struct Foreign {
    name: &'static str,
    /// Words, or beginnings of calls, that can remove or run something.
    words: &'static [&'static str],
    /// Words that destroy for certain.
    destroys: &'static [&'static str],
}

const PYTHON: Foreign = Foreign {
    name: "Python",
    words: &[
        "unlink",
        "rmtree",
        "os.remove",
        "removedirs",
        "system(",
        "subprocess",
        "popen",
        "exec(",
        "eval(",
        "importlib",
        "__import__",
        "spawn",
        "drop ",
        "truncate",
        "delete ",
        "execute(",
        "getattr",
        "compile(",
        "pexpect",
        "ctypes",
        "socket",
        "os.replace",
        "os.rename",
        "urlopen",
        "base64",
        "marshal",
        "write_text",
        "write_bytes",
        ".rmdir",
        "b64decode",
        "fromhex",
        "codecs",
    ],
    destroys: &[],
};
const PERL: Foreign = Foreign {
    name: "Perl",
    words: &[
        "unlink",
        "rmtree",
        "remove_tree",
        "system",
        "exec",
        "eval",
        "`",
        "qx",
        "drop ",
        "truncate",
        "delete ",
        "->do(",
        "syscall",
        "open(",
        "open ",
        "require ",
        "pack",
    ],
    destroys: &[],
};
const OTHER: Foreign = Foreign {
    name: "this language",
    words: &[
        "unlink",
        "rmtree",
        "rm_r",
        "rm_f",
        "remove",
        "delete",
        "system",
        "exec",
        "spawn",
        "popen",
        "eval",
        "`",
        "%x",
        "drop ",
        "truncate",
        "child_process",
        "fileutils",
        "rmsync",
        "rm(",
        "shell",
        "require(",
        "dofile",
        "load",
    ],
    destroys: &[],
};
const AWK: Foreign =
    Foreign { name: "awk", words: &["system(", "system (", "|", "@load", "getline <"], destroys: &[] };
pub(super) const MONGO: &Foreign = &Foreign {
    name: "MongoDB's shell",
    words: &["eval(", "load(", "child_process", "require("],
    destroys: &[
        "dropdatabase",
        ".drop(",
        "deletemany({})",
        "remove({})",
        "dropallusers",
        "dropindexes",
        "resetDbs",
    ],
};

/// The language of an interpreter.
pub(super) fn of_program(program: &str) -> &'static Foreign {
    match program {
        "perl" => &PERL,
        "awk" | "gawk" | "mawk" => &AWK,
        _ if program.starts_with("python") => &PYTHON,
        _ => &OTHER,
    }
}

/// What a local file is written in, from its first line and its name.
pub(super) fn language(name: &str, text: &str) -> Language {
    let first = text.lines().next().unwrap_or_default();
    let Some(line) = first.strip_prefix("#!") else {
        return match name.rsplit('.').next().unwrap_or_default() {
            "py" => Language::Words(&PYTHON),
            "pl" => Language::Words(&PERL),
            "rb" | "js" | "php" | "lua" => Language::Words(&OTHER),
            // The kernel gives what has no first line to a shell.
            _ => Language::Shell { pipefail: false },
        };
    };
    let mut words = line.split_whitespace().filter(|word| !word.contains('=') && *word != "-S");
    let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let program = if program == "env" { words.next().unwrap_or_default() } else { program };
    match program {
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" => {
            Language::Shell { pipefail: line.contains("pipefail") }
        }
        "perl" | "ruby" | "node" | "php" | "lua" | "awk" | "gawk" => Language::Words(of_program(program)),
        _ if program.starts_with("python") => Language::Words(&PYTHON),
        _ => Language::Other,
    }
}

impl Reader<'_> {
    /// Looks code of another language through.
    pub(super) fn foreign(&mut self, language: &'static Foreign, code: &Word) {
        let text = code.text.to_lowercase();
        if let Some(word) =
            language.destroys.iter().find(|word| text.replace(' ', "").contains(&word.to_lowercase()))
        {
            let what = word.trim_matches(['.', '(', ')', '{', '}']).to_owned();
            return self.destroys(what, false, code.at.clone());
        }
        // Deep inside words too: what is missed here is missed for good.
        if let Some(word) = language.words.iter().find(|word| text.contains(**word)) {
            let what = format!(
                "{} is not read, and this says `{}`",
                language.name,
                word.trim_matches([' ', '(', '.'])
            );
            self.unreadable(what, code.at.clone());
        }
    }
}
