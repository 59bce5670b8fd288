//! SQL: statement by statement, destruction by verbs outside of texts and comments; function bodies are read, too.

mod lex;
mod verbs;

use std::collections::HashSet;
use std::ops::Range;

pub(crate) use lex::Dialect;
use lex::{Kind, Token, tokens};
use verbs::Verdict;

use super::word::{LATER, UNKNOWN, Word};
use super::{Reader, Stdin};

/// How statements may begin. What begins otherwise is not known.
const FIRST: &[&str] = &[
    "ABORT",
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DETACH",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GRANT",
    "IMPORT",
    "INSERT",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "OPTIMIZE",
    "PRAGMA",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "STOP",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VACUUM",
    "VALUES",
    "WITH",
    "DESCRIBE",
    "DESC",
    "CHECK",
    "CHANGE",
    "IF",
    "HANDLER",
    "DELIMITER",
    "SOURCE",
    "SYSTEM",
    "QUIT",
    "EXIT",
    "STATUS",
    "HELP",
];

/// What is carried from statement to statement.
#[derive(Debug, Default)]
struct Made {
    /// Temporary tables that were made in the same text.
    temporary: HashSet<String>,
}

impl Reader<'_> {
    /// Reads statements.
    pub(super) fn sql(&mut self, code: &Word, dialect: Dialect) {
        let at = code.at.clone();
        self.deeper(&at, |reader| reader.sql_text(code, dialect, true, &mut Made::default()));
    }

    fn sql_text(&mut self, code: &Word, dialect: Dialect, top: bool, made: &mut Made) {
        let (all, unended) = tokens(&code.text, dialect);
        if let Some(at) = unended {
            self.unreadable("a quote or a comment does not end", sql_place(code, at..code.text.len()));
        }
        for statement in split(&all) {
            self.statement(code, statement, dialect, top, made);
        }
    }

    fn statement(&mut self, code: &Word, tokens: &[Token], dialect: Dialect, top: bool, made: &mut Made) {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return };
        let whole = sql_place(code, first.range.start..last.range.end);
        if first.kind == Kind::Client {
            return self.client_line(code, first, dialect);
        }
        if top && !known_start(first, dialect) {
            let what = match first.text.contains([UNKNOWN, LATER]) {
                true if first.text.contains(LATER) => return,
                true => "which statement this is shows only when it runs".to_owned(),
                false => format!("`{}` begins no statement that is known", shown(&code.text, first)),
            };
            return self.unreadable(what, whole);
        }
        verbs::temporary(tokens, &mut made.temporary);
        for found in verbs::judge(tokens, !top, &made.temporary) {
            let range = if top { whole.clone() } else { sql_place(code, found.range.clone()) };
            match found.verdict {
                Verdict::Destroys { what, certain } => self.destroys(what, certain, range),
                Verdict::Unreadable(what) => self.unreadable(what, range),
            }
        }
        if let Some(language) = verbs::foreign(tokens) {
            return self.unreadable(format!("a body in {} is not read", language.to_lowercase()), whole);
        }
        for body in verbs::bodies(tokens) {
            let Some(token) = tokens.get(body) else { continue };
            let inner = inner_word(code, token);
            self.deeper(&whole, |reader| reader.sql_text(&inner, Dialect::Server, false, made));
        }
        if let Some(token) = verbs::program(tokens).and_then(|at| tokens.get(at)) {
            self.nested(&inner_word(code, token), false, None);
        }
        if dialect == Dialect::Mysql && (first.is("SYSTEM") || first.is("SOURCE")) {
            let rest = code.text.get(first.range.end..last.range.end).unwrap_or_default();
            let word = Word::made(rest.trim(), whole);
            match first.is("SYSTEM") {
                true => self.nested(&word, false, None),
                false => self.sql_file(&word, dialect),
            }
        }
    }

    /// A line for the client itself.
    fn client_line(&mut self, code: &Word, token: &Token, dialect: Dialect) {
        let text = token.text.as_str();
        let range = sql_place(code, token.range.clone());
        let (verb, rest) = match text.strip_prefix('!') {
            Some(rest) => ("!", rest),
            None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
        };
        let rest_word = Word::made(rest.trim().trim_matches('\''), range.clone());
        match (dialect, verb) {
            (Dialect::Psql | Dialect::Mysql, "!") | (Dialect::Sqlite, "shell" | "system") => {
                self.nested(&rest_word, false, None);
            }
            (Dialect::Psql, "i" | "ir" | "include" | "include_relative")
            | (Dialect::Mysql, ".")
            | (Dialect::Sqlite, "read") => match rest.trim().strip_prefix('|') {
                Some(_) => self.unreadable("what a program prints is run as statements", range),
                None => self.sql_file(&rest_word, dialect),
            },
            (Dialect::Psql, "gexec") => self.unreadable("`\\gexec` runs what a query returns", range),
            (Dialect::Psql, "o" | "out" | "g" | "gx" | "w" | "write") if rest.trim().starts_with('|') => {
                self.nested(&Word::made(rest.trim().trim_start_matches('|'), range), false, None);
            }
            (Dialect::Psql, "copy") => {
                let (all, _) = tokens(rest, Dialect::Server);
                if let Some(program) = verbs::program(&all).and_then(|at| all.get(at)) {
                    self.nested(&Word::made(program.text.clone(), range), false, None);
                }
            }
            (Dialect::Psql, _) if verb.contains(':') => {
                self.unreadable("a client's command is a variable", range)
            }
            (Dialect::Sqlite, "restore") => self.destroys(".restore", true, range),
            _ => {}
        }
    }

    /// Statements from a file.
    pub(super) fn sql_file(&mut self, file: &Word, dialect: Dialect) {
        if file.text.contains(LATER) && !file.text.contains(UNKNOWN) {
            return;
        }
        let path = match file.text.contains('/') {
            true => file.text.clone(),
            false => format!("./{}", file.text),
        };
        let found = match file.known() {
            true => self.files.find(&path, self.cwd.as_deref()),
            false => super::files::Local::Outside,
        };
        use super::files::Local;
        match found {
            Local::Outside | Local::Missing => {
                self.unreadable("which statements stand in this file is not known", file.at.clone());
            }
            Local::Refused { name, why } => {
                self.call(&name);
                self.unreadable(format!("`{name}` cannot be read: {why}"), file.at.clone());
            }
            Local::Text { name, text } => {
                self.call(&name);
                if self.open.contains(&name) {
                    return;
                }
                self.open.push(name.clone());
                let before = self.via.replace((name, 1));
                let body = Word::made(super::word::plain(&text), file.at.clone());
                let at = file.at.clone();
                self.deeper(&at, |reader| reader.sql_lines(&body, dialect));
                self.via = before;
                self.open.pop();
            }
        }
    }

    /// A file's statements, each with its line.
    fn sql_lines(&mut self, code: &Word, dialect: Dialect) {
        let (all, unended) = tokens(&code.text, dialect);
        let line = |at: usize| code.text[..at].matches('\n').count() + 1;
        let mut made = Made::default();
        for statement in split(&all) {
            if let (Some(first), Some(via)) = (statement.first(), &mut self.via) {
                via.1 = line(first.range.start);
            }
            self.statement(code, statement, dialect, true, &mut made);
        }
        if let Some(at) = unended {
            if let Some(via) = &mut self.via {
                via.1 = line(at);
            }
            self.unreadable("a quote or a comment does not end", code.at.clone());
        }
    }

    /// What a client reads from its standard input.
    pub(super) fn sql_stdin(&mut self, stdin: &Stdin, dialect: Dialect, at: Range<usize>) {
        match stdin {
            Stdin::Nothing => {}
            Stdin::Dump if dialect == Dialect::Psql => {}
            Stdin::Text(text) if text.text.trim().is_empty() => {}
            Stdin::Text(text) if text.blank() => {
                self.unreadable("which statements these are shows only when it runs", text.at.clone());
            }
            Stdin::Text(text) => self.sql(&text.clone(), dialect),
            Stdin::File(file) => self.sql_file(&file.clone(), dialect),
            Stdin::Dump | Stdin::Unknown => {
                self.unreadable("which statements are piped into it is not known", at)
            }
        }
    }
}

fn known_start(first: &Token, dialect: Dialect) -> bool {
    match first.kind {
        Kind::Word => FIRST.contains(&first.text.as_str()),
        Kind::Sign('(') => true,
        Kind::Sign(_) | Kind::Text | Kind::Name => false,
        Kind::Client => dialect != Dialect::Server,
    }
}

fn shown<'t>(text: &'t str, token: &Token) -> &'t str {
    text.get(token.range.clone()).unwrap_or_default()
}

fn inner_word(code: &Word, token: &Token) -> Word {
    let at = sql_place(code, token.range.clone());
    let verbatim = code.verbatim.and_then(|start| token.inner.map(|inner| start + inner));
    Word { text: token.text.clone(), at, verbatim, ..Word::default() }
}

/// Where bytes of the statements stand in the work's text.
fn sql_place(code: &Word, range: Range<usize>) -> Range<usize> {
    code.verbatim.map_or_else(|| code.at.clone(), |at| at + range.start..at + range.end)
}

/// The statements, without the semicolons between them.
fn split(all: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0_usize, 0_usize);
    for (at, token) in all.iter().enumerate() {
        match token.kind {
            Kind::Sign('(') => depth += 1,
            Kind::Sign(')') => depth = depth.saturating_sub(1),
            Kind::Sign(';') if depth == 0 => {
                parts.push(&all[start..at]);
                start = at + 1;
            }
            Kind::Client => {
                parts.push(&all[start..at]);
                parts.push(&all[at..=at]);
                start = at + 1;
                depth = 0;
            }
            _ => {}
        }
    }
    parts.push(&all[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}
