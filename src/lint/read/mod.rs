//! Reads what a step would run (scripts, argument lists, statements) for what destroys, for what cannot be read, and for
//! exit statuses that would lie.
//!
//! Pure: local files come in through [`Files`]. Nothing is run and nothing is guessed: what cannot be read counts as
//! destruction. `docs/lint-reading.md` says what is seen and what cannot be.

mod client;
mod code;
#[cfg(test)]
mod corpus;
mod destroy;
pub mod files;
mod options;
mod output;
mod path;
pub(crate) mod place;
mod shell;
mod sql;
mod word;
mod wrap;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use files::{Files, Local};
pub(crate) use sql::Dialect;
use word::plain;
pub(crate) use word::{LATER, UNKNOWN, Word};

/// Scripts in scripts, wrappers in wrappers: deeper than this nobody reads.
const DEEPEST: usize = 24;
/// Parts of a script in parts: deeper than this no stack should go.
const DEEPEST_PART: usize = 300;
/// More findings than this help nobody.
const MOST_FOUND: usize = 500;
/// The most commands that are read for one piece of work.
const MOST: usize = 50_000;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data goes. `certain`: a whole database, cluster, volume or file system; no reason can make that harmless.
    Destroys {
        /// Nothing that could be called harmless.
        certain: bool,
    },
    /// It cannot be told what would run.
    Unreadable,
    /// Its exit status may be 0 although something failed: the code of the rule.
    Lies(&'static str),
}

/// Something that was found in a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in a few words: `rm -r`, `DROP TABLE`, `eval of a text that is not known`.
    pub what: String,
    /// What kind of finding.
    pub kind: Kind,
    /// Where the command stands in the work's text.
    pub range: Range<usize>,
    /// The local file and line in which it stands, when the work only calls it.
    pub via: Option<(String, usize)>,
}

impl Finding {
    /// True when it removes named containers, or those of a project, and leaves their volumes.
    pub fn removes_containers(&self) -> bool {
        let plain = matches!(self.kind, Kind::Destroys { certain: false });
        let (program, verb) = self.what.split_once(' ').unwrap_or((&self.what, ""));
        plain
            && match program {
                "docker" | "podman" | "nerdctl" => {
                    ["rm", "container rm", "container remove", "compose down", "compose rm"].contains(&verb)
                }
                "docker-compose" | "podman-compose" => ["down", "rm"].contains(&verb),
                _ => false,
            }
    }
}

/// What standard input would bring.
#[derive(Debug, Clone, Default)]
pub(crate) enum Stdin {
    /// Nothing.
    #[default]
    Nothing,
    /// This text.
    Text(Word),
    /// A file.
    File(Word),
    /// What `pg_dump` writes.
    Dump,
    /// Something else.
    Unknown,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Here {
    /// A failing part of a pipe fails the pipe.
    pub pipefail: bool,
}

/// Reads one piece of work.
pub(crate) struct Reader<'a> {
    files: &'a dyn Files,
    /// Values of variables that a script would get.
    variables: &'a dyn Fn(&str) -> String,
    cwd: Option<String>,
    depth: usize,
    parts: usize,
    left: usize,
    via: Option<(String, usize)>,
    /// Files that were written by commands read so far: what stands in them is not known.
    written: HashSet<String>,
    /// Variables that code in the same shell sees: for `eval` and `trap`.
    scope: HashMap<String, shell::Value>,
    /// The command that is being read.
    at: Range<usize>,
    /// Files that are being read, outermost first.
    open: Vec<String>,
    /// What was found.
    pub found: Vec<Finding>,
    /// Local files that would be run, in the order of the calls.
    pub called: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader for one piece of work. `variables` gives values, [`UNKNOWN`] and [`LATER`] as far as they are not known.
    pub fn new(files: &'a dyn Files, cwd: Option<&str>, variables: &'a dyn Fn(&str) -> String) -> Self {
        Reader {
            files,
            variables,
            cwd: cwd.map(str::to_owned),
            depth: 0,
            parts: 0,
            left: MOST,
            via: None,
            written: HashSet::new(),
            scope: HashMap::new(),
            at: 0..0,
            open: Vec::new(),
            found: Vec::new(),
            called: Vec::new(),
        }
    }

    /// Reads a step's script, which runs in `bash -euo pipefail`.
    pub fn step_script(&mut self, text: &str) {
        self.script(&Word::verbatim(text, 0), Here { pipefail: true }, Some(Vec::new()), HashMap::new());
    }

    /// Reads an argument list.
    pub fn argv(&mut self, words: &[Word]) {
        self.command(words, &Stdin::Nothing, Here { pipefail: true });
    }

    /// Reads statements.
    pub fn statements(&mut self, text: &str, verbatim: bool) {
        let text = plain(text);
        let whole = 0..text.len();
        let word = Word { verbatim: verbatim.then_some(0), ..Word::made(text, whole) };
        self.sql(&word, Dialect::Server);
    }

    fn find(&mut self, what: impl Into<String>, kind: Kind, range: Range<usize>) {
        let finding = Finding { what: what.into(), kind, range, via: self.via.clone() };
        if self.found.len() < MOST_FOUND && !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    fn unreadable(&mut self, what: impl Into<String>, range: Range<usize>) {
        self.find(what, Kind::Unreadable, range);
    }

    fn destroys(&mut self, what: impl Into<String>, certain: bool, range: Range<usize>) {
        self.find(what, Kind::Destroys { certain }, range);
    }

    fn lies(&mut self, code: &'static str, what: impl Into<String>, range: Range<usize>) {
        self.find(what, Kind::Lies(code), range);
    }

    /// Says once that nothing more is read.
    fn too_long(&mut self, at: &Range<usize>) {
        const WHAT: &str = "it is too long to be read";
        if !self.found.iter().any(|finding| finding.what == WHAT) {
            self.unreadable(WHAT, at.clone());
        }
    }

    /// Goes one level deeper, if that is not too deep and enough is left to read.
    fn deeper(&mut self, at: &Range<usize>, work: impl FnOnce(&mut Self)) {
        if self.depth >= DEEPEST {
            return self.unreadable("it is nested too deep to be read", at.clone());
        }
        if self.left == 0 {
            return self.too_long(at);
        }
        self.depth += 1;
        self.left -= 1;
        work(self);
        self.depth -= 1;
    }

    /// Runs a file as a program, or gives it to an interpreter. True when it is a local file.
    fn local(&mut self, path: &Word, args: &[Word], shell: bool) -> bool {
        if self.written.contains(path.text.strip_prefix("./").unwrap_or(&path.text))
            || path.text.starts_with(word::TEMPORARY)
        {
            self.unreadable("what was just written here is run, and is not known", path.at.clone());
            return true;
        }
        let (name, text) = match self.files.find(&path.text, self.cwd.as_deref()) {
            Local::Outside => return false,
            Local::Missing => {
                self.unreadable(format!("`{}` is not there to be read", path.text), path.at.clone());
                return true;
            }
            Local::Refused { name, why } => {
                self.call(&name);
                self.unreadable(format!("`{name}` cannot be read: {why}"), path.at.clone());
                return true;
            }
            Local::Text { name, text } => (name, text),
        };
        self.call(&name);
        if self.open.contains(&name) {
            return true;
        }
        let language =
            if shell { code::Language::Shell { pipefail: false } } else { code::language(&name, &text) };
        let before = self.via.clone();
        self.open.push(name.clone());
        let at = path.at.clone();
        self.deeper(&at, |reader| {
            reader.via = Some((name, 1));
            let body = Word::made(plain(&text), path.at.clone());
            match language {
                code::Language::Shell { pipefail } => {
                    reader.script(&body, Here { pipefail }, Some(args.to_vec()), HashMap::new());
                }
                code::Language::Words(program) => reader.foreign(program, &body),
                code::Language::Other => {
                    reader.unreadable("it is written in a language that is not read", at.clone())
                }
            }
        });
        self.open.pop();
        self.via = before;
        true
    }

    /// `cd`, as far as it is known.
    fn go(&mut self, path: &str) {
        self.cwd = match (&self.cwd, path.starts_with('/')) {
            (Some(cwd), false) => Some(format!("{cwd}/{path}")),
            _ => Some(path.to_owned()),
        };
    }

    /// Keeps in mind that a file was written.
    fn writes(&mut self, path: &str) {
        self.written.insert(path.strip_prefix("./").unwrap_or(path).to_owned());
    }

    fn call(&mut self, name: &str) {
        if !self.called.iter().any(|known| known == name) {
            self.called.push(name.to_owned());
        }
    }
}
