//! Which lines of a log are bad. By default those of PostgreSQL that tell of damage, of a full disk, of a crash.

use serde_json::Value;

use crate::check::pattern;

/// What only damage, a broken disk, a full one or a crash makes the server say.
const DAMAGE: [&str; 27] = [
    "invalid page",
    "page verification failed",
    "could not access status of transaction",
    "found xmin",
    "found xmax",
    "found multixact",
    "could not read block",
    "could not read file",
    "could not write block",
    "could not write to file",
    "could not extend file",
    "could not fsync",
    "missing chunk number",
    "unexpected chunk number",
    "compressed pglz data is corrupt",
    "compressed lz4 data is corrupt",
    "invalid memory alloc request size",
    "contains unexpected zero page",
    "contains corrupted page",
    "failed to re-find parent key",
    "could not open file \"base/",
    "No space left on device",
    "Input/output error",
    "Read-only file system",
    "was terminated by signal",
    "must be vacuumed within",
    "is not accepting commands",
];
/// Data corrupted, index corrupted, disk full, error of input or output.
const STATES: [&str; 4] = ["XX001", "XX002", "53100", "58030"];
/// Ends of sessions that a client or an administrator brought about.
const NOT_ITS_OWN: [&str; 16] = [
    "due to administrator command",
    "terminating connection due to",
    "authentication failed",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "role \"* does not exist",
    "database \"* does not exist",
    "is not permitted to log in",
    "is not currently accepting connections",
    "the database system is ",
    "too many clients already",
    "too many connections for ",
    "connection slots are reserved",
    "connection to client lost",
    "unsupported frontend protocol",
    "permission denied for database",
];
const SEVERITIES: [&str; 20] = [
    "PANIC",
    "FATAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "LOG",
    "DEBUG",
    "DEBUG1",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "DEBUG5",
    "DETAIL",
    "HINT",
    "CONTEXT",
    "STATEMENT",
    "QUERY",
    "LOCATION",
    "BACKTRACE",
];

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Instead of what PostgreSQL says.
    pub own: Option<Vec<String>>,
    pub also: Vec<String>,
    pub except: Vec<String>,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Bad,
    /// A message of PostgreSQL in another language than the words.
    Foreign,
}

/// What was learnt from the lines before.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The last message was the text of a statement, whose further lines are nobody's message.
    pub statement: bool,
    /// Lines that are PostgreSQL's.
    pub messages: u64,
}

/// A message of PostgreSQL.
struct Message {
    severity: String,
    state: Option<String>,
    text: String,
}

impl Words {
    /// Judges one line; `stamped`: it begins with a time, so it begins a message.
    pub fn judge(&self, line: &str, stamped: bool, before: &mut Before) -> Kind {
        let has = |list: &[String]| list.iter().any(|words| occurs(words, line));
        let bad = match &self.own {
            Some(own) => Ok(has(own)),
            None => damage(line, stamped, before),
        };
        match bad {
            _ if has(&self.except) => Kind::Good,
            Ok(true) => Kind::Bad,
            _ if has(&self.also) => Kind::Bad,
            Ok(false) => Kind::Good,
            Err(()) => Kind::Foreign,
        }
    }
}

/// Words with `*` for any text, anywhere in a line.
fn occurs(words: &str, line: &str) -> bool {
    match words.contains(['*', '?']) {
        true => pattern::fits(&format!("*{words}*"), line),
        false => line.contains(words),
    }
}

/// Does PostgreSQL tell of damage in this line? An error: it speaks another language.
fn damage(line: &str, stamped: bool, before: &mut Before) -> Result<bool, ()> {
    let says = |text: &str| DAMAGE.iter().any(|words| text.contains(words));
    if !stamped {
        // More of the message before, or what a program that the server started has to say.
        return Ok(!before.statement && says(line));
    }
    let message = match line.as_bytes().first() {
        Some(b'{') => from_json(line),
        _ => from_csv(line).or_else(|| from_text(line)),
    };
    let Some(message) = message else {
        before.statement = false;
        return Ok(says(line));
    };
    if !SEVERITIES.contains(&message.severity.as_str()) {
        before.statement = false;
        return Err(());
    }
    before.messages += 1;
    let text = message.text.as_str();
    let echo = ["statement: ", "execute ", "duration: ", "AUDIT: "];
    before.statement = matches!(message.severity.as_str(), "STATEMENT" | "QUERY" | "CONTEXT")
        || (message.severity == "LOG" && echo.iter().any(|words| text.starts_with(words)));
    if before.statement {
        return Ok(false);
    }
    Ok(match message.severity.as_str() {
        "PANIC" => true,
        "FATAL" if !NOT_ITS_OWN.iter().any(|words| occurs(words, text)) => true,
        _ => says(text) || message.state.is_some_and(|state| STATES.contains(&state.as_str())),
    })
}

/// A line for people: of jsonlog and csvlog only what is in the message.
pub(super) fn plain(line: &str) -> String {
    let short = |message: &Message| {
        let severity = message.severity.as_str();
        let state = message.state.as_ref().map(|state| format!(" {state}")).unwrap_or_default();
        format!("{severity}{state}:  {}", message.text)
    };
    if line.starts_with('{') {
        return from_json(line).as_ref().map_or_else(|| line.to_owned(), short);
    }
    from_csv(line).as_ref().map_or_else(|| line.trim().to_owned(), short)
}

/// `2026-11-30 08:21:00.123 UTC [77] postgres@db ERROR:  text`: the severity ends with a colon and two spaces.
fn from_text(line: &str) -> Option<Message> {
    let (front, text) = line.split_once(":  ")?;
    let (prefix, severity) = front.rsplit_once(' ').unwrap_or(("", front));
    let upper = |c: char| c.is_uppercase() || c.is_ascii_digit();
    if severity.is_empty() || !severity.chars().all(upper) {
        return None;
    }
    let mut words = prefix.split(|c: char| !c.is_ascii_alphanumeric());
    let state = words.find(|word| STATES.contains(word)).map(str::to_owned);
    Some(Message { severity: severity.to_owned(), state, text: text.to_owned() })
}

fn from_json(line: &str) -> Option<Message> {
    let fields: Value = serde_json::from_str(line).ok()?;
    let get = |key: &str| fields[key].as_str().map(str::to_owned);
    Some(Message {
        severity: get("error_severity")?,
        state: get("state_code"),
        text: [get("message"), get("detail")].into_iter().flatten().collect::<Vec<_>>().join("; "),
    })
}

/// Columns 12 to 15 of csvlog: severity, SQLSTATE, message, detail. The record may go on in the next line.
fn from_csv(line: &str) -> Option<Message> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    let state = fields.get(12).filter(|state| state.len() == 5)?.clone();
    let severity = fields.get(11).filter(|word| SEVERITIES.contains(&word.as_str()))?.clone();
    Some(Message { severity, state: Some(state), text: fields.get(13..15.min(fields.len()))?.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(lines: &[&str]) -> Kind {
        let mut before = Before::default();
        let words = Words::default();
        lines.iter().map(|line| words.judge(line, line.starts_with(['2', '{']), &mut before)).last().unwrap()
    }

    fn text(message: &str) -> Kind {
        kind(&[&format!("2026-11-30 08:21:00.123 UTC [77] postgres@db {message}")])
    }

    #[test]
    fn what_postgresql_says_of_damage() {
        for bad in [
            "PANIC:  could not locate a valid checkpoint record",
            "FATAL:  data directory \"/x\" does not exist",
            "FATAL:  lock file \"postmaster.pid\" is empty",
            "ERROR:  invalid page in block 3 of relation base/5/16384",
            "WARNING:  page verification failed, calculated checksum 1 but expected 2",
            "ERROR:  could not extend file \"base/5/16384\": No space left on device",
            "LOG:  server process (PID 9) was terminated by signal 11: Segmentation fault",
            "WARNING:  database \"db\" must be vacuumed within 39985967 transactions",
        ] {
            assert_eq!(text(bad), Kind::Bad, "{bad}");
        }
        for good in [
            "FATAL:  password authentication failed for user \"x\"",
            "FATAL:  terminating connection due to administrator command",
            "FATAL:  sorry, too many clients already",
            "FATAL:  role \"x\" does not exist",
            "FATAL:  the database system is starting up",
            "ERROR:  division by zero",
            "LOG:  statement: select 'invalid page'",
            "LOG:  duration: 1.2 ms  statement: select 'found xmin'",
            "STATEMENT:  select 'PANIC: invalid page'",
            "LOG:  checkpoint complete: wrote 3 buffers",
        ] {
            assert_eq!(text(good), Kind::Good, "{good}");
        }
        assert_eq!(text("FEHLER:  ungültige Seite"), Kind::Foreign);
        assert_eq!(kind(&["2026-11-30 08:21:00 UTC [7] XX001 ERROR:  odd"]), Kind::Bad, "%e in the prefix");
    }

    #[test]
    fn more_lines_of_a_message() {
        let error = "2026-11-30 08:21:00 UTC [7] ERROR:  two";
        let statement = "2026-11-30 08:21:00 UTC [7] STATEMENT:  select";
        assert_eq!(kind(&[error, "\tinvalid page"]), Kind::Bad);
        assert_eq!(kind(&[statement, "\t'invalid page'"]), Kind::Good);
        assert_eq!(kind(&[error, "cp: error writing 'x': No space left on device"]), Kind::Bad);
    }

    #[test]
    fn csv_and_json() {
        let csv = |severity: &str, state: &str, message: &str, query: &str| {
            let front = "2026-11-30 08:21:00.123 UTC,\"postgres\",\"d\"\"b\",7,\"[local]\",65.1,3,\"SELECT\",2026-11-30 08:20:00 UTC,3/4,0";
            kind(&[&format!(
                "{front},{severity},{state},\"{message}\",,,,,,\"{query}\",,,\"psql\",\"client backend\",,0"
            )])
        };
        assert_eq!(csv("ERROR", "XX001", "odd", ""), Kind::Bad);
        assert_eq!(csv("PANIC", "XX000", "odd", ""), Kind::Bad);
        assert_eq!(csv("ERROR", "53100", "could not extend", ""), Kind::Bad);
        assert_eq!(csv("ERROR", "22012", "division by zero", "select 'invalid page'"), Kind::Good);
        assert_eq!(csv("FATAL", "28P01", "password authentication failed", ""), Kind::Good);
        let json = |severity: &str, state: &str, message: &str| {
            kind(&[
                &serde_json::json!({ "timestamp": "2026-11-30 08:21:00.123 UTC", "error_severity": severity,
                "state_code": state, "message": message, "statement": "select 'invalid page'" })
                .to_string(),
            ])
        };
        assert_eq!(json("ERROR", "XX002", "odd"), Kind::Bad);
        assert_eq!(json("ERROR", "22012", "division by zero"), Kind::Good);
    }

    #[test]
    fn own_words_and_exceptions() {
        let words = Words {
            own: Some(vec!["ERROR - *disk".to_owned()]),
            also: vec!["CRITICAL".to_owned()],
            except: vec!["ignore".to_owned()],
        };
        let mut before = Before::default();
        let mut kind = |line: &str| words.judge(line, true, &mut before);
        assert_eq!(kind("2026 - ERROR - no disk here"), Kind::Bad);
        assert_eq!(kind("2026 - CRITICAL"), Kind::Bad);
        assert_eq!(kind("2026 - ERROR - ignore the disk"), Kind::Good);
        assert_eq!(kind("2026 - PANIC:  x"), Kind::Good);
    }
}
