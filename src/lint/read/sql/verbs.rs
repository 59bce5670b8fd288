//! Which verbs of a statement destroy.

use std::collections::HashSet;
use std::ops::Range;

use super::super::word::{LATER, UNKNOWN};
use super::lex::{Kind, Token};

/// What is to be said of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Destroys { what: String, certain: bool },
    Unreadable(String),
}

/// A verdict and the tokens it is about.
#[derive(Debug)]
pub(super) struct Found {
    pub verdict: Verdict,
    pub range: Range<usize>,
}

/// What `DROP` takes data with; the second says whether nobody can call that harmless.
const DROPS: &[(&str, bool)] = &[
    ("DATABASE", true),
    ("TABLESPACE", true),
    ("SCHEMA", false),
    ("TABLE", false),
    ("COLUMN", false),
    ("OWNED", false),
    ("MATERIALIZED", false),
    ("FOREIGN", false),
    ("SEQUENCE", false),
    ("EXTENSION", false),
    ("ROLE", false),
    ("USER", false),
    ("PARTITION", false),
];
/// What takes columns with it when it says `CASCADE`.
const CASCADES: &[&str] =
    &["TYPE", "DOMAIN", "FUNCTION", "COLLATION", "LANGUAGE", "OPERATOR", "ACCESS", "SERVER"];
/// Functions that remove.
const FUNCTIONS: &[&str] = &["LO_UNLINK", "DROP_CHUNKS", "PG_FILE_UNLINK", "LO_TRUNCATE", "DROP_HYPERTABLE"];
/// Functions that run their text.
const RUNS: &[&str] = &[
    "DBLINK_EXEC",
    "DBLINK",
    "QUERY_TO_XML",
    "QUERY_TO_XML_AND_XMLSCHEMA",
    "DBLINK_SEND_QUERY",
    "RUN_COMMAND_ON_WORKERS",
    "RUN_COMMAND_ON_ALL_NODES",
    "SCHEDULE",
];

fn is(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is(word))
}

fn any(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    words.iter().any(|word| is(tokens, at, word))
}

/// Everything that destroys in a statement.
pub(super) fn judge(tokens: &[Token], body: bool, temporary: &HashSet<String>) -> Vec<Found> {
    let mut all = Vec::new();
    if any(tokens, 0, &["GRANT", "REVOKE", "COMMENT", "SECURITY"]) {
        return all;
    }
    for at in 0..tokens.len() {
        if let Some(verdict) = verb(tokens, at, body, temporary) {
            let end =
                tokens[at..].iter().position(|token| token.sign(';')).map_or(tokens.len(), |end| at + end);
            let range = tokens[at].range.start..tokens[end - 1].range.end;
            all.push(Found { verdict, range });
        }
    }
    all
}

fn destroys(what: impl Into<String>, certain: bool) -> Option<Verdict> {
    Some(Verdict::Destroys { what: what.into(), certain })
}

fn verb(tokens: &[Token], at: usize, body: bool, temporary: &HashSet<String>) -> Option<Verdict> {
    let token = &tokens[at];
    if token.kind != Kind::Word {
        return None;
    }
    let before = |words: &[&str]| at > 0 && any(tokens, at - 1, words);
    let dotted = at > 0 && tokens[at - 1].sign('.');
    if dotted && !tokens.get(at + 1).is_some_and(|token| token.sign('(')) {
        return None;
    }
    match token.text.as_str() {
        "DROP" => drop(tokens, at, temporary),
        "TRUNCATE" if !before(&["BEFORE", "AFTER", "OR", "ON"]) => {
            let mut name = at + 1;
            while any(tokens, name, &["TABLE", "ONLY"]) {
                name += 1;
            }
            let names = tokens.get(name).is_some_and(|token| matches!(token.kind, Kind::Word | Kind::Name));
            if !names || any(tokens, name, &["ON", "OR"]) || all_temporary(tokens, name, temporary) {
                return None;
            }
            destroys("TRUNCATE", false)
        }
        "DELETE" if is(tokens, at + 1, "FROM") => {
            let name = at + 2 + usize::from(is(tokens, at + 2, "ONLY"));
            if bounded(tokens, at) || is_temporary(tokens, name, temporary) {
                return None;
            }
            destroys("DELETE without WHERE", false)
        }
        "UPDATE" if !before(&["FOR", "ON", "DO", "BEFORE", "AFTER", "OR", "KEY"]) => {
            let end = tokens.len().min(at + 10);
            let set = (at + 1..end).find(|at| is(tokens, *at, "SET"))?;
            let plain = tokens[at + 1..set]
                .iter()
                .all(|token| matches!(token.kind, Kind::Word | Kind::Name | Kind::Sign('.' | '*')));
            let name = at + 1 + usize::from(is(tokens, at + 1, "ONLY"));
            // `MERGE … THEN UPDATE SET` is bounded by what matches.
            if set == at + 1 || !plain || bounded(tokens, at) || is_temporary(tokens, name, temporary) {
                return None;
            }
            destroys("UPDATE without WHERE", false)
        }
        // Within a function: a text that is put together.
        "EXECUTE" if !before(&["ON", "GRANT"]) && !any(tokens, at + 1, &["FUNCTION", "PROCEDURE", "ON"]) => {
            match tokens.get(at + 1).map(|token| token.kind) {
                // Only a text: it is read like a body.
                Some(Kind::Text)
                    if tokens
                        .get(at + 2)
                        .is_none_or(|token| token.sign(';') || token.is("USING") || token.is("INTO")) =>
                {
                    None
                }
                // `EXECUTE name` of what was prepared: that was read where it was.
                Some(Kind::Word | Kind::Name)
                    if at == 0 && !body && !any(tokens, 1, &["IMMEDIATE", "FORMAT"]) =>
                {
                    None
                }
                _ => Some(Verdict::Unreadable("`EXECUTE` of a text that is put together".to_owned())),
            }
        }
        "RESET" if any(tokens, at + 1, &["MASTER"]) => destroys("RESET MASTER", false),
        "PURGE" if any(tokens, at + 1, &["BINARY", "MASTER"]) => destroys("PURGE BINARY LOGS", false),
        "WRITABLE_SCHEMA" if is(tokens, 0, "PRAGMA") => destroys("PRAGMA writable_schema", false),
        name if FUNCTIONS.contains(&name) && tokens.get(at + 1).is_some_and(|token| token.sign('(')) => {
            destroys(format!("{}()", name.to_lowercase()), false)
        }
        name if RUNS.contains(&name) && tokens.get(at + 1).is_some_and(|token| token.sign('(')) => {
            let end = closing(tokens, at + 1);
            let plain = tokens[at + 2..end].iter().filter(|token| token.kind == Kind::Text).count();
            (plain == 0).then(|| {
                Verdict::Unreadable(format!("{}() of a text that is not known", name.to_lowercase()))
            })
        }
        _ => None,
    }
}

fn drop(tokens: &[Token], at: usize, temporary: &HashSet<String>) -> Option<Verdict> {
    let next = tokens.get(at + 1)?;
    if next.text.contains([UNKNOWN, LATER]) && next.kind == Kind::Word && !is(tokens, 0, "ALTER") {
        return Some(Verdict::Unreadable("what is dropped shows only when it runs".to_owned()));
    }
    if let Some((what, certain)) = DROPS.iter().find(|(what, _)| next.is(what)) {
        let mut name = at + 2;
        let what = match *what {
            "MATERIALIZED" => "MATERIALIZED VIEW",
            "FOREIGN" if is(tokens, name, "TABLE") => "FOREIGN TABLE",
            // `DROP FOREIGN KEY`, `DROP FOREIGN DATA WRAPPER`: no data.
            "FOREIGN" => return None,
            "USER" if is(tokens, name, "MAPPING") => return None,
            other => other,
        };
        while any(tokens, name, &["IF", "EXISTS", "TABLE", "VIEW", "CONCURRENTLY"]) {
            name += 1;
        }
        if matches!(what, "TABLE" | "SEQUENCE") && all_temporary(tokens, name, temporary) {
            return None;
        }
        return destroys(format!("DROP {what}"), *certain);
    }
    if CASCADES.iter().any(|what| next.is(what)) && tokens[at..].iter().any(|token| token.is("CASCADE")) {
        return destroys(format!("DROP {} CASCADE", next.text), false);
    }
    if is(tokens, at + 1, "TEMPORARY") {
        return None;
    }
    // `ALTER TABLE t DROP c`: without the word COLUMN.
    let table = is(tokens, 0, "ALTER") && any(tokens, 1, &["TABLE", "FOREIGN"]);
    const NOT_COLUMNS: &[&str] = &[
        "CONSTRAINT",
        "DEFAULT",
        "NOT",
        "EXPRESSION",
        "IDENTITY",
        "INDEX",
        "KEY",
        "PRIMARY",
        "CHECK",
        "VIEW",
        "TRIGGER",
        "PERIOD",
    ];
    let column = matches!(next.kind, Kind::Word | Kind::Name) && !NOT_COLUMNS.contains(&next.text.as_str());
    if table && column && !is_temporary(tokens, 2, temporary) {
        return destroys("DROP COLUMN", false);
    }
    if is(tokens, 0, "ALTER") && is(tokens, 1, "TYPE") && next.is("ATTRIBUTE") {
        return destroys("DROP ATTRIBUTE", false);
    }
    None
}

/// True when a `WHERE` bounds the statement that begins here.
fn bounded(tokens: &[Token], at: usize) -> bool {
    let mut depth = 0_usize;
    for (nth, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.kind {
            Kind::Sign('(') => depth += 1,
            Kind::Sign(')') if depth == 0 => return false,
            Kind::Sign(')') => depth -= 1,
            Kind::Sign(';') if depth == 0 => return false,
            Kind::Word if depth == 0 && token.text == "WHERE" => return !always(&tokens[nth + 1..]),
            _ => {}
        }
    }
    false
}

/// `true`, `1=1`, and nothing more.
fn always(tokens: &[Token]) -> bool {
    let end = tokens.iter().position(|token| token.is("RETURNING") || token.sign(';') || token.sign(')'));
    let words: Vec<&str> =
        tokens[..end.unwrap_or(tokens.len())].iter().map(|token| token.text.as_str()).collect();
    match words.as_slice() {
        ["TRUE" | "1"] => true,
        [a, "=", b] => a == b,
        [] => true,
        _ => false,
    }
}

/// Index of the closing parenthesis.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(') => depth += 1,
            Kind::Sign(')') if depth <= 1 => return at,
            Kind::Sign(')') => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// A name that may have a schema, and the index behind it.
fn name(tokens: &[Token], at: usize) -> Option<(Option<String>, String, usize)> {
    let text = |at: usize| {
        let token: &Token = tokens.get(at)?;
        matches!(token.kind, Kind::Word | Kind::Name).then(|| token.text.to_uppercase())
    };
    let first = text(at)?;
    if tokens.get(at + 1).is_some_and(|token| token.sign('.')) {
        return Some((Some(first), text(at + 2)?, at + 3));
    }
    Some((None, first, at + 1))
}

fn is_temporary(tokens: &[Token], at: usize, temporary: &HashSet<String>) -> bool {
    match name(tokens, at) {
        Some((Some(schema), name, _)) => schema == "PG_TEMP" || schema == "TEMP" && temporary.contains(&name),
        Some((None, name, _)) => temporary.contains(&name),
        None => false,
    }
}

/// True when every name of a list is a temporary table's.
fn all_temporary(tokens: &[Token], mut at: usize, temporary: &HashSet<String>) -> bool {
    loop {
        if !is_temporary(tokens, at, temporary) {
            return false;
        }
        let Some((_, _, end)) = name(tokens, at) else { return false };
        if !tokens.get(end).is_some_and(|token| token.sign(',')) {
            return true;
        }
        at = end + 1;
    }
}

/// Keeps the names of temporary tables that a statement makes.
pub(super) fn temporary(tokens: &[Token], known: &mut HashSet<String>) {
    let create = tokens.iter().position(|token| token.is("CREATE"));
    let Some(create) = create.filter(|at| any(tokens, at + 1, &["TEMP", "TEMPORARY"])) else { return };
    let mut at = create + 2;
    if !any(tokens, at, &["TABLE", "SEQUENCE"]) {
        return;
    }
    at += 1;
    while any(tokens, at, &["IF", "NOT", "EXISTS"]) {
        at += 1;
    }
    known.extend(name(tokens, at).map(|(_, name, _)| name));
}

/// Texts that are statements: bodies of `DO` and of functions, `EXECUTE '…'`, `dblink_exec('…')`.
pub(super) fn bodies(tokens: &[Token]) -> Vec<usize> {
    let text = |at: usize| tokens.get(at).is_some_and(|token| token.kind == Kind::Text);
    let routine = is(tokens, 0, "CREATE")
        && tokens.iter().take(6).any(|token| token.is("FUNCTION") || token.is("PROCEDURE"));
    let mut all = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word {
            continue;
        }
        match token.text.as_str() {
            "DO" if at == 0 => all.extend((1..tokens.len()).filter(|at| text(*at)).take(1)),
            "AS" if routine && text(at + 1) => all.push(at + 1),
            "EXECUTE" if text(at + 1) => all.push(at + 1),
            "EXECUTE" if is(tokens, at + 1, "FORMAT") && text(at + 3) => all.push(at + 3),
            name if RUNS.contains(&name) && tokens.get(at + 1).is_some_and(|token| token.sign('(')) => {
                all.extend((at + 2..closing(tokens, at + 1)).filter(|at| text(*at)));
            }
            _ => {}
        }
    }
    all
}

/// The language of a body that is not read as statements.
pub(super) fn foreign(tokens: &[Token]) -> Option<&str> {
    let at = tokens.iter().position(|token| token.is("LANGUAGE"))?;
    let name = tokens.get(at + 1)?;
    let known = ["SQL", "PLPGSQL", "C", "INTERNAL"].iter().any(|known| name.text.eq_ignore_ascii_case(known));
    let body = is(tokens, 0, "DO") || is(tokens, 0, "CREATE") && !is(tokens, 1, "LANGUAGE");
    (body && !known).then_some(name.text.as_str())
}

/// `COPY … FROM PROGRAM '…'`: the text that a shell runs.
pub(super) fn program(tokens: &[Token]) -> Option<usize> {
    let at = tokens.iter().position(|token| token.is("PROGRAM"))?;
    tokens.get(at + 1).filter(|token| token.kind == Kind::Text).map(|_| at + 1)
}
